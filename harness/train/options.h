/* A layer's "config" object as a struct, each key checked against what the layer's class has. */
#ifndef SEPBENCH_TRAIN_OPTIONS_H
#define SEPBENCH_TRAIN_OPTIONS_H

#include "model.h"

typedef enum {
    CLASS_INPUT,
    CLASS_CONV1D,
    CLASS_CONV2D,
    CLASS_DEPTHWISE2D,
    CLASS_SEPARABLE1D,
    CLASS_SEPARABLE2D,
    CLASS_MAX_POOL1D,
    CLASS_MAX_POOL2D,
    CLASS_AVERAGE_POOL1D,
    CLASS_AVERAGE_POOL2D,
    CLASS_DROPOUT,
    CLASS_FLATTEN,
    CLASS_DENSE,
    CLASS_ACTIVATION,
    CLASS_COUNT
} layer_class;

extern const char *const activation_names[]; /* by nn_activation; NULL ends them */

typedef enum { PADDING_VALID, PADDING_SAME, PADDING_CAUSAL } padding_kind;

/* kernel_initializer, kernel_regularizer, kernel_constraint, and so on. */
typedef struct {
    initializer init;
    regularizer reg;
    constraint limit;
} weight_options;

/* Spatial sizes are (height, width); of a 1-D layer (1, length). */
typedef struct {
    char name[MODEL_NAME_MAX];
    bool trainable, use_bias, channels_first;
    bool has_shape; /* batch_input_shape given */
    tensor_shape shape;
    int64_t filters, units, groups, depth_multiplier;
    int64_t kernel_size[2], strides[2], dilation_rate[2], pool_size[2];
    padding_kind padding;
    nn_activation activation;
    weight_options kernel, depthwise, pointwise, bias;
    regularizer activity_reg;
    double rate;
    bool seeded;
    int64_t seed;
} layer_options;

/* "Conv2D", and its alias "Convolution2D"; CLASS_COUNT for none of ours. */
layer_class layer_class_parse(const char *name);
bool layer_class_is_1d(layer_class c);

/* "[null, 28, 28, 1]", whose first is the batch. Returns NULL, or what the value must be. */
const char *shape_parse(json_t *value, tensor_shape *out);

/* Defaults are Keras's. CONV_INVALID says which key or value, without saying in which layer. */
conv_status layer_options_parse(layer_class c, json_t *config, layer_options *out, conv_error *err);

#endif
