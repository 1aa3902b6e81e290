#include "internal.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "../stats.h"

const char *trend_verdict_name(trend_verdict v)
{
    static const char *const names[] = {"quiet", "slower", "faster", "back", "small", "machine", "few"};
    return v < TREND_VERDICT_COUNT ? names[v] : "?";
}

bool trend_series_create(trend_series *s, size_t runs, size_t cases)
{
    *s = (trend_series){.runs = runs, .cases = cases};
    s->log_ns = malloc((runs * cases + 1) * sizeof *s->log_ns);
    s->control = calloc(cases + 1, sizeof *s->control);
    s->state = calloc(runs + 1, sizeof *s->state);
    s->speed = calloc(runs + 1, sizeof *s->speed);
    s->mood = calloc(runs + 1, sizeof *s->mood);
    for (size_t i = 0; s->log_ns != NULL && i < runs * cases; i++) s->log_ns[i] = NAN;
    if (s->log_ns && s->control && s->state && s->speed && s->mood) return true;
    trend_series_destroy(s);
    return false;
}

void trend_series_destroy(trend_series *s)
{
    free(s->log_ns);
    free(s->control);
    free(s->state);
    free(s->speed);
    free(s->mood);
    *s = (trend_series){0};
}

static size_t values_of(const double *x, size_t runs)
{
    size_t n = 0;
    for (size_t r = 0; r < runs; r++) n += isfinite(x[r]);
    return n;
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
void trend_weigh(const trend_scores *s, const int *state, size_t count, trend_weights *w)
{
    size_t before[TREND_STATES] = {0}, total = 0, n = 0;
    double places[TREND_STATES] = {0}, squares[TREND_STATES] = {0}, line = 0;
    for (int k = 0; k < TREND_STATES; k++) total += s->count[k];
    for (size_t i = 0; i < count; i++) {
        w->step[i] = 0;
        if (isnan(s->score[i])) continue;
        places[state[i]] += (double)i;
        squares[state[i]] += (double)i * (double)i;
        before[state[i]]++;
        if (++n < TREND_SEGMENT || total - n < TREND_SEGMENT) continue;
        double variance = 0;
        for (int k = 0; k < TREND_STATES; k++)
            if (s->count[k] > 0)
                variance +=
                    s->variance[k] * (double)(before[k] * (s->count[k] - before[k])) / (double)s->count[k];
        if (variance > 0) w->step[i] = 1 / sqrt(variance);
    }
    for (int k = 0; k < TREND_STATES; k++)
        if (s->count[k] > 0)
            line += s->variance[k] * (squares[k] - places[k] * places[k] / (double)s->count[k]);
    w->line = line > 0 ? 1 / sqrt(line) : 0;
}

trend_statistic trend_measure(const double *score, const trend_weights *w, size_t count)
{
    trend_statistic best = {0, 0, 0};
    double sum = 0, line = 0;
    for (size_t i = 0; i < count; i++) {
        if (isnan(score[i])) continue;
        sum += score[i];
        line += score[i] * (double)i; /* scores sum to 0 in each state: no centring is needed */
        double z = fabs(sum) * w->step[i];
        if (z > best.step) best = (trend_statistic){z, 0, i + 1};
    }
    best.line = fabs(line) * w->line;
    return best;
}

/* ---- all cases together */

typedef struct {
    trend_series *s;
    trend_scores *scores; /* [cases] */
    double *found;        /* [cases]: what the runs in their own order give */
    size_t *sorted;       /* the tested cases, largest first */
    size_t tested;
    size_t *beaten;  /* [tested] */
    uint16_t *order; /* [TREND_PERMUTATIONS][runs] */
    double *room;    /* [cases][runs]: the scores */
    double *most;    /* [TREND_PERMUTATIONS]: the largest of each draw; [cases] */
} testing;

/* Step-down maximum: a case is compared with the largest of those that are not above it. P. H. Westfall, S. S.
 * Young, Resampling-Based Multiple Testing, 1993, algorithm 4.1: holds the chance of any error whatever the
 * dependence, and loses little where the cases move together. */
static void permute_all(testing *t)
{
    const trend_series *s = t->s;
    double innovation[TREND_MOST_RUNS], x[TREND_MOST_RUNS];
    trend_weights weights;
    for (uint32_t draw = 0; draw < TREND_PERMUTATIONS; draw++)
        trend_shuffle(&t->order[draw * s->runs], s->runs, 0, draw);
    for (size_t j = t->tested; j-- > 0;) {
        const trend_scores *scores = &t->scores[t->sorted[j]];
        trend_weigh(scores, s->state, s->runs, &weights);
        trend_whiten(scores, s->state, s->runs, s->alike, innovation);
        for (size_t draw = 0; draw < TREND_PERMUTATIONS; draw++) {
            trend_imitate(innovation, &t->order[draw * s->runs], s->alike, scores, s->state, s->runs, x);
            t->most[draw] = fmax(t->most[draw], trend_larger(trend_measure(x, &weights, s->runs)));
            t->beaten[j] += t->most[draw] >= t->found[t->sorted[j]];
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

static bool take_case(testing *t, size_t c, trend_result *r)
{
    const trend_series *s = t->s;
    const double *x = &s->log_ns[c * s->runs];
    trend_weights weights;
    *r = (trend_result){TREND_FEW, .p = 1, .change = NAN, .low = NAN, .high = NAN};
    r->since_best = r->since_low = r->since_high = NAN;
    const size_t late = s->runs < TREND_SEGMENT ? 0 : s->runs - TREND_SEGMENT;
    if (values_of(x, s->runs) < TREND_LEAST_RUNS || values_of(&x[late], s->runs - late) == 0) return true;
    if (!trend_score(x, s->state, s->runs, &t->room[c * s->runs], &t->scores[c])) return false;
    r->verdict = TREND_QUIET;
    trend_weigh(&t->scores[c], s->state, s->runs, &weights);
    r->statistic = t->found[c] = trend_larger(trend_measure(t->scores[c].score, &weights, s->runs));
    t->sorted[t->tested++] = c;
    return true;
}

static int ascending(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static bool test(testing *t, size_t histories, trend_result *results)
{
    trend_series *s = t->s;
    double *room = t->most + TREND_PERMUTATIONS, p = 0;
    for (size_t c = 0; c < s->cases; c++)
        if (!take_case(t, c, &results[c])) return false;
    s->alike = 0, s->limit = INFINITY;
    if (t->tested == 0) return true;
    if (!trend_find_alike(s, t->scores, room)) return false;
    sort_cases(t);
    permute_all(t);
    for (size_t j = 0; j < t->tested; j++) {
        double own = (double)(t->beaten[j] + 1) / (TREND_PERMUTATIONS + 1) * (double)histories;
        p = fmin(1, fmax(p, own));
        results[t->sorted[j]].p = p;
    }
    qsort(t->most, TREND_PERMUTATIONS, sizeof *t->most, ascending);
    size_t beyond = (size_t)(TREND_ALPHA / (double)histories * TREND_PERMUTATIONS);
    s->limit = t->most[TREND_PERMUTATIONS - 1 - beyond];
    trend_find_spread(s, t->scores, room);
    return true;
}

/* Which part of ours, or of the controls, changed the same way within a segment's length of that run. */
static double part_near(const trend_series *s, const trend_result *results, const trend_result *like,
                        bool control)
{
    size_t near = 0, all = 0;
    for (size_t c = 0; c < s->cases; c++) {
        const trend_result *r = &results[c];
        size_t apart = r->since > like->since ? r->since - like->since : like->since - r->since;
        if (s->control[c] != control || r->verdict == TREND_FEW) continue;
        all++;
        near += r->change_count > 0 && r->change * like->change > 0 && apart <= TREND_SEGMENT;
    }
    return near < 2 && control ? 0 : all > 0 ? (double)near / (double)all : 0;
}

/* A change of the host moves many cases at once, whoever wrote them; that of a commit only ours. */
static void blame(const trend_series *s, trend_result *results)
{
    for (size_t c = 0; c < s->cases; c++) {
        trend_result *r = &results[c];
        r->machine = r->change_count > 0 &&
                     (s->control[c] || part_near(s, results, r, true) >= part_near(s, results, r, false));
    }
    for (size_t c = 0; c < s->cases; c++)
        if (results[c].machine) results[c].verdict = TREND_MACHINE;
}

bool trend_detect(trend_series *s, size_t histories, double least_effect, trend_result *results)
{
    testing t = {.s = s};
    size_t changed = 0;
    t.scores = calloc(s->cases + 1, sizeof *t.scores);
    t.found = calloc(s->cases + 1, sizeof *t.found);
    t.sorted = calloc(s->cases + 1, sizeof *t.sorted);
    t.beaten = calloc(s->cases + 1, sizeof *t.beaten);
    t.room = calloc(s->cases * s->runs + 1, sizeof *t.room);
    t.order = malloc((TREND_PERMUTATIONS * s->runs + 1) * sizeof *t.order);
    t.most = calloc(TREND_PERMUTATIONS + s->cases + 1, sizeof *t.most);
    bool fine = t.scores && t.found && t.sorted && t.beaten && t.room && t.order && t.most &&
                test(&t, histories, results);
    for (size_t c = 0; fine && c < s->cases; c++) changed += results[c].p <= TREND_ALPHA;
    for (size_t c = 0; fine && c < s->cases; c++)
        if (results[c].verdict != TREND_FEW) fine = trend_explain(s, c, changed, least_effect, &results[c]);
    if (fine) blame(s, results);
    free(t.scores);
    free(t.found);
    free(t.sorted);
    free(t.beaten);
    free(t.room);
    free(t.order);
    free(t.most);
    return fine;
}

void trend_result_free(trend_result *r) { free(r->changes); }
