/* What `sepbench train` left (harness/train/history.h), for the report. */
#ifndef SEPBENCH_REPORT_TRAINING_H
#define SEPBENCH_REPORT_TRAINING_H

#include "chart.h"

enum { TRAINING_LEVELS = 4 };

typedef struct {
    double epoch, loss, accuracy, val_loss, val_accuracy;
    double seconds; /* as if no step had been disturbed, where the file knows (quiet_s) */
} training_epoch;

typedef struct {
    int run;
    char status[16];
    double epochs, test_loss, test_accuracy, epoch_s, images_per_s;
    double seconds_to[TRAINING_LEVELS]; /* NaN: never */
    training_epoch *history;
    size_t count;
} training_run;

typedef struct {
    char layer[64], operation[64], pass[16];
    double ns, percent, gflops, flops; /* of one step */
} training_operation;

/* All runs of one model with one implementation. */
typedef struct {
    char dir[4096], model[64], impl[64], layout[64]; /* layout: "" of ours */
    bool peer;          /* impl is another program, of which few columns are known */
    bool separable;     /* has separable or depthwise layers, as run.json lists them */
    int threads, batch; /* batch 0: not known */
    int ranks;          /* 0: one, or not known */
    training_run *runs;
    size_t count;
    training_operation *profile;
    size_t profile_count;
} training_model;

/* What `sepbench train --scaling` predicts of a model, and measured (results/README.md, scaling.csv). */
typedef struct {
    double ranks, working, images, compute_ms, hidden_ms, waited_ms, step_ms, epoch_s;
    double measured_ms, measured_low_ms, measured_high_ms, measured_hidden_ms, measured_waited_ms; /* or NaN */
} training_ranks;

typedef struct {
    char dir[4096], model[64], messages[16];
    int here, threads, batch; /* here: ranks that there were */
    training_ranks *rows;     /* the first is of one rank */
    size_t count;
} training_scaling;

typedef struct {
    double ranks, bytes, pingpong_us, gather_us, model_us, alpha_us, beta_ns_per_byte;
} training_message;

struct report_training {
    training_model *models;
    size_t count;
    training_scaling *scalings;
    size_t scaling_count;
    training_message *messages; /* of all folders */
    size_t message_count;
};

/* Appends what the folder holds, the files of bench/peers included. False with err naming file and line. */
bool training_load(const char *dir, report_training *t, conv_error *err);
/* Whether the folder holds a training, or what one would be on more ranks: it has a runs.csv or scaling.csv. */
bool training_is(const char *dir);
void training_free(report_training *t);

/* Seconds of an epoch: the median over all epochs of all runs; its interval NaN with fewer than 6. */
typedef struct {
    double median, low, high;
    size_t epochs;
} training_time;
training_time training_epoch_time(const training_model *m);
/* How many times as fast b's epoch is, and why that is not determined where it is not. */
rule_ratio training_compare(const training_model *a, const training_model *b);
const char *training_reason(ratio_outcome outcome);
/* Two models of ours trained alike: b with separable layers, a without; where there are none such, the first two. */
bool training_two(const report_training *t, const training_model **a, const training_model **b);
/* The model of that name trained as another was: by the same program, in the same layout, on as many threads,
 * in the same batches. NULL: there is none. */
const training_model *training_alike(const report_training *t, const char *model, const training_model *like);

/* One step in nanoseconds: the whole, the sum of its operations, and its arithmetic at the measured peak of
 * that many threads. The arithmetic is the dense one, also where pooling's zeros are not multiplied. NaN: not
 * known. */
typedef struct {
    double whole, explained, flops, peak, arithmetic; /* peak in GFLOP/s */
} training_step;
training_step training_step_of(const report_data *data, const training_model *m);
/* "2 threads", "2 ranks of 1 thread". buffer[64]. */
char *training_threads(const training_model *m, char *buffer);
/* "conv", or "conv, avx2" where one model was trained in several ways. buffer[160]. */
char *training_name(const report_training *t, const training_model *m, char *buffer);

/* ---- report/load.c */
enum { REPORT_FOLDER_MAX = sizeof((record_run *)0)->dir };
/* What a RUN of the command line is: a folder, or the name of one under results/. path[REPORT_FOLDER_MAX]. */
const char *report_folder(const char *run, char *path);
/* Whether an earlier one is the same folder. */
bool report_again(const char *const *runs, int at);
/* Loads the runs named (folders, or names in results/; none: the newest): at most one with cases (sides_count),
 * any number of trainings; those inside its folder come by themselves. A training alone makes a run without
 * cases. False with err, and nothing to free. */
bool report_load(const char *const *runs, int count, record_run *run, report_training *training,
                 conv_error *err);

/* Accuracy and loss against epochs. */
bool training_plots(const report_data *data, const chart_album *album);

/* ---- report/scaling_data.c: what the folder holds of --scaling, if anything */
bool scaling_load(const char *dir, report_training *t, conv_error *err);
void scaling_free(report_training *t);
/* The row of the ranks that there were, if it was measured; or NULL. */
const training_ranks *scaling_checked(const training_scaling *s);
/* The fastest predicted epoch, of ranks of which more have images than of fewer. */
const training_ranks *scaling_fastest(const training_scaling *s);
/* Of a step, what computing does not hide of the messages: 0 to 1. */
double scaling_messages_share(const training_ranks *r);
/* report/scaling.c: epoch, speedup and the messages' share against ranks. */
bool scaling_plots(const report_data *data, const chart_album *album);

#endif
