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
 *   convolution or dense, relu or relu6
 *       the contract's post-op
 *   last softmax, cross-entropy
 *       p - one_hot, from the logits, as Keras does
 *   flatten (channels_last), linear activation, dropout of rate 0
 *       nothing to do */
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
    if (l->kind != LAYER_CONV || p->rank != 2 || p->layout != CONV_NHWC || l->activation != NN_RELU ||
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
              .in = in,
              .out = out,
              .weights = -1,
              .pointwise = -1,
              .bias = -1};
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

static void add_activation(net *n, int i, nn_activation f, const tensor_shape *shape)
{
    if (f == NN_LINEAR) return;
    int64_t count = shape_count(shape);
    op *o = add_op(n, OP_ACTIVATION, i, count, count);
    o->activation = f;
    o->columns = shape->dim[shape->rank - 1];
    o->needs_output = true;
    strcpy(o->what, activation_names[f]);
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
    return i < m->layer_count && m->layers[i].kind == LAYER_POOL && !m->layers[i].average;
}

/* Whether layer i's activation, followed by nothing else, is the softmax that the loss takes over. */
static bool is_loss_softmax(const model *m, int i)
{
    const layer *l = &m->layers[i];
    return i == m->layer_count - 1 && l->activation == NN_SOFTMAX && l->activity.l1 == 0 && l->activity.l2 == 0;
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

/* Convolution or dense layer i, with its activation and activity regularizer. */
static void add_conv(net *n, int i, bool *relu_in_pool)
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

    nn_activation f = l->activation;
    if (is_loss_softmax(m, i)) {
        n->softmax_loss = true;
        note(n, i, "softmax in loss");
        f = NN_LINEAR;
    } else if (fuse && f == NN_RELU && is_max_pool(m, i + 1) && !activity) {
        *relu_in_pool = true;
        note(n, i, "relu in pooling");
        f = NN_LINEAR;
    } else if (fuse && (f == NN_RELU || f == NN_RELU6)) {
        o->problem.post_op = f == NN_RELU ? CONV_POST_RELU : CONV_POST_RELU6;
        o->needs_output = true;
        note(n, i, activation_names[f]);
        f = NN_LINEAR;
    }
    add_activation(n, i, f, &l->out);
    add_penalty(n, i, l);
}

/* Whether layer i is a dropout, which o then does as well. */
static bool take_dropout(net *n, op *o, int i)
{
    const model *m = n->model;
    if (i >= m->layer_count || m->layers[i].kind != LAYER_DROPOUT) return false;
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
    if (!n->options.unfused && !l->average && l->pool_images == 1) *skip = take_dropout(n, o, i + 1);
}

static void add_layer(net *n, int i, bool *relu_in_pool, bool *skip)
{
    const layer *l = &n->model->layers[i];
    int64_t count = shape_count(&l->out);
    op *o;
    switch (l->kind) {
    case LAYER_CONV:
    case LAYER_DENSE: add_conv(n, i, relu_in_pool); return;
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
    case LAYER_FLATTEN: /* Keras puts channels last before it flattens */
        if (!l->channels_first || l->in.rank < 2) return;
        o = add_op(n, OP_TRANSPOSE, i, count, count);
        o->rows_hwc[0] = l->in.dim[0];
        o->rows_hwc[1] = count / l->in.dim[0];
        strcpy(o->what, "transpose");
        return;
    case LAYER_ACTIVATION:
        if (is_loss_softmax(n->model, i)) {
            n->softmax_loss = true;
            note(n, i, "in loss");
        } else {
            add_activation(n, i, l->activation, &l->out);
        }
    }
}

/* Maximal runs of sliced operations, and batched ones alone. The first and the last are always sliced, if need
 * be empty: they load the input and compute the loss. */
static void add_phases(net *n)
{
    phase *now = &n->phases[0];
    for (int i = 0; i < n->op_count; i++) {
        if (n->ops[i].batched) {
            *++now = (phase){i, i + 1, true};
            *++now = (phase){i + 1, i + 1, false};
        } else {
            now->last++;
        }
    }
    n->phase_count = (int)(now - n->phases) + 1;
}

conv_status net_build(net *n, conv_error *err)
{
    const model *m = n->model;
    bool relu_in_pool = false, skip = false;
    int i = 0;
    if (first_op_wanted(n)) {
        skip = take_dropout(n, add_first(n), 2);
        i = 2;
    }
    for (; i < m->layer_count; i++) {
        bool taken = skip;
        skip = false;
        if (!taken && pooled_op_wanted(n, i)) {
            skip = take_dropout(n, add_pooled(n, i), i + 2);
            i++;
            continue;
        }
        if (!taken) add_layer(n, i, &relu_in_pool, &skip);
    }
    if (n->op_count == 0 || m->parameter_count == 0)
        return conv_fail(err, CONV_INVALID, "the model has no weights to train");
    bool weights = false;
    for (int k = 0; k < n->op_count; k++) {
        n->ops[k].diff_wanted = weights;
        weights = weights || n->ops[k].weights >= 0;
    }
    n->classes = shape_count(&m->layers[m->layer_count - 1].out);
    add_phases(n);
    return CONV_OK;
}
