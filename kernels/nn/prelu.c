/* PReLU: ReLU whose slope below zero is learned, each element's or one that some axes share (He et al. 2015).
 * Loops: image, the axes of nn_prelu, outermost first. At 0 the derivative is 0, as Keras's. Serial. */
#include <string.h>

#include "internal.h"

enum { LAST = NN_PRELU_AXES - 1 };

static int64_t row_count(const nn_prelu *p) { return p->size[0] * p->size[1] * p->size[2]; }

/* Where the slopes of row r of an image begin. */
static inline int64_t row_slope(const nn_prelu *p, int64_t r)
{
    int64_t at = 0;
    for (int i = LAST - 1; i >= 0; r /= p->size[i--]) at += r % p->size[i] * p->stride[i];
    return at;
}

void nn_prelu_forward(const nn_prelu *p, int64_t images, const float *x, const float *alpha, float *y)
{
    int64_t rows = row_count(p), n = p->size[LAST];
    for (int64_t r = 0; r < images * rows; r++, x += n, y += n) {
        const float *a = alpha + row_slope(p, r % rows);
        if (p->stride[LAST] == 0)
#pragma omp simd
            for (int64_t i = 0; i < n; i++) y[i] = x[i] > 0 ? x[i] : a[0] * x[i];
        else
#pragma omp simd
            for (int64_t i = 0; i < n; i++) y[i] = x[i] > 0 ? x[i] : a[i] * x[i];
    }
}

static inline float slope(float x, float alpha) { return x > 0 ? 1 : x < 0 ? alpha : 0; }

static void data_gradient(const nn_prelu *p, int64_t images, const nn_prelu_diff *d, float *dx)
{
    int64_t rows = row_count(p), n = p->size[LAST];
    const float *x = d->x, *dy = d->dy;
    for (int64_t r = 0; r < images * rows; r++, x += n, dy += n, dx += n) {
        const float *a = d->alpha + row_slope(p, r % rows);
        if (p->stride[LAST] == 0)
#pragma omp simd
            for (int64_t i = 0; i < n; i++) dx[i] = dy[i] * slope(x[i], a[0]);
        else
#pragma omp simd
            for (int64_t i = 0; i < n; i++) dx[i] = dy[i] * slope(x[i], a[i]);
    }
}

void nn_prelu_backward(const nn_prelu *p, int64_t images, const nn_prelu_diff *d, float *dx, float *dalpha,
                       bool accumulate)
{
    int64_t rows = row_count(p), n = p->size[LAST];
    const float *x = d->x, *dy = d->dy;
    if (!accumulate) memset(dalpha, 0, (size_t)p->slopes * sizeof *dalpha);
    for (int64_t r = 0; r < images * rows; r++, x += n, dy += n) {
        float *a = dalpha + row_slope(p, r % rows), sum = 0;
        if (p->stride[LAST] == 0) {
#pragma omp simd reduction(+ : sum)
            for (int64_t i = 0; i < n; i++) sum += x[i] < 0 ? dy[i] * x[i] : 0;
            a[0] += sum;
        } else {
#pragma omp simd
            for (int64_t i = 0; i < n; i++) a[i] += x[i] < 0 ? dy[i] * x[i] : 0;
        }
    }
    if (dx != NULL) data_gradient(p, images, d, dx);
}
