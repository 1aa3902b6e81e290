/* The first layer's own route (kernels/nn/first.c): one input channel, so the arithmetic is small and what
 * costs is the output, which is pooled before it is stored.
 *
 * A separable convolution of one channel takes the same route: depthwise [taps][M] followed by pointwise [M][C]
 * is a dense convolution by their product, computed once per step; and with G the gradient of that product,
 * diff_depthwise = G * pointwise^T and diff_pointwise = depthwise^T * G. */
#include <string.h>

#include "../measure/tensors.h"
#include "net_internal.h"

/* Whether layer 0, with layer 1 behind it, is of that kind. */
static bool fits(const model *m)
{
    const layer *l = &m->layers[0];
    return layer_is_pooled(l, &m->layers[1]) && layer_is_plain(l) && l->problem.ic == 1 &&
           l->problem.variant != CONV_DEPTHWISE;
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
                       .out_h = pool->out[CONV_H],
                       .out_w = pool->out[CONV_W]};
}

bool first_op_wanted(const net *n, int layer_index)
{
    const model *m = n->model;
    if (n->options.unfused || layer_index != 0 || n->next[0] != 1 || !fits(m)) return false;
    nn_pooled f = shape_of(m);
    return nn_first_refuse(&f) == NULL && net_wants(n, &m->layers[0], "first");
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
    const float *depthwise = net_parameter(n, o->weights), *pointwise = net_parameter(n, o->pointwise);
    int64_t channels = o->first.channels, multiplier = o->problem.depth_multiplier;
    memset(o->product, 0, (size_t)(taps_of(o) * channels) * sizeof *o->product);
    for (int64_t t = 0; t < taps_of(o); t++)
        for (int64_t m = 0; m < multiplier; m++)
            for (int64_t c = 0; c < channels; c++)
                o->product[t * channels + c] += depthwise[t * multiplier + m] * pointwise[m * channels + c];
    o->product_at = n->version;
}

void first_op_forward(net *n, op *o, const slice *s, const float *x, float *y)
{
    const float *w = o->product != NULL ? o->product : net_parameter(n, o->weights);
    nn_pool_output to = op_pool_output(n, o, s, y);
    n->nn->first_forward(&o->first, s->rows, x, w, net_parameter(n, o->bias), &to);
}

/* The product's gradient to its factors'. */
static void split(const net *n, const op *o, const slice *s, const float *g)
{
    const float *depthwise = net_parameter(n, o->weights), *pointwise = net_parameter(n, o->pointwise);
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

void first_op_backward(net *n, op *o, const slice *s, const op_gradients *g)
{
    float *db = o->bias < 0 ? NULL : s->parts + n->part_offset[o->bias];
    bool separable = o->pointwise >= 0;
    float *dw = separable ? n->scratch[s->thread] : s->parts + n->part_offset[o->weights];
    if (separable && s->accumulate) memset(dw, 0, (size_t)(taps_of(o) * o->first.channels) * sizeof *dw);
    nn_pool_diff diff = op_pool_diff(o, s, g->dy);
    n->nn->first_backward(&o->first, s->rows, g->x, &diff,
                          &(nn_pooled_gradients){.dw = dw, .db = db, .accumulate = s->accumulate});
    if (separable) split(n, o, s, dw);
}
