/* Sums whose order is fixed by the problem: the same bits on any number of threads. */
#ifndef SEPBENCH_IM2COL_REDUCE_H
#define SEPBENCH_IM2COL_REDUCE_H

#include "../conv.h"

/* sum[count] (+)= parts[0] + parts[1] + ... in a balanced tree; parts[chunks][count] is overwritten. */
void reduce_tree(float *parts, int64_t chunks, int64_t count, float *sum, bool add, int threads);

/* diff_bias[OC] from diff_dst, masked by dst > 0 when the problem has ReLU. scratch: reduce_bias_bytes. */
size_t reduce_bias_bytes(const conv_problem *p);
void reduce_bias(const conv_problem *p, const conv_args *args, float *scratch, int threads);

#endif
