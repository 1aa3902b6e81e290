/* A training run on disk between two epochs: weights, optimizer state,
 * history and what the run must agree on. */
#ifndef SEPBENCH_TRAIN_CHECKPOINT_H
#define SEPBENCH_TRAIN_CHECKPOINT_H

#include "loop.h"

/* A .npz: the weights under Keras's names, the optimizer's state under "optimizer/m/NAME" and so on, the
 * history as "history" [epochs][9], and "sepbench" (the bytes of a JSON object): format, model, data, options,
 * implementations. */
conv_status checkpoint_save(const char *path, const fit_session *f, conv_error *err);

/* The implementations a checkpoint was trained with, for net_options.choices of a network still to be made. New
 * reference, or NULL with err naming the file and what differs: not a checkpoint, another model, data set, batch
 * size, split, seed or optimizer. */
json_t *checkpoint_choices(const char *path, const fit_session *f, conv_error *err);

/* Into the state and the network's weights. CONV_INVALID as above, or: damaged, more epochs done than asked for. */
conv_status checkpoint_load(const char *path, const fit_session *f, conv_error *err);

#endif
