/* Shapes, and the elements of constants: in the message itself or in a file beside the model's. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "internal.h"

const onnx_value onnx_nothing = {.shape = {.rank = ONNX_NOT_KNOWN}, .count = ONNX_NOT_KNOWN};

int64_t onnx_dim(double size)
{
    return size >= 0 && size <= INT32_MAX && size == (double)(int64_t)size ? (int64_t)size : ONNX_OPEN;
}

int64_t onnx_product(const onnx_shape *s, int first, int end)
{
    int64_t product = 1;
    for (int i = first; i < end; i++)
        if (s->dim[i] < 0 || __builtin_mul_overflow(product, s->dim[i], &product)) return ONNX_OPEN;
    return product;
}

int onnx_axis(int64_t axis, int rank)
{
    if (axis < 0) axis += rank;
    return axis >= 0 && axis < rank ? (int)axis : -1;
}

void onnx_append(onnx_shape *s, int64_t dim)
{
    if (s->rank < 0) return;
    if (s->rank == ONNX_RANK)
        s->rank = ONNX_NOT_KNOWN;
    else
        s->dim[s->rank++] = dim;
}

void onnx_vector(onnx_value *v, int count, bool real)
{
    v->shape = (onnx_shape){.rank = 1, .dim = {count}};
    v->count = count;
    v->real = real;
}

/* ---- elements */

static size_t element_size(int32_t type)
{
    switch (type) {
    case ONNX_FLOAT:
    case ONNX_INT32: return 4;
    case ONNX_DOUBLE:
    case ONNX_INT64: return 8;
    default: return 0;
    }
}

/* Little-endian as ONNX says, and as every machine this runs on is. */
static double element_at(const uint8_t *bytes, int32_t type)
{
    union {
        float f;
        double d;
        int32_t i;
        int64_t l;
    } x = {.l = 0};
    memcpy(&x, bytes, element_size(type));
    return type == ONNX_FLOAT    ? (double)x.f
           : type == ONNX_DOUBLE ? x.d
           : type == ONNX_INT32  ? x.i
                                 : (double)x.l;
}

static const char *external(const Onnx__Tensor *t, const char *key)
{
    for (size_t i = 0; i < t->n_external_data; i++) {
        const Onnx__Entry *e = t->external_data[i];
        if (e->key != NULL && e->value != NULL && strcmp(e->key, key) == 0) return e->value;
    }
    return NULL;
}

/* A file in the model's folder or below it, as ONNX demands: a model must not make us read anything else. */
static bool read_external(const onnx_graph *g, const Onnx__Tensor *t, uint8_t *bytes, size_t size)
{
    const char *name = external(t, "location"), *offset = external(t, "offset");
    if (name == NULL || name[0] == '/' || strstr(name, "..") != NULL) return false;
    const char *slash = strrchr(g->path, '/');
    char path[4096];
    int folder = slash != NULL ? (int)(slash - g->path) + 1 : 0;
    if ((size_t)snprintf(path, sizeof path, "%.*s%s", folder, g->path, name) >= sizeof path) return false;
    int file = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    if (file < 0) return false;
    ssize_t got = pread(file, bytes, size, offset != NULL ? strtoll(offset, NULL, 10) : 0);
    close(file);
    return got == (ssize_t)size;
}

static void read_elements(const onnx_graph *g, const Onnx__Tensor *t, int count, onnx_value *v)
{
    const size_t each = element_size(t->data_type), size = (size_t)count * each;
    uint8_t bytes[ONNX_ELEMENTS * sizeof(double)];
    const uint8_t *from = NULL;
    if (each == 0) return;
    if (t->data_location == 1) {
        if (read_external(g, t, bytes, size))
            from = bytes;
        else
            v->absent = true;
    } else if (t->has_raw_data) {
        if (t->raw_data.len == size) from = t->raw_data.data;
    } else if (t->data_type == ONNX_INT64 && t->n_int64_data == (size_t)count) {
        from = (const uint8_t *)t->int64_data;
    } else if (t->data_type == ONNX_INT32 && t->n_int32_data == (size_t)count) {
        from = (const uint8_t *)t->int32_data;
    } else if (t->data_type == ONNX_FLOAT && t->n_float_data == (size_t)count) {
        from = (const uint8_t *)t->float_data;
    }
    if (from == NULL && count > 0) return;
    for (int i = 0; i < count; i++) v->element[i] = element_at(from + (size_t)i * each, t->data_type);
    v->count = count;
    v->real = t->data_type == ONNX_FLOAT || t->data_type == ONNX_DOUBLE;
}

onnx_value onnx_constant(const onnx_graph *g, const Onnx__Tensor *t)
{
    onnx_value v = onnx_nothing;
    v.shape.rank = 0;
    for (size_t i = 0; i < t->n_dims; i++) onnx_append(&v.shape, onnx_dim((double)t->dims[i]));
    int64_t count = v.shape.rank >= 0 ? onnx_product(&v.shape, 0, v.shape.rank) : ONNX_OPEN;
    if (count >= 0 && count <= ONNX_ELEMENTS) read_elements(g, t, (int)count, &v);
    return v;
}
