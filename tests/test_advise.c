/* sepbench advise: which layers become what, what is said of made-up times, and the command from model to
 * table. */
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "../bench/advise.h"
#include "../harness/cli.h"
#include "../harness/report/advice.h"
#include "folder.h"
#include "made_run.h"
#include "train_support.h"

static char program[4096];

/* A 3x3, twice; a depthwise one with its 1x1 behind normalisation and activation; a lone depthwise one; a
 * separable one; a grouped one. Then a layer that is not known, and a convolution behind it. */
#define SAME "\"padding\":\"same\",\"kernel_size\":3"
static const struct {
    const char *class_name, *name, *config;
} layers_of_m[] = {
    {"Conv2D", "a", SAME ",\"filters\":8"},
    {"Conv2D", "b", SAME ",\"filters\":8"},
    {"DepthwiseConv2D", "dw", SAME},
    {"BatchNormalization", "bn", ""},
    {"ReLU", "relu", ""},
    {"Conv2D", "pw", "\"filters\":16,\"kernel_size\":1"},
    {"DepthwiseConv2D", "lone", SAME},
    {"SeparableConv2D", "sep", SAME ",\"filters\":4"},
    {"Conv2D", "grouped", SAME ",\"filters\":4,\"groups\":2"},
    {"Lambda", "strange", ""},
    {"Conv2D", "behind", SAME ",\"filters\":8"},
};

/* Of those layers, each behind the one before. */
static const char *model_text(void)
{
    static char text[4096];
    size_t used = (size_t)sprintf(
        text, "{\"class_name\":\"Functional\",\"config\":{\"name\":\"m:1\",\"layers\":[{\"class_name\":"
              "\"InputLayer\","
              "\"name\":\"in\",\"config\":{\"batch_shape\":[null,null,null,8]},\"inbound_nodes\":[]}");
    const char *before = "in";
    for (size_t i = 0; i < sizeof layers_of_m / sizeof *layers_of_m; before = layers_of_m[i++].name)
        used += (size_t)snprintf(
            text + used, sizeof text - used,
            ",{\"class_name\":\"%s\",\"name\":\"%s\",\"config\":{%s},\"inbound_nodes\":[[[\"%s\",0,0,"
            "{}]]]}",
            layers_of_m[i].class_name, layers_of_m[i].name, layers_of_m[i].config, before);
    snprintf(text + used, sizeof text - used,
             "],\"input_layers\":[[\"in\",0,0]],\"output_layers\":[[\"%s\",0,0]]}}", before);
    return text;
}

static void list_model(suite_list *list, json_t **layers)
{
    conv_error err = {""};
    network_convs convs;
    network *n = network_parse(model_text(), "m.json", &err);
    if (n == NULL || network_find_convs(n, &(network_input){{8, 8}, 2}, &convs, &err) != CONV_OK)
        fail_msg("%s", err.text);
    assert_int_equal(advise_list(n, &convs, list, layers), EXIT_FINE);
    network_convs_free(&convs);
    network_free(n);
}

/* Each problem once, the other form of what has one, and the swapped network whole. */
static void problems(void **state)
{
    static const char *const expected[] = {"dense:mb1ic8ih8oc8kh3ph1 m_1:a*2",
                                           "depthwise:g8mb1ic8ih8oc8kh3ph1 m_1:dw",
                                           "pointwise:mb1ic8ih8oc16kh1 m_1:pw",
                                           "depthwise:g16mb1ic16ih8oc16kh3ph1 m_1:lone",
                                           "separable:mb1ic16ih8oc4kh3ph1 m_1:sep",
                                           "dense:g2mb1ic4ih8oc4kh3ph1 m_1:grouped",
                                           "separable:mb1ic8ih8oc8kh3ph1 m_1@swapped:a*2",
                                           "dense:mb1ic8ih8oc16kh3ph1 m_1@swapped:dw",
                                           "depthwise:g16mb1ic16ih8oc16kh3ph1 m_1@swapped:lone",
                                           "dense:mb1ic16ih8oc4kh3ph1 m_1@swapped:sep",
                                           "dense:g2mb1ic4ih8oc4kh3ph1 m_1@swapped:grouped"};
    suite_list list = {0};
    json_t *layers;
    list_model(&list, &layers);
    assert_int_equal(list.count, sizeof expected / sizeof *expected);
    for (size_t i = 0; i < list.count; i++) {
        char text[PROBLEM_STRING_MAX], line[2048];
        snprintf(line, sizeof line, "%s:%s %s", conv_variant_name(list.items[i].problem.variant),
                 problem_format(&list.items[i].problem, text), list.items[i].layer);
        assert_string_equal(line, expected[i]);
        assert_int_equal(list.items[i].other_form, i >= 6);
    }
    assert_int_equal(json_array_size(layers), 5);
    json_t *pair = json_array_get(layers, 1);
    assert_string_equal(json_string_value(json_array_get(json_object_get(pair, "layers"), 0)), "dw + pw");
    /* 3x3x8 and 8 biases, 8x16 and 16; dense 3x3x8x16 and 16 */
    assert_int_equal(json_integer_value(json_object_get(pair, "parameters")), 72 + 8 + 128 + 16);
    assert_int_equal(json_integer_value(json_object_get(pair, "other_parameters")), 1152 + 16);
    assert_int_equal(json_integer_value(json_object_get(pair, "multiplications")), 64 * (72 + 128));
    assert_int_equal(json_integer_value(json_object_get(pair, "other_multiplications")), 64 * 1152);
    json_decref(layers);
    suite_free(&list);
}

/* ---- made-up times */

/* Of the list's problems in turn. */
static made make_times(const suite_list *list, const double *ns)
{
    made m = {0};
    for (size_t i = 0; i < list->count; i++) {
        char text[PROBLEM_STRING_MAX], problem[2 * PROBLEM_STRING_MAX];
        const suite_problem *item = &list->items[i];
        snprintf(problem, sizeof problem, "%s:%sn\"%s\"", conv_variant_name(item->problem.variant),
                 problem_format(&item->problem, text), item->layer);
        made_add(&m, problem, CONV_FORWARD, "avx2", ns[i], 9);
    }
    return m;
}

static json_t *about(json_t *layers)
{
    return json_pack("{s:s, s:s, s:b, s:o}", "network", "m_1", "by", "sepbench", "train", 0, "layers", layers);
}

static void sums_and_words(void **state)
{
    static const double ns[] = {100, 10, 10, 7, 10, 9, 50, 60, 7, 30, 9};
    suite_list list = {0};
    json_t *layers;
    conv_error err;
    report_data data;
    report_advice a;
    list_model(&list, &layers);
    made m = make_times(&list, ns);
    record_run run = made_run(&m);
    json_object_set_new(run.run, "advise", about(layers));
    assert_true(report_data_create(&run, &data, &err));
    assert_true(report_advice_create(&data, &a));
    assert_int_equal(a.convolutions, 7);
    assert_string_equal(report_advice_verdict(&a.items[0], ADVICE_FORWARD), "won");  /* a, b: 100 to 50 */
    assert_string_equal(report_advice_verdict(&a.items[1], ADVICE_FORWARD), "lost"); /* dw and pw: 20 to 60 */
    assert_string_equal(report_advice_verdict(&a.items[2], ADVICE_FORWARD), "");
    assert_float_equal(a.items[1].at[ADVICE_FORWARD].time[ADVICE_NOW].median, 20, 1e-9);
    const advice_sum *s = &a.sum[ADVICE_FORWARD];
    assert_float_equal(s->time[ADVICE_NOW].median, 246, 1e-9); /* 2 of 100, 20, 7, 10, 9 */
    assert_float_equal(s->time[ADVICE_EVERY].median, 206, 1e-9);
    assert_float_equal(s->time[ADVICE_PAYING].median, 146, 1e-9);
    assert_float_equal(s->time[ADVICE_NOW].low, 246 * 0.985, 1e-9);
    assert_true(s->whole && s->swap == 4 && s->pay == 2 && s->lose == 2);
    assert_false(a.sum[ADVICE_STEP].whole);
    char *words = report_advice_words(&a, ADVICE_FORWARD);
    assert_string_equal(
        words, "Forward: swapping all 4 layers of m_1 that have another form, of 7 convolutions, makes "
               "them 1.19 times as fast (206 ns instead of 246 ns); only the 2 where it pays makes them "
               "1.68 times as fast (146 ns instead of 246 ns). Not to be swapped: dw (0.33 times as fast), "
               "sep (0.33 times as fast).");
    free(words);
    assert_null(report_advice_words(&a, ADVICE_STEP));
    report_advice_destroy(&a);
    report_data_destroy(&data);
    made_end(&run, &m);
    suite_free(&list);
}

/* What is not determined is not said to be so: neither that no swap pays, nor a time that was disturbed. */
static void disturbed(void **state)
{
    static const double ns[] = {100, 10, 10, 7, 10, 9, 50, 60, 7, 30, 9};
    suite_list list = {0};
    json_t *layers;
    conv_error err;
    report_data data;
    report_advice a;
    char *text = NULL;
    size_t size;
    list_model(&list, &layers);
    made m = make_times(&list, ns);
    record_run run = made_run(&m);
    for (size_t i = 0; i < run.count; i++) run.rows[i].disturbed = 3;
    json_object_set_new(run.run, "advise", about(layers));
    assert_true(report_data_create(&run, &data, &err));
    assert_true(report_advice_create(&data, &a));
    FILE *out = open_memstream(&text, &size);
    report_advice_print(out, &a);
    fclose(out);
    assert_non_null(strstr(text, "2 others, without another form (1x1, grouped, depthwise alone)\n"
                                 "  forward  ~"));
    free(text);
    text = report_advice_words(&a, ADVICE_FORWARD);
    assert_non_null(strstr(text, "No swap is known to pay. Not determined: 4."));
    free(text);
    report_advice_destroy(&a);
    report_data_destroy(&data);
    made_end(&run, &m);
    suite_free(&list);
}

/* A sum that lacks a layer is none; and what a stranger's run.json says in other ways is no advice. */
static void parts_and_strangers(void **state)
{
    static const double ns[] = {100, 10, 10, 7, 10, 9, 0, 60, 7, 30, 9};
    static const char *const changes[][2] = {
        {"times", "-1"},  {"times", "2.5"},     {"layer", "\"a\\u0007\""},
        {"layers", "[]"}, {"layers", "[7]"},    {"own", "[\"a\",\"b\",\"c\"]"},
        {"own", "{}"},    {"parameters", "-3"}, {"other_parameters", "null"}};
    suite_list list = {0};
    json_t *layers;
    conv_error err;
    report_data data;
    report_advice a;
    list_model(&list, &layers);
    made m = make_times(&list, ns);
    record_run run = made_run(&m);
    json_t *entry = json_array_get(layers, 0);
    json_object_set_new(run.run, "advise", about(layers));
    assert_true(report_data_create(&run, &data, &err));
    assert_true(report_advice_create(&data, &a));
    assert_false(a.sum[ADVICE_FORWARD].whole);
    char *words = report_advice_words(&a, ADVICE_FORWARD);
    assert_string_equal(words, "Forward: a layer of m_1 has no time, so there is no sum.");
    free(words);
    report_advice_destroy(&a);
    for (size_t i = 0; i < sizeof changes / sizeof *changes; i++) {
        json_t *before = json_incref(json_object_get(entry, changes[i][0]));
        json_object_set_new(entry, changes[i][0], json_loads(changes[i][1], JSON_DECODE_ANY, NULL));
        if (report_advice_create(&data, &a)) fail_msg("%s is %s", changes[i][0], changes[i][1]);
        json_object_set_new(entry, changes[i][0], before);
    }
    assert_true(report_advice_create(&data, &a));
    report_advice_destroy(&a);
    report_data_destroy(&data);
    made_end(&run, &m);
    suite_free(&list);
}

/* ---- the command */

#define QUICK "--input 8x8 --repetitions 3 --min-time 0.0001 --budget 20 --threads 1 --strategy model"

static void expect(int code, const char *says, const char *words)
{
    static char output[1 << 16];
    int got = run_shell(output, sizeof output, "%s %s 2>&1", program, words);
    if (got != code || strstr(output, says) == NULL)
        fail_msg("%s: exit %d, expected %d and '%s':\n%s", words, got, code, says, output);
}

/* problems.txt: the network's problems, each once and as often as it has it, by the same implementations. */
static void bench_measures_the_same(void)
{
    static char text[1 << 16];
    read_text("run/problems.txt", text, sizeof text);
    assert_non_null(strstr(text, "#   sepbench bench --threads 1 --shapes problems.txt\n"
                                 "--pass=forward,backward\n--impl=im2col,tiled,"));
    assert_non_null(strstr(text, "\n--mb=1\n"
                                 "dense:mb1ic8ih8oc8kh3ph1n\"m_1:a*2\"\n"
                                 "depthwise:g8mb1ic8ih8oc8kh3ph1n\"m_1:dw\"\n"
                                 "pointwise:mb1ic8ih8oc16kh1n\"m_1:pw\"\n"
                                 "depthwise:g16mb1ic16ih8oc16kh3ph1n\"m_1:lone\"\n"
                                 "separable:mb1ic16ih8oc4kh3ph1n\"m_1:sep\"\n"
                                 "dense:g2mb1ic4ih8oc4kh3ph1n\"m_1:grouped\"\n"));
    expect(0, "",
           "bench --shapes run/problems.txt --out again --repetitions 3 --min-time 0.0001 --threads 1 "
           "--budget 20 --strategy model");
    /* column 4 is the layer, 2 the case; the lone one stands in both of the network's forms */
    assert_int_equal(run_shell(text, sizeof text,
                               "for r in run again; do cut -d, -f2,4 $r/results.csv | grep ',m_1:' | "
                               "sed 's/+m_1@swapped.*//' | sort >$r.cases; done; cmp run.cases again.cases && "
                               "wc -l <again.cases"),
                     0);
    assert_true(strtol(text, NULL, 10) > 6 * 4);
}

static void the_command(void **state)
{
    static char text[1 << 20];
    write_text("m.json", model_text());
    expect(0, "all 7 convolutions, training step", "advise m.json --train --out run " QUICK);
    read_text("run/advise.csv", text, sizeof text);
    assert_non_null(strstr(
        text, "\na,2,a | b,dense:mb1ic8ih8oc8kh3ph1,separable:mb1ic8ih8oc8kh3ph1,1,1,forward,sepbench,"));
    assert_non_null(
        strstr(text, "\ndw,1,dw + pw,depthwise:g8mb1ic8ih8oc8kh3ph1 + pointwise:mb1ic8ih8oc16kh1,dense:"));
    assert_non_null(strstr(text, "\n(those that pay),7,"));
    assert_non_null(strstr(text, ",training step,sepbench,"));
    read_text("run/run.json", text, sizeof text);
    assert_non_null(strstr(text, "\"Lambda\": 1"));
    bench_measures_the_same();
    expect(0, "convolution behind is left out: the shape behind strange (Lambda) is not known",
           "advise --resume --out run");
    expect(0, "report: ", "report run --out page");
    read_text("page/index.html", text, sizeof text);
    assert_non_null(strstr(text, "<h2>Which layers of m_1 gain</h2>"));
    assert_non_null(strstr(text, "must be trained again"));
    expect(2, "a run of 'sepbench advise': one of 'sepbench bench' is needed", "bench --resume --out run");
    expect(2, "is not the model that this run began with", "advise --resume --out run --input 9x9");
    assert_int_equal(
        run_shell(text, sizeof text, "sed -i 's/\"kernel_size\":3/\"kernel_size\":[9,1]/g' m.json"), 0);
    expect(2, "is not the model that this run began with", "advise --resume --out run");
}

/* At most 80 columns, with the characters of UTF-8 counted, not their bytes. */
static void assert_narrow(const char *output)
{
    for (size_t length; *output != 0; output += length + (output[length] != 0)) {
        length = strcspn(output, "\n");
        int width = 0;
        for (size_t i = 0; i < length; i++) width += ((unsigned char)output[i] & 0xC0) != 0x80;
        if (width > 80) fail_msg("%d columns: %.*s", width, (int)length, output);
    }
}

#define CONV_OF(name, filters)                                                                                 \
    "{\"class_name\":\"Conv2D\",\"config\":{\"name\":\"" name "\",\"filters\":" #filters                       \
    ",\"kernel_size\":3,\"padding\":\"same\"}}"
#define NAME_OF_60 "block_of_a_model/block_of_a_model/block_of_a_model/block_of_"

/* Names as Keras allows them: each row is one layer's, advise.csv stays a table and lines stay short. */
static void odd_names(void **state)
{
    static char output[1 << 16], text[1 << 16];
    write_text(
        "odd.json",
        "{\"class_name\":\"Sequential\",\"config\":{\"name\":\"a_network_of_a_long_name\",\"layers\":[{\"class_"
        "name\":\"InputLayer\",\"config\":{\"name\":\"in\",\"batch_shape\":[null,8,8,2]}}," CONV_OF(
            "a_b_3", 3) "," CONV_OF("a_b", 4) "," CONV_OF("a:b",
                                                          5) "," CONV_OF("c,\\\"d",
                                                                         6) "," CONV_OF(NAME_OF_60
                                                                                        "1_and_more_of_it_even",
                                                                                        7) "]}}");
    assert_int_equal(run_shell(output, sizeof output, "%s advise odd.json --out run %s", program,
                               "--repetitions 3 --min-time 0.0001 --budget 20 --threads 1 --strategy model "
                               "2>log"),
                     0);
    assert_narrow(output);
    assert_non_null(strstr(output, "a_network_of_a_long_name, batch 1, 1 thread: 5 convolutions"));
    assert_non_null(strstr(output, "\n" NAME_OF_60 "1_and_more_of_it_e"));
    read_text("run/advise.csv", text, sizeof text);
    assert_non_null(strstr(text, "\na_b_3,1,a_b_3,dense:mb1ic2ih8oc3"));
    assert_non_null(strstr(text, "\na_b_4,1,a:b,dense:mb1ic4ih8oc5"));
    assert_non_null(strstr(text, "\nc__d,1,\"c,\"\"d\",dense:mb1ic5ih8oc6"));
}

static void refusals(void **state)
{
    write_text("m.json", model_text());
    write_text("none.json",
               "{\"class_name\":\"Sequential\",\"config\":[{\"class_name\":\"Flatten\",\"config\":{"
               "\"batch_input_shape\":[null,4,4,1]}}]}");
    write_text("half.json", "{\"class_name\":\"Sequential\",\"conf");
    expect(2, "none.json: no convolution among its 1 layers", "advise none.json --out run");
    expect(2, "m.json: the size of input in is open", "advise m.json --out run");
    expect(2, "half.json:1: ", "advise half.json --out run");
    expect(2, "a MODEL is missing", "advise --out run");
    expect(2, "one MODEL, this is the second", "advise m.json none.json --out run");
    expect(2, "'8by8' is not sizes with x between them", "advise m.json --input 8by8 --out run");
    expect(2, "--engine: 'gpu' is no engine and no implementation here",
           "advise m.json --engine gpu --out run");
    expect(2, "--engine: 'blocked-avx2' has no dense convolution",
           "advise m.json --input 8x8 --engine blocked-avx2 --out run");
    expect(2, "--engine: 'openblas' has no separable convolution",
           "advise m.json --input 8x8 --engine openblas --out run");
    expect(2, "--batch", "advise m.json --batch 0 --out run");
    assert_int_equal(access("run", F_OK), -1);
}

int main(void)
{
    const char *named = getenv("SEPBENCH");
    if (realpath(named != NULL ? named : "build/sepbench", program) == NULL) return 2;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(problems),
        cmocka_unit_test(sums_and_words),
        cmocka_unit_test(disturbed),
        cmocka_unit_test(parts_and_strangers),
        cmocka_unit_test_setup_teardown(the_command, enter_folder, leave_folder),
        cmocka_unit_test_setup_teardown(odd_names, enter_folder, leave_folder),
        cmocka_unit_test_setup_teardown(refusals, enter_folder, leave_folder),
    };
    return cmocka_run_group_tests_name("advise", tests, NULL, NULL);
}
