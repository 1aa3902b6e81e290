/* Timing one group: all implementations of one problem, pass, thread count and cache mode, their repetitions
 * interleaved in random order, each verified before it is timed. Google Benchmark runs the loops
 * (bench/gbench.h); this decides iteration counts, owns the tensors, and turns samples into rows. */
#ifndef SEPBENCH_MEASURE_H
#define SEPBENCH_MEASURE_H

#include "../machine/machine.h"
#include "../record/record.h"
#include "verify.h"

typedef struct {
    int repetitions; /* wanted, 9 by default */
    double min_time; /* seconds per repetition, 0.008 by default: iterations are calibrated to it */
    double budget;   /* seconds this group may take; repetitions then iterations are reduced to fit; fewer
                        than 1 affordable repetition: `skipped` with the estimate. 0: unlimited */
    bool verify;     /* always true for users; false only for the harness's own overhead benchmark */
    uint64_t seed;
    const machine_ceilings *ceilings; /* for percent of peak and the roof; NULL: not known */
} measure_options;

/* One call of execute: what a runner repeats. */
typedef struct {
    void (*once)(void *ctx);
    void (*evict)(void *ctx); /* cold mode: before every call, untimed; NULL when warm */
    void *ctx;
} measure_loop;

/* Who runs loops: Google Benchmark through bench/gbench.c's adapter; tests pass a fake. Runs `iterations`
 * calls after one untimed warm-up call and returns nanoseconds per iteration, negative on failure. */
typedef double measure_runner(void *runner, const char *case_name, const measure_loop *loop, int64_t iterations,
                              int repetition);

/* rows[count] share problem, pass, threads and cache; they come in cleared (record_clear_measured) with the
 * case filled in, and go out complete. A row that already has another status, or a reason, is passed on as it
 * is. machine_bind_threads has made the pool. on_sample (may be NULL) sees each repetition as it is measured,
 * on_row (may be NULL) each finished row; rows cut short by an interruption (cli_interrupted) are not finished
 * and not shown. Returns the number of rows that got a time. */
typedef struct {
    void (*on_sample)(void *ctx, const record_row *row, int repetition, int64_t iterations, double ns);
    void (*on_row)(void *ctx, const record_row *row);
    void *ctx;
} measure_sink;

int measure_group(record_row *rows, int count, const measure_options *options, measure_runner *run,
                  void *runner, const measure_sink *sink);

/* Seconds that one row will likely take with these options: verification, warm-up, repetitions. From FLOPs and
 * a speed per implementation, corrected by what this session has measured so far. */
double measure_estimate(const record_row *row, const measure_options *options);

/* Samples taken in this process, and those in which its threads waited for a core more than 2% of the time,
 * because another process had it. */
typedef struct {
    int64_t samples, disturbed;
} measure_session;
measure_session measure_session_so_far(void);

#endif
