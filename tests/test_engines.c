/* Engines in processes of their own: naming them, measuring by them, and what becomes of a run whose worker
 * dies or hangs. The engine is a second copy of naive: what matters here is the process. */
#include <dlfcn.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "../harness/measure/measure.h"
#include "../harness/worker/engines.h"
#include "../harness/worker/process.h"
#include "../harness/worker/protocol.h"
#include "support.h"

static char program[4096];

static record_row row_of(const char *impl)
{
    record_row row = {.pass = CONV_BACKWARD, .threads = 1, .isa = CPU_BASE};
    record_clear_measured(&row);
    row.problem = test_problem("separable:mb1ic6ih9oc7kh3ph1", CONV_NHWC, false, CONV_POST_NONE);
    snprintf(row.impl, sizeof row.impl, "%s", impl);
    return row;
}

/* The caller's loop, as Google Benchmark's shim would run it; in this process it must not be asked to. */
static double run_here(void *runner, const char *name, const measure_loop *loop, int64_t iterations,
                       int repetition)
{
    (void)runner, (void)loop, (void)iterations, (void)repetition;
    fail_msg("%s was run in this process", name);
    return -1;
}

/* The only child of this process, or 0. */
static pid_t the_worker(void)
{
    char path[64];
    int pid = 0;
    snprintf(path, sizeof path, "/proc/self/task/%d/children", (int)getpid());
    FILE *f = fopen(path, "r");
    if (f != NULL && fscanf(f, "%d", &pid) != 1) pid = 0;
    if (f != NULL) fclose(f);
    return (pid_t)pid;
}

typedef struct {
    int noted, kills; /* repetitions so far; after each of the first so many the worker is killed */
} watcher;

static void note(void *runner, const char *name, double ns, int64_t iterations, int repetition)
{
    watcher *w = runner;
    assert_non_null(strstr(name, "/other/"));
    assert_true(ns > 0 && iterations > 0);
    assert_int_equal(repetition, w->noted);
    if (w->noted++ < w->kills) {
        pid_t worker = the_worker();
        assert_true(worker > 0);
        kill(worker, SIGKILL);
    }
}

static record_row measure_impl(const char *impl, watcher *w)
{
    record_row row = row_of(impl);
    const measure_setup setup = {
        .options = {.repetitions = 7, .min_time = 0.0005, .verify = true, .equal = true, .seed = 1},
        .run = run_here,
        .note = note,
        .runner = w,
        .started = machine_now()};
    measure_at_once(&setup, &row, 1);
    return row;
}

static record_row measure(watcher *w) { return measure_impl("other", w); }

static void test_words(void **state)
{
    static const struct {
        const char *words, *says;
    } bad[] = {{"", "NAME=KIND:PATH"},
               {"other", "NAME=KIND:PATH"},
               {"=naive", "NAME=KIND:PATH"},
               {"a b=naive", "NAME=KIND:PATH"},
               {"other=nonesuch", "'nonesuch' is neither an engine nor an implementation"},
               {"other=naive:/tmp", "'naive' has no library of its own"},
               {"other=onednn:/nonexistent", "/nonexistent: No such file"},
               {"other=onednn:/etc", "there is no libdnnl"},
               {"other=tensorflow:/etc/passwd", "is no library"},
               {"tiled=naive", "there is an implementation 'tiled' already"}};
    conv_error err;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        err.text[0] = '\0';
        assert_int_equal(engines_add(bad[i].words, &err), CONV_INVALID);
        if (strstr(err.text, bad[i].says) == NULL) fail_msg("'%s': %s", bad[i].words, err.text);
        assert_null(conv_find("other", CONV_DENSE));
    }
    assert_int_equal(engines_add("other=naive", &err), CONV_OK);
    assert_int_equal(engines_add("other=naive", &err), CONV_OK); /* the same again */
    for (int v = 0; v < CONV_VARIANT_COUNT; v++) {
        const conv_impl *other = conv_find("other", (conv_variant)v);
        assert_non_null(other);
        assert_true(engines_elsewhere(other) && !engines_elsewhere(conv_find("naive", (conv_variant)v)));
    }
}

/* The worker checks and times it: what it found of the errors is what is found here. */
static void test_measured(void **state)
{
    watcher w = {0};
    record_row row = measure(&w);
    if (row.status != CASE_OK) fail_msg("%s", row.reason);
    assert_int_equal(w.noted, 7);
    assert_true(row.max_abs_error > 0 && row.error_bound > 0);
    assert_true(row.median_ns > 0 && row.plan_ns > 0 && row.ci95_low_ns <= row.median_ns);
    json_t *versions = json_object();
    engines_versions(versions); /* naive has none */
    assert_int_equal(json_object_size(versions), 0);
    json_decref(versions);
}

/* It is started again and the case goes on: nothing that was measured is lost. */
static void test_killed(void **state)
{
    watcher w = {.kills = 1000};
    record_row row = measure(&w);
    if (row.status != CASE_OK) fail_msg("%s", row.reason);
    assert_int_equal(w.noted, 7);
}

/* A worker that cannot be had is the case's failure, in words. */
static void test_never_starts(void **state)
{
    static const struct {
        const char *path, *says;
    } programs[] = {{"/bin/false", "ended with exit 1"}, {"/nonexistent", "No such file"}};
    for (size_t i = 0; i < sizeof programs / sizeof *programs; i++) {
        watcher w = {0};
        engines_stop();
        engines_program(programs[i].path);
        record_row row = measure(&w);
        engines_program(program);
        assert_int_equal(row.status, CASE_FAILED);
        if (strstr(row.reason, "other's worker") == NULL || strstr(row.reason, programs[i].says) == NULL)
            fail_msg("%s", row.reason);
    }
}

static const char *why_absent(const char *name)
{
    size_t count;
    const conv_entry *e = conv_entries(&count);
    for (size_t i = 0; i < count; i++)
        if (strcmp(e[i].name, name) == 0) return e[i].absent;
    fail_msg("no entry %s", name);
    return NULL;
}

/* An engine that is not there stays so, with its reason, beside a second copy that is: its row is refused and
 * nothing is called. */
static void test_absent_beside_copy(void **state)
{
    char words[4096], command[3 * 4096];
    conv_error err = {""};
    Dl_info libc;
    assert_non_null(strstr(why_absent("tensorflow"), "/nonexistent"));
    assert_true(dladdr(dlsym(RTLD_DEFAULT, "gnu_get_libc_version"), &libc) != 0);
    snprintf(words, sizeof words, "beside=tensorflow:%s", libc.dli_fname);
    if (engines_add(words, &err) != CONV_OK) fail_msg("%s", err.text);
    assert_non_null(strstr(why_absent("tensorflow"), "/nonexistent"));
    snprintf(command, sizeof command,
             "'%s' verify mb1ic3ih5oc3kh3 --engine other=naive --engine '%s' --impl naive,tensorflow --quiet "
             "> /dev/null",
             program, words);
    assert_int_equal(system(command), 0);
}

/* A library of another kind is found out in the worker, which says so: this process has opened none and asks
 * none. */
static void test_foreign_library(void **state)
{
    char words[4096];
    conv_error err = {""};
    Dl_info libc;
    watcher w = {0};
    assert_true(dladdr(dlsym(RTLD_DEFAULT, "gnu_get_libc_version"), &libc) != 0);
    snprintf(words, sizeof words, "foreign=onednn:%s", libc.dli_fname);
    if (engines_add(words, &err) != CONV_OK) fail_msg("%s", err.text);
    const conv_problem p = test_problem("dense:mb1ic3ih5oc3kh3", CONV_NHWC, false, CONV_POST_NONE);
    assert_null(conv_refuse(conv_find("foreign-winograd", CONV_DENSE), &p, CONV_FORWARD));
    record_row row = measure_impl("foreign", &w);
    assert_int_equal(row.status, CASE_FAILED);
    if (strstr(row.reason, "has no dnnl_version") == NULL) fail_msg("%s", row.reason);
}

static void test_hangs(void **state)
{
    worker_process w;
    json_t *hello;
    conv_error err = {""};
    assert_true(process_start(&w, program, NULL, &hello, &err));
    json_decref(hello);
    kill(w.pid, SIGSTOP);
    const pid_t stopped = w.pid;
    assert_null(process_ask(&w, json_pack("{s:s}", "do", "quit"), 0.3, &err));
    assert_non_null(strstr(err.text, "has not answered for 0.3 s"));
    assert_int_equal(kill(stopped, 0), -1); /* it is gone */
}

/* What is asked is what is read, and what an older worker does not know it does not take for something else. */
static void test_post_ops(void **state)
{
    for (int op = 0; op < CONV_POST_COUNT; op++) {
        record_row row = {.pass = CONV_BACKWARD, .impl = "naive", .threads = 2}, read;
        char names[2][CASE_NAME_MAX];
        row.problem = test_problem("separable:mb1ic3ih5oc3kh3", CONV_NCHW, op == 1, (conv_post_op)op);
        json_t *request = protocol_case(&row);
        assert_int_equal(protocol_read_case(request, &read, NULL), CONV_OK);
        assert_string_equal(record_case_name(&read, names[0]), record_case_name(&row, names[1]));
        assert_true((json_object_get(request, "relu") != NULL) == (op <= CONV_POST_RELU));
        json_decref(request);
    }
}

/* Of a worker's steps out of their order. */
static void test_out_of_order(void **state)
{
#define OPEN                                                                                                   \
    "\"problem\":\"dense:mb1ic3ih5oc3kh3\",\"pass\":\"forward\",\"threads\":1,\"layout\":\"nhwc\",\"bias\":"   \
    "false,\"relu\":false"
    static const struct {
        const char *request, *status;
    } steps[] = {
        {"{\"do\":\"ready\",\"id\":1}", "failed"},
        {"{\"do\":\"open\",\"id\":1,\"impl\":\"nonesuch\"," OPEN "}", "refused"},
        {"{\"do\":\"open\",\"id\":1}", "failed"},
        {"{\"do\":\"open\",\"id\":1,\"impl\":\"naive\",\"verify\":true,\"min_time\":0.001," OPEN "}", "ok"},
        {"{\"do\":\"repeat\",\"id\":1,\"iterations\":1}", "failed"},
        {"{\"do\":\"ready\",\"id\":1}", "ok"},
        {"{\"do\":\"ready\",\"id\":1}", "failed"},
        {"{\"do\":\"repeat\",\"id\":1,\"iterations\":0}", "failed"},
        {"{\"do\":\"repeat\",\"id\":1,\"iterations\":1}", "ok"},
        {"{\"do\":\"close\",\"id\":1}", "ok"},
        {"{\"do\":\"close\",\"id\":1}", "failed"}};
    worker_process w;
    json_t *reply;
    conv_error err = {""};
    assert_true(process_start(&w, program, NULL, &reply, &err));
    json_decref(reply);
    for (size_t i = 0; i < sizeof steps / sizeof *steps; i++) {
        reply = process_ask(&w, json_loads(steps[i].request, 0, NULL), PROCESS_PATIENCE, &err);
        if (reply == NULL) fail_msg("%s: %s", steps[i].request, err.text);
        assert_string_equal(json_string_value(json_object_get(reply, "status")), steps[i].status);
        json_decref(reply);
    }
    process_stop(&w);
}

/* The commands: exit codes, and one line about what is wrong. */
static void test_commands(void **state)
{
    static const struct {
        const char *words;
        int code;
    } lines[] = {{"verify mb1ic3ih5oc3kh3 --engine other=naive --impl other --quiet", 0},
                 {"verify g4mb1ic4iw9oc4kw4pw3ow9 separable:mb1ic3id4ih5iw6oc5kd3kh2kw3pd1ph0pw0 --engine "
                  "other=naive --impl other --quiet",
                  0},
                 {"verify mb1ic3ih5oc3kh3 --engine other=none:/tmp --impl other", 2},
                 {"verify mb1ic3ih5oc3kh3 --engine other=naive:/nonexistent --impl other", 2},
                 {"verify mb1ic3ih5oc3kh3 --impl other", 2}};
    for (size_t i = 0; i < sizeof lines / sizeof *lines; i++) {
        char command[sizeof program + 256];
        snprintf(command, sizeof command, "'%s' %s > /dev/null 2>&1", program, lines[i].words);
        int status = system(command);
        if (!WIFEXITED(status) || WEXITSTATUS(status) != lines[i].code)
            fail_msg("%s: exit %d, not %d", lines[i].words, WEXITSTATUS(status), lines[i].code);
    }
}

int main(void)
{
    const char *given = getenv("SEPBENCH");
    char why[160];
    if (realpath(given ? given : "build/sepbench", program) == NULL) {
        fprintf(stderr, "test_engines: %s: build it first\n", given ? given : "build/sepbench");
        return 1;
    }
    engines_program(program);
    setenv("SEPBENCH_TENSORFLOW", "/nonexistent", 1); /* one engine is not there, whatever this machine has */
    machine_bind_threads(1, why, sizeof why);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_words),        cmocka_unit_test(test_measured),
        cmocka_unit_test(test_killed),       cmocka_unit_test(test_never_starts),
        cmocka_unit_test(test_hangs),        cmocka_unit_test(test_foreign_library),
        cmocka_unit_test(test_commands),     cmocka_unit_test(test_post_ops),
        cmocka_unit_test(test_out_of_order), cmocka_unit_test(test_absent_beside_copy)};
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    engines_stop();
    return failed;
}
