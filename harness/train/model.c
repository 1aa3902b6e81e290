/* From a network, as Keras 2, tf.keras and Keras 3 write it, to a model. */
#include "model.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

#include "build.h"
#include "compiled.h"

const tensor_shape *layer_input(const model *m, const layer *l, int k)
{
    return l->inputs[k] < 0 ? &m->in : &m->layers[l->inputs[k]].out;
}

int64_t layer_flops(const layer *l)
{
    if (l->kind == LAYER_CONV) return conv_flops(&l->problem, CONV_FORWARD);
    if (l->kind == LAYER_DENSE) return 2 * shape_count(&l->in) * l->out.dim[l->out.rank - 1];
    return 0;
}

/* ---- reading the file */

/* A key that is null says nothing, so it need not be known. */
static conv_status check_keys(json_t *object, const char *const *allowed, const char *what, conv_error *err)
{
    const char *key;
    json_t *value;
    json_object_foreach(object, key, value)
    {
        int i = 0;
        while (allowed[i] != NULL && strcmp(allowed[i], key) != 0) i++;
        if (allowed[i] == NULL && !json_is_null(value))
            return conv_fail(err, CONV_INVALID, "%s: unknown key '%s'", what, key);
    }
    return CONV_OK;
}

/* What a layer or an inner model is called with beside its inputs: nothing that matters. Keras 3 has it in
 * "kwargs", where the model's own training or inference overrides "training"; Keras 2, which obeys that one, as
 * the fourth of each input's list. */
static conv_status check_calls(json_t *calls, conv_error *err)
{
    bool keras_2 = json_is_array(calls) && json_is_string(json_array_get(calls, 0));
    json_t *inner, *keywords = keras_2 ? json_array_get(calls, 3) : json_object_get(calls, "kwargs");
    const char *key;
    size_t at;
    conv_status status = CONV_OK;
    json_object_foreach(keywords, key, inner)
    {
        bool idle = json_is_null(inner) || (!keras_2 && strcmp(key, "training") == 0);
        if (!idle) return conv_fail(err, CONV_INVALID, "it is called with %.40s, which is not supported", key);
    }
    json_array_foreach(calls, at, inner)
    {
        if (status == CONV_OK) status = check_calls(inner, err);
    }
    return status;
}

/* The calls of the model's inner models, which are no layers of the network. */
static conv_status check_models(json_t *model, conv_error *err)
{
    json_t *config = json_object_get(model, "config"), *item;
    size_t at;
    conv_status status = check_calls(json_object_get(model, "inbound_nodes"), err);
    json_array_foreach(json_is_array(config) ? config : json_object_get(config, "layers"), at,
                       item) if (status == CONV_OK &&
                                 json_is_array(json_object_get(json_object_get(item, "config"), "layers")))
        status = check_models(item, err);
    return status;
}

/* What every layer's entry must be, whatever its class; an operation's call has been read. */
static conv_status check_item(json_t *item, layer_type type, const char *class_name, conv_error *err)
{
    static const char *const allowed[] = {"class_name", "config",          "module",        "build_config",
                                          "name",       "registered_name", "inbound_nodes", "shared_object_id",
                                          NULL};
    conv_status status = check_keys(item, allowed, class_name, err);
    if (status != CONV_OK || type.class == CLASS_OPERATION) return status;
    if (type.class == CLASS_COUNT) return conv_fail(err, CONV_INVALID, "unknown layer '%s'", class_name);
    const char *own = json_string_value(json_object_get(item, "registered_name"));
    if (own != NULL)
        return conv_fail(err, CONV_INVALID, "unknown layer '%s': it is not one of Keras's own", own);
    return check_calls(json_object_get(item, "inbound_nodes"), err);
}

/* The model's input: of node 0, or where the file only implies that, of the first layer's options. */
static conv_status read_input(model *m, const network *n, const layer_options *options, conv_error *err)
{
    char text[64];
    m->in = options->has_shape ? options->shape : n->nodes[n->inputs[0]].out;
    if (m->in.rank == 0)
        return conv_fail(err, CONV_INVALID,
                         "the first layer has no batch_input_shape: save the model after building it");
    for (int i = 0; i < m->in.rank; i++)
        if (m->in.dim[i] < 1)
            return conv_fail(err, CONV_INVALID,
                             "the model was built for %s: must be fully known, such as (28, 28, 1)",
                             shape_text(&m->in, text));
    return CONV_OK;
}

/* What its inputs are, by place[node], the layers before it. */
static conv_status link_layer(const model *m, layer *l, const network_node *node, const int *place,
                              conv_error *err)
{
    if (node->input_count > LAYER_MAX_INPUTS)
        return conv_fail(err, CONV_INVALID, "more than %d inputs", LAYER_MAX_INPUTS);
    l->input_count = node->input_count;
    for (int k = 0; k < node->input_count; k++) l->inputs[k] = place[node->inputs[k]];
    l->in = *layer_input(m, l, 0);
    return CONV_OK;
}

/* Keras freezes every layer of a functional model that is itself frozen, whatever the layers' own options are. */
static bool is_frozen(const network *n)
{
    json_t *config = json_object_get(n->root, "config");
    return json_is_false(json_object_get(config, "trainable")) &&
           json_object_get(config, "input_layers") != NULL;
}

/* Of what it does; an operation is the layer that does the same. */
static conv_status read_options(const network_node *node, layer_type *type, const char **class_name,
                                layer_options *options, conv_error *err)
{
    network_operation op;
    conv_status status = network_operation_read(node, &op, err);
    *type = op.class_name != NULL ? (layer_type){CLASS_OPERATION, 0} : layer_type_parse(node->class_name);
    if (status != CONV_OK || node->item == NULL) return status;
    status = check_item(node->item, *type, node->class_name, err);
    if (status == CONV_OK) status = layer_options_parse(*type, node->config, options, err);
    if (status != CONV_OK || op.class_name == NULL) return status;
    *class_name = op.class_name;
    return build_operation(&op, type, options, err);
}

static conv_status read_layer(model *m, const network *n, int at, int *place, conv_error *err)
{
    const network_node *node = &n->nodes[at];
    layer_type type;
    layer_options options = {0};
    const char *class_name = node->class_name;
    conv_status status = read_options(node, &type, &class_name, &options, err);
    if (is_frozen(n)) options.trainable = false;
    place[at] = -1;
    if (status != CONV_OK) return status;
    if (type.class == CLASS_INPUT && node->item == NULL) return CONV_OK;
    if (type.class == CLASS_INPUT && !options.has_shape)
        return conv_fail(err, CONV_INVALID, "InputLayer without batch_input_shape");
    if (m->in.rank == 0) status = read_input(m, n, &options, err);
    if (status != CONV_OK || type.class == CLASS_INPUT) return status;
    if (m->layer_count == MODEL_MAX_LAYERS)
        return conv_fail(err, CONV_INVALID, "more than %d layers", MODEL_MAX_LAYERS);

    layer *l = &m->layers[m->layer_count];
    status = link_layer(m, l, node, place, err);
    if (status == CONV_OK && options.has_shape && !shape_equal(&options.shape, &l->in))
        status = conv_fail(err, CONV_INVALID, "batch_input_shape differs from what the layer before gives");
    if (status == CONV_OK && strlen(node->name) >= MODEL_NAME_MAX)
        status = conv_fail(err, CONV_INVALID, "a name of more than %d characters", MODEL_NAME_MAX - 1);
    if (status == CONV_OK && l->input_count > 1 && type.class != CLASS_MERGE && type.class != CLASS_CONCATENATE)
        status = conv_fail(err, CONV_INVALID, "it has %d inputs, its class one", l->input_count);
    if (status != CONV_OK) return status;
    snprintf(l->class_name, sizeof l->class_name, "%s", class_name);
    strcpy(l->name, node->name);
    status = layer_build(m, l, type, &options, err);
    place[at] = m->layer_count;
    if (status == CONV_OK) m->layer_count++;
    return status;
}

/* Each layer's output is read, but the last's, which is the model's. */
static conv_status check_readers(const network *n, const char *label, conv_error *err)
{
    for (int i = 0; i < n->count; i++) {
        bool read = i == n->outputs[0];
        for (int k = 0; k < n->count && !read; k++)
            for (int j = 0; j < n->nodes[k].input_count && !read; j++) read = n->nodes[k].inputs[j] == i;
        if (!read)
            return conv_fail(err, CONV_INVALID, "%.120s: layer %.60s: nothing reads its output", label,
                             n->nodes[i].name);
    }
    return CONV_OK;
}

static conv_status check_model(const network *n, const char *label, conv_error *err)
{
    static const char *const root_keys[] = {"class_name",   "config",         "keras_version",
                                            "backend",      "module",         "registered_name",
                                            "build_config", "compile_config", NULL};
    static const char *const config_keys[] = {"name",  "layers",       "build_input_shape", "trainable",
                                              "dtype", "input_layers", "output_layers",     NULL};
    json_t *config = json_object_get(n->root, "config");
    conv_error inner;
    conv_status status = check_keys(n->root, root_keys, "model", &inner);
    if (status == CONV_OK && json_is_object(config)) status = check_keys(config, config_keys, "model", &inner);
    if (status == CONV_OK) status = check_models(n->root, &inner);
    if (status == CONV_OK && (n->input_count != 1 || n->output_count != 1))
        status =
            conv_fail(&inner, CONV_INVALID, "it has %d inputs and %d outputs: only one of each is supported",
                      n->input_count, n->output_count);
    return status == CONV_OK ? check_readers(n, label, err)
                             : conv_fail(err, status, "%.120s: %.100s", label, inner.text);
}

static conv_status read_layers(model *m, const network *n, const char *label, conv_error *err)
{
    int *place = calloc((size_t)n->count, sizeof *place);
    conv_status status = place != NULL ? CONV_OK : conv_fail(err, CONV_NO_MEMORY, "%s: no memory", label);
    int implied = n->nodes[0].item == NULL;
    for (int i = 0; i < n->count && status == CONV_OK; i++) {
        conv_error inner;
        status = read_layer(m, n, i, place, &inner);
        if (status != CONV_OK)
            conv_fail(err, status, "%.120s: layer %d %.40s (%.30s): %.150s", label, i + 1 - implied,
                      n->nodes[i].name, n->nodes[i].class_name, inner.text);
    }
    free(place);
    return status;
}

static conv_status read_model(model *m, const network *n, const char *label, conv_error *err)
{
    conv_status status = check_model(n, label, err);
    if (status != CONV_OK) return status;
    strcpy(m->name, n->name);
    compiled_read(json_object_get(n->root, "compile_config"), &m->compiled);
    status = read_layers(m, n, label, err);
    if (status != CONV_OK) return status;
    const char *version = json_string_value(json_object_get(n->root, "keras_version"));
    (version != NULL && version[0] < '3' ? model_of_keras_2 : model_of_keras_3)(m);
    if (m->layer_count == 0) return conv_fail(err, CONV_INVALID, "%s: no layers", label);
    if (m->layers[m->layer_count - 1].out.rank != 1)
        return conv_fail(err, CONV_INVALID,
                         "%s: the last layer's output is not a vector of class scores: add Flatten or Dense",
                         label);
    return CONV_OK;
}

/* Frees the network; NULL: there is none. */
static model *from_network(network *n, const char *label, conv_error *err)
{
    if (n == NULL) return NULL;
    char *text = json_dumps(n->root, JSON_COMPACT);
    model *m = text == NULL ? NULL : calloc(1, sizeof *m + strlen(text) + 1);
    if (m != NULL) strcpy(m->json, text);
    free(text);
    conv_status status =
        m != NULL ? read_model(m, n, label, err) : conv_fail(err, CONV_NO_MEMORY, "%s: no memory", label);
    network_free(n);
    if (status == CONV_OK) return m;
    free(m);
    return NULL;
}

model *model_parse(const char *text, const char *label, conv_error *err)
{
    return from_network(network_parse(text, label, err), label, err);
}

model *model_read(const char *path, conv_error *err)
{
    return from_network(network_read(path, err), path, err);
}

const char *model_not_softmax(const model *m)
{
    const layer *l = &m->layers[m->layer_count - 1];
    while (l->inputs[0] >= 0 && (l->kind == LAYER_FLATTEN || l->kind == LAYER_DROPOUT))
        l = &m->layers[l->inputs[0]];
    if (l->kind != LAYER_CONV && l->kind != LAYER_DENSE && l->kind != LAYER_ACTIVATION) return "none";
    if (l->activation.kind != NN_SOFTMAX) return activation_names[l->activation.kind];
    return l->out.dim[l->out.rank - 1] == shape_count(&l->out) ? NULL : "a softmax of each pixel";
}

/* With the options of layers that earlier versions did not have. */
static uint32_t plain_fingerprint(const layer *l, uint32_t before)
{
    uLong crc = before;
    const nn_function *f = &l->activation;
    const float numbers[] = {f->alpha, f->most, f->threshold};
    bool numbered = f->kind == NN_SHAPED_RELU || (f->kind == NN_ELU && f->alpha != 1);
    if (numbered) crc = crc32(crc, (const Bytef *)numbers, sizeof numbers);
    if (f->kind == NN_SOFTMAX && f->step > 1) crc = crc32(crc, (const Bytef *)&f->step, sizeof f->step);
    if (l->kind == LAYER_VIEW) crc = crc32(crc, (const Bytef *)&l->view, sizeof l->view);
    if (l->kind == LAYER_SPATIAL_DROPOUT)
        crc = crc32(crc, (const Bytef *)&l->global.channels, sizeof l->global.channels);
    if (l->kind == LAYER_RESCALING) crc = crc32(crc, (const Bytef *)&l->scaling, sizeof l->scaling);
    return (uint32_t)crc;
}

uint32_t model_fingerprint(const model *m)
{
    uLong crc = crc32(0, NULL, 0);
    for (int i = 0; i < m->layer_count; i++) {
        const layer *l = &m->layers[i];
        char text[512];
        int n = snprintf(text, sizeof text, "%d %d %d %d %.9g %d %.9g %.9g", (int)l->kind,
                         (int)l->activation.kind, l->channels_first, l->average, l->rate,
                         (int)l->problem.variant, (double)l->activity.l1, (double)l->activity.l2);
        crc = crc32(crc, (const Bytef *)text, (uInt)n);
        crc = crc32(crc, (const Bytef *)l->in.dim, sizeof l->in.dim);
        crc = crc32(crc, (const Bytef *)l->out.dim, sizeof l->out.dim);
        crc = crc32(crc, (const Bytef *)l->problem.axis, sizeof l->problem.axis);
        for (int k = 0; k < 3; k++) /* the depth only where it is one, for checkpoints of earlier versions */
            for (int a = l->in.rank <= CONV_AXES ? CONV_H : CONV_D; a < CONV_AXES; a++) {
                const conv_axis *axis = &l->pool.axis[a];
                const int64_t numbers[] = {axis->kernel, axis->stride, axis->pad_before};
                crc = crc32(crc, (const Bytef *)&numbers[k], sizeof numbers[k]);
            }
        if (l->kind == LAYER_NORMALIZATION || l->kind == LAYER_MERGE || l->inputs[0] != i - 1) {
            n = snprintf(text, sizeof text, "%d %.9g %.9g %d %d %d", l->norm.axis, l->norm.momentum,
                         l->norm.epsilon, l->trainable, (int)l->merge, l->merge_axis);
            crc = crc32(crc, (const Bytef *)text, (uInt)n);
            crc = crc32(crc, (const Bytef *)l->inputs, (uInt)((size_t)l->input_count * sizeof *l->inputs));
        }
    }
    for (int i = 0; i < m->layer_count; i++) crc = (uLong)plain_fingerprint(&m->layers[i], (uint32_t)crc);
    for (int i = 0; i < m->parameter_count; i++) {
        const parameter *p = &m->parameter[i];
        crc = crc32(crc, (const Bytef *)p->name, (uInt)strlen(p->name));
        crc = crc32(crc, (const Bytef *)p->shape, sizeof p->shape);
        crc = crc32(crc, (const Bytef *)&p->reg, sizeof p->reg);
        crc = crc32(crc, (const Bytef *)&p->limit.kind, sizeof p->limit.kind);
        crc = crc32(crc, (const Bytef *)&p->limit.min_value, 3 * sizeof p->limit.min_value);
    }
    return (uint32_t)crc;
}
