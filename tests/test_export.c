/* A run in other programs' formats: structure, values equal to results.csv's, and names that look like
 * anything. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "../bench/commands.h"
#include "../harness/cli.h"
#include "../harness/measure/samples.h"
#include "folder.h"
#include "made_run.h"
#include "unit.h"

#define DENSE "dense/forward/tiled/mb1ic32ih28oc32kh3ph1/nhwc/t2/warm"
#define ROUGH "dense/forward/im2col/mb1ic32ih28oc32kh3ph1/nhwc/t2/warm"
#define ONCE "dense/forward/naive/mb1ic32ih28oc32kh3ph1/nhwc/t2/warm"

/* Five visits of two repetitions each. */
static const double times[] = {1000, 1010, 1020.5, 1000, 990, 1030, 1005, 1005, 1002, 1008};
enum { TIMES = sizeof times / sizeof *times };

/* One case with its repetitions, one whose repetitions are not there, one of a single repetition, and one
 * row of each kind without a time. */
static void store_run(const char *host)
{
    conv_error err = {""};
    made m = {0};
    samples s = {0};
    record_row *row = made_add(&m, "dense:mb1ic32ih28oc32kh3ph1", CONV_FORWARD, "tiled", 1, 1);
    for (int i = 0; i < TIMES; i++)
        samples_add(
            &s,
            &(record_sample){
                .ns = times[i], .iterations = 3, .visit = i / 2, .use = SAMPLE_REPORTS, .handover_ns = NAN});
    samples_summarise(&s, row);
    made_add(&m, "dense:mb1ic32ih28oc32kh3ph1", CONV_FORWARD, "im2col", 2345.678125, 3);
    made_add(&m, "dense:mb1ic32ih28oc32kh3ph1", CONV_FORWARD, "naive", 123456789012, 1);
    for (int status = CASE_REFUSED; status < CASE_STATUS_COUNT; status++) {
        char problem[64];
        snprintf(problem, sizeof problem, "dense:mb1ic%dih28oc32kh3ph1", 32 + status);
        made_add(&m, problem, CONV_FORWARD, "tiled", 1, 1)->status = (case_status)status;
    }
    json_t *run = json_pack("{s:s, s:s, s:{s:s, s:i, s:{s:i, s:i, s:i}}}", "status", "running", "started",
                            "2026-01-01T00:00:00Z", "machine", "host", host, "hardware_threads", 2, "caches",
                            "l1d", 49152, "l2", 1048576, "cores_sharing_l2", 1);
    record_store *into = record_open("run", false, run, &err);
    if (into == NULL) fail_msg("%s", err.text);
    for (size_t i = 0; i < m.count; i++) assert_true(record_write(into, &m.rows[i], &err));
    for (int i = 0; i < TIMES; i++) assert_true(record_write_sample(into, DENSE, i, &s.items[i], &err));
    record_close(into);
    json_decref(run);
    samples_free(&s);
    free(m.rows);
}

static int export(const char *format)
{
    char *argv[] = {
        (char *)"sepbench export", (char *)"run", (char *)"--format", (char *)format, (char *)"--out",
        (char *)"to.json",         NULL};
    return cmd_export(6, argv);
}

static json_t *exported(const char *format)
{
    json_error_t why;
    assert_int_equal(export(format), EXIT_FINE);
    json_t *all = json_load_file("to.json", JSON_REJECT_DUPLICATES, &why);
    if (all == NULL) fail_msg("%s:%d: %s", format, why.line, why.text);
    return all;
}

static double real(const json_t *object, const char *name)
{
    const json_t *value = json_object_get(object, name);
    if (!json_is_number(value)) fail_msg("%s is no number", name);
    return json_number_value(value);
}

static const char *text(const json_t *object, const char *name)
{
    const char *value = json_string_value(json_object_get(object, name));
    if (value == NULL) fail_msg("%s is no text", name);
    return value;
}

/* The row of results.csv as it is read back. */
static record_row row_of(const char *name)
{
    record_run run;
    conv_error err;
    assert_true(record_load("run", &run, &err));
    record_row row = *record_find(&run, name);
    record_free(&run);
    return row;
}

static void test_bmf(void **state)
{
    store_run("vm");
    json_t *all = exported("bmf");
    const record_row row = row_of(DENSE);
    assert_int_equal(json_object_size(all), 3);
    const json_t *latency = json_object_get(json_object_get(all, DENSE), "latency");
    assert_int_equal(json_object_size(latency), 3);
    assert_true(real(latency, "value") == row.median_ns);
    assert_true(real(latency, "lower_value") == row.ci95_low_ns);
    assert_true(real(latency, "upper_value") == row.ci95_high_ns);
    latency = json_object_get(json_object_get(all, ROUGH), "latency");
    assert_int_equal(json_object_size(latency), 1); /* no interval: no bounds */
    assert_true(real(latency, "value") == row_of(ROUGH).median_ns);
    assert_true(real(json_object_get(json_object_get(all, ONCE), "latency"), "value") == 123456789012);
    json_decref(all);
}

static void test_action(void **state)
{
    store_run("vm");
    json_t *all = exported("github-action-benchmark");
    const record_row row = row_of(DENSE);
    char range[64];
    assert_int_equal(json_array_size(all), 3);
    const json_t *entry = json_array_get(all, 0);
    assert_string_equal(text(entry, "name"), DENSE);
    assert_string_equal(text(entry, "unit"), "ns");
    assert_true(real(entry, "value") == row.median_ns);
    snprintf(range, sizeof range, "%.9g to %.9g", row.ci95_low_ns, row.ci95_high_ns);
    assert_string_equal(text(entry, "range"), range);
    assert_string_equal(text(entry, "extra"), "min: 990 ns\nrepetitions: 10\nthreads: 2");
    assert_null(json_object_get(json_array_get(all, 1), "range"));
    json_decref(all);
}

static void check_aggregate(const json_t *entry, const char *name, const char *unit, double value)
{
    static const char *const order[] = {"name",       "family_index",   "per_family_instance_index",
                                        "run_name",   "run_type",       "repetitions",
                                        "threads",    "aggregate_name", "aggregate_unit",
                                        "iterations", "real_time",      "cpu_time",
                                        "time_unit"};
    size_t i = 0;
    for (void *at = json_object_iter((json_t *)entry); at != NULL;
         at = json_object_iter_next((json_t *)entry, at))
        assert_string_equal(json_object_iter_key(at), order[i++]);
    assert_int_equal(i, sizeof order / sizeof *order);
    char whole[256];
    snprintf(whole, sizeof whole, DENSE "_%s", name);
    assert_string_equal(text(entry, "name"), whole);
    assert_string_equal(text(entry, "run_name"), DENSE);
    assert_string_equal(text(entry, "run_type"), "aggregate");
    assert_string_equal(text(entry, "aggregate_name"), name);
    assert_string_equal(text(entry, "aggregate_unit"), unit);
    assert_string_equal(text(entry, "time_unit"), "ns");
    assert_int_equal(json_integer_value(json_object_get(entry, "iterations")), TIMES);
    assert_int_equal(json_integer_value(json_object_get(entry, "repetitions")), TIMES);
    assert_float_equal(real(entry, "real_time"), value, 1e-9 * value);
    assert_true(real(entry, "cpu_time") == real(entry, "real_time"));
}

static void test_google(void **state)
{
    store_run("vm");
    json_t *all = exported("googlebenchmark");
    const json_t *list = json_object_get(all, "benchmarks"), *context = json_object_get(all, "context");
    double sum = 0, squares = 0;
    for (int i = 0; i < TIMES; i++) sum += times[i];
    for (int i = 0; i < TIMES; i++) squares += (times[i] - sum / TIMES) * (times[i] - sum / TIMES);
    double mean = sum / TIMES, deviation = sqrt(squares / (TIMES - 1));
    assert_int_equal(json_array_size(list), 4 + 1 + 1);
    check_aggregate(json_array_get(list, 0), "mean", "time", mean);
    check_aggregate(json_array_get(list, 1), "median", "time", row_of(DENSE).median_ns);
    check_aggregate(json_array_get(list, 2), "stddev", "time", deviation);
    check_aggregate(json_array_get(list, 3), "cv", "percentage", deviation / mean);
    assert_string_equal(text(json_array_get(list, 4), "name"),
                        ROUGH "_median"); /* its repetitions are not there */
    const json_t *once = json_array_get(list, 5);
    assert_string_equal(text(once, "name"), ONCE);
    assert_string_equal(text(once, "run_type"), "iteration");
    assert_int_equal(json_integer_value(json_object_get(once, "repetition_index")), 0);
    assert_int_equal(json_integer_value(json_object_get(once, "family_index")), 2);
    assert_true(real(once, "real_time") == 123456789012);
    assert_string_equal(text(context, "host_name"), "vm");
    assert_int_equal(json_array_size(json_object_get(context, "caches")), 2);
    json_decref(all);
}

static void test_hostile_names(void **state)
{
    const char *host = "\"},{\x01\n\\ </script> \xc3\xa9";
    store_run(host);
    json_t *all = exported("googlebenchmark");
    assert_string_equal(text(json_object_get(all, "context"), "host_name"), "\"},{  \\ </script> \xc3\xa9");
    json_decref(all);
    /* A file of a stranger whose implementation's name is none is not read at all. */
    assert_int_equal(system("sed -i '2s/tiled/\"ti,led\"/g' run/results.csv"), 0);
    assert_int_equal(export("bmf"), EXIT_USAGE);
}

/* A wrong command line ends the program. */
static int exit_of(const char *format)
{
    int status = 0;
    pid_t child = fork();
    char *none[] = {(char *)"sepbench export", (char *)"run", NULL};
    if (child == 0) _exit(format != NULL ? export(format) : cmd_export(2, none));
    assert_int_equal(waitpid(child, &status, 0), child);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static void test_bad_input(void **state)
{
    store_run("vm");
    assert_int_equal(symlink("/dev/full", "full"), 0);
    char *full[] = {(char *)"sepbench export",
                    (char *)"run",
                    (char *)"--format",
                    (char *)"bmf",
                    (char *)"--out",
                    (char *)"full",
                    NULL};
    assert_int_equal(cmd_export(6, full), EXIT_USAGE);
    assert_int_equal(exit_of("csv"), EXIT_USAGE);
    assert_int_equal(exit_of(NULL), EXIT_USAGE);
    assert_int_equal(system("sed -i 's/,ok,/,skipped,/' run/results.csv"), 0);
    assert_int_equal(export("bmf"), EXIT_INVALID); /* no case has a time */
    assert_int_equal(system("rm run/samples.csv"), 0);
    assert_int_equal(export("googlebenchmark"), EXIT_USAGE);
}

static void test_named_file(void **state)
{
    static char said[4096];
    store_run("vm");
    assert_int_equal(system("ln -s real.json to.json"), 0);
    fflush(stderr);
    int kept = dup(STDERR_FILENO);
    assert_non_null(freopen("err.txt", "w", stderr));
    int code = export("bmf");
    fflush(stderr);
    dup2(kept, STDERR_FILENO);
    close(kept);
    assert_int_equal(code, EXIT_FINE);
    assert_int_equal(access("real.json", F_OK), 0); /* the link stays one */
    read_text("err.txt", said, sizeof said);
    if (strstr(said, "the run is not complete (running): cases may be missing\n") == NULL) fail_msg("%s", said);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_bmf, enter_folder, leave_folder),
        cmocka_unit_test_setup_teardown(test_action, enter_folder, leave_folder),
        cmocka_unit_test_setup_teardown(test_google, enter_folder, leave_folder),
        cmocka_unit_test_setup_teardown(test_hostile_names, enter_folder, leave_folder),
        cmocka_unit_test_setup_teardown(test_named_file, enter_folder, leave_folder),
        cmocka_unit_test_setup_teardown(test_bad_input, enter_folder, leave_folder),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
