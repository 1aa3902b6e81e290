/* Data sets by the names EMNIST, QMNIST and others give their files,
 * of every rank and label type that is read. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "../harness/train/data.h"
#include "folder.h"
#include "unit.h"

enum { IMAGES = 3, PIXELS = 12 };

/* An IDX file of `rank` sizes whose elements are of `element` bytes: 0, 1, 2, ... of one byte, labels 7, 6, 5
 * otherwise; what a QMNIST label holds beside the class is 9 throughout. */
static void write_idx(const char *path, int type, int element, int rank, const uint8_t *sizes)
{
    FILE *file = fopen(path, "wb");
    int64_t count = 1;
    assert_non_null(file);
    fprintf(file, "%c%c%c%c", 0, 0, type, rank);
    for (int i = 0; i < rank; i++) {
        fprintf(file, "%c%c%c%c", 0, 0, 0, sizes[i]);
        count *= sizes[i];
    }
    int64_t columns = count / sizes[0];
    for (int64_t i = 0; i < count; i++) {
        bool label = columns < PIXELS;
        for (int k = 1; k < element; k++) fputc(0, file);
        fputc(!label ? (int)i : i % columns == 0 ? (int)(7 - i / columns) : 9, file);
    }
    assert_int_equal(fclose(file), 0);
}

static void write_images(const char *path, int rank, const uint8_t *sizes)
{
    write_idx(path, 8, 1, rank, sizes);
}

static void write_labels(const char *path) { write_idx(path, 8, 1, 1, (const uint8_t[]){IMAGES}); }

/* A whole set in the folder, its names printed with the prefix and the test set's name. */
static void write_set(const char *folder, const char *prefix, const char *test)
{
    const char *sets[] = {"train", test};
    char path[256];
    mkdir(folder, 0777);
    for (int i = 0; i < 2; i++) {
        snprintf(path, sizeof path, "%s/%s%s-images-idx3-ubyte", folder, prefix, sets[i]);
        write_images(path, 3, (const uint8_t[]){IMAGES, 3, 4});
        snprintf(path, sizeof path, "%s/%s%s-labels-idx1-ubyte", folder, prefix, sets[i]);
        write_labels(path);
    }
}

/* Loads and compares with what write_idx writes. */
static void check(const char *dir, int64_t rows, int64_t columns, int64_t channels)
{
    data_sets data;
    conv_error err = {""};
    if (data_load(dir, &data, &err) != CONV_OK) fail_msg("%s", err.text);
    const data_set *sets[] = {&data.train, &data.test};
    for (int s = 0; s < 2; s++) {
        assert_int_equal(sets[s]->count, IMAGES);
        const tensor_shape want = {3, {rows, columns, channels}};
        assert_memory_equal(&sets[s]->image, &want, sizeof want);
        for (int i = 0; i < IMAGES * PIXELS; i++) assert_int_equal(sets[s]->images[i], i);
        for (int i = 0; i < IMAGES; i++) assert_int_equal(sets[s]->labels[i], 7 - i);
    }
    data_free(&data);
}

static void refuse(const char *dir, const char *words)
{
    data_sets data;
    conv_error err = {""};
    assert_int_equal(data_load(dir, &data, &err), CONV_INVALID);
    if (strstr(err.text, words) == NULL) fail_msg("%s: no \"%s\" in: %s", dir, words, err.text);
}

static void names(void **state)
{
    write_set("emnist", "emnist-letters-", "test");
    check("emnist", 3, 4, 1);
    check("emnist/emnist-letters", 3, 4, 1);
    check("emnist/", 3, 4, 1);
    write_set("emnist", "emnist-digits-", "test");
    refuse("emnist",
           "several data sets (emnist-digits, emnist-letters): --data emnist/emnist-digits takes one");
    check("emnist/emnist-digits", 3, 4, 1);
    refuse("emnist/emnist", "emnist/emnist: No such file");
    write_text("emnist/data_batch_1.bin", "not read");
    write_set("emnist", "", "t10k"); /* MNIST itself needs no choice */
    check("emnist", 3, 4, 1);
    remove("emnist/emnist-digits-test-labels-idx1-ubyte");
    refuse("emnist/emnist-digits", "no emnist-digits-test-labels-idx1-ubyte[.gz]");
    refuse("emnist/train-images-idx3-ubyte", "not a folder");
    refuse("nowhere", "nowhere: No such file or directory; 'make setup'");
}

/* The plain file before the .gz, "-idx" before ".idx". */
static void spellings(void **state)
{
    write_set("spelt", "", "t10k");
    write_text("spelt/train-images-idx3-ubyte.gz", "not read");
    write_text("spelt/train-labels.idx1-ubyte", "not read");
    check("spelt", 3, 4, 1);
    assert_int_equal(system("rm spelt/*.gz spelt/*.idx1-*; gzip spelt/train-images-idx3-ubyte;"
                            "mv spelt/t10k-labels-idx1-ubyte spelt/t10k-labels.idx1-ubyte"),
                     0);
    check("spelt", 3, 4, 1);
}

static void label_types(void **state)
{
    static const struct {
        int type, element;
    } types[] = {{8, 1}, {9, 1}, {0x0b, 2}, {0x0c, 4}};
    static const uint8_t sizes[] = {IMAGES, 8};
    for (size_t i = 0; i < sizeof types / sizeof *types; i++)
        for (int rank = 1; rank <= 2; rank++) {
            write_set("types", "", "test");
            write_idx("types/train-labels-idx1-ubyte", types[i].type, types[i].element, rank, sizes);
            check("types", 3, 4, 1);
        }
    write_set("qmnist", "qmnist-", "test");
    assert_int_equal(system("rm qmnist/*labels*"), 0);
    write_idx("qmnist/qmnist-train-labels-idx2-int", 0x0c, 4, 2, sizes);
    write_idx("qmnist/qmnist-test-labels-idx2-int", 0x0c, 4, 2, sizes);
    check("qmnist", 3, 4, 1);

    static const char large[] = "\0\0\x0c\1\0\0\0\3\0\0\0\0\0\0\1\0\0\0\0\0",
                      negative[] = "\0\0\x09\1\0\0\0\3\1\2\xff";
    FILE *file = fopen("types/train-labels-idx1-ubyte", "wb");
    fwrite(large, 1, sizeof large - 1, file);
    fclose(file);
    refuse("types", "label 1 is 256: must be from 0 to 255");
    file = fopen("types/train-labels-idx1-ubyte", "wb");
    fwrite(negative, 1, sizeof negative - 1, file);
    fclose(file);
    refuse("types", "label 2 is -1: must be from 0 to 255");
    write_idx("types/train-labels-idx1-ubyte", 0x0d, 4, 1, sizes);
    refuse("types", "IDX element type 0x0d: must be 0x08, 0x09, 0x0b or 0x0c");
}

static void image_ranks(void **state)
{
    static const struct {
        uint8_t sizes[4];
        int64_t rows, columns, channels;
    } cases[] = {{{IMAGES, 3, 4, 1}, 3, 4, 1}, {{IMAGES, 1, 3, 4}, 3, 4, 1}, {{IMAGES, 2, 2, 3}, 2, 2, 3}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        write_set("ranks", "", "t10k");
        assert_int_equal(system("rm ranks/*images*"), 0);
        write_images("ranks/train-images-idx4-ubyte", 4, cases[i].sizes);
        write_images("ranks/t10k-images-idx4-ubyte", 4, cases[i].sizes);
        check("ranks", cases[i].rows, cases[i].columns, cases[i].channels);
    }
    write_images("ranks/t10k-images-idx4-ubyte", 4, (const uint8_t[]){IMAGES, 2, 3, 2});
    refuse("ranks", "ranks: images of (2, 2, 3) in the training set, of (2, 3, 2) in the test set");
    write_images("ranks/t10k-images-idx4-ubyte", 2, (const uint8_t[]){IMAGES, PIXELS});
    refuse("ranks", "IDX of 2 dimensions: must have 3 or 4");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(names),
        cmocka_unit_test(spellings),
        cmocka_unit_test(label_types),
        cmocka_unit_test(image_ranks),
    };
    return cmocka_run_group_tests_name("train_data", tests, enter_folder, leave_folder);
}
