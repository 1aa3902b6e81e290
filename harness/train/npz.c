/* .npz through libzip. The .npy header is that of NumPy's format version 1.0 (numpy/lib/format.py). */
#include "npz.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <zip.h>

static const struct {
    const char *descr;
    size_t size;
} types[] = {
    [NPZ_FLOAT32] = {"<f4", 4}, [NPZ_FLOAT64] = {"<f8", 8}, [NPZ_INT64] = {"<i8", 8}, [NPZ_UINT8] = {"|u1", 1}};

enum { TYPES = sizeof types / sizeof *types, PREAMBLE = 10, HEADER_MAX = 65536 };
static const char magic[] = "\x93NUMPY";

size_t npz_bytes(const npz_array *a)
{
    size_t count = types[a->type].size;
    for (int i = 0; i < a->rank; i++) count *= (size_t)a->shape[i];
    return count;
}

/* ---- writing -------------------------------------------------------------------------------------------- */

/* Header and data as one malloc'ed block. */
static char *npy_block(const npz_array *a, size_t *size)
{
    char shape[128] = "", text[256];
    int n = 0;
    for (int i = 0; i < a->rank; i++)
        n += snprintf(shape + n, sizeof shape - (size_t)n,
                      a->rank == 1 ? "%lld,"
                      : i          ? ", %lld"
                                   : "%lld",
                      (long long)a->shape[i]);
    int used = snprintf(text, sizeof text, "{'descr': '%s', 'fortran_order': False, 'shape': (%s), }",
                        types[a->type].descr, shape);
    size_t header = ((size_t)(PREAMBLE + used + 1) + 63) / 64 * 64, bytes = npz_bytes(a);
    char *block = malloc(header + bytes);
    if (block == NULL) return NULL;
    memset(block, ' ', header);
    memcpy(block, magic, 6);
    block[6] = 1;
    block[7] = 0;
    block[8] = (char)((header - PREAMBLE) & 255);
    block[9] = (char)((header - PREAMBLE) >> 8);
    memcpy(block + PREAMBLE, text, (size_t)used);
    block[header - 1] = '\n';
    memcpy(block + header, a->data, bytes);
    *size = header + bytes;
    return block;
}

static bool add_member(zip_t *zip, const npz_array *a)
{
    size_t size;
    char name[sizeof a->name + 8], *block = npy_block(a, &size);
    if (block == NULL) return false;
    zip_source_t *source = zip_source_buffer(zip, block, size, 1); /* owns block */
    if (source == NULL) {
        free(block);
        return false;
    }
    snprintf(name, sizeof name, "%s.npy", a->name);
    zip_int64_t index = zip_file_add(zip, name, source, ZIP_FL_ENC_UTF_8);
    if (index < 0) {
        zip_source_free(source);
        return false;
    }
    zip_set_file_compression(zip, (zip_uint64_t)index, ZIP_CM_STORE, 0);
    zip_file_set_mtime(zip, (zip_uint64_t)index, 315532800, 0); /* 1980: the same weights give the same file */
    return true;
}

/* The archive as one malloc'ed block; NULL with a reason. libzip makes it in memory: what it writes to a path
 * goes through temporary files of its own, which stay behind after a kill. */
static char *zip_arrays(const npz_array *arrays, int count, size_t *size, char *reason, size_t room)
{
    zip_error_t e;
    zip_stat_t stat;
    zip_error_init(&e);
    zip_source_t *whole = zip_source_buffer_create(NULL, 0, 0, &e);
    zip_t *zip = whole != NULL ? zip_open_from_source(whole, ZIP_TRUNCATE, &e) : NULL;
    bool ok = zip != NULL;
    char *block = NULL;
    if (ok) zip_source_keep(whole); /* beyond the archive that it becomes */
    for (int i = 0; i < count && ok; i++) ok = add_member(zip, &arrays[i]);
    if (zip != NULL && (!ok || zip_close(zip) != 0)) {
        ok = false;
        zip_error_set(&e, zip_error_code_zip(zip_get_error(zip)), zip_error_code_system(zip_get_error(zip)));
        zip_discard(zip);
    }
    ok = ok && zip_source_stat(whole, &stat) == 0 && zip_source_open(whole) == 0;
    if (ok) {
        *size = stat.size;
        block = malloc(stat.size + 1);
        if (block != NULL && zip_source_read(whole, block, stat.size) != (zip_int64_t)stat.size) {
            free(block);
            block = NULL;
        }
        zip_source_close(whole);
    }
    if (block == NULL) snprintf(reason, room, "%s", ok ? "no memory" : zip_error_strerror(&e));
    if (whole != NULL) zip_source_free(whole);
    zip_error_fini(&e);
    return block;
}

conv_status npz_write(const char *path, output_kind kind, const npz_array *arrays, int count, conv_error *err)
{
    char reason[160];
    size_t size;
    char *block = zip_arrays(arrays, count, &size, reason, sizeof reason);
    if (block == NULL) return conv_fail(err, CONV_FAILED, "%.200s: cannot be written: %s", path, reason);
    bool written = output_write(path, kind, block, size, err);
    free(block);
    return written ? CONV_OK : CONV_FAILED;
}

/* ---- reading -------------------------------------------------------------------------------------------- */

/* The text after 'KEY': in a header, or NULL. */
static const char *after_key(const char *header, const char *key)
{
    char quoted[32];
    snprintf(quoted, sizeof quoted, "'%s':", key);
    const char *at = strstr(header, quoted);
    if (at == NULL) return NULL;
    at += strlen(quoted);
    return at + strspn(at, " ");
}

static const char *parse_header(char *header, npz_array *a)
{
    const char *descr = after_key(header, "descr"), *order = after_key(header, "fortran_order"),
               *shape = after_key(header, "shape");
    if (descr == NULL || order == NULL || shape == NULL || *shape != '(') return "not a .npy header";
    int type = 0;
    while (type < TYPES && strncmp(descr + 1, types[type].descr, 3) != 0) type++;
    if (type == TYPES) return "element type is none of float32, float64, int64, uint8";
    if (strncmp(order, "False", 5) != 0) return "Fortran order is not supported";
    a->type = (npz_type)type;
    a->rank = 0;
    for (char *at = (char *)shape + 1; *at != ')';) {
        char *end;
        long long value = strtoll(at, &end, 10);
        if (end == at || value < 0 || a->rank == PARAMETER_MAX_RANK)
            return "shape is unreadable or has too many axes";
        a->shape[a->rank++] = value;
        at = end + strspn(end, ", ");
    }
    return NULL;
}

static const char *parse_npy(char *block, size_t size, npz_array *a)
{
    if (size < PREAMBLE || memcmp(block, magic, 6) != 0) return "not a .npy member";
    const unsigned char *b = (const unsigned char *)block;
    size_t start = b[6] == 1 ? PREAMBLE : 12;
    size_t length =
        b[6] == 1 ? b[8] | (size_t)b[9] << 8
                  : (size < 12 ? 0 : b[8] | (size_t)b[9] << 8 | (size_t)b[10] << 16 | (size_t)b[11] << 24);
    if (length == 0 || length > HEADER_MAX || start + length > size) return "damaged .npy header";
    char last = block[start + length - 1];
    block[start + length - 1] = 0;
    const char *wrong = parse_header(block + start, a);
    block[start + length - 1] = last;
    if (wrong != NULL) return wrong;
    for (int i = 0; i < a->rank; i++)
        if (a->shape[i] > (int64_t)1 << 32) return "shape is absurd";
    size_t bytes = npz_bytes(a);
    if (bytes != size - start - length) return "its length does not fit its shape";
    a->data = malloc(bytes + 1);
    if (a->data == NULL) return "no memory";
    memcpy(a->data, block + start + length, bytes);
    return NULL;
}

static const char *read_member(zip_t *zip, zip_uint64_t index, npz_array *a)
{
    zip_stat_t stat;
    if (zip_stat_index(zip, index, 0, &stat) != 0 || !(stat.valid & ZIP_STAT_SIZE) ||
        stat.size > (zip_uint64_t)1 << 34)
        return "damaged directory";
    snprintf(a->name, sizeof a->name, "%s", stat.name);
    size_t length = strlen(a->name);
    if (length > 4 && strcmp(a->name + length - 4, ".npy") == 0) a->name[length - 4] = 0;
    zip_file_t *file = zip_fopen_index(zip, index, 0);
    char *block = malloc(stat.size + 1);
    const char *wrong = NULL;
    if (file == NULL || block == NULL)
        wrong = "cannot be opened";
    else if (zip_fread(file, block, stat.size) != (zip_int64_t)stat.size ||
             zip_fread(file, block + stat.size, 1) != 0)
        wrong = "damaged: its CRC or length is wrong";
    else
        wrong = parse_npy(block, stat.size, a);
    if (file != NULL) zip_fclose(file);
    free(block);
    return wrong;
}

conv_status npz_read(const char *path, npz_file *file, conv_error *err)
{
    *file = (npz_file){0};
    int code = 0;
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
        const char *wrong = read_member(zip, (zip_uint64_t)i, a);
        if (wrong != NULL)
            status = conv_fail(err, CONV_INVALID, "%s: array '%.100s': %s", path, a->name, wrong);
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

/* ---- weights -------------------------------------------------------------------------------------------- */

void weights_to_arrays(const model *m, float *vector, const char *prefix, npz_array *arrays)
{
    for (int i = 0; i < m->parameter_count; i++) {
        const parameter *p = &m->parameter[i];
        npz_array *a = &arrays[i];
        *a = (npz_array){.type = NPZ_FLOAT32, .rank = p->rank, .data = vector + p->offset};
        snprintf(a->name, sizeof a->name, "%s%s", prefix, p->name);
        memcpy(a->shape, p->shape, sizeof a->shape);
    }
}

conv_status weights_save(const char *path, output_kind kind, const model *m, const float *weights,
                         conv_error *err)
{
    npz_array *arrays = calloc((size_t)m->parameter_count, sizeof *arrays);
    if (arrays == NULL) return conv_fail(err, CONV_NO_MEMORY, "%s: no memory", path);
    weights_to_arrays(m, (float *)weights, "", arrays);
    conv_status status = npz_write(path, kind, arrays, m->parameter_count, err);
    free(arrays);
    return status;
}

/* The array of that parameter, its name with or without ":0". */
static const npz_array *find_parameter(const npz_file *file, const char *prefix, const parameter *p)
{
    char name[3 * MODEL_NAME_MAX];
    int length = snprintf(name, sizeof name, "%s%s", prefix, p->name);
    const npz_array *a = npz_find(file, name);
    if (a != NULL) return a;
    name[length - 2] = 0;
    return npz_find(file, name);
}

static conv_status copy_array(const char *path, const npz_array *a, const parameter *p, float *to,
                              conv_error *err)
{
    bool same = a->rank == p->rank && memcmp(a->shape, p->shape, (size_t)p->rank * sizeof *p->shape) == 0;
    if (!same) {
        char have[64], want[64];
        tensor_shape h = {.rank = a->rank < 4 ? a->rank : 4}, w = {.rank = p->rank < 4 ? p->rank : 4};
        memcpy(h.dim, a->shape, sizeof h.dim);
        memcpy(w.dim, p->shape, sizeof w.dim);
        return conv_fail(err, CONV_INVALID, "%s: array '%s' has shape %s: the model's is %s", path, p->name,
                         shape_text(&h, have), shape_text(&w, want));
    }
    if (a->type != NPZ_FLOAT32 && a->type != NPZ_FLOAT64)
        return conv_fail(err, CONV_INVALID, "%s: array '%s' is not of floats", path, p->name);
    for (int64_t i = 0; i < p->count; i++) {
        to[i] = a->type == NPZ_FLOAT32 ? ((const float *)a->data)[i] : (float)((const double *)a->data)[i];
        if (!isfinite(to[i]))
            return conv_fail(err, CONV_INVALID, "%s: array '%s': element %lld is not finite", path, p->name,
                             (long long)i);
    }
    return CONV_OK;
}

conv_status weights_from_file(const char *path, const npz_file *file, const model *m, const char *prefix,
                              float *vector, conv_error *err)
{
    conv_status status = CONV_OK;
    for (int i = 0; i < m->parameter_count && status == CONV_OK; i++) {
        const parameter *p = &m->parameter[i];
        const npz_array *a = find_parameter(file, prefix, p);
        status = a != NULL ? copy_array(path, a, p, vector + p->offset, err)
                           : conv_fail(err, CONV_INVALID, "%s: array '%s%s' is missing", path, prefix, p->name);
    }
    return status;
}

conv_status weights_load(const char *path, const model *m, float *weights, conv_error *err)
{
    npz_file file;
    conv_status status = npz_read(path, &file, err);
    if (status != CONV_OK) return status;
    for (int i = 0; i < file.count && status == CONV_OK; i++) {
        bool known = false;
        for (int k = 0; k < m->parameter_count; k++)
            known = known || find_parameter(&file, "", &m->parameter[k]) == &file.arrays[i];
        if (!known)
            status = conv_fail(err, CONV_INVALID, "%s: array '%.120s' is none of the model's", path,
                               file.arrays[i].name);
    }
    if (status == CONV_OK) status = weights_from_file(path, &file, m, "", weights, err);
    npz_free(&file);
    return status;
}
