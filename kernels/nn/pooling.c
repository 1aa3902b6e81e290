/* Max and average pooling, NHWC. Loops: image, window, block of channels, tap; the block is the vector and stays
 * in registers over the taps. Max pooling keeps the winning tap as a byte, in which ReLU's and dropout's zeros
 * are also noted, so that its backward reads bytes instead of the input. Where windows do not overlap, backward
 * writes each input element once; else it clears and adds. Serial: the caller slices the batch. */
#include <string.h>

#include "internal.h"
#include "lanes.h"

/* One window: its taps that fall on the image, [from, to) along each axis. */
typedef struct {
    int64_t place[CONV_AXES], from[CONV_AXES], to[CONV_AXES];
    int64_t origin;       /* of tap (0, 0, 0) in the image, elements; perhaps outside of it */
    const uint64_t *bits; /* of this image's outputs, or NULL */
    int64_t at;           /* index of the window's first output in them */
    float scale;
} window;

/* A tap's index in the window, and its distance from the first one's element. */
static inline int64_t tap_index(const nn_pool *p, int64_t kd, int64_t kh, int64_t kw)
{
    return (kd * p->axis[CONV_H].kernel + kh) * p->axis[CONV_W].kernel + kw;
}

static inline int64_t tap_offset(const nn_pool *p, int64_t kd, int64_t kh, int64_t kw)
{
    return ((kd * p->axis[CONV_H].in + kh) * p->axis[CONV_W].in + kw) * p->channels;
}

/* Floats of one image, and of what it is pooled to. */
static int64_t image_count(const nn_pool *p) { return tap_offset(p, p->axis[CONV_D].in, 0, 0); }
static int64_t pooled_count(const nn_pool *p)
{
    return p->out[CONV_D] * p->out[CONV_H] * p->out[CONV_W] * p->channels;
}

/* To place `to` along axis i. */
static inline void window_move(window *w, const nn_pool *p, int i, int64_t to)
{
    const conv_axis *a = &p->axis[i];
    int64_t start = to * a->stride - a->pad_before;
    w->place[i] = to;
    w->from[i] = start < 0 ? -start : 0;
    w->to[i] = start + a->kernel > a->in ? a->in - start : a->kernel;
}

static inline void window_locate(window *w, const nn_pool *p)
{
    int64_t start[CONV_AXES];
    for (int i = 0; i < CONV_AXES; i++) start[i] = w->place[i] * p->axis[i].stride - p->axis[i].pad_before;
    w->origin = tap_offset(p, start[CONV_D], start[CONV_H], start[CONV_W]);
}

/* To the image's first window. */
static void window_start(window *w, const nn_pool *p)
{
    for (int i = 0; i < CONV_AXES; i++) window_move(w, p, i, 0);
    window_locate(w, p);
    w->at = 0;
}

/* To the next; false after the last. */
static inline bool window_next(window *w, const nn_pool *p)
{
    int i = CONV_W;
    while (i >= 0 && w->place[i] + 1 == p->out[i]) window_move(w, p, i--, 0);
    if (i < 0) return false;
    window_move(w, p, i, w->place[i] + 1);
    window_locate(w, p);
    w->at += p->channels;
    return true;
}

static inline void max_block(const nn_pool *p, const window *w, const float *x, float *y, uint8_t *which,
                             int64_t c)
{
    const int64_t *from = w->from, *to = w->to;
    x += c;
    lanes best = load(x + tap_offset(p, from[CONV_D], from[CONV_H], from[CONV_W]));
    indices index = (indices){0} + (int32_t)tap_index(p, from[CONV_D], from[CONV_H], from[CONV_W]);
    for (int64_t kd = from[CONV_D]; kd < to[CONV_D]; kd++)
        for (int64_t kh = from[CONV_H]; kh < to[CONV_H]; kh++)
            for (int64_t kw = from[CONV_W]; kw < to[CONV_W]; kw++) {
                lanes tap = load(x + tap_offset(p, kd, kh, kw));
                indices larger = tap > best;
                best = pick(larger, tap, best);
                index = pick_index(larger, (indices){0} + (int32_t)tap_index(p, kd, kh, kw), index);
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
    const int64_t *from = w->from, *to = w->to;
    float best = x[tap_offset(p, from[CONV_D], from[CONV_H], from[CONV_W]) + c];
    int64_t index = tap_index(p, from[CONV_D], from[CONV_H], from[CONV_W]), i = w->at + c;
    for (int64_t kd = from[CONV_D]; kd < to[CONV_D]; kd++)
        for (int64_t kh = from[CONV_H]; kh < to[CONV_H]; kh++)
            for (int64_t kw = from[CONV_W]; kw < to[CONV_W]; kw++) {
                float tap = x[tap_offset(p, kd, kh, kw) + c];
                if (tap > best) {
                    best = tap;
                    index = tap_index(p, kd, kh, kw);
                }
            }
    bool keep = !(p->relu && !(best > 0)) && (w->bits == NULL || w->bits[i / 64] >> (i % 64) & 1);
    y[c] = keep ? best * w->scale : 0;
    if (which != NULL) which[c] = (uint8_t)(keep ? index : NN_POOL_NONE);
}

void nn_max_pool(const nn_pool *p, int64_t images, const float *x, const nn_pool_output *out)
{
    int64_t channels = p->channels, in = image_count(p), count = pooled_count(p);
    window w = {.scale = out->bits != NULL ? out->scale : 1};
    for (int64_t n = 0; n < images; n++, x += in) {
        window_start(&w, p);
        w.bits = out->bits == NULL ? NULL : out->bits + n * nn_dropout_words(count);
        do {
            float *y = out->y + n * count + w.at;
            uint8_t *which = out->argmax == NULL ? NULL : out->argmax + n * count + w.at;
            int64_t c = 0;
            for (; c + LANES <= channels; c += LANES) max_block(p, &w, x + w.origin, y, which, c);
            for (; c < channels; c++) max_one(p, &w, x + w.origin, y, which, c);
        } while (window_next(&w, p));
    }
}

/* Clears what no window writes beyond the last ones, where windows stand side by side. */
static void clear_uncovered(const nn_pool *p, float *dx)
{
    int64_t covered[CONV_AXES];
    for (int i = 0; i < CONV_AXES; i++) covered[i] = p->out[i] * p->axis[i].stride - p->axis[i].pad_before;
    for (int64_t d = 0; d < p->axis[CONV_D].in; d++)
        for (int64_t h = 0; h < p->axis[CONV_H].in; h++) {
            int64_t from = d < covered[CONV_D] && h < covered[CONV_H] ? covered[CONV_W] : 0;
            if (from < p->axis[CONV_W].in)
                memset(dx + tap_offset(p, d, h, from), 0,
                       (size_t)((p->axis[CONV_W].in - from) * p->channels) * sizeof *dx);
        }
}

/* Prepares one image's gradient; returns whether windows overwrite, each input element belonging to at most one
 * of them (true), or add (false). */
static bool prepare(const nn_pool *p, float *dx)
{
    bool tiling = true, disjoint = true;
    for (int i = 0; i < CONV_AXES; i++) {
        tiling = tiling && p->axis[i].stride == p->axis[i].kernel;
        disjoint = disjoint && p->axis[i].stride >= p->axis[i].kernel;
    }
    if (tiling)
        clear_uncovered(p, dx);
    else
        memset(dx, 0, (size_t)image_count(p) * sizeof *dx);
    return disjoint;
}

/* The gradient of one window: dy where the tap won, else nothing. */
static void spread(const nn_pool *p, const window *w, const float *dy, const uint8_t *argmax, bool overwrite,
                   float *dx)
{
    const int64_t *from = w->from, *end = w->to;
    int64_t c = 0;
    for (; c + LANES <= p->channels; c += LANES) {
        bytes b;
        memcpy(&b, argmax + c, sizeof b);
        indices index = __builtin_convertvector(b, indices);
        lanes d = load(dy + c) * w->scale;
        for (int64_t kd = from[CONV_D]; kd < end[CONV_D]; kd++)
            for (int64_t kh = from[CONV_H]; kh < end[CONV_H]; kh++)
                for (int64_t kw = from[CONV_W]; kw < end[CONV_W]; kw++) {
                    float *to = dx + tap_offset(p, kd, kh, kw) + c;
                    lanes share = (lanes)((index == (int32_t)tap_index(p, kd, kh, kw)) & (indices)d);
                    store(to, overwrite ? share : load(to) + share);
                }
    }
    for (; c < p->channels; c++)
        for (int64_t kd = from[CONV_D]; kd < end[CONV_D]; kd++)
            for (int64_t kh = from[CONV_H]; kh < end[CONV_H]; kh++)
                for (int64_t kw = from[CONV_W]; kw < end[CONV_W]; kw++) {
                    float *to = dx + tap_offset(p, kd, kh, kw) + c;
                    float share = argmax[c] == tap_index(p, kd, kh, kw) ? dy[c] * w->scale : 0;
                    *to = overwrite ? share : *to + share;
                }
}

void nn_max_pool_backward(const nn_pool *p, int64_t images, const nn_pool_diff *diff, float *dx)
{
    int64_t in = image_count(p), count = pooled_count(p);
    window w = {.scale = diff->scale};
    for (int64_t n = 0; n < images; n++, dx += in) {
        const float *dy = diff->dy + n * count;
        const uint8_t *argmax = diff->argmax + n * count;
        bool overwrite = prepare(p, dx);
        window_start(&w, p);
        do spread(p, &w, dy + w.at, argmax + w.at, overwrite, dx + w.origin);
        while (window_next(&w, p));
    }
}

static float share_of(const window *w)
{
    int64_t taps = 1;
    for (int i = 0; i < CONV_AXES; i++) taps *= w->to[i] - w->from[i];
    return 1.0f / (float)taps;
}

/* y[channels], one window's mean. */
static void average_one(const nn_pool *p, const window *w, const float *x, float *y)
{
    float share = share_of(w);
    memset(y, 0, (size_t)p->channels * sizeof *y);
    for (int64_t kd = w->from[CONV_D]; kd < w->to[CONV_D]; kd++)
        for (int64_t kh = w->from[CONV_H]; kh < w->to[CONV_H]; kh++)
            for (int64_t kw = w->from[CONV_W]; kw < w->to[CONV_W]; kw++) {
                const float *tap = x + tap_offset(p, kd, kh, kw);
#pragma omp simd
                for (int64_t c = 0; c < p->channels; c++) y[c] += tap[c];
            }
    for (int64_t c = 0; c < p->channels; c++) y[c] *= share;
}

void nn_average_pool(const nn_pool *p, int64_t images, const float *x, float *y)
{
    int64_t in = image_count(p), count = pooled_count(p);
    window w;
    for (int64_t n = 0; n < images; n++, x += in, y += count) {
        window_start(&w, p);
        do average_one(p, &w, x + w.origin, y + w.at);
        while (window_next(&w, p));
    }
}

/* dy[channels], shared out among one window's taps. */
static void share_out(const nn_pool *p, const window *w, const float *dy, bool overwrite, float *dx)
{
    float share = share_of(w);
    for (int64_t kd = w->from[CONV_D]; kd < w->to[CONV_D]; kd++)
        for (int64_t kh = w->from[CONV_H]; kh < w->to[CONV_H]; kh++)
            for (int64_t kw = w->from[CONV_W]; kw < w->to[CONV_W]; kw++) {
                float *to = dx + tap_offset(p, kd, kh, kw);
                if (overwrite)
#pragma omp simd
                    for (int64_t c = 0; c < p->channels; c++) to[c] = dy[c] * share;
                else
#pragma omp simd
                    for (int64_t c = 0; c < p->channels; c++) to[c] += dy[c] * share;
            }
}

void nn_average_pool_backward(const nn_pool *p, int64_t images, const float *dy, float *dx)
{
    int64_t in = image_count(p), count = pooled_count(p);
    window w;
    for (int64_t n = 0; n < images; n++, dx += in, dy += count) {
        bool overwrite = prepare(p, dx);
        window_start(&w, p);
        do share_out(p, &w, dy + w.at, overwrite, dx + w.origin);
        while (window_next(&w, p));
    }
}
