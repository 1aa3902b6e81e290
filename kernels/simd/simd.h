/* The implementations of this folder, one per variant and instruction set. */
#ifndef SEPBENCH_SIMD_H
#define SEPBENCH_SIMD_H

#include "../conv.h"
#include "../isa.h"

extern const conv_impl simd_dense, simd_pointwise, simd_depthwise;
extern const conv_impl simd_pointwise_fip, simd_separable_fused;
extern const conv_impl *const simd_impls[CONV_VARIANT_COUNT];

#endif
