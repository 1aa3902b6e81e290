/* The policy of the regression gate: screen every case, confirm the flagged ones on fresh pairs with Holm's
 * correction, and call UNCHANGED only what the session could have seen. */
#include <math.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "../cli.h"
#include "internal.h"
#include "paired.h"

static const double CONFIDENCE = 0.95, POWER = 0.9;
static const double ALPHA = 0.05; /* of all cases together, on fresh pairs */
/* A case is flagged when its estimate passes half the margin and is probably not zero: lenient, for what the
 * screen lets go is never looked at again, yet few enough that Holm's correction stays mild. */
static const double SCREEN_ALPHA = 0.2, SCREEN_SHARE = 0.5;
/* A session that sees neither a tenth nor twice the margin has no right to say UNCHANGED. */
static const double COARSE = 0.10, COARSE_MARGINS = 2;
enum { FEWEST = 6 }; /* pairs: below it there is no 95% interval */

static void explain(compare_case *c, compare_verdict v, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

static void explain(compare_case *c, compare_verdict v, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    c->verdict = v;
    vsnprintf(c->reason, sizeof c->reason, format, args);
    va_end(args);
}

static void estimate(compare_case *c)
{
    bool fresh = c->confirm_count > 0;
    paired_interval e;
    c->ratio = c->low = c->high = NAN;
    if (!paired_estimate(fresh ? c->confirm : c->screen, fresh ? c->confirm_count : c->screen_count, CONFIDENCE,
                         &e))
        return;
    c->ratio = exp(e.estimate);
    c->low = exp(e.low);
    c->high = exp(e.high);
}

static paired_stage screen_stage(const compare_result *r, size_t pairs)
{
    return (paired_stage){pairs, 0, SCREEN_ALPHA, SCREEN_SHARE * log1p(r->margin)};
}

static bool screen_fires(const compare_result *r, const compare_case *c)
{
    double mirrored[COMPARE_PAIRS_MAX];
    paired_stage stage = screen_stage(r, c->screen_count);
    for (size_t i = 0; i < c->screen_count; i++) mirrored[i] = -c->screen[i];
    return paired_fires(&stage, c->screen, c->screen_count) || paired_fires(&stage, mirrored, c->screen_count);
}

/* Whether a case is of those that the screen flagged as slower (way 1) or faster (way -1) and that have fresh
 * pairs. By the sign of the screen's estimate: the margin may have risen since. */
static bool confirmable(const compare_case *c, int way)
{
    paired_interval e;
    return compare_is_judged(c) && c->flagged && c->confirm_count > 0 &&
           paired_estimate(c->screen, c->screen_count, CONFIDENCE, &e) && way * e.estimate > 0;
}

void compare_judge_screen(compare_result *r)
{
    compare_judge_session(r);
    for (size_t i = 0; i < r->count; i++) {
        compare_case *c = &r->cases[i];
        c->flagged = c->warning = false;
        c->p_screen = c->p_confirm = 1;
        if (!compare_is_judged(c)) continue;
        estimate(c);
        c->p_screen = paired_p_above(c->screen, c->screen_count, log1p(r->margin));
        c->flagged = screen_fires(r, c);
    }
}

/* Both stages as they were planned, Holm's first and hardest step included, and so is what base against base
 * says of the luck of single workers: the pairs of a stage share theirs. */
static double catchable(const compare_result *r, const compare_case *c, size_t family)
{
    bool fresh = c->confirm_count >= c->screen_count;
    const paired_stage stages[] = {
        screen_stage(r, r->screen_pairs),
        {r->confirm_pairs, log1p(r->margin), ALPHA / (double)family, -INFINITY},
    };
    double shared = isnan(r->null_spread) ? 0 : r->null_spread / COMPARE_SPREAD_SIGMAS;
    return exp(paired_catchable(fresh ? c->confirm : c->screen, fresh ? c->confirm_count : c->screen_count,
                                shared, stages, 2, POWER));
}

/* Whether base against base of this very case is beyond the margin in some direction: then head against base
 * says nothing about the code. */
static bool null_moves(const compare_result *r, const compare_case *c)
{
    double margin = log1p(r->margin);
    return paired_p_above(c->null, c->null_count, margin) <= ALPHA ||
           paired_p_below(c->null, c->null_count, -margin) <= ALPHA;
}

static void call_slower(const compare_result *r, compare_case *c)
{
    if (null_moves(r, c)) {
        explain(c, COMPARE_INCONCLUSIVE, "slower, but base differs from itself by as much here");
    } else if (r->kernels_identical && strcmp(c->base_plan, c->head_plan) == 0) {
        c->warning = true;
        explain(c, COMPARE_INCONCLUSIVE,
                "slower, but kernels and plan are identical: code layout or environment");
    } else {
        c->verdict = COMPARE_REGRESSED;
    }
}

/* Neither slower nor faster was shown: was the session good enough to say that it is neither? A case the screen
 * let go is judged by what the two stages would have caught: its few pairs' interval is wider than that. */
static void call_neither(const compare_result *r, compare_case *c)
{
    double coarse = fmax(COARSE, COARSE_MARGINS * r->margin);
    if (!isfinite(c->ratio) || !isfinite(c->catchable))
        explain(c, COMPARE_INCONCLUSIVE, "too few pairs for a verdict");
    else if (c->catchable - 1 > coarse)
        explain(c, COMPARE_INCONCLUSIVE, "too noisy: only slowdowns from %.0f%% would have been caught",
                100 * (c->catchable - 1));
    else if (c->high > c->catchable && (c->flagged || r->kind == COMPARE_STORED))
        explain(c, COMPARE_INCONCLUSIVE, "not confirmed slower, yet a slowdown of %.1f%% is not excluded",
                100 * (c->high - 1));
    else
        c->verdict = COMPARE_UNCHANGED;
}

/* Holm's adjusted p-values of the flagged cases that point one way; on fresh pairs, so the screen's choosing
 * does not bias them. Returns how many there are. */
static size_t confirm(const compare_result *r, int way, double *p_of_case)
{
    double p[PAIRED_MAX], margin = log1p(r->margin);
    size_t index[PAIRED_MAX], n = 0;
    for (size_t i = 0; i < r->count; i++) p_of_case[i] = 1;
    for (size_t i = 0; i < r->count && n < PAIRED_MAX; i++) {
        const compare_case *c = &r->cases[i];
        if (!confirmable(c, way)) continue;
        p[n] = way > 0 ? paired_p_above(c->confirm, c->confirm_count, margin)
                       : paired_p_below(c->confirm, c->confirm_count, -margin);
        index[n++] = i;
    }
    paired_holm(p, n);
    for (size_t k = 0; k < n; k++) p_of_case[index[k]] = p[k];
    return n;
}

static void judge_gate(compare_result *r)
{
    double *slower = calloc(r->count + 1, sizeof *slower), *faster = calloc(r->count + 1, sizeof *faster);
    if (slower == NULL || faster == NULL) {
        r->invalid = true;
        snprintf(r->invalid_why, sizeof r->invalid_why, "out of memory");
        goto done;
    }
    size_t family = confirm(r, 1, slower);
    confirm(r, -1, faster);
    for (size_t i = 0; i < r->count; i++) {
        compare_case *c = &r->cases[i];
        if (!compare_is_judged(c)) continue;
        estimate(c);
        c->p_confirm = slower[i];
        c->catchable = catchable(r, c, confirmable(c, 1) ? family : family + 1);
        if (slower[i] <= ALPHA)
            call_slower(r, c);
        else if (faster[i] <= ALPHA && !null_moves(r, c))
            c->verdict = COMPARE_FASTER;
        else if (c->flagged && c->confirm_count == 0)
            explain(c, COMPARE_INCONCLUSIVE, "flagged, but its fresh pairs were not measured");
        else
            call_neither(r, c);
    }
done:
    free(slower);
    free(faster);
}

/* Two stored runs: whole intervals against the margin. An interval of half width h (in logarithms) lies above
 * the margin with probability 0.9 when the effect is above it by h (1 + 1.2816 / 1.96), under a normal
 * estimate. */
static void judge_stored(compare_result *r)
{
    for (size_t i = 0; i < r->count; i++) {
        compare_case *c = &r->cases[i];
        if (!compare_is_judged(c)) continue;
        bool bounded = c->low > 0 && isfinite(c->high);
        c->p_screen = c->p_confirm = 1;
        c->flagged = c->warning = false;
        c->catchable = bounded ? (1 + r->margin) * pow(c->high / c->low, 0.5 * (1 + 1.2816 / 1.96)) : NAN;
        if (bounded && c->low > 1 + r->margin)
            call_slower(r, c);
        else if (bounded && c->high < 1 / (1 + r->margin))
            c->verdict = COMPARE_FASTER;
        else
            call_neither(r, c);
    }
}

void compare_judge(compare_result *r)
{
    compare_judge_session(r);
    for (size_t i = 0; i < r->count; i++)
        if (compare_is_judged(&r->cases[i])) {
            r->cases[i].reason[0] = '\0';
            r->cases[i].warning = false;
        }
    if (r->kind == COMPARE_GATE)
        judge_gate(r);
    else
        judge_stored(r);
}

int compare_exit_code(const compare_result *r)
{
    if (compare_count(r, COMPARE_WRONG) > 0) return EXIT_WRONG;
    if (r->invalid) return EXIT_INVALID;
    return compare_count(r, COMPARE_REGRESSED) > 0 ? EXIT_REGRESSION : EXIT_FINE;
}
