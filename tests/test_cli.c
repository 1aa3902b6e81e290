/* The program as users drive it: exit codes, one line on stderr naming the thing at fault, nothing lost.
 * SEPBENCH names the program (default build/sepbench). */
#include <fcntl.h>
#include <jansson.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "../harness/cli.h"
#include "../harness/record/record.h"
#include "folder.h"
#include "unit.h"

enum { MOST_WORDS = 32, MOST_TEXT = 1 << 16 };

static char program[4096];

typedef struct {
    int code; /* exit code, or 128 + signal */
    char out[MOST_TEXT], err[MOST_TEXT];
} outcome;

/* Starts the program on words separated by blanks; stdout and stderr go to files. */
static pid_t start(const char *words)
{
    char text[1024], *argv[MOST_WORDS] = {program}, *rest = text, *word;
    int argc = 1;
    snprintf(text, sizeof text, "%s", words);
    while ((word = strsep(&rest, " ")) != NULL && argc < MOST_WORDS - 1) argv[argc++] = word;
    pid_t child = fork();
    if (child != 0) return child;
    if (freopen("stdout.txt", "w", stdout) == NULL || freopen("stderr.txt", "w", stderr) == NULL) _exit(126);
    execv(program, argv);
    _exit(127);
}

static void finish(pid_t child, outcome *o)
{
    int status = 0;
    assert_int_equal(waitpid(child, &status, 0), child);
    o->code = WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
    read_text("stdout.txt", o->out, MOST_TEXT);
    read_text("stderr.txt", o->err, MOST_TEXT);
}

static void run(const char *words, outcome *o) { finish(start(words), o); }

static void expect_code(const char *words, int code)
{
    static outcome o;
    run(words, &o);
    if (o.code != code) fail_msg("sepbench %s: exit %d, expected %d: %s", words, o.code, code, o.err);
}

/* Exit 2 and exactly one line on stderr, which holds both texts. */
static void expect_usage_error(const char *words, const char *at_fault, const char *allowed)
{
    static outcome o;
    run(words, &o);
    if (o.code != EXIT_USAGE) fail_msg("sepbench %s: exit %d, not 2: %s", words, o.code, o.err);
    char *feed = strchr(o.err, '\n');
    if (feed == NULL || feed[1] != '\0') fail_msg("sepbench %s: not one line on stderr: '%s'", words, o.err);
    if (strncmp(o.err, "sepbench", 8) != 0) fail_msg("sepbench %s: '%s' does not say who speaks", words, o.err);
    if (strstr(o.err, at_fault) == NULL)
        fail_msg("sepbench %s: '%s' does not name '%s'", words, o.err, at_fault);
    if (strstr(o.err, allowed) == NULL) fail_msg("sepbench %s: '%s' does not say '%s'", words, o.err, allowed);
    if (access("results", F_OK) == 0) fail_msg("sepbench %s: left a results folder behind", words);
}

/* ---- */

static void test_bad_words(void **state)
{
    static const struct {
        const char *words, *at_fault, *allowed;
    } cases[] = {
        {"benhc", "'benhc'", "--help"},
        {"bench --suite sweeep", "'sweeep'", "sweep, sweep32, map, why, convnext_t"},
        {"bench --impl avx3", "'avx3'", "naive"},
        {"bench --impl best", "'best'", "naive"},
        {"bench --impl naive,,tiled", "''", "naive"},
        {"bench --variant deep", "'deep'", "dense, depthwise, pointwise, separable"},
        {"bench --pass sideways", "'sideways'", "forward, backward, backward_data, backward_weights"},
        {"bench --layout hwcn", "'hwcn'", "nhwc, nchw"},
        {"bench --cache hot", "'hot'", "warm, cold"},
        {"bench --channels 2048:32", "'2048:32'", "reversed"},
        {"bench --channels 32:", "'32:'", "32:2048"},
        {"bench --channels 0", "'0'", "from 1 to"},
        {"bench --channels 99999999999999999999", "'99999999999999999999'", "whole number"},
        {"bench --spatial -3", "'-3'", "whole number"},
        {"bench --batch 1.5", "'1.5'", "whole number"},
        {"bench --threads 0", "'0'", "from 1 to 1024"},
        {"bench --threads -2", "'-2'", "from 1 to 1024"},
        {"bench --threads two", "'two'", "from 1 to 1024"},
        {"bench --budget 0", "'0'", "--budget"},
        {"bench smoke --other-form maybe", "'maybe'", "--other-form"},
        {"bench --budget nan", "'nan'", "--budget"},
        {"bench --repetitions 0", "'0'", "--repetitions"},
        {"bench --min-time -1", "'-1'", "--min-time"},
        {"bench --out", "--out", "requires an argument"},
        {"bench --nonsense", "--nonsense", "unrecognized"},
        {"bench mb1ic32ih28oc32kx3", "mb1ic32ih28oc32kx3", "kx3"},
        {"bench mb0ic32ih28oc32kh3", "mb0", "between 1"},
        {"bench mb1ic32ih2oc32kh3", "mb1ic32ih2oc32kh3", "h"},
        {"bench mb2147483647ic2147483647ih2147483647oc2147483647kh1", "mb2147483647", "2^62"},
        {"bench g3mb1ic32ih28oc32kh3", "g3mb1ic32ih28oc32kh3", "3"},
        {"bench --shapes nowhere.txt", "nowhere.txt", "No such file"},
        {"bench --shapes .", ".", "directory"},
        {"bench --suite map --variant dense --impl avx2 --channels 5000 --spatial 1 --pass backward_data "
         "--exact --batch 0",
         "'0'", "--batch"},
        {"bench --variant separable --pass backward_data", "no case", "separable"},
        {"bench mb1ic8ih8oc8kh3 --channels 9", "no case", "--channels"},
        {"bench mb1ic8ih8oc8kh3 -- --benchmark_filter=[", "benchmark_filter", "["},
        {"bench mb1ic8ih8oc8kh3 -- --nonsense", "--nonsense", ""},
        {"bench mb1ic8ih8oc8kh3 --resume", "latest", "sepbench bench"},
        {"bench --resume --out nowhere", "nowhere", "No such file"},
        {"verify --impl avx3", "'avx3'", "naive"},
        {"verify --oracle x", "'x'", "--oracle"},
        {"verify --suite nix", "'nix'", "smoke"},
        {"list --nonsense", "--nonsense", "unrecognized"},
        {"list word", "", ""},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        expect_usage_error(cases[i].words, cases[i].at_fault, cases[i].allowed);
}

static void test_isa_cap(void **state)
{
    setenv("SEPBENCH_MAX_ISA", "sse9", 1);
    expect_usage_error("list", "'sse9'", "base, avx2 or avx512");
    unsetenv("SEPBENCH_MAX_ISA");
}

/* Plans for other caches than this machine's. */
static void test_caches(void **state)
{
    static const char *const bad[][2] = {{"l1=32K", "names other"},
                                         {"l2=0", "as 32K or 1.5M"},
                                         {"l1d=32Q", "as 32K or 1.5M"},
                                         {"l3=9999M", "as 32K or 1.5M"},
                                         {"l1d=32K;l2=1M", "as 32K or 1.5M"}};
    char small[4096], large[4096];
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        setenv("SEPBENCH_CACHES", bad[i][0], 1);
        expect_usage_error("list", bad[i][0], bad[i][1]);
    }
    setenv("SEPBENCH_CACHES", "l1d=32K,l2=128K", 1);
    run_shell(small, sizeof small, "'%s' list --strategies mb1ic512ih28oc512kh1 2>&1", getenv("SEPBENCH"));
    setenv("SEPBENCH_CACHES", "l1d=48K,l2=2M,l3=4M", 1);
    run_shell(large, sizeof large, "'%s' list --strategies mb1ic512ih28oc512kh1 2>&1", getenv("SEPBENCH"));
    unsetenv("SEPBENCH_CACHES");
    assert_true(strcmp(small, large) != 0 || strstr(small, "avx") == NULL);
}

static void test_shape_file_with_a_bad_line(void **state)
{
    char text[2048] = "";
    for (int line = 1; line < 17; line++) strcat(text, line % 2 ? "# fine\n" : "mb1ic8ih8oc8kh3ph1\n");
    strcat(text, "mb1ic8ih8oc8kh3ph1 mb1ic8ix8oc8kh3\nmb1ic8ih8oc8kh3ph1\n");
    write_text("shapes.txt", text);
    expect_usage_error("bench --shapes shapes.txt", "shapes.txt:17:", "ix8");
    expect_usage_error("verify --shapes shapes.txt", "shapes.txt:17:", "ix8");
    write_text("empty.txt", "# nothing\n");
    expect_usage_error("bench --shapes empty.txt", "empty.txt", "no problem");
    write_text("outer.txt", "--batch=inner.txt\n");
    expect_usage_error("bench --shapes outer.txt", "inner.txt", "No such file");
    write_text("inner.txt", "\nic8\n");
    expect_usage_error("bench --shapes outer.txt", "inner.txt:2:", "ic8");
    write_text("loop.txt", "--batch=loop.txt\n");
    expect_usage_error("bench --shapes loop.txt", "loop.txt:1:", "deep");
}

/* Each tail follows the beginning of a convolution's line. */
static void test_onednn_log_with_a_bad_line(void **state)
{
    static const char *const cases[][3] = {
        {"forward_training,src_f32 wei_f32,,alg:convolution_direct,mb1_ic8oc8_ih9", "log.txt:3: '",
         "cut short"},
        {"forward_training,src_f32 wei_f32,,alg:convolution_dir", "log.txt:3: '", "convolution_dir'"},
        {"forward_trai", "log.txt:3: '", "forward_trai'"},
        {"forward_training,src_f32 wei_f32,,mb1_ic8oc8_ih9kh3,0.5", "log.txt:3: '", "cut short"},
        {"forward_training,src_f32,,alg:convolution_direct,mb1_ic8oc8_ih9kx3,0.5", "log.txt:3: ", "'kx3'"},
        {"forward_training,src_f32,,alg:convolution_direct,mb1_ic8oc8_ih9kh3,0.5x", "log.txt:3: '", "0.5x'"},
        {"sideways,src_f32,,alg:convolution_direct,mb1_ic8oc8_ih9kh3,0.5", "log.txt:3: 'sideways'",
         "forward_training, forward_inference, backward_data, backward_weights"},
        {"forward_traionednn_verbose,exec,cpu,reorder,jit:uni,undef,src_f32,,,8x8,0.1", "log.txt:3: '",
         "mixed"}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char text[512];
        snprintf(text, sizeof text,
                 "onednn_verbose,info,oneDNN v2\nhello\nonednn_verbose,exec,cpu,convolution,jit:avx2,%s\n",
                 cases[i][0]);
        write_text("log.txt", text);
        expect_usage_error("verify --shapes log.txt", cases[i][1], cases[i][2]);
    }
    static const char *const ends[] = {"", "exe", "exec", "exec,cpu", "exec,cpu,conv", "v1,primi"};
    for (size_t i = 0; i < sizeof ends / sizeof *ends; i++) {
        char text[128];
        snprintf(text, sizeof text, "onednn_verbose,info,oneDNN v2\nonednn_verbose,%s", ends[i]);
        write_text("log.txt", text);
        expect_usage_error("verify --shapes log.txt", "log.txt:2: '", "cut short");
    }
    write_text("log.txt", "onednn_verbose,exec,cpu,reorder,jit:uni,undef,src_f32,,,8x8,0.1\n"
                          "onednn_verbose,create:cache_miss,cpu,convolution,ref,forward,,,,mb1,0.1\n");
    expect_usage_error("verify --shapes log.txt", "log.txt: no convolution is executed", "reorder 1");
    expect_usage_error("verify --shapes log.txt", "1 are created", "ONEDNN_VERBOSE=1");
    write_text("log.txt", "onednn_verbose,info,oneDNN v2\n");
    expect_usage_error("verify --shapes log.txt", "log.txt", "no convolution is executed");
}

static void test_onednn_log_through_a_pipe(void **state)
{
    char said[MOST_TEXT];
    write_text("log.txt", "hello\n"
                          "onednn_verbose,exec,cpu,reorder,jit:uni,undef,src_f32,,,8x8,0.1\n"
                          "onednn_verbose,v1,graph,exec,cpu,1,partition,undef,src_f32,,,8x8,0.1\n"
                          "onednn_verbose,v1,primitive,exec,cpu,convolution,jit:avx2,forward_inference,"
                          "src:bf16::blocked:abcd::f0 wei:s8:a:blocked:Acdb16a::f0 dst:f32::blocked:abcd::f0,"
                          "attr-post-ops:dw:k3s1p1,alg:convolution_direct,mb1ic8oc8_ih5kh1,0.1,more\n");
    run_shell(said, sizeof said,
              "cat log.txt | '%s' verify --impl naive --pass forward --shapes - 2>&1 && echo fine", program);
    static const char *const words[] = {"stdin: convolutions executed: 1, shapes: 1; ",
                                        "reorder 1, graph 1",
                                        "of other types: 1 (tensors: bf16 1, s8 1)",
                                        "depthwise post-ops left out: 1",
                                        "lines not of oneDNN: 1",
                                        "pointwise/forward/naive/mb1ic8ih5oc8kh1/",
                                        "fine"};
    for (size_t i = 0; i < sizeof words / sizeof *words; i++)
        if (strstr(said, words[i]) == NULL) fail_msg("'%s' does not say '%s'", said, words[i]);
    run_shell(said, sizeof said,
              "echo mb1ic8ih5oc8kh3 | '%s' verify --impl naive --pass forward --shapes - 2>&1", program);
    assert_non_null(strstr(said, "dense/forward/naive/mb1ic8ih5oc8kh3/"));
    run_shell(said, sizeof said, "'%s' verify --shapes - 2>&1 </dev/null || echo $?", program);
    assert_string_equal(said, "sepbench: stdin: no problem in it\n2\n");
}

static void test_folders(void **state)
{
    static const char words[] =
        "bench mb1ic8ih8oc8kh3 --impl naive --pass forward --repetitions 1 --min-time 0 --out ";
    char text[256];
    write_text("file", "x");
    snprintf(text, sizeof text, "%sfile/run", words);
    expect_usage_error(text, "file", "Not a directory");
    mkdir("other", 0777);
    write_text("other/letter", "x");
    snprintf(text, sizeof text, "%sother", words);
    expect_usage_error(text, "other", "not an empty folder");
    mkdir("foreign", 0777);
    write_text("foreign/run.json", "{\"schema\": 7, \"run_id\": \"x\"}");
    write_text("foreign/results.csv", "a,b\n");
    expect_usage_error("bench --resume --out foreign", "foreign/run.json", "schema is 7");
    expect_usage_error("report foreign", "foreign/run.json", "schema is 7");
    if (geteuid() != 0) { /* root may write anywhere */
        mkdir("locked", 0555);
        snprintf(text, sizeof text, "%slocked/run", words);
        expect_usage_error(text, "locked", "Permission denied");
    }
}

/* No file may grow beyond a few hundred bytes: to write(2) that is what a full disk looks like. */
static void test_full_folder(void **state)
{
    struct rlimit old, small;
    getrlimit(RLIMIT_FSIZE, &old);
    small = old;
    small.rlim_cur = 512;
    signal(SIGXFSZ, SIG_IGN); /* inherited: the write fails instead */
    setrlimit(RLIMIT_FSIZE, &small);
    pid_t child = start("bench mb1ic8ih8oc8kh3 --impl naive --out full");
    setrlimit(RLIMIT_FSIZE, &old);
    static outcome o;
    finish(child, &o);
    assert_int_equal(o.code, EXIT_USAGE);
    if (strstr(o.err, "full") == NULL) fail_msg("'%s' does not name the folder", o.err);
    assert_int_not_equal(access("full/run.json", F_OK), 0);
}

/* ---- a run, from start to end */

static const char small_run[] = "bench mb1ic8ih8oc8kh3ph1 separable:mb1ic8ih8oc8kh3ph1 --threads 1 "
                                "--repetitions 2 --min-time 0.0001 --budget 50";

static void test_a_run(void **state)
{
    char words[512];
    static outcome o;
    snprintf(words, sizeof words, "%s --out results/run", small_run);
    run(words, &o);
    if (o.code != EXIT_FINE) fail_msg("exit %d: %s", o.code, o.err);
    record_run got;
    conv_error err;
    if (!record_load(NULL, &got, &err)) fail_msg("%s", err.text); /* results/latest */
    size_t timed = 0;
    for (size_t i = 0; i < got.count; i++) {
        const record_row *row = &got.rows[i];
        if (row->status == CASE_OK) {
            timed++;
            assert_true(row->median_ns > 0 && row->repetitions >= 1 && row->max_abs_error <= 1);
        } else {
            assert_int_not_equal(row->reason[0], '\0');
        }
    }
    assert_true(timed > 0);
    assert_string_equal(json_string_value(json_object_get(got.run, "status")), "complete");
    assert_true(json_array_size(json_object_get(got.run, "arguments")) > 5);
    assert_non_null(json_object_get(json_object_get(got.run, "machine"), "ceilings"));
    size_t count = got.count;
    record_free(&got);
    assert_int_equal(access("results/run/benchmark.json", R_OK), 0);
    for (char *line = strtok(o.out, "\n"); line != NULL; line = strtok(NULL, "\n"))
        if (strlen(line) > 80 && strstr(line, "results/") == NULL) fail_msg("more than 80 columns: %s", line);

    /* Resuming a complete run measures nothing and says the same. */
    run("bench --resume --out results/run", &o);
    if (o.code != EXIT_FINE) fail_msg("exit %d: %s", o.code, o.err);
    assert_true(record_load("results/run", &got, &err));
    assert_int_equal(got.count, count);
    record_free(&got);
    snprintf(words, sizeof words, "%s --out results/run", small_run);
    run(words, &o);
    assert_int_equal(o.code, EXIT_USAGE);
    assert_non_null(strstr(o.err, "holds a run already"));
}

static size_t count_ok(const char *dir)
{
    record_run got;
    conv_error err;
    size_t count = 0;
    if (!record_load(dir, &got, &err)) fail_msg("%s", err.text);
    for (size_t i = 0; i < got.count; i++) count += got.rows[i].status == CASE_OK;
    record_free(&got);
    return count;
}

/* Stops a run by a signal as soon as it has a few rows, reads it, finishes it. */
static void stop_and_resume(int number, int code, const char *dir)
{
    char words[512], path[128];
    static outcome o;
    struct stat size;
    snprintf(words, sizeof words,
             "bench --suite smoke --impl naive --threads 1 --min-time 0.03 --budget 900 --out %s", dir);
    snprintf(path, sizeof path, "%s/results.csv", dir);
    pid_t child = start(words);
    for (int i = 0; i < 6000 && (stat(path, &size) != 0 || size.st_size < 1500); i++)
        nanosleep(&(struct timespec){.tv_nsec = 10000000}, NULL);
    kill(child, number);
    finish(child, &o);
    if (o.code != code) fail_msg("exit %d instead of %d: %s", o.code, code, o.err);
    size_t before = count_ok(dir);
    assert_true(before > 0);
    snprintf(words, sizeof words, "bench --resume --min-time 0 --out %s", dir);
    run(words, &o);
    if (o.code != EXIT_FINE) fail_msg("resumed: exit %d: %s", o.code, o.err);
    assert_true(count_ok(dir) >= before && count_ok(dir) == 20);
}

static void test_interrupted(void **state) { stop_and_resume(SIGINT, 128 + SIGINT, "stopped"); }

/* The oracle of this problem takes a quarter of a minute and more. */
static void test_interrupted_oracle(void **state)
{
    static outcome o;
    struct timespec begin, end;
    pid_t child = start("verify --oracle 0 mb16ic256ih56oc256kh3ph1 --impl tiled --pass forward --threads 1");
    nanosleep(&(struct timespec){.tv_sec = 1}, NULL);
    clock_gettime(CLOCK_MONOTONIC, &begin);
    kill(child, SIGINT);
    finish(child, &o);
    clock_gettime(CLOCK_MONOTONIC, &end);
    if (end.tv_sec - begin.tv_sec > 6)
        fail_msg("answered after %lld s", (long long)(end.tv_sec - begin.tv_sec));
    assert_int_equal(o.code, 128 + SIGINT);
    assert_non_null(strstr(o.err, "stopping after this case"));
    assert_non_null(strstr(o.out, "interrupted"));
}

static void test_killed(void **state) { stop_and_resume(SIGKILL, 128 + SIGKILL, "killed"); }

static void test_nothing_measured(void **state)
{
    static outcome o; /* strides are not for Winograd */
    run("bench mb1ic16ih6oc16kh3sh2 --impl winograd-avx2 --pass forward --threads 1 --budget 20 --out none",
        &o);
    if (o.code != EXIT_INVALID) fail_msg("exit %d: %s", o.code, o.err);
    assert_non_null(strstr(o.err, "nothing was measured"));
}

/* Beyond a case's share of the budget, not beyond the budget; and beyond both. */
static void test_budget_is_used(void **state)
{
    static outcome o;
    run("bench mb1ic64ih170oc64kh3ph1 --impl naive --pass forward --threads 1 --budget 12 --out used", &o);
    if (o.code != EXIT_FINE) fail_msg("exit %d: %s", o.code, o.err);
    assert_non_null(strstr(o.out, "1 ok"));
    run("bench mb1ic64ih170oc64kh3ph1 --impl naive --pass forward --threads 1 --budget 1 --out short", &o);
    assert_int_equal(o.code, EXIT_INVALID);
    conv_error err;
    record_run r;
    assert_true(record_load("short", &r, &err));
    assert_non_null(strstr(r.rows[0].reason, "s of the budget of 1 s are left"));
    record_free(&r);
}

static void test_verify(void **state)
{
    static outcome o;
    run("verify --suite smoke --impl naive,im2col", &o);
    if (o.code != EXIT_FINE) fail_msg("exit %d: %s", o.code, o.err);
    assert_non_null(strstr(o.out, " 0 wrong"));
    expect_code("verify mb1ic16ih6oc16kh3sh2 --impl winograd-avx2", EXIT_INVALID);
    expect_code("--help", EXIT_FINE);
    expect_code("list --suites", EXIT_FINE);
    expect_code("bench --help", EXIT_FINE);
}

int main(void)
{
    const char *given = getenv("SEPBENCH");
    if (realpath(given ? given : "build/sepbench", program) == NULL) {
        fprintf(stderr, "test_cli: %s: build it first\n", given ? given : "build/sepbench");
        return 1;
    }
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_bad_words, enter_folder, leave_folder),
        cmocka_unit_test_setup_teardown(test_isa_cap, enter_folder, leave_folder),
        cmocka_unit_test_setup_teardown(test_caches, enter_folder, leave_folder),
        cmocka_unit_test_setup_teardown(test_shape_file_with_a_bad_line, enter_folder, leave_folder),
        cmocka_unit_test_setup_teardown(test_onednn_log_with_a_bad_line, enter_folder, leave_folder),
        cmocka_unit_test_setup_teardown(test_onednn_log_through_a_pipe, enter_folder, leave_folder),
        cmocka_unit_test_setup_teardown(test_folders, enter_folder, leave_folder),
        cmocka_unit_test_setup_teardown(test_full_folder, enter_folder, leave_folder),
        cmocka_unit_test_setup_teardown(test_a_run, enter_folder, leave_folder),
        cmocka_unit_test_setup_teardown(test_interrupted, enter_folder, leave_folder),
        cmocka_unit_test_setup_teardown(test_interrupted_oracle, enter_folder, leave_folder),
        cmocka_unit_test_setup_teardown(test_killed, enter_folder, leave_folder),
        cmocka_unit_test_setup_teardown(test_nothing_measured, enter_folder, leave_folder),
        cmocka_unit_test_setup_teardown(test_budget_is_used, enter_folder, leave_folder),
        cmocka_unit_test_setup_teardown(test_verify, enter_folder, leave_folder),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
