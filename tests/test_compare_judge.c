/* The gate's policy on made-up sessions: each rule alone, then whole sessions with the noise of a shared
 * virtual machine, base against itself and with slowdowns of 5% and 10%. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "../harness/cli.h"
#include "../harness/compare/compare.h"
#include "unit.h"

enum { SCREEN = 12, CONFIRM = 40, NULLS = 12, CONTROL = 200 };

static uint64_t state = 88172645463325252u; /* xorshift64 (Marsaglia 2003) */

static double uniform(void)
{
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return (double)((state >> 11) + 1) * 0x1p-53;
}

static double normal(void) { return sqrt(-2 * log(uniform())) * cos(2 * M_PI * uniform()); } /* Box-Muller */

/* Pairs of 3 ms samples on a shared machine of two cores: a standard deviation of 3%, and one pair in twelve
 * hit by something else on one side, by up to 40%. */
static double noise(void)
{
    double hit = uniform() < 1 / 12.0 ? 0.4 * uniform() * (uniform() < 0.5 ? 1 : -1) : 0;
    return 0.03 * normal() + hit;
}

/* A whole session: case i has the effect effect[i], a copy of base differs from base by a shift of standard
 * deviation 0.4% per case. */
static compare_result *session(size_t count, const double *effect, double quiet)
{
    compare_result *r = calloc(1, sizeof *r);
    assert_non_null(r);
    r->cases = calloc(count + 1, sizeof *r->cases);
    assert_non_null(r->cases);
    r->count = count;
    r->threads = 2;
    r->screen_pairs = SCREEN;
    r->confirm_pairs = CONFIRM;
    for (size_t i = 0; i < count; i++) {
        compare_case *c = &r->cases[i];
        double layout = 0.004 * normal(), other = 0.004 * normal();
        snprintf(c->name, sizeof c->name, "dense/forward/tiled/case%zu/nhwc/t2/warm", i);
        c->screen_count = SCREEN;
        c->null_count = NULLS;
        for (int k = 0; k < SCREEN; k++) c->screen[k] = log1p(effect[i]) + layout + quiet * noise();
        for (int k = 0; k < NULLS; k++) c->null[k] = other + quiet * noise();
    }
    r->control_count = CONTROL;
    for (size_t k = 0; k < CONTROL; k++) {
        r->control[k] = quiet * noise();
        r->control_ns[k] = 1e6 * exp(quiet * noise());
    }
    return r;
}

/* What the engine does: fresh pairs by fresh workers for the flagged. */
static void finish(compare_result *r, const double *effect, double quiet)
{
    compare_judge_screen(r);
    for (size_t i = 0; i < r->count; i++) {
        compare_case *c = &r->cases[i];
        double layout = 0.004 * normal();
        if (!c->flagged) continue;
        c->confirm_count = CONFIRM;
        for (int k = 0; k < CONFIRM; k++) c->confirm[k] = log1p(effect[i]) + layout + quiet * noise();
    }
    compare_judge(r);
}

static compare_result *judged(size_t count, const double *effect, double quiet)
{
    compare_result *r = session(count, effect, quiet);
    finish(r, effect, quiet);
    return r;
}

static void drop(compare_result *r)
{
    free(r->cases);
    free(r);
}

static void test_plain(void **context)
{
    (void)context;
    const double effect[6] = {0, 0.2, -0.2, 0, 0, 0};
    compare_result *r = judged(6, effect, 0.1);
    static const compare_verdict wanted[] = {COMPARE_UNCHANGED, COMPARE_REGRESSED, COMPARE_FASTER,
                                             COMPARE_UNCHANGED, COMPARE_UNCHANGED, COMPARE_UNCHANGED};
    for (size_t i = 0; i < 6; i++) {
        const compare_case *c = &r->cases[i];
        assert_string_equal(compare_verdict_name(c->verdict), compare_verdict_name(wanted[i]));
        assert_true(c->low <= c->ratio && c->ratio <= c->high);
        assert_true(fabs(c->ratio - 1 - effect[i]) < 0.02);
        assert_true(c->catchable > 1.03 && c->catchable < 1.04);
    }
    assert_true(r->cases[1].flagged && r->cases[1].p_confirm < 1e-6 && r->cases[1].p_screen < 0.01);
    assert_true(fabs(r->margin - 0.03) < 1e-12);
    assert_string_equal(r->margin_why, "the floor");
    assert_false(r->invalid);
    assert_int_equal(compare_exit_code(r), EXIT_REGRESSION);
    drop(r);
}

static void test_margin(void **context)
{
    (void)context;
    const double none[16] = {0};
    compare_result *r = session(16, none, 0.1);
    r->shared_runner = true;
    finish(r, none, 0.1);
    assert_true(fabs(r->margin - 0.05) < 1e-12);
    assert_string_equal(r->margin_why, "the floor on a shared runner");
    drop(r);

    r = session(16, none, 0.1);
    r->margin_floor = 0.08;
    finish(r, none, 0.1);
    assert_true(fabs(r->margin - 0.08) < 1e-12);
    assert_string_equal(r->margin_why, "--margin");
    drop(r);

    /* The second copy of base a little slower everywhere: the margin doubles that; much slower: no session. */
    r = session(16, none, 0.1);
    for (size_t i = 0; i < 16; i++)
        for (int k = 0; k < NULLS; k++) r->cases[i].null[k] += 0.017;
    r->margin_floor = 0.02; /* its half is 1%, and 1.7% is beyond that */
    finish(r, none, 0.1);
    assert_true(r->margin > 0.03 && r->margin < 0.04);
    assert_string_equal(r->margin_why, "twice the shift of base against base");
    assert_true(r->invalid);
    assert_int_equal(compare_exit_code(r), EXIT_INVALID);
    drop(r);

    /* Single cases of base against base lie far from zero on either side: their spread is the margin. */
    r = session(16, none, 0.1);
    for (size_t i = 0; i < 16; i++)
        for (int k = 0; k < NULLS; k++) r->cases[i].null[k] += i % 2 ? 0.04 : -0.04;
    finish(r, none, 0.1);
    assert_true(r->margin > 0.055 && r->margin < 0.08);
    assert_string_equal(r->margin_why, "the spread of base against base");
    assert_false(r->invalid);
    drop(r);
}

static void test_invalid(void **context)
{
    (void)context;
    const double none[8] = {0};
    compare_result *r = session(8, none, 0.1);
    for (size_t k = CONTROL / 2; k < CONTROL; k++) r->control_ns[k] *= 1.5;
    finish(r, none, 0.1);
    assert_true(r->invalid && strstr(r->invalid_why, "+50%") != NULL);
    assert_true(fabs(r->control_drift - log(1.5)) < 0.01);
    drop(r);

    r = session(8, none, 0.1);
    for (size_t k = 0; k < CONTROL; k++) r->control[k] += 0.05;
    finish(r, none, 0.1);
    assert_true(r->invalid && strstr(r->invalid_why, "back to back") != NULL);
    drop(r);

    r = session(2, none, 0.1);
    r->cases[0].verdict = r->cases[1].verdict = COMPARE_NOT_COMPARED;
    finish(r, none, 0.1);
    assert_true(r->invalid);
    assert_string_equal(r->invalid_why, "nothing was compared");
    r->cases[1].verdict = COMPARE_WRONG;
    assert_int_equal(compare_exit_code(r), EXIT_WRONG);
    drop(r);
}

static void test_same_kernels_only_warn(void **context)
{
    (void)context;
    const double effect[2] = {0.2, 0};
    compare_result *r = session(2, effect, 0.1);
    r->kernels_identical = true;
    finish(r, effect, 0.1);
    assert_int_equal(r->cases[0].verdict, COMPARE_INCONCLUSIVE);
    assert_true(r->cases[0].warning && strstr(r->cases[0].reason, "identical") != NULL);
    assert_int_equal(compare_exit_code(r), EXIT_FINE);
    strcpy(r->cases[0].head_plan, "another tile"); /* the same kernels, planned differently: that is the code */
    compare_judge(r);
    assert_int_equal(r->cases[0].verdict, COMPARE_REGRESSED);
    assert_false(r->cases[0].warning);
    drop(r);
}

/* A case whose base differs from itself by as much proves nothing. */
static void test_restless_case(void **context)
{
    (void)context;
    const double effect[16] = {0.2};
    compare_result *r = session(16, effect, 0.1);
    for (int k = 0; k < NULLS; k++) r->cases[0].null[k] += 0.1;
    finish(r, effect, 0.1);
    assert_int_equal(r->cases[0].verdict, COMPARE_INCONCLUSIVE);
    assert_true(strstr(r->cases[0].reason, "base differs from itself") != NULL);
    assert_int_equal(compare_exit_code(r), EXIT_FINE);
    drop(r);
}

static void test_inconclusive(void **context)
{
    (void)context;
    const double none[3] = {0, 0, 0.2};
    compare_result *r = session(3, none, 0.1);
    for (int k = 0; k < SCREEN; k++) r->cases[0].screen[k] = 0.3 * normal();
    r->cases[1].screen_count = 5;
    compare_judge_screen(r);
    r->cases[0].flagged = false;
    compare_judge(r);
    assert_int_equal(r->cases[0].verdict, COMPARE_INCONCLUSIVE);
    assert_non_null(strstr(r->cases[0].reason, "too noisy"));
    assert_int_equal(r->cases[1].verdict, COMPARE_INCONCLUSIVE);
    assert_non_null(strstr(r->cases[1].reason, "too few pairs"));
    assert_int_equal(r->cases[2].verdict, COMPARE_INCONCLUSIVE); /* interrupted before its fresh pairs */
    assert_non_null(strstr(r->cases[2].reason, "fresh pairs"));
    drop(r);
}

static void test_stored(void **context)
{
    (void)context;
    static const struct {
        double ratio, low, high;
        compare_verdict verdict;
    } table[] = {{1.2, 1.15, 1.25, COMPARE_REGRESSED},  {0.8, 0.78, 0.82, COMPARE_FASTER},
                 {1.0, 0.99, 1.01, COMPARE_UNCHANGED},  {1.02, 0.995, 1.045, COMPARE_UNCHANGED},
                 {1.2, 0.9, 1.6, COMPARE_INCONCLUSIVE}, {1.08, 1.04, 1.12, COMPARE_INCONCLUSIVE},
                 {NAN, NAN, NAN, COMPARE_INCONCLUSIVE}, {1.2, 0, INFINITY, COMPARE_INCONCLUSIVE}};
    enum { ROWS = sizeof table / sizeof *table };
    compare_case cases[ROWS] = {0};
    compare_result r = {.kind = COMPARE_STORED, .count = ROWS, .cases = cases};
    for (size_t i = 0; i < ROWS; i++) {
        cases[i].ratio = table[i].ratio;
        cases[i].low = table[i].low;
        cases[i].high = table[i].high;
    }
    compare_judge(&r);
    assert_true(fabs(r.margin - 0.05) < 1e-12);
    for (size_t i = 0; i < ROWS; i++)
        if (cases[i].verdict != table[i].verdict)
            fail_msg("row %zu: %s (%s)", i, compare_verdict_name(cases[i].verdict), cases[i].reason);
    assert_int_equal(compare_exit_code(&r), EXIT_REGRESSION);
}

/* What the issue wants to be shown on the machine, on made-up noise first. */
static void test_base_against_itself(void **context)
{
    (void)context;
    enum { SESSIONS = 20, CASES = 16 };
    const double none[CASES] = {0};
    int failed = 0, invalid = 0, unclear = 0;
    for (int s = 0; s < SESSIONS; s++) {
        compare_result *r = judged(CASES, none, 1);
        failed += compare_exit_code(r) == EXIT_REGRESSION;
        invalid += r->invalid;
        for (size_t i = 0; i < CASES; i++) unclear += r->cases[i].verdict == COMPARE_INCONCLUSIVE;
        drop(r);
    }
    print_message("base against itself: %d of %d failed, %d invalid, %d of %d cases inconclusive\n", failed,
                  SESSIONS, invalid, unclear, SESSIONS * CASES);
    assert_int_equal(failed, 0);
    assert_true(invalid <= 1);
    assert_true(unclear < SESSIONS * CASES / 10);
}

static void slowdown(double effect, int wanted, int of)
{
    enum { CASES = 8 };
    double effects[CASES] = {effect};
    int caught = 0, others = 0, counted = 0;
    double least = 0;
    for (int s = 0; s < of; s++) {
        compare_result *r = judged(CASES, effects, 1);
        least += (r->cases[0].catchable - 1) / of;
        if (effect >= 0.1 || r->cases[0].catchable <= 1 + effect) {
            counted++;
            caught += r->cases[0].verdict == COMPARE_REGRESSED && !r->invalid;
        }
        for (size_t i = 1; i < CASES; i++) others += r->cases[i].verdict == COMPARE_REGRESSED;
        drop(r);
    }
    print_message("slowdown of %.0f%%: %d of %d caught, smallest catchable %.1f%% on average\n", 100 * effect,
                  caught, counted, 100 * least);
    assert_int_equal(others, 0);
    assert_true(caught * of >= wanted * counted);
}

static void test_slowdowns(void **context)
{
    (void)context;
    slowdown(0.10, 19, 20);
    slowdown(0.05, 32, 40);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_plain),         cmocka_unit_test(test_margin),
        cmocka_unit_test(test_invalid),       cmocka_unit_test(test_same_kernels_only_warn),
        cmocka_unit_test(test_restless_case), cmocka_unit_test(test_inconclusive),
        cmocka_unit_test(test_stored),        cmocka_unit_test(test_base_against_itself),
        cmocka_unit_test(test_slowdowns),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
