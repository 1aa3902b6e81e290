/* Layers from options. */
#ifndef SEPBENCH_TRAIN_BUILD_H
#define SEPBENCH_TRAIN_BUILD_H

#include "options.h"

/* Fills l, whose names and input shape are set, and adds its parameters to the model. CONV_INVALID says what
 * does not fit, without saying in which layer. */
conv_status layer_build(model *m, layer *l, layer_type type, const layer_options *o, conv_error *err);

#endif
