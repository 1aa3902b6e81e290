/* Tensors whose elements are those of another at other places, or zero: padding, cropping, repeating, permuting
 * (nn_view). Loops: image, then the axes of y, outermost first; the innermost is a copy wherever its elements
 * lie side by side in x. Backward clears and adds. Serial: the caller slices the batch. */
#include <string.h>

#include "../util.h"
#include "internal.h"

/* Which element of x along that axis place o of y shows; below 0 for none. */
static inline int64_t shown(const nn_view_axis *a, int64_t o)
{
    int64_t i = a->repeat == 1 ? o - a->before : o / a->repeat;
    return i < a->in ? i : -1;
}

/* Where x has what row r of an image of y begins with, were nothing cut or added before it; below 0: the row is
 * zeros. */
static inline int64_t row_start(const nn_view *v, int64_t r)
{
    int64_t start = 0;
    for (int i = NN_VIEW_AXES - 2; i >= 0; r /= v->axis[i--].out) {
        int64_t at = shown(&v->axis[i], r % v->axis[i].out);
        if (at < 0) return -1;
        start += at * v->axis[i].stride;
    }
    return start;
}

static int64_t row_count(const nn_view *v) { return v->axis[0].out * v->axis[1].out * v->axis[2].out; }

/* Which of x's elements along the innermost axis y shows: [*first, *end), from y's place *at on. */
static inline void row_range(const nn_view_axis *a, int64_t *first, int64_t *end, int64_t *at)
{
    *at = min64(a->before > 0 ? a->before : 0, a->out);
    *first = a->before < 0 ? -a->before : 0;
    *end = a->repeat > 1 ? a->in : min64(a->in, a->out - a->before);
    if (*end < *first) *end = *first;
}

void nn_view_forward(const nn_view *v, int64_t images, const float *x, float *y)
{
    const nn_view_axis *a = &v->axis[NN_VIEW_AXES - 1];
    int64_t rows = row_count(v), first, end, at;
    row_range(a, &first, &end, &at);
    for (int64_t n = 0; n < images; n++, x += v->in)
        for (int64_t r = 0; r < rows; r++, y += a->out) {
            int64_t from = row_start(v, r);
            if (from < 0 || (end - first) * a->repeat < a->out) memset(y, 0, (size_t)a->out * sizeof *y);
            if (from < 0) continue;
            float *to = y + at;
            if (a->stride == 1 && a->repeat == 1)
                memcpy(to, x + from + first, (size_t)(end - first) * sizeof *y);
            else
                for (int64_t i = first; i < end; i++)
                    for (int64_t k = 0; k < a->repeat; k++) *to++ = x[from + i * a->stride];
        }
}

void nn_view_backward(const nn_view *v, int64_t images, const float *dy, float *dx)
{
    const nn_view_axis *a = &v->axis[NN_VIEW_AXES - 1];
    int64_t rows = row_count(v), first, end, at;
    row_range(a, &first, &end, &at);
    memset(dx, 0, (size_t)(images * v->in) * sizeof *dx);
    for (int64_t n = 0; n < images; n++, dx += v->in)
        for (int64_t r = 0; r < rows; r++, dy += a->out) {
            int64_t from = row_start(v, r);
            if (from < 0) continue;
            const float *d = dy + at;
            if (a->stride == 1 && a->repeat == 1)
                for (int64_t i = first; i < end; i++) dx[from + i] += d[i - first];
            else
                for (int64_t i = first; i < end; i++)
                    for (int64_t k = 0; k < a->repeat; k++) dx[from + i * a->stride] += *d++;
        }
}
