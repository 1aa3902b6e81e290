/* backward_weights of dense and pointwise: diff_weights[tap][c][n] = sum over pixels of src[pixel of tap][c] *
 * diff_dst[pixel][n], per channel group. */
#ifndef SEPBENCH_SIMD_WGRAD_H
#define SEPBENCH_SIMD_WGRAD_H

#include "../conv.h"
#include "gemm.h"

typedef struct {
    conv_problem problem;
    int64_t groups, inputs, outputs; /* channels per group */
    int64_t taps;
    bool lower;               /* taps put in line: one row of taps*inputs values per output pixel */
    bool copy;                /* operands are copied closer together first */
    bool far;                 /* src and diff_dst do not fit L2: what comes next is asked for ahead of time */
    int64_t height;           /* rows of the product: inputs, or taps*inputs when lowered */
    int64_t a_pixel, b_pixel; /* floats from one pixel to the next, of src and diff_dst or of their copies */
    int nv;
    int64_t panels, strips; /* tiles along outputs, along height */
    int64_t together;       /* strips whose inputs stay in L2 while the panels pass */
    int64_t images, row_blocks,
        rows;               /* a block of pixels: whole images, or a share of one image's rows; its rows */
    int64_t blocks, chunks; /* blocks of pixels in all; fixed chunks of them with sums of their own */
    int64_t units;          /* of one chunk: groups * panels * strips * taps */
    int64_t a_floats, b_floats, run_floats; /* parts of a thread's scratch */
    size_t thread_floats, partial_floats;   /* scratch per thread; in common */
} wgrad;

void wgrad_plan(const conv_problem *p, const conv_context *ctx, wgrad *out);

/* Thread `thread`'s share. partials: partial_floats in common; scratch: its own thread_floats. When chunks > 1
 * the sums lie in partials afterwards, [chunks][taps][IC/G][OC]: reduce_chunks completes them. */
void wgrad_run(const wgrad *w, const float *src, const float *diff_dst, float *diff_weights, bool accumulate,
               float *partials, float *scratch, int thread, int threads);

#endif
