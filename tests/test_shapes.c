/* Shape files in benchdnn's syntax and logs of ONEDNN_VERBOSE, and the words for what they must not hold. */
#include "selected.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "../bench/suite.h"
#include "../harness/layer.h"

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

/* ---- logs of ONEDNN_VERBOSE */

static void expect_layers(const suite_list *list, const char *const expected[][2], size_t count)
{
    assert_int_equal(list->count, count);
    for (size_t i = 0; i < count; i++) {
        char problem[PROBLEM_STRING_MAX];
        assert_string_equal(problem_format(&list->items[i].problem, problem), expected[i][0]);
        assert_string_equal(strchr(list->items[i].layer, ':'), expected[i][1]);
        assert_true(layer_in_network(list->items[i].layer));
    }
}

/* The lines of versions 1 to 3, with time stamps and without; in one training step a problem occurs three times
 * and counts once. */
static void test_onednn_logs(void **state)
{
    static const char *const prefixes[] = {"dnnl_verbose,",
                                           "onednn_verbose,",
                                           "onednn_verbose,1691582400123.45,",
                                           "onednn_verbose,primitive,",
                                           "onednn_verbose,v1,primitive,",
                                           "12:00:01 worker | onednn_verbose,v1,1691582400123.45,primitive,"};
    static const struct {
        const char *operation, *propagation, *problem;
    } lines[] = {
        {"create:cache_miss", "forward_training", "mb1_ic3oc8_ih9oh5kh3sh2dh0ph1_iw9ow5kw3sw2dw0pw1"},
        {"exec", "forward_training", "mb1_ic3oc8_ih9oh5kh3sh2dh0ph1_iw9ow5kw3sw2dw0pw1"},
        {"exec", "forward_inference", "mb1_g8ic8oc8_ih5oh5kh3sh1dh0ph1_iw5ow5kw3sw1dw0pw1"},
        {"exec:check", "forward_inference", "mb1_g8ic8oc8_ih5oh5kh3sh1dh0ph1_iw5ow5kw3sw1dw0pw1"},
        {"exec", "forward_inference", "g2mb2_ic8oc16_ih5oh5kh3sh1dh0ph1_iw7ow7kw3sw1dw0pw1"},
        {"exec", "forward_training", "mb1_ic3oc8_ih9oh5kh3sh2dh0ph1_iw9ow5kw3sw2dw0pw1"},
        {"exec", "backward_weights", "mb1_ic3oc8_ih9oh5kh3sh2dh0ph1_iw9ow5kw3sw2dw0pw1"},
        {"exec", "backward_data", "mb4_ic8oc8_iw9ow9kw1sw1dw0pw0"},
        {"exec", "backward_weights", "mb4_ic8oc8_iw9ow9kw1sw1dw0pw0"},
        {"exec", "forward_inference", "mb1_ic4oc8_id6od3kd3sd2dd1pd2_ih6oh6kh1sh1dh0ph0_iw6ow6kw1sw1dw0pw0"},
    };
    static const char *const expected[][2] = {{"mb1ic3ih9oc8kh3sh2ph1", ":conv_1*2"},
                                              {"g8mb1ic8ih5oc8kh3ph1", ":conv_2*1"},
                                              {"g2mb2ic8ih5iw7oc16kh3kw3ph1pw1", ":conv_3*1"},
                                              {"mb4ic8iw9oc8kw1", ":conv_4*1"},
                                              {"mb1ic4id6ih6iw6oc8kd3kh1kw1sd2pd2dd1", ":conv_5*1"}};
    for (size_t i = 0; i < sizeof prefixes / sizeof *prefixes; i++) {
        char *text = NULL;
        size_t size;
        FILE *out = open_memstream(&text, &size);
        assert_non_null(out);
        fprintf(out, "# started\n%sinfo,oneDNN v2\n", prefixes[i]);
        for (size_t k = 0; k < sizeof lines / sizeof *lines; k++)
            fprintf(out,
                    "%s%s,cpu,convolution,jit:avx2,%s,src_f32::blocked:abcd:f0 wei_f32::blocked:Abcd8a:f0,"
                    "post_ops:'eltwise_relu;',alg:convolution_direct,%s,1e-05\r\n",
                    prefixes[i], lines[k].operation, lines[k].propagation, lines[k].problem);
        fprintf(out, "%sexec,cpu,matmul,brg:avx2,undef,src_f32::blocked:ab:f0,,,8x8:8x8,0\n", prefixes[i]);
        fclose(out);
        suite_list list = {0};
        assert_int_equal(add_text(&list, text), EXIT_FINE);
        expect_layers(&list, expected, sizeof expected / sizeof *expected);
        suite_free(&list);
        free(text);
    }
}

static void test_shape_file_that_speaks_of_a_log(void **state)
{
    suite_list list = {0};
    assert_int_equal(add_text(&list, "# of onednn_verbose,exec,cpu,convolution\nmb1ic8ih5oc8kh3n\"a\"\n"),
                     EXIT_FINE);
    assert_int_equal(list.count, 1);
    assert_string_equal(list.items[0].layer, "a");
    suite_free(&list);
}

static void test_long_layer_name(void **state)
{
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
    static const char *const texts[] = {
        "--mb=1,,2 ic8ih5oc8kh3",
        "--mb=1, ic8ih5oc8kh3",
        "--mb=-1 ic8ih5oc8kh3",
        "--mb=1x ic8ih5oc8kh3",
        "--mb=, ic8ih5oc8kh3",
        "ic8ih5oc8kh3n\"open\n",
        "--attr=\"open ic8ih5oc8kh3",
        "\\",
        "--other-form=perhaps ic8ih5oc8kh3",
    };
    suite_list list = {0};
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
        if (add_text(&list, texts[i]) != EXIT_USAGE) fail_msg("'%s' was accepted", texts[i]);
    suite_free(&list);
}

/* Sizes that no machine could hold do not stop the file: they are rows that say so. */
static void test_too_large_is_skipped(void **state)
{
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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_shape_file),           cmocka_unit_test(test_benchdnn_files),
        cmocka_unit_test(test_onednn_logs),          cmocka_unit_test(test_shape_file_that_speaks_of_a_log),
        cmocka_unit_test(test_long_layer_name),      cmocka_unit_test(test_bad_shape_files),
        cmocka_unit_test(test_too_large_is_skipped),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
