/* A network as data: Keras's Sequential JSON (model.to_json()) read, checked and given shapes.
 *
 * Every key of the file that is not null must be known here; an unknown layer, option or value is an error that
 * names it, and what Keras itself refuses is refused in its words. Nothing of the file is ignored silently. */
#ifndef SEPBENCH_TRAIN_MODEL_H
#define SEPBENCH_TRAIN_MODEL_H

#include "../../kernels/conv.h"
#include "../../kernels/nn/nn.h"
#include "values.h"

enum { MODEL_MAX_LAYERS = 128, MODEL_MAX_PARAMETERS = 3 * MODEL_MAX_LAYERS, MODEL_NAME_MAX = 64 };

typedef enum {
    LAYER_CONV, /* Conv, DepthwiseConv or SeparableConv of any rank: conv_problem says which */
    LAYER_POOL,
    LAYER_DROPOUT,
    LAYER_FLATTEN,
    LAYER_DENSE,
    LAYER_ACTIVATION
} layer_kind;

/* One image's tensor, as Keras sees it: no batch axis. */
typedef struct {
    int rank;
    int64_t dim[CONV_AXES + 1];
} tensor_shape;

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

typedef struct {
    layer_kind kind;
    char class_name[32], name[MODEL_NAME_MAX];
    tensor_shape in, out;
    bool trainable, channels_first;
    nn_activation activation; /* conv, dense, activation */
    regularizer activity;     /* of the layer's output; divided by the batch size, as tf.keras */
    conv_problem problem;     /* conv, of one image, without post-op */
    nn_pool pool;             /* pool; channels_first: channels = 1, images multiplied by pool_images */
    int64_t pool_images;
    bool average;
    double rate; /* dropout */
    bool seeded;
    int64_t seed;                         /* dropout's own */
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

/* Reads a JSON file. The result is malloc'ed. NULL with one line naming file, layer and option. */
model *model_read(const char *path, conv_error *err);
/* The same from text; `label` stands for the file in messages. */
model *model_parse(const char *text, const char *label, conv_error *err);

int64_t shape_count(const tensor_shape *s);
/* "(26, 26, 32)", Keras's way without the batch. Returns buffer[64]. */
char *shape_text(const tensor_shape *s, char *buffer);
/* Multiply-accumulates x 2 of one image through the layer, forward; backward is twice that. */
int64_t layer_flops(const layer *l);
/* NULL when the outputs are probabilities, a softmax's; else what they come from, such as "linear". */
const char *model_not_softmax(const model *m);
/* CRC-32 over everything that decides what the weights mean: kinds, shapes, options. Checkpoints carry it. */
uint32_t model_fingerprint(const model *m);

#endif
