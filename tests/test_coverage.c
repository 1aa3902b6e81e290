/* How often the interval of a row holds the time that a long series of visits shows. tests/data/visits-quiet
 * and visits-busy are recordings of many visits, one repetition each: the first with cores that the host
 * moved, the second while tests/disturb.sh took the cores a fifth of the time. Short runs are drawn from
 * them, spread over the recording as `sepbench bench` spreads its visits. */
#include <math.h>
#include <stdio.h>

#include "../harness/measure/samples.h"
#include "../harness/random.h"
#include "../harness/record/rule.h"
#include "../harness/stats.h"
#include "unit.h"

#define COUNT(a) (sizeof(a) / sizeof *(a))

enum { RUNS = 2000, MOST_VISITS = 200 };

static const char *const cases[] = {
    "dense/forward/avx2/mb1ic32ih28oc32kh3ph1/nhwc/t2/warm",
    "dense/forward/avx2/mb1ic1024ih28oc1024kh3ph1/nhwc/t2/warm",
    "depthwise/forward/avx2/g256mb1ic256ih28oc256kh3ph1/nhwc/t2/warm",
    "separable/forward/avx2/mb1ic32ih28oc32kh3ph1/nhwc/t2/warm",
    "separable/forward/avx2/mb1ic1024ih28oc1024kh3ph1/nhwc/t2/warm",
};

/* What all undisturbed repetitions with near cores say. */
static double truth_of(const record_sample *recorded, size_t count)
{
    double ns[MOST_VISITS], least = INFINITY;
    size_t n = 0;
    for (size_t i = 0; i < count; i++)
        if (recorded[i].marks == 0) least = fmin(least, recorded[i].handover_ns);
    for (size_t i = 0; i < count; i++)
        if (recorded[i].marks == 0 && recorded[i].handover_ns <= 1.4 * least) ns[n++] = recorded[i].ns;
    assert_true(n >= 15);
    return stats_median(ns, n);
}

/* One run of `visits` visits; where a repetition was disturbed, the next one of the recording replaces it,
 * once. */
static record_row draw(const record_sample *recorded, size_t count, size_t visits, uint64_t *random)
{
    samples drawn = {0};
    record_row row = {.median_ns = NAN};
    for (size_t v = 0; v < visits; v++) {
        size_t from = v * count / visits, to = (v + 1) * count / visits;
        size_t at = from + (size_t)random_below(random, to - from);
        record_sample s = recorded[at];
        if (s.marks != 0 && at + 1 < to) s = recorded[at + 1];
        s.visit = (int)v + 1;
        s.use = SAMPLE_REPORTS;
        assert_true(samples_add(&drawn, &s));
    }
    samples_summarise(&drawn, &row);
    samples_free(&drawn);
    return row;
}

/* Runs whose row may be shown, and those of them whose interval holds the truth. */
typedef struct {
    int shown, covering;
} coverage;

static coverage cover(const record_samples *recording, const char *name, size_t visits, uint64_t *random)
{
    size_t count;
    coverage c = {0, 0};
    const record_sample *recorded = record_samples_of(recording, name, &count);
    assert_true(count >= 40 && count <= MOST_VISITS);
    double truth = truth_of(recorded, count);
    for (int run = 0; run < RUNS; run++) {
        record_row row = draw(recorded, count, visits, random);
        rule_time t = rule_time_of(&row);
        if (!rule_shown(&t)) continue;
        c.shown++;
        c.covering += t.low <= truth && truth <= t.high;
    }
    return c;
}

/* Of the full nine visits the intervals keep their word. Three or five may all have met far cores, which
 * then nothing in them tells. */
static void check_recording(const char *dir, double least_shown)
{
    static const struct {
        size_t visits;
        double least, least_of_case;
    } plans[] = {{3, 0.88, 0}, {5, 0.88, 0}, {9, 0.95, 0.88}};
    conv_error err = {""};
    record_samples *recording = record_samples_load(dir, &err);
    uint64_t random = 1;
    if (recording == NULL) fail_msg("%s", err.text);
    for (size_t k = 0; k < COUNT(plans); k++) {
        coverage all = {0, 0};
        for (size_t i = 0; i < COUNT(cases); i++) {
            coverage c = cover(recording, cases[i], plans[k].visits, &random);
            all.shown += c.shown;
            all.covering += c.covering;
            if (c.covering < plans[k].least_of_case * c.shown)
                fail_msg("%s: %s: %zu visits: %d of %d", dir, cases[i], plans[k].visits, c.covering, c.shown);
        }
        double covered = (double)all.covering / all.shown,
               shown = (double)all.shown / (RUNS * (double)COUNT(cases));
        printf("# %s: %zu visits: %.1f%% of intervals hold the time, %.1f%% of runs have one\n", dir,
               plans[k].visits, 100 * covered, 100 * shown);
        assert_true(covered >= plans[k].least);
        if (plans[k].visits == 9) assert_true(shown >= least_shown);
    }
    record_samples_free(recording);
}

static void test_quiet(void **state) { check_recording("tests/data/visits-quiet", 0.99); }

static void test_busy(void **state) { check_recording("tests/data/visits-busy", 0.8); }

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_quiet), cmocka_unit_test(test_busy)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
