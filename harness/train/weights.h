/* Files of a model's weights: .npz, Keras 3's .weights.h5 and .keras, Keras 2's .h5. */
#ifndef SEPBENCH_TRAIN_WEIGHTS_H
#define SEPBENCH_TRAIN_WEIGHTS_H

#include "npz.h"

/* The name's end tells the format; where it is none of these, .npz under tf.keras's names ("conv2d/kernel:0") and
 * shapes. */
conv_status weights_save(const char *path, output_kind kind, const model *m, const float *weights,
                         conv_error *err);
/* The content tells the format. Keras 3's layers are found by their classes and order, Keras 2's by their names,
 * or by order where the file has others. In an .npz the names may be without ":0" and behind one name that all
 * share, as Keras 3's paths are ("sequential/conv2d/kernel"); or none, in the order of model.get_weights()
 * (numpy.savez(f, *arrays) calls them arr_0, arr_1, ...). A missing, extra or misshapen one, or one that is not
 * finite, is CONV_INVALID naming it. */
conv_status weights_load(const char *path, const model *m, float *weights, conv_error *err);

/* As part of a checkpoint: prefix goes before each name, and arrays without it are somebody else's. */
void weights_to_arrays(const model *m, float *vector, const char *prefix, npz_array *arrays);
conv_status weights_from_file(const char *path, const npz_file *file, const model *m, const char *prefix,
                              float *vector, conv_error *err);

#endif
