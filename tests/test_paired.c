/* The statistics of the regression gate: against published tables and examples, against enumeration of all
 * signs, and by simulation of size, coverage and power. */
#include <math.h>
#include <stdlib.h>

#include "../harness/compare/paired.h"
#include "unit.h"

#define COUNT(a) (sizeof(a) / sizeof *(a))

static void near(double got, double wanted)
{
    if (!(fabs(got - wanted) <= 1e-12 * (1 + fabs(wanted)))) fail_msg("got %.17g, wanted %.17g", got, wanted);
}

static uint64_t state = 88172645463325252u; /* xorshift64 (Marsaglia 2003) */

static double uniform(void)
{
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return (double)((state >> 11) + 1) * 0x1p-53;
}

static double normal(void) { return sqrt(-2 * log(uniform())) * cos(2 * M_PI * uniform()); } /* Box-Muller */
static double cauchy(void) { return tan(M_PI * (uniform() - 0.5)); }
static double rounded(void) { return round(2 * normal()) / 2; }
/* A shared machine: quiet, but one pair in eight disturbed ten times as much. */
static double bursts(void) { return normal() * (uniform() < 0.125 ? 10 : 1); }
static double student3(void)
{
    double x = normal(), y = normal(), z = normal();
    return normal() / sqrt((x * x + y * y + z * z) / 3);
}

/* The largest T with P(signed-rank sum <= T) <= level, one-sided: McCornack, Extended tables of the Wilcoxon
 * matched pair signed rank statistic, JASA 60, 1965. Our rank is one above it; 0 where the table has a dash. */
static void test_published_quantiles(void **context)
{
    (void)context;
    static const struct {
        size_t n;
        int t050, t025, t005; /* -1: dash */
    } table[] = {{4, -1, -1, -1},  {5, 0, -1, -1},   {6, 2, 0, -1},    {7, 3, 2, -1},     {8, 5, 3, 0},
                 {9, 8, 5, 1},     {10, 10, 8, 3},   {11, 13, 10, 5},  {12, 17, 13, 7},   {13, 21, 17, 9},
                 {14, 25, 21, 12}, {15, 30, 25, 15}, {20, 60, 52, 37}, {25, 100, 89, 68}, {30, 151, 137, 109}};
    for (size_t i = 0; i < COUNT(table); i++) {
        assert_int_equal(paired_rank(table[i].n, 0.05), table[i].t050 + 1);
        assert_int_equal(paired_rank(table[i].n, 0.025), table[i].t025 + 1);
        assert_int_equal(paired_rank(table[i].n, 0.005), table[i].t005 + 1);
    }
    assert_int_equal(paired_rank(0, 0.05), 0);
    assert_int_equal(paired_rank(PAIRED_MAX + 1, 0.05), 0);
}

/* Hollander & Wolfe, table 3.1: Hamilton depression scores of nine patients before and after a tranquilizer:
 * T = 40, P = .0195, estimate .46, 96% interval (.010, .786). */
static void test_tranquilizer(void **context)
{
    (void)context;
    static const double x[] = {1.83, 0.50, 1.62, 2.48, 1.68, 1.88, 1.55, 3.06, 1.30},
                        y[] = {0.878, 0.647, 0.598, 2.05, 1.06, 1.29, 1.06, 3.14, 1.29};
    double d[9], negative[9];
    for (size_t i = 0; i < 9; i++) negative[i] = -(d[i] = x[i] - y[i]);
    near(paired_p_above(d, 9, 0), 10 / 512.0);
    near(paired_p_below(negative, 9, 0), 10 / 512.0);
    near(paired_p_below(d, 9, 0), 505 / 512.0);
    paired_interval e;
    assert_true(paired_estimate(d, 9, 0.96, &e));
    assert_true(fabs(e.estimate - 0.46) < 5e-4);
    assert_true(fabs(e.low - 0.010) < 5e-4 && fabs(e.high - 0.786) < 5e-4);
}

/* Darwin's fifteen pairs of maize (Fisher, The Design of Experiments, 1935, section 17; eighths of an inch):
 * the signed-rank sum of the two negative differences is 24, two-sided P = .0413. */
static void test_darwin(void **context)
{
    (void)context;
    static const double d[] = {49, -67, 8, 16, 6, 23, 28, 41, 14, 29, 56, 24, 75, 60, -48};
    assert_true(fabs(2 * paired_p_above(d, 15, 0) - 0.04126) < 5e-6);
}

/* P by writing down all 2^n signs. */
static double enumerated(const double *d, size_t n, double margin)
{
    double rank[16], observed = 0;
    size_t as_large = 0;
    for (size_t i = 0; i < n; i++) {
        rank[i] = 0.5;
        for (size_t j = 0; j < n; j++) {
            double a = fabs(d[j] - margin), b = fabs(d[i] - margin);
            rank[i] += a < b ? 1 : a > b ? 0 : 0.5;
        }
        observed += d[i] > margin ? rank[i] : 0;
    }
    for (size_t signs = 0; signs < (size_t)1 << n; signs++) {
        double t = 0;
        for (size_t i = 0; i < n; i++) t += signs >> i & 1 ? rank[i] : 0;
        as_large += t >= observed;
    }
    return (double)as_large / (double)((size_t)1 << n);
}

static void test_enumeration(void **context)
{
    (void)context;
    for (int round = 0; round < 200; round++) {
        double d[12];
        size_t n = 1 + (size_t)(uniform() * 11.99);
        for (size_t i = 0; i < n; i++) d[i] = round % 2 ? rounded() : normal();
        near(paired_p_above(d, n, 0.5), enumerated(d, n, 0.5));
    }
}

/* Ties with the margin count as not above it. */
static void test_zeros(void **context)
{
    (void)context;
    near(paired_p_above((double[]){1, 1, 1, 1}, 4, 1), 1);
    near(paired_p_above((double[]){1, 2, 3, 4}, 4, 1), 2 / 16.0); /* only one sign can move: rank 1 */
    near(paired_p_above((double[]){2, 2, 2, 2, 2}, 5, 1), 1 / 32.0);
}

/* The test rejects exactly where the one-sided bound excludes the margin. */
static void test_duality(void **context)
{
    (void)context;
    for (int round = 0; round < 500; round++) {
        double d[20], walsh[20 * 21 / 2];
        for (size_t i = 0; i < 20; i++) d[i] = 0.5 + normal();
        paired_walsh(d, 20, walsh);
        double bound = paired_select(walsh, COUNT(walsh), paired_rank(20, 0.05));
        assert_int_equal(paired_p_above(d, 20, 0.1) <= 0.05, bound > 0.1);
    }
}

static int ascending(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static void test_select(void **context)
{
    (void)context;
    for (size_t n = 1; n < 60; n++) {
        double values[60], sorted[60];
        for (size_t k = 1; k <= n; k++) {
            for (size_t i = 0; i < n; i++) values[i] = sorted[i] = n % 2 ? rounded() : normal();
            qsort(sorted, n, sizeof *sorted, ascending);
            near(paired_select(values, n, k), sorted[k - 1]);
        }
    }
}

/* Holm's procedure; the first row is the example of R's p.adjust. */
static void test_holm(void **context)
{
    (void)context;
    double p[] = {0.01, 0.04, 0.03, 0.005}, tied[] = {0.02, 0.5, 0.02}, one[] = {0.04}, large[] = {0.9, 0.8};
    static const double wanted[] = {0.03, 0.06, 0.06, 0.02};
    assert_true(paired_holm(p, 4) && paired_holm(tied, 3) && paired_holm(one, 1) && paired_holm(large, 2));
    for (size_t i = 0; i < 4; i++) near(p[i], wanted[i]);
    near(tied[0], 0.06);
    near(tied[1], 0.5);
    near(tied[2], 0.06);
    near(one[0], 0.04);
    near(large[0], 1);
    near(large[1], 1);
    assert_true(paired_holm(NULL, 0));
    assert_false(paired_holm(p, PAIRED_MAX + 1));
}

static void test_no_verdict_for_want_of_data(void **context)
{
    (void)context;
    paired_interval e;
    double bad[] = {1, NAN, 2, 3, 4, 5, 6}, five[] = {1, 2, 3, 4, 5};
    assert_false(paired_estimate(bad, 7, 0.95, &e));
    assert_true(isnan(e.estimate));
    near(paired_p_above(bad, 7, 0), 1);
    near(paired_p_above(NULL, 0, 0), 1);
    near(paired_p_below(NULL, 0, 0), 1);
    assert_true(paired_estimate(five, 5, 0.95, &e));
    near(e.estimate, 3);
    assert_true(isinf(e.low) && isinf(e.high)); /* 1/32 on each side is more than 2.5% */
    assert_true(isnan(paired_catchable(five, 5, 0, &(paired_stage){20, 0, 0.05, -INFINITY}, 1, 0.9)));
    double six[] = {1, 2, 3, 4, 5, 6};
    assert_true(isinf(paired_catchable(six, 6, 0, &(paired_stage){4, 0, 0.05, -INFINITY}, 1, 0.9)));
}

typedef double noise(void);

/* A case exactly at the margin is flagged at the test's size and no more, whatever the law of the noise, and
 * the interval covers what it promises. */
static void test_size_and_coverage(void **context)
{
    (void)context;
    enum { ROUNDS = 4000 };
    static noise *const laws[] = {normal, cauchy, student3, bursts, rounded};
    static const size_t sizes[] = {8, 12, 30};
    for (size_t l = 0; l < COUNT(laws); l++)
        for (size_t s = 0; s < COUNT(sizes); s++) {
            int rejected = 0, covered = 0;
            for (int round = 0; round < ROUNDS; round++) {
                double d[30];
                paired_interval e;
                for (size_t i = 0; i < sizes[s]; i++) d[i] = 3 + laws[l]();
                rejected += paired_p_above(d, sizes[s], 3) <= 0.05;
                assert_true(paired_estimate(d, sizes[s], 0.95, &e));
                covered += e.low <= 3 && 3 <= e.high;
            }
            /* 4 standard errors: sqrt(.05 .95 / 4000) = .0034 */
            assert_true(rejected < ROUNDS * (0.05 + 0.014));
            assert_true(covered > ROUNDS * (0.95 - 0.014));
            if (laws[l] == normal) assert_true(rejected > ROUNDS * (0.035));
        }
}

static double power_at(noise *law, double shared, const paired_stage *stages, double effect)
{
    enum { ROUNDS = 600 };
    int caught = 0;
    for (int round = 0; round < ROUNDS; round++) {
        bool all = true;
        for (size_t s = 0; s < 2; s++) {
            double d[40], here = effect + shared * normal();
            for (size_t i = 0; i < stages[s].pairs; i++) d[i] = here + law();
            all = all && paired_fires(&stages[s], d, stages[s].pairs);
        }
        caught += all;
    }
    return (double)caught / ROUNDS;
}

/* An effect of the size named is caught about nine times in ten: the mean of the true power over sessions.
 * Cauchy noise is left out: a session of 30 pairs does not show how bad it is. */
static void test_catchable(void **context)
{
    (void)context;
    enum { SESSIONS = 12 };
    static noise *const laws[] = {normal, student3, bursts};
    const paired_stage stages[] = {{12, 0, 0.2, 1.5}, {30, 3, 0.05, -INFINITY}};
    for (size_t l = 0; l < 2 * COUNT(laws); l++) {
        noise *law = laws[l / 2];
        double power = 0, shared = l % 2 ? 0.5 : 0;
        for (int session = 0; session < SESSIONS; session++) {
            double d[30];
            for (size_t i = 0; i < 30; i++) d[i] = 7 + law();
            power += power_at(law, shared, stages, paired_catchable(d, 30, shared, stages, 2, 0.9)) / SESSIONS;
        }
        if (power < 0.84 || power > 0.97) fail_msg("law %zu: power %.3f where 0.9 was promised", l, power);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_published_quantiles),
        cmocka_unit_test(test_tranquilizer),
        cmocka_unit_test(test_darwin),
        cmocka_unit_test(test_enumeration),
        cmocka_unit_test(test_zeros),
        cmocka_unit_test(test_duality),
        cmocka_unit_test(test_select),
        cmocka_unit_test(test_holm),
        cmocka_unit_test(test_size_and_coverage),
        cmocka_unit_test(test_catchable),
        cmocka_unit_test(test_no_verdict_for_want_of_data),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
