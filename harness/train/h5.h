/* HDF5 files as Keras uses them, through libhdf5: floats by path, and attributes of text.
 *
 * A file that is read may be anybody's. A link that leads elsewhere, a dataset that lives in another file, an
 * unknown filter and any other shape than the expected one are refused before anything is allocated for them,
 * and libhdf5 itself prints nothing. */
#ifndef SEPBENCH_TRAIN_H5_H
#define SEPBENCH_TRAIN_H5_H

#include <hdf5.h>

#include "../npy.h"

/* Of each function that reads: false, with err, which names neither file nor object. */

/* ---- reading */

/* Whether a file begins as HDF5 does. */
bool h5_is(const char *path);
/* The file, or its bytes, of which it takes a copy, when image is not NULL. Negative with err. */
hid_t h5_open(const char *path, const void *image, size_t size, conv_error *err);
void h5_close(hid_t file);

/* The links of a group, such as a file's "layers" or a group's "vars"; -1 where there is no such group. */
int64_t h5_count(hid_t at, const char *group);
/* The name of link i of them. */
bool h5_name(hid_t at, const char *group, int64_t i, char *name, size_t size);

/* The dataset of exactly that shape, whatever type its floats have, or the integer that has no axes. The shape it
 * has is in *found, rank -1 where there is no such dataset. */
bool h5_read(hid_t at, const char *dataset, const npy_shape *want, float *to, npy_shape *found,
             conv_error *err);

typedef struct {
    char **text;
    int count;
} h5_texts;

/* A group's attribute; absent, it is empty. Keras splits one that is too long into NAME0, NAME1, ... */
bool h5_read_texts(hid_t at, const char *group, const char *name, h5_texts *texts, conv_error *err);
void h5_free_texts(h5_texts *texts);

/* ---- writing, in memory */

hid_t h5_create(void);
/* Groups on the way are made, in all of these. */
bool h5_write_group(hid_t file, const char *group);
bool h5_write(hid_t file, const char *dataset, const npy_shape *shape, const float *from);
bool h5_write_texts(hid_t file, const char *group, const char *name, const char *const *texts, int count);
bool h5_write_text(hid_t file, const char *group, const char *name, const char *text);
/* The whole file, malloc'ed, and the same bytes for the same content. NULL: no memory. */
char *h5_image(hid_t file, size_t *size);

#endif
