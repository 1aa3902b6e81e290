#include "job.h"

#include <string.h>

#include "../machine/machine.h"

void job_poison(void *buffer, size_t bytes)
{
    enum { PIECE = 1 << 20 };
    char *data = buffer;
#pragma omp parallel for schedule(static) if (bytes > PIECE)
    for (size_t at = 0; at < bytes; at += PIECE)
        memset(data + at, 0xFF, bytes - at < PIECE ? bytes - at : PIECE);
}

/* NULL for no bytes. */
static bool poisoned(size_t bytes, void **buffer)
{
    *buffer = bytes == 0 ? NULL : buffer_alloc(bytes);
    if (*buffer != NULL) job_poison(*buffer, bytes);
    return *buffer != NULL || bytes == 0;
}

conv_status job_plan(conv_job *job, const conv_impl *impl, const conv_problem *p, conv_pass pass,
                     const conv_context *ctx, conv_error *err)
{
    *job = (conv_job){0};
    return conv_plan_create(impl, p, pass, ctx, &job->plan, err);
}

double job_bytes(const conv_job *job)
{
    const conv_plan *p = job->plan;
    return (double)p->packed_bytes + (double)p->scratch_bytes + (double)p->workspace_bytes +
           (double)p->activation_bytes;
}

static conv_status allocate(conv_job *job, void *scratch, conv_error *err)
{
    const conv_plan *plan = job->plan;
    bool reads_workspace = plan->pass != CONV_FORWARD; /* its forward brings it */
    job->borrowed = scratch != NULL;
    job->scratch = scratch;
    if (poisoned(plan->packed_bytes, &job->packed) && poisoned(plan->activation_bytes, &job->activations) &&
        (job->borrowed || poisoned(plan->scratch_bytes, &job->scratch)) &&
        (reads_workspace || poisoned(plan->workspace_bytes, &job->workspace)))
        return CONV_OK;
    return conv_fail(err, CONV_NO_MEMORY,
                     "no memory for scratch (%zu MB), packed weights (%zu MB), workspace (%zu MB) and "
                     "activations (%zu MB)",
                     plan->scratch_bytes >> 20, plan->packed_bytes >> 20, plan->workspace_bytes >> 20,
                     plan->activation_bytes >> 20);
}

/* Its own forward, for the workspace that it writes. */
static conv_status run_forward(conv_job *job, conv_error *err)
{
    const conv_plan *backward = job->plan;
    const conv_problem *p = &backward->problem;
    conv_context ctx = backward->context;
    conv_args args = job->args;
    conv_job forward = {0};
    ctx.told = false; /* the strategy is backward's */
    if (args.src == NULL || args.weights == NULL)
        return conv_fail(err, CONV_FAILED, "%s reads a workspace of forward, which needs src and weights",
                         conv_pass_name(backward->pass));
    float *dst = buffer_alloc((size_t)conv_problem_sizes(p).dst * sizeof *dst);
    float *bias = buffer_alloc((size_t)p->oc * sizeof *bias);
    conv_status status =
        dst == NULL || bias == NULL ? conv_fail(err, CONV_NO_MEMORY, "no memory for dst") : CONV_OK;
    ctx.keep_workspace = true;
    if (status == CONV_OK) status = job_plan(&forward, backward->impl, p, CONV_FORWARD, &ctx, err);
    if (status == CONV_OK && forward.plan->workspace_bytes != backward->workspace_bytes)
        status =
            conv_fail(err, CONV_FAILED, "forward writes a workspace of %zu bytes, %s reads %zu",
                      forward.plan->workspace_bytes, conv_pass_name(backward->pass), backward->workspace_bytes);
    if (status == CONV_OK) {
        memset(bias, 0, (size_t)p->oc * sizeof *bias);
        args.dst = dst;
        args.bias = p->bias ? bias : NULL;
        status = job_ready(&forward, &args, NULL, err);
    }
    if (status == CONV_OK) status = job_run(&forward, err);
    if (status == CONV_OK) {
        job->workspace = forward.workspace;
        forward.workspace = NULL;
    }
    job_finish(&forward);
    buffer_free(dst);
    buffer_free(bias);
    return status;
}

conv_status job_ready(conv_job *job, const conv_args *args, void *scratch, conv_error *err)
{
    const conv_plan *plan = job->plan;
    job->args = *args;
    conv_status status = allocate(job, scratch, err);
    if (status == CONV_OK) {
        status = conv_pack(plan, args->weights, args->pointwise, job->packed);
        if (status != CONV_OK) conv_fail(err, status, "%s: packing the weights failed", plan->impl->name);
    }
    if (status == CONV_OK && plan->pass != CONV_FORWARD && plan->workspace_bytes > 0)
        status = run_forward(job, err);
    job->args.packed = job->packed;
    job->args.scratch = job->scratch;
    job->args.workspace = job->workspace;
    job->args.activations = job->activations;
    return status;
}

conv_status job_run(conv_job *job, conv_error *err)
{
    conv_status status = conv_enter(job->plan, &job->args);
    double start = machine_now();
    if (status == CONV_OK) status = conv_execute(job->plan, &job->args);
    job->execute_seconds = machine_now() - start;
    if (status == CONV_OK) status = conv_leave(job->plan, &job->args);
    return status == CONV_OK ? status : conv_fail(err, status, "%s: execute failed", job->plan->impl->name);
}

bool job_intact(const conv_job *job, const char **which)
{
    const struct {
        const void *buffer;
        const char *name;
    } all[] = {{job->packed, "packed weights"},
               {job->scratch, "scratch"},
               {job->workspace, "workspace"},
               {job->activations, "activations"}};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        if (all[i].buffer != NULL && !buffer_intact(all[i].buffer)) {
            *which = all[i].name;
            return false;
        }
    return true;
}

void job_finish(conv_job *job)
{
    conv_plan_destroy(job->plan);
    buffer_free(job->packed);
    if (!job->borrowed) buffer_free(job->scratch);
    buffer_free(job->workspace);
    buffer_free(job->activations);
    *job = (conv_job){0};
}
