/* TensorFlow through its C API, a session per plan of a graph (tensorflow_graph.c) of the operations that
 * tf.nn and Keras use. The library is opened at run time (engine.h).
 *
 * `tensorflow` has the filter as a constant in forward, as in inference, and everything fed in backward, as in
 * training; `tensorflow-fed` has it fed in forward too. A graph is rewritten when it first runs: plan runs it
 * once on zeros and notes which operations came of it. With constants pack does all that again, for the
 * weights are part of the graph. Tensors of ours are taken where they are; results are TensorFlow's own
 * memory, new in each call, from which leave copies them, timed apart. Backward of a separable reads what
 * forward kept of its intermediate.
 *
 * Threads: TensorFlow's pools, one per process, fixed by its first session. They run on the cores of the
 * OpenMP threads, on which of them as the system likes: TensorFlow does not bind its threads. A graph whose
 * operations follow one another is run by the caller's thread: by default TensorFlow hands each call over to a
 * pool (inter_op_parallelism_threads), which takes 10 to 60 us. In a joint backward as many operations run at
 * once as there are threads, as by default: at batch 1 each of its depthwise gradients has one thread only.
 *
 * Refuses: in three dimensions depthwise convolutions, groups, and padding other than SAME and VALID; trailing
 * padding of minus one stride or less, an ISA cap, since it chooses by itself and cannot be held back, constants
 * beyond a graph's 2 GB, what it does wrong (gradients of dilated depthwise convolutions) or aborts over (a bias
 * or ReLU after a depthwise one of explicit padding), and without oneDNN (TF_ENABLE_ONEDNN_OPTS) NCHW, dilated
 * depthwise convolutions, those of unequal strides, and gradients of dilated or grouped ones. */
#include "tensorflow.h"

#if defined(__x86_64__)
#include <cpuid.h>
#endif
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "../plan.h"
#include "../util.h"
#include "engine.h"
#include "tensorflow_graph.h"
#include "threads.h"

/* What pack and execute change. */
typedef struct {
    tf_graph graph;
    TF_Session *session;
    TF_Status *status;
    TF_Tensor *in[TF_ENDS], *out[TF_ENDS];
    const void *at[TF_ENDS]; /* where the inputs lie */
} tf_run;

typedef struct {
    conv_plan base;
    bool constant;
    tf_run *now;
} tf_plan;

/* ---- the library */

static tf_api tf;
static conv_error not_started;
static int pool_threads; /* of this process's pools; 0: there are none yet */
static bool (*says_onednn)(void);

#define TF_SYMBOL(result, name, parameters) {"TF_" #name, offsetof(tf_api, name)},
static const struct {
    const char *name;
    size_t at;
} symbols[] = {TF_FUNCTIONS(TF_SYMBOL)};

static void start_once(void)
{
    setenv("TF_CPP_MIN_LOG_LEVEL", "3", 0);
    void *library = engine_open(ENGINE_TENSORFLOW, &not_started);
    for (size_t i = 0; library != NULL && i < sizeof symbols / sizeof *symbols; i++)
        if (!engine_function(library, symbols[i].name, (char *)&tf + symbols[i].at)) {
            conv_fail(&not_started, CONV_FAILED, "%s has no %s", engine_path(ENGINE_TENSORFLOW),
                      symbols[i].name);
            return;
        }
    /* tensorflow::IsMKLEnabled(), which decides it. */
    if (library != NULL) engine_function(library, "_ZN10tensorflow12IsMKLEnabledEv", &says_onednn);
}

static conv_status start(conv_error *err)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, start_once);
    return *not_started.text == '\0' ? CONV_OK : conv_fail(err, CONV_FAILED, "%s", not_started.text);
}

/* Whether oneDNN's kernels run, as TensorFlow decides it (tensorflow/core/util/util.cc): by the variable, else
 * by whether the CPU multiplies narrow types. */
static bool uses_onednn(void)
{
    const char *told = getenv("TF_ENABLE_ONEDNN_OPTS");
    if (told != NULL && (strcmp(told, "1") == 0 || strcasecmp(told, "true") == 0)) return true;
    if (told != NULL && (strcmp(told, "0") == 0 || strcasecmp(told, "false") == 0)) return false;
#if defined(__x86_64__)
    unsigned a, b, c, d, more, unused;
    if (!__get_cpuid_count(7, 0, &a, &b, &c, &d)) return false;
    if (a == 0 || !__get_cpuid_count(7, 1, &more, &unused, &unused, &unused)) more = 0;
    const unsigned avx512_vnni = c >> 11, amx = d >> 22 | d >> 24 | d >> 25, avx_vnni = more >> 4,
                   avx512_bf16 = more >> 5;
    return (avx512_vnni | amx | avx_vnni | avx512_bf16) & 1;
#else
    return false;
#endif
}

static const char *onednn_words(void)
{
    if (says_onednn == NULL) return "oneDNN unknown";
    int kept = engine_hush(); /* the first call logs what it decided */
    bool on = says_onednn();
    engine_unhush(kept);
    return on ? "oneDNN on" : "oneDNN off";
}

static const char *version(void)
{
    static char text[64]; /* the same bytes whoever writes them */
    if (start(NULL) != CONV_OK) return "TensorFlow that cannot be opened";
    snprintf(text, sizeof text, "TensorFlow %s, %s", tf.Version(), onednn_words());
    return text;
}

static const char *absent(void) { return engine_absent(ENGINE_TENSORFLOW); }

static bool takes_constant(const conv_impl *self, conv_pass pass)
{
    return pass == CONV_FORWARD && strcmp(self->name, "tensorflow") == 0;
}

static bool is_dilated(const conv_problem *p)
{
    bool dilated = false;
    for (int i = 0; i < CONV_AXES; i++) dilated |= p->axis[i].dilation > 1 && p->axis[i].kernel > 1;
    return dilated;
}

static bool has_depthwise(const conv_problem *p)
{
    return p->variant == CONV_DEPTHWISE || p->variant == CONV_SEPARABLE;
}

/* What of three dimensions it lacks. */
static const char *refuse_volumes(const conv_problem *p)
{
    if (p->rank < 3) return NULL;
    if (has_depthwise(p)) return "TensorFlow has no depthwise convolution in three dimensions";
    if (p->groups > 1) return "TensorFlow's Conv3D has no groups on CPU";
    return tf_padding(p) == TF_EXPLICIT ? "TensorFlow's Conv3D pads SAME or VALID only" : NULL;
}

/* What it would do wrong, or end the process over. */
static const char *refuse_faults(const conv_problem *p, conv_pass pass)
{
    bool finished = p->bias || p->post_op != CONV_POST_NONE;
    if (has_depthwise(p) && is_dilated(p) && pass != CONV_FORWARD)
        return "TensorFlow's depthwise gradients ignore the dilation";
    if (p->variant == CONV_DEPTHWISE && pass == CONV_FORWARD && finished && tf_padding(p) == TF_EXPLICIT)
        return "TensorFlow aborts over a bias or ReLU after a depthwise convolution of explicit padding";
    return NULL;
}

/* What TensorFlow's own kernels do not do, in its words. */
static const char *refuse_eigen(const conv_problem *p, conv_pass pass)
{
    const conv_axis *h = &p->axis[CONV_H], *w = &p->axis[CONV_W];
    bool depthwise = has_depthwise(p), dilated = is_dilated(p);
    if (p->layout == CONV_NCHW)
        return depthwise      ? "Depthwise convolution on CPU is only supported for NHWC format"
               : p->rank == 3 ? "CPU implementation of Conv3D currently only supports the NHWC tensor format"
                              : "The Conv2D op currently only supports the NHWC tensor format on the CPU";
    if (p->rank == 3 && dilated)
        return "CPU implementation of Conv3D currently only supports dilated rates of 1";
    if (depthwise && dilated) return "Current kernel implementation does not support dilations";
    if (depthwise && p->rank == 2 && h->stride != w->stride)
        return "Current implementation only supports equal length strides in the row and column dimensions";
    if (pass == CONV_FORWARD) return NULL;
    if (dilated) return "Current CPU implementations do not yet support dilation rates larger than 1";
    return p->variant == CONV_DENSE && p->groups > 1
               ? "Gradients for grouped convolutions are not supported on CPU"
               : NULL;
}

static const char *refuse(const conv_impl *self, const conv_problem *p, conv_pass pass)
{
    enum { GRAPH_LIMIT = 0x7fffffff, GRAPH_ITSELF = 1 << 16 };
    if (pass != CONV_FORWARD && strcmp(self->name, "tensorflow") != 0)
        return "backward: tensorflow has everything fed there";
    if (cpu_allowed() < cpu_detect())
        return "SEPBENCH_MAX_ISA: TensorFlow cannot be held to an instruction set";
    for (int i = tf_first_axis(p); i < CONV_AXES; i++)
        if (conv_needed_pad_after(&p->axis[i]) <= -p->axis[i].stride)
            return "padding after of minus one stride or less";
    conv_sizes sizes = conv_problem_sizes(p);
    if (takes_constant(self, pass) &&
        (sizes.weights + sizes.pointwise) * (int64_t)sizeof(float) > GRAPH_LIMIT - GRAPH_ITSELF)
        return "weights beyond the 2 GB of a TensorFlow graph";
    const char *why = refuse_volumes(p);
    if (why == NULL) why = refuse_faults(p, pass);
    return why != NULL || uses_onednn() ? why : refuse_eigen(p, pass);
}

/* ---- sessions */

/* CONV_OK, or TensorFlow's words, of which the first line says all. */
static conv_status tf_status(const TF_Status *status, const char *what, conv_error *err)
{
    int code = tf.GetCode(status);
    if (code == TF_OK) return CONV_OK;
    const char *words = tf.Message(status);
    return conv_fail(err, code == TF_UNIMPLEMENTED || code == TF_INVALID_ARGUMENT ? CONV_REFUSED : CONV_FAILED,
                     "TensorFlow: %s: %.*s", what, (int)strcspn(words, "\n"), words);
}

/* The caller may run on all cores of the OpenMP threads; *before is what it may run on now. */
static conv_status spread(int threads, cpu_set_t *before, conv_error *err)
{
    cpu_set_t *affinity = peer_omp_affinity(threads), all;
    CPU_ZERO(&all);
    for (int t = 0; affinity != NULL && t < threads; t++) CPU_OR(&all, &all, &affinity[t]);
    bool fine = affinity != NULL && pthread_getaffinity_np(pthread_self(), sizeof *before, before) == 0 &&
                pthread_setaffinity_np(pthread_self(), sizeof all, &all) == 0;
    free(affinity);
    return fine ? CONV_OK : conv_fail(err, CONV_FAILED, "tensorflow plan: the threads' cores are unknown");
}

/* ConfigProto: how many threads, and how many operations at once; CALLER: the caller's thread runs them. */
enum { CALLER = -1 };
static TF_SessionOptions *options_of(int threads, int at_once, TF_Status *status)
{
    enum { INTRA_OP = 2 << 3, INTER_OP = 5 << 3 };
    const uint64_t values[] = {(uint64_t)threads, (uint64_t)(int64_t)at_once};
    unsigned char proto[2 * 11];
    size_t length = 0;
    for (int field = 0; field < 2; field++) {
        proto[length++] = field == 0 ? INTRA_OP : INTER_OP;
        for (uint64_t left = values[field]; left > 0; left >>= 7)
            proto[length++] = (unsigned char)((left & 0x7f) | (left > 0x7f ? 0x80 : 0));
    }
    TF_SessionOptions *options = tf.NewSessionOptions();
    tf.SetConfig(options, proto, length, status);
    return options;
}

/* TensorFlow's threads are made here and inherit the caller's cores. */
static conv_status open_session(tf_run *run, int threads, int at_once, conv_error *err)
{
    cpu_set_t before;
    if (pool_threads != 0 && pool_threads != threads)
        return conv_fail(err, CONV_REFUSED,
                         "TensorFlow has %d threads since its first session: another number needs a process of "
                         "its own",
                         pool_threads);
    conv_status status = spread(threads, &before, err);
    if (status != CONV_OK) return status;
    pool_threads = threads;
    TF_SessionOptions *options = options_of(threads, at_once, run->status);
    if (tf.GetCode(run->status) == TF_OK) run->session = tf.NewSession(run->graph.graph, options, run->status);
    tf.DeleteSessionOptions(options);
    pthread_setaffinity_np(pthread_self(), sizeof before, &before);
    return tf_status(run->status, "session", err);
}

static void forget_outputs(tf_run *run)
{
    for (int i = 0; i < TF_ENDS; i++) {
        if (run->out[i] != NULL) tf.DeleteTensor(run->out[i]);
        run->out[i] = NULL;
    }
}

static void forget_input(tf_run *run, int i)
{
    if (run->in[i] != NULL) tf.DeleteTensor(run->in[i]);
    run->in[i] = NULL;
    run->at[i] = NULL;
}

static void close_run(tf_run *run)
{
    forget_outputs(run);
    for (int i = 0; i < TF_ENDS; i++) forget_input(run, i);
    if (run->session != NULL) tf.DeleteSession(run->session, run->status);
    if (run->graph.graph != NULL) tf.DeleteGraph(run->graph.graph);
    if (run->status != NULL) tf.DeleteStatus(run->status);
    *run = (tf_run){0};
}

static void not_ours(void *data, size_t length, void *argument) { (void)data, (void)length, (void)argument; }

/* Input i is at data, which stays the caller's. */
static void feed(tf_run *run, const conv_problem *p, int i, const void *data)
{
    int64_t dims[TF_DIMS];
    tf_role role = run->graph.input[i].role;
    if (run->in[i] != NULL && run->at[i] == data) return;
    forget_input(run, i);
    int ndims = tf_shape(p, role, dims);
    run->in[i] = tf.NewTensor(TF_FLOAT, dims, ndims, (void *)data, (size_t)tf_count(p, role) * sizeof(float),
                              not_ours, NULL);
    run->at[i] = data;
}

/* The first `outputs` results. options and metadata may be NULL. */
static void call(tf_run *run, int outputs, const TF_Buffer *options, TF_Buffer *metadata)
{
    TF_Output in[TF_ENDS], out[TF_ENDS];
    for (int i = 0; i < run->graph.inputs; i++) in[i] = run->graph.input[i].node;
    for (int i = 0; i < outputs; i++) out[i] = run->graph.output[i].node;
    forget_outputs(run);
    tf.SessionRun(run->session, options, in, run->in, run->graph.inputs, out, run->out, outputs, NULL, 0,
                  metadata, run->status);
}

/* The first run, on zeros, of which note says what ran. */
static conv_status call_on_zeros(tf_run *run, const conv_problem *p, char note[CONV_NOTE], conv_error *err)
{
    static const unsigned char with_graphs[] = {5 << 3, 1}; /* RunOptions: output_partition_graphs */
    const TF_Buffer options = {with_graphs, sizeof with_graphs, NULL};
    int64_t most = 1;
    for (int i = 0; i < run->graph.inputs; i++) most = max64(most, tf_count(p, run->graph.input[i].role));
    void *zeros = aligned_alloc(CONV_ALIGN, conv_align((size_t)most * sizeof(float)));
    if (zeros == NULL) return conv_fail(err, CONV_NO_MEMORY, "tensorflow plan: no memory for a first run");
    memset(zeros, 0, (size_t)most * sizeof(float));
    for (int i = 0; i < run->graph.inputs; i++) feed(run, p, i, zeros);
    TF_Buffer *metadata = tf.NewBuffer();
    call(run, run->graph.outputs, &options, metadata);
    if (note != NULL) tf_operations(metadata->data, metadata->length, note, CONV_NOTE);
    tf.DeleteBuffer(metadata);
    for (int i = 0; i < run->graph.inputs; i++) forget_input(run, i);
    free(zeros);
    return tf_status(run->status, "first run", err);
}

/* Graph, session and first run. constants: NULL, or weights and pointwise. */
static conv_status begin(const tf_plan *plan, const float *const *constants, char note[CONV_NOTE],
                         conv_error *err)
{
    const conv_plan *base = &plan->base;
    tf_run *run = plan->now;
    const tf_wanted wanted = {&base->problem, base->pass, base->context.keep_workspace, constants};
    close_run(run);
    run->status = tf.NewStatus();
    tf_graph_build(&tf, &wanted, &run->graph, run->status);
    conv_status status = tf_status(run->status, "graph", err);
    int threads = base->context.threads, at_once = base->pass == CONV_BACKWARD ? threads : CALLER;
    if (status == CONV_OK) status = open_session(run, threads, at_once, err);
    if (status == CONV_OK) status = call_on_zeros(run, &base->problem, note, err);
    return status;
}

/* ---- plan, pack */

static void destroy(conv_plan *base)
{
    tf_plan *plan = (tf_plan *)base;
    if (plan->now != NULL) close_run(plan->now);
    free(plan->now);
    free(plan);
}

static conv_status plan_run(tf_plan *plan, conv_error *err)
{
    conv_sizes sizes = conv_problem_sizes(&plan->base.problem);
    char operations[CONV_NOTE] = "";
    const float *constants[2];
    float *zeros = NULL;
    if (plan->constant) {
        zeros = calloc((size_t)max64(sizes.weights, sizes.pointwise), sizeof *zeros);
        if (zeros == NULL) return conv_fail(err, CONV_NO_MEMORY, "tensorflow plan: no memory");
        constants[0] = constants[1] = zeros;
    }
    conv_status status = begin(plan, zeros != NULL ? constants : NULL, operations, err);
    free(zeros);
    snprintf(plan->base.note, CONV_NOTE, "filter %s, %s: %.100s", plan->constant ? "constant" : "fed",
             onednn_words(), operations);
    return status;
}

static conv_status plan_create(const conv_impl *self, const conv_problem *p, conv_pass pass,
                               const conv_context *ctx, conv_plan **result, conv_error *err)
{
    conv_status status = start(err);
    if (status != CONV_OK) return status;
    tf_plan *plan = conv_plan_new(sizeof *plan, self, p, pass, ctx);
    if (plan != NULL) plan->now = calloc(1, sizeof *plan->now);
    if (plan == NULL || plan->now == NULL) {
        free(plan);
        return conv_fail(err, CONV_NO_MEMORY, "tensorflow plan: no memory");
    }
    plan->constant = takes_constant(self, pass);
    /* The session has the weights: nothing is written, but pack must be called. */
    if (plan->constant) plan->base.packed_bytes = CONV_ALIGN;
    if (p->variant == CONV_SEPARABLE && (pass == CONV_BACKWARD || ctx->keep_workspace))
        plan->base.workspace_bytes = conv_align((size_t)conv_problem_sizes(p).mid * sizeof(float));
    status = plan_run(plan, err);
    if (status == CONV_OK)
        *result = &plan->base;
    else
        destroy(&plan->base);
    return status;
}

static conv_status pack(const conv_plan *base, const float *weights, const float *pointwise, void *packed)
{
    (void)packed;
    return begin((const tf_plan *)base, (const float *const[]){weights, pointwise}, NULL, NULL);
}

/* ---- enter, execute, leave: their statuses only */

/* Inputs are taken where they are. */
static conv_status enter(const conv_plan *base, const conv_args *args)
{
    (void)base, (void)args;
    return CONV_OK;
}

static const void *input_of(const conv_args *a, tf_role role)
{
    const void *const all[] = {
        [TF_SRC] = a->src, [TF_WEIGHTS] = a->weights, [TF_POINTWISE] = a->pointwise, [TF_BIAS] = a->bias,
        [TF_DST] = a->dst, [TF_MID] = a->workspace,   [TF_DIFF_DST] = a->diff_dst};
    return all[role];
}

static float *output_of(const conv_args *a, tf_role role)
{
    float *const all[] = {[TF_DST] = a->dst,
                          [TF_MID] = a->workspace,
                          [TF_DIFF_WEIGHTS] = a->diff_weights,
                          [TF_DIFF_POINTWISE] = a->diff_pointwise,
                          [TF_DIFF_BIAS] = a->diff_bias,
                          [TF_DIFF_SRC] = a->diff_src};
    return all[role];
}

static conv_status execute(const conv_plan *base, const conv_args *args)
{
    tf_run *run = ((const tf_plan *)base)->now;
    for (int i = 0; i < run->graph.inputs; i++)
        feed(run, &base->problem, i, input_of(args, run->graph.input[i].role));
    bool without_src = conv_makes_data(base->pass) && args->diff_src == NULL;
    call(run, run->graph.outputs - without_src, NULL, NULL);
    return tf.GetCode(run->status) == TF_OK ? CONV_OK : CONV_FAILED;
}

static conv_status leave(const conv_plan *base, const conv_args *args)
{
    const tf_run *run = ((const tf_plan *)base)->now;
    for (int i = 0; i < run->graph.outputs; i++) {
        tf_role role = run->graph.output[i].role;
        float *to = output_of(args, role);
        if (run->out[i] == NULL || to == NULL) continue;
        const float *from = tf.TensorData(run->out[i]);
        int64_t count = tf_count(&base->problem, role);
        bool adds = args->accumulate && role != TF_DIFF_SRC && role != TF_DST && role != TF_MID;
#pragma omp parallel for schedule(static) num_threads(base->context.threads)
        for (int64_t n = 0; n < count; n++) to[n] = adds ? to[n] + from[n] : from[n];
    }
    return CONV_OK;
}

/* ---- the call itself */

/* A number through Identity. */
static void build_identity(tf_graph *graph, TF_Status *status)
{
    *graph = (tf_graph){.graph = tf.NewGraph(), .inputs = 1, .outputs = 1};
    TF_OperationDescription *d = tf.NewOperation(graph->graph, "Placeholder", "in");
    tf.SetAttrType(d, "dtype", TF_FLOAT);
    graph->input[0].node = (TF_Output){tf.FinishOperation(d, status), 0};
    if (tf.GetCode(status) != TF_OK) return;
    d = tf.NewOperation(graph->graph, "Identity", "out");
    tf.AddInput(d, graph->input[0].node);
    graph->output[0].node = (TF_Output){tf.FinishOperation(d, status), 0};
}

static double seconds_of_calls(tf_run *run, int calls)
{
    struct timespec from, to;
    clock_gettime(CLOCK_MONOTONIC, &from);
    for (int i = 0; i < calls; i++) call(run, 1, NULL, NULL);
    clock_gettime(CLOCK_MONOTONIC, &to);
    return (double)(to.tv_sec - from.tv_sec) + 1e-9 * (double)(to.tv_nsec - from.tv_nsec);
}

double tensorflow_overhead_ns(int threads)
{
    enum { TIMES = 20, CALLS = 200 };
    static _Alignas(CONV_ALIGN) float number;
    double best = INFINITY;
    tf_run run = {0};
    if (start(NULL) != CONV_OK) return NAN;
    run.status = tf.NewStatus();
    build_identity(&run.graph, run.status);
    if (tf_status(run.status, "graph", NULL) == CONV_OK &&
        open_session(&run, threads, CALLER, NULL) == CONV_OK) {
        run.in[0] = tf.NewTensor(TF_FLOAT, NULL, 0, &number, sizeof number, not_ours, NULL);
        for (int i = 0; i < TIMES; i++) best = fmin(best, seconds_of_calls(&run, CALLS));
    }
    bool fine = tf.GetCode(run.status) == TF_OK && isfinite(best);
    close_run(&run);
    return fine ? 1e9 * best / CALLS : NAN;
}

#define TENSORFLOW(variant_, name_, summary_)                                                                  \
    {                                                                                                          \
        .name = name_, .variant = variant_, .summary = summary_, .isa = CPU_BASE, .peer = true,                \
        .own_threads = true, .loose_threads = true, .own_process = true,                                       \
        .layouts = 1u << CONV_NHWC | 1u << CONV_NCHW, .absent = absent, .version = version,                    \
        .overhead_ns = tensorflow_overhead_ns, .refuse = refuse, .plan = plan_create, .pack = pack,            \
        .enter = enter, .execute = execute, .leave = leave, .destroy = destroy                                 \
    }
#define ALL(name_, summary_)                                                                                   \
    {                                                                                                          \
        TENSORFLOW(CONV_DENSE, name_, summary_), TENSORFLOW(CONV_DEPTHWISE, name_, summary_),                  \
            TENSORFLOW(CONV_POINTWISE, name_, summary_), TENSORFLOW(CONV_SEPARABLE, name_, summary_)           \
    }

static const conv_impl both[] = ALL("tensorflow", "TensorFlow, filter constant in forward, fed in backward");
static const conv_impl fed[] = ALL("tensorflow-fed", "TensorFlow, forward only, filter fed");

extern const conv_impl *const tensorflow_impls[CONV_VARIANT_COUNT];
extern const conv_impl *const tensorflow_fed_impls[CONV_VARIANT_COUNT];
const conv_impl *const tensorflow_impls[CONV_VARIANT_COUNT] = {&both[0], &both[1], &both[2], &both[3]};
const conv_impl *const tensorflow_fed_impls[CONV_VARIANT_COUNT] = {&fed[0], &fed[1], &fed[2], &fed[3]};
