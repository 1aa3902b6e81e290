/* Operations without weights, on one slice. */
#include <string.h>

#include "net_internal.h"

const uint64_t *op_dropout_bits(net *n, op *o, const slice *s)
{
    if (o->dropout.rate == 0 || !s->training) return NULL;
    uint64_t *bits = o->bits != NULL ? o->bits + s->first * nn_dropout_words(o->out) : n->bits[s->thread];
    nn_dropout d = o->dropout;
    d.step = s->step;
    n->nn->dropout_bits(&d, s->first, s->rows, o->out, bits);
    return bits;
}

nn_pool_output op_pool_output(net *n, op *o, const slice *s, float *y)
{
    return (nn_pool_output){.bits = op_dropout_bits(n, o, s),
                            .scale = nn_dropout_scale(&o->dropout),
                            .y = y,
                            .argmax = s->training ? o->argmax + s->first * o->out : NULL};
}

nn_pool_diff op_pool_diff(const op *o, const slice *s, const float *dy)
{
    return (nn_pool_diff){dy, o->argmax + s->first * o->out, nn_dropout_scale(&o->dropout)};
}

static int64_t activation_rows(const op *o, const slice *s)
{
    return s->rows * o->out / (o->activation.columns * o->activation.step);
}

void op_forward(net *n, op *o, const slice *s, const float *x, float *y)
{
    const nn_kernels *nn = n->nn;
    int64_t count = s->rows * o->out;
    const uint64_t *bits;
    nn_pool_output pooled;
    switch (o->kind) {
    case OP_ACTIVATION: nn->activate(&o->activation, activation_rows(o, s), x, y); break;
    case OP_MAX_POOL:
        pooled = op_pool_output(n, o, s, y);
        nn->max_pool(&o->pool, s->rows * o->pool_images, x, &pooled);
        break;
    case OP_AVERAGE_POOL: nn->average_pool(&o->pool, s->rows * o->pool_images, x, y); break;
    case OP_DROPOUT:
        bits = op_dropout_bits(n, o, s);
        if (bits != NULL)
            nn->dropout(s->rows, o->out, bits, nn_dropout_scale(&o->dropout), x, y);
        else
            memcpy(y, x, (size_t)count * sizeof *y);
        break;
    case OP_PENALTY:
        memcpy(y, x, (size_t)count * sizeof *y);
        n->penalty[s->index * n->op_count + (o - n->ops)] =
            nn->penalty(count, o->penalty.l1, o->penalty.l2, 1, x, NULL);
        break;
    case OP_FIRST: first_op_forward(n, o, s, x, y); break;
    case OP_POOLED: pooled_op_forward(n, o, s, x, y); break;
    case OP_NORM: norm_op_forward(n, o, s, x, y); break;
    case OP_MERGE:
    case OP_CONV: break;
    default: layer_op_forward(n, o, s, x, y);
    }
}

void op_backward(net *n, op *o, const slice *s, const op_gradients *g)
{
    const float *dy = g->dy;
    float *dx = g->dx;
    const nn_kernels *nn = n->nn;
    int64_t count = s->rows * o->out;
    nn_pool_diff diff;
    switch (o->kind) {
    case OP_ACTIVATION:
        nn->activate_backward(&o->activation, activation_rows(o, s), g->x != NULL ? g->x : g->y, dy, dx);
        break;
    case OP_MAX_POOL:
        diff = op_pool_diff(o, s, dy);
        nn->max_pool_backward(&o->pool, s->rows * o->pool_images, &diff, dx);
        break;
    case OP_AVERAGE_POOL: nn->average_pool_backward(&o->pool, s->rows * o->pool_images, dy, dx); break;
    case OP_DROPOUT:
        nn->dropout(s->rows, o->out, o->bits + s->first * nn_dropout_words(o->out),
                    nn_dropout_scale(&o->dropout), dy, dx);
        break;
    case OP_PENALTY:
        memcpy(dx, dy, (size_t)count * sizeof *dx);
        nn->penalty(count, o->penalty.l1, o->penalty.l2, n->penalty_scale, g->y, dx);
        break;
    case OP_FIRST: first_op_backward(n, o, s, g); break;
    case OP_POOLED: pooled_op_backward(n, o, s, g); break;
    case OP_NORM: norm_op_backward(n, o, s, g); break;
    case OP_MERGE:
    case OP_CONV: break;
    default: layer_op_backward(n, o, s, g);
    }
}
