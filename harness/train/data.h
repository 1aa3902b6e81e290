/* Labelled images: IDX files, plain or .gz (MNIST, Fashion-MNIST, EMNIST, KMNIST, QMNIST and anything of the
 * same form), CIFAR-10's binary files, or an .npz with Keras's names.
 *
 * Pixels stay the bytes of the file; the network's first operation scales a batch to [0,1], so loading is
 * one read and a batch moves a quarter of the memory. Floats, which only an .npz has, are taken as they are.
 * (http://yann.lecun.com/exdb/mnist, "the IDX file format") */
#ifndef SEPBENCH_TRAIN_DATA_H
#define SEPBENCH_TRAIN_DATA_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "model.h"

typedef struct {
    const char *name, *label_name; /* for messages: "the training set" and "training label", or "x_train" ... */
    int64_t count;                 /* images, = labels */
    tensor_shape image;            /* in the file's order; [rows][columns][1] in an IDX file of rank 3 */
    uint8_t *images;               /* [count][image], 0..255 */
    float *values;                 /* the same as floats; one of the two is NULL */
    uint8_t *labels;               /* [count] */
    uint32_t crc; /* CRC-32 over labels, then images: says whether a checkpoint saw the same data */
} data_set;

typedef struct {
    data_set train, test;
    char path[4096];
} data_sets;

/* Reads the .npz at `path`, or the folder's files of CIFAR-10 or those that data_find finds. CONV_INVALID with
 * one line naming the file, an array in it, and what is wrong: absent, truncated, another format, type or
 * rank, trailing bytes, a corrupt .gz, counts or image sizes that differ. Labels may be of any integer type, in
 * a column of their own or, in IDX files, the first of several (QMNIST). */
conv_status data_load(const char *path, data_sets *data, conv_error *err);
/* CONV_INVALID naming the first label that is not below `classes`, the network's outputs. */
conv_status data_check_labels(const data_sets *data, int64_t classes, conv_error *err);
/* Whether a network of that input takes the images. Images of one channel fit any input of as many pixels, and
 * a list of pixels any images; otherwise the order of the axes matters too. */
bool data_fits(const data_set *set, const tensor_shape *input);
void data_free(data_sets *data);

/* ---- each form's reader: fills what is at data->path, all but the CRC; what it leaves on failure is freed */
conv_status data_load_idx(data_sets *data, conv_error *err);
conv_status data_load_npz(data_sets *data, conv_error *err);
conv_status data_load_cifar(data_sets *data, conv_error *err);
/* Whether the folder has CIFAR-10's files, and no IDX files. */
bool data_is_cifar(const char *dir);

/* The paths of the training and test set's images and labels. */
typedef struct {
    char path[2][2][4352];
} data_files;

/* In DIR, named [PREFIX-]{train,t10k or test}-{images-idx3,labels-idx1}-ubyte, as other ranks and "-int" for
 * labels, each also as .gz or with "-idx" spelt ".idx". DIR may end in "/PREFIX" where a folder holds several
 * sets. CONV_INVALID names what is missing, or the sets to choose from. */
conv_status data_find(const char *dir, data_files *files, conv_error *err);

#endif
