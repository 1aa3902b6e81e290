/* Medians, deviations and the ranks of the median's interval against published tables. */
#include <math.h>

#include "../harness/stats.h"
#include "unit.h"

#define COUNT(a) (sizeof(a) / sizeof *(a))

static void near(double got, double wanted)
{
    if (!(fabs(got - wanted) <= 1e-12 * (1 + fabs(wanted)))) fail_msg("got %.17g, wanted %.17g", got, wanted);
}

static void test_median(void **state)
{
    near(stats_median((double[]){7}, 1), 7);
    near(stats_median((double[]){3, 1}, 2), 2);
    near(stats_median((double[]){9, 1, 5}, 3), 5);
    near(stats_median((double[]){4, 1, 3, 2}, 4), 2.5);
}

static void test_order_is_kept(void **state)
{
    double values[] = {5, 1, 4, 2, 3, 9, 7};
    const double copy[] = {5, 1, 4, 2, 3, 9, 7};
    stats_summarize(values, COUNT(values));
    assert_memory_equal(values, copy, sizeof copy);
}

/* Sign-test ranks at 95%: Conover, Practical Nonparametric Statistics, table A3, and Hahn & Meeker's table: the
 * order statistics r and n+1-r bound the median. */
static void test_ranks(void **state)
{
    static const struct {
        size_t n, r95, r99;
    } table[] = {{1, 0, 0},  {5, 0, 0},  {6, 1, 0},   {7, 1, 0},    {8, 1, 1},    {9, 2, 1},    {10, 2, 1},
                 {11, 2, 1}, {12, 3, 2}, {13, 3, 2},  {14, 3, 2},   {15, 4, 3},   {16, 4, 3},   {17, 5, 3},
                 {20, 6, 4}, {25, 8, 6}, {30, 10, 8}, {40, 14, 12}, {50, 18, 16}, {100, 40, 37}};
    for (size_t i = 0; i < COUNT(table); i++) {
        assert_int_equal(stats_median_rank(table[i].n, 0.95), table[i].r95);
        assert_int_equal(stats_median_rank(table[i].n, 0.99), table[i].r99);
    }
    assert_int_equal(stats_median_rank(0, 0.95), 0);
}

static void test_summary(void **state)
{
    /* sorted: 1 2 3 4 5 6 7 8 100; deviations from 5: 4 3 2 1 0 1 2 3 95 -> median 2 */
    stats_summary s = stats_summarize((double[]){100, 8, 1, 7, 2, 6, 3, 5, 4}, 9);
    assert_int_equal(s.n, 9);
    near(s.median, 5);
    near(s.min, 1);
    near(s.mad, 2);
    assert_true(s.has_ci);
    near(s.ci95_low, 2);
    near(s.ci95_high, 8);
}

static void test_few_values_have_no_interval(void **state)
{
    stats_summary s = stats_summarize((double[]){3, 1, 2, 5, 4}, 5);
    assert_false(s.has_ci);
    assert_true(isnan(s.ci95_low) && isnan(s.ci95_high));
    near(s.median, 3);
    s = stats_summarize((double[]){3, 1, 2, 5, 4, 6}, 6);
    assert_true(s.has_ci);
    near(s.ci95_low, 1);
    near(s.ci95_high, 6);
}

/* The interval must cover the true median in at least 95% of draws: an exponential, median ln 2, n = 9 where
 * theory says 1 - 2 P(X <= 1) = 96.09%. */
static void test_coverage(void **state)
{
    enum { DRAWS = 20000 };
    uint64_t x = 88172645463325252u; /* xorshift64 (Marsaglia 2003) */
    int covered = 0;
    for (int d = 0; d < DRAWS; d++) {
        double values[9];
        for (size_t i = 0; i < 9; i++) {
            x ^= x << 13;
            x ^= x >> 7;
            x ^= x << 17;
            values[i] = -log((double)((x >> 11) + 1) * 0x1p-53);
        }
        stats_summary s = stats_summarize(values, 9);
        covered += s.ci95_low <= M_LN2 && M_LN2 <= s.ci95_high;
    }
    double share = (double)covered / DRAWS;
    assert_true(share > 0.955 && share < 0.967);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_median),   cmocka_unit_test(test_order_is_kept),
        cmocka_unit_test(test_ranks),    cmocka_unit_test(test_summary),
        cmocka_unit_test(test_coverage), cmocka_unit_test(test_few_values_have_no_interval),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
