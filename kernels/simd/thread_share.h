/* What one thread of a team is given of a pass; dense and Winograd's convolutions alike. */
#ifndef SEPBENCH_SIMD_THREAD_SHARE_H
#define SEPBENCH_SIMD_THREAD_SHARE_H

#include <stdbool.h>

/* Forward: from src to dst. backward_data: from diff_dst to diff_src, without bias and ReLU. */
typedef struct {
    const float *in, *packed, *bias; /* bias: NULL for none */
    bool relu;
    float *out, *scratch;
    int thread, threads;
} product_share;

/* backward_weights. */
typedef struct {
    const float *src, *diff_dst;
    float *diff_weights;
    bool accumulate;
    float *partials, *scratch; /* partials: in common, where the way has some */
    int thread, threads;
} wgrad_share;

#endif
