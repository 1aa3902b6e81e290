/* Batch normalization of tensors [images][outer][channels][inner]. A line is what is contiguous: all channels
 * where they are last (inner 1), else one channel's inner positions; the loop over it is the vector. Statistics
 * are sums in double, of deviations from a shift near the mean, so that a mean far from zero costs no digits.
 * Serial: the caller slices the batch and adds the slices' sums in an order of its own. */
#include "../util.h"
#include "internal.h"

/* Lines of the slice, their length, and by how much a channel's factor moves along them. */
typedef struct {
    int64_t lines, length;
    bool channels_last;
} layout;

static layout layout_of(const nn_norm *p, int64_t images)
{
    if (p->inner == 1) return (layout){images * p->outer, p->channels, true};
    return (layout){images * p->outer * p->channels, p->inner, false};
}

/* ---- sums of the forward pass */

/* Four lines at a time: the sums are read and written once for them. */
static void moments_of_all(const layout *l, const float *restrict x, const float *restrict shift,
                           double *restrict sum, double *restrict square)
{
    int64_t n = l->length, line = 0;
    for (; line + 4 <= l->lines; line += 4, x += 4 * n)
#pragma omp simd
        for (int64_t c = 0; c < n; c++) {
            double k = shift[c], a = x[c] - k, b = x[n + c] - k, d = x[2 * n + c] - k, e = x[3 * n + c] - k;
            sum[c] += (a + b) + (d + e);
            square[c] += (a * a + b * b) + (d * d + e * e);
        }
    for (; line < l->lines; line++, x += n)
#pragma omp simd
        for (int64_t c = 0; c < n; c++) {
            double a = x[c] - (double)shift[c];
            sum[c] += a;
            square[c] += a * a;
        }
}

void nn_norm_moments(const nn_norm *p, int64_t images, const float *x, const float *shift, double *sums)
{
    const layout l = layout_of(p, images);
    double *square = sums + p->channels;
    if (l.channels_last) {
        moments_of_all(&l, x, shift, sums, square);
        return;
    }
    for (int64_t line = 0; line < l.lines; line++, x += l.length) {
        int64_t c = line % p->channels;
        double k = shift[c], s = 0, q = 0;
#pragma omp simd reduction(+ : s, q)
        for (int64_t i = 0; i < l.length; i++) {
            double a = x[i] - k;
            s += a;
            q += a * a;
        }
        sums[c] += s;
        square[c] += q;
    }
}

/* ---- normalizing */

ALWAYS_INLINE float normal(const nn_norm_map *m, int64_t c, float x)
{
    return (x - m->mean[c]) * m->scale[c] + m->offset[c];
}

/* step: 1 where channels lie along the line, else 0. */
ALWAYS_INLINE void apply_line(int64_t count, int64_t step, const nn_norm_map *m, float clip, const float *x,
                              float *restrict y)
{
#pragma omp simd
    for (int64_t i = 0; i < count; i++) y[i] = conv_clipped(normal(m, i * step, x[i]), clip);
}

/* The factors of the line's first channel. */
static inline nn_norm_map map_at(const nn_norm_map *m, int64_t c)
{
    return (nn_norm_map){m->mean + c, m->scale + c, m->offset + c};
}

void nn_norm_apply(const nn_norm *p, int64_t images, const float *x, const nn_norm_map *m, float *y)
{
    const layout l = layout_of(p, images);
    const float clip = conv_clip(p->post_op);
    for (int64_t line = 0; line < l.lines; line++, x += l.length, y += l.length) {
        const nn_norm_map at = map_at(m, l.channels_last ? 0 : line % p->channels);
        if (l.channels_last)
            apply_line(l.length, 1, &at, clip, x, y);
        else
            apply_line(l.length, 0, &at, clip, x, y);
    }
}

/* ---- the backward pass. The post-op's mask is computed again: cheaper than to read the output. */

ALWAYS_INLINE float masked(const nn_norm_map *m, int64_t c, float passing, float x, float dy)
{
    float z = normal(m, c, x);
    return passing == 0 || (z > 0 && z <= passing) ? dy : 0;
}

/* 0 where there is none. */
static float passing_of(conv_post_op post_op) { return post_op == CONV_POST_NONE ? 0 : conv_passing(post_op); }

void nn_norm_sums(const nn_norm *p, int64_t images, const float *x, const float *dy, const nn_norm_map *m,
                  double *sums)
{
    const layout l = layout_of(p, images);
    const float passing = passing_of(p->post_op);
    double *restrict first = sums, *restrict second = sums + p->channels;
    for (int64_t line = 0; line < l.lines; line++, x += l.length, dy += l.length) {
        if (l.channels_last) {
#pragma omp simd
            for (int64_t c = 0; c < l.length; c++) {
                float d = masked(m, c, passing, x[c], dy[c]);
                first[c] += d;
                second[c] += (double)d * (x[c] - m->mean[c]);
            }
            continue;
        }
        const nn_norm_map at = map_at(m, line % p->channels);
        double s = 0, q = 0;
#pragma omp simd reduction(+ : s, q)
        for (int64_t i = 0; i < l.length; i++) {
            float d = masked(&at, 0, passing, x[i], dy[i]);
            s += d;
            q += (double)d * (x[i] - at.mean[0]);
        }
        first[line % p->channels] += s;
        second[line % p->channels] += q;
    }
}

ALWAYS_INLINE void backward_line(int64_t count, int64_t step, const nn_norm_map *m, float passing,
                                 const nn_norm_diff *g)
{
#pragma omp simd
    for (int64_t i = 0; i < count; i++) {
        int64_t c = i * step;
        float d = masked(m, c, passing, g->x[i], g->dy[i]);
        g->dx[i] = m->scale[c] * (d - g->each[c] - (g->x[i] - m->mean[c]) * g->slope[c]);
    }
}

void nn_norm_backward(const nn_norm *p, int64_t images, const nn_norm_diff *g, const nn_norm_map *m)
{
    const layout l = layout_of(p, images);
    const float passing = passing_of(p->post_op);
    for (int64_t line = 0; line < l.lines; line++) {
        int64_t at = line * l.length, c = l.channels_last ? 0 : line % p->channels;
        const nn_norm_map its = map_at(m, c);
        const nn_norm_diff d = {g->x + at, g->dy + at, g->each + c, g->slope + c, g->dx + at};
        if (l.channels_last)
            backward_line(l.length, 1, &its, passing, &d);
        else
            backward_line(l.length, 0, &its, passing, &d);
    }
}
