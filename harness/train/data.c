/* Reading IDX: zlib's gzread takes plain and compressed files alike. */
#include "data.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <zlib.h>

enum { IDX_UNSIGNED_BYTE = 8, READ_BLOCK = 1 << 20 };
static const int64_t SIZE_LIMIT = INT64_C(1) << 36; /* a header that claims more than 64 GB is corrupt */

/* Reads exactly `size` bytes; how many came in otherwise, or -1 when the stream itself is damaged. */
static int64_t read_all(gzFile file, uint8_t *to, int64_t size)
{
    int64_t got = 0;
    while (got < size) {
        int64_t want = size - got < READ_BLOCK ? size - got : READ_BLOCK;
        int n = gzread(file, to + got, (unsigned)want);
        if (n < 0) return -1;
        if (n == 0) break;
        got += n;
    }
    return got;
}

static conv_status damaged(gzFile file, const char *path, conv_error *err)
{
    int code;
    const char *words = gzerror(file, &code);
    return conv_fail(err, CONV_INVALID, "%s: corrupt: %s", path, code == Z_ERRNO ? strerror(errno) : words);
}

static conv_status read_header(gzFile file, const char *path, int rank, int64_t *dims, conv_error *err)
{
    uint8_t magic[4], size[4];
    int64_t got = read_all(file, magic, 4);
    if (got < 0) return damaged(file, path, err);
    if (got < 4) return conv_fail(err, CONV_INVALID, "%s: truncated: no IDX header", path);
    if (magic[0] != 0 || magic[1] != 0)
        return conv_fail(err, CONV_INVALID, "%s: not an IDX file: it begins with %02x %02x", path, magic[0],
                         magic[1]);
    if (magic[2] != IDX_UNSIGNED_BYTE)
        return conv_fail(err, CONV_INVALID, "%s: IDX element type 0x%02x: must be 0x08, unsigned byte", path,
                         magic[2]);
    if (magic[3] != rank)
        return conv_fail(err, CONV_INVALID, "%s: IDX of %d dimensions: must have %d", path, magic[3], rank);
    int64_t total = 1;
    for (int i = 0; i < rank; i++) {
        got = read_all(file, size, 4);
        if (got < 0) return damaged(file, path, err);
        if (got < 4) return conv_fail(err, CONV_INVALID, "%s: truncated: the IDX header ends early", path);
        dims[i] = (int64_t)size[0] << 24 | size[1] << 16 | size[2] << 8 | size[3];
        if (dims[i] < 1) return conv_fail(err, CONV_INVALID, "%s: IDX dimension %d is 0", path, i);
        if (dims[i] > SIZE_LIMIT / total)
            return conv_fail(err, CONV_INVALID, "%s: IDX header claims more than 64 GB", path);
        total *= dims[i];
    }
    return CONV_OK;
}

conv_status data_read_idx(const char *path, int rank, int64_t *dims, uint8_t **bytes, conv_error *err)
{
    *bytes = NULL;
    gzFile file = gzopen(path, "rb");
    if (file == NULL) return conv_fail(err, CONV_INVALID, "%s: %s", path, strerror(errno));
    gzbuffer(file, READ_BLOCK);

    conv_status status = read_header(file, path, rank, dims, err);
    if (status != CONV_OK) goto done;
    int64_t total = 1;
    for (int i = 0; i < rank; i++) total *= dims[i];
    *bytes = malloc((size_t)total);
    if (*bytes == NULL) {
        status = conv_fail(err, CONV_NO_MEMORY, "%s: %lld bytes of memory wanted", path, (long long)total);
        goto done;
    }
    int64_t got = read_all(file, *bytes, total);
    uint8_t more;
    int code = Z_OK;
    if (got == total && gzread(file, &more, 1) > 0)
        status = conv_fail(err, CONV_INVALID, "%s: bytes after the %lld the IDX header announces", path,
                           (long long)total);
    else if (got < 0 || (gzerror(file, &code), code == Z_DATA_ERROR))
        status = damaged(file, path, err);
    else if (got < total || code == Z_BUF_ERROR)
        status = conv_fail(err, CONV_INVALID, "%s: truncated: %lld of %lld bytes", path, (long long)got,
                           (long long)total);
done:
    gzclose(file);
    if (status != CONV_OK) {
        free(*bytes);
        *bytes = NULL;
    }
    return status;
}

/* The first existing spelling of DIR/PREFIX-KIND-idxRANK-ubyte[.gz] into path. */
static bool locate(const char *dir, const char *prefix, const char *kind, int rank, char *path, size_t size)
{
    static const char *const forms[] = {"%s/%s-%s-idx%d-ubyte", "%s/%s-%s-idx%d-ubyte.gz",
                                        "%s/%s-%s.idx%d-ubyte", "%s/%s-%s.idx%d-ubyte.gz"};
    for (size_t i = 0; i < sizeof forms / sizeof *forms; i++) {
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
        snprintf(path, size, forms[i], dir, prefix, kind, rank);
#pragma GCC diagnostic pop
        if (access(path, F_OK) == 0) return true;
    }
    return false;
}

static conv_status find(const char *dir, const char *prefix, const char *kind, int rank, char *path,
                        size_t size, conv_error *err)
{
    if (access(dir, X_OK) != 0)
        return conv_fail(err, CONV_INVALID, "%s: %s; 'make setup' fetches MNIST to data/mnist", dir,
                         strerror(errno));
    if (!locate(dir, prefix, kind, rank, path, size))
        return conv_fail(err, CONV_INVALID, "%s: no %s-%s-idx%d-ubyte[.gz] in it", dir, prefix, kind, rank);
    return CONV_OK;
}

static conv_status load_set(const char *dir, const char *prefix, data_set *set, conv_error *err)
{
    char image_path[4352], label_path[4352];
    int64_t image_dims[3], label_dims[1];
    conv_status status = find(dir, prefix, "images", 3, image_path, sizeof image_path, err);
    if (status == CONV_OK) status = find(dir, prefix, "labels", 1, label_path, sizeof label_path, err);
    if (status == CONV_OK) status = data_read_idx(image_path, 3, image_dims, &set->images, err);
    if (status == CONV_OK) status = data_read_idx(label_path, 1, label_dims, &set->labels, err);
    if (status != CONV_OK) return status;
    if (image_dims[0] != label_dims[0])
        return conv_fail(err, CONV_INVALID, "%s: %lld labels for the %lld images of %s", label_path,
                         (long long)label_dims[0], (long long)image_dims[0], image_path);
    set->count = image_dims[0];
    set->rows = image_dims[1];
    set->columns = image_dims[2];
    set->crc = (uint32_t)crc32_z(crc32_z(0, set->labels, (size_t)set->count), set->images,
                                 (size_t)(set->count * set->rows * set->columns));
    return CONV_OK;
}

conv_status data_load(const char *dir, data_pair *data, conv_error *err)
{
    *data = (data_pair){0};
    snprintf(data->dir, sizeof data->dir, "%s", dir);
    conv_status status = load_set(dir, "train", &data->train, err);
    if (status == CONV_OK) status = load_set(dir, "t10k", &data->test, err);
    if (status != CONV_OK) goto fail;

    if (data->train.rows != data->test.rows || data->train.columns != data->test.columns) {
        status = conv_fail(err, CONV_INVALID, "%s: training images are %lldx%lld, test images %lldx%lld", dir,
                           (long long)data->train.rows, (long long)data->train.columns,
                           (long long)data->test.rows, (long long)data->test.columns);
        goto fail;
    }
    return CONV_OK;
fail:
    data_free(data);
    return status;
}

conv_status data_check_labels(const data_pair *data, int64_t classes, conv_error *err)
{
    const data_set *sets[] = {&data->train, &data->test};
    for (int s = 0; s < 2; s++)
        for (int64_t i = 0; i < sets[s]->count; i++)
            if (sets[s]->labels[i] >= classes)
                return conv_fail(err, CONV_INVALID,
                                 "%s: %s label %lld is %d: the network's outputs allow 0 to %lld", data->dir,
                                 s == 0 ? "training" : "test", (long long)i, sets[s]->labels[i],
                                 (long long)classes - 1);
    return CONV_OK;
}

void data_free(data_pair *data)
{
    free(data->train.images);
    free(data->train.labels);
    free(data->test.images);
    free(data->test.labels);
    *data = (data_pair){0};
}
