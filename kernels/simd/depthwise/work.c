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

/* What the kernels make of a row: outputs of a tile, taps of one of them, their stride; whether they share inputs. */
typedef struct {
    double tile, taps, stride;
    bool shared;
} axis_count;

static axis_count along_row(const row_walk *w)
{
    const conv_axis *a = &w->w;
    double phases = w->backward ? (double)a->stride : 1, stride = w->backward ? 1 : (double)a->stride;
    return (axis_count){.tile = w->stencil3 ? DEPTHWISE_OUTPUTS : DEPTHWISE_ROW,
                        .taps = fmax(1, (double)a->kernel / phases),
                        .stride = stride,
                        .shared = stride <= 2};
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
    const axis_count x = along_row(w);
    conv_sizes s = conv_problem_sizes(depthwise);
    double n = fmin(x.tile, (double)w->out_width), out_rows = w->stencil3 ? 2 : 1, planes = (double)w->d.kernel;
    double step = out_rows * (double)(w->backward ? 1 : w->h.stride), rows = (double)w->h.kernel + step - 1;
    double fresh = n * x.stride, columns = fresh - x.stride + x.taps;
    double weights = (double)conv_taps(depthwise), in = 4.0 * (double)(w->backward ? s.dst : s.src);
    double tile = 4 * (double)b->channels * (columns * rows * planes + n * out_rows + weights);
    double strip =
        4 * (double)b->strip * (rows * planes * (double)w->in_width + out_rows * (double)w->out_width);
    double tiles = (double)(w->backward ? s.src : s.dst) / (n * out_rows);
    tile = in_sets(tile, b->channels, b->pixel);
    work_read(work, in * fmax(0, rows * planes / step - 1), in_sets(strip, b->strip, b->pixel));
    if ((double)w->out_width > n)
        work_read(work, in * fmax(1, rows * planes / step) * fmax(0, columns / fresh - 1), tile);
    work_read(work, 4 * tiles * weights, tile);
}

/* Kernel rows met by all rows of outputs, for each block of channels anew; and what finding one loads. */
enum { POINTER_LOADS = 10 };
static double row_calls(const row_walk *w, const conv_problem *p, int64_t block)
{
    return (double)(p->mb * w->rows * w->d.kernel * w->h.kernel * div_up(p->oc, block));
}

static void convolve_state(const row_walk *w, const conv_problem *depthwise, const walked_block *b, bool plain,
                           conv_work *work)
{
    const axis_count x = along_row(w);
    const double n = x.tile;
    double vectors = tap_vectors(depthwise), loads = 1 + 1 / n; /* tap by tap */
    if (w->stencil3 && plain)
        loads = (9 + 18 * n) / (18 * n);
    else if (w->stencil3)
        loads = (9 + 4 * (n + 2)) / (18 * n);
    else if (x.shared)
        loads = (x.taps + (n - 1) * x.stride * ceil(x.taps / DEPTHWISE_TAPS) + x.taps) / (n * x.taps);
    conv_sizes s = conv_problem_sizes(depthwise);
    work->macs += VL * vectors;
    work->loads += loads * vectors;
    work->stores += (double)(w->backward ? s.src : s.dst) / VL;
    if (!w->stencil3) work->loads += POINTER_LOADS * row_calls(w, depthwise, b->channels);
    read_again(w, depthwise, b, work);
}

void rows_convolve_state(const row_walk *w, const conv_problem *depthwise, int64_t block, bool plain,
                         conv_work *work)
{
    convolve_state(w, depthwise, &(walked_block){block, block, block}, plain, work);
}

void rows_gradient_state(const row_walk *w, const conv_problem *depthwise, int64_t rows, conv_work *work)
{
    const axis_count x = along_row(w);
    const double n = x.shared ? DEPTHWISE_DIFFS : 1, kb = fmin(x.taps, DEPTHWISE_TAPS);
    const double two = DEPTHWISE_OUTPUTS, together = fmax(1, fmin(3, floor(DEPTHWISE_TAP_SUMS / kb)));
    double vectors = tap_vectors(depthwise);
    double loads = (n + together * ((n - 1) * (x.shared ? x.stride : 0) + kb)) / (n * together * kb);
    if (w->stencil3 && rows > 1)
        loads = rows == BAND_ROWS ? (BAND_ROWS + BAND_ROWS + 2) / (9.0 * BAND_ROWS)
                                  : (2 * two + 4 * (two + 2)) / (18 * two);
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
    double kept =
        (double)walk.in_width * (double)(walk.d.kernel * walk.h.kernel + 1); /* pixels of a ring's rows */
    read_rows(how->ring, 4.0 * (double)(data ? s.dst : s.src), 4 * (double)c * kept, work);
    work_write(work, 4.0 * (double)(data ? s.src : s.dst), how->stream ? CONV_PAST_CACHES : CONV_EACH_CALL);
}

/* The weights' gradient. */
static void sums_state(const conv_problem *p, const sums_strategy *how, int64_t pixel, conv_work *work)
{
    const row_walk walk = row_walk_shape(p, false);
    const conv_sizes s = conv_problem_sizes(p);
    double src = 4.0 * (double)s.src, rows = (double)how->rows,
           kernel = (double)(walk.d.kernel * walk.h.kernel);
    double more = rows > 1 ? 2 / rows : fmax(0, kernel / (double)walk.h.stride - 1);
    double part = (double)how->outputs / (double)walk.out_width;
    double pixels = part * ((rows + kernel - 1) * (double)walk.in_width + rows * (double)walk.out_width);
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
    bool data = conv_makes_data(pass);
    int64_t lines = row_walk_shape(p, data).rows * row_walk_lines(p, data).per_row;
    return p->mb * div_up(lines, depthwise_lines_together(p)) * div_up(p->oc, how->walk.channels);
}
