/* Statistics over the runs of a training, and the lines that its CSV files get. */
#include "support.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "../harness/train/history.h"

static void near(double got, double want)
{
    if (!(fabs(got - want) <= 1e-4 * (1 + fabs(want)))) fail_msg("%.9g, expected %.9g", got, want);
}

static void means(void **state)
{
    const double values[] = {2, 4, 4, 4, 5, 5, 7, 9};
    sample_mean m = mean_of(values, 8);
    near(m.mean, 5);
    near(m.std, sqrt(32.0 / 7));
    assert_int_equal(m.n, 8);
    m = mean_of(values, 1);
    near(m.mean, 2);
    assert_true(isnan(m.std));
    assert_true(isnan(mean_of(values, 0).mean));
}

/* Student's t at 95%, two-sided, from the tables: 12.7062 (nu 1), 4.30265 (2), 2.30600 (8), 1.98397 (100). */
static void intervals(void **state)
{
    static const struct {
        sample_mean a, b;
        double t, error; /* of the difference */
    } cases[] = {
        {{2, 3, 1}, {2, 1, 1}, 4.30265, 1},               /* equal variances: nu = 2n - 2 */
        {{5, 0.5, 2}, {5, 1, 2}, 2.30600, 1.264911},      /* sqrt(2 * 4 / 5) */
        {{51, 1, 0.1}, {51, 1, 0.1}, 1.98397, 0.0198030}, /* sqrt(2 * 0.01 / 51) */
        {{2, 7, 1}, {9, 5, 0}, 12.7062, 0.707107},        /* one variance alone: nu = n - 1 */
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        double difference, low, high;
        assert_true(welch_interval(cases[i].a, cases[i].b, &difference, &low, &high));
        near(difference, cases[i].a.mean - cases[i].b.mean);
        near(low, difference - cases[i].t * cases[i].error);
        near(high, difference + cases[i].t * cases[i].error);
    }
    double difference, low, high;
    sample_mean one = {1, 3, NAN}, two = {2, 3, 1};
    assert_false(welch_interval(one, two, &difference, &low, &high));
    assert_false(welch_interval(two, one, &difference, &low, &high));
}

static fit_epoch epochs[] = {
    {.epoch = 1,
     .loss = 0.5,
     .accuracy = 0.9,
     .val_loss = 0.3,
     .val_accuracy = 0.96,
     .seconds = 3,
     .images_per_s = 100,
     .learning_rate = 0.001,
     .quiet_seconds = 2.5},
    {.epoch = 2,
     .loss = 0.4,
     .accuracy = 0.91,
     .val_loss = NAN,
     .val_accuracy = 0.98,
     .seconds = 1,
     .images_per_s = 300,
     .learning_rate = 0.001,
     .quiet_seconds = NAN},
    {.epoch = 3,
     .loss = 0.3,
     .accuracy = 0.92,
     .val_loss = 0.2,
     .val_accuracy = 0.97,
     .seconds = 2,
     .images_per_s = 150,
     .learning_rate = 0.001},
};

static void times(void **state)
{
    fit_state s = {.history = epochs, .epochs_done = 3};
    near(history_time_to(&s, 0.95), 3);
    near(history_time_to(&s, 0.97), 4); /* the first to reach it, though the last is exactly there */
    near(history_time_to(&s, 0.98), 4);
    assert_true(isnan(history_time_to(&s, 0.99)));
    near(history_median_epoch(&s), 2);
    s.epochs_done = 0;
    assert_true(isnan(history_median_epoch(&s)));
}

static void same_text(const char *path, const char *want)
{
    char got[4096];
    FILE *file = fopen(path, "r");
    assert_non_null(file);
    got[fread(got, 1, sizeof got - 1, file)] = 0;
    fclose(file);
    assert_string_equal(got, want);
}

static void files(void **state)
{
    char folder[] = "/tmp/sepbench-history-XXXXXX", path[128];
    conv_error err;
    assert_non_null(mkdtemp(folder));
    fit_state s = {.history = epochs,
                   .epochs_done = 2,
                   .best = 0.3,
                   .best_epoch = 1,
                   .test_loss = NAN,
                   .test_accuracy = 0.95};
    snprintf(path, sizeof path, "%s/history.csv", folder);
    assert_int_equal(history_write(path, &s, &err), CONV_OK);
    same_text(path, HISTORY_COLUMNS_TEXT "\n1,0.5,0.9,0.3,0.96,3.000000,100.0,0.001,2.500000\n"
                                         "2,0.4,0.91,,0.98,1.000000,300.0,0.001,\n");
    unlink(path);
    snprintf(path, sizeof path, "%s/runs.csv", folder);
    run_label label = {"conv", 1, 7, "avx512,naive", 2, 250, "ok"};
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    runs_put(file, &label, &s);
    label = (run_label){"conv", 2, 8, "best", 2, 250, "diverged"};
    s.epochs_done = 0;
    s.best_epoch = 0;
    s.best = INFINITY;
    runs_put(file, &label, &s);
    fclose(file);
    same_text(path, "conv,1,7,\"avx512,naive\",2,250,ok,2,,0.95,1,0.3,2.000000,150.0,4.000000,4.000000,,\n"
                    "conv,2,8,best,2,250,diverged,0,,0.95,,,,,,,,\n");
    unlink(path);
    rmdir(folder);
    snprintf(path, sizeof path, "/nonexistent/history.csv");
    assert_int_not_equal(history_write(path, &s, &err), CONV_OK);
    assert_non_null(strstr(err.text, "/nonexistent/history.csv"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(means),
        cmocka_unit_test(intervals),
        cmocka_unit_test(times),
        cmocka_unit_test(files),
    };
    return cmocka_run_group_tests_name("train_history", tests, NULL, NULL);
}
