/* A layer's "config" object as a struct, each key checked against what the layer's class has. */
#ifndef SEPBENCH_TRAIN_OPTIONS_H
#define SEPBENCH_TRAIN_OPTIONS_H

#include "model.h"

typedef enum {
    CLASS_INPUT,
    CLASS_CONV,
    CLASS_DEPTHWISE,
    CLASS_SEPARABLE,
    CLASS_MAX_POOL,
    CLASS_AVERAGE_POOL,
    CLASS_DROPOUT,
    CLASS_FLATTEN,
    CLASS_DENSE,
    CLASS_ACTIVATION,
    CLASS_NORMALIZATION,
    CLASS_MERGE,
    CLASS_CONCATENATE,
    CLASS_GLOBAL_MAX_POOL,
    CLASS_GLOBAL_AVERAGE_POOL,
    CLASS_RELU,
    CLASS_LEAKY_RELU,
    CLASS_PRELU,
    CLASS_ELU,
    CLASS_SOFTMAX,
    CLASS_ZERO_PADDING,
    CLASS_CROPPING,
    CLASS_UP_SAMPLING,
    CLASS_RESCALING,
    CLASS_RESHAPE,
    CLASS_PERMUTE,
    CLASS_SPATIAL_DROPOUT,
    CLASS_STANDARDIZATION, /* Keras's Normalization; CLASS_NORMALIZATION is the batch's */
    CLASS_OPERATION,       /* no layer: network_operation */
    CLASS_COUNT
} layer_class;

/* "Conv3D" is a convolution of rank 3. */
typedef struct {
    layer_class class;
    int rank; /* spatial axes; 0: the class has none */
} layer_type;

extern const char *const activation_names[]; /* by nn_activation */

typedef enum { PADDING_VALID, PADDING_SAME, PADDING_CAUSAL } padding_kind;

/* kernel_initializer, kernel_regularizer, kernel_constraint, and so on. */
typedef struct {
    initializer init;
    regularizer reg;
    constraint limit;
} weight_options;

/* Spatial sizes are by conv_problem's axes; those that the layer has not are 1. */
typedef struct {
    char name[MODEL_NAME_MAX];
    bool trainable, use_bias, channels_first;
    bool has_shape; /* batch_input_shape given */
    tensor_shape shape;
    int64_t filters, units, groups, depth_multiplier;
    int64_t kernel_size[CONV_AXES], strides[CONV_AXES], dilation_rate[CONV_AXES], pool_size[CONV_AXES];
    padding_kind padding;
    int64_t before[CONV_AXES], after[CONV_AXES]; /* zero padding; cropping */
    nn_function activation;
    weight_options kernel, depthwise, pointwise, bias, alpha;
    int64_t axis; /* softmax's too; the batch's is 0, the last -1 */
    double momentum, epsilon;
    bool center, scale;
    weight_options gamma, beta, moving_mean, moving_variance;
    regularizer activity_reg;
    double rate;
    bool seeded;
    int64_t seed;
    bool keepdims;
    unsigned shared_axes; /* PReLU: a bit per axis */
    tensor_shape target;  /* reshape, one of them perhaps -1; permute's axes, the first is 1 */
    rescaling scaling;    /* standardization: the variance and the mean */
    bool has_mean, has_variance, invert;
    tensor_shape noise; /* dropout's, of an image; 0: as large as the tensor. Rank 0: not given */
} layer_options;

/* Keras's default numbers of an activation. */
nn_function activation_plain(nn_activation kind);
/* That of a ReLU layer of these numbers: relu and relu6 where it is one of them. */
nn_function activation_of_relu(const nn_function *numbers);
/* Returns NULL, or what the value must be; "" when err has the reason. */
const char *activation_parse(json_t *value, nn_function *out, conv_error *err);

/* "Conv2D", and its alias "Convolution2D"; class CLASS_COUNT for none of ours. */
layer_type layer_type_parse(const char *name);

/* Defaults are Keras's. CONV_INVALID says which key or value, without saying in which layer. */
conv_status layer_options_parse(layer_type type, json_t *config, layer_options *out, conv_error *err);

#endif
