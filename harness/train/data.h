/* Labelled images in IDX files, plain or .gz: MNIST, Fashion-MNIST and anything of the same form.
 *
 * Pixels stay the bytes of the file; the network's first operation scales a batch to [0,1], so loading is
 * one read and a batch moves a quarter of the memory. (http://yann.lecun.com/exdb/mnist, "the IDX file format")
 */
#ifndef SEPBENCH_TRAIN_DATA_H
#define SEPBENCH_TRAIN_DATA_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "../../kernels/conv.h"

typedef struct {
    int64_t count; /* images, = labels */
    int64_t rows, columns;
    uint8_t *images; /* [count][rows][columns], 0..255 */
    uint8_t *labels; /* [count] */
    uint32_t crc;    /* CRC-32 over labels, then images: says whether a checkpoint saw the same data */
} data_set;

typedef struct {
    data_set train, test;
    char dir[4096];
} data_pair;

/* Reads DIR/{train,t10k}-{images-idx3,labels-idx1}-ubyte, each also as .gz or with "-idx" spelt ".idx".
 * CONV_INVALID with one line naming the file and what is wrong in it: absent, truncated, not IDX, another
 * type or rank, trailing bytes, a corrupt .gz, counts or image sizes that differ. */
conv_status data_load(const char *dir, data_pair *data, conv_error *err);
/* CONV_INVALID naming the first label that is not below `classes`, the network's outputs. */
conv_status data_check_labels(const data_pair *data, int64_t classes, conv_error *err);
void data_free(data_pair *data);

/* One file of unsigned bytes; dims[rank] and *bytes (malloc'ed, product of dims) on success. */
conv_status data_read_idx(const char *path, int rank, int64_t *dims, uint8_t **bytes, conv_error *err);

#endif
