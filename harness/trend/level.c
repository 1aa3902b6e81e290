/* What a run's machine does to the cases is taken off. */
#include <Random123/philox.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "../stats.h"
#include "internal.h"

enum { FOLDS = 5, TURNS = 40 };

static size_t values_of(const double *x, size_t runs)
{
    size_t n = 0;
    for (size_t r = 0; r < runs; r++) n += isfinite(x[r]);
    return n;
}

/* Takes off each state's median, so that the states differ in spread only: aligned observations, J. L. Hodges,
 * E. L. Lehmann, Rank methods for combination of independent experiments in analysis of variance, Annals of
 * Mathematical Statistics 33, 1962. */
static void align(double *x, const int *state, size_t runs)
{
    double room[TREND_MOST_RUNS];
    for (int k = 0; k < TREND_STATES; k++) {
        size_t n = 0;
        for (size_t r = 0; r < runs; r++)
            if (state[r] == k && isfinite(x[r])) room[n++] = x[r];
        double level = n > 0 ? stats_median(room, n) : 0;
        for (size_t r = 0; r < runs; r++)
            if (state[r] == k) x[r] -= level;
    }
}

/* ---- speed */

/* Cases that may tell a run's speed. */
static size_t controls(const trend_series *s, bool ours)
{
    size_t n = 0;
    for (size_t c = 0; c < s->cases; c++)
        n += (ours || s->control[c]) && values_of(&s->log_ns[c * s->runs], s->runs) >= TREND_LEAST_RUNS;
    return n;
}

static void take_speed(trend_series *s, double *room)
{
    for (size_t r = 0; r < s->runs; r++) {
        size_t n = 0;
        for (size_t c = 0; c < s->cases; c++)
            if ((s->control[c] || !s->controlled) && isfinite(s->log_ns[c * s->runs + r]))
                room[n++] = s->log_ns[c * s->runs + r];
        s->speed[r] = n >= TREND_CONTROLS ? stats_median(room, n) : NAN; /* too little of that run is known */
        for (size_t c = 0; c < s->cases; c++) s->log_ns[c * s->runs + r] -= s->speed[r];
    }
}

/* ---- mood */

/* One step of the power method: mood becomes the sum of the controls' scores, each by how much it follows the
 * mood; those of one fold (their place modulo FOLDS) are left out. */
static void turn(const trend_series *s, const double *score, int left_out, double *mood)
{
    double next[TREND_MOST_RUNS] = {0}, squares = 0;
    int place = 0;
    for (size_t c = 0; c < s->cases; c++) {
        const double *z = &score[c * s->runs];
        double follows = 0;
        if (!s->control[c] || place++ % FOLDS == left_out) continue;
        for (size_t r = 0; r < s->runs; r++)
            if (isfinite(z[r])) follows += z[r] * mood[r];
        for (size_t r = 0; r < s->runs; r++)
            if (isfinite(z[r])) next[r] += follows * z[r];
    }
    for (size_t r = 0; r < s->runs; r++) squares += next[r] * next[r];
    for (size_t r = 0; r < s->runs; r++) mood[r] = squares > 0 ? next[r] / sqrt(squares) : 0;
}

static void find_mood(const trend_series *s, const double *score, int left_out, double *mood)
{
    for (size_t r = 0; r < s->runs; r++) /* any beginning will do that follows no calendar */
        mood[r] =
            (double)philox4x32_R(10, (philox4x32_ctr_t){{(uint32_t)r}}, (philox4x32_key_t){{1}}).v[0] - 0x1p31;
    for (int i = 0; i < TURNS; i++) turn(s, score, left_out, mood);
}

typedef struct {
    double mood, value, slope;
} placed;

static int by_mood(const void *a, const void *b)
{
    double x = ((const placed *)a)->mood, y = ((const placed *)b)->mood;
    return (x > y) - (x < y);
}

static int by_slope(const void *a, const void *b)
{
    double x = ((const placed *)a)->slope, y = ((const placed *)b)->slope;
    return (x > y) - (x < y);
}

/* Takes off what x does with the mood. The slope is the weighted median of those between each run and the one
 * half the runs further on in the order of moods: H. Theil, A rank-invariant method of linear and polynomial
 * regression analysis, 1950, in its abbreviated form; L. A. Jaeckel's weights (Annals of Mathematical
 * Statistics 43, 1972). Least squares would follow a single outlier. */
static void take_mood(double *x, const double *mood, size_t runs)
{
    placed p[TREND_MOST_RUNS];
    size_t n = 0, half, i = 0;
    double weight = 0, sum = 0;
    for (size_t r = 0; r < runs; r++)
        if (isfinite(x[r])) p[n++] = (placed){mood[r], x[r], 0};
    half = n / 2;
    qsort(p, n, sizeof *p, by_mood);
    for (size_t k = 0; k < half; k++) {
        placed *low = &p[k], *high = &p[n - half + k];
        low->mood = high->mood - low->mood;
        low->slope = low->mood > 0 ? (high->value - low->value) / low->mood : 0;
        weight += low->mood;
    }
    if (half == 0 || weight <= 0) return;
    qsort(p, half, sizeof *p, by_slope);
    while (i + 1 < half && (sum += p[i].mood) < weight / 2) i++;
    for (size_t r = 0; r < runs; r++) x[r] -= p[i].slope * mood[r];
}

void trend_level_case(const trend_series *s, const double *mood, double *x)
{
    align(x, s->state, s->runs);
    take_mood(x, mood, s->runs);
    align(x, s->state, s->runs);
}

/* What the controls do together beyond their speed, as when the host moves cores and small cases suffer most,
 * no commit did: their first principal component is taken off all cases, each by how much it follows.
 * J. A. Gagnon-Bartsch, T. P. Speed, Using control genes to correct for unwanted variation in microarray
 * data, Biostatistics 13, 2012. A control's is that of the others, so that it is left with as much as a case
 * of ours is: cross-fitting. */
static bool take_moods(trend_series *s)
{
    double *score = malloc((s->runs * s->cases + 1) * sizeof *score), mood[FOLDS][TREND_MOST_RUNS];
    int place = 0;
    bool fine = score != NULL;
    trend_scores scores;
    for (size_t c = 0; fine && c < s->cases; c++)
        if ((fine = trend_score(&s->log_ns[c * s->runs], s->state, s->runs, &score[c * s->runs], &scores)))
            for (size_t r = 0; r < s->runs; r++) score[c * s->runs + r] = trend_plain(&scores, s->state, r);
    for (int k = 0; fine && k < FOLDS; k++) find_mood(s, score, k, mood[k]);
    if (fine) find_mood(s, score, -1, s->mood);
    for (size_t c = 0; fine && c < s->cases; c++)
        trend_level_case(s, s->control[c] ? mood[place++ % FOLDS] : s->mood, &s->log_ns[c * s->runs]);
    free(score);
    return fine;
}

bool trend_level(trend_series *s)
{
    double *room = malloc((s->runs + s->cases + 1) * sizeof *room);
    if (room == NULL) return false;
    for (size_t c = 0; c < s->cases; c++) align(&s->log_ns[c * s->runs], s->state, s->runs);
    s->controlled = controls(s, false) >= TREND_CONTROLS;
    s->levelled = s->controlled || controls(s, true) >= TREND_CONTROLS;
    if (s->levelled) take_speed(s, room);
    for (size_t c = 0; s->levelled && c < s->cases; c++) align(&s->log_ns[c * s->runs], s->state, s->runs);
    free(room);
    return !s->controlled || take_moods(s);
}
