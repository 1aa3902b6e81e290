/* A file is: magic, version, length of the header, header (a Python dict literal), data. */
#include "npy.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "output.h"

#if __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "npy.c reads and writes little-endian data as it is in memory"
#endif

enum { MAGIC = 6, ALIGN = 64, MOST_HEADER = 65536 };
static const char magic[] = "\x93NUMPY";

static int64_t elements(const npy_shape *shape)
{
    int64_t count = 1;
    for (int i = 0; i < shape->rank; i++) count *= shape->size[i];
    return count;
}

char *npy_shape_text(const npy_shape *shape, char *text, size_t size)
{
    size_t used = (size_t)snprintf(text, size, "(");
    for (int i = 0; i < shape->rank && used < size; i++)
        used +=
            (size_t)snprintf(text + used, size - used, "%s%lld", i > 0 ? ", " : "", (long long)shape->size[i]);
    if (used < size) snprintf(text + used, size - used, shape->rank == 1 ? ",)" : ")");
    return text;
}

static bool broken(conv_error *err, const char *path, const char *why)
{
    conv_fail(err, CONV_INVALID, "%s: %s", path, why);
    return false;
}

/* ---- reading ---------------------------------------------------------------------------------------- */

/* Where the value of the key begins in the dict, or NULL. */
static const char *value_of(const char *header, const char *key)
{
    char quoted[2][32];
    snprintf(quoted[0], sizeof quoted[0], "'%s'", key);
    snprintf(quoted[1], sizeof quoted[1], "\"%s\"", key);
    for (int i = 0; i < 2; i++) {
        const char *at = strstr(header, quoted[i]);
        if (at == NULL) continue;
        at += strlen(quoted[i]);
        at += strspn(at, " \t");
        if (*at != ':') return NULL;
        at++;
        return at + strspn(at, " \t");
    }
    return NULL;
}

/* "(3, 4)", "(3,)" or "()". */
static bool read_shape(const char *at, npy_shape *shape)
{
    *shape = (npy_shape){0};
    if (*at++ != '(') return false;
    for (;;) {
        at += strspn(at, " \t");
        if (*at == ')') return true;
        char *end;
        errno = 0;
        long long value = *at >= '0' && *at <= '9' ? strtoll(at, &end, 10) : -1;
        if (value < 0 || errno != 0 || shape->rank == NPY_MAX_RANK) return false;
        shape->size[shape->rank++] = value;
        at = end + strspn(end, "L \t");
        if (*at == ',')
            at++;
        else if (*at != ')')
            return false;
    }
}

/* The header's text, NUL-terminated; to be freed. */
static char *read_header(FILE *file, const char *path, conv_error *err)
{
    unsigned char start[MAGIC + 2], length[4] = {0};
    if (fread(start, 1, sizeof start, file) != sizeof start || memcmp(start, magic, MAGIC) != 0) {
        broken(err, path, "not an .npy file: it does not begin with \\x93NUMPY");
        return NULL;
    }
    int major = start[MAGIC], bytes = major == 1 ? 2 : 4;
    if (major != 1 && major != 2) {
        conv_fail(err, CONV_INVALID, "%s: .npy version %d.%d: only 1.0 and 2.0 are read", path, major,
                  start[MAGIC + 1]);
        return NULL;
    }
    bool whole = fread(length, 1, (size_t)bytes, file) == (size_t)bytes;
    size_t size = length[0] | (size_t)length[1] << 8 | (size_t)length[2] << 16 | (size_t)length[3] << 24;
    char *header = !whole || size > MOST_HEADER ? NULL : malloc(size + 1);
    if (header == NULL || fread(header, 1, size, file) != size) {
        broken(err, path, "the .npy header is truncated or longer than 65536 bytes");
        free(header);
        return NULL;
    }
    header[size] = '\0';
    return header;
}

static bool same_shape(const npy_shape *a, const npy_shape *b)
{
    return a->rank == b->rank && memcmp(a->size, b->size, (size_t)a->rank * sizeof *a->size) == 0;
}

/* Type, order and shape as wanted? */
static bool check_header(const char *header, const char *path, const npy_shape *accepted, int count,
                         conv_error *err)
{
    const char *type = value_of(header, "descr"), *order = value_of(header, "fortran_order"),
               *size = value_of(header, "shape");
    npy_shape found;
    char found_text[160], wanted_text[160];
    if (type == NULL || order == NULL || size == NULL)
        return broken(err, path, "the .npy header lacks descr, fortran_order or shape");
    if (strncmp(type, "'<f4'", 5) != 0 && strncmp(type, "\"<f4\"", 5) != 0) {
        int length = (int)strcspn(type, ",}\n");
        conv_fail(err, CONV_INVALID, "%s: type %.*s: float32 little-endian ('<f4') is expected", path,
                  length > 40 ? 40 : length, type);
        return false;
    }
    if (!read_shape(size, &found)) return broken(err, path, "the shape in the .npy header cannot be read");
    bool known = false;
    for (int i = 0; i < count; i++) known = known || same_shape(&found, &accepted[i]);
    if (!known) {
        conv_fail(err, CONV_INVALID, "%s: shape %s: %s is expected", path,
                  npy_shape_text(&found, found_text, sizeof found_text),
                  npy_shape_text(&accepted[0], wanted_text, sizeof wanted_text));
        return false;
    }
    if (strncmp(order, "False", 5) != 0 && found.rank > 1)
        return broken(err, path, "Fortran order: C order is expected (numpy.ascontiguousarray makes it)");
    return true;
}

static bool read_data(FILE *file, const char *path, int64_t count, float *data, conv_error *err)
{
    size_t got = fread(data, sizeof *data, (size_t)count, file);
    if (ferror(file)) return broken(err, path, strerror(errno));
    if ((int64_t)got != count) {
        conv_fail(err, CONV_INVALID, "%s: truncated: %lld values are expected, %zu are there", path,
                  (long long)count, got);
        return false;
    }
    if (fgetc(file) != EOF) {
        conv_fail(err, CONV_INVALID, "%s: longer than its header says: %lld values are expected", path,
                  (long long)count);
        return false;
    }
    return true;
}

bool npy_read(const char *path, const npy_shape *accepted, int accepted_count, float *data, conv_error *err)
{
    FILE *file = fopen(path, "rb");
    if (file == NULL) return broken(err, path, strerror(errno));
    struct stat status;
    char *header = NULL;
    bool fine = fstat(fileno(file), &status) != 0 || !S_ISDIR(status.st_mode);
    if (!fine)
        broken(err, path, "is a folder: an .npy file is expected");
    else
        header = read_header(file, path, err);
    fine = header != NULL && check_header(header, path, accepted, accepted_count, err) &&
           read_data(file, path, elements(&accepted[0]), data, err);
    free(header);
    fclose(file);
    return fine;
}

/* ---- writing ---------------------------------------------------------------------------------------- */

static void write_all(FILE *file, const npy_shape *shape, const float *data)
{
    char dims[160], header[512] = {0};
    unsigned char start[MAGIC + 4];
    npy_shape_text(shape, dims, sizeof dims);
    int length =
        snprintf(header, sizeof header, "{'descr': '<f4', 'fortran_order': False, 'shape': %s, }", dims);
    int padded = (length + 1 + (int)sizeof start + ALIGN - 1) / ALIGN * ALIGN - (int)sizeof start;
    memset(header + length, ' ', (size_t)(padded - length));
    header[padded - 1] = '\n';
    memcpy(start, magic, MAGIC);
    start[MAGIC] = 1, start[MAGIC + 1] = 0;
    start[MAGIC + 2] = (unsigned char)(padded & 0xFF), start[MAGIC + 3] = (unsigned char)(padded >> 8);
    fwrite(start, 1, sizeof start, file);
    fwrite(header, 1, (size_t)padded, file);
    fwrite(data, sizeof *data, (size_t)elements(shape), file);
}

bool npy_write(const char *path, const npy_shape *shape, const float *data, conv_error *err)
{
    output o;
    if (!output_open(&o, path, OUTPUT_NAMED)) return output_fail(path, err);
    write_all(o.file, shape, data); /* the stream remembers a failure */
    return output_close(&o, true) || output_fail(path, err);
}
