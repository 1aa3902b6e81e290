/* Depthwise forward and backward_data over rows (walk.c): what is a thread's to do, and in which order.
 *
 * With a multiplier, source rows are widened (each channel repeated) into scratch, or rows of diff_src summed
 * up from their widened form: the kernels know no multiplier. */
#include "driver.h"

#include <string.h>

#include "../vec.h"

/* ---- scratch of a thread */

typedef struct {
    size_t pointers, wide, src, diff, taps, sums, all;
} layout;

/* What a part copies. */
typedef struct {
    int64_t channels;            /* of a block */
    int64_t src_rows, diff_rows; /* of the rings; 0: read where they lie */
    bool taps, sums;             /* so are the weights, and their gradients */
} copied;

/* For the weights' gradient alone each row of diff_dst is read once, best where it lies. */
static copied copied_by(const depthwise_plan *d, depthwise_part part)
{
    const conv_axis *h = &d->head.problem.axis[CONV_H];
    const walk_strategy *walk = &d->how.walk;
    const sums_strategy *sums = &d->how.sums;
    int64_t rows = conv_effective_kernel(h) + (part == DEPTHWISE_SUMS ? sums->rows - 1 : d->walk.stencil3);
    if (part == DEPTHWISE_ROWS && walk->ring)
        return d->backward.data ? (copied){walk->channels, 0, rows, true, false}
                                : (copied){walk->channels, rows, 0, true, false};
    if (part == DEPTHWISE_SUMS && sums->ring) return (copied){sums->channels, rows, 0, false, true};
    return (copied){.channels = part == DEPTHWISE_SUMS ? sums->channels : walk->channels};
}

static layout lay_out(const depthwise_plan *d, depthwise_part part)
{
    const conv_axis *h = &d->head.problem.axis[CONV_H], *x = &d->head.problem.axis[CONV_W];
    copied c = copied_by(d, part);
    layout at;
    size_t floats = 0;
    int64_t taps = h->kernel * x->kernel * ring_pixel(c.channels);
    at.pointers =
        conv_reserve(&floats, div_up(2 * h->kernel * (int64_t)sizeof(float *), (int64_t)sizeof(float)));
    at.wide = conv_reserve(&floats, d->wide_rows * x->in * c.channels);
    at.src = conv_reserve(&floats, ring_floats(c.src_rows, x->in, c.channels));
    at.diff = conv_reserve(&floats, ring_floats(c.diff_rows, d->width, c.channels));
    at.taps = conv_reserve(&floats, c.taps ? taps : 0);
    at.sums = conv_reserve(&floats, c.sums ? taps : 0);
    at.all = floats;
    return at;
}

size_t depthwise_job_floats(const depthwise_plan *d)
{
    size_t rows = d->head.pass == CONV_BACKWARD_WEIGHTS ? 0 : lay_out(d, DEPTHWISE_ROWS).all;
    size_t sums = d->backward.weights ? lay_out(d, DEPTHWISE_SUMS).all : 0;
    return rows > sums ? rows : sums;
}

depthwise_job depthwise_job_make(const depthwise_plan *d, depthwise_part part, const conv_args *args,
                                 float *scratch)
{
    const conv_problem *p = &d->head.problem;
    layout at = lay_out(d, part);
    copied c = copied_by(d, part);
    return (depthwise_job){
        .d = d,
        .args = args,
        .diff_dst = args->diff_dst,
        .pointers = {(const float **)(scratch + at.pointers),
                     (float **)(scratch + at.pointers) + p->axis[CONV_H].kernel},
        .wide = scratch + at.wide,
        .src_ring = ring_make(scratch + at.src, c.src_rows, p->axis[CONV_W].in, c.channels, p->ic),
        .diff_ring = ring_make(scratch + at.diff, c.diff_rows, d->width, c.channels, d->channels),
        .taps = c.taps ? scratch + at.taps : NULL,
        .sums = c.sums ? scratch + at.sums : NULL,
        .tap_step = c.taps || c.sums ? ring_pixel(c.channels) : d->channels,
        .image = -1};
}

void depthwise_job_restart(depthwise_job *j, const depthwise_plan *d, const conv_args *args)
{
    j->d = d;
    j->args = args;
    j->diff_dst = args->diff_dst;
    j->src_ring.pixel = d->head.problem.ic;
    j->diff_ring.pixel = j->tap_step = d->channels;
    j->image = -1;
}

void depthwise_copy_taps(const depthwise_plan *d, const float *from, int64_t from_tap, float *to,
                         int64_t to_tap, int64_t width)
{
    int64_t taps = d->head.problem.axis[CONV_H].kernel * d->head.problem.axis[CONV_W].kernel;
    for (int64_t t = 0; t < taps; t++)
        memcpy(to + t * to_tap, from + t * from_tap, (size_t)width * sizeof(float));
}

void depthwise_turn(depthwise_job *j, int64_t image, int64_t c, int64_t width)
{
    const depthwise_plan *d = j->d;
    const conv_problem *p = &d->head.problem;
    const conv_axis *h = &p->axis[CONV_H], *x = &p->axis[CONV_W];
    if (image == j->image && c == j->c) return;
    if (d->head.pass == CONV_FORWARD || d->backward.weights)
        ring_turn(&j->src_ring, j->args->src + image * h->in * x->in * p->ic + c / p->depth_multiplier, width);
    if (d->head.pass != CONV_FORWARD)
        ring_turn(&j->diff_ring, j->diff_dst + image * d->rows * d->width * d->channels + c, width);
    if (j->taps != NULL && j->args->weights != NULL && (c != j->c || j->image < 0))
        depthwise_copy_taps(d, j->args->weights + c, d->channels, j->taps, j->tap_step, width);
    j->image = image;
    j->c = c;
}

/* Weights of the block that the rings are turned to. */
static const float *block_weights(const depthwise_job *j)
{
    return j->taps != NULL ? j->taps : j->args->weights + j->c;
}

/* ---- multiplier */

/* pixels x [channels of one block], each source channel repeated `multiplier` times. Constant multipliers,
 * of which vectors are made. */
ALWAYS_INLINE void widen_by(const int64_t multiplier, const float *restrict src, int64_t pixels,
                            int64_t src_pixel, int64_t width, float *restrict wide)
{
    for (int64_t i = 0; i < pixels; i++, src += src_pixel, wide += width)
        for (int64_t c = 0; c < width / multiplier; c++)
            for (int64_t m = 0; m < multiplier; m++) wide[c * multiplier + m] = src[c];
}

static void widen(const float *src, int64_t pixels, int64_t src_pixel, int64_t multiplier, int64_t width,
                  float *wide)
{
    switch (multiplier) {
    case 2: widen_by(2, src, pixels, src_pixel, width, wide); break;
    case 3: widen_by(3, src, pixels, src_pixel, width, wide); break;
    case 4: widen_by(4, src, pixels, src_pixel, width, wide); break;
    default: widen_by(multiplier, src, pixels, src_pixel, width, wide);
    }
}

/* The transpose of widen: sums over each source channel's multiples. */
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
    default: fold_by(multiplier, wide, pixels, width, dst, dst_pixel);
    }
}

row_ring depthwise_widen_rows(const depthwise_job *j, int64_t width, int64_t y0, int64_t y1)
{
    const conv_problem *p = &j->d->head.problem;
    const conv_axis *h = &p->axis[CONV_H], *x = &p->axis[CONV_W];
    int64_t first = max64(0, min64(h->in, y0 * h->stride - h->pad_before));
    int64_t last = max64(first, min64(h->in, (y1 - 1) * h->stride - h->pad_before + conv_effective_kernel(h)));
    widen(j->src_ring.image + first * x->in * p->ic, (last - first) * x->in, p->ic, p->depth_multiplier, width,
          j->wide);
    return rows_in_place(j->wide - first * x->in * width, x->in, width);
}

/* ---- rows of dst or diff_src */

/* Output rows [y0, y1) of one image, channels [c, c + width), forward. */
static void forward_rows(depthwise_job *j, int64_t image, int64_t c, int64_t width, int64_t y0, int64_t y1)
{
    const depthwise_plan *d = j->d;
    const conv_problem *p = &d->head.problem;
    depthwise_turn(j, image, c, width);
    row_ring wide, *in = &j->src_ring;
    if (p->depth_multiplier > 1) {
        wide = depthwise_widen_rows(j, width, y0, y1);
        in = &wide;
    }
    row_convolution rows = {.walk = &d->walk,
                            .in = in,
                            .pointers = j->pointers,
                            .weights = block_weights(j),
                            .w_tap = j->tap_step,
                            .out = j->args->dst + (image * d->rows + y0) * d->width * d->channels + c,
                            .out_pixel = d->channels,
                            .channels = width,
                            .bias = p->bias ? j->args->bias + c : NULL,
                            .clip = conv_clip(p->post_op),
                            .ahead = depthwise_ahead(d, width, d->how.walk.ring),
                            .stream = d->how.walk.stream};
    rows_convolve(&rows, y0, y1);
}

/* Rows [y0, y1) of diff_src of one image, channels [c, c + width) of dst. */
static void backward_rows(depthwise_job *j, int64_t image, int64_t c, int64_t width, int64_t y0, int64_t y1)
{
    const depthwise_plan *d = j->d;
    const conv_problem *p = &d->head.problem;
    const conv_axis *h = &p->axis[CONV_H], *x = &p->axis[CONV_W];
    int64_t m = p->depth_multiplier;
    depthwise_turn(j, image, c, width);
    float *diff_src = j->args->diff_src + (image * h->in + y0) * x->in * p->ic + c / m;
    row_convolution rows = {.walk = &d->walk,
                            .in = &j->diff_ring,
                            .pointers = j->pointers,
                            .weights = block_weights(j),
                            .w_tap = j->tap_step,
                            .out = m > 1 ? j->wide : diff_src,
                            .out_pixel = m > 1 ? width : p->ic,
                            .channels = width,
                            .ahead = depthwise_ahead(d, width, d->how.walk.ring),
                            .stream = d->how.walk.stream};
    if (m == 1) {
        rows_convolve(&rows, y0, y1);
        return;
    }
    for (int64_t y = y0; y < y1; y++, diff_src += x->in * p->ic) {
        rows_convolve(&rows, y, y + 1);
        fold(j->wide, x->in, m, width, diff_src, p->ic);
    }
}

/* Steps [s0, s1) of rows_together rows each, of one image and block. */
static void run_steps(depthwise_job *j, int64_t image, int64_t block, int64_t s0, int64_t s1)
{
    const depthwise_plan *d = j->d;
    int64_t rows = axis_outputs(&d->head.problem.axis[CONV_H], d->backward.data), most = d->how.walk.channels;
    int64_t c = block * most, end = min64(rows, s1 * d->rows_together);
    int64_t at_once = d->wide_rows > 0 || d->walk.stencil3 ? d->rows_together : rows;
    for (int64_t y = s0 * d->rows_together; y < end; y += at_once)
        (d->backward.data ? backward_rows : forward_rows)(j, image, c, min64(most, d->channels - c), y,
                                                          min64(end, y + at_once));
}

/* Image slowest, then steps of rows, then block of channels, so that shares are long contiguous pieces of
 * memory: a share of the channels alone would use only some sets of the caches. Rings hold the rows of one
 * block, so with them the block goes before the steps. */
static void run_share(depthwise_job *j, int thread, int threads)
{
    const depthwise_plan *d = j->d;
    const conv_problem *p = &d->head.problem;
    int64_t steps = div_up(axis_outputs(&p->axis[CONV_H], d->backward.data), d->rows_together), begin, end;
    int64_t blocks = div_up(d->channels, d->how.walk.channels);
    bool block_first = d->how.walk.ring || blocks == 1;
    share(p->mb * steps * blocks, thread, threads, &begin, &end);
    for (int64_t u = begin, last; u < end; u = last) {
        int64_t image = u / blocks / steps, rest = u % (blocks * steps);
        int64_t block = block_first ? rest / steps : rest % blocks;
        int64_t step = block_first ? rest % steps : rest / blocks;
        last = block_first ? min64(end, u + steps - step) : u + 1;
        run_steps(j, image, block, step, step + last - u);
    }
}

void depthwise_run_rows(depthwise_job *j, int thread, int threads)
{
    run_share(j, thread, threads);
    if (j->d->how.walk.stream) vec_stream_end();
}
