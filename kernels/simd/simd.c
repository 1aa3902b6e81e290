/* The table impl.def finds: this folder's implementations of each variant for one instruction set. */
#include "simd.h"

#include "../compose.h"

static const conv_impl separable = {COMPOSE(&simd_depthwise, &simd_pointwise.impl), .name = ISA_STRING,
                                    .summary = ISA_STRING " depthwise, then " ISA_STRING " pointwise",
                                    .isa = ISA_ENUM, .layouts = 1u << CONV_NHWC};

const conv_impl *const simd_impls[CONV_VARIANT_COUNT] = {&simd_dense.impl, &simd_depthwise,
                                                         &simd_pointwise.impl, &separable};
