/* The weights' gradient of a pointwise convolution with a product that multiplies pairs (gemm_fip.h). */
#ifndef SEPBENCH_SIMD_FIP_WGRAD_H
#define SEPBENCH_SIMD_FIP_WGRAD_H

#include "../conv.h"
#include "gemm_fip.h"

typedef struct {
    int64_t pixels, inputs, outputs;
    int64_t block, blocks; /* pixels of a block, the last one may have fewer; blocks */
    int64_t chunks;        /* fixed chunks of blocks with sums of their own */
    int64_t lines, panels; /* the inputs' cache lines and the outputs' panels, which are dealt out */
    int64_t input_parts, output_parts;
    int nv;
    bool far;            /* src and diff_dst do not fit L2: the next block is asked for ahead of time */
    int64_t rows_floats; /* of a thread's scratch, the rows' part */
    size_t thread_floats, partial_floats; /* scratch per thread; in common */
} fip_wgrad;

/* Whether the pixels of src and dst correspond one to one, as they have to. */
bool fip_wgrad_fits(const conv_problem *p);
void fip_wgrad_plan(const conv_problem *p, const conv_context *ctx, fip_wgrad *out);
/* diff_weights[IC][OC] (+)= sum over pixels of src[pixel][IC] * diff_dst[pixel][OC]: thread `thread`'s share.
 * partials: partial_floats in common; scratch: its own thread_floats. When chunks > 1 the sums lie in partials
 * afterwards, [chunks][IC][OC]. */
void fip_wgrad_run(const fip_wgrad *w, const float *src, const float *diff_dst, float *diff_weights,
                   bool accumulate, float *partials, float *scratch, int thread, int threads);

#endif
