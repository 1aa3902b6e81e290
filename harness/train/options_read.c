/* Values of a layer's options, in the forms that Keras 2, tf.keras and Keras 3 write. */
#include <float.h>
#include <string.h>

#include "../text.h"
#include "options_internal.h"

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

const char *option_count(const option_value *g, void *to)
{
    return is_size(g->value, 1, to) ? NULL : "a positive integer";
}

/* An integer, or a list of as many as there are axes. */
const char *option_sizes(const option_value *g, void *to)
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
const char *option_strides(const option_value *g, void *to)
{
    if ((g->type.class == CLASS_MAX_POOL || g->type.class == CLASS_AVERAGE_POOL) && json_is_null(g->value))
        return NULL;
    return option_sizes(g, to);
}

const char *option_bool(const option_value *g, void *to)
{
    if (!json_is_boolean(g->value)) return "true or false";
    *(bool *)to = json_is_true(g->value);
    return NULL;
}

const char *option_name(const option_value *g, void *to)
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

const char *option_padding(const option_value *g, void *to)
{
    static const char *const words[] = {"valid", "same", "causal", NULL};
    int at;
    bool causal = /* as Keras */
        g->type.rank == 1 && (g->type.class == CLASS_CONV || g->type.class == CLASS_SEPARABLE);
    if (read_word(g->value, words, &at) != NULL || (at == PADDING_CAUSAL && !causal))
        return causal ? "valid, same or causal" : "valid or same";
    *(padding_kind *)to = (padding_kind)at;
    return NULL;
}

const char *option_format(const option_value *g, void *to)
{
    static const char *const words[] = {"channels_last", "channels_first", NULL};
    int at = 0;
    if (!json_is_null(g->value) && read_word(g->value, words, &at) != NULL)
        return "channels_last or channels_first";
    *(bool *)to = at == 1;
    return NULL;
}

const char *option_activation(const option_value *g, void *to)
{
    return activation_parse(g->value, to, g->err);
}

/* A number of at least 0, the slope of a ReLU below zero for example. */
const char *option_positive(const option_value *g, void *to)
{
    double value;
    if (!is_within(g->value, 0, FLT_MAX, &value)) return "a number of at least 0";
    *(float *)to = (float)value;
    return NULL;
}

/* The same, or null for none. */
const char *option_most(const option_value *g, void *to)
{
    return json_is_null(g->value) ? NULL : option_positive(g, to);
}

/* 1; in one dimension [before, after]; in more a number or such a pair for each axis. */
const char *option_edges(const option_value *g, void *to)
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

const char *option_nearest(const option_value *g, void *to)
{
    (void)to;
    const char *text = json_string_value(g->value);
    return text != NULL && strcmp(text, "nearest") == 0 ? NULL : "nearest: others are not supported";
}

const char *option_axes(const option_value *g, void *to)
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
const char *option_target(const option_value *g, void *to)
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
static const char *read_scaling(const option_value *g, float *to, int *count)
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

const char *option_scale(const option_value *g, void *to)
{
    rescaling *r = to;
    return read_scaling(g, r->scale, &r->count);
}

const char *option_offset(const option_value *g, void *to)
{
    rescaling *r = to;
    return read_scaling(g, r->offset, &r->count);
}

const char *option_variance(const option_value *g, void *to)
{
    g->options->has_variance = !json_is_null(g->value);
    return g->options->has_variance ? option_scale(g, to) : NULL;
}

const char *option_mean(const option_value *g, void *to)
{
    g->options->has_mean = !json_is_null(g->value);
    return g->options->has_mean ? option_offset(g, to) : NULL;
}

/* [null, 1, 1, 8]: sizes of what is dropped together, the batch's first. */
const char *option_noise(const option_value *g, void *to)
{
    return json_is_null(g->value) || shape_read_open(g->value, to) ? NULL
                                                                   : "null or a list such as [null, 1, 1, 8]";
}

const char *option_rate(const option_value *g, void *to)
{
    return is_within(g->value, 0, 1, to) && *(double *)to < 1 ? NULL : "a number in [0, 1)";
}

const char *option_share(const option_value *g, void *to)
{
    return is_within(g->value, 0, 1, to) ? NULL : "a number from 0 to 1";
}

const char *option_epsilon(const option_value *g, void *to)
{
    return is_within(g->value, 0, 1e30, to) && *(double *)to > 0 ? NULL : "a number above 0";
}

/* tf.keras writes a list of one. */
const char *option_axis(const option_value *g, void *to)
{
    json_t *value = json_array_size(g->value) == 1 ? json_array_get(g->value, 0) : g->value;
    if (!json_is_integer(value)) return "one integer: several axes are not supported";
    *(int64_t *)to = json_integer_value(value);
    return NULL;
}

/* Of an option that has no effect unless another, which is refused, is set. */
const char *option_anything(const option_value *g, void *to)
{
    (void)g;
    (void)to;
    return NULL;
}

const char *option_seed(const option_value *g, void *to)
{
    if (json_is_null(g->value)) return NULL;
    if (!json_is_integer(g->value)) return "null or an integer";
    g->options->seeded = true;
    *(int64_t *)to = json_integer_value(g->value);
    return NULL;
}

const char *option_null(const option_value *g, void *to)
{
    (void)to;
    return json_is_null(g->value) ? NULL : "null: anything else is not supported";
}

const char *option_false(const option_value *g, void *to)
{
    (void)to;
    return json_is_null(g->value) || json_is_false(g->value) ? NULL : "false: anything else is not supported";
}

const char *option_any_bool(const option_value *g, void *to)
{
    (void)to;
    return json_is_null(g->value) || json_is_boolean(g->value) ? NULL : "true or false";
}

const char *option_one(const option_value *g, void *to)
{
    (void)to;
    return json_is_integer(g->value) && json_integer_value(g->value) == 1 ? NULL : "1";
}

/* "float32", or Keras 2.15's policy object around it. */
const char *option_dtype(const option_value *g, void *to)
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

static const char *shape_parse(json_t *value, tensor_shape *out)
{
    size_t rank = json_array_size(value);
    if (rank < 2 || rank > CONV_AXES + 2) return "a list such as [null, 28, 28, 1]";
    *out = (tensor_shape){.rank = (int)rank - 1};
    for (size_t i = 1; i < rank; i++)
        if (!is_size(json_array_get(value, i), 1, &out->dim[i - 1]))
            return "fully known after the batch, such as [null, 28, 28, 1]";
    return NULL;
}

const char *option_shape(const option_value *g, void *to)
{
    g->options->has_shape = !json_is_null(g->value);
    return g->options->has_shape ? shape_parse(g->value, to) : NULL;
}

/* These three explain themselves in err. */
const char *option_initializer(const option_value *g, void *to)
{
    return initializer_parse(g->value, to, g->err) == CONV_OK ? NULL : "";
}

const char *option_regularizer(const option_value *g, void *to)
{
    return regularizer_parse(g->value, to, g->err) == CONV_OK ? NULL : "";
}

const char *option_constraint(const option_value *g, void *to)
{
    return constraint_parse(g->value, to, g->err) == CONV_OK ? NULL : "";
}
