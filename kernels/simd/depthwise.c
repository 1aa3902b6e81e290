/* Depthwise convolution, every pass, any stride, dilation and multiplier.
 *
 * forward, backward_data: image, block of channels, row of outputs; a block is as wide as its rows of one
 * kernel window fit L1. Rows are dealt out in equal contiguous shares. backward_weights: fixed chunks of rows x
 * blocks of channels, each with sums of its own, joined in an ordered tree. With a multiplier, source rows are
 * widened (each channel repeated) into scratch, or rows of diff_src summed up from their widened form: the
 * kernels know no multiplier. All in one parallel region. Refuses rank 3. */
#include <omp.h>
#include <stdio.h>
#include <string.h>

#include "../plan.h"

#include "depthwise.h"
#include "reduce.h"
#include "simd.h"

enum {
    MOST_CHANNELS = 256,     /* of a block */
    MOST_SUM_CHANNELS = 128, /* of a block in backward_weights */
    ENOUGH_UNITS = 64,       /* of backward_weights: keep any number of threads busy */
    LEAST_PIXELS = 196,      /* of a chunk */
    WIDE_ROWS = 8            /* output rows whose widened sources are in scratch at once */
};

typedef struct {
    conv_plan head;
    bool data, weights, bias;        /* backward: which gradients */
    axis_segments x, x_forward;      /* of forward or backward_data; of backward_weights */
    int64_t channels, block, blocks; /* of dst; of one block; blocks */
    int64_t sum_block, sum_blocks;   /* backward_weights: block of channels, blocks */
    int64_t chunks, chunk_floats;    /* fixed chunks of rows */
    int64_t rows_together;           /* output rows of one unit of work */
    int64_t wide_rows;               /* source rows widened at once; 0: multiplier 1 */
    bool pairs, sum_pairs;           /* rows go by twos; in backward_weights */
    size_t masked, bias_sums, partials, threads, thread_floats; /* scratch: offsets and size, floats */
} depthwise_plan;

static const char *refuse(const conv_impl *self, const conv_problem *p, conv_pass pass)
{
    (void)self, (void)pass;
    return p->rank == 3 ? "rank 3" : NULL;
}

static void destroy(conv_plan *plan)
{
    depthwise_plan *d = (depthwise_plan *)plan;
    axis_segments_free(&d->x);
    axis_segments_free(&d->x_forward);
    free(d);
}

/* ---- plan */

static void choose_blocks(depthwise_plan *d)
{
    const conv_problem *p = &d->head.problem;
    const conv_axis *h = &p->axis[CONV_H], *x = &p->axis[CONV_W];
    int64_t m = p->depth_multiplier;
    d->channels = p->oc;
    int64_t block = round_up(div_up(d->channels, div_up(d->channels, MOST_CHANNELS)), VL);
    if (m > 1) block = max64(1, block / m) * m;
    d->block = min64(block, d->channels);
    d->blocks = div_up(d->channels, d->block);
    int64_t narrowest = d->channels - (d->blocks - 1) * d->block;
    bool adjacent = m == 1 && h->kernel == 3 && h->stride == 1 && h->dilation == 1;
    d->pairs = adjacent && depthwise_pair_fits(&d->x, narrowest);
    d->sum_pairs = adjacent && depthwise_pair_fits(&d->x_forward, VL);
    d->rows_together = d->pairs ? 2 : m > 1 ? WIDE_ROWS : 1;
    if (m > 1) d->wide_rows = min64(h->in, (WIDE_ROWS - 1) * h->stride + conv_effective_kernel(h));
    d->sum_block = m > 1 ? d->block : min64(d->block, MOST_SUM_CHANNELS);
    d->sum_blocks = div_up(d->channels, d->sum_block);
    /* Chunks of an even number of rows where that keeps pairs whole. */
    int64_t rows = p->mb * conv_out(h),
            most = min64(ENOUGH_UNITS / d->sum_blocks, rows * conv_out(x) / LEAST_PIXELS);
    for (d->chunks = 1; d->chunks * 2 <= most; d->chunks *= 2)
        if (rows / d->chunks % 4 != 0 && rows / d->chunks < 32) break;
    d->chunk_floats = d->chunks > 1 ? conv_problem_sizes(p).weights : 0;
}

static size_t reserve(size_t *floats, int64_t wanted)
{
    size_t offset = *floats;
    *floats += conv_align((size_t)wanted * sizeof(float)) / sizeof(float);
    return offset;
}

static void lay_out_scratch(depthwise_plan *d)
{
    const conv_problem *p = &d->head.problem;
    int64_t dst = conv_problem_sizes(p).dst;
    size_t floats = 0;
    d->masked = reserve(&floats, d->head.pass != CONV_FORWARD && p->post_op == CONV_POST_RELU ? dst : 0);
    d->bias_sums = reserve(&floats, d->bias ? bias_chunks(dst / p->oc) * p->oc : 0);
    d->partials = reserve(&floats, d->weights ? d->chunks * d->chunk_floats : 0);
    int64_t pointers = 2 * p->axis[CONV_H].kernel * (int64_t)sizeof(float *) / (int64_t)sizeof(float);
    int64_t wide = d->wide_rows * p->axis[CONV_W].in * d->block;
    size_t own = 0;
    reserve(&own, pointers);
    reserve(&own, wide);
    d->thread_floats = own;
    d->threads = reserve(&floats, (int64_t)own * d->head.context.threads);
    d->head.scratch_bytes = floats * sizeof(float);
}

static conv_status plan(const conv_impl *self, const conv_problem *p, conv_pass pass, const conv_context *ctx,
                        conv_plan **out, conv_error *err)
{
    depthwise_plan *d = conv_plan_new(sizeof *d, self, p, pass, ctx);
    if (d == NULL) return conv_fail(err, CONV_NO_MEMORY, "no memory for a plan");
    d->data = pass == CONV_BACKWARD || pass == CONV_BACKWARD_DATA;
    d->weights = pass == CONV_BACKWARD || pass == CONV_BACKWARD_WEIGHTS;
    d->bias = d->weights && p->bias;
    if (((pass == CONV_FORWARD || d->data) && !axis_segments_build(&p->axis[CONV_W], d->data, &d->x)) ||
        (d->weights && !axis_segments_build(&p->axis[CONV_W], false, &d->x_forward))) {
        destroy(&d->head);
        return conv_fail(err, CONV_NO_MEMORY, "no memory for the segments of a row");
    }
    choose_blocks(d);
    lay_out_scratch(d);
    snprintf(d->head.note, sizeof d->head.note, "%lld channels a block", (long long)d->block);
    *out = &d->head;
    return CONV_OK;
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

/* ---- rows */

/* A thread's view of the pass and its scratch. */
typedef struct {
    const depthwise_plan *d;
    const conv_args *args;
    const float *diff_dst; /* masked where there is a ReLU */
    const float **src;     /* [KH] */
    float **weights;       /* [KH] */
    float *wide;
} job;

static int64_t block_width(const depthwise_plan *d, int64_t block)
{
    return min64(d->block, d->channels - block * d->block);
}

/* Source rows [first, last) of an image, `width` channels of dst from c on, widened. */
static void widen_rows(const job *j, int64_t image, int64_t c, int64_t width, int64_t first, int64_t last)
{
    const conv_problem *p = &j->d->head.problem;
    const conv_axis *h = &p->axis[CONV_H], *x = &p->axis[CONV_W];
    int64_t m = p->depth_multiplier;
    widen(j->args->src + (image * h->in + first) * x->in * p->ic + c / m, (last - first) * x->in, p->ic, m,
          width, j->wide);
}

/* Source rows that output rows [y0, y1) read, [*first, *last), for the forward geometry. */
static void rows_read(const conv_axis *h, int64_t y0, int64_t y1, int64_t *first, int64_t *last)
{
    *first = max64(0, min64(h->in, y0 * h->stride - h->pad_before));
    *last = max64(*first, min64(h->in, (y1 - 1) * h->stride - h->pad_before + conv_effective_kernel(h)));
}

/* Output rows y and y+1, by the pair kernel: src is row 0 of the image and weights tap 0, both at the block's
 * first channel, dst row y; what else the rows have in common is in row. */
static void run_pair(const job *j, const depthwise_row *row, bool backward, int64_t y, const float *src,
                     const float *weights, float *dst)
{
    const conv_axis *h = &j->d->head.problem.axis[CONV_H], *x = &j->d->head.problem.axis[CONV_W];
    int64_t inputs = axis_inputs(h, backward), outputs = axis_outputs(x, backward);
    int64_t first = backward ? y + h->pad_before - 2 : y - h->pad_before;
    depthwise_pair pair = {.src_pixel = row->src_pixel,
                           .w_tap = row->w_tap,
                           .dst_pixel = row->dst_pixel,
                           .dst = {dst, dst + outputs * row->dst_pixel},
                           .channels = row->channels,
                           .bias = row->bias,
                           .relu = row->relu};
    for (int64_t i = 0; i < 4; i++)
        if (first + i >= 0 && first + i < inputs)
            pair.src[i] = src + (first + i) * axis_inputs(x, backward) * row->src_pixel;
    for (int64_t k = 0; k < 3; k++) pair.weights[k] = weights + (backward ? 2 - k : k) * 3 * row->w_tap;
    depthwise_pair_run(&j->d->x, &pair);
}

/* Output rows [y0, y1) of one image and block, forward. */
static void forward_rows(const job *j, int64_t image, int64_t block, int64_t y0, int64_t y1)
{
    const depthwise_plan *d = j->d;
    const conv_problem *p = &d->head.problem;
    const conv_axis *h = &p->axis[CONV_H], *x = &p->axis[CONV_W];
    int64_t c = block * d->block, width = block_width(d, block), first = 0, last;
    bool wide = p->depth_multiplier > 1;
    const float *src = j->args->src + image * h->in * x->in * p->ic + c;
    if (wide) {
        rows_read(h, y0, y1, &first, &last);
        widen_rows(j, image, c, width, first, last);
        src = j->wide;
    }
    depthwise_row row = {.src = j->src,
                         .weights = (const float *const *)j->weights,
                         .src_pixel = wide ? width : p->ic,
                         .w_tap = d->channels,
                         .dst_pixel = d->channels,
                         .channels = width,
                         .bias = p->bias ? j->args->bias + c : NULL,
                         .relu = p->post_op == CONV_POST_RELU};
    for (int64_t y = y0; y < y1; y++) {
        float *dst = j->args->dst + (image * conv_out(h) + y) * conv_out(x) * d->channels + c;
        if (d->pairs && y + 1 < y1) {
            run_pair(j, &row, false, y++, src, j->args->weights + c, dst);
            continue;
        }
        row.rows = 0;
        for (int64_t k = 0; k < h->kernel; k++) {
            int64_t iy = axis_input(h, false, y, k);
            if (iy < 0) continue;
            j->src[row.rows] = src + (iy - first) * x->in * row.src_pixel;
            j->weights[row.rows++] = (float *)j->args->weights + k * x->kernel * d->channels + c;
        }
        row.dst = dst;
        depthwise_row_run(&d->x, &row);
    }
}

/* Rows [y0, y1) of diff_src of one image and block. */
static void backward_rows(const job *j, int64_t image, int64_t block, int64_t y0, int64_t y1)
{
    const depthwise_plan *d = j->d;
    const conv_problem *p = &d->head.problem;
    const conv_axis *h = &p->axis[CONV_H], *x = &p->axis[CONV_W];
    int64_t c = block * d->block, width = block_width(d, block), m = p->depth_multiplier;
    const float *src = j->diff_dst + image * conv_out(h) * conv_out(x) * d->channels + c;
    depthwise_row row = {.src = j->src,
                         .weights = (const float *const *)j->weights,
                         .src_pixel = d->channels,
                         .w_tap = d->channels,
                         .dst_pixel = m > 1 ? width : p->ic,
                         .channels = width};
    for (int64_t y = y0; y < y1; y++) {
        float *dst = j->args->diff_src + (image * h->in + y) * x->in * p->ic + c / m;
        if (d->pairs && y + 1 < y1) {
            run_pair(j, &row, true, y++, src, j->args->weights + c, dst);
            continue;
        }
        row.rows = 0;
        for (int64_t k = 0; k < h->kernel; k++) {
            int64_t oy = axis_input(h, true, y, k);
            if (oy < 0) continue;
            j->src[row.rows] = src + oy * conv_out(x) * d->channels;
            j->weights[row.rows++] = (float *)j->args->weights + k * x->kernel * d->channels + c;
        }
        row.dst = m > 1 ? j->wide : dst;
        depthwise_row_run(&d->x, &row);
        if (m > 1) fold(j->wide, x->in, m, width, dst, p->ic);
    }
}

/* A thread's share: image slowest, then group of rows, then block of channels, so that shares are long
 * contiguous pieces of memory (a share of the channels alone would use only some sets of the caches). */
static void run_rows(const job *j, int thread, int threads)
{
    const depthwise_plan *d = j->d;
    const conv_problem *p = &d->head.problem;
    int64_t rows = axis_outputs(&p->axis[CONV_H], d->data), groups = div_up(rows, d->rows_together), begin, end;
    share(p->mb * groups * d->blocks, thread, threads, &begin, &end);
    for (int64_t u = begin; u < end; u++) {
        int64_t block = u % d->blocks, y = u / d->blocks % groups * d->rows_together,
                image = u / d->blocks / groups;
        (d->data ? backward_rows : forward_rows)(j, image, block, y, min64(rows, y + d->rows_together));
    }
}

/* ---- backward_weights */

/* Adds output row y of an image to the sums [taps][channels] of one block. */
static void sum_row(const job *j, int64_t image, int64_t block, int64_t y, float *sums)
{
    const depthwise_plan *d = j->d;
    const conv_problem *p = &d->head.problem;
    const conv_axis *h = &p->axis[CONV_H], *x = &p->axis[CONV_W];
    int64_t c = block * d->sum_block, width = min64(d->sum_block, d->channels - c), first = 0, last;
    bool wide = p->depth_multiplier > 1;
    const float *src = j->args->src + image * h->in * x->in * p->ic + c;
    if (wide) {
        rows_read(h, y, y + 1, &first, &last);
        widen_rows(j, image, c, width, first, last);
        src = j->wide;
    }
    depthwise_sums row = {.src = j->src,
                          .sums = j->weights,
                          .diff_dst = j->diff_dst + (image * conv_out(h) + y) * conv_out(x) * d->channels + c,
                          .src_pixel = wide ? width : p->ic,
                          .w_tap = d->channels,
                          .dst_pixel = d->channels,
                          .channels = width};
    for (int64_t k = 0; k < h->kernel; k++) {
        int64_t iy = axis_input(h, false, y, k);
        if (iy < 0) continue;
        j->src[row.rows] = src + (iy - first) * x->in * row.src_pixel;
        j->weights[row.rows++] = sums + k * x->kernel * d->channels + c;
    }
    depthwise_sums_run(&d->x_forward, &row);
}

/* The same of rows y and y+1. */
static void sum_pair(const job *j, int64_t image, int64_t block, int64_t y, float *sums)
{
    const depthwise_plan *d = j->d;
    const conv_problem *p = &d->head.problem;
    const conv_axis *h = &p->axis[CONV_H], *x = &p->axis[CONV_W];
    int64_t c = block * d->sum_block, first = y - h->pad_before;
    const float *diff = j->diff_dst + (image * conv_out(h) + y) * conv_out(x) * d->channels + c;
    depthwise_sums_pair pair = {.diff_dst = {diff, diff + conv_out(x) * d->channels},
                                .src_pixel = p->ic,
                                .w_tap = d->channels,
                                .dst_pixel = d->channels,
                                .channels = min64(d->sum_block, d->channels - c)};
    for (int64_t i = 0; i < 4; i++)
        if (first + i >= 0 && first + i < h->in)
            pair.src[i] = j->args->src + (image * h->in + first + i) * x->in * p->ic + c;
    for (int64_t k = 0; k < 3; k++) pair.sums[k] = sums + k * 3 * d->channels + c;
    depthwise_sums_pair_run(&d->x_forward, &pair);
}

/* A thread's share of (chunk of rows, block of channels). */
static void run_sums(const job *j, float *partials, int thread, int threads)
{
    const depthwise_plan *d = j->d;
    const conv_problem *p = &d->head.problem;
    const conv_axis *h = &p->axis[CONV_H];
    int64_t taps = h->kernel * p->axis[CONV_W].kernel, begin, end;
    share(d->chunks * d->sum_blocks, thread, threads, &begin, &end);
    for (int64_t u = begin; u < end; u++) {
        int64_t chunk = u / d->sum_blocks, block = u % d->sum_blocks, c = block * d->sum_block, first, last;
        float *sums = d->chunks > 1 ? partials + chunk * d->chunk_floats : j->args->diff_weights;
        if (d->chunks > 1 || !j->args->accumulate)
            for (int64_t t = 0; t < taps; t++)
                memset(sums + t * d->channels + c, 0,
                       (size_t)min64(d->sum_block, d->channels - c) * sizeof(float));
        share(p->mb * conv_out(h), chunk, d->chunks, &first, &last);
        for (int64_t i = first; i < last; i++) {
            int64_t image = i / conv_out(h), y = i % conv_out(h);
            if (d->sum_pairs && i + 1 < last && y + 1 < conv_out(h))
                sum_pair(j, image, block, y, sums), i++;
            else
                sum_row(j, image, block, y, sums);
        }
    }
}

/* ---- execute */

static void backward(job *j, int thread, int threads)
{
    const depthwise_plan *d = j->d;
    const conv_args *args = j->args;
    const conv_problem *p = &d->head.problem;
    conv_sizes sizes = conv_problem_sizes(p);
    float *scratch = args->scratch, *partials = scratch + d->partials, *bias = scratch + d->bias_sums;
    int64_t pixels = sizes.dst / p->oc;
    if (p->post_op == CONV_POST_RELU) {
        relu_mask(args->dst, args->diff_dst, sizes.dst, scratch + d->masked, thread, threads);
        j->diff_dst = scratch + d->masked;
#pragma omp barrier
    }
    if (d->data && args->diff_src != NULL) run_rows(j, thread, threads);
    if (!d->weights) return;
    if (d->bias) bias_sums(j->diff_dst, pixels, p->oc, bias, thread, threads);
    run_sums(j, partials, thread, threads);
    if (!d->bias && d->chunks == 1) return;
#pragma omp barrier
    if (d->chunks > 1)
        reduce_chunks(partials, d->chunks, d->chunk_floats, sizes.weights, args->accumulate, args->diff_weights,
                      thread, threads);
    if (d->bias)
        reduce_chunks(bias, bias_chunks(pixels), p->oc, p->oc, args->accumulate, args->diff_bias, thread,
                      threads);
}

static conv_status execute(const conv_plan *plan, const conv_args *args)
{
    const depthwise_plan *d = (const depthwise_plan *)plan;
    size_t pointers = 2 * (size_t)plan->problem.axis[CONV_H].kernel * sizeof(float *);
#pragma omp parallel num_threads(plan->context.threads)
    {
        int thread = omp_get_thread_num(), threads = omp_get_num_threads();
        float *own = (float *)args->scratch + d->threads + (size_t)thread * d->thread_floats;
        job j = {.d = d, .args = args, .diff_dst = args->diff_dst, .src = (const float **)own};
        j.weights = (float **)own + plan->problem.axis[CONV_H].kernel;
        j.wide = own + conv_align(pointers) / sizeof(float);
        if (plan->pass == CONV_FORWARD)
            run_rows(&j, thread, threads);
        else
            backward(&j, thread, threads);
    }
    return CONV_OK;
}

const conv_impl simd_depthwise = {.name = ISA_STRING,
                                  .variant = CONV_DEPTHWISE,
                                  .summary = "rows in " ISA_STRING " registers, channels in vectors",
                                  .isa = ISA_ENUM,
                                  .layouts = 1u << CONV_NHWC,
                                  .refuse = refuse,
                                  .plan = plan,
                                  .execute = execute,
                                  .destroy = destroy};
