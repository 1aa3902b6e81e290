/* Depthwise convolution in im2col's manner: channels are cut into blocks, a block of pixels of one channel
 * block is lowered into L1 (lower.h, the block as its group), and the product is one multiply-add per lowered
 * element.
 *
 *   NHWC   lowered [pixels][taps][channels of the block]; the channels are the vector
 *   NCHW   lowered [taps][pixels], one channel a block; the pixels are the vector
 *
 * In parallel: forward over pixel and channel blocks; backward_data over images and channel blocks, each task
 * owning its part of diff_src; backward_weights over channel blocks and fixed chunks of the batch, whose sums a
 * tree adds. Weights are packed [block][M][taps][channels]. Refuses rank 3. */
#include <omp.h>
#include <stdio.h>
#include <string.h>

#include "../isa.h"
#include "../plan.h"
#include "depthwise.h"
#include "lower.h"
#include "reduce.h"

enum { WIDEST = 64, NARROWEST = 16 }; /* channels of a block, NHWC */

typedef struct {
    conv_plan head;
    bool nhwc;
    int64_t taps, m;        /* m: depth multiplier */
    int64_t images, pixels; /* NHWC: 1, of the batch. NCHW: MB, of an image */
    int64_t width, blocks;  /* channels of a block, blocks */
    int64_t step;           /* pixels lowered at a time */
    int64_t chunks;         /* of backward_weights: images or pixels, shared evenly */
    size_t thread_bytes;    /* scratch of a thread: lowered, gradient, sums */
} depthwise_plan;

static int64_t least(int64_t a, int64_t b) { return a < b ? a : b; }
static int64_t most(int64_t a, int64_t b) { return a > b ? a : b; }
static int64_t parts(int64_t whole, int64_t part) { return (whole + part - 1) / part; }

/* What one task works on, and its thread's scratch. */
typedef struct {
    const depthwise_plan *plan;
    const conv_args *args;
    lowering lowered; /* the block's channels */
    int64_t image;    /* NCHW */
    float *col;       /* [step][taps][channels] or [taps][step] */
    float *gradient;  /* diff_dst: [step][M][channels] or [M][step] */
    float *sums;      /* diff_weights: [M][taps][channels] */
} work;

static work work_of(const depthwise_plan *d, const conv_args *args, int64_t image, int64_t block)
{
    const conv_problem *p = &d->head.problem;
    work k = {.plan = d, .args = args, .image = image, .lowered = lower_describe(p, 0)};
    k.lowered.first = block * d->width;
    k.lowered.channels = least(d->width, p->ic - k.lowered.first);
    if (args->src != NULL) k.lowered.src = args->src + image * p->ic * p->axis[CONV_H].in * p->axis[CONV_W].in;
    k.col = (float *)((char *)args->scratch + (size_t)omp_get_thread_num() * d->thread_bytes);
    k.gradient = k.col + d->step * d->taps * d->width;
    k.sums = k.gradient + d->step * d->m * d->width;
    return k;
}

/* The block's packed weights: [M][taps][channels]. */
static const float *packed_block(const work *k)
{
    return (const float *)k->args->packed + k->lowered.first * k->plan->taps * k->plan->m;
}

static void lower(const work *k, int64_t pixel, int64_t pixels)
{
    const depthwise_plan *d = k->plan;
    int64_t columns = d->taps * k->lowered.channels;
    if (d->nhwc)
        lower_nhwc(&k->lowered, pixel, pixels, 0, columns, k->col, columns);
    else
        lower_nchw(&k->lowered, 0, columns, pixel, pixels, k->col, d->step);
}

/* Where channel `first` of the block lies in dst and diff_dst at a pixel, and the distance from there to the
 * next pixel and to the next output channel. */
typedef struct {
    int64_t offset, pixel, channel;
} place;

static place output_place(const work *k, int64_t pixel)
{
    const conv_problem *p = &k->plan->head.problem;
    int64_t o = k->lowered.first * k->plan->m;
    if (k->plan->nhwc) return (place){pixel * p->oc + o, p->oc, 1};
    return (place){(k->image * p->oc + o) * k->plan->pixels + pixel, 1, k->plan->pixels};
}

/* ---- forward
 * -------------------------------------------------------------------------------------------------- */

/* to[count] = sum over taps of x[tap][count] * w[tap][count], rows of x and w `x_step` and `w_step` apart;
 * w_lane is 1 where every lane has its weight, 0 where all share one. Constant count: the sums stay in
 * registers. */
static inline __attribute__((always_inline)) void dot_taps(int64_t taps, const float *restrict x,
                                                           int64_t x_step, const float *restrict w,
                                                           int64_t w_step, int w_lane, int64_t count,
                                                           float *restrict to)
{
    float sum[NARROWEST] = {0};
    for (int64_t t = 0; t < taps; t++)
        for (int64_t i = 0; i < count; i++) sum[i] += x[t * x_step + i] * w[t * w_step + i * w_lane];
    for (int64_t i = 0; i < count; i++) to[i] = sum[i];
}

static inline __attribute__((always_inline)) void dot_row(int64_t taps, const float *x, int64_t x_step,
                                                          const float *w, int64_t w_step, int w_lane,
                                                          int64_t count, float *to)
{
    int64_t i = 0;
    for (; i + NARROWEST <= count; i += NARROWEST)
        dot_taps(taps, x + i, x_step, w + i * w_lane, w_step, w_lane, NARROWEST, to + i);
    if (i < count) dot_taps(taps, x + i, x_step, w + i * w_lane, w_step, w_lane, count - i, to + i);
}

static float finished(const conv_problem *p, float value, float bias)
{
    value += bias;
    return p->post_op == CONV_POST_RELU && !(value > 0) ? 0 : value;
}

static void forward_nhwc(const work *k, int64_t pixel, int64_t pixels)
{
    const depthwise_plan *d = k->plan;
    const conv_problem *p = &d->head.problem;
    int64_t channels = k->lowered.channels, first = k->lowered.first * d->m;
    const float *bias = p->bias ? k->args->bias + first : NULL, *w = packed_block(k);
    for (int64_t i = 0; i < pixels; i++)
        for (int64_t m = 0; m < d->m; m++) {
            float *dst = k->args->dst + (pixel + i) * p->oc + first, row[WIDEST];
            dot_row(d->taps, k->col + i * d->taps * channels, channels, w + m * d->taps * channels, channels, 1,
                    channels, row);
            for (int64_t c = 0; c < channels; c++)
                dst[c * d->m + m] = finished(p, row[c], bias ? bias[c * d->m + m] : 0);
        }
}

static void forward_nchw(const work *k, int64_t pixel, int64_t pixels)
{
    const depthwise_plan *d = k->plan;
    const conv_problem *p = &d->head.problem;
    for (int64_t m = 0; m < d->m; m++) {
        int64_t o = k->lowered.first * d->m + m;
        float *dst = k->args->dst + (k->image * p->oc + o) * d->pixels + pixel,
              bias = p->bias ? k->args->bias[o] : 0;
        dot_row(d->taps, k->col, d->step, packed_block(k) + m * d->taps, 1, 0, pixels, dst);
        if (p->bias || p->post_op == CONV_POST_RELU)
            for (int64_t i = 0; i < pixels; i++) dst[i] = finished(p, dst[i], bias);
    }
}

static void forward(const depthwise_plan *d, const conv_args *args)
{
#pragma omp parallel for collapse(3) schedule(static) num_threads(d->head.context.threads)
    for (int64_t n = 0; n < d->images; n++)
        for (int64_t i = 0; i < d->pixels; i += d->step)
            for (int64_t b = 0; b < d->blocks; b++) {
                work k = work_of(d, args, n, b);
                int64_t pixels = least(d->step, d->pixels - i);
                lower(&k, i, pixels);
                (d->nhwc ? forward_nhwc : forward_nchw)(&k, i, pixels);
            }
}

/* ---- backward
 * ------------------------------------------------------------------------------------------------- */

/* diff_dst before the post-op, each multiple's channels side by side. */
static void load_gradient(const work *k, int64_t pixel, int64_t pixels)
{
    const depthwise_plan *d = k->plan;
    bool relu = d->head.problem.post_op == CONV_POST_RELU;
    int64_t channels = k->lowered.channels;
    place at = output_place(k, pixel);
    for (int64_t i = 0; i < pixels; i++)
        for (int64_t m = 0; m < d->m; m++)
            for (int64_t c = 0; c < channels; c++) {
                int64_t y = at.offset + i * at.pixel + (c * d->m + m) * at.channel;
                int64_t to = d->nhwc ? (i * d->m + m) * channels + c : m * d->step + i;
                k->gradient[to] = !relu || k->args->dst[y] > 0 ? k->args->diff_dst[y] : 0;
            }
}

/* to[count] (+)= x[count] * w, w one weight or one per lane. */
static inline void scale_row(float *restrict to, const float *restrict x, const float *restrict w, int w_lane,
                             int64_t count, bool add)
{
#pragma omp simd
    for (int64_t i = 0; i < count; i++) to[i] = (add ? to[i] : 0) + x[i] * w[i * w_lane];
}

/* Gradient of the lowered block. */
static void unproduct(const work *k, int64_t pixels)
{
    const depthwise_plan *d = k->plan;
    int64_t channels = k->lowered.channels;
    for (int64_t m = 0; m < d->m; m++)
        for (int64_t t = 0; t < d->taps; t++) {
            const float *w = packed_block(k) + (m * d->taps + t) * channels;
            if (!d->nhwc) scale_row(k->col + t * d->step, k->gradient + m * d->step, w, 0, pixels, m > 0);
            for (int64_t i = 0; d->nhwc && i < pixels; i++)
                scale_row(k->col + (i * d->taps + t) * channels, k->gradient + (i * d->m + m) * channels, w, 1,
                          channels, m > 0);
        }
}

static void clear_diff_src(const depthwise_plan *d, const conv_args *args, int threads)
{
    int64_t count = conv_problem_sizes(&d->head.problem).src;
#pragma omp parallel for schedule(static) num_threads(threads)
    for (int64_t i = 0; i < count; i++) args->diff_src[i] = 0;
}

/* The task owns its channels of image n of the batch. */
static void data_of_image(const depthwise_plan *d, const conv_args *args, int64_t n, int64_t b)
{
    const conv_problem *p = &d->head.problem;
    work k = work_of(d, args, d->nhwc ? 0 : n, b);
    int64_t image = k.lowered.oh * k.lowered.ow, from = d->nhwc ? n * image : 0;
    float *diff_src = args->diff_src + k.image * p->ic * p->axis[CONV_H].in * p->axis[CONV_W].in;
    for (int64_t i = from; i < from + image; i += d->step) {
        lowered_block block = {i, least(d->step, from + image - i), 0, d->taps * k.lowered.channels};
        load_gradient(&k, i, block.pixels);
        unproduct(&k, block.pixels);
        if (d->nhwc)
            lower_nhwc_add(&k.lowered, block, k.col, block.columns, diff_src, 1);
        else
            lower_nchw_add(&k.lowered, block, k.col, d->step, diff_src, 1);
    }
}

static void backward_data(const depthwise_plan *d, const conv_args *args)
{
    int threads = d->head.context.threads;
    clear_diff_src(d, args, threads);
#pragma omp parallel for collapse(2) schedule(static) num_threads(threads)
    for (int64_t n = 0; n < d->head.problem.mb; n++)
        for (int64_t b = 0; b < d->blocks; b++) data_of_image(d, args, n, b);
}

/* sums += lowered * gradient over a block of pixels. */
static void add_weights(const work *k, int64_t pixels)
{
    const depthwise_plan *d = k->plan;
    int64_t channels = k->lowered.channels;
    for (int64_t m = 0; m < d->m; m++)
        for (int64_t t = 0; t < d->taps; t++) {
            float *sum = k->sums + (m * d->taps + t) * channels, dot = 0;
            if (!d->nhwc) {
                const float *x = k->col + t * d->step, *y = k->gradient + m * d->step;
#pragma omp simd reduction(+ : dot)
                for (int64_t i = 0; i < pixels; i++) dot += x[i] * y[i];
                *sum += dot;
            }
            for (int64_t i = 0; d->nhwc && i < pixels; i++)
                scale_row(sum, k->col + (i * d->taps + t) * channels, k->gradient + (i * d->m + m) * channels,
                          1, channels, true);
        }
}

/* Pixels [from, end) of images [n, n_end) into to, shaped like diff_weights: [taps][C][M]. */
static void weights_of(const depthwise_plan *d, const conv_args *args, int64_t b, int64_t n, int64_t n_end,
                       int64_t from, int64_t end, float *to)
{
    work k = work_of(d, args, n, b);
    int64_t channels = k.lowered.channels, c_all = d->head.problem.ic;
    memset(k.sums, 0, (size_t)(d->m * d->taps * channels) * sizeof(float));
    for (; n < n_end; n++) {
        k = work_of(d, args, n, b);
        for (int64_t i = from; i < end; i += d->step) {
            int64_t pixels = least(d->step, end - i);
            lower(&k, i, pixels);
            load_gradient(&k, i, pixels);
            add_weights(&k, pixels);
        }
    }
    for (int64_t m = 0; m < d->m; m++)
        for (int64_t t = 0; t < d->taps; t++)
            for (int64_t c = 0; c < channels; c++)
                to[(t * c_all + k.lowered.first + c) * d->m + m] = k.sums[(m * d->taps + t) * channels + c];
}

static void backward_weights(const depthwise_plan *d, const conv_args *args)
{
    const conv_problem *p = &d->head.problem;
    int threads = d->head.context.threads;
    int64_t count = d->taps * p->oc, whole = d->nhwc ? d->pixels : d->images, chunk = parts(whole, d->chunks);
    float *sums = (float *)((char *)args->scratch + (size_t)threads * d->thread_bytes);
#pragma omp parallel for collapse(2) schedule(static) num_threads(threads)
    for (int64_t c = 0; c < d->chunks; c++)
        for (int64_t b = 0; b < d->blocks; b++) {
            int64_t from = c * chunk, end = least(from + chunk, whole);
            if (d->nhwc)
                weights_of(d, args, b, 0, 1, from, end, sums + c * count);
            else
                weights_of(d, args, b, from, end, 0, d->pixels, sums + c * count);
        }
    reduce_tree(sums, d->chunks, count, args->diff_weights, args->accumulate, threads);
    if (p->bias) reduce_bias(p, args, args->scratch, threads);
}

/* ---- the implementation
 * --------------------------------------------------------------------------------------- */

static conv_status execute(const conv_plan *plan, const conv_args *args)
{
    const depthwise_plan *d = (const depthwise_plan *)plan;
    if (plan->pass == CONV_FORWARD) forward(d, args);
    if (plan->pass == CONV_BACKWARD_DATA || (plan->pass == CONV_BACKWARD && args->diff_src != NULL))
        backward_data(d, args);
    if (plan->pass == CONV_BACKWARD_WEIGHTS || plan->pass == CONV_BACKWARD) backward_weights(d, args);
    return CONV_OK;
}

static conv_status plan(const conv_impl *self, const conv_problem *p, conv_pass pass, const conv_context *ctx,
                        conv_plan **out, conv_error *err)
{
    enum { TASKS = 8, CHUNKS = 8, LEAST_PIXELS = 256, LEAST_STEP = 4, MOST_STEP = 1024 };
    depthwise_plan *d = conv_plan_new(sizeof *d, self, p, pass, ctx);
    if (d == NULL) return conv_fail(err, CONV_NO_MEMORY, "no memory for a plan");
    d->nhwc = p->layout == CONV_NHWC;
    d->m = p->depth_multiplier;
    d->taps = p->axis[CONV_H].kernel * p->axis[CONV_W].kernel;
    int64_t image = conv_out(&p->axis[CONV_H]) * conv_out(&p->axis[CONV_W]);
    d->images = d->nhwc ? 1 : p->mb;
    d->pixels = d->nhwc ? p->mb * image : image;
    /* backward_data's tasks are images times blocks: where those are few, narrower ones. */
    bool narrow = pass != CONV_FORWARD && p->mb * p->ic < TASKS * WIDEST;
    d->width = !d->nhwc ? 1 : least(p->ic, narrow ? NARROWEST : WIDEST);
    d->blocks = parts(p->ic, d->width);
    int64_t fits = (int64_t)(ctx->l1d / 2 / sizeof(float)) / (d->taps * d->width);
    d->step = least(d->pixels, least(MOST_STEP, most(LEAST_STEP, fits)));
    int64_t whole = d->nhwc ? d->pixels : d->images, least_chunk = d->nhwc ? LEAST_PIXELS : 1;
    int64_t chunk = parts(whole, least(CHUNKS, parts(whole, least_chunk)));
    d->chunks = parts(whole, chunk);
    int64_t floats = d->width * (d->step * (d->taps + d->m) + d->m * d->taps);
    d->thread_bytes = conv_align((size_t)floats * sizeof(float));
    d->head.scratch_bytes = (size_t)ctx->threads * d->thread_bytes;
    if (pass == CONV_BACKWARD || pass == CONV_BACKWARD_WEIGHTS) {
        d->head.scratch_bytes += (size_t)(d->chunks * d->taps * p->oc) * sizeof(float);
        size_t bias = p->bias ? reduce_bias_bytes(p) : 0;
        if (bias > d->head.scratch_bytes) d->head.scratch_bytes = bias;
    }
    if (pass != CONV_BACKWARD_WEIGHTS) d->head.packed_bytes = (size_t)(d->taps * p->oc) * sizeof(float);
    snprintf(d->head.note, sizeof d->head.note, "%lld channels x %lld pixels", (long long)d->width,
             (long long)d->step);
    *out = &d->head;
    return CONV_OK;
}

static conv_status pack(const conv_plan *plan, const float *weights, const float *pointwise, void *packed)
{
    (void)pointwise;
    const depthwise_plan *d = (const depthwise_plan *)plan;
    int64_t ic = plan->problem.ic;
    float *to = packed;
    for (int64_t first = 0; first < ic; first += d->width)
        for (int64_t m = 0; m < d->m; m++)
            for (int64_t t = 0; t < d->taps; t++)
                for (int64_t c = first; c < least(first + d->width, ic); c++)
                    *to++ = weights[(t * ic + c) * d->m + m];
    return CONV_OK;
}

static const char *refuse(const conv_impl *self, const conv_problem *p, conv_pass pass)
{
    (void)self, (void)pass;
    return p->rank == 3 ? "rank 3" : NULL;
}

const conv_impl im2col_depthwise = {.name = "im2col",
                                    .variant = CONV_DEPTHWISE,
                                    .summary = "lowering, channel block by channel block",
                                    .isa = ISA_ENUM,
                                    .layouts = 1u << CONV_NHWC | 1u << CONV_NCHW,
                                    .refuse = refuse,
                                    .plan = plan,
                                    .pack = pack,
                                    .execute = execute};
