/* Depthwise convolution (multiplier 1) of rows of one image over a block of channels, for the fused kernels:
 * the tensors are NHWC with a free distance between pixels, so a block may lie in a tensor (distance C) or in a
 * cache-sized buffer of its own. */
#ifndef SEPBENCH_SIMD_DEPTHWISE_CHANNEL_BLOCK_H
#define SEPBENCH_SIMD_DEPTHWISE_CHANNEL_BLOCK_H

#include "../axis.h"

enum { BLOCK_KERNEL_ROWS = 16 }; /* the tallest kernel */

/* Which taps read what: forward (from src to dst), or backward_data (from diff_dst to diff_src). */
typedef struct {
    conv_axis h;
    bool backward;
    int64_t in_width, out_width, taps_w;
    bool pairs; /* block_convolve takes two rows at once (depthwise_pair) */
    axis_segments w;
} block_plan;

/* False when memory is short. */
bool block_plan_build(const conv_problem *p, bool backward, block_plan *plan);
void block_plan_free(block_plan *plan);

typedef struct {
    const float *in;  /* the image's pixel (0, 0), first channel of the block */
    int64_t in_pixel; /* floats from one pixel to the next */
    float *out;       /* pixel (row_begin, 0), first channel of the block */
    int64_t out_pixel;
    int64_t channels;
    int64_t row_begin, row_end; /* of out */
} block_tensors;

/* out = in convolved with weights [KH*KW][..], taps `tap` floats apart. Overwrites out. */
void block_convolve(const block_plan *plan, const block_tensors *t, const float *weights, int64_t tap);
/* diff_weights[KH*KW][..] += sums over the rows of in (src) times out (diff_dst, which is only read). Forward
 * plan. */
void block_gradient(const block_plan *plan, const block_tensors *t, float *diff_weights, int64_t tap);

#endif
