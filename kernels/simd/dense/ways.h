/* What dense.c asks of a way to convolve by matrix products: one product for forward or backward_data, one for
 * the weights' gradient. The implicit GEMM's are in this folder, Winograd's and fip's in their own. */
#ifndef SEPBENCH_SIMD_DENSE_WAYS_H
#define SEPBENCH_SIMD_DENSE_WAYS_H

#include "../../conv.h"
#include "../gemm/gemm.h"

/* What one thread of a team is given. Scratch is the product's common_floats where it has some, else
 * thread_floats of the thread's own. */

/* Forward: from src to dst. backward_data: from diff_dst to diff_src, without bias and post-op. */
typedef struct {
    const float *in, *packed, *bias; /* bias: NULL for none */
    float clip;                      /* as conv_clipped() */
    float *out, *scratch;
    int thread, threads;
} product_share;

/* backward_weights. */
typedef struct {
    const float *src, *diff_dst;
    float *diff_weights;
    bool accumulate;
    float *partials, *scratch; /* partials: in common, partial_floats */
    int thread, threads;
} wgrad_share;

/* Plans begin with these heads and are released by free(), but for what `release`, unless NULL, frees. */
typedef struct matrix_product matrix_product;
struct matrix_product {
    void (*pack)(const matrix_product *m, const float *weights, float *packed, int threads);
    void (*run)(const matrix_product *m, const product_share *share); /* called by every thread of the team */
    void (*release)(matrix_product *m);
    size_t packed_floats, thread_floats, common_floats;
    conv_work work; /* what a run does */
    char note[CONV_NOTE];
};

typedef struct wgrad wgrad;
struct wgrad {
    void (*run)(const wgrad *w, const wgrad_share *share); /* called by every thread of the team */
    int64_t chunks; /* fixed chunks of pixels with sums of their own. If more than 1 the sums lie in partials
                       afterwards, [chunks][taps][IC/G][OC]: reduce_chunks completes them. */
    size_t thread_floats, partial_floats, common_floats;
    conv_work work; /* what a run does */
    char note[CONV_NOTE];
};

/* As conv_plan_create; backward: data. */
typedef conv_status matrix_product_planner(const conv_problem *p, bool backward, const gemm_way *way,
                                           const conv_context *ctx, matrix_product **out, conv_error *err);
/* NULL: no memory. */
typedef wgrad *wgrad_planner(const conv_problem *p, const conv_context *ctx);
/* As conv_impl.strategies; backward: data. */
typedef void product_lister(const conv_problem *p, bool backward, const gemm_way *way, const conv_context *ctx,
                            conv_candidates *candidates);
typedef void wgrad_lister(const conv_problem *p, const conv_context *ctx, conv_candidates *candidates);

#endif
