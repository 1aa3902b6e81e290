/* Statistics of paired differences d = ln(head / base): a location estimate with its interval, an exact test
 * against a margin, Holm's correction, and the smallest effect a plan of tests would have caught. All of it
 * rests on one thing, that d is symmetric about the true effect; pairs measured in random order AB or BA give
 * that. Sources stand at each formula in paired.c and power.c. */
#ifndef SEPBENCH_PAIRED_H
#define SEPBENCH_PAIRED_H

#include <stdbool.h>
#include <stddef.h>

enum { PAIRED_MAX = 500 }; /* differences one call takes */

typedef struct {
    size_t n;
    double estimate;   /* Hodges-Lehmann; NAN when n is 0 or a value is not finite */
    double low, high;  /* distribution-free, covers at least `confidence`; -inf and inf where n is too small */
    double confidence; /* what was asked for */
} paired_interval;

/* Values in any order, unchanged. False: out of memory, n above PAIRED_MAX, or a value that is not finite. */
bool paired_estimate(const double *d, size_t n, double confidence, paired_interval *result);

/* The p-value of "the effect is not above margin" by the exact signed-rank test; never NAN: 1 where it cannot
 * be computed, so that nothing is ever called slower for want of data. With `below`, the mirror image. */
double paired_p_above(const double *d, size_t n, double margin);
double paired_p_below(const double *d, size_t n, double margin);

/* Holm's adjusted p-values, in place: case i is rejected at level a if and only if p[i] <= a. At most
 * PAIRED_MAX of them; false otherwise. */
bool paired_holm(double *p, size_t count);

/* The largest C such that the C-th smallest Walsh average bounds the effect from below with at least
 * 1 - alpha: the signed-rank quantile. 0 when n is too small for alpha. */
size_t paired_rank(size_t n, double alpha);

/* One test of a plan: it fires where the effect is shown to be above margin at level alpha, and the estimate is
 * above estimate_above (-INFINITY: no such demand). */
typedef struct {
    size_t pairs;
    double margin, alpha, estimate_above;
} paired_stage;

bool paired_fires(const paired_stage *stage, const double *d, size_t n);

/* The smallest true effect that makes all stages fire, each on fresh pairs, with that power, where the noise is
 * like that of d about its estimate; all pairs of a stage are moved together by one more error, of standard
 * deviation `shared` (0: none), which no number of pairs averages out. INFINITY when a stage can never fire,
 * NAN when d has fewer than 6 values. */
double paired_catchable(const double *d, size_t n, double shared, const paired_stage *stages, size_t count,
                        double power);

/* The k-th smallest (from 1) of values, which are reordered. */
double paired_select(double *values, size_t n, size_t k);
/* The n (n + 1) / 2 averages of two values, i <= j. */
void paired_walsh(const double *d, size_t n, double *walsh);

#endif
