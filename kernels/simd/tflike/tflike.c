/* What TensorFlow's DepthwiseConv2dNative and its two gradients do on a CPU where oneDNN is off, and four
 * variants: each lacks one more cause of its slowness. Written from a reading of
 * tensorflow/core/kernels/depthwise_conv_op.h, depthwise_conv_op.cc and depthwise_conv_grad_op.cc, and, of when
 * a pool's threads are called, from Eigen's TensorCostModel.h; nothing is copied.
 *
 * Pixel by pixel the inputs under all taps are copied into a patch [taps][channels], and the product runs over
 * it, vectors of channels outside, taps inside. In parallel: forward over rows, gradients over images alone.
 * Compiled for AVX2, where TensorFlow's packages are for AVX: for this code the only difference is the
 * multiply-add. Refuses what TensorFlow's kernels refuse, and depth multipliers. */
#include <omp.h>

#include "../../compose.h"
#include "../simd.h"
#include "tflike.h"

/* ---- threads */

/* Eigen's estimate of whether a second thread is worth calling, from cycles that TensorFlow states; if it is,
 * all of the pool's are called. */
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

/* The bias and the post-op are operations of their own in TensorFlow: each goes over dst again. */
static void finish_forward(const conv_plan *plan, float *dst, const float *bias)
{
    const conv_problem *p = &plan->problem;
    int64_t pixels = conv_problem_sizes(p).dst / p->oc;
#pragma omp parallel for num_threads(plan->context.threads)
    for (int64_t i = 0; i < pixels; i++)
        for (int64_t c = 0; p->bias && c < p->oc; c++) dst[i * p->oc + c] += bias[c];
#pragma omp parallel for num_threads(plan->context.threads)
    for (int64_t i = 0; i < pixels; i++)
        for (int64_t c = 0; p->post_op != CONV_POST_NONE && c < p->oc; c++)
            dst[i * p->oc + c] = conv_clipped(dst[i * p->oc + c], conv_clip(p->post_op));
}

static void forward(const tflike_plan *t, const conv_args *args)
{
    const conv_problem *p = &t->head.problem;
    job j = {.plan = t, .in = args->src, .filter = padded_filter(t, args), .out = args->dst, .step = 1};
    j.rows = conv_out(&p->axis[CONV_H]);
    j.width = conv_out(&p->axis[CONV_W]);
    j.unit = tflike_units_of[t->level].convolve;
    run(&j, 2.5 * (double)(j.width * p->oc), args->scratch);
    if (p->bias || p->post_op != CONV_POST_NONE) finish_forward(&t->head, args->dst, args->bias);
}

/* diff_dst, or where there is a post-op a copy that its gradient has masked. */
static const float *gradient_of(const tflike_plan *t, const conv_args *args)
{
    const conv_problem *p = &t->head.problem;
    if (p->post_op == CONV_POST_NONE) return args->diff_dst;
    float *masked = (float *)args->scratch + t->gradient;
    int64_t count = conv_problem_sizes(p).dst;
#pragma omp parallel for num_threads(t->head.context.threads)
    for (int64_t i = 0; i < count; i++)
        masked[i] = conv_passes(p->post_op, args->dst[i]) ? args->diff_dst[i] : 0;
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
    j.unit = tflike_units_of[t->level].convolve;
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
    j.unit = tflike_units_of[t->level].weights;
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
    bool masked = pass != CONV_FORWARD && p->post_op != CONV_POST_NONE;
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
