/* Input rows of the kernels, and the choice among those. */
#include "walk.h"

#include "../vec.h"
#include "kernels.h"

bool row_walk_stencil3(const conv_problem *p)
{
    for (int a = CONV_H; a <= CONV_W; a++)
        if (p->axis[a].kernel != 3 || p->axis[a].stride != 1 || p->axis[a].dilation != 1) return false;
    return p->depth_multiplier == 1 && p->rank < 3;
}

row_walk row_walk_shape(const conv_problem *p, bool backward)
{
    const conv_axis *d = &p->axis[CONV_D], *h = &p->axis[CONV_H], *w = &p->axis[CONV_W];
    return (row_walk){.d = *d,
                      .h = *h,
                      .w = *w,
                      .backward = backward,
                      .stencil3 = row_walk_stencil3(p),
                      .in_height = axis_inputs(h, backward),
                      .in_width = axis_inputs(w, backward),
                      .out_height = axis_outputs(h, backward),
                      .out_width = axis_outputs(w, backward),
                      .rows = axis_outputs(d, backward) * axis_outputs(h, backward)};
}

row_lines row_walk_lines(const conv_problem *p, bool backward)
{
    const row_walk w = row_walk_shape(p, backward);
    int64_t part = round_up(div_up(w.out_width, ANY_TEAM), DEPTHWISE_ROW);
    bool cut = w.rows == 1 && !w.stencil3;
    return row_lines_of(cut ? min64(part, w.out_width) : w.out_width, w.out_width);
}

ring_size row_walk_ring(const conv_problem *p, bool backward, int64_t more, int64_t outputs, int64_t channels)
{
    const conv_axis *d = &p->axis[CONV_D], *h = &p->axis[CONV_H], *w = &p->axis[CONV_W];
    return (ring_size){.planes = min64(axis_inputs(d, backward), conv_effective_kernel(d)),
                       .rows = min64(axis_inputs(h, backward), conv_effective_kernel(h) + more),
                       .width = axis_reach_most(w, backward, outputs),
                       .channels = channels,
                       .multiplier = backward ? 1 : p->depth_multiplier};
}

bool row_walk_build(const conv_problem *p, bool backward, row_walk *w)
{
    *w = row_walk_shape(p, backward);
    return axis_sweeps_build(&p->axis[CONV_W], backward, &w->x);
}

void row_walk_free(row_walk *w) { axis_sweeps_free(&w->x); }

/* The input rows of output row y, first to last as the kernels of several rows take them, and of taps
 * ([KD*KH*KW][..]) the kernel rows that meet them; returns how many. */
static int64_t rows_met(const row_walk *w, row_ring *in, int64_t y, float *taps, int64_t w_tap,
                        row_pointers met)
{
    int64_t rows = 0, plane = y < w->out_height ? 0 : y / w->out_height;
    y -= plane * w->out_height;
    for (int64_t i = 0; i < w->d.kernel; i++) {
        int64_t kd = w->backward ? w->d.kernel - 1 - i : i, depth = axis_input(&w->d, w->backward, plane, kd);
        for (int64_t j = 0; depth >= 0 && j < w->h.kernel; j++) {
            int64_t kh = w->backward ? w->h.kernel - 1 - j : j, row = axis_input(&w->h, w->backward, y, kh);
            if (row < 0) continue;
            met.in[rows] = ring_row(in, depth * w->in_height + row);
            met.taps[rows++] = taps + (kd * w->h.kernel + kh) * w->w.kernel * w_tap;
        }
    }
    return rows;
}

/* in[i] = input row first + i, NULL in the padding. */
static void rows_from(const row_walk *w, row_ring *in, int64_t first, int64_t count, const float **rows)
{
    for (int64_t i = 0; i < count; i++)
        rows[i] = first + i >= 0 && first + i < w->in_height ? ring_row(in, first + i) : NULL;
}

/* Output rows y and y+1, the first of them at out. */
static void convolve_two(const row_convolution *c, int64_t y, float *out)
{
    const row_walk *w = c->walk;
    stencil3_convolve_args args = {.src_pixel = ring_step(c->in),
                                   .w_tap = c->w_tap,
                                   .dst_pixel = c->out_pixel,
                                   .dst = {out, out + w->out_width * c->out_pixel},
                                   .channels = c->channels,
                                   .bias = c->bias,
                                   .clip = c->clip,
                                   .ahead = c->ahead,
                                   .stream = c->stream};
    rows_from(w, c->in, w->backward ? y + w->h.pad_before - 2 : y - w->h.pad_before, 4, args.src);
    for (int64_t k = 0; k < 3; k++) args.weights[k] = c->weights + (w->backward ? 2 - k : k) * 3 * c->w_tap;
    stencil3_convolve(&w->x, &args);
}

void rows_convolve(const row_convolution *c, int64_t y0, int64_t y1)
{
    const row_walk *w = c->walk;
    const float *in[WALK_ROWS];
    float *taps[WALK_ROWS];
    row_pointers met = c->pointers.in != NULL ? c->pointers : (row_pointers){in, taps};
    convolve_any_args row = {.src = met.in,
                             .weights = (const float *const *)met.taps,
                             .src_pixel = ring_step(c->in),
                             .w_tap = c->w_tap,
                             .dst_pixel = c->out_pixel,
                             .channels = c->channels,
                             .x0 = c->x0,
                             .x1 = c->x1 > 0 ? c->x1 : w->out_width,
                             .bias = c->bias,
                             .clip = c->clip,
                             .stream = c->stream};
    bool twos = w->stencil3 && c->channels >= VL;
    for (int64_t y = y0; y < y1; y++) {
        float *out = c->out + (y - y0) * w->out_width * c->out_pixel;
        if (twos && y + 1 < y1) {
            convolve_two(c, y++, out);
            continue;
        }
        row.dst = out;
        row.rows = rows_met(w, c->in, y, (float *)c->weights, c->w_tap, met);
        convolve_any(&w->x, &row);
    }
}

/* ---- a multiplier's diff_src */

/* The transpose of a ring's widening: sums over each source channel's multiples. */
ALWAYS_INLINE void fold_by(const int64_t multiplier, const float *restrict wide, int64_t pixels, int64_t width,
                           float *restrict dst, int64_t dst_pixel)
{
    for (int64_t i = 0; i < pixels; i++, dst += dst_pixel, wide += width)
        for (int64_t c = 0; c < width / multiplier; c++) {
            float sum = 0;
            for (int64_t m = 0; m < multiplier; m++) sum += wide[c * multiplier + m];
            dst[c] = sum;
        }
}

static void fold(const float *wide, int64_t pixels, int64_t multiplier, int64_t width, float *dst,
                 int64_t dst_pixel)
{
    switch (multiplier) {
    case 2: fold_by(2, wide, pixels, width, dst, dst_pixel); break;
    case 3: fold_by(3, wide, pixels, width, dst, dst_pixel); break;
    case 4: fold_by(4, wide, pixels, width, dst, dst_pixel); break;
    case 8: fold_by(8, wide, pixels, width, dst, dst_pixel); break;
    default: fold_by(multiplier, wide, pixels, width, dst, dst_pixel);
    }
}

void rows_convolve_folded(const row_convolution *c, int64_t multiplier, float *wide, int64_t y0, int64_t y1)
{
    if (multiplier == 1) {
        rows_convolve(c, y0, y1);
        return;
    }
    const int64_t width = c->walk->out_width;
    row_convolution row = *c;
    row.x1 = c->x1 > 0 ? c->x1 : width;
    row.out = wide - c->x0 * c->channels;
    row.out_pixel = c->channels;
    float *out = c->out + c->x0 * c->out_pixel;
    for (int64_t y = y0; y < y1; y++, out += width * c->out_pixel) {
        rows_convolve(&row, y, y + 1);
        fold(wide, row.x1 - row.x0, multiplier, c->channels, out, c->out_pixel);
    }
}

/* ---- backward_weights */

static void gradient_row(const row_gradient *g, int64_t y)
{
    const float *in[WALK_ROWS];
    float *taps[WALK_ROWS];
    row_pointers met = g->pointers.in != NULL ? g->pointers : (row_pointers){in, taps};
    gradient_any_args row = {.src = met.in,
                             .sums = met.taps,
                             .rows = rows_met(g->walk, g->src, y, g->sums, g->w_tap, met),
                             .diff_dst = ring_row(g->diff_dst, y),
                             .src_pixel = ring_step(g->src),
                             .w_tap = g->w_tap,
                             .dst_pixel = ring_step(g->diff_dst),
                             .channels = g->channels,
                             .x0 = g->x0,
                             .x1 = g->x1 > 0 ? g->x1 : g->walk->out_width,
                             .ahead = g->ahead};
    gradient_any(&g->walk->x, &row);
}

static void gradient_two(const row_gradient *g, int64_t y)
{
    stencil3_gradient2_args args = {.diff_dst = {ring_row(g->diff_dst, y), ring_row(g->diff_dst, y + 1)},
                                    .src_pixel = ring_step(g->src),
                                    .w_tap = g->w_tap,
                                    .dst_pixel = ring_step(g->diff_dst),
                                    .channels = g->channels,
                                    .by_tile = g->by_tile,
                                    .ahead = g->ahead};
    rows_from(g->walk, g->src, y - g->walk->h.pad_before, 4, args.src);
    for (int64_t k = 0; k < 3; k++) args.sums[k] = g->sums + k * 3 * g->w_tap;
    stencil3_gradient2(&g->walk->x, &args);
}

static void gradient_fours(const row_gradient *g, int64_t y, int64_t rows)
{
    int64_t first = y - g->walk->h.pad_before;
    stencil3_gradient4_args args = {.src_pixel = ring_step(g->src),
                                    .w_tap = g->w_tap,
                                    .dst_pixel = ring_step(g->diff_dst),
                                    .channels = g->channels,
                                    .bands = rows / BAND_ROWS,
                                    .src_row = g->src->width * g->src->pixel,
                                    .dst_row = g->diff_dst->width * g->diff_dst->pixel,
                                    .head = (first < 0),
                                    .tail = (first + rows + 2 > g->walk->h.in),
                                    .ahead = g->ahead};
    for (int64_t i = 0; i < BAND_ROWS; i++) args.diff_dst[i] = ring_row(g->diff_dst, y + i);
    rows_from(g->walk, g->src, first, BAND_ROWS + 2, args.src);
    for (int64_t k = 0; k < 3; k++) args.sums[k] = g->sums + k * 3 * g->w_tap;
    stencil3_gradient4(&g->walk->x, &args);
}

void rows_gradient(const row_gradient *g, int64_t y, int64_t rows)
{
    if (rows == 1)
        gradient_row(g, y);
    else if (rows == 2)
        gradient_two(g, y);
    else
        gradient_fours(g, y, rows);
}
