/* Batch normalization (Ioffe and Szegedy 2015) as Keras 3 has it: the variance is the population's, and so the
 * moving one. With x' = (x - mean) / sqrt(variance + epsilon), over the N elements of a channel,
 *
 *     diff_beta = sum dy,   diff_gamma = sum dy x'
 *     dx = gamma / sqrt(variance + epsilon) * (dy - diff_beta / N - x' diff_gamma / N)
 *
 * A slice adds to its chunk's sums, in double; chunks depend on model and batch alone and are added up in a
 * fixed tree, so no bit depends on the threads. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "../measure/tensors.h"
#include "net_internal.h"

/* Of op.norm.factors: [channels] each. */
enum { MEAN, SCALE, OFFSET, EACH, SLOPE, FACTORS };

static float *factor(const op *o, int which) { return o->norm.factors + which * o->norm.shape.channels; }

static nn_norm_map map_of(const op *o)
{
    return (nn_norm_map){factor(o, MEAN), factor(o, SCALE), factor(o, OFFSET)};
}

void norm_op_set(const net *n, op *o)
{
    const layer *l = &n->model->layers[o->layer];
    nn_norm *shape = &o->norm.shape;
    *shape = (nn_norm){.outer = 1, .channels = l->in.dim[l->norm.axis], .inner = 1};
    for (int i = 0; i < l->in.rank; i++) {
        if (i < l->norm.axis) shape->outer *= l->in.dim[i];
        if (i > l->norm.axis) shape->inner *= l->in.dim[i];
    }
    int p = l->first_parameter;
    o->norm.live = l->trainable;
    o->norm.gamma = l->norm.scale ? p++ : -1;
    o->norm.beta = l->norm.center ? p++ : -1;
    o->norm.mean = p++;
    o->norm.variance = p;
    o->needs_input = true;
}

bool norm_op_allocate(net *n, op *o)
{
    norm_part *p = &o->norm;
    size_t pair = (size_t)(2 * p->shape.channels) * sizeof(double);
    p->sums = buffer_alloc(pair * (size_t)n->chunks_allocated);
    p->moments = buffer_alloc(pair);
    p->factors = calloc((size_t)(FACTORS * p->shape.channels), sizeof *p->factors);
    return p->sums != NULL && p->moments != NULL && p->factors != NULL;
}

void norm_op_free(op *o)
{
    buffer_free(o->norm.sums);
    buffer_free(o->norm.moments);
    free(o->norm.factors);
}

/* Normalizing by that mean and variance. */
static void set_map(const net *n, op *o, int64_t channel, double mean, double variance)
{
    const float *gamma = net_parameter(n, o->norm.gamma), *beta = net_parameter(n, o->norm.beta);
    const layer *l = &n->model->layers[o->layer];
    double inverse = 1 / fmax(sqrt(variance + l->norm.epsilon), l->norm.least);
    factor(o, MEAN)[channel] = (float)mean;
    factor(o, SCALE)[channel] = (float)(inverse * (gamma != NULL ? (double)gamma[channel] : 1));
    factor(o, OFFSET)[channel] = beta != NULL ? beta[channel] : 0;
}

void norm_op_refresh(net *n, op *o)
{
    const float *mean = net_parameter(n, o->norm.mean), *variance = net_parameter(n, o->norm.variance);
    for (int64_t c = 0; c < o->norm.shape.channels; c++) set_map(n, o, c, (double)mean[c], (double)variance[c]);
    memset(factor(o, EACH), 0, 2 * (size_t)o->norm.shape.channels * sizeof(float)); /* and SLOPE */
}

/* ---- sums over the batch */

/* The chunk's, cleared by its first slice. */
static double *sums_of(const op *o, const slice *s)
{
    int64_t count = 2 * o->norm.shape.channels;
    double *sums = o->norm.sums + s->chunk * count;
    if (!s->accumulate) memset(sums, 0, (size_t)count * sizeof *sums);
    return sums;
}

/* All chunks' sums into the first's, pairs of neighbours at a time. */
static const double *reduce(const net *n, op *o)
{
    int64_t count = 2 * o->norm.shape.channels;
    double *sums = o->norm.sums;
    for (int64_t step = 1; step < n->chunks; step *= 2)
        for (int64_t c = 0; c + step < n->chunks; c += 2 * step)
            for (int64_t i = 0; i < count; i++) sums[c * count + i] += sums[(c + step) * count + i];
    return sums;
}

/* Elements of a channel. */
static double elements(const op *o, int64_t rows)
{
    return (double)(rows * o->norm.shape.outer * o->norm.shape.inner);
}

void norm_op_gather(net *n, op *o, const slice *s, const float *x)
{
    n->nn->norm_moments(&o->norm.shape, s->rows, x, net_parameter(n, o->norm.mean), sums_of(o, s));
}

void norm_op_finish(net *n, op *o, int64_t rows)
{
    int64_t channels = o->norm.shape.channels;
    const double *sums = reduce(n, o), count = elements(o, rows);
    const float *shift = net_parameter(n, o->norm.mean);
    for (int64_t c = 0; c < channels; c++) {
        double mean = sums[c] / count, variance = fmax(sums[channels + c] / count - mean * mean, 0);
        o->norm.moments[c] = mean += (double)shift[c];
        o->norm.moments[channels + c] = variance;
        set_map(n, o, c, mean, variance);
    }
}

void norm_op_gather_backward(net *n, op *o, const slice *s, const op_gradients *g)
{
    const nn_norm_map m = map_of(o);
    n->nn->norm_sums(&o->norm.shape, s->rows, g->x, g->dy, &m, sums_of(o, s));
}

void norm_op_finish_backward(net *n, op *o, int64_t rows)
{
    int64_t channels = o->norm.shape.channels;
    const double *sums = reduce(n, o), count = elements(o, rows);
    const double epsilon = n->model->layers[o->layer].norm.epsilon;
    const parameter *p = n->model->parameter;
    for (int64_t c = 0; c < channels; c++) {
        double square = 1 / (o->norm.moments[channels + c] + epsilon);
        if (o->norm.beta >= 0) n->gradient[p[o->norm.beta].offset + c] = (float)sums[c];
        if (o->norm.gamma >= 0)
            n->gradient[p[o->norm.gamma].offset + c] = (float)(sums[channels + c] * sqrt(square));
        factor(o, EACH)[c] = (float)(sums[c] / count);
        factor(o, SLOPE)[c] = (float)(square * sums[channels + c] / count);
    }
}

/* ---- a slice */

void norm_op_forward(net *n, op *o, const slice *s, const float *x, float *y)
{
    const nn_norm_map m = map_of(o);
    n->nn->norm_apply(&o->norm.shape, s->rows, x, &m, y);
}

void norm_op_backward(net *n, op *o, const slice *s, const op_gradients *g)
{
    const nn_norm_map m = map_of(o);
    const nn_norm_diff d = {g->x, g->dy, factor(o, EACH), factor(o, SLOPE), g->dx};
    n->nn->norm_backward(&o->norm.shape, s->rows, &d, &m);
}

void norm_op_update(net *n, const op *o)
{
    const parameter *p = n->model->parameter;
    const double momentum = n->model->layers[o->layer].norm.momentum;
    const int moving[] = {o->norm.mean, o->norm.variance};
    for (int i = 0; i < 2; i++) {
        const double *now = o->norm.moments + i * o->norm.shape.channels;
        float *w = n->weights + p[moving[i]].offset;
        for (int64_t c = 0; c < o->norm.shape.channels; c++)
            w[c] = (float)((double)w[c] * momentum + now[c] * (1 - momentum));
    }
}
