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
    MOST_CHANNELS = 256, /* of a block */
    ENOUGH_UNITS = 64,   /* of backward_weights: keep any number of threads busy */
    LEAST_PIXELS = 196,  /* of a chunk */
    ROWS_TOGETHER = 8    /* outputs rows whose widened sources are in scratch at once */
};

typedef struct {
    conv_plan head;
    bool data, weights, bias;        /* backward: which gradients */
    axis_segments x, x_forward;      /* of forward or backward_data; of backward_weights */
    int64_t channels, block, blocks; /* of dst; of one block; blocks */
    int64_t chunks, chunk_floats;    /* backward_weights */
    int64_t wide_rows;               /* source rows widened at once; 0: multiplier 1 */
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
    int64_t window = (h->kernel + 1) * max64(x->in, conv_out(x)), m = p->depth_multiplier;
    int64_t fits = (int64_t)(d->head.context.l1d / sizeof(float)) * 3 / 4 / window;
    int64_t block = max64(VL, min64(MOST_CHANNELS, fits / VL * VL));
    d->channels = p->oc;
    if (m > 1) block = max64(1, block / m) * m;
    d->block = min64(block, d->channels);
    d->blocks = div_up(d->channels, d->block);
    int64_t rows = p->mb * conv_out(h), enough = div_up(ENOUGH_UNITS, d->blocks);
    d->chunks = max64(1, min64(min64(enough, rows), rows * conv_out(x) / LEAST_PIXELS));
    d->chunk_floats = d->chunks > 1 ? conv_problem_sizes(p).weights : 0;
    if (m > 1) d->wide_rows = min64(h->in, (ROWS_TOGETHER - 1) * h->stride + conv_effective_kernel(h));
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

/* Source rows [first, last) of an image, one block of channels, widened. */
static void widen_rows(const job *j, int64_t image, int64_t block, int64_t first, int64_t last)
{
    const conv_problem *p = &j->d->head.problem;
    const conv_axis *h = &p->axis[CONV_H], *x = &p->axis[CONV_W];
    int64_t m = p->depth_multiplier, c = block * j->d->block / m;
    widen(j->args->src + (image * h->in + first) * x->in * p->ic + c, (last - first) * x->in, p->ic, m,
          block_width(j->d, block), j->wide);
}

/* Source rows that output rows [y0, y1) read, [*first, *last), for the forward geometry. */
static void rows_read(const conv_axis *h, int64_t y0, int64_t y1, int64_t *first, int64_t *last)
{
    *first = max64(0, min64(h->in, y0 * h->stride - h->pad_before));
    *last = max64(*first, min64(h->in, (y1 - 1) * h->stride - h->pad_before + conv_effective_kernel(h)));
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
        widen_rows(j, image, block, first, last);
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
        row.rows = 0;
        for (int64_t k = 0; k < h->kernel; k++) {
            int64_t iy = axis_input(h, false, y, k);
            if (iy < 0) continue;
            j->src[row.rows] = src + (iy - first) * x->in * row.src_pixel;
            j->weights[row.rows++] = (float *)j->args->weights + k * x->kernel * d->channels + c;
        }
        row.dst = j->args->dst + (image * conv_out(h) + y) * conv_out(x) * d->channels + c;
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
        row.rows = 0;
        for (int64_t k = 0; k < h->kernel; k++) {
            int64_t oy = axis_input(h, true, y, k);
            if (oy < 0) continue;
            j->src[row.rows] = src + oy * conv_out(x) * d->channels;
            j->weights[row.rows++] = (float *)j->args->weights + k * x->kernel * d->channels + c;
        }
        float *dst = j->args->diff_src + (image * h->in + y) * x->in * p->ic + c / m;
        row.dst = m > 1 ? j->wide : dst;
        depthwise_row_run(&d->x, &row);
        if (m > 1) fold(j->wide, x->in, m, width, dst, p->ic);
    }
}

/* A thread's share of rows: image slowest, then block of channels, then row. */
static void run_rows(const job *j, int thread, int threads)
{
    const depthwise_plan *d = j->d;
    const conv_problem *p = &d->head.problem;
    int64_t rows = axis_outputs(&p->axis[CONV_H], d->data), begin, end;
    share(p->mb * d->blocks * rows, thread, threads, &begin, &end);
    while (begin < end) {
        int64_t y0 = begin % rows, block = begin / rows % d->blocks, image = begin / rows / d->blocks;
        int64_t count = min64(min64(end - begin, rows - y0), d->wide_rows > 0 ? ROWS_TOGETHER : rows);
        (d->data ? backward_rows : forward_rows)(j, image, block, y0, y0 + count);
        begin += count;
    }
}

/* ---- backward_weights */

/* Adds output row y of an image to the sums [taps][channels] of one block. */
static void sum_row(const job *j, int64_t image, int64_t block, int64_t y, float *sums)
{
    const depthwise_plan *d = j->d;
    const conv_problem *p = &d->head.problem;
    const conv_axis *h = &p->axis[CONV_H], *x = &p->axis[CONV_W];
    int64_t c = block * d->block, width = block_width(d, block), first = 0, last;
    bool wide = p->depth_multiplier > 1;
    const float *src = j->args->src + image * h->in * x->in * p->ic + c;
    if (wide) {
        rows_read(h, y, y + 1, &first, &last);
        widen_rows(j, image, block, first, last);
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

/* A thread's share of (chunk of rows, block of channels). */
static void run_sums(const job *j, float *partials, int thread, int threads)
{
    const depthwise_plan *d = j->d;
    const conv_problem *p = &d->head.problem;
    const conv_axis *h = &p->axis[CONV_H];
    int64_t taps = h->kernel * p->axis[CONV_W].kernel, begin, end;
    share(d->chunks * d->blocks, thread, threads, &begin, &end);
    for (int64_t u = begin; u < end; u++) {
        int64_t chunk = u / d->blocks, block = u % d->blocks, first, last;
        float *sums = d->chunks > 1 ? partials + chunk * d->chunk_floats : j->args->diff_weights;
        if (d->chunks > 1 || !j->args->accumulate)
            for (int64_t t = 0; t < taps; t++)
                memset(sums + t * d->channels + block * d->block, 0,
                       (size_t)block_width(d, block) * sizeof(float));
        share(p->mb * conv_out(h), chunk, d->chunks, &first, &last);
        for (int64_t i = first; i < last; i++) sum_row(j, i / conv_out(h), block, i % conv_out(h), sums);
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
