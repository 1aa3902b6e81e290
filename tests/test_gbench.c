/* The shim over Google Benchmark: flags, what is called how often, and the JSON its tools read. */
#include <math.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <jansson.h>

#include "../bench/gbench.h"
#include "unit.h"

typedef struct {
    int64_t calls, evictions;
    bool after_eviction; /* every call came right after one */
    bool fresh;
} counter;

static void count_call(void *ctx)
{
    counter *c = ctx;
    c->calls++;
    c->after_eviction = c->after_eviction && c->fresh;
    c->fresh = false;
}

static void count_eviction(void *ctx)
{
    counter *c = ctx;
    c->evictions++;
    c->fresh = true;
}

static void slow_eviction(void *ctx)
{
    count_eviction(ctx);
    usleep(2000);
}

static void spin(void *ctx)
{
    volatile double *x = ctx;
    for (int i = 0; i < 20000; i++) *x *= 1.0000001;
}

static const char odd_name[] = "separable/forward/avx2/mb1ic64ih28oc64kh3ph1/nhwc+bias+relu/t2/warm [a-z](.*)$";

static void test_flags(void **state)
{
    static const char *const refused[] = {
        "--benchmark_repetitions=3",   "--benchmark_filter=(",   "--bogus",         "word",
        "--benchmark_context=novalue", "--benchmark_min_time=1", "--benchmark_out", "--benchmark_list_tests",
        "--benchmark_filters=x"};
    char bad[256];
    for (size_t i = 0; i < sizeof refused / sizeof *refused; i++) {
        char argument[64];
        snprintf(argument, sizeof argument, "%s", refused[i]);
        assert_int_equal(gbench_init(1, (char *[]){argument}, bad, sizeof bad), -1);
        assert_non_null(strstr(bad, refused[i]));
        assert_null(strchr(bad, '\n'));
    }
}

static void test_filter(void **state)
{
    char bad[256];
    assert_int_equal(gbench_init(1, (char *[]){"--benchmark_filter=avx2/mb1ic(32|64)ih"}, bad, sizeof bad), 0);
    assert_true(gbench_selected("dense/forward/avx2/mb1ic64ih28oc64kh3ph1/nhwc/t2/warm"));
    assert_false(gbench_selected("dense/forward/avx2/mb1ic128ih28oc64kh3ph1/nhwc/t2/warm"));
    assert_int_equal(gbench_init(1, (char *[]){"--benchmark_filter=-naive"}, bad, sizeof bad), 0);
    assert_true(gbench_selected("dense/forward/avx2/x"));
    assert_false(gbench_selected("dense/forward/naive/x"));
    assert_int_equal(gbench_init(1, (char *[]){"--benchmark_filter=all"}, bad, sizeof bad), 0);
    assert_true(gbench_selected("anything"));
    assert_int_equal(gbench_init(1, (char *[]){"--benchmark_context=who=test,why=because"}, bad, sizeof bad),
                     0);
}

static void test_calls(void **state)
{
    counter c = {0};
    assert_true(gbench_run(odd_name, count_call, NULL, &c, 1000, 0) > 0);
    assert_int_equal(c.calls, 1001); /* one to warm up */
    c = (counter){0};
    assert_true(gbench_run(odd_name, count_call, NULL, &c, 1, 1) >= 0);
    assert_int_equal(c.calls, 2);
}

/* Evicting precedes every call and is not part of the time. */
static void test_cold(void **state)
{
    counter c = {.after_eviction = true};
    double ns = gbench_run("cold", count_call, slow_eviction, &c, 10, 0);
    assert_true(ns > 0 && ns < 500e3);
    assert_int_equal(c.calls, 11);
    assert_int_equal(c.evictions, 11);
    assert_true(c.after_eviction);
}

static void test_json(void **state)
{
    double x = 1, ns[2];
    ns[0] = gbench_run("json/case", spin, NULL, &x, 50, 0);
    ns[1] = gbench_run("json/case", spin, NULL, &x, 70, 1);
    char *text = gbench_json();
    assert_non_null(text);
    json_t *file = json_loads(text, 0, NULL);
    assert_non_null(file);
    free(text);
    json_t *context = json_object_get(file, "context");
    assert_string_equal(json_string_value(json_object_get(context, "why")), "because");
    json_t *all = json_object_get(file, "benchmarks"), *run;
    size_t index;
    int found = 0;
    json_array_foreach(all, index, run)
    {
        if (strcmp(json_string_value(json_object_get(run, "name")), "json/case") != 0) continue;
        assert_true(found < 2);
        assert_int_equal(json_integer_value(json_object_get(run, "repetition_index")), found);
        assert_int_equal(json_integer_value(json_object_get(run, "repetitions")), 2);
        assert_int_equal(json_integer_value(json_object_get(run, "iterations")), found == 0 ? 50 : 70);
        assert_string_equal(json_string_value(json_object_get(run, "time_unit")), "ns");
        double real = json_number_value(json_object_get(run, "real_time"));
        assert_true(fabs(real - ns[found]) <= 1e-6 * ns[found]);
        found++;
    }
    assert_int_equal(found, 2);
    json_decref(file);
}

static void test_version(void **state)
{
    assert_true(gbench_version()[0] >= '1' && gbench_version()[0] <= '9');
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_flags), cmocka_unit_test(test_filter), cmocka_unit_test(test_calls),
        cmocka_unit_test(test_cold),  cmocka_unit_test(test_json),   cmocka_unit_test(test_version),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
