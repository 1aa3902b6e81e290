#include "paired.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static int ascending(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static bool usable(const double *d, size_t n)
{
    if (n == 0 || n > PAIRED_MAX) return false;
    for (size_t i = 0; i < n; i++)
        if (!isfinite(d[i])) return false;
    return true;
}

/* C. A. R. Hoare, Algorithm 65: Find, CACM 4(7), 1961, in the form of N. Wirth, Algorithms + Data Structures =
 * Programs, 1976, section 2.4. */
double paired_select(double *values, size_t n, size_t k)
{
    ptrdiff_t low = 0, high = (ptrdiff_t)n - 1, target = (ptrdiff_t)k - 1;
    while (low < high) {
        double pivot = values[target];
        ptrdiff_t i = low, j = high;
        do {
            while (values[i] < pivot) i++;
            while (values[j] > pivot) j--;
            if (i > j) break;
            double t = values[i];
            values[i++] = values[j];
            values[j--] = t;
        } while (i <= j);
        if (j < target) low = i;
        if (target < i) high = j;
    }
    return values[target];
}

/* J. E. Walsh, Some significance tests for the median which are valid under very general conditions, Annals of
 * Mathematical Statistics 20(1), 1949. */
void paired_walsh(const double *d, size_t n, double *walsh)
{
    for (size_t i = 0; i < n; i++)
        for (size_t j = 0; j <= i; j++) *walsh++ = 0.5 * (d[i] + d[j]);
}

/* chance[k] = P(T = k) for T the sum of those of n weights whose fair coin shows heads, k = 0 .. sum of
 * weights: under the hypothesis every difference is as likely above the margin as below it. The recursion over
 * the differences is that of F. Wilcoxon, S. K. Katti, R. A. Wilcox, Critical values and probability levels for
 * the Wilcoxon rank sum test and the Wilcoxon signed rank test, 1963; with tied values the weights are their
 * mid-ranks (M. Hollander, D. A. Wolfe, E. Chicken, Nonparametric Statistical Methods, 3rd ed., 2014, section
 * 3.1, "conditional distribution"). Weights are twice the ranks, so that a mid-rank is whole. */
static double *distribution(const size_t *weight, size_t n, size_t *sum)
{
    size_t total = 0, reached = 0;
    for (size_t i = 0; i < n; i++) total += weight[i];
    double *chance = calloc(total + 1, sizeof *chance);
    if (chance == NULL) return NULL;
    chance[0] = 1;
    for (size_t i = 0; i < n; i++) {
        for (size_t k = reached + weight[i] + 1; k-- > 0;) {
            double without = k <= reached ? chance[k] : 0, with = k >= weight[i] ? chance[k - weight[i]] : 0;
            chance[k] = 0.5 * (without + with);
        }
        reached += weight[i];
    }
    *sum = total;
    return chance;
}

/* C of Hollander, Wolfe and Chicken, section 3.3: P(T <= C - 1) <= alpha < P(T <= C). The C-th
 * smallest Walsh average exceeds a margin exactly when the test of that margin rejects at alpha (J. W. Tukey,
 * The simplest signed-rank tests, Princeton, 1949: T counts the Walsh averages above the margin). */
size_t paired_rank(size_t n, double alpha)
{
    size_t weight[PAIRED_MAX], sum, rank = 0;
    if (n == 0 || n > PAIRED_MAX) return 0;
    for (size_t i = 0; i < n; i++) weight[i] = i + 1;
    double *chance = distribution(weight, n, &sum);
    if (chance == NULL) return 0;
    for (double below = chance[0]; below <= alpha && rank < sum; below += chance[rank]) rank++;
    free(chance);
    return rank;
}

/* The median of the Walsh averages and the interval between two of them: J. L. Hodges, E. L. Lehmann, Estimates
 * of location based on rank tests, Annals of Mathematical Statistics 34(2), 1963; Hollander, Wolfe and Chicken,
 * sections 3.2 and 3.3. */
bool paired_estimate(const double *d, size_t n, double confidence, paired_interval *result)
{
    *result = (paired_interval){n, NAN, -INFINITY, INFINITY, confidence};
    if (!usable(d, n)) return false;
    size_t count = n * (n + 1) / 2, rank = paired_rank(n, 0.5 * (1 - confidence));
    double *walsh = count > 0 ? malloc(count * sizeof *walsh) : NULL;
    if (walsh == NULL) return false;
    paired_walsh(d, n, walsh);
    qsort(walsh, count, sizeof *walsh, ascending);
    result->estimate = 0.5 * (walsh[(count - 1) / 2] + walsh[count / 2]);
    if (rank > 0) {
        result->low = walsh[rank - 1];
        result->high = walsh[count - rank];
    }
    free(walsh);
    return true;
}

typedef struct {
    double size;
    bool above;
} signed_value;

static int by_size(const void *a, const void *b)
{
    double x = ((const signed_value *)a)->size, y = ((const signed_value *)b)->size;
    return (x > y) - (x < y);
}

/* Doubled mid-ranks of sorted values. */
static void mid_ranks(const signed_value *v, size_t n, size_t *weight)
{
    for (size_t first = 0, next; first < n; first = next) {
        for (next = first + 1; next < n && v[next].size <= v[first].size; next++) {
        }
        for (size_t i = first; i < next; i++) weight[i] = first + 1 + next; /* 2 * mean of first+1 .. next */
    }
}

/* P(T >= observed): F. Wilcoxon, Individual comparisons by ranking methods, Biometrics Bulletin 1(6), 1945;
 * Hollander, Wolfe and Chicken, section 3.1. A difference equal to the margin keeps its rank but counts as not
 * above (J. W. Pratt, Remarks on zeros and ties in the Wilcoxon signed rank procedures, JASA 54, 1959, without
 * his dropping of the ranks): never a smaller p-value than with either sign drawn at random. */
static double p_value(const double *d, size_t n, double sign, double margin)
{
    signed_value v[PAIRED_MAX];
    size_t weight[PAIRED_MAX] = {0}, observed = 0, sum;
    if (!usable(d, n) || !isfinite(margin)) return 1;
    for (size_t i = 0; i < n; i++) {
        double x = sign * d[i] - margin;
        v[i] = (signed_value){fabs(x), x > 0};
    }
    qsort(v, n, sizeof *v, by_size);
    mid_ranks(v, n, weight);
    double *chance = distribution(weight, n, &sum), p = 0;
    if (chance == NULL) return 1;
    for (size_t i = 0; i < n; i++) observed += v[i].above ? weight[i] : 0;
    for (size_t k = sum + 1; k-- > observed;) p += chance[k]; /* smallest terms first */
    free(chance);
    return fmin(p, 1);
}

double paired_p_above(const double *d, size_t n, double margin) { return p_value(d, n, 1, margin); }

double paired_p_below(const double *d, size_t n, double margin) { return p_value(d, n, -1, -margin); }

/* S. Holm, A simple sequentially rejective multiple test procedure, Scandinavian Journal of Statistics 6(2),
 * 1979; adjusted p-values as in S. P. Wright, Adjusted p-values for simultaneous inference, Biometrics 48,
 * 1992: the largest of (m - j + 1) p(j) so far. */
bool paired_holm(double *p, size_t count)
{
    double sorted[PAIRED_MAX], adjusted[PAIRED_MAX], largest = 0;
    if (count > PAIRED_MAX) return false;
    if (count == 0) return true;
    memcpy(sorted, p, count * sizeof *p);
    qsort(sorted, count, sizeof *sorted, ascending);
    for (size_t j = 0; j < count; j++)
        adjusted[j] = largest = fmax(largest, fmin(1, (double)(count - j) * sorted[j]));
    for (size_t i = 0; i < count; i++) {
        /* Equal p-values share the largest factor's result, which is the first one's. */
        const double *at = bsearch(&p[i], sorted, count, sizeof *sorted, ascending);
        size_t j = (size_t)(at - sorted);
        while (j > 0 && sorted[j - 1] >= p[i]) j--;
        p[i] = adjusted[j];
    }
    return true;
}
