/* What the session itself is worth: the margin below which nothing is called slower, from base against base,
 * and whether base against base or the control says that something else than the code changed. */
#include <math.h>
#include <stdarg.h>
#include <stdlib.h>

#include "internal.h"
#include "paired.h"

/* Four such tests at most invalidate a session, each in two directions: below 8 x 0.0005 = 0.4% of quiet
 * sessions by chance (C. E. Bonferroni, 1936), and that only at the edge of the tolerance. */
static const double INVALID_ALPHA = 0.0005;
/* Pairs are measured within milliseconds, so a machine that becomes slower meets both sides alike. Only a
 * change as large as this says that the session is not one. */
static const double DRIFT_TOLERANCE = 0.25;
static const double FLOOR = 0.03, SHARED_FLOOR = 0.05;
enum { SHIFT_CASES = 10, PER_CASE = 50, SPREAD_CASES = 4, HALF_FEWEST = 2, THINNED = 200, FEWEST = 12 };

/* The floor that applies, and why, as the margin's reason says it. */
static double choose_floor(const compare_result *r, const char **why)
{
    *why = r->margin_floor > 0       ? "--margin"
           : r->kind != COMPARE_GATE ? "the floor for two runs"
           : r->shared_runner        ? "the floor on a shared runner"
                                     : "the floor";
    if (r->margin_floor > 0) return r->margin_floor;
    return r->shared_runner || r->kind != COMPARE_GATE ? SHARED_FLOOR : FLOOR;
}

static bool proven_beyond(const double *d, size_t n, double tolerance)
{
    return paired_p_above(d, n, tolerance) <= INVALID_ALPHA ||
           paired_p_below(d, n, -tolerance) <= INVALID_ALPHA;
}

static double location(const double *d, size_t n)
{
    paired_interval e;
    return paired_estimate(d, n, 0.95, &e) ? e.estimate : NAN;
}

/* The observations that say whether the second copy of base is slower than the first. With enough cases one
 * estimate per case: pairs of one case share its two workers' luck with addresses, so only cases are
 * independent. With few cases their pairs. */
static size_t null_observations(const compare_result *r, double *d)
{
    size_t cases = 0, n = 0;
    for (size_t i = 0; i < r->count; i++) cases += r->cases[i].null_count > 0;
    for (size_t i = 0; i < r->count; i++) {
        const compare_case *c = &r->cases[i];
        if (c->null_count == 0) continue;
        if (cases >= SHIFT_CASES) {
            if (n < PAIRED_MAX) d[n++] = location(c->null, c->null_count);
        } else {
            for (size_t k = 0; k < c->null_count && k < PER_CASE; k++) d[n++] = c->null[k];
        }
    }
    return n;
}

/* How far from zero base against base lies case by case, beyond what its own noise explains: the estimates from
 * the odd and from the even pairs of a case have independent noise and share the true shift, so the mean of
 * their product over the cases is the mean square of the shifts (split-half covariance: W. Brown, C. Spearman,
 * British Journal of Psychology 3, 1910). Of normal shifts 90% lie within 1.645 of its root. Noise alone is not
 * counted: averaging it out is the test's business, not the margin's. */
static double null_spread(const compare_result *r)
{
    double sum = 0;
    size_t cases = 0;
    for (size_t i = 0; i < r->count; i++) {
        const compare_case *c = &r->cases[i];
        double half[2][COMPARE_PAIRS_MAX];
        size_t n = c->null_count / 2;
        if (n < HALF_FEWEST) continue;
        for (size_t k = 0; k < 2 * n; k++) half[k % 2][k / 2] = c->null[k];
        sum += location(half[0], n) * location(half[1], n);
        cases++;
    }
    if (cases < SPREAD_CASES) return NAN;
    return COMPARE_SPREAD_SIGMAS * sqrt(fmax(0, sum / (double)cases));
}

/* The control late in the session against early, half a session apart; thinned, for neighbours are alike. */
static size_t drift_observations(const compare_result *r, double *d)
{
    size_t half = r->control_count / 2, step = half / THINNED + 1, n = 0;
    for (size_t i = 0; i < half; i += step) d[n++] = log(r->control_ns[i + half] / r->control_ns[i]);
    return n;
}

/* The first reason found stays. */
static void invalidate(compare_result *r, const char *format, ...) __attribute__((format(printf, 2, 3)));

static void invalidate(compare_result *r, const char *format, ...)
{
    if (r->invalid) return;
    va_list args;
    va_start(args, format);
    r->invalid = true;
    vsnprintf(r->invalid_why, sizeof r->invalid_why, format, args);
    va_end(args);
}

static void judge_control(compare_result *r, double tolerance)
{
    double d[THINNED + 1], second[THINNED + 1];
    size_t n = drift_observations(r, d), pairs = 0, step = r->control_count / THINNED + 1;
    if (n < FEWEST) return;
    r->control_drift = location(d, n);
    if (proven_beyond(d, n, log1p(DRIFT_TOLERANCE)))
        invalidate(
            r, "the control loop's time changed by %+.0f%% from the first half of the session to the second",
            100 * expm1(r->control_drift));
    for (size_t i = 0; i < r->control_count; i += step) second[pairs++] = r->control[i];
    if (proven_beyond(second, pairs, tolerance))
        invalidate(r, "the control loop differs from itself by %+.1f%%, back to back",
                   100 * expm1(location(second, pairs)));
}

static void raise_margin(compare_result *r, double to, const char *why)
{
    if (!(to > r->margin)) return;
    r->margin = to;
    snprintf(r->margin_why, sizeof r->margin_why, "%s", why);
}

void compare_judge_session(compare_result *r)
{
    const char *why;
    double floor = choose_floor(r, &why), null[PAIRED_MAX];
    r->margin = 0;
    r->null_shift = r->null_spread = r->control_drift = NAN;
    r->invalid = false;
    r->invalid_why[0] = '\0';
    raise_margin(r, floor, why);
    size_t judged = 0;
    for (size_t i = 0; i < r->count; i++) judged += compare_is_judged(&r->cases[i]);
    if (judged == 0) invalidate(r, "nothing was compared");
    if (r->kind != COMPARE_GATE) return;

    size_t n = null_observations(r, null);
    if (n > 0) {
        r->null_shift = location(null, n);
        r->null_spread = null_spread(r);
        raise_margin(r, expm1(2 * fabs(r->null_shift)), "twice the shift of base against base");
        raise_margin(r, expm1(r->null_spread), "the spread of base against base");
        if (proven_beyond(null, n, 0.5 * log1p(floor)))
            invalidate(r, "base differs from itself by %+.1f%%", 100 * expm1(r->null_shift));
    }
    judge_control(r, 0.5 * log1p(floor));
}
