/* A file read into messages, and what is inferred of its values, node by node. */
#include <errno.h>
#include <fcntl.h>
#include <malloc.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "../../text.h"
#include "internal.h"

enum {
    OLDEST_OPSET = 7,
    NEWEST_OPSET = 28,
    OLDEST_IR = 3,
    NEWEST_IR = 14,
    LEAST_BUDGET = 64 << 20,
    BUDGET_TIMES = 4
};

/* ---- a node's inputs and attributes */

const onnx_value *onnx_find(const onnx_graph *g, const char *name)
{
    const json_t *index = json_object_get(g->names, name);
    return index != NULL ? &g->values[json_integer_value(index)] : NULL;
}

bool onnx_has_input(const onnx_call *c, size_t i) { return i < c->node->n_input && *c->node->input[i] != '\0'; }

const onnx_value *onnx_input(const onnx_call *c, size_t i)
{
    const onnx_value *v = onnx_has_input(c, i) ? onnx_find(c->graph, c->node->input[i]) : NULL;
    return v != NULL ? v : &onnx_nothing;
}

const Onnx__Attribute *onnx_attribute(const Onnx__Node *node, const char *name)
{
    for (size_t i = 0; i < node->n_attribute; i++)
        if (strcmp(onnx_text(node->attribute[i]->name), name) == 0) return node->attribute[i];
    return NULL;
}

int64_t onnx_int(const onnx_call *c, const char *name, int64_t otherwise)
{
    const Onnx__Attribute *a = onnx_attribute(c->node, name);
    return a != NULL && a->has_i ? a->i : otherwise;
}

bool onnx_is(const onnx_call *c, const char *name, const char *text)
{
    const Onnx__Attribute *a = onnx_attribute(c->node, name);
    return a != NULL && a->has_s && a->s.len == strlen(text) && memcmp(a->s.data, text, a->s.len) == 0;
}

/* The ends of slices are often the largest number there is. */
static int64_t saturated(double x) { return x >= 0x1p63 ? INT64_MAX : x < -0x1p63 ? INT64_MIN : (int64_t)x; }

int onnx_ints(const onnx_call *c, const char *name, size_t input, int64_t *list)
{
    const Onnx__Attribute *a = onnx_attribute(c->node, name);
    if (a != NULL) {
        if (a->n_ints > ONNX_ELEMENTS) return ONNX_NOT_KNOWN;
        for (size_t i = 0; i < a->n_ints; i++) list[i] = a->ints[i];
        return (int)a->n_ints;
    }
    if (!onnx_has_input(c, input)) return 0;
    const onnx_value *v = onnx_input(c, input);
    for (int i = 0; i < v->count; i++) {
        if (isnan(v->element[i])) return ONNX_NOT_KNOWN;
        list[i] = saturated(v->element[i]);
    }
    return v->count;
}

char *onnx_node_text(const Onnx__Node *node, char *buffer)
{
    snprintf(buffer, ONNX_NODE_TEXT, "%.40s '%.70s'", onnx_text(node->op_type),
             node->name != NULL && *node->name ? node->name
             : node->n_output > 0              ? node->output[0]
                                               : "");
    return text_make_printable(buffer);
}

/* ---- what the file states of shapes */

static int64_t stated_dim(const onnx_graph *g, const Onnx__Dimension *d)
{
    if (d->has_dim_value) return d->dim_value > 0 ? onnx_dim((double)d->dim_value) : ONNX_OPEN;
    const json_t *known = d->dim_param != NULL ? json_object_get(g->symbols, d->dim_param) : NULL;
    return known != NULL ? json_integer_value(known) : ONNX_OPEN;
}

static const Onnx__TensorShape *stated_shape(const Onnx__ValueInfo *v)
{
    return v->type != NULL && v->type->tensor_type != NULL ? v->type->tensor_type->shape : NULL;
}

static onnx_shape read_shape(const onnx_graph *g, const Onnx__ValueInfo *v)
{
    const Onnx__TensorShape *stated = stated_shape(v);
    onnx_shape s = {.rank = stated != NULL ? 0 : ONNX_NOT_KNOWN};
    for (size_t i = 0; stated != NULL && i < stated->n_dim; i++) onnx_append(&s, stated_dim(g, stated->dim[i]));
    return s;
}

/* What was inferred stands; the file fills what it left open. */
static void add_stated(const onnx_graph *g, const char *name, onnx_value *v)
{
    const json_t *index = json_object_get(g->stated, name);
    if (index == NULL || !g->by_file) return;
    const size_t i = (size_t)json_integer_value(index), inner = g->model->graph->n_value_info;
    onnx_shape s =
        read_shape(g, i < inner ? g->model->graph->value_info[i] : g->model->graph->output[i - inner]);
    if (v->shape.rank < 0) v->shape = s;
    for (int k = 0; k < v->shape.rank && v->shape.rank == s.rank; k++)
        if (v->shape.dim[k] < 0) v->shape.dim[k] = s.dim[k];
}

/* ---- values by name */

static bool name_value(onnx_graph *g, const char *name, onnx_value **v)
{
    *v = &g->values[g->value_count];
    **v = onnx_nothing;
    if (*name != '\0' && json_object_get(g->names, name) != NULL) return false;
    if (*name != '\0') json_object_set_new_nocheck(g->names, name, json_integer((json_int_t)g->value_count));
    g->value_count++;
    return true;
}

static bool refuse_twice(const onnx_graph *g, const char *name, conv_error *err)
{
    char shown[64];
    snprintf(shown, sizeof shown, "%s", name);
    conv_fail(err, CONV_INVALID, "%.120s: '%s' is made twice", g->path, text_make_printable(shown));
    return false;
}

static bool add_initializers(onnx_graph *g, conv_error *err)
{
    const Onnx__Graph *graph = g->model->graph;
    for (size_t i = 0; i < graph->n_initializer; i++) {
        onnx_value *v;
        if (!name_value(g, onnx_text(graph->initializer[i]->name), &v))
            return refuse_twice(g, onnx_text(graph->initializer[i]->name), err);
        *v = onnx_constant(g, graph->initializer[i]);
    }
    return true;
}

/* Those that are no initializers, which may be inputs too. */
static void add_inputs(onnx_graph *g)
{
    const Onnx__Graph *graph = g->model->graph;
    for (size_t i = 0; i < graph->n_input; i++) {
        onnx_value *v;
        const char *name = onnx_text(graph->input[i]->name);
        if (onnx_find(g, name) == NULL) name_value(g, name, &v);
    }
}

static void note_stated(onnx_graph *g)
{
    const Onnx__Graph *graph = g->model->graph;
    for (size_t i = 0; i < graph->n_value_info + graph->n_output; i++) {
        const Onnx__ValueInfo *v =
            i < graph->n_value_info ? graph->value_info[i] : graph->output[i - graph->n_value_info];
        json_object_set_new_nocheck(g->stated, onnx_text(v->name), json_integer((json_int_t)i));
    }
}

/* Nodes come after what they read, as ONNX demands; so a cycle shows as a value that nothing before makes. */
static bool check_inputs(const onnx_graph *g, const Onnx__Node *node, conv_error *err)
{
    for (size_t i = 0; i < node->n_input; i++) {
        if (*node->input[i] == '\0' || onnx_find(g, node->input[i]) != NULL) continue;
        char text[ONNX_NODE_TEXT], input[64];
        snprintf(input, sizeof input, "%s", node->input[i]);
        conv_fail(err, CONV_INVALID,
                  "%.60s: %s reads '%s', which nothing before it makes (a cycle, or nodes out of order)",
                  g->path, onnx_node_text(node, text), text_make_printable(input));
        return false;
    }
    return true;
}

static bool add_nodes(onnx_graph *g, conv_error *err)
{
    const Onnx__Graph *graph = g->model->graph;
    for (size_t i = 0; i < graph->n_node; i++) {
        const Onnx__Node *node = graph->node[i];
        if (!check_inputs(g, node, err)) return false;
        g->first_output[i] = g->value_count;
        for (size_t k = 0; k < node->n_output; k++) {
            onnx_value *v;
            if (!name_value(g, node->output[k], &v)) return refuse_twice(g, node->output[k], err);
        }
    }
    return true;
}

/* ---- inference */

onnx_shape onnx_stated_input(const onnx_graph *g, size_t input)
{
    return read_shape(g, g->model->graph->input[input]);
}

void onnx_begin(onnx_graph *g)
{
    json_object_clear(g->symbols);
    g->by_file = true;
}

void onnx_set_input(onnx_graph *g, size_t input, const onnx_shape *shape)
{
    const Onnx__ValueInfo *info = g->model->graph->input[input];
    const Onnx__TensorShape *stated = stated_shape(info);
    onnx_value *v = (onnx_value *)onnx_find(g, onnx_text(info->name));
    if (v != NULL) v->shape = *shape;
    for (int i = 0; i < shape->rank && stated != NULL && (size_t)i < stated->n_dim; i++) {
        const Onnx__Dimension *d = stated->dim[i];
        if (d->has_dim_value && d->dim_value != shape->dim[i]) g->by_file = false;
        if (d->dim_param != NULL && shape->dim[i] > 0)
            json_object_set_new_nocheck(g->symbols, d->dim_param, json_integer(shape->dim[i]));
    }
}

/* Elements that do not fill their shape are none. */
static void finish(const onnx_call *c, onnx_value *v)
{
    const int64_t count = v->shape.rank < 0 ? ONNX_OPEN : onnx_product(&v->shape, 0, v->shape.rank);
    if (v->count != count) v->count = ONNX_NOT_KNOWN;
    if (count >= 0) return;
    v->cause = c->node;
    for (size_t i = 0; i < c->node->n_input; i++) {
        const onnx_value *x = onnx_input(c, i);
        if (x->cause == NULL) continue;
        v->cause = x->cause;
        return;
    }
}

void onnx_infer(onnx_graph *g, size_t i)
{
    const Onnx__Node *node = g->model->graph->node[i];
    const onnx_call c = {g, node, &g->values[g->first_output[i]]};
    onnx_rule *rule = onnx_rule_of(node);
    for (size_t k = 0; k < node->n_output; k++) c.out[k] = onnx_nothing;
    if (rule != NULL) rule(&c);
    for (size_t k = 0; k < node->n_output; k++) {
        add_stated(g, node->output[k], &c.out[k]);
        finish(&c, &c.out[k]);
    }
}

/* ---- the file */

static void *take(void *data, size_t size)
{
    onnx_graph *g = data;
    void *memory = size <= g->budget ? malloc(size) : NULL;
    if (memory == NULL)
        g->refused = true;
    else
        g->budget -= size < malloc_usable_size(memory) ? malloc_usable_size(memory) : size;
    return memory;
}

static void give(void *data, void *memory)
{
    onnx_graph *g = data;
    g->budget += malloc_usable_size(memory);
    free(memory);
}

static conv_status unpack(onnx_graph *g, const void *bytes, size_t size, conv_error *err)
{
    ProtobufCAllocator allocator = {take, give, g};
    g->budget = LEAST_BUDGET + BUDGET_TIMES * size;
    g->model = onnx__model__unpack(&allocator, size, bytes);
    if (g->model != NULL && g->model->graph != NULL) return CONV_OK;
    if (g->refused) return conv_fail(err, CONV_NO_MEMORY, "%.180s: it needs too much memory", g->path);
    return conv_fail(err, CONV_INVALID, "%.180s: not an ONNX model, or a truncated one", g->path);
}

/* Mapped: what protobuf copies of it, the weights among it, is freed with the messages. */
static conv_status read_file(onnx_graph *g, conv_error *err)
{
    struct stat about;
    void *bytes = MAP_FAILED;
    const int file = open(g->path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (file < 0 || fstat(file, &about) != 0) {
        const int code = errno;
        if (file >= 0) close(file);
        return conv_fail(err, CONV_INVALID, "%.180s: %s", g->path, strerror(code));
    }
    const char *wrong = !S_ISREG(about.st_mode)     ? "not a file"
                        : about.st_size == 0        ? "empty"
                        : about.st_size > INT32_MAX ? "beyond 2 GiB, more than protobuf holds"
                                                    : NULL;
    if (wrong == NULL) bytes = mmap(NULL, (size_t)about.st_size, PROT_READ, MAP_PRIVATE, file, 0);
    if (wrong == NULL && bytes == MAP_FAILED) wrong = strerror(errno);
    close(file);
    if (wrong != NULL) return conv_fail(err, CONV_INVALID, "%.180s: %s", g->path, wrong);
    const conv_status status = unpack(g, bytes, (size_t)about.st_size, err);
    munmap(bytes, (size_t)about.st_size);
    return status;
}

static bool check_versions(onnx_graph *g, conv_error *err)
{
    const Onnx__Model *m = g->model;
    for (size_t i = 0; i < m->n_opset_import; i++) {
        const char *domain = onnx_text(m->opset_import[i]->domain);
        if (*domain == '\0' || strcmp(domain, "ai.onnx") == 0) g->opset = m->opset_import[i]->version;
    }
    if (m->ir_version < OLDEST_IR || m->ir_version > NEWEST_IR)
        conv_fail(err, CONV_INVALID, "%.120s: ir_version %lld; %d to %d are known", g->path,
                  (long long)m->ir_version, OLDEST_IR, NEWEST_IR);
    else if (g->opset < OLDEST_OPSET || g->opset > NEWEST_OPSET)
        conv_fail(err, CONV_INVALID, "%.120s: opset %lld; %d to %d are known", g->path, (long long)g->opset,
                  OLDEST_OPSET, NEWEST_OPSET);
    else
        return true;
    return false;
}

static bool prepare(onnx_graph *g, conv_error *err)
{
    const Onnx__Graph *graph = g->model->graph;
    size_t count = graph->n_initializer + graph->n_input;
    for (size_t i = 0; i < graph->n_node; i++) count += graph->node[i]->n_output;
    g->names = json_object();
    g->stated = json_object();
    g->symbols = json_object();
    if (count <= g->budget / sizeof *g->values) {
        g->values = calloc(count + 1, sizeof *g->values);
        g->first_output = calloc(graph->n_node + 1, sizeof *g->first_output);
    }
    if (g->values != NULL && g->first_output != NULL && g->names && g->stated && g->symbols) return true;
    conv_fail(err, CONV_NO_MEMORY, "%.180s: it needs too much memory", g->path);
    return false;
}

onnx_graph *onnx_open(const char *path, conv_error *err)
{
    onnx_graph *g = calloc(1, sizeof *g);
    if (g != NULL) g->path = strdup(path);
    if (g == NULL || g->path == NULL) {
        conv_fail(err, CONV_NO_MEMORY, "%.180s: no memory", path);
        free(g);
        return NULL;
    }
    if (read_file(g, err) == CONV_OK && check_versions(g, err) && prepare(g, err)) {
        bool right = add_initializers(g, err);
        note_stated(g);
        add_inputs(g);
        if (right && add_nodes(g, err)) return g;
    }
    onnx_close(g);
    return NULL;
}

void onnx_close(onnx_graph *g)
{
    if (g == NULL) return;
    ProtobufCAllocator allocator = {take, give, g};
    if (g->model != NULL) onnx__model__free_unpacked(g->model, &allocator);
    json_decref(g->names);
    json_decref(g->stated);
    json_decref(g->symbols);
    free(g->values);
    free(g->first_output);
    free(g->path);
    free(g);
}
