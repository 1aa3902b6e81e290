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

/* What the lowered matrix has of one tap: `count` channels from c on. */
typedef struct {
    int64_t kh, kw, c, count;
} tap_channels;

/* They for pixels [x.from, x.end) of an output row, counted through the batch: rows of to, ld apart. */
static void lower_row(const lowering *l, int64_t row, interval x, tap_channels t, float *to, int64_t ld)
{
    int64_t n = row / l->oh, iy = source(&l->h, row % l->oh, t.kh);
    bool inside = iy >= 0 && iy < l->h.in;
    interval real = inside ? meeting(&l->w, t.kw, 0, l->w.in, x) : (interval){x.end, x.end};
    for (int64_t i = x.from; i < real.from; i++, to += ld) zero(to, t.count);
    for (int64_t i = real.from; i < real.end; i++, to += ld)
        copy(to, l->src + ((n * l->h.in + iy) * l->w.in + source(&l->w, i, t.kw)) * l->ic + l->first + t.c,
             t.count);
    for (int64_t i = real.end; i < x.end; i++, to += ld) zero(to, t.count);
}

void lower_block(const void *matrix, const sgemm_block *b, float *to, int64_t ld)
{
    const lowering *l = matrix;
    for (int64_t done = 0, count; done < b->cols; done += count) {
        int64_t tap = (b->col + done) / l->channels, c = (b->col + done) % l->channels;
        count = min64(l->channels - c, b->cols - done);
        int64_t row = b->row / l->ow;
        interval x = {b->row % l->ow, 0};
        for (int64_t p = 0; p < b->rows; p += x.end - x.from, x.from = 0, row++) {
            x.end = min64(l->ow, x.from + b->rows - p);
            lower_row(l, row, x, (tap_channels){tap / l->w.kernel, tap % l->w.kernel, c, count},
                      to + p * ld + done, ld);
        }
    }
}

/* The part of output row (n, y) that lies in the block, as output columns. */
static interval block_columns(const lowering *l, const sgemm_block *b, int64_t n, int64_t y)
{
    int64_t row = (n * l->oh + y) * l->ow;
    return (interval){max64(0, b->row - row), min64(l->ow, b->row + b->rows - row)};
}

/* The output row that reads source row iy through tap kh; false if none does. */
static bool output_row(const lowering *l, int64_t iy, int64_t kh, int64_t *y)
{
    int64_t distance = iy + l->h.pad_before - kh * l->h.dilation;
    *y = distance / l->h.stride;
    return distance >= 0 && distance % l->h.stride == 0 && *y < l->oh;
}

/* Part of a source row: [n][y][x.from, x.end). */
typedef struct {
    int64_t n, y;
    interval x;
} stretch;

/* Everything the block adds to that part of diff_src. */
static void gather(const lowering *l, const sgemm_block *b, const float *col, int64_t ld, stretch s,
                   float *diff_src)
{
    int64_t first_tap = b->col / l->channels, last_tap = (b->col + b->cols - 1) / l->channels, y;
    for (int64_t tap = first_tap; tap <= last_tap; tap++) {
        if (!output_row(l, s.y, tap / l->w.kernel, &y)) continue;
        int64_t kw = tap % l->w.kernel;
        int64_t c = max64(0, b->col - tap * l->channels);
        int64_t c_end = min64(l->channels, b->col + b->cols - tap * l->channels);
        interval x = meeting(&l->w, kw, s.x.from, s.x.end, block_columns(l, b, s.n, y));
        for (int64_t i = x.from; i < x.end; i++) {
            int64_t pixel = (s.n * l->oh + y) * l->ow + i;
            add(diff_src + ((s.n * l->h.in + s.y) * l->w.in + source(&l->w, i, kw)) * l->ic + l->first + c,
                col + (pixel - b->row) * ld + tap * l->channels + c - b->col, c_end - c);
        }
    }
}

void lower_add_block(const lowering *l, const sgemm_block *b, const float *col, int64_t ld, float *diff_src,
                     int threads)
{
    int64_t image = l->oh * l->ow, last = b->row + b->rows - 1;
    int64_t n_from = b->row / image, n_end = last / image + 1;
    interval rows = {0, l->h.in};
    if (n_end == n_from + 1) { /* within one image only the rows that its taps reach */
        rows.from = max64(0, source(&l->h, b->row % image / l->ow, 0));
        rows.end = min64(l->h.in, source(&l->h, last % image / l->ow, l->h.kernel - 1) + 1);
    }
#pragma omp parallel for collapse(3) schedule(static) num_threads(threads)
    for (int64_t n = n_from; n < n_end; n++)
        for (int64_t iy = rows.from; iy < rows.end; iy++)
            for (int64_t ix = 0; ix < l->w.in; ix += STRETCH) {
                stretch s = {n, iy, {ix, min64(ix + STRETCH, l->w.in)}};
                gather(l, b, col, ld, s, diff_src);
            }
}

void lower_clear(const conv_problem *p, float *diff_src, int threads)
{
    int64_t count = conv_problem_sizes(p).src;
#pragma omp parallel for schedule(static) num_threads(threads)
    for (int64_t i = 0; i < count; i++) diff_src[i] = 0;
}
