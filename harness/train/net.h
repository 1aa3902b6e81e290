/* The executor: runs a model forward and backward over batches.
 *
 * A step goes depth-first. The batch is cut into slices whose activations fit a core's L2; each slice runs
 * through all layers up to the first dense one on one thread, its intermediate tensors in two buffers of that
 * thread, and only what backward reads is kept for the whole batch. A dense layer wants the whole batch at
 * once, to read its weights once: it runs on all threads between two such sweeps. A batch normalization wants
 * the whole batch's statistics: it begins a sweep. Backward mirrors this. What several layers read, or not the
 * next, is kept for the whole batch, too; its gradients are added up from the last reader to the first. Slices
 * depend on the model and the batch only, weight gradients are summed over them in a fixed order, so no bit
 * depends on the threads. */
#ifndef SEPBENCH_TRAIN_NET_H
#define SEPBENCH_TRAIN_NET_H

#include <jansson.h>

#include "../measure/wisdom.h"
#include "model.h"

typedef struct net net;

typedef struct {
    int threads;
    int64_t batch;     /* most images of one call */
    int64_t slice;     /* images of a slice; 0: as many as the L2 holds */
    const char *impls; /* "best", or names in order of preference: "fused-avx512,avx512" */
    json_t *choices;   /* what an earlier net_choices() returned: obeyed instead of impls. NULL: free */
    wisdom
        *wisdom; /* chooses strategies and remembers, as machine_use_book has it; NULL: the model's, and nothing
                          is remembered */
    uint64_t seed; /* dropout */
    bool unfused;  /* every layer on its own: for tests of the fusions */
    bool alone;    /* computes all of a batch although there are other ranks */
    bool part;     /* a batch may have as few slices as a rank's part of one has */
} net_options;

/* NULL with err: an implementation that does not exist or refuses a layer, or no memory. Weights start at 0. */
net *net_create(const model *m, const net_options *options, conv_error *err);
void net_destroy(net *n); /* NULL is fine */

/* [model.total] each, parameter p at p.offset. The gradient is that of the last net_train, regularizers
 * included. */
float *net_weights(net *n);
const float *net_gradient(net *n);
/* To be called after anything but net_update has written the weights: packed copies are renewed. */
void net_weights_changed(net *n);

/* Images as bytes (scaled to [0,1]) or as they are; image i of the batch is number rows[i], or i if rows is
 * NULL. */
typedef struct {
    const uint8_t *bytes; /* [][floats of the model's input] */
    const float *values;  /* the same; one of the two is NULL */
    const uint8_t *labels;
    const int64_t *rows;
    int64_t count;
    bool stop; /* net_train: the training is to end after it */
} net_batch;

typedef struct {
    double loss;     /* mean over the batch, penalties of regularizers included */
    int64_t correct; /* images whose label has the largest output */
    bool stop;       /* net_train: any rank's batch said so */
} net_result;

/* Forward, loss, backward; dropout's bits are those of `step`. The gradient is complete only after net_update
 * or net_reduce. CONV_FAILED when a peer fails. */
conv_status net_train(net *n, const net_batch *batch, uint32_t step, net_result *result, conv_error *err);
/* Forward without dropout; probabilities (NULL or [count][classes]) receives the outputs. */
conv_status net_evaluate(net *n, const net_batch *batch, float *outputs, net_result *result, conv_error *err);
void net_reduce(net *n);

typedef enum { OPTIMIZER_ADAM, OPTIMIZER_SGD, OPTIMIZER_RMSPROP } optimizer_kind;
typedef struct {
    optimizer_kind kind;
    double learning_rate, beta_1, beta_2, epsilon, momentum, rho;
    bool nesterov;
} optimizer;

/* "adam", "sgd:learning_rate=0.01,momentum=0.9,nesterov=true", "rmsprop:rho=0.9":
 * Keras's names and defaults. */
conv_status optimizer_parse(const char *text, optimizer *out, conv_error *err);
char *optimizer_text(const optimizer *o, char *buffer, size_t size); /* the long form of the above */
int optimizer_slots(const optimizer *o);             /* tensors of state per parameter: 1 or 2 */
extern const char *const optimizer_slot_names[3][2]; /* "m", "v" ... */

/* Sums the gradient, adds the regularizers', and takes step t (1, 2, ...) of the optimizer on
 * slots[i][model.total], then applies constraints and moves batch normalization's averages. */
void net_update(net *n, const optimizer *o, int64_t t, float *const *slots);

/* {"layer/pass": "impl", ...}: what runs each layer, to be recorded and obeyed at resume. New reference. */
json_t *net_choices(const net *n);
/* Images of a slice, for another rank's net_options. */
int64_t net_slice(const net *n);
/* Of all ranks: slot[model.total] of the optimizer, of which each has updated a part, whole everywhere. */
void net_gather_slot(net *n, float *slot);
/* A step of `rows` images on so many ranks: how many of them have any, and the most that one has; what a rank
 * receives, bytes and messages that are under way while something else is computed, and those that are waited
 * for. */
typedef struct {
    int working;
    int64_t images;
    double hidden_bytes, waited_bytes;
    int hidden, waited;
} net_share;
net_share net_share_of(const net *n, int64_t rows, int ranks);
/* What was fused with layer i, for the summary: "+ relu in max_pooling2d", or "". */
const char *net_fusion(const net *n, int layer);
/* "avx512" or "avx2 / avx512" (forward / backward) of a convolution or dense layer, else "". buffer[64]. */
char *net_impl(const net *n, int layer, char *buffer);

/* ---- where the time goes: seconds since net_profile_reset, per operation and pass, averaged over threads */
typedef struct {
    char layer[MODEL_NAME_MAX]; /* or "input", "loss", "optimizer", "communication" */
    char operation[64];         /* "conv avx512", "max pooling + relu + dropout" */
    double forward_s, backward_s;
    int64_t flops;      /* one image, forward */
    bool first_weights; /* backward computes no diff_src: as many FLOPs as forward, else twice */
    bool whole;         /* on several ranks each computes all of it */
} net_profile_row;
void net_profile_reset(net *n);
/* Fills rows[most]; returns their number. *wall_s: time inside net_train and net_update; what the rows do not
 * explain of it is waiting and bookkeeping. */
int net_profile(const net *n, net_profile_row *rows, int most, double *wall_s);
/* Seconds of messages between ranks that were under way while something else was computed; 0 without ranks. */
double net_hidden(const net *n);

#endif
