/* What TensorFlow's DepthwiseConv2dNative and its two gradients do on a CPU where oneDNN is off, and the same with
 * one cause of its slowness removed after the other. Described from tensorflow/core/kernels/depthwise_conv_op.h,
 * depthwise_conv_op.cc and depthwise_conv_grad_op.cc, and, of when a pool's threads are called, from Eigen's
 * TensorCostModel.h; nothing is copied.
 *
 * Pixel by pixel the inputs under all taps are copied into a patch [taps][channels], and the product runs over
 * it, vectors of channels outside, taps inside. In parallel: forward over rows, gradients over images alone.
 * Compiled for AVX2 though TensorFlow's packages are for AVX: what tells the two apart here is the multiply-add.
 * Refuses what TensorFlow's kernels refuse, and depth multipliers. */
#include <omp.h>

#include "../../compose.h"
#include "../../plan.h"
#include "../simd.h"
#include "../vec.h"
#include "sleepers.h"

/* What was removed; each level lacks the causes of those before it too. */
typedef enum {
    AS_TENSORFLOW,
    WITH_FMA,       /* multiply-add in one instruction */
    WITHOUT_COPY,   /* inputs are read where they lie */
    WITH_REGISTERS, /* what a tap needs is loaded once for PIXELS pixels: TODOs of both TensorFlow's files */
    WITH_THREADS, /* rows are shared out in gradients too, however short the call, among threads that are awake */
    LEVELS
} removed;

enum {
    PIXELS = 4,
    CHUNKS = 16, /* of rows, which any usual number of threads shares */
    /* Floats between what an allocator would not put side by side: 64 KB, for the prefetcher of a core runs on
     * past the end of its patch into another's; and no whole pages, for a load waits for a store to the same place
     * of another page. */
    APART = 16 * CACHE_WAY + 64
};

typedef struct {
    conv_plan head;
    removed level;
    sleepers *pool;                         /* before WITH_THREADS; NULL with one thread */
    int64_t taps, padded;                   /* padded: channels in whole vectors */
    int64_t chunk;                          /* backward_weights: rows of an image that are summed apart */
    size_t patch_floats;                    /* from one thread's to the next */
    size_t filter, gradient, sums, patches; /* where they begin in scratch, floats */
} tflike_plan;

/* One product: units of `step` rows of an image. */
typedef struct job job;
struct job {
    const tflike_plan *plan;
    const float *in;           /* src or, backward_data, diff_dst: [MB][H][W][C] */
    const float *filter;       /* [taps][padded] */
    const float *gradient;     /* backward_weights: diff_dst [MB][OH][OW][C] */
    float *out;                /* dst or diff_src [MB][H][W][C]; backward_weights: sums [units][taps][padded] */
    bool backward;             /* out is diff_src */
    int64_t rows, width, step; /* of an image of what is walked over */
    void (*unit)(const job *j, int64_t unit, float *patch);
};

/* ---- which inputs a pixel meets */

/* Along an axis: the first input, its tap, and how many there are. */
typedef struct {
    int64_t in, tap, count;
} span;

static span span_of(const conv_axis *a, bool backward, int64_t at)
{
    span s;
    int64_t end;
    if (backward) {
        s.in = div_up(max64(0, at + a->pad_before - a->kernel + 1), a->stride);
        end = min64(conv_out(a), (at + a->pad_before) / a->stride + 1);
        s.tap = at + a->pad_before - s.in * a->stride;
    } else {
        s.tap = max64(0, a->pad_before - at * a->stride);
        s.in = at * a->stride - a->pad_before + s.tap;
        end = min64(a->in, at * a->stride - a->pad_before + a->kernel);
    }
    s.count = max64(0, end - s.in);
    return s;
}

/* A rectangle of them, and of their taps in a tensor [taps][padded]. Distances are in floats. */
typedef struct {
    const float *in;
    int64_t tap, rows, columns;
    int64_t in_row, in_column, tap_row, tap_column;
} meetings;

static meetings meet(const job *j, int64_t image, const span *y, const span *x)
{
    const conv_problem *p = &j->plan->head.problem;
    const conv_axis *h = &p->axis[CONV_H], *w = &p->axis[CONV_W];
    int64_t height = j->backward ? conv_out(h) : h->in, width = j->backward ? conv_out(w) : w->in;
    int64_t up = (j->backward ? -h->stride : 1) * w->kernel, right = j->backward ? -w->stride : 1;
    return (meetings){.in = j->in + ((image * height + y->in) * width + x->in) * p->ic,
                      .tap = (y->tap * w->kernel + x->tap) * j->plan->padded,
                      .rows = y->count,
                      .columns = x->count,
                      .in_row = width * p->ic,
                      .in_column = p->ic,
                      .tap_row = up * j->plan->padded,
                      .tap_column = right * j->plan->padded};
}

/* ---- the patch */

/* What a pixel meets, into patch[taps][padded]. */
static void copy_patch(const job *j, const meetings *m, float *patch)
{
    const tflike_plan *t = j->plan;
    int64_t channels = t->head.problem.ic, c;
    if (m->rows * m->columns < t->taps) memset(patch, 0, (size_t)(t->taps * t->padded) * sizeof *patch);
    for (int64_t r = 0; r < m->rows; r++)
        for (int64_t k = 0; k < m->columns; k++) {
            float *to = patch + m->tap + r * m->tap_row + k * m->tap_column;
            const float *from = m->in + r * m->in_row + k * m->in_column;
            for (c = 0; c + VL <= channels; c += VL) vec_store(to + c, vec_load(from + c));
            for (; c < channels; c++) to[c] = from[c];
            for (; c < t->padded; c++) to[c] = 0;
        }
}

/* ---- the products: `pixels` of a row, their inputs `apart` floats from each other, channels from c on */

/* The empty statement keeps the compiler from making one instruction of the two. */
ALWAYS_INLINE vec multiply_add(const removed level, vec a, vec b, vec sum)
{
    if (level >= WITH_FMA) return vec_fma(a, b, sum);
    vec product = vec_mul(a, b);
    __asm__("" : "+x"(product));
    return vec_add(product, sum);
}

typedef struct {
    const job *job;
    meetings m;
    int64_t apart, pixel, c; /* pixel: floats of one of the output */
    vec_mask lanes;          /* of the last vector, where it is not whole */
} strip;

/* Of a patch all taps are in one. */
ALWAYS_INLINE int64_t rows_of(const removed level, const meetings *m)
{
    return level < WITHOUT_COPY ? 1 : m->rows;
}

/* out[pixels][C] = sums of filter[tap] * in */
ALWAYS_INLINE void gather(const removed level, const int pixels, const bool whole, const strip *s, float *out)
{
    const meetings *m = &s->m;
    vec sum[PIXELS];
    UNROLL for (int i = 0; i < pixels; i++) sum[i] = vec_zero();
    for (int64_t r = 0; r < rows_of(level, m); r++) {
        const float *in = m->in + r * m->in_row + s->c,
                    *filter = s->job->filter + m->tap + r * m->tap_row + s->c;
        UNROLL2 for (int64_t k = 0; k < m->columns; k++, in += m->in_column, filter += m->tap_column)
        {
            vec w = vec_load(filter);
            UNROLL for (int i = 0; i < pixels; i++) sum[i] =
                multiply_add(level, w, vec_load_lanes(whole, in + i * s->apart, s->lanes), sum[i]);
        }
    }
    UNROLL for (int i = 0; i < pixels; i++) vec_store_lanes(whole, out + i * s->pixel + s->c, s->lanes, sum[i]);
}

/* sums[tap] += gradient[pixels][C] * in, loaded and stored at every tap */
ALWAYS_INLINE void spread(const removed level, const int pixels, const bool whole, const strip *s, float *sums,
                          const float *gradient)
{
    const meetings *m = &s->m;
    vec d[PIXELS];
    UNROLL for (int i = 0; i < pixels; i++) d[i] =
        vec_load_lanes(whole, gradient + i * s->pixel + s->c, s->lanes);
    for (int64_t r = 0; r < rows_of(level, m); r++) {
        const float *in = m->in + r * m->in_row + s->c;
        float *to = sums + m->tap + r * m->tap_row + s->c;
        UNROLL2 for (int64_t k = 0; k < m->columns; k++, in += m->in_column, to += m->tap_column)
        {
            vec sum = vec_load(to);
            UNROLL for (int i = 0; i < pixels; i++) sum =
                multiply_add(level, d[i], vec_load_lanes(whole, in + i * s->apart, s->lanes), sum);
            vec_store(to, sum);
        }
    }
}

ALWAYS_INLINE void pixels_of(const removed level, const int pixels, const bool weights, strip *s, float *out,
                             const float *gradient)
{
    int64_t channels = s->pixel;
    for (s->c = 0; s->c + VL <= channels; s->c += VL)
        if (weights)
            spread(level, pixels, true, s, out, gradient);
        else
            gather(level, pixels, true, s, out);
    s->lanes = vec_mask_first(channels - s->c);
    if (s->c < channels && weights) spread(level, pixels, false, s, out, gradient);
    if (s->c < channels && !weights) gather(level, pixels, false, s, out);
}

/* ---- rows */

/* Row y of an image, into its own place in out or, of weights, into sums. */
ALWAYS_INLINE void row(const removed level, const bool weights, const job *j, int64_t image, int64_t y,
                       float *out, float *patch)
{
    const conv_problem *p = &j->plan->head.problem;
    const conv_axis *w = &p->axis[CONV_W];
    const span rows = span_of(&p->axis[CONV_H], j->backward, y);
    const float *gradient = weights ? j->gradient + (image * j->rows + y) * j->width * p->ic : NULL;
    bool tiled = level >= WITH_REGISTERS && !(j->backward && w->stride > 1);
    for (int64_t x = 0, done; x < j->width; x += done) {
        const span columns = span_of(w, j->backward, x);
        strip s = {.job = j, .m = meet(j, image, &rows, &columns), .pixel = p->ic};
        const float *diff = weights ? gradient + x * p->ic : NULL;
        float *to = weights ? out : out + x * p->ic;
        done = 1;
        if (tiled && columns.count == w->kernel && x + PIXELS <= j->width &&
            span_of(w, j->backward, x + PIXELS - 1).count == w->kernel) {
            done = PIXELS;
            s.apart = (j->backward ? 1 : w->stride) * p->ic;
            pixels_of(level, PIXELS, weights, &s, to, diff);
            continue;
        }
        if (level < WITHOUT_COPY) {
            copy_patch(j, &s.m, patch);
            s.m = (meetings){.in = patch,
                             .columns = j->plan->taps,
                             .in_column = j->plan->padded,
                             .tap_column = j->plan->padded};
        }
        pixels_of(level, 1, weights, &s, to, diff);
    }
}

ALWAYS_INLINE void unit_of(const removed level, const bool weights, const job *j, int64_t unit, float *patch)
{
    const tflike_plan *t = j->plan;
    int64_t per_image = div_up(j->rows, j->step), image = unit / per_image, first = unit % per_image * j->step;
    float *sums = j->out + unit * t->taps * t->padded;
    if (weights) memset(sums, 0, (size_t)(t->taps * t->padded) * sizeof *sums);
    for (int64_t y = first; y < min64(first + j->step, j->rows); y++)
        row(level, weights, j, image, y,
            weights ? sums : j->out + (image * j->rows + y) * j->width * t->head.problem.ic, patch);
}

#define UNITS(level)                                                                                           \
    static void convolve_##level(const job *j, int64_t unit, float *patch)                                     \
    {                                                                                                          \
        unit_of(level, false, j, unit, patch);                                                                 \
    }                                                                                                          \
    static void weights_##level(const job *j, int64_t unit, float *patch)                                      \
    {                                                                                                          \
        unit_of(level, true, j, unit, patch);                                                                  \
    }
UNITS(AS_TENSORFLOW)
UNITS(WITH_FMA)
UNITS(WITHOUT_COPY)
UNITS(WITH_REGISTERS)
#define UNITS_OF(level)                                                                                        \
    {                                                                                                          \
        convolve_##level, weights_##level                                                                      \
    }

static const struct {
    void (*convolve)(const job *j, int64_t unit, float *patch);
    void (*weights)(const job *j, int64_t unit, float *patch);
} units_of[LEVELS] = {UNITS_OF(AS_TENSORFLOW), UNITS_OF(WITH_FMA), UNITS_OF(WITHOUT_COPY),
                      UNITS_OF(WITH_REGISTERS), UNITS_OF(WITH_REGISTERS)};

/* ---- threads */

/* Eigen's estimate of whether a second thread is worth calling, from cycles that TensorFlow states; if it is, all
 * of the pool's are called. */
static bool worth_a_team(double cycles)
{
    const double startup = 100e3, of_a_thread = 100e3;
    return (cycles - startup) / of_a_thread + 0.9 >= 2;
}

typedef struct {
    const job *job;
    int64_t units;
    _Atomic int64_t next;
    float *patches;
} team_work;

static void unit(const team_work *w, int64_t u, int thread)
{
    w->job->unit(w->job, u, w->patches + (size_t)thread * w->job->plan->patch_floats);
}

/* Who is free takes the next unit, as from the queues of TensorFlow's pool. */
static void take_units(void *ctx, int thread)
{
    team_work *w = ctx;
    for (int64_t u; (u = w->next++) < w->units;) unit(w, u, thread);
}

/* cycles: of a unit, as TensorFlow states them. */
static void run(const job *j, double cycles, void *scratch)
{
    const tflike_plan *t = j->plan;
    team_work w = {.job = j, .units = t->head.problem.mb * div_up(j->rows, j->step)};
    w.patches = (float *)scratch + t->patches;
    if (t->pool != NULL && worth_a_team(cycles * (double)w.units)) {
        sleepers_call(t->pool, take_units, &w);
    } else {
#pragma omp parallel for schedule(static) num_threads(t->level < WITH_THREADS ? 1 : t->head.context.threads)
        for (int64_t u = 0; u < w.units; u++) unit(&w, u, omp_get_thread_num());
    }
}

/* ---- the passes */

/* The filter in rows of whole vectors: as it is where channels are those, else copied, by one thread. */
static const float *padded_filter(const tflike_plan *t, const conv_args *args)
{
    int64_t channels = t->head.problem.ic;
    if (t->padded == channels) return args->weights;
    float *filter = (float *)args->scratch + t->filter;
    memset(filter, 0, (size_t)(t->taps * t->padded) * sizeof *filter);
    for (int64_t k = 0; k < t->taps; k++)
        memcpy(filter + k * t->padded, args->weights + k * channels, (size_t)channels * sizeof *filter);
    return filter;
}

/* The bias and ReLU are operations of their own in TensorFlow: each goes over dst again. */
static void finish_forward(const conv_plan *plan, float *dst, const float *bias)
{
    const conv_problem *p = &plan->problem;
    int64_t pixels = conv_problem_sizes(p).dst / p->oc;
#pragma omp parallel for num_threads(plan->context.threads)
    for (int64_t i = 0; i < pixels; i++)
        for (int64_t c = 0; p->bias && c < p->oc; c++) dst[i * p->oc + c] += bias[c];
#pragma omp parallel for num_threads(plan->context.threads)
    for (int64_t i = 0; i < pixels; i++)
        for (int64_t c = 0; p->post_op == CONV_POST_RELU && c < p->oc; c++)
            dst[i * p->oc + c] = dst[i * p->oc + c] > 0 ? dst[i * p->oc + c] : 0;
}

static void forward(const tflike_plan *t, const conv_args *args)
{
    const conv_problem *p = &t->head.problem;
    job j = {.plan = t, .in = args->src, .filter = padded_filter(t, args), .out = args->dst, .step = 1};
    j.rows = conv_out(&p->axis[CONV_H]);
    j.width = conv_out(&p->axis[CONV_W]);
    j.unit = units_of[t->level].convolve;
    run(&j, 2.5 * (double)(j.width * p->oc), args->scratch);
    if (p->bias || p->post_op == CONV_POST_RELU) finish_forward(&t->head, args->dst, args->bias);
}

/* diff_dst, or where there is a ReLU a copy that its gradient has masked. */
static const float *gradient_of(const tflike_plan *t, const conv_args *args)
{
    const conv_problem *p = &t->head.problem;
    if (p->post_op != CONV_POST_RELU) return args->diff_dst;
    float *masked = (float *)args->scratch + t->gradient;
    int64_t count = conv_problem_sizes(p).dst;
#pragma omp parallel for num_threads(t->head.context.threads)
    for (int64_t i = 0; i < count; i++) masked[i] = args->dst[i] > 0 ? args->diff_dst[i] : 0;
    return masked;
}

static void backward_data(const tflike_plan *t, const conv_args *args, const float *gradient)
{
    const conv_problem *p = &t->head.problem;
    job j = {.plan = t, .in = gradient, .filter = padded_filter(t, args), .out = args->diff_src};
    j.backward = true;
    j.rows = p->axis[CONV_H].in;
    j.width = p->axis[CONV_W].in;
    j.step = t->level >= WITH_THREADS ? 1 : j.rows;
    j.unit = units_of[t->level].convolve;
    run(&j, (double)(j.step * j.width * p->oc), args->scratch);
}

/* One thread adds up what the images gave, before WITH_THREADS. */
static void join(const tflike_plan *t, const conv_args *args, int64_t units)
{
    int64_t channels = t->head.problem.ic;
    const float *sums = (const float *)args->scratch + t->sums;
#pragma omp parallel for num_threads(t->level >= WITH_THREADS ? t->head.context.threads : 1)
    for (int64_t k = 0; k < t->taps; k++) {
        float *to = args->diff_weights + k * channels;
        if (!args->accumulate) memset(to, 0, (size_t)channels * sizeof *to);
        for (int64_t u = 0; u < units; u++)
            for (int64_t c = 0; c < channels; c++) to[c] += sums[(u * t->taps + k) * t->padded + c];
    }
}

static void backward_bias(const conv_problem *p, const conv_args *args, const float *gradient)
{
    int64_t count = conv_problem_sizes(p).dst;
    if (!args->accumulate) memset(args->diff_bias, 0, (size_t)p->oc * sizeof *args->diff_bias);
    for (int64_t i = 0; i < count; i += p->oc)
        for (int64_t c = 0; c < p->oc; c++) args->diff_bias[c] += gradient[i + c];
}

static void backward_weights(const tflike_plan *t, const conv_args *args, const float *gradient)
{
    const conv_problem *p = &t->head.problem;
    job j = {.plan = t, .in = args->src, .gradient = gradient, .out = (float *)args->scratch + t->sums};
    j.rows = conv_out(&p->axis[CONV_H]);
    j.width = conv_out(&p->axis[CONV_W]);
    j.step = t->chunk;
    j.unit = units_of[t->level].weights;
    run(&j, (double)(j.step * j.width * p->oc), args->scratch);
    join(t, args, p->mb * div_up(j.rows, j.step));
    if (p->bias) backward_bias(p, args, gradient);
}

static conv_status execute(const conv_plan *plan, const conv_args *args)
{
    const tflike_plan *t = (const tflike_plan *)plan;
    if (plan->pass == CONV_FORWARD) {
        forward(t, args);
        return CONV_OK;
    }
    const float *gradient = gradient_of(t, args);
    if (conv_data_wanted(plan, args)) backward_data(t, args, gradient);
    if (conv_makes_weights(plan->pass)) backward_weights(t, args, gradient);
    return CONV_OK;
}

/* ---- the plan */

static const char *refuse(const conv_impl *self, const conv_problem *p, conv_pass pass)
{
    (void)self, (void)pass;
    const conv_axis *h = &p->axis[CONV_H], *w = &p->axis[CONV_W];
    if (p->rank == 3) return "rank 3";
    if (h->dilation != 1 || w->dilation != 1)
        return "dilation, for which TensorFlow moves pixels into the batch";
    if (p->rank == 2 && h->stride != w->stride) return "strides that differ in rows and columns";
    return p->depth_multiplier == 1 ? NULL : "depth multiplier other than 1";
}

static const conv_impl depthwise[LEVELS];

static conv_status plan(const conv_impl *self, const conv_problem *p, conv_pass pass, const conv_context *ctx,
                        conv_plan **out, conv_error *err)
{
    tflike_plan *t = conv_plan_new(sizeof *t, self, p, pass, ctx);
    if (t == NULL) return conv_fail(err, CONV_NO_MEMORY, "no memory for a plan");
    int64_t rows = conv_out(&p->axis[CONV_H]);
    t->level = (removed)(self - depthwise);
    t->taps = p->axis[CONV_H].kernel * p->axis[CONV_W].kernel;
    t->padded = round_up(p->ic, VL);
    t->chunk = t->level >= WITH_THREADS ? div_up(rows, min64(rows, div_up(CHUNKS, p->mb))) : rows;
    size_t floats = 0, filter = (size_t)(t->taps * t->padded);
    int64_t sums = conv_makes_weights(pass) ? p->mb * div_up(rows, t->chunk) : 0;
    bool masked = pass != CONV_FORWARD && p->post_op == CONV_POST_RELU;
    t->patch_floats = t->level < WITHOUT_COPY ? conv_align(filter * sizeof(float)) / sizeof(float) + APART : 0;
    t->filter = conv_reserve(&floats, t->padded == p->ic ? 0 : filter);
    t->gradient = conv_reserve(&floats, masked ? (size_t)conv_problem_sizes(p).dst : 0);
    t->sums = conv_reserve(&floats, sums > 0 ? (size_t)sums * filter + APART : 0) + (sums > 0 ? APART : 0);
    t->patches = conv_reserve(&floats, t->patch_floats * (size_t)ctx->threads + APART) + APART;
    t->head.scratch_bytes = floats * sizeof(float);
    *out = &t->head;
    if (ctx->threads == 1 || t->level >= WITH_THREADS) return CONV_OK;
    conv_status status = sleepers_create(ctx->threads, &t->pool, err);
    if (status != CONV_OK) free(t);
    return status;
}

static void destroy(conv_plan *plan)
{
    sleepers_destroy(((tflike_plan *)plan)->pool);
    free(plan);
}

/* ---- the implementations */

#define COMMON(level_name) .name = (level_name), .isa = ISA_ENUM, .layouts = 1u << CONV_NHWC
#define DEPTHWISE(level, level_name, words)                                                                    \
    {                                                                                                          \
        COMMON(level_name), .variant = CONV_DEPTHWISE, .summary = (words), .refuse = refuse, .plan = plan,     \
                            .execute = execute, .destroy = destroy, .own_threads = (level) < WITH_THREADS      \
    }
#define SEPARABLE(level, level_name)                                                                           \
    {                                                                                                          \
        COMPOSE(&depthwise[level], &simd_pointwise.impl), COMMON(level_name),                                  \
            .summary = "its depthwise, then the pointwise of " ISA_STRING                                      \
    }

static const conv_impl depthwise[LEVELS] = {
    DEPTHWISE(AS_TENSORFLOW, "tf-like", "what TensorFlow does without oneDNN, for the suite why"),
    DEPTHWISE(WITH_FMA, "tf-like+fma", "tf-like, multiply-add in one instruction"),
    DEPTHWISE(WITHOUT_COPY, "tf-like+nocopy", "tf-like+fma, no patch copied per pixel"),
    DEPTHWISE(WITH_REGISTERS, "tf-like+registers", "tf-like+nocopy, one load of a tap for 4 pixels"),
    DEPTHWISE(WITH_THREADS, "tf-like+threads", "tf-like+registers, rows of gradients in parallel too")};

static const conv_impl separable[LEVELS] = {
    SEPARABLE(AS_TENSORFLOW, "tf-like"), SEPARABLE(WITH_FMA, "tf-like+fma"),
    SEPARABLE(WITHOUT_COPY, "tf-like+nocopy"), SEPARABLE(WITH_REGISTERS, "tf-like+registers"),
    SEPARABLE(WITH_THREADS, "tf-like+threads")};

#define IMPLS(symbol, level)                                                                                   \
    extern const conv_impl *const symbol##_impls[CONV_VARIANT_COUNT];                                          \
    const conv_impl *const symbol##_impls[CONV_VARIANT_COUNT] = {                                              \
        [CONV_DEPTHWISE] = &depthwise[level], [CONV_SEPARABLE] = &separable[level]};
IMPLS(tflike, AS_TENSORFLOW)
IMPLS(tflike_fma, WITH_FMA)
IMPLS(tflike_nocopy, WITHOUT_COPY)
IMPLS(tflike_registers, WITH_REGISTERS)
IMPLS(tflike_threads, WITH_THREADS)
