/* Separable convolution by composition: any depthwise followed by any pointwise implementation, the
 * intermediate [MB][OH][OW][C*M] in memory (the workspace when backward will need it, else scratch).
 *
 * An implementation folder gets its separable for one line:
 *     const conv_impl naive_separable = {COMPOSE(&naive_depthwise, &naive_pointwise), .name = "naive", ...};
 * backward runs pointwise backward (d_mid into scratch), then depthwise backward. */
#ifndef SEPBENCH_COMPOSE_H
#define SEPBENCH_COMPOSE_H

#include "conv.h"

#define COMPOSE(depthwise_impl, pointwise_impl)                                                                \
    .variant = CONV_SEPARABLE, .stage = {(depthwise_impl), (pointwise_impl)}, .refuse = compose_refuse,        \
    .plan = compose_plan, .pack = compose_pack, .execute = compose_execute, .destroy = compose_destroy

const char *compose_refuse(const conv_impl *self, const conv_problem *p, conv_pass pass);
conv_status compose_plan(const conv_impl *self, const conv_problem *p, conv_pass pass, const conv_context *ctx,
                         conv_plan **plan, conv_error *err);
conv_status compose_pack(const conv_plan *plan, const float *weights, const float *pointwise, void *packed);
conv_status compose_execute(const conv_plan *plan, const conv_args *args);
void compose_destroy(conv_plan *plan);

#endif
