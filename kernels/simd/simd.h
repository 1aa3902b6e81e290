/* The implementations of this folder, one per variant and instruction set. */
#ifndef SEPBENCH_SIMD_SIMD_H
#define SEPBENCH_SIMD_SIMD_H

#include "../conv.h"
#include "../isa.h"
#include "dense/ways.h"

/* One that multiplies, and how; a fused one plans neither product. */
typedef struct {
    conv_impl impl;
    const gemm_way *way;
    matrix_product_planner *plan_product;
    wgrad_planner *plan_weights;
    product_lister *list_product; /* NULL: nothing to choose */
    wgrad_lister *list_weights;   /* the same */
} simd_impl;

extern const simd_impl simd_dense, simd_pointwise, simd_separable_fused;
extern const conv_impl simd_depthwise;
extern const conv_impl *const simd_impls[CONV_VARIANT_COUNT];

#endif
