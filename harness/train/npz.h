/* Arrays in .npz files, as numpy.savez writes and numpy.load reads them: a zip of .npy members. */
#ifndef SEPBENCH_TRAIN_NPZ_H
#define SEPBENCH_TRAIN_NPZ_H

#include "../npy.h"
#include "../output.h"
#include "model.h"

typedef struct {
    char name[3 * MODEL_NAME_MAX]; /* without ".npy" */
    npy_type type;
    npy_shape shape;
    void *data; /* C order; NULL for NPY_OTHER */
} npz_array;

size_t npz_bytes(const npz_array *a);

/* CONV_FAILED names path and reason (disk full ...); path is then as before. */
conv_status npz_write(const char *path, output_kind kind, const npz_array *arrays, int count, conv_error *err);

typedef struct {
    npz_array *arrays;
    int count;
} npz_file;

/* Every member. CONV_INVALID names path and member: no zip, damaged (CRC), no .npy. */
conv_status npz_read(const char *path, npz_file *file, conv_error *err);
void npz_free(npz_file *file);
const npz_array *npz_find(const npz_file *file, const char *name);

#endif
