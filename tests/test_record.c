/* The results store: columns, round trips, interruption, resumption, and the words for what cannot be read. */
#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "../harness/record/csv.h"
#include "../harness/record/record.h"
#include "../kernels/problem.h"
#include "folder.h"
#include "unit.h"

/* The schema, as the design fixes it. */
static const char columns[] =
    "run_id,case,suite,layer,variant,pass,impl,isa,layout,bias,post_op,mb,ic,oc,id,ih,iw,od,oh,ow,kd,kh,kw,"
    "stride_h,stride_w,dilation_h,dilation_w,pad_top,pad_left,pad_bottom,pad_right,groups,depth_multiplier,"
    "threads,"
    "cache,status,reason,repetitions,median_ns,ci95_low_ns,ci95_high_ns,min_ns,mad_ns,pack_ns,plan_ns,"
    "scratch_bytes,flops,bytes_min,gflops,gbps,flop_per_byte,percent_peak,bound,max_abs_error,error_bound,"
    "repro,limit,limit_ns,percent_limit,barrier_ns,visits,disturbed,choice_ns,race,moved,strategy,model_ns,"
    "stride_d,dilation_d,pad_front,pad_back";

static char root[4096]; /* the repository */

static record_row make_row(const char *problem, const char *impl, case_status status)
{
    record_row row = {.pass = CONV_FORWARD, .threads = 2, .isa = CPU_AVX2};
    conv_error err;
    if (problem_parse(problem, &row.problem, row.layer, &err) != CONV_OK) fail_msg("%s", err.text);
    record_clear_measured(&row);
    strcpy(row.impl, impl);
    strcpy(row.suite, "test");
    row.status = status;
    if (status == CASE_OK) {
        row.repetitions = 9;
        row.median_ns = 1234.5;
        row.min_ns = 1200;
    }
    return row;
}

static record_store *open_store(const char *dir, bool resume)
{
    conv_error err = {""};
    json_t *run = json_pack("{s:s}", "kind", "bench");
    record_store *s = record_open(dir, resume, run, &err);
    json_decref(run);
    if (s == NULL) fail_msg("%s", err.text);
    return s;
}

static void write_row(record_store *s, const record_row *row)
{
    conv_error err;
    if (!record_write(s, row, &err)) fail_msg("%s", err.text);
}

static record_run load(const char *dir)
{
    record_run run;
    conv_error err;
    if (!record_load(dir, &run, &err)) fail_msg("%s", err.text);
    return run;
}

static char *load_text(const char *path)
{
    static char text[1 << 16];
    FILE *in = fopen(path, "r");
    if (in == NULL) fail_msg("%s: %s", path, strerror(errno));
    text[fread(text, 1, sizeof text - 1, in)] = '\0';
    fclose(in);
    return text;
}

static void put_text(const char *path, const char *mode, const char *text)
{
    FILE *out = fopen(path, mode);
    assert_non_null(out);
    fputs(text, out);
    fclose(out);
}

/* ---- */

static void test_columns(void **state)
{
    record_close(open_store("run", false));
    char *text = load_text("run/results.csv");
    assert_int_equal(strlen(text), strlen(columns) + 1);
    assert_memory_equal(text, columns, strlen(columns));
}

static void test_readme_documents_every_column(void **state)
{
    char path[4200], quoted[64];
    snprintf(path, sizeof path, "%s/results/README.md", root);
    const char *text = load_text(path);
    for (size_t i = 0; i < record_column_count; i++) {
        snprintf(quoted, sizeof quoted, "`%s`", record_column_name(i));
        if (strstr(text, quoted) == NULL) fail_msg("results/README.md does not document column %s", quoted);
    }
}

/* A file from before the last columns were added. */
static void test_run_of_an_earlier_version(void **state)
{
    record_store *s = open_store("earlier", false);
    record_row row = make_row("mb1ic64id8ih28iw28oc64kd3kh3kw3sd2sh1sw1pd1ph1pw1", "avx2", CASE_OK);
    write_row(s, &row);
    record_close(s);
    char *text = load_text("earlier/results.csv"), *later = strstr(text, ",limit,");
    assert_non_null(later);
    char *end = strchr(later, '\n'), *last = strstr(end, "avx2 --threads 2,,,,");
    assert_non_null(last);
    memcpy(strstr(last, ",,,,"), "\n", 2);
    memmove(later, end, strlen(end) + 1);
    put_text("earlier/results.csv", "w", text);
    record_run run = load("earlier");
    assert_int_equal(run.count, 1);
    assert_true(run.rows[0].limit[0] == '\0' && isnan(run.rows[0].limit_ns) && run.rows[0].median_ns > 1000);
    assert_memory_equal(&run.rows[0].problem.axis, &row.problem.axis, sizeof row.problem.axis);
    record_free(&run);
}

static void test_names(void **state)
{
    char name[CASE_NAME_MAX], repro[CASE_NAME_MAX + 128];
    record_row row = make_row("separable:mb1ic64ih28oc64kh3ph1", "fused-avx512", CASE_OK);
    assert_string_equal(record_case_name(&row, name),
                        "separable/forward/fused-avx512/mb1ic64ih28oc64kh3ph1/nhwc/t2/warm");
    assert_string_equal(
        record_repro(&row, repro, sizeof repro),
        "sepbench bench separable:mb1ic64ih28oc64kh3ph1 --pass forward --impl fused-avx512 --threads 2");
    row.problem.layout = CONV_NCHW;
    row.problem.bias = true;
    row.problem.post_op = CONV_POST_RELU6;
    row.cache = CACHE_COLD;
    assert_string_equal(record_case_name(&row, name),
                        "separable/forward/fused-avx512/mb1ic64ih28oc64kh3ph1/nchw+bias+relu6/t2/cold");
    assert_non_null(
        strstr(record_repro(&row, repro, sizeof repro), "--layout nchw --bias --relu6 --cache cold"));
}

static void test_round_trip(void **state)
{
    record_row row = make_row("g1mb2ic6ih9iw11oc8oh4ow5kh3kw2sh2sw2ph1pw0dh1n\"net:a,\"", "im2col", CASE_OK);
    row.problem.bias = true;
    strcpy(row.reason, "a \"quoted\" note, with a comma\nand a line");
    row.mad_ns = 0.125;
    row.scratch_bytes = 4096;
    record_row bare = make_row("mb1ic8id5ih6iw7oc8kd3kh3kw1pd1sd2", "naive", CASE_REFUSED);
    record_store *s = open_store("run", false);
    write_row(s, &row);
    write_row(s, &bare);
    record_close(s);

    record_run run = load("run");
    assert_int_equal(run.count, 2);
    const record_row *got = &run.rows[0];
    assert_string_equal(got->run_id, run.run_id);
    assert_string_equal(got->layer, row.layer);
    assert_string_equal(got->reason, "a \"quoted\" note, with a comma and a line"); /* made printable */
    assert_memory_equal(&got->problem.axis, &row.problem.axis, sizeof row.problem.axis);
    assert_true(got->problem.bias && got->threads == 2 && got->isa == CPU_AVX2 && got->repetitions == 9);
    assert_true(got->median_ns == 1234.5 && got->mad_ns == 0.125 && got->scratch_bytes == 4096);
    assert_true(isnan(got->ci95_low_ns) && isnan(run.rows[1].median_ns));
    assert_true(run.rows[1].repetitions < 0 && run.rows[1].scratch_bytes < 0);
    assert_memory_equal(&run.rows[1].problem.axis, &bare.problem.axis, sizeof bare.problem.axis);
    assert_int_equal(run.rows[1].problem.rank, 3);
    record_free(&run);
}

static void test_resume_keeps_final_rows(void **state)
{
    char name[CASE_NAME_MAX];
    conv_error err;
    record_row fine = make_row("mb1ic8ih8oc8kh3ph1", "naive", CASE_OK);
    record_row skipped = make_row("mb1ic8ih8oc8kh3ph1", "tiled", CASE_SKIPPED);
    record_store *s = open_store("run", false);
    write_row(s, &fine);
    write_row(s, &skipped);
    const record_sample one = {.ns = 1234.5,
                               .iterations = 10,
                               .visit = 2,
                               .seconds = 4.5,
                               .use = SAMPLE_REPORTS,
                               .marks = MARK_WAITED | MARK_SLOWED};
    assert_true(record_write_sample(s, record_case_name(&fine, name), 0, &one, &err));
    assert_true(record_write_sample(s, record_case_name(&skipped, name), 0, &one, &err));
    record_close(s);
    put_text("run/results.csv", "a", "torn,dense/forward/av"); /* as after kill -9 */
    put_text("run/samples.csv", "a", "dense/forw");

    record_run run = load("run");
    assert_int_equal(run.count, 2);
    record_free(&run);

    s = open_store("run", true);
    assert_true(record_has(s, record_case_name(&fine, name)));
    assert_false(record_has(s, record_case_name(&skipped, name)));
    assert_null(strstr(load_text("run/results.csv"), "torn"));
    assert_null(strstr(load_text("run/samples.csv"), "tiled"));
    assert_non_null(strstr(load_text("run/samples.csv"), "naive"));
    skipped.status = CASE_OK;
    skipped.median_ns = skipped.min_ns = 77;
    skipped.repetitions = 1;
    write_row(s, &skipped);
    run = load("run"); /* while it is written: the later row counts */
    assert_int_equal(run.count, 2);
    record_free(&run);
    record_close(s);

    char *text = load_text("run/results.csv");
    assert_null(strstr(text, "skipped"));
    run = load("run");
    assert_int_equal(run.count, 2);
    assert_true(run.rows[1].status == CASE_OK && run.rows[1].median_ns == 77);
    record_free(&run);
}

/* Repetitions come back as they were written; a file that an older version wrote has none to go on from. */
static void test_samples(void **state)
{
    char name[CASE_NAME_MAX];
    conv_error err;
    size_t count;
    record_row row = make_row("mb1ic8ih8oc8kh3ph1", "naive", CASE_OK);
    record_store *s = open_store("run", false);
    const record_sample before[] = {{1234.5, 10, 0, 0.25, SAMPLE_CHOOSES, 0, 190},
                                    {1200, 11, 3, 40.5, SAMPLE_REPORTS, MARK_WAITED | MARK_SLOWED, NAN}};
    write_row(s, &row);
    for (int i = 0; i < 2; i++)
        assert_true(record_write_sample(s, record_case_name(&row, name), i, &before[i], &err));
    record_close(s);
    record_samples *all = record_samples_load("run", &err);
    assert_non_null(all);
    const record_sample *found = record_samples_of(all, name, &count);
    assert_int_equal(count, 2);
    for (size_t i = 0; i < count; i++)
        assert_true(found[i].ns == before[i].ns && found[i].iterations == before[i].iterations &&
                    found[i].visit == before[i].visit && found[i].seconds == before[i].seconds &&
                    found[i].use == before[i].use && found[i].marks == before[i].marks);
    assert_true(found[0].handover_ns == 190 && isnan(found[1].handover_ns));
    assert_null(record_samples_of(all, "dense/forward/nobody", &count));
    record_samples_free(all);

    put_text("run/samples.csv", "a", "dense/x,0,10,1e3,0,1.0,report,waited+tired,\n");
    assert_null(record_samples_load("run", &err));
    assert_non_null(strstr(err.text, "samples.csv:4: column marks: 'waited+tired' is not allowed there"));
    put_text("run/samples.csv", "w", "case,repetition,iterations,ns_per_iteration\ndense/x,0,10,1e3\n");
    all = record_samples_load("run", &err);
    assert_non_null(all);
    assert_null(record_samples_of(all, "dense/x", &count));
    record_samples_free(all);
}

/* results.csv of a version that did not have the columns after repro yet. */
static void test_older_columns(void **state)
{
    record_row row = make_row("mb1ic8ih8oc8kh3ph1", "naive", CASE_OK);
    row.visits = 9;
    row.race = RACE_NEAR;
    record_store *s = open_store("run", false);
    write_row(s, &row);
    record_close(s);
    record_run run = load("run");
    assert_true(run.rows[0].visits == 9 && run.rows[0].race == RACE_NEAR);
    record_free(&run);
    char output[64];
    run_shell(output, sizeof output,
              "sed -i 's/,visits,disturbed,choice_ns,race.*//; s/,9,[^,]*,[^,]*,near,.*$//' run/results.csv");
    assert_null(strstr(load_text("run/results.csv"), "race"));
    run = load("run");
    assert_true(run.count == 1 && run.rows[0].visits < 0 && isnan(run.rows[0].choice_ns));
    assert_int_equal(run.rows[0].race, RACE_NONE);
    record_free(&run);
}

static void test_run_ids_differ(void **state)
{
    record_store *a = open_store(NULL, false), *b = open_store(NULL, false);
    assert_string_not_equal(record_run_id(a), record_run_id(b));
    assert_string_not_equal(record_dir(a), record_dir(b));
    assert_int_not_equal(access("results/latest", F_OK), 0);
    record_row row = make_row("mb1ic8ih8oc8kh3ph1", "naive", CASE_OK);
    write_row(b, &row);
    record_run run = load(NULL);
    assert_string_equal(run.run_id, record_run_id(b));
    record_free(&run);
    record_close(a);
    record_close(b);
}

/* Expects record_open to fail with a text that holds `words`. */
static void expect_refusal(const char *dir, bool resume, const char *words)
{
    conv_error err = {""};
    json_t *run = json_object();
    assert_null(record_open(dir, resume, run, &err));
    json_decref(run);
    if (strstr(err.text, words) == NULL) fail_msg("'%s' does not say '%s'", err.text, words);
}

static void expect_unreadable(const char *dir, const char *words)
{
    record_run run;
    conv_error err = {""};
    assert_false(record_load(dir, &run, &err));
    if (strstr(err.text, words) == NULL) fail_msg("'%s' does not say '%s'", err.text, words);
}

static void test_folders_that_cannot_be_used(void **state)
{
    put_text("file", "w", "x");
    expect_refusal("file/run", false, "file: Not a directory");
    mkdir("other", 0777);
    put_text("other/letter", "w", "x");
    expect_refusal("other", false, "not an empty folder");
    expect_refusal("nowhere", true, "no run to resume");
    mkdir("empty", 0777);
    record_store *s = open_store("empty", false);
    expect_refusal("empty", true, "another sepbench is writing");
    record_close(s);
    expect_refusal("empty", false, "holds a run already");
}

static void test_unreadable_runs(void **state)
{
    char text[1 << 16], changed[1 << 16];
    record_row row = make_row("mb1ic8id8oc8kd3sd2pd1", "naive", CASE_OK);
    record_store *s = open_store("run", false);
    write_row(s, &row);
    record_close(s);
    strcpy(text, load_text("run/results.csv"));

    static const struct {
        const char *from, *to, *words;
    } cases[] = {
        {",naive,", ",naive,x,", "fields: the header has"},
        {"dense,forward", "dense,upward", "results.csv:2: column pass: 'upward'"},
        {"1234.5", "soon", "results.csv:2: column median_ns: 'soon'"},
        {"median_ns", "median", "results.csv:1: no column 'median_ns'"},
        {"mb1ic8id8oc8kd3sd2pd1/nhwc", "mb1ic9id8oc8kd3sd2pd1/nhwc", "results.csv:2: column ic disagrees"},
        {",2,1,1,0\n", ",1,1,1,0\n", "results.csv:2: column stride_d disagrees"},
        {",2,1,1,0\n", ",2,1,,0\n", "results.csv:2: column pad_front: ''"},
        {",naive,", ",tiled,",
         "results.csv:2: case 'dense/forward/naive/mb1ic8id8oc8kd3sd2pd1/nhwc/t2/warm': the columns"},
        {"/t2/", "/t3/",
         "results.csv:2: case 'dense/forward/naive/mb1ic8id8oc8kd3sd2pd1/nhwc/t3/warm': the columns"},
        {",1234.5,", ",1100,", "results.csv:2: column median_ns: 1100 is outside"},
        {",1200,", ",,", "results.csv:2: column min_ns: empty, but the status is ok"},
        {"run_id,", "run_id;", "results.csv:1: no column 'run_id'"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char *at = strstr(text, cases[i].from);
        assert_non_null(at);
        snprintf(changed, sizeof changed, "%.*s%s%s", (int)(at - text), text, cases[i].to,
                 at + strlen(cases[i].from));
        put_text("run/results.csv", "w", changed);
        expect_unreadable("run", cases[i].words);
    }
    put_text("run/results.csv", "w", "");
    expect_unreadable("run", "results.csv:1: no header line");
    put_text("run/run.json", "w", "{\"schema\": 99, \"run_id\": \"x\"}");
    expect_unreadable("run", "run.json: schema is 99: this program reads schema 1");
    expect_refusal("run", true, "schema is 99");
    put_text("run/run.json", "w", "{");
    expect_unreadable("run", "run.json:1: not JSON");
    expect_unreadable("nowhere", "nowhere: No such file");
}

/* A file may not grow past a limit: what a full disk looks like to write(2). */
static void limit_files(rlim_t bytes)
{
    struct rlimit limit;
    getrlimit(RLIMIT_FSIZE, &limit);
    limit.rlim_cur = bytes < limit.rlim_max ? bytes : limit.rlim_max;
    setrlimit(RLIMIT_FSIZE, &limit);
}

static void test_full_disk(void **state)
{
    signal(SIGXFSZ, SIG_IGN);
    limit_files(100);
    expect_refusal("run", false, "File too large");
    limit_files(RLIM_INFINITY);
    assert_int_not_equal(access("run", F_OK), 0); /* nothing left that looks like a run */

    record_store *s = open_store("run", false);
    record_row row = make_row("mb1ic8ih8oc8kh3ph1", "naive", CASE_OK);
    write_row(s, &row);
    struct stat before, after;
    stat("run/results.csv", &before);
    limit_files((rlim_t)before.st_size + 20);
    conv_error err = {""};
    strcpy(row.impl, "tiled");
    assert_false(record_write(s, &row, &err));
    assert_non_null(strstr(err.text, "run/results.csv: File too large"));
    limit_files(RLIM_INFINITY);
    stat("run/results.csv", &after);
    assert_int_equal(before.st_size, after.st_size); /* no torn line */
    record_close(s);
    record_run run = load("run");
    assert_int_equal(run.count, 1);
    record_free(&run);
}

static void test_csv_reader(void **state)
{
    static const char text[] = "a,b\r\n\"x,\"\"y\"\"\n2\",\n,last\ntorn,li";
    csv_reader r;
    csv_open(&r, text, sizeof text - 1);
    assert_true(csv_next(&r) && r.count == 2 && r.line == 1);
    assert_string_equal(r.field[1], "b");
    assert_true(csv_next(&r) && r.count == 2 && r.line == 2);
    assert_string_equal(r.field[0], "x,\"y\"\n2");
    assert_string_equal(r.field[1], "");
    assert_true(csv_next(&r) && r.line == 4);
    assert_string_equal(r.field[1], "last");
    assert_false(csv_next(&r));
    csv_close(&r);
}

int main(void)
{
    if (getcwd(root, sizeof root) == NULL) return 1;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_columns, enter_folder, leave_folder),
        cmocka_unit_test(test_readme_documents_every_column),
        cmocka_unit_test_setup_teardown(test_run_of_an_earlier_version, enter_folder, leave_folder),
        cmocka_unit_test(test_names),
        cmocka_unit_test_setup_teardown(test_round_trip, enter_folder, leave_folder),
        cmocka_unit_test_setup_teardown(test_resume_keeps_final_rows, enter_folder, leave_folder),
        cmocka_unit_test_setup_teardown(test_samples, enter_folder, leave_folder),
        cmocka_unit_test_setup_teardown(test_older_columns, enter_folder, leave_folder),
        cmocka_unit_test_setup_teardown(test_run_ids_differ, enter_folder, leave_folder),
        cmocka_unit_test_setup_teardown(test_folders_that_cannot_be_used, enter_folder, leave_folder),
        cmocka_unit_test_setup_teardown(test_unreadable_runs, enter_folder, leave_folder),
        cmocka_unit_test_setup_teardown(test_full_disk, enter_folder, leave_folder),
        cmocka_unit_test(test_csv_reader),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
