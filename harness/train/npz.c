/* .npz through libzip. */
#include "npz.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <zip.h>

#include "../archive.h"

size_t npz_bytes(const npz_array *a) { return npy_size(a->type) * (size_t)npy_count(&a->shape); }

/* ---- writing */

/* Header and data as one malloc'ed block. */
static char *npy_block(const npz_array *a, size_t *size)
{
    char start[NPY_HEADER_ROOM];
    size_t header = npy_make_header(a->type, &a->shape, start), bytes = npz_bytes(a);
    char *block = malloc(header + bytes);
    if (block == NULL) return NULL;
    memcpy(block, start, header);
    memcpy(block + header, a->data, bytes);
    *size = header + bytes;
    return block;
}

conv_status npz_write(const char *path, output_kind kind, const npz_array *arrays, int count, conv_error *err)
{
    typedef char member_name[sizeof arrays->name + 8];
    archive_member *members = calloc((size_t)count + 1, sizeof *members);
    member_name *names = calloc((size_t)count + 1, sizeof *names);
    bool made = members != NULL && names != NULL;
    for (int i = 0; i < count && made; i++) {
        snprintf(names[i], sizeof names[i], "%s.npy", arrays[i].name);
        members[i].name = names[i];
        members[i].data = npy_block(&arrays[i], &members[i].size);
        made = members[i].data != NULL;
    }
    bool written = made && archive_write(path, kind, members, count, err);
    if (!made) {
        conv_fail(err, CONV_FAILED, "%.200s: cannot be written: no memory", path);
        for (int i = 0; members != NULL && i < count; i++) free(members[i].data);
    }
    free(members);
    free(names);
    return written ? CONV_OK : CONV_FAILED;
}

/* ---- reading */

/* libzip may give less than it is asked for before the end. */
static int64_t read_bytes(void *member, void *to, int64_t size, conv_error *err)
{
    int64_t done = 0;
    while (done < size) {
        zip_int64_t got = zip_fread(member, (char *)to + done, (zip_uint64_t)(size - done));
        if (got < 0) {
            conv_fail(err, CONV_INVALID, "damaged: its CRC or length is wrong");
            return -1;
        }
        if (got == 0) break;
        done += got;
    }
    return done;
}

/* Of a type that is not read, such as the state of a random number generator, only the name and shape. */
static bool read_array(zip_file_t *member, int64_t member_bytes, npz_array *a, conv_error *err)
{
    const npy_stream from = {read_bytes, member};
    npy_header header;
    if (!npy_read_header(&from, &header, err)) return false;
    a->type = header.type;
    a->shape = header.shape;
    if (a->type == NPY_OTHER) return true;
    int64_t bytes = member_bytes - header.header_bytes, size = (int64_t)header.size;
    if (bytes % size != 0 || bytes / size != npy_count(&header.shape)) {
        conv_fail(err, CONV_INVALID, "its length does not fit its shape");
        return false;
    }
    a->data = malloc(npz_bytes(a) + 1);
    if (a->data != NULL) return npy_read_data(&from, &header, a->data, err);
    conv_fail(err, CONV_NO_MEMORY, "no memory");
    return false;
}

static bool read_member(zip_t *zip, zip_uint64_t index, npz_array *a, conv_error *err)
{
    zip_stat_t stat;
    if (zip_stat_index(zip, index, 0, &stat) != 0 || !(stat.valid & ZIP_STAT_SIZE) ||
        stat.size > (zip_uint64_t)1 << 34) {
        conv_fail(err, CONV_INVALID, "damaged directory");
        return false;
    }
    snprintf(a->name, sizeof a->name, "%s", stat.name);
    size_t length = strlen(a->name);
    if (length > 4 && strcmp(a->name + length - 4, ".npy") == 0) a->name[length - 4] = 0;
    zip_file_t *file = zip_fopen_index(zip, index, 0);
    if (file == NULL) {
        conv_fail(err, CONV_INVALID, "cannot be opened: %s", zip_strerror(zip));
        return false;
    }
    bool fine = read_array(file, (int64_t)stat.size, a, err);
    zip_fclose(file);
    return fine;
}

conv_status npz_read(const char *path, npz_file *file, conv_error *err)
{
    *file = (npz_file){0};
    int code = 0;
    struct stat about;
    if (stat(path, &about) == 0 && S_ISDIR(about.st_mode))
        return conv_fail(err, CONV_INVALID, "%s: is a folder: an .npz file is expected", path);
    zip_t *zip = zip_open(path, ZIP_RDONLY, &code);
    if (zip == NULL) {
        zip_error_t e;
        zip_error_init_with_code(&e, code);
        conv_fail(err, CONV_INVALID, "%s: %s", path, zip_error_strerror(&e));
        zip_error_fini(&e);
        return CONV_INVALID;
    }
    zip_int64_t count = zip_get_num_entries(zip, 0);
    conv_status status = CONV_OK;
    file->arrays = calloc((size_t)count + 1, sizeof *file->arrays);
    if (file->arrays == NULL) status = conv_fail(err, CONV_NO_MEMORY, "%s: no memory", path);
    for (zip_int64_t i = 0; i < count && status == CONV_OK; i++) {
        npz_array *a = &file->arrays[file->count++];
        conv_error inner;
        if (!read_member(zip, (zip_uint64_t)i, a, &inner))
            status = conv_fail(err, CONV_INVALID, "%s: array '%.100s': %.120s", path, a->name, inner.text);
    }
    zip_discard(zip);
    if (status != CONV_OK) npz_free(file);
    return status;
}

void npz_free(npz_file *file)
{
    for (int i = 0; i < file->count; i++) free(file->arrays[i].data);
    free(file->arrays);
    *file = (npz_file){0};
}

const npz_array *npz_find(const npz_file *file, const char *name)
{
    for (int i = 0; i < file->count; i++)
        if (strcmp(file->arrays[i].name, name) == 0) return &file->arrays[i];
    return NULL;
}
