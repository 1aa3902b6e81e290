/* One implementation at work on one problem and pass: its plan with the buffers the plan asks for. */
#ifndef SEPBENCH_JOB_H
#define SEPBENCH_JOB_H

#include "tensors.h"

typedef struct {
    conv_plan *plan;
    void *packed, *scratch, *workspace, *activations; /* guarded buffers, NULL where the plan needs none */
    double execute_seconds;                           /* of the last job_run, conversions left out */
} conv_job;

/* Plans, allocates buffers full of NaN, and packs args->weights and args->pointwise. On failure (status and
 * words as of conv_plan_create, or CONV_NO_MEMORY) the job needs no finish, though it is allowed. */
conv_status job_start(conv_job *job, const conv_impl *impl, const conv_problem *p, conv_pass pass,
                      const conv_context *ctx, const conv_args *args, conv_error *err);

/* A backward plan that reads a workspace: runs the implementation's own forward on args' src, weights,
 * pointwise (bias taken as 0) and gives the job what it left. Nothing to do for other plans. */
conv_status job_prepare(conv_job *job, const conv_args *args, conv_error *err);

/* enter, execute, leave with the job's buffers. */
conv_status job_run(conv_job *job, conv_args args, conv_error *err);

/* False when a guard of one of its buffers was overwritten; *which then names the buffer. */
bool job_intact(const conv_job *job, const char **which);

void job_finish(conv_job *job);

#endif
