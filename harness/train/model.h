/* A network as data: Keras's Sequential or functional JSON (model.to_json()) read, checked and given shapes.
 *
 * Every key of the file that is not null must be known here; an unknown layer, option or value is an error that
 * names it, and what Keras itself refuses is refused in its words. Nothing of the file is ignored silently. */
#ifndef SEPBENCH_TRAIN_MODEL_H
#define SEPBENCH_TRAIN_MODEL_H

#include "../../kernels/conv.h"
#include "../../kernels/nn/nn.h"
#include "../network/network.h"
#include "values.h"

enum {
    MODEL_MAX_LAYERS = 512,
    MODEL_MAX_PARAMETERS = 4 * MODEL_MAX_LAYERS,
    MODEL_NAME_MAX = 64,
    LAYER_MAX_INPUTS = 16
};

typedef enum {
    LAYER_CONV, /* Conv, DepthwiseConv or SeparableConv of any rank: conv_problem says which */
    LAYER_POOL,
    LAYER_DROPOUT,
    LAYER_FLATTEN,
    LAYER_DENSE,
    LAYER_ACTIVATION,
    LAYER_NORMALIZATION, /* of the batch, or by given statistics */
    LAYER_MERGE,
    LAYER_GLOBAL_POOL,
    LAYER_VIEW, /* padding, cropping, repeating, permuting */
    LAYER_RESCALING,
    LAYER_SPATIAL_DROPOUT,
    LAYER_PRELU
} layer_kind;

typedef enum {
    MERGE_ADD,
    MERGE_SUBTRACT,
    MERGE_MULTIPLY,
    MERGE_AVERAGE,
    MERGE_MAXIMUM,
    MERGE_MINIMUM,
    MERGE_CONCATENATE
} merge_kind;

/* One weight tensor, in Keras's shape and order; floats [offset, offset + count) of the network's vector. */
typedef struct {
    char name[2 * MODEL_NAME_MAX]; /* "conv2d/kernel:0" */
    int rank;
    int64_t shape[PARAMETER_MAX_RANK];
    int64_t count, offset;
    initializer init;
    regularizer reg;
    constraint limit;
    bool trainable;
} parameter;

/* x * scale + offset, of each channel or of all. */
enum { RESCALING_MAX = 4 };
typedef struct {
    int count; /* 1, or as many as channels */
    float scale[RESCALING_MAX], offset[RESCALING_MAX];
} rescaling;

typedef struct {
    layer_kind kind;
    char class_name[32], name[MODEL_NAME_MAX];
    int inputs[LAYER_MAX_INPUTS],
        input_count;      /* layers before it, in the order of the call; -1: the model's input */
    tensor_shape in, out; /* in: of the first input */
    bool trainable, channels_first;
    nn_function activation; /* conv, dense, activation */
    regularizer activity;   /* of the layer's output; divided by the batch size, as tf.keras */
    conv_problem problem;   /* conv, of one image, without post-op */
    nn_pool pool;           /* pool; channels_first: channels = 1, images multiplied by pool_images */
    int64_t pool_images;
    bool average;
    nn_global global; /* with average */
    nn_view view;     /* view, and flatten of channels_first */
    nn_prelu prelu;
    rescaling scaling;
    double rate; /* dropout of both kinds */
    bool seeded;
    int64_t seed; /* dropout's own */
    struct {
        int axis; /* of an image's tensor */
        double momentum, epsilon;
        double least; /* of the standard deviation */
        bool scale, center;
    } norm;
    merge_kind merge;
    int merge_axis;                       /* concatenation's, of an image's tensor */
    int first_parameter, parameter_count; /* in model.parameter */
} layer;

/* What compile() was given, where the JSON tells it. */
typedef struct {
    char optimizer[160]; /* as optimizer_parse reads it, or Keras's words for one it does not know; "":
                          * not told */
    char loss[64];       /* "" when it is the cross-entropy of probabilities, or not told */
} model_compiled;

typedef struct {
    char name[MODEL_NAME_MAX];
    model_compiled compiled;
    tensor_shape in;
    int layer_count, parameter_count;
    int64_t total;      /* floats of the parameter vector, padding included */
    int64_t parameters; /* weights, padding excluded */
    layer layers[MODEL_MAX_LAYERS];
    parameter parameter[MODEL_MAX_PARAMETERS];
    char json[]; /* what it was read from */
} model;

/* Reads a file as network_read. The result is malloc'ed. NULL with one line naming file, layer and option. */
model *model_read(const char *path, conv_error *err);
/* The same from text; `label` stands for the file in messages. */
model *model_parse(const char *text, const char *label, conv_error *err);

/* What input k of the layer has the shape of. */
const tensor_shape *layer_input(const model *m, const layer *l, int k);
/* Multiply-accumulates x 2 of one image through the layer, forward; backward is twice that. */
int64_t layer_flops(const layer *l);
/* NULL when the outputs are probabilities, a softmax's; else what they come from, such as "linear". */
const char *model_not_softmax(const model *m);
/* CRC-32 over everything that decides what the weights mean: kinds, shapes, options. Checkpoints carry it. */
uint32_t model_fingerprint(const model *m);

#endif
