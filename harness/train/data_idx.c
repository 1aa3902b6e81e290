/* Reading IDX: zlib's gzread takes plain and compressed files alike. */
#include "data.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

enum { IDX_MAX_RANK = 4, READ_BLOCK = 1 << 20, FIRST_ROOM = 64 << 20 };
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

/* The same into memory that grows with what really comes, for a header may claim anything. *to is NULL when
 * there is not enough. */
static int64_t read_growing(gzFile file, uint8_t **to, int64_t size)
{
    int64_t room = 0, got = 0;
    *to = NULL;
    while (got == room && room < size) {
        room = room == 0 ? FIRST_ROOM : 2 * room;
        if (room > size) room = size;
        uint8_t *larger = realloc(*to, (size_t)room);
        if (larger == NULL) {
            free(*to);
            *to = NULL;
            return got;
        }
        *to = larger;
        int64_t n = read_all(file, *to + got, room - got);
        if (n < 0) return n;
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

/* What a file may be. */
typedef struct {
    int least_rank, most_rank;
    const char *types; /* the type codes */
    const char *type_words;
} idx_kind;

static const idx_kind images_kind = {3, 4, "\x08", "0x08, unsigned byte"};
static const idx_kind labels_kind = {1, 2, "\x08\x09\x0b\x0c", "0x08, 0x09, 0x0b or 0x0c, an integer"};

typedef struct {
    int type, rank;
    int64_t dims[IDX_MAX_RANK];
    uint8_t *bytes;
} idx_array;

/* Bytes of an element. */
static int64_t element_size(int type) { return type == 0x0b ? 2 : type == 0x0c ? 4 : 1; }

static int64_t element_count(const idx_array *a)
{
    int64_t count = 1;
    for (int i = 0; i < a->rank; i++) count *= a->dims[i];
    return count;
}

static conv_status read_header(gzFile file, const char *path, const idx_kind *kind, idx_array *a,
                               conv_error *err)
{
    uint8_t magic[4], size[4];
    int64_t got = read_all(file, magic, 4);
    if (got < 0) return damaged(file, path, err);
    if (got < 4) return conv_fail(err, CONV_INVALID, "%s: truncated: no IDX header", path);
    if (magic[0] != 0 || magic[1] != 0)
        return conv_fail(err, CONV_INVALID, "%s: not an IDX file: it begins with %02x %02x", path, magic[0],
                         magic[1]);
    if (magic[2] == 0 || strchr(kind->types, magic[2]) == NULL)
        return conv_fail(err, CONV_INVALID, "%s: IDX element type 0x%02x: must be %s", path, magic[2],
                         kind->type_words);
    if (magic[3] < kind->least_rank || magic[3] > kind->most_rank)
        return conv_fail(err, CONV_INVALID, "%s: IDX of %d dimensions: must have %d or %d", path, magic[3],
                         kind->least_rank, kind->most_rank);
    a->type = magic[2];
    a->rank = magic[3];
    int64_t total = element_size(a->type);
    for (int i = 0; i < a->rank; i++) {
        got = read_all(file, size, 4);
        if (got < 0) return damaged(file, path, err);
        if (got < 4) return conv_fail(err, CONV_INVALID, "%s: truncated: the IDX header ends early", path);
        a->dims[i] = (int64_t)size[0] << 24 | size[1] << 16 | size[2] << 8 | size[3];
        if (a->dims[i] < 1) return conv_fail(err, CONV_INVALID, "%s: IDX dimension %d is 0", path, i);
        if (a->dims[i] > SIZE_LIMIT / total)
            return conv_fail(err, CONV_INVALID, "%s: IDX header claims more than 64 GB", path);
        total *= a->dims[i];
    }
    return CONV_OK;
}

static conv_status read_idx(const char *path, const idx_kind *kind, idx_array *a, conv_error *err)
{
    *a = (idx_array){.bytes = NULL};
    gzFile file = gzopen(path, "rb");
    if (file == NULL) return conv_fail(err, CONV_INVALID, "%s: %s", path, strerror(errno));
    gzbuffer(file, READ_BLOCK);

    conv_status status = read_header(file, path, kind, a, err);
    if (status != CONV_OK) goto done;
    int64_t total = element_count(a) * element_size(a->type);
    int64_t got = read_growing(file, &a->bytes, total);
    if (a->bytes == NULL) {
        status = conv_fail(err, CONV_NO_MEMORY, "%s: %lld bytes of memory wanted", path, (long long)total);
        goto done;
    }
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
        free(a->bytes);
        a->bytes = NULL;
    }
    return status;
}

/* Each label as a byte: the file's only column, or its first, where QMNIST keeps the class. */
static conv_status labels_to_bytes(const char *path, idx_array *a, conv_error *err)
{
    int64_t size = element_size(a->type), step = size * (a->rank == 2 ? a->dims[1] : 1);
    if (a->type == 0x08 && step == 1) return CONV_OK;
    for (int64_t i = 0; i < a->dims[0]; i++) {
        const uint8_t *at = a->bytes + i * step;
        int64_t value = a->type == 0x08 ? *at : (int8_t)*at;
        for (int64_t k = 1; k < size; k++) value = value * 256 + at[k];
        if (value < 0 || value > 255)
            return conv_fail(err, CONV_INVALID, "%s: label %lld is %lld: must be from 0 to 255", path,
                             (long long)i, (long long)value);
        a->bytes[i] = (uint8_t)value;
    }
    return CONV_OK;
}

static conv_status load_set(char (*paths)[4352], data_set *set, conv_error *err)
{
    idx_array images = {.bytes = NULL}, labels = {.bytes = NULL};
    conv_status status = read_idx(paths[0], &images_kind, &images, err);
    if (status == CONV_OK) status = read_idx(paths[1], &labels_kind, &labels, err);
    if (status == CONV_OK) status = labels_to_bytes(paths[1], &labels, err);
    set->images = images.bytes;
    set->labels = labels.bytes;
    if (status != CONV_OK) return status;
    if (images.dims[0] != labels.dims[0])
        return conv_fail(err, CONV_INVALID, "%s: %lld labels for the %lld images of %s", paths[1],
                         (long long)labels.dims[0], (long long)images.dims[0], paths[0]);
    const int64_t *size = images.dims + 1;
    if (images.rank == 4 && *size == 1) size++; /* one channel, and that first */
    set->count = images.dims[0];
    set->image = (tensor_shape){3, {size[0], size[1], 1}};
    if (size == images.dims + 1 && images.rank == 4) set->image.dim[2] = size[2];
    return CONV_OK;
}

conv_status data_load_idx(data_sets *data, conv_error *err)
{
    data_files files;
    conv_status status = data_find(data->path, &files, err);
    if (status == CONV_OK) status = load_set(files.path[0], &data->train, err);
    if (status == CONV_OK) status = load_set(files.path[1], &data->test, err);
    return status;
}
