/* sepbench apply: one implementation on tensors from .npy files, for comparison with anything else. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../harness/cli.h"
#include "../harness/machine/machine.h"
#include "../harness/measure/job.h"
#include "../harness/npy.h"
#include "../kernels/problem.h"
#include "commands.h"
#include "select.h"

/* In the order of conv_tensors. */
static const char *const names[TENSOR_COUNT] = {
    "src",      "weights",  "pointwise",    "bias",           "dst",
    "diff-dst", "diff-src", "diff-weights", "diff-pointwise", "diff-bias"};

enum {
    KEY_TENSOR = 0x100,
    KEY_PASS = KEY_TENSOR + TENSOR_COUNT,
    KEY_IMPL,
    KEY_THREADS,
    KEY_LAYOUT,
    KEY_RELU,
    KEY_RELU6
};

typedef struct {
    const char *problem, *impl;
    const char *file[TENSOR_COUNT];
    conv_pass pass;
    conv_layout layout;
    conv_post_op post_op;
    int threads;
} arguments;

static void read_threads(arguments *a, const char *text, const struct argp_state *state)
{
    int64_t value;
    if (!cli_parse_int(text, 1, MACHINE_MAX_THREADS, &value))
        argp_error(state, "--threads is '%s': must be a whole number from 1 to %d", text, MACHINE_MAX_THREADS);
    else
        a->threads = (int)value;
}

static error_t parse_option(int key, char *arg, struct argp_state *state)
{
    arguments *a = state->input;
    if (key >= KEY_TENSOR && key < KEY_TENSOR + TENSOR_COUNT) {
        a->file[key - KEY_TENSOR] = arg;
        return 0;
    }
    switch (key) {
    case KEY_IMPL: a->impl = arg; break;
    case KEY_THREADS: read_threads(a, arg, state); break;
    case KEY_RELU: select_take_post_op(CONV_POST_RELU, &a->post_op, state); break;
    case KEY_RELU6: select_take_post_op(CONV_POST_RELU6, &a->post_op, state); break;
    case KEY_PASS:
        if (!conv_pass_parse(arg, &a->pass))
            argp_error(state, "--pass is '%s': must be forward, backward, backward_data or backward_weights",
                       arg);
        break;
    case KEY_LAYOUT:
        if (!conv_layout_parse(arg, &a->layout))
            argp_error(state, "--layout is '%s': must be nhwc or nchw", arg);
        break;
    case ARGP_KEY_ARG:
        if (a->problem != NULL) argp_error(state, "one PROBLEM at a time: '%s' is one too many", arg);
        a->problem = arg;
        break;
    default: return ARGP_ERR_UNKNOWN;
    }
    return 0;
}

static const struct argp_option options[] = {
    {"impl", KEY_IMPL, "NAME", 0, "which implementation ('sepbench list' names them)", 0},
    {"pass", KEY_PASS, "PASS", 0, "forward (default), backward, backward_data or backward_weights", 0},
    {"layout", KEY_LAYOUT, "LAYOUT", 0, "of src, dst and their gradients: nhwc (default) or nchw", 0},
    {"relu", KEY_RELU, NULL, 0, "ReLU after the convolution; its backward reads --dst", 0},
    {"relu6", KEY_RELU6, NULL, 0, "ReLU6, clipped to [0, 6], likewise", 0},
    {"threads", KEY_THREADS, "N", 0, "default: OMP_NUM_THREADS, else one per physical core", 0},
    {NULL, 0, NULL, 0,
     "Tensors, each an .npy file: float32, float64 or float16 in any order is read, float32 in C order "
     "written. Forward reads the first four and writes dst; backward reads diff-dst (and dst with --relu or "
     "--relu6) and "
     "writes the gradients asked for:",
     1},
    {"src", KEY_TENSOR + TENSOR_SRC, "FILE", 0,
     "(mb, ih, iw, ic); here and below without h in one dimension, with d before it in three", 1},
    {"weights", KEY_TENSOR + TENSOR_WEIGHTS, "FILE", 0,
     "(kh, kw, ic/g, oc), depthwise and separable (kh, kw, c, m), pointwise (ic, oc)", 1},
    {"pointwise", KEY_TENSOR + TENSOR_POINTWISE, "FILE", 0, "(c*m, oc), the separable's second", 1},
    {"bias", KEY_TENSOR + TENSOR_BIAS, "FILE", 0, "(oc,); without it there is none", 1},
    {"dst", KEY_TENSOR + TENSOR_DST, "FILE", 0, "(mb, oh, ow, oc)", 1},
    {"diff-dst", KEY_TENSOR + TENSOR_DIFF_DST, "FILE", 0, "as dst", 1},
    {"diff-src", KEY_TENSOR + TENSOR_DIFF_SRC, "FILE", 0, "as src", 1},
    {"diff-weights", KEY_TENSOR + TENSOR_DIFF_WEIGHTS, "FILE", 0, "as weights", 1},
    {"diff-pointwise", KEY_TENSOR + TENSOR_DIFF_POINTWISE, "FILE", 0, "as pointwise", 1},
    {"diff-bias", KEY_TENSOR + TENSOR_DIFF_BIAS, "FILE", 0, "as bias", 1},
    {0}};

/* ---- shapes */

static void append(npy_shape *s, int64_t size) { s->size[s->rank++] = size; }

/* The spatial sizes of a rank-1, 2 or 3 tensor. */
static void append_axes(npy_shape *s, const conv_problem *p, int64_t (*size)(const conv_axis *))
{
    for (int i = CONV_AXES - p->rank; i < CONV_AXES; i++) append(s, size(&p->axis[i]));
}

static int64_t axis_in(const conv_axis *a) { return a->in; }
static int64_t axis_kernel(const conv_axis *a) { return a->kernel; }

static npy_shape activation_shape(const conv_problem *p, int64_t channels, int64_t (*size)(const conv_axis *))
{
    npy_shape s = {0};
    append(&s, p->mb);
    if (p->layout == CONV_NCHW) append(&s, channels);
    append_axes(&s, p, size);
    if (p->layout == CONV_NHWC) append(&s, channels);
    return s;
}

/* with_taps: Keras keeps a 1x1 kernel's two ones. */
static npy_shape weights_shape(const conv_problem *p, bool with_taps, int64_t in, int64_t out)
{
    npy_shape s = {0};
    if (with_taps) append_axes(&s, p, axis_kernel);
    append(&s, in);
    append(&s, out);
    return s;
}

/* The contract's shape first, then what is read as well; how many. */
static int shapes_of(const conv_problem *p, int tensor, npy_shape accepted[2])
{
    const conv_problem stage = p->variant == CONV_SEPARABLE ? conv_pointwise_stage(p) : *p;
    switch (tensor) {
    case TENSOR_SRC:
    case TENSOR_DIFF_SRC: accepted[0] = activation_shape(p, p->ic, axis_in); return 1;
    case TENSOR_DST:
    case TENSOR_DIFF_DST: accepted[0] = activation_shape(p, p->oc, conv_out); return 1;
    case TENSOR_BIAS:
    case TENSOR_DIFF_BIAS: accepted[0] = (npy_shape){1, {p->oc}}; return 1;
    case TENSOR_WEIGHTS:
    case TENSOR_DIFF_WEIGHTS:
        if (p->variant == CONV_DENSE) {
            accepted[0] = weights_shape(p, true, p->ic / p->groups, p->oc);
            return 1;
        }
        if (p->variant != CONV_POINTWISE) {
            accepted[0] = weights_shape(p, true, p->ic, p->depth_multiplier);
            return 1;
        }
    }
    accepted[0] = weights_shape(&stage, false, stage.ic, stage.oc);
    accepted[1] = weights_shape(&stage, true, stage.ic, stage.oc);
    return 2;
}

/* ---- what the pass reads and writes */

typedef enum { UNUSED, OPTIONAL, NEEDED, WRITTEN } role;

static void set_roles(const conv_problem *p, conv_pass pass, role roles[TENSOR_COUNT])
{
    bool forward = pass == CONV_FORWARD, data = pass == CONV_BACKWARD || pass == CONV_BACKWARD_DATA,
         weights = pass == CONV_BACKWARD || pass == CONV_BACKWARD_WEIGHTS,
         separable = p->variant == CONV_SEPARABLE;
    const role all[TENSOR_COUNT] = {
        [TENSOR_SRC] = forward || weights ? NEEDED : UNUSED,
        [TENSOR_WEIGHTS] = forward || data ? NEEDED : UNUSED,
        [TENSOR_POINTWISE] = separable ? NEEDED : UNUSED,
        [TENSOR_BIAS] = forward ? OPTIONAL : UNUSED,
        [TENSOR_DST] = forward                        ? WRITTEN
                       : p->post_op != CONV_POST_NONE ? NEEDED
                                                      : UNUSED,
        [TENSOR_DIFF_DST] = forward ? UNUSED : NEEDED,
        [TENSOR_DIFF_SRC] = data ? WRITTEN : UNUSED,
        [TENSOR_DIFF_WEIGHTS] = weights ? WRITTEN : UNUSED,
        [TENSOR_DIFF_POINTWISE] = weights && separable ? WRITTEN : UNUSED,
        [TENSOR_DIFF_BIAS] = weights ? WRITTEN : UNUSED,
    };
    memcpy(roles, all, sizeof all);
}

static int check_files(const arguments *a, const conv_problem *p, const role roles[TENSOR_COUNT])
{
    const char *pass = conv_pass_name(a->pass), *variant = conv_variant_name(p->variant);
    bool any = false;
    for (int i = 0; i < TENSOR_COUNT; i++) {
        if (a->file[i] != NULL && roles[i] == UNUSED)
            return cli_error("--%s: %s of a %s convolution%s neither reads nor writes it", names[i], pass,
                             variant, i == TENSOR_DST ? " without --relu or --relu6" : "");
        if (a->file[i] == NULL && roles[i] == NEEDED)
            return cli_error("--%s is missing: %s of a %s convolution%s reads it", names[i], pass, variant,
                             i == TENSOR_DST ? " with a post-op" : "");
        any = any || (a->file[i] != NULL && roles[i] == WRITTEN);
    }
    if (any) return EXIT_FINE;
    char list[128] = "";
    for (int i = 0; i < TENSOR_COUNT; i++)
        if (roles[i] == WRITTEN) snprintf(list + strlen(list), sizeof list - strlen(list), " --%s", names[i]);
    return cli_error("no output: %s writes%s", pass, list);
}

static int find_implementation(const arguments *a, conv_variant variant, const conv_impl **impl)
{
    size_t count;
    const conv_entry *entries = conv_entries(&count);
    char known[512] = "";
    if (a->impl == NULL) return cli_error("--impl is missing: 'sepbench list' names the implementations");
    for (size_t i = 0; i < count; i++) {
        if (entries[i].variant != variant) continue;
        if (strcmp(entries[i].name, a->impl) == 0) {
            *impl = entries[i].impl;
            return *impl != NULL ? EXIT_FINE : cli_error("--impl %s: %s", a->impl, entries[i].absent);
        }
        if (entries[i].impl != NULL)
            snprintf(known + strlen(known), sizeof known - strlen(known), " %s", entries[i].name);
    }
    return cli_error("--impl '%s' is unknown for %s: known are%s", a->impl, conv_variant_name(variant), known);
}

/* ---- the work */

static int read_inputs(const arguments *a, const conv_problem *p, const role roles[TENSOR_COUNT],
                       float **tensors)
{
    conv_error err;
    for (int i = 0; i < TENSOR_COUNT; i++) {
        npy_shape accepted[2];
        int count = shapes_of(p, i, accepted);
        bool gradient_needed =
            roles[i] == WRITTEN && (i != TENSOR_DIFF_BIAS || p->bias) && (i != TENSOR_DIFF_SRC || a->file[i]);
        if (a->file[i] == NULL && !gradient_needed) continue;
        int64_t elements = 1;
        for (int d = 0; d < accepted[0].rank; d++) elements *= accepted[0].size[d];
        tensors[i] = buffer_alloc((size_t)elements * sizeof(float));
        if (tensors[i] == NULL)
            return cli_error("no memory for %s (%lld MB)", names[i], (long long)elements * 4 >> 20);
        if (roles[i] != WRITTEN && !npy_read(a->file[i], accepted, count, tensors[i], &err))
            return cli_error("--%s: %s", names[i], err.text);
    }
    return EXIT_FINE;
}

static int write_outputs(const arguments *a, const conv_problem *p, const role roles[TENSOR_COUNT],
                         float *const *tensors)
{
    conv_error err;
    for (int i = 0; i < TENSOR_COUNT; i++) {
        npy_shape shape[2];
        if (roles[i] != WRITTEN || a->file[i] == NULL) continue;
        shapes_of(p, i, shape);
        if (!npy_write(a->file[i], shape, tensors[i], &err)) return cli_error("--%s: %s", names[i], err.text);
    }
    return EXIT_FINE;
}

static int execute(const arguments *a, const conv_impl *impl, const conv_problem *p,
                   const conv_tensors *tensors)
{
    conv_job job = {0};
    conv_error err = {""};
    conv_context ctx = machine_context(a->threads);
    conv_args args = conv_tensors_args(tensors);
    conv_status status = job_plan(&job, impl, p, a->pass, &ctx, &err);
    if (status == CONV_OK) status = job_ready(&job, &args, NULL, &err);
    if (status == CONV_OK) status = job_run(&job, &err);
    job_finish(&job);
    return status == CONV_OK ? EXIT_FINE : cli_error("%s: %s", a->impl, err.text);
}

static int apply(const arguments *a, const conv_impl *impl, const conv_problem *p,
                 const role roles[TENSOR_COUNT])
{
    conv_tensors tensors = {0};
    conv_error err;
    if (conv_tensors_fit(p, a->pass, &err) != CONV_OK)
        return cli_error("problem '%s': %s", a->problem, err.text);
    int code = read_inputs(a, p, roles, &tensors.src);
    if (code == EXIT_FINE) code = execute(a, impl, p, &tensors);
    if (code == EXIT_FINE) code = write_outputs(a, p, roles, &tensors.src);
    conv_tensors_destroy(&tensors);
    return code;
}

int cmd_apply(int argc, char **argv)
{
    static const struct argp argp = {
        .options = options,
        .parser = parse_option,
        .args_doc = "PROBLEM",
        .doc = "Runs one implementation on tensors from .npy files and writes what it computes."};
    arguments a = {.pass = CONV_FORWARD, .layout = CONV_NHWC, .threads = machine_default_threads()};
    conv_problem p;
    conv_error err;
    const conv_impl *impl;
    role roles[TENSOR_COUNT];
    if (cli_parse(&argp, argc, argv, &a) != 0) return EXIT_USAGE;
    if (a.problem == NULL) return cli_error("no PROBLEM given, such as mb1ic32ih28oc32kh3ph1");
    if (problem_parse(a.problem, &p, NULL, &err) != CONV_OK)
        return cli_error("problem '%s': %s", a.problem, err.text);
    p.layout = a.layout;
    p.bias = a.file[TENSOR_BIAS] != NULL || a.file[TENSOR_DIFF_BIAS] != NULL;
    p.post_op = a.post_op;
    set_roles(&p, a.pass, roles);
    int code = find_implementation(&a, p.variant, &impl);
    if (code == EXIT_FINE) code = check_files(&a, &p, roles);
    if (code != EXIT_FINE) return code;
    const char *refusal = conv_refuse(impl, &p, a.pass);
    if (refusal != NULL) return cli_error("%s refuses %s: %s", a.impl, conv_pass_name(a.pass), refusal);
    code = machine_need_threads(a.threads);
    return code == EXIT_FINE ? apply(&a, impl, &p, roles) : code;
}
