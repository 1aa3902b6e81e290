#include "internal.h"

#include <Random123/philox.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "../stats.h"

const char *trend_verdict_name(trend_verdict v)
{
    static const char *const names[] = {"quiet", "slower", "faster", "back", "small", "few"};
    return v < TREND_VERDICT_COUNT ? names[v] : "?";
}

bool trend_series_create(trend_series *s, size_t runs, size_t cases)
{
    *s = (trend_series){.runs = runs, .cases = cases};
    s->log_ns = malloc((runs * cases + 1) * sizeof *s->log_ns);
    s->control = calloc(cases + 1, sizeof *s->control);
    s->state = calloc(runs + 1, sizeof *s->state);
    s->speed = calloc(runs + 1, sizeof *s->speed);
    for (size_t i = 0; s->log_ns != NULL && i < runs * cases; i++) s->log_ns[i] = NAN;
    if (s->log_ns != NULL && s->control != NULL && s->state != NULL && s->speed != NULL) return true;
    trend_series_destroy(s);
    return false;
}

void trend_series_destroy(trend_series *s)
{
    free(s->log_ns);
    free(s->control);
    free(s->state);
    free(s->speed);
    *s = (trend_series){0};
}

/* ---- levels */

/* Takes off each state's median, so that the states differ in spread only: aligned observations, J. L. Hodges,
 * E. L. Lehmann, Rank methods for combination of independent experiments in analysis of variance, Annals of
 * Mathematical Statistics 33, 1962. */
static void align(double *x, const int *state, size_t runs, double *room)
{
    for (int k = 0; k < TREND_STATES; k++) {
        size_t n = 0;
        for (size_t r = 0; r < runs; r++)
            if (state[r] == k && isfinite(x[r])) room[n++] = x[r];
        double level = n > 0 ? stats_median(room, n) : 0;
        for (size_t r = 0; r < runs; r++)
            if (state[r] == k) x[r] -= level;
    }
}

static size_t values_of(const double *x, size_t runs)
{
    size_t n = 0;
    for (size_t r = 0; r < runs; r++) n += isfinite(x[r]);
    return n;
}

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

bool trend_level(trend_series *s)
{
    double *room = malloc((s->runs + s->cases + 1) * sizeof *room);
    if (room == NULL) return false;
    for (size_t c = 0; c < s->cases; c++) align(&s->log_ns[c * s->runs], s->state, s->runs, room);
    s->controlled = controls(s, false) >= TREND_CONTROLS;
    s->levelled = s->controlled || controls(s, true) >= TREND_CONTROLS;
    if (s->levelled) {
        take_speed(s, room);
        for (size_t c = 0; c < s->cases; c++) align(&s->log_ns[c * s->runs], s->state, s->runs, room);
    }
    free(room);
    return true;
}

/* ---- scores */

typedef struct {
    double value;
    size_t run;
} placed;

static int by_value(const void *a, const void *b)
{
    double x = ((const placed *)a)->value, y = ((const placed *)b)->value;
    return (x > y) - (x < y);
}

/* Wilcoxon's scores of one state: centred mid-ranks of unit variance, over the state's spread: strata
 * count by how much they tell (P. van Elteren, On the combination of independent two sample tests of
 * Wilcoxon, Bulletin of the International Statistical Institute 37, 1960, with weights for strata of
 * unequal spread). */
static void score_state(placed *v, size_t n, double *score, double *variance)
{
    double *room = malloc((n + 1) * sizeof *room), squares = 0;
    *variance = 0;
    qsort(v, n, sizeof *v, by_value);
    for (size_t i = 0; i < n; i++) score[v[i].run] = 0;
    if (room == NULL || n < 2) goto done;
    for (size_t i = 0; i < n; i++) room[i] = fabs(v[i].value); /* about the state's median, which is 0 */
    double spread = fmax(stats_median(room, n), 1e-6);
    for (size_t first = 0, next; first < n; first = next) {
        for (next = first + 1; next < n && v[next].value <= v[first].value; next++) {
        }
        double centred = 0.5 * (double)(first + next + 1) - 0.5 * (double)(n + 1);
        for (size_t i = first; i < next; i++) score[v[i].run] = centred;
        squares += (double)(next - first) * centred * centred;
    }
    double deviation = sqrt(squares / (double)(n - 1));
    if (deviation <= 0) goto done; /* all equal */
    for (size_t i = 0; i < n; i++) score[v[i].run] /= deviation * spread;
    *variance = 1 / (spread * spread);
done:
    free(room);
}

bool trend_score(const double *x, const int *state, size_t runs, double *score, trend_scores *s)
{
    placed *v = malloc((runs + 1) * sizeof *v);
    if (v == NULL) return false;
    for (size_t r = 0; r < runs; r++) score[r] = NAN;
    for (int k = 0; k < TREND_STATES; k++) {
        size_t n = 0;
        for (size_t r = 0; r < runs; r++)
            if (state[r] == k && isfinite(x[r])) v[n++] = (placed){x[r], r};
        score_state(v, n, score, &s->variance[k]);
        s->count[k] = n;
    }
    s->score = score;
    free(v);
    return true;
}

/* ---- the statistic */

/* The sum of the scores before a place, standardised by its variance over the permutations, at the place
 * where it is largest: rank tests for a change at an unknown place, A. N. Pettitt, A non-parametric
 * approach to the change-point problem, Applied Statistics 28, 1979; standardised, B. James, K. L. James,
 * D. Siegmund, Tests for a change-point, Biometrika 74, 1987. The variance of a sum of a draws of n
 * without replacement is a (n - a) / n of theirs. For drift, the correlation of scores and places (C.
 * Spearman's), in the same way. */
trend_statistic trend_measure(const trend_scores *s, const int *state, const size_t *order, size_t count)
{
    trend_statistic best = {0, 0, 0};
    size_t before[TREND_STATES] = {0}, total = 0, n = 0;
    double sum = 0, line = 0, places[TREND_STATES] = {0}, squares[TREND_STATES] = {0}, line_variance = 0;
    for (int k = 0; k < TREND_STATES; k++) total += s->count[k];
    for (size_t i = 0; i < count; i++) {
        double score = s->score[order[i]];
        if (isnan(score)) continue;
        int k = state[order[i]];
        sum += score;
        line += score * (double)i; /* scores sum to 0 in each state: no centring is needed */
        places[k] += (double)i;
        squares[k] += (double)i * (double)i;
        before[k]++;
        if (++n < TREND_SEGMENT || total - n < TREND_SEGMENT) continue;
        double variance = 0;
        for (int j = 0; j < TREND_STATES; j++)
            if (s->count[j] > 0)
                variance +=
                    s->variance[j] * (double)(before[j] * (s->count[j] - before[j])) / (double)s->count[j];
        double z = variance > 0 ? fabs(sum) / sqrt(variance) : 0;
        if (z > best.step) best = (trend_statistic){z, 0, i + 1};
    }
    for (int k = 0; k < TREND_STATES; k++)
        if (s->count[k] > 0)
            line_variance += s->variance[k] * (squares[k] - places[k] * places[k] / (double)s->count[k]);
    best.line = line_variance > 0 ? fabs(line) / sqrt(line_variance) : 0;
    return best;
}

/* The places of that state. */
static size_t places_of(const int *state, size_t count, int k, size_t *place)
{
    size_t n = 0;
    for (size_t i = 0; i < count; i++)
        if (state[i] == k) place[n++] = i;
    return n;
}

static uint32_t below(uint32_t limit, uint32_t place, uint32_t draw, uint32_t stream, int state)
{
    philox4x32_ctr_t counter = {{place, draw, stream, (uint32_t)state}};
    philox4x32_ctr_t drawn = philox4x32_R(10, counter, (philox4x32_key_t){{0x7e3d, 0}});
    return (uint32_t)((uint64_t)drawn.v[0] * limit >> 32);
}

/* R. Durstenfeld, Algorithm 235: Random permutation, CACM 7, 1964, of blocks, by Philox (J. K. Salmon and
 * others, Parallel random numbers: as easy as 1, 2, 3, SC 2011). Blocks keep together what comes in a row,
 * from a different place each time: H. R. Kuensch, The jackknife and the bootstrap for general stationary
 * observations, Annals of Statistics 17, 1989. */
void trend_permute(const trend_series *s, const int *state, size_t *order, size_t count, uint32_t stream,
                   uint32_t draw)
{
    size_t place[TREND_MOST_RUNS], block[TREND_MOST_RUNS];
    for (int k = 0; k < TREND_STATES; k++) {
        size_t n = places_of(state, count, k, place), blocks = (n + s->alike - 1) / s->alike, at = 0;
        size_t turn = n > 0 ? below((uint32_t)n, UINT32_MAX, draw, stream, k) : 0;
        for (size_t b = 0; b < blocks; b++) block[b] = b;
        for (size_t b = blocks; b > 1; b--) {
            size_t other = below((uint32_t)b, (uint32_t)b, draw, stream, k), kept = block[b - 1];
            block[b - 1] = block[other];
            block[other] = kept;
        }
        for (size_t b = 0; b < blocks; b++)
            for (size_t i = block[b] * s->alike; i < n && i < (block[b] + 1) * s->alike; i++)
                order[place[at++]] = place[(i + turn) % n];
    }
}

static int ascending(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* The correlation of scores `lag` runs of a state apart. */
static double correlation(const trend_series *s, const double *score, size_t lag)
{
    size_t place[TREND_MOST_RUNS], pairs = 0, n = 0;
    double together = 0, squares = 0;
    for (int k = 0; k < TREND_STATES; k++) {
        size_t of_state = places_of(s->state, s->runs, k, place);
        for (size_t i = 0; i < of_state; i++) {
            double x = score[place[i]], y = i >= lag ? score[place[i - lag]] : NAN;
            if (!isnan(x)) squares += x * x, n++;
            if (!isnan(x) && !isnan(y)) together += x * y, pairs++;
        }
    }
    return pairs > 0 && squares > 0 ? together / (double)pairs / (squares / (double)n) : 0;
}

/* In a history of its own the runs of a host that stays as it is for some of them are alike, and no order
 * of theirs is as likely as any other. So many in a row stay together: three times what it takes until the
 * correlation, of nine tenths of the controls (of all cases where these do not tell the speed), is below
 * 0.3. */
static size_t alike_of(const trend_series *s, const trend_scores *scores, double *room)
{
    const size_t most = s->runs >= 16 ? s->runs / 8 : 1;
    for (size_t lag = 1; lag < most; lag++) {
        size_t n = 0;
        for (size_t c = 0; c < s->cases; c++)
            if (scores[c].score != NULL && (s->control[c] || !s->controlled))
                room[n++] = correlation(s, scores[c].score, lag);
        if (n == 0) return 1;
        qsort(room, n, sizeof *room, ascending);
        if (room[n - 1 - n / 10] < 0.3) return lag == 1 ? 1 : 3 * lag < most ? 3 * lag : most;
    }
    return most;
}

/* ---- all cases together */

typedef struct {
    trend_series *s;
    trend_scores *scores; /* [cases] */
    double *found;        /* [cases]: what the runs in their own order give */
    size_t *sorted;       /* the tested cases, largest first */
    size_t tested;
    size_t *beaten; /* [tested] */
    double *room;   /* [cases][runs]: the scores; and [cases] */
    size_t *order;  /* [runs] */
} testing;

static double larger(trend_statistic t) { return fmax(t.step, t.line); }

/* Step-down maximum: a case is compared with the largest of those that are not above it. P. H. Westfall, S. S.
 * Young, Resampling-Based Multiple Testing, 1993, algorithm 4.1: holds the chance of any error whatever the
 * dependence, and loses little where the cases move together. */
static void permute_all(testing *t)
{
    const trend_series *s = t->s;
    for (uint32_t draw = 0; draw < TREND_PERMUTATIONS; draw++) {
        double most = 0;
        trend_permute(s, s->state, t->order, s->runs, 0, draw);
        for (size_t j = t->tested; j-- > 0;) {
            size_t c = t->sorted[j];
            most = fmax(most, larger(trend_measure(&t->scores[c], s->state, t->order, s->runs)));
            t->beaten[j] += most >= t->found[c];
        }
    }
}

static void sort_cases(testing *t)
{
    for (size_t i = 1; i < t->tested; i++) /* by insertion: a thousand at most */
        for (size_t j = i; j > 0 && t->found[t->sorted[j]] > t->found[t->sorted[j - 1]]; j--) {
            size_t kept = t->sorted[j];
            t->sorted[j] = t->sorted[j - 1];
            t->sorted[j - 1] = kept;
        }
}

static bool test(testing *t, size_t histories, trend_result *results)
{
    trend_series *s = t->s;
    for (size_t r = 0; r < s->runs; r++) t->order[r] = r;
    for (size_t c = 0; c < s->cases; c++) {
        const double *x = &s->log_ns[c * s->runs];
        results[c] = (trend_result){.verdict = TREND_FEW,
                                    .p = 1,
                                    .change = NAN,
                                    .low = NAN,
                                    .high = NAN,
                                    .since_best = NAN,
                                    .since_low = NAN,
                                    .since_high = NAN};
        if (values_of(x, s->runs) < TREND_LEAST_RUNS) continue;
        if (!trend_score(x, s->state, s->runs, &t->room[c * s->runs], &t->scores[c])) return false;
        results[c].verdict = TREND_QUIET;
        results[c].statistic = t->found[c] = larger(trend_measure(&t->scores[c], s->state, t->order, s->runs));
        t->sorted[t->tested++] = c;
    }
    s->alike = alike_of(s, t->scores, t->room + s->cases * s->runs);
    sort_cases(t);
    permute_all(t);
    double p = 0;
    for (size_t j = 0; j < t->tested; j++) {
        double own = (double)(t->beaten[j] + 1) / (TREND_PERMUTATIONS + 1) * (double)histories;
        p = fmin(1, fmax(p, own));
        results[t->sorted[j]].p = p;
    }
    return true;
}

bool trend_detect(trend_series *s, size_t histories, double least_effect, trend_result *results)
{
    testing t = {.s = s};
    t.scores = calloc(s->cases + 1, sizeof *t.scores);
    t.found = calloc(s->cases + 1, sizeof *t.found);
    t.sorted = calloc(s->cases + 1, sizeof *t.sorted);
    t.beaten = calloc(s->cases + 1, sizeof *t.beaten);
    t.room = calloc(s->cases * (s->runs + 1) + 1, sizeof *t.room);
    t.order = calloc(s->runs + 1, sizeof *t.order);
    bool fine =
        t.scores && t.found && t.sorted && t.beaten && t.room && t.order && test(&t, histories, results);
    for (size_t c = 0; fine && c < s->cases; c++)
        if (results[c].verdict != TREND_FEW) fine = trend_explain(s, c, least_effect, &results[c]);
    free(t.scores);
    free(t.found);
    free(t.sorted);
    free(t.beaten);
    free(t.room);
    free(t.order);
    return fine;
}

void trend_result_free(trend_result *r) { free(r->changes); }
