/* The implementations of this folder, one per variant and instruction set. */
#ifndef SEPBENCH_SIMD_H
#define SEPBENCH_SIMD_H

#include "../conv.h"
#include "../isa.h"

extern const conv_impl ISA_NAME(simd_dense), ISA_NAME(simd_pointwise), ISA_NAME(simd_depthwise);
extern const conv_impl ISA_NAME(simd_pointwise_fip), ISA_NAME(simd_separable_fused);
extern const conv_impl *const ISA_NAME(simd_impls)[CONV_VARIANT_COUNT];

#define simd_dense ISA_NAME(simd_dense)
#define simd_pointwise ISA_NAME(simd_pointwise)
#define simd_depthwise ISA_NAME(simd_depthwise)
#define simd_pointwise_fip ISA_NAME(simd_pointwise_fip)
#define simd_separable_fused ISA_NAME(simd_separable_fused)
#define simd_impls ISA_NAME(simd_impls)

#endif
