/* Creation and shapes; the sums are in oracle_rows.c. */
#include "oracle_internal.h"

#include <stdlib.h>
#include <string.h>

#include "../cli.h"

/* ---- creation */

/* [MB][C][positions] -> [MB][positions][C] */
static void to_nhwc(const float *from, float *to, int64_t mb, int64_t channels, int64_t positions)
{
#pragma omp parallel for schedule(static)
    for (int64_t n = 0; n < mb; n++)
        for (int64_t c = 0; c < channels; c++)
            for (int64_t i = 0; i < positions; i++)
                to[(n * positions + i) * channels + c] = from[(n * channels + c) * positions + i];
}

static bool take_src(oracle *o, const float *src)
{
    o->src = src;
    if (src == NULL || o->p.layout == CONV_NHWC) return true;
    o->own_src = malloc((size_t)(o->p.mb * o->in * o->p.ic) * sizeof *o->own_src);
    if (o->own_src == NULL) return false;
    to_nhwc(src, o->own_src, o->p.mb, o->p.ic, o->in);
    o->src = o->own_src;
    return true;
}

static bool take_diff_dst(oracle *o, const float *diff_dst, const float *dst)
{
    int64_t count = o->p.mb * o->out * o->p.oc;
    bool mask = o->p.post_op != CONV_POST_NONE, turn = o->p.layout == CONV_NCHW;
    o->diff_dst = diff_dst;
    if (!mask && !turn) return true;
    float *masked = malloc((size_t)count * sizeof *masked);
    if (masked == NULL) return false;
    memcpy(masked, diff_dst, (size_t)count * sizeof *masked);
    for (int64_t i = 0; mask && i < count; i++)
        if (!conv_passes(o->p.post_op, dst[i])) masked[i] = 0;
    if (turn) {
        float *turned = malloc((size_t)count * sizeof *turned);
        if (turned != NULL) to_nhwc(masked, turned, o->p.mb, o->p.oc, o->out);
        free(masked);
        masked = turned;
    }
    o->diff_dst = o->own_diff_dst = masked;
    return masked != NULL;
}

oracle *oracle_create(const conv_problem *p, conv_pass pass, const conv_args *in)
{
    oracle *o = calloc(1, sizeof *o);
    if (o == NULL) return NULL;
    *o = (oracle){.p = *p, .pass = pass, .in = 1, .out = 1, .taps = 1, .mid = p->ic * p->depth_multiplier};
    for (int i = 0; i < CONV_AXES; i++) {
        o->out_of[i] = conv_out(&p->axis[i]);
        o->in *= p->axis[i].in;
        o->out *= o->out_of[i];
        o->taps *= p->axis[i].kernel;
    }
    o->weights = in->weights;
    o->pointwise = in->pointwise;
    o->bias = p->bias ? in->bias : NULL;
    if (!take_src(o, in->src) || (pass != CONV_FORWARD && !take_diff_dst(o, in->diff_dst, in->dst))) {
        oracle_destroy(o);
        return NULL;
    }
    return o;
}

void oracle_destroy(oracle *o)
{
    if (o == NULL) return;
    free(o->own_src);
    free(o->own_diff_dst);
    free(o->kept_value);
    free(o->kept_magnitude);
    free(o);
}

/* ---- shapes */

bool oracle_by_channel(const oracle *o)
{
    return o->p.variant == CONV_DEPTHWISE || o->p.variant == CONV_SEPARABLE;
}

int64_t oracle_groups(const oracle *o) { return oracle_by_channel(o) ? 1 : o->p.groups; }

static bool written(const oracle *o, oracle_tensor tensor)
{
    bool data = o->pass == CONV_BACKWARD || o->pass == CONV_BACKWARD_DATA;
    bool weights = o->pass == CONV_BACKWARD || o->pass == CONV_BACKWARD_WEIGHTS;
    switch (tensor) {
    case ORACLE_DST: return o->pass == CONV_FORWARD;
    case ORACLE_DIFF_SRC: return data;
    case ORACLE_DIFF_WEIGHTS: return weights;
    case ORACLE_DIFF_POINTWISE: return weights && o->p.variant == CONV_SEPARABLE;
    default: return weights && o->p.bias;
    }
}

void oracle_extent(const oracle *o, oracle_tensor tensor, int64_t *rows, int64_t *columns)
{
    const conv_problem *p = &o->p;
    int64_t g = oracle_groups(o);
    switch (tensor) {
    case ORACLE_DST: *rows = p->mb * o->out * g, *columns = p->oc / g; break;
    case ORACLE_DIFF_SRC: *rows = p->mb * o->in * g, *columns = p->ic / g; break;
    case ORACLE_DIFF_WEIGHTS:
        *rows = oracle_by_channel(o) ? o->taps : o->taps * p->ic;
        *columns = oracle_by_channel(o) ? o->mid : p->oc / g;
        break;
    case ORACLE_DIFF_POINTWISE: *rows = o->mid, *columns = p->oc; break;
    default: *rows = 1, *columns = p->oc;
    }
    if (!written(o, tensor)) *rows = 0;
}

double oracle_cost(const oracle *o, oracle_tensor tensor)
{
    const conv_problem *p = &o->p;
    double taps = (double)o->taps, positions = (double)(p->mb * o->out), g = (double)oracle_groups(o);
    bool separable = p->variant == CONV_SEPARABLE;
    double upstream = separable && o->kept_count == 0 ? (double)p->oc : 1;
    switch (tensor) {
    case ORACLE_DST: return separable ? (double)o->mid : oracle_by_channel(o) ? taps : taps * (double)p->ic / g;
    case ORACLE_DIFF_SRC:
        return oracle_by_channel(o) ? taps * (double)p->depth_multiplier * upstream : taps * (double)p->oc / g;
    case ORACLE_DIFF_WEIGHTS: return positions * upstream;
    default: return positions;
    }
}

/* Element of an activation tensor in the caller's layout. */
static int64_t activation(const oracle *o, int64_t item, int64_t positions, int64_t channels, int64_t channel)
{
    if (o->p.layout == CONV_NHWC) return item * channels + channel;
    return (item / positions * channels + channel) * positions + item % positions;
}

int64_t oracle_offset(const oracle *o, oracle_tensor tensor, int64_t row, int64_t column)
{
    const conv_problem *p = &o->p;
    int64_t rows, columns, g = oracle_groups(o);
    oracle_extent(o, tensor, &rows, &columns);
    int64_t item = row / g, channel = row % g * columns + column;
    if (tensor == ORACLE_DST) return activation(o, item, o->out, p->oc, channel);
    if (tensor == ORACLE_DIFF_SRC) return activation(o, item, o->in, p->ic, channel);
    if (tensor == ORACLE_DIFF_WEIGHTS) return item * columns * g + channel;
    return row * columns + column;
}

/* ---- the separable's intermediate gradient */

bool oracle_keep_mid(oracle *o, int64_t first, int64_t count)
{
    if (o->p.variant != CONV_SEPARABLE || o->pass == CONV_FORWARD) return true;
    int64_t items = o->p.mb * o->out;
    size_t bytes = (size_t)(items * count) * sizeof(double);
    o->kept_count = 0;
    free(o->kept_value);
    free(o->kept_magnitude);
    o->kept_value = malloc(bytes);
    o->kept_magnitude = malloc(bytes);
    if (o->kept_value == NULL || o->kept_magnitude == NULL) return false;
#pragma omp parallel for schedule(static)
    for (int64_t item = 0; item < items; item++)
        if (!cli_interrupted())
            oracle_upstream(o, item, first, count, o->kept_value + item * count,
                            o->kept_magnitude + item * count);
    o->kept_first = first;
    o->kept_count = count;
    return true;
}
