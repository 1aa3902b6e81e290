/* Which groups are visited next, and for how long. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "../bench/schedule.h"

enum { GROUPS = 4 };

/* Two groups that answer the title and two that do not, each visit of one second and one more a repetition. */
static void set_up(schedule_entry *entries, int repetitions, int visits)
{
    for (int i = 0; i < GROUPS; i++)
        entries[i] = (schedule_entry){.need = {repetitions, visits, 1, 1}, .headline = i % 2 == 0};
}

/* Rounds until nothing is chosen or needed; how many visits each group had. */
static double play(schedule_entry *entries, double left, int *visits)
{
    for (int i = 0; i < GROUPS; i++) visits[i] = 0;
    while (schedule_round(entries, GROUPS, left) > 0)
        for (int i = 0; i < GROUPS; i++) {
            if (entries[i].repetitions == 0) continue;
            left -= entries[i].need.fixed + entries[i].repetitions * entries[i].need.each;
            entries[i].need.repetitions -= entries[i].repetitions;
            entries[i].need.least_visits++;
            visits[i]++;
        }
    return left;
}

static void all_that_is_asked_for(void **state)
{
    (void)state;
    schedule_entry entries[GROUPS];
    int visits[GROUPS];
    set_up(entries, 9, 0);
    assert_true(schedule_seconds(entries, GROUPS) == GROUPS * 18);
    play(entries, INFINITY, visits);
    for (int i = 0; i < GROUPS; i++) {
        assert_int_equal(visits[i], 9); /* a visit for each repetition */
        assert_int_equal(entries[i].need.repetitions, 0);
    }
}

static void headline_first(void **state)
{
    (void)state;
    schedule_entry entries[GROUPS];
    int visits[GROUPS];
    set_up(entries, 9, 0);
    double left = play(entries, 2 * 18 + 9, visits); /* the headline whole, a few visits for the others */
    assert_int_equal(visits[0], 9);
    assert_int_equal(visits[2], 9);
    assert_true(entries[0].need.repetitions == 0 && entries[2].need.repetitions == 0);
    assert_true(visits[1] >= 1 && visits[3] >= 1 && visits[1] < 9);
    assert_true(left >= 0);
}

/* With little time repetitions share visits, but three visits there are: fewer have no interval. */
static void few_visits(void **state)
{
    (void)state;
    schedule_entry entries[GROUPS];
    int visits[GROUPS];
    set_up(entries, 9, 0);
    double left = play(entries, 25, visits);
    for (int i = 0; i < GROUPS; i += 2) {
        assert_int_equal(entries[i].need.repetitions, 0);
        assert_true(visits[i] >= 3 && visits[i] < 9);
    }
    assert_true(left >= 0);
    set_up(entries, 9, 0);
    assert_true(play(entries, 1.5, visits) >= 0); /* nothing fits: it ends all the same */
    assert_int_equal(visits[0], 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(all_that_is_asked_for),
        cmocka_unit_test(headline_first),
        cmocka_unit_test(few_visits),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
