/* backward_weights of dense and pointwise: diff_weights[tap][c][n] = sum over pixels of src[pixel of tap][c] *
 * diff_dst[pixel][n], per channel group. */
#ifndef SEPBENCH_SIMD_DENSE_WEIGHTS_GRADIENT_H
#define SEPBENCH_SIMD_DENSE_WEIGHTS_GRADIENT_H

#include "../../conv.h"
#include "../thread_share.h"

/* A plan of it, whichever way; the way's own plan begins with this. */
typedef struct wgrad wgrad;
typedef void wgrad_runner(const wgrad *w, const wgrad_share *share);
struct wgrad {
    wgrad_runner *run;
    int64_t chunks; /* fixed chunks of pixels with sums of their own. If more than 1 the sums lie in partials
                       afterwards, [chunks][taps][IC/G][OC]: reduce_chunks completes them. */
    size_t thread_floats, partial_floats; /* scratch per thread; in common */
    conv_work work;                       /* what a run does */
};

/* By columns of gemm.h; to be freed. NULL: no memory. */
wgrad *wgrad_plan(const conv_problem *p, const conv_context *ctx);

#endif
