/* Max and average pooling, NHWC. Loops: image, output row, output column, block of channels, tap; the block
 * is the vector and stays in registers over the taps. Max pooling keeps the winning tap as a byte, in which
 * ReLU's and dropout's zeros are also noted, so that its backward reads bytes instead of the input. Where
 * windows do not overlap, backward writes each input element once; else it clears and adds. Serial: the caller
 * slices the batch. */
#include <string.h>

#include "internal.h"
#include "lanes.h"

/* Taps of output o that fall on the input: [*first, *last). */
static void taps(int64_t o, int64_t stride, int64_t pad, int64_t pool, int64_t in, int64_t *first,
                 int64_t *last)
{
    int64_t start = o * stride - pad;
    *first = start < 0 ? -start : 0;
    *last = start + pool > in ? in - start : pool;
}

/* The taps of one window that fall on the image. */
typedef struct {
    const float *origin; /* of tap (0, 0), perhaps outside the image */
    int64_t kh0, kh1, kw0, kw1;
    const uint64_t *bits; /* of this image's outputs, or NULL */
    int64_t at;           /* index of the window's first output in them */
    float scale;
} window;

static void max_block(const nn_pool *p, const window *w, int64_t c, float *y, uint8_t *which)
{
    const float *x = w->origin + c;
    lanes best = load(x + (w->kh0 * p->in_w + w->kw0) * p->channels);
    indices index = (indices){0} + (int32_t)(w->kh0 * p->pool_w + w->kw0);
    for (int64_t kh = w->kh0; kh < w->kh1; kh++)
        for (int64_t kw = w->kw0; kw < w->kw1; kw++) {
            lanes tap = load(x + (kh * p->in_w + kw) * p->channels);
            indices larger = tap > best;
            best = pick(larger, tap, best);
            index = pick_index(larger, (indices){0} + (int32_t)(kh * p->pool_w + kw), index);
        }
    indices keep = (indices){0} == 0;
    if (p->relu) keep = best > (lanes){0};
    if (w->bits != NULL) keep &= bits_to_mask(bits_at(w->bits, w->at + c));
    if (p->relu || w->bits != NULL) best = (lanes)(keep & (indices)(best * w->scale));
    store(y + c, best);
    if (which != NULL) {
        bytes b = __builtin_convertvector(pick_index(keep, index, (indices){0} + NN_POOL_NONE), bytes);
        memcpy(which + c, &b, sizeof b);
    }
}

static void max_one(const nn_pool *p, const window *w, int64_t c, float *y, uint8_t *which)
{
    float best = w->origin[(w->kh0 * p->in_w + w->kw0) * p->channels + c];
    int64_t index = w->kh0 * p->pool_w + w->kw0, i = w->at + c;
    for (int64_t kh = w->kh0; kh < w->kh1; kh++)
        for (int64_t kw = w->kw0; kw < w->kw1; kw++) {
            float tap = w->origin[(kh * p->in_w + kw) * p->channels + c];
            if (tap > best) {
                best = tap;
                index = kh * p->pool_w + kw;
            }
        }
    bool keep = !(p->relu && !(best > 0)) && (w->bits == NULL || w->bits[i / 64] >> (i % 64) & 1);
    y[c] = keep ? best * w->scale : 0;
    if (which != NULL) which[c] = (uint8_t)(keep ? index : NN_POOL_NONE);
}

void nn_max_pool(const nn_pool *p, int64_t images, const float *x, const uint64_t *bits, float scale, float *y,
                 uint8_t *argmax)
{
    int64_t channels = p->channels, in = p->in_h * p->in_w * channels, out = p->out_h * p->out_w * channels;
    window w = {.scale = bits != NULL ? scale : 1};
    for (int64_t n = 0; n < images; n++)
        for (int64_t oh = 0; oh < p->out_h; oh++)
            for (int64_t ow = 0; ow < p->out_w; ow++) {
                taps(oh, p->stride_h, p->pad_top, p->pool_h, p->in_h, &w.kh0, &w.kh1);
                taps(ow, p->stride_w, p->pad_left, p->pool_w, p->in_w, &w.kw0, &w.kw1);
                int64_t origin = (oh * p->stride_h - p->pad_top) * p->in_w + ow * p->stride_w - p->pad_left,
                        c = 0;
                w.origin = x + n * in + origin * channels;
                w.bits = bits == NULL ? NULL : bits + n * nn_dropout_words(out);
                w.at = (oh * p->out_w + ow) * channels;
                float *to = y + n * out + w.at;
                uint8_t *which = argmax == NULL ? NULL : argmax + n * out + w.at;
                for (; c + LANES <= channels; c += LANES) max_block(p, &w, c, to, which);
                for (; c < channels; c++) max_one(p, &w, c, to, which);
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

/* The gradient of one window: dy where the tap won, else nothing. */
static void spread(const nn_pool *p, const window *w, const float *dy, const uint8_t *argmax, bool overwrite,
                   float *dx)
{
    int64_t c = 0;
    for (; c + LANES <= p->channels; c += LANES) {
        bytes b;
        memcpy(&b, argmax + c, sizeof b);
        indices index = __builtin_convertvector(b, indices);
        lanes d = load(dy + c) * w->scale;
        for (int64_t kh = w->kh0; kh < w->kh1; kh++)
            for (int64_t kw = w->kw0; kw < w->kw1; kw++) {
                float *to = dx + (kh * p->in_w + kw) * p->channels + c;
                lanes share = (lanes)((index == (int32_t)(kh * p->pool_w + kw)) & (indices)d);
                store(to, overwrite ? share : load(to) + share);
            }
    }
    for (; c < p->channels; c++)
        for (int64_t kh = w->kh0; kh < w->kh1; kh++)
            for (int64_t kw = w->kw0; kw < w->kw1; kw++) {
                float *to = dx + (kh * p->in_w + kw) * p->channels + c;
                float share = argmax[c] == kh * p->pool_w + kw ? dy[c] * w->scale : 0;
                *to = overwrite ? share : *to + share;
            }
}

void nn_max_pool_backward(const nn_pool *p, int64_t images, const float *dy, const uint8_t *argmax, float scale,
                          float *dx)
{
    int64_t channels = p->channels, in = p->in_h * p->in_w * channels;
    window w = {.scale = scale};
    for (int64_t n = 0; n < images; n++, dx += in) {
        bool overwrite = prepare(p, dx);
        for (int64_t oh = 0; oh < p->out_h; oh++)
            for (int64_t ow = 0; ow < p->out_w; ow++, dy += channels, argmax += channels) {
                taps(oh, p->stride_h, p->pad_top, p->pool_h, p->in_h, &w.kh0, &w.kh1);
                taps(ow, p->stride_w, p->pad_left, p->pool_w, p->in_w, &w.kw0, &w.kw1);
                int64_t origin = (oh * p->stride_h - p->pad_top) * p->in_w + ow * p->stride_w - p->pad_left;
                spread(p, &w, dy, argmax, overwrite, dx + origin * channels);
            }
    }
}

void nn_average_pool(const nn_pool *p, int64_t images, const float *x, float *y)
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

void nn_average_pool_backward(const nn_pool *p, int64_t images, const float *dy, float *dx)
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
