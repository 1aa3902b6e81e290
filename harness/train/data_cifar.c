/* CIFAR-10's binary version: records of a label's byte and 32x32 pixels of red, then of green, then of blue.
 * (https://www.cs.toronto.edu/~kriz/cifar.html) */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "data.h"

enum { SIDE = 32, PIXELS = SIDE * SIDE, CHANNELS = 3, IMAGE = PIXELS * CHANNELS, RECORD = 1 + IMAGE };

static conv_status make_room(const char *path, int64_t images, data_set *set, conv_error *err)
{
    uint8_t *larger = realloc(set->images, (size_t)(images * IMAGE));
    if (larger != NULL) set->images = larger;
    uint8_t *longer = realloc(set->labels, (size_t)images);
    if (longer != NULL) set->labels = longer;
    return larger != NULL && longer != NULL ? CONV_OK : conv_fail(err, CONV_NO_MEMORY, "%s: no memory", path);
}

/* One image behind those of the set, its planes turned to the channels of each pixel. */
static void add_record(const uint8_t *record, data_set *set)
{
    uint8_t *to = set->images + set->count * IMAGE;
    set->labels[set->count++] = *record++;
    for (int64_t i = 0; i < PIXELS; i++)
        for (int64_t c = 0; c < CHANNELS; c++) *to++ = record[c * PIXELS + i];
}

static conv_status add_file(const char *folder, const char *name, data_set *set, conv_error *err)
{
    char path[4352];
    uint8_t record[RECORD];
    struct stat about;
    snprintf(path, sizeof path, "%s/%s", folder, name);
    FILE *file = fopen(path, "rb");
    if (file == NULL || fstat(fileno(file), &about) != 0) {
        conv_status status =
            conv_fail(err, CONV_INVALID, "%s: %s: CIFAR-10's binary version has it", path, strerror(errno));
        if (file != NULL) fclose(file);
        return status;
    }
    int64_t count = about.st_size / RECORD, got = 0;
    conv_status status = CONV_OK;
    if (!S_ISREG(about.st_mode) || count == 0 || about.st_size % RECORD != 0)
        status = conv_fail(err, CONV_INVALID, "%s: %lld bytes are not whole records of CIFAR-10, of %d bytes",
                           path, (long long)about.st_size, RECORD);
    if (status == CONV_OK) status = make_room(path, set->count + count, set, err);
    for (; status == CONV_OK && got < count && fread(record, RECORD, 1, file) == 1; got++)
        add_record(record, set);
    if (status == CONV_OK && got < count)
        status = conv_fail(err, CONV_INVALID, "%s: cannot be read beyond image %lld", path, (long long)got);
    fclose(file);
    return status;
}

conv_status data_load_cifar(data_sets *data, conv_error *err)
{
    static const char *const names[] = {"data_batch_1.bin", "data_batch_2.bin", "data_batch_3.bin",
                                        "data_batch_4.bin", "data_batch_5.bin", "test_batch.bin"};
    enum { FILES = sizeof names / sizeof *names };
    conv_status status = CONV_OK;
    data->train.image = data->test.image = (tensor_shape){3, {SIDE, SIDE, CHANNELS}};
    for (int i = 0; i < FILES && status == CONV_OK; i++)
        status = add_file(data->path, names[i], i < FILES - 1 ? &data->train : &data->test, err);
    return status;
}
