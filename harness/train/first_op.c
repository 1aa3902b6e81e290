/* The first layer's own route (kernels/nn/first.c): one input channel, so the arithmetic is small and what
 * costs is the output, which is pooled before it is stored.
 *
 * A separable convolution of one channel takes the same route: depthwise [taps][M] followed by pointwise [M][C]
 * is a dense convolution by their product, computed once per step; and with G the gradient of that product,
 * diff_depthwise = G * pointwise^T and diff_pointwise = depthwise^T * G. */
#include <string.h>

#include "../measure/tensors.h"
#include "net_internal.h"

static bool plain_axis(const conv_axis *a)
{
    return a->stride == 1 && a->dilation == 1 && a->pad_before == 0 && a->pad_after == 0;
}

/* Whether layer 0 with the pooling behind it is of that kind. */
static bool fits(const model *m)
{
    if (m->layer_count < 2) return false;
    const layer *l = &m->layers[0], *next = &m->layers[1];
    const conv_problem *p = &l->problem;
    if (l->kind != LAYER_CONV || p->rank != 2 || p->ic != 1 || p->layout != CONV_NHWC ||
        p->variant == CONV_DEPTHWISE)
        return false;
    if (!plain_axis(&p->axis[CONV_H]) || !plain_axis(&p->axis[CONV_W])) return false;
    if (l->activation != NN_RELU || l->activity.l1 != 0 || l->activity.l2 != 0) return false;
    const nn_pool *pool = &next->pool;
    return next->kind == LAYER_POOL && !next->average && next->pool_images == 1 && pool->pool_h == 2 &&
           pool->pool_w == 2 && pool->stride_h == 2 && pool->stride_w == 2 && pool->pad_top == 0 &&
           pool->pad_left == 0 && 2 * pool->out_h <= pool->in_h && 2 * pool->out_w <= pool->in_w;
}

static nn_pooled shape_of(const model *m)
{
    const conv_problem *p = &m->layers[0].problem;
    const nn_pool *pool = &m->layers[1].pool;
    return (nn_pooled){.in_h = p->axis[CONV_H].in,
                       .in_w = p->axis[CONV_W].in,
                       .in_channels = 1,
                       .kernel_h = p->axis[CONV_H].kernel,
                       .kernel_w = p->axis[CONV_W].kernel,
                       .channels = p->oc,
                       .out_h = pool->out_h,
                       .out_w = pool->out_w};
}

bool first_op_wanted(const net *n)
{
    const model *m = n->model;
    if (n->options.unfused || !fits(m)) return false;
    nn_pooled f = shape_of(m);
    if (nn_first_refuse(&f) != NULL) return false;
    if (n->options.choices != NULL)
        return json_is_true(json_object_get(json_object_get(n->options.choices, m->layers[0].name), "first"));
    return strcmp(n->options.impls, "best") == 0;
}

void first_op_set(const net *n, op *o)
{
    o->first = shape_of(n->model);
    o->needs_input = true;
    int p = n->model->layers[0].first_parameter;
    o->problem = n->model->layers[0].problem;
    o->weights = p++;
    if (o->problem.variant == CONV_SEPARABLE) o->pointwise = p++;
    if (o->problem.bias) o->bias = p;
}

static int64_t taps_of(const op *o) { return o->first.kernel_h * o->first.kernel_w; }

/* Room for the product kernel, and per thread for its gradient. */
bool first_op_allocate(net *n, op *o)
{
    if (o->pointwise < 0) return true;
    size_t bytes = (size_t)(taps_of(o) * o->first.channels) * sizeof(float);
    if ((o->product = buffer_alloc(bytes)) == NULL) return false;
    return net_grow_scratch(n, bytes);
}

void first_op_refresh(net *n, op *o)
{
    if (o->pointwise < 0 || o->product_at == n->version) return;
    const float *depthwise = n->weights + n->model->parameter[o->weights].offset,
                *pointwise = n->weights + n->model->parameter[o->pointwise].offset;
    int64_t channels = o->first.channels, multiplier = o->problem.depth_multiplier;
    memset(o->product, 0, (size_t)(taps_of(o) * channels) * sizeof *o->product);
    for (int64_t t = 0; t < taps_of(o); t++)
        for (int64_t m = 0; m < multiplier; m++)
            for (int64_t c = 0; c < channels; c++)
                o->product[t * channels + c] += depthwise[t * multiplier + m] * pointwise[m * channels + c];
    o->product_at = n->version;
}

static const float *parameter_at(const net *n, int p)
{
    return p < 0 ? NULL : n->weights + n->model->parameter[p].offset;
}

void first_op_forward(net *n, op *o, const slice *s, const float *x, float *y)
{
    const float *w = o->product != NULL ? o->product : parameter_at(n, o->weights);
    nn_pool_output to = op_pool_output(n, o, s, y);
    n->nn->first_forward(&o->first, s->rows, x, w, parameter_at(n, o->bias), &to);
}

/* The product's gradient to its factors'. */
static void split(const net *n, const op *o, const slice *s, const float *g)
{
    const float *depthwise = parameter_at(n, o->weights), *pointwise = parameter_at(n, o->pointwise);
    float *dd = s->parts + n->part_offset[o->weights], *dp = s->parts + n->part_offset[o->pointwise];
    int64_t channels = o->first.channels, multiplier = o->problem.depth_multiplier;
    if (!s->accumulate) {
        memset(dd, 0, (size_t)(taps_of(o) * multiplier) * sizeof *dd);
        memset(dp, 0, (size_t)(multiplier * channels) * sizeof *dp);
    }
    for (int64_t t = 0; t < taps_of(o); t++)
        for (int64_t m = 0; m < multiplier; m++) {
            float sum = 0;
            for (int64_t c = 0; c < channels; c++) {
                sum += g[t * channels + c] * pointwise[m * channels + c];
                dp[m * channels + c] += depthwise[t * multiplier + m] * g[t * channels + c];
            }
            dd[t * multiplier + m] += sum;
        }
}

void first_op_backward(net *n, op *o, const slice *s, const float *x, const float *dy)
{
    float *db = o->bias < 0 ? NULL : s->parts + n->part_offset[o->bias];
    bool separable = o->pointwise >= 0;
    float *dw = separable ? n->scratch[s->thread] : s->parts + n->part_offset[o->weights];
    if (separable && s->accumulate) memset(dw, 0, (size_t)(taps_of(o) * o->first.channels) * sizeof *dw);
    nn_pool_diff diff = op_pool_diff(o, s, dy);
    n->nn->first_backward(&o->first, s->rows, x, &diff,
                          &(nn_pooled_gradients){.dw = dw, .db = db, .accumulate = s->accumulate});
    if (separable) split(n, o, s, dw);
}
