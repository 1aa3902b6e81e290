/* The whole experiment: one or more models, each trained `runs` times, their test results compared. */
#ifndef SEPBENCH_EXPERIMENT_H
#define SEPBENCH_EXPERIMENT_H

#include "../harness/train/history.h"

/* bench/models: those that travel in the program. */

enum { EXPERIMENT_MAX_MODELS = 16, EXPERIMENT_MAX_RUNS = 1000 };

typedef struct {
    const char *models
        [EXPERIMENT_MAX_MODELS]; /* of the program's own (bench/models/NAME.json), or paths ending in .json */
    int model_count;
    int runs, threads;
    const char *impls;
    wisdom *wisdom; /* chooses strategies; of machine_use_book */
    int64_t slice;
    fit_options fit;                /* run k has seed fit.seed + k - 1 */
    const char *data_dir, *out_dir; /* out_dir NULL: results/training-TIME */
    const char *weights_in, *weights_out,
        *checkpoint;                     /* NULL: none, none, in out_dir; one model, one run only */
    bool resume, quiet, optimizer_named; /* named: by the user */
    json_t *command;                     /* the command line, for run.json */
} experiment_options;

/* Returns an exit code; what went wrong has been said on stderr. */
int experiment_run(const experiment_options *o);
/* What training would take on 1 to 256 ranks, from what is measured on those that there are (scaling.c). */
int experiment_scaling(const experiment_options *o);

#endif
