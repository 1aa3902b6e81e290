/* Layers to operations. The rules of fusion, each of which leaves results the same up to rounding:
 *
 *   convolution, relu, 2x2 max pooling, dropout, under --impl best
 *       of one input channel, the first layer   first_op.c
 *       of many                                 pooled_op.c; a separable layer's depthwise half stays apart
 *   convolution, relu, max pooling
 *       relu moves behind the maximum: max(relu(x)) = relu(max(x)), on a quarter of the elements; the
 *       convolution's output need not be kept for backward
 *   max pooling, dropout
 *       one pass; the dropped and the clipped are marked in the argmax, so that backward reads one byte per
 *       element and nothing else
 *   convolution or dense, relu or relu6, of the layer or of one behind it
 *       the contract's post-op
 *   batch normalization, relu or relu6
 *       one pass; backward computes what was clipped again, so the normalized tensor need not be kept
 *   last softmax, cross-entropy
 *       p - one_hot, from the logits, as Keras does
 *   flatten (channels_last), reshape, linear activation, dropout of rate 0
 *       nothing to do
 *
 * "Behind" means: it alone reads that output, and reads nothing else. Layers run in an order of their own, each
 * chain to its end before the next begins, so that a slice's tensors are used while they are in the cache. */
#include <ctype.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "net_internal.h"
#include "options.h"

bool layer_is_plain(const layer *l)
{
    for (int i = CONV_H; i <= CONV_W; i++) {
        const conv_axis *a = &l->problem.axis[i];
        if (a->stride != 1 || a->dilation != 1 || a->pad_before != 0 || a->pad_after != 0) return false;
    }
    return true;
}

bool layer_is_pooled(const layer *l, const layer *next)
{
    const conv_problem *p = &l->problem;
    if (l->kind != LAYER_CONV || p->rank != 2 || p->layout != CONV_NHWC || l->activation.kind != NN_RELU ||
        l->activity.l1 != 0 || l->activity.l2 != 0)
        return false;
    if (next->kind != LAYER_POOL || next->average || next->pool_images != 1) return false;
    for (int i = CONV_H; i <= CONV_W; i++) {
        const conv_axis *a = &next->pool.axis[i];
        if (a->kernel != 2 || a->stride != 2 || a->pad_before != 0 || 2 * next->pool.out[i] > a->in)
            return false;
    }
    return true;
}

bool net_wants(const net *n, const layer *l, const char *key)
{
    if (n->options.choices == NULL) return strcmp(n->options.impls, "best") == 0;
    return json_is_true(json_object_get(json_object_get(n->options.choices, l->name), key));
}

static op *add_op(net *n, op_kind kind, int layer_index, int64_t in, int64_t out)
{
    op *o = &n->ops[n->op_count++];
    *o = (op){.kind = kind,
              .layer = layer_index,
              .flops = layer_flops(&n->model->layers[layer_index]),
              .input = {n->top},
              .input_count = 1,
              .in = in,
              .out = out,
              .weights = -1,
              .pointwise = -1,
              .bias = -1};
    n->top = n->op_count;
    return o;
}

static void note(net *n, int layer_index, const char *text)
{
    char *to = n->fusion[layer_index];
    size_t used = strlen(to);
    snprintf(to + used, sizeof n->fusion[0] - used, "%s%s", used ? ", " : "", text);
}

static void set_dropout(net *n, op *o, const layer *l, int layer_index)
{
    o->dropout = (nn_dropout){.key = l->seeded ? (uint64_t)l->seed : n->options.seed,
                              .tag = (uint32_t)layer_index + 1,
                              .rate = (uint32_t)lround(l->rate * 65536)};
    if (o->dropout.rate > 65535) o->dropout.rate = 65535;
}

static void add_activation(net *n, int i, const nn_function *f)
{
    if (f->kind == NN_LINEAR) return;
    int64_t count = shape_count(&n->model->layers[i].out);
    op *o = add_op(n, OP_ACTIVATION, i, count, count);
    o->activation = *f;
    o->needs_input = nn_derived_from_input(f->kind);
    o->needs_output = !o->needs_input;
    strcpy(o->what, activation_names[f->kind]);
}

static void add_penalty(net *n, int i, const layer *l)
{
    if (l->activity.l1 == 0 && l->activity.l2 == 0) return;
    int64_t count = shape_count(&l->out);
    op *o = add_op(n, OP_PENALTY, i, count, count);
    o->penalty = l->activity;
    o->needs_output = true;
    strcpy(o->what, "activity regularizer");
}

static bool is_max_pool(const model *m, int i)
{
    return i >= 0 && m->layers[i].kind == LAYER_POOL && !m->layers[i].average;
}

/* Whether layer i's activation, followed by nothing else, is the softmax that the loss takes over. */
static bool is_loss_softmax(const model *m, int i)
{
    const layer *l = &m->layers[i];
    return i == m->layer_count - 1 && l->activation.kind == NN_SOFTMAX && l->activity.l1 == 0 &&
           l->activity.l2 == 0;
}

/* Layers 0 and 1 as one operation; returns it. */
static op *add_first(net *n)
{
    const layer *l = &n->model->layers[0];
    op *o = add_op(n, OP_FIRST, 0, shape_count(&l->in), shape_count(&n->model->layers[1].out));
    first_op_set(n, o);
    snprintf(o->what, sizeof o->what, "%s + relu + max pooling", conv_variant_name(l->problem.variant));
    note(n, 0, "with relu and pooling");
    note(n, 1, "in the first layer");
    return o;
}

/* The depthwise half of separable layer i. */
static op *add_depthwise(net *n, int i)
{
    const layer *l = &n->model->layers[i];
    conv_problem p = conv_depthwise_stage(&l->problem);
    op *o = add_op(n, OP_CONV, i, shape_count(&l->in), conv_problem_sizes(&p).dst);
    o->problem = p;
    o->flops = conv_flops(&p, CONV_FORWARD);
    o->needs_input = true;
    o->weights = l->first_parameter;
    return o;
}

/* Layer i with the pooling behind it; returns the operation that pools. */
static op *add_pooled(net *n, int i)
{
    const layer *l = &n->model->layers[i];
    op *half = l->problem.variant == CONV_SEPARABLE ? add_depthwise(n, i) : NULL;
    op *o = add_op(n, OP_POOLED, i, half != NULL ? half->out : shape_count(&l->in),
                   shape_count(&n->model->layers[i + 1].out));
    if (half != NULL) o->flops -= half->flops;
    pooled_op_set(n, o);
    snprintf(o->what, sizeof o->what, "%s + relu + max pooling", half != NULL ? "pointwise" : "dense");
    note(n, i, "with relu and pooling");
    note(n, i + 1, "in the convolution");
    return o;
}

/* The layer behind i is a relu or relu6 of its own, which layer i, linear, can do instead. */
static bool is_relu_next(const net *n, int i)
{
    if (n->options.unfused || n->next[i] < 0) return false;
    const layer *l = &n->model->layers[i], *next = &n->model->layers[n->next[i]];
    return next->kind == LAYER_ACTIVATION && l->activation.kind == NN_LINEAR && l->activity.l1 == 0 &&
           l->activity.l2 == 0 && (next->activation.kind == NN_RELU || next->activation.kind == NN_RELU6);
}

/* Convolution or dense layer i, with its activation, or one in the layer behind it (*skip is then set), and
 * activity regularizer. */
static void add_conv(net *n, int i, bool *relu_in_pool, bool *skip)
{
    const model *m = n->model;
    const layer *l = &m->layers[i];
    op *o = add_op(n, OP_CONV, i, shape_count(&l->in), shape_count(&l->out));
    bool fuse = !n->options.unfused, activity = l->activity.l1 != 0 || l->activity.l2 != 0;
    o->needs_input = true;
    if (l->kind == LAYER_DENSE) {
        int64_t inputs = l->in.dim[l->in.rank - 1], units = l->out.dim[l->out.rank - 1];
        o->batched = true;
        o->problem = (conv_problem){.variant = CONV_POINTWISE,
                                    .rank = 2,
                                    .mb = 1,
                                    .ic = inputs,
                                    .oc = units,
                                    .groups = 1,
                                    .depth_multiplier = 1,
                                    .bias = l->parameter_count == 2};
        for (int a = 0; a < CONV_AXES; a++)
            o->problem.axis[a] = (conv_axis){.in = 1, .kernel = 1, .stride = 1, .dilation = 1};
        o->problem.axis[CONV_W].in = o->in / inputs;
    } else {
        o->problem = l->problem;
    }
    int p = l->first_parameter;
    o->weights = p++;
    if (o->problem.variant == CONV_SEPARABLE) o->pointwise = p++;
    if (o->problem.bias) o->bias = p;

    *skip = is_relu_next(n, i);
    nn_function f = *skip ? m->layers[n->next[i]].activation : l->activation;
    if (*skip) note(n, n->next[i], "in the layer before");
    if (is_loss_softmax(m, i)) {
        n->softmax_loss = true;
        note(n, i, "softmax in loss");
        f.kind = NN_LINEAR;
    } else if (fuse && f.kind == NN_RELU && is_max_pool(m, *skip ? n->next[n->next[i]] : n->next[i]) &&
               !activity) {
        *relu_in_pool = true;
        note(n, i, "relu in pooling");
        f.kind = NN_LINEAR;
    } else if (fuse && (f.kind == NN_RELU || f.kind == NN_RELU6)) {
        o->problem.post_op = f.kind == NN_RELU ? CONV_POST_RELU : CONV_POST_RELU6;
        o->needs_output = true;
        note(n, i, activation_names[f.kind]);
        f.kind = NN_LINEAR;
    }
    add_activation(n, i, &f);
    add_penalty(n, i, l);
}

/* Whether layer i, -1 for none, is a dropout, which o then does as well. */
static bool take_dropout(net *n, op *o, int i)
{
    const model *m = n->model;
    if (i < 0 || m->layers[i].kind != LAYER_DROPOUT) return false;
    set_dropout(n, o, &m->layers[i], i);
    strcat(o->what, " + dropout");
    note(n, i,
         o->kind == OP_FIRST    ? "in the first layer"
         : o->kind == OP_POOLED ? "in the convolution"
                                : "in pooling");
    return true;
}

/* Pooling layer i; *skip is set when the dropout layer behind it has been taken in. */
static void add_pool(net *n, int i, bool relu, bool *skip)
{
    const model *m = n->model;
    const layer *l = &m->layers[i];
    op *o = add_op(n, l->average ? OP_AVERAGE_POOL : OP_MAX_POOL, i, shape_count(&l->in), shape_count(&l->out));
    o->pool = l->pool;
    o->pool.relu = relu;
    o->pool_images = l->pool_images;
    strcpy(o->what, l->average ? "average pooling" : "max pooling");
    if (relu) strcat(o->what, " + relu");
    if (!n->options.unfused && !l->average && l->pool_images == 1) *skip = take_dropout(n, o, n->next[i]);
}

/* Batch normalization layer i; *skip is set when the activation behind it has been taken in. */
static void add_norm(net *n, int i, bool *skip)
{
    const model *m = n->model;
    const layer *next = n->next[i] < 0 ? NULL : &m->layers[n->next[i]];
    int64_t count = shape_count(&m->layers[i].out);
    op *o = add_op(n, OP_NORM, i, count, count);
    norm_op_set(n, o);
    strcpy(o->what, "batch normalization");
    if (n->options.unfused || next == NULL || next->kind != LAYER_ACTIVATION) return;
    const nn_activation f = next->activation.kind;
    if (f != NN_RELU && f != NN_RELU6) return;
    o->norm.shape.post_op = f == NN_RELU ? CONV_POST_RELU : CONV_POST_RELU6;
    snprintf(o->what, sizeof o->what, "batch normalization + %s", activation_names[f]);
    note(n, i, activation_names[f]);
    note(n, n->next[i], "in batch normalization");
    *skip = true;
}

static void add_merge(net *n, int i)
{
    const layer *l = &n->model->layers[i];
    op *o = add_op(n, OP_MERGE, i, 0, shape_count(&l->out));
    o->input_count = l->input_count;
    for (int k = 0; k < l->input_count; k++) {
        o->input[k] = l->inputs[k] < 0 ? 0 : n->output[l->inputs[k]];
        o->in += net_count(n, o->input[k]);
    }
    o->needs_output = l->merge == MERGE_MAXIMUM || l->merge == MERGE_MINIMUM;
    o->needs_input = o->needs_output || l->merge == MERGE_MULTIPLY;
    for (size_t c = 0; l->class_name[c] != 0; c++) o->what[c] = (char)tolower((unsigned char)l->class_name[c]);
}

static void add_layer(net *n, int i, bool *relu_in_pool, bool *skip)
{
    const layer *l = &n->model->layers[i];
    int64_t count = shape_count(&l->out);
    op *o;
    switch (l->kind) {
    case LAYER_CONV:
    case LAYER_DENSE: add_conv(n, i, relu_in_pool, skip); return;
    case LAYER_POOL:
        add_pool(n, i, *relu_in_pool, skip);
        *relu_in_pool = false;
        return;
    case LAYER_DROPOUT:
        if (l->rate == 0) return;
        o = add_op(n, OP_DROPOUT, i, count, count);
        set_dropout(n, o, l, i);
        strcpy(o->what, "dropout");
        return;
    case LAYER_SPATIAL_DROPOUT:
        if (l->rate == 0) return;
        o = add_op(n, OP_SPATIAL_DROPOUT, i, count, count);
        layer_op_set(n, o);
        set_dropout(n, o, l, i);
        return;
    case LAYER_NORMALIZATION: add_norm(n, i, skip); return;
    case LAYER_MERGE: add_merge(n, i); return;
    case LAYER_FLATTEN:
        if (l->view.in > 0) layer_op_set(n, add_op(n, OP_VIEW, i, count, count));
        return;
    case LAYER_GLOBAL_POOL:
    case LAYER_VIEW:
    case LAYER_RESCALING:
    case LAYER_PRELU: layer_op_set(n, add_op(n, OP_VIEW, i, shape_count(&l->in), count)); return;
    case LAYER_ACTIVATION:
        if (is_loss_softmax(n->model, i)) {
            n->softmax_loss = true;
            note(n, i, "in loss");
        } else {
            add_activation(n, i, &l->activation);
        }
    }
}

/* Maximal runs of sliced operations, and batched ones alone. The first and the last are always sliced, if need
 * be empty: they load the input and compute the loss. A live batch normalization begins a run: its statistics
 * are gathered in the one before. */
static void add_phases(net *n)
{
    phase *now = &n->phases[0];
    for (int i = 0; i < n->op_count; i++) {
        op *o = &n->ops[i];
        if (o->batched) {
            *++now = (phase){i, i + 1, true};
            *++now = (phase){i + 1, i + 1, false};
            continue;
        }
        if (o->kind == OP_NORM && o->norm.live) {
            *++now = (phase){i, i, false};
            o->norm.also = n->watcher[o->input[0]];
            n->watcher[o->input[0]] = o;
        }
        now->last++;
    }
    n->phase_count = (int)(now - n->phases) + 1;
}

/* ---- the order */

static bool reads(const layer *l, int i)
{
    for (int k = 0; k < l->input_count; k++)
        if (l->inputs[k] == i) return true;
    return false;
}

/* Whether layer i may run: it has not yet, and what it reads has. */
static bool is_ready(const model *m, const bool *done, int i)
{
    bool ready = !done[i];
    for (int k = 0; k < m->layers[i].input_count && ready; k++)
        ready = m->layers[i].inputs[k] < 0 || done[m->layers[i].inputs[k]];
    return ready;
}

/* A reader of the layer before, so that chains run to their end; else the first that may. */
static void set_order(net *n)
{
    const model *m = n->model;
    bool done[MODEL_MAX_LAYERS] = {false};
    for (int at = 0; at < m->layer_count; at++) {
        int before = at > 0 ? n->order[at - 1] : -1, pick = -1;
        for (int i = 0; i < m->layer_count && at > 0 && pick < 0; i++)
            if (reads(&m->layers[i], before) && is_ready(m, done, i)) pick = i;
        for (int i = 0; i < m->layer_count && pick < 0; i++)
            if (is_ready(m, done, i)) pick = i;
        n->order[at] = pick;
        done[pick] = true;
        n->next[pick] = -1;
        if (at == 0 || m->layers[pick].input_count != 1 || m->layers[pick].inputs[0] != before) continue;
        int readers = 0;
        for (int i = 0; i < m->layer_count; i++) readers += reads(&m->layers[i], before);
        if (readers == 1) n->next[before] = pick;
    }
}

/* Which tensors' gradients are wanted, and which of them are added to what another reader wrote. */
static void set_gradients(net *n)
{
    for (int i = 0; i < n->op_count; i++) {
        op *o = &n->ops[i];
        for (int k = 0; k < o->input_count; k++) o->diff_wanted = o->diff_wanted || n->learns[o->input[k]];
        n->learns[i + 1] = o->diff_wanted || o->weights >= 0 ||
                           (o->kind == OP_NORM && o->norm.live && (o->norm.gamma >= 0 || o->norm.beta >= 0));
    }
    bool written[NET_MAX_OPS + 1] = {false};
    for (int i = n->op_count - 1; i >= 0; i--)
        for (int k = n->ops[i].input_count - 1; k >= 0; k--) {
            int tensor = n->ops[i].input[k];
            n->ops[i].adds[k] = n->learns[tensor] && written[tensor];
            written[tensor] = true;
        }
}

conv_status net_build(net *n, conv_error *err)
{
    const model *m = n->model;
    bool relu_in_pool = false, skip = false;
    set_order(n);
    for (int at = 0; at < m->layer_count; at++) {
        int i = n->order[at], from = m->layers[i].inputs[0];
        bool taken = skip;
        skip = false;
        n->top = from < 0 ? 0 : n->output[from];
        if (!taken && (first_op_wanted(n, i) || pooled_op_wanted(n, i))) {
            op *o = first_op_wanted(n, i) ? add_first(n) : add_pooled(n, i);
            skip = take_dropout(n, o, n->next[i + 1]);
            n->output[i] = n->output[i + 1] = n->top;
            at++;
            continue;
        }
        if (!taken) add_layer(n, i, &relu_in_pool, &skip);
        n->output[i] = n->top;
    }
    if (n->op_count == 0 || m->parameter_count == 0)
        return conv_fail(err, CONV_INVALID, "the model has no weights to train");
    set_gradients(n);
    n->classes = shape_count(&m->layers[m->layer_count - 1].out);
    add_phases(n);
    return CONV_OK;
}
