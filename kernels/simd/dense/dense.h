/* Dense and pointwise convolution (dense.c) for every simd_impl: an implementation gets its functions by
 *     const simd_impl name = {.impl = {MATRIX_CONVOLUTION(CONV_DENSE), .name = ...}, .way = ..., ...}; */
#ifndef SEPBENCH_SIMD_DENSE_DENSE_H
#define SEPBENCH_SIMD_DENSE_DENSE_H

#include "../simd.h"

#define MATRIX_CONVOLUTION(which)                                                                              \
    .variant = (which), .isa = ISA_ENUM, .layouts = 1u << CONV_NHWC, .strategies = dense_strategies,           \
    .plan = dense_plan_create, .pack = dense_pack, .execute = dense_execute, .destroy = dense_destroy

void dense_strategies(const conv_impl *self, const conv_problem *p, conv_pass pass, const conv_context *ctx,
                      conv_candidates *candidates);
conv_status dense_plan_create(const conv_impl *self, const conv_problem *p, conv_pass pass,
                              const conv_context *ctx, conv_plan **out, conv_error *err);
conv_status dense_pack(const conv_plan *plan, const float *weights, const float *pointwise, void *packed);
conv_status dense_execute(const conv_plan *plan, const conv_args *args);
void dense_destroy(conv_plan *plan);

#endif
