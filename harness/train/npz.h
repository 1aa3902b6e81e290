/* Arrays in .npz files, as numpy.savez writes and numpy.load reads them: a zip of .npy members. */
#ifndef SEPBENCH_TRAIN_NPZ_H
#define SEPBENCH_TRAIN_NPZ_H

#include "../output.h"
#include "model.h"

typedef enum { NPZ_FLOAT32, NPZ_FLOAT64, NPZ_INT64, NPZ_UINT8 } npz_type;

typedef struct {
    char name[3 * MODEL_NAME_MAX]; /* without ".npy" */
    npz_type type;
    int rank;
    int64_t shape[PARAMETER_MAX_RANK];
    void *data; /* C order */
} npz_array;

size_t npz_bytes(const npz_array *a);

/* CONV_FAILED names path and reason (disk full ...); path is then as before. */
conv_status npz_write(const char *path, output_kind kind, const npz_array *arrays, int count, conv_error *err);

typedef struct {
    npz_array *arrays;
    int count;
} npz_file;

/* Every member. CONV_INVALID names path and member: no zip, damaged (CRC), no .npy, another type than the
 * above, Fortran order. */
conv_status npz_read(const char *path, npz_file *file, conv_error *err);
void npz_free(npz_file *file);
const npz_array *npz_find(const npz_file *file, const char *name);

/* Weights under Keras's names ("conv2d/kernel:0") and shapes. Loading accepts names without ":0"; a missing,
 * extra or misshapen array, or one that is not finite, is CONV_INVALID naming it. prefix goes before each name:
 * "" for weights alone; loading with a prefix ignores arrays without it. */
conv_status weights_save(const char *path, output_kind kind, const model *m, const float *weights,
                         conv_error *err);
conv_status weights_load(const char *path, const model *m, float *weights, conv_error *err);
void weights_to_arrays(const model *m, float *vector, const char *prefix, npz_array *arrays);
conv_status weights_from_file(const char *path, const npz_file *file, const model *m, const char *prefix,
                              float *vector, conv_error *err);

#endif
