/* ONNX Runtime, inference, through its C API: a graph of one Conv, for separable of a depthwise and a pointwise
 * one, with a Relu that it fuses. Weights are constants of the graph, as in a deployed model.
 *
 * Its interface is NCHW. NCHW problems run on the caller's tensors; NHWC ones on copies that enter and leave
 * transpose, timed apart. A session packs weights when it is created, so pack creates it, from a model written
 * into `packed` (onnxruntime_model.c); the graph's optimisation is part of that time. The intermediate of a
 * separable is in the session's own memory.
 *
 * Threads: a pool per session, whose workers ONNX Runtime binds to the cores of the OpenMP threads.
 * Refuses: backward passes (another library), models beyond protobuf's 2 GB, trailing padding of minus one
 * stride or less, and an ISA cap, since it chooses by itself and cannot be held back. */
#include <fcntl.h>
#include <onnxruntime/onnxruntime_c_api.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "../plan.h"
#include "../transpose.h"
#include "onnxruntime_model.h"
#include "threads.h"

/* What pack and execute change. */
typedef struct {
    OrtSession *session;
    OrtIoBinding *binding;
    const void *src, *bias, *dst; /* bound by now */
} session;

typedef struct {
    conv_plan base;
    bool converts; /* NHWC: execute works on copies in activations */
    size_t dst;    /* offset of dst's copy in activations */
    OrtSessionOptions *options;
    OrtMemoryInfo *memory;
    session *now;
} ort_plan;

/* ---- the library */

static const OrtApi *api;
static OrtEnv *environment;
static OrtStatus *start_status;

/* A session of the smallest model, created and released. */
static OrtStatus *first_session(void)
{
    unsigned char model[512];
    const float weight = 1;
    const conv_axis one = {.in = 1, .kernel = 1, .stride = 1, .dilation = 1};
    const conv_problem p = {.variant = CONV_POINTWISE,
                            .rank = 2,
                            .mb = 1,
                            .ic = 1,
                            .oc = 1,
                            .depth_multiplier = 1,
                            .groups = 1,
                            .axis = {one, one, one}};
    OrtSessionOptions *options = NULL;
    OrtSession *session = NULL;
    OrtStatus *s = api->CreateSessionOptions(&options);
    if (s == NULL && onnx_model_bytes(&p) <= sizeof model) {
        onnx_model_write(&p, &weight, NULL, model);
        s = api->CreateSessionFromArray(environment, model, onnx_model_bytes(&p), options, &session);
    }
    if (session != NULL) api->ReleaseSession(session);
    if (options != NULL) api->ReleaseSessionOptions(options);
    return s;
}

/* The environment lives for the program. Debian's package registers the ONNX operators twice and says so, 500
 * lines to standard error, when the first session is created: that one is created here, with standard error
 * elsewhere. */
static void start(void)
{
    api = OrtGetApiBase()->GetApi(ORT_API_VERSION);
    if (api == NULL) return;
    fflush(stderr);
    int kept = dup(STDERR_FILENO), nowhere = open("/dev/null", O_WRONLY | O_CLOEXEC);
    if (kept >= 0 && nowhere >= 0) dup2(nowhere, STDERR_FILENO);
    start_status = api->CreateEnv(ORT_LOGGING_LEVEL_FATAL, "sepbench", &environment);
    if (start_status == NULL) start_status = first_session();
    if (kept >= 0) {
        dup2(kept, STDERR_FILENO);
        close(kept);
    }
    if (nowhere >= 0) close(nowhere);
}

static const char *version(void)
{
    static char text[64]; /* the same bytes whoever writes them */
    snprintf(text, sizeof text, "ONNX Runtime %s", OrtGetApiBase()->GetVersionString());
    return text;
}

/* Frees s; false, with err saying what failed and why, unless it is NULL, ONNX Runtime's success. */
static bool ok(OrtStatus *s, const char *what, conv_error *err)
{
    if (s == NULL) return true;
    conv_fail(err, CONV_FAILED, "%s: %s: %s", version(), what, api->GetErrorMessage(s));
    api->ReleaseStatus(s);
    return false;
}

static const char *refuse(const conv_impl *self, const conv_problem *p, conv_pass pass)
{
    (void)self;
    if (pass != CONV_FORWARD) return "backward: ONNX Runtime does inference only";
    if (cpu_allowed() < cpu_detect())
        return "SEPBENCH_MAX_ISA: ONNX Runtime cannot be held to an instruction set";
    for (int i = CONV_AXES - p->rank; i < CONV_AXES; i++)
        if (conv_needed_pad_after(&p->axis[i]) <= -p->axis[i].stride)
            return "padding after of minus one stride or less";
    if (onnx_model_bytes(p) > ONNX_MODEL_LIMIT) return "weights beyond the 2 GB of an ONNX model";
    return NULL;
}

/* ---- plan */

/* "2;3,4": for every thread but the caller, its processors, counted from 1. NULL when memory is short. */
static char *affinity_words(int threads)
{
    cpu_set_t *affinity = peer_omp_affinity(threads);
    if (affinity == NULL) return NULL;
    size_t size = 1;
    for (int t = 1; t < threads; t++) size += (size_t)CPU_COUNT(&affinity[t]) * sizeof "1024,";
    char *words = malloc(size), *end = words;
    for (int t = 1; words != NULL && t < threads; t++) {
        const char *between = t > 1 ? ";" : "";
        for (int cpu = 0; cpu < CPU_SETSIZE; cpu++) {
            if (!CPU_ISSET(cpu, &affinity[t])) continue;
            end += snprintf(end, size - (size_t)(end - words), "%s%d", between, cpu + 1);
            between = ",";
        }
    }
    free(affinity);
    return words;
}

static conv_status configure(ort_plan *plan, conv_error *err)
{
    int threads = plan->base.context.threads;
    char *affinity = affinity_words(threads);
    if (affinity == NULL)
        return conv_fail(err, CONV_FAILED, "onnxruntime plan: the threads' cores are unknown");
    bool fine =
        ok(start_status, "starting", err) && ok(api->CreateSessionOptions(&plan->options), "options", err) &&
        ok(api->SetIntraOpNumThreads(plan->options, threads), "threads", err) &&
        ok(api->SetInterOpNumThreads(plan->options, 1), "threads", err) &&
        ok(api->SetSessionGraphOptimizationLevel(plan->options, ORT_ENABLE_ALL), "optimisation", err) &&
        (threads == 1 ||
         ok(api->AddSessionConfigEntry(plan->options, "session.intra_op_thread_affinities", affinity),
            "binding threads", err)) &&
        ok(api->CreateCpuMemoryInfo(OrtDeviceAllocator, OrtMemTypeDefault, &plan->memory), "memory", err);
    free(affinity);
    return fine ? CONV_OK : CONV_FAILED;
}

static void release_session(session *s)
{
    if (s->binding != NULL) api->ReleaseIoBinding(s->binding);
    if (s->session != NULL) api->ReleaseSession(s->session);
    *s = (session){0};
}

static void destroy(conv_plan *base)
{
    ort_plan *plan = (ort_plan *)base;
    if (plan->now != NULL) release_session(plan->now);
    if (plan->memory != NULL) api->ReleaseMemoryInfo(plan->memory);
    if (plan->options != NULL) api->ReleaseSessionOptions(plan->options);
    free(plan->now);
    free(plan);
}

static conv_status plan_create(const conv_impl *self, const conv_problem *p, conv_pass pass,
                               const conv_context *ctx, conv_plan **result, conv_error *err)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, start);
    if (api == NULL)
        return conv_fail(err, CONV_FAILED, "%s: older than the header this was built with", version());
    ort_plan *plan = conv_plan_new(sizeof *plan, self, p, pass, ctx);
    if (plan != NULL) plan->now = calloc(1, sizeof *plan->now);
    if (plan == NULL || plan->now == NULL) {
        free(plan);
        return conv_fail(err, CONV_NO_MEMORY, "onnxruntime plan: no memory");
    }
    conv_sizes sizes = conv_problem_sizes(p);
    plan->base.packed_bytes = onnx_model_bytes(p);
    plan->converts = p->layout == CONV_NHWC;
    if (plan->converts) {
        plan->dst = conv_align((size_t)sizes.src * sizeof(float));
        plan->base.activation_bytes = plan->dst + conv_align((size_t)sizes.dst * sizeof(float));
    }
    snprintf(plan->base.note, sizeof plan->base.note, "nchw, constant weights");
    conv_status status = configure(plan, err);
    if (status == CONV_OK)
        *result = &plan->base;
    else
        destroy(&plan->base);
    return status;
}

/* ---- pack, enter, execute, leave: their statuses only */

static conv_status pack(const conv_plan *base, const float *weights, const float *pointwise, void *packed)
{
    const ort_plan *plan = (const ort_plan *)base;
    session *now = plan->now;
    release_session(now);
    onnx_model_write(&base->problem, weights, pointwise, packed);
    bool fine =
        ok(api->CreateSessionFromArray(environment, packed, base->packed_bytes, plan->options, &now->session),
           "creating a session", NULL) &&
        ok(api->CreateIoBinding(now->session, &now->binding), "binding tensors", NULL);
    return fine ? CONV_OK : CONV_FAILED;
}

/* Makes *bound, an input or with output the output, point to data. */
static bool bind(const ort_plan *plan, const char *name, const void **bound, const void *data,
                 const int64_t *dims, int ndims)
{
    if (*bound == data) return true;
    bool output = strcmp(name, ONNX_DST) == 0;
    size_t bytes = sizeof(float);
    for (int i = 0; i < ndims; i++) bytes *= (size_t)dims[i];
    OrtValue *tensor = NULL;
    bool fine = ok(api->CreateTensorWithDataAsOrtValue(plan->memory, (void *)data, bytes, dims, (size_t)ndims,
                                                       ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT, &tensor),
                   name, NULL) &&
                ok(output ? api->BindOutput(plan->now->binding, name, tensor)
                          : api->BindInput(plan->now->binding, name, tensor),
                   name, NULL);
    if (tensor != NULL) api->ReleaseValue(tensor);
    *bound = fine ? data : NULL;
    return fine;
}

static void transpose_tensor(const conv_plan *base, bool src, bool to_nchw, const float *from, float *to)
{
    int64_t dims[CONV_AXES + 2], pixels = 1;
    int ndims = onnx_shape(&base->problem, src, dims);
    for (int i = 2; i < ndims; i++) pixels *= dims[i];
    transpose_images(from, to, dims[0], to_nchw ? pixels : dims[1], to_nchw ? dims[1] : pixels,
                     base->context.threads);
}

static conv_status enter(const conv_plan *base, const conv_args *args)
{
    if (((const ort_plan *)base)->converts) transpose_tensor(base, true, true, args->src, args->activations);
    return CONV_OK;
}

static const float *dst_copy(const ort_plan *plan, const conv_args *args)
{
    return (const float *)((const char *)args->activations + plan->dst);
}

static conv_status leave(const conv_plan *base, const conv_args *args)
{
    const ort_plan *plan = (const ort_plan *)base;
    if (plan->converts) transpose_tensor(base, false, false, dst_copy(plan, args), args->dst);
    return CONV_OK;
}

static conv_status execute(const conv_plan *base, const conv_args *args)
{
    const ort_plan *plan = (const ort_plan *)base;
    session *now = plan->now;
    const conv_problem *p = &base->problem;
    const float *src = plan->converts ? args->activations : args->src;
    const float *dst = plan->converts ? dst_copy(plan, args) : args->dst;
    int64_t src_dims[CONV_AXES + 2], dst_dims[CONV_AXES + 2];
    int ndims = onnx_shape(p, true, src_dims);
    onnx_shape(p, false, dst_dims);
    bool fine = bind(plan, ONNX_SRC, &now->src, src, src_dims, ndims) &&
                bind(plan, ONNX_DST, &now->dst, dst, dst_dims, ndims) &&
                (!p->bias || bind(plan, ONNX_BIAS, &now->bias, args->bias, &p->oc, 1)) &&
                ok(api->RunWithBinding(now->session, NULL, now->binding), "running", NULL);
    return fine ? CONV_OK : CONV_FAILED;
}

#define ONNXRUNTIME(variant_)                                                                                  \
    {                                                                                                          \
        .name = "onnxruntime", .variant = variant_,                                                            \
        .summary = "ONNX Runtime, forward only, NCHW inside, constant weights", .isa = CPU_BASE, .peer = true, \
        .own_threads = true, .layouts = 1u << CONV_NHWC | 1u << CONV_NCHW, .version = version,                 \
        .refuse = refuse, .plan = plan_create, .pack = pack, .enter = enter, .execute = execute,               \
        .leave = leave, .destroy = destroy                                                                     \
    }

static const conv_impl impls[] = {ONNXRUNTIME(CONV_DENSE), ONNXRUNTIME(CONV_DEPTHWISE),
                                  ONNXRUNTIME(CONV_POINTWISE), ONNXRUNTIME(CONV_SEPARABLE)};

const conv_impl *const onnxruntime_impls[CONV_VARIANT_COUNT] = {&impls[CONV_DENSE], &impls[CONV_DEPTHWISE],
                                                                &impls[CONV_POINTWISE], &impls[CONV_SEPARABLE]};
