/* A data set as Keras's users keep one: np.savez(file, x_train=..., y_train=..., x_test=..., y_test=...). */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "data.h"
#include "npz.h"

static npz_array *member(const char *path, npz_file *file, const char *name, conv_error *err)
{
    const npz_array *a = npz_find(file, name);
    if (a != NULL) return &file->arrays[a - file->arrays];
    conv_fail(err, CONV_INVALID, "%s: array '%s' is missing: x_train, y_train, x_test and y_test are expected",
              path, name);
    return NULL;
}

static conv_status refuse(const char *path, const npz_array *a, const char *wanted, conv_error *err)
{
    char text[160];
    return conv_fail(err, CONV_INVALID, "%s: array '%s' has the shape %s: %s", path, a->name,
                     npy_shape_text(&a->shape, text, sizeof text), wanted);
}

/* Float64 becomes float32 where it is: element i is written at or before the bytes it was read from. */
static void narrow(void *data, int64_t count)
{
    for (int64_t i = 0; i < count; i++) {
        double wide;
        memcpy(&wide, (char *)data + i * (int64_t)sizeof wide, sizeof wide);
        float value = (float)wide;
        memcpy((char *)data + i * (int64_t)sizeof value, &value, sizeof value);
    }
}

/* The set's images are the array's data from here on. */
static conv_status take_images(const char *path, npz_array *a, data_set *set, conv_error *err)
{
    const int64_t count = npy_count(&a->shape), *sizes = a->shape.size;
    if (a->shape.rank < 2 || a->shape.rank > CONV_AXES + 2 || count == 0)
        return refuse(path, a, "(n, ...) with one to four sizes of an image is expected", err);
    if (a->type == NPY_OTHER || a->type == NPY_INT64)
        return conv_fail(err, CONV_INVALID,
                         "%s: array '%s' is of another type than uint8 (divided by 255) and float32, float64 "
                         "or float16 (taken as they are)",
                         path, a->name);
    set->count = sizes[0];
    set->image.rank = a->shape.rank - 1;
    memcpy(set->image.dim, sizes + 1, (size_t)set->image.rank * sizeof *sizes);
    if (a->type == NPY_FLOAT64) narrow(a->data, count);
    if (a->type == NPY_UINT8)
        set->images = a->data;
    else
        set->values = a->data;
    a->data = NULL;
    for (int64_t i = 0; i < count && set->values != NULL; i++)
        if (!isfinite(set->values[i]))
            return conv_fail(err, CONV_INVALID, "%s: array '%s': element %lld is %g in float32", path, a->name,
                             (long long)i, (double)set->values[i]);
    return CONV_OK;
}

static conv_status take_labels(const char *path, const npz_array *a, data_set *set, conv_error *err)
{
    if (a->shape.rank < 1 || a->shape.rank > 2 || (a->shape.rank == 2 && a->shape.size[1] != 1))
        return refuse(path, a, "one integer for each image, (n,) or (n, 1), is expected", err);
    if (a->type != NPY_UINT8 && a->type != NPY_INT64)
        return conv_fail(err, CONV_INVALID, "%s: array '%s' is not of an integer type", path, a->name);
    if (a->shape.size[0] != set->count)
        return conv_fail(err, CONV_INVALID, "%s: array '%s' has %lld labels for the %lld images of '%s'", path,
                         a->name, (long long)a->shape.size[0], (long long)set->count, set->name);
    set->labels = malloc((size_t)set->count);
    if (set->labels == NULL) return conv_fail(err, CONV_NO_MEMORY, "%s: no memory", path);
    for (int64_t i = 0; i < set->count; i++) {
        int64_t value = a->type == NPY_UINT8 ? ((const uint8_t *)a->data)[i] : ((const int64_t *)a->data)[i];
        if (value < 0 || value > 255)
            return conv_fail(err, CONV_INVALID, "%s: %s %lld is %lld: must be from 0 to 255", path, a->name,
                             (long long)i, (long long)value);
        set->labels[i] = (uint8_t)value;
    }
    return CONV_OK;
}

conv_status data_load_npz(data_sets *data, conv_error *err)
{
    static const char *const names[2][2] = {{"x_train", "y_train"}, {"x_test", "y_test"}};
    npz_file file;
    conv_status status = npz_read(data->path, &file, err);
    if (status != CONV_OK) return status;
    for (int s = 0; s < 2 && status == CONV_OK; s++) {
        data_set *set = s == 0 ? &data->train : &data->test;
        set->name = names[s][0];
        set->label_name = names[s][1];
        npz_array *x = member(data->path, &file, set->name, err),
                  *y = x != NULL ? member(data->path, &file, set->label_name, err) : NULL;
        status = y != NULL ? take_images(data->path, x, set, err) : CONV_INVALID;
        if (status == CONV_OK) status = take_labels(data->path, y, set, err);
    }
    npz_free(&file);
    return status;
}
