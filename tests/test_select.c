/* From words to cases: suites, shape files, filters, order, and the words for what is not allowed. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "../bench/budget.h"
#include "../bench/select.h"
#include "../bench/suite.h"
#include "../harness/cli.h"

static selection selected(select_options options)
{
    selection s;
    if (select_cases(&options, &s) != EXIT_FINE) fail_msg("refused");
    return s;
}

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
    (void)state;
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
    (void)state;
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

static void test_groups_are_adjacent_and_names_unique(void **state)
{
    (void)state;
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
        if (first > 0)
            assert_true(select_rank(s.rows[first - 1].problem.variant, s.rows[first - 1].pass) <=
                        select_rank(s.rows[first].problem.variant, s.rows[first].pass));
    }
    select_free(&s);
}

static void test_filters(void **state)
{
    (void)state;
    selection s = selected((select_options){.suite = "sweep",
                                            .variants = "dense,separable",
                                            .passes = "forward",
                                            .impls = "naive",
                                            .channels = "32:128,96",
                                            .spatial = "7",
                                            .batch = "2",
                                            .threads = "1",
                                            .bias = true,
                                            .relu = true});
    assert_int_equal(s.count, 2 * 4);
    for (size_t i = 0; i < s.count; i++) {
        const conv_problem *p = &s.rows[i].problem;
        assert_true(p->mb == 2 && p->axis[CONV_H].in == 7 && p->bias && p->post_op == CONV_POST_RELU);
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

    s = selected((select_options){.problems = problems, .problem_count = 1, .exact = true});
    for (size_t i = 0; i < s.count; i++) {
        const conv_impl *impl = conv_find(s.rows[i].impl, CONV_DENSE);
        assert_true(impl == NULL || !impl->inexact);
    }
    select_free(&s);
}

static void test_refusals_are_rows(void **state)
{
    (void)state;
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
    assert_true(refused > 0 && open > 0); /* rank 3 is for naive and onednn */
    select_free(&s);
}

/* How often the network has its layers: *N at the end of a name. */
static int64_t occurrences(const suite_list *list, const char *network)
{
    int64_t count = 0;
    for (size_t i = 0; i < list->count; i++) {
        const char *layer = list->items[i].layer, *star = strrchr(layer, '*');
        if (strncmp(layer, network, strlen(network)) == 0) count += star ? atoll(star + 1) : 1;
    }
    return count;
}

static int64_t multiply_adds(const suite_list *list, const char *network)
{
    int64_t count = 0;
    for (size_t i = 0; i < list->count; i++) {
        const char *layer = list->items[i].layer, *star = strrchr(layer, '*');
        if (strncmp(layer, network, strlen(network)) == 0)
            count += (star ? atoll(star + 1) : 1) * conv_multiplications(&list->items[i].problem);
    }
    return count;
}

/* Convolutions of each network by its paper, and its multiply-adds (MobileNet's table 1 counts 569 million with
 * the classifier's 1 million; ResNet-50 has 3.8 billion by its table 1; Xception's are Keras's). */
static void test_networks(void **state)
{
    (void)state;
    suite_list list = {0};
    const suite_axes all = {0};
    assert_int_equal(suite_add(&list, "networks", &all), EXIT_FINE);
    assert_int_equal(occurrences(&list, "mobilenet_v1:"), 27);
    assert_int_equal(occurrences(&list, "resnet50:"), 53);
    assert_int_equal(occurrences(&list, "xception:"), 40);
    assert_in_range(multiply_adds(&list, "mobilenet_v1:"), 560000000, 575000000);
    assert_in_range(multiply_adds(&list, "resnet50:"), 3700000000, 3900000000);
    assert_in_range(multiply_adds(&list, "xception:"), 8200000000, 8500000000);
    suite_free(&list);
}

static void test_same_shape_twice_is_one_case(void **state)
{
    (void)state;
    char *problems[] = {"mb1ic8ih8oc8kh3ph1n\"a*2\"", "mb1ic8ih8oc8oh8kh3ph1n\"b\""};
    selection s = selected(
        (select_options){.problems = problems, .problem_count = 2, .passes = "forward", .impls = "naive"});
    assert_int_equal(s.count, 1);
    assert_string_equal(s.rows[0].layer, "a*2+b");
    select_free(&s);
}

/* ---- shape files */

static char file[64];

static int add_text(suite_list *list, const char *text)
{
    const suite_axes all = {0};
    strcpy(file, "/tmp/sepbench-shapes-XXXXXX");
    int fd = mkstemp(file);
    assert_true(fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text));
    close(fd);
    int code = suite_add_file(list, file, &all);
    unlink(file);
    return code;
}

static void test_shape_file(void **state)
{
    (void)state;
    suite_list list = {0};
    assert_int_equal(add_text(&list, "# a comment\n\n--mb=4 mb1ic16ih10oc16kh3ph1 # another\n"
                                     "ic3ih8oc4kh3n\"x*3\"\tg16mb2ic16ih9oc16kh3\r\n--reset\nic8ih4oc8kh1"),
                     EXIT_FINE);
    assert_int_equal(list.count, 4);
    assert_true(list.items[0].problem.mb == 4 && list.items[1].problem.mb == 4 &&
                list.items[2].problem.mb == 4);
    assert_true(list.items[3].problem.mb == 2 && list.items[3].problem.variant == CONV_POINTWISE);
    assert_string_equal(list.items[1].layer, "x*3");
    assert_int_equal(list.items[2].problem.variant, CONV_DEPTHWISE);
    suite_free(&list);
}

/* Parts of shape files of oneDNN's that this program once could not read. */
static void test_benchdnn_files(void **state)
{
    (void)state;
    suite_list list = {0};
    /* 0 keeps what the problem says, and what it says when it says nothing; an empty list ends the option */
    assert_int_equal(add_text(&list, "--mb=0,16,32 mb4ic8ih5oc8kh3 ic8ih6oc8kh3 --mb= ic8ih7oc8kh3"),
                     EXIT_FINE);
    const int64_t mb[] = {4, 16, 32, 2, 16, 32, 2};
    assert_int_equal(list.count, 7);
    for (size_t i = 0; i < 7; i++) assert_int_equal(list.items[i].problem.mb, mb[i]);
    suite_free(&list);

    /* a word goes on behind a backslash, in whatever way it stands there */
    assert_int_equal(add_text(&list, "--attr-post-ops=relu, \\\r\n   add:f32,\\\n tanh\n"
                                     "ic8ih5\\\n# between\n oc8kh3 ic8ih6oc8kh3 \\\n"),
                     EXIT_FINE);
    assert_int_equal(list.count, 2);
    assert_true(list.items[0].problem.axis[CONV_H].in == 5 && list.items[1].problem.axis[CONV_H].in == 6);
    suite_free(&list);

    /* benchdnn's implementations are not ours: all are taken; where one of a list is ours, the others are
     * errors */
    assert_int_equal(add_text(&list, "--impl=naive ic8ih5oc8kh3 --impl= ic8ih6oc8kh3 --impl=naive --reset\n"
                                     "--impl=ref ic8ih7oc8kh3"),
                     EXIT_FINE);
    assert_int_equal(list.count, 3);
    assert_string_equal(list.items[0].impls, "naive");
    for (int i = 1; i < 3; i++) assert_string_equal(list.items[i].impls, "");
    suite_free(&list);
    assert_int_equal(add_text(&list, "--impl=naive,ref ic8ih7oc8kh3"), EXIT_USAGE);

    assert_int_equal(add_text(&list, "\xEF\xBB\xBFmb1ic8ih5oc8kh3ph1\r\nmb1ic8ih6oc8kh3ph1\r\n"), EXIT_FINE);
    assert_int_equal(list.count, 2);
    suite_free(&list);
    assert_int_equal(add_text(&list, "ic8ih5oc8kh3n\"two words # one name\" ic8ih6oc8kh3"), EXIT_FINE);
    assert_int_equal(list.count, 2);
    assert_string_equal(list.items[0].layer, "two words # one name");
    suite_free(&list);
}

static void test_long_layer_name(void **state)
{
    (void)state;
    suite_list list = {0};
    char text[800], name[601];
    memset(name, 'x', 600);
    name[600] = '\0';
    snprintf(text, sizeof text, "ic8ih5oc8kh3n\"%s\"", name);
    assert_int_equal(add_text(&list, text), EXIT_FINE);
    assert_string_equal(list.items[0].layer, name);
    suite_free(&list);
}

static void test_bad_shape_files(void **state)
{
    (void)state;
    static const char *const texts[] = {
        "--mb=1,,2 ic8ih5oc8kh3", "--mb=1, ic8ih5oc8kh3",  "--mb=-1 ic8ih5oc8kh3",       "--mb=1x ic8ih5oc8kh3",
        "--mb=, ic8ih5oc8kh3",    "ic8ih5oc8kh3n\"open\n", "--attr=\"open ic8ih5oc8kh3", "\\",
    };
    suite_list list = {0};
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
        if (add_text(&list, texts[i]) != EXIT_USAGE) fail_msg("'%s' was accepted", texts[i]);
    suite_free(&list);
}

/* Sizes that no machine could hold do not stop the file: they are rows that say so. */
static void test_too_large_is_skipped(void **state)
{
    (void)state;
    static const char *const texts[] = {"mb1ic1oc1iw4294967311kw3", "mb1ic4294967311oc1iw1kw1",
                                        "mb2147483647ic2147483647ih2147483647oc2147483647kh1",
                                        "ic3ih8oc8kh3sh1000oh2147483647ph2147483647"};
    char text[512] = "mb1ic8ih5oc8kh3ph1\n";
    for (int i = 0; i < 4; i++) strcat(strcat(text, texts[i]), "\n");
    strcpy(file, "/tmp/sepbench-shapes-XXXXXX");
    int fd = mkstemp(file);
    assert_true(fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text));
    close(fd);
    selection s =
        selected((select_options){.shapes = file, .impls = "naive", .passes = "forward", .threads = "1"});
    unlink(file);
    assert_int_equal(s.count, 5);
    size_t large = 0;
    for (size_t i = 0; i < s.count; i++) {
        assert_int_equal(s.rows[i].status, CASE_SKIPPED);
        large += strstr(s.rows[i].reason, "must be between 1 and 2^31") != NULL ||
                 strstr(s.rows[i].reason, "must be between -2147483648 and 2^31") != NULL ||
                 strstr(s.rows[i].reason, "reach 2^62") != NULL;
    }
    assert_int_equal(large, 4);
    select_free(&s);
}

/* ---- numbers */

static void test_numbers(void **state)
{
    (void)state;
    suite_numbers n;
    assert_int_equal(suite_numbers_parse("channels", "32:2048", INT32_MAX, &n), EXIT_FINE);
    assert_true(n.count == 7 && n.values[0] == 32 && n.values[6] == 2048);
    assert_true(suite_numbers_match(&n, 100) && !suite_numbers_match(&n, 4096));
    assert_int_equal(suite_numbers_parse("channels", "3,96,96,728", INT32_MAX, &n), EXIT_FINE);
    assert_true(n.count == 3 && suite_numbers_match(&n, 728) && !suite_numbers_match(&n, 97));
    assert_int_equal(suite_numbers_parse("channels", NULL, INT32_MAX, &n), EXIT_FINE);
    assert_true(n.count == 0 && suite_numbers_match(&n, 5));
}

/* ---- the budget */

static void test_budget_covers_all_that_it_can(void **state)
{
    (void)state;
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
    (void)state;
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
        cmocka_unit_test(test_sweep_is_complete),
        cmocka_unit_test(test_study),
        cmocka_unit_test(test_groups_are_adjacent_and_names_unique),
        cmocka_unit_test(test_filters),
        cmocka_unit_test(test_refusals_are_rows),
        cmocka_unit_test(test_networks),
        cmocka_unit_test(test_same_shape_twice_is_one_case),
        cmocka_unit_test(test_shape_file),
        cmocka_unit_test(test_benchdnn_files),
        cmocka_unit_test(test_long_layer_name),
        cmocka_unit_test(test_bad_shape_files),
        cmocka_unit_test(test_too_large_is_skipped),
        cmocka_unit_test(test_numbers),
        cmocka_unit_test(test_budget_covers_all_that_it_can),
        cmocka_unit_test(test_budget_tries_again),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
