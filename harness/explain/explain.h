/* Why a case takes as long as it does: its limits, experiments, counters, and for a separable convolution where
 * the promise of its multiplications goes. explain.c measures and prints, experiments.c changes one thing at a
 * time. */
#ifndef SEPBENCH_EXPLAIN_EXPLAIN_H
#define SEPBENCH_EXPLAIN_EXPLAIN_H

#include <stdio.h>

#include "../limits/waterfall.h"
#include "../measure/measure.h"

typedef struct {
    measure_runner *run;
    void *runner;
    const machine_ceilings *ceilings; /* at the row's threads */
    double budget;                    /* seconds */
} explain_options;

/* Measures the row (cleared, its case filled in), prints to out as it goes. Returns the row's status; with
 * another one than CASE_OK row->reason says why, and nothing was explained. */
case_status explain_case(FILE *out, record_row *row, const explain_options *options);

/* Prints the waterfall of every comparison of dense and separable that a run has. Returns how many; negative
 * with err. */
int explain_run_waterfalls(FILE *out, const record_run *run, conv_error *err);

#endif
