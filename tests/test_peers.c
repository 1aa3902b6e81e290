/* What is particular to other people's libraries behind our contract: weights packed by their own reorder,
 * activations through enter and leave, workspaces, accumulation, thread counts, the ISA cap. Results are
 * compared with naive on whole numbers, which every direct algorithm must get exactly right. */
#include <math.h>
#include <omp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../kernels/conv.h"
#include "../kernels/plan.h"
#include "../kernels/problem.h"
#include "unit.h"

enum { AMPLITUDE = 3 };

typedef struct {
    float *src, *weights, *pointwise, *bias, *dst, *diff_dst;
    float *diff_src, *diff_weights, *diff_pointwise, *diff_bias;
} tensors;

static void *allocate(size_t bytes)
{
    void *p = aligned_alloc(CONV_ALIGN, conv_align(bytes + 1));
    assert_non_null(p);
    memset(p, 0xff, conv_align(bytes + 1)); /* NaN */
    return p;
}

static float *integers(int64_t count, unsigned seed)
{
    float *data = allocate((size_t)count * sizeof *data);
    for (int64_t i = 0; i < count; i++) {
        seed = seed * 1664525u + 1013904223u;
        data[i] = (float)((int)(seed >> 16) % (2 * AMPLITUDE + 1) - AMPLITUDE);
    }
    return data;
}

static tensors make_inputs(const conv_problem *p)
{
    conv_sizes s = conv_problem_sizes(p);
    tensors t = {.src = integers(s.src, 1),
                 .weights = integers(s.weights, 2),
                 .pointwise = integers(s.pointwise, 3),
                 .bias = integers(s.bias, 4),
                 .dst = integers(s.dst, 5), /* for a post-op's backward */
                 .diff_dst = integers(s.dst, 6)};
    for (int64_t i = 0; i < s.dst; i++) t.dst[i] = conv_clipped(3 * t.dst[i], conv_clip(p->post_op));
    return t;
}

static void free_tensors(tensors *t)
{
    float *all[] = {t->src,      t->weights,  t->pointwise,    t->bias,           t->dst,
                    t->diff_dst, t->diff_src, t->diff_weights, t->diff_pointwise, t->diff_bias};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) free(all[i]);
}

/* Outputs NaN, or for accumulate gradients that already hold something. */
static tensors make_outputs(const conv_problem *p, bool accumulate)
{
    conv_sizes s = conv_problem_sizes(p);
    tensors t = {.dst = allocate((size_t)s.dst * sizeof(float)),
                 .diff_src = allocate((size_t)s.src * sizeof(float))};
    t.diff_weights = accumulate ? integers(s.weights, 7) : allocate((size_t)s.weights * sizeof(float));
    t.diff_pointwise = accumulate ? integers(s.pointwise, 8) : allocate((size_t)s.pointwise * sizeof(float));
    t.diff_bias = accumulate ? integers(s.bias, 9) : allocate((size_t)s.bias * sizeof(float));
    return t;
}

typedef struct {
    const char *impl, *problem;
    conv_pass pass;
    int threads;
    bool bias, accumulate, skip_diff_src;
    conv_post_op post_op;
} scenario;

static void describe(const scenario *c, char *text, size_t size)
{
    snprintf(text, size, "%s %s %s t%d%s%s%s%s%s", c->impl, conv_pass_name(c->pass), c->problem, c->threads,
             c->bias ? " +bias" : "", c->post_op != CONV_POST_NONE ? " +" : "", conv_post_op_word(c->post_op),
             c->accumulate ? " accumulate" : "", c->skip_diff_src ? " without diff_src" : "");
}

static conv_problem parse(const scenario *c)
{
    conv_problem p;
    conv_error err;
    if (problem_parse(c->problem, &p, NULL, &err) != CONV_OK) fail_msg("%s: %s", c->problem, err.text);
    p.bias = c->bias;
    p.post_op = c->post_op;
    return p;
}

static conv_plan *plan_or_fail(const conv_impl *impl, const conv_problem *p, conv_pass pass, int threads,
                               bool keep)
{
    const conv_context ctx = {
        .threads = threads, .l1d = 32 << 10, .l2 = 1 << 20, .l3 = 8 << 20, .keep_workspace = keep};
    conv_plan *plan;
    conv_error err = {""};
    if (conv_plan_create(impl, p, pass, &ctx, &plan, &err) != CONV_OK)
        fail_msg("%s %s: %s", impl->name, conv_pass_name(pass), err.text);
    return plan;
}

/* One plan from pack to leave. workspace is written or read, as the pass says. */
static void run_plan(conv_plan *plan, conv_args args, void *workspace)
{
    void *packed = plan->packed_bytes > 0 ? allocate(plan->packed_bytes) : NULL;
    void *scratch = plan->scratch_bytes > 0 ? allocate(plan->scratch_bytes) : NULL;
    void *activations = plan->activation_bytes > 0 ? allocate(plan->activation_bytes) : NULL;
    assert_int_equal(conv_pack(plan, args.weights, args.pointwise, packed), CONV_OK);
    args.packed = packed;
    args.activations = activations;
    args.scratch = scratch;
    args.workspace = workspace;
    if (packed != NULL) args.weights = args.pointwise = NULL; /* packed is all it may need */
    assert_int_equal(conv_enter(plan, &args), CONV_OK);
    assert_int_equal(conv_execute(plan, &args), CONV_OK);
    assert_int_equal(conv_leave(plan, &args), CONV_OK);
    free(packed);
    free(scratch);
    free(activations);
}

static void run_impl(const conv_impl *impl, const conv_problem *p, const scenario *c, const tensors *in,
                     tensors *out)
{
    conv_plan *plan = plan_or_fail(impl, p, c->pass, c->threads, false);
    void *workspace = NULL;
    if (plan->workspace_bytes > 0) {
        conv_plan *forward = plan_or_fail(impl, p, CONV_FORWARD, c->threads, true);
        assert_int_equal(forward->workspace_bytes, plan->workspace_bytes);
        workspace = allocate(plan->workspace_bytes);
        run_plan(forward,
                 (conv_args){.src = in->src,
                             .weights = in->weights,
                             .pointwise = in->pointwise,
                             .bias = in->bias,
                             .dst = out->dst},
                 workspace);
        conv_plan_destroy(forward);
    }
    conv_args args = {.src = in->src,
                      .weights = in->weights,
                      .pointwise = in->pointwise,
                      .bias = in->bias,
                      .dst = c->pass == CONV_FORWARD ? out->dst : in->dst,
                      .diff_dst = in->diff_dst,
                      .diff_src = c->skip_diff_src ? NULL : out->diff_src,
                      .diff_weights = out->diff_weights,
                      .diff_pointwise = out->diff_pointwise,
                      .diff_bias = out->diff_bias,
                      .accumulate = c->accumulate};
    run_plan(plan, args, workspace);
    conv_plan_destroy(plan);
    free(workspace);
}

static void compare(const char *what, const char *tensor, const float *got, const float *expected,
                    int64_t count, double tolerance)
{
    for (int64_t i = 0; i < count; i++)
        if (!(fabs((double)got[i] - expected[i]) <= tolerance))
            fail_msg("%s: %s[%lld] is %.9g, expected %.9g", what, tensor, (long long)i, got[i], expected[i]);
}

static int scenarios_run;

static void check(const scenario *c, double tolerance)
{
    char what[256];
    describe(c, what, sizeof what);
    const conv_problem p = parse(c);
    const conv_impl *impl = conv_find(c->impl, p.variant), *naive = conv_find("naive", p.variant);
    if (impl == NULL) return; /* not in this build: `list` says so, main counts what ran */
    const conv_sizes s = conv_problem_sizes(&p);
    tensors in = make_inputs(&p), got = make_outputs(&p, c->accumulate),
            expected = make_outputs(&p, c->accumulate);
    scenario reference = *c;
    reference.threads = 1;
    run_impl(naive, &p, &reference, &in, &expected);
    omp_set_num_threads(c->threads);
    run_impl(impl, &p, c, &in, &got);
    if (c->pass == CONV_FORWARD) compare(what, "dst", got.dst, expected.dst, s.dst, tolerance);
    if ((c->pass == CONV_BACKWARD && !c->skip_diff_src) || c->pass == CONV_BACKWARD_DATA)
        compare(what, "diff_src", got.diff_src, expected.diff_src, s.src, tolerance);
    if (c->pass == CONV_BACKWARD || c->pass == CONV_BACKWARD_WEIGHTS) {
        compare(what, "diff_weights", got.diff_weights, expected.diff_weights, s.weights, tolerance);
        if (s.pointwise > 0)
            compare(what, "diff_pointwise", got.diff_pointwise, expected.diff_pointwise, s.pointwise,
                    tolerance);
        if (p.bias) compare(what, "diff_bias", got.diff_bias, expected.diff_bias, s.bias, tolerance);
    }
    free_tensors(&in), free_tensors(&got), free_tensors(&expected);
    scenarios_run++;
}

/* Shapes at which packing, padding of blocked layouts and multipliers go wrong first. */
static const char *const shapes[] = {
    "dense:mb1ic16ih9oc16kh3ph1",
    "dense:mb2ic3ih11oc17kh3ph1", /* first layer, tail of one channel */
    "dense:mb1ic1ih8oc8kh3",      /* Conv2D on grey images */
    "dense:mb1ic33ih7oc40kh3ph1",
    "dense:g2mb1ic8ih6oc12kh3ph1", /* groups */
    "dense:g3mb2ic48ih6oc96kh3ph1sh2",
    "dense:mb1ic16ih13iw9oc24kh3kw5ph2pw1", /* not square, uneven padding */
    "dense:mb1ic16ih12oc16kh3ph0oh6sh2",    /* padding after only */
    "dense:mb1ic16ih12oc16kh3sh2oh5ph0",    /* padding after -1: a trailing row that no tap reads */
    "dense:mb1ic16ih14oc16kh3ph2dh1",       /* dilation */
    "depthwise:g16mb1ic16ih9oc16kh3ph1",
    "depthwise:g3mb1ic3ih9oc3kh3ph1",
    "depthwise:g17mb2ic17ih9oc17kh3ph1sh2",
    "depthwise:g8mb1ic8ih9oc24kh3ph1", /* multiplier 3 */
    "depthwise:g1mb1ic1ih9oc4kh3ph1",  /* one channel, multiplier 4 */
    "depthwise:g32mb1ic32ih15oc32kh7ph3",
    "depthwise:g16mb1ic16ih12oc16kh5ph4dh1",
    "pointwise:mb1ic16ih7oc32kh1",
    "pointwise:mb2ic19ih5oc7kh1",
    "pointwise:mb1ic32ih8oc16oh4kh1sh2",
    "separable:mb1ic16ih9oc32kh3ph1",
    "separable:mb2ic3ih10oc17kh3ph1sh2",
    "separable:mb1ic20ih9oc24kh3ph1dm2",
    "separable:mb1ic40ih8oc40kh5ph2",
    /* one dimension: causal, strided and dilated, whole */
    "dense:mb2ic16iw20oc8ow18kw3",
    "dense:mb1ic3iw21oc17kw4pw3ow21",
    "depthwise:g16mb2ic16iw20ow20oc16kw3pw1",
    "depthwise:g16mb2ic16iw20oc16kw4pw3ow20",
    "depthwise:g8mb1ic8iw33oc24kw3sw2dw2pw2",
    "pointwise:mb2ic19iw20oc7kw1",
    "separable:mb2ic16iw20oc24kw4pw3ow20",
    "separable:mb1ic8iw21oc17kw3sw2pw1dm2",
    /* three dimensions */
    "dense:mb1ic8id5ih6iw7oc16kd3kh3kw3pd1ph1pw1",
    "dense:g2mb2ic16id7ih5iw6oc24kd3kh2kw1sd2sh1sw1pd1ph0pw0",
    "depthwise:g16mb1ic16id5ih6iw7oc16kd3kh3kw3pd1ph1pw1",
    "depthwise:g8mb2ic8id7ih7iw7oc16kd3kh3kw3sd2sh2sw2pd1ph1pw1",
    "depthwise:g16mb1ic16id9ih7iw7oc16kd3kh3kw3dd1pd2ph1pw1",
    "pointwise:mb2ic8id3ih4iw5oc12kd1kh1kw1",
    "pointwise:mb1ic8id4ih4iw5oc12kd1kh1kw1sd2sh2sw1",
    "separable:mb1ic16id5ih6iw7oc20kd3kh3kw3pd1ph1pw1",
    "separable:mb2ic8id7ih7iw7oc20kd3kh3kw3sd2sh2sw2pd1ph1pw1dm2",
};

enum { SHAPES = sizeof shapes / sizeof *shapes };

/* Every pass the variant and implementation have, with the post-ops that change the plan. */
static void check_passes(const char *impl_name, const char *problem, int threads)
{
    for (int pass = 0; pass < CONV_PASS_COUNT; pass++)
        for (int op = 0; op < CONV_POST_COUNT; op++) {
            scenario c = {impl_name, problem,        (conv_pass)pass,
                          threads,   .bias = op > 0, .post_op = (conv_post_op)op};
            const conv_problem p = parse(&c);
            const conv_impl *impl = conv_find(impl_name, p.variant);
            if (impl != NULL && conv_refuse(impl, &p, c.pass) == NULL) check(&c, 0);
        }
}

static void check_all(const char *impl)
{
    for (int threads = 1; threads <= 2; threads++)
        for (size_t i = 0; i < SHAPES; i++) check_passes(impl, shapes[i], threads);
}

static void test_onednn(void **state) { check_all("onednn"); }

static void test_onednn_any(void **state) { check_all("onednn-any"); }

static const char *const backward_names[] = {"onednn", "onednn-any"};

static void test_xnnpack(void **state)
{
    for (int threads = 1; threads <= 2; threads++)
        for (size_t i = 0; i < SHAPES; i++)
            for (int op = 0; op < CONV_POST_COUNT; op++) {
                scenario c = {"xnnpack", shapes[i], CONV_FORWARD, threads, .post_op = (conv_post_op)op};
                const conv_problem p = parse(&c);
                const conv_impl *impl = conv_find("xnnpack", p.variant);
                if (impl == NULL || conv_refuse(impl, &p, c.pass) != NULL) continue;
                check(&c, 0);
            }
}

/* Whole numbers again, but rounded on the way: a wrong index still errs by 1 or more. */
static void test_onednn_winograd(void **state)
{
    static const char *const squares[] = {"dense:mb1ic16ih9oc16kh3ph1", "dense:mb2ic40ih7oc24kh3ph1",
                                          "dense:mb1ic32ih14iw6oc64kh3kw3ph1pw1",
                                          "dense:mb1ic128ih28oc32kh3ph1"};
    static const conv_pass passes[] = {CONV_FORWARD, CONV_BACKWARD_DATA, CONV_BACKWARD_WEIGHTS, CONV_BACKWARD};
    for (size_t i = 0; i < sizeof squares / sizeof *squares; i++)
        for (size_t j = 0; j < sizeof passes / sizeof *passes; j++) {
            scenario c = {"onednn-winograd", squares[i], passes[j], 2, .bias = true};
            c.post_op = c.pass == CONV_FORWARD ? CONV_POST_RELU : CONV_POST_RELU6;
            const conv_problem p = parse(&c);
            const conv_impl *impl = conv_find(c.impl, CONV_DENSE);
            if (impl == NULL) skip();
            if (conv_refuse(impl, &p, c.pass) != NULL) skip(); /* needs AVX-512 */
            check(&c, 0.25);
        }
}

static void test_winograd_refuses(void **state)
{
    static const struct {
        const char *problem, *word;
    } refused[] = {{"dense:mb1ic16ih9oc16kh5ph2", "3x3"},         {"dense:mb1ic16ih9oc16kh3ph1sh2", "stride"},
                   {"dense:mb1ic16ih9oc16kh3ph2dh1", "dilation"}, {"dense:g2mb1ic32ih9oc32kh3ph1", "groups"},
                   {"dense:mb1ic8ih9oc16kh3ph1", "channels"},     {"dense:mb1ic16ih4oc16kh3ph1", "5x5"}};
    const conv_impl *impl = conv_find("onednn-winograd", CONV_DENSE);
    if (impl == NULL) skip();
    const char *gone = strstr(impl->version(), "oneDNN 2.") == NULL ? "has no Winograd" : NULL; /* since 3.2 */
    for (size_t i = 0; i < sizeof refused / sizeof *refused; i++) {
        const conv_problem p = parse(&(scenario){.problem = refused[i].problem});
        const char *reason = conv_refuse(impl, &p, CONV_FORWARD);
        assert_non_null(reason);
        assert_non_null(strstr(reason, gone != NULL && strstr(reason, gone) != NULL ? gone : refused[i].word));
    }
}

/* In an own layout dst is written by leave, and execute does not look at src again. */
static bool keeps_to_own_copies(const char *name, const char *problem)
{
    const conv_problem p = parse(&(scenario){.problem = problem});
    const conv_impl *impl = conv_find(name, p.variant);
    if (impl == NULL || conv_refuse(impl, &p, CONV_FORWARD) != NULL) return false;
    conv_plan *plan = plan_or_fail(impl, &p, CONV_FORWARD, 2, false);
    conv_sizes s = conv_problem_sizes(&p);
    tensors in = make_inputs(&p), out = make_outputs(&p, false);
    void *packed = allocate(plan->packed_bytes), *scratch = allocate(plan->scratch_bytes);
    void *activations = allocate(plan->activation_bytes);
    conv_args args = {.src = in.src,
                      .weights = in.weights,
                      .packed = packed,
                      .scratch = scratch,
                      .activations = activations,
                      .dst = out.dst};
    assert_true(plan->activation_bytes >= (size_t)(s.src + s.dst) * sizeof(float));
    assert_int_equal(conv_pack(plan, in.weights, NULL, packed), CONV_OK);
    assert_int_equal(conv_enter(plan, &args), CONV_OK);
    memset(in.src, 0xff, (size_t)s.src * sizeof *in.src);
    assert_int_equal(conv_execute(plan, &args), CONV_OK);
    for (int64_t i = 0; i < s.dst; i++) assert_true(isnan(out.dst[i]));
    assert_int_equal(conv_leave(plan, &args), CONV_OK);
    for (int64_t i = 0; i < s.dst; i++) assert_false(isnan(out.dst[i]));
    conv_plan_destroy(plan);
    free_tensors(&in), free_tensors(&out);
    free(packed), free(scratch), free(activations);
    return true;
}

static void test_execute_keeps_to_its_own_copies(void **state)
{
    bool ran = keeps_to_own_copies("onednn-winograd", "dense:mb1ic16ih9oc16kh3ph1");
    ran |= keeps_to_own_copies("blocked-avx2", "depthwise:mb2ic20ih9oc20kh3ph1");
    ran |= keeps_to_own_copies("blocked-avx512", "depthwise:mb2ic20ih9oc20kh3ph1");
    if (!ran) skip();
}

static void test_accumulate(void **state)
{
    for (size_t n = 0; n < sizeof backward_names / sizeof *backward_names; n++)
        for (size_t i = 0; i < SHAPES; i++)
            check(&(scenario){backward_names[n], shapes[i], CONV_BACKWARD, 2, .bias = true,
                              .post_op = CONV_POST_RELU6, .accumulate = true},
                  0);
}

static void test_first_layer_skips_diff_src(void **state)
{
    for (size_t n = 0; n < sizeof backward_names / sizeof *backward_names; n++)
        for (size_t i = 0; i < SHAPES; i++)
            check(&(scenario){backward_names[n], shapes[i], CONV_BACKWARD, 2, .skip_diff_src = true}, 0);
}

static void test_refusals_are_words(void **state)
{
    static const struct {
        const char *impl, *problem, *words;
    } refused[] = {{"onednn", "dense:mb1ic16ih10oc16kh3oh7", "padding after"},
                   {"xnnpack", "depthwise:g8mb1ic8id5ih5iw5oc8kd3kh3kw3", "three dimensions"}};
    for (size_t i = 0; i < sizeof refused / sizeof *refused; i++) {
        const conv_problem p = parse(&(scenario){.problem = refused[i].problem});
        const conv_impl *impl = conv_find(refused[i].impl, p.variant);
        if (impl == NULL) skip();
        assert_non_null(strstr(conv_refuse(impl, &p, CONV_FORWARD), refused[i].words));
    }
}

/* The caller's OpenMP setting survives a plan of another thread count. */
static void test_threads_are_restored(void **state)
{
    omp_set_num_threads(2);
    check_passes("onednn", shapes[0], 2);
    const conv_problem p = parse(&(scenario){.problem = shapes[0]});
    const conv_impl *impl = conv_find("onednn", p.variant);
    if (impl == NULL) skip();
    conv_plan *plan = plan_or_fail(impl, &p, CONV_FORWARD, 1, false);
    assert_int_equal(omp_get_max_threads(), 2);
    conv_plan_destroy(plan);
}

/* ---- the ISA cap: oneDNN fixes its own at the first primitive, so a fresh process is asked */

static int print_kernels(void)
{
    for (size_t i = 0; i < SHAPES; i++)
        for (int pass = 0; pass < CONV_PASS_COUNT; pass++) {
            const conv_problem p = parse(&(scenario){.problem = shapes[i]});
            const conv_impl *impl = conv_find("onednn", p.variant);
            if (impl == NULL || conv_refuse(impl, &p, (conv_pass)pass) != NULL) continue;
            conv_plan *plan = plan_or_fail(impl, &p, (conv_pass)pass, 1, false);
            printf("%s\n", plan->note);
            conv_plan_destroy(plan);
        }
    return 0;
}

static void test_isa_cap(void **state)
{
    if (conv_find("onednn", CONV_DENSE) == NULL) skip();
    FILE *child = popen("SEPBENCH_MAX_ISA=avx2 /proc/$PPID/exe --kernels", "r");
    assert_non_null(child);
    char line[256];
    int lines = 0, avx2 = 0;
    while (fgets(line, sizeof line, child) != NULL) {
        lines++;
        if (strstr(line, "avx512") != NULL) fail_msg("SEPBENCH_MAX_ISA=avx2, yet oneDNN chose %s", line);
        if (strstr(line, "avx2") != NULL) avx2++;
    }
    assert_int_equal(pclose(child), 0);
    assert_true(lines > 0);
    assert_true(avx2 > 0);
}

static void test_something_ran(void **state)
{
    size_t count;
    const conv_entry *e = conv_entries(&count);
    bool peer = false;
    for (size_t i = 0; i < count; i++)
        peer |= e[i].impl != NULL && e[i].impl->peer && strcmp(e[i].name, "openblas");
    if (!peer) skip();
    assert_true(scenarios_run > 0);
}

int main(int argc, char **argv)
{
    if (argc > 1 && strcmp(argv[1], "--kernels") == 0) return print_kernels();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_isa_cap),
        cmocka_unit_test(test_onednn),
        cmocka_unit_test(test_onednn_any),
        cmocka_unit_test(test_xnnpack),
        cmocka_unit_test(test_onednn_winograd),
        cmocka_unit_test(test_winograd_refuses),
        cmocka_unit_test(test_execute_keeps_to_its_own_copies),
        cmocka_unit_test(test_accumulate),
        cmocka_unit_test(test_first_layer_skips_diff_src),
        cmocka_unit_test(test_refusals_are_words),
        cmocka_unit_test(test_threads_are_restored),
        cmocka_unit_test(test_something_ran),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
