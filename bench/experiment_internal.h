/* What experiment.c, which trains, and experiment_files.c, which keeps the folder, share. */
#ifndef SEPBENCH_EXPERIMENT_INTERNAL_H
#define SEPBENCH_EXPERIMENT_INTERNAL_H

#include "../harness/claim.h"
#include "../harness/text.h"
#include "../harness/train/summary.h"
#include "experiment.h"

typedef struct {
    char label[TEXT_MODEL_MAX]; /* folder and column: "conv", or the file's name without .json */
    model *m;
    int finished;
    double loss[EXPERIMENT_MAX_RUNS], accuracy[EXPERIMENT_MAX_RUNS];
    double epoch_s; /* median over runs of the median epoch */
} trained_model;

typedef struct {
    const experiment_options *o;
    data_sets data;
    double load_began, chose_s; /* machine_now() before loading; seconds spent choosing implementations since */
    bool ready;                 /* the first step is past */
    trained_model *models;
    /* the folder */
    claim out, checkpoint_claim; /* the latter of one that the user named */
    bool fresh;                  /* its run.json is this process's */
    json_t *run;                 /* run.json */
    FILE *runs;      /* runs.csv so far, in memory: finished runs of a resumed folder are listed again */
    char *runs_text; /* what was written to it */
    size_t runs_size;
    /* the run under way */
    trained_model *now;
    bool alone;         /* this rank computes whole batches */
    int64_t part_slice; /* above 0: and parts of one, in slices of so many images */
    bool scaling;       /* nothing is trained: the folder may be a training's */
    net *n;
    fit_state state;
    fit_options fit;
    char dir[4096], checkpoint[4352];
    epoch_line line;
    conv_error problem; /* a file that could not be written */
    int64_t steps;      /* since the profile was reset */
} experiment;

/* experiment.c: what every rank reads for itself, data and models; an exit code. And away with it, and the net. */
int experiment_load(experiment *e);
void experiment_unload(experiment *e);
/* Of all ranks: e->n, of e->now, with rank 0's implementations, strategies and slices. choices: those of a
 * checkpoint; NULL: of the model's earlier runs, or to be chosen. An exit code. */
int experiment_create_nets(experiment *e, json_t *choices);

/* experiment_check.c: exit codes, the error being said. */
/* Whether the validation split leaves images to train on. */
int experiment_check_split(const fit_options *o, const data_sets *data);
/* Whether the model's input and outputs fit the images and labels. Warns where Keras would compute another loss
 * or step, and where the loss is one of no probabilities. `name` is the model's in messages. */
int experiment_check_model(const experiment_options *o, const char *name, const model *m,
                           const data_sets *data);

/* Claims the folder; run.json is in it from now on, so that no other training begins there. An exit code. */
int experiment_open(experiment *e);
/* An experiment in which no run began leaves no folder. */
void experiment_close(experiment *e);

/* What a kill left in the folders of the run under way goes. */
void experiment_sweep(const experiment *e);

bool experiment_save(experiment *e); /* run.json; what is wrong has been said */
bool experiment_is_empty(const experiment *e);
json_t *experiment_model_entry(experiment *e, const trained_model *t);
/* The run under way in run.json, and in runs.csv. */
bool experiment_note_run(experiment *e, int run, const char *status);
conv_status experiment_list_run(experiment *e, const run_label *label, conv_error *err);

/* Of all ranks: whether they are the same build and have the same models, data and options, and the batch has
 * images for each. An exit code. */
int experiment_check_ranks(const experiment *e);

/* The command that goes on where this one ends; the same on stderr, after an interrupt. */
void experiment_put_command(const experiment *e, FILE *out);
void experiment_say_how_to_resume(const experiment *e);

#endif
