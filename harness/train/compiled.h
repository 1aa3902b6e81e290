/* Keras 3's "compile_config": how the model was compiled where it was written. */
#ifndef SEPBENCH_TRAIN_COMPILED_H
#define SEPBENCH_TRAIN_COMPILED_H

#include <jansson.h>

#include "model.h"

/* config may be NULL. Nothing in it is an error: a run has its own optimizer and loss, and what differs is a
 * warning to the user (experiment.c). */
void compiled_read(json_t *config, model_compiled *out);

#endif
