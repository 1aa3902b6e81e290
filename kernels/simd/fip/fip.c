/* Pointwise and separable convolution whose products multiply pairs (fip.h). Pointwise is dense.c with those.
 * Separable keeps the intermediate of forward in cache (separable/fused_forward.c), unless backward will want
 * it; the rest is depthwise, then pointwise. Inexact. Refuses what those refuse. */
#include "fip.h"
#include "../../compose.h"
#include "../../plan.h"
#include "../dense/dense.h"
#include "../dense/product.h"
#include "weights_gradient.h"

static const char *refuse(const conv_impl *self, const conv_problem *p, conv_pass pass)
{
    /* A joint backward may need its forward's workspace. */
    int64_t terms = pass == CONV_FORWARD         ? p->ic / p->groups
                    : pass == CONV_BACKWARD_DATA ? p->oc / p->groups
                                                 : min64(p->ic, p->oc) / p->groups;
    (void)self;
    if (pass == CONV_BACKWARD_WEIGHTS && !fip_wgrad_fits(p))
        return "groups or strides: the sums over pixels multiply no pairs, as " ISA_STRING;
    if (terms < FIP_STEP) return "sums of fewer than 24 channels: hardly a pair";
    return NULL;
}

static wgrad *plan_weights(const conv_problem *p, const conv_context *ctx)
{
    return (fip_wgrad_fits(p) ? fip_wgrad_plan : wgrad_plan)(p, ctx);
}

static void list_weights(const conv_problem *p, const conv_context *ctx, conv_candidates *candidates)
{
    (fip_wgrad_fits(p) ? fip_wgrad_strategies : wgrad_strategies)(p, ctx, candidates);
}

static const simd_impl pointwise = {.impl = {MATRIX_CONVOLUTION(CONV_POINTWISE), .name = "fip-" ISA_STRING,
                                             .refuse = refuse, .inexact = true,
                                             .error_factor = FIP_ERROR_FACTOR,
                                             .summary = "GEMM on NHWC, pairs of terms for one multiplication"},
                                    .way = &fip_way,
                                    .plan_product = product_plan,
                                    .plan_weights = plan_weights,
                                    .list_product = product_strategies,
                                    .list_weights = list_weights};

/* ---- separable */

static const conv_impl composed = {COMPOSE(&simd_depthwise, &pointwise.impl)};

/* Whose functions do it. */
static const conv_impl *way(const conv_problem *p, conv_pass pass, const conv_context *ctx)
{
    bool fused = pass == CONV_FORWARD && !ctx->keep_workspace &&
                 simd_separable_fused.impl.refuse(&simd_separable_fused.impl, p, pass) == NULL;
    return fused ? &simd_separable_fused.impl : &composed;
}

static const conv_impl *way_of(const conv_plan *plan)
{
    return way(&plan->problem, plan->pass, &plan->context);
}

static void strategies(const conv_impl *self, const conv_problem *p, conv_pass pass, const conv_context *ctx,
                       conv_candidates *list)
{
    const conv_impl *whose = way(p, pass, ctx);
    if (whose->strategies != NULL) whose->strategies(self, p, pass, ctx, list);
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

static const simd_impl separable = {
    .impl = {.name = "fip-" ISA_STRING,
             .variant = CONV_SEPARABLE,
             .summary = "depthwise, then pointwise by pairs; forward in one pass",
             .isa = ISA_ENUM,
             .inexact = true,
             .error_factor = FIP_ERROR_FACTOR,
             .layouts = 1u << CONV_NHWC,
             .stage = {&simd_depthwise, &pointwise.impl},
             .refuse = compose_refuse,
             .plan = plan,
             .strategies = strategies,
             .pack = pack,
             .execute = execute,
             .destroy = destroy},
    .way = &fip_way};

extern const conv_impl *const fip_impls[CONV_VARIANT_COUNT];
const conv_impl *const fip_impls[CONV_VARIANT_COUNT] = {
    [CONV_POINTWISE] = &pointwise.impl, [CONV_SEPARABLE] = &separable.impl};
