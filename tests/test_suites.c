/* The suites: what each network is made of, what each is explained by, and its other form. */
#include "selected.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../bench/suite.h"
#include "../harness/layer.h"

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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_networks),       cmocka_unit_test(test_suites_are_explained),
        cmocka_unit_test(test_other_form),     cmocka_unit_test(test_other_form_of_suites),
        cmocka_unit_test(test_networks_named), cmocka_unit_test(test_other_form_cases),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
