/* Order statistics of a handful of repetitions. Sources stand at each formula in stats.c. */
#ifndef SEPBENCH_STATS_H
#define SEPBENCH_STATS_H

#include <stdbool.h>
#include <stddef.h>

typedef struct {
    size_t n;
    double median, min, mad;    /* mad: median absolute deviation, unscaled */
    bool has_ci;                /* n >= 6; of visits, 3 of them */
    double ci95_low, ci95_high; /* distribution-free interval of the median by order statistics, >= 95% */
} stats_summary;

/* Sorts nothing the caller sees; n >= 1. */
stats_summary stats_summarize(const double *values, size_t n);

/* Repetitions of several visits, visit[i] that of values[i], the values of one visit adjacent. What differs
 * from visit to visit (where memory lies, the clock, other programs) is what the interval has to cover, so the
 * visit is the unit, as in T. Kalibera and R. Jones, Rigorous Benchmarking in Reasonable Time, ISMM 2013: the
 * median is that of the visits' medians, the interval is by order statistics of these from 6 visits on, by
 * Student's t on their logarithms from 3 on, and there is none below. n, min and mad are of all values. */
stats_summary stats_summarize_visits(const double *values, const int *visit, size_t n, size_t *visits);
double stats_median(const double *values, size_t n);

/* The 1-based rank r such that the interval from the r-th smallest to the r-th largest of n values covers the
 * median with at least that probability, as narrow as possible; 0 when none does (95%: n < 6). */
size_t stats_median_rank(size_t n, double confidence);

#endif
