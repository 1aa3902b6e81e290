/* The implementations of this folder, one per variant and instruction set. */
#ifndef SEPBENCH_SIMD_SIMD_H
#define SEPBENCH_SIMD_SIMD_H

#include "../conv.h"
#include "../isa.h"
#include "dense/weights_gradient.h"
#include "gemm/gemm.h"

/* One that multiplies, and how: its products with weights, the weights' gradient (NULL in a fused one). */
typedef struct {
    conv_impl impl;
    const gemm_way *way;
    wgrad *(*plan_weights)(const conv_problem *p, const conv_context *ctx);
} simd_impl;

extern const simd_impl simd_dense, simd_pointwise, simd_separable_fused;
extern const conv_impl simd_depthwise;
extern const conv_impl *const simd_impls[CONV_VARIANT_COUNT];

#endif
