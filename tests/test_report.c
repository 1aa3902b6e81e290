/* The report of made-up runs: what it chooses, what it says, and that the page stands on its own. */
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "../bench/bench.h"
#include "../bench/commands.h"
#include "../harness/cli.h"
#include "../harness/report/chart.h"
#include "../harness/report/report.h"
#include "../harness/train/history.h"
#include "made_run.h"
#include "unit.h"

static char folder[] = "/tmp/sepbench-report-XXXXXX";

static int report(const char *run, const char *more, const char *out)
{
    char *argv[6] = {(char *)"sepbench report", (char *)run, (char *)"--out", (char *)out, (char *)more, NULL};
    return cmd_report(more ? 5 : 4, argv);
}

static char *slurp(const char *dir, const char *name)
{
    char path[512];
    snprintf(path, sizeof path, "%s/%s", dir, name);
    FILE *in = fopen(path, "r");
    assert_non_null(in);
    char *text = NULL;
    size_t size = 0;
    if (getdelim(&text, &size, 0, in) < 0) fail_msg("%s is empty", path);
    fclose(in);
    return text;
}

/* ---- choosing */

static void test_best(void **state)
{
    made m = {0};
    const char *dense = "dense:mb1ic64ih28oc64kh3ph1";
    made_add(&m, dense, CONV_FORWARD, "avx2", 100, 9);
    made_add(&m, dense, CONV_FORWARD, "avx512", 99, 9)->ci95_high_ns = 1100; /* the median decides */
    made_add(&m, dense, CONV_FORWARD, "winograd-avx512", 50, 9);
    made_add(&m, dense, CONV_FORWARD, "onednn", 90, 9);
    made_add(&m, dense, CONV_FORWARD, "tiled", 10, 9)->status = CASE_WRONG;
    record_run run = made_run(&m);
    report_data data;
    conv_error err;
    assert_true(report_data_create(&run, &data, &err));
    assert_int_equal(data.setting_count, 1);
    assert_int_equal(data.settings[0].count, 1);
    const report_point *q = &data.settings[0].points[0];
    assert_string_equal(report_best(&data, q, CONV_DENSE, BEST_EXACT)->impl, "onednn");
    assert_string_equal(report_best(&data, q, CONV_DENSE, (best_filter){.ours = true})->impl, "avx512");
    assert_string_equal(report_best(&data, q, CONV_DENSE, (best_filter){.ours = true, .inexact = true})->impl,
                        "winograd-avx512");
    assert_string_equal(
        report_best(&data, q, CONV_DENSE, (best_filter){.peers = true, .engine = "onednn"})->impl, "onednn");
    assert_null(report_best(&data, q, CONV_SEPARABLE, BEST_EXACT));
    report_data_destroy(&data);
    made_end(&run, &m);
}

/* Each engine against itself, second copies of --engine under their own names: onednn3's rows are not
 * onednn's. */
static void test_engines_against_themselves(void **state)
{
    static const struct {
        const char *impl;
        double dense, separable; /* 0: none */
    } times[] = {{"avx512", 100, 20},   {"onednn", 200, 50},       {"onednn-any", 190, 55},
                 {"onednn3", 300, 400}, {"onednn3-any", 310, 390}, {"tensorflow", 400, 401},
                 {"openblas", 130, 0}};
    made m = {0};
    for (size_t i = 0; i < sizeof times / sizeof *times; i++) {
        made_add(&m, "dense:mb1ic64ih28oc64kh3ph1", CONV_FORWARD, times[i].impl, times[i].dense, 9);
        if (times[i].separable > 0)
            made_add(&m, "separable:mb1ic64ih28oc64kh3ph1", CONV_FORWARD, times[i].impl, times[i].separable, 9);
    }
    record_run run = made_run(&m);
    json_object_set_new(
        run.run, "engines",
        json_pack("{s:{s:s, s:s}, s:{}}", "onednn3", "kind", "onednn", "path", "/opt/onednn", "tensorflow"));
    json_object_set_new(json_object_get(run.run, "machine"), "versions",
                        json_pack("{s:s}", "onednn3", "oneDNN 3.2.0"));
    report_data data;
    conv_error err;
    assert_true(report_data_create(&run, &data, &err));
    static const char *const engines[] = {"onednn", "openblas", "tensorflow", "onednn3"};
    assert_int_equal(data.engine_count, sizeof engines / sizeof *engines);
    for (int e = 0; e < data.engine_count; e++) assert_string_equal(data.engines[e], engines[e]);
    verdict v;
    verdict_create(&data, &v);
    static const char *const says[] = {
        "onednn: its own separable convolution is faster than its own dense one at 64 channels forward: 3.8 "
        "times as fast.",
        "tensorflow: its own separable convolution is faster than its own dense one at no channel count "
        "forward: 1.00 times as fast.",
        "onednn3 (oneDNN 3.2.0): its own separable convolution is faster than its own dense one at no channel "
        "count forward: 0.77 times as fast."};
    assert_int_equal(v.count, sizeof says / sizeof *says); /* openblas has one side only */
    for (size_t i = 0; i < v.count; i++) assert_string_equal(v.lines[i], says[i]);
    verdict_destroy(&v);
    report_data_destroy(&data);
    made_end(&run, &m);
}

/* The table that bench prints and the page call the same row the fastest. */
static void test_one_rule_of_fastest(void **state)
{
    made m = {0};
    char *table = NULL;
    size_t size = 0;
    made_add(&m, "dense:mb1ic64ih28oc64kh3ph1", CONV_FORWARD, "onednn", 100, 9);
    made_add(&m, "dense:mb1ic64ih28oc64kh3ph1", CONV_FORWARD, "avx512", 90, 9)->ci95_high_ns = 2000;
    made_add(&m, "dense:mb1ic64ih28oc64kh3ph1", CONV_FORWARD, "tiled", 10, 9)->status = CASE_FAILED;
    assert_true(record_faster(&m.rows[1], &m.rows[0]) && !record_faster(&m.rows[0], &m.rows[1]));
    assert_true(record_faster(&m.rows[0], NULL) && !record_faster(&m.rows[2], NULL));
    FILE *out = open_memstream(&table, &size);
    bench_summary(out, m.rows, m.count);
    fclose(out);
    assert_non_null(strstr(table, "avx512"));
    assert_null(strstr(table, "onednn"));
    free(table);
    record_run run = made_run(&m);
    report_data data;
    conv_error err;
    assert_true(report_data_create(&run, &data, &err));
    assert_string_equal(report_best(&data, &data.settings[0].points[0], CONV_DENSE, BEST_EXACT)->impl,
                        "avx512");
    report_data_destroy(&data);
    made_end(&run, &m);
}

/* Long names of problems stay whole: what tells two of three dimensions apart stands last. */
static void test_long_names(void **state)
{
    made m = {0};
    char *table = NULL;
    size_t size = 0;
    made_add(&m, "separable:mb1ic32id8ih9iw10oc48kd3kh3kw3sd2pd1ph1pw1", CONV_FORWARD, "avx2", 100, 9);
    made_add(&m, "separable:mb1ic32id8ih9iw10oc48kd3kh3kw3pd1ph1pw1", CONV_FORWARD, "avx2", 100, 9);
    FILE *out = open_memstream(&table, &size);
    bench_summary(out, m.rows, m.count);
    fclose(out);
    assert_non_null(strstr(table, "separable/forward/mb1ic32id8ih9iw10oc48kd3kh3kw3sd2pd1ph1pw1/t2\n"));
    assert_non_null(strstr(table, "separable/forward/mb1ic32id8ih9iw10oc48kd3kh3kw3pd1ph1pw1/t2\n"));
    for (const char *line = table; *line != '\0'; line += strcspn(line, "\n") + 1)
        assert_true(strcspn(line, "\n") <= 80);
    free(table);
    free(m.rows);
}

/* A map of three dimensions says so at its axis and below its title. */
static void test_map_of_volumes(void **state)
{
    made m = {0};
    for (int size = 8; size <= 16; size *= 2)
        for (int channels = 32; channels <= 64; channels *= 2)
            for (int separable = 0; separable < 2; separable++) {
                char text[128];
                snprintf(text, sizeof text, "%s:mb1ic%did4ih%diw%doc%dkd3kh3kw3pd1ph1pw1",
                         separable ? "separable" : "dense", channels, size, size, channels);
                made_add(&m, text, CONV_FORWARD, "avx512", separable ? 1000 : 5000, 9);
            }
    char out[256];
    snprintf(out, sizeof out, "%s/volumes-page", folder);
    assert_int_equal(report(made_store(&m, folder, "volumes"), NULL, out), EXIT_FINE);
    char *map = slurp(out, "map-forward-1.svg");
    assert_non_null(strstr(map, "4x16x16"));
    assert_non_null(strstr(map, "3x3x3 kernel"));
    free(map);
}

static void test_overlap_is_no_difference(void **state)
{
    record_row slow = {.median_ns = 102, .ci95_low_ns = 99, .ci95_high_ns = 104, .visits = RULE_VISITS};
    record_row fast = {.median_ns = 100, .ci95_low_ns = 98, .ci95_high_ns = 101, .visits = RULE_VISITS};
    conv_error err;
    assert_int_equal(problem_parse("mb1ic8ih8oc8kh3ph1", &slow.problem, NULL, &err), CONV_OK);
    fast.problem = slow.problem;
    report_ratio p;
    assert_true(report_compare(&slow, &fast, &p));
    assert_int_equal(p.times.outcome, RATIO_SAME);
    slow.ci95_low_ns = 101.5;
    assert_true(report_compare(&slow, &fast, &p));
    assert_int_equal(p.times.outcome, RATIO_FASTER);
    assert_true(report_compare(&fast, &slow, &p));
    assert_int_equal(p.times.outcome, RATIO_SLOWER);
    fast.ci95_high_ns = NAN;
    assert_true(report_compare(&slow, &fast, &p));
    assert_int_equal(p.times.outcome, RATIO_FEW);
    assert_false(report_compare(&slow, NULL, &p));
}

static void test_labels_apart(void **state)
{
    double at[] = {0.5, 0.51, 0.1, 0.5, 0.99, 1.0};
    chart_spread(at, 6, 0.06);
    for (int i = 0; i < 6; i++) {
        assert_true(at[i] > -1e-9 && at[i] < 1 + 1e-9);
        for (int j = 0; j < i; j++) assert_true(fabs(at[i] - at[j]) > 0.06 - 1e-9);
    }
    assert_true(fabs(at[2] - 0.1) < 1e-9);
}

/* ---- words */

static void expect_verdict(made *m, const char *headline, const char *caution)
{
    record_run run = made_run(m);
    report_data data;
    verdict v;
    conv_error err;
    assert_true(report_data_create(&run, &data, &err));
    verdict_create(&data, &v);
    if (strstr(v.headline, headline) == NULL) fail_msg("'%s' is not in '%s'", headline, v.headline);
    bool found = caution == NULL;
    for (size_t i = 0; i < v.caution_count; i++) found = found || strstr(v.cautions[i], caution) != NULL;
    if (!found) fail_msg("no caution '%s'", caution);
    verdict_destroy(&v);
    report_data_destroy(&data);
    made_end(&run, m);
}

static void test_verdict_yes(void **state)
{
    made m = made_sweep(1, 9);
    expect_verdict(&m, "Yes: the separable convolution is faster at every channel count from 32 to 2048: ",
                   "the load is 1.4");
}

static void test_verdict_no(void **state)
{
    made m = made_sweep(20, 9);
    expect_verdict(&m, "No: the separable convolution is faster at no channel count: 0.", NULL);
}

static void test_verdict_without_intervals(void **state)
{
    made m = made_sweep(1, 3);
    expect_verdict(&m, "This run does not say, at any channel count: too few repetitions", "times are rough");
}

static void test_verdict_from_some_channels_on(void **state)
{
    made m = {0};
    for (int channels = 32; channels <= 128; channels *= 2) {
        char text[128];
        made_problem(CONV_DENSE, channels, 28, 1, text, sizeof text);
        made_add(&m, text, CONV_FORWARD, "avx2", 100, 9);
        made_problem(CONV_SEPARABLE, channels, 28, 1, text, sizeof text);
        made_add(&m, text, CONV_FORWARD, "avx2", channels == 32 ? 101 : 50, 9);
    }
    expect_verdict(&m, "Mostly: the separable convolution is faster from 64 channels on forward",
                   "Backward: this run has no");
}

static void test_verdict_one_variant(void **state)
{
    made m = {0};
    made_add(&m, "dense:mb1ic64ih28oc64kh3ph1", CONV_FORWARD, "avx2", 100, 9);
    expect_verdict(&m, "This run does not say: it has no time for a separable convolution", NULL);
}

/* ---- the page */

static void test_page(void **state)
{
    made m = made_sweep(1, 9);
    made_add(&m, "dense:mb1ic96ih28oc96kh3ph1", CONV_FORWARD, "tiled", 1, 9)->status = CASE_WRONG;
    char out[256];
    snprintf(out, sizeof out, "%s/page", folder);
    assert_int_equal(report(made_store(&m, folder, "whole"), NULL, out), EXIT_FINE);
    char *page = slurp(out, "index.html");
    assert_non_null(strstr(page, "<h1>Is a depthwise-separable convolution faster on this CPU?</h1>"));
    assert_non_null(strstr(page, "Yes: the separable"));
    assert_non_null(strstr(page, "&lt;left&gt; &amp; no more")); /* reasons are escaped */
    assert_non_null(strstr(page, "WRONG"));
    assert_non_null(strstr(page, "Ours against onednn"));
    assert_non_null(strstr(page, "prefers-color-scheme:dark"));
    assert_null(strstr(page, "{{"));
    assert_null(strstr(page, "<script"));
    assert_null(strstr(page, "src=\"http"));
    assert_null(strstr(page, "url(http"));
    int pictures = 0;
    for (const char *at = page; (at = strstr(at, "<svg ")) != NULL; at++) pictures++;
    const int waterfalls = 2 * 7; /* passes, channel counts */
    const int engines = 2;        /* passes: each engine against itself */
    assert_int_equal(pictures, 2 * 14 + 2 + 2 + engines + waterfalls);
    assert_non_null(strstr(page, "id=\"waterfall\""));
    assert_non_null(strstr(page, "What each engine makes of it"));
    assert_non_null(strstr(page, "backward, 2048 channels"));
    free(page);
    free(slurp(out, "speedup-forward-1.svg"));
    free(slurp(out, "speedup-forward-1.png"));
}

static void test_map_and_networks(void **state)
{
    made m = {0};
    const int channels[] = {32, 64, 96, 128, 192, 256, 512, 728, 1024}, spatial[] = {7, 14, 28, 56};
    for (int s = 0; s < 4; s++)
        for (int c = 0; c < 9; c++)
            for (int pass = 0; pass < 2; pass++)
                for (int variant = 0; variant <= CONV_SEPARABLE; variant += CONV_SEPARABLE) {
                    char text[128];
                    made_problem(variant, channels[c], spatial[s], 1, text, sizeof text);
                    double ns = 1000.0 * channels[c] * spatial[s] *
                                (variant == CONV_DENSE ? c * 0.9 + s * 0.35 + 0.45 : 1);
                    strcpy(made_add(&m, text, (conv_pass)pass, "avx512", ns, 9)->suite, "map");
                }
    made_add(&m, "mb2ic256ih14oc256oh14kh3ph1n\"resnet50:res4_3x3*6+other:x*2\"", CONV_FORWARD, "avx512", 1e6,
             9);
    made_add(&m, "mb2ic256ih14oc256oh14kh3ph1n\"resnet50:res4_3x3*6+other:x*2\"", CONV_FORWARD, "tiled", 2e6,
             9);
    made_add(&m, "mb2ic256ih14oc1024oh14kh1n\"resnet50:res4_up\"", CONV_FORWARD, "avx512", 5e5, 9);
    char out[256];
    snprintf(out, sizeof out, "%s/map-page", folder);
    assert_int_equal(report(made_store(&m, folder, "map"), NULL, out), EXIT_FINE);
    char *page = slurp(out, "index.html");
    assert_non_null(strstr(page, "Where it breaks even"));
    assert_non_null(
        strstr(page, "</b>: resnet50's 6.50 ms forward; other's 2.00 ms forward, each layer by its best"));
    assert_non_null(strstr(page, "1 of 2 layers lack a time: res4_up</small>"));
    free(page);
}

/* By every side, in both forms; ours has all layers, onednn not. */
static void test_network_forms(void **state)
{
    made m = {0};
    static const struct {
        const char *problem;
        double ours, onednn;
    } rows[] = {
        {"mb1ic3ih28oc64kh3ph1n\"net:first*2+net@dense:first*2\"", 1e6, 2e6},
        {"g64mb1ic64ih28oc64kh3ph1n\"net:dw\"", 5e5, 4e5},
        {"mb1ic64ih28oc64kh1n\"net:pw\"", 5e5, 0},
        {"mb1ic64ih28oc64kh3ph1n\"net@dense:dw\"", 7e6, 8e6},
    };
    for (int pass = CONV_FORWARD; pass <= CONV_BACKWARD; pass++)
        for (size_t i = 0; i < 4; i++) {
            made_add(&m, rows[i].problem, (conv_pass)pass, "avx2", rows[i].ours, pass == CONV_FORWARD ? 9 : 3);
            made_add(&m, rows[i].problem, (conv_pass)pass, "onednn", rows[i].onednn, 9);
        }
    record_run run = made_run(&m);
    report_data data;
    conv_error err;
    char *text = NULL, out[256];
    size_t size;
    FILE *table = open_memstream(&text, &size);
    assert_true(report_data_create(&run, &data, &err));
    report_networks_print(table, &data);
    fclose(table);
    const char *const lines[] = {
        "net, batch 1, 2 threads\n(instead: with ordinary convolutions in place of its separable ones)\n",
        "all convolutions   forward   instead  as fast  backward   instead  as fast\n",
        "best exact         2.90 ms   9.00 ms    0.32x  ~2.90 ms  ~9.00 ms         \n",
        "sepbench           3.00 ms   9.00 ms    0.33x  ~3.00 ms  ~9.00 ms         \n",
        "onednn                   -   12.0 ms                  -   12.0 ms         \n",
        "~ rough: ",
    };
    for (size_t i = 0; i < sizeof lines / sizeof *lines; i++)
        if (strstr(text, lines[i]) == NULL) fail_msg("'%s' is not in:\n%s", lines[i], text);
    free(text);
    report_data_destroy(&data);
    json_decref(run.run);
    snprintf(out, sizeof out, "%s/forms-page", folder);
    assert_int_equal(report(made_store(&m, folder, "forms"), NULL, out), EXIT_FINE);
    char *page = slurp(out, "index.html"), *csv = slurp(out, "networks.csv");
    assert_non_null(strstr(page, "<th>forward</th><th>dense instead</th><th>backward</th>"));
    assert_non_null(strstr(page, "0.33&times; as fast"));
    assert_non_null(
        strstr(page, "<td class=\"even\">&ndash;<small>1 of 3 layers lack a time: pw</small></td>"));
    assert_non_null(strstr(page, "1 of 3 layers lack"));
    assert_non_null(strstr(page, "<title>") != NULL ? strstr(page, "net, forward: all convolutions") : NULL);
    assert_non_null(strstr(csv, "\nnet,own,1,2,warm,forward,ours,sepbench,3,3,0,3000000,2955000,3060000,\n"));
    assert_non_null(strstr(csv, "\nnet,own,1,2,warm,forward,engine,onednn,3,2,0,,,,pw\n"));
    assert_non_null(strstr(csv, "\nnet,dense,1,2,warm,backward,engine,onednn,2,2,0,12000000,"));
    free(page);
    free(csv);
}

/* Layers that an option left out, which run.json names: what is there is a part, on the page, in the verdict and
 * in the file. */
static void test_part_of_a_network(void **state)
{
    made m = {0};
    made_add(&m, "mb1ic3ih28oc64kh3ph1n\"net:first*2\"", CONV_FORWARD, "avx2", 1e6, 9);
    made_add(&m, "mb1ic3ih28oc64kh3ph1n\"net:first*2\"", CONV_FORWARD, "onednn", 1e6, 9);
    made_add(&m, "mb1ic64ih28oc64kh1n\"whole:pw\"", CONV_FORWARD, "avx2", 3e6, 9);
    record_run run = made_run(&m);
    json_object_set_new(run.run, "networks",
                        json_pack("{s:[s, s, s, s, s], s:[s]}", "net", "first*2", "dw<", "pw*3", "\033[2J",
                                  "last", "whole", "pw"));
    report_data data;
    report_networks all;
    network_side sides[NETWORK_SIDES];
    conv_error err;
    assert_true(report_data_create(&run, &data, &err));
    report_network_sides(&data, sides);
    assert_true(report_networks_create(&data, &all));
    assert_int_equal(all.count, 2);
    network_sum sum = report_network_sum(&data, &all.items[0], &sides[NETWORK_BEST]);
    assert_true(all.items[0].count == 4 && sum.layers == 1 && !sum.whole);
    assert_true(report_network_sum(&data, &all.items[1], &sides[NETWORK_BEST]).whole);
    char *names = report_network_lacking(&data, &all.items[0], &sides[NETWORK_BEST], false);
    assert_string_equal(names, "dw<, pw, last");
    free(names);
    report_networks_destroy(&all);
    char *page = NULL;
    size_t size;
    FILE *out = open_memstream(&page, &size);
    report_networks_print(out, &data);
    fclose(out);
    assert_non_null(strstr(page, "\n(a part: 3 of its 4 layers are not in this run)\n"));
    assert_non_null(strstr(page, "best exact               -\n"));
    free(page);
    report_data_destroy(&data);
    json_t *networks = json_incref(json_object_get(run.run, "networks"));
    json_array_remove(json_object_get(networks, "net"),
                      3); /* read from a file it would be printable, and count */
    json_decref(run.run);
    const char *dir = made_store(&m, folder, "part");
    char path[256], written[256];
    json_t *stored = json_load_file((snprintf(path, sizeof path, "%s/run.json", dir), path), 0, NULL);
    json_object_set_new(stored, "networks", networks);
    assert_int_equal(json_dump_file(stored, path, 0), 0);
    json_decref(stored);
    snprintf(written, sizeof written, "%s/part-page", folder);
    assert_int_equal(report(dir, NULL, written), EXIT_FINE);
    page = slurp(written, "index.html");
    char *csv = slurp(written, "networks.csv");
    assert_non_null(strstr(page, "net forward (3 of 4 layers have no time: dw&lt;, pw, last)"));
    assert_non_null(strstr(page, "&ndash;<small>3 of 4 layers lack a time: dw&lt;, pw, last</small>"));
    assert_non_null(strstr(page, "<td>dw&lt;</td><td class=\"text\">not in this run</td>"));
    assert_non_null(strstr(csv, "\nnet,own,1,2,warm,forward,ours,sepbench,4,1,0,,,,dw<+pw*3+last\n"));
    free(page);
    free(csv);
}

static void test_threads_and_cold(void **state)
{
    made m = {0};
    for (int channels = 64; channels <= 256; channels *= 2)
        for (int variant = 0; variant <= CONV_SEPARABLE; variant += CONV_SEPARABLE)
            for (int mode = 0; mode < 3; mode++) {
                char text[128];
                made_problem(variant, channels, 28, 1, text, sizeof text);
                double ns = 100.0 * channels * (variant == CONV_DENSE ? channels / 32.0 : 1);
                record_row *row = made_add(&m, text, CONV_FORWARD, "avx512",
                                           mode == 1   ? ns * 1.9
                                           : mode == 2 ? ns * 1.3
                                                       : ns,
                                           9);
                row->threads = mode == 1 ? 1 : 2;
                row->cache = mode == 2 ? CACHE_COLD : CACHE_WARM;
            }
    char out[256];
    snprintf(out, sizeof out, "%s/threads-page", folder);
    assert_int_equal(report(made_store(&m, folder, "threads"), NULL, out), EXIT_FINE);
    char *page = slurp(out, "index.html");
    assert_non_null(strstr(page, "<h2>More threads</h2>"));
    assert_non_null(strstr(page, "1.90&times;"));
    assert_non_null(strstr(page, "<h2>Cold and warm caches</h2>"));
    assert_non_null(strstr(page, "1.30&times;"));
    free(page);
}

static void put_file(const char *dir, const char *name, const char *text)
{
    char path[512];
    snprintf(path, sizeof path, "%s/%s", dir, name);
    char *slash = strrchr(path, '/');
    *slash = 0;
    assert_true(cli_make_path(path));
    *slash = '/';
    FILE *out = fopen(path, "w");
    assert_non_null(out);
    fputs(text, out);
    assert_int_equal(fclose(out), 0);
}

/* run.json of the two models, by a layer of each. */
#define TRAINED(conv, separable)                                                                               \
    "{\"schema\": 1, \"kind\": \"training\", \"machine\": {\"cpu\": \"Example\"}, \"models\": ["               \
    "{\"model\": \"conv\", \"layers\": [{\"class\": \"" conv "\"}]}, "                                         \
    "{\"model\": \"separable\", \"layers\": [{\"class\": \"Dense\"}, {\"class\": \"" separable "\"}]}]}"

/* Two models, 8 epochs each; the separable one's epochs take `seconds`. */
static void put_training(const char *dir, double seconds)
{
    char text[4096], path[64];
    put_file(dir, "run.json", TRAINED("Conv2D", "SeparableConv2D"));
    put_file(dir, "runs.csv",
             RUNS_COLUMNS_TEXT "\nconv,1,1,best,2,250,ok,8,0.03,0.992,8,0.03,5,9600,5,10,20,\n"
                               "conv,2,2,best,2,250,ok,8,0.03,0.991,8,0.03,5,9600,5,10,20,\n"
                               "separable,1,1,best,2,250,ok,8,0.04,0.985,8,0.04,3,9600,6,12,,\n"
                               "separable,2,2,best,2,250,ok,8,0.04,0.984,8,0.04,3,9600,6,12,,\n");
    for (int model = 0; model < 2; model++)
        for (int run = 1; run <= 2; run++) {
            int used = snprintf(text, sizeof text, HISTORY_COLUMNS_TEXT "\n");
            for (int e = 1; e <= 8; e++)
                used += snprintf(text + used, sizeof text - (size_t)used, "%d,%g,0.9,%g,%g,%g,9600,0.001\n", e,
                                 0.3 / e, 0.2 / e, 0.99 - 0.03 / e, (model ? seconds : 5) * (1 + 0.001 * e));
            snprintf(path, sizeof path, "%s/run-%d/history.csv", model ? "separable" : "conv", run);
            put_file(dir, path, text);
        }
    put_file(dir, "conv/profile.csv",
             PROFILE_COLUMNS_TEXT
             "\nconv2d,dense avx512,forward,6000000,60,2075000000,345\n"
             "residual,waiting and bookkeeping,,4000000,40,,\nstep,whole,,10000000,100,,\n");
}

/* Two runs of three epochs each; what a disturbed step cost stands in epoch_s alone. */
static void put_keras(const char *dir)
{
    char text[4096];
    int used = snprintf(text, sizeof text,
                        "model,impl,layout,threads,epoch,loss,accuracy,epoch_s,images_per_s,quiet_s,batch_size,"
                        "test_accuracy\n");
    for (int i = 0; i < 12; i++) {
        int separable = i / 3 % 2, epoch = i % 3 + 1;
        used += snprintf(text + used, sizeof text - (size_t)used,
                         "%s,Keras 3.15 (TensorFlow),channels_last,2,%d,0.1,%g,99,500,%g,250,%s\n",
                         separable ? "separable" : "conv", epoch, (separable ? 0.8 : 0.9) + 0.01 * epoch,
                         (separable ? 12 : 8) * (1 + 0.001 * (epoch - 2)),
                         epoch < 3   ? ""
                         : separable ? "0.965"
                                     : "0.975");
    }
    put_file(dir, "keras.csv", text);
}

static void test_training(void **state)
{
    char dir[256], out[256];
    snprintf(dir, sizeof dir, "%s/training", folder);
    snprintf(out, sizeof out, "%s/training-page", folder);
    put_training(dir, 3);
    assert_int_equal(report(dir, NULL, out), EXIT_FINE);
    char *page = slurp(out, "index.html");
    assert_non_null(strstr(page, "In training, yes: an epoch of the separable network takes 3.0"));
    assert_non_null(strstr(page, "99.15%"));
    assert_non_null(strstr(page, "the second is less accurate"));
    assert_non_null(strstr(page, "its operations add up to 6.00 ms (60%)"));
    assert_null(strstr(page, "<section id=\"answer\">"));
    free(page);
    free(slurp(out, "training-accuracy.svg"));
    put_file(
        dir, "torch.csv",
        "model,impl,layout,threads,epoch,loss,accuracy,epoch_s,images_per_s\n"
        "conv,torch,channels_first,2,1,0.3,0.9,21,2000\nconv,torch,channels_last,2,1,0.3,0.9,24.09,2000\n"
        "conv,torch,channels_first,2,1,0.3,0.9,21,2000\nconv,torch,channels_last,2,1,0.3,0.9,16.09,2000\n");
    put_keras(dir);
    assert_int_equal(report(dir, NULL, out), EXIT_FINE);
    page = slurp(out, "index.html");
    assert_non_null(strstr(page, "an epoch takes 5.02 s here and 20.1 s there; too few epochs"));
    assert_non_null(strstr(
        page, "<b>Against Keras 3.15</b> (TensorFlow), channels_last, the conv network: an epoch takes 5.02 "
              "s here and 8.00 s there, 1.59 times as fast"));
    assert_non_null(strstr(
        page, "<b>Training by Keras 3.15</b> (TensorFlow), channels_last: an epoch of the separable network "
              "takes 12.0 s, one of the conv network 8.00 s: 0.67 times as fast"));
    assert_non_null(strstr(page, "<td class=\"main\">0.67&times;<small>"));
    assert_non_null(strstr(page, "in epoch 3, the last that all have"));
    assert_non_null(strstr(page, "<td>93.00%</td><td>83.00%</td>"));
    assert_non_null(strstr(page, "<td>97.50%<small>")); /* of the conv network's test images */
    free(page);
    put_training(dir, 5.001);
    assert_int_equal(report(dir, NULL, out), EXIT_FINE);
    page = slurp(out, "index.html");
    assert_non_null(strstr(page, "In training, no measurable difference"));
    free(page);
    put_file(dir, "conv/run-2/history.csv", HISTORY_COLUMNS_TEXT "\n1,much,,,,,,\n");
    assert_int_equal(report(dir, NULL, out), EXIT_USAGE);
}

/* Which of two models is the separable one, its layers say, not its name or place. */
static void test_training_of_any_two(void **state)
{
    static const struct {
        const char *run, *words;
    } cases[] = {
        {TRAINED("Conv2D", "DepthwiseConv2D"), "In training, yes: an epoch of the separable network"},
        {TRAINED("SeparableConv1D", "Conv2D"), "In training, no: an epoch of the conv network"},
        {TRAINED("Conv2D", "Dense"), "In training: an epoch of the separable network"},
        {TRAINED("DepthwiseConv2D", "SeparableConv2D"), "In training: an epoch of the separable network"},
    };
    char dir[256], out[256];
    snprintf(dir, sizeof dir, "%s/training-two", folder);
    snprintf(out, sizeof out, "%s/training-two-page", folder);
    put_training(dir, 3);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        put_file(dir, "run.json", cases[i].run);
        assert_int_equal(report(dir, NULL, out), EXIT_FINE);
        char *page = slurp(out, "index.html");
        if (strstr(page, cases[i].words) == NULL) fail_msg("no \"%s\"", cases[i].words);
        free(page);
    }
    put_file(dir, "run.json", "{");
    assert_int_equal(report(dir, NULL, out), EXIT_USAGE);
}

/* A training inside a run's folder joins its page; the roof comes from the run. */
static void test_training_beside_cases(void **state)
{
    made m = made_sweep(1, 9);
    char dir[512], out[256];
    const char *run = made_store(&m, folder, "with-training");
    snprintf(dir, sizeof dir, "%s/training", run);
    snprintf(out, sizeof out, "%s/with-training-page", folder);
    put_training(dir, 3);
    assert_int_equal(report(run, NULL, out), EXIT_FINE);
    char *page = slurp(out, "index.html");
    assert_non_null(strstr(page, "Yes: the separable convolution"));
    assert_non_null(strstr(page, "at the measured peak of 415 GFLOP/s: the step takes 2.00 times that"));
    free(page);
}

static void test_partial_runs(void **state)
{
    char out[256];
    snprintf(out, sizeof out, "%s/partial", folder);
    made one = {0};
    made_add(&one, "dense:mb1ic64ih28oc64kh3ph1", CONV_FORWARD, "avx2", 100, 9);
    assert_int_equal(report(made_store(&one, folder, "one"), NULL, out), EXIT_FINE);
    made none = {0};
    made_add(&none, "dense:mb1ic64ih28oc64kh3ph1", CONV_FORWARD, "avx2", 0, 0);
    assert_int_equal(report(made_store(&none, folder, "none"), NULL, out), EXIT_INVALID);
    made empty = {0};
    assert_int_equal(report(made_store(&empty, folder, "empty"), NULL, out), EXIT_INVALID);
    assert_int_equal(report("/tmp/no/such/run", NULL, out), EXIT_USAGE);
    made m = {0};
    made_add(&m, "dense:mb1ic64ih28oc64kh3ph1", CONV_FORWARD, "avx2", 100, 9);
    assert_int_equal(report(made_store(&m, folder, "nopeer"), "--versus=onednn", out), EXIT_USAGE);
}

/* Also of what this build or this CPU has not: a run may be another machine's. */
static void test_style(void **state)
{
    static const struct {
        const char *name, *light;
        bool peer, inexact;
        int dash;
    } cases[] = {
        {"avx2", "#3f8fd0", false, false, 1},           {"avx512", "#0b4fa0", false, false, 1},
        {"winograd-avx512", "#6a3db8", false, true, 3}, {"fip-avx512", "#8f1d3f", false, true, 3},
        {"onednn", "#b8156f", true, false, 2},          {"onednn-winograd", "#9c5590", true, true, 3},
        {"onnxruntime", NULL, true, false, 2},          {"of-tomorrow", NULL, false, false, 1},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        report_impl style = report_style(cases[i].name);
        if (style.peer != cases[i].peer || style.inexact != cases[i].inexact || style.dash != cases[i].dash ||
            (cases[i].light != NULL && strcmp(style.light, cases[i].light) != 0))
            fail_msg("%s: peer %d, inexact %d, dash %d, %s", cases[i].name, style.peer, style.inexact,
                     style.dash, style.light);
        assert_string_equal(style.light, report_style(cases[i].name).light);
    }
}

static void test_without_gnuplot(void **state)
{
    made m = {0};
    made_add(&m, "dense:mb1ic64ih28oc64kh3ph1", CONV_FORWARD, "avx2", 100, 9);
    const char *dir = made_store(&m, folder, "nogp");
    const char *was = getenv("PATH");
    char out[256], path[4096];
    snprintf(path, sizeof path, "%s", was != NULL ? was : "/usr/bin:/bin");
    snprintf(out, sizeof out, "%s/nogp-out", folder);
    setenv("PATH", "/nowhere", 1);
    assert_int_equal(report(dir, NULL, out), EXIT_USAGE);
    setenv("PATH", path, 1);
}

static int make_folder(void **state) { return mkdtemp(folder) == NULL; }

static int remove_folder(void **state)
{
    char command[64];
    if (getenv("KEEP") != NULL) return printf("kept: %s\n", folder) < 0;
    snprintf(command, sizeof command, "rm -rf '%s'", folder);
    return system(command);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_best),
        cmocka_unit_test(test_engines_against_themselves),
        cmocka_unit_test(test_one_rule_of_fastest),
        cmocka_unit_test(test_overlap_is_no_difference),
        cmocka_unit_test(test_long_names),
        cmocka_unit_test(test_map_of_volumes),
        cmocka_unit_test(test_labels_apart),
        cmocka_unit_test(test_verdict_yes),
        cmocka_unit_test(test_verdict_no),
        cmocka_unit_test(test_verdict_without_intervals),
        cmocka_unit_test(test_verdict_from_some_channels_on),
        cmocka_unit_test(test_verdict_one_variant),
        cmocka_unit_test(test_page),
        cmocka_unit_test(test_map_and_networks),
        cmocka_unit_test(test_network_forms),
        cmocka_unit_test(test_part_of_a_network),
        cmocka_unit_test(test_threads_and_cold),
        cmocka_unit_test(test_training),
        cmocka_unit_test(test_training_of_any_two),
        cmocka_unit_test(test_training_beside_cases),
        cmocka_unit_test(test_partial_runs),
        cmocka_unit_test(test_style),
        cmocka_unit_test(test_without_gnuplot),
    };
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
