/* Shapes from the inputs on, node by node. Where a layer is not known its output may still be: Keras writes
 * what the layer behind it was built for, which holds as long as the inputs are the file's. */
#include "convs.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../grow.h"
#include "../json.h"
#include "../text.h"
#include "internal.h"

typedef struct {
    network *n;
    network_convs *out;
    bool by_file;        /* the inputs are as in the file */
    bool only_open;      /* --input is for those alone that the file leaves open */
    tensor_shape *built; /* of each node's output, by what reads it; rank 0: not told */
    int *origin;         /* of each node, the layer that made its output's shape unknown, or -1 */
    conv_error *why;     /* of each such layer, what is wrong with it; empty where it is not known */
    bool *by_element;
} walk;

bool network_input_parse(const char *text, network_input *input)
{
    *input = (network_input){.count = 0};
    for (char *end; input->count <= CONV_AXES; text = end + 1) {
        long long size = *text >= '1' && *text <= '9' ? strtoll(text, &end, 10) : 0;
        if (size < 1 || size > INT32_MAX) return false;
        input->size[input->count++] = size;
        if (*end == 0) return true;
        if (*end != 'x' && *end != 'X') return false;
    }
    return false;
}

static bool is_known(const tensor_shape *s)
{
    for (int i = 0; i < s->rank; i++)
        if (s->dim[i] < 1) return false;
    return s->rank > 0;
}

/* Whether its elements can be counted. */
static bool is_countable(const tensor_shape *s)
{
    int64_t left = INT64_MAX / 2;
    for (int i = 0; i < s->rank; i++) left /= s->dim[i] > 0 ? s->dim[i] : 1;
    return left > 0;
}

/* ---- inputs */

static bool is_alike(const tensor_shape *a, const tensor_shape *b)
{
    return a->rank == b->rank && memcmp(a->dim, b->dim, (size_t)a->rank * sizeof *a->dim) == 0;
}

/* False: the sizes do not fit the shape. */
static bool apply_input(const network *n, const network_input *input, tensor_shape *s)
{
    int open = 0, at = 0;
    for (int i = 0; i < s->rank; i++) open += s->dim[i] == 0;
    if (s->rank == 0 || input->count == s->rank) {
        s->rank = input->count;
        memcpy(s->dim, input->size, sizeof s->dim);
    } else if (input->count == open) {
        for (int i = 0; i < s->rank; i++)
            if (s->dim[i] == 0) s->dim[i] = input->size[at++];
    } else if (input->count == s->rank - 1) {
        memcpy(s->dim + n->channels_first, input->size, (size_t)input->count * sizeof *s->dim);
    } else {
        return false;
    }
    return true;
}

static conv_status take_input(walk *w, const network_input *input, network_node *node, conv_error *err)
{
    char text[64];
    const tensor_shape file = node->out;
    const bool meant = input->count > 0 && !(w->only_open && is_known(&file));
    if (meant && !apply_input(w->n, input, &node->out))
        return conv_fail(err, CONV_INVALID, "input %.60s is %s without the batch: --input has %d sizes",
                         node->name, shape_text(&file, text), input->count);
    if (!is_known(&node->out))
        return conv_fail(err, CONV_INVALID,
                         "the size of input %.60s is open, %s: give it by --input, as in --input "
                         "224x224x3",
                         node->name, file.rank > 0 ? shape_text(&file, text) : "without a shape");
    if (!is_countable(&node->out))
        return conv_fail(err, CONV_INVALID, "input %.60s is %s: larger than any machine could hold", node->name,
                         shape_text(&node->out, text));
    w->by_file = w->by_file && is_alike(&file, &node->out);
    return CONV_OK;
}

/* The first of the inputs, or of those that the file leaves open, and the first that is not like it; NULL: there
 * is none. */
static void find_different(const network *n, bool open, const network_node *found[2])
{
    found[0] = found[1] = NULL;
    for (int i = 0; i < n->input_count && found[1] == NULL; i++) {
        const network_node *node = &n->nodes[n->inputs[i]];
        if (open && is_known(&node->out)) continue;
        if (found[0] == NULL)
            found[0] = node;
        else if (!is_alike(&found[0]->out, &node->out))
            found[1] = node;
    }
}

/* --input gives one size. Where inputs differ it can only mean those that the file leaves open, and they must be
 * alike. */
static conv_status choose_inputs(walk *w, conv_error *err)
{
    const network_node *found[2], *open[2];
    char text[2][64];
    find_different(w->n, false, found);
    find_different(w->n, true, open);
    w->only_open = found[1] != NULL;
    if (!w->only_open || (open[0] != NULL && open[1] == NULL)) return CONV_OK;
    const network_node *const *two = open[0] != NULL ? open : found;
    return conv_fail(err, CONV_INVALID, "inputs %.40s, %s, and %.40s, %s, differ: --input gives one size",
                     two[0]->name, shape_text(&two[0]->out, text[0]), two[1]->name,
                     shape_text(&two[1]->out, text[1]));
}

static conv_status take_inputs(walk *w, const network_input *input, conv_error *err)
{
    conv_status status = input->count > 0 ? choose_inputs(w, err) : CONV_OK;
    w->by_file = true;
    for (int i = 0; i < w->n->input_count && status == CONV_OK; i++)
        status = take_input(w, input, &w->n->nodes[w->n->inputs[i]], err);
    return status;
}

/* ---- layers */

static void count_unknown(walk *w, const char *class_name)
{
    json_int_t before = json_integer_value(json_object_get(w->out->unknown, class_name));
    json_object_set_new(w->out->unknown, class_name, json_integer(before + 1));
}

static conv_status lose(walk *w, int at, const conv_error *why)
{
    const network_node *node = &w->n->nodes[at];
    char text[512];
    const int origin = w->origin[node->inputs[0]];
    if (origin >= 0 && why->text[0] == '\0')
        snprintf(text, sizeof text, "the shape behind %.60s (%.40s) is not known%s%s", w->n->nodes[origin].name,
                 w->n->nodes[origin].class_name, *w->why[origin].text ? ": " : "", w->why[origin].text);
    else
        snprintf(text, sizeof text, "%s", why->text);
    text_make_printable(text); /* a name may be cut within a character */
    json_t *entry = json_pack("{s:s, s:s}", "layer", node->name, "why", text);
    return entry != NULL && json_array_append_new(w->out->lost, entry) == 0 ? CONV_OK : CONV_NO_MEMORY;
}

static conv_status keep(walk *w, int at, const conv_problem *problem)
{
    network_conv *added = grow(&w->out->at, &w->out->count, sizeof *added);
    if (added == NULL) return CONV_NO_MEMORY;
    *added = (network_conv){w->n->nodes[at].name, at, *problem, -1};
    return CONV_OK;
}

static conv_status walk_node(walk *w, int at)
{
    network_node *node = &w->n->nodes[at];
    network_effect e = {.known = false};
    conv_error why = {""};
    w->origin[at] = -1;
    if (node->input_count == 0) return CONV_OK;
    conv_status status = w->n->effect(w->n, node, &e, &why), kept = CONV_OK;
    if (status == CONV_NO_MEMORY && !e.convolution) return status;
    if (status == CONV_OK && !is_countable(&e.out))
        status = conv_fail(&why, CONV_INVALID, "its output is larger than any machine could hold");
    node->out = status == CONV_OK ? e.out : (tensor_shape){.rank = 0};
    w->by_element[at] = e.by_element;
    if (!e.known) count_unknown(w, node->class_name);
    if (e.convolution) kept = status == CONV_OK && e.out.rank > 0 ? keep(w, at, &e.problem) : lose(w, at, &why);
    if (node->out.rank == 0 && w->by_file && is_known(&w->built[at])) node->out = w->built[at];
    for (int i = 0; node->out.rank == 0 && i < node->input_count && w->origin[at] < 0; i++)
        w->origin[at] = w->origin[node->inputs[i]];
    if (node->out.rank == 0 && w->origin[at] < 0) {
        w->origin[at] = at;
        w->why[at] = why;
    }
    return kept;
}

static void read_built(walk *w)
{
    for (int i = 0; i < w->n->count; i++) {
        const network_node *node = &w->n->nodes[i];
        if (node->input_count == 1 && w->built[node->inputs[0]].rank == 0)
            keras_built_for(node, &w->built[node->inputs[0]]);
    }
}

/* ---- pairs */

static bool is_plain_1x1(const conv_problem *p)
{
    return p->variant == CONV_POINTWISE && p->axis[CONV_D].stride == 1 && p->axis[CONV_H].stride == 1 &&
           p->axis[CONV_W].stride == 1;
}

static bool reads_any(const network_node *node, const bool *carries)
{
    for (int i = 0; i < node->input_count; i++)
        if (carries[node->inputs[i]]) return true;
    return false;
}

/* The 1x1 convolution that reads the depthwise one's output, normalised, activated or scaled. Where another
 * convolution reads that too, the depthwise one has to stay. */
static void find_pair(const walk *w, size_t depthwise, bool *carries)
{
    network_conv *convs = w->out->at;
    const int first = convs[depthwise].node;
    size_t next = depthwise + 1, found = 0;
    memset(carries, 0, (size_t)w->n->count);
    carries[first] = true;
    for (int i = first + 1; i < w->n->count; i++) {
        const network_node *node = &w->n->nodes[i];
        while (next < w->out->count && convs[next].node < i) next++;
        if (!reads_any(node, carries)) continue;
        carries[i] = w->by_element[i] && shape_equal(&node->out, &w->n->nodes[first].out);
        if (next == w->out->count || convs[next].node != i) continue;
        if (found > 0 || !is_plain_1x1(&convs[next].problem) || convs[next].pair >= 0) return;
        found = next;
    }
    if (found == 0) return;
    convs[depthwise].pair = (int)found;
    convs[found].pair = (int)depthwise;
}

static bool find_pairs(const walk *w)
{
    bool *carries = calloc((size_t)w->n->count, sizeof *carries);
    for (size_t i = 0; carries != NULL && i < w->out->count; i++)
        if (w->out->at[i].problem.variant == CONV_DEPTHWISE) find_pair(w, i, carries);
    free(carries);
    return carries != NULL;
}

/* ---- */

static conv_status no_convolution(const walk *w, conv_error *err)
{
    const json_t *lost = json_array_get(w->out->lost, 0);
    if (lost != NULL)
        return conv_fail(err, CONV_INVALID, "no convolution whose shape is known: layer %.50s: %.150s",
                         json_text(lost, "layer", ""), json_text(lost, "why", ""));
    return conv_fail(err, CONV_INVALID, "no convolution among its %d layers", w->n->count - w->n->input_count);
}

conv_status network_find_convs(network *n, const network_input *input, network_convs *out, conv_error *err)
{
    const size_t count = (size_t)n->count;
    *out = (network_convs){.unknown = json_object(), .lost = json_array()};
    walk w = {n,
              out,
              .built = calloc(count, sizeof *w.built),
              .origin = calloc(count, sizeof *w.origin),
              .why = calloc(count, sizeof *w.why),
              .by_element = calloc(count, sizeof *w.by_element)};
    conv_status status = CONV_NO_MEMORY;
    if (out->unknown != NULL && out->lost != NULL && w.built != NULL && w.origin != NULL && w.why != NULL &&
        w.by_element != NULL)
        status = take_inputs(&w, input, err);
    if (status == CONV_OK) read_built(&w);
    for (int i = 0; i < n->count && status == CONV_OK; i++) status = walk_node(&w, i);
    if (status == CONV_OK && !find_pairs(&w)) status = CONV_NO_MEMORY;
    if (status == CONV_OK && out->count == 0) status = no_convolution(&w, err);
    if (status == CONV_NO_MEMORY) conv_fail(err, status, "no memory for %d layers", n->count);
    free(w.built);
    free(w.origin);
    free(w.why);
    free(w.by_element);
    if (status != CONV_OK) network_convs_free(out);
    return status;
}

void network_convs_free(network_convs *c)
{
    free(c->at);
    json_decref(c->unknown);
    json_decref(c->lost);
    *c = (network_convs){0};
}
