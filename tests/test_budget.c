/* How a budget is shared out among groups of cases. */
#include "selected.h"

#include <math.h>
#include <string.h>

#include "../bench/budget.h"

static void test_budget_covers_all_that_it_can(void **state)
{
    selection s = selected((select_options){.suite = "sweep", .variants = "dense", .threads = "1"});
    const measure_options options = {.repetitions = 9, .min_time = 0.02, .verify = true};
    budget b;
    bool skip[256];
    double remaining;
    assert_true(budget_open(&b, &s, &options, 0));
    size_t end = select_group_end(&s, 0);
    double unlimited = budget_group(&b, 0, end, 0, skip, &remaining);
    for (size_t i = 0; i < end; i++) assert_false(skip[i]);
    assert_true(unlimited > 0 && remaining > unlimited);
    budget_close(&b);

    /* What is granted never exceeds the time left, however little that is,
     * and leaves none that nobody needs. */
    for (double left = 1; left < 1e5; left *= 10) {
        assert_true(budget_open(&b, &s, &options, left));
        double granted = budget_group(&b, 0, end, left, skip, &remaining);
        assert_true(granted <= left * 1.001 && remaining <= left * 1.001);
        assert_true(granted >= fmin(unlimited, left - remaining) * 0.999);
        budget_close(&b);
    }
    select_free(&s);
}

/* What did not fit into a share: the dearest rows give way, and nobody gets more than is there. */
static void test_budget_tries_again(void **state)
{
    char *long_row[] = {"g12288mb1ic12288iw16384oc12288kw4"};
    selection s = selected((select_options){.problems = long_row,
                                            .problem_count = 1,
                                            .passes = "forward",
                                            .impls = "naive,im2col,tiled",
                                            .threads = "2"});
    const measure_options options = {.repetitions = 3, .min_time = 0.02, .verify = true};
    budget b;
    bool skip[3];
    double remaining;
    assert_int_equal(s.count, 3);
    assert_true(budget_open(&b, &s, &options, 5));
    budget_group(&b, 0, 3, 2.5, skip, &remaining);
    for (int i = 0; i < 3; i++) assert_true(skip[i]); /* half of the budget is too little for any */
    double all = budget_least(&b, 0, 3), price = budget_price(&b, 0, 3);
    assert_true(all < 20 && price > 0 && isfinite(price));
    assert_true(budget_again(&b, 0, 3, 2 * all, 0, skip) <= 2 * all);
    for (int i = 0; i < 3; i++) assert_false(skip[i]);
    double granted = budget_again(&b, 0, 3, 0.9 * all, 1e9, skip);
    assert_true(granted > 0 && granted <= 0.9 * all);
    for (int i = 0; i < 3; i++)
        assert_true(skip[i] == (strcmp(s.rows[i].impl, "naive") == 0)); /* the slowest alone */
    assert_true(budget_again(&b, 0, 3, 0.1, 0, skip) == 0);
    for (int i = 0; i < 3; i++) assert_true(skip[i]);
    budget_close(&b);
    select_free(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_budget_covers_all_that_it_can),
        cmocka_unit_test(test_budget_tries_again),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
