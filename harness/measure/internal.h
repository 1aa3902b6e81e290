/* Shared by the measure*.c files only. */
#ifndef SEPBENCH_MEASURE_INTERNAL_H
#define SEPBENCH_MEASURE_INTERNAL_H

#include "evict.h"
#include "measure.h"
#include "quiet.h"

/* ---- one row being measured */

typedef struct {
    record_row *row;
    const conv_impl *impl;
    conv_plan *plan;
    void *packed, *workspace, *activations;
    conv_args args;
    evict_list evict;
    conv_status status;  /* of the last execute that failed */
    bool skip_call;      /* the runner's warm-up call is to do nothing */
    bool open;           /* still to be measured */
    double call_seconds; /* one call, in cold mode with its eviction */
    int64_t iterations;  /* calls of one repetition */
    int repetitions;     /* planned */
    int samples;         /* done */
    double *sample;      /* [repetitions] nanoseconds per call */
} measure_job;

/* ---- the rows of one problem, pass, thread count and cache mode */

typedef struct {
    measure_job *jobs;
    int count;
    const measure_options *options;
    const machine_ceilings *ceilings;
    measure_runner *run;
    void *runner;
    const measure_sink *sink;
    conv_problem problem;
    conv_pass pass;
    int threads;
    bool cold;
    conv_context context;
    conv_tensors tensors;
    void *scratch;         /* one for all: its contents mean nothing between calls */
    const conv_plan *pool; /* the last call ran on threads of this plan's own; NULL: on OpenMP's */
    double started;
} group;

/* Ends a row that gets no time. */
void measure_close(measure_job *job, case_status status, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
/* Plans, memory checks and verification: nothing of the timed calls is allocated yet. */
void measure_prepare(group *g);
/* Buffers, packed weights, and for a backward pass what its forward leaves behind. */
void measure_ready(group *g, measure_job *j);
/* Call before a job's calls are timed: waits until no other pool spins on the cores. */
void measure_settle(group *g, const measure_job *j);
/* One sample in which they waited that long, of so many seconds times threads. */
void quiet_count(double waited, double thread_seconds);
bool measure_any_open(const group *g);
/* Seconds left of the group's budget, above 0; 0 means there is none. */
double measure_budget_left(const group *g);

/* ---- time: what a row costs, and how to fit a group into its budget */

/* Seconds one call will likely take: from what this session has measured of that implementation, variant, pass
 * and thread count, scaled by FLOPs from the nearest problem; before that from a cautious general speed. */
double budget_call_seconds(const record_row *row);
void budget_learn(const record_row *row, double seconds);

/* Whether the runner's warm-up call is left out: what it warms takes a fraction of a millisecond. */
bool budget_skips_warmup(double call_seconds);

/* Sets repetitions and iterations of the open jobs so that they take at most `seconds` (0: unlimited): first
 * by shorter repetitions, then by fewer of them, the costliest rows first. Where even one each does not fit,
 * closes the costliest rows as skipped, with their estimate. */
void budget_fit(measure_job *jobs, int count, const measure_options *options, double seconds);

/* Closes the costliest open rows until the rest fits, each costing calls x call_seconds. */
void budget_drop(measure_job *jobs, int count, double calls, double seconds);

#endif
