/* Separable = depthwise, then pointwise, each by its own plan, the intermediate in memory.
 *
 *   forward    mid = depthwise(src); dst = pointwise(mid)      mid in scratch, or kept in the workspace
 *   backward   d_mid, diff_pointwise, diff_bias from mid, diff_dst; then diff_src, diff_weights from src, d_mid
 *
 * d_mid lies in scratch; mid is what forward kept in the workspace. The two stages run one after the other, so
 * they share one scratch area; each has its own part of the packed weights and of the workspace. */
#include "compose.h"

#include <stdio.h>

#include "plan.h"
#include "work.h"

typedef struct {
    conv_plan head;
    conv_plan *depthwise, *pointwise;
    size_t mid_bytes; /* [MB][OH][OW][C*M] or [MB][C*M][OH][OW], rounded up to cache lines */
} composed_plan;

const char *compose_refuse(const conv_impl *self, const conv_problem *p, conv_pass pass)
{
    conv_problem depthwise = conv_depthwise_stage(p), pointwise = conv_pointwise_stage(p);
    const char *reason = conv_refuse(self->stage[0], &depthwise, pass);
    return reason != NULL ? reason : conv_refuse(self->stage[1], &pointwise, pass);
}

conv_status compose_plan(const conv_impl *self, const conv_problem *p, conv_pass pass, const conv_context *ctx,
                         conv_plan **plan, conv_error *err)
{
    composed_plan *c = conv_plan_new(sizeof *c, self, p, pass, ctx);
    if (c == NULL) return conv_fail(err, CONV_NO_MEMORY, "no memory for a plan");
    conv_problem depthwise = conv_depthwise_stage(p), pointwise = conv_pointwise_stage(p);
    conv_context stage = *ctx;
    stage.told = false;
    conv_status status = conv_plan_create(self->stage[0], &depthwise, pass, &stage, &c->depthwise, err);
    if (status == CONV_OK)
        status = conv_plan_create(self->stage[1], &pointwise, pass, &stage, &c->pointwise, err);
    if (status != CONV_OK) {
        compose_destroy(&c->head);
        return status;
    }
    const conv_plan *d = c->depthwise, *w = c->pointwise;
    c->mid_bytes = conv_align((size_t)conv_problem_sizes(p).mid * sizeof(float));
    bool workspace = pass == CONV_BACKWARD || ctx->keep_workspace;
    bool scratch = pass == CONV_BACKWARD || !workspace; /* d_mid, or mid */
    c->head.scratch_bytes = (scratch ? c->mid_bytes : 0) +
                            (d->scratch_bytes > w->scratch_bytes ? d->scratch_bytes : w->scratch_bytes);
    c->head.packed_bytes = conv_align(d->packed_bytes) + w->packed_bytes;
    c->head.workspace_bytes =
        (workspace ? c->mid_bytes : 0) + conv_align(d->workspace_bytes) + w->workspace_bytes;
    snprintf(c->head.note, sizeof c->head.note, "composed%s%.60s%s%.60s", *d->note ? ", " : "", d->note,
             *w->note ? "; " : "", w->note);
    work_add(&c->head.work, &d->work, ctx->threads);
    work_add(&c->head.work, &w->work, ctx->threads);
    work_finish(&c->head, 0, 0);
    c->head.work.stated = d->work.stated && w->work.stated;
    *plan = &c->head;
    return CONV_OK;
}

conv_status compose_pack(const conv_plan *plan, const float *weights, const float *pointwise, void *packed)
{
    const composed_plan *c = (const composed_plan *)plan;
    conv_status status = conv_pack(c->depthwise, weights, NULL, packed);
    if (status != CONV_OK) return status;
    return conv_pack(c->pointwise, pointwise, NULL, (char *)packed + conv_align(c->depthwise->packed_bytes));
}

/* The arguments of one stage: its weights, its parts of packed and workspace, the common scratch. */
static conv_args stage_args(const composed_plan *c, const conv_args *args, bool pointwise, char *scratch)
{
    size_t packed = pointwise ? conv_align(c->depthwise->packed_bytes) : 0;
    bool mid_kept = c->head.pass == CONV_BACKWARD || c->head.context.keep_workspace;
    size_t workspace =
        (mid_kept ? c->mid_bytes : 0) + (pointwise ? conv_align(c->depthwise->workspace_bytes) : 0);
    return (conv_args){
        .weights = pointwise ? args->pointwise : args->weights,
        .packed = args->packed == NULL ? NULL : (const char *)args->packed + packed,
        .scratch = scratch,
        .workspace = args->workspace == NULL ? NULL : (char *)args->workspace + workspace,
        .accumulate = args->accumulate,
    };
}

static conv_status forward(const composed_plan *c, const conv_args *args)
{
    bool keep = c->head.context.keep_workspace;
    float *mid = keep ? args->workspace : args->scratch;
    char *scratch = keep ? args->scratch : (char *)args->scratch + c->mid_bytes;

    conv_args depthwise = stage_args(c, args, false, scratch);
    depthwise.src = args->src;
    depthwise.dst = mid;
    conv_status status = conv_execute(c->depthwise, &depthwise);
    if (status != CONV_OK) return status;

    conv_args pointwise = stage_args(c, args, true, scratch);
    pointwise.src = mid;
    pointwise.bias = args->bias;
    pointwise.dst = args->dst;
    return conv_execute(c->pointwise, &pointwise);
}

static conv_status backward(const composed_plan *c, const conv_args *args)
{
    float *mid = args->workspace, *d_mid = args->scratch;
    char *scratch = (char *)args->scratch + c->mid_bytes;

    conv_args pointwise = stage_args(c, args, true, scratch);
    pointwise.src = mid;
    pointwise.dst = args->dst;
    pointwise.diff_dst = args->diff_dst;
    pointwise.diff_src = d_mid;
    pointwise.diff_weights = args->diff_pointwise;
    pointwise.diff_bias = args->diff_bias;
    conv_status status = conv_execute(c->pointwise, &pointwise);
    if (status != CONV_OK) return status;

    conv_args depthwise = stage_args(c, args, false, scratch);
    depthwise.src = args->src;
    depthwise.diff_dst = d_mid;
    depthwise.diff_src = args->diff_src;
    depthwise.diff_weights = args->diff_weights;
    return conv_execute(c->depthwise, &depthwise);
}

conv_status compose_execute(const conv_plan *plan, const conv_args *args)
{
    const composed_plan *c = (const composed_plan *)plan;
    return plan->pass == CONV_FORWARD ? forward(c, args) : backward(c, args);
}

void compose_destroy(conv_plan *plan)
{
    composed_plan *c = (composed_plan *)plan;
    conv_plan_destroy(c->depthwise);
    conv_plan_destroy(c->pointwise);
    free(c);
}
