/* NumPy's .npy files, versions 1.0 and 2.0, of float32 arrays in C order (little-endian): what numpy.save
 * writes for a float32 array. https://numpy.org/doc/stable/reference/generated/numpy.lib.format.html (Debian
 * has no maintained C library for them.) */
#ifndef SEPBENCH_NPY_H
#define SEPBENCH_NPY_H

#include "../kernels/conv.h"

enum { NPY_MAX_RANK = 8 };

typedef struct {
    int rank;
    int64_t size[NPY_MAX_RANK];
} npy_shape;

/* "(1, 28, 28, 32)" into text; returns text. */
char *npy_shape_text(const npy_shape *shape, char *text, size_t size);

/* Fills data, which holds the elements of the first of the `accepted` shapes; all of them have as many. False,
 * with err naming file, what is expected and what was found: not an .npy, another type, order, shape or length.
 */
bool npy_read(const char *path, const npy_shape *accepted, int accepted_count, float *data, conv_error *err);

/* Writes a file that the user named (output.h). False with err when that fails, also for a full disk; path is
 * then as before. */
bool npy_write(const char *path, const npy_shape *shape, const float *data, conv_error *err);

#endif
