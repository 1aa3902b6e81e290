/* What depthwise rows do, for conv_plan.work. */
#include "../../work.h"

#include "../vec.h"
#include "driver.h"
#include "kernels.h"

/* Vectors of multiply-adds over real taps, channels filled up. */
static double tap_vectors(const conv_problem *depthwise)
{
    double fill = (double)round_up(depthwise->oc, VL) / (double)depthwise->oc;
    return (double)conv_flops(depthwise, CONV_FORWARD) / 2 / VL * fill;
}

/* Of a block of channels, whose pixels are so many floats apart; strip: channels of a row that are walked
 * before the next row. */
typedef struct {
    int64_t channels, pixel, strip;
} walked_block;

/* What lines of so many channels of a pixel keep others from: sets of a cache that no pixel's lines reach are
 * lost to them. */
static double in_sets(double bytes, int64_t channels, int64_t pixel)
{
    return bytes * fmax(1, CACHE_LINE * (double)pixel_crowding(pixel) / (double)channels);
}

/* What a tile of outputs reads again: rows that the tiles above and below share with it, columns of the tile
 * beside it, and its weights, all channels of the block before the next tile. */
static void read_again(const row_walk *w, const conv_problem *depthwise, const walked_block *b, conv_work *work)
{
    const axis_sweep *x = &w->x.sweep;
    conv_sizes s = conv_problem_sizes(depthwise);
    double n = DEPTHWISE_OUTPUTS, out_rows = w->stencil3 ? 2 : 1, kernel = (double)w->h.kernel;
    double step = out_rows * (double)(w->backward ? 1 : w->h.stride), rows = kernel + step - 1;
    double fresh = n * (double)x->stride, columns = fresh - (double)x->stride + (double)x->taps;
    double weights = kernel * (double)x->taps, in = 4.0 * (double)(w->backward ? s.dst : s.src);
    double tile = 4 * (double)b->channels * (columns * rows + n * out_rows + weights);
    double strip = 4 * (double)b->strip * (rows * (double)w->in_width + out_rows * (double)w->out_width);
    double tiles = (double)(w->backward ? s.src : s.dst) / (n * out_rows);
    tile = in_sets(tile, b->channels, b->pixel);
    work_read(work, in * fmax(0, rows / step - 1), in_sets(strip, b->strip, b->pixel));
    work_read(work, in * fmax(1, rows / step) * fmax(0, columns / fresh - 1), tile);
    work_read(work, 4 * tiles * weights, tile);
}

static void convolve_state(const row_walk *w, const conv_problem *depthwise, const walked_block *b, bool plain,
                           conv_work *work)
{
    const double n = DEPTHWISE_OUTPUTS, taps = (double)w->x.sweep.taps, stride = (double)w->x.sweep.stride;
    double vectors = tap_vectors(depthwise), loads = 1; /* segment by segment: a load for each multiply-add */
    if (w->stencil3 && plain)
        loads = (9 + 18 * n) / (18 * n);
    else if (w->stencil3)
        loads = (9 + 4 * (n + 2)) / (18 * n);
    else if (taps > 0)
        loads = (taps + (n - 1) * stride + taps) / (n * taps);
    conv_sizes s = conv_problem_sizes(depthwise);
    work->macs += VL * vectors;
    work->loads += loads * vectors;
    work->stores += (double)(w->backward ? s.src : s.dst) / VL;
    if (taps > 0) read_again(w, depthwise, b, work);
}

void rows_convolve_state(const row_walk *w, const conv_problem *depthwise, int64_t block, bool plain,
                         conv_work *work)
{
    convolve_state(w, depthwise, &(walked_block){block, block, block}, plain, work);
}

void rows_gradient_state(const row_walk *w, const conv_problem *depthwise, int64_t rows, conv_work *work)
{
    const double n = DEPTHWISE_OUTPUTS, together = (double)min64(3, w->h.kernel) * (double)w->kernel_w;
    double vectors = tap_vectors(depthwise), loads = (1 + together) / together;
    if (w->stencil3 && rows > 1)
        loads = rows == BAND_ROWS ? (BAND_ROWS + BAND_ROWS + 2) / (9.0 * BAND_ROWS)
                                  : (2 * n + 4 * (n + 2)) / (18 * n);
    work->macs += VL * vectors;
    work->loads += loads * vectors;
}

/* A tensor of `bytes` read row by row, copied into rings before where there are some. */
static void read_rows(bool ring, double bytes, double reach, conv_work *work)
{
    work_read(work, bytes, CONV_EACH_CALL);
    if (!ring) return;
    work_write(work, bytes, reach);
    work->loads += bytes / 4 / VL;
    work->stores += bytes / 4 / VL;
}

/* Forward, or diff_src. */
static void walk_state(const conv_problem *p, bool data, const walk_strategy *how, int64_t pixel,
                       conv_work *work)
{
    const row_walk walk = row_walk_shape(p, data);
    const int64_t c = how->channels;
    const conv_sizes s = conv_problem_sizes(p);
    bool plain = !how->stream && (data || (!p->bias && p->post_op == CONV_POST_NONE));
    walked_block block = {c, how->ring ? ring_pixel(c) : pixel, how->ring ? c : pixel};
    convolve_state(&walk, p, &block, plain, work);
    double kept = (double)walk.in_width * (double)(walk.h.kernel + 1); /* pixels of the rows in a ring */
    read_rows(how->ring, 4.0 * (double)(data ? s.dst : s.src), 4 * (double)c * kept, work);
    work_write(work, 4.0 * (double)(data ? s.src : s.dst), how->stream ? CONV_PAST_CACHES : CONV_EACH_CALL);
}

/* The weights' gradient. */
static void sums_state(const conv_problem *p, const sums_strategy *how, int64_t pixel, conv_work *work)
{
    const row_walk walk = row_walk_shape(p, false);
    const conv_sizes s = conv_problem_sizes(p);
    double src = 4.0 * (double)s.src, rows = (double)how->rows, kernel = (double)walk.h.kernel;
    double more = rows > 1 ? 2 / rows : fmax(0, kernel / (double)walk.h.stride - 1);
    double pixels = (rows + kernel - 1) * (double)walk.in_width + rows * (double)walk.out_width;
    int64_t c = how->owned ? pixel : how->channels;
    double reach = in_sets(4 * (double)c * pixels, c, how->ring ? ring_pixel(c) : pixel);
    rows_gradient_state(&walk, p, how->rows, work);
    read_rows(how->ring, src, reach, work);
    work_read(work, 4.0 * (double)s.dst, CONV_EACH_CALL);
    work_read(work, src * more, reach);
    if (how->chunks > 1) work_write(work, 4.0 * (double)(how->chunks * s.weights), CONV_EACH_CALL);
}

void depthwise_state(const conv_problem *p, conv_pass pass, const depthwise_choices *how, int64_t pixel,
                     conv_work *work)
{
    if (pass != CONV_BACKWARD_WEIGHTS) walk_state(p, conv_makes_data(pass), &how->walk, pixel, work);
    if (conv_makes_weights(pass)) sums_state(p, &how->sums, pixel, work);
}

int64_t depthwise_units(const conv_problem *p, conv_pass pass, const depthwise_choices *how)
{
    const sums_strategy *sums = &how->sums;
    if (conv_makes_weights(pass))
        return sums->owned ? div_up(p->oc, VL) : sums->chunks * div_up(p->oc, sums->channels);
    int64_t rows = axis_outputs(&p->axis[CONV_H], conv_makes_data(pass));
    return p->mb * div_up(rows, depthwise_rows_together(p)) * div_up(p->oc, how->walk.channels);
}
