/* Order statistics of a handful of repetitions. Sources stand at each formula in stats.c. */
#ifndef SEPBENCH_STATS_H
#define SEPBENCH_STATS_H

#include <stdbool.h>
#include <stddef.h>

typedef struct {
    size_t n;
    double median, min, mad;    /* mad: median absolute deviation, unscaled */
    bool has_ci;                /* n >= 6 */
    double ci95_low, ci95_high; /* distribution-free interval of the median by order statistics, >= 95% */
} stats_summary;

/* Sorts nothing the caller sees; n >= 1. */
stats_summary stats_summarize(const double *values, size_t n);
double stats_median(const double *values, size_t n);

/* The 1-based rank r such that the interval from the r-th smallest to the r-th largest of n values covers the
 * median with at least that probability, as narrow as possible; 0 when none does (95%: n < 6). */
size_t stats_median_rank(size_t n, double confidence);

#endif
