/* Operations that are one layer each, with nothing fused: global pooling, views, rescaling, spatial dropout,
 * PReLU. What they are is in the model's layer. */
#include <math.h>
#include <string.h>

#include "net_internal.h"

void layer_op_set(net *n, op *o)
{
    const layer *l = &n->model->layers[o->layer];
    const char *what = "";
    switch (l->kind) {
    case LAYER_GLOBAL_POOL:
        o->kind = OP_GLOBAL_POOL;
        o->needs_input = o->needs_output = !l->average;
        what = l->average ? "global average" : "global maximum";
        break;
    case LAYER_FLATTEN:
    case LAYER_VIEW:
        o->kind = OP_VIEW;
        what = l->kind == LAYER_FLATTEN ? "transpose" : "copy";
        break;
    case LAYER_RESCALING:
        o->kind = OP_RESCALE;
        what = "rescale";
        break;
    case LAYER_SPATIAL_DROPOUT:
        o->kind = OP_SPATIAL_DROPOUT;
        what = "dropout of channels";
        break;
    default:
        o->kind = OP_PRELU;
        o->needs_input = true;
        o->weights = l->first_parameter;
        what = "prelu";
    }
    strcpy(o->what, what);
}

static void rescale(const rescaling *r, bool offset, int64_t count, const float *x, float *y)
{
    for (int k = 0; k < r->count; k++) {
        float scale = r->scale[k], add = offset ? r->offset[k] : 0;
        for (int64_t i = k; i < count; i += r->count) y[i] = x[i] * scale + add;
    }
}

/* Forward and backward are the same; the bits are made anew for each, a bit a channel. */
static void drop_channels(net *n, op *o, const slice *s, const float *x, float *y)
{
    const nn_global *g = &n->model->layers[o->layer].global;
    uint64_t *bits = n->bits[s->thread];
    nn_dropout d = o->dropout;
    float scale = nn_dropout_scale(&d);
    d.step = s->step;
    n->nn->dropout_bits(&d, s->first, s->rows, g->channels, bits);
    for (int64_t r = 0; r < s->rows; r++, bits += nn_dropout_words(g->channels), x += o->in, y += o->out) {
        for (int64_t p = 0; p < g->positions && !g->channels_first; p++)
            n->nn->dropout(1, g->channels, bits, scale, x + p * g->channels, y + p * g->channels);
        for (int64_t c = 0; c < g->channels && g->channels_first; c++) {
            float by = bits[c / 64] >> (c % 64) & 1 ? scale : 0;
            for (int64_t p = c * g->positions; p < (c + 1) * g->positions; p++) y[p] = x[p] * by;
        }
    }
}

void layer_op_forward(net *n, op *o, const slice *s, const float *x, float *y)
{
    const nn_kernels *nn = n->nn;
    const layer *l = &n->model->layers[o->layer];
    switch (o->kind) {
    case OP_GLOBAL_POOL: (l->average ? nn->global_average : nn->global_max)(&l->global, s->rows, x, y); break;
    case OP_VIEW: nn->view(&l->view, s->rows, x, y); break;
    case OP_RESCALE: rescale(&l->scaling, true, s->rows * o->out, x, y); break;
    case OP_SPATIAL_DROPOUT:
        if (s->training)
            drop_channels(n, o, s, x, y);
        else
            memcpy(y, x, (size_t)(s->rows * o->out) * sizeof *y);
        break;
    default: nn->prelu(&l->prelu, s->rows, x, net_parameter(n, o->weights), y);
    }
}

void layer_op_backward(net *n, op *o, const slice *s, const op_gradients *g)
{
    const nn_kernels *nn = n->nn;
    const layer *l = &n->model->layers[o->layer];
    const nn_global_diff global = {g->x, g->y, g->dy};
    const nn_prelu_diff prelu = {g->x, g->dy, net_parameter(n, o->weights)};
    switch (o->kind) {
    case OP_GLOBAL_POOL:
        if (l->average)
            nn->global_average_backward(&l->global, s->rows, g->dy, g->dx);
        else
            nn->global_max_backward(&l->global, s->rows, &global, g->dx);
        break;
    case OP_VIEW: nn->view_backward(&l->view, s->rows, g->dy, g->dx); break;
    case OP_RESCALE: rescale(&l->scaling, false, s->rows * o->out, g->dy, g->dx); break;
    case OP_SPATIAL_DROPOUT: drop_channels(n, o, s, g->dy, g->dx); break;
    default:
        nn->prelu_backward(&l->prelu, s->rows, &prelu, g->dx, s->parts + n->part_offset[o->weights],
                           s->accumulate);
    }
}
