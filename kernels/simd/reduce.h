/* Sums whose order the problem fixes: partial results of fixed chunks, joined in a binary tree. */
#ifndef SEPBENCH_SIMD_REDUCE_H
#define SEPBENCH_SIMD_REDUCE_H

#include <stdbool.h>
#include <stdint.h>

#include "../conv.h"

#include "vec.h"

/* Sums of each chunk: [chunks][count], an array every `stride` floats. */
typedef struct {
    const float *at;
    int64_t chunks, stride, count; /* chunks > 0 */
} chunk_sums;

/* out[count] (+)= the sum over the chunks, joined pairwise in order; out may be the first of them. Thread
 * `thread` does its share of the elements. */
void reduce_chunks(const chunk_sums *sums, bool accumulate, float *out, int thread, int threads);

/* diff_bias: column sums of diff_dst [pixels][channels], in bias_chunks(pixels) chunks. Each thread adds up its
 * chunks into partials [chunks][channels]; reduce_chunks completes after all are done. */
int64_t bias_chunks(int64_t pixels);
void bias_sums(const float *diff_dst, int64_t pixels, int64_t channels, float *partials, int thread,
               int threads);

/* What a post-op left. */
typedef struct {
    const float *dst;
    conv_post_op op;
} post_output;
/* out = diff_dst where dst passes it, else 0. Thread's share of count elements. */
void post_mask(post_output post, const float *diff_dst, int64_t count, float *out, int thread, int threads);

#endif
