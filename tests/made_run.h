/* Runs that were never measured, for the tests of what is made of them. */
#ifndef SEPBENCH_TESTS_MADE_RUN_H
#define SEPBENCH_TESTS_MADE_RUN_H

#include "../harness/record/rule.h"

typedef struct {
    record_row *rows;
    size_t count;
} made;

/* A row of two threads, timed so many times in as many visits as an interval needs, with an interval from 6
 * repetitions on; ns 0: it was skipped. The pointer holds until the next one is added. */
record_row *made_add(made *m, const char *problem, conv_pass pass, const char *impl, double ns,
                     int repetitions);
/* "dense:mb1ic64ih28oc64kh3ph1" of that variant. */
void made_problem(int variant, int channels, int spatial, int mb, char *text, size_t size);
/* 32 to 2048 channels, all variants and passes, ten implementations; factor slows the separable ones down. */
made made_sweep(double factor, int repetitions);
/* Its row of that name. */
record_row *made_row(made *m, const char *case_name);
/* As if it had been loaded; ended by made_end, which frees the rows too. */
record_run made_run(made *m);
void made_end(record_run *run, made *m);
/* Writes it as the program would and frees the rows. Returns the folder, in a static buffer. */
const char *made_store(made *m, const char *folder, const char *name);

/* The same into dir, of another machine: run.json's "machine", whose reference it takes. */
void made_store_on(made *m, const char *dir, json_t *machine);

#endif
