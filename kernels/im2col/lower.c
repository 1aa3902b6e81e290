/* Copies between activations and blocks of the lowered matrix. The loops run tap by tap, because for one tap
 * the valid output positions of a row are an interval and the copies inside it need no tests. The adjoint
 * gathers: each task owns a stretch of diff_src, so nothing collides and the order of additions is fixed. */
#include "lower.h"

#include <string.h>

enum { STRETCH = 64 }; /* source columns per task of the adjoint */

static int64_t least(int64_t a, int64_t b) { return a < b ? a : b; }
static int64_t most(int64_t a, int64_t b) { return a > b ? a : b; }

lowering lower_describe(const conv_problem *p, int64_t g)
{
    lowering l = {.h = p->axis[CONV_H], .w = p->axis[CONV_W], .mb = p->mb, .ic = p->ic};
    l.oh = conv_out(&l.h);
    l.ow = conv_out(&l.w);
    l.channels = p->ic / p->groups;
    l.first = g * l.channels;
    return l;
}

typedef struct {
    int64_t from, end;
} interval;

static int64_t ceil_div(int64_t a, int64_t b) { return a >= 0 ? (a + b - 1) / b : -(-a / b); }

/* The outputs within `outputs` whose tap reads a source element in [in, in_end); empty ones lie within, too. */
static interval meeting(const conv_axis *a, int64_t tap, int64_t in, int64_t in_end, interval outputs)
{
    int64_t offset = tap * a->dilation - a->pad_before;
    interval i = {least(outputs.end, most(outputs.from, ceil_div(in - offset, a->stride))),
                  least(outputs.end, ceil_div(in_end - offset, a->stride))};
    if (i.end < i.from) i.end = i.from;
    return i;
}

static int64_t source(const conv_axis *a, int64_t out, int64_t tap)
{
    return out * a->stride - a->pad_before + tap * a->dilation;
}

/* Rows of channels: whole vectors in line, because a call of memcpy would cost more than most of them. */
static inline void copy(float *restrict to, const float *restrict from, int64_t count)
{
    enum { LINE = 16 };
    for (; count >= LINE; count -= LINE, to += LINE, from += LINE) memcpy(to, from, LINE * sizeof *to);
    for (int64_t i = 0; i < count; i++) to[i] = from[i];
}

static inline void zero(float *to, int64_t count)
{
    for (int64_t i = 0; i < count; i++) to[i] = 0;
}

static inline void add(float *restrict to, const float *restrict from, int64_t count)
{
#pragma omp simd
    for (int64_t i = 0; i < count; i++) to[i] += from[i];
}

/* ---- NHWC ------------------------------------------------------------------------------------------------ */

/* One tap, `count` channels from c, for pixels [x.from, x.end) of output row (n, y): rows of to, ld apart. */
static void lower_row(const lowering *l, int64_t n, int64_t y, interval x, int64_t kh, int64_t kw, int64_t c,
                      int64_t count, float *to, int64_t ld)
{
    int64_t iy = source(&l->h, y, kh);
    bool inside = iy >= 0 && iy < l->h.in;
    interval real = inside ? meeting(&l->w, kw, 0, l->w.in, x) : (interval){x.end, x.end};
    for (int64_t i = x.from; i < real.from; i++, to += ld) zero(to, count);
    for (int64_t i = real.from; i < real.end; i++, to += ld)
        copy(to, l->src + ((n * l->h.in + iy) * l->w.in + source(&l->w, i, kw)) * l->ic + l->first + c, count);
    for (int64_t i = real.end; i < x.end; i++, to += ld) zero(to, count);
}

void lower_nhwc(const void *matrix, int64_t pixel, int64_t pixels, int64_t column, int64_t columns, float *to,
                int64_t ld)
{
    const lowering *l = matrix;
    for (int64_t done = 0, count; done < columns; done += count) {
        int64_t tap = (column + done) / l->channels, c = (column + done) % l->channels;
        count = least(l->channels - c, columns - done);
        int64_t row = pixel / l->ow;
        interval x = {pixel % l->ow, 0};
        for (int64_t p = 0; p < pixels; p += x.end - x.from, x.from = 0, row++) {
            x.end = least(l->ow, x.from + pixels - p);
            lower_row(l, row / l->oh, row % l->oh, x, tap / l->w.kernel, tap % l->w.kernel, c, count,
                      to + p * ld + done, ld);
        }
    }
}

/* The part of output row (n, y) that lies in the block, as output columns. */
static interval block_columns(const lowering *l, const lowered_block *b, int64_t n, int64_t y)
{
    int64_t row = (n * l->oh + y) * l->ow;
    return (interval){most(0, b->pixel - row), least(l->ow, b->pixel + b->pixels - row)};
}

/* The output row that reads source row iy through tap kh; false if none does. */
static bool output_row(const lowering *l, int64_t iy, int64_t kh, int64_t *y)
{
    int64_t distance = iy + l->h.pad_before - kh * l->h.dilation;
    *y = distance / l->h.stride;
    return distance >= 0 && distance % l->h.stride == 0 && *y < l->oh;
}

/* Everything the block adds to diff_src[n][iy][ix .. ix_end). */
static void gather_nhwc(const lowering *l, const lowered_block *b, const float *col, int64_t ld, int64_t n,
                        int64_t iy, int64_t ix, int64_t ix_end, float *diff_src)
{
    int64_t first_tap = b->column / l->channels, last_tap = (b->column + b->columns - 1) / l->channels, y;
    for (int64_t tap = first_tap; tap <= last_tap; tap++) {
        if (!output_row(l, iy, tap / l->w.kernel, &y)) continue;
        int64_t kw = tap % l->w.kernel;
        int64_t c = most(0, b->column - tap * l->channels);
        int64_t c_end = least(l->channels, b->column + b->columns - tap * l->channels);
        interval x = meeting(&l->w, kw, ix, ix_end, block_columns(l, b, n, y));
        for (int64_t i = x.from; i < x.end; i++) {
            int64_t pixel = (n * l->oh + y) * l->ow + i;
            add(diff_src + ((n * l->h.in + iy) * l->w.in + source(&l->w, i, kw)) * l->ic + l->first + c,
                col + (pixel - b->pixel) * ld + tap * l->channels + c - b->column, c_end - c);
        }
    }
}

void lower_nhwc_add(const lowering *l, lowered_block block, const float *col, int64_t ld, float *diff_src,
                    int threads)
{
    int64_t image = l->oh * l->ow, last = block.pixel + block.pixels - 1;
    int64_t n_from = block.pixel / image, n_end = last / image + 1;
    interval rows = {0, l->h.in};
    if (n_end == n_from + 1) { /* within one image only the rows that its taps reach */
        rows.from = most(0, source(&l->h, block.pixel % image / l->ow, 0));
        rows.end = least(l->h.in, source(&l->h, last % image / l->ow, l->h.kernel - 1) + 1);
    }
#pragma omp parallel for collapse(3) schedule(static) num_threads(threads)
    for (int64_t n = n_from; n < n_end; n++)
        for (int64_t iy = rows.from; iy < rows.end; iy++)
            for (int64_t ix = 0; ix < l->w.in; ix += STRETCH)
                gather_nhwc(l, &block, col, ld, n, iy, ix, least(ix + STRETCH, l->w.in), diff_src);
}

/* ---- NCHW: one image, the lowered matrix transposed
 * ---------------------------------------------------------- */

/* One (tap, channel) for pixels [x.from, x.end) of output row y, side by side. */
static void lower_line(const lowering *l, int64_t y, interval x, int64_t kh, int64_t kw, int64_t c, float *to)
{
    int64_t iy = source(&l->h, y, kh), stride = l->w.stride;
    bool inside = iy >= 0 && iy < l->h.in;
    interval real = inside ? meeting(&l->w, kw, 0, l->w.in, x) : (interval){x.end, x.end};
    zero(to, real.from - x.from);
    zero(to + (real.end - x.from), x.end - real.end);
    if (real.from == real.end) return;
    const float *from = l->src + ((l->first + c) * l->h.in + iy) * l->w.in + source(&l->w, real.from, kw);
    to += real.from - x.from;
    if (stride == 1)
        copy(to, from, real.end - real.from);
    else
        for (int64_t i = 0; i < real.end - real.from; i++) to[i] = from[i * stride];
}

void lower_nchw(const void *matrix, int64_t column, int64_t columns, int64_t pixel, int64_t pixels, float *to,
                int64_t ld)
{
    const lowering *l = matrix;
    for (int64_t r = 0; r < columns; r++) {
        int64_t tap = (column + r) / l->channels, c = (column + r) % l->channels, y = pixel / l->ow;
        interval x = {pixel % l->ow, 0};
        for (int64_t p = 0; p < pixels; p += x.end - x.from, x.from = 0, y++) {
            x.end = least(l->ow, x.from + pixels - p);
            lower_line(l, y, x, tap / l->w.kernel, tap % l->w.kernel, c, to + r * ld + p);
        }
    }
}

/* Everything the block adds to diff_src[c][iy][...]. */
static void gather_nchw(const lowering *l, const lowered_block *b, const float *col, int64_t ld, int64_t c,
                        int64_t iy, float *diff_src)
{
    int64_t y, stride = l->w.stride;
    for (int64_t tap = 0; tap < l->h.kernel * l->w.kernel; tap++) {
        int64_t column = tap * l->channels + c - b->column, kw = tap % l->w.kernel;
        if (column < 0 || column >= b->columns || !output_row(l, iy, tap / l->w.kernel, &y)) continue;
        interval x = meeting(&l->w, kw, 0, l->w.in, block_columns(l, b, 0, y));
        if (x.from == x.end) continue;
        const float *from = col + column * ld + y * l->ow + x.from - b->pixel;
        float *to = diff_src + ((l->first + c) * l->h.in + iy) * l->w.in + source(&l->w, x.from, kw);
        if (stride == 1)
            add(to, from, x.end - x.from);
        else
            for (int64_t i = 0; i < x.end - x.from; i++) to[i * stride] += from[i];
    }
}

void lower_nchw_add(const lowering *l, lowered_block block, const float *col, int64_t ld, float *diff_src,
                    int threads)
{
#pragma omp parallel for collapse(2) schedule(static) num_threads(threads)
    for (int64_t c = 0; c < l->channels; c++)
        for (int64_t iy = 0; iy < l->h.in; iy++) gather_nchw(l, &block, col, ld, c, iy, diff_src);
}
