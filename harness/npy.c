/* Writing .npy files. A file is: magic, version, length of the header, header (a Python dict literal), data. */
#include "npy.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "output.h"

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

/* ---- writing */

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
    fwrite(data, sizeof *data, (size_t)npy_count(shape), file);
}

bool npy_write(const char *path, const npy_shape *shape, const float *data, conv_error *err)
{
    output o;
    if (!output_open(&o, path, OUTPUT_NAMED)) return output_fail(path, err);
    write_all(o.file, shape, data); /* the stream remembers a failure */
    return output_close(&o, true) || output_fail(path, err);
}
