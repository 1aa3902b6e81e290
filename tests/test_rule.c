/* The one rule of what may be said of times: the cases that once bent a verdict. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "../bench/bench.h"
#include "../harness/report/report.h"
#include "made_run.h"
#include "unit.h"

#define DENSE "dense:mb1ic128ih28oc128kh3ph1"
#define SEPARABLE "separable:mb1ic128ih28oc128kh3ph1"
/* What multiplications promise at 128 channels is 8.4. */
static const double dense_ns = 667e3, separable_ns = 107e3;

/* Three channel counts, the one in the middle changed by `bend`, which gets its dense and separable row. */
static made bent(void (*bend)(record_row *dense, record_row *separable))
{
    made m = {0};
    for (int channels = 64; channels <= 256; channels *= 2) {
        char text[128];
        made_problem(CONV_DENSE, channels, 28, 1, text, sizeof text);
        made_add(&m, text, CONV_FORWARD, "avx2", dense_ns, 9);
        made_problem(CONV_SEPARABLE, channels, 28, 1, text, sizeof text);
        made_add(&m, text, CONV_FORWARD, "avx2", separable_ns, 9);
    }
    bend(&m.rows[2], &m.rows[3]);
    return m;
}

static void expect(made m, const char *headline, const char *line)
{
    record_run run = made_run(&m);
    report_data data;
    verdict v;
    conv_error err;
    assert_true(report_data_create(&run, &data, &err));
    verdict_create(&data, &v);
    assert_string_equal(v.headline, headline);
    bool found = line == NULL && v.count == 0;
    for (size_t i = 0; line != NULL && i < v.count; i++) found = found || strcmp(v.lines[i], line) == 0;
    if (!found) fail_msg("not said: '%s', but '%s'", line, v.count > 0 ? v.lines[0] : "");
    verdict_destroy(&v);
    report_data_destroy(&data);
    made_end(&run, &m);
}

static const char two_of_three[] =
    "Yes, as far as this run can tell: the separable convolution is faster at 2 of 3 "
    "channel counts forward: 6.2 times as fast.";

static void as_it_is(record_row *dense, record_row *separable) { (void)dense, (void)separable; }

static void test_determined(void **state)
{
    expect(bent(as_it_is),
           "Yes: the separable convolution is faster at every channel count from 64 to 256 forward: 6.2 times "
           "as fast.",
           NULL);
}

/* A burst took all repetitions of the dense group, which followed one another: 21.7 times as fast. */
static void burst(record_row *dense, record_row *separable)
{
    dense->median_ns = 21.7 * separable->median_ns;
    dense->ci95_low_ns = 0.98 * dense->median_ns;
    dense->ci95_high_ns = 1.02 * dense->median_ns;
    dense->visits = 1;
}

static void test_burst(void **state)
{
    expect(bent(burst), two_of_three, "Not determined: forward at 128 channels (too few repetitions).");
}

static void disturbed(record_row *dense, record_row *separable)
{
    burst(dense, separable);
    dense->visits = RULE_VISITS;
    dense->disturbed = 9;
}

static void test_disturbed(void **state)
{
    expect(bent(disturbed), two_of_three, "Not determined: forward at 128 channels (the machine was busy).");
}

static void moved(record_row *dense, record_row *separable)
{
    (void)dense;
    separable->moved = 1;
    separable->ci95_low_ns = 0.5 * separable->median_ns;
}

static void test_moved(void **state)
{
    expect(bent(moved), two_of_three, "Not determined: forward at 128 channels (the host moved the cores).");
}

static void few(record_row *dense, record_row *separable)
{
    (void)dense;
    separable->repetitions = 3;
    separable->median_ns /= 2;
    separable->ci95_low_ns = separable->ci95_high_ns = NAN;
}

static void test_few(void **state)
{
    expect(bent(few), two_of_three, "Not determined: forward at 128 channels (too few repetitions).");
}

static void wide(record_row *dense, record_row *separable)
{
    (void)separable;
    dense->ci95_high_ns = 2.2 * dense->median_ns;
}

static void test_wide(void **state)
{
    expect(bent(wide), two_of_three, "Not determined: forward at 128 channels (the machine was busy).");
}

/* Two independent intervals of a tenth each way make one of a seventh, not of a fifth. */
static void test_ratio_interval(void **state)
{
    const rule_time dense = {200, 200 / 1.1, 200 * 1.1, false, false},
                    separable = {50, 50 / 1.1, 50 * 1.1, false, false};
    rule_ratio r = rule_compare(dense, separable);
    double half = sqrt(2) * log(1.1);
    assert_true(r.value == 4 && r.outcome == RATIO_FASTER);
    assert_true(fabs(log(r.high / 4) - half) < 1e-12 && fabs(log(4 / r.low) - half) < 1e-12);
}

/* A run of an earlier version: the interval of a row reaches from 5.3 to 114 microseconds. */
static void test_fastest_that_overlap(void **state)
{
    made m = {0};
    record_row *row = made_add(&m, SEPARABLE, CONV_FORWARD, "avx2", 5459, 6);
    row->ci95_low_ns = 5252, row->ci95_high_ns = 114214, row->visits = -1;
    row = made_add(&m, SEPARABLE, CONV_FORWARD, "onednn", 19841, 6);
    row->ci95_low_ns = 6201, row->ci95_high_ns = 45870, row->visits = -1;
    row = made_add(&m, DENSE, CONV_FORWARD, "onednn", 12170, 6);
    row->ci95_low_ns = 10655, row->ci95_high_ns = 13871, row->visits = -1;
    expect(m, "This run does not say, at any channel count: the machine was busy.",
           "Not determined: forward at 128 channels (the machine was busy).");
}

static void test_share(void **state)
{
    rule_ratio r = {10.5, 9.5, 11.5, RATIO_FASTER};
    assert_true(fabs(rule_share(&r, 8.4) - 1.25) < 1e-9);
    assert_true(isnan(rule_share(&r, 8))); /* 131%, and 119% would fit */
    r.low = 10.45;
    assert_true(fabs(rule_share(&r, 8) - 1.3125) < 1e-9);
    r.outcome = RATIO_BUSY;
    assert_true(isnan(rule_share(&r, 8.4)));
}

static void test_fastest(void **state)
{
    made m = {0};
    made_add(&m, DENSE, CONV_FORWARD, "onednn", 100, 9);
    made_add(&m, DENSE, CONV_FORWARD, "avx2", 90, 9)->race = RACE_BEHIND; /* by luck, with few repetitions */
    made_add(&m, DENSE, CONV_FORWARD, "tiled", 110, 9)->choice_ns = 80;
    m.rows[0].choice_ns = 95;
    assert_false(record_faster(&m.rows[1], &m.rows[0]));
    assert_true(
        record_faster(&m.rows[2], &m.rows[0])); /* the repetitions that choose do, not those that report */
    assert_true(rule_less(1, NAN) && rule_less(1, 2) && !rule_less(2, 2) && !rule_less(NAN, 2));
    free(m.rows);
}

/* The terminal marks what the report would not show. */
static void test_summary_marks(void **state)
{
    made m = bent(few);
    char *table = NULL;
    size_t size;
    FILE *out = open_memstream(&table, &size);
    bench_summary(out, m.rows, m.count);
    fclose(out);
    assert_non_null(strstr(table, "~53.5 us"));
    assert_non_null(strstr(table, "  107 us"));
    assert_non_null(strstr(table, "~ rough"));
    free(table);
    free(m.rows);
}

/* A mean of cases of which one is rough is the mean of the others. */
static void test_versus(void **state)
{
    made m = {0};
    for (int channels = 64; channels <= 256; channels *= 2) {
        char text[128];
        made_problem(CONV_DENSE, channels, 28, 1, text, sizeof text);
        made_add(&m, text, CONV_FORWARD, "avx2", 100, 9);
        made_add(&m, text, CONV_FORWARD, "onednn", channels == 128 ? 2000 : 120, channels == 128 ? 3 : 9);
    }
    record_run run = made_run(&m);
    report_data data;
    conv_error err;
    assert_true(report_data_create(&run, &data, &err));
    versus_mean mean = report_versus_mean(&data, &data.settings[0], CONV_DENSE, CONV_FORWARD, "onednn", false);
    assert_int_equal(mean.count, 3);
    assert_int_equal(mean.determined, 2);
    assert_true(fabs(mean.mean - 1.2) < 1e-9 && fabs(mean.most - 1.2) < 1e-9);
    report_data_destroy(&data);
    made_end(&run, &m);
}

/* A network with a layer that is rough has no sum in the headline; without it, it has. */
static void test_networks(void **state)
{
    for (int rough = 0; rough < 2; rough++) {
        made m = {0};
        made_add(&m, "mb1ic64ih56oc64oh56kh3ph1n\"net:a*3\"", CONV_FORWARD, "avx2", 1e6, 9);
        made_add(&m, "g64mb1ic64ih56oc64oh56kh3ph1n\"net:b\"", CONV_FORWARD, "avx2", 1e6, rough ? 3 : 9);
        expect(m,
               rough ? "This run does not say what the networks cost: layers of each have no sure time."
                     : "All convolutions together: net's 4.00 ms forward, each layer by its best exact "
                       "implementation.",
               rough ? "Not determined: net forward (1 of 2 layers have no sure time: b)."
                     : "net forward: depthwise layers have 1% of the arithmetic and take 25% of the time.");
    }
}

/* A network in both forms: the headline of a run of one; a sum that lacks a layer is none, and says which. */
static void test_network_forms(void **state)
{
    for (int lacks = 0; lacks < 2; lacks++) {
        made m = {0};
        made_add(&m, "mb1ic3ih28oc64kh3ph1n\"net:first*2+net@dense:first*2\"", CONV_FORWARD, "avx2", 1e6, 9);
        made_add(&m, "g64mb1ic64ih28oc64kh3ph1n\"net:dw\"", CONV_FORWARD, "avx2", 5e5, 9);
        made_add(&m, "mb1ic64ih28oc64kh1n\"net:pw\"", CONV_FORWARD, "avx2", 5e5, 9);
        made_add(&m, "mb1ic64ih28oc64kh3ph1n\"net@dense:dw\"", CONV_FORWARD, "avx2", lacks ? 0 : 7e6, 9);
        expect(m,
               lacks ? "All convolutions together: net's 3.00 ms forward, each layer by its best exact "
                       "implementation."
                     : "net's convolutions take 3.00 ms forward; with ordinary convolutions in place of its "
                       "separable ones they would take 9.00 ms forward, 0.33 times as fast, each layer by its "
                       "best exact implementation.",
               lacks
                   ? "Not determined: net with ordinary convolutions forward (1 of 2 layers have no time: dw)."
                   : "net forward: depthwise layers have 7% of the arithmetic and take 17% of the time.");
    }
    made m = {0};
    made_add(&m, "mb1ic64ih28oc64kh3ph1n\"net:a\"", CONV_BACKWARD, "avx2", 4e6, 9);
    made_add(&m, "separable:mb1ic64ih28oc64kh3ph1n\"net@separable:a\"", CONV_BACKWARD, "avx2", 1e6, 9);
    made_add(&m, "mb2ic64ih9oc64kh3ph1n\"more:a\"", CONV_FORWARD, "avx2", 4e6, 9);
    expect(
        m, "Yes: the separable convolution is faster at 64 channels backward: 4.0 times as fast.",
        "net's convolutions take 4.00 ms backward; with separable convolutions in place of its ordinary ones "
        "they would take 1.00 ms backward, 4.0 times as fast, each layer by its best exact implementation.");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_determined),    cmocka_unit_test(test_burst),
        cmocka_unit_test(test_disturbed),     cmocka_unit_test(test_moved),
        cmocka_unit_test(test_few),           cmocka_unit_test(test_ratio_interval),
        cmocka_unit_test(test_wide),          cmocka_unit_test(test_fastest_that_overlap),
        cmocka_unit_test(test_share),         cmocka_unit_test(test_fastest),
        cmocka_unit_test(test_summary_marks), cmocka_unit_test(test_versus),
        cmocka_unit_test(test_networks),      cmocka_unit_test(test_network_forms),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
