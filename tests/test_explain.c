/* sepbench explain: what is asked of it, what an experiment changes and says, and small cases explained for
 * real. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "../harness/cli.h"
#include "../harness/explain/experiments.h"
#include "../harness/explain/explain.h"
#include "../harness/limits/limits.h"
#include "support.h"

enum { TEXT = 1 << 16 };

/* ---- the program */

static char text[TEXT]; /* what it printed, stderr included */

static int explain(const char *words)
{
    char command[2048];
    const char *program = getenv("SEPBENCH");
    snprintf(command, sizeof command, "%s explain %s 2>&1", program != NULL ? program : "build/sepbench",
             words);
    FILE *f = popen(command, "r");
    assert_non_null(f);
    text[fread(text, 1, sizeof text - 1, f)] = '\0';
    int status = pclose(f);
    assert_true(WIFEXITED(status));
    return WEXITSTATUS(status);
}

static void expect(const char *words, int code, const char *said)
{
    int got = explain(words);
    if (got != code || strstr(text, said) == NULL)
        fail_msg("explain %s: exit %d, not %d, or not '%s': %s", words, got, code, said, text);
}

static void test_usage(void **state)
{
    expect("", EXIT_USAGE, "no case is given");
    expect("a/b/c", EXIT_USAGE, "is no case: one is separable/forward/avx2/");
    expect("dense/forward/nobody/mb1ic8ih8oc8kh3/nhwc/t1/warm", EXIT_USAGE, "nobody");
    expect("dense/sideward/naive/mb1ic8ih8oc8kh3/nhwc/t1/warm", EXIT_USAGE, "sideward");
    expect("dense/forward/naive/mb1ic8ih8oc8kh3/nhwc+blue/t1/warm", EXIT_USAGE, "'blue' after the layout");
    expect("dense/forward/naive/mb1ic8ih8oc8kh3/nhwc/t1/warm --impl naive", EXIT_USAGE, "is a case's name");
    expect("mb1ic8ih8oc8kh3 --impl naive,im2col", EXIT_USAGE, "2 cases are meant");
    expect("mb1ic8ih8oc8kh3 --impl naive --budget soon", EXIT_USAGE, "--budget: 'soon'");
    expect("mb1ic8ih8oc8kh3 --impl naive --run x", EXIT_USAGE, "--run: only with --waterfall");
    expect("--waterfall --run /nowhere", EXIT_USAGE, "/nowhere");
    expect("dense/forward/winograd-avx2/mb1ic16ih4oc16kh3sh2/nhwc/t1/warm", EXIT_INVALID, "winograd-avx2");
}

/* Every line that a reader is promised, for a case by its name and for a problem. */
static void test_small_cases(void **state)
{
    expect("depthwise/forward/im2col/g64mb1ic64ih14oc64kh3ph1/nhwc+bias+relu6/t1/warm --budget 2", EXIT_FINE,
           "one thing changed");
    static const char *const lines[] = {
        "depthwise/forward/im2col/g64mb1ic64ih14oc64kh3ph1/nhwc+bias+relu6/t1/warm",
        "load ports",
        "barrier",
        "hardware counters",
        "cold caches",
        "half the channels",
        "The case has one thread"};
    for (size_t i = 0; i < sizeof lines / sizeof *lines; i++)
        if (strstr(text, lines[i]) == NULL) fail_msg("no '%s' in: %s", lines[i], text);
    assert_true(strstr(text, "bound by ") != NULL || strstr(text, "no limit reached") != NULL);
    assert_null(strstr(text, "promised by the multiplications"));

    expect("separable:mb1ic32ih14oc32kh3ph1 --impl tiled --threads 1 --budget 3", EXIT_FINE,
           "promised by the multiplications");
    assert_non_null(strstr(text, "speedup"));
}

/* ---- experiments */

static arm_setting setting_of(const char *impl, const char *problem)
{
    arm_setting s = {.problem = test_problem(problem, CONV_NHWC, false, CONV_POST_NONE), .threads = 1};
    s.impl = conv_find(impl, s.problem.variant);
    assert_non_null(s.impl);
    return s;
}

static void test_changes(void **state)
{
    arm_setting s = setting_of("im2col", "g256mb1ic256ih14oc256kh3ph1"), c;
    assert_null(experiment_change("half the channels", &s, &c));
    assert_true(c.problem.ic == 128 && c.problem.oc == 128 && c.problem.groups == 128);
    assert_null(experiment_change("16 channels more", &s, &c));
    assert_true(c.problem.ic == 272 && c.problem.groups == 272);
    assert_null(experiment_change("cold caches", &s, &c));
    assert_int_equal(c.cache, CACHE_COLD);
    assert_null(experiment_change("four images", &s, &c));
    assert_int_equal(c.problem.mb, 4);
    assert_non_null(experiment_change("one image", &s, &c));
    assert_non_null(experiment_change("one thread", &s, &c));
    assert_non_null(experiment_change("small pages", &s, &c)); /* no tensor is large enough */
    assert_null(experiment_change("packing in each call", &s, &c));
    assert_true(c.pack_each_call);
    s = setting_of("naive", "mb2ic48ih14oc48kh3ph1");
    s.threads = 2;
    assert_non_null(experiment_change("one thread", &s, &c)); /* naive has one whatever the case says */
    assert_non_null(experiment_change("packing in each call", &s, &c));
    assert_non_null(experiment_change("16 channels more", &s, &c)); /* 48 is no power of two */
    assert_null(experiment_change("one image", &s, &c));
    assert_int_equal(c.problem.mb, 1);
}

/* A claim is made only where the interval makes it. */
static void test_claims(void **state)
{
    static const char name[] = "cold caches";
    experiment_result r = {.ratio = 1.5, .low = 1.4, .high = 1.6};
    const char *slower = experiment_shows(name, &r);
    r = (experiment_result){.ratio = 0.7, .low = 0.6, .high = 0.8};
    const char *faster = experiment_shows(name, &r);
    r = (experiment_result){.ratio = 1.0, .low = 0.99, .high = 1.01};
    const char *same = experiment_shows(name, &r);
    assert_string_not_equal(slower, faster);
    assert_string_not_equal(same, faster);
    r = (experiment_result){.ratio = 1.5, .low = 0.6, .high = 19};
    assert_non_null(strstr(experiment_shows(name, &r), "Not told apart"));
    r = (experiment_result){.ratio = 1.5, .low = NAN, .high = NAN};
    assert_non_null(strstr(experiment_shows(name, &r), "Too few pairs"));
}

/* A runner that lets each call take `times` as long, as a kernel slowed on purpose would. */
static double slow_run(void *times, const char *name, const measure_loop *loop, int64_t iterations,
                       int repetition)
{
    (void)name, (void)repetition;
    loop->once(loop->ctx);
    double spent = 0;
    for (int64_t i = 0; i < iterations; i++) {
        if (loop->evict != NULL) loop->evict(loop->ctx);
        double start = machine_now();
        loop->once(loop->ctx);
        double until = start + *(double *)times * (machine_now() - start);
        while (machine_now() < until) {
        }
        spent += machine_now() - start;
    }
    return 1e9 * spent / (double)iterations;
}

static double percent_of(const char *impl, double times, char sentence[LIMIT_TEXT])
{
    machine_ceilings ceilings = machine_measure_ceilings(1, false);
    record_row row = {.pass = CONV_FORWARD, .threads = 1};
    row.problem = test_problem("mb1ic64ih28oc64kh3ph1", CONV_NHWC, false, CONV_POST_NONE);
    snprintf(row.impl, sizeof row.impl, "%s", impl);
    record_clear_measured(&row);
    row.isa = conv_isa(conv_find(impl, CONV_DENSE));
    const measure_setup setup = {.options = {.repetitions = 9, .min_time = 0.002, .verify = true, .seed = 1},
                                 .ceilings = &ceilings,
                                 .run = slow_run,
                                 .runner = &times};
    assert_int_equal(measure_at_once(&setup, &row, 1), 1);
    assert_int_equal(row.status, CASE_OK);
    assert_true(row.limit_ns > 0 && row.limit[0] != '\0');
    limits_sentence(&row, sentence);
    return 100 * row.limit_ns / row.min_ns; /* others are on the cores while tests run */
}

/* A compute-bound case comes close to its limit and not past it; slowed three times it comes nowhere near. */
static void test_limit_of_a_real_case(void **state)
{
    const char *impl = cpu_allowed() == CPU_AVX512 ? "avx512" : cpu_allowed() == CPU_AVX2 ? "avx2" : "im2col";
    char why[160], sentence[LIMIT_TEXT];
    machine_bind_threads(1, why, sizeof why);
    double percent = percent_of(impl, 1, sentence), slowed = percent_of(impl, 3, sentence);
    print_message("%s: %.0f%%, slowed three times %.0f%%: %s\n", impl, percent, slowed, sentence);
    assert_true(slowed < LIMIT_REACHED);
    assert_non_null(strstr(sentence, "no limit reached"));
    if (SANITIZED) return;
    assert_true(percent < 105);
    assert_true(percent > slowed);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_usage), cmocka_unit_test(test_changes), cmocka_unit_test(test_claims),
        cmocka_unit_test(test_limit_of_a_real_case), cmocka_unit_test(test_small_cases)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
