/* Networks as the real Keras writes them (golden/networks, made by golden/make_networks.py): every convolution that
 * Keras lists is there; and what is no network, or one that cannot be read, says so in one line. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <zip.h>

#include "../harness/network/network.h"
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
    (void)state;
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
    assert_int_equal(networks, 9);
}

/* Each node reads nodes before it, and none but inputs reads nothing. */
static void order_is_topological(void **state)
{
    static const char *const names[] = {"ResNet50", "Xception", "MobileNetV2_keras2", "nested",
                                        "nested_keras2"};
    (void)state;
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
    (void)state;
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
    (void)state;
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

/* Single quotes for double ones, as Python prints. */
static network *parse(const char *text, conv_error *err)
{
    char *copy = strdup(text);
    for (char *c = copy; *c != 0; c++) *c = *c == '\'' ? '"' : *c;
    network *n = network_parse(copy, "m.json", err);
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
    (void)state;
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

static void depth_is_bounded(void **state)
{
    enum { DEEP = 100000 };
    char *text = malloc(DEEP + 1);
    conv_error err = {""};
    (void)state;
    memset(text, '[', DEEP);
    memcpy(text, "{\"a\":", 5);
    text[DEEP] = 0;
    assert_null(network_parse(text, "deep.json", &err));
    assert_non_null(strstr(err.text, "deep.json:1: maximum parsing depth reached"));
    free(text);
}

static void write_archive(const char *path, const char *member, const char *text)
{
    int code;
    zip_t *zip = zip_open(path, ZIP_CREATE | ZIP_TRUNCATE, &code);
    assert_non_null(zip);
    assert_true(zip_file_add(zip, member, zip_source_buffer(zip, text, strlen(text), 0), 0) >= 0);
    assert_int_equal(zip_close(zip), 0);
}

static void archives(void **state)
{
    static const char model[] =
        "{\"class_name\":\"Sequential\",\"config\":{\"name\":\"s\",\"layers\":[{\"class_name\":\"Flatten\","
        "\"config\":{\"name\":\"flatten\"}}]}}";
    conv_error err = {""};
    char output[64];
    (void)state;
    write_archive("good.keras", "config.json", model);
    network *n = network_read("good.keras", &err);
    if (n == NULL) fail_msg("%s", err.text);
    assert_int_equal(n->count, 2);
    assert_int_equal(n->nodes[0].out.rank, 0);
    network_free(n);

    write_archive("other.keras", "weights.npy", model);
    assert_null(network_read("other.keras", &err));
    assert_non_null(strstr(err.text, "other.keras: an archive without config.json"));

    assert_int_equal(run_shell(output, sizeof output, "head -c 100 good.keras > cut.keras"), 0);
    assert_null(network_read("cut.keras", &err));
    assert_non_null(strstr(err.text, "cut.keras: no zip archive, or a truncated one"));

    write_text("none.keras", "PK but no archive");
    assert_null(network_read("none.keras", &err));
    assert_non_null(strstr(err.text, "none.keras: no zip archive"));
}

static void other_files(void **state)
{
    conv_error err = {""};
    char output[64];
    (void)state;
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
                 {"cut.gz", "cut.gz: unexpected end of file"}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        assert_null(network_read(cases[i].path, &err));
        if (strstr(err.text, cases[i].says) == NULL) fail_msg("case %zu says: %s", i, err.text);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_convolution_is_found),
        cmocka_unit_test(order_is_topological),
        cmocka_unit_test(inner_models_are_flattened),
        cmocka_unit_test(sequential_models),
        cmocka_unit_test(refusals),
        cmocka_unit_test(depth_is_bounded),
        cmocka_unit_test_setup_teardown(archives, enter_folder, leave_folder),
        cmocka_unit_test_setup_teardown(other_files, enter_folder, leave_folder),
    };
    return cmocka_run_group_tests_name("network", tests, NULL, NULL);
}
