/* What a history in which nothing changed would look like, where runs in a row are alike. */
#include <Random123/philox.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "../stats.h"
#include "internal.h"

enum { IMITATED = 200, HALVINGS = 8, SLOW = 4 };
#define MOST_ALIKE 0.98
#define FURTHEST 30 /* standard deviations: no step is larger to ranks */

static uint32_t drawn(uint32_t place, uint32_t draw, uint32_t stream)
{
    return philox4x32_R(10, (philox4x32_ctr_t){{place, draw, stream}}, (philox4x32_key_t){{0x7e3d}}).v[0];
}

/* R. Durstenfeld, Algorithm 235: Random permutation, CACM 7, 1964, by Philox (J. K. Salmon and others, Parallel
 * random numbers: as easy as 1, 2, 3, SC 2011). */
void trend_shuffle(uint16_t *order, size_t count, uint32_t stream, uint32_t draw)
{
    for (size_t i = 0; i < count; i++) order[i] = (uint16_t)i;
    for (size_t i = count; i > 1; i--) {
        size_t other = (uint64_t)drawn((uint32_t)i, draw, stream) * i >> 32;
        uint16_t kept = order[i - 1];
        order[i - 1] = order[other];
        order[other] = kept;
    }
}

double trend_plain(const trend_scores *s, const int *state, size_t i)
{
    double variance = s->variance[state[i]];
    return isnan(s->score[i]) || variance <= 0 ? NAN : s->score[i] / sqrt(variance);
}

/* A run's innovation is what its score has beyond the run before. Where a run lacks the case, that of the next
 * one stands in, so that one order serves all cases. */
void trend_whiten(const trend_scores *s, const int *state, size_t count, double alike, double *innovation)
{
    double last = NAN, next = 0;
    for (size_t i = 0; i < count; i++) {
        double z = trend_plain(s, state, i);
        innovation[i] = isnan(last) ? z : (z - alike * last) / sqrt(1 - alike * alike);
        if (!isnan(z)) last = z;
    }
    for (size_t i = 2 * count; i-- > 0;) {
        double *at = &innovation[i % count];
        if (isnan(*at)) *at = next;
        next = *at;
    }
}

/* In each state of mean 0 and of the variance that the real ones have. */
void trend_imitate(const double *innovation, const uint16_t *order, double alike, const trend_scores *like,
                   const int *state, size_t count, double *x)
{
    double fresh = sqrt(1 - alike * alike), last = innovation[order[0]];
    x[0] = last;
    for (size_t i = 1; i < count; i++) x[i] = last = alike * last + fresh * innovation[order[i]];
    for (int k = 0; k < TREND_STATES; k++) {
        double n = (double)like->count[k], sum = 0, squares = 0;
        for (size_t i = 0; i < count; i++) {
            double here = state[i] == k && !isnan(like->score[i]) ? x[i] : 0;
            sum += here;
            squares += here * here;
        }
        double variance = n > 1 ? (squares - sum * sum / n) / (n - 1) : 0;
        double scale = variance > 0 ? sqrt(like->variance[k] / variance) : 0, mean = sum / n;
        for (size_t i = 0; i < count; i++)
            if (state[i] == k) x[i] = isnan(like->score[i]) ? NAN : (x[i] - mean) * scale;
    }
}

/* ---- how alike */

/* Box and Muller's. */
static double normal(uint32_t place, uint32_t draw)
{
    philox4x32_ctr_t d = philox4x32_R(10, (philox4x32_ctr_t){{place, draw}}, (philox4x32_key_t){{0xa11e}});
    return sqrt(-2 * log(((double)d.v[0] + 0.5) * 0x1p-32)) * cos(M_PI * 0x1p-31 * (double)d.v[1]);
}

/* Normal noise of that correlation, beside a step half-way, levelled as a case is. */
static void imagine(const trend_series *s, uint32_t draw, double alike, double step, double *x)
{
    const double fresh = sqrt(1 - alike * alike);
    for (size_t r = 0; r < s->runs; r++)
        x[r] = (r == 0 ? normal(0, draw) : alike * x[r - 1] + fresh * normal((uint32_t)r, draw));
    for (size_t r = s->runs / 2; r < s->runs; r++) x[r] += step;
    trend_level_case(s, s->mood, x);
}

/* Which part of the scores' squares is slower than SLOW half waves over the history: what a step and a drift
 * have to be told from. By cosines, as U. K. Mueller, M. W. Watson, Testing models of low-frequency
 * variability, Econometrica 76, 2008. */
static double slow_part(const trend_scores *s, const int *state, size_t runs)
{
    double wave[SLOW] = {0}, all = 0, slow = 0;
    for (size_t r = 0; r < runs; r++) {
        double z = trend_plain(s, state, r);
        if (isnan(z)) continue;
        all += z * z;
        for (int k = 0; k < SLOW; k++) wave[k] += z * cos(M_PI * (k + 1) * ((double)r + 0.5) / (double)runs);
    }
    for (int k = 0; k < SLOW; k++) slow += wave[k] * wave[k] * 2 / (double)runs;
    return all > 0 ? slow / all : 0;
}

static int ascending(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static double quantile(double *x, size_t n, double part)
{
    qsort(x, n, sizeof *x, ascending);
    return x[(size_t)(part * (double)(n - 1) + 0.5)];
}

static bool imagined_part(const trend_series *s, double alike, double *part)
{
    double x[TREND_MOST_RUNS], score[TREND_MOST_RUNS], parts[IMITATED];
    trend_scores scores;
    for (uint32_t draw = 0; draw < IMITATED; draw++) {
        imagine(s, draw, alike, 0, x);
        if (!trend_score(x, s->state, s->runs, score, &scores)) return false;
        parts[draw] = slow_part(&scores, s->state, s->runs);
    }
    *part = quantile(parts, IMITATED, 0.75);
    return true;
}

/* The autoregression whose slow part is that of the controls (of all cases, where these do not tell the speed):
 * an estimate without bias in the median, D. W. K. Andrews, Exactly median-unbiased estimation of first order
 * autoregressive models, Econometrica 61, 1993. Three quarters of the cases are no slower: cases differ. */
bool trend_find_alike(trend_series *s, const trend_scores *scores, double *room)
{
    size_t n = 0;
    double least = 0, most = MOST_ALIKE, part, part_of_white, told;
    s->alike = 0;
    for (size_t c = 0; c < s->cases; c++)
        if (scores[c].score != NULL && (s->control[c] || !s->controlled))
            room[n++] = slow_part(&scores[c], s->state, s->runs);
    if (n == 0) return true;
    told = quantile(room, n, 0.75);
    if (!imagined_part(s, 0, &part_of_white)) return false;
    for (int i = 0; told > part_of_white && i < HALVINGS; i++) {
        s->alike = 0.5 * (least + most);
        if (!imagined_part(s, s->alike, &part)) return false;
        *(part < told ? &least : &most) = s->alike;
    }
    return true;
}

/* ---- what would have been found */

/* The state of most runs: the usual one. */
static int usual_state(const trend_series *s)
{
    size_t count[TREND_STATES] = {0};
    int usual = 0;
    for (size_t r = 0; r < s->runs; r++) count[s->state[r]]++;
    for (int k = 1; k < TREND_STATES; k++)
        if (count[k] > count[usual]) usual = k;
    return usual;
}

static bool found_of(const trend_series *s, double step, double *part, double *spread)
{
    double x[TREND_MOST_RUNS], score[TREND_MOST_RUNS], spreads[IMITATED];
    const int usual = usual_state(s);
    trend_scores scores;
    trend_weights weights;
    int found = 0;
    for (uint32_t draw = 0; draw < IMITATED; draw++) {
        imagine(s, draw, s->alike, step, x);
        if (!trend_score(x, s->state, s->runs, score, &scores)) return false;
        trend_weigh(&scores, s->state, s->runs, &weights);
        found += trend_larger(trend_measure(score, &weights, s->runs)) > s->limit;
        spreads[draw] = sqrt(1 / fmax(scores.variance[usual], 1e-12));
    }
    *part = (double)found / IMITATED;
    *spread = quantile(spreads, IMITATED, 0.5);
    return true;
}

static double kept_of(const trend_series *s)
{
    double x[TREND_MOST_RUNS], sum[2] = {0};
    const size_t half = s->runs / 2;
    for (size_t r = 0; r < s->runs; r++) x[r] = r >= half;
    trend_level_case(s, s->mood, x);
    for (size_t r = 0; r < s->runs; r++) sum[r >= half] += x[r];
    return sum[1] / (double)(s->runs - half) - sum[0] / (double)half;
}

void trend_find_spread(trend_series *s, const trend_scores *scores, double *room)
{
    const int usual = usual_state(s);
    size_t n = 0;
    for (size_t c = 0; c < s->cases; c++)
        if (scores[c].score != NULL) /* equal times have no variance, nor noise */
            room[n++] = scores[c].variance[usual] > 0 ? 1 / sqrt(scores[c].variance[usual]) : 0;
    s->spread = quantile(room, n, 0.5);
}

bool trend_tell(trend_series *s)
{
    double part, unit, unused, least = 0, most = FURTHEST;
    s->told = INFINITY;
    if (!isfinite(s->limit)) return true;
    s->kept = kept_of(s);
    if (!found_of(s, 0, &part, &unit) || !found_of(s, most, &part, &unused)) return false;
    if (part < 0.8) return true;
    for (int i = 0; i < HALVINGS; i++) {
        double step = 0.5 * (least + most);
        if (!found_of(s, step, &part, &unused)) return false;
        *(part < 0.8 ? &least : &most) = step;
    }
    s->told = most * s->spread / unit;
    return true;
}
