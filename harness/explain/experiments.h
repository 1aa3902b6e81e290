/* Experiments that show why a case takes as long as it does: the case against itself with one thing changed, in
 * pairs of samples in random order, as sepbench compare measures. */
#ifndef SEPBENCH_EXPLAIN_EXPERIMENTS_H
#define SEPBENCH_EXPLAIN_EXPERIMENTS_H

#include "arm.h"

typedef struct {
    const char *name;      /* "one thread" */
    double ratio;          /* time changed over unchanged, median of the pairs; of a multiply-add where
                              per_multiply_add; NaN: not measured */
    double low, high;      /* its 95% interval; NaN below 6 pairs */
    bool per_multiply_add; /* the problem is another one, so times are compared per multiply-add */
    const char *shows;     /* one sentence; where nothing was measured, why not */
    char why[256];         /* room for that */
} experiment_result;

typedef struct {
    measure_runner *run;
    void *runner;
    double budget; /* seconds for all of them */
} experiment_options;

typedef void experiment_sink(void *ctx, const experiment_result *result);

/* All experiments, in one order; sink sees each as it ends. Stops when interrupted (cli_interrupted). Returns
 * how many were measured; negative with err: the case itself cannot be set up. */
int experiments_run(const arm_setting *base, const experiment_options *options, experiment_sink *sink,
                    void *ctx, conv_error *err);

/* What the experiment of that name says to a ratio and its interval; NULL: there is none of that name. */
const char *experiment_shows(const char *name, const experiment_result *r);
/* The changed setting of an experiment by name: NULL and *changed, or why it does not apply. */
const char *experiment_change(const char *name, const arm_setting *base, arm_setting *changed);

#endif
