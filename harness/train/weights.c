/* Which format a file of weights has. Of an .npz, which array belongs to which weight, by name or by position. */
#include "weights.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "../text.h"
#include "h5.h"
#include "weights_internal.h"

void weights_to_arrays(const model *m, float *vector, const char *prefix, npz_array *arrays)
{
    for (int i = 0; i < m->parameter_count; i++) {
        const parameter *p = &m->parameter[i];
        npz_array *a = &arrays[i];
        *a = (npz_array){.type = NPY_FLOAT32, .shape = parameter_shape(p), .data = vector + p->offset};
        snprintf(a->name, sizeof a->name, "%s%s", prefix, p->name);
    }
}

static conv_status save_npz(const char *path, output_kind kind, const model *m, const float *weights,
                            conv_error *err)
{
    npz_array *arrays = calloc((size_t)m->parameter_count, sizeof *arrays);
    if (arrays == NULL) return conv_fail(err, CONV_NO_MEMORY, "%s: no memory", path);
    weights_to_arrays(m, (float *)weights, "", arrays);
    conv_status status = npz_write(path, kind, arrays, m->parameter_count, err);
    free(arrays);
    return status;
}

static conv_status save_h5(const char *path, output_kind kind, const model *m, const float *weights,
                           conv_error *err)
{
    size_t size;
    bool keras3 = text_ends_with(path, ".weights.h5");
    char *image = weights_make_h5(m, weights, keras3 ? PLACES_KERAS3 : PLACES_KERAS2, &size);
    if (image == NULL)
        return conv_fail(err, CONV_FAILED, "%.200s: cannot be written: libhdf5 could not make it in memory",
                         path);
    bool written = output_write(path, kind, image, size, err);
    free(image);
    return written ? CONV_OK : CONV_FAILED;
}

conv_status weights_save(const char *path, output_kind kind, const model *m, const float *weights,
                         conv_error *err)
{
    return (text_ends_with(path, ".keras") ? weights_write_archive
            : text_ends_with(path, ".h5")  ? save_h5
                                           : save_npz)(path, kind, m, weights, err);
}

conv_status weights_check_shape(const char *path, const char *what, const npy_shape *found, const parameter *p,
                                conv_error *err)
{
    char have[160], text[160];
    const npy_shape want = parameter_shape(p);
    if (npy_same_shape(found, &want)) return CONV_OK;
    return conv_fail(err, CONV_INVALID, "%s: %s has shape %s: the model's is %s", path, what,
                     npy_shape_text(found, have, sizeof have), npy_shape_text(&want, text, sizeof text));
}

conv_status weights_check_finite(const char *path, const char *what, const float *w, const parameter *p,
                                 conv_error *err)
{
    for (int64_t i = 0; i < p->count; i++)
        if (!isfinite(w[i]))
            return conv_fail(err, CONV_INVALID, "%s: %s: element %lld is not finite", path, what, (long long)i);
    return CONV_OK;
}

/* `what` as weights_check_shape has it. */
static conv_status copy_array(const char *path, const char *what, const npz_array *a, const parameter *p,
                              float *to, conv_error *err)
{
    conv_status status = weights_check_shape(path, what, &a->shape, p, err);
    if (status != CONV_OK) return status;
    bool counts = p->rank == 0 && a->type == NPY_INT64; /* Keras's only weight that is no float */
    if (a->type != NPY_FLOAT32 && a->type != NPY_FLOAT64 && !counts)
        return conv_fail(err, CONV_INVALID, "%s: %s is not of floats", path, what);
    for (int64_t i = 0; i < p->count; i++)
        to[i] = counts                   ? (float)((const int64_t *)a->data)[i]
                : a->type == NPY_FLOAT32 ? ((const float *)a->data)[i]
                                         : (float)((const double *)a->data)[i];
    return weights_check_finite(path, what, to, p, err);
}

conv_status weights_from_file(const char *path, const npz_file *file, const model *m, const char *prefix,
                              float *vector, conv_error *err)
{
    conv_status status = CONV_OK;
    for (int i = 0; i < m->parameter_count && status == CONV_OK; i++) {
        const parameter *p = &m->parameter[i];
        char name[3 * MODEL_NAME_MAX], what[3 * MODEL_NAME_MAX + 8];
        snprintf(name, sizeof name, "%s%s", prefix, p->name);
        snprintf(what, sizeof what, "array '%s'", name);
        const npz_array *a = npz_find(file, name);
        status = a != NULL ? copy_array(path, what, a, p, vector + p->offset, err)
                           : conv_fail(err, CONV_INVALID, "%s: %s is missing", path, what);
    }
    return status;
}

/* ---- from elsewhere */

/* The state of a Keras 3 layer's own random numbers, such as Dropout's: no weight, and drawn anew by a run. */
static bool is_random_state(const char *name)
{
    const char *last = strrchr(name, '/');
    return strcmp(last != NULL ? last + 1 : name, "seed_generator_state") == 0;
}

/* The first component of the names when all weights share it, with its slash: Keras 3 begins with the model's
 * name, which differs from the JSON's where the model was built twice in a session. */
static void common_prefix(const npz_file *file, char *prefix, size_t size)
{
    *prefix = 0;
    for (int i = 0; i < file->count; i++) {
        const char *name = file->arrays[i].name, *slash = strchr(name, '/');
        if (is_random_state(name)) continue;
        if (slash != NULL && *prefix == 0) snprintf(prefix, size, "%.*s", (int)(slash - name) + 1, name);
        if (slash == NULL || strncmp(name, prefix, strlen(prefix)) != 0) {
            *prefix = 0;
            return;
        }
    }
}

/* Keras 3's name for the kernel of a depthwise layer, or NULL when parameter `at` is none. */
static const char *keras3_kernel(const model *m, int at, char *name, size_t size)
{
    for (int i = 0; i < m->layer_count; i++) {
        const layer *l = &m->layers[i];
        if (l->kind != LAYER_CONV || l->problem.variant != CONV_DEPTHWISE || l->first_parameter != at) continue;
        snprintf(name, size, "%s/kernel:0", l->name);
        return name;
    }
    return NULL;
}

/* The array of that name, with or without its ":0". */
static const npz_array *find_name(const npz_file *file, const char *prefix, const char *name)
{
    char whole[sizeof file->arrays->name];
    int length = snprintf(whole, sizeof whole, "%s%s", prefix, name);
    if (length >= (int)sizeof whole) return NULL;
    const npz_array *a = npz_find(file, whole);
    if (a != NULL) return a;
    whole[length - 2] = 0;
    return npz_find(file, whole);
}

/* Of a layer in a model within the model, whose name Keras 3 leaves out of its weights' names: "inner/conv/kernel:0"
 * is "conv/kernel". */
static const npz_array *find_inner(const npz_file *file, const char *const *prefixes, const char *name)
{
    const npz_array *a = NULL;
    for (const char *cut = strchr(name, '/'); cut != NULL && strchr(cut + 1, '/') != NULL && a == NULL;
         cut = strchr(cut + 1, '/'))
        for (int i = 0; prefixes[i] != NULL && a == NULL; i++) a = find_name(file, prefixes[i], cut + 1);
    return a;
}

static const npz_array *find_parameter(const npz_file *file, const char *const *prefixes, const model *m,
                                       int at)
{
    char other[2 * MODEL_NAME_MAX];
    const char *const names[] = {m->parameter[at].name, keras3_kernel(m, at, other, sizeof other)};
    const npz_array *a = NULL;
    for (int p = 0; prefixes[p] != NULL; p++)
        for (int i = 0; i < 2 && names[i] != NULL && a == NULL; i++) a = find_name(file, prefixes[p], names[i]);
    for (int i = 0; i < 2 && names[i] != NULL && a == NULL; i++) a = find_inner(file, prefixes, names[i]);
    return a;
}

/* Array number N of numpy.savez(f, *arrays), or NULL. */
static const npz_array *find_position(const npz_file *file, int at)
{
    char name[32];
    snprintf(name, sizeof name, "arr_%d", at);
    return npz_find(file, name);
}

/* Whether each array is numbered. */
static bool by_position(const npz_file *file)
{
    for (int i = 0; i < file->count; i++)
        if (find_position(file, i) == NULL) return false;
    return file->count > 0;
}

/* Which array is whose, found[parameter_count]; each used, each found. */
static conv_status assign(const char *path, const npz_file *file, const model *m, const npz_array **found,
                          conv_error *err)
{
    char common[sizeof file->arrays->name], own[MODEL_NAME_MAX + 1];
    const char *const prefixes[] = {"", own, common, NULL};
    bool numbered = by_position(file);
    if (numbered && file->count != m->parameter_count)
        return conv_fail(err, CONV_INVALID, "%s: %d arrays without names: the model has %d", path, file->count,
                         m->parameter_count);
    snprintf(own, sizeof own, "%s/", m->name);
    common_prefix(file, common, sizeof common);
    for (int i = 0; i < m->parameter_count; i++)
        found[i] = numbered ? find_position(file, i) : find_parameter(file, prefixes, m, i);
    for (int i = 0; i < file->count; i++) {
        bool known = is_random_state(file->arrays[i].name);
        for (int k = 0; k < m->parameter_count; k++) known = known || found[k] == &file->arrays[i];
        if (!known)
            return conv_fail(err, CONV_INVALID, "%s: array '%.120s' is none of the model's", path,
                             file->arrays[i].name);
    }
    for (int i = 0; i < m->parameter_count; i++) {
        bool taken = false; /* two inner layers of one name are one array */
        for (int k = 0; k < i; k++) taken = taken || found[k] == found[i];
        if (found[i] == NULL || taken)
            return conv_fail(err, CONV_INVALID, "%s: array '%s' is missing", path, m->parameter[i].name);
    }
    return CONV_OK;
}

static conv_status load_npz(const char *path, const model *m, float *weights, conv_error *err)
{
    npz_file file;
    conv_status status = npz_read(path, &file, err);
    if (status != CONV_OK) return status;
    const npz_array **found = calloc((size_t)m->parameter_count + 1, sizeof(*found));
    status = found == NULL ? conv_fail(err, CONV_NO_MEMORY, "%s: no memory", path)
                           : assign(path, &file, m, found, err);
    for (int i = 0; i < m->parameter_count && status == CONV_OK; i++) {
        const parameter *p = &m->parameter[i];
        char what[6 * MODEL_NAME_MAX];
        bool renamed = strcmp(found[i]->name, p->name) != 0;
        snprintf(what, sizeof what, renamed ? "array '%s' (%s)" : "array '%s'", found[i]->name, p->name);
        status = copy_array(path, what, found[i], p, weights + p->offset, err);
    }
    free(found);
    npz_free(&file);
    return status;
}

conv_status weights_load(const char *path, const model *m, float *weights, conv_error *err)
{
    if (access(path, R_OK) != 0) return conv_fail(err, CONV_INVALID, "%s: %s", path, strerror(errno));
    if (h5_is(path) || text_ends_with(path, ".h5")) return weights_read_h5(path, NULL, 0, m, weights, err);
    return (weights_is_archive(path) ? weights_read_archive : load_npz)(path, m, weights, err);
}
