/* The regression gate: two builds of this program, run in turns, judged as compare.h says. REGRESSION.md explains
 * it and names the file of each part. */
#ifndef SEPBENCH_GATE_H
#define SEPBENCH_GATE_H

#include "compare.h"

typedef struct {
    double budget;      /* seconds for everything */
    int pairs, confirm; /* per case in the screen, and of a flagged case afterwards */
    uint64_t seed;
} gate_options;

/* Measures and judges the cases of r, whose row and name are given, between the programs r->base.path and
 * r->head.path. EXIT_FINE when there is a result to show, else the exit code after one line on stderr. */
int gate_run(const gate_options *options, compare_result *r);

/* Two stored runs instead: medians and their intervals only. */
int compare_stored(const char *base, const char *head, compare_result *r);

#endif
