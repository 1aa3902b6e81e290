/* The judge is judged: implementations with one planted fault each must be caught, and by the right words;
 * without a fault they must pass. Also the buffers and the fills everything is checked with. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "../harness/measure/job.h"
#include "../harness/measure/oracle.h"
#include "support.h"

/* ---- a faulty implementation: naive, with its outputs or buffers spoiled afterwards */

typedef enum {
    SOUND,
    LAST_ELEMENT_OFF_BY_ONE,
    ONE_ELEMENT_UNWRITTEN,
    ONE_ELEMENT_INFINITE,
    WRITES_PAST_THE_END,
    WRITES_BEFORE_THE_START,
    WRITES_AN_INPUT,
    IGNORES_ACCUMULATE,
    SLIGHTLY_INEXACT,
    READS_ITS_SCRATCH
} fault;

static fault planted;

static const conv_impl *naive(conv_variant variant) { return conv_find("naive", variant); }

static const char *refuse(const conv_impl *self, const conv_problem *p, conv_pass pass)
{
    return conv_refuse(naive(self->variant), p, pass);
}

static conv_status plan(const conv_impl *self, const conv_problem *p, conv_pass pass, const conv_context *ctx,
                        conv_plan **made, conv_error *err)
{
    (void)err;
    *made = calloc(1, sizeof **made);
    if (*made == NULL) return CONV_NO_MEMORY;
    **made = (conv_plan){.impl = self, .problem = *p, .pass = pass, .context = *ctx, .scratch_bytes = 64};
    return CONV_OK;
}

/* Naive itself, on the same tensors. */
static void compute(const conv_plan *plan, const conv_args *args)
{
    conv_job job;
    conv_error err = {""};
    const conv_impl *impl = naive(plan->problem.variant);
    assert_int_equal(job_plan(&job, impl, &plan->problem, plan->pass, &plan->context, &err), CONV_OK);
    assert_int_equal(job_ready(&job, args, NULL, &err), CONV_OK);
    assert_int_equal(job_run(&job, &err), CONV_OK);
    job_finish(&job);
}

static conv_status execute(const conv_plan *plan, const conv_args *args)
{
    conv_sizes n = conv_problem_sizes(&plan->problem);
    conv_args mine = *args;
    bool forward = plan->pass == CONV_FORWARD;
    float *out = forward ? args->dst : args->diff_weights;
    int64_t last = (forward ? n.dst : n.weights) - 1;
    if (planted == IGNORES_ACCUMULATE) mine.accumulate = false;
    compute(plan, &mine);
    /* Not through the guards' own type: a sanitizer would rightly stop the two that overrun. */
    switch (planted) {
    case LAST_ELEMENT_OFF_BY_ONE: out[last] += 1; break;
    case ONE_ELEMENT_UNWRITTEN: out[last / 2] = NAN; break;
    case ONE_ELEMENT_INFINITE: out[last / 2] = INFINITY; break;
    case WRITES_PAST_THE_END: out[last + 1] = 0; break;
    case WRITES_BEFORE_THE_START: out[-1] = 0; break;
    case WRITES_AN_INPUT: ((float *)(uintptr_t)args->src)[3] += 1; break;
    case SLIGHTLY_INEXACT: out[last / 3] += 1e-3f; break;
    case READS_ITS_SCRATCH: out[last] += *(const float *)args->scratch; break;
    default: break;
    }
    return CONV_OK;
}

static conv_impl faulty(conv_variant variant)
{
    return (conv_impl){.name = "faulty",
                       .variant = variant,
                       .summary = "",
                       .layouts = 3,
                       .refuse = refuse,
                       .plan = plan,
                       .execute = execute};
}

static verify_result judge(const char *text, conv_pass pass, fault f, verify_options options, bool inexact)
{
    conv_problem p = test_problem(text, CONV_NHWC, false, CONV_POST_NONE);
    conv_impl impl = faulty(p.variant);
    conv_context ctx = test_context(1);
    verify_result result;
    impl.inexact = inexact;
    impl.error_factor = inexact ? 1000 : 0;
    planted = f;
    if (verify_case(&impl, &p, pass, &ctx, &options, &result) != CONV_OK) fail_msg("%s", result.where);
    assert_true(result.execute_seconds > 0); /* the budget goes by it */
    return result;
}

static const char *const problems[] = {"dense:mb2ic5ih6oc7kh3ph1", "depthwise:mb2ic6ih6oc12kh3ph1",
                                       "pointwise:mb1ic6ih5oc9kh1", "separable:mb1ic5ih6oc8kh3ph1"};

static void test_faults_are_caught(void **state)
{
    static const struct {
        fault f;
        fill_kind kind;
        bool accumulate, caught;
        const char *word;
    } cases[] = {
        {SOUND, FILL_INTEGERS, false, false, ""},
        {SOUND, FILL_REALS, false, false, ""},
        {SOUND, FILL_INTEGERS, true, false, ""},
        {SOUND, FILL_REALS, true, false, ""},
        {LAST_ELEMENT_OFF_BY_ONE, FILL_INTEGERS, false, true, "expected"},
        {LAST_ELEMENT_OFF_BY_ONE, FILL_REALS, false, true, "expected"},
        {ONE_ELEMENT_UNWRITTEN, FILL_INTEGERS, false, true, "nan"},
        {ONE_ELEMENT_INFINITE, FILL_REALS, false, true, "inf"},
        {IGNORES_ACCUMULATE, FILL_INTEGERS, true, true, "expected"},
        {SLIGHTLY_INEXACT, FILL_REALS, false, true, "bound"},
        {READS_ITS_SCRATCH, FILL_REALS, false, true, "nan"},
        {WRITES_AN_INPUT, FILL_REALS, false, true, "input"},
#if !SANITIZED
        {WRITES_PAST_THE_END, FILL_INTEGERS, false, true, "guard"},
        {WRITES_BEFORE_THE_START, FILL_REALS, false, true, "guard"},
#endif
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        for (size_t k = 0; k < sizeof problems / sizeof *problems; k++)
            for (int pass = 0; pass < 2; pass++) {
                verify_options options = {cases[i].kind, 11 + k, 0, cases[i].accumulate};
                if (cases[i].accumulate && pass == CONV_FORWARD) continue;
                verify_result r = judge(problems[k], (conv_pass)pass, cases[i].f, options, false);
                assert_true(r.checked > 0);
                if (r.ok == cases[i].caught)
                    fail_msg("%s %s, fault %d: ok is %d: %s", problems[k], conv_pass_name((conv_pass)pass),
                             (int)cases[i].f, r.ok, r.where);
                if (strstr(r.where, cases[i].word) == NULL)
                    fail_msg("fault %d: '%s' does not say '%s'", (int)cases[i].f, r.where, cases[i].word);
            }
}

/* A sample still sees a hole anywhere (all outputs are scanned) and a wrong last element (always in it). */
static void test_samples(void **state)
{
    static const char *const large[] = {"dense:mb2ic40ih20oc48kh3ph1", "depthwise:mb2ic64ih30oc64kh3ph1",
                                        "pointwise:mb2ic64ih20oc96kh1", "separable:mb2ic48ih20oc64kh3ph1"};
    for (size_t k = 0; k < sizeof large / sizeof *large; k++)
        for (int pass = 0; pass < 2; pass++) {
            verify_options options = {FILL_INTEGERS, 3, 1e4, false};
            conv_problem p = test_problem(large[k], CONV_NHWC, false, CONV_POST_NONE);
            conv_sizes n = conv_problem_sizes(&p);
            verify_result r = judge(large[k], (conv_pass)pass, SOUND, options, false);
            assert_true(r.ok);
            assert_true(r.checked > 0 && r.checked < (pass == CONV_FORWARD ? n.dst : n.src));
            assert_false(judge(large[k], (conv_pass)pass, ONE_ELEMENT_UNWRITTEN, options, false).ok);
            if (pass == CONV_FORWARD)
                assert_false(judge(large[k], CONV_FORWARD, LAST_ELEMENT_OFF_BY_ONE, options, false).ok);
        }
}

static void test_inexact_has_its_own_bound(void **state)
{
    verify_options options = {FILL_REALS, 3, 0, false};
    assert_true(judge(problems[0], CONV_FORWARD, SLIGHTLY_INEXACT, options, true).ok);
    assert_false(judge(problems[0], CONV_FORWARD, LAST_ELEMENT_OFF_BY_ONE, options, true).ok);
    assert_false(judge(problems[0], CONV_FORWARD, ONE_ELEMENT_UNWRITTEN, options, true).ok);
}

/* ---- the oracle against a convolution by hand */

static void test_oracle_by_hand(void **state)
{
    /* 1x3 input 1 2 3, kernel 10 1, same padding (after): 12 23 30. */
    float src[] = {1, 2, 3}, weights[] = {10, 1}, diff[] = {1, 10, 100};
    conv_problem p = test_problem("dense:mb1ic1iw3ow3oc1kw2", CONV_NHWC, false, CONV_POST_NONE);
    conv_args args = {.src = src, .weights = weights, .diff_dst = diff};
    double value[3], magnitude[3];
    oracle *o = oracle_create(&p, CONV_FORWARD, &args);
    const double dst[] = {12, 23, 30}, diff_src[] = {10, 101, 1010}, diff_weights[] = {321, 32};
    for (int64_t i = 0; i < 3; i++) {
        double root = oracle_row(o, (oracle_run){ORACLE_DST, i, 0, 1}, value, magnitude);
        assert_true(value[0] == dst[i] && magnitude[0] == dst[i] && root == sqrt(i < 2 ? 2 : 1));
    }
    oracle_destroy(o);
    o = oracle_create(&p, CONV_BACKWARD, &args);
    for (int64_t i = 0; i < 3; i++) {
        oracle_row(o, (oracle_run){ORACLE_DIFF_SRC, i, 0, 1}, value, magnitude);
        assert_true(value[0] == diff_src[i]);
    }
    for (int64_t i = 0; i < 2; i++) {
        oracle_row(o, (oracle_run){ORACLE_DIFF_WEIGHTS, i, 0, 1}, value, magnitude);
        assert_true(value[0] == diff_weights[i]);
    }
    oracle_destroy(o);
}

/* ---- buffers and fills */

static void test_buffers(void **state)
{
    static const size_t sizes[] = {0, 1, 4, 63, 64, 65, 4096, 5 << 20};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        unsigned char *b = buffer_alloc(sizes[i]);
        assert_non_null(b);
        assert_int_equal((uintptr_t)b % 64, 0);
        memset(b, 1, sizes[i]);
        assert_true(buffer_intact(b));
#if !SANITIZED
        b[sizes[i]]++;
        assert_false(buffer_intact(b));
        b[sizes[i]]--;
        b[-1]++;
        assert_false(buffer_intact(b));
        b[-1]--;
#endif
        buffer_free(b);
    }
    buffer_free(NULL);
    assert_null(buffer_alloc(SIZE_MAX));
}

static void test_fills(void **state)
{
    enum { COUNT = 100003 };
    float *a = malloc(COUNT * sizeof *a), *b = malloc(COUNT * sizeof *b);
    double sum = 0, squares = 0;
    int seen[7] = {0};
    fill(a, COUNT, FILL_REALS, 0, 42, 1);
    fill(b, COUNT - 50000, FILL_REALS, 0, 42, 1);
    assert_memory_equal(a, b, (COUNT - 50000) * sizeof *a);
    for (int i = 0; i < COUNT; i++) {
        assert_true(a[i] >= -1 && a[i] < 1);
        sum += (double)a[i];
        squares += (double)a[i] * (double)a[i];
    }
    assert_true(fabs(sum / COUNT) < 0.01 && fabs(squares / COUNT - 1.0 / 3) < 0.01);
    fill(b, COUNT, FILL_REALS, 0, 42, 2);
    assert_memory_not_equal(a, b, COUNT * sizeof *a);
    fill(a, COUNT, FILL_INTEGERS, 3, 42, 1);
    for (int i = 0; i < COUNT; i++) {
        assert_true(a[i] == rintf(a[i]) && fabsf(a[i]) <= 3);
        seen[(int)a[i] + 3]++;
    }
    for (int i = 0; i < 7; i++) assert_true(abs(seen[i] - COUNT / 7) < COUNT / 70);
    free(a);
    free(b);
}

static void test_tensors(void **state)
{
    for (size_t k = 0; k < sizeof problems / sizeof *problems; k++)
        for (int pass = 0; pass < CONV_PASS_COUNT; pass++) {
            conv_problem p = test_problem(problems[k], CONV_NHWC, true, CONV_POST_RELU6);
            conv_tensors t;
            assert_true(conv_tensors_create(&p, (conv_pass)pass, FILL_REALS, 1, &t));
            bool forward = pass == CONV_FORWARD, data = pass == CONV_BACKWARD || pass == CONV_BACKWARD_DATA;
            bool weights = pass == CONV_BACKWARD || pass == CONV_BACKWARD_WEIGHTS;
            assert_true((t.src != NULL) == (forward || weights));
            assert_true((t.bias != NULL) == forward);
            assert_true((t.diff_src != NULL) == data);
            assert_true((t.diff_weights != NULL) == weights && (t.diff_bias != NULL) == weights);
            assert_true((t.diff_pointwise != NULL) == (weights && p.variant == CONV_SEPARABLE));
            assert_true(isnan(forward ? t.dst[0] : data ? t.diff_src[0] : t.diff_weights[0]));
            assert_true(conv_tensors_intact(&t));
            conv_tensors_destroy(&t);
        }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_faults_are_caught),
        cmocka_unit_test(test_samples),
        cmocka_unit_test(test_inexact_has_its_own_bound),
        cmocka_unit_test(test_oracle_by_hand),
        cmocka_unit_test(test_buffers),
        cmocka_unit_test(test_fills),
        cmocka_unit_test(test_tensors),
    };
    return cmocka_run_group_tests_name("verify", tests, NULL, NULL);
}
