/* backward_weights of dense and pointwise: diff_weights[tap][c][n] = sum over pixels of src[pixel of tap][c] *
 * diff_dst[pixel][n], per channel group, by columns of gemm.h. */
#ifndef SEPBENCH_SIMD_DENSE_WEIGHTS_GRADIENT_H
#define SEPBENCH_SIMD_DENSE_WEIGHTS_GRADIENT_H

#include "ways.h"

wgrad_planner wgrad_plan;
wgrad_lister wgrad_strategies;

#endif
