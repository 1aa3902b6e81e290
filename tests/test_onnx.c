/* ONNX files (golden/onnx, made by golden/make_onnx.py): every operator's shape is what onnx.shape_inference says,
 * every convolution of a converter's file is there with its sizes, and what cannot be read says so in one line. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../harness/network/convs.h"
#include "folder.h"
#include "train_support.h"

static void refused(const char *path, const char *words)
{
    conv_error err = {""};
    network *n = network_read(path, &err);
    if (n != NULL || strstr(err.text, words) == NULL) fail_msg("%s: '%s', not '%s'", path, err.text, words);
    assert_null(strchr(err.text, '\n'));
}

#if !__has_include("onnx.pb-c.h")

static void without_protobuf(void **state)
{
    refused("any.onnx", "any.onnx: to read ONNX, install protobuf-c-compiler");
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(without_protobuf)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}

#else

#include "../harness/network/onnx/internal.h"

/* ---- operators */

static const int opsets[] = {7, 11, 13, 18, 22};
enum { OPSETS = sizeof opsets / sizeof *opsets };

/* The file with all shapes inferred from its inputs. */
static onnx_graph *inferred(int opset)
{
    char part[64], path[4096];
    conv_error err = {""};
    snprintf(part, sizeof part, "golden/onnx/operators_%d.onnx", opset);
    onnx_graph *g = onnx_open(test_path(part, path, sizeof path), &err);
    if (g == NULL) fail_msg("%s", err.text);
    onnx_begin(g);
    for (size_t i = 0; i < g->model->graph->n_input; i++) {
        const onnx_shape s = onnx_stated_input(g, i);
        onnx_set_input(g, i, &s);
    }
    for (size_t i = 0; i < g->model->graph->n_node; i++) onnx_infer(g, i);
    return g;
}

static void check_shape(int opset, const char *name, const onnx_shape *s, json_t *expected)
{
    bool equal = s->rank == (int)json_array_size(expected);
    char text[256] = "";
    for (int i = 0; i < s->rank; i++) {
        equal = equal && s->dim[i] == json_integer_value(json_array_get(expected, (size_t)i));
        snprintf(text + strlen(text), sizeof text - strlen(text), " %lld", (long long)s->dim[i]);
    }
    if (!equal)
        fail_msg("opset %d, %s: rank %d,%s; not %s", opset, name, s->rank, text, json_dumps(expected, 0));
}

static void operators_have_their_shapes(void **state)
{
    char path[4096];
    json_error_t where;
    json_t *all = json_load_file(test_path("golden/onnx/shapes.json", path, sizeof path), 0, &where), *expected;
    int checked = 0;
    assert_non_null(all);
    for (int i = 0; i < OPSETS; i++) {
        char key[16];
        const char *name;
        onnx_graph *g = inferred(opsets[i]);
        snprintf(key, sizeof key, "%d", opsets[i]);
        json_object_foreach(json_object_get(all, key), name, expected)
        {
            const onnx_value *v = onnx_find(g, name);
            assert_non_null(v);
            check_shape(opsets[i], name, &v->shape, expected);
            checked++;
        }
        onnx_close(g);
    }
    json_decref(all);
    assert_true(checked > 400);
}

/* ---- networks */

typedef struct {
    network *n;
    network_convs convs;
} found;

static found find(const char *name, const char *input, conv_error *err)
{
    char part[128], path[4096];
    network_input sizes = {.count = 0};
    found f = {NULL, {0}};
    snprintf(part, sizeof part, "golden/onnx/%s.onnx", name);
    if (input != NULL) assert_true(network_input_parse(input, &sizes));
    f.n = network_read(test_path(part, path, sizeof path), err);
    if (f.n == NULL) fail_msg("%s", err->text);
    if (network_find_convs(f.n, &sizes, &f.convs, err) != CONV_OK) {
        network_free(f.n);
        f.n = NULL;
    }
    return f;
}

static void drop(found *f)
{
    network_convs_free(&f->convs);
    network_free(f->n);
}

/* "7x7", "1x3x224x224": its sizes. */
static int sizes_of(char *text, int64_t *size)
{
    int count = 0;
    for (char *word = strtok(text, "x"); word != NULL && count < 8; word = strtok(NULL, "x"))
        size[count++] = strtoll(word, NULL, 10);
    return count;
}

static void check_conv(const conv_problem *p, char *kernel, char *strides, int64_t groups, char *in, char *out)
{
    int64_t k[8], s[8], x[8], y[8];
    assert_int_equal(sizes_of(kernel, k), 2);
    assert_int_equal(sizes_of(strides, s), 2);
    assert_int_equal(sizes_of(in, x), 4);
    assert_int_equal(sizes_of(out, y), 4);
    assert_int_equal(p->mb, x[0]);
    assert_int_equal(p->ic, x[1]);
    assert_int_equal(p->oc, y[1]);
    assert_int_equal(p->groups, groups);
    for (int i = 0; i < 2; i++) {
        const conv_axis *a = &p->axis[CONV_H + i];
        assert_int_equal(a->kernel, k[i]);
        assert_int_equal(a->stride, s[i]);
        assert_int_equal(a->in, x[2 + i]);
        assert_int_equal(conv_out(a), y[2 + i]);
    }
}

static void every_convolution_is_found(void **state)
{
    char path[4096], line[512], model[64], last[64] = "", name[256], kernel[16], strides[16], in[64], out[64];
    FILE *list = fopen(test_path("golden/onnx/convs.txt", path, sizeof path), "r");
    long long groups;
    size_t at = 0, files = 0;
    conv_error err = {""};
    found f = {NULL, {0}};
    assert_non_null(list);
    while (fgets(line, sizeof line, list) != NULL) {
        assert_int_equal(
            sscanf(line, "%63s %255s %15s %15s %lld %63s %63s", model, name, kernel, strides, &groups, in, out),
            7);
        if (strcmp(model, last) != 0) {
            assert_int_equal(at, f.convs.count);
            drop(&f);
            f = find(strcpy(last, model), NULL, &err);
            assert_non_null(f.n);
            assert_int_equal(json_object_size(f.convs.unknown) + json_array_size(f.convs.lost), 0);
            at = 0;
            files++;
        }
        assert_true(at < f.convs.count);
        assert_string_equal(f.convs.at[at].name, name);
        check_conv(&f.convs.at[at++].problem, kernel, strides, groups, in, out);
    }
    fclose(list);
    assert_int_equal(at, f.convs.count);
    assert_int_equal(files, 7);
    drop(&f);
}

/* Every depthwise convolution of MobileNetV2 has the 1x1 behind it, through whatever lies between. */
static void pairs_are_found(void **state)
{
    static const char *const names[] = {"mobilenet_v2_torch_dynamo", "mobilenet_v2_torch_script",
                                        "MobileNetV2_tf2onnx"};
    conv_error err = {""};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        found f = find(names[i], NULL, &err);
        int pairs = 0;
        assert_non_null(f.n);
        for (size_t k = 0; k < f.convs.count; k++)
            if (f.convs.at[k].problem.variant == CONV_DEPTHWISE) pairs += f.convs.at[k].pair == (int)k + 1;
        assert_int_equal(pairs, 17);
        drop(&f);
    }
}

/* Height and width may be other ones, wherever the file has its channels. */
static void sizes_can_be_told(void **state)
{
    static const char *const names[] = {"resnet50_torch_script", "ResNet50_tf2onnx"};
    conv_error err = {""};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        found f = find(names[i], "160x96", &err);
        assert_non_null(f.n);
        assert_string_equal(f.n->name, names[i]);
        assert_int_equal(f.convs.count, 53);
        const conv_problem *last = &f.convs.at[52].problem;
        assert_int_equal(last->axis[CONV_H].in, 5);
        assert_int_equal(last->axis[CONV_W].in, 3);
        drop(&f);
    }
    found none = find(names[0], "160", &err);
    assert_null(none.n);
    assert_non_null(strstr(err.text, "--input has 1 sizes"));
}

/* ---- what is no model, or not one that is known */

enum { MOST_BYTES = 1 << 16 };

static uint8_t whole[MOST_BYTES];
static size_t whole_size;

static int read_whole(void **state)
{
    char path[4096];
    FILE *in = fopen(test_path("golden/onnx/resnet50_torch_dynamo.onnx", path, sizeof path), "rb");
    if (in == NULL) return -1;
    whole_size = fread(whole, 1, sizeof whole, in);
    return fclose(in);
}

static void write_bytes(const char *path, const uint8_t *bytes, size_t size)
{
    FILE *out = fopen(path, "wb");
    assert_non_null(out);
    assert_int_equal(fwrite(bytes, 1, size, out), size);
    fclose(out);
}

static void bad_files_are_refused(void **state)
{
    refused("absent.onnx", "absent.onnx: No such file or directory");
    refused("..onnx/.onnx", "No such file");
    write_text("empty.onnx", "");
    refused("empty.onnx", "empty.onnx: empty");
    write_text("text.onnx", "{\"class_name\": \"Sequential\"}");
    refused("text.onnx", "text.onnx: not an ONNX model, or a truncated one");
    for (size_t length = 1; length < whole_size; length += length / 3 + 1) {
        write_bytes("cut.onnx", whole, length);
        refused("cut.onnx", "cut.onnx: ");
    }
}

/* A message of protobuf, written field by field. */
typedef struct {
    uint8_t bytes[4096];
    size_t size;
} message;

static void put_number(message *m, int field, int value)
{
    m->bytes[m->size++] = (uint8_t)(field << 3);
    for (; value > 127; value >>= 7) m->bytes[m->size++] = (uint8_t)(value | 128);
    m->bytes[m->size++] = (uint8_t)value;
}

static void put(message *m, int field, const void *content, size_t size)
{
    put_number(m, field, (int)size);
    size_t tag = m->size - (size > 127 ? 2 : 1) - 1;
    m->bytes[tag] |= 2;
    memcpy(m->bytes + m->size, content, size);
    m->size += size;
}

/* An initializer whose elements are in a file beside the model's. */
static void put_tensor(message *graph, const char *name, int type, const int *dims, int rank, const char *file)
{
    message t = {0}, entry = {0};
    for (int i = 0; i < rank; i++) put_number(&t, 1, dims[i]);
    put_number(&t, 2, type);
    put(&t, 8, name, strlen(name));
    put(&entry, 1, "location", 8);
    put(&entry, 2, file, strlen(file));
    put(&t, 13, entry.bytes, entry.size);
    put_number(&t, 14, 1);
    put(graph, 5, t.bytes, t.size);
}

/* A model of one input x (1 x 3 x 8 x 8), initializers s (4 integers) and w (5 x 12 x 3 x 3), and the nodes. */
static void write_model(const char *path, const message *nodes, size_t count, int ir, int opset)
{
    message dims = {0}, x = {0}, type = {0}, tensor = {0}, graph = {0}, set = {0}, model = {0};
    for (int i = 0; i < 4; i++) {
        message dim = {0};
        put_number(&dim, 1, (const int[]){1, 3, 8, 8}[i]);
        put(&dims, 1, dim.bytes, dim.size);
    }
    put_number(&tensor, 1, 1);
    put(&tensor, 2, dims.bytes, dims.size);
    put(&type, 1, tensor.bytes, tensor.size);
    put(&x, 1, "x", 1);
    put(&x, 2, type.bytes, type.size);
    for (size_t i = 0; i < count; i++) put(&graph, 1, nodes[i].bytes, nodes[i].size);
    put_tensor(&graph, "s", 7, (const int[]){4}, 1, "s.data");
    put_tensor(&graph, "w", 1, (const int[]){5, 12, 3, 3}, 4, "w.data");
    put(&graph, 11, x.bytes, x.size);
    put_number(&set, 2, opset);
    put_number(&model, 1, ir);
    put(&model, 7, graph.bytes, graph.size);
    put(&model, 8, set.bytes, set.size);
    write_bytes(path, model.bytes, model.size);
}

static message node(const char *type, const char *input, const char *output)
{
    message n = {0};
    put(&n, 1, input, strlen(input));
    put(&n, 2, output, strlen(output));
    put(&n, 4, type, strlen(type));
    return n;
}

static void bad_graphs_are_refused(void **state)
{
    const message good = node("Relu", "x", "y"), cycle[] = {node("Relu", "b", "a"), node("Relu", "a", "b")};
    const message twice[] = {good, good}, outside = node("Relu", "elsewhere", "y");
    const message control = node("Re\nlu\x1b", "\x80", "y");
    write_model("m.onnx", &good, 1, 8, 99);
    refused("m.onnx", "m.onnx: opset 99; 7 to 28 are known");
    write_model("m.onnx", &good, 1, 8, 6);
    refused("m.onnx", "m.onnx: opset 6; ");
    write_model("m.onnx", &good, 1, 100, 13);
    refused("m.onnx", "m.onnx: ir_version 100; 3 to 14 are known");
    write_model("m.onnx", cycle, 2, 8, 13);
    refused("m.onnx",
            "m.onnx: Relu 'a' reads 'b', which nothing before it makes (a cycle, or nodes out of order)");
    write_model("m.onnx", &outside, 1, 8, 13);
    refused("m.onnx", "Relu 'y' reads 'elsewhere'");
    write_model("m.onnx", twice, 2, 8, 13);
    refused("m.onnx", "m.onnx: 'y' is made twice");
    write_model("m.onnx", &control, 1, 8, 13);
    refused("m.onnx", "Re lu  'y' reads '?'");
}

/* What stands behind an operator that is not known is lost, with its name; without a convolution there is no
 * advice. */
static void unknown_operators_are_counted(void **state)
{
    const message known = node("Relu", "x", "y"),
                  unknown[] = {node("Whatever", "x", "y"), node("Conv", "y", "z")};
    network_input none = {.count = 0};
    network_convs convs;
    conv_error err = {""};
    write_model("m.onnx", &known, 1, 8, 13);
    network *n = network_read("m.onnx", &err);
    assert_non_null(n);
    assert_int_equal(network_find_convs(n, &none, &convs, &err), CONV_INVALID);
    assert_string_equal(err.text, "no convolution among its 1 layers");
    network_free(n);
    write_model("m.onnx", unknown, 2, 8, 13);
    n = network_read("m.onnx", &err);
    assert_non_null(n);
    assert_int_equal(network_find_convs(n, &none, &convs, &err), CONV_INVALID);
    assert_non_null(strstr(err.text, "layer Conv_1: its input's shape is not known behind Whatever 'y'"));
    network_free(n);
}

/* Of weights in other files the sizes are enough; elements that are a shape are read, and missed by name. */
static void external_data_is_read_where_it_is_a_shape(void **state)
{
    message nodes[] = {node("Reshape", "x", "y"), node("Conv", "y", "z")};
    const int64_t shape[] = {1, 12, 4, -1};
    network_input none = {.count = 0};
    network_convs convs;
    conv_error err = {""};
    put(&nodes[0], 1, "s", 1);
    put(&nodes[1], 1, "w", 1);
    write_model("m.onnx", nodes, 2, 8, 13);
    network *n = network_read("m.onnx", &err);
    assert_non_null(n);
    assert_int_equal(network_find_convs(n, &none, &convs, &err), CONV_INVALID);
    assert_non_null(strstr(err.text, "behind Reshape 'y', whose external data is not there"));
    network_free(n);
    write_bytes("s.data", (const uint8_t *)shape, sizeof shape);
    n = network_read("m.onnx", &err);
    assert_non_null(n);
    assert_int_equal(network_find_convs(n, &none, &convs, &err), CONV_OK);
    assert_int_equal(convs.count, 1);
    assert_int_equal(convs.at[0].problem.oc, 5);
    assert_int_equal(convs.at[0].problem.axis[CONV_W].in, 4);
    network_convs_free(&convs);
    network_free(n);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(operators_have_their_shapes),
        cmocka_unit_test(every_convolution_is_found),
        cmocka_unit_test(pairs_are_found),
        cmocka_unit_test(sizes_can_be_told),
        cmocka_unit_test_setup_teardown(bad_files_are_refused, enter_folder, leave_folder),
        cmocka_unit_test_setup_teardown(bad_graphs_are_refused, enter_folder, leave_folder),
        cmocka_unit_test_setup_teardown(unknown_operators_are_counted, enter_folder, leave_folder),
        cmocka_unit_test_setup_teardown(external_data_is_read_where_it_is_a_shape, enter_folder, leave_folder),
    };
    return cmocka_run_group_tests(tests, read_whole, NULL);
}

#endif
