/* The file's kind, by content, and its bytes; what is in them is for keras.c. */
#include "network.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <zlib.h>

#include "../archive.h"
#include "../embed.h"
#include "internal.h"

enum { TEXT_MAX = 64 << 20, METADATA_MAX = 1 << 16 }; /* Keras's largest models have a few megabytes of JSON */

/* ---- shapes */

int64_t shape_count(const tensor_shape *s)
{
    int64_t count = 1;
    for (int i = 0; i < s->rank; i++) count *= s->dim[i];
    return count;
}

bool shape_equal(const tensor_shape *a, const tensor_shape *b)
{
    return a->rank == b->rank && memcmp(a->dim, b->dim, (size_t)a->rank * sizeof *a->dim) == 0;
}

char *shape_text(const tensor_shape *s, char *buffer)
{
    size_t n = (size_t)sprintf(buffer, "(");
    for (int i = 0; i < s->rank; i++)
        n += (size_t)(s->dim[i] == 0
                          ? snprintf(buffer + n, 64 - n, i ? ", None" : "None")
                          : snprintf(buffer + n, 64 - n, i ? ", %lld" : "%lld", (long long)s->dim[i]));
    snprintf(buffer + n, 64 - n, s->rank == 1 ? ",)" : ")");
    return buffer;
}

bool shape_read_open(json_t *value, tensor_shape *out)
{
    size_t rank = json_array_size(value);
    if (rank < 2 || rank > CONV_AXES + 2) return false;
    tensor_shape s = {.rank = (int)rank - 1};
    for (size_t i = 1; i < rank; i++) {
        json_t *size = json_array_get(value, i);
        json_int_t number = json_integer_value(size);
        if (!json_is_null(size) && (!json_is_integer(size) || number < 1 || number > INT32_MAX)) return false;
        s.dim[i - 1] = number;
    }
    *out = s;
    return true;
}

/* ---- reading */

static network *checked(network *n, conv_status status, const char *label, conv_error *err)
{
    if (status == CONV_OK) return n;
    if (status == CONV_NO_MEMORY) conv_fail(err, status, "%.180s: no memory", label);
    network_free(n);
    return NULL;
}

static network *from_root(json_t *root, const char *label, conv_error *err)
{
    network *n = calloc(1, sizeof *n);
    conv_status status = CONV_NO_MEMORY;
    if (n != NULL)
        status = keras_read(n, root, label, err);
    else
        json_decref(root);
    return checked(n, status, label, err);
}

static network *from_onnx(const char *path, conv_error *err)
{
    network *n = calloc(1, sizeof *n);
    return checked(n, n != NULL ? onnx_read(n, path, err) : CONV_NO_MEMORY, path, err);
}

static json_t *parse(const char *text, size_t size, const char *label, conv_error *err)
{
    json_error_t where;
    json_t *root = json_loadb(text, size, JSON_REJECT_DUPLICATES, &where);
    if (root == NULL) conv_fail(err, CONV_INVALID, "%.120s:%d: %.100s", label, where.line, where.text);
    return root;
}

static network *from_text(const char *text, size_t size, const char *label, conv_error *err)
{
    json_t *root = parse(text, size, label, err);
    return root != NULL ? from_root(root, label, err) : NULL;
}

network *network_parse(const char *text, const char *label, conv_error *err)
{
    return from_text(text, strlen(text), label, err);
}

/* to_json() of Keras 2 has its version in it; an archive has it in a member of its own. */
static void add_version(json_t *root, const char *path)
{
    conv_error ignored;
    size_t size;
    char *text = archive_read(path, "metadata.json", METADATA_MAX, &size, &ignored);
    json_t *about = text != NULL ? json_loadb(text, size, 0, NULL) : NULL;
    json_t *version = json_object_get(about, "keras_version");
    if (json_is_string(version) && json_object_get(root, "keras_version") == NULL)
        json_object_set(root, "keras_version", version);
    json_decref(about);
    free(text);
}

/* config.json of a .keras archive. */
static network *from_archive(const char *path, conv_error *err)
{
    size_t size;
    char *text = archive_read(path, "config.json", TEXT_MAX, &size, err);
    json_t *root = text != NULL ? parse(text, size, path, err) : NULL;
    free(text);
    if (root == NULL) return NULL;
    add_version(root, path);
    return from_root(root, path, err);
}

/* The whole file, gunzipped where it is gzipped; NULL with the reason. */
static char *read_whole(const char *path, size_t *size, conv_error *err)
{
    gzFile file = gzopen(path, "rb");
    if (file == NULL) {
        conv_fail(err, CONV_INVALID, "%.180s: %s", path, errno ? strerror(errno) : "no memory");
        return NULL;
    }
    char *text = NULL;
    size_t room = 0;
    int got = 1, code;
    *size = 0;
    while (got > 0 && *size < TEXT_MAX) {
        if (*size == room) {
            room = room > 0 ? 2 * room : 1 << 16;
            char *more = realloc(text, room);
            if (more == NULL) break;
            text = more;
        }
        got = gzread(file, text + *size, (unsigned)(room - *size));
        if (got > 0) *size += (size_t)got;
    }
    const char *zlib_says = gzerror(file, &code);
    const char *wrong = code == Z_ERRNO                  ? strerror(errno)
                        : got < 0 || code == Z_BUF_ERROR ? zlib_says
                        : got > 0 && *size < TEXT_MAX    ? "no memory"
                        : got > 0                        ? "larger than any model"
                        : *size == 0                     ? "empty"
                                                         : NULL;
    if (wrong != NULL) {
        const bool named = strncmp(wrong, path, strlen(path)) == 0; /* by zlib */
        conv_fail(err, CONV_INVALID, "%.120s%s%.100s", named ? "" : path, named ? "" : ": ", wrong);
        free(text);
        text = NULL;
    }
    gzclose(file);
    return text;
}

static bool is_archive(const char *path)
{
    char start[4] = "";
    FILE *file = fopen(path, "rb");
    bool is = file != NULL && fread(start, 1, sizeof start, file) > 2 && memcmp(start, "PK", 2) == 0;
    if (file != NULL) fclose(file);
    return is;
}

static const embedded_file *find_bundled(const char *name)
{
    char path[256];
    const int length = snprintf(path, sizeof path, "bench/models/%s.json", name);
    return length < (int)sizeof path ? embedded_find(path) : NULL;
}

bool network_is_bundled(const char *name) { return find_bundled(name) != NULL; }

network *network_read(const char *path, conv_error *err)
{
    const char *ending = strrchr(path, '.');
    const embedded_file *bundled = find_bundled(path);
    if (bundled != NULL) return from_text(bundled->data, bundled->size, path, err);
    if (strpbrk(path, "./") == NULL && access(path, F_OK) != 0 && errno == ENOENT) {
        conv_fail(err, CONV_INVALID, "model '%.80s': neither a file nor " NETWORK_BUNDLED, path);
        return NULL;
    }
    if (ending != NULL && strcmp(ending, ".onnx") == 0) return from_onnx(path, err);
    if (is_archive(path)) return from_archive(path, err);
    size_t size, first = 0;
    network *n = NULL;
    char *text = read_whole(path, &size, err);
    if (text == NULL) return NULL;
    while (first < size && isspace((unsigned char)text[first])) first++;
    if (first < size && text[first] == '{')
        n = from_text(text, size, path, err);
    else
        conv_fail(err, CONV_INVALID, "%.150s: neither JSON nor a .keras archive, nor named .onnx", path);
    free(text);
    return n;
}

void network_free(network *n)
{
    if (n == NULL) return;
    for (int i = 0; i < n->count; i++) {
        free(n->nodes[i].name);
        free(n->nodes[i].inputs);
    }
    free(n->nodes);
    free(n->inputs);
    free(n->outputs);
    json_decref(n->root);
    if (n->free_reader != NULL) n->free_reader(n->reader);
    free(n);
}
