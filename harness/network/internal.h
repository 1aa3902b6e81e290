/* For the readers of this folder. */
#ifndef SEPBENCH_NETWORK_INTERNAL_H
#define SEPBENCH_NETWORK_INTERNAL_H

#include "network.h"

/* Fills n, which is zeroed, from root, which it then owns; label stands for the file in messages. */
conv_status keras_read(network *n, json_t *root, const char *label, conv_error *err);
network_effect_of keras_effect;
/* What the layer was built for, where Keras wrote it and it has one input. */
bool keras_built_for(const network_node *node, tensor_shape *input);

/* The same as keras_read of a file (onnx/, onnx_absent.c). */
conv_status onnx_read(network *n, const char *path, conv_error *err);

#endif
