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
#include "../harness/layer.h"

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

static int rank_of(const record_row *row) { return select_rank(row->problem.variant, row->pass, row->layer); }

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
        if (first > 0) assert_true(rank_of(&s.rows[first - 1]) <= rank_of(&s.rows[first]));
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
    assert_true(refused > 0 && open > 0); /* Winograd and peers do no rank 3 */
    select_free(&s);
}

/* Of a network's layers, each as often as it has them. */
typedef struct {
    int64_t layers, multiply_adds, weights;
} network_counts;

static network_counts count_network(const suite_list *list, const char *network)
{
    network_counts n = {0};
    size_t length = strlen(network);
    for (size_t i = 0; i < list->count; i++) {
        const suite_problem *item = &list->items[i];
        if (strncmp(item->layer, network, length) != 0 || item->layer[length] != ':') continue;
        int times = layer_times(item->layer);
        n.layers += times;
        n.multiply_adds += times * conv_multiplications(&item->problem);
        n.weights += times * conv_parameters(&item->problem);
    }
    return n;
}

/* Layers and weights as Keras 3's applications have them, where it has the network, without biases, batch
 * normalisation and final dense layers; multiply-adds as each paper says. */
static void test_networks(void **state)
{
    (void)state;
    static const struct {
        const char *suite, *network;
        int64_t layers, weights;
        double giga_least, giga_most; /* multiply-adds */
    } known[] = {
        {"networks", "mobilenet_v1", 27, 3185088, 0.560, 0.575}, /* 569 M with the classifier */
        {"networks", "resnet50", 53, 23454912, 3.7, 3.9},        /* 3.8 G */
        {"networks", "xception", 40, 20752424, 8.2, 8.5},
        {"mobilenet_v2", "mobilenet_v2", 52, 2189760, 0.298, 0.301},             /* 300 M */
        {"mobilenet_v3_large", "mobilenet_v3_large", 64, 5451272, 0.215, 0.219}, /* 219 M */
        {"efficientnet_b0", "efficientnet_b0", 81, 3956192, 0.383, 0.390},       /* 0.39 G */
        {"convnext_t", "convnext_t", 58, 27756000, 4.44, 4.50},                  /* 4.5 G */
        /* 2 C (k k + 25) of its 18 and 3 x 2 blocks, and the five 3x3; of 15.3 G, 12.9 are pointwise. */
        {"replknet_31b", "replknet_31b", 53, 8060416, 2.5, 2.6},
        {"wavenet", "wavenet", 30, 368640, 5.89, 5.90},
        {"mamba", "mamba_130m", 5, 3741696, 7.66, 7.67},  /* 24 of them and 38.6 M of embedding: 129 M */
        {"mamba", "mamba_2.8b", 5, 41144320, 84.2, 84.3}, /* 64 of them and 129 M: 2.76 G */
        {"unet3d", "unet3d", 18, 19067616, 266, 267},     /* 19069955 with 2339 biases, as the paper counts */
        {"unet3d_separable", "unet3d_separable", 18, 3430481, 16.3, 16.5},
    };
    for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
        suite_list list = {0};
        assert_int_equal(suite_add(&list, known[i].suite, &(suite_axes){0}), EXIT_FINE);
        network_counts n = count_network(&list, known[i].network);
        double giga = 1e-9 * (double)n.multiply_adds;
        if (n.layers != known[i].layers || n.weights != known[i].weights || giga < known[i].giga_least ||
            giga > known[i].giga_most)
            fail_msg("%s: %lld layers, %lld weights, %.4g G multiply-adds", known[i].network,
                     (long long)n.layers, (long long)n.weights, giga);
        suite_free(&list);
    }
}

/* Each suite explains itself in a line of a terminal. */
static void test_suites_are_explained(void **state)
{
    (void)state;
    char *text = NULL, *rest, *line;
    size_t size;
    FILE *out = open_memstream(&text, &size);
    assert_non_null(out);
    suite_print(out);
    fclose(out);
    rest = text;
    int lines = 0, found = 0;
    while ((line = strsep(&rest, "\n")) != NULL && *line != '\0') {
        char name[64], word[64];
        if (sscanf(line, " %63s %63s", name, word) != 2 || strlen(line) > 80) fail_msg("'%s'", line);
        lines++;
        found += strcmp(name, "unet3d") == 0 || strcmp(name, "sweep32") == 0 || strcmp(name, "mamba") == 0;
    }
    assert_true(lines >= 20 && found == 3);
    free(text);
}

/* ---- the other form of a network */

/* The problem string of the layer of that name; "" when there is none. */
static const char *problem_of(const suite_list *list, const char *layer)
{
    static char text[PROBLEM_STRING_MAX + 32];
    char problem[PROBLEM_STRING_MAX];
    text[0] = '\0';
    for (size_t i = 0; i < list->count; i++)
        if (strcmp(list->items[i].layer, layer) == 0)
            snprintf(text, sizeof text, "%s:%s", conv_variant_name(list->items[i].problem.variant),
                     problem_format(&list->items[i].problem, problem));
    return text;
}

static void test_other_form(void **state)
{
    (void)state;
    static const char *const layers[] = {
        "mb1ic3ih9oc8oh5kh3sh2ph1n\"net:first\"",      /* stays */
        "g8mb1ic8ih5oc8kh3ph1n\"net:dw_1*2\"",         /* with pw_1 */
        "mb1ic8ih1oc2kh1n\"net:squeeze*2\"",           /* not its image */
        "mb1ic8ih5oc16kh1n\"net:other\"",              /* not as often */
        "mb1ic8ih5oc32kh1n\"net:pw_1*2\"",             /* */
        "mb1ic8ih5oc32kh1n\"net:pw_2*2\"",             /* its second reader */
        "g8mb1ic8ih5oc8oh3kh3sh2ph1n\"net:dw_2\"",     /* alone: what reads dw_3 is not for it */
        "g8mb1ic8ih5oc16kh5ph2n\"net:dw_3\"",          /* multiplier 2 */
        "mb1ic16ih5oc4kh1n\"net:pw_3\"",               /* */
        "separable:mb1ic8ih5oc12kh3ph1n\"net:sep*3\"", /* by itself */
        "mb1ic4iw9oc4kw3pw2ow9n\"row:causal\"",        /* another network, all dense */
        "g2mb1ic4iw9oc4kw3pw1n\"row:grouped\"",        /* no such separable */
        "mb1ic4iw9oc4kw1n\"row:one\"",                 /* */
        "mb1ic4iw9oc4kw1n\"points:one\"",              /* a network without another form */
        "g8mb1ic8ih5oc8kh3ph1",                        /* and no network */
    };
    static const struct {
        const char *layer, *problem;
    } expected[] = {
        {"net@dense:first", "dense:mb1ic3ih9oc8kh3sh2ph1"},
        {"net@dense:dw_1*2", "dense:mb1ic8ih5oc32kh3ph1"},
        {"net@dense:squeeze*2", "pointwise:mb1ic8ih1oc2kh1"},
        {"net@dense:other", "pointwise:mb1ic8ih5oc16kh1"},
        {"net@dense:pw_1*2", ""},
        {"net@dense:pw_2*2", "pointwise:mb1ic8ih5oc32kh1"},
        {"net@dense:dw_2", "dense:mb1ic8ih5oc8kh3sh2ph1"},
        {"net@dense:dw_3", "dense:mb1ic8ih5oc4kh5ph2"},
        {"net@dense:pw_3", ""},
        {"net@dense:sep*3", "dense:mb1ic8ih5oc12kh3ph1"},
        {"row@separable:causal", "separable:mb1ic4iw9oc4ow9kw3pw2"},
        {"row@separable:grouped", "dense:g2mb1ic4iw9oc4kw3pw1"},
        {"row@separable:one", "pointwise:mb1ic4iw9oc4kw1"},
    };
    const size_t given = sizeof layers / sizeof *layers;
    suite_list list = {0};
    for (size_t i = 0; i < given; i++)
        assert_int_equal(suite_add_problem(&list, layers[i], &(suite_axes){0}), 0);
    assert_int_equal(other_form_append(&list, OTHER_FORM_NO), EXIT_FINE);
    assert_int_equal(other_form_append(&list, OTHER_FORM_BY_FILE), EXIT_FINE);
    assert_int_equal(list.count, given);
    assert_int_equal(other_form_append(&list, OTHER_FORM_YES), EXIT_FINE);
    assert_int_equal(list.count, given + 8 + 3);
    for (size_t i = 0; i < sizeof expected / sizeof *expected; i++)
        assert_string_equal(problem_of(&list, expected[i].layer), expected[i].problem);
    suite_free(&list);
    suite_add_problem(&list, layers[given - 1], &(suite_axes){0});
    assert_int_equal(other_form_append(&list, OTHER_FORM_YES), EXIT_USAGE);
    suite_free(&list);
}

/* As multiply-adds: what is derived of the 3-D U-Net is its twin's file, and of that the U-Net. */
static void test_other_form_of_suites(void **state)
{
    (void)state;
    static const char *const twins[] = {"unet3d", "unet3d_separable"};
    for (int way = 0; way < 2; way++) {
        suite_list derived = {0}, file = {0};
        assert_int_equal(suite_add(&derived, twins[way], &(suite_axes){0}), EXIT_FINE);
        assert_int_equal(suite_add(&file, twins[!way], &(suite_axes){0}), EXIT_FINE);
        const size_t layers = derived.count;
        assert_int_equal(other_form_append(&derived, OTHER_FORM_BY_FILE), EXIT_FINE);
        assert_int_equal(derived.count, layers + file.count);
        for (size_t i = 0; i < file.count; i++) {
            assert_memory_equal(&derived.items[layers + i].problem, &file.items[i].problem,
                                sizeof(conv_problem));
            assert_string_equal(strchr(derived.items[layers + i].layer, ':'), strchr(file.items[i].layer, ':'));
        }
        suite_free(&derived);
        suite_free(&file);
    }
    suite_list list = {0};
    assert_int_equal(suite_add(&list, "mobilenet_v1", &(suite_axes){0}), EXIT_FINE);
    assert_int_equal(other_form_append(&list, OTHER_FORM_BY_FILE), EXIT_FINE);
    network_counts n = count_network(&list, "mobilenet_v1@dense");
    assert_int_equal(n.layers, 14); /* "Conv MobileNet", table 4 of the paper: 4866 M with the classifier */
    assert_in_range(n.multiply_adds, 4860000000, 4870000000);
    suite_free(&list);
}

/* What a filter leaves out of a network is named all the same, and its other form is that of the whole. */
static void test_networks_named(void **state)
{
    (void)state;
    char *problems[] = {"mb1ic3ih9oc8kh3ph1n\"net:first*2\"", "g8mb1ic8ih9oc8kh3ph1n\"net:dw\"",
                        "mb1ic8ih9oc16kh1n\"net:pw\"", "mb1ic8ih9oc16kh3n\"none\""};
    const struct {
        const char *variants, *channels, *impls;
    } filters[] = {{.variants = "dense"}, {.channels = "8"}, {.impls = "xnnpack,blocked-avx2"}};
    for (size_t i = 0; i < sizeof filters / sizeof *filters; i++) {
        selection s = selected((select_options){.problems = problems,
                                                .problem_count = 4,
                                                .passes = "forward",
                                                .variants = filters[i].variants,
                                                .channels = filters[i].channels,
                                                .impls = filters[i].impls,
                                                .other_form = OTHER_FORM_YES});
        char *text = json_dumps(s.networks, JSON_COMPACT | JSON_SORT_KEYS);
        assert_string_equal(text, "{\"net\":[\"first*2\",\"dw\",\"pw\"],\"net@dense\":[\"first*2\",\"dw\"]}");
        free(text);
        for (size_t k = 0; filters[i].channels != NULL && k < s.count; k++)
            if (strcmp(s.rows[k].layer, "net@dense:dw") == 0) assert_int_equal(s.rows[k].problem.oc, 16);
        select_free(&s);
    }
    selection s = selected((select_options){.suite = "smoke"});
    assert_int_equal(json_object_size(s.networks), 0);
    select_free(&s);
    s = selected((select_options){.suite = "sentinel"});
    assert_int_equal(json_object_size(s.networks), 0);
    select_free(&s);
}

/* Case names stay unique, layers that stay as they are share a row, and parts of a backward pass are not asked
 * for. */
static void test_other_form_cases(void **state)
{
    (void)state;
    char *problems[] = {"mb1ic8ih5oc8kh3ph1n\"net:a\"", "g8mb1ic8ih5oc8kh3ph1n\"net:b\"",
                        "mb1ic8ih5oc8kh1n\"net:c\""};
    selection s = selected((select_options){.problems = problems,
                                            .problem_count = 3,
                                            .impls = "naive",
                                            .threads = "1",
                                            .other_form = OTHER_FORM_YES});
    assert_int_equal(s.count, 3 * 4); /* b and c together are one of a's shape */
    for (size_t i = 0; i < s.count; i++)
        if (s.rows[i].problem.variant == CONV_DENSE)
            assert_string_equal(s.rows[i].layer, "net:a+net@dense:a+net@dense:b");
    select_free(&s);
    s = selected((select_options){.problems = &problems[1],
                                  .problem_count = 2,
                                  .impls = "naive",
                                  .threads = "1",
                                  .other_form = OTHER_FORM_YES});
    assert_int_equal(s.count, 2 * 4 + 2);
    select_free(&s);
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
    (void)state;
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
    (void)state;
    suite_list list = {0};
    assert_int_equal(add_text(&list, "# of onednn_verbose,exec,cpu,convolution\nmb1ic8ih5oc8kh3n\"a\"\n"),
                     EXIT_FINE);
    assert_int_equal(list.count, 1);
    assert_string_equal(list.items[0].layer, "a");
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
        cmocka_unit_test(test_suites_are_explained),
        cmocka_unit_test(test_other_form),
        cmocka_unit_test(test_other_form_of_suites),
        cmocka_unit_test(test_networks_named),
        cmocka_unit_test(test_other_form_cases),
        cmocka_unit_test(test_same_shape_twice_is_one_case),
        cmocka_unit_test(test_shape_file),
        cmocka_unit_test(test_benchdnn_files),
        cmocka_unit_test(test_onednn_logs),
        cmocka_unit_test(test_shape_file_that_speaks_of_a_log),
        cmocka_unit_test(test_long_layer_name),
        cmocka_unit_test(test_bad_shape_files),
        cmocka_unit_test(test_too_large_is_skipped),
        cmocka_unit_test(test_numbers),
        cmocka_unit_test(test_budget_covers_all_that_it_can),
        cmocka_unit_test(test_budget_tries_again),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
