/* What Keras's layers make of shapes. Classes that training knows are read as training reads them
 * (../train/options.c, build.c), without the options that change no shape; the others are a table. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../train/build.h"
#include "internal.h"

/* Element by element; of several inputs, or of one and a scalar; one input behind another. */
typedef enum { SAME, BROADCAST, CONCATENATE } shape_rule;

static const struct {
    const char *name;
    shape_rule rule;
    bool by_element; /* in the sense of network_effect */
} classes[] = {
    {"BatchNormalization", SAME, true},
    {"LayerNormalization", SAME, true},
    {"GroupNormalization", SAME, true},
    {"UnitNormalization", SAME, true},
    {"Activation", SAME, true},
    {"ReLU", SAME, true},
    {"LeakyReLU", SAME, true},
    {"PReLU", SAME, true},
    {"ELU", SAME, true},
    {"Softmax", SAME, true},
    {"ThresholdedReLU", SAME, true},
    {"Dropout", SAME, true},
    {"AlphaDropout", SAME, true},
    {"SpatialDropout1D", SAME, true},
    {"SpatialDropout2D", SAME, true},
    {"SpatialDropout3D", SAME, true},
    {"GaussianDropout", SAME, true},
    {"GaussianNoise", SAME, true},
    {"ActivityRegularization", SAME, true},
    {"Identity", SAME, true},
    {"Normalization", SAME, true},
    {"Rescaling", SAME, true},
    {"RandomFlip", SAME, false},
    {"RandomRotation", SAME, false},
    {"RandomTranslation", SAME, false},
    {"RandomZoom", SAME, false},
    {"RandomContrast", SAME, true},
    {"RandomBrightness", SAME, true},
    {"Add", BROADCAST, false},
    {"Subtract", BROADCAST, false},
    {"Average", BROADCAST, false},
    {"Maximum", BROADCAST, false},
    {"Minimum", BROADCAST, false},
    {"Multiply", BROADCAST, true}, /* squeeze and excitation */
    {"Divide", BROADCAST, false},  /* an operation */
    {"Concatenate", CONCATENATE, false},
};

/* ---- several inputs */

static bool broadcast(const network *n, const network_node *node, tensor_shape *out)
{
    *out = n->nodes[node->inputs[0]].out;
    for (int i = 1; i < node->input_count; i++) {
        const tensor_shape *s = &n->nodes[node->inputs[i]].out;
        if (s->rank != out->rank) return false;
        for (int a = 0; a < s->rank; a++) {
            if (s->dim[a] != out->dim[a] && s->dim[a] != 1 && out->dim[a] != 1) return false;
            if (s->dim[a] > out->dim[a]) out->dim[a] = s->dim[a];
        }
    }
    return true;
}

static bool concatenate(const network *n, const network_node *node, tensor_shape *out)
{
    json_t *given = json_object_get(node->config, "axis");
    *out = n->nodes[node->inputs[0]].out;
    json_int_t axis = json_is_integer(given) ? json_integer_value(given) : -1;
    axis = axis < 0 ? axis + out->rank : axis - 1; /* Keras counts the batch */
    if (axis < 0 || axis >= out->rank) return false;
    for (int i = 1; i < node->input_count; i++) {
        const tensor_shape *s = &n->nodes[node->inputs[i]].out;
        if (s->rank != out->rank) return false;
        for (int a = 0; a < s->rank; a++)
            if (a != axis && s->dim[a] != out->dim[a]) return false;
        out->dim[axis] += s->dim[axis];
    }
    return true;
}

static conv_status merged(const network *n, const network_node *node, shape_rule rule, tensor_shape *out,
                          conv_error *err)
{
    bool fits = rule == CONCATENATE ? concatenate(n, node, out) : broadcast(n, node, out);
    return fits ? CONV_OK : conv_fail(err, CONV_INVALID, "its inputs' shapes do not fit each other");
}

static bool inputs_known(const network *n, const network_node *node)
{
    for (int i = 0; i < node->input_count; i++)
        if (n->nodes[node->inputs[i]].out.rank == 0) return false;
    return true;
}

/* ---- layers that training knows */

/* Training must know of every option what it does; here only those matter that decide a shape. */
static json_t *shape_options(json_t *config)
{
    static const char *const endings[] = {
        "_initializer", "_regularizer",      "_constraint", "activation",
        "dtype",        "batch_input_shape", "name"}; /* training's may not be as long as Keras's */
    json_t *copy = json_copy(config);
    const char *key;
    void *next;
    json_t *value;
    json_object_foreach_safe(copy, next, key, value)
    {
        for (size_t i = 0; i < sizeof endings / sizeof *endings; i++) {
            size_t length = strlen(key), end = strlen(endings[i]);
            if (length < end || strcmp(key + length - end, endings[i]) != 0) continue;
            json_object_del(copy, key);
            break;
        }
    }
    return copy;
}

static bool is_1x1(const conv_problem *p)
{
    return p->variant == CONV_DENSE && p->groups == 1 && p->axis[CONV_D].kernel == 1 &&
           p->axis[CONV_H].kernel == 1 && p->axis[CONV_W].kernel == 1;
}

static conv_status build(const network *n, const network_node *node, layer_type type, network_effect *e,
                         conv_error *err)
{
    layer l = {.in = n->nodes[node->inputs[0]].out};
    layer_options options;
    model *room = calloc(1, sizeof *room); /* for its weights, which nobody reads */
    json_t *config = shape_options(node->config);
    conv_status status = CONV_NO_MEMORY;
    if (room != NULL && config != NULL) status = layer_options_parse(type, config, &options, err);
    if (status == CONV_OK) status = layer_build(room, &l, type, &options, err);
    if (status == CONV_OK) e->out = l.out;
    if (e->convolution) e->problem = l.problem;
    if (e->convolution && is_1x1(&l.problem)) e->problem.variant = CONV_POINTWISE;
    json_decref(config);
    free(room);
    return status;
}

/* ---- */

/* Keras 3 registers no name for its own layers, but one for classes of others, which may be that of a layer,
 * and for its operations. */
static bool is_layer(const network_node *node)
{
    return !json_is_string(json_object_get(node->item, "registered_name"));
}

/* An operation that does what the layer of its name does: "Average" takes a mean along axes. */
static bool is_like_layer(const network_node *node, shape_rule rule)
{
    return network_is_operation(node->item) && rule != SAME && strcmp(node->class_name, "Average") != 0;
}

conv_status keras_effect(const network *n, const network_node *node, network_effect *e, conv_error *err)
{
    network_operation op;
    conv_error unknown;
    *e = (network_effect){.known = false};
    network_operation_read(node, &op, &unknown);
    const char *class_name = op.class_name != NULL ? op.class_name : node->class_name;
    const bool layer = is_layer(node);
    const bool ready = inputs_known(n, node);
    for (size_t i = 0; i < sizeof classes / sizeof *classes; i++) {
        if (strcmp(class_name, classes[i].name) != 0) continue;
        if (!layer && op.class_name == NULL && !is_like_layer(node, classes[i].rule)) return CONV_OK;
        e->known = true;
        e->by_element = classes[i].by_element || op.has_number;
        if (ready && classes[i].rule == SAME) e->out = n->nodes[node->inputs[0]].out;
        return ready && classes[i].rule != SAME ? merged(n, node, classes[i].rule, &e->out, err) : CONV_OK;
    }
    const layer_type type = layer_type_parse(node->class_name);
    if (type.class == CLASS_COUNT || !layer) return CONV_OK;
    e->known = true;
    e->convolution = type.class == CLASS_CONV || type.class == CLASS_DEPTHWISE || type.class == CLASS_SEPARABLE;
    return ready ? build(n, node, type, e, err) : CONV_OK;
}

bool keras_built_for(const network_node *node, tensor_shape *input)
{
    return shape_read_open(json_object_get(json_object_get(node->item, "build_config"), "input_shape"), input);
}
