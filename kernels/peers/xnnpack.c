/* XNNPACK, inference on NHWC: dense, depthwise and pointwise by its one convolution operator, separable by two
 * of them with the intermediate in scratch. A post-op is the operator's output clamp.
 *
 * Weights are packed when an operator is created, so pack creates it: first they are brought from Keras's
 * [KH][KW][IC/G][OC] into XNNPACK's [OC][KH][KW][IC/G] (in `packed`, which is no more than that staging), then
 * XNNPACK copies them into its own memory. A plan holds the operator of its latest pack. That creation does
 * a little more than packing cannot be told apart from outside.
 *
 * Threads: a pthreadpool per plan, whose workers take over, from inside, the affinity of the OpenMP threads.
 * Refuses: backward passes, three dimensions, bias (it is packed with the weights, which our pack does not get), trailing
 * padding of minus one stride or less, and an ISA cap, since XNNPACK chooses by itself and cannot be held back.
 * Reads up to XNN_EXTRA_BYTES beyond its inputs, as its header says. */
#include <math.h>
#include <pthreadpool.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>

#include "../plan.h"
#include "threads.h"
#include "xnnpack_api.h"

enum { STAGES = 2 };

/* What pack and execute change. */
typedef struct {
    xnn_operator_t op;
    const float *in; /* set up for; setting up again is only needed when they move */
    float *out;
    float *span; /* of pack's setup: addresses as long as the input at which nothing lives */
    size_t span_bytes;
} operator;

typedef struct {
    conv_plan base;
    pthreadpool_t pool;
    int stages;
    conv_problem stage[STAGES];
    size_t staging[STAGES]; /* offset of each stage's weights in packed */
    operator* operators;    /* [stages] */
} xnnpack_plan;

static const char *status_words(enum xnn_status s)
{
    static const char *const words[] = {"success",       "not initialised",       "invalid parameter",
                                        "invalid state", "unsupported parameter", "unsupported hardware",
                                        "out of memory"};
    return (size_t)s < sizeof words / sizeof *words ? words[s] : "unknown status";
}

static const char *version(void) { return "XNNPACK (no version number)"; }

static const char *refuse(const conv_impl *self, const conv_problem *p, conv_pass pass)
{
    (void)self;
    if (pass != CONV_FORWARD) return "backward: XNNPACK does inference only";
    if (p->rank > 2) return "XNNPACK has no convolution in three dimensions";
    if (p->bias) return "bias: XNNPACK packs it with the weights";
    if (cpu_allowed() < cpu_detect()) return "SEPBENCH_MAX_ISA: XNNPACK cannot be held to an instruction set";
    for (int i = CONV_H; i < CONV_AXES; i++)
        if (conv_needed_pad_after(&p->axis[i]) <= -p->axis[i].stride)
            return "padding after of minus one stride or less";
    return NULL;
}

/* ---- threads */

/* Every thread of the pool runs one item: each waits until all have begun. */
typedef struct {
    pthread_t caller;
    const cpu_set_t *affinity; /* [threads], of the OpenMP threads; the caller is thread 0 of both pools */
    atomic_int begun, next, failed;
    int threads;
} binding;

static void bind_worker(void *context, size_t item)
{
    (void)item;
    binding *b = context;
    atomic_fetch_add(&b->begun, 1);
    while (atomic_load(&b->begun) < b->threads) sched_yield();
    if (pthread_equal(pthread_self(), b->caller)) return;
    const cpu_set_t *wanted = &b->affinity[atomic_fetch_add(&b->next, 1)];
    cpu_set_t got;
    if (pthread_setaffinity_np(pthread_self(), sizeof *wanted, wanted) != 0 ||
        pthread_getaffinity_np(pthread_self(), sizeof got, &got) != 0 || !CPU_EQUAL(&got, wanted))
        atomic_fetch_add(&b->failed, 1);
}

static conv_status create_pool(xnnpack_plan *plan, conv_error *err)
{
    int threads = plan->base.context.threads;
    cpu_set_t *affinity = peer_omp_affinity(threads);
    if (affinity == NULL) return conv_fail(err, CONV_FAILED, "xnnpack plan: the threads' cores are unknown");
    conv_status status = CONV_OK;
    binding b = {.caller = pthread_self(), .affinity = affinity, .threads = threads};
    atomic_init(&b.next, 1);
    plan->pool = pthreadpool_create((size_t)threads);
    if (plan->pool == NULL || pthreadpool_get_threads_count(plan->pool) != (size_t)threads) {
        status = conv_fail(err, CONV_FAILED, "xnnpack plan: pthreadpool did not start %d threads", threads);
    } else {
        pthreadpool_parallelize_1d(plan->pool, bind_worker, &b, (size_t)threads, 0);
        if (atomic_load(&b.failed) > 0)
            status = conv_fail(err, CONV_FAILED, "xnnpack plan: pthreadpool's threads could not be bound");
    }
    free(affinity);
    return status;
}

/* ---- plan */

static void destroy(conv_plan *base)
{
    xnnpack_plan *plan = (xnnpack_plan *)base;
    for (int i = 0; plan->operators != NULL && i < plan->stages; i++) {
        if (plan->operators[i].op != NULL) xnn_delete_operator(plan->operators[i].op);
        if (plan->operators[i].span != NULL) munmap(plan->operators[i].span, plan->operators[i].span_bytes);
    }
    if (plan->pool != NULL) pthreadpool_destroy(plan->pool);
    free(plan->operators);
    free(plan);
}

/* The first setup writes addresses of its input into XNNPACK's indirection buffer; running moves them to the
 * real input, except those equal to XNNPACK's zero buffer. So the first input's range must hold nothing of
 * XNNPACK's: it is reserved, without memory behind it. */
static bool reserve_spans(xnnpack_plan *plan)
{
    for (int i = 0; i < plan->stages; i++) {
        operator* o = & plan->operators[i];
        o->span_bytes = (size_t)conv_problem_sizes(&plan->stage[i]).src * sizeof(float) + XNN_EXTRA_BYTES;
        void *span = mmap(NULL, o->span_bytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
        if (span == MAP_FAILED) return false;
        o->span = span;
    }
    return true;
}

static conv_status plan_create(const conv_impl *self, const conv_problem *p, conv_pass pass,
                               const conv_context *ctx, conv_plan **result, conv_error *err)
{
    xnnpack_plan *plan = conv_plan_new(sizeof *plan, self, p, pass, ctx);
    if (plan == NULL) return conv_fail(err, CONV_NO_MEMORY, "xnnpack plan: no memory");
    conv_sizes sizes = conv_problem_sizes(p);
    if (p->variant == CONV_SEPARABLE) {
        plan->stage[plan->stages++] = conv_depthwise_stage(p);
        plan->stage[plan->stages++] = conv_pointwise_stage(p);
        plan->base.scratch_bytes = conv_align((size_t)sizes.mid * sizeof(float) + XNN_EXTRA_BYTES);
    } else {
        plan->stage[plan->stages++] = *p;
    }
    for (int i = 0; i < plan->stages; i++) {
        plan->staging[i] = plan->base.packed_bytes;
        plan->base.packed_bytes +=
            conv_align((size_t)conv_problem_sizes(&plan->stage[i]).weights * sizeof(float));
    }
    snprintf(plan->base.note, sizeof plan->base.note, "%s", "XNNPACK's packed weights not in packed_bytes");

    conv_status status = CONV_OK;
    enum xnn_status started = xnn_initialize(NULL);
    plan->operators = calloc((size_t)plan->stages, sizeof *plan->operators);
    if (plan->operators == NULL || !reserve_spans(plan))
        status = conv_fail(err, CONV_NO_MEMORY, "xnnpack plan: no memory");
    else if (started != xnn_status_success)
        status = conv_fail(err, CONV_FAILED, "XNNPACK: starting: %s", status_words(started));
    else
        status = create_pool(plan, err);
    if (status == CONV_OK)
        *result = &plan->base;
    else
        destroy(&plan->base);
    return status;
}

/* ---- pack */

/* [taps][IC/G][OC] to [OC][taps][IC/G]. */
static void transpose_weights(const conv_problem *p, const float *from, float *to, int threads)
{
    int64_t rows = p->axis[CONV_H].kernel * p->axis[CONV_W].kernel * (p->ic / p->groups), oc = p->oc;
#pragma omp parallel for num_threads(threads) schedule(static)
    for (int64_t o = 0; o < oc; o++)
        for (int64_t r = 0; r < rows; r++) to[o * rows + r] = from[r * oc + o];
}

static uint32_t padding(int64_t n) { return n < 0 ? 0 : (uint32_t)n; }

static enum xnn_status create_operator(const conv_problem *p, const float *weights, xnn_operator_t *op)
{
    const conv_axis *h = &p->axis[CONV_H], *w = &p->axis[CONV_W];
    bool depthwise = p->variant == CONV_DEPTHWISE, clipped = p->post_op != CONV_POST_NONE;
    return xnn_create_convolution2d_nhwc_f32(
        padding(h->pad_before), padding(conv_needed_pad_after(w)), padding(conv_needed_pad_after(h)),
        padding(w->pad_before), (uint32_t)h->kernel, (uint32_t)w->kernel, (uint32_t)h->stride,
        (uint32_t)w->stride, (uint32_t)h->dilation, (uint32_t)w->dilation, (uint32_t)p->groups,
        (size_t)(p->ic / p->groups), (size_t)(p->oc / p->groups), (size_t)p->ic, (size_t)p->oc, weights, NULL,
        clipped ? 0.0f : -INFINITY, clipped ? conv_clip(p->post_op) : INFINITY,
        depthwise ? XNN_FLAG_DEPTHWISE_CONVOLUTION : 0, XNNPACK_NO_CACHES op);
}

static xnnpack_tensors tensors(const xnnpack_plan *plan, int i, const float *in, float *out)
{
    const conv_problem *p = &plan->stage[i];
    return (xnnpack_tensors){(size_t)p->mb, (size_t)p->axis[CONV_H].in, (size_t)p->axis[CONV_W].in, in, out};
}

static enum xnn_status set_up(const xnnpack_plan *plan, int i, const float *in, float *out)
{
    operator* o = & plan->operators[i];
    if (o->in == in && o->out == out) return xnn_status_success;
    const xnnpack_tensors t = tensors(plan, i, in, out);
    enum xnn_status s = xnnpack_set_up(o->op, &t, plan->pool);
    o->in = s == xnn_status_success ? in : NULL;
    o->out = s == xnn_status_success ? out : NULL;
    return s;
}

static conv_status finished(enum xnn_status s)
{
    return s == xnn_status_success ? CONV_OK : s == xnn_status_out_of_memory ? CONV_NO_MEMORY : CONV_FAILED;
}

static conv_status pack(const conv_plan *base, const float *weights, const float *pointwise, void *packed)
{
    const xnnpack_plan *plan = (const xnnpack_plan *)base;
    for (int i = 0; i < plan->stages; i++) {
        const conv_problem *p = &plan->stage[i];
        const float *given = i == 1 ? pointwise : weights;
        float *staging = (float *)((char *)packed + plan->staging[i]);
        operator* o = & plan->operators[i];
        if (p->variant != CONV_DEPTHWISE) { /* depthwise weights are in TensorFlow's order on both sides */
            transpose_weights(p, given, staging, base->context.threads);
            given = staging;
        }
        if (o->op != NULL) xnn_delete_operator(o->op);
        *o = (operator){.span = o->span, .span_bytes = o->span_bytes};
        enum xnn_status s = create_operator(p, given, &o->op);
        /* Allocates XNNPACK's indirection buffer, which depends on sizes, not on addresses. */
        const xnnpack_tensors t = tensors(plan, i, o->span, o->span);
        if (s == xnn_status_success) s = xnnpack_prepare(o->op, &t, plan->pool);
        if (s != xnn_status_success) return finished(s);
    }
    return CONV_OK;
}

static conv_status execute(const conv_plan *base, const conv_args *args)
{
    const xnnpack_plan *plan = (const xnnpack_plan *)base;
    const float *in = args->src;
    enum xnn_status s = xnn_status_success;
    for (int i = 0; i < plan->stages && s == xnn_status_success; i++) {
        float *out = i == plan->stages - 1 ? args->dst : args->scratch;
        s = set_up(plan, i, in, out);
        if (s == xnn_status_success) s = xnn_run_operator(plan->operators[i].op, plan->pool);
        in = out;
    }
    return finished(s);
}

#define XNNPACK(variant_)                                                                                      \
    {                                                                                                          \
        .name = "xnnpack", .variant = variant_, .summary = "XNNPACK, forward only", .isa = CPU_BASE,           \
        .peer = true, .own_threads = true, .layouts = 1u << CONV_NHWC, .version = version, .refuse = refuse,   \
        .plan = plan_create, .pack = pack, .execute = execute, .destroy = destroy                              \
    }

static const conv_impl impls[] = {XNNPACK(CONV_DENSE), XNNPACK(CONV_DEPTHWISE), XNNPACK(CONV_POINTWISE),
                                  XNNPACK(CONV_SEPARABLE)};

const conv_impl *const xnnpack_impls[CONV_VARIANT_COUNT] = {&impls[CONV_DENSE], &impls[CONV_DEPTHWISE],
                                                            &impls[CONV_POINTWISE], &impls[CONV_SEPARABLE]};
