/* Where Keras's HDF5 files keep a model's weights: in which group, at which place in it. */
#ifndef SEPBENCH_TRAIN_PLACES_H
#define SEPBENCH_TRAIN_PLACES_H

#include "model.h"

typedef enum {
    PLACES_KERAS3,  /* "layers/conv2d_1", by class and number: names of layers do not matter */
    PLACES_TF_2_13, /* "_layer_checkpoint_dependencies/conv2d_2": of TensorFlow 2.13, which counts each twice */
    PLACES_KERAS2   /* the name of the model's own layer, for which a model within it is one layer: .h5 */
} places_layout;

typedef struct {
    char group[256];
    int index; /* among the weights of the group */
    int layer; /* number of the model's own layer, in the order of the file */
} weight_place;

/* places[m->parameter_count]. False: a parameter's layer is not in m->json. */
bool places_find(const model *m, places_layout layout, weight_place *places);

#endif
