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

/* Rows of diff_dst in the ring: for the weights' gradient alone each is read once, best where it lies. */
static int64_t diff_rows(const depthwise_plan *d) { return d->backward.data ? d->ring_rows : 0; }

static layout lay_out(const depthwise_plan *d)
{
    const conv_axis *h = &d->head.problem.axis[CONV_H], *x = &d->head.problem.axis[CONV_W];
    layout at;
    size_t floats = 0;
    int64_t taps = d->ring_rows > 0 ? h->kernel * x->kernel * d->tap_floats : 0;
    bool reads_src = d->head.pass == CONV_FORWARD || d->backward.weights;
    at.pointers =
        conv_reserve(&floats, div_up(2 * h->kernel * (int64_t)sizeof(float *), (int64_t)sizeof(float)));
    at.wide = conv_reserve(&floats, d->wide_rows * x->in * d->block);
    at.src = conv_reserve(&floats, reads_src ? ring_floats(d->ring_rows, x->in, d->block) : 0);
    at.diff = conv_reserve(&floats, ring_floats(diff_rows(d), d->width, d->block));
    at.taps = conv_reserve(&floats, taps);
    at.sums = conv_reserve(&floats, d->backward.weights ? taps : 0);
    at.all = floats;
    return at;
}

size_t depthwise_job_floats(const depthwise_plan *d) { return lay_out(d).all; }

depthwise_job depthwise_job_make(const depthwise_plan *d, const conv_args *args, float *scratch)
{
    const conv_problem *p = &d->head.problem;
    layout at = lay_out(d);
    return (depthwise_job){
        .d = d,
        .args = args,
        .diff_dst = args->diff_dst,
        .pointers = {(const float **)(scratch + at.pointers),
                     (float **)(scratch + at.pointers) + p->axis[CONV_H].kernel},
        .wide = scratch + at.wide,
        .src_ring = ring_make(scratch + at.src, d->ring_rows, p->axis[CONV_W].in, d->block, p->ic),
        .diff_ring = ring_make(scratch + at.diff, diff_rows(d), d->width, d->block, d->channels),
        .taps = scratch + at.taps,
        .sums = scratch + at.sums,
        .image = -1};
}

void depthwise_job_restart(depthwise_job *j, const depthwise_plan *d, const conv_args *args)
{
    j->d = d;
    j->args = args;
    j->diff_dst = args->diff_dst;
    j->src_ring.pixel = d->head.problem.ic;
    j->diff_ring.pixel = d->channels;
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
    if (d->ring_rows > 0 && j->args->weights != NULL && (c != j->c || j->image < 0))
        depthwise_copy_taps(d, j->args->weights + c, d->channels, j->taps, d->tap_floats, width);
    j->image = image;
    j->c = c;
}

/* Weights of the block that the rings are turned to. */
static const float *block_weights(const depthwise_job *j)
{
    return j->d->ring_rows > 0 ? j->taps : j->args->weights + j->c;
}

/* ---- multiplier */

/* pixels x [channels of one block], each source channel repeated `multiplier` times. */
static void widen(const float *src, int64_t pixels, int64_t src_pixel, int64_t multiplier, int64_t width,
                  float *wide)
{
    for (int64_t i = 0; i < pixels; i++, src += src_pixel)
        for (int64_t c = 0; c < width / multiplier; c++)
            for (int64_t m = 0; m < multiplier; m++) *wide++ = src[c];
}

/* The transpose of widen: sums over each source channel's multiples. */
static void fold(const float *wide, int64_t pixels, int64_t multiplier, int64_t width, float *dst,
                 int64_t dst_pixel)
{
    for (int64_t i = 0; i < pixels; i++, dst += dst_pixel)
        for (int64_t c = 0; c < width / multiplier; c++) {
            float sum = 0;
            for (int64_t m = 0; m < multiplier; m++) sum += *wide++;
            dst[c] = sum;
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
                            .w_tap = depthwise_tap_step(d),
                            .out = j->args->dst + (image * d->rows + y0) * d->width * d->channels + c,
                            .out_pixel = d->channels,
                            .channels = width,
                            .bias = p->bias ? j->args->bias + c : NULL,
                            .relu = p->post_op == CONV_POST_RELU,
                            .ahead = d->whole_rows && width == ring_step(in),
                            .stream = d->stream};
    rows_convolve(&rows, y0, y1);
}

void depthwise_backward_rows(depthwise_job *j, int64_t image, int64_t c, int64_t width, int64_t y0, int64_t y1)
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
                            .w_tap = depthwise_tap_step(d),
                            .out = m > 1 ? j->wide : diff_src,
                            .out_pixel = m > 1 ? width : p->ic,
                            .channels = width,
                            .ahead = d->whole_rows && width == ring_step(&j->diff_ring),
                            .stream = d->stream};
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
    int64_t rows = axis_outputs(&d->head.problem.axis[CONV_H], d->backward.data), c = block * d->block;
    for (int64_t y = s0 * d->rows_together; y < min64(rows, s1 * d->rows_together); y += d->rows_together)
        (d->backward.data ? depthwise_backward_rows : forward_rows)(
            j, image, c, min64(d->block, d->channels - c), y, min64(rows, y + d->rows_together));
}

/* Image slowest, then steps of rows, then block of channels, so that shares are long contiguous pieces of
 * memory: a share of the channels alone would use only some sets of the caches. Rings hold the rows of one
 * block, so there each thread goes through all its rows of an image block by block. */
static void run_share(depthwise_job *j, int thread, int threads)
{
    const depthwise_plan *d = j->d;
    const conv_problem *p = &d->head.problem;
    int64_t steps = div_up(axis_outputs(&p->axis[CONV_H], d->backward.data), d->rows_together), begin, end;
    bool by_rows = deals_evenly(p->mb * steps, threads, 8);
    if (d->ring_rows > 0 && by_rows) {
        share(p->mb * steps, thread, threads, &begin, &end);
        for (int64_t i = begin, last; i < end; i = last) {
            last = min64(end, (i / steps + 1) * steps);
            for (int64_t block = 0; block < d->blocks; block++)
                run_steps(j, i / steps, block, i % steps, i % steps + last - i);
        }
        return;
    }
    share(p->mb * steps * d->blocks, thread, threads, &begin, &end);
    for (int64_t u = begin; u < end; u++) {
        int64_t image = u / d->blocks / steps, rest = u % (d->blocks * steps);
        int64_t block = d->ring_rows > 0 ? rest / steps : rest % d->blocks;
        int64_t step = d->ring_rows > 0 ? rest % steps : rest / d->blocks;
        run_steps(j, image, block, step, step + 1);
    }
}

void depthwise_run_rows(depthwise_job *j, int thread, int threads)
{
    run_share(j, thread, threads);
    if (j->d->stream) vec_stream_end();
}
