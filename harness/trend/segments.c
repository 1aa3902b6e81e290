/* Where a case changed, by how much, and what that means. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "../stats.h"
#include "internal.h"

/* Permutations of a part for each of the parts that are tested with it, and of how many parts these can hold
 * the chance of an error: more would take too long. */
enum { SPLIT_PERMUTATIONS = 100, MOST_PARTS = 200 };

/* The runs of a case that have it. */
typedef struct {
    const trend_series *s;
    double *x;   /* [count] */
    size_t *run; /* [count] */
    int *state;  /* [count] */
    size_t count;
    size_t changed; /* cases that changed, this one among them */
    size_t *bound;  /* the first place of each segment, and count at the end */
    size_t segments;
} path;

static void path_free(path *p)
{
    free(p->x);
    free(p->run);
    free(p->state);
    free(p->bound);
}

static bool path_of(const trend_series *s, size_t c, size_t changed, path *p)
{
    *p = (path){s,
                malloc((s->runs + 1) * sizeof *p->x),
                malloc((s->runs + 1) * sizeof *p->run),
                malloc((s->runs + 1) * sizeof *p->state),
                0,
                changed,
                calloc(s->runs + 2, sizeof *p->bound),
                1};
    if (p->x == NULL || p->run == NULL || p->state == NULL || p->bound == NULL) return false;
    for (size_t r = 0; r < s->runs; r++) {
        double x = s->log_ns[c * s->runs + r];
        if (!isfinite(x)) continue;
        p->x[p->count] = x;
        p->run[p->count] = r;
        p->state[p->count++] = s->state[r];
    }
    p->bound[1] = p->count;
    return true;
}

/* ---- where */

/* How far the times of [from, to) lie from their median, each by the spread of its state. */
static double misfit(const path *p, const trend_scores *s, size_t from, size_t to)
{
    double median = stats_median(&p->x[from], to - from), sum = 0;
    for (size_t i = from; i < to; i++) sum += sqrt(s->variance[p->state[i]]) * fabs(p->x[i] - median);
    return sum;
}

/* Ranks find that there is a step, and its place only nearly: the run before a large one counts as if behind it
 * where it happens to be among the slowest of its side. Of the places near, the one whose sides fit best, by
 * least absolute deviations: J. Bai, Estimation of multiple-regime regressions with least absolutes deviation,
 * Journal of Statistical Planning and Inference 74, 1998. */
static size_t best_near(const path *p, const trend_scores *s, size_t from, size_t to, size_t found)
{
    size_t first = found < from + 2 * TREND_SEGMENT ? from + TREND_SEGMENT : found - TREND_SEGMENT;
    size_t last = found + 2 * TREND_SEGMENT > to ? to - TREND_SEGMENT : found + TREND_SEGMENT, best = found;
    double least = misfit(p, s, from, found) + misfit(p, s, found, to);
    for (size_t at = first; at <= last; at++) {
        double sum = misfit(p, s, from, at) + misfit(p, s, at, to);
        if (sum < least) least = sum, best = at;
    }
    return best;
}

/* The place of the step within [from, to), or 0 where it is not shown: by the same test of that part alone,
 * as in D. S. Matteson, N. A. James, A nonparametric approach for multiple change point analysis of
 * multivariate data, JASA 109, 2014, which D. Daly and others, The use of change point detection to
 * identify software performance regressions in a continuous integration system, ICPE 2020, brought to
 * benchmarks. The first split of a case that changed needs no further proof. It leaves two parts of each such
 * case, which share the chance of an error (C. E. Bonferroni's): else, of many, some would split again. */
static size_t split_of(const path *p, size_t from, size_t to, bool proven, double *score)
{
    trend_scores s;
    trend_weights weights;
    double innovation[TREND_MOST_RUNS], x[TREND_MOST_RUNS];
    uint16_t order[TREND_MOST_RUNS];
    const size_t n = to - from, parts = 2 * p->changed < MOST_PARTS ? 2 * p->changed : MOST_PARTS;
    const size_t permutations = parts * SPLIT_PERMUTATIONS - 1;
    const size_t most = (size_t)(TREND_ALPHA * SPLIT_PERMUTATIONS) - 1; /* may reach what was found */
    size_t beaten = 0;
    if (n < 2 * TREND_SEGMENT) return 0;
    if (!trend_score(&p->x[from], &p->state[from], n, score, &s)) return 0;
    trend_weigh(&s, &p->state[from], n, &weights);
    trend_statistic found = trend_measure(score, &weights, n);
    trend_whiten(&s, &p->state[from], n, p->s->alike, innovation);
    for (uint32_t draw = 0; !proven && beaten <= most && draw < permutations; draw++) {
        trend_shuffle(order, n, (uint32_t)from + 1, draw);
        trend_imitate(innovation, order, p->s->alike, &s, &p->state[from], n, x);
        beaten += trend_measure(x, &weights, n).step >= found.step;
    }
    return beaten <= most && found.at > 0 ? best_near(p, &s, from, to, from + found.at) : 0;
}

static void split(path *p, size_t segment, bool proven, double *score)
{
    size_t at = split_of(p, p->bound[segment], p->bound[segment + 1], proven, score);
    if (at == 0) return;
    memmove(&p->bound[segment + 2], &p->bound[segment + 1], (p->segments - segment) * sizeof *p->bound);
    p->bound[segment + 1] = at;
    p->segments++;
    split(p, segment + 1, false, score);
    split(p, segment, false, score);
}

/* ---- by how much */

typedef struct {
    double value, low, high;
} estimate;

static int ascending(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* Median of n sorted values, and the two that leave out `outside` on each side; no interval where none. */
static estimate middle(double *values, size_t n, double outside)
{
    if (n == 0) return (estimate){NAN, -INFINITY, INFINITY};
    qsort(values, n, sizeof *values, ascending);
    estimate e = {0.5 * (values[(n - 1) / 2] + values[n / 2]), -INFINITY, INFINITY};
    if (outside >= 1) {
        e.low = values[(size_t)outside - 1];
        e.high = values[n - (size_t)outside];
    }
    return e;
}

/* 1.96, and by as much more as the sum of an autoregression varies more than that of independent runs. */
static double wider(const path *p) { return 1.96 * sqrt((1 + p->s->alike) / (1 - p->s->alike)); }

/* Shift of one segment against another: J. L. Hodges, E. L. Lehmann, Estimates of location based on rank tests,
 * 1963; its interval by the normal law of the rank sum, M. Hollander, D. A. Wolfe, E. Chicken, Nonparametric
 * Statistical Methods, 3rd ed., 2014, section 4.3. */
static bool shift_of(const path *p, size_t first, size_t second, estimate *e)
{
    size_t a = p->bound[first], n = p->bound[first + 1] - a, b = p->bound[second], m = p->bound[second + 1] - b;
    double *d = malloc((n * m + 1) * sizeof *d), *at = d;
    if (d == NULL) return false;
    for (size_t i = 0; i < n; i++)
        for (size_t j = 0; j < m; j++) *at++ = p->x[b + j] - p->x[a + i];
    double pairs = (double)(n * m);
    *e = middle(d, n * m, floor(0.5 * pairs - wider(p) * sqrt(pairs * (double)(n + m + 1) / 12)));
    free(d);
    return true;
}

/* The line's rise from the first run to the last: P. K. Sen, Estimates of the regression coefficient based on
 * Kendall's tau, JASA 63, 1968. */
static bool rise_of(const path *p, estimate *e)
{
    size_t n = p->count, count = n * (n - 1) / 2;
    if (n < 2) return false;
    double *slope = malloc((count + 1) * sizeof *slope), *at = slope,
           whole = (double)(p->run[n - 1] - p->run[0]);
    if (slope == NULL) return false;
    for (size_t i = 0; i < n; i++)
        for (size_t j = i + 1; j < n; j++)
            *at++ = whole * (p->x[j] - p->x[i]) / (double)(p->run[j] - p->run[i]);
    double spread = wider(p) * sqrt((double)(n * (n - 1) * (2 * n + 5)) / 18);
    *e = middle(slope, count, floor(0.5 * ((double)count - spread)));
    free(slope);
    return true;
}

static double level_of(const path *p, size_t segment)
{
    return stats_median(&p->x[p->bound[segment]], p->bound[segment + 1] - p->bound[segment]);
}

static size_t fastest_of(const path *p)
{
    size_t best = 0;
    for (size_t k = 1; k + 1 < p->segments; k++)
        if (level_of(p, k) < level_of(p, best)) best = k;
    return best;
}

/* Whether every step goes the same way: then a line may describe it. */
static bool climbs(const path *p)
{
    int up = 0, down = 0;
    for (size_t k = 1; k < p->segments; k++) (level_of(p, k) > level_of(p, k - 1)) ? up++ : down++;
    return up == 0 || down == 0;
}

/* What levelling leaves of a rise by 1, at once with that run (0: little by little, over all of them): where
 * the host changed with the time, much of the case's own change went with the host's. */
static bool left_of(const path *p, size_t with, size_t first, size_t second, double *left)
{
    double y[TREND_MOST_RUNS], x[TREND_MOST_RUNS];
    path levelled = *p;
    estimate e = {0};
    for (size_t r = 0; r < p->s->runs; r++)
        y[r] = with > 0 ? (double)(r >= with) : (double)r / (double)(p->s->runs - 1);
    trend_level_case(p->s, p->s->mood, y);
    levelled.x = x;
    for (size_t i = 0; i < p->count; i++) x[i] = y[p->run[i]];
    bool fine = with > 0 ? shift_of(&levelled, first, second, &e) : rise_of(&levelled, &e);
    double whole = with > 0 ? 1 : (double)(p->run[p->count - 1] - p->run[0]) / (double)(p->s->runs - 1);
    *left = e.value / whole;
    return fine;
}

/* What the whole change was, by what is left of it; nothing can be said where less than a quarter is. */
static bool restore(const path *p, size_t with, size_t first, size_t second, estimate *e)
{
    double left;
    if (!left_of(p, with, first, second, &left)) return false;
    if (left > 0.25)
        *e = (estimate){e->value / left, e->low / left, e->high / left};
    else
        e->low = -INFINITY, e->high = INFINITY;
    return true;
}

/* ---- what it means */

static bool above(double value, double low, double least) { return value >= least && low > 0; }

static void judge(trend_result *r, double least)
{
    if (above(r->since_best, r->since_low, least))
        r->verdict = TREND_SLOWER;
    else if (above(-r->change, -r->high, least))
        r->verdict = TREND_FASTER;
    else
        r->verdict = r->change_count > 1 ? TREND_BACK : TREND_SMALL;
}

static bool measure(const trend_series *s, path *p, trend_result *r)
{
    double *score = malloc((s->runs + 1) * sizeof *score);
    trend_scores scores;
    trend_weights weights;
    estimate change = {0}, since = {0};
    bool fine = score != NULL && trend_score(p->x, p->state, p->count, score, &scores);
    if (fine) {
        trend_weigh(&scores, p->state, p->count, &weights);
        trend_statistic found = trend_measure(score, &weights, p->count);
        if (r->p <= TREND_ALPHA) split(p, 0, true, score);
        size_t best = fastest_of(p), last = p->segments - 1;
        r->drift = r->p <= TREND_ALPHA && found.line > found.step && climbs(p);
        if (r->p > TREND_ALPHA || r->drift)
            fine = rise_of(p, &change) && restore(p, 0, 0, 0, &change), since = change;
        else
            fine = shift_of(p, 0, last, &change) && shift_of(p, best, last, &since) &&
                   (last == 0 || restore(p, p->run[p->bound[1]], 0, last, &change)) &&
                   (best == last || last == 0 || restore(p, p->run[p->bound[best + 1]], best, last, &since));
        r->since = p->segments > 1 ? p->run[p->bound[best + 1]] : 0;
    }
    r->change = change.value, r->low = change.low, r->high = change.high;
    r->since_best = since.value, r->since_low = since.low, r->since_high = since.high;
    free(score);
    return fine;
}

bool trend_explain(const trend_series *s, size_t c, size_t changed, double least_effect, trend_result *r)
{
    path p;
    bool fine = path_of(s, c, changed, &p) && measure(s, &p, r);
    if (fine && r->p <= TREND_ALPHA) {
        r->change_count = p.segments - 1;
        r->changes = calloc(p.segments + 1, sizeof *r->changes);
        fine = r->changes != NULL;
        for (size_t k = 1; fine && k < p.segments; k++) r->changes[k - 1] = p.run[p.bound[k]];
        judge(r, least_effect);
    }
    path_free(&p);
    return fine;
}
