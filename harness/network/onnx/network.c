/* A graph as a network: a node for each input and for each operator that works on what the inputs become.
 * Constants and what only computes shapes are left out. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../../grow.h"
#include "../../text.h"
#include "internal.h"

typedef struct {
    onnx_graph *graph;
    size_t *source;  /* of a node of the network: its number among the graph's inputs, or among its nodes */
    size_t inferred; /* nodes of the graph, since the inputs were set */
    int input_nodes; /* the network's first nodes */
    size_t room;
    int *maker; /* while reading, of each value: the network's node that makes it; -1: none */
} reader;

/* ---- what a node does */

static bool is_batched(const onnx_shape *s) { return s->rank >= 2 && s->rank <= CONV_AXES + 2; }

/* The network's inputs have no batch; it is the file's, or 1. */
static void set_inputs(reader *r, const network *n)
{
    onnx_begin(r->graph);
    for (int i = 0; i < r->input_nodes; i++) {
        const tensor_shape *own = &n->nodes[i].out;
        onnx_shape s = onnx_stated_input(r->graph, r->source[i]);
        if (own->rank > 0) {
            s.dim[0] = s.rank > 0 && s.dim[0] > 0 ? s.dim[0] : 1;
            s.rank = own->rank + 1;
            memcpy(s.dim + 1, own->dim, (size_t)own->rank * sizeof *s.dim);
        }
        onnx_set_input(r->graph, r->source[i], &s);
    }
    r->inferred = 0;
}

static void set_out(tensor_shape *out, const onnx_shape *s)
{
    out->rank = is_batched(s) ? s->rank - 1 : 0;
    for (int i = 0; i < out->rank; i++) out->dim[i] = s->dim[i + 1] > 0 ? s->dim[i + 1] : 0;
}

/* A problem is one image's. */
static int64_t batch_of(const reader *r, const network *n)
{
    for (int i = 0; i < n->input_count; i++) {
        const onnx_shape s = onnx_stated_input(r->graph, r->source[n->inputs[i]]);
        if (is_batched(&s)) return s.dim[0] > 0 ? s.dim[0] : 1;
    }
    return 1;
}

static conv_status effect_of(const network *n, const network_node *node, network_effect *e, conv_error *err)
{
    reader *r = n->reader;
    const size_t source = r->source[node - n->nodes];
    const Onnx__Node *operation = r->graph->model->graph->node[source];
    onnx_rule *rule = onnx_rule_of(operation);
    if (source < r->inferred || r->inferred == 0) set_inputs(r, n);
    while (r->inferred <= source) onnx_infer(r->graph, r->inferred++);
    e->known = rule != NULL && rule != onnx_transposed_conv_rule && rule != onnx_quantized_conv_rule;
    e->convolution = rule == onnx_conv_rule;
    e->by_element =
        onnx_is_by_element(rule) && (node->input_count == 1 || strcmp(operation->op_type, "Mul") == 0);
    if (operation->n_output == 0) return CONV_OK;
    const onnx_shape *out = &r->graph->values[r->graph->first_output[source]].shape;
    if (out->rank > 0 && onnx_product(out, 1, out->rank) > 0) set_out(&e->out, out);
    if (!e->convolution) return CONV_OK;
    if (!onnx_conv_problem(r->graph, operation, &e->problem, err)) return CONV_INVALID;
    const int64_t batch = batch_of(r, n);
    if (e->problem.mb % batch == 0) e->problem.mb /= batch;
    return CONV_OK;
}

/* ---- nodes */

static bool add_node(network *n, const char *name, const char *class_name, size_t source)
{
    reader *r = n->reader;
    size_t sources = r->room;
    if (r->room == NETWORK_MAX_NODES) return false;
    network_node *node = grow(&n->nodes, &r->room, sizeof *node);
    size_t *kept = node != NULL ? grow(&r->source, &sources, sizeof *kept) : NULL;
    const size_t length = strlen(name) + 1;
    if (kept == NULL) return false;
    n->count++;
    *kept = source;
    node->name = malloc(length + strlen(class_name) + 1); /* the class's name lies behind it and goes with it */
    if (node->name == NULL) return false;
    memcpy(node->name, name, length);
    node->class_name = strcpy(node->name + length, class_name);
    text_make_printable(node->name);
    text_make_printable(node->name + length);
    return true;
}

static int maker_of(const reader *r, const char *name)
{
    const onnx_value *v = onnx_find(r->graph, name);
    return v != NULL ? r->maker[v - r->graph->values] : -1;
}

static bool add_inputs(network *n)
{
    reader *r = n->reader;
    const Onnx__Graph *graph = r->graph->model->graph;
    n->inputs = calloc(graph->n_input + 1, sizeof *n->inputs);
    if (n->inputs == NULL) return false;
    for (size_t i = 0; i < graph->n_input; i++) {
        const char *name = onnx_text(graph->input[i]->name);
        const onnx_value *v = onnx_find(r->graph, name);
        const onnx_shape s = onnx_stated_input(r->graph, i);
        if (v == NULL || v < r->graph->values + graph->n_initializer || maker_of(r, name) >= 0) continue;
        r->maker[v - r->graph->values] = n->count;
        if (!add_node(n, name, "InputLayer", i)) return false;
        set_out(&n->nodes[n->count - 1].out, &s);
        if (s.rank < 0 || is_batched(&s)) n->inputs[n->input_count++] = n->count - 1;
    }
    r->input_nodes = n->count;
    return true;
}

static bool set_sources(const reader *r, const Onnx__Node *operation, network_node *node)
{
    node->inputs = calloc(operation->n_input + 1, sizeof *node->inputs);
    if (node->inputs == NULL) return false;
    for (size_t i = 0; i < operation->n_input; i++) {
        const int maker = maker_of(r, operation->input[i]);
        if (maker >= 0) node->inputs[node->input_count++] = maker;
    }
    return true;
}

/* Of Shape and Size no elements of an image come. */
static bool is_kept(const reader *r, const Onnx__Node *operation)
{
    const char *type = onnx_text(operation->op_type);
    if (strcmp(type, "Shape") == 0 || strcmp(type, "Size") == 0) return false;
    for (size_t i = 0; i < operation->n_input; i++)
        if (maker_of(r, operation->input[i]) >= 0) return true;
    return false;
}

static bool add_operations(network *n)
{
    reader *r = n->reader;
    const Onnx__Graph *graph = r->graph->model->graph;
    for (size_t i = 0; i < graph->n_node; i++) {
        const Onnx__Node *operation = graph->node[i];
        const char *type = onnx_text(operation->op_type), *name = onnx_text(operation->name);
        char numbered[64];
        if (!is_kept(r, operation)) continue;
        snprintf(numbered, sizeof numbered, "%.40s_%zu", type, i);
        for (size_t k = 0; k < operation->n_output; k++) r->maker[r->graph->first_output[i] + k] = n->count;
        if (!add_node(n, *name ? name : numbered, type, i)) return false;
        if (!set_sources(r, operation, &n->nodes[n->count - 1])) return false;
    }
    return true;
}

static bool add_outputs(network *n)
{
    const reader *r = n->reader;
    const Onnx__Graph *graph = r->graph->model->graph;
    n->outputs = calloc(graph->n_output + 1, sizeof *n->outputs);
    if (n->outputs == NULL) return false;
    for (size_t i = 0; i < graph->n_output; i++) {
        const int maker = maker_of(r, onnx_text(graph->output[i]->name));
        if (maker >= 0) n->outputs[n->output_count++] = maker;
    }
    return true;
}

/* ---- the whole */

/* TensorFlow's converter transposes images before it convolves them. */
static bool has_channels_first(const network *n)
{
    const reader *r = n->reader;
    for (int i = 0; i < n->count; i++) {
        const network_node *node = &n->nodes[i];
        if (node->input_count != 1 || n->nodes[node->inputs[0]].input_count != 0) continue;
        const Onnx__Node *operation = r->graph->model->graph->node[r->source[i]];
        const Onnx__Attribute *order = onnx_attribute(operation, "perm");
        if (strcmp(node->class_name, "Transpose") == 0 && order != NULL && order->n_ints > 2 &&
            order->ints[1] == (int64_t)order->n_ints - 1)
            return false;
    }
    return true;
}

static void free_reader(void *data)
{
    reader *r = data;
    onnx_close(r->graph);
    free(r->source);
    free(r->maker);
    free(r);
}

/* Converters call every graph the same, "main_graph" or "tf2onnx". */
static void name_after_file(network *n, const char *path)
{
    const char *slash = strrchr(path, '/'), *name = slash != NULL ? slash + 1 : path, *end = strrchr(name, '.');
    const int length = end != NULL ? (int)(end - name) : (int)strlen(name);
    snprintf(n->name, sizeof n->name, "%.*s", length, name);
    text_make_printable(n->name);
}

conv_status onnx_read(network *n, const char *path, conv_error *err)
{
    reader *r = n->reader = calloc(1, sizeof *r);
    if (r == NULL) return CONV_NO_MEMORY;
    n->free_reader = free_reader;
    n->effect = effect_of;
    r->graph = onnx_open(path, err);
    if (r->graph == NULL) return CONV_INVALID;
    name_after_file(n, path);
    r->maker = malloc((r->graph->value_count + 1) * sizeof *r->maker);
    if (r->maker == NULL) return CONV_NO_MEMORY;
    memset(r->maker, -1, (r->graph->value_count + 1) * sizeof *r->maker);
    if (!add_inputs(n) || !add_operations(n) || !add_outputs(n))
        return r->room == NETWORK_MAX_NODES
                   ? conv_fail(err, CONV_INVALID, "%.180s: more than %d operators", path, NETWORK_MAX_NODES)
                   : CONV_NO_MEMORY;
    n->channels_first = has_channels_first(n);
    return CONV_OK;
}
