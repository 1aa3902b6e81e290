#include "npy.h"

#include <stdio.h>
#include <string.h>

#include "output.h"

char *npy_shape_text(const npy_shape *shape, char *text, size_t size)
{
    size_t used = (size_t)snprintf(text, size, "(");
    for (int i = 0; i < shape->rank && used < size; i++)
        used +=
            (size_t)snprintf(text + used, size - used, "%s%lld", i > 0 ? ", " : "", (long long)shape->size[i]);
    if (used < size) snprintf(text + used, size - used, shape->rank == 1 ? ",)" : ")");
    return text;
}

size_t npy_make_header(npy_type type, const npy_shape *shape, char *to)
{
    enum { ALIGN = 64 };
    char sizes[160], header[256];
    int length = snprintf(header, sizeof header, "{'descr': '%s', 'fortran_order': False, 'shape': %s, }",
                          npy_descr(type), npy_shape_text(shape, sizes, sizeof sizes));
    size_t size = ((size_t)(NPY_PREAMBLE + length + 1) + ALIGN - 1) / ALIGN * ALIGN, rest = size - NPY_PREAMBLE;
    memset(to, ' ', size);
    memcpy(to, NPY_MAGIC "\1\0", 8);
    to[8] = (char)(rest & 255);
    to[9] = (char)(rest >> 8);
    memcpy(to + NPY_PREAMBLE, header, (size_t)length);
    to[size - 1] = '\n';
    return size;
}

bool npy_write(const char *path, const npy_shape *shape, const float *data, conv_error *err)
{
    output o;
    char header[NPY_HEADER_ROOM];
    if (!output_open(&o, path, OUTPUT_NAMED)) return output_fail(path, err);
    fwrite(header, 1, npy_make_header(NPY_FLOAT32, shape, header), o.file); /* the stream remembers a failure */
    fwrite(data, sizeof *data, (size_t)npy_count(shape), o.file);
    return output_close(&o, true) || output_fail(path, err);
}
