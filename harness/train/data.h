/* Labelled images in IDX files, plain or .gz: MNIST, Fashion-MNIST, EMNIST, QMNIST and anything of the same
 * form.
 *
 * Pixels stay the bytes of the file; the network's first operation scales a batch to [0,1], so loading is
 * one read and a batch moves a quarter of the memory. (http://yann.lecun.com/exdb/mnist,
 * "the IDX file format") */
#ifndef SEPBENCH_TRAIN_DATA_H
#define SEPBENCH_TRAIN_DATA_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "../../kernels/conv.h"

typedef struct {
    int64_t count;                   /* images, = labels */
    int64_t rows, columns, channels; /* in the file's order; channels: 1 in a file of rank 3 */
    uint8_t *images;                 /* [count][rows][columns][channels], 0..255 */
    uint8_t *labels;                 /* [count] */
    uint32_t crc; /* CRC-32 over labels, then images: says whether a checkpoint saw the same data */
} data_set;

typedef struct {
    data_set train, test;
    char dir[4096];
} data_sets;

/* Reads the four files that data_find finds. CONV_INVALID with one line naming the file and what is wrong in
 * it: absent, truncated, not IDX, another type or rank, trailing bytes, a corrupt .gz, counts or image sizes
 * that differ. Labels may be of any integer type, in a column of their own or the first of several (QMNIST). */
conv_status data_load(const char *dir, data_sets *data, conv_error *err);
/* CONV_INVALID naming the first label that is not below `classes`, the network's outputs. */
conv_status data_check_labels(const data_sets *data, int64_t classes, conv_error *err);
void data_free(data_sets *data);

/* The paths of the training and test set's images and labels. */
typedef struct {
    char path[2][2][4352];
} data_files;

/* In DIR, named [PREFIX-]{train,t10k or test}-{images-idx3,labels-idx1}-ubyte, as other ranks and "-int" for
 * labels, each also as .gz or with "-idx" spelt ".idx". DIR may end in "/PREFIX" where a folder holds several
 * sets. CONV_INVALID names what is missing, or the sets to choose from. */
conv_status data_find(const char *dir, data_files *files, conv_error *err);

#endif
