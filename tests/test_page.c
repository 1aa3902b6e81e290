/* The page of made-up runs in a browser without a window: page_check.js looks at it at two widths, light and
 * dark. Skipped where there is no Chromium. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "../bench/commands.h"
#include "../harness/cli.h"
#include "folder.h"
#include "made_run.h"
#include "unit.h"

static const char *const browsers[] = {"chromium", "chromium-browser", "google-chrome"};

static const char *browser(void)
{
    char text[16];
    for (size_t i = 0; i < sizeof browsers / sizeof *browsers; i++)
        if (run_shell(text, sizeof text, "command -v %s >/dev/null", browsers[i]) == 0) return browsers[i];
    return NULL;
}

static void copy_into(FILE *out, const char *path)
{
    FILE *in = fopen(path, "r");
    if (in == NULL) fail_msg("cannot read %s", path);
    for (int c; (c = fgetc(in)) != EOF;) fputc(c, out);
    fclose(in);
}

/* A page with frames of the report and the script, beside the report. */
static void put_frame_page(const char *run, const char *script)
{
    FILE *out = fopen("page/check.html", "w");
    assert_non_null(out);
    fputs("<!doctype html><meta charset=utf-8><pre id=result></pre>"
          "<iframe src=index.html width=1280 height=800></iframe>"
          "<iframe src=index.html width=360 height=800></iframe><script type=text/csv id=csv>",
          out);
    copy_into(out, run);
    fputs("</script><script>", out);
    copy_into(out, script);
    fputs("</script>", out);
    fclose(out);
}

/* What page_check.js found in light or dark. */
static void look(const char *with, bool dark)
{
    char *found = malloc(1 << 22);
    assert_non_null(found);
    int code =
        run_shell(found, 1 << 22,
                  "timeout 100 %s --headless --no-sandbox --disable-gpu --disable-dev-shm-usage "
                  "--user-data-dir=$PWD/profile --allow-file-access-from-files --virtual-time-budget=20000 "
                  "--blink-settings=preferredColorScheme=%d --dump-dom \"file://$PWD/page/check.html%s\" "
                  "2>/dev/null | sed -n '/<pre id=\"result\">/,/<\\/pre>/p'",
                  with, dark ? 0 : 1, dark ? "#dark" : "");
    const char *text = strstr(found, "<pre id=\"result\">"), *checked = strstr(found, "checked ");
    if (code != 0 || text == NULL || checked == NULL)
        fail_msg("%s did not look: %d '%.300s'", with, code, found);
    text += strlen("<pre id=\"result\">");
    if (text != checked) fail_msg("%s:\n%.*s", dark ? "dark" : "light", (int)(checked - text), text);
    if (atoi(checked + strlen("checked ")) < 500) fail_msg("too little was there to look at: %s", checked);
    free(found);
}

/* Skips the test where there is none. */
static const char *need_browser(void)
{
    const char *with = browser();
    if (with != NULL) return with;
    print_message("# no chromium, chromium-browser or google-chrome: the page was not looked at\n");
    skip();
    return NULL;
}

static void look_at_page(const char *with, const char *table)
{
    char script[512];
    snprintf(script, sizeof script, "%s", getenv("PAGE_CHECK"));
    put_frame_page(table, script);
    look(with, false);
    look(with, true);
}

static void report_and_look(made *m, const char *name)
{
    char table[600];
    snprintf(table, sizeof table, "%s/results.csv", made_store(m, ".", name));
    const char *with = need_browser();
    char *argv[] = {(char *)"sepbench report", (char *)name, (char *)"--out", (char *)"page", NULL};
    assert_int_equal(cmd_report(4, argv), EXIT_FINE);
    look_at_page(with, table);
}

static void test_whole(void **state)
{
    made m = made_sweep(1, 9);
    report_and_look(&m, "whole");
}

/* Rows without an interval, disturbed ones, one left behind, one wrong: gaps, hollow points and dashes. */
static void test_busy(void **state)
{
    made m = made_sweep(1, 9);
    record_row *row = made_row(&m, "dense/forward/avx512/mb1ic128ih28oc128kh3ph1/nhwc/t2/warm");
    row->median_ns *= 0.5, row->min_ns *= 0.5, row->ci95_low_ns *= 0.5, row->disturbed = 7;
    row = made_row(&m, "separable/forward/fused-avx512/mb1ic1024ih28oc1024kh3ph1/nhwc/t2/warm");
    row->ci95_low_ns = row->ci95_high_ns = NAN, row->repetitions = 3, row->visits = 2;
    row = made_row(&m, "separable/backward/fused-avx512/mb1ic64ih28oc64kh3ph1/nhwc/t2/warm");
    row->ci95_high_ns *= 1.7;
    for (size_t i = 0; i < m.count; i++)
        if (strcmp(m.rows[i].impl, "tiled") == 0) {
            m.rows[i].race = RACE_BEHIND, m.rows[i].repetitions = 3;
            m.rows[i].ci95_low_ns = m.rows[i].ci95_high_ns = NAN;
        }
    made_add(&m, "dense:mb1ic96ih28oc96kh3ph1", CONV_FORWARD, "tiled", 1, 9)->status = CASE_WRONG;
    report_and_look(&m, "busy");
}

static void test_networks_and_map(void **state)
{
    made m = {0};
    for (int spatial = 7; spatial <= 56; spatial *= 2)
        for (int channels = 32; channels <= 1024; channels *= 2)
            for (int variant = 0; variant <= CONV_SEPARABLE; variant += CONV_SEPARABLE) {
                char text[128];
                made_problem(variant, channels, spatial, 1, text, sizeof text);
                double ns = 30.0 * channels * spatial * spatial * (variant == CONV_DENSE ? channels / 60.0 : 1);
                strcpy(made_add(&m, text, CONV_FORWARD, "avx512", ns, spatial == 14 ? 3 : 9)->suite, "map");
            }
    made_add(&m, "mb2ic256ih14oc256oh14kh3ph1n\"resnet50:res4_3x3*6+other:x*2\"", CONV_FORWARD, "avx512", 1e6,
             9);
    made_add(&m, "mb2ic256ih14oc1024oh14kh1n\"resnet50:res4_up\"", CONV_FORWARD, "avx512", 5e5, 9);
    made_add(&m, "separable:mb2ic256ih14oc256oh14kh3ph1n\"resnet50@separable:res4_3x3*6\"", CONV_FORWARD,
             "avx512", 2e5, 9);
    report_and_look(&m, "networks");
}

/* Depthwise of the suite why: TensorFlow, what is like it, and ours. */
static void test_staircase(void **state)
{
    static const struct {
        const char *impl;
        double per_channel;
    } rows[] = {
        {"tensorflow", 520},       {"tf-like", 500},        {"tf-like+fma", 510}, {"tf-like+nocopy", 300},
        {"tf-like+registers", 90}, {"tf-like+threads", 70}, {"avx2", 40},         {"avx512", 30}};
    made m = {0};
    for (int channels = 32; channels <= 2048; channels *= 2)
        for (int pass = 0; pass < CONV_PASS_COUNT; pass++)
            for (size_t i = 0; i < sizeof rows / sizeof *rows && pass != CONV_BACKWARD; i++) {
                char text[128];
                made_problem(CONV_DEPTHWISE, channels, 28, 1, text, sizeof text);
                double ns = channels * rows[i].per_channel + (i == 0 ? 9000 : 100);
                strcpy(made_add(&m, text, (conv_pass)pass, rows[i].impl, ns, 9)->suite, "why");
            }
    report_and_look(&m, "staircase");
}

/* As many as a picture has lines, and long texts; one loses at the smallest channel counts. */
static void test_machines(void **state)
{
    enum { MACHINES = 16 };
    const char *with = need_browser();
    char hosts[MACHINES][32], *argv[MACHINES + 4] = {(char *)"sepbench report"};
    int argc = 1;
    for (int i = 0; i < MACHINES; i++) {
        made m = made_sweep(1 + 0.2 * i, 9);
        for (size_t k = 0; i == 0 && k < m.count; k++)
            if (m.rows[k].problem.variant == CONV_SEPARABLE && m.rows[k].problem.ic < 128)
                m.rows[k].median_ns *= 9, m.rows[k].ci95_low_ns *= 9, m.rows[k].ci95_high_ns *= 9;
        snprintf(hosts[i], sizeof hosts[i], "machine-of-group-%02d", i);
        made_store_on(&m, hosts[i],
                      json_pack("{s:s, s:s, s:s, s:{s:s}}", "cpu", "An Example CPU of a Long Name @ 2.70GHz",
                                "host", hosts[i], "isa_allowed", "avx512", "build", "flags",
                                i % 2 == 0 ? "-std=gnu17 -O3 -g1 -fno-math-errno -fno-trapping-math" : "-O2"));
        argv[argc++] = hosts[i];
    }
    argv[argc++] = (char *)"--out=page";
    assert_int_equal(cmd_report(argc, argv), EXIT_FINE);
    look_at_page(with, "machine-of-group-00/results.csv");
}

int main(void)
{
    char path[4096], *whole;
    snprintf(path, sizeof path, "%.*spage_check.js", (int)(strrchr(__FILE__, '/') + 1 - __FILE__), __FILE__);
    whole = realpath(path, NULL); /* the tests change the folder */
    if (whole == NULL) return 1;
    setenv("PAGE_CHECK", whole, 1);
    free(whole);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_whole, enter_folder, leave_folder),
        cmocka_unit_test_setup_teardown(test_busy, enter_folder, leave_folder),
        cmocka_unit_test_setup_teardown(test_networks_and_map, enter_folder, leave_folder),
        cmocka_unit_test_setup_teardown(test_staircase, enter_folder, leave_folder),
        cmocka_unit_test_setup_teardown(test_machines, enter_folder, leave_folder),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
