#include "stats.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static int ascending(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static double middle(const double *sorted, size_t n)
{
    return n % 2 ? sorted[n / 2] : 0.5 * (sorted[n / 2 - 1] + sorted[n / 2]);
}

/* P(X = k) for X ~ Binomial(n, 1/2); by logarithms, so that n in the thousands does not underflow. */
static double binomial_half(size_t k, size_t n)
{
    return exp(lgamma((double)n + 1) - lgamma((double)k + 1) - lgamma((double)(n - k) + 1) - (double)n * M_LN2);
}

/* The interval [x(r), x(n+1-r)] covers the median with probability 1 - 2 P(X <= r-1), X ~ Binomial(n, 1/2),
 * whatever the (continuous) distribution: H. A. David and H. N. Nagaraja, Order Statistics, 3rd ed., 2003,
 * section 7.1; W. Q. Meeker, G. J. Hahn, L. A. Escobar, Statistical Intervals, 2nd ed., 2017, section 5.2.
 * Returns the largest such r (1-based), 0 when even [min, max] covers less. */
size_t stats_median_rank(size_t n, double confidence)
{
    double below = 0; /* P(X <= r) */
    for (size_t r = 0; 2 * r < n; r++) {
        below += binomial_half(r, n);
        if (1 - 2 * below < confidence) return r;
    }
    return n / 2;
}

double stats_median(const double *values, size_t n)
{
    double *sorted = malloc(n * sizeof *sorted);
    if (sorted == NULL) return NAN;
    memcpy(sorted, values, n * sizeof *sorted);
    qsort(sorted, n, sizeof *sorted, ascending);
    double median = middle(sorted, n);
    free(sorted);
    return median;
}

stats_summary stats_summarize(const double *values, size_t n)
{
    stats_summary s = {.n = n, .median = NAN, .min = NAN, .mad = NAN, .ci95_low = NAN, .ci95_high = NAN};
    double *sorted = malloc(n * sizeof *sorted);
    if (n == 0 || sorted == NULL) goto done;
    memcpy(sorted, values, n * sizeof *sorted);
    qsort(sorted, n, sizeof *sorted, ascending);
    s.median = middle(sorted, n);
    s.min = sorted[0];
    size_t r = stats_median_rank(n, 0.95);
    if (r > 0) {
        s.has_ci = true;
        s.ci95_low = sorted[r - 1];
        s.ci95_high = sorted[n - r];
    }
    /* Median of absolute deviations from the median, not scaled to a normal's sigma (F. R. Hampel, The
     * influence curve and its role in robust estimation, JASA 69, 1974). */
    for (size_t i = 0; i < n; i++) sorted[i] = fabs(values[i] - s.median);
    s.mad = stats_median(sorted, n);
done:
    free(sorted);
    return s;
}

/* Mean and half width of the 95% interval of few logarithms, n from 3 to 5. */
static void student(const double *values, size_t n, double *low, double *high)
{
    static const double t975[] = {4.303, 3.182, 2.776}; /* n - 1 degrees of freedom */
    double sum = 0, squares = 0;
    for (size_t i = 0; i < n; i++) sum += log(values[i]);
    double mean = sum / (double)n;
    for (size_t i = 0; i < n; i++) squares += (log(values[i]) - mean) * (log(values[i]) - mean);
    double half = t975[n - 3] * sqrt(squares / (double)((n - 1) * n));
    *low = exp(mean - half);
    *high = exp(mean + half);
}

stats_summary stats_summarize_visits(const double *values, const int *visit, size_t n, size_t *visits)
{
    stats_summary all = stats_summarize(values, n);
    double *medians = malloc(n * sizeof *medians);
    size_t count = 0;
    all.has_ci = false;
    all.ci95_low = all.ci95_high = NAN;
    for (size_t from = 0, to; medians != NULL && from < n; from = to) {
        for (to = from + 1; to < n && visit[to] == visit[from];) to++;
        medians[count++] = stats_median(values + from, to - from);
    }
    *visits = count;
    if (count > 0) {
        stats_summary between = stats_summarize(medians, count);
        all.median = between.median;
        all.has_ci = count >= 3;
        all.ci95_low = between.ci95_low;
        all.ci95_high = between.ci95_high;
        if (all.has_ci && !between.has_ci) {
            student(medians, count, &all.ci95_low, &all.ci95_high);
            all.ci95_low = fmin(all.ci95_low, all.median);
            all.ci95_high = fmax(all.ci95_high, all.median);
        }
    }
    free(medians);
    return all;
}
