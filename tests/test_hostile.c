/* Files of a stranger: nothing in them runs, names a path, forges a line of a log or hides what else is there.
 * SEPBENCH names the program (default build/sepbench). */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "../harness/record/record.h"
#include "../harness/report/chart.h"
#include "../harness/text.h"
#include "../harness/train/history.h"
#include "../harness/train/model.h"
#include "../kernels/problem.h"
#include "folder.h"
#include "unit.h"

static char program[4096];

/* ---- a run, and one of its fields changed */

static void make_run(const char *dir, int cases)
{
    conv_error err = {""};
    json_t *context =
        json_pack("{s:s, s:[s], s:[{s:i, s:{s:f}}]}", "status", "complete", "warnings",
                  "\033[2J ::error::forged", "ceilings", "threads", 2, "fma_gflops", "avx2", 220.0);
    record_store *s = record_open(dir, false, context, &err);
    json_decref(context);
    if (s == NULL) fail_msg("%s", err.text);
    for (int i = 0; i < cases; i++) {
        char problem[64];
        record_row row = {.pass = CONV_FORWARD, .threads = 2, .isa = CPU_AVX2};
        snprintf(problem, sizeof problem, "mb1ic8ih%doc8kh3ph1n\"net:<b>\"", 8 + i);
        assert_int_equal(problem_parse(problem, &row.problem, row.layer, &err), CONV_OK);
        record_clear_measured(&row);
        row.status = CASE_OK;
        row.repetitions = 9;
        row.median_ns = row.min_ns = 1234.5;
        strcpy(row.impl, "naive");
        strcpy(row.suite, "sweep");
        strcpy(row.reason, "a note");
        if (!record_write(s, &row, &err)) fail_msg("%s", err.text);
    }
    record_close(s);
}

/* The file with the first `from` replaced. */
static void change(const char *path, const char *from, const char *to)
{
    char text[1 << 14], changed[1 << 15];
    read_text(path, text, sizeof text);
    char *at = strstr(text, from);
    if (at == NULL) fail_msg("%s does not hold '%s'", path, from);
    snprintf(changed, sizeof changed, "%.*s%s%s", (int)(at - text), text, to, at + strlen(from));
    write_text(path, changed);
}

/* `sepbench WORDS` in a shell; its exit code, what it printed in out.txt and err.txt. */
static int run(const char *words)
{
    char command[8192];
    snprintf(command, sizeof command, "'%s' %s >out.txt 2>err.txt", program, words);
    int status = system(command);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static void expect_said(const char *path, const char *words)
{
    static char text[1 << 20];
    read_text(path, text, sizeof text);
    if (strstr(text, words) == NULL) fail_msg("%s does not say '%s': %.400s", path, words, text);
}

static void expect_silent(const char *path, const char *words)
{
    static char text[1 << 20];
    read_text(path, text, sizeof text);
    if (strstr(text, words) != NULL) fail_msg("%s says '%s'", path, words);
}

/* Exit 2 of `report`, and nothing was made but the two texts. */
static void expect_refused(const char *run_dir, const char *words)
{
    char command[512];
    snprintf(command, sizeof command, "report %s", run_dir);
    assert_int_equal(run(command), 2);
    expect_said("err.txt", words);
    if (access("reports", F_OK) == 0) fail_msg("'%s' was refused, but a report is there", words);
    if (access("ran", F_OK) == 0) fail_msg("'%s' was run", words);
}

/* ---- text */

static void test_names(void **state)
{
    assert_true(text_is_name("fused-avx512") && text_is_name("20260101T000000.5Z-vm") && text_is_name("x"));
    assert_false(text_is_name("") || text_is_name("../x") || text_is_name("a/b") || text_is_name(".x") ||
                 text_is_name("-x") || text_is_name("a b") || text_is_name("`x`") || text_is_name("a\n"));
    assert_true(text_is_name_list("best") && text_is_name_list("avx2,onednn"));
    assert_false(text_is_name_list("") || text_is_name_list("avx2,") || text_is_name_list("a b"));
    assert_true(text_is_model("it's R&D (2)") && text_is_model("Größe"));
    assert_false(text_is_model("") || text_is_model("..") || text_is_model("a/b") || text_is_model("`x`") ||
                 text_is_model("a\"b") || text_is_model("<b>") || text_is_model("\xff") ||
                 text_is_model("\xc2\x9b") || text_is_model("a\nb") || text_is_model("\xc0\xaf"));
    assert_true(text_is_label("") && text_is_label("net:conv1/7x7*2+\xc3") && !text_is_label("a\x1b"));
}

static void test_printable(void **state)
{
    static const struct {
        const char *from, *to;
    } cases[] = {
        {"Größe 12.3 µs a::b", "Größe 12.3 µs a::b"},
        {"\033[31m\a\x7fx\r\ny", " [31m  x  y"},
        {"\xff\xc3x\xed\xa0\x80", "??x???"},
        {"\xc2\x9b"
         "2J\xe2\x80\xae",
         "??2J???"},
        {"::error::x", ": error::x"},
        {"a \n::error::x", "a  : error::x"},
        {"\xc2\xa0::error::x", "\xc2\xa0: error::x"},
        {"a ##[error]x", "a # [error]x"},
        {"cut \xe2\x82", "cut ??"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char text[64];
        strcpy(text, cases[i].from);
        assert_string_equal(text_make_printable(text), cases[i].to);
    }
}

/* ---- results.csv and run.json */

static void test_fields_of_a_run(void **state)
{
    static const struct {
        const char *from, *to, *words;
    } cases[] = {
        {",naive,", ",`touch ran`,", "results.csv:2: column impl: '`touch ran`'"},
        {",naive,", ",\"x\"\"\nsystem \"\"touch ran\",", "results.csv:2: column impl"},
        {",naive,", ",<script>alert(1)</script>,", "results.csv:2: column impl"},
        {",naive,", ",id=\"\"gnuplot,", "results.csv:2: a quote in the middle of a field"},
        {",naive,", ",../x,", "results.csv:2: column impl"},
        {",naive,", ",\033[31m,", "results.csv:2: column impl: ' [31m'"},
        {",sweep,", ",\"a\nb\",", "results.csv:2: column suite"},
        {",net:<b>,", ",net:\x01,", "results.csv:2: column layer"},
        {"\n20", "\n../20", "results.csv:2: column run_id"},
        {",a note,", ",a \"note,", "results.csv:2: a quote in the middle of a field"},
        {",a note,", ",\"a note,", "results.csv:2: a quote that is not closed"},
        {",a note,", ",\"a\" note,", "results.csv:2: a quote in the middle of a field"},
        {",a note,", ",a note,,", "fields: the header has"},
        {"1234.5", "nan", "column median_ns: 'nan'"},
        {"1234.5", "1e300", "column median_ns: '1e300'"},
        {"1234.5", "1e30", "column median_ns: 1e+30 is no time"},
        {"1234.5", "0x1p9", "column median_ns: '0x1p9'"},
        {"1234.5", "-3", "column median_ns: '-3'"},
        {"1234.5", "0", "column median_ns: 0 is no time"},
        {"1234.5", "", "column median_ns: empty"},
        {",2,warm", ",0,warm", "column threads"},
    };
    make_run("run", 1);
    char text[1 << 14];
    read_text("run/results.csv", text, sizeof text);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        write_text("run/results.csv", text);
        change("run/results.csv", cases[i].from, cases[i].to);
        expect_refused("run", cases[i].words);
    }
}

/* What is written as it should be is read, however odd; what a page shows of it is text. */
static void test_page_of_odd_texts(void **state)
{
    make_run("run", 2);
    change("run/run.json", "\"status\": \"complete\"",
           "\"status\": \"<script>\\u001b[2J ::error::forged\", \"machine\": {\"cpu\": \"<img src=x>\"}");
    change("run/results.csv", "a note", "\"<script>, \"\"note\"\"\"");
    assert_int_equal(run("report run"), 0);
    expect_silent("reports/run/index.html", "<script");
    expect_silent("reports/run/index.html", "<img");
    expect_said("reports/run/index.html", "Content-Security-Policy\" content=\"default-src 'none'");
    expect_said("out.txt", "[2J : error::forged");
    expect_silent("out.txt", "\033");
    expect_silent("out.txt", "\n::");
    expect_silent("reports/run/index.html", "\033");
}

/* Control characters, those of two bytes too, line ends and what forges a line of a log: from every text of a run
 * and its rows into whatever is made of them. */
static void test_control_characters(void **state)
{
    static const char *const commands[] = {
        "report run --out page",
        "export run --format bmf",
        "export run --format github-action-benchmark",
        "compare run other --all --out d",
        "export run --format googlebenchmark",
        "trend run other --all --out t",
    };
    static const char *const made[] = {"page/index.html", "d/compare.json", "d/compare.csv", "d/compare.md",
                                       "t/index.html",    "t/trend.csv",    "summary"};
#define EVIL "\\u001b[31m\\r\\n::error::%0A\\u009b2J\\u202e"
    static const char text[] =
        "\"machine\": {\"cpu\": \"" EVIL "\", \"host\": \"" EVIL "\", \"isa_allowed\": \"" EVIL
        "\", \"build\": {\"id\": \"" EVIL "\", \"compiler\": \"" EVIL "\", \"kernels\": \"" EVIL
        "\"}, \"versions\": {\"" EVIL "\": \"" EVIL "\"}}, \"google_benchmark\": \"" EVIL
        "\", \"commit\": \"" EVIL "\", \"started\": \"2026-01-01T00:00:00Z\", \"status\": \"" EVIL "\"";
    char shell[64];
    setenv("GITHUB_ACTIONS", "true", 1);
    setenv("GITHUB_STEP_SUMMARY", "summary", 1);
    for (int i = 0; i < 2; i++) {
        const char *dir = i == 0 ? "run" : "other";
        make_run(dir, 8);
        snprintf(shell, sizeof shell, "%s/run.json", dir);
        change(shell, "\"status\": \"complete\"", text);
        snprintf(shell, sizeof shell, "%s/results.csv", dir);
        change(shell, "a note", "\"\033[31m\r\n::error::x\xc2\x9b\"");
        change(shell, ",net:<b>,", ",net:\x7f\xc2\x9b\xff,");
    }
    for (size_t i = 0; i < sizeof commands / sizeof *commands; i++) {
        int code = run(commands[i]);
        if (code != 0 && code != 5)
            fail_msg("%s: exit code %d", commands[i], code); /* 5: too few for a trend */
        for (int k = 0; k < 2; k++) {
            expect_silent(k == 0 ? "out.txt" : "err.txt", "\033");
            expect_silent(k == 0 ? "out.txt" : "err.txt", "\xc2\x9b");
            expect_silent(k == 0 ? "out.txt" : "err.txt", "\xe2\x80\xae");
            expect_silent(k == 0 ? "out.txt" : "err.txt", "\n::error");
        }
    }
    unsetenv("GITHUB_ACTIONS");
    unsetenv("GITHUB_STEP_SUMMARY");
    for (size_t i = 0; i < sizeof made / sizeof *made; i++) {
        if (access(made[i], F_OK) != 0) fail_msg("%s was not made", made[i]);
        expect_silent(made[i], "\033");
        expect_silent(made[i], "\xc2\x9b");
        expect_silent(made[i], "\xe2\x80\xae");
    }
}

static void test_run_id_is_no_path(void **state)
{
    mkdir("results", 0777);
    write_text("victim", "");
    make_run("results/mine", 1);
    expect_said("results/mine/run.json", "\"run_id\": \"2");
    change("results/mine/run.json", "\"run_id\": \"2", "\"run_id\": \"x/../../victim");
    expect_refused("mine", "run.json: run_id is 'x/../../victim");
    assert_int_equal(run("bench --resume --out results/mine"), 2);
    assert_int_equal(access("victim", F_OK), 0);
    change("results/mine/run.json", "\"run_id\": \"x/../../victim", "\"run_id\": \"other-2");
    assert_int_equal(run("report mine"), 0);
    assert_int_equal(access("reports/mine/index.html", F_OK), 0); /* by the folder, whatever run_id says */
}

/* A run that is continued does not say where else to write. */
static void test_resumed_outputs(void **state)
{
    const char *bench = "bench --impl naive --pass forward --repetitions 1 --min-time 0 --out run "
                        "mb1ic1ih4oc1kh3 -- --benchmark_out=victim --benchmark_filter=naive";
    assert_int_equal(run(bench), 0);
    write_text("victim", "precious");
    assert_int_equal(run("bench --resume --out run"), 0);
    expect_said("err.txt", "--benchmark_out=victim of the run is not written again");
    expect_said("victim", "precious");
    expect_said("run/run.json", "--benchmark_filter=naive");
}

/* Nor which libraries to open. */
static void test_resumed_engines(void **state)
{
    assert_int_equal(
        run("bench --engine other=naive --impl naive,other --pass forward --repetitions 1 --min-time 0 "
            "--out run mb1ic1ih4oc1kh3"),
        0);
    assert_int_equal(run("bench --resume --out run"), 2);
    expect_said("err.txt", "--engine other=naive of the run is not opened again");
    assert_int_equal(run("bench --resume --out run --engine other=naive"), 0);
}

static void test_ceilings(void **state)
{
    make_run("run", 1);
    change("run/run.json", "220.0", "1e308");
    expect_refused("run", "run.json: ceilings: avx2 is 1e+308");
}

static void test_many_rows(void **state)
{
    enum { ROWS = 8000 };
    record_run run;
    conv_error err;
    make_run("run", ROWS);
    clock_t start = clock();
    assert_true(record_load("run", &run, &err));
    double seconds = (double)(clock() - start) / CLOCKS_PER_SEC;
    assert_int_equal(run.count, ROWS);
    char name[CASE_NAME_MAX];
    record_case_name(&run.rows[ROWS / 2], name);
    assert_ptr_equal(record_find(&run, name), &run.rows[ROWS / 2]);
    assert_null(record_find(&run, "no/such/case"));
    record_free(&run);
    if (seconds > 8) fail_msg("%d rows took %.1f s", (int)ROWS, seconds); /* each with each: half a minute */
}

/* ---- trainings */

static void put_training(const char *model, const char *impl, const char *figures)
{
    char text[1024], path[256];
    mkdir("training", 0777);
    write_text("training/run.json", "{\"schema\": 1, \"kind\": \"training\"}");
    snprintf(text, sizeof text, RUNS_COLUMNS_TEXT "\n%s,%s,1,%s,2,250,ok,2,0.03,0.992,2,0.03,5,9600,,,,\n",
             model, figures, impl);
    write_text("training/runs.csv", text);
    snprintf(path, sizeof path, "training/%s", model);
    mkdir(path, 0777);
    snprintf(path, sizeof path, "training/%s/run-1", model);
    if (mkdir(path, 0777) != 0) return;
    strcat(path, "/history.csv");
    write_text(path,
               HISTORY_COLUMNS_TEXT "\n1,0.3,0.9,0.2,0.95,5,9600,0.001\n2,0.2,0.9,0.1,0.97,5,9600,0.001\n");
}

static void test_trainings(void **state)
{
    static const struct {
        const char *model, *impl, *run, *words;
    } cases[] = {
        {"`touch ran`", "best", "1", "runs.csv:2: model is '`touch ran`': not a name"},
        {"\"a\nsystem 'touch ran'\"", "best", "1", "runs.csv:2: model is"},
        {"../../x", "best", "1", "runs.csv:2: model is '../../x'"},
        {"conv", "`touch ran`", "1", "runs.csv:2: impl is"},
        {"conv", "best", "1e300", "runs.csv:2: run is '1e300'"},
        {"conv", "best", "-1", "runs.csv:2: run is '-1'"},
        {"co\"nv", "best", "1", "runs.csv:2: a quote in the middle"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        put_training(cases[i].model, cases[i].impl, cases[i].run);
        expect_refused("training", cases[i].words);
    }
    put_training("conv", "best", "1");
    write_text("training/conv/run-1/history.csv", HISTORY_COLUMNS_TEXT "\n1,1e300,0.9,nan,0.9,5,1,1\n");
    expect_refused("training", "history.csv:2: loss is '1e300'");
    write_text("training/torch.csv", "model,impl,layout,threads,epoch,loss,accuracy,epoch_s,images_per_s\n"
                                     "../x,torch,channels_last,2,1,0.3,0.9,21,2000\n");
    write_text("training/conv/run-1/history.csv", HISTORY_COLUMNS_TEXT "\n");
    expect_refused("training", "torch.csv:2: model is '../x'");
    unlink("training/torch.csv");
    write_text("training/keras.csv",
               "model,impl,layout,threads,epoch\nconv,\"a\n::error::b\",channels_last,2,1\n");
    expect_refused("training", "keras.csv:2: impl is");
}

/* What a user may well call his file arrives in picture and page as he wrote it. */
static void test_odd_model(void **state)
{
    put_training("it's R&D rgb(", "best", "1");
    assert_int_equal(run("report training"), 0);
    expect_said("reports/training/training-loss.svg", "<text>it's R&amp;D rgb(</text>");
    expect_said("reports/training/index.html", "<td>it's R&amp;D rgb(<small>");
}

static void test_names_of_models(void **state)
{
    model *m;
    conv_error err;
    mkdir("data", 0777);
    write_text("layer.json",
               "{\"class_name\": \"Sequential\", \"config\": {\"name\": \"\\u001b[2J\", \"layers\": ["
               "{\"class_name\": \"Flatten\", \"config\": {\"name\": \"a\\u001b[2J\", \"batch_input_shape\": "
               "[null, 28, 28, 1]}}]}}");
    assert_null(m = model_read("layer.json", &err));
    assert_non_null(strstr(err.text, "its name or class is not printable, empty or too long"));
    change("layer.json", "a\\u001b[2J", "a");
    assert_non_null(m = model_read("layer.json", &err));
    assert_string_equal(m->name, " [2J");
    free(m);
}

/* ---- gnuplot */

/* Even a label that slipped through every check is only a label. */
static void test_labels_are_no_script(void **state)
{
    chart c;
    assert_true(chart_begin(&c, "picture", "time", "lines"));
    chart_add_line(&c, "`touch ran` it's @a \\", CHART_INK, 1, 1, true);
    chart_add_point(&c, 1, 1, 1, 1);
    chart_add_point(&c, 2, 2, 2, 2);
    FILE *script = fopen("plots.gp", "w");
    assert_non_null(script);
    assert_true(chart_end(&c, script));
    fclose(script);
    assert_int_equal(system("gnuplot plots.gp 2>err.txt"), 0);
    assert_int_not_equal(access("ran", F_OK), 0);
    expect_said("picture.svg", "`touch ran` it's @a \\");
}

#define IN_FOLDER(test) cmocka_unit_test_setup_teardown(test, enter_folder, leave_folder)

int main(void)
{
    const char *given = getenv("SEPBENCH");
    if (realpath(given != NULL ? given : "build/sepbench", program) == NULL) {
        fprintf(stderr, "test_hostile: %s: build it first\n", given != NULL ? given : "build/sepbench");
        return 1;
    }
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_names),       cmocka_unit_test(test_printable),
        IN_FOLDER(test_fields_of_a_run),    IN_FOLDER(test_page_of_odd_texts),
        IN_FOLDER(test_control_characters), IN_FOLDER(test_run_id_is_no_path),
        IN_FOLDER(test_resumed_outputs),    IN_FOLDER(test_resumed_engines),
        IN_FOLDER(test_ceilings),           IN_FOLDER(test_many_rows),
        IN_FOLDER(test_trainings),          IN_FOLDER(test_odd_model),
        IN_FOLDER(test_names_of_models),    IN_FOLDER(test_labels_are_no_script),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
