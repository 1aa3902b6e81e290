/* Weights in the files of Keras 3 and Keras 2: those they wrote (data/keras, made by its scripts), ours read again,
 * and files that are damaged, somebody else's or made to harm. */
#include "train_support.h"

#include <hdf5.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "../harness/archive.h"
#include "../harness/train/places.h"
#include "../harness/train/weights.h"
#include "folder.h"

static char data_folder[4096];
static model *pairs; /* its six layers with weights are two each of three classes */

static const char *data_file(const char *name)
{
    static char path[4400];
    snprintf(path, sizeof path, "%s/%s", data_folder, name);
    return path;
}

/* Element i of weight p is 100 p + i in every file, and in w. */
static float *numbered(void)
{
    float *w = calloc((size_t)pairs->total, sizeof *w);
    for (int p = 0; p < pairs->parameter_count; p++)
        for (int64_t i = 0; i < pairs->parameter[p].count; i++)
            w[pairs->parameter[p].offset + i] = (float)(100 * p + i);
    return w;
}

static void expect_numbered(const char *path)
{
    conv_error err = {""};
    float *want = numbered(), *w = calloc((size_t)pairs->total, sizeof *w);
    if (weights_load(path, pairs, w, &err) != CONV_OK) fail_msg("%s", err.text);
    for (int64_t i = 0; i < pairs->total; i++)
        if (w[i] != want[i])
            fail_msg("%s: float %lld is %g, not %g", path, (long long)i, (double)w[i], (double)want[i]);
    free(w);
    free(want);
}

static void expect_refused(const char *path, const model *m, const char *words)
{
    conv_error err = {""};
    float *w = calloc((size_t)m->total, sizeof *w);
    conv_status status = weights_load(path, m, w, &err);
    if (status != CONV_INVALID || strstr(err.text, words) == NULL || strchr(err.text, '\n') != NULL)
        fail_msg("%s: status %d, no \"%s\" in: %s", path, (int)status, words, err.text);
    free(w);
}

static char *read_file(const char *path, size_t *size)
{
    char *bytes = malloc(1 << 20);
    FILE *file = fopen(path, "rb");
    if (file == NULL) fail_msg("%s cannot be read", path);
    *size = fread(bytes, 1, 1 << 20, file);
    fclose(file);
    return bytes;
}

static void write_file(const char *path, const char *bytes, size_t size)
{
    FILE *file = fopen(path, "wb");
    assert_non_null(file);
    assert_int_equal(fwrite(bytes, 1, size, file), size);
    fclose(file);
}

static void files_of_keras(void **state)
{
    static const char *const files[] = {"w_pairs.weights.h5",       "w_pairs.keras",    "w_pairs_keras3.h5",
                                        "w_pairs_forms.weights.h5", "w_pairs_order.h5", "w_pairs_tf213.keras",
                                        "w_pairs_tf213.h5"};
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) expect_numbered(data_file(files[i]));
}

static void ours_again(void **state)
{
    static const char *const names[] = {"a.npz", "a.weights.h5", "a.keras", "a.h5", "any"};
    enum { COUNT = sizeof names / sizeof *names };
    conv_error err = {""};
    char *first[COUNT];
    size_t size[COUNT];
    float *w = numbered();
    for (int i = 0; i < COUNT; i++) {
        if (weights_save(names[i], OUTPUT_NAMED, pairs, w, &err) != CONV_OK) fail_msg("%s", err.text);
        expect_numbered(names[i]);
        first[i] = read_file(names[i], &size[i]);
    }
    nanosleep(&(struct timespec){1, 100000000}, NULL); /* no file has the time in it, which is in seconds */
    for (int i = 0; i < COUNT; i++) {
        size_t now;
        assert_int_equal(weights_save(names[i], OUTPUT_NAMED, pairs, w, &err), CONV_OK);
        char *again = read_file(names[i], &now);
        if (now != size[i] || memcmp(first[i], again, now) != 0)
            fail_msg("%s: other bytes for the same weights", names[i]);
        free(again);
        free(first[i]);
    }
    assert_true(archive_has("a.keras", "config.json") && archive_has("a.keras", "metadata.json"));
    free(w);
}

/* The JSON of .keras and .h5 is the model's, of Keras 2 or 3. */
static void models_in_files(void **state)
{
    conv_error err = {""};
    for (int i = 0; i < 2; i++) {
        model *m = i == 0 ? test_network("separable") : pairs;
        float *w = calloc((size_t)m->total, sizeof *w);
        size_t size;
        assert_int_equal(weights_save("m.keras", OUTPUT_NAMED, m, w, &err), CONV_OK);
        char *text = archive_read("m.keras", "config.json", 1 << 20, &size, &err);
        assert_non_null(text);
        model *again = model_parse(text, "config.json", &err);
        if (again == NULL) fail_msg("%s", err.text);
        assert_int_equal(model_fingerprint(again), model_fingerprint(m));
        assert_null(strstr(text, "batch_input_shape"));
        assert_non_null(strstr(text, "\"module\": \"keras.layers\""));
        free(again);
        free(text);
        free(w);
        if (m != pairs) free(m);
    }
}

static void damaged(void **state)
{
    size_t size;
    char *bytes = read_file(data_file("w_pairs.weights.h5"), &size);
    static const size_t ends[] = {8, 100, 2000, 9000};
    for (size_t i = 0; i < sizeof ends / sizeof *ends; i++) {
        write_file("t.weights.h5", bytes, ends[i]);
        expect_refused("t.weights.h5", pairs, "t.weights.h5: is no HDF5 file that can be read: ");
    }
    write_file("t.weights.h5", bytes, size - 1000);
    expect_refused("t.weights.h5", pairs, "truncated file");
    free(bytes);
    write_text("words.h5", "no HDF5");
    expect_refused("words.h5", pairs, "words.h5: is no HDF5 file that can be read: file signature not found");
    write_text("words.keras", "no archive");
    expect_refused("words.keras", pairs, "words.keras: Not a zip archive");
    expect_refused("absent.h5", pairs, "absent.h5: No such file or directory");
    archive_member config = {"config.json", strdup("{}"), 2};
    conv_error err;
    assert_true(archive_write("empty.keras", OUTPUT_NAMED, &config, 1, &err));
    expect_refused("empty.keras", pairs, "empty.keras: there is no model.weights.h5 in it");
    bytes = read_file(data_file("w_pairs.keras"), &size);
    for (size_t i = 0; i + 8 < size; i++)
        if (memcmp(bytes + i, "\x89HDF", 4) == 0) bytes[i + 5000] ^= 1;
    write_file("crc.keras", bytes, size);
    expect_refused("crc.keras", pairs, "crc.keras: model.weights.h5 is damaged: its CRC or length is wrong");
    free(bytes);
}

/* A heap of texts that lies about their sizes, over which libhdf5 1.10 crashes. */
static void lying_heap(void **state)
{
    size_t size, heaps = 0;
    char *bytes = read_file(data_file("w_pairs_tf213.h5"), &size);
    for (size_t i = 0; i + 64 < size; i++)
        if (memcmp(bytes + i, "GCOL", 4) == 0) {
            memset(bytes + i + 24, 0x7f, 6); /* of the first text */
            heaps++;
        }
    assert_true(heaps > 0);
    write_file("heap.h5", bytes, size);
    expect_refused("heap.h5", pairs, "heap.h5: ");
    free(bytes);
}

/* Right files of another model. */
static void another_model(void **state)
{
    model *m = test_network("conv");
    expect_refused(data_file("w_pairs.weights.h5"), m,
                   "dataset 'layers/conv2d/vars/0' (conv2d/kernel:0) has shape (2, 2, 1, 2): the model's is "
                   "(3, 3, 1, 32)");
    expect_refused(data_file("w_pairs_tf213.h5"), m, "6 layers with weights: the model has 4");
    free(m);
    conv_error err;
    model *small = model_read(data_file("small.json"), &err);
    float *w = calloc((size_t)small->total, sizeof *w);
    assert_int_equal(weights_save("small.weights.h5", OUTPUT_NAMED, small, w, &err), CONV_OK);
    expect_refused(
        "small.weights.h5", pairs,
        "small.weights.h5: dataset 'layers/separable_conv2d/vars/0' (second/depthwise_kernel:0) is missing");
    free(w);
    free(small);
}

static void wrong_values(void **state)
{
    static const char *const names[] = {"n.npz", "n.weights.h5", "n.keras", "n.h5"};
    conv_error err;
    float *w = numbered();
    w[pairs->parameter[2].offset + 1] = NAN;
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        assert_int_equal(weights_save(names[i], OUTPUT_NAMED, pairs, w, &err), CONV_OK);
        expect_refused(names[i], pairs, "element 1 is not finite");
        expect_refused(names[i], pairs, "second/depthwise_kernel:0");
    }
    free(w);
}

/* ---- files made to harm */

/* Each does one thing to a good file of ours; "layers/dense/vars/1" has two floats. */

static void replace(hid_t file, const char *name, hid_t type, hid_t space, hid_t how)
{
    H5Ldelete(file, name, H5P_DEFAULT);
    hid_t d = H5Dcreate2(file, name, type, space, H5P_DEFAULT, how, H5P_DEFAULT);
    assert_true(d >= 0);
    H5Dclose(d);
}

static void make_missing(hid_t file) { H5Ldelete(file, "layers/dense/vars/1", H5P_DEFAULT); }

static void make_extra(hid_t file)
{
    hid_t space = H5Screate(H5S_SCALAR);
    hid_t g = H5Gcreate2(file, "layers/gru", H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT);
    hid_t v = H5Gcreate2(g, "vars", H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT);
    replace(v, "0", H5T_IEEE_F32LE, space, H5P_DEFAULT);
    H5Gclose(v);
    H5Gclose(g);
    H5Sclose(space);
}

static void make_one_more(hid_t file)
{
    hid_t space = H5Screate(H5S_SCALAR);
    replace(file, "layers/dense/vars/2", H5T_IEEE_F32LE, space, H5P_DEFAULT);
    H5Sclose(space);
}

static void make_own(hid_t file)
{
    hid_t g = H5Gopen2(file, "vars", H5P_DEFAULT);
    hid_t space = H5Screate(H5S_SCALAR);
    replace(g, "0", H5T_IEEE_F32LE, space, H5P_DEFAULT);
    H5Sclose(space);
    H5Gclose(g);
}

static void make_integers(hid_t file)
{
    const hsize_t two = 2;
    hid_t space = H5Screate_simple(1, &two, NULL);
    replace(file, "layers/dense/vars/1", H5T_STD_I32LE, space, H5P_DEFAULT);
    H5Sclose(space);
}

/* 2^62 floats that take no room in the file. */
static void make_huge(hid_t file)
{
    const hsize_t many = (hsize_t)1 << 62, chunk = 1 << 20;
    hid_t space = H5Screate_simple(1, &many, NULL), how = H5Pcreate(H5P_DATASET_CREATE);
    H5Pset_chunk(how, 1, &chunk);
    replace(file, "layers/dense/vars/1", H5T_IEEE_F32LE, space, how);
    H5Pclose(how);
    H5Sclose(space);
}

static void make_wide_chunks(hid_t file)
{
    const hsize_t two = 2, most = H5S_UNLIMITED, chunk = 1 << 28;
    hid_t space = H5Screate_simple(1, &two, &most), how = H5Pcreate(H5P_DATASET_CREATE);
    H5Pset_chunk(how, 1, &chunk);
    replace(file, "layers/dense/vars/1", H5T_IEEE_F32LE, space, how);
    H5Pclose(how);
    H5Sclose(space);
}

static void make_filtered(hid_t file)
{
    const hsize_t two = 2;
    hid_t space = H5Screate_simple(1, &two, NULL), how = H5Pcreate(H5P_DATASET_CREATE);
    H5Pset_chunk(how, 1, &two);
    H5Pset_nbit(how);
    replace(file, "layers/dense/vars/1", H5T_IEEE_F32LE, space, how);
    H5Pclose(how);
    H5Sclose(space);
}

static void make_external(hid_t file)
{
    const hsize_t two = 2;
    hid_t space = H5Screate_simple(1, &two, NULL), how = H5Pcreate(H5P_DATASET_CREATE);
    H5Pset_external(how, "/etc/passwd", 0, 8);
    replace(file, "layers/dense/vars/1", H5T_IEEE_F32LE, space, how);
    H5Pclose(how);
    H5Sclose(space);
}

static void make_link(hid_t file)
{
    H5Ldelete(file, "layers/dense/vars/1", H5P_DEFAULT);
    H5Lcreate_soft("/layers/dense_1/vars/1", file, "layers/dense/vars/1", H5P_DEFAULT, H5P_DEFAULT);
}

static void make_external_link(hid_t file)
{
    H5Ldelete(file, "layers/dense/vars/1", H5P_DEFAULT);
    H5Lcreate_external("other.h5", "/x", file, "layers/dense/vars/1", H5P_DEFAULT, H5P_DEFAULT);
}

/* A group that is in itself eight times, and thereby without end. */
static void make_cycle(hid_t file)
{
    H5Gclose(H5Gcreate2(file, "layers/loop", H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT));
    for (int i = 0; i < 8; i++) {
        char name[32];
        snprintf(name, sizeof name, "layers/loop/%d", i);
        H5Lcreate_hard(file, "layers/loop", file, name, H5P_DEFAULT, H5P_DEFAULT);
    }
}

static void make_group(hid_t file)
{
    H5Ldelete(file, "layers/dense/vars/1", H5P_DEFAULT);
    H5Gclose(H5Gcreate2(file, "layers/dense/vars/1", H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT));
}

static void make_empty(hid_t file) { H5Ldelete(file, "layers", H5P_DEFAULT); }

static void made_to_harm(void **state)
{
    static const struct {
        void (*make)(hid_t file);
        const char *words;
    } cases[] = {
        {make_missing, "dataset 'layers/dense/vars/1' (fifth/bias:0) is missing"},
        {make_extra, "dataset 'layers/gru/vars/0' is none of the model's"},
        {make_one_more, "dataset 'layers/dense/vars/2' is none of the model's"},
        {make_own, "dataset 'vars/0' is none of the model's"},
        {make_integers, "dataset 'layers/dense/vars/1' (fifth/bias:0) is not of floats"},
        {make_huge, "has shape (4611686018427387904,): the model's is (2,)"},
        {make_wide_chunks, "(fifth/bias:0) has chunks of 2.684e+08 elements"},
        {make_filtered, "went through filter 5: only deflate, shuffle and fletcher32 are known"},
        {make_external, "(fifth/bias:0) has its data elsewhere"},
        {make_link, "(fifth/bias:0) is missing"},
        {make_external_link, "(fifth/bias:0) is missing"},
        {make_cycle, "has more groups than a model can have"},
        {make_group, "(fifth/bias:0) is missing"},
        {make_empty, "no weights of Keras's: neither a group layers nor an attribute layer_names"},
    };
    float *w = numbered();
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        conv_error err;
        assert_int_equal(weights_save("h.weights.h5", OUTPUT_NAMED, pairs, w, &err), CONV_OK);
        hid_t file = H5Fopen("h.weights.h5", H5F_ACC_RDWR, H5P_DEFAULT);
        assert_true(file >= 0);
        cases[i].make(file);
        H5Fclose(file);
        expect_refused("h.weights.h5", pairs, cases[i].words);
    }
    free(w);
}

/* ---- Keras 2's lists */

static void set_names(hid_t file, const char *group, const char *name, const char *names, size_t size,
                      hsize_t count)
{
    hid_t g = H5Gopen2(file, group, H5P_DEFAULT), type = H5Tcopy(H5T_C_S1);
    H5Tset_size(type, size);
    hid_t space = H5Screate_simple(1, &count, NULL);
    H5Adelete(g, name);
    hid_t a = H5Acreate2(g, name, type, space, H5P_DEFAULT, H5P_DEFAULT);
    assert_true(a >= 0 && H5Awrite(a, type, names) >= 0);
    H5Aclose(a);
    H5Sclose(space);
    H5Tclose(type);
    H5Gclose(g);
}

static void wrong_lists(void **state)
{
    static const struct {
        const char *group, *name, *names;
        size_t size;
        hsize_t count;
        const char *words;
    } cases[] = {
        {"model_weights", "layer_names", "firstfifth", 5, 2, "2 layers with weights: the model has 6"},
        {"model_weights", "layer_names", "firstzzzzz", 5, 2,
         "'model_weights/zzzzz' is no group with attribute weight_names"},
        {"model_weights/fifth", "weight_names", "fifth/kernel:0", 14, 1,
         "layer 'model_weights/fifth' has 1 weights: the model's 'fifth' has 2"},
        {"model_weights/fifth", "weight_names", "fifth/bias:0\0\0fifth/kernel:0", 14, 2,
         "dataset 'model_weights/fifth/fifth/bias:0' (fifth/kernel:0) has shape (2,): the model's is"},
        {"model_weights/fifth", "weight_names", "a\x1b[31mb", 7, 1, "has 1 weights"},
        {"model_weights/fifth", "weight_names", "../../../x\0\0\0\0fifth/bias:0\0\0", 14, 2, "is missing"},
    };
    float *w = numbered();
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        conv_error err;
        assert_int_equal(weights_save("l.h5", OUTPUT_NAMED, pairs, w, &err), CONV_OK);
        hid_t file = H5Fopen("l.h5", H5F_ACC_RDWR, H5P_DEFAULT);
        set_names(file, cases[i].group, cases[i].name, cases[i].names, cases[i].size, cases[i].count);
        H5Fclose(file);
        expect_refused("l.h5", pairs, cases[i].words);
    }
    free(w);
}

/* ---- models within models, by their JSON alone */

#define LAYER(class, name) "{\"class_name\":\"" class "\",\"config\":{\"name\":\"" name "\"}}"
#define MODEL(class, name, layers)                                                                             \
    "{\"class_name\":\"" class "\",\"config\":{\"name\":\"" name "\",\"layers\":[" layers "]}}"
static const char nested[] =
    MODEL("Functional", "whole",
          LAYER("InputLayer", "in") "," LAYER("Conv2D", "a") "," MODEL(
              "Sequential", "inner",
              LAYER("Conv2D", "b") "," LAYER("BatchNormalization", "bn") "," LAYER(
                  "PReLU", "c")) "," LAYER("Conv2D",
                                           "d") "," MODEL("Model", "m",
                                                          LAYER("InputLayer", "in2") "," LAYER("Dense", "e")));

static void nested_models(void **state)
{
    static const struct {
        const char *name, *keras3, *tf_2_13, *keras2;
    } want[] = {
        {"a/kernel:0", "layers/conv2d 0", "L/conv2d 0", "a 0"},
        {"inner/b/kernel:0", "layers/sequential/layers/conv2d 0", "L/sequential/L/conv2d 0", "inner 0"},
        {"inner/bn/gamma:0", "layers/sequential/layers/batch_normalization 0",
         "L/sequential/L/batch_normalization 0", "inner 1"},
        {"inner/bn/moving_mean:0", "layers/sequential/layers/batch_normalization 1",
         "L/sequential/L/batch_normalization 1", "inner 3"},
        {"inner/c/alpha:0", "layers/sequential/layers/p_re_lu 0", "L/sequential/L/p_re_lu 0", "inner 2"},
        {"d/kernel:0", "layers/conv2d_1 0", "L/conv2d_2 0", "d 0"},
        {"m/e/kernel:0", "layers/functional/layers/dense 0", "L/functional/L/dense 0", "m 0"},
    };
    enum { COUNT = sizeof want / sizeof *want };
    model *m = calloc(1, sizeof *m + sizeof nested);
    strcpy(m->json, nested);
    for (int i = 0; i < COUNT; i++) {
        parameter *p = &m->parameter[m->parameter_count++];
        layer *l = &m->layers[m->layer_count];
        char name[64];
        snprintf(p->name, sizeof p->name, "%s", want[i].name);
        p->trainable = strstr(p->name, "moving") == NULL;
        snprintf(name, sizeof name, "%s", p->name);
        *strrchr(name, '/') = 0;
        if (i > 0 && strcmp(name, l[-1].name) == 0) {
            l[-1].parameter_count++;
            continue;
        }
        strcpy(l->name, name);
        l->first_parameter = i;
        l->parameter_count = 1;
        m->layer_count++;
    }
    weight_place *places = calloc(COUNT, sizeof *places);
    for (int layout = PLACES_KERAS3; layout <= PLACES_KERAS2; layout++) {
        assert_true(places_find(m, (places_layout)layout, places));
        for (int i = 0; i < COUNT; i++) {
            char have[300];
            const char *expected = layout == PLACES_KERAS3    ? want[i].keras3
                                   : layout == PLACES_TF_2_13 ? want[i].tf_2_13
                                                              : want[i].keras2;
            snprintf(have, sizeof have, "%s %d", places[i].group, places[i].index);
            for (char *at; (at = strstr(have, "_layer_checkpoint_dependencies")) != NULL;) {
                *at = 'L';
                memmove(at + 1, at + 30, strlen(at + 30) + 1);
            }
            assert_string_equal(have, expected);
        }
    }
    strcpy(m->layers[0].name, "else");
    assert_false(places_find(m, PLACES_KERAS3, places));
    free(places);
    free(m);
}

static int open_data(void **state)
{
    char path[4096], whole[4096];
    conv_error err;
    if (realpath(test_path("data/keras", path, sizeof path), whole) == NULL) return 1;
    snprintf(data_folder, sizeof data_folder, "%s", whole);
    pairs = model_read(data_file("pairs.json"), &err);
    return pairs == NULL;
}

static int close_data(void **state)
{
    free(pairs);
    return 0;
}

#define IN_FOLDER(test) cmocka_unit_test_setup_teardown(test, enter_folder, leave_folder)

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(files_of_keras),
        IN_FOLDER(ours_again),
        IN_FOLDER(models_in_files),
        IN_FOLDER(damaged),
        IN_FOLDER(lying_heap),
        IN_FOLDER(another_model),
        IN_FOLDER(wrong_values),
        IN_FOLDER(made_to_harm),
        IN_FOLDER(wrong_lists),
        cmocka_unit_test(nested_models),
    };
    return cmocka_run_group_tests_name("train_weights", tests, open_data, close_data);
}
