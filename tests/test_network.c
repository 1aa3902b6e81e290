/* Networks as the real Keras writes them (golden/networks, made by golden/make_networks.py): every
 * convolution that Keras lists is there; and what is no network, or one that cannot be read, says so in one
 * line. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <zip.h>

#include "../harness/network/convs.h"
#include "folder.h"
#include "train_support.h"

static network *load(const char *name)
{
    char part[128], path[4096];
    conv_error err = {""};
    snprintf(part, sizeof part, "golden/networks/%s.json.gz", name);
    network *n = network_read(test_path(part, path, sizeof path), &err);
    if (n == NULL) fail_msg("%s", err.text);
    return n;
}

static int convolutions(const network *n)
{
    int count = 0;
    for (int i = 0; i < n->count; i++) count += strstr(n->nodes[i].class_name, "Conv") != NULL;
    return count;
}

static const network_node *find(const network *n, const char *name)
{
    for (int i = 0; i < n->count; i++)
        if (strcmp(n->nodes[i].name, name) == 0) return &n->nodes[i];
    fail_msg("%s: no layer %s", n->name, name);
    return NULL;
}

static void every_convolution_is_found(void **state)
{
    char path[4096], line[512], last[64] = "", model[64], name[128], class_name[64];
    FILE *in = fopen(test_path("golden/networks/networks.txt", path, sizeof path), "r");
    network *n = NULL;
    int listed = 0, networks = 0;
    assert_non_null(in);
    while (fgets(line, sizeof line, in) != NULL) {
        assert_int_equal(sscanf(line, "%63s %127s %63s", model, name, class_name), 3);
        if (strcmp(model, last) != 0) {
            if (n != NULL) assert_int_equal(listed, convolutions(n));
            network_free(n);
            n = load(strcpy(last, model));
            listed = 0;
            networks++;
        }
        listed++;
        assert_string_equal(find(n, name)->class_name, class_name);
    }
    fclose(in);
    assert_non_null(n);
    assert_int_equal(listed, convolutions(n));
    network_free(n);
    assert_int_equal(networks, 12);
}

/* "3x3", "224x224x3" as numbers; how many. */
static int sizes_of(const char *text, int64_t *to)
{
    int count = 0;
    for (char *end; count < 8; text = end + 1) {
        to[count++] = strtoll(text, &end, 10);
        if (*end != 'x') break;
    }
    return count;
}

static void same_shape(const char *model, const char *line, const conv_problem *p)
{
    char kernel[32], stride[32], in[64], out[64];
    int64_t k[8], s[8], i[8], o[8];
    assert_int_equal(sscanf(line, "%*s %*s %*s %31s %31s %63s %63s", kernel, stride, in, out), 4);
    const int rank = sizes_of(kernel, k);
    sizes_of(stride, s);
    bool same = sizes_of(in, i) == rank + 1 && sizes_of(out, o) == rank + 1 && p->rank == rank &&
                i[rank] == p->ic && o[rank] == p->oc;
    for (int a = 0; a < rank; a++) {
        const conv_axis *axis = &p->axis[CONV_AXES - rank + a];
        same =
            same && axis->kernel == k[a] && axis->stride == s[a] && axis->in == i[a] && conv_out(axis) == o[a];
    }
    if (!same) fail_msg("%s: %s", model, line);
}

static const network_conv *conv_of(const network_convs *c, const char *name)
{
    for (size_t i = 0; i < c->count; i++)
        if (strcmp(c->at[i].name, name) == 0) return &c->at[i];
    fail_msg("convolution %s is not found", name);
    return NULL;
}

static void shapes_are_keras_s(void **state)
{
    char path[4096], line[512], last[64] = "", model[64], name[128];
    FILE *in = fopen(test_path("golden/networks/networks.txt", path, sizeof path), "r");
    network *n = NULL;
    network_convs convs = {0};
    conv_error err = {""};
    size_t listed = 0;
    assert_non_null(in);
    while (fgets(line, sizeof line, in) != NULL) {
        assert_int_equal(sscanf(line, "%63s %127s", model, name), 2);
        if (strcmp(model, last) != 0) {
            assert_int_equal(listed, convs.count);
            network_convs_free(&convs);
            network_free(n);
            n = load(strcpy(last, model));
            if (network_find_convs(n, &(network_input){.count = 0}, &convs, &err) != CONV_OK)
                fail_msg("%s: %s", model, err.text);
            listed = 0;
        }
        listed++;
        same_shape(model, line, &conv_of(&convs, name)->problem);
    }
    fclose(in);
    assert_int_equal(listed, convs.count);
    network_convs_free(&convs);
    network_free(n);
}

/* By what layers do, not by what Keras wrote of the shapes that it built. */
static void other_sizes(void **state)
{
    static const struct {
        const char *model, *last;
        int64_t size;
    } cases[] = {{"MobileNet", "conv_pw_13", 5},         {"MobileNetV2", "Conv_1", 5},
                 {"ResNet50", "conv5_block3_3_conv", 5}, {"EfficientNetB0", "top_conv", 5},
                 {"Xception", "block14_sepconv2", 5},    {"VGG16", "block5_conv3", 10}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        network *n = load(cases[i].model);
        network_convs convs;
        conv_error err = {""};
        if (network_find_convs(n, &(network_input){{160, 160}, 2}, &convs, &err) != CONV_OK)
            fail_msg("%s: %s", cases[i].model, err.text);
        assert_int_equal(json_object_size(convs.unknown), 0);
        assert_int_equal(convs.count, convolutions(n));
        assert_int_equal(conv_of(&convs, cases[i].last)->problem.axis[CONV_H].in, cases[i].size);
        network_convs_free(&convs);
        network_free(n);
    }
}

/* A depthwise layer and the 1x1 behind its normalisation and activation, in EfficientNet also behind a gate. */
static void pairs_are_found(void **state)
{
    static const struct {
        const char *model;
        int pairs;
        const char *depthwise, *pointwise;
    } cases[] = {{"MobileNet", 13, "conv_dw_1", "conv_pw_1"},
                 {"MobileNetV2", 17, "block_3_depthwise", "block_3_project"},
                 {"EfficientNetB0", 16, "block2a_dwconv", "block2a_project_conv"},
                 {"MobileNetV3Small", 11, "expanded_conv_3_depthwise", "expanded_conv_3_project"},
                 {"MobileNetV3Small_keras2", 11, "expanded_conv_3/depthwise", "expanded_conv_3/project"},
                 {"ResNet50", 0, NULL, NULL}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        network *n = load(cases[i].model);
        network_convs convs;
        conv_error err = {""};
        int pairs = 0;
        assert_int_equal(network_find_convs(n, &(network_input){.count = 0}, &convs, &err), CONV_OK);
        for (size_t k = 0; k < convs.count; k++) {
            if (convs.at[k].pair < 0) continue;
            assert_int_equal(convs.at[convs.at[k].pair].pair, k);
            pairs++;
        }
        assert_int_equal(pairs, 2 * cases[i].pairs);
        if (pairs > 0)
            assert_string_equal(convs.at[conv_of(&convs, cases[i].depthwise)->pair].name, cases[i].pointwise);
        network_convs_free(&convs);
        network_free(n);
    }
}

/* Each node reads nodes before it, and none but inputs reads nothing. */
static void order_is_topological(void **state)
{
    static const char *const names[] = {
        "ResNet50", "Xception", "MobileNetV2_keras2", "MobileNetV3Small_keras2", "nested", "nested_keras2"};
    for (size_t m = 0; m < sizeof names / sizeof *names; m++) {
        network *n = load(names[m]);
        for (int i = 0; i < n->count; i++) {
            const network_node *node = &n->nodes[i];
            assert_int_equal(node->input_count == 0, strcmp(node->class_name, "InputLayer") == 0);
            for (int k = 0; k < node->input_count; k++) assert_true(node->inputs[k] < i);
        }
        assert_int_equal(n->input_count, 1);
        assert_int_equal(n->output_count, 1);
        network_free(n);
    }
}

/* conv -> block(conv, add of it and the block's input) -> head(conv, flatten, dense). */
static void inner_models_are_flattened(void **state)
{
    static const char *const names[] = {"nested", "nested_keras2"};
    char text[64];
    for (size_t m = 0; m < 2; m++) {
        network *n = load(names[m]);
        const network_node *add = find(n, "block/add"), *head = find(n, "head/conv");
        assert_int_equal(add->input_count, 2);
        assert_string_equal(n->nodes[add->inputs[0]].name, "conv");
        assert_string_equal(n->nodes[add->inputs[1]].name, "block/conv");
        assert_string_equal(n->nodes[head->inputs[0]].name, "block/add");
        assert_string_equal(n->nodes[n->outputs[0]].name, "head/dense");
        assert_int_equal(n->count, 7);
        assert_string_equal(shape_text(&n->nodes[n->inputs[0]].out, text), "(32, 32, 3)");
        network_free(n);
    }
}

/* Models without an InputLayer, compiled ones, Keras 2's. */
static void sequential_models(void **state)
{
    static const struct {
        const char *file, *input;
        int count;
    } models[] = {{"data/keras/layers2d.json", "(12, 12, 1)", 11},
                  {"data/keras/deferred.json", "(4, 4, 1)", 6},
                  {"data/keras/keras2_deferred.json", "(12, 12, 1)", 4},
                  {"data/keras/layers3d.json", "(4, 6, 5, 2)", 6}};
    for (size_t i = 0; i < sizeof models / sizeof *models; i++) {
        char path[4096], text[64];
        conv_error err = {""};
        network *n = network_read(test_path(models[i].file, path, sizeof path), &err);
        if (n == NULL) fail_msg("%s", err.text);
        assert_string_equal(n->nodes[0].class_name, "InputLayer");
        assert_string_equal(shape_text(&n->nodes[0].out, text), models[i].input);
        assert_int_equal(n->outputs[0], n->count - 1);
        if (n->count != models[i].count) fail_msg("%s: %d nodes", models[i].file, n->count);
        network_free(n);
    }
}

/* ---- what is refused */

#define INPUT "{'class_name':'InputLayer','name':'in','config':{'batch_shape':[null,4,4,1]},'inbound_nodes':[]}"
#define RELU(name, calls) "{'class_name':'ReLU','name':'" name "','config':{},'inbound_nodes':[" calls "]}"
#define MODEL(layers)                                                                                          \
    "{'class_name':'Functional','config':{'name':'m','layers':[" layers                                        \
    "],'input_layers':[['in',0,0]],'output_layers':[['last',0,0]]}}"

static network *parse(const char *text, conv_error *err)
{
    char *copy = strdup(text);
    network *n = network_parse(test_quoted(copy, copy), "m.json", err);
    free(copy);
    return n;
}

static void refusals(void **state)
{
    static const struct {
        const char *text, *says;
    } cases[] = {
        {MODEL(INPUT
               "," RELU("twice", "[['in',0,0,{}]],[['last',0,0,{}]]") "," RELU("last", "[['twice',0,0,{}]]")),
         "m.json: layer twice (ReLU) is used 2 times"},
        {MODEL(INPUT "," RELU("a", "[['last',0,0,{}]]") "," RELU("last", "[['a',0,0,{}]]")),
         "m.json: layer a (ReLU): it is in a cycle"},
        {MODEL(INPUT "," RELU("last", "[['gone',0,0,{}]]")), "has no layer 'gone', which it reads"},
        {MODEL(INPUT "," RELU("last", "")), "m.json: layer last (ReLU): nothing is its input"},
        {MODEL(INPUT "," INPUT), "The name \"in\" is used 2 times"},
        {MODEL(RELU("last", "[['last',0,0,{}]]")), "has no layer 'in'"},
        {"{'class_name':'Mine','config':{}}", "class_name is 'Mine': must be Sequential or Functional"},
        {"{'class_name':'Sequential','config':[]}", "a model without layers"},
        {"{'class_name':'Sequential','config':[7]}", "layer 1: a layer needs class_name and config"},
        {"{'class_name':'Sequential','config':[{'class_name':'a\\nb','config':{}}]}",
         "layer 1: its name or class"},
        {"{", "m.json:1: "},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        conv_error err = {""};
        assert_null(parse(cases[i].text, &err));
        if (strstr(err.text, cases[i].says) == NULL) fail_msg("case %zu says: %s", i, err.text);
    }
    conv_error err = {""};
    network *n = parse(MODEL(RELU("last", "[['in',0,0,{}]]") "," INPUT), &err); /* in no order */
    if (n == NULL) fail_msg("%s", err.text);
    assert_string_equal(n->nodes[1].name, "last");
    network_free(n);
}

/* ---- shapes and what is not known */

#define INPUT_OF(shape)                                                                                        \
    "{'class_name':'InputLayer','name':'in','config':{'batch_shape':[null," shape "]},'inbound_nodes':[]}"
#define LAYER(class, name, config, input)                                                                      \
    "{'class_name':'" class "','name':'" name "','config':{" config "},'inbound_nodes':[[['" input             \
                            "',0,0,{}]]]}"
#define CONV(name, input) LAYER("Conv2D", name, "'filters':4,'kernel_size':[3,3]", input)

static network_convs find_all(const char *text, const char *input, network **n, conv_error *err)
{
    network_convs convs = {0};
    network_input size = {.count = 0};
    *n = parse(text, err);
    if (*n == NULL) fail_msg("%s", err->text);
    if (input != NULL) assert_true(network_input_parse(input, &size));
    if (network_find_convs(*n, &size, &convs, err) == CONV_OK) err->text[0] = 0;
    return convs;
}

static void open_sizes(void **state)
{
    static const struct {
        const char *shape, *input;
        int64_t height, channels;
        const char *says;
    } cases[] = {
        {"null,null,3", "20x30", 20, 3, ""},
        {"null,null,3", "20x30x5", 20, 5, ""},
        {"16,16,3", "20x30", 20, 3, ""},
        {"null,null,3", NULL, 0, 0, "the size of input in is open, (None, None, 3): give it by --input"},
        {"null,null,3", "20", 0, 0, "input in is (None, None, 3) without the batch: --input has 1 sizes"},
        {"null,null,null", "20x30", 0, 0, "the size of input in is open, (None, None, None)"},
        {"null,null,3", "2147483647x2147483647x2147483647", 0, 0, "larger than any machine could hold"},
        {"null,null,3", "2x2", 0, 0,
         "no convolution whose shape is known: layer last: Negative dimension size"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char text[1024];
        conv_error err = {""};
        network *n;
        snprintf(text, sizeof text, MODEL(INPUT_OF("%s") "," CONV("last", "in")), cases[i].shape);
        network_convs convs = find_all(text, cases[i].input, &n, &err);
        if (strstr(err.text, cases[i].says) == NULL || (*err.text == 0) != (*cases[i].says == 0))
            fail_msg("case %zu says: %s", i, err.text);
        if (*cases[i].says == 0) {
            assert_int_equal(convs.at[0].problem.axis[CONV_H].in, cases[i].height);
            assert_int_equal(convs.at[0].problem.ic, cases[i].channels);
        }
        network_convs_free(&convs);
        network_free(n);
    }
    network_input size;
    static const char *const wrong[] = {"", "x", "12x", "0x3", "-1x2", "1x2x3x4x5", "a", "99999999999", "3 x3"};
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++)
        assert_false(network_input_parse(wrong[i], &size));
}

/* --input gives one size: of inputs that differ, of those that the file leaves open. */
static void several_inputs(void **state)
{
    static const struct {
        const char *first, *second, *input;
        int64_t height;
        const char *says;
    } cases[] = {
        {"16,16,3", "16,16,3", "20x30", 20, ""},
        {"null,null,3", "16,16,1", "20x30", 20, ""},
        {"null,null,3", "10", "20x30", 20, ""},
        {"16,16,3", "null,null,1", "20x30", 16, ""},
        {"16,16,3", "16,16,1", NULL, 16, ""},
        {"16,16,3", "16,16,1", "20x30x3", 0, "inputs in, (16, 16, 3), and mask, (16, 16, 1), differ"},
        {"16,16,3", "10", "20x30", 0,
         "inputs in, (16, 16, 3), and mask, (10,), differ: --input gives one size"},
        {"null,null,3", "null,null,1", "20x30", 0,
         "inputs in, (None, None, 3), and mask, (None, None, 1), differ"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char text[1024];
        conv_error err = {""};
        network *n;
        snprintf(
            text, sizeof text,
            "{'class_name':'Functional','config':{'name':'two','layers':[" INPUT_OF(
                "%s") ","
                      "{'class_name':'InputLayer','name':'mask','config':{'batch_shape':[null,%s]},'inbound_"
                      "nodes':[]}," CONV(
                          "last",
                          "in") "],'input_layers':[['in',0,0],['mask',0,0]],'output_layers':[['last',0,0]]}}",
            cases[i].first, cases[i].second);
        network_convs convs = find_all(text, cases[i].input, &n, &err);
        if (strstr(err.text, cases[i].says) == NULL || (*err.text == 0) != (*cases[i].says == 0))
            fail_msg("case %zu says: %s", i, err.text);
        if (*cases[i].says == 0) assert_int_equal(convs.at[0].problem.axis[CONV_H].in, cases[i].height);
        network_convs_free(&convs);
        network_free(n);
    }
}

/* What is behind a layer that is not known is left out by name, unless Keras wrote what it was built for. */
static void unknown_layers(void **state)
{
    static const char built[] = "{'class_name':'Conv2D','name':'last','config':{'filters':4,'kernel_size':3},'"
                                "build_config':{'input_shape':"
                                "[null,8,8,2]},'inbound_nodes':[[['strange',0,0,{}]]]}";
    char text[2048];
    conv_error err = {""};
    network *n;
    network_convs convs = find_all(
        MODEL(INPUT_OF("9,9,3") "," CONV("first", "in") "," LAYER("Lambda", "strange", "", "first") "," LAYER(
            "ReLU", "relu", "", "strange") "," CONV("last", "relu")),
        NULL, &n, &err);
    assert_string_equal(err.text, "");
    assert_int_equal(convs.count, 1);
    assert_int_equal(json_integer_value(json_object_get(convs.unknown, "Lambda")), 1);
    assert_int_equal(json_array_size(convs.lost), 1);
    json_t *lost = json_array_get(convs.lost, 0);
    assert_string_equal(json_string_value(json_object_get(lost, "layer")), "last");
    assert_string_equal(json_string_value(json_object_get(lost, "why")),
                        "the shape behind strange (Lambda) is not known");
    network_convs_free(&convs);
    network_free(n);

    snprintf(text, sizeof text, MODEL(INPUT_OF("9,9,3") "," LAYER("Lambda", "strange", "", "in") ",%s"), built);
    convs = find_all(text, NULL, &n, &err);
    assert_int_equal(convs.count, 1);
    assert_int_equal(convs.at[0].problem.ic, 2);
    network_convs_free(&convs);
    network_free(n);

    convs = find_all(text, "10x10", &n, &err); /* it was built for another size */
    assert_int_equal(convs.count, 0);
    assert_non_null(strstr(err.text, "layer last: the shape behind strange (Lambda) is not known"));
    network_free(n);
}

/* A class of somebody's own that has the name of one of Keras's; and nothing to measure. */
static void no_convolution(void **state)
{
    conv_error err = {""};
    network *n;
    network_convs convs =
        find_all(MODEL(INPUT_OF("9,9,3") ",{'class_name':'Conv2D','registered_name':'mine>Conv2D',"
                                         "'name':'last','config':{'filters':4,'kernel_size':3},"
                                         "'inbound_nodes':[[['in',0,0,{}]]]}"),
                 NULL, &n, &err);
    assert_int_equal(convs.count, 0);
    assert_string_equal(err.text, "no convolution among its 1 layers");
    network_free(n);
}

#define OF_OTHERS(class, module, name, config, input)                                                          \
    "{'class_name':'" class "','module':" module                                                               \
                            ",'registered_name':'" class "','name':'" name "','config':{" config               \
                                                         "},'inbound_nodes':[[['" input "',0,0,{}],['" input   \
                                                         "',0,0,{}]]]}"
#define OPERATION(class, name, config, input) OF_OTHERS(class, "'keras.src.ops.numpy'", name, config, input)

/* Keras registers somebody's Conv2D outside of a package, and its own operations, by their bare names. */
static void classes_and_operations(void **state)
{
    static const struct {
        const char *text, *unknown;
        int convolutions, height;
    } cases[] = {
        {MODEL(INPUT_OF("9,9,3") "," OF_OTHERS("Conv2D", "null", "a", "'filters':4,'kernel_size':3",
                                               "in") "," CONV("last", "a")),
         "Conv2D", 0, 0},
        {MODEL(INPUT_OF("9,9,3") "," OF_OTHERS("Multiply", "'mine'", "a", "", "in") "," CONV("last", "a")),
         "Multiply", 0, 0},
        {MODEL(INPUT_OF("9,9,3") "," OPERATION("Concatenate", "a", "'axis':1", "in") "," CONV("last", "a")),
         NULL, 1, 18},
        {MODEL(INPUT_OF("9,9,3") "," OPERATION("Multiply", "a", "", "in") "," CONV("last", "a")), NULL, 1, 9},
        {MODEL(INPUT_OF("9,9,3") "," OPERATION("Average", "a", "'axis':1", "in") "," CONV("last", "a")),
         "Average", 0, 0},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        conv_error err = {""};
        network *n;
        network_convs convs = find_all(cases[i].text, NULL, &n, &err);
        if ((int)convs.count != cases[i].convolutions) fail_msg("case %zu: %zu: %s", i, convs.count, err.text);
        if (convs.count == 0) {
            char says[64];
            snprintf(says, sizeof says, "the shape behind a (%s) is not known", cases[i].unknown);
            assert_non_null(strstr(err.text, says));
        } else {
            assert_int_equal(convs.at[0].problem.axis[CONV_H].in, cases[i].height);
        }
        network_convs_free(&convs);
        network_free(n);
    }
}

#define WIDE "\xe5\xb1\xa4\xe5\xb1\xa4\xe5\xb1\xa4\xe5\xb1\xa4\xe5\xb1\xa4\xe5\xb1\xa4\xe5\xb1\xa4"
#define LONG "x" WIDE WIDE WIDE /* 64 bytes; the sixtieth is within a character */

/* Training has names of 63 bytes at most; here a name is only shown. What made a shape unknown says why. */
static void long_names_and_reasons(void **state)
{
    conv_error err = {""};
    network *n;
    network_convs convs = find_all(
        "{'class_name':'Sequential','config':{'name':'','layers':[" INPUT_OF("9,9,3") "," CONV(
            LONG, "in") "," LAYER("ZeroPadding2D", LONG LONG, "'padding':-1", "") "," CONV("c", "") "]}}",
        NULL, &n, &err);
    assert_string_equal(err.text, "");
    assert_string_equal(n->name, "sequential");
    assert_int_equal(convs.count, 1);
    assert_string_equal(convs.at[0].name, LONG);
    const char *why = json_string_value(json_object_get(json_array_get(convs.lost, 0), "why"));
    assert_non_null(why);
    assert_non_null(strstr(why, "(ZeroPadding2D) is not known: padding is -1: must be "));
    network_convs_free(&convs);
    network_free(n);
}

/* The depthwise one has to stay where it feeds two convolutions: neither is part of a pair. */
static void a_fork_is_no_pair(void **state)
{
    conv_error err = {""};
    network *n;
    network_convs convs =
        find_all(MODEL(INPUT_OF("9,9,3") "," LAYER("DepthwiseConv2D", "dw", "'kernel_size':3", "in") "," LAYER(
                     "Conv2D", "one", "'filters':4,'kernel_size':1",
                     "dw") "," LAYER("ReLU", "relu", "",
                                     "dw") "," LAYER("Conv2D", "last", "'filters':4,'kernel_size':1", "relu")),
                 NULL, &n, &err);
    assert_string_equal(err.text, "");
    assert_int_equal(convs.count, 3);
    for (size_t i = 0; i < convs.count; i++) assert_int_equal(convs.at[i].pair, -1);
    network_convs_free(&convs);
    network_free(n);
}

static void depth_is_bounded(void **state)
{
    enum { DEEP = 100000 };
    char *text = malloc(DEEP + 1);
    conv_error err = {""};
    memset(text, '[', DEEP);
    memcpy(text, "{\"a\":", 5);
    text[DEEP] = 0;
    assert_null(network_parse(text, "deep.json", &err));
    assert_non_null(strstr(err.text, "deep.json:1: maximum parsing depth reached"));
    free(text);
}

static void add_member(const char *path, const char *member, const char *text)
{
    int code;
    zip_t *zip = zip_open(path, ZIP_CREATE, &code);
    assert_non_null(zip);
    assert_true(zip_file_add(zip, member, zip_source_buffer(zip, text, strlen(text), 0), 0) >= 0);
    assert_int_equal(zip_close(zip), 0);
}

static void write_archive(const char *path, const char *member, const char *text)
{
    remove(path);
    add_member(path, member, text);
}

static void archives(void **state)
{
    static const char model[] =
        "{\"class_name\":\"Sequential\",\"config\":{\"name\":\"s\",\"layers\":[{\"class_name\":\"Flatten\","
        "\"config\":{\"name\":\"flatten\"}}]}}";
    conv_error err = {""};
    char output[64];
    write_archive("good.keras", "config.json", model);
    network *n = network_read("good.keras", &err);
    if (n == NULL) fail_msg("%s", err.text);
    assert_int_equal(n->count, 2);
    assert_int_equal(n->nodes[0].out.rank, 0);
    network_free(n);

    /* Keras's version, beside the model in an archive, decides what some layers are. */
    write_archive("old.keras", "config.json", model);
    add_member("old.keras", "metadata.json", "{\"keras_version\": \"2.15.0\"}");
    n = network_read("old.keras", &err);
    if (n == NULL) fail_msg("%s", err.text);
    assert_string_equal(json_string_value(json_object_get(n->root, "keras_version")), "2.15.0");
    network_free(n);

    write_archive("other.keras", "weights.npy", model);
    assert_null(network_read("other.keras", &err));
    assert_non_null(strstr(err.text, "other.keras: there is no config.json in it"));

    assert_int_equal(run_shell(output, sizeof output, "head -c 100 good.keras > cut.keras"), 0);
    assert_null(network_read("cut.keras", &err));
    assert_memory_equal(err.text, "cut.keras: ", strlen("cut.keras: "));
    assert_non_null(strstr(err.text, "zip archive")); /* in libzip's words, which its versions change */

    write_text("none.keras", "PK but no archive");
    assert_null(network_read("none.keras", &err));
    assert_memory_equal(err.text, "none.keras: ", strlen("none.keras: "));
    assert_non_null(strstr(err.text, "zip archive")); /* in libzip's words, which its versions change */
}

static void other_files(void **state)
{
    conv_error err = {""};
    char output[64];
    write_text("empty.json", "");
    write_text("text.json", "hello");
    assert_int_equal(
        run_shell(output, sizeof output, "mkdir -p folder; echo '{\"a\": 1}' | gzip | head -c 25 > cut.gz"), 0);
    static const struct {
        const char *path, *says;
    } cases[] = {{"empty.json", "empty.json: empty"},
                 {"text.json", "text.json: neither JSON nor a .keras archive"},
                 {"folder", "folder: Is a directory"},
                 {"absent.json", "absent.json: No such file or directory"},
                 {"nosuch", "model 'nosuch': neither a file nor conv, separable,"},
                 {"../models/conv", "../models/conv: No such file"},
                 {"cut.gz", "cut.gz: unexpected end of file"}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        assert_null(network_read(cases[i].path, &err));
        if (strncmp(err.text, cases[i].says, strlen(cases[i].says)) != 0)
            fail_msg("case %zu says: %s", i, err.text);
    }
}

/* Each that travels in the program is read by its name alone, from any folder. */
static void bundled_models(void **state)
{
    char names[] = NETWORK_BUNDLED, *rest = names, *name;
    while ((name = strsep(&rest, ",")) != NULL) {
        conv_error err = {""};
        network *n = network_read(name += *name == ' ', &err);
        if (n == NULL) fail_msg("%s", err.text);
        assert_true(network_is_bundled(name));
        network_free(n);
    }
    assert_false(network_is_bundled("") || network_is_bundled("conv.json") ||
                 network_is_bundled("../models/conv"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_convolution_is_found),
        cmocka_unit_test(shapes_are_keras_s),
        cmocka_unit_test(other_sizes),
        cmocka_unit_test(pairs_are_found),
        cmocka_unit_test(order_is_topological),
        cmocka_unit_test(inner_models_are_flattened),
        cmocka_unit_test(sequential_models),
        cmocka_unit_test(refusals),
        cmocka_unit_test(open_sizes),
        cmocka_unit_test(several_inputs),
        cmocka_unit_test(unknown_layers),
        cmocka_unit_test(no_convolution),
        cmocka_unit_test(classes_and_operations),
        cmocka_unit_test(long_names_and_reasons),
        cmocka_unit_test(a_fork_is_no_pair),
        cmocka_unit_test(depth_is_bounded),
        cmocka_unit_test_setup_teardown(archives, enter_folder, leave_folder),
        cmocka_unit_test_setup_teardown(other_files, enter_folder, leave_folder),
        cmocka_unit_test_setup_teardown(bundled_models, enter_folder, leave_folder),
    };
    return cmocka_run_group_tests_name("network", tests, NULL, NULL);
}
