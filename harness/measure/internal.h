/* Shared by the files of this folder only. */
#ifndef SEPBENCH_MEASURE_INTERNAL_H
#define SEPBENCH_MEASURE_INTERNAL_H

#include "../worker/engines.h"
#include "evict.h"
#include "job.h"
#include "measure.h"
#include "quiet.h"
#include "samples.h"

/* ---- one row being measured */

/* Of a row that a worker measures. */
typedef struct {
    int id, generation;                           /* there; of the worker that has it open; id 0: none has */
    int losses;                                   /* workers that died on it, one after another */
    char note[sizeof(((record_row *)0)->reason)]; /* measure_describe's words */
} remote_state;

typedef struct {
    record_row *row;
    const conv_impl *impl;
    samples samples; /* of all visits */
    bool retired;    /* takes part in no further visit */
    bool no_time;    /* retired because it did not fit into the first visit's budget */
    bool visited;    /* took part in this one: its row is shown */
    bool open;       /* still to be measured in this visit */

    conv_job job; /* and the rest: of this visit; on the group's tensors and scratch */
    evict_list evict;
    conv_status status; /* of the last execute that failed */
    bool skip_call;     /* the runner's warm-up call is to do nothing */
    remote_state remote;
    double call_seconds; /* one call, in cold mode with its eviction */
    int64_t iterations;  /* calls of one repetition */
    int repetitions;     /* planned in this visit */
} timed_row;

/* ---- the rows of one problem, pass, thread count and cache mode */

struct measure_group {
    measure_setup setup;
    timed_row *rows;
    int count;
    conv_problem problem;
    conv_pass pass;
    int threads;
    bool cold;
    int visit;       /* 0 is the first */
    double fixed;    /* seconds a visit takes before any repetition, as seen so far */
    uint64_t random; /* state of the order */

    double began, budget; /* and the rest: of this visit */
    conv_context context;
    conv_tensors tensors;
    void *scratch;    /* one for all: its contents mean nothing between calls */
    const void *pool; /* the last call ran on threads of this plan's or worker's own; NULL: on OpenMP's */
};

/* Ends what a row gets: in the first visit with that status and reason, later it keeps the time it has unless
 * it failed. */
void measure_drop(timed_row *t, case_status status, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
void measure_drop_all(measure_group *g, case_status status, const char *reason); /* of the open rows */

/* Seconds of one call, to choose iterations by: verification's single call when that was long, else a few. */
void measure_calibrate(measure_group *g, timed_row *t);
/* Calls of a repetition that reports. */
int64_t measure_report_iterations(const measure_group *g, const timed_row *t);
/* Rounds of one repetition each, open rows in random order, until each has its `repetitions`. Past the
 * deadline only rows without any time go on. */
void measure_repeat(measure_group *g, sample_use use);

/* One repetition of the row's own job. A time that is not above 0: it failed. */
record_sample measure_take(measure_group *g, timed_row *t, int64_t iterations);

/* Plans, memory checks and verification: nothing of the timed calls is allocated yet. */
void measure_prepare(measure_group *g);
/* Plans and memory checks for the open rows, which were verified in the first visit. */
void measure_plan_again(measure_group *g);
/* Buffers, packed weights, and for a backward pass what its forward leaves behind. */
void measure_ready(measure_group *g, timed_row *t);
/* Call before a job's calls are timed: waits until no other pool spins on the cores. */
void measure_settle(measure_group *g, const timed_row *t);
/* Memory of the open rows' timed calls, then measure_ready and measure_calibrate for each. */
void measure_make_ready(measure_group *g);
/* What the row's plan decided, in words. Returns text. */
char *measure_describe(const timed_row *t, char *text, size_t size);
/* The begin and the end of a visit. */
void measure_begin(measure_group *g, double budget);
void measure_release(measure_group *g);
bool measure_any_open(const measure_group *g);
/* Seconds left of the visit's budget, above 0; 0 means there is none. */
double measure_budget_left(const measure_group *g);

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
void budget_fit(timed_row *rows, int count, const measure_options *options, double seconds);

/* Seconds of one repetition of so many calls of the row, its warm-up call included. */
double budget_repetition_seconds(const timed_row *t, int64_t iterations);
/* Calls that take min_time seconds, at least one. */
int64_t budget_iterations(double min_time, double call_seconds);

/* Closes the costliest open rows until the rest fits, each costing calls x call_seconds. */
void budget_drop(timed_row *rows, int count, double calls, double seconds);

/* ---- the same steps for a row that a worker measures (../worker/engines.h), asked for over its pipe; served.c
 * is the other end. When a worker dies, another one is started and prepares the row again. A row that has a
 * time keeps it; one that loses its worker too often fails, or, with a time, gets no more repetitions. */

/* Plan, memory checks and, unless the row has a time, verification. */
void remote_open(measure_group *g, timed_row *t);
/* Tensors, buffers, packed weights, and the cost of a call where it is not known. */
void remote_ready(measure_group *g, timed_row *t);
/* As measure_take; closes the row when no worker could take the repetition. */
record_sample remote_take(measure_group *g, timed_row *t, int64_t iterations);
/* The end of the visit. */
void remote_leave(measure_group *g, timed_row *t);

#endif
