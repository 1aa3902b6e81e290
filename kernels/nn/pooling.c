/* Max and average pooling, NHWC. Loops: image, window, block of channels, tap; the block is the vector and stays
 * in registers over the taps. Max pooling keeps the winning tap as a byte, in which ReLU's and dropout's zeros
 * are also noted, so that its backward reads bytes instead of the input. Where windows do not overlap, backward
 * writes each input element once; else it clears and adds. Serial: the caller slices the batch. */
#include <string.h>

#include "../util.h"
#include "internal.h"
#include "lanes.h"

/* One window, and a list of its taps that fall on the image, [from, to) along each axis: the list is the same
 * for all windows that lie within. Of an average's taps it holds as many as there is room for. */
typedef struct {
    int64_t place[CONV_AXES], start[CONV_AXES]; /* which output, and where its tap 0 lies, perhaps outside */
    int64_t from[CONV_AXES], to[CONV_AXES];
    int64_t origin; /* of tap (0, 0, 0) in the image, elements */
    int64_t at;     /* index of the output's first element */
    int64_t taps;   /* on the image, of which `count` are listed from number `first` on; first < 0: none are */
    int64_t first, count;
    float share;                        /* 1 / taps */
    int64_t offset[NN_POOL_WINDOW_MAX]; /* from tap (0, 0, 0), elements */
    int32_t index[NN_POOL_WINDOW_MAX];  /* in the window */
} window;

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

/* To output `place` along axis i. */
static inline void window_move(window *w, const nn_pool *p, int i, int64_t place)
{
    const conv_axis *a = &p->axis[i];
    int64_t start = place * a->stride - a->pad_before, from = start < 0 ? -start : 0,
            to = min64(a->in - start, a->kernel);
    w->place[i] = place;
    w->start[i] = start;
    if (from == w->from[i] && to == w->to[i]) return;
    w->from[i] = from;
    w->to[i] = to;
    w->first = -1;
}

/* To the image's first window. */
static void window_start(window *w, const nn_pool *p)
{
    for (int i = 0; i < CONV_AXES; i++) window_move(w, p, i, 0);
    w->origin = tap_offset(p, w->start[CONV_D], w->start[CONV_H], w->start[CONV_W]);
    w->at = 0;
}

/* To the next; false after the last. */
static inline bool window_next(window *w, const nn_pool *p)
{
    w->at += p->channels;
    if (w->place[CONV_W] + 1 < p->out[CONV_W]) {
        window_move(w, p, CONV_W, w->place[CONV_W] + 1);
        w->origin += p->axis[CONV_W].stride * p->channels;
        return true;
    }
    int i = CONV_W;
    while (i >= 0 && w->place[i] + 1 == p->out[i]) window_move(w, p, i--, 0);
    if (i < 0) return false;
    window_move(w, p, i, w->place[i] + 1);
    w->origin = tap_offset(p, w->start[CONV_D], w->start[CONV_H], w->start[CONV_W]);
    return true;
}

static __attribute__((noinline)) void list_from(window *w, const nn_pool *p, int64_t first)
{
    int64_t rows = w->to[CONV_H] - w->from[CONV_H], columns = w->to[CONV_W] - w->from[CONV_W];
    w->taps = (w->to[CONV_D] - w->from[CONV_D]) * rows * columns;
    w->share = 1.0f / (float)w->taps;
    w->first = first;
    w->count = min64(w->taps - first, NN_POOL_WINDOW_MAX);
    for (int64_t i = 0; i < w->count; i++) {
        int64_t row = (first + i) / columns, kd = w->from[CONV_D] + row / rows,
                kh = w->from[CONV_H] + row % rows, kw = w->from[CONV_W] + (first + i) % columns;
        w->index[i] = (int32_t)((kd * p->axis[CONV_H].kernel + kh) * p->axis[CONV_W].kernel + kw);
        w->offset[i] = tap_offset(p, kd, kh, kw);
    }
}

/* Taps from number `first` on are to be in the list. */
static inline void window_list(window *w, const nn_pool *p, int64_t first)
{
    if (w->first != first) list_from(w, p, first);
}

/* What becomes of a window's largest. */
typedef struct {
    bool relu;
    const uint64_t *bits; /* of this image's outputs, or NULL */
    float scale, *y;
    uint8_t *which;
} max_output;

static inline void max_block(const window *w, const max_output *out, const float *x, int64_t c)
{
    lanes best = load(x + w->offset[0] + c);
    indices index = (indices){0} + w->index[0];
    for (int64_t t = 1; t < w->count; t++) {
        lanes tap = load(x + w->offset[t] + c);
        indices larger = tap > best;
        best = pick(larger, tap, best);
        index = pick_index(larger, (indices){0} + w->index[t], index);
    }
    indices keep = (indices){0} == 0;
    if (out->relu) keep = best > (lanes){0};
    if (out->bits != NULL) keep &= bits_to_mask(bits_at(out->bits, w->at + c));
    if (out->relu || out->bits != NULL) best = (lanes)(keep & (indices)(best * out->scale));
    store(out->y + c, best);
    if (out->which != NULL) store_bytes(out->which + c, pick_index(keep, index, (indices){0} + NN_POOL_NONE));
}

static inline void max_one(const window *w, const max_output *out, const float *x, int64_t c)
{
    int64_t best = 0, i = w->at + c;
    for (int64_t t = 1; t < w->count; t++)
        if (x[w->offset[t] + c] > x[w->offset[best] + c]) best = t;
    float largest = x[w->offset[best] + c];
    bool keep = !(out->relu && !(largest > 0)) && (out->bits == NULL || out->bits[i / 64] >> (i % 64) & 1);
    out->y[c] = keep ? largest * out->scale : 0;
    if (out->which != NULL) out->which[c] = (uint8_t)(keep ? w->index[best] : NN_POOL_NONE);
}

void nn_max_pool(const nn_pool *p, int64_t images, const float *x, const nn_pool_output *out)
{
    int64_t channels = p->channels, in = image_count(p), count = pooled_count(p);
    max_output to = {.relu = p->relu, .scale = out->bits != NULL ? out->scale : 1};
    window w = {.first = -1};
    for (int64_t n = 0; n < images; n++, x += in) {
        window_start(&w, p);
        to.bits = out->bits == NULL ? NULL : out->bits + n * nn_dropout_words(count);
        do {
            int64_t c = 0;
            window_list(&w, p, 0);
            to.y = out->y + n * count + w.at;
            to.which = out->argmax == NULL ? NULL : out->argmax + n * count + w.at;
            for (; c + LANES <= channels; c += LANES) max_block(&w, &to, x + w.origin, c);
            for (; c < channels; c++) max_one(&w, &to, x + w.origin, c);
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

/* The gradient of one window: dy[channels] where the tap won, else nothing. */
static inline void spread(const window *w, const nn_pool_diff *diff, int64_t channels, bool overwrite,
                          float *dx)
{
    int64_t c = 0;
    for (; c + LANES <= channels; c += LANES) {
        indices index = load_bytes(diff->argmax + w->at + c);
        lanes d = load(diff->dy + w->at + c) * diff->scale;
        for (int64_t t = 0; t < w->count; t++) {
            float *to = dx + w->offset[t] + c;
            lanes share = (lanes)((index == w->index[t]) & (indices)d);
            store(to, overwrite ? share : load(to) + share);
        }
    }
    for (; c < channels; c++)
        for (int64_t t = 0; t < w->count; t++) {
            float *to = dx + w->offset[t] + c;
            float share = diff->argmax[w->at + c] == w->index[t] ? diff->dy[w->at + c] * diff->scale : 0;
            *to = overwrite ? share : *to + share;
        }
}

void nn_max_pool_backward(const nn_pool *p, int64_t images, const nn_pool_diff *diff, float *dx)
{
    int64_t in = image_count(p), count = pooled_count(p);
    nn_pool_diff image = *diff;
    window w = {.first = -1};
    for (int64_t n = 0; n < images; n++, dx += in, image.dy += count, image.argmax += count) {
        bool overwrite = prepare(p, dx);
        window_start(&w, p);
        do {
            window_list(&w, p, 0);
            spread(&w, &image, p->channels, overwrite, dx + w.origin);
        } while (window_next(&w, p));
    }
}

/* y[channels], one window's mean. */
static inline void average_one(window *w, const nn_pool *p, const float *x, float *y)
{
    int64_t first = 0;
    memset(y, 0, (size_t)p->channels * sizeof *y);
    do {
        window_list(w, p, first);
        for (int64_t t = 0; t < w->count; t++) {
            const float *tap = x + w->offset[t];
#pragma omp simd
            for (int64_t c = 0; c < p->channels; c++) y[c] += tap[c];
        }
        first += w->count;
    } while (first < w->taps);
    for (int64_t c = 0; c < p->channels; c++) y[c] *= w->share;
}

void nn_average_pool(const nn_pool *p, int64_t images, const float *x, float *y)
{
    int64_t in = image_count(p), count = pooled_count(p);
    window w = {.first = -1};
    for (int64_t n = 0; n < images; n++, x += in, y += count) {
        window_start(&w, p);
        do average_one(&w, p, x + w.origin, y + w.at);
        while (window_next(&w, p));
    }
}

/* dy[channels], shared out among one window's taps. */
static inline void share_out(window *w, const nn_pool *p, const float *dy, bool overwrite, float *dx)
{
    int64_t first = 0, channels = p->channels;
    do {
        window_list(w, p, first);
        const float share = w->share;
        for (int64_t t = 0; t < w->count; t++) {
            float *to = dx + w->offset[t];
            if (overwrite)
#pragma omp simd
                for (int64_t c = 0; c < channels; c++) to[c] = dy[c] * share;
            else
#pragma omp simd
                for (int64_t c = 0; c < channels; c++) to[c] += dy[c] * share;
        }
        first += w->count;
    } while (first < w->taps);
}

void nn_average_pool_backward(const nn_pool *p, int64_t images, const float *dy, float *dx)
{
    int64_t in = image_count(p), count = pooled_count(p);
    window w = {.first = -1};
    for (int64_t n = 0; n < images; n++, dx += in, dy += count) {
        bool overwrite = prepare(p, dx);
        window_start(&w, p);
        do share_out(&w, p, dy + w.at, overwrite, dx + w.origin);
        while (window_next(&w, p));
    }
}
