/* What --data names, whatever its form, and what must hold of all of them. */
#include "data.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

static uint32_t crc_of(const data_set *s)
{
    size_t count = (size_t)(s->count * shape_count(&s->image));
    const void *data = s->images != NULL ? (const void *)s->images : s->values;
    size_t size = count * (s->images != NULL ? sizeof *s->images : sizeof *s->values);
    return (uint32_t)crc32_z(crc32_z(0, s->labels, (size_t)s->count), data, size);
}

static conv_status load(data_sets *data, conv_error *err)
{
    size_t length = strlen(data->path);
    if (length > 4 && strcmp(data->path + length - 4, ".npz") == 0) return data_load_npz(data, err);
    return data_is_cifar(data->path) ? data_load_cifar(data, err) : data_load_idx(data, err);
}

conv_status data_load(const char *path, data_sets *data, conv_error *err)
{
    *data = (data_sets){.train = {.name = "the training set", .label_name = "training label"},
                        .test = {.name = "the test set", .label_name = "test label"}};
    snprintf(data->path, sizeof data->path, "%s", path);
    conv_status status = load(data, err);
    const tensor_shape *a = &data->train.image, *b = &data->test.image;
    char train[64], test[64];
    if (status == CONV_OK && (a->rank != b->rank || memcmp(a->dim, b->dim, sizeof a->dim) != 0))
        status = conv_fail(err, CONV_INVALID, "%s: images of %s in %s, of %s in %s", path, shape_text(a, train),
                           data->train.name, shape_text(b, test), data->test.name);
    if (status != CONV_OK) {
        data_free(data);
        return status;
    }
    data->train.crc = crc_of(&data->train);
    data->test.crc = crc_of(&data->test);
    return CONV_OK;
}

conv_status data_check_labels(const data_sets *data, int64_t classes, conv_error *err)
{
    const data_set *sets[] = {&data->train, &data->test};
    for (int s = 0; s < 2; s++)
        for (int64_t i = 0; i < sets[s]->count; i++)
            if (sets[s]->labels[i] >= classes)
                return conv_fail(err, CONV_INVALID, "%s: %s %lld is %d: the network's outputs allow 0 to %lld",
                                 data->path, sets[s]->label_name, (long long)i, sets[s]->labels[i],
                                 (long long)classes - 1);
    return CONV_OK;
}

/* The shape without the axes of size 1 behind its first. */
static tensor_shape without_ones(tensor_shape s)
{
    while (s.rank > 1 && s.dim[s.rank - 1] == 1) s.dim[--s.rank] = 0;
    return s;
}

bool data_fits(const data_set *set, const tensor_shape *input)
{
    tensor_shape image = without_ones(set->image), wanted = without_ones(*input);
    bool same = image.rank == wanted.rank && memcmp(image.dim, wanted.dim, sizeof image.dim) == 0;
    bool free = set->image.dim[set->image.rank - 1] == 1 || input->rank == 1;
    return same || (free && shape_count(&set->image) == shape_count(input));
}

void data_free(data_sets *data)
{
    data_set *sets[] = {&data->train, &data->test};
    for (int s = 0; s < 2; s++) {
        free(sets[s]->images);
        free(sets[s]->values);
        free(sets[s]->labels);
    }
    *data = (data_sets){0};
}
