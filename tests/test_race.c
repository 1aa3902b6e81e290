/* What the repetitions of many visits say: figures, intervals, and who is still in the race. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../harness/measure/race.h"
#include "../harness/random.h"
#include "../harness/stats.h"
#include "unit.h"

static void add(samples *s, double ns, int visit, sample_use use, unsigned marks)
{
    const record_sample one = {.ns = ns, .iterations = 1, .visit = visit, .use = use, .marks = marks};
    assert_true(samples_add(s, &one));
}

static samples chosen_by(double first, double second, double third)
{
    samples s = {0};
    add(&s, first, 0, SAMPLE_CHOOSES, 0);
    add(&s, second, 0, SAMPLE_CHOOSES, 0);
    add(&s, third, 0, SAMPLE_CHOOSES, 0);
    return s;
}

/* ---- intervals */

static void interval_by_visits(void **state)
{
    /* Two repetitions of each of nine visits: the medians of the visits are 1, 2 .. 9. */
    double ns[18];
    int visit[18];
    size_t visits;
    for (int i = 0; i < 18; i++) {
        visit[i] = i / 2;
        ns[i] = i / 2 + 1 + (i % 2 ? 0.25 : -0.25);
    }
    stats_summary s = stats_summarize_visits(ns, visit, 18, &visits);
    assert_int_equal(visits, 9);
    assert_true(s.has_ci && s.n == 18 && s.median == 5 && s.ci95_low == 2 && s.ci95_high == 8 && s.min == 0.75);

    /* Three visits: Student's t with two degrees of freedom on logarithms. */
    const double three[] = {exp(0.9), exp(1), exp(1.1)};
    s = stats_summarize_visits(three, visit + 0, 1, &visits);
    assert_false(s.has_ci);
    const int apart[] = {0, 1, 2};
    s = stats_summarize_visits(three, apart, 3, &visits);
    assert_true(s.has_ci && fabs(log(s.median) - 1) < 1e-12);
    assert_true(fabs(log(s.ci95_high) - (1 + 4.303 * 0.1 / sqrt(3))) < 1e-9);
    assert_true(fabs(log(s.ci95_low) - (1 - 4.303 * 0.1 / sqrt(3))) < 1e-9);

    /* However many repetitions one visit has, it is one: no interval. */
    const int together[18] = {0};
    s = stats_summarize_visits(ns, together, 18, &visits);
    assert_true(!s.has_ci && isnan(s.ci95_low) && visits == 1);
}

static void disturbed_repetitions(void **state)
{
    record_row row = {0};
    samples s = {0};
    for (int v = 0; v < 9; v++) add(&s, v < 3 ? 900 : 100, v, SAMPLE_REPORTS, v < 3 ? MARK_WAITED : 0);
    add(&s, 1, 9, SAMPLE_CHOOSES, 0); /* chose, so does not report */
    samples_summarise(&s, &row);
    assert_true(row.median_ns == 100 && row.ci95_high_ns == 100 && row.repetitions == 6 && row.disturbed == 0);
    samples_free(&s);

    /* Two quiet ones make no interval, so the others stay and are counted. */
    for (int v = 0; v < 6; v++) add(&s, v < 4 ? 900 : 100, v, SAMPLE_REPORTS, v < 4 ? MARK_STOLEN : 0);
    samples_summarise(&s, &row);
    assert_true(row.repetitions == 6 && row.disturbed == 4 && row.median_ns == 900);
    samples_free(&s);
}

/* The host moves the cores: barriers take twice as long for a while, and this row's calls too. */
static void add_moved(samples *s, double ns, int visit, double handover_ns)
{
    const record_sample one = {
        .ns = ns, .iterations = 1, .visit = visit, .use = SAMPLE_REPORTS, .handover_ns = handover_ns};
    assert_true(samples_add(s, &one));
}

static void moved_cores(void **state)
{
    record_row row = {0};
    samples s = {0};
    for (int v = 0; v < 9; v++) add_moved(&s, v < 3 ? 50 : 94, v, v < 3 ? 190 : 390);
    assert_int_equal(samples_clean(&s, SAMPLE_REPORTS), 3); /* the others are to be taken again */
    samples_summarise(&s, &row);
    assert_true(row.median_ns == 50 && row.repetitions == 3 && row.moved == 0 && row.disturbed == 0);
    samples_free(&s);

    /* Two visits with near cores make no interval: all together, wide enough for both. */
    for (int v = 0; v < 9; v++) add_moved(&s, v < 2 ? 50 : 94, v, v < 2 ? 190 : 390);
    samples_summarise(&s, &row);
    assert_true(row.median_ns == 94 && row.repetitions == 9 && row.moved == 1);
    assert_true(row.ci95_low_ns == 50 && row.ci95_high_ns == 94);
    samples_free(&s);

    /* Where the times do not follow, nothing is left out; nor where the barrier is not known. */
    for (int v = 0; v < 9; v++) add_moved(&s, 94 + v % 2, v, v < 3 ? 190 : v < 6 ? 390 : NAN);
    assert_int_equal(samples_clean(&s, SAMPLE_REPORTS), 9);
    samples_summarise(&s, &row);
    assert_true(row.repetitions == 9 && row.moved == 0);
    samples_free(&s);
}

/* ---- the race */

static void race_by_kind(void **state)
{
    samples quick = chosen_by(100, 102, 101), near = chosen_by(103, 101, 104), slow = chosen_by(120, 121, 122),
            slowest = chosen_by(500, 510, 505), peer = chosen_by(130, 131, 132),
            other = chosen_by(900, 910, 905);
    race_entry entries[] = {
        {&slow, true, true, NULL, RACE_NONE, NAN},      {&quick, true, true, NULL, RACE_NONE, NAN},
        {&near, true, true, NULL, RACE_NONE, NAN},      {&peer, true, true, "one", RACE_NONE, NAN},
        {&slowest, true, false, "one", RACE_NONE, NAN}, {&quick, true, false, NULL, RACE_NONE, NAN},
        {&quick, false, true, "one", RACE_NONE, NAN},   {&slowest, true, true, "one", RACE_NONE, NAN},
        {&other, true, true, "two", RACE_NONE, NAN},
    };
    race_judge(entries, sizeof entries / sizeof *entries);
    static const race_state expected[] = {
        RACE_BEHIND, RACE_AHEAD, RACE_NEAR,   RACE_AHEAD, /* slower than ours, but the fastest of its side */
        RACE_BEHIND,                                      /* inexact, and slower than whoever is fastest */
        RACE_NEAR,   RACE_NONE,  RACE_BEHIND, RACE_AHEAD, /* each peer by itself */
    };
    for (size_t i = 0; i < sizeof expected / sizeof *expected; i++)
        if (entries[i].state != expected[i])
            fail_msg("entry %zu: %s, not %s", i, race_state_name(entries[i].state),
                     race_state_name(expected[i]));
    samples_free(&quick);
    samples_free(&near);
    samples_free(&slow);
    samples_free(&slowest);
    samples_free(&peer);
    samples_free(&other);
}

/* A burst that hit all repetitions of one row does not put it out of the race. */
static void race_when_disturbed(void **state)
{
    samples quick = chosen_by(100, 102, 101), hit = {0}, hopeless = {0};
    for (int i = 0; i < 3; i++) {
        add(&hit, 300, 0, SAMPLE_CHOOSES, MARK_WAITED);
        add(&hopeless, 3000, 0, SAMPLE_CHOOSES, MARK_WAITED);
    }
    race_entry entries[] = {{&quick, true, true, NULL, RACE_NONE, NAN},
                            {&hit, true, true, NULL, RACE_NONE, NAN},
                            {&hopeless, true, true, NULL, RACE_NONE, NAN}};
    race_judge(entries, 3);
    assert_int_equal(entries[0].state, RACE_AHEAD);
    assert_int_equal(entries[1].state, RACE_NEAR);
    assert_int_equal(entries[2].state, RACE_BEHIND);
    entries[0].samples = &hit; /* a leader that was disturbed is at least as fast as that */
    race_judge(entries, 3);
    assert_int_equal(entries[2].state, RACE_BEHIND);
    samples_free(&quick);
    samples_free(&hit);
    samples_free(&hopeless);
}

/* The faster of two met far cores only, the other one near ones, too: no reason to drop the faster. */
static void race_with_moved_cores(void **state)
{
    samples fast = {0}, slow = {0}, own_pool = {0};
    for (int i = 0; i < 3; i++) {
        const record_sample o = {.ns = 20000 + i, .iterations = 1, .use = SAMPLE_CHOOSES, .handover_ns = NAN};
        assert_true(samples_add(&own_pool, &o));
        const record_sample f = {.ns = 9450 + i, .iterations = 1, .use = SAMPLE_CHOOSES, .handover_ns = 400};
        const record_sample s = {.ns = 11790 + i, .iterations = 1, .use = SAMPLE_CHOOSES, .handover_ns = 410};
        assert_true(samples_add(&fast, &f) && samples_add(&slow, &s));
    }
    for (int i = 0; i < 4; i++) {
        const record_sample s = {
            .ns = 5550 + i, .iterations = 1, .visit = 1, .use = SAMPLE_CHOOSES, .handover_ns = 190};
        assert_true(samples_add(&slow, &s));
    }
    race_entry entries[] = {{&fast, true, true, NULL, RACE_NONE, NAN},
                            {&slow, true, true, NULL, RACE_NONE, NAN},
                            {&own_pool, true, true, "one", RACE_NONE, NAN}};
    race_judge(entries, 3);
    assert_int_equal(entries[0].state, RACE_AHEAD);
    assert_int_equal(entries[1].state, RACE_BEHIND);
    assert_true(entries[0].choice == 9451 && entries[1].choice == 11791); /* both with far cores */
    assert_int_equal(entries[2].state, RACE_AHEAD); /* its engine meets at no barrier that tells */
    assert_true(entries[2].choice == 20001);
    samples_free(&fast);
    samples_free(&slow);
    samples_free(&own_pool);
}

/* A row that was measured alone, and another that joins it later, when there was time for it: the first is the
 * fastest although no repetition of it chose. */
static void alone_at_first(void **state)
{
    samples alone = {0}, late = chosen_by(800, 810, 820);
    for (int v = 0; v < 9; v++) add(&alone, 100 + v, v, SAMPLE_REPORTS, 0);
    race_entry entries[] = {{.samples = &late, .timed = true, .exact = true},
                            {.samples = &alone, .timed = true, .exact = true}};
    race_judge(entries, 2);
    assert_int_equal(entries[0].state, RACE_BEHIND);
    assert_int_equal(entries[1].state, RACE_AHEAD);
    assert_true(entries[1].choice == 104);
    samples_free(&alone);
    samples_free(&late);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(interval_by_visits),    cmocka_unit_test(alone_at_first),
        cmocka_unit_test(disturbed_repetitions), cmocka_unit_test(moved_cores),
        cmocka_unit_test(race_with_moved_cores), cmocka_unit_test(race_by_kind),
        cmocka_unit_test(race_when_disturbed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
