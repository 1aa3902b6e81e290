/* Keras's JSON to a graph. A Sequential is a chain of its layers, a functional model says in
 * "inbound_nodes" what each layer reads: lists of [layer, call, tensor, keywords] in Keras 2, tensors with
 * a "keras_history" in Keras 3. (keras/engine/functional.py, keras/src/models/functional.py, get_config) */
#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../grow.h"
#include "../text.h"
#include "internal.h"

enum { FULL_NAME_MAX = 256 };

typedef struct {
    network *n;
    const char *label;
    conv_error *err;
} reader;

typedef struct {
    int *at;
    size_t count;
} numbers;

/* Which layer of the same model, and which of its tensors. */
typedef struct {
    int layer, tensor;
} reference;

typedef struct {
    reference *at;
    size_t count;
} references;

/* A layer of the model that is being read, or a model as a layer. */
typedef struct {
    json_t *item;
    char name[FULL_NAME_MAX];
    const char *class_name;
    references from;
    size_t ready; /* how many of from are placed */
    bool placed;
    numbers outputs; /* nodes */
} part;

/* A model in reading. */
typedef struct {
    json_t *config;
    char name[FULL_NAME_MAX]; /* "" of the outermost */
    bool sequential;
    part *parts;
    size_t count;
    json_t *numbers; /* of layers, by name */
    references inputs, outputs;
} level;

/* ---- the model and its layers */

json_t *network_layers(json_t *item)
{
    json_t *config = json_object_get(item, "config");
    json_t *layers = json_is_array(config) ? config : json_object_get(config, "layers");
    return json_is_array(layers) ? layers : NULL;
}

static bool is_sequential(json_t *item)
{
    const char *class_name = json_string_value(json_object_get(item, "class_name"));
    return class_name != NULL && strcmp(class_name, "Sequential") == 0 && network_layers(item) != NULL;
}

static bool is_functional(json_t *item)
{
    return network_layers(item) != NULL &&
           json_object_get(json_object_get(item, "config"), "output_layers") != NULL;
}

static bool is_model(json_t *item) { return is_sequential(item) || is_functional(item); }

static bool is_input(const part *p) { return strcmp(p->class_name, "InputLayer") == 0; }

static conv_status fail(const reader *r, const part *p, const char *why)
{
    return conv_fail(r->err, CONV_INVALID, "%.80s: layer %.60s (%.30s): %.60s", r->label, p->name,
                     p->class_name, why);
}

/* (.)([A-Z][a-z]+), then ([a-z])([A-Z]) */
char *network_snake_case(const char *class_name, char *to, size_t size)
{
    size_t n = 0;
    for (const char *c = class_name; *c != 0 && n + 3 < size; c++) {
        bool later = isupper((unsigned char)*c) && c != class_name;
        if (later && (islower((unsigned char)c[1]) || islower((unsigned char)c[-1]))) to[n++] = '_';
        to[n++] = (char)tolower((unsigned char)*c);
    }
    to[n] = 0;
    return to;
}

/* As Keras names layers; _1, _2 for the next of the same kind. */
static void default_name(const level *l, size_t at)
{
    part *p = &l->parts[at];
    char base[NETWORK_NAME_MAX / 2];
    int same = 0;
    network_snake_case(p->class_name, base, sizeof base);
    for (size_t i = 0; i < at; i++) same += strcmp(l->parts[i].class_name, p->class_name) == 0;
    snprintf(p->name, sizeof p->name, same ? "%s_%d" : "%s", base, same);
}

static conv_status read_part(const reader *r, const level *l, size_t at, json_t *item)
{
    part *p = &l->parts[at];
    json_t *config = json_object_get(item, "config"), *name = json_object_get(item, "name");
    p->item = item;
    p->class_name = json_string_value(json_object_get(item, "class_name"));
    if (p->class_name == NULL || config == NULL)
        return conv_fail(r->err, CONV_INVALID, "%.120s: layer %zu: a layer needs class_name and config",
                         r->label, at + 1);
    if (!json_is_string(name)) name = json_object_get(config, "name");
    const char *text = json_string_value(name);
    if (!text_is_plain(p->class_name) || strlen(p->class_name) >= NETWORK_NAME_MAX ||
        (text != NULL && (*text == 0 || !text_is_plain(text) || strlen(text) >= sizeof p->name)))
        return conv_fail(r->err, CONV_INVALID,
                         "%.120s: layer %zu: its name or class is not printable, empty or too long", r->label,
                         at + 1);
    if (text != NULL)
        strcpy(p->name, text);
    else
        default_name(l, at);
    if (json_object_get(l->numbers, p->name) != NULL)
        return conv_fail(r->err, CONV_INVALID,
                         "%.80s: The name \"%.60s\" is used 2 times in the model. All layer names should be "
                         "unique.",
                         r->label, p->name);
    return json_object_set_new(l->numbers, p->name, json_integer((json_int_t)at)) == 0 ? CONV_OK
                                                                                       : CONV_NO_MEMORY;
}

/* ---- what reads what */

static conv_status add_reference(references *to, int layer, json_int_t tensor)
{
    reference *added = grow(&to->at, &to->count, sizeof *to->at);
    if (added == NULL) return CONV_NO_MEMORY;
    *added = (reference){layer, tensor < 0 || tensor > NETWORK_MAX_NODES ? 0 : (int)tensor};
    return CONV_OK;
}

/* ["conv2d", 0, 0], perhaps with the call's keywords behind. */
static bool is_reference(json_t *value)
{
    size_t size = json_array_size(value);
    return (size == 3 || size == 4) && json_is_string(json_array_get(value, 0)) &&
           json_is_integer(json_array_get(value, 1)) && json_is_integer(json_array_get(value, 2));
}

/* References anywhere in the value; of Keras 3's calls, which have other lists too, only those of tensors. */
static conv_status collect(const reader *r, const level *l, json_t *value, bool tensors, references *to)
{
    json_t *inner;
    const char *key;
    size_t i;
    conv_status status = CONV_OK;
    const char *class_name = json_string_value(json_object_get(value, "class_name"));
    if (class_name != NULL && strcmp(class_name, "__keras_tensor__") == 0)
        return collect(r, l, json_object_get(json_object_get(value, "config"), "keras_history"), false, to);
    if (!tensors && is_reference(value)) {
        const char *name = json_string_value(json_array_get(value, 0));
        json_t *number = json_object_get(l->numbers, name);
        if (number == NULL && strcmp(name, "_CONSTANT_VALUE") != 0)
            return conv_fail(r->err, CONV_INVALID,
                             "%.80s: the model%s%.40s has no layer '%.60s', which it reads", r->label,
                             *l->name ? " " : "", l->name, text_is_plain(name) ? name : "?");
        if (number != NULL)
            status = add_reference(to, (int)json_integer_value(number),
                                   json_integer_value(json_array_get(value, 2)));
        return status == CONV_OK ? collect(r, l, json_array_get(value, 3), tensors, to) : status;
    }
    json_array_foreach(value, i, inner)
    {
        if (status == CONV_OK) status = collect(r, l, inner, tensors, to);
    }
    json_object_foreach(value, key, inner)
    {
        if (status == CONV_OK) status = collect(r, l, inner, tensors, to);
    }
    return status;
}

static conv_status link_part(const reader *r, level *l, size_t at)
{
    part *p = &l->parts[at];
    json_t *calls = json_object_get(p->item, "inbound_nodes");
    if (l->sequential) return at > 0 ? add_reference(&p->from, (int)at - 1, 0) : CONV_OK;
    if (json_array_size(calls) > 1)
        return conv_fail(
            r->err, CONV_INVALID,
            "%.80s: layer %.60s (%.30s) is used %zu times: a layer shared by several places is not "
            "supported",
            r->label, p->name, p->class_name, json_array_size(calls));
    json_t *call = json_array_get(calls, 0);
    conv_status status = collect(r, l, call, json_is_object(call), &p->from);
    if (status == CONV_OK && p->from.count == 0 && !is_input(p)) status = fail(r, p, "nothing is its input");
    return status;
}

static conv_status link_model(const reader *r, level *l)
{
    conv_status status = CONV_OK;
    for (size_t i = 0; i < l->count && status == CONV_OK; i++) status = link_part(r, l, i);
    if (status != CONV_OK) return status;
    if (l->sequential) return add_reference(&l->outputs, (int)l->count - 1, 0);
    status = collect(r, l, json_object_get(l->config, "input_layers"), false, &l->inputs);
    if (status == CONV_OK)
        status = collect(r, l, json_object_get(l->config, "output_layers"), false, &l->outputs);
    if (status == CONV_OK && (l->inputs.count == 0 || l->outputs.count == 0))
        return conv_fail(r->err, CONV_INVALID, "%.120s: a model without input_layers or output_layers",
                         r->label);
    return status;
}

/* ---- nodes */

static conv_status add_number(numbers *to, int number)
{
    int *added = grow(&to->at, &to->count, sizeof *to->at);
    if (added == NULL) return CONV_NO_MEMORY;
    *added = number;
    return CONV_OK;
}

static conv_status full_name(const reader *r, const level *l, const part *p, char name[FULL_NAME_MAX])
{
    int length = snprintf(name, FULL_NAME_MAX, "%s%s%s", l->name, *l->name ? "/" : "", p->name);
    return length < FULL_NAME_MAX ? CONV_OK
                                  : fail(r, p, "its name is too long with those of the models around it");
}

/* Takes the numbers of inputs over. */
static conv_status add_node(const reader *r, const char *name, const part *p, numbers *inputs, int *number)
{
    network *n = r->n;
    if (n->count == NETWORK_MAX_NODES)
        return conv_fail(r->err, CONV_INVALID, "%.120s: more than %d layers", r->label, NETWORK_MAX_NODES);
    network_node *node = &n->nodes[n->count];
    if ((node->name = strdup(name)) == NULL) return CONV_NO_MEMORY;
    *number = n->count++;
    node->class_name = p->class_name;
    node->item = p->item;
    node->config = json_object_get(p->item, "config");
    node->inputs = inputs->at;
    node->input_count = (int)inputs->count;
    *inputs = (numbers){0};
    return CONV_OK;
}

/* An input's shape: an open one stays not known. */
static conv_status add_input(const reader *r, const char *name, const part *p, json_t *shape, int *number)
{
    conv_status status = add_node(r, name, p, &(numbers){0}, number);
    if (status == CONV_OK) shape_read_open(shape, &r->n->nodes[*number].out);
    return status;
}

static json_t *own_shape(json_t *item)
{
    json_t *config = json_object_get(item, "config"), *shape = json_object_get(config, "batch_input_shape");
    return shape != NULL ? shape : json_object_get(config, "batch_shape");
}

/* What a Sequential without an input layer was built for: Keras writes it in its first layer, or after build()
 * or a first call; where depends on its version. */
static json_t *built_shape(json_t *model)
{
    json_t *first = json_array_get(network_layers(model), 0);
    while (is_model(first)) first = json_array_get(network_layers(first), 0);
    json_t *const shapes[] = {own_shape(first),
                              json_object_get(json_object_get(model, "config"), "build_input_shape"),
                              json_object_get(json_object_get(model, "build_config"), "input_shape"),
                              json_object_get(json_object_get(first, "build_config"), "input_shape")};
    int i = 0;
    while (i < 3 && (shapes[i] == NULL || json_is_null(shapes[i]))) i++;
    return shapes[i];
}

/* Adds the model's layers as nodes; given: what feeds it, NULL of the outermost, whose own inputs become
 * nodes. */
static conv_status add_model(const reader *r, json_t *model, const char *name, const numbers *given,
                             numbers *outputs);

/* An InputLayer: a node of the outermost model, else what feeds the model there. */
static conv_status place_input(const reader *r, const level *l, part *p, const numbers *given)
{
    size_t at = 0, index = (size_t)(p - l->parts);
    int number = 0;
    conv_status status = CONV_OK;
    if (p->from.count > 0) /* within a Sequential: it changes nothing */
        return add_number(&p->outputs, l->parts[p->from.at[0].layer].outputs.at[0]);
    while (at < l->inputs.count && l->inputs.at[at].layer != (int)index) at++;
    if (given == NULL)
        status = add_input(r, p->name, p, own_shape(p->item), &number);
    else if (at < given->count)
        number = given->at[at];
    else
        return fail(r, p, "an input of an inner model that is given nothing");
    return status == CONV_OK ? add_number(&p->outputs, number) : status;
}

static conv_status place_part(const reader *r, const level *l, part *p, const numbers *given)
{
    char name[FULL_NAME_MAX];
    numbers inputs = {0};
    conv_status status = full_name(r, l, p, name);
    if (status != CONV_OK) return status;
    if (is_input(p)) return place_input(r, l, p, given);
    for (size_t i = 0; i < p->from.count && status == CONV_OK; i++) {
        const numbers *from = &l->parts[p->from.at[i].layer].outputs;
        size_t tensor = (size_t)p->from.at[i].tensor; /* a plain layer's tensors are all its node's */
        status = add_number(&inputs, from->at[tensor < from->count ? tensor : 0]);
    }
    if (p->from.count == 0 && status == CONV_OK) /* the first of a Sequential */
        status = add_number(&inputs, given->at[0]);
    if (status == CONV_OK && is_model(p->item)) {
        status = add_model(r, p->item, name, &inputs, &p->outputs);
    } else if (status == CONV_OK) {
        int number = 0;
        status = add_node(r, name, p, &inputs, &number);
        if (status == CONV_OK) status = add_number(&p->outputs, number);
    }
    free(inputs.at);
    return status;
}

/* Layers in an order in which each comes after what it reads, otherwise in the file's. */
static conv_status place_parts(const reader *r, const level *l, const numbers *given)
{
    conv_status status = CONV_OK;
    for (size_t left = l->count, before = left + 1; left > 0 && left < before && status == CONV_OK;) {
        before = left;
        for (size_t i = 0; i < l->count && status == CONV_OK; i++) {
            part *p = &l->parts[i];
            if (p->placed) continue;
            while (p->ready < p->from.count && l->parts[p->from.at[p->ready].layer].placed) p->ready++;
            if (p->ready < p->from.count) continue;
            status = place_part(r, l, p, given);
            p->placed = true;
            left--;
        }
    }
    for (size_t i = 0; i < l->count && status == CONV_OK; i++)
        if (!l->parts[i].placed) return fail(r, &l->parts[i], "it is in a cycle, or behind one");
    return status;
}

static conv_status read_level(const reader *r, level *l, json_t *model)
{
    json_t *layers = network_layers(model);
    l->config = json_object_get(model, "config");
    l->sequential = is_sequential(model);
    l->count = json_array_size(layers);
    if (l->count == 0) return conv_fail(r->err, CONV_INVALID, "%.120s: a model without layers", r->label);
    if (l->count > NETWORK_MAX_NODES)
        return conv_fail(r->err, CONV_INVALID, "%.120s: more than %d layers", r->label, NETWORK_MAX_NODES);
    l->parts = calloc(l->count, sizeof *l->parts);
    l->numbers = json_object();
    conv_status status = l->parts == NULL || l->numbers == NULL ? CONV_NO_MEMORY : CONV_OK;
    for (size_t i = 0; i < l->count && status == CONV_OK; i++)
        status = read_part(r, l, i, json_array_get(layers, i));
    return status == CONV_OK ? link_model(r, l) : status;
}

static conv_status outputs_of(const level *l, numbers *outputs)
{
    conv_status status = CONV_OK;
    for (size_t i = 0; i < l->outputs.count && status == CONV_OK; i++) {
        const numbers *from = &l->parts[l->outputs.at[i].layer].outputs;
        size_t tensor = (size_t)l->outputs.at[i].tensor;
        status = add_number(outputs, from->at[tensor < from->count ? tensor : 0]);
    }
    return status;
}

static void free_level(level *l)
{
    for (size_t i = 0; l->parts != NULL && i < l->count; i++) {
        free(l->parts[i].from.at);
        free(l->parts[i].outputs.at);
    }
    free(l->parts);
    json_decref(l->numbers);
    free(l->inputs.at);
    free(l->outputs.at);
}

static conv_status add_model(const reader *r, json_t *model, const char *name, const numbers *given,
                             numbers *outputs)
{
    static const part implied = {.class_name = "InputLayer"};
    level l = {0};
    numbers own = {0};
    snprintf(l.name, sizeof l.name, "%s", name);
    conv_status status = read_level(r, &l, model);
    if (status == CONV_OK && given == NULL && l.sequential && !is_input(&l.parts[0])) {
        int number = 0;
        status = add_input(r, "input", &implied, built_shape(model), &number);
        if (status == CONV_OK) status = add_number(&own, number);
        given = &own;
    }
    if (status == CONV_OK) status = place_parts(r, &l, given);
    if (status == CONV_OK) status = outputs_of(&l, outputs);
    free(own.at);
    free_level(&l);
    return status;
}

/* Whether the data format of the first convolution is channels_first. */
static bool channels_first(const network *n)
{
    for (int i = 0; i < n->count; i++) {
        json_t *format = json_object_get(n->nodes[i].config, "data_format");
        if (json_is_string(format)) return strcmp(json_string_value(format), "channels_first") == 0;
    }
    return false;
}

conv_status keras_read(network *n, json_t *root, const char *label, conv_error *err)
{
    const reader r = {n, label, err};
    numbers inputs = {0}, outputs = {0};
    n->root = root;
    n->effect = keras_effect;
    const char *class_name = json_string_value(json_object_get(root, "class_name"));
    if (!is_model(root))
        return conv_fail(err, CONV_INVALID, "%.120s: class_name is '%.40s': must be Sequential or Functional",
                         label,
                         class_name == NULL          ? "absent"
                         : text_is_plain(class_name) ? class_name
                                                     : "?");
    const char *name = json_string_value(json_object_get(json_object_get(root, "config"), "name"));
    snprintf(n->name, sizeof n->name, "%s", name == NULL || *name == 0 ? "sequential" : name);
    text_make_printable(n->name);
    n->nodes = calloc(NETWORK_MAX_NODES, sizeof *n->nodes);
    conv_status status = n->nodes == NULL ? CONV_NO_MEMORY : add_model(&r, root, "", NULL, &outputs);
    for (int i = 0; i < n->count && status == CONV_OK; i++)
        if (n->nodes[i].input_count == 0) status = add_number(&inputs, i);
    n->inputs = inputs.at;
    n->input_count = (int)inputs.count;
    n->outputs = outputs.at;
    n->output_count = (int)outputs.count;
    n->channels_first = channels_first(n);
    return status;
}
