/* One walk serves all passes: along each axis a tap, an input and an output position belong together when
 * in = out*stride - pad + tap*dilation; fixing any one of the three and running over the rest lists the terms
 * of dst (output fixed), diff_src (input fixed) or diff_weights (tap fixed). */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "oracle_internal.h"

/* ---- the walk */

typedef enum { FIXED_OUT, FIXED_IN, FIXED_TAP } fixed;

typedef struct {
    int64_t tap, in, out; /* linear over the axes; or of one axis */
} term;

/* Called once per term; context is the caller's. */
typedef void visitor(void *context, const term *t);

static bool resolve(const conv_axis *a, int64_t outs, fixed which, int64_t position, int64_t step, term *t)
{
    t->tap = which == FIXED_TAP ? position : step;
    int64_t reach = t->tap * a->dilation - a->pad_before;
    if (which == FIXED_IN) {
        t->in = position;
        t->out = (position - reach) / a->stride;
        return position >= reach && (position - reach) % a->stride == 0 && t->out < outs;
    }
    t->out = which == FIXED_OUT ? position : step;
    t->in = t->out * a->stride + reach;
    return t->in >= 0 && t->in < a->in;
}

static int64_t size_along(const oracle *o, fixed which, int axis)
{
    const conv_axis *a = &o->p.axis[axis];
    return which == FIXED_OUT ? o->out_of[axis] : which == FIXED_IN ? a->in : a->kernel;
}

/* Visits every term that has the given linear output, input or tap position. */
static void walk(const oracle *o, fixed which, int64_t position, visitor *visit, void *context)
{
    const conv_axis *a = o->p.axis;
    int64_t at[CONV_AXES], steps[CONV_AXES];
    for (int i = CONV_AXES - 1; i >= 0; i--) {
        int64_t size = size_along(o, which, i);
        at[i] = position % size;
        position /= size;
        steps[i] = which == FIXED_TAP ? o->out_of[i] : a[i].kernel;
    }
    term d, h, w;
    for (int64_t i = 0; i < steps[0]; i++) {
        if (!resolve(&a[0], o->out_of[0], which, at[0], i, &d)) continue;
        for (int64_t j = 0; j < steps[1]; j++) {
            if (!resolve(&a[1], o->out_of[1], which, at[1], j, &h)) continue;
            for (int64_t k = 0; k < steps[2]; k++) {
                if (!resolve(&a[2], o->out_of[2], which, at[2], k, &w)) continue;
                const term t = {(d.tap * a[1].kernel + h.tap) * a[2].kernel + w.tap,
                                (d.in * a[1].in + h.in) * a[2].in + w.in,
                                (d.out * o->out_of[1] + h.out) * o->out_of[2] + w.out};
                visit(context, &t);
            }
        }
    }
}

/* ---- sums */

/* What a row's visitor works on. */
typedef struct {
    const oracle *o;
    int64_t n, group, channel; /* image; group and channel of the row, where it has them */
    int64_t first, count;
    double *value, *magnitude;
    double *more;  /* depthwise gradients: room for the upstream gradient of a run */
    int64_t terms; /* counted per element */
} sum;

static void add_scaled(sum *s, double value, double magnitude, const float *by)
{
    double *restrict v = s->value, *restrict m = s->magnitude;
#pragma omp simd
    for (int64_t i = 0; i < s->count; i++) {
        v[i] += value * (double)by[i];
        m[i] += magnitude * fabs((double)by[i]);
    }
}

static void dot(const float *x, const float *y, int64_t count, double *value, double *magnitude)
{
    double v = 0, m = 0;
#pragma omp simd reduction(+ : v, m)
    for (int64_t i = 0; i < count; i++) {
        double product = (double)x[i] * (double)y[i];
        v += product;
        m += fabs(product);
    }
    *value += v;
    *magnitude += m;
}

static void dense_forward(void *context, const term *t)
{
    sum *s = context;
    const conv_problem *p = &s->o->p;
    int64_t ic = p->ic / p->groups, oc = p->oc / p->groups;
    const float *src = s->o->src + (s->n * s->o->in + t->in) * p->ic + s->group * ic;
    const float *weights = s->o->weights + t->tap * ic * p->oc + s->group * oc + s->first;
    for (int64_t i = 0; i < ic; i++) add_scaled(s, (double)src[i], fabs((double)src[i]), weights + i * p->oc);
    s->terms += ic;
}

static void dense_backward_data(void *context, const term *t)
{
    sum *s = context;
    const conv_problem *p = &s->o->p;
    int64_t ic = p->ic / p->groups, oc = p->oc / p->groups;
    const float *diff = s->o->diff_dst + (s->n * s->o->out + t->out) * p->oc + s->group * oc;
    const float *weights = s->o->weights + (t->tap * ic + s->first) * p->oc + s->group * oc;
    for (int64_t i = 0; i < s->count; i++) dot(diff, weights + i * p->oc, oc, &s->value[i], &s->magnitude[i]);
    s->terms += oc;
}

static void dense_backward_weights(void *context, const term *t)
{
    sum *s = context;
    const conv_problem *p = &s->o->p;
    for (int64_t n = 0; n < p->mb; n++) {
        double x = (double)s->o->src[(n * s->o->in + t->in) * p->ic + s->channel];
        add_scaled(s, x, fabs(x),
                   s->o->diff_dst + (n * s->o->out + t->out) * p->oc + s->group * (p->oc / p->groups) +
                       s->first);
    }
    s->terms += p->mb;
}

static void depthwise_forward(void *context, const term *t)
{
    sum *s = context;
    const oracle *o = s->o;
    const float *src = o->src + (s->n * o->in + t->in) * o->p.ic, *weights = o->weights + t->tap * o->mid;
    for (int64_t i = 0; i < s->count; i++) {
        int64_t c = s->first + i;
        double product = (double)src[c / o->p.depth_multiplier] * (double)weights[c];
        s->value[i] += product;
        s->magnitude[i] += fabs(product);
    }
    s->terms++;
}

void oracle_upstream(const oracle *o, int64_t item, int64_t first, int64_t count, double *value,
                     double *magnitude)
{
    const float *diff = o->diff_dst + item * o->p.oc;
    if (o->p.variant == CONV_DEPTHWISE) {
        for (int64_t i = 0; i < count; i++) {
            value[i] = (double)diff[first + i];
            magnitude[i] = fabs(value[i]);
        }
    } else if (first >= o->kept_first && first + count <= o->kept_first + o->kept_count) {
        int64_t at = item * o->kept_count + first - o->kept_first;
        memcpy(value, o->kept_value + at, (size_t)count * sizeof *value);
        memcpy(magnitude, o->kept_magnitude + at, (size_t)count * sizeof *magnitude);
    } else {
        for (int64_t i = 0; i < count; i++) {
            value[i] = magnitude[i] = 0;
            dot(diff, o->pointwise + (first + i) * o->p.oc, o->p.oc, &value[i], &magnitude[i]);
        }
    }
}

static void depthwise_backward_data(void *context, const term *t)
{
    sum *s = context;
    const oracle *o = s->o;
    int64_t m = o->p.depth_multiplier, first = s->first * m, count = s->count * m;
    double *value = s->more, *magnitude = s->more + count;
    oracle_upstream(o, s->n * o->out + t->out, first, count, value, magnitude);
    const float *weights = o->weights + t->tap * o->mid + first;
    for (int64_t i = 0; i < count; i++) {
        s->value[i / m] += value[i] * (double)weights[i];
        s->magnitude[i / m] += magnitude[i] * fabs((double)weights[i]);
    }
    s->terms += m;
}

static void depthwise_backward_weights(void *context, const term *t)
{
    sum *s = context;
    const oracle *o = s->o;
    double *value = s->more, *magnitude = s->more + s->count;
    for (int64_t n = 0; n < o->p.mb; n++) {
        const float *src = o->src + (n * o->in + t->in) * o->p.ic;
        oracle_upstream(o, n * o->out + t->out, s->first, s->count, value, magnitude);
        for (int64_t i = 0; i < s->count; i++) {
            double x = (double)src[(s->first + i) / o->p.depth_multiplier];
            s->value[i] += value[i] * x;
            s->magnitude[i] += magnitude[i] * fabs(x);
        }
    }
    s->terms += o->p.mb;
}

/* ---- rows */

static double sum_terms(sum *s, fixed which, int64_t position, visitor *visit)
{
    walk(s->o, which, position, visit, s);
    return sqrt((double)s->terms);
}

/* Channels [first, first + count) of the separable's intermediate at one (image, output position). */
static double middle(const oracle *o, int64_t item, int64_t first, int64_t count, double *value,
                     double *magnitude)
{
    sum s = {
        .o = o, .n = item / o->out, .first = first, .count = count, .value = value, .magnitude = magnitude};
    memset(value, 0, (size_t)count * sizeof *value);
    memset(magnitude, 0, (size_t)count * sizeof *magnitude);
    return sum_terms(&s, FIXED_OUT, item % o->out, depthwise_forward);
}

/* more: room for 2 * C*M. */
static double separable_forward(sum *s, int64_t item)
{
    const oracle *o = s->o;
    double *value = s->more, *magnitude = s->more + o->mid;
    double root = middle(o, item, 0, o->mid, value, magnitude);
    for (int64_t c = 0; c < o->mid; c++)
        add_scaled(s, value[c], magnitude[c], o->pointwise + c * o->p.oc + s->first);
    return root == 0 ? 0 : root + sqrt((double)o->mid);
}

static double pointwise_gradient(sum *s, int64_t channel)
{
    const oracle *o = s->o;
    int64_t items = o->p.mb * o->out;
    for (int64_t item = 0; item < items; item++) {
        double value, magnitude;
        middle(o, item, channel, 1, &value, &magnitude);
        add_scaled(s, value, magnitude, o->diff_dst + item * o->p.oc + s->first);
    }
    return sqrt((double)o->taps) + sqrt((double)items);
}

static double bias_gradient(sum *s)
{
    int64_t items = s->o->p.mb * s->o->out;
    for (int64_t item = 0; item < items; item++)
        add_scaled(s, 1, 1, s->o->diff_dst + item * s->o->p.oc + s->first);
    return sqrt((double)items);
}

/* Bias and post-op, after the last stage. */
static void finish(sum *s, const float *bias)
{
    const double clip = (double)conv_clip(s->o->p.post_op);
    for (int64_t i = 0; i < s->count; i++) {
        if (bias != NULL) {
            s->value[i] += (double)bias[i];
            s->magnitude[i] += fabs((double)bias[i]);
        }
        if (clip > 0) s->value[i] = s->value[i] > 0 ? fmin(s->value[i], clip) : 0;
    }
}

static double forward_row(sum *s, int64_t item, int64_t columns)
{
    const oracle *o = s->o;
    double root =
        o->p.variant == CONV_SEPARABLE
            ? separable_forward(s, item)
            : sum_terms(s, FIXED_OUT, item % o->out, oracle_by_channel(o) ? depthwise_forward : dense_forward);
    finish(s, o->bias == NULL ? NULL : o->bias + s->group * columns + s->first);
    return root;
}

/* Gradients of the depthwise stage have a second stage upstream in a separable problem. */
static double upstream_root(const oracle *o, double root)
{
    return o->p.variant == CONV_SEPARABLE && root > 0 ? root + sqrt((double)o->p.oc) : root;
}

double oracle_row(const oracle *o, oracle_run run, double *value, double *magnitude)
{
    int64_t rows, columns, g = oracle_groups(o), item = run.row / g;
    int64_t room = run.tensor == ORACLE_DST ? o->mid : run.count * o->p.depth_multiplier;
    double stack[512], *more = 2 * room <= 512 ? stack : malloc((size_t)(2 * room) * sizeof *more);
    if (more == NULL) abort(); /* a few kilobytes: nothing sensible is left to do */
    sum s = {.o = o,
             .group = run.row % g,
             .first = run.first,
             .count = run.count,
             .value = value,
             .magnitude = magnitude,
             .more = more};
    double root;
    oracle_extent(o, run.tensor, &rows, &columns);
    memset(value, 0, (size_t)run.count * sizeof *value);
    memset(magnitude, 0, (size_t)run.count * sizeof *magnitude);
    switch (run.tensor) {
    case ORACLE_DST:
        s.n = item / o->out;
        root = forward_row(&s, item, columns);
        break;
    case ORACLE_DIFF_SRC:
        s.n = item / o->in;
        root =
            upstream_root(o, sum_terms(&s, FIXED_IN, item % o->in,
                                       oracle_by_channel(o) ? depthwise_backward_data : dense_backward_data));
        break;
    case ORACLE_DIFF_WEIGHTS:
        s.channel = s.group * (o->p.ic / g) + item % (o->p.ic / g);
        root = oracle_by_channel(o)
                   ? upstream_root(o, sum_terms(&s, FIXED_TAP, run.row, depthwise_backward_weights))
                   : sum_terms(&s, FIXED_TAP, item / (o->p.ic / g), dense_backward_weights);
        break;
    case ORACLE_DIFF_POINTWISE: root = pointwise_gradient(&s, run.row); break;
    default: root = bias_gradient(&s);
    }
    if (more != stack) free(more);
    return root;
}
