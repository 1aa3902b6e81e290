/* Layers from options. */
#ifndef SEPBENCH_TRAIN_BUILD_H
#define SEPBENCH_TRAIN_BUILD_H

#include "options.h"

/* Fills l, whose names and input shape are set, and adds its parameters to the model. CONV_INVALID says what
 * does not fit, without saying in which layer. */
conv_status layer_build(model *m, layer *l, layer_type type, const layer_options *o, conv_error *err);

/* An operation as the layer that does the same: of a number a rescaling, of tensors a merge. */
conv_status build_operation(const network_operation *op, layer_type *type, layer_options *o, conv_error *err);

/* What the versions of Keras do otherwise: hard_sigmoid is another function in Keras 2, and frozen weights have no
 * penalty in Keras 3. */
void model_of_keras_2(model *m);
void model_of_keras_3(model *m);

/* ---- for build_plain.c, from build.c */

typedef struct {
    int rank;
    int64_t dim[PARAMETER_MAX_RANK];
} weight_shape;

/* A spatial input shape in either data format as sizes by axis, 1 where there is none, and channels. */
typedef struct {
    int64_t size[CONV_AXES], channels;
} image;

conv_status build_parameter(model *m, layer *l, const char *name, const weight_shape *shape,
                            const weight_options *o, conv_error *err);
/* CONV_INVALID: the layer's input is no image of that rank. */
conv_status build_image(const layer *l, int rank, image *out, conv_error *err);
/* Keras's axis, which counts the batch, as one of an image's tensor. */
conv_status build_axis(const tensor_shape *of, int64_t axis, int *out, conv_error *err);
tensor_shape build_image_shape(const image *of, int rank, bool channels_first);

/* build_plain.c: the layers that are neither convolution, dense nor pooling by windows. */
conv_status build_plain(model *m, layer *l, layer_type type, const layer_options *o, conv_error *err);

#endif
