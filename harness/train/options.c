/* One table: every key a layer's config may have, how it is read, where it goes and which classes have it. A
 * key that is in no row for the class is an error unless it is null, so nothing that matters is ever ignored.
 * Keys and defaults: Keras 2, tf.keras 2.x and Keras 3, keras/layers get_config(). */
#include "options.h"

#include <float.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include "../text.h"

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

/* ---- how values are read: each returns NULL, or what the value must be */

typedef struct {
    layer_type type;
    json_t *value;
    layer_options *options; /* of which `to` is a part, for those that set others too */
    conv_error *err;        /* for those that explain themselves */
} given;
typedef const char *reader(const given *g, void *to);

/* Whether it is an integer of at least that much, which then is in *to. */
static bool is_size(json_t *value, int64_t least, int64_t *to)
{
    *to = json_integer_value(value);
    return json_is_integer(value) && *to >= least && *to <= INT32_MAX;
}

/* Whether it is a number in that range, which then is in *to. */
static bool is_within(json_t *value, double least, double most, double *to)
{
    *to = json_number_value(value);
    return json_is_number(value) && *to >= least && *to <= most;
}

static const char *read_count(const given *g, void *to)
{
    return is_size(g->value, 1, to) ? NULL : "a positive integer";
}

/* An integer, or a list of as many as there are axes. */
static const char *read_sizes(const given *g, void *to)
{
    static const char *const words[] = {"one integer", "an integer or two", "an integer or three"};
    int rank = g->type.rank;
    bool list = json_is_array(g->value);
    int64_t *sizes = (int64_t *)to + CONV_AXES - rank;
    if (list && json_array_size(g->value) != (size_t)rank) return words[rank - 1];
    bool fine = true;
    for (int i = 0; i < rank && fine; i++)
        fine = is_size(list ? json_array_get(g->value, (size_t)i) : g->value, 1, &sizes[i]);
    return fine ? NULL : "a positive integer";
}

/* A pooling layer's strides may be null: the pool size. 0 stands for that. */
static const char *read_strides(const given *g, void *to)
{
    if ((ONE(g->type.class) & POOL) && json_is_null(g->value)) return NULL;
    return read_sizes(g, to);
}

static const char *read_bool(const given *g, void *to)
{
    if (!json_is_boolean(g->value)) return "true or false";
    *(bool *)to = json_is_true(g->value);
    return NULL;
}

static const char *read_name(const given *g, void *to)
{
    const char *text = json_string_value(g->value);
    if (json_is_null(g->value)) return NULL; /* named after its class */
    if (text == NULL || *text == 0 || strlen(text) >= MODEL_NAME_MAX || !text_is_plain(text))
        return "a name of 1 to 63 printable characters";
    strcpy(to, text);
    return NULL;
}

static const char *read_word(json_t *value, const char *const *words, int *at)
{
    const char *text = json_string_value(value);
    for (int i = 0; words[i] != NULL; i++)
        if (text != NULL && strcmp(words[i], text) == 0) {
            *at = i;
            return NULL;
        }
    return "";
}

static const char *read_padding(const given *g, void *to)
{
    static const char *const words[] = {"valid", "same", "causal", NULL};
    int at;
    bool causal = g->type.rank == 1 && (ONE(g->type.class) & (PLAIN_CONV | SEPARABLE)); /* as Keras */
    if (read_word(g->value, words, &at) != NULL || (at == PADDING_CAUSAL && !causal))
        return causal ? "valid, same or causal" : "valid or same";
    *(padding_kind *)to = (padding_kind)at;
    return NULL;
}

static const char *read_format(const given *g, void *to)
{
    static const char *const words[] = {"channels_last", "channels_first", NULL};
    int at = 0;
    if (!json_is_null(g->value) && read_word(g->value, words, &at) != NULL)
        return "channels_last or channels_first";
    *(bool *)to = at == 1;
    return NULL;
}

static const char *read_activation(const given *g, void *to) { return activation_parse(g->value, to, g->err); }

/* A number of at least 0, the slope of a ReLU below zero for example. */
static const char *read_positive(const given *g, void *to)
{
    double value;
    if (!is_within(g->value, 0, FLT_MAX, &value)) return "a number of at least 0";
    *(float *)to = (float)value;
    return NULL;
}

/* The same, or null for none. */
static const char *read_most(const given *g, void *to)
{
    return json_is_null(g->value) ? NULL : read_positive(g, to);
}

/* 1; in one dimension [before, after]; in more a number or such a pair for each axis. */
static const char *read_edges(const given *g, void *to)
{
    (void)to;
    layer_options *o = g->options;
    int rank = g->type.rank;
    bool list = json_is_array(g->value) && rank > 1;
    if (list && json_array_size(g->value) != (size_t)rank) return "a number, or one or a pair for each axis";
    for (int i = 0; i < rank; i++) {
        json_t *axis = list ? json_array_get(g->value, (size_t)i) : g->value;
        bool pair = json_is_array(axis);
        int at = CONV_AXES - rank + i;
        if ((pair && json_array_size(axis) != 2) ||
            !is_size(pair ? json_array_get(axis, 0) : axis, 0, &o->before[at]) ||
            !is_size(pair ? json_array_get(axis, 1) : axis, 0, &o->after[at]))
            return "of integers of at least 0: one, or a pair for each axis";
    }
    return NULL;
}

static const char *read_nearest(const given *g, void *to)
{
    (void)to;
    const char *text = json_string_value(g->value);
    return text != NULL && strcmp(text, "nearest") == 0 ? NULL : "nearest: others are not supported";
}

static const char *read_axes(const given *g, void *to)
{
    if (json_is_null(g->value)) return NULL;
    size_t count = json_is_array(g->value) ? json_array_size(g->value) : 1;
    for (size_t i = 0; i < count; i++) {
        int64_t axis;
        if (!is_size(json_is_array(g->value) ? json_array_get(g->value, i) : g->value, 1, &axis) ||
            axis > CONV_AXES + 1)
            return "null or axes, of which the first after the batch is 1";
        *(unsigned *)to |= 1u << axis;
    }
    return NULL;
}

/* Sizes of a tensor without its batch; -1 is one of them where a shape is to be found. */
static const char *read_target(const given *g, void *to)
{
    tensor_shape *s = to;
    size_t rank = json_array_size(g->value);
    if (rank < 1 || rank > CONV_AXES + 1) return "a list of 1 to 4 integers";
    s->rank = (int)rank;
    for (size_t i = 0; i < rank; i++) {
        json_t *item = json_array_get(g->value, i);
        bool open = json_is_integer(item) && json_integer_value(item) == -1 && g->type.class == CLASS_RESHAPE;
        if (!open && !is_size(item, 1, &s->dim[i]))
            return "a list of positive integers, of which a target_shape's may be -1";
        if (open) s->dim[i] = -1;
    }
    return NULL;
}

/* A number, or a list of one for each channel, as Keras writes it or NumPy's array. */
static const char *read_scaling(const given *g, float *to, int *count)
{
    static const char wrong[] = "a number, or a list of at most 4";
    json_t *value =
        json_is_object(g->value) ? json_object_get(json_object_get(g->value, "config"), "value") : g->value;
    size_t size = json_is_array(value) ? json_array_size(value) : 1;
    if (size < 1 || size > RESCALING_MAX) return wrong;
    if (size > 1 && *count > 1 && *count != (int)size) return "as long as the other list";
    if (size > 1) *count = (int)size;
    for (size_t i = 0; i < RESCALING_MAX; i++) {
        json_t *item = json_is_array(value) ? json_array_get(value, size > 1 ? i : 0) : value;
        double number;
        if (!is_within(item, -FLT_MAX, FLT_MAX, &number) && i < size) return wrong;
        to[i] = (float)number;
    }
    return NULL;
}

static const char *read_scale(const given *g, void *to)
{
    rescaling *r = to;
    return read_scaling(g, r->scale, &r->count);
}

static const char *read_offset(const given *g, void *to)
{
    rescaling *r = to;
    return read_scaling(g, r->offset, &r->count);
}

static const char *read_variance(const given *g, void *to)
{
    g->options->has_variance = !json_is_null(g->value);
    return g->options->has_variance ? read_scale(g, to) : NULL;
}

static const char *read_mean(const given *g, void *to)
{
    g->options->has_mean = !json_is_null(g->value);
    return g->options->has_mean ? read_offset(g, to) : NULL;
}

/* [null, 1, 1, 8]: sizes of what is dropped together, the batch's first. */
static const char *read_noise(const given *g, void *to)
{
    return json_is_null(g->value) || shape_read_open(g->value, to) ? NULL
                                                                   : "null or a list such as [null, 1, 1, 8]";
}

static const char *read_rate(const given *g, void *to)
{
    return is_within(g->value, 0, 1, to) && *(double *)to < 1 ? NULL : "a number in [0, 1)";
}

static const char *read_share(const given *g, void *to)
{
    return is_within(g->value, 0, 1, to) ? NULL : "a number from 0 to 1";
}

static const char *read_epsilon(const given *g, void *to)
{
    return is_within(g->value, 0, 1e30, to) && *(double *)to > 0 ? NULL : "a number above 0";
}

/* tf.keras writes a list of one. */
static const char *read_axis(const given *g, void *to)
{
    json_t *value = json_array_size(g->value) == 1 ? json_array_get(g->value, 0) : g->value;
    if (!json_is_integer(value)) return "one integer: several axes are not supported";
    *(int64_t *)to = json_integer_value(value);
    return NULL;
}

/* Of an option that has no effect unless another, which is refused, is set. */
static const char *read_anything(const given *g, void *to)
{
    (void)g;
    (void)to;
    return NULL;
}

static const char *read_seed(const given *g, void *to)
{
    if (json_is_null(g->value)) return NULL;
    if (!json_is_integer(g->value)) return "null or an integer";
    g->options->seeded = true;
    *(int64_t *)to = json_integer_value(g->value);
    return NULL;
}

static const char *read_null(const given *g, void *to)
{
    (void)to;
    return json_is_null(g->value) ? NULL : "null: anything else is not supported";
}

static const char *read_false(const given *g, void *to)
{
    (void)to;
    return json_is_null(g->value) || json_is_false(g->value) ? NULL : "false: anything else is not supported";
}

static const char *read_any_bool(const given *g, void *to)
{
    (void)to;
    return json_is_null(g->value) || json_is_boolean(g->value) ? NULL : "true or false";
}

static const char *read_one(const given *g, void *to)
{
    (void)to;
    return json_is_integer(g->value) && json_integer_value(g->value) == 1 ? NULL : "1";
}

/* "float32", or Keras 2.15's policy object around it. */
static const char *read_dtype(const given *g, void *to)
{
    json_t *value = g->value;
    (void)to;
    if (json_is_null(value)) return NULL;
    if (json_is_object(value)) value = json_object_get(json_object_get(value, "config"), "name");
    const char *name = json_is_string(value) ? json_string_value(value) : "";
    /* An input layer has the type of the array that the model was first called with; the next layer casts it. */
    if (strcmp(name, "float32") == 0 || (g->type.class == CLASS_INPUT && strcmp(name, "float64") == 0))
        return NULL;
    return "float32";
}

const char *shape_parse(json_t *value, tensor_shape *out)
{
    size_t rank = json_array_size(value);
    if (rank < 2 || rank > CONV_AXES + 2) return "a list such as [null, 28, 28, 1]";
    *out = (tensor_shape){.rank = (int)rank - 1};
    for (size_t i = 1; i < rank; i++)
        if (!is_size(json_array_get(value, i), 1, &out->dim[i - 1]))
            return "fully known after the batch, such as [null, 28, 28, 1]";
    return NULL;
}

static const char *read_shape(const given *g, void *to)
{
    g->options->has_shape = !json_is_null(g->value);
    return g->options->has_shape ? shape_parse(g->value, to) : NULL;
}

/* These three explain themselves in err. */
static const char *read_initializer(const given *g, void *to)
{
    return initializer_parse(g->value, to, g->err) == CONV_OK ? NULL : "";
}

static const char *read_regularizer(const given *g, void *to)
{
    return regularizer_parse(g->value, to, g->err) == CONV_OK ? NULL : "";
}

static const char *read_constraint(const given *g, void *to)
{
    return constraint_parse(g->value, to, g->err) == CONV_OK ? NULL : "";
}

/* ---- the table */

#define AT(field) offsetof(layer_options, field)
static const struct {
    const char *key;
    reader *read;
    size_t field;
    unsigned classes;
} keys[] = {
    {"name", read_name, AT(name), ALL},
    {"trainable", read_bool, AT(trainable), ALL},
    {"dtype", read_dtype, 0, ALL},
    {"dynamic", read_false, 0, ALL},
    {"autocast", read_any_bool, 0, ALL}, /* to the dtype, which is float32 */
    {"batch_input_shape", read_shape, AT(shape), ALL},
    {"batch_shape", read_shape, AT(shape), ONE(CLASS_INPUT)},
    {"sparse", read_false, 0, ONE(CLASS_INPUT)},
    {"ragged", read_false, 0, ONE(CLASS_INPUT)},
    {"optional", read_false, 0, ONE(CLASS_INPUT)},
    {"filters", read_count, AT(filters), PLAIN_CONV | SEPARABLE},
    {"kernel_size", read_sizes, AT(kernel_size), CONV},
    {"strides", read_strides, AT(strides), CONV | POOL},
    {"padding", read_padding, AT(padding), CONV | POOL},
    {"padding", read_edges, AT(before), ONE(CLASS_ZERO_PADDING)},
    {"cropping", read_edges, AT(before), ONE(CLASS_CROPPING)},
    {"size", read_sizes, AT(pool_size), ONE(CLASS_UP_SAMPLING)},
    {"interpolation", read_nearest, 0, ONE(CLASS_UP_SAMPLING)},
    {"data_format", read_format, AT(channels_first), FORMATTED | ONE(CLASS_FLATTEN)},
    {"keepdims", read_bool, AT(keepdims), GLOBAL_POOL},
    {"target_shape", read_target, AT(target), ONE(CLASS_RESHAPE)},
    {"dims", read_target, AT(target), ONE(CLASS_PERMUTE)},
    {"scale", read_scale, AT(scaling), ONE(CLASS_RESCALING)},
    {"offset", read_offset, AT(scaling), ONE(CLASS_RESCALING)},
    {"mean", read_mean, AT(scaling), ONE(CLASS_STANDARDIZATION)},
    {"variance", read_variance, AT(scaling), ONE(CLASS_STANDARDIZATION)},
    {"invert", read_bool, AT(invert), ONE(CLASS_STANDARDIZATION)},
    {"function", read_anything, 0, ONE(CLASS_OPERATION)}, /* which network_operation_read knows */
    {"max_value", read_most, AT(activation.most), ONE(CLASS_RELU)},
    {"negative_slope", read_positive, AT(activation.alpha), ONE(CLASS_RELU) | ONE(CLASS_LEAKY_RELU)},
    {"threshold", read_positive, AT(activation.threshold), ONE(CLASS_RELU)},
    {"alpha", read_positive, AT(activation.alpha),
     ONE(CLASS_LEAKY_RELU) | ONE(CLASS_ELU)}, /* Keras 2's leaky */
    {"shared_axes", read_axes, AT(shared_axes), ONE(CLASS_PRELU)},
    {"alpha_initializer", read_initializer, AT(alpha.init), ONE(CLASS_PRELU)},
    {"alpha_regularizer", read_regularizer, AT(alpha.reg), ONE(CLASS_PRELU)},
    {"alpha_constraint", read_constraint, AT(alpha.limit), ONE(CLASS_PRELU)},
    {"dilation_rate", read_sizes, AT(dilation_rate), CONV},
    {"groups", read_count, AT(groups), PLAIN_CONV},
    {"groups", read_one, 0, SEPARABLE | DEPTHWISE},
    {"depth_multiplier", read_count, AT(depth_multiplier), SEPARABLE | DEPTHWISE},
    {"pool_size", read_sizes, AT(pool_size), POOL},
    {"units", read_count, AT(units), ONE(CLASS_DENSE)},
    {"activation", read_activation, AT(activation), WEIGHTED | ONE(CLASS_ACTIVATION)},
    {"use_bias", read_bool, AT(use_bias), WEIGHTED},
    /* tf.keras writes the kernel_* of the base class for separable layers too, where they have no effect: the
     * initializer is harmless, the others would be lost. */
    {"kernel_initializer", read_initializer, AT(kernel.init), PLAIN_CONV | SEPARABLE | ONE(CLASS_DENSE)},
    {"kernel_regularizer", read_regularizer, AT(kernel.reg), PLAIN_CONV | ONE(CLASS_DENSE)},
    {"kernel_constraint", read_constraint, AT(kernel.limit), PLAIN_CONV | ONE(CLASS_DENSE)},
    {"kernel_regularizer", read_null, 0, SEPARABLE},
    {"kernel_constraint", read_null, 0, SEPARABLE},
    {"depthwise_initializer", read_initializer, AT(depthwise.init), SEPARABLE | DEPTHWISE},
    {"depthwise_regularizer", read_regularizer, AT(depthwise.reg), SEPARABLE | DEPTHWISE},
    {"depthwise_constraint", read_constraint, AT(depthwise.limit), SEPARABLE | DEPTHWISE},
    {"pointwise_initializer", read_initializer, AT(pointwise.init), SEPARABLE},
    {"pointwise_regularizer", read_regularizer, AT(pointwise.reg), SEPARABLE},
    {"pointwise_constraint", read_constraint, AT(pointwise.limit), SEPARABLE},
    {"bias_initializer", read_initializer, AT(bias.init), WEIGHTED},
    {"bias_regularizer", read_regularizer, AT(bias.reg), WEIGHTED},
    {"bias_constraint", read_constraint, AT(bias.limit), WEIGHTED},
    {"activity_regularizer", read_regularizer, AT(activity_reg), WEIGHTED},
    {"axis", read_axis, AT(axis),
     ONE(CLASS_NORMALIZATION) | ONE(CLASS_CONCATENATE) | ONE(CLASS_SOFTMAX) | ONE(CLASS_STANDARDIZATION)},
    {"momentum", read_share, AT(momentum), ONE(CLASS_NORMALIZATION)},
    {"epsilon", read_epsilon, AT(epsilon), ONE(CLASS_NORMALIZATION)},
    {"center", read_bool, AT(center), ONE(CLASS_NORMALIZATION)},
    {"scale", read_bool, AT(scale), ONE(CLASS_NORMALIZATION)},
    {"gamma_initializer", read_initializer, AT(gamma.init), ONE(CLASS_NORMALIZATION)},
    {"gamma_regularizer", read_regularizer, AT(gamma.reg), ONE(CLASS_NORMALIZATION)},
    {"gamma_constraint", read_constraint, AT(gamma.limit), ONE(CLASS_NORMALIZATION)},
    {"beta_initializer", read_initializer, AT(beta.init), ONE(CLASS_NORMALIZATION)},
    {"beta_regularizer", read_regularizer, AT(beta.reg), ONE(CLASS_NORMALIZATION)},
    {"beta_constraint", read_constraint, AT(beta.limit), ONE(CLASS_NORMALIZATION)},
    {"moving_mean_initializer", read_initializer, AT(moving_mean.init), ONE(CLASS_NORMALIZATION)},
    {"moving_variance_initializer", read_initializer, AT(moving_variance.init), ONE(CLASS_NORMALIZATION)},
    {"renorm", read_false, 0, ONE(CLASS_NORMALIZATION)},
    {"renorm_clipping", read_anything, 0, ONE(CLASS_NORMALIZATION)},
    {"renorm_momentum", read_anything, 0, ONE(CLASS_NORMALIZATION)},
    {"synchronized", read_false, 0, ONE(CLASS_NORMALIZATION)},
    {"rate", read_rate, AT(rate), DROPOUT},
    {"noise_shape", read_noise, AT(noise), ONE(CLASS_DROPOUT)},
    {"noise_shape", read_null, 0, ONE(CLASS_SPATIAL_DROPOUT)},
    {"seed", read_seed, AT(seed), DROPOUT},
};

static conv_status read_key(layer_type type, const char *key, json_t *value, layer_options *out,
                            conv_error *err)
{
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++) {
        if (strcmp(keys[i].key, key) != 0 || !(keys[i].classes & ONE(type.class))) continue;
        conv_error inner = {""};
        const char *wrong = keys[i].read(&(given){type, value, out, &inner}, (char *)out + keys[i].field);
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
