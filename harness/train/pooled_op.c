/* A convolution with the ReLU, the 2x2 max pooling and the dropout behind it as one operation
 * (kernels/nn/pooled.c): its output is never stored, and at most a quarter of it has a gradient, less what ReLU
 * clipped and dropout dropped. A separable layer's pointwise half is such a convolution of 1x1. */
#include "../measure/tensors.h"
#include "net_internal.h"

/* The convolution that pooling takes in: layer l's, or its pointwise half. */
static nn_pooled shape_of(const layer *l, const layer *next)
{
    const conv_axis *h = &l->problem.axis[CONV_H], *w = &l->problem.axis[CONV_W];
    nn_pooled p = {.in_h = h->in,
                   .in_w = w->in,
                   .in_channels = l->problem.ic,
                   .kernel_h = h->kernel,
                   .kernel_w = w->kernel,
                   .channels = l->problem.oc,
                   .out_h = next->pool.out[CONV_H],
                   .out_w = next->pool.out[CONV_W]};
    if (l->problem.variant == CONV_SEPARABLE) {
        p.in_h = conv_out(h);
        p.in_w = conv_out(w);
        p.in_channels *= l->problem.depth_multiplier;
        p.kernel_h = p.kernel_w = 1;
    }
    return p;
}

/* Whether layer l with `next`, pooling, behind it is of that kind. */
static bool fits(const layer *l, const layer *next)
{
    const conv_problem *p = &l->problem;
    bool plain = p->variant == CONV_DENSE && p->groups == 1 && layer_is_plain(l);
    return layer_is_pooled(l, next) && (plain || p->variant == CONV_SEPARABLE);
}

bool pooled_op_wanted(const net *n, int i)
{
    const model *m = n->model;
    if (n->options.unfused || n->next[i] != i + 1 || !fits(&m->layers[i], &m->layers[i + 1])) return false;
    nn_pooled p = shape_of(&m->layers[i], &m->layers[i + 1]);
    return nn_pooled_refuse(&p) == NULL && net_wants(n, &m->layers[i], "pooled");
}

void pooled_op_set(const net *n, op *o)
{
    const layer *l = &n->model->layers[o->layer];
    o->pooled = shape_of(l, l + 1);
    o->needs_input = true;
    o->weights = l->first_parameter + (l->problem.variant == CONV_SEPARABLE);
    if (l->problem.bias) o->bias = o->weights + 1;
}

static int64_t taps_of(const nn_pooled *p) { return p->kernel_h * p->kernel_w * p->in_channels; }

bool pooled_op_allocate(net *n, op *o)
{
    size_t bytes = (size_t)(taps_of(&o->pooled) * o->pooled.channels) * sizeof(float);
    return (o->product = buffer_alloc(bytes)) != NULL && net_grow_scratch(n, nn_pooled_scratch(&o->pooled));
}

void pooled_op_refresh(net *n, op *o)
{
    if (o->product_at == n->version) return;
    n->nn->transpose(taps_of(&o->pooled), o->pooled.channels, net_parameter(n, o->weights), o->product);
    o->product_at = n->version;
}

void pooled_op_forward(net *n, op *o, const slice *s, const float *x, float *y)
{
    nn_pool_output to = op_pool_output(n, o, s, y);
    n->nn->pooled_forward(&o->pooled, s->rows, x, net_parameter(n, o->weights), net_parameter(n, o->bias), &to);
}

void pooled_op_backward(net *n, op *o, const slice *s, const op_gradients *g)
{
    nn_pool_diff diff = op_pool_diff(o, s, g->dy);
    nn_pooled_gradients to = {.dw = s->parts + n->part_offset[o->weights],
                              .db = o->bias < 0 ? NULL : s->parts + n->part_offset[o->bias],
                              .accumulate = s->accumulate,
                              .dx = g->dx,
                              .weights = o->product,
                              .scratch = n->scratch[s->thread]};
    n->nn->pooled_backward(&o->pooled, s->rows, g->x, &diff, &to);
}
