/* Training data that are no IDX files: an .npz with Keras's names, as NumPy wrote it and as users get it wrong,
 * and CIFAR-10's binary files; and that a network trains on each as on the same images in another form. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "../harness/train/data.h"
#include "../harness/train/npz.h"
#include "folder.h"
#include "train_support.h"

enum { SIDE = 32, RECORD = 1 + 3 * SIDE * SIDE, IN_BATCH = 12, BATCHES = 5 };

static char seeds[4096], program[4096], mnist[4096];

static int set_up(void **state)
{
    const char *given = getenv("SEPBENCH");
    char path[4096];
    bool found = realpath(test_path("fuzz/corpus/npz", path, sizeof path), seeds) != NULL &&
                 realpath(test_path("data/mnist", path, sizeof path), mnist) != NULL &&
                 realpath(given != NULL ? given : "build/sepbench", program) != NULL;
    return found ? enter_folder(state) : -1;
}

static void load(const char *path, data_sets *data)
{
    conv_error err = {""};
    if (data_load(path, data, &err) != CONV_OK) fail_msg("%s", err.text);
}

static void refuse(const char *path, const char *words)
{
    data_sets data;
    conv_error err = {""};
    assert_int_equal(data_load(path, &data, &err), CONV_INVALID);
    if (strstr(err.text, words) == NULL) fail_msg("%s: no \"%s\" in: %s", path, words, err.text);
}

/* One of the files that NumPy wrote, under a name that --data knows. */
static void bring(const char *seed)
{
    char output[256];
    if (run_shell(output, sizeof output, "cp %s/%s data.npz 2>&1", seeds, seed) != 0) fail_msg("%s", output);
}

/* ---- .npz */

static void numpy_bytes(void **state)
{
    static const tensor_shape image = {3, {2, 2, 3}};
    data_sets data;
    bring("keras-cifar");
    load("data.npz", &data);
    const data_set *sets[] = {&data.train, &data.test};
    for (int s = 0; s < 2; s++) {
        assert_int_equal(sets[s]->count, s == 0 ? 4 : 2);
        assert_memory_equal(&sets[s]->image, &image, sizeof image);
        assert_null(sets[s]->values);
        for (int i = 0; i < 12 * sets[s]->count; i++) assert_int_equal(sets[s]->images[i], i);
        for (int i = 0; i < sets[s]->count; i++) assert_int_equal(sets[s]->labels[i], sets[s]->count - 1 - i);
    }
    data_free(&data);
}

/* Fortran's order, both byte orders, float64 and float16, labels of one and two bytes. */
static void numpy_floats(void **state)
{
    static const tensor_shape image = {4, {2, 2, 2, 1}};
    data_sets data;
    bring("keras-volumes");
    load("data.npz", &data);
    const data_set *sets[] = {&data.train, &data.test};
    for (int s = 0; s < 2; s++) {
        assert_int_equal(sets[s]->count, s == 0 ? 3 : 2);
        assert_memory_equal(&sets[s]->image, &image, sizeof image);
        assert_null(sets[s]->images);
        for (int i = 0; i < 8 * sets[s]->count; i++)
            if (sets[s]->values[i] != (float)i / 8) fail_msg("%d of set %d: %g", i, s, sets[s]->values[i]);
        for (int i = 0; i < sets[s]->count; i++) assert_int_equal(sets[s]->labels[i], sets[s]->count - 1 - i);
    }
    assert_int_not_equal(data.train.crc, data.test.crc);
    data_free(&data);
}

/* Four arrays that are right, of which a case replaces one. */
static uint8_t bytes[24];
static float floats[24];
static int64_t integers[] = {0, 1};
static const npz_array right[] = {{"x_train", NPY_UINT8, {3, {2, 3, 4}}, bytes},
                                  {"y_train", NPY_INT64, {1, {2}}, integers},
                                  {"x_test", NPY_UINT8, {3, {2, 3, 4}}, bytes},
                                  {"y_test", NPY_INT64, {1, {2}}, integers}};

static void write_npz(const char *path, const npz_array *arrays, int count)
{
    conv_error err;
    if (npz_write(path, OUTPUT_OWN, arrays, count, &err) != CONV_OK) fail_msg("%s", err.text);
}

static void bad_arrays(void **state)
{
    static int64_t high[] = {0, 256}, low[] = {-1, 0};
    static const struct {
        int which;
        npz_array array;
        const char *words;
    } cases[] = {
        {0, {"x", NPY_UINT8, {3, {2, 3, 4}}, bytes}, "array 'x_train' is missing"},
        {3, {"y", NPY_INT64, {1, {2}}, integers}, "array 'y_test' is missing"},
        {0, {"x_train", NPY_INT64, {3, {1, 1, 2}}, integers}, "'x_train' is of another type than uint8"},
        {0, {"x_train", NPY_UINT8, {1, {24}}, bytes}, "'x_train' has the shape (24,): (n, ...)"},
        {0,
         {"x_train", NPY_UINT8, {6, {2, 1, 1, 1, 3, 4}}, bytes},
         "'x_train' has the shape (2, 1, 1, 1, 3, 4)"},
        {0, {"x_train", NPY_UINT8, {3, {2, 0, 4}}, bytes}, "'x_train' has the shape (2, 0, 4)"},
        {0, {"x_train", NPY_UINT8, {2, {3, 8}}, bytes}, "'y_train' has 2 labels for the 3 images of 'x_train'"},
        {2, {"x_test", NPY_FLOAT32, {3, {2, 3, 4}}, floats}, "'x_test': element 7 is nan in float32"},
        {2, {"x_test", NPY_UINT8, {3, {2, 4, 3}}, bytes}, "images of (3, 4) in x_train, of (4, 3) in x_test"},
        {1,
         {"y_train", NPY_INT64, {2, {1, 2}}, integers},
         "'y_train' has the shape (1, 2): one integer for each"},
        {1, {"y_train", NPY_FLOAT32, {1, {2}}, floats}, "'y_train' is not of an integer type"},
        {1, {"y_train", NPY_INT64, {1, {2}}, high}, "y_train 1 is 256: must be from 0 to 255"},
        {3, {"y_test", NPY_INT64, {1, {2}}, low}, "y_test 0 is -1: must be from 0 to 255"},
    };
    data_sets data;
    floats[7] = NAN;
    write_npz("data.npz", right, 4);
    load("data.npz", &data);
    data_free(&data);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        npz_array arrays[4];
        memcpy(arrays, right, sizeof right);
        arrays[cases[i].which] = cases[i].array;
        write_npz("data.npz", arrays, 4);
        refuse("data.npz", cases[i].words);
    }
    bring("keras-steps");
    refuse("data.npz", "data.npz: y_train 2 is 300: must be from 0 to 255");
    refuse("none.npz", "none.npz: No such file");
    write_text("text.npz", "no zip");
    refuse("text.npz", "text.npz: Not a zip archive");
}

/* ---- CIFAR-10 */

static const char *batch_name(int batch)
{
    static char name[64];
    snprintf(name, sizeof name, batch < BATCHES ? "cifar/data_batch_%d.bin" : "cifar/test_batch.bin",
             batch + 1);
    return name;
}

/* What pixel i of an image is, and its label; batch BATCHES is the test set. */
static uint8_t pixel(int batch, int image, int row, int column, int channel)
{
    return (uint8_t)(37 * batch + 11 * image + 3 * row + 5 * column + 71 * channel);
}

static uint8_t label(int batch, int image) { return (uint8_t)((batch + image) % 10); }

static void write_cifar(void)
{
    mkdir("cifar", 0777);
    for (int batch = 0; batch <= BATCHES; batch++) {
        FILE *file = fopen(batch_name(batch), "wb");
        assert_non_null(file);
        for (int image = 0; image < IN_BATCH; image++) {
            fputc(label(batch, image), file);
            for (int i = 0; i < RECORD - 1; i++)
                fputc(pixel(batch, image, i / SIDE % SIDE, i % SIDE, i / (SIDE * SIDE)), file);
        }
        assert_int_equal(fclose(file), 0);
    }
}

static void cifar_files(void **state)
{
    static const tensor_shape image = {3, {SIDE, SIDE, 3}};
    data_sets data;
    write_cifar();
    load("cifar", &data);
    assert_int_equal(data.train.count, BATCHES * IN_BATCH);
    assert_int_equal(data.test.count, IN_BATCH);
    assert_memory_equal(&data.train.image, &image, sizeof image);
    for (int batch = 0; batch <= BATCHES; batch++) {
        const data_set *set = batch < BATCHES ? &data.train : &data.test;
        for (int k = 0; k < IN_BATCH; k++) {
            int at = batch < BATCHES ? batch * IN_BATCH + k : k;
            assert_int_equal(set->labels[at], label(batch, k));
            for (int i = 0; i < RECORD - 1; i++)
                assert_int_equal(set->images[at * (RECORD - 1) + i],
                                 pixel(batch, k, i / 3 / SIDE, i / 3 % SIDE, i % 3));
        }
    }
    data_free(&data);
}

static void bad_cifar_files(void **state)
{
    write_cifar();
    assert_int_equal(system("head -c 5000 cifar/test_batch.bin > x; mv x cifar/test_batch.bin"), 0);
    refuse("cifar", "cifar/test_batch.bin: 5000 bytes are not whole records of CIFAR-10, of 3073 bytes");
    write_text("cifar/test_batch.bin", "");
    refuse("cifar", "cifar/test_batch.bin: 0 bytes");
    remove("cifar/data_batch_3.bin");
    refuse("cifar", "cifar/data_batch_3.bin: No such file or directory: CIFAR-10's binary version has it");
}

/* ---- which networks take them */

static void which_fit(void **state)
{
    static const struct {
        tensor_shape image, input;
        bool fit;
    } cases[] = {
        {{3, {28, 28, 1}}, {3, {28, 28, 1}}, true}, {{3, {28, 28, 1}}, {3, {7, 28, 4}}, true},
        {{3, {28, 28, 1}}, {1, {784}}, true},       {{3, {28, 28, 1}}, {3, {28, 27, 1}}, false},
        {{2, {28, 28}}, {3, {28, 28, 1}}, true},    {{2, {28, 28}}, {2, {28, 28}}, true},
        {{2, {28, 28}}, {1, {784}}, true},          {{2, {28, 14}}, {2, {14, 28}}, false},
        {{3, {32, 32, 3}}, {3, {32, 32, 3}}, true}, {{3, {32, 32, 3}}, {3, {3, 32, 32}}, false},
        {{3, {32, 32, 3}}, {1, {3072}}, true},      {{4, {2, 3, 4, 5}}, {4, {2, 3, 4, 5}}, true},
        {{4, {2, 3, 4, 5}}, {3, {6, 4, 5}}, false}, {{1, {12}}, {3, {3, 4, 1}}, false},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        if (data_fits(&(data_set){.image = cases[i].image}, &cases[i].input) != cases[i].fit)
            fail_msg("case %zu", i);
}

/* ---- whole runs */

static void expect(int code, const char *words, const char *command)
{
    char output[8192];
    int got = run_shell(output, sizeof output,
                        "exec 2>&1; T='%s train --impl naive --threads 2 --quiet --batch-size 5'; M=%s; %s",
                        program, mnist, command);
    if (got != code) fail_msg("%s: exit %d instead of %d: %s", command, got, code, output);
    if (words != NULL && strstr(output, words) == NULL)
        fail_msg("%s: no \"%s\" in: %s", command, words, output);
}

/* The arrays of a folder's set. */
static void write_as_npz(const char *from, const char *path, bool as_floats)
{
    data_sets data;
    npz_array arrays[4];
    load(from, &data);
    for (int s = 0; s < 2; s++) {
        data_set *set = s == 0 ? &data.train : &data.test;
        int64_t count = set->count * shape_count(&set->image);
        npz_array *x = &arrays[2 * s], *y = x + 1;
        *x = right[2 * s], *y = right[2 * s + 1];
        x->shape.rank = set->image.rank + 1;
        x->shape.size[0] = y->shape.size[0] = set->count;
        memcpy(x->shape.size + 1, set->image.dim, sizeof set->image.dim);
        x->data = set->images;
        y->type = NPY_UINT8;
        y->data = set->labels;
        if (!as_floats) continue;
        set->values = malloc((size_t)count * sizeof *set->values);
        assert_non_null(set->values);
        for (int64_t i = 0; i < count; i++) set->values[i] = (float)set->images[i] / 255.0f;
        x->type = NPY_FLOAT32;
        x->data = set->values;
    }
    write_npz(path, arrays, 4);
    data_free(&data);
}

static const char TINY[] =
    "{\"class_name\": \"Sequential\", \"config\": {\"layers\": [{\"class_name\": \"%s\", "
    "\"config\": {\"batch_input_shape\": [null, %s], \"filters\": 2, \"kernel_size\": 3, "
    "\"strides\": 3}}, {\"class_name\": \"Flatten\", \"config\": {}}, {\"class_name\": "
    "\"Dense\", \"config\": {\"units\": %d, \"activation\": \"softmax\"}}]}}";

static void write_model(const char *path, const char *layer, const char *input, int classes)
{
    char text[1024];
    snprintf(text, sizeof text, TINY, layer, input, classes);
    write_text(path, text);
}

static void same_bits(void **state)
{
    write_model("gray.json", "Conv2D", "28, 28, 1", 10);
    write_model("rows.json", "Conv1D", "28, 28", 10);
    write_model("color.json", "Conv2D", "32, 32, 3", 10);
    write_as_npz(mnist, "bytes.npz", false);
    write_as_npz(mnist, "floats.npz", true);
    write_cifar();
    write_as_npz("cifar", "color.npz", true);
    expect(0, NULL,
           "for d in $M bytes.npz floats.npz; do $T --epochs 2 --model gray.json --data $d --out out-${d##*/} "
           "--weights-out w.npz && md5sum w.npz || exit 9; done | sort -u | wc -l | grep -qx 1");
    expect(0, NULL,
           "for d in cifar color.npz; do $T --epochs 2 --model color.json --data $d --out out-$d "
           "--weights-out w.npz && md5sum w.npz || exit 9; done | sort -u | wc -l | grep -qx 1");
    expect(0, NULL, "$T --epochs 1 --model rows.json --data floats.npz --out out-rows");
}

/* Evaluation finds each image wherever the batch begins. */
static void evaluation_of_channels(void **state)
{
    write_model("color.json", "Conv2D", "32, 32, 3", 10);
    write_cifar();
    expect(0, NULL,
           "$T --epochs 0 --model color.json --data cifar --out e1 && "
           "$T --epochs 0 --model color.json --data cifar --out e2 --batch-size 12 && "
           "for e in e1 e2; do grep -A3 '\"test_loss\"' $e/run.json | grep mean | cut -c 1-30; done > losses; "
           "sort -u losses | wc -l | grep -qx 1 && wc -l < losses | grep -qx 2");
}

static void refused_networks(void **state)
{
    write_model("planes.json", "Conv2D", "3, 32, 32", 10);
    write_model("nine.json", "Conv2D", "32, 32, 3", 9);
    write_model("steps.json", "Conv1D", "4, 2", 10);
    write_cifar();
    write_as_npz("cifar", "color.npz", false);
    expect(2, "planes.json: its input is (3, 32, 32): the images of color.npz in x_train are (32, 32, 3)",
           "$T --model planes.json --data color.npz");
    expect(2, "steps.json: its input is (4, 2): the images of cifar in the training set are (32, 32, 3)",
           "$T --model steps.json --data cifar");
    expect(2, "color.npz: y_train 9 is 9: the network's outputs allow 0 to 8",
           "$T --model nine.json --data color.npz");
    expect(0, NULL, "test ! -e results");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(numpy_bytes),      cmocka_unit_test(numpy_floats),
        cmocka_unit_test(bad_arrays),       cmocka_unit_test(cifar_files),
        cmocka_unit_test(bad_cifar_files),  cmocka_unit_test(which_fit),
        cmocka_unit_test(same_bits),        cmocka_unit_test(evaluation_of_channels),
        cmocka_unit_test(refused_networks),
    };
    return cmocka_run_group_tests_name("train_forms", tests, set_up, leave_folder);
}
