/* What the files that test a series share. */
#ifndef SEPBENCH_TREND_INTERNAL_H
#define SEPBENCH_TREND_INTERNAL_H

#include "detect.h"

/* One case made ready for permuting: scores of the runs that have it. */
typedef struct {
    const double *score; /* [runs]; NaN: not there */
    double variance[TREND_STATES];
    size_t count[TREND_STATES];
} trend_scores;

/* Scores of x[runs] (NaN: not there), into score. */
bool trend_score(const double *x, const int *state, size_t runs, double *score, trend_scores *scores);

typedef struct {
    double step, line; /* standardised, without sign */
    size_t at;         /* the step's: how many places of the order lie before it */
} trend_statistic;

/* Of the runs in that order. */
trend_statistic trend_measure(const trend_scores *s, const int *state, const size_t *order, size_t count);

/* Orders `count` runs of those states anew, each among those of its state, s->alike in a row together; the
 * draw-th order of that stream. */
void trend_permute(const trend_series *s, const int *state, size_t *order, size_t count, uint32_t stream,
                   uint32_t draw);

/* segments.c: where a case changed, by how much, and what that means. order: the identity. p: as found. */
bool trend_explain(const trend_series *s, size_t c, double least_effect, trend_result *r);

#endif
