/* The other activation layout for implementations that lack it: transposes src and diff_dst into scratch,
 * runs the implementation in its own layout, transposes the outputs back, all inside the timed execute.
 * The plan's note says "nchw by transpose". conv.c is its only caller, but for the transpose itself. */
#ifndef SEPBENCH_TRANSPOSE_H
#define SEPBENCH_TRANSPOSE_H

#include "conv.h"

/* True when impl does not run p's layout natively. */
bool transpose_needed(const conv_impl *impl, const conv_problem *p);
/* p in the layout the implementation has. */
conv_problem transpose_problem(const conv_problem *p);

conv_status transpose_plan(const conv_impl *impl, const conv_problem *p, conv_pass pass,
                           const conv_context *ctx, conv_plan **plan, conv_error *err);
conv_status transpose_pack(const conv_plan *plan, const float *weights, const float *pointwise, void *packed);
conv_status transpose_execute(const conv_plan *plan, const conv_args *args);
void transpose_destroy(conv_plan *plan);

/* from [batch][rows][cols], to [batch][cols][rows]. */
void transpose_images(const float *from, float *to, int64_t batch, int64_t rows, int64_t cols, int threads);

#endif
