/* Where onednn-winograd's error factor comes from. Winograd computes A' ((G g) . (B' d)) per dimension; with
 * data of one magnitude, |A'| (|G| 1 . |B'| 1) over what the direct sum holds says how much larger the numbers
 * are whose roundings reach an output (Barabasz et al., ACM TOMS 46(4), 2020). The matrices follow from
 * oneDNN's points by Toom-Cook; the factor is the worst over the problems the implementation takes. */
#include <math.h>
#include <string.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "../harness/verify.h"

enum { TILE = 6, OUT = 4, TAPS = 3, FINITE = TILE - 1 };

/* oneDNN 2.6, src/cpu/x64/jit_avx512_core_f32_wino_conv_4x3.cpp: 0.625, 1.5 and their negatives, 0; infinity
 * last. */
static const double points[FINITE] = {0, 0.625, -0.625, 1.5, -1.5};

/* The roundings of G g G', B' d B and A' m A on the way to one output, besides the accumulation's: two stages
 * each of at most 4 (a constant is rounded too), 3 and 5, and 3 to spare. */
static const double transform_roundings = 27;

typedef struct {
    double at[OUT][TILE], g[TILE][TAPS], bt[TILE][TILE];
} matrices;

/* Coefficients, lowest first, of the product of (x - point) over all points but `skip` (FINITE: none). */
static void product(int skip, double coefficient[TILE])
{
    memset(coefficient, 0, TILE * sizeof *coefficient);
    coefficient[0] = 1;
    for (int p = 0, degree = 0; p < FINITE; p++) {
        if (p == skip) continue;
        degree++;
        for (int i = degree; i >= 0; i--)
            coefficient[i] = (i > 0 ? coefficient[i - 1] : 0) - points[p] * coefficient[i];
    }
}

static matrices toom_cook(void)
{
    matrices m = {0};
    for (int p = 0; p < FINITE; p++) {
        double divisor = 1;
        for (int q = 0; q < FINITE; q++)
            if (q != p) divisor *= points[p] - points[q];
        product(p, m.bt[p]);
        for (int k = 0; k < TAPS; k++) m.g[p][k] = pow(points[p], k) / divisor;
        for (int i = 0; i < OUT; i++) m.at[i][p] = pow(points[p], i);
    }
    product(FINITE, m.bt[FINITE]);
    m.g[FINITE][TAPS - 1] = 1;
    m.at[OUT - 1][FINITE] = 1;
    return m;
}

/* The matrices do compute a correlation, or the rest means nothing. */
static void test_matrices(void **state)
{
    (void)state;
    const matrices m = toom_cook();
    const double g[TAPS] = {3, -2, 5}, d[TILE] = {1, 4, -7, 2, 6, -3};
    double product_of[TILE];
    for (int p = 0; p < TILE; p++) {
        double x = 0, w = 0;
        for (int i = 0; i < TILE; i++) x += m.bt[p][i] * d[i];
        for (int k = 0; k < TAPS; k++) w += m.g[p][k] * g[k];
        product_of[p] = x * w;
    }
    for (int i = 0; i < OUT; i++) {
        double got = 0, expected = 0;
        for (int p = 0; p < TILE; p++) got += m.at[i][p] * product_of[p];
        for (int k = 0; k < TAPS; k++) expected += g[k] * d[i + k];
        assert_true(fabs(got - expected) < 1e-12);
    }
}

static double sum_abs(const double *row, int count, const int *mask)
{
    double sum = 0;
    for (int i = 0; i < count; i++)
        if (mask == NULL || mask[i]) sum += fabs(row[i]);
    return sum;
}

/* Forward and backward_data: the worst, over images narrower than a tile and over a tile at either border, of
 * what reaches an output divided by the tile's largest direct sum and the root of this output's taps. */
static double worst_output(const matrices *m)
{
    double worst = 0;
    for (int before = 0; before <= 1; before++)
        for (int width = 1; before + width <= TILE; width++) {
            int mask[TILE] = {0}, taps[OUT], most = 0;
            for (int i = before; i < before + width; i++) mask[i] = 1;
            for (int i = 0; i < OUT; i++) {
                taps[i] = mask[i] + mask[i + 1] + mask[i + 2];
                if (i + TAPS <= before + width + 1 && taps[i] > most)
                    most = taps[i]; /* padding after: at most 1 */
            }
            for (int i = 0; i < OUT && i + TAPS <= before + width + 1; i++) {
                double reach = 0;
                for (int p = 0; p < TILE; p++)
                    reach += fabs(m->at[i][p]) * sum_abs(m->g[p], TAPS, NULL) * sum_abs(m->bt[p], TILE, mask);
                if (taps[i] > 0) worst = fmax(worst, reach / most / sqrt(taps[i]));
            }
        }
    return worst;
}

/* backward_weights of `same` padding: the same for a tap's gradient, summed over the tiles of `outputs`. */
static double weight_factor(const matrices *m, int outputs)
{
    double reach[TAPS] = {0}, worst = 0;
    int tiles = (outputs + OUT - 1) / OUT;
    for (int t = 0; t < tiles; t++) {
        int x[TILE], y[OUT];
        for (int j = 0; j < TILE; j++) x[j] = OUT * t + j - 1 >= 0 && OUT * t + j - 1 < outputs;
        for (int j = 0; j < OUT; j++) y[j] = OUT * t + j < outputs;
        for (int k = 0; k < TAPS; k++)
            for (int p = 0; p < TILE; p++) {
                double column = 0;
                for (int j = 0; j < OUT; j++) column += y[j] * fabs(m->at[j][p]);
                reach[k] += fabs(m->g[p][k]) * sum_abs(m->bt[p], TILE, x) * column;
            }
    }
    const double taps[TAPS] = {outputs - 1, outputs, outputs - 1};
    for (int i = 0; i < TAPS; i++)
        for (int j = 0; j < TAPS; j++)
            worst = fmax(worst, reach[i] * reach[j] / ((double)outputs * outputs) / sqrt(taps[i] * taps[j]));
    return worst * sqrt((double)tiles * tiles + transform_roundings);
}

static void test_error_factor(void **state)
{
    (void)state;
    const conv_impl *impl = conv_find("onednn-winograd", CONV_DENSE);
    if (impl == NULL) skip();
    const matrices m = toom_cook();
    const double channels = 16; /* the fewest it takes; outputs: 5x5 */
    double one = worst_output(&m);
    double factor = one * one * sqrt((channels + transform_roundings) / channels);
    for (int outputs = 5; outputs <= 256; outputs++) factor = fmax(factor, weight_factor(&m, outputs));
    factor *= VERIFY_FACTOR;
    print_message("# error factor %.1f, stated %.1f\n", factor, impl->error_factor);
    assert_true(factor <= impl->error_factor);
    assert_true(impl->error_factor <= 1.05 * factor);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_matrices), cmocka_unit_test(test_error_factor)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
