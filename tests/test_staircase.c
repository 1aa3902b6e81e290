/* The staircase from TensorFlow's time to the best's, of made-up rows: its factors, what is not measured, and
 * the page and file made of it. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "../bench/commands.h"
#include "../harness/cli.h"
#include "../harness/report/staircase.h"
#include "folder.h"
#include "made_run.h"
#include "unit.h"

#define DEPTHWISE "depthwise:g64mb1ic64ih28oc64kh3ph1"

static const struct {
    const char *impl;
    double ns;
} rows[] = {
    {"tensorflow", 5000},          {"tf-like", 4800},        {"tf-like+fma", 4000}, {"tf-like+nocopy", 2000},
    {"tf-like+registers", 500},    {"tf-like+threads", 400}, {"avx2", 240},         {"avx512", 200},
    {"onednn", 100 /* not ours */}};

/* All of them but one, which has no time; NULL: all. */
static made without(const char *impl)
{
    made m = {0};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        made_add(&m, DEPTHWISE, CONV_BACKWARD_WEIGHTS, rows[i].impl,
                 impl != NULL && strcmp(rows[i].impl, impl) == 0 ? 0 : rows[i].ns, 9);
    return m;
}

static bool staircase_without(const char *impl, staircase *s)
{
    made m = without(impl);
    record_run run = made_run(&m);
    report_data data;
    conv_error err;
    assert_true(report_data_create(&run, &data, &err));
    bool found = staircase_of(&data, &data.settings[0].points[0], s);
    report_data_destroy(&data);
    made_end(&run, &m);
    return found;
}

static void expect_factors(const staircase *s, const double expected[STAIRS], double product)
{
    double all = 1;
    for (int i = 0; i < STAIRS; i++) {
        if (isnan(s->factor[i]) != isnan(expected[i]) || fabs(s->factor[i] - expected[i]) > 1e-9)
            fail_msg("factor %d is %g, not %g", i, s->factor[i], expected[i]);
        all *= isnan(s->factor[i]) ? 1 : s->factor[i];
    }
    assert_true(fabs(s->product - product) < 1e-9 && fabs(all - product) < 1e-9);
}

static void test_whole(void **state)
{
    staircase s;
    assert_true(staircase_without(NULL, &s));
    expect_factors(&s, (const double[]){1.2, 2, 4, 1.25, 2}, 24);
    assert_true(fabs(s.measured - 25) < 1e-9);
}

/* The cause of a variant that was not measured is in the next factor. */
static void test_missing_variants(void **state)
{
    staircase s;
    assert_true(staircase_without("tf-like+nocopy", &s));
    expect_factors(&s, (const double[]){1.2, NAN, 8, 1.25, 2}, 24);
    assert_true(staircase_without("tf-like+threads", &s));
    expect_factors(&s, (const double[]){1.2, 2, 4, NAN, 2.5}, 24);
    assert_true(staircase_without("tf-like+fma", &s));
    expect_factors(&s, (const double[]){NAN, 2.4, 4, 1.25, 2}, 24);
    assert_true(staircase_without("avx512", &s)); /* then the next of ours is the best */
    expect_factors(&s, (const double[]){1.2, 2, 4, 1.25, 400.0 / 240}, 20);
}

static void test_missing_ends(void **state)
{
    staircase s;
    assert_true(staircase_without("tensorflow", &s));
    assert_true(s.tensorflow == NULL && isnan(s.measured) && fabs(s.product - 24) < 1e-9);
    assert_false(staircase_without("tf-like", &s));
}

/* A level that is faster than all others is not the best for that. */
static void test_never_the_best(void **state)
{
    made m = {0};
    made_add(&m, DEPTHWISE, CONV_FORWARD, "tf-like", 300, 9);
    made_add(&m, DEPTHWISE, CONV_FORWARD, "tf-like+threads", 100, 9);
    made_add(&m, DEPTHWISE, CONV_FORWARD, "avx2", 150, 9);
    record_run run = made_run(&m);
    report_data data;
    staircase s;
    conv_error err;
    assert_true(report_data_create(&run, &data, &err));
    assert_true(staircase_of(&data, &data.settings[0].points[0], &s));
    assert_string_equal(s.best->impl, "avx2");
    assert_true(fabs(s.factor[STAIRS - 1] - 100.0 / 150) < 1e-9 && fabs(s.product - 2) < 1e-9);
    report_data_destroy(&data);
    made_end(&run, &m);
}

static char *slurp(const char *path)
{
    char *text = NULL;
    size_t size = 0;
    FILE *in = fopen(path, "r");
    if (in == NULL) return NULL;
    if (getdelim(&text, &size, 0, in) < 0) fail_msg("%s is empty", path);
    fclose(in);
    return text;
}

static void report(made *m, const char *name)
{
    char *argv[] = {(char *)"sepbench report", (char *)made_store(m, ".", name), (char *)"--out", (char *)name,
                    NULL};
    assert_int_equal(cmd_report(4, argv), EXIT_FINE);
}

static void test_page(void **state)
{
    made m = without("tf-like+nocopy");
    report(&m, "whole");
    char *page = slurp("whole/index.html"), *table = slurp("whole/staircase.csv");
    assert_non_null(strstr(page, "Why TensorFlow"));
    assert_string_equal(
        table,
        "case,pass,channels,tensorflow_ns,tf_like_ns,best,best_ns,factor_fma,factor_copy,factor_registers,"
        "factor_threads,factor_rest,product,measured,product_over_measured\n"
        "depthwise/backward_weights/tf-like/g64mb1ic64ih28oc64kh3ph1/nhwc/t2/warm,backward_weights,64,5000,"
        "4800,avx512,200,1.2,,8,1.25,2,24,25,0.96\n");
    free(page);
    free(table);
    m = without("tensorflow");
    report(&m, "alone");
    page = slurp("alone/index.html");
    assert_non_null(strstr(page, "TensorFlow itself has no time in this run"));
    free(page);
    m = without("tf-like");
    report(&m, "none");
    page = slurp("none/index.html");
    assert_null(strstr(page, "Why TensorFlow"));
    assert_null(slurp("none/staircase.csv"));
    free(page);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_whole),
        cmocka_unit_test(test_missing_variants),
        cmocka_unit_test(test_missing_ends),
        cmocka_unit_test(test_never_the_best),
        cmocka_unit_test_setup_teardown(test_page, enter_folder, leave_folder),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
