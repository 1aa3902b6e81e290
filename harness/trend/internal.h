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
    size_t at;         /* the step's: how many places lie before it */
} trend_statistic;

/* What sums of scores are standardised by: 1 over their deviation over the permutations, which is the same for
 * all of these. */
typedef struct {
    double step[TREND_MOST_RUNS]; /* [place]: of the sum up to there; 0: no step may be there */
    double line;
} trend_weights;
void trend_weigh(const trend_scores *s, const int *state, size_t count, trend_weights *w);
/* Of scores in their order; NaN: not there. */
trend_statistic trend_measure(const double *score, const trend_weights *w, size_t count);
static inline double trend_larger(trend_statistic t) { return t.step > t.line ? t.step : t.line; }
/* A score without its state's weight; NaN: not there. */
double trend_plain(const trend_scores *s, const int *state, size_t i);

/* level.c: aligns x[runs] and takes the mood off. */
void trend_level_case(const trend_series *s, const double *mood, double *x);

/* null.c: scores as those of a history in which nothing changed and that is as much alike in a row: the
 * innovations of an autoregression, in an order drawn anew, one for all cases. */
void trend_whiten(const trend_scores *s, const int *state, size_t count, double alike, double *innovation);
void trend_shuffle(uint16_t *order, size_t count, uint32_t stream, uint32_t draw);
void trend_imitate(const double *innovation, const uint16_t *order, double alike, const trend_scores *like,
                   const int *state, size_t count, double *x);
/* s->alike, false without memory, and s->spread. room[cases]. */
bool trend_find_alike(trend_series *s, const trend_scores *scores, double *room);
void trend_find_spread(trend_series *s, const trend_scores *scores, double *room);

/* segments.c: where a case changed, by how much, and what that means. p: as found. changed: how many did. */
bool trend_explain(const trend_series *s, size_t c, size_t changed, double least_effect, trend_result *r);

#endif
