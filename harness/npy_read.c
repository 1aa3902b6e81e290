/* Reading .npy. */
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "npy.h"

enum { MAGIC = sizeof NPY_MAGIC - 1, MOST_HEADER = 65536, BLOCK = 1 << 16 };

/* The types in memory, by npy_type. */
static const struct {
    const char *descr; /* how it is written */
    size_t size;       /* bytes */
} in_memory[] = {
    [NPY_FLOAT32] = {"<f4", 4}, [NPY_FLOAT64] = {"<f8", 8}, [NPY_INT64] = {"<i8", 8},
    [NPY_UINT8] = {"|u1", 1},   [NPY_OTHER] = {"?", 0},
};

/* The types in a file. */
static const struct {
    const char *kind; /* numpy's letter and size, without the byte order */
    npy_type type;    /* as which it is kept in memory */
} types[] = {
    {"f4", NPY_FLOAT32}, {"f8", NPY_FLOAT64}, {"i8", NPY_INT64}, {"u1", NPY_UINT8},
    {"f2", NPY_FLOAT32}, {"i1", NPY_INT64},   {"i2", NPY_INT64}, {"i4", NPY_INT64},
    {"u2", NPY_INT64},   {"u4", NPY_INT64},   {"u8", NPY_INT64},
};
enum { TYPES = sizeof types / sizeof *types };

const char *npy_descr(npy_type type) { return in_memory[type].descr; }

size_t npy_size(npy_type type) { return in_memory[type].size; }

int64_t npy_count(const npy_shape *shape)
{
    int64_t count = 1;
    for (int i = 0; i < shape->rank; i++)
        if (__builtin_mul_overflow(count, shape->size[i], &count)) return -1;
    return count;
}

bool npy_same_shape(const npy_shape *a, const npy_shape *b)
{
    return a->rank == b->rank && memcmp(a->size, b->size, (size_t)a->rank * sizeof *a->size) == 0;
}

static bool broken(conv_error *err, const char *why)
{
    conv_fail(err, CONV_INVALID, "%s", why);
    return false;
}

/* ---- the header */

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
        if (*at == ')') return npy_count(shape) >= 0;
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

/* A string such as '>f4'; anything else (the list of a structured type) is left as NPY_OTHER. */
static void read_type(const char *at, npy_header *h)
{
    h->type = NPY_OTHER;
    h->size = 0;
    snprintf(h->descr, sizeof h->descr, "%.*s", (int)strcspn(at, ",}\n"), at);
    char quote = *at++;
    for (int i = 0; i < TYPES && (quote == '\'' || quote == '"'); i++)
        if (*at != '\0' && strchr("<>|=", *at) != NULL && strncmp(at + 1, types[i].kind, 2) == 0 &&
            at[3] == quote) {
            h->type = types[i].type;
            h->kind = *types[i].kind;
            h->size = (size_t)(types[i].kind[1] - '0');
            h->swapped = *at == '>' && h->size > 1;
        }
}

/* The dict's text, NUL-terminated; to be freed. */
static char *read_dict(const npy_stream *from, int64_t *bytes, conv_error *err)
{
    unsigned char start[MAGIC + 2], length[4] = {0};
    int64_t got = from->read(from->source, start, sizeof start, err);
    if (got < 0) return NULL;
    if (got != sizeof start || memcmp(start, NPY_MAGIC, MAGIC) != 0) {
        broken(err, "not an .npy file: it does not begin with \\x93NUMPY");
        return NULL;
    }
    int major = start[MAGIC], wide = major == 1 ? 2 : 4;
    if (major != 1 && major != 2) {
        conv_fail(err, CONV_INVALID, ".npy version %d.%d: only 1.0 and 2.0 are read", major, start[MAGIC + 1]);
        return NULL;
    }
    got = from->read(from->source, length, wide, err);
    if (got < 0) return NULL;
    size_t size = length[0] | (size_t)length[1] << 8 | (size_t)length[2] << 16 | (size_t)length[3] << 24;
    char *dict = got < wide || size > MOST_HEADER ? NULL : malloc(size + 1);
    int64_t whole = dict == NULL ? 0 : from->read(from->source, dict, (int64_t)size, err);
    if (dict == NULL || whole != (int64_t)size) {
        if (whole >= 0) broken(err, "the .npy header is truncated or longer than 65536 bytes");
        free(dict);
        return NULL;
    }
    dict[size] = '\0';
    *bytes = (int64_t)sizeof start + wide + (int64_t)size;
    return dict;
}

bool npy_read_header(const npy_stream *from, npy_header *header, conv_error *err)
{
    *header = (npy_header){0};
    char *dict = read_dict(from, &header->header_bytes, err);
    if (dict == NULL) return false;
    const char *type = value_of(dict, "descr"), *order = value_of(dict, "fortran_order"),
               *size = value_of(dict, "shape");
    bool fine = false;
    if (type == NULL || order == NULL || size == NULL)
        broken(err, "the .npy header lacks descr, fortran_order or shape");
    else if (strncmp(order, "False", 5) != 0 && strncmp(order, "True", 4) != 0)
        broken(err, "fortran_order in the .npy header is neither True nor False");
    else if (!read_shape(size, &header->shape))
        broken(err, "the shape in the .npy header cannot be read");
    else
        fine = true;
    if (fine) {
        header->fortran = *order == 'T' && header->shape.rank > 1;
        read_type(type, header);
    }
    free(dict);
    return fine;
}

/* ---- the data */

static double half_value(uint16_t bits)
{
    int exponent = bits >> 10 & 31, mantissa = bits & 1023;
    double value = exponent == 0    ? ldexp(mantissa, -24)
                   : exponent == 31 ? (mantissa != 0 ? NAN : INFINITY)
                                    : ldexp(1024 + mantissa, exponent - 25);
    return bits >> 15 ? -value : value;
}

/* An integer of fewer bytes than int64, whose sign is in its last. */
static int64_t integer_value(const npy_header *h, const unsigned char *element)
{
    int64_t value = h->kind == 'i' ? (int8_t)element[h->size - 1] : element[h->size - 1];
    for (size_t k = h->size - 1; k-- > 0;) value = value * 256 + element[k];
    return value;
}

/* One element of the file, in this machine's byte order, to one of header->type. False when it does not fit. */
static bool convert(const npy_header *h, const unsigned char *element, void *to)
{
    float single;
    double value;
    if (h->size == npy_size(h->type)) {
        memcpy(to, element, h->size);
        return true;
    }
    if (h->type == NPY_INT64) {
        int64_t integer = integer_value(h, element);
        memcpy(to, &integer, sizeof integer);
        return true;
    }
    if (h->size == 2) {
        uint16_t bits;
        memcpy(&bits, element, sizeof bits);
        value = half_value(bits);
    } else {
        memcpy(&value, element, sizeof value);
    }
    single = (float)value;
    memcpy(to, &single, sizeof single);
    return isfinite(single) || !isfinite(value);
}

/* Where an element goes, counted in C order, while the elements come in the file's order. */
typedef struct {
    bool fortran;
    npy_shape shape;
    int64_t at[NPY_MAX_RANK], stride[NPY_MAX_RANK], place;
} walk;

static walk walk_start(const npy_header *h)
{
    walk w = {.fortran = h->fortran, .shape = h->shape};
    int64_t stride = 1;
    for (int i = h->shape.rank - 1; i >= 0; stride *= h->shape.size[i--]) w.stride[i] = stride;
    return w;
}

static void walk_on(walk *w)
{
    if (!w->fortran) {
        w->place++;
        return;
    }
    for (int i = 0; i < w->shape.rank; i++) {
        w->place += w->stride[i];
        if (++w->at[i] < w->shape.size[i]) return;
        w->place -= w->stride[i] * w->shape.size[i];
        w->at[i] = 0;
    }
}

static bool place_block(const npy_header *h, unsigned char *block, int64_t count, walk *w, void *data,
                        conv_error *err)
{
    size_t wide = npy_size(h->type);
    for (int64_t i = 0; i < count; i++, block += h->size) {
        for (size_t k = 0; h->swapped && k < h->size / 2; k++) {
            unsigned char byte = block[k];
            block[k] = block[h->size - 1 - k];
            block[h->size - 1 - k] = byte;
        }
        if (!convert(h, block, (char *)data + (size_t)w->place * wide)) {
            conv_fail(err, CONV_INVALID, "element %lld is beyond float32", (long long)w->place);
            return false;
        }
        walk_on(w);
    }
    return true;
}

bool npy_read_data(const npy_stream *from, const npy_header *header, void *data, conv_error *err)
{
    int64_t count = npy_count(&header->shape), size = (int64_t)header->size, got = 0;
    walk w = walk_start(header);
    if (header->size == npy_size(header->type) && !header->swapped && !header->fortran) {
        got = from->read(from->source, data, count * size, err);
        if (got < 0) return false;
        got /= size;
    }
    while (got < count) {
        unsigned char block[BLOCK];
        int64_t wanted = count - got < BLOCK / size ? count - got : BLOCK / size;
        int64_t bytes = from->read(from->source, block, wanted * size, err);
        if (bytes < 0) return false;
        if (!place_block(header, block, bytes / size, &w, data, err)) return false;
        got += bytes / size;
        if (bytes < wanted * size) break;
    }
    unsigned char more;
    int64_t left = got < count ? 0 : from->read(from->source, &more, 1, err);
    if (got < count)
        conv_fail(err, CONV_INVALID, "truncated: %lld values are expected, %lld are there", (long long)count,
                  (long long)got);
    if (left > 0)
        conv_fail(err, CONV_INVALID, "longer than its header says: %lld values are expected", (long long)count);
    return got == count && left == 0;
}

/* ---- a file */

static int64_t read_file(void *source, void *to, int64_t size, conv_error *err)
{
    size_t got = fread(to, 1, (size_t)size, source);
    if (!ferror((FILE *)source)) return (int64_t)got;
    conv_fail(err, CONV_INVALID, "%s", strerror(errno));
    return -1;
}

static bool check_header(const npy_header *h, const npy_shape *accepted, int count, conv_error *err)
{
    char found[160], wanted[160];
    if (h->type != NPY_FLOAT32 && h->type != NPY_FLOAT64) {
        conv_fail(err, CONV_INVALID, "type %s: float32, float64 or float16 is expected", h->descr);
        return false;
    }
    for (int i = 0; i < count; i++)
        if (npy_same_shape(&h->shape, &accepted[i])) return true;
    conv_fail(err, CONV_INVALID, "shape %s: %s is expected", npy_shape_text(&h->shape, found, sizeof found),
              npy_shape_text(&accepted[0], wanted, sizeof wanted));
    return false;
}

bool npy_read(const char *path, const npy_shape *accepted, int accepted_count, float *data, conv_error *err)
{
    conv_error inner = {""};
    FILE *file = fopen(path, "rb");
    struct stat status;
    npy_header header;
    const npy_stream from = {read_file, file};
    bool fine = file != NULL && (fstat(fileno(file), &status) != 0 || !S_ISDIR(status.st_mode));
    if (file == NULL)
        broken(&inner, strerror(errno));
    else if (!fine)
        broken(&inner, "is a folder: an .npy file is expected");
    fine = fine && npy_read_header(&from, &header, &inner) &&
           check_header(&header, accepted, accepted_count, &inner);
    if (fine) {
        header.type = NPY_FLOAT32;
        fine = npy_read_data(&from, &header, data, &inner);
    }
    if (file != NULL) fclose(file);
    if (!fine) conv_fail(err, CONV_INVALID, "%s: %.200s", path, inner.text);
    return fine;
}
