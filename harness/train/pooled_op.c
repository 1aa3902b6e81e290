/* Backward of a convolution that max pooling follows (kernels/nn/pooled.c): with 2x2 windows at most a quarter
 * of its outputs have a gradient, less what ReLU clipped and dropout dropped. Forward is the contract's. */
#include <string.h>

#include "../tensors.h"
#include "net_internal.h"

static bool plain_axis(const conv_axis *a)
{
    return a->stride == 1 && a->dilation == 1 && a->pad_before == 0 && a->pad_after == 0;
}

/* Whether pooling is behind the convolution and its windows lie side by side inside the image. */
static bool fits(const layer *l, const layer *next)
{
    const conv_problem *p = &l->problem;
    const nn_pool *pool = &next->pool;
    if (l->kind != LAYER_CONV || p->variant != CONV_DENSE || p->rank != 2 || p->groups != 1 ||
        p->layout != CONV_NHWC || !plain_axis(&p->axis[CONV_H]) || !plain_axis(&p->axis[CONV_W]))
        return false;
    if ((l->activation != NN_RELU && l->activation != NN_LINEAR) || l->activity.l1 != 0 || l->activity.l2 != 0)
        return false;
    return next->kind == LAYER_POOL && !next->average && next->pool_images == 1 &&
           pool->stride_h == pool->pool_h && pool->stride_w == pool->pool_w && pool->pad_top == 0 &&
           pool->pad_left == 0 && pool->out_h * pool->pool_h <= pool->in_h &&
           pool->out_w * pool->pool_w <= pool->in_w;
}

bool pooled_op_wanted(const net *n, int i, nn_pooled *shape)
{
    const model *m = n->model;
    if (n->options.unfused || i + 1 >= m->layer_count || !fits(&m->layers[i], &m->layers[i + 1])) return false;
    const conv_problem *p = &m->layers[i].problem;
    const nn_pool *pool = &m->layers[i + 1].pool;
    *shape = (nn_pooled){.in_h = p->axis[CONV_H].in,
                         .in_w = p->axis[CONV_W].in,
                         .in_channels = p->ic,
                         .kernel_h = p->axis[CONV_H].kernel,
                         .kernel_w = p->axis[CONV_W].kernel,
                         .channels = p->oc,
                         .out_h = pool->out_h,
                         .out_w = pool->out_w,
                         .pool_h = pool->pool_h,
                         .pool_w = pool->pool_w};
    if (nn_pooled_refuse(shape) != NULL) return false;
    if (n->options.choices != NULL)
        return json_is_true(json_object_get(json_object_get(n->options.choices, m->layers[i].name), "pooled"));
    return strcmp(n->options.impls, "best") == 0;
}

static int64_t taps_of(const nn_pooled *p) { return p->kernel_h * p->kernel_w * p->in_channels; }

bool pooled_op_allocate(net *n, op *o)
{
    size_t bytes = (size_t)(taps_of(&o->shape) * o->shape.channels) * sizeof(float);
    return (o->product = buffer_alloc(bytes)) != NULL && net_grow_scratch(n, nn_pooled_scratch(&o->shape));
}

void pooled_op_refresh(net *n, op *o)
{
    if (o->product_at == n->version) return;
    n->nn->transpose(taps_of(&o->shape), o->shape.channels, n->weights + n->model->parameter[o->weights].offset,
                     o->product);
    o->product_at = n->version;
}

void pooled_op_backward(net *n, op *o, const slice *s, const float *x, const float *dy, float *dx)
{
    const op *pool = o + 1;
    n->nn->pooled_backward(&o->shape, s->rows, x, dy, pool->argmax + s->first * pool->out,
                           nn_dropout_scale(&pool->dropout), o->product, s->accumulate, dx,
                           s->parts + n->part_offset[o->weights],
                           o->bias < 0 ? NULL : s->parts + n->part_offset[o->bias], n->scratch[s->thread]);
}
