/* Copies between activations and blocks of the lowered matrix. The loops run tap by tap, because for one tap
 * the valid output positions of a row are an interval and the copies inside it need no tests. The adjoint
 * gathers: each task owns a stretch of diff_src, so nothing collides and the order of additions is fixed. */
#include "lower.h"

#include <string.h>

#include "../rows.h"
#include "../util.h"

enum { STRETCH = 64 }; /* source columns per task of the adjoint */

lowering lower_describe(const conv_problem *p, int64_t g)
{
    lowering l = {.problem = p,
                  .src_pixels = conv_src_pixels(p),
                  .dst_pixels = conv_dst_pixels(p),
                  .channels = p->ic / p->groups};
    for (int i = 0; i < CONV_AXES; i++) l.out[i] = conv_out(&p->axis[i]);
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
    tap_rows rows;
    int64_t kw, c, count;
} tap_channels;

/* They for pixels [x.from, x.end) of an output row, counted through the batch: rows of to, ld apart. */
static void lower_row(const lowering *l, int64_t row, interval x, const tap_channels *t, float *to, int64_t ld)
{
    const conv_axis *w = &l->problem->axis[CONV_W];
    int64_t rows = l->out[CONV_D] * l->out[CONV_H], n = row / rows, in = tap_rows_source(&t->rows, row % rows);
    interval real = in >= 0 ? meeting(w, t->kw, 0, w->in, x) : (interval){x.end, x.end};
    int64_t left = n * l->src_pixels + in * w->in;
    for (int64_t i = x.from; i < real.from; i++, to += ld) zero(to, t->count);
    for (int64_t i = real.from; i < real.end; i++, to += ld)
        copy(to, l->src + (left + source(w, i, t->kw)) * l->problem->ic + l->first + t->c, t->count);
    for (int64_t i = real.end; i < x.end; i++, to += ld) zero(to, t->count);
}

void lower_block(const void *matrix, const sgemm_block *b, float *to, int64_t ld)
{
    const lowering *l = matrix;
    for (int64_t done = 0, count; done < b->cols; done += count) {
        int64_t tap = (b->col + done) / l->channels, c = (b->col + done) % l->channels;
        int64_t kernel = l->problem->axis[CONV_W].kernel, width = l->out[CONV_W], row = b->row / width;
        count = min64(l->channels - c, b->cols - done);
        tap_channels t = {tap_rows_of(l->problem, tap / kernel, l->out[CONV_H]), tap % kernel, c, count};
        interval x = {b->row % width, 0};
        for (int64_t p = 0; p < b->rows; p += x.end - x.from, x.from = 0, row++) {
            x.end = min64(width, x.from + b->rows - p);
            lower_row(l, row, x, &t, to + p * ld + done, ld);
        }
    }
}

/* The output that reads source element `in` of an axis through the tap; false if none does. */
static bool output(const lowering *l, int axis, int64_t in, int64_t tap, int64_t *out)
{
    const conv_axis *a = &l->problem->axis[axis];
    int64_t distance = in + a->pad_before - tap * a->dilation;
    *out = a->stride == 1 ? distance : distance / a->stride;
    return distance >= 0 && *out * a->stride == distance && *out < l->out[axis];
}

/* Part of a source row: [n][z][y][x.from, x.end), the row's first pixel at `left`. */
typedef struct {
    int64_t n, z, y, left;
    interval x;
} stretch;

/* Everything the block adds to that part of diff_src. */
static void gather(const lowering *l, const sgemm_block *b, const float *col, int64_t ld, const stretch *s,
                   float *diff_src)
{
    const conv_axis *h = &l->problem->axis[CONV_H], *w = &l->problem->axis[CONV_W];
    int64_t first_tap = b->col / l->channels, last_tap = (b->col + b->cols - 1) / l->channels;
    int64_t ic = l->problem->ic, z, y;
    for (int64_t row = first_tap / w->kernel; row <= last_tap / w->kernel; row++) {
        int64_t kd = row / h->kernel;
        if (!output(l, CONV_D, s->z, kd, &z) || !output(l, CONV_H, s->y, row - kd * h->kernel, &y)) continue;
        int64_t left = ((s->n * l->out[CONV_D] + z) * l->out[CONV_H] + y) * l->out[CONV_W]; /* first pixel */
        interval columns = {max64(0, b->row - left), min64(l->out[CONV_W], b->row + b->rows - left)};
        int64_t end = min64(last_tap, (row + 1) * w->kernel - 1);
        for (int64_t tap = max64(first_tap, row * w->kernel); tap <= end; tap++) {
            int64_t kw = tap - row * w->kernel, c = max64(0, b->col - tap * l->channels);
            int64_t c_end = min64(l->channels, b->col + b->cols - tap * l->channels);
            interval x = meeting(w, kw, s->x.from, s->x.end, columns);
            if (x.from >= x.end) continue;
            const float *from = col + (left + x.from - b->row) * ld + tap * l->channels + c - b->col;
            float *to = diff_src + (s->left + source(w, x.from, kw)) * ic + l->first + c;
            for (int64_t i = x.from; i < x.end; i++, from += ld, to += w->stride * ic) add(to, from, c_end - c);
        }
    }
}

void lower_add_block(const lowering *l, const sgemm_block *b, const float *col, int64_t ld, float *diff_src,
                     int threads)
{
    const conv_problem *p = l->problem;
    int64_t width = p->axis[CONV_W].in, height = p->axis[CONV_H].in, image = l->dst_pixels;
    int64_t last = b->row + b->rows - 1, n_from = b->row / image, n_end = last / image + 1;
    interval pixels = {0, l->src_pixels}; /* within one image only those that its taps reach */
    if (n_end == n_from + 1) conv_reach(p, b->row % image, last % image, &pixels.from, &pixels.end);
    interval rows = {pixels.from / width, div_up(pixels.end, width)}, columns = {0, width};
    if (rows.end == rows.from + 1) columns = (interval){pixels.from % width, pixels.end - rows.from * width};
#pragma omp parallel for collapse(3) schedule(static) num_threads(threads)
    for (int64_t n = n_from; n < n_end; n++)
        for (int64_t row = rows.from; row < rows.end; row++)
            for (int64_t x = columns.from; x < columns.end; x += STRETCH) {
                interval part = {x, min64(x + STRETCH, columns.end)};
                stretch s = {n, row / height, row % height, n * l->src_pixels + row * width, part};
                gather(l, b, col, ld, &s, diff_src);
            }
}

void lower_clear(const conv_problem *p, float *diff_src, int threads)
{
    int64_t count = conv_problem_sizes(p).src;
#pragma omp parallel for schedule(static) num_threads(threads)
    for (int64_t i = 0; i < count; i++) diff_src[i] = 0;
}
