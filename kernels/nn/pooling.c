/* Max and average pooling, NHWC. Loops: image, output row, output column, tap, channel; the channel loop is the
 * vector. Max pooling keeps the winning tap as a byte, in which ReLU's and dropout's zeros are also noted, so
 * that its backward reads bytes instead of the input. Where windows do not overlap, backward writes each input
 * element once; else it clears and adds. Serial: the caller slices the batch. */
#include <float.h>
#include <math.h>
#include <string.h>

#include "internal.h"

/* Taps of output o that fall on the input: [*first, *last). */
static void taps(int64_t o, int64_t stride, int64_t pad, int64_t pool, int64_t in, int64_t *first,
                 int64_t *last)
{
    int64_t start = o * stride - pad;
    *first = start < 0 ? -start : 0;
    *last = start + pool > in ? in - start : pool;
}

/* One output position: y[c], and which[c] unless NULL. x is the window's origin, perhaps outside the image. */
static void window_max(const nn_pool *p, const float *x, int64_t kh0, int64_t kh1, int64_t kw0, int64_t kw1,
                       float *restrict y, uint8_t *restrict which)
{
    int64_t channels = p->channels;
    const float *first = x + (kh0 * p->in_w + kw0) * channels;
    memcpy(y, first, (size_t)channels * sizeof *y);
    if (which != NULL) memset(which, (int)(kh0 * p->pool_w + kw0), (size_t)channels);
    for (int64_t kh = kh0; kh < kh1; kh++)
        for (int64_t kw = kw0; kw < kw1; kw++) {
            const float *tap = x + (kh * p->in_w + kw) * channels;
            uint8_t index = (uint8_t)(kh * p->pool_w + kw);
            if (tap == first) continue;
            if (which == NULL) {
#pragma omp simd
                for (int64_t c = 0; c < channels; c++) y[c] = tap[c] > y[c] ? tap[c] : y[c];
            } else {
#pragma omp simd
                for (int64_t c = 0; c < channels; c++) {
                    bool larger = tap[c] > y[c];
                    y[c] = larger ? tap[c] : y[c];
                    which[c] = larger ? index : which[c];
                }
            }
        }
    if (p->relu) {
        if (which != NULL)
            for (int64_t c = 0; c < channels; c++) which[c] = y[c] > 0 ? which[c] : NN_POOL_NONE;
        for (int64_t c = 0; c < channels; c++) y[c] = y[c] > 0 ? y[c] : 0;
    }
}

static void drop(int64_t count, const uint64_t *bits, float scale, float *restrict y, uint8_t *restrict which)
{
    for (int64_t i = 0; i < count; i += 64) {
        uint64_t word = bits[i / 64];
        int64_t n = count - i < 64 ? count - i : 64;
#pragma omp simd
        for (int64_t j = 0; j < n; j++) y[i + j] = (word >> j & 1) ? y[i + j] * scale : 0;
        if (which != NULL)
#pragma omp simd
            for (int64_t j = 0; j < n; j++) which[i + j] = (word >> j & 1) ? which[i + j] : NN_POOL_NONE;
    }
}

void ISA_NAME(nn_max_pool)(const nn_pool *p, int64_t images, const float *x, const uint64_t *bits, float scale,
                           float *y, uint8_t *argmax)
{
    int64_t in = p->in_h * p->in_w * p->channels, out = p->out_h * p->out_w * p->channels;
    for (int64_t n = 0; n < images; n++) {
        float *to = y + n * out;
        uint8_t *which = argmax == NULL ? NULL : argmax + n * out;
        for (int64_t oh = 0; oh < p->out_h; oh++)
            for (int64_t ow = 0; ow < p->out_w; ow++) {
                int64_t kh0, kh1, kw0, kw1, at = (oh * p->out_w + ow) * p->channels;
                taps(oh, p->stride_h, p->pad_top, p->pool_h, p->in_h, &kh0, &kh1);
                taps(ow, p->stride_w, p->pad_left, p->pool_w, p->in_w, &kw0, &kw1);
                int64_t origin = (oh * p->stride_h - p->pad_top) * p->in_w + ow * p->stride_w - p->pad_left;
                window_max(p, x + n * in + origin * p->channels, kh0, kh1, kw0, kw1, to + at,
                           which == NULL ? NULL : which + at);
            }
        if (bits != NULL) drop(out, bits + n * nn_dropout_words(out), scale, to, which);
    }
}

/* Whether every input element belongs to at most one window. */
static bool disjoint(const nn_pool *p) { return p->stride_h >= p->pool_h && p->stride_w >= p->pool_w; }

/* Whether windows cover every input element: then nothing need be cleared. */
static bool covering(const nn_pool *p)
{
    return p->stride_h == p->pool_h && p->stride_w == p->pool_w &&
           p->out_h * p->stride_h - p->pad_top >= p->in_h && p->out_w * p->stride_w - p->pad_left >= p->in_w;
}

/* Clears what no window writes below and to the right, and leaves the rest to the windows. */
static void clear_uncovered(const nn_pool *p, float *dx)
{
    int64_t rows = p->out_h * p->stride_h - p->pad_top, columns = p->out_w * p->stride_w - p->pad_left;
    for (int64_t h = 0; h < p->in_h; h++) {
        int64_t from = h < rows ? columns : 0;
        if (from < p->in_w)
            memset(dx + (h * p->in_w + from) * p->channels, 0,
                   (size_t)((p->in_w - from) * p->channels) * sizeof *dx);
    }
}

/* Prepares one image's gradient; returns whether windows overwrite (true) or add (false). */
static bool prepare(const nn_pool *p, float *dx)
{
    bool tiling = p->stride_h == p->pool_h && p->stride_w == p->pool_w;
    if (!tiling)
        memset(dx, 0, (size_t)(p->in_h * p->in_w * p->channels) * sizeof *dx);
    else if (!covering(p))
        clear_uncovered(p, dx);
    return disjoint(p);
}

void ISA_NAME(nn_max_pool_backward)(const nn_pool *p, int64_t images, const float *dy, const uint8_t *argmax,
                                    float scale, float *dx)
{
    int64_t channels = p->channels, in = p->in_h * p->in_w * channels;
    for (int64_t n = 0; n < images; n++, dx += in) {
        bool overwrite = prepare(p, dx);
        for (int64_t oh = 0; oh < p->out_h; oh++)
            for (int64_t ow = 0; ow < p->out_w; ow++, dy += channels, argmax += channels) {
                int64_t kh0, kh1, kw0, kw1;
                taps(oh, p->stride_h, p->pad_top, p->pool_h, p->in_h, &kh0, &kh1);
                taps(ow, p->stride_w, p->pad_left, p->pool_w, p->in_w, &kw0, &kw1);
                int64_t origin = (oh * p->stride_h - p->pad_top) * p->in_w + ow * p->stride_w - p->pad_left;
                for (int64_t kh = kh0; kh < kh1; kh++)
                    for (int64_t kw = kw0; kw < kw1; kw++) {
                        float *to = dx + (origin + kh * p->in_w + kw) * channels;
                        uint8_t index = (uint8_t)(kh * p->pool_w + kw);
                        if (overwrite)
#pragma omp simd
                            for (int64_t c = 0; c < channels; c++)
                                to[c] = argmax[c] == index ? dy[c] * scale : 0;
                        else
#pragma omp simd
                            for (int64_t c = 0; c < channels; c++)
                                to[c] += argmax[c] == index ? dy[c] * scale : 0;
                    }
            }
    }
}

void ISA_NAME(nn_average_pool)(const nn_pool *p, int64_t images, const float *x, float *y)
{
    int64_t channels = p->channels, in = p->in_h * p->in_w * channels;
    for (int64_t n = 0; n < images; n++, x += in)
        for (int64_t oh = 0; oh < p->out_h; oh++)
            for (int64_t ow = 0; ow < p->out_w; ow++, y += channels) {
                int64_t kh0, kh1, kw0, kw1;
                taps(oh, p->stride_h, p->pad_top, p->pool_h, p->in_h, &kh0, &kh1);
                taps(ow, p->stride_w, p->pad_left, p->pool_w, p->in_w, &kw0, &kw1);
                int64_t origin = (oh * p->stride_h - p->pad_top) * p->in_w + ow * p->stride_w - p->pad_left;
                memset(y, 0, (size_t)channels * sizeof *y);
                for (int64_t kh = kh0; kh < kh1; kh++)
                    for (int64_t kw = kw0; kw < kw1; kw++) {
                        const float *tap = x + (origin + kh * p->in_w + kw) * channels;
#pragma omp simd
                        for (int64_t c = 0; c < channels; c++) y[c] += tap[c];
                    }
                float share = 1.0f / (float)((kh1 - kh0) * (kw1 - kw0));
                for (int64_t c = 0; c < channels; c++) y[c] *= share;
            }
}

void ISA_NAME(nn_average_pool_backward)(const nn_pool *p, int64_t images, const float *dy, float *dx)
{
    int64_t channels = p->channels, in = p->in_h * p->in_w * channels;
    for (int64_t n = 0; n < images; n++, dx += in) {
        bool overwrite = prepare(p, dx);
        for (int64_t oh = 0; oh < p->out_h; oh++)
            for (int64_t ow = 0; ow < p->out_w; ow++, dy += channels) {
                int64_t kh0, kh1, kw0, kw1;
                taps(oh, p->stride_h, p->pad_top, p->pool_h, p->in_h, &kh0, &kh1);
                taps(ow, p->stride_w, p->pad_left, p->pool_w, p->in_w, &kw0, &kw1);
                int64_t origin = (oh * p->stride_h - p->pad_top) * p->in_w + ow * p->stride_w - p->pad_left;
                float share = 1.0f / (float)((kh1 - kh0) * (kw1 - kw0));
                for (int64_t kh = kh0; kh < kh1; kh++)
                    for (int64_t kw = kw0; kw < kw1; kw++) {
                        float *to = dx + (origin + kh * p->in_w + kw) * channels;
                        if (overwrite)
#pragma omp simd
                            for (int64_t c = 0; c < channels; c++) to[c] = dy[c] * share;
                        else
#pragma omp simd
                            for (int64_t c = 0; c < channels; c++) to[c] += dy[c] * share;
                    }
            }
    }
}
