/* A network as a graph of layers, read from a file: Keras's JSON (to_json() of Keras 2, tf.keras and Keras 3,
 * Sequential or functional, plain or gzipped) or a .keras archive, told apart by their content, or an ONNX
 * file, told by its name's .onnx.
 *
 * The reader knows how layers are connected, not what they do: every class is taken. Models within the model
 * are flattened. A layer used twice and a cycle are refused by name. Who needs to know what a layer's options
 * mean reads its config. */
#ifndef SEPBENCH_NETWORK_H
#define SEPBENCH_NETWORK_H

#include <jansson.h>

#include "../../kernels/conv.h"

enum { NETWORK_NAME_MAX = 64, NETWORK_MAX_NODES = 4096 };

/* One image's tensor, as Keras sees it: no batch axis. */
typedef struct {
    int rank; /* 0: not known */
    int64_t dim[CONV_AXES + 1];
} tensor_shape;

int64_t shape_count(const tensor_shape *s);
bool shape_equal(const tensor_shape *a, const tensor_shape *b);
/* "(26, 26, 32)", Keras's way without the batch; an open size is "None". Returns buffer[64]. */
char *shape_text(const tensor_shape *s, char *buffer);
/* "[null, 28, 28, 1]", whose first is the batch; null, an open size, becomes 0. False: not of this form, or
 * more axes than a tensor_shape has. */
bool shape_read_open(json_t *value, tensor_shape *out);

typedef struct {
    char *name; /* "inner_model/conv"; Keras's names are unique within a model */
    const char *class_name;
    json_t *item; /* the layer as the file has it (class_name, config, build_config, inbound_nodes); NULL of an
                       input that the file implies, and of what is not Keras's */
    json_t *config; /* item's; NULL with it */
    int *inputs;    /* nodes that it reads, all of lower numbers, in the order of the call */
    int input_count;
    tensor_shape out; /* of an "InputLayer" as the file has it, open sizes 0; else not known yet */
} network_node;

typedef struct network network;

/* What is known of a layer from the shapes of its inputs; those may be unknown (rank 0). */
typedef struct {
    bool known;           /* the class is */
    bool convolution;     /* of a kind that is measured here */
    bool by_element;      /* may stand between a depthwise convolution and the 1x1 behind it */
    tensor_shape out;     /* rank 0: not known */
    conv_problem problem; /* a convolution's of one image, once its input's shape is known */
} network_effect;

/* CONV_OK, or CONV_INVALID where the layer's options do not fit its input: then err says what does not. */
typedef conv_status network_effect_of(const network *n, const network_node *node, network_effect *effect,
                                      conv_error *err);

struct network {
    char name[NETWORK_NAME_MAX];
    network_effect_of *effect;
    void *reader; /* what else effect knows of the file; free_reader frees it. Both may be NULL */
    void (*free_reader)(void *reader);
    bool channels_first; /* in an image's shape */
    json_t *root;        /* the file's; NULL of what is not Keras's */
    network_node *nodes; /* an InputLayer for each input, also where a Sequential only implies it */
    int count;
    int *inputs, *outputs; /* nodes: the outputs in the model's order */
    int input_count, output_count;
};

/* ---- Keras's JSON */

/* The layers of a model, or of a layer that is one; NULL of any other layer. */
json_t *network_layers(json_t *item);
/* "SeparableConv2D" to "separable_conv2d", "PReLU" to "p_re_lu": Keras's to_snake_case. Returns to. */
char *network_snake_case(const char *class_name, char *to, size_t size);
/* Whether the item is an operation (keras.ops), no layer. */
bool network_is_operation(json_t *item);

/* ---- a file's network */

/* Models that travel in the program: bench/models/. */
#define NETWORK_BUNDLED "conv, separable, mobilenet_small, mobilenet_small_dense"
bool network_is_bundled(const char *name);

/* A file, or one of NETWORK_BUNDLED by its name alone. NULL with one line that names the file, the layer and the
 * value. */
network *network_read(const char *path, conv_error *err);
/* The same from JSON text; `label` stands for the file in messages. */
network *network_parse(const char *text, const char *label, conv_error *err);
void network_free(network *n);

/* What Keras calls an operation: of two tensors, or of a tensor and a number. */
typedef struct {
    const char *class_name; /* Add, Subtract, Multiply or Divide; NULL: the node is a layer, or unknown */
    bool has_number, number_first;
    double number;
} network_operation;

/* Of a node of Keras's. CONV_INVALID: an operation that is not one of these, or not called so; err says why. */
conv_status network_operation_read(const network_node *node, network_operation *out, conv_error *err);

#endif
