/* Depthwise convolution in im2col's manner: channels are cut into blocks, a block of pixels of one channel
 * block is lowered into L1 (lower.h, the block as its group), and the product is one multiply-add per lowered
 * element.
 *
 * The lowered block is [pixels][taps][channels of the block]; the channels are the vector.
 *
 * In parallel: forward over pixel and channel blocks; backward_data over images and channel blocks, each task
 * owning its part of diff_src; backward_weights over channel blocks and fixed chunks of the batch, whose sums a
 * tree adds. Weights are packed [block][M][taps][channels]. Refuses nothing. */
#include <omp.h>
#include <stdio.h>
#include <string.h>

#include "../isa.h"
#include "../plan.h"
#include "../util.h"
#include "../work.h"
#include "depthwise.h"
#include "join_chunks.h"
#include "lower.h"

enum { WIDEST = 64, NARROWEST = 16 }; /* channels of a block */

typedef struct {
    conv_plan head;
    int64_t taps, m;       /* m: depth multiplier */
    int64_t pixels;        /* of the whole batch's output */
    int64_t width, blocks; /* channels of a block, blocks */
    int64_t step;          /* pixels lowered at a time */
    int64_t chunks;        /* of backward_weights: pixels, shared evenly */
    size_t thread_bytes;   /* scratch of a thread: lowered, gradient, sums */
} depthwise_plan;

/* What one task works on, and its thread's scratch. */
typedef struct {
    const depthwise_plan *plan;
    const conv_args *args;
    lowering lowered; /* the block's channels */
    float *col;       /* [step][taps][channels] */
    float *gradient;  /* diff_dst: [step][M][channels] */
    float *sums;      /* diff_weights: [M][taps][channels] */
} work;

static work work_of(const depthwise_plan *d, const conv_args *args, int64_t block)
{
    const conv_problem *p = &d->head.problem;
    work k = {.plan = d, .args = args, .lowered = lower_describe(p, 0)};
    k.lowered.first = block * d->width;
    k.lowered.channels = min64(d->width, p->ic - k.lowered.first);
    k.lowered.src = args->src;
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
    int64_t columns = k->plan->taps * k->lowered.channels;
    lower_block(&k->lowered, &(sgemm_block){pixel, pixels, 0, columns}, k->col, columns);
}

/* ---- forward */

/* to[count] = sum over taps of x[tap][count] * w[tap][count], rows `step` apart. Constant count: the sums stay
 * in registers. */
ALWAYS_INLINE void dot_taps(int64_t taps, const float *restrict x, const float *restrict w, int64_t step,
                            int64_t count, float *restrict to)
{
    float sum[NARROWEST] = {0};
    for (int64_t t = 0; t < taps; t++)
        for (int64_t i = 0; i < count; i++) sum[i] += x[t * step + i] * w[t * step + i];
    for (int64_t i = 0; i < count; i++) to[i] = sum[i];
}

ALWAYS_INLINE void dot_row(int64_t taps, const float *x, const float *w, int64_t channels, float *to)
{
    int64_t i = 0;
    for (; i + NARROWEST <= channels; i += NARROWEST) dot_taps(taps, x + i, w + i, channels, NARROWEST, to + i);
    if (i < channels) dot_taps(taps, x + i, w + i, channels, channels - i, to + i);
}

static void forward_block(const work *k, int64_t pixel, int64_t pixels)
{
    const depthwise_plan *d = k->plan;
    const conv_problem *p = &d->head.problem;
    int64_t channels = k->lowered.channels, first = k->lowered.first * d->m;
    const float *bias = p->bias ? k->args->bias + first : NULL, *w = packed_block(k);
    float clip = conv_clip(p->post_op);
    for (int64_t i = 0; i < pixels; i++)
        for (int64_t m = 0; m < d->m; m++) {
            float *dst = k->args->dst + (pixel + i) * p->oc + first, row[WIDEST];
            dot_row(d->taps, k->col + i * d->taps * channels, w + m * d->taps * channels, channels, row);
            for (int64_t c = 0; c < channels; c++)
                dst[c * d->m + m] = conv_clipped(row[c] + (bias ? bias[c * d->m + m] : 0), clip);
        }
}

static void forward(const depthwise_plan *d, const conv_args *args)
{
#pragma omp parallel for collapse(2) schedule(static) num_threads(d->head.context.threads)
    for (int64_t i = 0; i < d->pixels; i += d->step)
        for (int64_t b = 0; b < d->blocks; b++) {
            work k = work_of(d, args, b);
            int64_t pixels = min64(d->step, d->pixels - i);
            lower(&k, i, pixels);
            forward_block(&k, i, pixels);
        }
}

/* ---- backward */

/* diff_dst before the post-op, each multiple's channels side by side. */
static void load_gradient(const work *k, int64_t pixel, int64_t pixels)
{
    const depthwise_plan *d = k->plan;
    const conv_problem *p = &d->head.problem;
    bool mask = p->post_op != CONV_POST_NONE;
    int64_t channels = k->lowered.channels;
    for (int64_t i = 0; i < pixels; i++)
        for (int64_t m = 0; m < d->m; m++)
            for (int64_t c = 0; c < channels; c++) {
                int64_t y = (pixel + i) * p->oc + (k->lowered.first + c) * d->m + m;
                k->gradient[(i * d->m + m) * channels + c] =
                    !mask || conv_passes(p->post_op, k->args->dst[y]) ? k->args->diff_dst[y] : 0;
            }
}

/* to[count] (+)= x[count] * w[count]. */
static inline void scale_row(float *restrict to, const float *restrict x, const float *restrict w,
                             int64_t count, bool add)
{
#pragma omp simd
    for (int64_t i = 0; i < count; i++) to[i] = (add ? to[i] : 0) + x[i] * w[i];
}

/* Gradient of the lowered block. */
static void unproduct(const work *k, int64_t pixels)
{
    const depthwise_plan *d = k->plan;
    int64_t channels = k->lowered.channels;
    for (int64_t m = 0; m < d->m; m++)
        for (int64_t t = 0; t < d->taps; t++) {
            const float *w = packed_block(k) + (m * d->taps + t) * channels;
            for (int64_t i = 0; i < pixels; i++)
                scale_row(k->col + (i * d->taps + t) * channels, k->gradient + (i * d->m + m) * channels, w,
                          channels, m > 0);
        }
}

/* The task owns its channels of image n of the batch. */
static void data_of_image(const depthwise_plan *d, const conv_args *args, int64_t n, int64_t b)
{
    work k = work_of(d, args, b);
    int64_t image = k.lowered.dst_pixels, from = n * image;
    for (int64_t i = from; i < from + image; i += d->step) {
        sgemm_block block = {i, min64(d->step, from + image - i), 0, d->taps * k.lowered.channels};
        load_gradient(&k, i, block.rows);
        unproduct(&k, block.rows);
        lower_add_block(&k.lowered, &block, k.col, block.cols, args->diff_src, 1);
    }
}

static void backward_data(const depthwise_plan *d, const conv_args *args)
{
    int threads = d->head.context.threads;
    lower_clear(&d->head.problem, args->diff_src, threads);
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
            float *sum = k->sums + (m * d->taps + t) * channels;
            for (int64_t i = 0; i < pixels; i++)
                scale_row(sum, k->col + (i * d->taps + t) * channels, k->gradient + (i * d->m + m) * channels,
                          channels, true);
        }
}

/* Pixels [from, end) into to, shaped like diff_weights: [taps][C][M]. */
static void weights_of(const depthwise_plan *d, const conv_args *args, int64_t b, int64_t from, int64_t end,
                       float *to)
{
    work k = work_of(d, args, b);
    int64_t channels = k.lowered.channels, c_all = d->head.problem.ic;
    memset(k.sums, 0, (size_t)(d->m * d->taps * channels) * sizeof(float));
    for (int64_t i = from; i < end; i += d->step) {
        int64_t pixels = min64(d->step, end - i);
        lower(&k, i, pixels);
        load_gradient(&k, i, pixels);
        add_weights(&k, pixels);
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
    int64_t count = d->taps * p->oc, chunk = div_up(d->pixels, d->chunks);
    float *sums = (float *)((char *)args->scratch + (size_t)threads * d->thread_bytes);
#pragma omp parallel for collapse(2) schedule(static) num_threads(threads)
    for (int64_t c = 0; c < d->chunks; c++)
        for (int64_t b = 0; b < d->blocks; b++)
            weights_of(d, args, b, c * chunk, min64((c + 1) * chunk, d->pixels), sums + c * count);
    join_chunks(sums, d->chunks, count, args->diff_weights, args->accumulate, threads);
    if (p->bias) bias_gradient(p, args, args->scratch, threads);
}

/* ---- the implementation */

static conv_status execute(const conv_plan *plan, const conv_args *args)
{
    const depthwise_plan *d = (const depthwise_plan *)plan;
    if (plan->pass == CONV_FORWARD) forward(d, args);
    if (conv_data_wanted(plan, args)) backward_data(d, args);
    if (conv_makes_weights(plan->pass)) backward_weights(d, args);
    return CONV_OK;
}

/* Every lowered element is copied and read once. */
static void state_work(depthwise_plan *d)
{
    const conv_problem *p = &d->head.problem;
    conv_work *w = &d->head.work;
    int lanes = sgemm_tile_sizes().nr / 2, passes = d->head.pass == CONV_BACKWARD ? 2 : 1;
    conv_sizes s = conv_problem_sizes(p);
    double lowered = (double)(passes * d->pixels * d->taps * p->ic);
    w->macs = lowered * (double)d->m;
    w->loads = (1 + (double)d->m) * lowered / lanes;
    w->stores = lowered / lanes;
    work_write(w, 4 * lowered, 4.0 * (double)(d->step * d->taps * d->width));
    work_read(w, 4.0 * (double)(passes * s.src), CONV_EACH_CALL);
    work_write(w, 4.0 * (double)s.dst, CONV_EACH_CALL);
    work_finish(&d->head, passes, 0);
}

static conv_status plan(const conv_impl *self, const conv_problem *p, conv_pass pass, const conv_context *ctx,
                        conv_plan **out, conv_error *err)
{
    enum { TASKS = 8, CHUNKS = 8, LEAST_PIXELS = 256, LEAST_STEP = 4, MOST_STEP = 1024 };
    depthwise_plan *d = conv_plan_new(sizeof *d, self, p, pass, ctx);
    if (d == NULL) return conv_fail(err, CONV_NO_MEMORY, "no memory for a plan");
    d->m = p->depth_multiplier;
    d->taps = conv_taps(p);
    d->pixels = p->mb * conv_dst_pixels(p);
    /* backward_data's tasks are images times blocks: where those are few, narrower ones. */
    bool narrow = pass != CONV_FORWARD && p->mb * p->ic < TASKS * WIDEST;
    d->width = min64(p->ic, narrow ? NARROWEST : WIDEST);
    d->blocks = div_up(p->ic, d->width);
    int64_t fits = (int64_t)(ctx->l1d / 2 / sizeof(float)) / (d->taps * d->width);
    d->step = min64(d->pixels, min64(MOST_STEP, max64(LEAST_STEP, fits)));
    d->chunks = min64(CHUNKS, div_up(d->pixels, LEAST_PIXELS));
    d->chunks = div_up(d->pixels, div_up(d->pixels, d->chunks));
    int64_t floats = d->width * (d->step * (d->taps + d->m) + d->m * d->taps);
    d->thread_bytes = conv_align((size_t)floats * sizeof(float));
    d->head.scratch_bytes = (size_t)ctx->threads * d->thread_bytes;
    if (conv_makes_weights(pass)) {
        d->head.scratch_bytes += (size_t)(d->chunks * d->taps * p->oc) * sizeof(float);
        size_t bias = p->bias ? bias_gradient_bytes(p) : 0;
        if (bias > d->head.scratch_bytes) d->head.scratch_bytes = bias;
    }
    if (pass != CONV_BACKWARD_WEIGHTS) d->head.packed_bytes = (size_t)(d->taps * p->oc) * sizeof(float);
    snprintf(d->head.note, sizeof d->head.note, "%lld channels x %lld pixels", (long long)d->width,
             (long long)d->step);
    state_work(d);
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
                for (int64_t c = first; c < min64(first + d->width, ic); c++)
                    *to++ = weights[(t * ic + c) * d->m + m];
    return CONV_OK;
}

const conv_impl im2col_depthwise = {.name = "im2col",
                                    .variant = CONV_DEPTHWISE,
                                    .summary = "lowering, channel block by channel block",
                                    .isa = ISA_ENUM,
                                    .layouts = 1u << CONV_NHWC,
                                    .plan = plan,
                                    .pack = pack,
                                    .execute = execute};
