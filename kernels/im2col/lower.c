/* Copies between activations and blocks of the lowered matrix. The loops run tap by tap, because for one tap
 * the valid output positions of a row are an interval and the copies inside it need no tests. The adjoint
 * gathers: each task owns a stretch of diff_src, so nothing collides and the order of additions is fixed. */
#include "lower.h"

#include <string.h>

#include "../util.h"

enum { STRETCH = 64 }; /* source columns per task of the adjoint */

lowering lower_describe(const conv_problem *p, int64_t g)
{
    lowering l = {.h = p->axis[CONV_H], .w = p->axis[CONV_W], .mb = p->mb, .ic = p->ic};
    l.oh = conv_out(&l.h);
    l.ow = conv_out(&l.w);
    l.channels = p->ic / p->groups;
    l.first = g * l.channels;
    return l;
}

bool lower_is_src(const conv_problem *p)
{
    for (int i = 0; i < CONV_AXES; i++) {
        const conv_axis *a = &p->axis[i];
        if (a->kernel != 1 || a->stride != 1 || a->pad_before != 0 || conv_out(a) != a->in) return false;
    }
    return true;
}

typedef struct {
    int64_t from, end;
} interval;

static int64_t ceil_div(int64_t a, int64_t b) { return a >= 0 ? (a + b - 1) / b : -(-a / b); }

/* The outputs within `outputs` whose tap reads a source element in [in, in_end); empty ones lie within, too. */
static interval meeting(const conv_axis *a, int64_t tap, int64_t in, int64_t in_end, interval outputs)
{
    int64_t offset = tap * a->dilation - a->pad_before;
    interval i = {min64(outputs.end, max64(outputs.from, ceil_div(in - offset, a->stride))),
                  min64(outputs.end, ceil_div(in_end - offset, a->stride))};
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

void lower_block(const void *matrix, int64_t pixel, int64_t pixels, int64_t column, int64_t columns, float *to,
                 int64_t ld)
{
    const lowering *l = matrix;
    for (int64_t done = 0, count; done < columns; done += count) {
        int64_t tap = (column + done) / l->channels, c = (column + done) % l->channels;
        count = min64(l->channels - c, columns - done);
        int64_t row = pixel / l->ow;
        interval x = {pixel % l->ow, 0};
        for (int64_t p = 0; p < pixels; p += x.end - x.from, x.from = 0, row++) {
            x.end = min64(l->ow, x.from + pixels - p);
            lower_row(l, row / l->oh, row % l->oh, x, tap / l->w.kernel, tap % l->w.kernel, c, count,
                      to + p * ld + done, ld);
        }
    }
}

/* The part of output row (n, y) that lies in the block, as output columns. */
static interval block_columns(const lowering *l, const lowered_block *b, int64_t n, int64_t y)
{
    int64_t row = (n * l->oh + y) * l->ow;
    return (interval){max64(0, b->pixel - row), min64(l->ow, b->pixel + b->pixels - row)};
}

/* The output row that reads source row iy through tap kh; false if none does. */
static bool output_row(const lowering *l, int64_t iy, int64_t kh, int64_t *y)
{
    int64_t distance = iy + l->h.pad_before - kh * l->h.dilation;
    *y = distance / l->h.stride;
    return distance >= 0 && distance % l->h.stride == 0 && *y < l->oh;
}

/* Everything the block adds to diff_src[n][iy][ix .. ix_end). */
static void gather(const lowering *l, const lowered_block *b, const float *col, int64_t ld, int64_t n,
                   int64_t iy, int64_t ix, int64_t ix_end, float *diff_src)
{
    int64_t first_tap = b->column / l->channels, last_tap = (b->column + b->columns - 1) / l->channels, y;
    for (int64_t tap = first_tap; tap <= last_tap; tap++) {
        if (!output_row(l, iy, tap / l->w.kernel, &y)) continue;
        int64_t kw = tap % l->w.kernel;
        int64_t c = max64(0, b->column - tap * l->channels);
        int64_t c_end = min64(l->channels, b->column + b->columns - tap * l->channels);
        interval x = meeting(&l->w, kw, ix, ix_end, block_columns(l, b, n, y));
        for (int64_t i = x.from; i < x.end; i++) {
            int64_t pixel = (n * l->oh + y) * l->ow + i;
            add(diff_src + ((n * l->h.in + iy) * l->w.in + source(&l->w, i, kw)) * l->ic + l->first + c,
                col + (pixel - b->pixel) * ld + tap * l->channels + c - b->column, c_end - c);
        }
    }
}

void lower_add_block(const lowering *l, lowered_block block, const float *col, int64_t ld, float *diff_src,
                     int threads)
{
    int64_t image = l->oh * l->ow, last = block.pixel + block.pixels - 1;
    int64_t n_from = block.pixel / image, n_end = last / image + 1;
    interval rows = {0, l->h.in};
    if (n_end == n_from + 1) { /* within one image only the rows that its taps reach */
        rows.from = max64(0, source(&l->h, block.pixel % image / l->ow, 0));
        rows.end = min64(l->h.in, source(&l->h, last % image / l->ow, l->h.kernel - 1) + 1);
    }
#pragma omp parallel for collapse(3) schedule(static) num_threads(threads)
    for (int64_t n = n_from; n < n_end; n++)
        for (int64_t iy = rows.from; iy < rows.end; iy++)
            for (int64_t ix = 0; ix < l->w.in; ix += STRETCH)
                gather(l, &block, col, ld, n, iy, ix, min64(ix + STRETCH, l->w.in), diff_src);
}

void lower_clear(const conv_problem *p, float *diff_src, int threads)
{
    int64_t count = conv_problem_sizes(p).src;
#pragma omp parallel for schedule(static) num_threads(threads)
    for (int64_t i = 0; i < count; i++) diff_src[i] = 0;
}
