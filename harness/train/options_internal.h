/* How an option's value is read; the table of options (options.c) says which reads which. */
#ifndef SEPBENCH_TRAIN_OPTIONS_INTERNAL_H
#define SEPBENCH_TRAIN_OPTIONS_INTERNAL_H

#include "options.h"

typedef struct {
    layer_type type;
    json_t *value;
    layer_options *options; /* of which `to` is a part, for those that set others too */
    conv_error *err;        /* for those that explain themselves */
} option_value;

/* NULL, or what the value must be; "" when err has the reason. */
typedef const char *option_reader(const option_value *g, void *to);
option_reader option_count, option_sizes, option_strides, option_bool, option_name, option_padding,
    option_format, option_activation, option_positive, option_most, option_edges, option_nearest, option_axes,
    option_target, option_scale, option_offset, option_variance, option_mean, option_noise, option_rate,
    option_share, option_epsilon, option_axis, option_anything, option_seed, option_null, option_false,
    option_any_bool, option_one, option_dtype, option_shape, option_initializer, option_regularizer,
    option_constraint;

#endif
