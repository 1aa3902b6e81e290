/* One training step spread over ranks (harness/ranks), with the bits of a single process.
 *
 * A rank owns whole chunks of a batch, and so some of its images. It runs them through the sliced layers as ever
 * and sends the sums of the subtrees that its chunks fill in the tree of chunks (nn_kernels.sum_chunks); whoever
 * owns a part of a parameter joins them in the tree's order and moves the weights of its part, which everybody
 * then gets. A dense layer sums its weights' gradients over the whole batch, in the order of its product: ranks
 * own rows of its weights, and get those columns of everybody's inputs and all of everybody's diff_dst. Its
 * outputs and diff_src are computed where the images are. Where its implementation does not promise the same
 * bits for that (conv_impl.by_pixel, by_input), every rank computes the whole layer from everybody's images.
 *
 * Messages are under way while something else is computed: inputs behind the rest of the forward pass, diff_dst
 * behind diff_src, gradients behind the layers before, weights behind the next step's first layers. All
 * functions are of all ranks (ranks.h); with n->spread NULL they are not called. */
#ifndef SEPBENCH_TRAIN_SPREAD_H
#define SEPBENCH_TRAIN_SPREAD_H

#include "net_internal.h"

/* Sets n->spread, if there are several ranks. After the operations have their implementations. */
conv_status spread_create(net *n, conv_error *err);
void spread_destroy(net *n);

/* Cuts a training batch. */
conv_status spread_cut(net *n, int64_t rows, conv_error *err);
/* This rank's chunks of it. */
void spread_chunks(const net *n, int64_t *first, int64_t *last);
/* Plans of batched operation o for it. */
conv_status spread_prepare(net *n, op *o, conv_error *err);
/* Whether each rank computes some rows of the batched operation's weights, else all of it. */
bool spread_splits(const op *o);
/* Batched operation number i. */
conv_status spread_forward(net *n, int i, uint32_t step);
conv_status spread_backward(net *n, int i, uint32_t step);
/* All chunks' sums of a live batch normalization, operation i; pass 0: forward, 1: backward. */
void spread_sums(net *n, int i, int pass);
/* After the last forward phase: every image's loss everywhere, and whether any rank is told to stop. */
void spread_losses(net *n, bool stop);
bool spread_losses_wait(net *n);
/* After a phase's backward: its gradients to their owners. */
void spread_gradients(net *n, const phase *ph);
void spread_gradients_wait(net *n);

/* This rank's part of parameter p, [*begin, *end) of its floats. */
void spread_own(const net *n, int p, int64_t *begin, int64_t *end);
/* Joins floats [begin, begin + count) of p's own part into the gradient. */
void spread_join(net *n, int p, int64_t begin, int64_t count);
/* After the update: everybody's weights everywhere. _wait: before weights are read. */
void spread_weights(net *n);
void spread_weights_wait(net *n);
void spread_weights_sliced(net *n); /* all but the dense layers', which their forward waits for */
/* The same of the optimizer's state, at once. */
void spread_slots(net *n, float *slots);

/* Seconds since the profile was reset: spent on packing and waiting, and of messages under way meanwhile. */
typedef struct {
    double waited[2], hidden[2]; /* forward; backward and update */
} spread_times;
spread_times *spread_clock(const net *n);

#endif
