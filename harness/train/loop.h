/* Training as Keras's fit and evaluate do it: epochs over shuffled batches, validation on the tail of the
 * training set, then the test set; a checkpoint after every epoch. */
#ifndef SEPBENCH_TRAIN_LOOP_H
#define SEPBENCH_TRAIN_LOOP_H

#include "data.h"
#include "net.h"

typedef struct {
    int64_t epochs, batch_size;
    double validation_split; /* [0, 1): the last images of the training set, taken before shuffling */
    uint64_t seed;           /* of initial weights, shuffling and dropout */
    bool shuffle;
    optimizer opt;
} fit_options;

/* One line of a history. Quantities are means over the images of the epoch, as Keras shows them. */
typedef struct {
    int64_t epoch; /* 1, 2, ... */
    double loss, accuracy;
    double val_loss, val_accuracy; /* NaN without validation */
    double seconds;                /* training alone, without validation and checkpoint */
    double images_per_s;
    double learning_rate;
    double
        quiet_seconds; /* had every step taken as long as the median one: what others on the cores do to some of
                             the steps does not show. NaN: not known */
} fit_epoch;

/* Everything a training run is between two epochs: what a checkpoint holds. */
typedef struct {
    int64_t epochs_done, steps;
    float *slots[2];    /* optimizer state, [model.total] each; the second may be NULL */
    fit_epoch *history; /* [epochs_done] */
    double best;        /* least val_loss (loss without validation) so far; infinity at first */
    int64_t best_epoch; /* 0: none */
    bool finished;      /* tested */
    double test_loss, test_accuracy;
} fit_state;

/* A run: what is trained on what, how, and where it stands. */
typedef struct {
    net *n;
    const model *m;
    const data_sets *data;
    const fit_options *options;
    fit_state *state;
} fit_session;

/* How many of `count` images are trained on; the rest is for validation. */
int64_t fit_images(const fit_options *o, int64_t count);

bool fit_state_create(const model *m, const fit_options *o, fit_state *s);
void fit_state_destroy(fit_state *s);

/* Fills the network's weights from the model's initializers. */
void fit_initialize(const model *m, uint64_t seed, net *n);

/* Of all ranks: rank 0's weights and state everywhere. Its history is not: nobody else reads it. */
void fit_share(const fit_session *f);

/* After a step (1 to steps): means over the epoch's images so far, seconds since it began. */
typedef struct {
    int64_t epoch, step, steps;
    double loss, accuracy, seconds;
} fit_step;

/* What the caller wants to see or do. Each may be NULL. Returning false stops the run. on_epoch is rank 0's alone,
 * interrupted any rank's. */
typedef struct {
    void (*on_step)(void *ctx, const fit_step *step);
    bool (*on_epoch)(void *ctx, const fit_epoch *row, bool best, int64_t steps);
    bool (*interrupted)(void);
    void *ctx;
} fit_watch;

typedef enum { FIT_DONE, FIT_STOPPED, FIT_DIVERGED, FIT_FAILED } fit_result;

/* Trains from state->epochs_done to options->epochs and tests. FIT_DIVERGED: a loss that is no number; err names the
 * step; the state is as the last epoch left it. FIT_STOPPED: interrupted or on_epoch said so; the epoch under way is
 * lost. */
fit_result fit_run(const fit_session *f, const fit_watch *watch, conv_error *err);

/* Image numbers [0, count) in the order of that epoch: a Fisher-Yates shuffle whose draws are counters of
 * (seed, epoch). */
void fit_permutation(uint64_t seed, int64_t epoch, int64_t count, int64_t *order);

#endif
