/* A file is: magic, version, length of the header, header (a Python dict literal), data. */
#include "npy.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

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

static bool write_all(FILE *file, const npy_shape *shape, const float *data)
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
    size_t count = (size_t)elements(shape);
    return fwrite(start, 1, sizeof start, file) == sizeof start &&
           fwrite(header, 1, (size_t)padded, file) == (size_t)padded &&
           fwrite(data, sizeof *data, count, file) == count && fflush(file) == 0;
}

/* A new file beside path; its name in part. */
static FILE *open_beside(const char *path, char *part, size_t size)
{
    if (snprintf(part, size, "%s.XXXXXX", path) >= (int)size) {
        errno = ENAMETOOLONG;
        return NULL;
    }
    int fd = mkstemp(part);
    if (fd < 0) return NULL;
    mode_t mask = umask(0);
    umask(mask);
    fchmod(fd, 0666 & ~mask); /* as fopen would have made it */
    return fdopen(fd, "wb");
}

static bool write_in_place(const char *path, const npy_shape *shape, const float *data)
{
    FILE *file = fopen(path, "wb");
    if (file == NULL) return false;
    bool fine = write_all(file, shape, data);
    int why = errno;
    if (fclose(file) != 0 && fine) return false;
    errno = why;
    return fine;
}

static bool write_whole(const char *path, const npy_shape *shape, const float *data)
{
    char part[PATH_MAX];
    FILE *file = open_beside(path, part, sizeof part);
    if (file == NULL) return false;
    bool fine = write_all(file, shape, data) && fsync(fileno(file)) == 0;
    int why = errno;
    if (fclose(file) != 0 && fine) {
        fine = false;
        why = errno;
    }
    if (fine && rename(part, path) == 0) return true;
    if (fine) why = errno;
    remove(part);
    errno = why;
    return false;
}

bool npy_write(const char *path, const npy_shape *shape, const float *data, conv_error *err)
{
    char real[PATH_MAX];
    struct stat status;
    bool exists = stat(path, &status) == 0;
    if (exists && S_ISDIR(status.st_mode)) return broken(err, path, "cannot be written: it is a folder");
    /* A symbolic link keeps pointing to what it names. */
    const char *target = exists && realpath(path, real) != NULL ? real : path;
    bool fine = exists && !S_ISREG(status.st_mode) ? write_in_place(path, shape, data)
                                                   : write_whole(target, shape, data);
    if (!fine) conv_fail(err, CONV_FAILED, "%s: cannot be written: %s", path, strerror(errno));
    return fine;
}
