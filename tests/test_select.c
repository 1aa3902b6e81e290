/* From words to cases: suites, filters, order, and numbers. */
#include "selected.h"

#include <string.h>

#include "../bench/suite.h"

static size_t count_rows(const selection *s, conv_variant variant, conv_pass pass, const char *impl)
{
    size_t count = 0;
    for (size_t i = 0; i < s->count; i++)
        count += s->rows[i].problem.variant == variant && s->rows[i].pass == pass &&
                 strcmp(s->rows[i].impl, impl) == 0;
    return count;
}

static void test_sweep_is_complete(void **state)
{
    selection s = selected((select_options){.suite = "sweep", .threads = "2"});
    for (int v = 0; v < CONV_VARIANT_COUNT; v++)
        for (int p = 0; p < CONV_PASS_COUNT; p++) {
            bool is_case = v != CONV_SEPARABLE || p == CONV_FORWARD || p == CONV_BACKWARD;
            assert_int_equal(count_rows(&s, (conv_variant)v, (conv_pass)p, "naive"), is_case ? 7 : 0);
        }
    for (size_t i = 0; i < s.count; i++) {
        const conv_problem *p = &s.rows[i].problem;
        assert_true(p->mb == 1 && p->ic == p->oc && p->axis[CONV_H].in == 28 &&
                    conv_out(&p->axis[CONV_W]) == 28);
        assert_int_equal(p->axis[CONV_H].kernel, p->variant == CONV_POINTWISE ? 1 : 3);
        assert_string_equal(s.rows[i].suite, "sweep");
    }
    select_free(&s);
}

/* What is there to show a cause is measured by its suite, beside ours that are exact, and where it is named. */
static void test_study(void **state)
{
    selection s = selected((select_options){.suite = "why", .threads = "2"});
    assert_int_equal(count_rows(&s, CONV_DEPTHWISE, CONV_FORWARD, "tf-like"), 7);
    assert_int_equal(count_rows(&s, CONV_DEPTHWISE, CONV_BACKWARD_WEIGHTS, "tf-like+threads"), 7);
    assert_int_equal(count_rows(&s, CONV_DEPTHWISE, CONV_BACKWARD_DATA, "tiled"), 7);
    assert_int_equal(count_rows(&s, CONV_DEPTHWISE, CONV_FORWARD, "onednn"), 0);
    select_free(&s);
    s = selected((select_options){.suite = "sweep", .threads = "2"});
    for (int v = 0; v < CONV_VARIANT_COUNT; v++)
        assert_int_equal(count_rows(&s, (conv_variant)v, CONV_FORWARD, "tf-like"), 0);
    select_free(&s);
    s = selected((select_options){.suite = "sweep", .impls = "tf-like", .threads = "2"});
    assert_int_equal(count_rows(&s, CONV_SEPARABLE, CONV_BACKWARD, "tf-like"), 7);
    select_free(&s);
}

static int rank_of(const record_row *row) { return select_rank(row->problem.variant, row->pass, row->layer); }

static void test_groups_are_adjacent_and_names_unique(void **state)
{
    selection s = selected(
        (select_options){.suite = "smoke", .threads = "1,2", .layouts = "nhwc,nchw", .caches = "warm,cold"});
    char a[CASE_NAME_MAX], b[CASE_NAME_MAX];
    for (size_t i = 0; i < s.count; i++)
        for (size_t j = i + 1; j < s.count; j++) {
            assert_string_not_equal(record_case_name(&s.rows[i], a), record_case_name(&s.rows[j], b));
            record_row x = s.rows[i], y = s.rows[j];
            strcpy(x.impl, "");
            strcpy(y.impl, "");
            bool same = strcmp(record_case_name(&x, a), record_case_name(&y, b)) == 0;
            assert_int_equal(same, s.rows[i].group == s.rows[j].group);
        }
    for (size_t first = 0, end; first < s.count; first = end) {
        end = select_group_end(&s, first);
        for (size_t i = end; i < s.count; i++) assert_int_not_equal(s.rows[i].group, s.rows[first].group);
        if (first > 0) assert_true(rank_of(&s.rows[first - 1]) <= rank_of(&s.rows[first]));
    }
    select_free(&s);
}

static void test_filters(void **state)
{
    selection s = selected((select_options){.suite = "sweep",
                                            .variants = "dense,separable",
                                            .passes = "forward",
                                            .impls = "naive",
                                            .channels = "32:128,96",
                                            .spatial = "7",
                                            .batch = "2",
                                            .threads = "1",
                                            .bias = true,
                                            .post_op = CONV_POST_RELU6});
    assert_int_equal(s.count, 2 * 4);
    for (size_t i = 0; i < s.count; i++) {
        const conv_problem *p = &s.rows[i].problem;
        assert_true(p->mb == 2 && p->axis[CONV_H].in == 7 && p->bias && p->post_op == CONV_POST_RELU6);
        assert_true(s.rows[i].threads == 1 && s.rows[i].status == CASE_SKIPPED && s.rows[i].reason[0] == '\0');
    }
    select_free(&s);

    char *problems[] = {"mb1ic32ih28oc32kh3ph1", "mb4ic300ih28oc32kh3ph1", "mb1ic32ih14oc32kh3ph1"};
    s = selected((select_options){.problems = problems,
                                  .problem_count = 3,
                                  .passes = "forward",
                                  .impls = "naive",
                                  .channels = "16:400",
                                  .spatial = "28",
                                  .batch = "8,16"});
    assert_int_equal(s.count, 4); /* a range filters by its ends, a batch replaces the problem's */
    for (size_t i = 0; i < s.count; i++) assert_true(s.rows[i].problem.mb == 8 || s.rows[i].problem.mb == 16);
    select_free(&s);

    char *ranks[] = {"g8mb1ic8iw28oc8kw3", "g8mb1ic8iw27oc8kw3", "g8mb1ic8id5ih28iw9oc8kd3kh3kw3",
                     "g8mb1ic8id28ih9iw28oc8kd3kh3kw3"};
    s = selected((select_options){
        .problems = ranks, .problem_count = 4, .passes = "forward", .impls = "naive", .spatial = "28"});
    assert_int_equal(s.count, 2); /* by the width, by the height */
    assert_true(s.rows[0].problem.rank == 1 && s.rows[0].problem.axis[CONV_W].in == 28);
    assert_true(s.rows[1].problem.rank == 3 && s.rows[1].problem.axis[CONV_H].in == 28);
    select_free(&s);

    s = selected((select_options){.problems = problems, .problem_count = 1, .exact = true});
    for (size_t i = 0; i < s.count; i++) {
        const conv_impl *impl = conv_find(s.rows[i].impl, CONV_DENSE);
        assert_true(impl == NULL || !impl->inexact);
    }
    select_free(&s);
}

static void test_refusals_are_rows(void **state)
{
    char *problem[] = {"mb1ic4id5ih6iw7oc4kd3kh3kw3"};
    selection s = selected((select_options){.problems = problem, .problem_count = 1, .passes = "forward"});
    size_t refused = 0, open = 0;
    for (size_t i = 0; i < s.count; i++) {
        if (s.rows[i].status == CASE_REFUSED) {
            assert_int_not_equal(s.rows[i].reason[0], '\0');
            refused++;
        } else {
            open++;
        }
    }
    assert_true(refused > 0 && open > 0); /* Winograd and peers do no rank 3 */
    select_free(&s);
}

static void test_same_shape_twice_is_one_case(void **state)
{
    char *problems[] = {"mb1ic8ih8oc8kh3ph1n\"a*2\"", "mb1ic8ih8oc8oh8kh3ph1n\"b\""};
    selection s = selected(
        (select_options){.problems = problems, .problem_count = 2, .passes = "forward", .impls = "naive"});
    assert_int_equal(s.count, 1);
    assert_string_equal(s.rows[0].layer, "a*2+b");
    select_free(&s);
}

/* ---- numbers */

static void test_numbers(void **state)
{
    suite_numbers n;
    assert_int_equal(suite_numbers_parse("channels", "32:2048", INT32_MAX, &n), EXIT_FINE);
    assert_true(n.count == 7 && n.values[0] == 32 && n.values[6] == 2048);
    assert_true(suite_numbers_match(&n, 100) && !suite_numbers_match(&n, 4096));
    assert_int_equal(suite_numbers_parse("channels", "3,96,96,728", INT32_MAX, &n), EXIT_FINE);
    assert_true(n.count == 3 && suite_numbers_match(&n, 728) && !suite_numbers_match(&n, 97));
    assert_int_equal(suite_numbers_parse("channels", NULL, INT32_MAX, &n), EXIT_FINE);
    assert_true(n.count == 0 && suite_numbers_match(&n, 5));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_sweep_is_complete),
        cmocka_unit_test(test_study),
        cmocka_unit_test(test_groups_are_adjacent_and_names_unique),
        cmocka_unit_test(test_filters),
        cmocka_unit_test(test_refusals_are_rows),
        cmocka_unit_test(test_same_shape_twice_is_one_case),
        cmocka_unit_test(test_numbers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
