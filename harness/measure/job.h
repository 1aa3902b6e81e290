/* One implementation at work on one problem and pass: its plan with the buffers the plan asks for. */
#ifndef SEPBENCH_JOB_H
#define SEPBENCH_JOB_H

#include "tensors.h"

typedef struct {
    conv_plan *plan;
    conv_args args;                                   /* as given to job_ready, with the buffers below */
    void *packed, *scratch, *workspace, *activations; /* guarded buffers, NULL where the plan needs none */
    bool borrowed;                                    /* scratch is the caller's */
    double execute_seconds;                           /* of the last job_run, conversions left out */
} conv_job;

/* The plan alone, so that what it asks for is known before memory is taken; of a cleared job. Status and words
 * as of conv_plan_create. */
conv_status job_plan(conv_job *job, const conv_impl *impl, const conv_problem *p, conv_pass pass,
                     const conv_context *ctx, conv_error *err);

/* Allocates buffers full of NaN and packs args' weights; scratch: the caller's, or NULL for one of its own. A
 * backward plan that reads a workspace gets what the implementation's own forward leaves on args' src, weights
 * and pointwise (bias taken as 0). */
conv_status job_ready(conv_job *job, const conv_args *args, void *scratch, conv_error *err);

/* Fills a buffer with NaN, from the bound threads. */
void job_poison(void *buffer, size_t bytes);

/* enter, execute, leave. */
conv_status job_run(conv_job *job, conv_error *err);

/* Bytes of the buffers its plan asks for. */
double job_bytes(const conv_job *job);

/* False when a guard of one of its buffers was overwritten; *which then names the buffer. */
bool job_intact(const conv_job *job, const char **which);

/* Whatever became of it: planned, ready, or neither. Clears it. */
void job_finish(conv_job *job);

#endif
