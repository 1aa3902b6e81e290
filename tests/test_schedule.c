/* Which groups are visited next, and for how long. */
#include <math.h>

#include "../bench/schedule.h"
#include "unit.h"

enum { GROUPS = 4 };

/* Two groups that answer the title and two that do not, each visit of one second and one more a repetition. */
static void set_up(schedule_entry *entries, int repetitions, int visits)
{
    for (int i = 0; i < GROUPS; i++)
        entries[i] = (schedule_entry){.need = {repetitions, visits, 1, 1}, .headline = i % 2 == 0};
}

/* Visits until nothing is needed or fits; how many each group had. Returns the seconds that are left. */
static double play(schedule_entry *entries, double left, int *visits)
{
    uint64_t random = 1;
    for (int i = 0; i < GROUPS; i++) visits[i] = 0;
    for (int next;
         schedule_plan(entries, GROUPS, left), (next = schedule_next(entries, GROUPS, &random)) >= 0;) {
        schedule_entry *e = &entries[next];
        double seconds = e->need.fixed + e->repetitions * e->need.each;
        e->left_out = seconds > left;
        if (e->left_out) continue;
        left -= seconds;
        e->need.repetitions -= e->repetitions < e->need.repetitions ? e->repetitions : e->need.repetitions;
        e->need.least_visits++;
        visits[next]++;
    }
    return left;
}

static void all_that_is_asked_for(void **state)
{
    schedule_entry entries[GROUPS];
    int visits[GROUPS];
    set_up(entries, 9, 0);
    assert_true(schedule_plan(entries, GROUPS, INFINITY) == GROUPS * 18);
    play(entries, INFINITY, visits);
    for (int i = 0; i < GROUPS; i++) {
        assert_int_equal(visits[i], 9); /* a visit for each repetition */
        assert_int_equal(entries[i].need.repetitions, 0);
    }
}

static void headline_first(void **state)
{
    schedule_entry entries[GROUPS];
    int visits[GROUPS];
    set_up(entries, 9, 0);
    double left = play(entries, 2 * 18 + 9, visits); /* the headline whole, a few visits for the others */
    assert_int_equal(visits[0], 9);
    assert_int_equal(visits[2], 9);
    assert_true(entries[0].need.repetitions == 0 && entries[2].need.repetitions == 0);
    assert_true(visits[1] + visits[3] >= 3 && visits[1] < 9 && visits[3] < 9);
    assert_true(left >= 0);
}

/* With little time the dear group has fewer visits, three if an interval is to be had; the cheap one keeps
 * its nine. */
static void few_visits(void **state)
{
    schedule_entry entries[GROUPS];
    int visits[GROUPS];
    set_up(entries, 9, 0);
    entries[0].need.fixed = entries[0].need.each = 0.1;
    double left = play(entries, 16, visits);
    assert_int_equal(visits[0], 9);
    assert_true(visits[2] >= 3 && visits[2] < 9);
    assert_true(entries[0].need.repetitions == 0 && entries[2].need.repetitions == 0 && left >= 0);

    set_up(entries, 9, 0); /* not even nine repetitions each: fewer, in three visits or more all the same */
    left = play(entries, 15, visits);
    assert_true(visits[0] >= 3 && visits[2] >= 3 && visits[0] < 9 && visits[2] < 9);
    assert_true(left >= 0);

    set_up(entries, 9, 0);
    assert_true(play(entries, 1.5, visits) >= 0); /* nothing fits: it ends all the same */
    assert_int_equal(visits[0], 0);
}

/* Two intervals of three visits, one of which is had already: what may not be given to others. */
static void least(void **state)
{
    schedule_entry entries[GROUPS];
    set_up(entries, 9, 0);
    entries[0].need.least_visits = 2;
    entries[1].need.least_visits = 3;
    entries[2].need.repetitions = 0;
    assert_true(schedule_least(entries, GROUPS) == 1 * 2 + 0 + 0 + 3 * 2);
}

/* Visits of a group are spread: none has its second before all have their first, give or take half a visit. */
static void spread(void **state)
{
    schedule_entry entries[GROUPS];
    uint64_t random = 1;
    int most = 0;
    set_up(entries, 9, 0);
    schedule_plan(entries, GROUPS, INFINITY);
    for (int k = 0; k < 3 * GROUPS; k++) {
        int next = schedule_next(entries, GROUPS, &random), least = 9;
        entries[next].need.least_visits++;
        entries[next].visits--;
        for (int i = 0; i < GROUPS; i++)
            if (entries[i].need.least_visits < least) least = entries[i].need.least_visits;
        if (entries[next].need.least_visits - least > most) most = entries[next].need.least_visits - least;
    }
    assert_true(most <= 2);
}

/* The headline has its last visit while others still have some to come: time to replace what was disturbed
 * in it. */
static void headline_ends_early(void **state)
{
    schedule_entry entries[GROUPS];
    uint64_t random = 1;
    set_up(entries, 9, 0);
    schedule_plan(entries, GROUPS, INFINITY);
    while (entries[0].visits + entries[2].visits > 0) {
        int next = schedule_next(entries, GROUPS, &random);
        entries[next].need.least_visits++;
        entries[next].visits--;
    }
    assert_true(entries[1].visits + entries[3].visits >= 2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(headline_ends_early),
        cmocka_unit_test(all_that_is_asked_for),
        cmocka_unit_test(headline_first),
        cmocka_unit_test(few_visits),
        cmocka_unit_test(least),
        cmocka_unit_test(spread),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
