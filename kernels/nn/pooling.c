/* Max and average pooling, NHWC. Loops: image, output row, output column, block of channels, tap; the block
 * is the vector and stays in registers over the taps. Max pooling keeps the winning tap as a byte, in which
 * ReLU's and dropout's zeros are also noted, so that its backward reads bytes instead of the input. Where
 * windows do not overlap, backward writes each input element once; else it clears and adds. Serial: the caller
 * slices the batch. */
#include <string.h>

#include "internal.h"
#include "lanes.h"

/* One window: its taps that fall on the image, [kh0, kh1) x [kw0, kw1). */
typedef struct {
    int64_t kh0, kh1, kw0, kw1;
    int64_t origin;       /* of tap (0, 0) in the image, elements; perhaps outside of it */
    const uint64_t *bits; /* of this image's outputs, or NULL */
    int64_t at;           /* index of the window's first output in them */
    float scale;
} window;

static void window_move(window *w, const nn_pool *p, int64_t oh, int64_t ow)
{
    int64_t h = oh * p->stride_h - p->pad_top, x = ow * p->stride_w - p->pad_left;
    w->kh0 = h < 0 ? -h : 0;
    w->kh1 = h + p->pool_h > p->in_h ? p->in_h - h : p->pool_h;
    w->kw0 = x < 0 ? -x : 0;
    w->kw1 = x + p->pool_w > p->in_w ? p->in_w - x : p->pool_w;
    w->origin = (h * p->in_w + x) * p->channels;
}

static void max_block(const nn_pool *p, const window *w, const float *x, float *y, uint8_t *which, int64_t c)
{
    x += c;
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

static void max_one(const nn_pool *p, const window *w, const float *x, float *y, uint8_t *which, int64_t c)
{
    float best = x[(w->kh0 * p->in_w + w->kw0) * p->channels + c];
    int64_t index = w->kh0 * p->pool_w + w->kw0, i = w->at + c;
    for (int64_t kh = w->kh0; kh < w->kh1; kh++)
        for (int64_t kw = w->kw0; kw < w->kw1; kw++) {
            float tap = x[(kh * p->in_w + kw) * p->channels + c];
            if (tap > best) {
                best = tap;
                index = kh * p->pool_w + kw;
            }
        }
    bool keep = !(p->relu && !(best > 0)) && (w->bits == NULL || w->bits[i / 64] >> (i % 64) & 1);
    y[c] = keep ? best * w->scale : 0;
    if (which != NULL) which[c] = (uint8_t)(keep ? index : NN_POOL_NONE);
}

void nn_max_pool(const nn_pool *p, int64_t images, const float *x, const nn_pool_output *out)
{
    int64_t channels = p->channels, in = p->in_h * p->in_w * channels, count = p->out_h * p->out_w * channels;
    window w = {.scale = out->bits != NULL ? out->scale : 1};
    for (int64_t n = 0; n < images; n++, x += in)
        for (int64_t oh = 0; oh < p->out_h; oh++)
            for (int64_t ow = 0; ow < p->out_w; ow++) {
                int64_t c = 0;
                window_move(&w, p, oh, ow);
                w.bits = out->bits == NULL ? NULL : out->bits + n * nn_dropout_words(count);
                w.at = (oh * p->out_w + ow) * channels;
                float *y = out->y + n * count + w.at;
                uint8_t *which = out->argmax == NULL ? NULL : out->argmax + n * count + w.at;
                for (; c + LANES <= channels; c += LANES) max_block(p, &w, x + w.origin, y, which, c);
                for (; c < channels; c++) max_one(p, &w, x + w.origin, y, which, c);
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

void nn_max_pool_backward(const nn_pool *p, int64_t images, const nn_pool_diff *diff, float *dx)
{
    int64_t channels = p->channels, in = p->in_h * p->in_w * channels;
    const float *dy = diff->dy;
    const uint8_t *argmax = diff->argmax;
    window w = {.scale = diff->scale};
    for (int64_t n = 0; n < images; n++, dx += in) {
        bool overwrite = prepare(p, dx);
        for (int64_t oh = 0; oh < p->out_h; oh++)
            for (int64_t ow = 0; ow < p->out_w; ow++, dy += channels, argmax += channels) {
                window_move(&w, p, oh, ow);
                spread(p, &w, dy, argmax, overwrite, dx + w.origin);
            }
    }
}

static float share_of(const window *w) { return 1.0f / (float)((w->kh1 - w->kh0) * (w->kw1 - w->kw0)); }

void nn_average_pool(const nn_pool *p, int64_t images, const float *x, float *y)
{
    int64_t channels = p->channels, in = p->in_h * p->in_w * channels;
    window w;
    for (int64_t n = 0; n < images; n++, x += in)
        for (int64_t oh = 0; oh < p->out_h; oh++)
            for (int64_t ow = 0; ow < p->out_w; ow++, y += channels) {
                window_move(&w, p, oh, ow);
                memset(y, 0, (size_t)channels * sizeof *y);
                for (int64_t kh = w.kh0; kh < w.kh1; kh++)
                    for (int64_t kw = w.kw0; kw < w.kw1; kw++) {
                        const float *tap = x + w.origin + (kh * p->in_w + kw) * channels;
#pragma omp simd
                        for (int64_t c = 0; c < channels; c++) y[c] += tap[c];
                    }
                float share = share_of(&w);
                for (int64_t c = 0; c < channels; c++) y[c] *= share;
            }
}

void nn_average_pool_backward(const nn_pool *p, int64_t images, const float *dy, float *dx)
{
    int64_t channels = p->channels, in = p->in_h * p->in_w * channels;
    window w;
    for (int64_t n = 0; n < images; n++, dx += in) {
        bool overwrite = prepare(p, dx);
        for (int64_t oh = 0; oh < p->out_h; oh++)
            for (int64_t ow = 0; ow < p->out_w; ow++, dy += channels) {
                window_move(&w, p, oh, ow);
                float share = share_of(&w);
                for (int64_t kh = w.kh0; kh < w.kh1; kh++)
                    for (int64_t kw = w.kw0; kw < w.kw1; kw++) {
                        float *to = dx + w.origin + (kh * p->in_w + kw) * channels;
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
