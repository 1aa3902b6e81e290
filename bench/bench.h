/* The parts of `sepbench bench` and `advise`: arguments (cmd_bench.c, cmd_advise.c, bench_options.c), the
 * run's context, beginning and end (bench_run.c), which group is visited when (bench_visits.c), the table
 * it ends with (bench_summary.c). */
#ifndef SEPBENCH_BENCH_H
#define SEPBENCH_BENCH_H

#include <jansson.h>
#include <stdio.h>

#include "../harness/measure/measure.h"
#include "select.h"
#include "strategies.h"

typedef struct {
    record_kind kind;                      /* by the command; a run of another is not continued */
    json_t *about;                         /* NULL, or what run.json says under that name */
    int (*summary)(const record_run *run); /* the table at the end; NULL: bench_summary's */
    int bad_option;                        /* EXIT_USAGE after a line about a value, else 0 */
    select_options select;
    strategy_words strategy;
    measure_options measure; /* its budget is set per group */
    double budget;           /* seconds for the whole command; 0: unlimited */
    const char *out;         /* NULL: results/<run_id> */
    bool resume, fresh, fleet;
    int word_count; /* the command line, for run.json */
    char **words;
    int gbench_count; /* what followed -- */
    char **gbench;
    double started;              /* machine_now() */
    const record_run *continued; /* the run that --resume continues; else NULL */
} bench_arguments;

/* The argp children "How to measure"; input of the child parser is bench_arguments *. */
extern const struct argp bench_argp;

/* A command's parser: argp's over its children, EXIT_FINE or EXIT_USAGE after a line. */
typedef int bench_parser(int argc, char **argv, bench_arguments *a);

/* The run that --resume continues. */
typedef struct {
    record_run old;
    char **words;
} bench_stored;

/* Parses; with --resume the words of the run that is continued, then those of this command line, which win. a's
 * defaults are set. *stored keeps the strings and is freed in any case. */
int bench_take_arguments(int argc, char **argv, bench_parser *parse, bench_arguments *a, bench_stored *stored);
void bench_stored_free(bench_stored *stored);

/* Measures the cases, planned by w, and writes the run. Returns the exit code. */
int bench_run(const bench_arguments *a, selection *cases, wisdom *w);

/* A measure_runner: Google Benchmark's loop. */
double bench_loop(void *unused, const char *name, const measure_loop *loop, int64_t iterations, int repetition);

/* A measure_note: for benchmark.json. */
void bench_note(void *unused, const char *name, double ns, int64_t iterations, int repetition);

/* What a group has in common, without what is the usual: "dense/forward/mb1ic64ih28oc64kh3ph1/t2". Returns
 * buffer[CASE_NAME_MAX]. */
char *bench_group_name(const record_row *row, char *buffer);
/* "12.3 us", "4.56 ms", "7.89 s". Returns buffer[16]. */
char *bench_time(double ns, char *buffer);

/* At most some thirty lines of 80 columns: what is fastest in each group, or, of many groups, how often each
 * implementation is. */
void bench_summary(FILE *out, const record_row *rows, size_t count);

#endif
