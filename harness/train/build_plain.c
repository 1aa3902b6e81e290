/* Layers that are neither convolution, dense nor pooling by windows: shapes, and what their operations need.
 * What Keras refuses at build time is refused here in its words (keras/src/layers/reshaping, pooling,
 * activations). */
#include <float.h>
#include <math.h>
#include <string.h>

#include "build.h"

static const double KERAS_EPSILON = 1e-7; /* keras.config.epsilon() */

static void build_flatten(layer *l)
{
    l->kind = LAYER_FLATTEN;
    l->out = (tensor_shape){.rank = 1, .dim = {shape_count(&l->in)}};
    if (!l->channels_first || l->in.rank < 2) return; /* Keras puts channels last before it flattens */
    int64_t channels = l->in.dim[0], positions = l->out.dim[0] / channels;
    l->view = (nn_view){.in = l->out.dim[0],
                        .axis = {{1, 1, 0, 1, 0},
                                 {1, 1, 0, 1, 0},
                                 {positions, positions, 0, 1, 1},
                                 {channels, channels, 0, 1, positions}}};
}

/* Each axis of the output shows the same axis of the input, whole. */
static void view_start(layer *l)
{
    int64_t stride = 1;
    int first = NN_VIEW_AXES - l->in.rank;
    l->kind = LAYER_VIEW;
    l->view.in = shape_count(&l->in);
    for (int i = NN_VIEW_AXES - 1; i >= 0; i--) {
        int64_t size = i < first ? 1 : l->in.dim[i - first];
        l->view.axis[i] = (nn_view_axis){.in = size, .out = size, .repeat = 1, .stride = stride};
        stride *= size;
    }
}

/* Zero padding, cropping and repeating, axis by axis. */
static conv_status build_edges(layer *l, layer_type type, const layer_options *o, conv_error *err)
{
    image in;
    conv_status status = build_image(l, type.rank, &in, err);
    if (status != CONV_OK) return status;
    view_start(l);
    for (int i = CONV_AXES - type.rank; i < CONV_AXES; i++) {
        nn_view_axis *a = &l->view.axis[l->channels_first ? i + 1 : i];
        int64_t before = o->before[i], after = o->after[i];
        if (type.class == CLASS_CROPPING) before = -before, after = -after;
        if (type.class == CLASS_UP_SAMPLING) a->repeat = o->pool_size[i];
        a->before = before;
        a->out = a->in * a->repeat + before + after;
        if (a->out < 1)
            return conv_fail(
                err, CONV_INVALID,
                "Values in `cropping` argument should be smaller than the corresponding spatial dimension "
                "of the input: %lld and %lld of %lld",
                (long long)o->before[i], (long long)o->after[i], (long long)a->in);
        in.size[i] = a->out;
    }
    l->out = build_image_shape(&in, type.rank, l->channels_first);
    return CONV_OK;
}

static conv_status build_permute(layer *l, const layer_options *o, conv_error *err)
{
    int rank = l->in.rank, first = NN_VIEW_AXES - rank;
    unsigned seen = 0;
    for (int i = 0; i < o->target.rank; i++)
        if (o->target.dim[i] <= rank) seen |= 1u << o->target.dim[i];
    if (o->target.rank != rank || seen != (2u << rank) - 2)
        return conv_fail(
            err, CONV_INVALID,
            "Invalid permutation argument `dims` for Permute Layer. The set of indices in `dims` must be "
            "consecutive and start from 1: of %d axes",
            rank);
    view_start(l);
    const nn_view from = l->view;
    for (int i = 0; i < rank; i++) {
        int64_t axis = o->target.dim[i] - 1;
        l->view.axis[first + i] = from.axis[first + axis];
        l->out.dim[i] = l->in.dim[axis];
    }
    return CONV_OK;
}

static conv_status build_reshape(layer *l, const layer_options *o, conv_error *err)
{
    int64_t count = shape_count(&l->in), open = 0;
    double known = 1;
    char from[64], to[64];
    l->kind = LAYER_FLATTEN; /* the elements stay where they are */
    l->channels_first = false;
    l->out = o->target;
    for (int i = 0; i < o->target.rank; i++) {
        if (o->target.dim[i] < 0)
            open++;
        else
            known *= (double)o->target.dim[i];
    }
    if (open > 1)
        return conv_fail(err, CONV_INVALID,
                         "There must be at most one unknown dimension (-1) in `target_shape`. Received: %s",
                         shape_text(&o->target, to));
    bool fits = known <= (double)count && (open > 0 ? count % (int64_t)known == 0 : (double)count == known);
    if (!fits)
        return conv_fail(
            err, CONV_INVALID,
            "The total size of the tensor must be unchanged. Received: input_shape=%s, target_shape=%s",
            shape_text(&l->in, from), shape_text(&o->target, to));
    for (int i = 0; i < o->target.rank; i++)
        if (l->out.dim[i] < 0) l->out.dim[i] = count / (int64_t)known;
    return CONV_OK;
}

static conv_status build_global(layer *l, layer_type type, const layer_options *o, conv_error *err)
{
    image in;
    conv_status status = build_image(l, type.rank, &in, err);
    if (status != CONV_OK) return status;
    l->kind = LAYER_GLOBAL_POOL;
    l->average = type.class == CLASS_GLOBAL_AVERAGE_POOL;
    l->global = (nn_global){shape_count(&l->in) / in.channels, in.channels, l->channels_first};
    for (int i = 0; i < CONV_AXES; i++) in.size[i] = 1;
    l->out = o->keepdims ? build_image_shape(&in, type.rank, l->channels_first)
                         : (tensor_shape){.rank = 1, .dim = {in.channels}};
    return CONV_OK;
}

static conv_status build_prelu(model *m, layer *l, const layer_options *o, conv_error *err)
{
    int rank = l->in.rank, first = NN_PRELU_AXES - rank;
    weight_shape shape = {.rank = rank};
    l->kind = LAYER_PRELU;
    l->prelu.slopes = 1;
    if (o->shared_axes >> (rank + 1))
        return conv_fail(err, CONV_INVALID, "shared_axes: the tensor has %d axes without its batch", rank);
    for (int i = NN_PRELU_AXES - 1; i >= 0; i--) {
        l->prelu.size[i] = i < first ? 1 : l->in.dim[i - first];
        if (i < first) continue;
        bool shared = o->shared_axes >> (i - first + 1) & 1;
        shape.dim[i - first] = shared ? 1 : l->prelu.size[i];
        l->prelu.stride[i] = shared ? 0 : l->prelu.slopes;
        l->prelu.slopes *= shape.dim[i - first];
    }
    return build_parameter(m, l, "alpha", &shape, &o->alpha, err);
}

static conv_status build_rescaling(layer *l, const layer_options *o, conv_error *err)
{
    int64_t channels = l->in.dim[l->in.rank - 1];
    l->kind = LAYER_RESCALING;
    l->scaling = o->scaling;
    if (o->scaling.count > 1 && o->scaling.count != channels)
        return conv_fail(err, CONV_INVALID, "scale and offset have %d numbers, the input %lld channels",
                         o->scaling.count, (long long)channels);
    return CONV_OK;
}

conv_status build_operation(const network_operation *op, layer_type *type, layer_options *o, conv_error *err)
{
    const bool divides = strcmp(op->class_name, "Divide") == 0;
    const double c = op->number;
    double scale = 1, offset = c;
    if (divides && (!op->has_number || op->number_first))
        return conv_fail(err, CONV_INVALID, "only dividing by a number is supported");
    type->class = op->has_number ? CLASS_RESCALING : CLASS_MERGE;
    if (divides) scale = 1 / c, offset = 0;
    if (strcmp(op->class_name, "Multiply") == 0) scale = c, offset = 0;
    if (strcmp(op->class_name, "Subtract") == 0 && op->number_first) scale = -1;
    if (strcmp(op->class_name, "Subtract") == 0 && !op->number_first) offset = -c;
    if (op->has_number && !(fabs(scale) <= FLT_MAX && fabs(offset) <= FLT_MAX))
        return conv_fail(err, CONV_INVALID, "its number is %g, which float32 cannot do that by", c);
    o->scaling = (rescaling){.count = 1, .scale = {(float)scale}, .offset = {(float)offset}};
    return CONV_OK;
}

/* By mean and variance from the file. */
static conv_status standardize_by_options(layer *l, const layer_options *o, conv_error *err)
{
    const rescaling *moments = &o->scaling;
    l->kind = LAYER_RESCALING;
    l->scaling = (rescaling){.count = moments->count};
    if (moments->count > 1 && l->norm.axis != l->in.rank - 1)
        return conv_fail(err, CONV_INVALID,
                         "mean and variance of another axis than the last are not supported");
    if (moments->count > 1 && moments->count != l->in.dim[l->norm.axis])
        return conv_fail(err, CONV_INVALID, "mean and variance have %d numbers, the axis %lld", moments->count,
                         (long long)l->in.dim[l->norm.axis]);
    for (int i = 0; i < moments->count; i++) {
        const double mean = (double)moments->offset[i], variance = (double)moments->scale[i];
        const double deviation = fmax(sqrt(variance), KERAS_EPSILON);
        if (variance < 0) return conv_fail(err, CONV_INVALID, "variance is %g: must not be negative", variance);
        l->scaling.scale[i] = (float)(o->invert ? deviation : 1 / deviation);
        l->scaling.offset[i] = (float)(o->invert ? mean : -mean / deviation);
    }
    return CONV_OK;
}

/* By mean and variance that are weights, which adapt() of Keras sets; count is how many images it saw. */
static conv_status standardize_by_weights(model *m, layer *l, conv_error *err)
{
    static const char *const names[] = {"mean", "variance", "count"};
    conv_status status = CONV_OK;
    l->kind = LAYER_NORMALIZATION;
    l->trainable = false;
    l->norm.least = KERAS_EPSILON;
    for (int i = 0; i < 3 && status == CONV_OK; i++) {
        const weight_options own = {.init.kind = i == 1 ? INIT_ONES : INIT_ZEROS};
        const weight_shape shape = {i < 2, {l->in.dim[l->norm.axis]}};
        status = build_parameter(m, l, names[i], &shape, &own, err);
    }
    return status;
}

static conv_status build_standardization(model *m, layer *l, const layer_options *o, conv_error *err)
{
    conv_status status = build_axis(&l->in, o->axis, &l->norm.axis, err);
    if (status != CONV_OK) return status;
    if (o->has_mean != o->has_variance)
        return conv_fail(err, CONV_INVALID,
                         "When setting values directly, both `mean` and `variance` must be set");
    if (o->has_mean) return standardize_by_options(l, o, err);
    if (o->invert) return conv_fail(err, CONV_INVALID, "invert without mean and variance is not supported");
    return standardize_by_weights(m, l, err);
}

/* What is dropped together: whole images, or channels. */
static conv_status place_noise(layer *l, const tensor_shape *noise, conv_error *err)
{
    char in[64], text[64];
    const int64_t count = shape_count(&l->in);
    int64_t drawn = 1;
    int last = l->in.rank - 1, first = -1, wide = 0; /* axes along which it is drawn */
    bool fits = noise->rank == l->in.rank;
    for (int i = 0; i < noise->rank && fits; i++) {
        int64_t size = noise->dim[i] == 0 ? l->in.dim[i] : noise->dim[i];
        fits = size == 1 || size == l->in.dim[i];
        drawn *= size;
        if (size > 1 && wide++ == 0) first = i;
    }
    if (fits && drawn == count) return CONV_OK;
    l->kind = LAYER_SPATIAL_DROPOUT;
    l->global = (nn_global){count / drawn, drawn, first != last};
    return fits && (wide == 0 || (wide == 1 && (first == 0 || first == last)))
               ? CONV_OK
               : conv_fail(
                     err, CONV_INVALID,
                     "noise_shape %s of an input of %s: must be 1 along all axes, or all but the first or last",
                     shape_text(noise, text), shape_text(&l->in, in));
}

static conv_status build_dropout(layer *l, layer_type type, const layer_options *o, conv_error *err)
{
    image in = {.channels = 1};
    l->kind = type.rank > 0 ? LAYER_SPATIAL_DROPOUT : LAYER_DROPOUT;
    l->rate = o->rate;
    l->seeded = o->seeded;
    l->seed = o->seed;
    conv_status status = type.rank > 0 ? build_image(l, type.rank, &in, err) : CONV_OK;
    l->global = (nn_global){shape_count(&l->in) / in.channels, in.channels, l->channels_first};
    return status == CONV_OK && o->noise.rank > 0 ? place_noise(l, &o->noise, err) : status;
}

conv_status build_plain(model *m, layer *l, layer_type type, const layer_options *o, conv_error *err)
{
    switch (type.class) {
    case CLASS_DROPOUT:
    case CLASS_SPATIAL_DROPOUT: return build_dropout(l, type, o, err);
    case CLASS_FLATTEN: build_flatten(l); return CONV_OK;
    case CLASS_RESHAPE: return build_reshape(l, o, err);
    case CLASS_PERMUTE: return build_permute(l, o, err);
    case CLASS_ZERO_PADDING:
    case CLASS_CROPPING:
    case CLASS_UP_SAMPLING: return build_edges(l, type, o, err);
    case CLASS_GLOBAL_MAX_POOL:
    case CLASS_GLOBAL_AVERAGE_POOL: return build_global(l, type, o, err);
    case CLASS_PRELU: return build_prelu(m, l, o, err);
    case CLASS_RESCALING: return build_rescaling(l, o, err);
    case CLASS_STANDARDIZATION: return build_standardization(m, l, o, err);
    default: l->kind = LAYER_ACTIVATION; return CONV_OK;
    }
}
