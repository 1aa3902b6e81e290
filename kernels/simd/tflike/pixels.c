/* What happens at a pixel, and at a row of them, on each level of what was removed: one inlined body of which
 * the level is a constant. */
#include "tflike.h"

/* ---- which inputs a pixel meets */

/* Along an axis: the first input, its tap, and how many there are. */
typedef struct {
    int64_t in, tap, count;
} span;

static span span_of(const conv_axis *a, bool backward, int64_t at)
{
    span s;
    int64_t end;
    if (backward) {
        s.in = div_up(max64(0, at + a->pad_before - a->kernel + 1), a->stride);
        end = min64(conv_out(a), (at + a->pad_before) / a->stride + 1);
        s.tap = at + a->pad_before - s.in * a->stride;
    } else {
        s.tap = max64(0, a->pad_before - at * a->stride);
        s.in = at * a->stride - a->pad_before + s.tap;
        end = min64(a->in, at * a->stride - a->pad_before + a->kernel);
    }
    s.count = max64(0, end - s.in);
    return s;
}

/* A rectangle of them, and of their taps in a tensor [taps][padded]. Distances are in floats. */
typedef struct {
    const float *in;
    int64_t tap, rows, columns;
    int64_t in_row, in_column, tap_row, tap_column;
} meetings;

static meetings meet(const job *j, int64_t image, const span *y, const span *x)
{
    const conv_problem *p = &j->plan->head.problem;
    const conv_axis *h = &p->axis[CONV_H], *w = &p->axis[CONV_W];
    int64_t height = j->backward ? conv_out(h) : h->in, width = j->backward ? conv_out(w) : w->in;
    int64_t up = (j->backward ? -h->stride : 1) * w->kernel, right = j->backward ? -w->stride : 1;
    return (meetings){.in = j->in + ((image * height + y->in) * width + x->in) * p->ic,
                      .tap = (y->tap * w->kernel + x->tap) * j->plan->padded,
                      .rows = y->count,
                      .columns = x->count,
                      .in_row = width * p->ic,
                      .in_column = p->ic,
                      .tap_row = up * j->plan->padded,
                      .tap_column = right * j->plan->padded};
}

/* ---- the patch */

/* What a pixel meets, into patch[taps][padded]. */
static void copy_patch(const job *j, const meetings *m, float *patch)
{
    const tflike_plan *t = j->plan;
    int64_t channels = t->head.problem.ic, c;
    if (m->rows * m->columns < t->taps) memset(patch, 0, (size_t)(t->taps * t->padded) * sizeof *patch);
    for (int64_t r = 0; r < m->rows; r++)
        for (int64_t k = 0; k < m->columns; k++) {
            float *to = patch + m->tap + r * m->tap_row + k * m->tap_column;
            const float *from = m->in + r * m->in_row + k * m->in_column;
            for (c = 0; c + VL <= channels; c += VL) vec_store(to + c, vec_load(from + c));
            for (; c < channels; c++) to[c] = from[c];
            for (; c < t->padded; c++) to[c] = 0;
        }
}

/* ---- the products: `pixels` of a row, their inputs `apart` floats from each other, channels from c on */

/* The empty statement keeps the compiler from making one instruction of the two. */
ALWAYS_INLINE vec multiply_add(const removed level, vec a, vec b, vec sum)
{
    if (level >= WITH_FMA) return vec_fma(a, b, sum);
    vec product = vec_mul(a, b);
    __asm__("" : "+x"(product));
    return vec_add(product, sum);
}

typedef struct {
    const job *job;
    meetings m;
    int64_t apart, pixel, c; /* pixel: floats of one of the output */
    vec_mask lanes;          /* of the last vector, where it is not whole */
} strip;

/* Of a patch all taps are in one. */
ALWAYS_INLINE int64_t rows_of(const removed level, const meetings *m)
{
    return level < WITHOUT_COPY ? 1 : m->rows;
}

/* out[pixels][C] = sums of filter[tap] * in */
ALWAYS_INLINE void gather(const removed level, const int pixels, const bool whole, const strip *s, float *out)
{
    const meetings *m = &s->m;
    vec sum[PIXELS];
    UNROLL for (int i = 0; i < pixels; i++) sum[i] = vec_zero();
    for (int64_t r = 0; r < rows_of(level, m); r++) {
        const float *in = m->in + r * m->in_row + s->c,
                    *filter = s->job->filter + m->tap + r * m->tap_row + s->c;
        UNROLL2 for (int64_t k = 0; k < m->columns; k++, in += m->in_column, filter += m->tap_column)
        {
            vec w = vec_load(filter);
            UNROLL for (int i = 0; i < pixels; i++) sum[i] =
                multiply_add(level, w, vec_load_lanes(whole, in + i * s->apart, s->lanes), sum[i]);
        }
    }
    UNROLL for (int i = 0; i < pixels; i++) vec_store_lanes(whole, out + i * s->pixel + s->c, s->lanes, sum[i]);
}

/* sums[tap] += gradient[pixels][C] * in, loaded and stored at every tap */
ALWAYS_INLINE void spread(const removed level, const int pixels, const bool whole, const strip *s, float *sums,
                          const float *gradient)
{
    const meetings *m = &s->m;
    vec d[PIXELS];
    UNROLL for (int i = 0; i < pixels; i++) d[i] =
        vec_load_lanes(whole, gradient + i * s->pixel + s->c, s->lanes);
    for (int64_t r = 0; r < rows_of(level, m); r++) {
        const float *in = m->in + r * m->in_row + s->c;
        float *to = sums + m->tap + r * m->tap_row + s->c;
        UNROLL2 for (int64_t k = 0; k < m->columns; k++, in += m->in_column, to += m->tap_column)
        {
            vec sum = vec_load(to);
            UNROLL for (int i = 0; i < pixels; i++) sum =
                multiply_add(level, d[i], vec_load_lanes(whole, in + i * s->apart, s->lanes), sum);
            vec_store(to, sum);
        }
    }
}

ALWAYS_INLINE void pixels_of(const removed level, const int pixels, const bool weights, strip *s, float *out,
                             const float *gradient)
{
    int64_t channels = s->pixel;
    for (s->c = 0; s->c + VL <= channels; s->c += VL)
        if (weights)
            spread(level, pixels, true, s, out, gradient);
        else
            gather(level, pixels, true, s, out);
    s->lanes = vec_mask_first(channels - s->c);
    if (s->c < channels && weights) spread(level, pixels, false, s, out, gradient);
    if (s->c < channels && !weights) gather(level, pixels, false, s, out);
}

/* ---- rows */

/* Row y of an image, into its own place in out or, of weights, into sums. */
ALWAYS_INLINE void row(const removed level, const bool weights, const job *j, int64_t image, int64_t y,
                       float *out, float *patch)
{
    const conv_problem *p = &j->plan->head.problem;
    const conv_axis *w = &p->axis[CONV_W];
    const span rows = span_of(&p->axis[CONV_H], j->backward, y);
    const float *gradient = weights ? j->gradient + (image * j->rows + y) * j->width * p->ic : NULL;
    bool tiled = level >= WITH_REGISTERS && !(j->backward && w->stride > 1);
    for (int64_t x = 0, done; x < j->width; x += done) {
        const span columns = span_of(w, j->backward, x);
        strip s = {.job = j, .m = meet(j, image, &rows, &columns), .pixel = p->ic};
        const float *diff = weights ? gradient + x * p->ic : NULL;
        float *to = weights ? out : out + x * p->ic;
        done = 1;
        if (tiled && columns.count == w->kernel && x + PIXELS <= j->width &&
            span_of(w, j->backward, x + PIXELS - 1).count == w->kernel) {
            done = PIXELS;
            s.apart = (j->backward ? 1 : w->stride) * p->ic;
            pixels_of(level, PIXELS, weights, &s, to, diff);
            continue;
        }
        if (level < WITHOUT_COPY) {
            copy_patch(j, &s.m, patch);
            s.m = (meetings){.in = patch,
                             .columns = j->plan->taps,
                             .in_column = j->plan->padded,
                             .tap_column = j->plan->padded};
        }
        pixels_of(level, 1, weights, &s, to, diff);
    }
}

ALWAYS_INLINE void unit_of(const removed level, const bool weights, const job *j, int64_t unit, float *patch)
{
    const tflike_plan *t = j->plan;
    int64_t per_image = div_up(j->rows, j->step), image = unit / per_image, first = unit % per_image * j->step;
    float *sums = j->out + unit * t->taps * t->padded;
    if (weights) memset(sums, 0, (size_t)(t->taps * t->padded) * sizeof *sums);
    for (int64_t y = first; y < min64(first + j->step, j->rows); y++)
        row(level, weights, j, image, y,
            weights ? sums : j->out + (image * j->rows + y) * j->width * t->head.problem.ic, patch);
}

#define UNITS(level)                                                                                           \
    static void convolve_##level(const job *j, int64_t unit, float *patch)                                     \
    {                                                                                                          \
        unit_of(level, false, j, unit, patch);                                                                 \
    }                                                                                                          \
    static void weights_##level(const job *j, int64_t unit, float *patch)                                      \
    {                                                                                                          \
        unit_of(level, true, j, unit, patch);                                                                  \
    }
UNITS(AS_TENSORFLOW)
UNITS(WITH_FMA)
UNITS(WITHOUT_COPY)
UNITS(WITH_REGISTERS)
#define UNITS_OF(level)                                                                                        \
    {                                                                                                          \
        convolve_##level, weights_##level                                                                      \
    }

const tflike_units tflike_units_of[LEVELS] = {UNITS_OF(AS_TENSORFLOW), UNITS_OF(WITH_FMA),
                                              UNITS_OF(WITHOUT_COPY), UNITS_OF(WITH_REGISTERS),
                                              UNITS_OF(WITH_REGISTERS)};
