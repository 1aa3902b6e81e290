/* Timing one group: all implementations of one problem, pass, thread count and cache mode, each verified before
 * it is timed. A group is visited several times over a session, a few repetitions each time, those of all
 * implementations interleaved in random order: no burst of somebody else's work takes all repetitions of a row,
 * and what differs from visit to visit (where memory lies, the clock) shows. In the first visit everybody gets
 * a little time; who lies clearly behind (race.h) then stops. Google Benchmark runs the loops (bench/gbench.h);
 * this decides iteration counts, owns the tensors, and turns samples into rows. */
#ifndef SEPBENCH_MEASURE_H
#define SEPBENCH_MEASURE_H

#include "../machine/machine.h"
#include "../record/record.h"
#include "verify.h"

typedef struct {
    int repetitions; /* wanted of each row that stays in the race, 9 by default */
    double min_time; /* seconds per repetition, 0.008 by default: iterations are calibrated to it */
    double budget;   /* seconds the first visit may take; repetitions then iterations are reduced to fit; fewer
                        than 1 affordable repetition: `skipped` with the estimate. 0: unlimited */
    bool verify;     /* always true for users; false only for the harness's own overhead benchmark */
    bool replace; /* disturbed repetitions are taken again; false only for tests, which are disturbed at will */
    bool equal;   /* no race: every row gets all repetitions */
    uint64_t seed;
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

/* Tells the runner of a repetition whose loop ran in a worker (../worker/engines.h). */
typedef void measure_note(void *runner, const char *case_name, double ns, int64_t iterations, int repetition);

/* on_sample (may be NULL) sees each repetition as it is measured, on_row (may be NULL) each row after every
 * visit that changed it; rows that an interruption (cli_interrupted) left without a repetition are not shown.
 */
typedef struct {
    void (*on_sample)(void *ctx, const record_row *row, int repetition, const record_sample *sample);
    void (*on_row)(void *ctx, const record_row *row);
    void *ctx;
} measure_sink;

typedef struct {
    measure_options options;
    const machine_ceilings *ceilings; /* may be NULL */
    measure_runner *run;
    measure_note *note; /* may be NULL */
    void *runner;
    measure_sink sink;
    double started; /* machine_now() of the session: repetitions are dated from it */
} measure_setup;

/* Repetitions of each row in the first visit, where there is a race: they choose. */
enum { MEASURE_FIRST = 3 };

typedef struct measure_group measure_group;

/* rows[count] share problem, pass, threads and cache; they come in cleared (record_clear_measured) with the
 * case filled in, stay the caller's, and are complete after each visit. A row that already has another status,
 * or a reason, is passed on as it is. NULL: no memory. */
measure_group *measure_open(const measure_setup *setup, record_row *rows, int count);

/* Takes up rows[row] where an earlier session left it, with status ok: it is neither verified nor prepared
 * again in the first visit. False: no memory. */
bool measure_continue(measure_group *g, int row, const record_sample *samples, size_t count);

/* The first visit: plans, memory checks, verification, calibration, and up to three repetitions of each row
 * that was not continued. machine_bind_threads has made the pool. budget: as measure_options has it. */
void measure_first(measure_group *g, double budget);

/* Whether the first visit's budget was too small for the row. Once the caller has cleared its reason, another
 * measure_first tries such rows again. */
bool measure_had_no_time(const measure_group *g, int row);

/* What a group needs: the fastest of each kind repetitions that report, and what is near it some that
 * choose. */
typedef struct {
    int repetitions;  /* that report and that the leader with the fewest lacks; 0: nothing */
    int least_visits; /* that such a row has had, repetitions that choose apart */
    double fixed;     /* seconds of a visit before any repetition */
    double each;      /* seconds of one repetition of each such row; one that chooses is part of `fixed` */
} measure_need;
measure_need measure_needs(const measure_group *g);

/* One more visit: plans and tensors are made again, each row not told apart gets a repetition that chooses, and
 * the fastest of each kind so many that report. */
void measure_visit(measure_group *g, int repetitions);

/* How many rows have a time. */
int measure_timed(const measure_group *g);
void measure_close(measure_group *g);

/* A group alone, all its visits one after the other, within options.budget. Returns how many rows have a
 * time. */
int measure_at_once(const measure_setup *setup, record_row *rows, int count);

/* Seconds that one row will likely take with these options: verification, warm-up, repetitions. From FLOPs and
 * a speed per implementation, corrected by what this session has measured so far. */
double measure_estimate(const record_row *row, const measure_options *options);

/* Repetitions taken in this process, and those that are marked as disturbed. */
typedef struct {
    int64_t samples, disturbed;
} measure_session;
measure_session measure_session_so_far(void);

#endif
