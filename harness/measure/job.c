#include "job.h"

#include <string.h>

#include "../machine/machine.h"

/* A buffer of NaNs, touched first by the bound threads; NULL for no bytes. */
static bool poisoned(size_t bytes, void **buffer)
{
    enum { PIECE = 1 << 20 };
    *buffer = bytes == 0 ? NULL : buffer_alloc(bytes);
    if (*buffer == NULL) return bytes == 0;
    char *data = *buffer;
#pragma omp parallel for schedule(static) if (bytes > PIECE)
    for (size_t at = 0; at < bytes; at += PIECE)
        memset(data + at, 0xFF, bytes - at < PIECE ? bytes - at : PIECE);
    return true;
}

conv_status job_start(conv_job *job, const conv_impl *impl, const conv_problem *p, conv_pass pass,
                      const conv_context *ctx, const conv_args *args, conv_error *err)
{
    *job = (conv_job){0};
    conv_status status = conv_plan_create(impl, p, pass, ctx, &job->plan, err);
    if (status != CONV_OK) return status;
    const conv_plan *plan = job->plan;
    if (!poisoned(plan->packed_bytes, &job->packed) || !poisoned(plan->scratch_bytes, &job->scratch) ||
        !poisoned(plan->workspace_bytes, &job->workspace) ||
        !poisoned(plan->activation_bytes, &job->activations))
        status = conv_fail(err, CONV_NO_MEMORY,
                           "no memory for scratch (%zu MB), packed weights (%zu MB), workspace (%zu MB) and "
                           "activations (%zu MB)",
                           plan->scratch_bytes >> 20, plan->packed_bytes >> 20, plan->workspace_bytes >> 20,
                           plan->activation_bytes >> 20);
    if (status == CONV_OK) {
        status = conv_pack(plan, args->weights, args->pointwise, job->packed);
        if (status != CONV_OK) conv_fail(err, status, "%s: packing the weights failed", impl->name);
    }
    if (status != CONV_OK) job_finish(job);
    return status;
}

/* The forward that fills *workspace, of `bytes`. */
static conv_status run_forward(const conv_plan *backward, conv_args args, void **workspace, conv_error *err)
{
    const conv_problem *p = &backward->problem;
    conv_context ctx = backward->context;
    conv_job forward = {0};
    float *dst = buffer_alloc((size_t)conv_problem_sizes(p).dst * sizeof *dst);
    float *bias = buffer_alloc((size_t)p->oc * sizeof *bias);
    conv_status status =
        dst == NULL || bias == NULL ? conv_fail(err, CONV_NO_MEMORY, "no memory for dst") : CONV_OK;
    if (status == CONV_OK) {
        memset(bias, 0, (size_t)p->oc * sizeof *bias);
        args.dst = dst;
        args.bias = p->bias ? bias : NULL;
        ctx.keep_workspace = true;
        status = job_start(&forward, backward->impl, p, CONV_FORWARD, &ctx, &args, err);
    }
    if (status == CONV_OK && forward.plan->workspace_bytes != backward->workspace_bytes)
        status =
            conv_fail(err, CONV_FAILED, "forward writes a workspace of %zu bytes, %s reads %zu",
                      forward.plan->workspace_bytes, conv_pass_name(backward->pass), backward->workspace_bytes);
    if (status == CONV_OK) status = job_run(&forward, args, err);
    if (status == CONV_OK) {
        *workspace = forward.workspace;
        forward.workspace = NULL;
    }
    job_finish(&forward);
    buffer_free(dst);
    buffer_free(bias);
    return status;
}

conv_status job_prepare(conv_job *job, const conv_args *args, conv_error *err)
{
    if (job->plan->pass == CONV_FORWARD || job->workspace == NULL) return CONV_OK;
    if (args->src == NULL || args->weights == NULL)
        return conv_fail(err, CONV_FAILED, "%s reads a workspace of forward, which needs src and weights",
                         conv_pass_name(job->plan->pass));
    buffer_free(job->workspace);
    job->workspace = NULL;
    return run_forward(job->plan, *args, &job->workspace, err);
}

conv_status job_run(conv_job *job, conv_args args, conv_error *err)
{
    args.packed = job->packed;
    args.scratch = job->scratch;
    args.workspace = job->workspace;
    args.activations = job->activations;
    conv_status status = conv_enter(job->plan, &args);
    double start = machine_now();
    if (status == CONV_OK) status = conv_execute(job->plan, &args);
    job->execute_seconds = machine_now() - start;
    if (status == CONV_OK) status = conv_leave(job->plan, &args);
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
    buffer_free(job->scratch);
    buffer_free(job->workspace);
    buffer_free(job->activations);
    *job = (conv_job){0};
}
