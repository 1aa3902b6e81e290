/* ONNX Runtime, inference, through its C API: a graph of one Conv, for separable of a depthwise and a
 * pointwise one, with a Relu or Clip that it fuses. `onnxruntime` has the weights as constants, as a
 * deployed model has, and packs them into blocks where it can; `onnxruntime-fed` has them as inputs, which it
 * takes as they are. The library is opened at run time (engine.h).
 *
 * Its interface is NCHW. NCHW problems run on the caller's tensors; NHWC ones on copies that enter and leave
 * transpose, timed apart. The model is made here (onnxruntime_model.c). Creating a session optimises the graph
 * and packs constants: pack does it for `onnxruntime`, whose model it writes into `packed`; plan does it for
 * `onnxruntime-fed`, whose pack brings weights into ONNX's order. The intermediate of a separable is in the
 * session's own memory.
 *
 * Threads: a pool per session, whose workers ONNX Runtime binds to the cores of the OpenMP threads. After a
 * run they spin for a while, as is its default, and then sleep; whoever is timed next on these cores waits for
 * that.
 * Refuses: backward passes (another library), models beyond protobuf's 2 GB, trailing padding of minus one
 * stride or less, and an ISA cap, since it chooses by itself and cannot be held back. */
#include <stdio.h>
#include <string.h>

#include "../plan.h"
#include "../transpose.h"
#include "engine.h"
#include "onnxruntime_api.h"
#include "onnxruntime_model.h"
#include "threads.h"

/* What pack and execute change. */
typedef struct {
    OrtSession *session;
    OrtIoBinding *binding;
    const void *src, *weights, *pointwise, *bias, *dst; /* bound by now */
} session;

typedef struct {
    conv_plan base;
    bool converts;    /* NHWC: execute works on copies in activations */
    size_t dst;       /* offset of dst's copy in activations */
    bool fed;         /* weights are inputs: packed has them in ONNX's order, */
    size_t pointwise; /* pointwise at this offset */
    OrtSessionOptions *options;
    OrtMemoryInfo *memory;
    session *now;
} ort_plan;

/* ---- the library */

static const OrtApiBase *base_api;
static const OrtApi *api;
static OrtEnv *environment;
static conv_error not_started; /* why there is no environment */

/* Frees s; false, with err saying what failed and why, unless it is NULL, ONNX Runtime's success. */
static bool ok(OrtStatus *s, const char *what, conv_error *err)
{
    if (s == NULL) return true;
    conv_fail(err, CONV_FAILED, "ONNX Runtime: %s: %s", what, api->GetErrorMessage(s));
    api->ReleaseStatus(s);
    return false;
}

/* A session of the smallest model, created and released. */
static bool first_session(conv_error *err)
{
    unsigned char model[512];
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
    OrtSession *first = NULL;
    size_t bytes = onnx_model_write(&p, NULL, NULL);
    bool fine = bytes <= sizeof model && ok(api->CreateSessionOptions(&options), "options", err);
    if (fine) {
        onnx_model_write(&p, NULL, model);
        fine = ok(api->CreateSessionFromArray(environment, model, bytes, options, &first), "starting", err);
    }
    if (first != NULL) api->ReleaseSession(first);
    if (options != NULL) api->ReleaseSessionOptions(options);
    return fine;
}

static void start_once(void)
{
    void *library = engine_open(ENGINE_ONNXRUNTIME, &not_started);
    if (library == NULL) return;
    ort_get_api_base *get;
    if (!engine_function(library, "OrtGetApiBase", &get)) {
        conv_fail(&not_started, CONV_FAILED, "%s has no OrtGetApiBase", engine_path(ENGINE_ONNXRUNTIME));
        return;
    }
    base_api = get();
    api = base_api->GetApi(ORT_API_VERSION);
    if (api == NULL) {
        conv_fail(&not_started, CONV_FAILED, "ONNX Runtime %s is older than 1.%d", base_api->GetVersionString(),
                  ORT_API_VERSION);
        return;
    }
    /* Debian's package registers the ONNX operators twice and says so, 500 lines to standard error, when the
     * first session is created. */
    int kept = engine_hush();
    if (ok(api->CreateEnv(ORT_LOG_FATAL, "sepbench", &environment), "starting", &not_started))
        first_session(&not_started);
    engine_unhush(kept);
}

/* Opens the library and makes its environment, which lives for the program. */
static conv_status start(conv_error *err)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, start_once);
    return *not_started.text == '\0' ? CONV_OK : conv_fail(err, CONV_FAILED, "%s", not_started.text);
}

static const char *version(void)
{
    static char text[64]; /* the same bytes whoever writes them */
    start(NULL);
    snprintf(text, sizeof text, "ONNX Runtime %s",
             base_api != NULL ? base_api->GetVersionString() : "that cannot be opened");
    return text;
}

static const char *absent(void) { return engine_absent(ENGINE_ONNXRUNTIME); }

static bool takes_fed(const conv_impl *self) { return strcmp(self->name, "onnxruntime-fed") == 0; }

static const char *refuse(const conv_impl *self, const conv_problem *p, conv_pass pass)
{
    if (pass != CONV_FORWARD) return "backward: ONNX Runtime does inference only";
    if (cpu_allowed() < cpu_detect())
        return "SEPBENCH_MAX_ISA: ONNX Runtime cannot be held to an instruction set";
    for (int i = CONV_AXES - p->rank; i < CONV_AXES; i++)
        if (conv_needed_pad_after(&p->axis[i]) <= -p->axis[i].stride)
            return "padding after of minus one stride or less";
    const onnx_constants counted = {NULL, NULL};
    if (!takes_fed(self) && onnx_model_write(p, &counted, NULL) > ONNX_MODEL_LIMIT)
        return "weights beyond the 2 GB of an ONNX model";
    return NULL;
}

/* ---- plan */

/* "2;3,4": for every thread but the caller's the processors it may run on, counted from 1. NULL when memory is
 * short. */
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
        ok(api->CreateSessionOptions(&plan->options), "options", err) &&
        ok(api->SetIntraOpNumThreads(plan->options, threads), "threads", err) &&
        ok(api->SetInterOpNumThreads(plan->options, 1), "threads", err) &&
        ok(api->SetSessionGraphOptimizationLevel(plan->options, ORT_OPTIMISE_ALL), "optimisation", err) &&
        (threads == 1 ||
         ok(api->AddSessionConfigEntry(plan->options, "session.intra_op_thread_affinities", affinity),
            "binding threads", err)) &&
        ok(api->CreateCpuMemoryInfo(ORT_DEVICE_ALLOCATOR, ORT_MEMORY_DEFAULT, &plan->memory), "memory", err);
    free(affinity);
    return fine ? CONV_OK : CONV_FAILED;
}

static void release_session(session *s)
{
    if (s->binding != NULL) api->ReleaseIoBinding(s->binding);
    if (s->session != NULL) api->ReleaseSession(s->session);
    *s = (session){0};
}

static conv_status create_session(const ort_plan *plan, const void *model, size_t bytes, conv_error *err)
{
    session *now = plan->now;
    release_session(now);
    bool fine = ok(api->CreateSessionFromArray(environment, model, bytes, plan->options, &now->session),
                   "creating a session", err) &&
                ok(api->CreateIoBinding(now->session, &now->binding), "binding tensors", err);
    return fine ? CONV_OK : CONV_FAILED;
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

/* The bytes of what pack and enter write. */
static void set_sizes(ort_plan *plan)
{
    const conv_problem *p = &plan->base.problem;
    conv_sizes sizes = conv_problem_sizes(p);
    plan->pointwise = conv_align((size_t)sizes.weights * sizeof(float));
    plan->base.packed_bytes = plan->fed ? plan->pointwise + conv_align((size_t)sizes.pointwise * sizeof(float))
                                        : onnx_model_write(p, &(onnx_constants){NULL, NULL}, NULL);
    plan->converts = p->layout == CONV_NHWC;
    if (!plan->converts) return;
    plan->dst = conv_align((size_t)sizes.src * sizeof(float));
    plan->base.activation_bytes = plan->dst + conv_align((size_t)sizes.dst * sizeof(float));
}

static conv_status session_of_fed(ort_plan *plan, conv_error *err)
{
    size_t bytes = onnx_model_write(&plan->base.problem, NULL, NULL);
    void *model = malloc(bytes);
    if (model == NULL) return conv_fail(err, CONV_NO_MEMORY, "onnxruntime plan: no memory");
    onnx_model_write(&plan->base.problem, NULL, model);
    conv_status status = create_session(plan, model, bytes, err);
    free(model);
    return status;
}

static conv_status plan_create(const conv_impl *self, const conv_problem *p, conv_pass pass,
                               const conv_context *ctx, conv_plan **result, conv_error *err)
{
    conv_status status = start(err);
    if (status != CONV_OK) return status;
    ort_plan *plan = conv_plan_new(sizeof *plan, self, p, pass, ctx);
    if (plan != NULL) plan->now = calloc(1, sizeof *plan->now);
    if (plan == NULL || plan->now == NULL) {
        free(plan);
        return conv_fail(err, CONV_NO_MEMORY, "onnxruntime plan: no memory");
    }
    plan->fed = takes_fed(self);
    set_sizes(plan);
    snprintf(plan->base.note, sizeof plan->base.note, "nchw, %s weights", plan->fed ? "fed" : "constant");
    status = configure(plan, err);
    if (status == CONV_OK && plan->fed) status = session_of_fed(plan, err);
    if (status == CONV_OK)
        *result = &plan->base;
    else
        destroy(&plan->base);
    return status;
}

/* ---- pack, enter, execute, leave: their statuses only */

static float *packed_pointwise(const ort_plan *plan, const void *packed)
{
    return (float *)((char *)packed + plan->pointwise);
}

static conv_status pack(const conv_plan *base, const float *weights, const float *pointwise, void *packed)
{
    const ort_plan *plan = (const ort_plan *)base;
    const conv_problem *p = &base->problem;
    if (!plan->fed) {
        onnx_model_write(p, &(onnx_constants){weights, pointwise}, packed);
        return create_session(plan, packed, base->packed_bytes, NULL);
    }
    const conv_problem depthwise = conv_depthwise_stage(p), last = conv_pointwise_stage(p);
    bool separable = p->variant == CONV_SEPARABLE;
    onnx_filter(separable ? &depthwise : p, weights, packed);
    if (separable) onnx_filter(&last, pointwise, packed_pointwise(plan, packed));
    return CONV_OK;
}

/* Binds the graph's input or output of that name to data, unless it is bound to that already (*bound). */
static bool bind(const ort_plan *plan, const char *name, const void **bound, const void *data,
                 const int64_t *dims, int ndims)
{
    if (*bound == data) return true;
    bool output = strcmp(name, ONNX_DST) == 0;
    size_t bytes = sizeof(float);
    for (int i = 0; i < ndims; i++) bytes *= (size_t)dims[i];
    OrtValue *tensor = NULL;
    bool fine = ok(api->CreateTensorWithDataAsOrtValue(plan->memory, (void *)data, bytes, dims, (size_t)ndims,
                                                       ORT_FLOAT, &tensor),
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

static bool bind_filters(const ort_plan *plan, const void *packed)
{
    const conv_problem *p = &plan->base.problem, first = conv_depthwise_stage(p),
                       last = conv_pointwise_stage(p);
    bool separable = p->variant == CONV_SEPARABLE;
    int64_t dims[CONV_AXES + 2];
    int ndims = onnx_filter_shape(separable ? &first : p, dims);
    if (!bind(plan, ONNX_WEIGHTS, &plan->now->weights, packed, dims, ndims)) return false;
    if (!separable) return true;
    ndims = onnx_filter_shape(&last, dims);
    return bind(plan, ONNX_POINTWISE, &plan->now->pointwise, packed_pointwise(plan, packed), dims, ndims);
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
                (!plan->fed || bind_filters(plan, args->packed)) &&
                (!p->bias || bind(plan, ONNX_BIAS, &now->bias, args->bias, &p->oc, 1)) &&
                ok(api->RunWithBinding(now->session, NULL, now->binding), "running", NULL);
    return fine ? CONV_OK : CONV_FAILED;
}

#define ONNXRUNTIME(variant_, name_, summary_)                                                                 \
    {                                                                                                          \
        .name = name_, .variant = variant_, .summary = summary_, .isa = CPU_BASE, .peer = true,                \
        .own_threads = true, .own_process = true, .layouts = 1u << CONV_NHWC | 1u << CONV_NCHW,                \
        .absent = absent, .version = version, .refuse = refuse, .plan = plan_create, .pack = pack,             \
        .enter = enter, .execute = execute, .leave = leave, .destroy = destroy                                 \
    }
#define ALL(name_, summary_)                                                                                   \
    {                                                                                                          \
        ONNXRUNTIME(CONV_DENSE, name_, summary_), ONNXRUNTIME(CONV_DEPTHWISE, name_, summary_),                \
            ONNXRUNTIME(CONV_POINTWISE, name_, summary_), ONNXRUNTIME(CONV_SEPARABLE, name_, summary_)         \
    }

static const conv_impl constant[] =
    ALL("onnxruntime", "ONNX Runtime, forward only, NCHW inside, constant weights");
static const conv_impl fed[] = ALL("onnxruntime-fed", "ONNX Runtime, forward only, NCHW inside, weights fed");

extern const conv_impl *const onnxruntime_impls[CONV_VARIANT_COUNT];
extern const conv_impl *const onnxruntime_fed_impls[CONV_VARIANT_COUNT];
const conv_impl *const onnxruntime_impls[CONV_VARIANT_COUNT] = {&constant[0], &constant[1], &constant[2],
                                                                &constant[3]};
const conv_impl *const onnxruntime_fed_impls[CONV_VARIANT_COUNT] = {&fed[0], &fed[1], &fed[2], &fed[3]};
