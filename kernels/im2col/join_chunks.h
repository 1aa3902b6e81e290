/* Sums whose order is fixed by the problem: the same bits on any number of threads. */
#ifndef SEPBENCH_IM2COL_JOIN_CHUNKS_H
#define SEPBENCH_IM2COL_JOIN_CHUNKS_H

#include "../conv.h"

/* sum[count] (+)= parts[0] + parts[1] + ... in a balanced tree; parts[chunks][count] is overwritten. */
void join_chunks(float *parts, int64_t chunks, int64_t count, float *sum, bool add, int threads);

/* diff_bias[OC] from diff_dst, masked by dst when the problem has a post-op. scratch: bias_gradient_bytes. */
size_t bias_gradient_bytes(const conv_problem *p);
void bias_gradient(const conv_problem *p, const conv_args *args, float *scratch, int threads);

#endif
