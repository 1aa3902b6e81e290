/* Writing .npy files. A file is: magic, version, length of the header, header (a Python dict literal), data. */
#include "npy.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#if __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "npy.c writes little-endian data as it is in memory"
#endif

enum { MAGIC = 6, ALIGN = 64 };
static const char magic[] = "\x93NUMPY";

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
    size_t count = (size_t)npy_count(shape);
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
