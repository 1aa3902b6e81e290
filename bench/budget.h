/* Sharing --budget seconds among the rows that are still to be measured. */
#ifndef SEPBENCH_BUDGET_H
#define SEPBENCH_BUDGET_H

#include "../harness/measure/measure.h"
#include "select.h"

typedef struct {
    double least, full; /* seconds: one short repetition; all that was asked for. 0: nothing to measure */
    double fixed;       /* part of both: all but the repetitions, as measure_estimate has it */
    double bytes;       /* of the tensors that its group shares: its part of them */
    double price;       /* least, weighted by how telling the row is: rows are given up from the dearest */
    double weight;      /* of its share: the headline's rows get more repetitions */
    bool slow;          /* far slower than the others of its group, and too dear: left out */
} row_cost;

typedef struct {
    const selection *cases;
    const measure_options *options;
    double total;     /* seconds of the whole budget; 0: unlimited */
    double per_byte;  /* seconds a group takes beyond its rows' estimates, per byte: filling, first touch */
    double per_row;   /* and a row, whatever its size */
    row_cost *cost;   /* one per row */
    row_cost *order;  /* room for sorting */
    double estimated; /* machine_now() of the last look at the estimates; 0: never */
} budget;

bool budget_open(budget *b, const selection *cases, const measure_options *options, double total);
void budget_close(budget *b);

/* Decides on the group rows[first .. first + count): seconds it may take, and which of its rows must be left
 * out (skip[i] set) because they would starve the rest. left: seconds until the run must end. *remaining:
 * seconds this and all later groups will likely take. Called before each group, so that errors of the estimates
 * even out. */
double budget_group(budget *b, size_t first, size_t count, double left, bool *skip, double *remaining);

/* The order in which groups that were given up are tried again: by the least price of a row. INFINITY: none of
 * the group is to be measured. */
double budget_price(budget *b, size_t first, size_t count);

/* Rows that had been given up and are pending again, in time that nobody else needs: those of this group that do
 * not fit into `left` seconds, the dearest first, are marked in skip[]. Returns the seconds that the group may
 * take, where those behind it keep `waiting` seconds if they can; 0: none fits. */
double budget_again(budget *b, size_t first, size_t count, double left, double waiting, bool *skip);
/* Seconds of one short repetition of each pending row of the group. */
double budget_least(const budget *b, size_t first, size_t count);

/* Tells how long that group took in all, and in its timed loops: what is in neither the loops nor the estimates
 * will be added to the estimates of those to come. */
void budget_learn_overhead(budget *b, size_t first, size_t count, const bool *skip, double seconds,
                           double timed);

#endif
