/* Separable convolution whose products with the pointwise weights multiply pairs (gemm_fip.h): forward keeps
 * the intermediate in cache (separable_fused.c), unless backward will want it; the rest is depthwise, then
 * pointwise (dense.c). Inexact. Refuses what those refuse. */
#include "../compose.h"
#include "gemm_fip.h"
#include "simd.h"

static const conv_impl composed = {COMPOSE(&simd_depthwise, &simd_pointwise_fip)};

/* Whose functions do it. */
static const conv_impl *way(const conv_problem *p, conv_pass pass, const conv_context *ctx)
{
    bool fused = pass == CONV_FORWARD && !ctx->keep_workspace &&
                 simd_separable_fused.refuse(&simd_separable_fused, p, pass) == NULL;
    return fused ? &simd_separable_fused : &composed;
}

static const conv_impl *way_of(const conv_plan *plan)
{
    return way(&plan->problem, plan->pass, &plan->context);
}

static conv_status plan(const conv_impl *self, const conv_problem *p, conv_pass pass, const conv_context *ctx,
                        conv_plan **out, conv_error *err)
{
    return way(p, pass, ctx)->plan(self, p, pass, ctx, out, err);
}

static conv_status pack(const conv_plan *plan, const float *weights, const float *pointwise, void *packed)
{
    return way_of(plan)->pack(plan, weights, pointwise, packed);
}

static conv_status execute(const conv_plan *plan, const conv_args *args)
{
    return way_of(plan)->execute(plan, args);
}

static void destroy(conv_plan *plan) { way_of(plan)->destroy(plan); }

static const conv_impl separable = {.name = "fip-" ISA_STRING,
                                    .variant = CONV_SEPARABLE,
                                    .summary = "depthwise, then pointwise by pairs; forward in one pass",
                                    .isa = ISA_ENUM,
                                    .inexact = true,
                                    .error_factor = FIP_ERROR_FACTOR,
                                    .layouts = 1u << CONV_NHWC,
                                    .stage = {&simd_depthwise, &simd_pointwise_fip},
                                    .refuse = compose_refuse,
                                    .plan = plan,
                                    .pack = pack,
                                    .execute = execute,
                                    .destroy = destroy};

extern const conv_impl *const fip_impls[CONV_VARIANT_COUNT];
const conv_impl *const fip_impls[CONV_VARIANT_COUNT] = {
    [CONV_POINTWISE] = &simd_pointwise_fip, [CONV_SEPARABLE] = &separable};
