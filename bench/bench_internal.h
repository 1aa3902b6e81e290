/* What the files bench_*.c share of one run. */
#ifndef SEPBENCH_BENCH_INTERNAL_H
#define SEPBENCH_BENCH_INTERNAL_H

#include "../harness/measure/chooser.h"
#include "../harness/progress.h"
#include "bench.h"

enum { MOST_THREAD_COUNTS = 64 };

typedef struct {
    const bench_arguments *a;
    selection *cases;
    record_store *store;
    json_t *run; /* run.json */
    wisdom *wisdom;
    chooser_counts strategies; /* of this session */
    machine_ceilings ceilings[MOST_THREAD_COUNTS];
    int ceiling_count, bound_threads, most_threads;
    char no_pool[128]; /* why the threads bound last are too few; empty when they are not */
    progress progress;
    double seconds_left;    /* of the run, as far as is known */
    double timed_seconds;   /* in the timed loops of this visit */
    size_t done;            /* cases that have a row */
    conv_error write_error; /* the first; empty when all is well */
} bench;

/* Binds the pool for so many threads, with a warning in run.json where that fails. */
void bench_bind_pool(bench *b, int threads);
const machine_ceilings *bench_ceilings_of(const bench *b, int threads); /* or NULL */

/* Visits every group until its rows have their repetitions or the budget ends; each row is written after every
 * visit. Ends early when interrupted or when write_error is set. */
void bench_visits(bench *b);

#endif
