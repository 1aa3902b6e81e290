/* What `sepbench train` leaves in its folder (--out, by default results/training-<UTC>). Readers: `sepbench
 * report`.
 *
 *   OUT/run.json                     options, machine, data; per model its layers, implementations, runs and
 *                                    their means; the difference of the first two models with its 95% interval
 *   OUT/runs.csv                     one line per model and run (columns below)
 *   OUT/MODEL/run-N/history.csv      one line per epoch, appended as it ends
 *   OUT/MODEL/run-N/checkpoint.npz   everything a resume needs, after each epoch
 *   OUT/MODEL/run-N/best.npz         weights of the epoch with the least val_loss
 *   OUT/MODEL/run-N/weights.npz      weights at the end
 *   OUT/MODEL/profile.csv            where a step's time goes, over all epochs of the model's last run
 *
 * All CSV files: RFC 4180 with a header; an empty field is "not available". */
#ifndef SEPBENCH_TRAIN_HISTORY_H
#define SEPBENCH_TRAIN_HISTORY_H

#include <stdio.h>

#include "loop.h"

enum { HISTORY_SCHEMA = 1 }; /* "schema" in OUT/run.json */

/* history.csv: epoch from 1; loss and accuracy means over the epoch's images while training (dropout on);
 * val_loss, val_accuracy after it; epoch_s seconds of training alone, without validation and checkpoint;
 * images_per_s; lr the learning rate; quiet_s seconds of training had every step taken the median one's
 * time. */
#define HISTORY_COLUMNS_TEXT "epoch,loss,accuracy,val_loss,val_accuracy,epoch_s,images_per_s,lr,quiet_s"

/* runs.csv: status ok, stopped or diverged; test_loss and test_accuracy of the final weights on the test set;
 * median_epoch_s; s_to_A: training seconds (validation excluded) up to the end of the first epoch whose
 * val_accuracy reached A, empty when none did. */
#define RUNS_COLUMNS_TEXT                                                                                      \
    "model,run,seed,impl,threads,batch_size,status,epochs,test_loss,test_accuracy,best_epoch,best_val_loss,"   \
    "median_epoch_s,images_per_s,s_to_0.97,s_to_0.98,s_to_0.985,s_to_0.99"

/* profile.csv: one line per operation and pass: layer (or input, loss, optimizer, and at the end residual and
 * step), operation, pass (forward or backward), ns_per_step, percent of the step, flops_per_step, gflops.
 * On several ranks communication is packing and waiting for messages, and
 * behind step comes hidden, seconds of messages that were under way while something else was computed.
 * residual is what the operations do not explain of the step: waiting for the slower thread, starting threads,
 * shuffling, clocks. */
#define PROFILE_COLUMNS_TEXT "layer,operation,pass,ns_per_step,percent,flops_per_step,gflops"

typedef struct {
    const char *model;
    int run;
    uint64_t seed;
    const char *impl;
    int threads;
    int64_t batch_size;
    const char *status;
} run_label;

/* Rewrites the whole history (resume may have lost an epoch that was written but not checkpointed). */
conv_status history_write(const char *path, const fit_state *s, conv_error *err);

/* A line of runs.csv. */
void runs_put(FILE *file, const run_label *label, const fit_state *s);

/* steps: training steps since net_profile_reset. */
conv_status profile_write(const char *path, const net *n, int64_t steps, int64_t batch, conv_error *err);

/* Training seconds until val_accuracy reached `level`; NaN if never. */
double history_time_to(const fit_state *s, double level);
double history_median_epoch(const fit_state *s); /* seconds; NaN without epochs */

/* What bench/peers leaves in OUT of the same training by other programs; its columns are in
 * results/README.md. */
#define HISTORY_PEER_FILES "torch.csv", "keras.csv"

/* What `sepbench train --scaling` leaves in OUT (bench/scaling.c). scaling.csv: a line per model and number of
 * ranks, times as the model says; measured_ and what follows of the ranks that there were, whose number is
 * here. scaling_messages.csv: a line per size of message. */
#define HISTORY_SCALING_FILES "scaling.csv", "scaling_messages.csv"
#define SCALING_COLUMNS_TEXT                                                                                   \
    "model,ranks,images,compute_ms,hidden_ms,waited_ms,step_ms,epoch_s,speedup,working,measured_ms,"           \
    "measured_low_ms,measured_high_ms,measured_hidden_ms,measured_waited_ms,here,threads,batch_size,messages"
#define SCALING_MESSAGES_COLUMNS_TEXT                                                                          \
    "ranks,bytes,pingpong_us,gather_us,model_us,alpha_us,beta_ns_per_byte,library"
/* Of the column messages: those of the ranks that there were; there was one; they shared cores. */
#define SCALING_MEASURED "measured"
#define SCALING_NONE "none"
#define SCALING_SHARED "shared"

/* Mean and sample standard deviation (n - 1; NaN for n < 2). */
typedef struct {
    int n;
    double mean, std;
} sample_mean;
sample_mean mean_of(const double *values, int n);

/* 95% interval of mean(a) - mean(b) by Welch's t; false unless both have n >= 2. */
bool welch_interval(sample_mean a, sample_mean b, double *difference, double *low, double *high);

#endif
