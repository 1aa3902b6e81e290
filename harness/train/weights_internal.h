/* What the formats of weights share. */
#ifndef SEPBENCH_TRAIN_WEIGHTS_INTERNAL_H
#define SEPBENCH_TRAIN_WEIGHTS_INTERNAL_H

#include "places.h"
#include "weights.h"

static inline npy_shape parameter_shape(const parameter *p)
{
    npy_shape shape = {.rank = p->rank};
    for (int i = 0; i < p->rank; i++) shape.size[i] = p->shape[i];
    return shape;
}

/* `what` names the thing in the file and the parameter in messages: "array 'a' (conv2d/bias:0)". */
conv_status weights_check_shape(const char *path, const char *what, const npy_shape *found, const parameter *p,
                                conv_error *err);
conv_status weights_check_finite(const char *path, const char *what, const float *w, const parameter *p,
                                 conv_error *err);

/* From an HDF5 file, or its bytes when image is not NULL, in any of Keras's layouts; path is for messages too. */
conv_status weights_read_h5(const char *path, const void *image, size_t size, const model *m, float *weights,
                            conv_error *err);
/* A whole file in memory, malloc'ed. */
char *weights_make_h5(const model *m, const float *weights, places_layout layout, size_t *size);

/* The model's JSON for such a file, also when Keras 2 wrote it, malloc'ed. */
char *weights_model_text(const model *m, places_layout layout);

/* A .keras archive. */
bool weights_is_archive(const char *path);
conv_status weights_read_archive(const char *path, const model *m, float *weights, conv_error *err);
conv_status weights_write_archive(const char *path, output_kind kind, const model *m, const float *weights,
                                  conv_error *err);

#endif
