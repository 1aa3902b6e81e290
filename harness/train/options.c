/* One table: every key a layer's config may have, how it is read, where it goes and which classes have it. A
 * key that is in no row for the class is an error unless it is null, so nothing that matters is ever ignored.
 * Keys and defaults: Keras 2, tf.keras 2.x and Keras 3, keras/layers get_config(). */
#include "options.h"

#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include "options_internal.h"

static const struct {
    const char *name; /* of a class with spatial axes, without its "2D" */
    layer_class class;
    int least_rank, most_rank;
} classes[] = {
    {"InputLayer", CLASS_INPUT, 0, 0},
    {"Conv", CLASS_CONV, 1, 3},
    {"Convolution", CLASS_CONV, 1, 3},
    {"DepthwiseConv", CLASS_DEPTHWISE, 1, 2},
    {"SeparableConv", CLASS_SEPARABLE, 1, 3}, /* 3: Keras has none */
    {"SeparableConvolution", CLASS_SEPARABLE, 1, 2},
    {"MaxPooling", CLASS_MAX_POOL, 1, 3},
    {"MaxPool", CLASS_MAX_POOL, 1, 3},
    {"AveragePooling", CLASS_AVERAGE_POOL, 1, 3},
    {"AvgPool", CLASS_AVERAGE_POOL, 1, 3},
    {"Dropout", CLASS_DROPOUT, 0, 0},
    {"Flatten", CLASS_FLATTEN, 0, 0},
    {"Dense", CLASS_DENSE, 0, 0},
    {"Activation", CLASS_ACTIVATION, 0, 0},
    {"BatchNormalization", CLASS_NORMALIZATION, 0, 0},
    {"Add", CLASS_MERGE, 0, 0},
    {"Subtract", CLASS_MERGE, 0, 0},
    {"Multiply", CLASS_MERGE, 0, 0},
    {"Average", CLASS_MERGE, 0, 0},
    {"Maximum", CLASS_MERGE, 0, 0},
    {"Minimum", CLASS_MERGE, 0, 0},
    {"Concatenate", CLASS_CONCATENATE, 0, 0},
    {"GlobalMaxPooling", CLASS_GLOBAL_MAX_POOL, 1, 3},
    {"GlobalMaxPool", CLASS_GLOBAL_MAX_POOL, 1, 3},
    {"GlobalAveragePooling", CLASS_GLOBAL_AVERAGE_POOL, 1, 3},
    {"GlobalAvgPool", CLASS_GLOBAL_AVERAGE_POOL, 1, 3},
    {"ReLU", CLASS_RELU, 0, 0},
    {"LeakyReLU", CLASS_LEAKY_RELU, 0, 0},
    {"PReLU", CLASS_PRELU, 0, 0},
    {"ELU", CLASS_ELU, 0, 0},
    {"Softmax", CLASS_SOFTMAX, 0, 0},
    {"ZeroPadding", CLASS_ZERO_PADDING, 1, 3},
    {"Cropping", CLASS_CROPPING, 1, 3},
    {"UpSampling", CLASS_UP_SAMPLING, 1, 3},
    {"Rescaling", CLASS_RESCALING, 0, 0},
    {"Reshape", CLASS_RESHAPE, 0, 0},
    {"Permute", CLASS_PERMUTE, 0, 0},
    {"SpatialDropout", CLASS_SPATIAL_DROPOUT, 1, 3},
    {"Normalization", CLASS_STANDARDIZATION, 0, 0},
};

layer_type layer_type_parse(const char *name)
{
    for (size_t i = 0; i < sizeof classes / sizeof *classes; i++)
        for (int rank = classes[i].least_rank; rank <= classes[i].most_rank; rank++) {
            char whole[64];
            snprintf(whole, sizeof whole, rank > 0 ? "%s%dD" : "%s", classes[i].name, rank);
            if (strcmp(whole, name) == 0) return (layer_type){classes[i].class, rank};
        }
    return (layer_type){CLASS_COUNT, 0};
}

#define ONE(c) (1u << (c))
enum {
    PLAIN_CONV = ONE(CLASS_CONV),
    DEPTHWISE = ONE(CLASS_DEPTHWISE),
    SEPARABLE = ONE(CLASS_SEPARABLE),
    CONV = PLAIN_CONV | SEPARABLE | DEPTHWISE,
    POOL = ONE(CLASS_MAX_POOL) | ONE(CLASS_AVERAGE_POOL),
    WEIGHTED = CONV | ONE(CLASS_DENSE),
    GLOBAL_POOL = ONE(CLASS_GLOBAL_MAX_POOL) | ONE(CLASS_GLOBAL_AVERAGE_POOL),
    DROPOUT = ONE(CLASS_DROPOUT) | ONE(CLASS_SPATIAL_DROPOUT),
    EDGES = ONE(CLASS_ZERO_PADDING) | ONE(CLASS_CROPPING),
    FORMATTED = CONV | POOL | GLOBAL_POOL | EDGES | ONE(CLASS_UP_SAMPLING) | ONE(CLASS_SPATIAL_DROPOUT),
    ALL = (1u << CLASS_COUNT) - 1
};

/* ---- the table */

#define AT(field) offsetof(layer_options, field)
static const struct {
    const char *key;
    option_reader *read;
    size_t field;
    unsigned classes;
} keys[] = {
    {"name", option_name, AT(name), ALL},
    {"trainable", option_bool, AT(trainable), ALL},
    {"dtype", option_dtype, 0, ALL},
    {"dynamic", option_false, 0, ALL},
    {"autocast", option_any_bool, 0, ALL}, /* to the dtype, which is float32 */
    {"batch_input_shape", option_shape, AT(shape), ALL},
    {"batch_shape", option_shape, AT(shape), ONE(CLASS_INPUT)},
    {"sparse", option_false, 0, ONE(CLASS_INPUT)},
    {"ragged", option_false, 0, ONE(CLASS_INPUT)},
    {"optional", option_false, 0, ONE(CLASS_INPUT)},
    {"filters", option_count, AT(filters), PLAIN_CONV | SEPARABLE},
    {"kernel_size", option_sizes, AT(kernel_size), CONV},
    {"strides", option_strides, AT(strides), CONV | POOL},
    {"padding", option_padding, AT(padding), CONV | POOL},
    {"padding", option_edges, AT(before), ONE(CLASS_ZERO_PADDING)},
    {"cropping", option_edges, AT(before), ONE(CLASS_CROPPING)},
    {"size", option_sizes, AT(pool_size), ONE(CLASS_UP_SAMPLING)},
    {"interpolation", option_nearest, 0, ONE(CLASS_UP_SAMPLING)},
    {"data_format", option_format, AT(channels_first), FORMATTED | ONE(CLASS_FLATTEN)},
    {"keepdims", option_bool, AT(keepdims), GLOBAL_POOL},
    {"target_shape", option_target, AT(target), ONE(CLASS_RESHAPE)},
    {"dims", option_target, AT(target), ONE(CLASS_PERMUTE)},
    {"scale", option_scale, AT(scaling), ONE(CLASS_RESCALING)},
    {"offset", option_offset, AT(scaling), ONE(CLASS_RESCALING)},
    {"mean", option_mean, AT(scaling), ONE(CLASS_STANDARDIZATION)},
    {"variance", option_variance, AT(scaling), ONE(CLASS_STANDARDIZATION)},
    {"invert", option_bool, AT(invert), ONE(CLASS_STANDARDIZATION)},
    {"function", option_anything, 0, ONE(CLASS_OPERATION)}, /* which network_operation_read knows */
    {"max_value", option_most, AT(activation.most), ONE(CLASS_RELU)},
    {"negative_slope", option_positive, AT(activation.alpha), ONE(CLASS_RELU) | ONE(CLASS_LEAKY_RELU)},
    {"threshold", option_positive, AT(activation.threshold), ONE(CLASS_RELU)},
    {"alpha", option_positive, AT(activation.alpha),
     ONE(CLASS_LEAKY_RELU) | ONE(CLASS_ELU)}, /* Keras 2's leaky */
    {"shared_axes", option_axes, AT(shared_axes), ONE(CLASS_PRELU)},
    {"alpha_initializer", option_initializer, AT(alpha.init), ONE(CLASS_PRELU)},
    {"alpha_regularizer", option_regularizer, AT(alpha.reg), ONE(CLASS_PRELU)},
    {"alpha_constraint", option_constraint, AT(alpha.limit), ONE(CLASS_PRELU)},
    {"dilation_rate", option_sizes, AT(dilation_rate), CONV},
    {"groups", option_count, AT(groups), PLAIN_CONV},
    {"groups", option_one, 0, SEPARABLE | DEPTHWISE},
    {"depth_multiplier", option_count, AT(depth_multiplier), SEPARABLE | DEPTHWISE},
    {"pool_size", option_sizes, AT(pool_size), POOL},
    {"units", option_count, AT(units), ONE(CLASS_DENSE)},
    {"activation", option_activation, AT(activation), WEIGHTED | ONE(CLASS_ACTIVATION)},
    {"use_bias", option_bool, AT(use_bias), WEIGHTED},
    /* tf.keras writes the kernel_* of the base class for separable layers too, where they have no effect: the
     * initializer is harmless, the others would be lost. */
    {"kernel_initializer", option_initializer, AT(kernel.init), PLAIN_CONV | SEPARABLE | ONE(CLASS_DENSE)},
    {"kernel_regularizer", option_regularizer, AT(kernel.reg), PLAIN_CONV | ONE(CLASS_DENSE)},
    {"kernel_constraint", option_constraint, AT(kernel.limit), PLAIN_CONV | ONE(CLASS_DENSE)},
    {"kernel_regularizer", option_null, 0, SEPARABLE},
    {"kernel_constraint", option_null, 0, SEPARABLE},
    {"depthwise_initializer", option_initializer, AT(depthwise.init), SEPARABLE | DEPTHWISE},
    {"depthwise_regularizer", option_regularizer, AT(depthwise.reg), SEPARABLE | DEPTHWISE},
    {"depthwise_constraint", option_constraint, AT(depthwise.limit), SEPARABLE | DEPTHWISE},
    {"pointwise_initializer", option_initializer, AT(pointwise.init), SEPARABLE},
    {"pointwise_regularizer", option_regularizer, AT(pointwise.reg), SEPARABLE},
    {"pointwise_constraint", option_constraint, AT(pointwise.limit), SEPARABLE},
    {"bias_initializer", option_initializer, AT(bias.init), WEIGHTED},
    {"bias_regularizer", option_regularizer, AT(bias.reg), WEIGHTED},
    {"bias_constraint", option_constraint, AT(bias.limit), WEIGHTED},
    {"activity_regularizer", option_regularizer, AT(activity_reg), WEIGHTED},
    {"axis", option_axis, AT(axis),
     ONE(CLASS_NORMALIZATION) | ONE(CLASS_CONCATENATE) | ONE(CLASS_SOFTMAX) | ONE(CLASS_STANDARDIZATION)},
    {"momentum", option_share, AT(momentum), ONE(CLASS_NORMALIZATION)},
    {"epsilon", option_epsilon, AT(epsilon), ONE(CLASS_NORMALIZATION)},
    {"center", option_bool, AT(center), ONE(CLASS_NORMALIZATION)},
    {"scale", option_bool, AT(scale), ONE(CLASS_NORMALIZATION)},
    {"gamma_initializer", option_initializer, AT(gamma.init), ONE(CLASS_NORMALIZATION)},
    {"gamma_regularizer", option_regularizer, AT(gamma.reg), ONE(CLASS_NORMALIZATION)},
    {"gamma_constraint", option_constraint, AT(gamma.limit), ONE(CLASS_NORMALIZATION)},
    {"beta_initializer", option_initializer, AT(beta.init), ONE(CLASS_NORMALIZATION)},
    {"beta_regularizer", option_regularizer, AT(beta.reg), ONE(CLASS_NORMALIZATION)},
    {"beta_constraint", option_constraint, AT(beta.limit), ONE(CLASS_NORMALIZATION)},
    {"moving_mean_initializer", option_initializer, AT(moving_mean.init), ONE(CLASS_NORMALIZATION)},
    {"moving_variance_initializer", option_initializer, AT(moving_variance.init), ONE(CLASS_NORMALIZATION)},
    {"renorm", option_false, 0, ONE(CLASS_NORMALIZATION)},
    {"renorm_clipping", option_anything, 0, ONE(CLASS_NORMALIZATION)},
    {"renorm_momentum", option_anything, 0, ONE(CLASS_NORMALIZATION)},
    {"synchronized", option_false, 0, ONE(CLASS_NORMALIZATION)},
    {"rate", option_rate, AT(rate), DROPOUT},
    {"noise_shape", option_noise, AT(noise), ONE(CLASS_DROPOUT)},
    {"noise_shape", option_null, 0, ONE(CLASS_SPATIAL_DROPOUT)},
    {"seed", option_seed, AT(seed), DROPOUT},
};

static conv_status read_key(layer_type type, const char *key, json_t *value, layer_options *out,
                            conv_error *err)
{
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++) {
        if (strcmp(keys[i].key, key) != 0 || !(keys[i].classes & ONE(type.class))) continue;
        conv_error inner = {""};
        const char *wrong =
            keys[i].read(&(option_value){type, value, out, &inner}, (char *)out + keys[i].field);
        if (wrong == NULL) return CONV_OK;
        if (*wrong == 0) return conv_fail(err, CONV_INVALID, "%s: %.180s", key, inner.text);
        char text[64] = "";
        size_t length = json_dumpb(value, text, sizeof text - 1, JSON_ENCODE_ANY | JSON_REAL_PRECISION(9));
        text[length < sizeof text ? length : sizeof text - 1] = 0;
        return conv_fail(err, CONV_INVALID, "%s is %s%s: must be %s", key, text,
                         length < sizeof text ? "" : "...", wrong);
    }
    if (json_is_null(value))
        return CONV_OK; /* of a newer Keras, and not used: quantization_config, lora_rank */
    return conv_fail(err, CONV_INVALID, "unknown option '%s'", key);
}

/* Of the classes that are one. */
static nn_function default_activation(layer_class class)
{
    nn_activation kind = class == CLASS_SOFTMAX                             ? NN_SOFTMAX
                         : class == CLASS_ELU                               ? NN_ELU
                         : class == CLASS_RELU || class == CLASS_LEAKY_RELU ? NN_SHAPED_RELU
                                                                            : NN_LINEAR;
    nn_function f = activation_plain(kind);
    if (class == CLASS_RELU) f.alpha = 0;
    if (class == CLASS_LEAKY_RELU) f.alpha = 0.3f;
    return f;
}

conv_status layer_options_parse(layer_type type, json_t *config, layer_options *out, conv_error *err)
{
    static const struct {
        const char *key;
        unsigned classes;
    } required[] = {{"filters", PLAIN_CONV | SEPARABLE},  {"kernel_size", CONV},
                    {"units", ONE(CLASS_DENSE)},          {"rate", DROPOUT},
                    {"cropping", ONE(CLASS_CROPPING)}, /* Keras writes it; its defaults differ by rank */
                    {"target_shape", ONE(CLASS_RESHAPE)}, {"dims", ONE(CLASS_PERMUTE)},
                    {"scale", ONE(CLASS_RESCALING)},      {"activation", ONE(CLASS_ACTIVATION)}};
    const initializer glorot = {.kind = INIT_VARIANCE_SCALING, .a = 1, .mode = FAN_AVG};
    *out = (layer_options){.trainable = true,
                           .use_bias = true,
                           .groups = 1,
                           .depth_multiplier = 1,
                           .axis = -1,
                           .momentum = 0.99,
                           .epsilon = 1e-3,
                           .center = true,
                           .scale = true,
                           .gamma.init.kind = INIT_ONES,
                           .moving_variance.init.kind = INIT_ONES,
                           .kernel.init = glorot,
                           .depthwise.init = glorot,
                           .pointwise.init = glorot,
                           .activation = default_activation(type.class),
                           .scaling = {.count = 1}};
    bool pool = ONE(type.class) & POOL;
    for (int i = 0; i < CONV_AXES; i++) {
        bool has = CONV_AXES - i <= type.rank;
        out->kernel_size[i] = out->dilation_rate[i] = 1;
        out->pool_size[i] = has ? 2 : 1;
        out->strides[i] = has && pool ? 0 : 1;
        out->before[i] = out->after[i] = has && type.class == CLASS_ZERO_PADDING;
    }
    for (size_t i = 0; i < sizeof required / sizeof *required; i++)
        if ((required[i].classes & ONE(type.class)) && json_object_get(config, required[i].key) == NULL)
            return conv_fail(err, CONV_INVALID, "option '%s' is missing", required[i].key);
    const char *key;
    json_t *value;
    json_object_foreach(config, key, value)
    {
        conv_status status = read_key(type, key, value, out, err);
        if (status != CONV_OK) return status;
    }
    if (type.class == CLASS_RELU) out->activation = activation_of_relu(&out->activation);
    if (pool && out->strides[CONV_W] == 0) memcpy(out->strides, out->pool_size, sizeof out->strides);
    return CONV_OK;
}
