/* Sharing --budget seconds among the rows that are still to be measured. */
#ifndef SEPBENCH_BUDGET_H
#define SEPBENCH_BUDGET_H

#include "../harness/measure.h"
#include "select.h"

typedef struct {
    double least, full; /* seconds: one short repetition; all that was asked for. 0: nothing to measure */
    bool slow;          /* far slower than the others of its group, and too dear: left out */
} row_cost;

typedef struct {
    const selection *cases;
    const measure_options *options;
    double total;     /* seconds of the whole budget; 0: unlimited */
    row_cost *cost;   /* one per row */
    double *order;    /* room for sorting */
    double estimated; /* machine_now() of the last look at the estimates; 0: never */
} budget;

bool budget_open(budget *b, const selection *cases, const measure_options *options, double total);
void budget_close(budget *b);

/* Decides on the group rows[first .. first + count): seconds it may take, and which of its rows must be left
 * out (skip[i] set) because they would starve the rest. left: seconds until the run must end. *remaining:
 * seconds this and all later groups will likely take. Called before each group, so that errors of the estimates
 * even out. */
double budget_group(budget *b, size_t first, size_t count, double left, bool *skip, double *remaining);

#endif
