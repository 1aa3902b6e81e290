/* Depthwise passes over rows: finds for each row of outputs the rows it reads, has them copied into a ring
 * where that pays, and calls the row and pair kernels.
 *
 * With a multiplier, source rows are widened (each channel repeated) into scratch, or rows of diff_src summed
 * up from their widened form: the kernels know no multiplier. */
#include "depthwise_pass.h"

#include <string.h>

#include "depthwise.h"
#include "reduce.h"

/* ---- scratch of a thread */

typedef struct {
    size_t pointers, wide, src, diff, taps, sums, all;
} layout;

/* Rows of diff_dst in the ring: for the weights' gradient alone each is read once, best where it lies. */
static int64_t diff_rows(const depthwise_plan *d) { return d->data ? d->ring_rows : 0; }

static layout lay_out(const depthwise_plan *d)
{
    const conv_axis *h = &d->head.problem.axis[CONV_H], *x = &d->head.problem.axis[CONV_W];
    layout at;
    size_t floats = 0;
    int64_t taps = d->ring_rows > 0 ? h->kernel * x->kernel * d->tap_floats : 0;
    bool reads_src = d->head.pass == CONV_FORWARD || d->weights;
    at.pointers =
        conv_reserve(&floats, div_up(2 * h->kernel * (int64_t)sizeof(float *), (int64_t)sizeof(float)));
    at.wide = conv_reserve(&floats, d->wide_rows * x->in * d->block);
    at.src = conv_reserve(&floats, reads_src ? ring_floats(d->ring_rows, x->in, d->block) : 0);
    at.diff = conv_reserve(&floats, ring_floats(diff_rows(d), conv_out(x), d->block));
    at.taps = conv_reserve(&floats, taps);
    at.sums = conv_reserve(&floats, d->weights ? taps : 0);
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
        .src = (const float **)(scratch + at.pointers),
        .weights = (float **)(scratch + at.pointers) + p->axis[CONV_H].kernel,
        .wide = scratch + at.wide,
        .src_ring = ring_make(scratch + at.src, d->ring_rows, p->axis[CONV_W].in, d->block, p->ic),
        .diff_ring =
            ring_make(scratch + at.diff, diff_rows(d), conv_out(&p->axis[CONV_W]), d->block, d->channels),
        .taps = scratch + at.taps,
        .sums = scratch + at.sums,
        .image = -1};
}

void depthwise_job_turn(depthwise_job *j, const depthwise_plan *d, const conv_args *args)
{
    j->d = d;
    j->args = args;
    j->diff_dst = args->diff_dst;
    j->src_ring.pixel = d->head.problem.ic;
    j->diff_ring.pixel = d->channels;
    j->image = -1;
}

/* to[taps][..] = from[taps][..], `width` channels. */
static void copy_taps(const depthwise_plan *d, const float *from, int64_t from_tap, float *to, int64_t to_tap,
                      int64_t width)
{
    int64_t taps = d->head.problem.axis[CONV_H].kernel * d->head.problem.axis[CONV_W].kernel;
    for (int64_t t = 0; t < taps; t++)
        memcpy(to + t * to_tap, from + t * from_tap, (size_t)width * sizeof(float));
}

/* Turns the rings and the weights to channels [c, c + width) of an image. */
static void turn(depthwise_job *j, int64_t image, int64_t c, int64_t width)
{
    const depthwise_plan *d = j->d;
    const conv_problem *p = &d->head.problem;
    const conv_axis *h = &p->axis[CONV_H], *x = &p->axis[CONV_W];
    if (image == j->image && c == j->c) return;
    if (d->head.pass == CONV_FORWARD || d->weights)
        ring_turn(&j->src_ring, j->args->src + image * h->in * x->in * p->ic + c / p->depth_multiplier, width);
    if (d->head.pass != CONV_FORWARD)
        ring_turn(&j->diff_ring, j->diff_dst + image * conv_out(h) * conv_out(x) * d->channels + c, width);
    if (d->ring_rows > 0 && j->args->weights != NULL && (c != j->c || j->image < 0))
        copy_taps(d, j->args->weights + c, d->channels, j->taps, d->tap_floats, width);
    j->image = image;
    j->c = c;
}

/* Weights of the block that the rings are turned to, and the distance of its taps. */
static const float *block_weights(const depthwise_job *j)
{
    return j->d->ring_rows > 0 ? j->taps : j->args->weights + j->c;
}

static int64_t tap_step(const depthwise_plan *d) { return d->ring_rows > 0 ? d->tap_floats : d->channels; }

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

/* Source rows that output rows [y0, y1) read, of the forward geometry and the block, widened. Returns the first
 * one's number. */
static int64_t widen_rows(const depthwise_job *j, int64_t width, int64_t y0, int64_t y1)
{
    const conv_problem *p = &j->d->head.problem;
    const conv_axis *h = &p->axis[CONV_H], *x = &p->axis[CONV_W];
    int64_t first = max64(0, min64(h->in, y0 * h->stride - h->pad_before));
    int64_t last = max64(first, min64(h->in, (y1 - 1) * h->stride - h->pad_before + conv_effective_kernel(h)));
    widen(j->src_ring.image + first * x->in * p->ic, (last - first) * x->in, p->ic, p->depth_multiplier, width,
          j->wide);
    return first;
}

/* ---- rows of dst or diff_src */

/* Output rows y and y+1, by the pair kernel; what it has in common with the row kernel is in row. */
static void run_pair(const depthwise_plan *d, row_ring *in, const depthwise_row *row, bool backward, int64_t y,
                     const float *weights)
{
    const conv_axis *h = &d->head.problem.axis[CONV_H], *x = &d->head.problem.axis[CONV_W];
    int64_t inputs = axis_inputs(h, backward), outputs = axis_outputs(x, backward);
    int64_t first = backward ? y + h->pad_before - 2 : y - h->pad_before;
    depthwise_pair pair = {.src_pixel = row->src_pixel,
                           .w_tap = row->w_tap,
                           .dst_pixel = row->dst_pixel,
                           .dst = {row->dst, row->dst + outputs * row->dst_pixel},
                           .channels = row->channels,
                           .bias = row->bias,
                           .relu = row->relu,
                           .ahead = d->whole_rows && row->channels == row->src_pixel,
                           .stream = d->stream};
    for (int64_t i = 0; i < 4; i++)
        if (first + i >= 0 && first + i < inputs) pair.src[i] = ring_row(in, first + i);
    for (int64_t k = 0; k < 3; k++) pair.weights[k] = weights + (backward ? 2 - k : k) * 3 * row->w_tap;
    depthwise_pair_run(&d->x, &pair);
}

/* Output rows [y0, y1) of one image, channels [c, c + width), forward. */
static void forward_rows(depthwise_job *j, int64_t image, int64_t c, int64_t width, int64_t y0, int64_t y1)
{
    const depthwise_plan *d = j->d;
    const conv_problem *p = &d->head.problem;
    const conv_axis *h = &p->axis[CONV_H], *x = &p->axis[CONV_W];
    bool wide = p->depth_multiplier > 1;
    turn(j, image, c, width);
    int64_t first = wide ? widen_rows(j, width, y0, y1) : 0;
    const float *weights = block_weights(j);
    depthwise_row row = {.src = j->src,
                         .weights = (const float *const *)j->weights,
                         .src_pixel = wide ? width : ring_step(&j->src_ring),
                         .w_tap = tap_step(d),
                         .dst_pixel = d->channels,
                         .channels = width,
                         .bias = p->bias ? j->args->bias + c : NULL,
                         .relu = p->post_op == CONV_POST_RELU};
    bool pairs = d->pairs && depthwise_pair_fits(&d->x, width);
    for (int64_t y = y0; y < y1; y++) {
        row.dst = j->args->dst + (image * conv_out(h) + y) * conv_out(x) * d->channels + c;
        if (pairs && y + 1 < y1) {
            run_pair(d, &j->src_ring, &row, false, y++, weights);
            continue;
        }
        row.rows = 0;
        for (int64_t k = 0; k < h->kernel; k++) {
            int64_t iy = axis_input(h, false, y, k);
            if (iy < 0) continue;
            j->src[row.rows] = wide ? j->wide + (iy - first) * x->in * width : ring_row(&j->src_ring, iy);
            j->weights[row.rows++] = (float *)weights + k * x->kernel * row.w_tap;
        }
        depthwise_row_run(&d->x, &row);
    }
}

/* Rows [y0, y1) of diff_src of one image, channels [c, c + width) of dst. */
static void backward_rows(depthwise_job *j, int64_t image, int64_t c, int64_t width, int64_t y0, int64_t y1)
{
    const depthwise_plan *d = j->d;
    const conv_problem *p = &d->head.problem;
    const conv_axis *h = &p->axis[CONV_H], *x = &p->axis[CONV_W];
    int64_t m = p->depth_multiplier;
    turn(j, image, c, width);
    const float *weights = block_weights(j);
    depthwise_row row = {.src = j->src,
                         .weights = (const float *const *)j->weights,
                         .src_pixel = ring_step(&j->diff_ring),
                         .w_tap = tap_step(d),
                         .dst_pixel = m > 1 ? width : p->ic,
                         .channels = width};
    bool pairs = d->pairs && depthwise_pair_fits(&d->x, width);
    for (int64_t y = y0; y < y1; y++) {
        float *dst = j->args->diff_src + (image * h->in + y) * x->in * p->ic + c / m;
        row.dst = m > 1 ? j->wide : dst;
        if (pairs && y + 1 < y1) {
            run_pair(d, &j->diff_ring, &row, true, y++, weights);
            continue;
        }
        row.rows = 0;
        for (int64_t k = 0; k < h->kernel; k++) {
            int64_t oy = axis_input(h, true, y, k);
            if (oy < 0) continue;
            j->src[row.rows] = ring_row(&j->diff_ring, oy);
            j->weights[row.rows++] = (float *)weights + k * x->kernel * row.w_tap;
        }
        depthwise_row_run(&d->x, &row);
        if (m > 1) fold(j->wide, x->in, m, width, dst, p->ic);
    }
}

/* Groups [g0, g1) of rows of one image and block. */
static void run_groups(depthwise_job *j, int64_t image, int64_t block, int64_t g0, int64_t g1)
{
    const depthwise_plan *d = j->d;
    int64_t rows = axis_outputs(&d->head.problem.axis[CONV_H], d->data), c = block * d->block;
    for (int64_t y = g0 * d->rows_together; y < min64(rows, g1 * d->rows_together); y += d->rows_together)
        (d->data ? backward_rows : forward_rows)(j, image, c, min64(d->block, d->channels - c), y,
                                                 min64(rows, y + d->rows_together));
}

/* Image slowest, then group of rows, then block of channels, so that shares are long contiguous pieces of
 * memory: a share of the channels alone would use only some sets of the caches. Rings hold the rows of one
 * block, so there each thread goes through all its rows of an image block by block. */
static void run_share(depthwise_job *j, int thread, int threads)
{
    const depthwise_plan *d = j->d;
    const conv_problem *p = &d->head.problem;
    int64_t groups = div_up(axis_outputs(&p->axis[CONV_H], d->data), d->rows_together), begin, end;
    bool by_rows = p->mb * groups % threads == 0 || p->mb * groups >= 8 * threads;
    if (d->ring_rows > 0 && by_rows) {
        share(p->mb * groups, thread, threads, &begin, &end);
        for (int64_t g = begin, last; g < end; g = last) {
            last = min64(end, (g / groups + 1) * groups);
            for (int64_t block = 0; block < d->blocks; block++)
                run_groups(j, g / groups, block, g % groups, g % groups + last - g);
        }
        return;
    }
    share(p->mb * groups * d->blocks, thread, threads, &begin, &end);
    for (int64_t u = begin; u < end; u++) {
        int64_t image = u / d->blocks / groups, rest = u % (d->blocks * groups);
        int64_t block = d->ring_rows > 0 ? rest / groups : rest % d->blocks;
        int64_t group = d->ring_rows > 0 ? rest % groups : rest / d->blocks;
        run_groups(j, image, block, group, group + 1);
    }
}

void depthwise_run_rows(depthwise_job *j, int thread, int threads)
{
    run_share(j, thread, threads);
    if (j->d->stream) vec_stream_end();
}

/* ---- backward_weights */

/* Adds output row y to the sums [taps][..], the distance of whose taps is in row. */
static void sum_row(depthwise_job *j, int64_t width, int64_t y, int64_t rows, float *sums, int64_t sums_tap)
{
    (void)rows;
    const depthwise_plan *d = j->d;
    const conv_problem *p = &d->head.problem;
    const conv_axis *h = &p->axis[CONV_H], *x = &p->axis[CONV_W];
    bool wide = p->depth_multiplier > 1;
    int64_t first = wide ? widen_rows(j, width, y, y + 1) : 0;
    depthwise_sums row = {.src = j->src,
                          .sums = j->weights,
                          .diff_dst = ring_row(&j->diff_ring, y),
                          .src_pixel = wide ? width : ring_step(&j->src_ring),
                          .w_tap = sums_tap,
                          .dst_pixel = ring_step(&j->diff_ring),
                          .channels = width};
    for (int64_t k = 0; k < h->kernel; k++) {
        int64_t iy = axis_input(h, false, y, k);
        if (iy < 0) continue;
        j->src[row.rows] = wide ? j->wide + (iy - first) * x->in * width : ring_row(&j->src_ring, iy);
        j->weights[row.rows++] = sums + k * x->kernel * sums_tap;
    }
    depthwise_sums_run(&d->x_forward, &row);
}

/* The same of rows y and y+1. */
static void sum_pair(depthwise_job *j, int64_t width, int64_t y, int64_t rows, float *sums, int64_t sums_tap)
{
    (void)rows;
    const depthwise_plan *d = j->d;
    const conv_axis *h = &d->head.problem.axis[CONV_H];
    int64_t first = y - h->pad_before;
    depthwise_sums_pair pair = {.diff_dst = {ring_row(&j->diff_ring, y), ring_row(&j->diff_ring, y + 1)},
                                .src_pixel = ring_step(&j->src_ring),
                                .w_tap = sums_tap,
                                .dst_pixel = ring_step(&j->diff_ring),
                                .channels = width,
                                .ahead = d->whole_rows && width == d->channels};
    for (int64_t i = 0; i < 4; i++)
        if (first + i >= 0 && first + i < h->in) pair.src[i] = ring_row(&j->src_ring, first + i);
    for (int64_t k = 0; k < 3; k++) pair.sums[k] = sums + k * 3 * sums_tap;
    depthwise_sums_pair_run(&d->x_forward, &pair);
}

/* How many bands from row y on, of `rows` at most, have all source rows but for the first and the last of all:
 * one, where other channels lie between the pixels and all that a band reads is best read at once. */
static int64_t bands_from(const depthwise_plan *d, int64_t y, int64_t rows)
{
    const conv_axis *h = &d->head.problem.axis[CONV_H];
    int64_t second = y - h->pad_before + 1;
    int64_t bands = second < 0 ? 0 : min64(rows, h->in - second) / BAND_ROWS;
    return d->channels > VL ? min64(bands, 1) : bands;
}

/* The same of whole bands. */
static void sum_bands(depthwise_job *j, int64_t width, int64_t y, int64_t rows, float *sums, int64_t sums_tap)
{
    const depthwise_plan *d = j->d;
    const conv_axis *h = &d->head.problem.axis[CONV_H], *x = &d->head.problem.axis[CONV_W];
    int64_t first = y - h->pad_before;
    depthwise_band band = {.src_pixel = ring_step(&j->src_ring),
                           .w_tap = sums_tap,
                           .dst_pixel = ring_step(&j->diff_ring),
                           .channels = width,
                           .bands = rows / BAND_ROWS,
                           .src_row = x->in * d->channels,
                           .dst_row = conv_out(x) * d->channels,
                           .head = first<0, .tail = first + rows + 2> h->in,
                           .ahead = d->from_memory && d->channels == VL};
    for (int64_t i = 0; i < BAND_ROWS; i++) band.diff_dst[i] = ring_row(&j->diff_ring, y + i);
    for (int64_t i = 0; i < BAND_ROWS + 2; i++)
        if (first + i >= 0 && first + i < h->in) band.src[i] = ring_row(&j->src_ring, first + i);
    for (int64_t k = 0; k < 3; k++) band.sums[k] = sums + k * 3 * sums_tap;
    depthwise_band_run(&d->x_forward, &band);
}

typedef void summing(depthwise_job *j, int64_t width, int64_t y, int64_t rows, float *sums, int64_t sums_tap);

/* Where a block's sums are made while its rows are copied: side by side; else in the gradient itself. */
static float *block_sums(const depthwise_job *j, float *out, int64_t c)
{
    return j->d->ring_rows > 0 ? j->sums : out + c;
}

/* Rows [first, last), counted through all images, of channels [c0, c1) into out[taps][channels]; joint: also
 * rows of diff_src. All blocks of a row before the next one. */
static void sum_rows(depthwise_job *j, int64_t c0, int64_t c1, int64_t first, int64_t last, float *out)
{
    const depthwise_plan *d = j->d;
    int64_t rows = conv_out(&d->head.problem.axis[CONV_H]);
    int64_t block = d->whole_rows ? c1 - c0 : d->sum_block;
    bool joint = d->joint && j->args->diff_src != NULL, bands = d->bands && (c1 - c0) % VL == 0;
    for (int64_t i = first, n; i < last; i += n) {
        int64_t image = i / rows, y = i % rows, left = min64(last - i, rows - y);
        int64_t many = bands ? BAND_ROWS * bands_from(d, y, left) : 0;
        n = many > 0 ? many : d->pairs && left > 1 ? 2 : 1;
        summing *sum = many > 0 ? sum_bands : n == 2 ? sum_pair : sum_row;
        for (int64_t c = c0; c < c1; c += block) {
            int64_t width = min64(block, c1 - c);
            turn(j, image, c, width);
            sum(j, width, y, n, block_sums(j, out, c), tap_step(d));
            if (joint) backward_rows(j, image, c, width, y, y + n);
        }
    }
}

/* The sums of a chunk's rows for channels [c, c + width). */
static void sum_chunk(depthwise_job *j, int64_t chunk, int64_t c, int64_t width)
{
    const depthwise_plan *d = j->d;
    const conv_problem *p = &d->head.problem;
    int64_t taps = p->axis[CONV_H].kernel * p->axis[CONV_W].kernel, step = tap_step(d), first, last;
    float *out = d->chunks > 1 ? j->partials + chunk * d->chunk_floats : j->args->diff_weights;
    float *sums = block_sums(j, out, c);
    if (d->chunks > 1 || !j->args->accumulate)
        for (int64_t t = 0; t < taps; t++) memset(sums + t * step, 0, (size_t)width * sizeof(float));
    else if (d->ring_rows > 0)
        copy_taps(d, out + c, d->channels, sums, step, width);
    share(p->mb * conv_out(&p->axis[CONV_H]), chunk, d->chunks, &first, &last);
    sum_rows(j, c, c + width, first, last, out);
    if (d->ring_rows > 0) copy_taps(d, sums, step, out + c, d->channels, width);
}

/* All chunks of a share of the channels, and their sum. */
static void sum_owned(depthwise_job *j, int thread, int threads)
{
    const depthwise_plan *d = j->d;
    const conv_axis *axis = d->head.problem.axis;
    int64_t begin, end;
    share(div_up(d->channels, VL), thread, threads, &begin, &end);
    int64_t c = begin * VL, width = min64(end * VL, d->channels) - c;
    for (int64_t chunk = 0; chunk < d->chunks; chunk++) sum_chunk(j, chunk, c, width);
    for (int64_t t = 0; t < axis[CONV_H].kernel * axis[CONV_W].kernel; t++, c += d->channels)
        reduce_chunks(j->partials + c, d->chunks, d->chunk_floats, width, j->args->accumulate,
                      j->args->diff_weights + c, 0, 1);
}

/* Shares are channels where those are owned; else chunks, where memory wants long pieces and there are enough
 * of them, or blocks of chunks. Whichever, the sums of a channel and chunk are made in one order. */
void depthwise_run_sums(depthwise_job *j, int thread, int threads)
{
    const depthwise_plan *d = j->d;
    if (d->owned) {
        sum_owned(j, thread, threads);
        return;
    }
    bool whole = d->from_memory && d->ring_rows == 0 && (d->chunks % threads == 0 || d->chunks >= 8 * threads);
    int64_t wide = whole ? d->channels : d->sum_block, blocks = div_up(d->channels, wide), begin, end;
    share(d->chunks * blocks, thread, threads, &begin, &end);
    for (int64_t u = begin; u < end; u++) {
        int64_t c = u % blocks * wide;
        sum_chunk(j, u / blocks, c, min64(wide, d->channels - c));
    }
}
