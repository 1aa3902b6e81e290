/* One layer of its options: shapes, problem and parameters. What Keras refuses at build time is refused here in
 * its words (keras/layers/convolutional, keras/engine/input_spec.py, TensorFlow's depthwise kernel). */
#include "build.h"

#include <stdio.h>
#include <string.h>

enum { ALIGN_FLOATS = 16 }; /* each parameter starts on a cache line */

conv_status build_parameter(model *m, layer *l, const char *name, const weight_shape *shape,
                            const weight_options *o, conv_error *err)
{
    const char *wrong = constraint_refuse(&o->limit, shape->rank);
    if (wrong != NULL) return conv_fail(err, CONV_INVALID, "%s_constraint: %s", name, wrong);
    parameter *p = &m->parameter[m->parameter_count++];
    *p = (parameter){.rank = shape->rank,
                     .count = 1,
                     .init = o->init,
                     .reg = o->reg,
                     .limit = o->limit,
                     .trainable = l->trainable};
    snprintf(p->name, sizeof p->name, "%s/%s:0", l->name, name);
    for (int i = 0; i < shape->rank; i++) {
        p->shape[i] = shape->dim[i];
        p->count *= shape->dim[i];
    }
    p->offset = m->total;
    m->total += (p->count + ALIGN_FLOATS - 1) / ALIGN_FLOATS * ALIGN_FLOATS;
    m->parameters += p->count;
    l->parameter_count++;
    return CONV_OK;
}

static conv_status add_bias(model *m, layer *l, const layer_options *o, int64_t count, conv_error *err)
{
    if (!o->use_bias) return CONV_OK;
    return build_parameter(m, l, "bias", &(weight_shape){1, {count}}, &o->bias, err);
}

conv_status build_image(const layer *l, int rank, image *out, conv_error *err)
{
    char text[64];
    if (l->in.rank != rank + 1)
        return conv_fail(err, CONV_INVALID,
                         "Input 0 of the layer is incompatible with it: expected ndim=%d, found ndim=%d. Full "
                         "shape received: %s",
                         rank + 2, l->in.rank + 1, shape_text(&l->in, text));
    const int64_t *space = l->in.dim + (l->channels_first ? 1 : 0);
    for (int i = 0; i < CONV_AXES; i++) out->size[i] = CONV_AXES - i > rank ? 1 : space[i - CONV_AXES + rank];
    out->channels = l->in.dim[l->channels_first ? 0 : rank];
    return CONV_OK;
}

tensor_shape build_image_shape(const image *of, int rank, bool channels_first)
{
    tensor_shape s = {.rank = rank + 1};
    memcpy(s.dim + (channels_first ? 1 : 0), of->size + CONV_AXES - rank, (size_t)rank * sizeof *s.dim);
    s.dim[channels_first ? 0 : rank] = of->channels;
    return s;
}

static void pad(conv_axis *a, padding_kind padding)
{
    if (padding == PADDING_SAME) conv_pad_same(a);
    if (padding == PADDING_CAUSAL) a->pad_before = (a->kernel - 1) * a->dilation;
}

static bool above_one(const int64_t sizes[CONV_AXES])
{
    return sizes[CONV_D] > 1 || sizes[CONV_H] > 1 || sizes[CONV_W] > 1;
}

static conv_status refuse_strides(layer_type type, const layer_options *o, conv_error *err)
{
    char strides[64], rates[64];
    tensor_shape s = {.rank = type.rank}, d = {.rank = type.rank};
    memcpy(s.dim, o->strides + CONV_AXES - type.rank, (size_t)type.rank * sizeof *s.dim);
    memcpy(d.dim, o->dilation_rate + CONV_AXES - type.rank, (size_t)type.rank * sizeof *d.dim);
    shape_text(&s, strides);
    if (above_one(o->strides) && above_one(o->dilation_rate))
        return conv_fail(err, CONV_INVALID,
                         "`strides > 1` not supported in conjunction with `dilation_rate > 1`. Received: "
                         "strides=%s and dilation_rate=%s",
                         strides, shape_text(&d, rates));
    /* TensorFlow's depthwise kernel; there is none of three axes to agree with */
    if (type.class != CLASS_CONV && type.rank == 2 && s.dim[0] != s.dim[1])
        return conv_fail(err, CONV_INVALID,
                         "Current implementation only supports equal length strides in the row and column "
                         "dimensions. Received: strides=%s",
                         strides);
    return CONV_OK;
}

static conv_status conv_weights(model *m, layer *l, layer_type type, const layer_options *o, int64_t channels,
                                conv_error *err)
{
    int rank = type.rank;
    weight_shape shape = {.rank = rank + 2}, one = {rank + 2, {1, 1, 1, 1, 1}};
    memcpy(shape.dim, o->kernel_size + CONV_AXES - rank, (size_t)rank * sizeof *shape.dim);
    conv_status status;
    if (type.class == CLASS_CONV) {
        shape.dim[rank] = channels / o->groups;
        shape.dim[rank + 1] = o->filters;
        status = build_parameter(m, l, "kernel", &shape, &o->kernel, err);
        return status == CONV_OK ? add_bias(m, l, o, o->filters, err) : status;
    }
    shape.dim[rank] = channels;
    shape.dim[rank + 1] = o->depth_multiplier;
    status = build_parameter(m, l, "depthwise_kernel", &shape, &o->depthwise, err);
    if (status == CONV_OK && type.class == CLASS_SEPARABLE) {
        one.dim[rank] = channels * o->depth_multiplier;
        one.dim[rank + 1] = o->filters;
        status = build_parameter(m, l, "pointwise_kernel", &one, &o->pointwise, err);
    }
    return status == CONV_OK ? add_bias(m, l, o, l->problem.oc, err) : status;
}

/* The axes of a window of these sizes over the image, and its results' sizes in out. */
static conv_status window_axes(const image *in, const layer_options *o, const int64_t *kernel, conv_axis *axis,
                               int64_t *out, conv_error *err)
{
    for (int i = 0; i < CONV_AXES; i++) {
        conv_axis *a = &axis[i];
        *a = (conv_axis){
            .in = in->size[i], .kernel = kernel[i], .stride = o->strides[i], .dilation = o->dilation_rate[i]};
        pad(a, o->padding);
        out[i] = conv_out(a);
        if (out[i] < 1)
            return conv_fail(err, CONV_INVALID, "Negative dimension size caused by subtracting %lld from %lld",
                             (long long)conv_effective_kernel(a), (long long)a->in);
    }
    return CONV_OK;
}

static conv_status refuse_groups(const layer_options *o, int64_t channels, conv_error *err)
{
    if (o->filters % o->groups != 0)
        return conv_fail(err, CONV_INVALID,
                         "The number of filters must be evenly divisible by the number of groups. Received: "
                         "groups=%lld, filters=%lld",
                         (long long)o->groups, (long long)o->filters);
    if (channels % o->groups != 0)
        return conv_fail(err, CONV_INVALID,
                         "The number of input channels must be evenly divisible by the number of groups. "
                         "Received groups=%lld, but the input has %lld channels",
                         (long long)o->groups, (long long)channels);
    return CONV_OK;
}

static conv_status build_conv(model *m, layer *l, layer_type type, const layer_options *o, conv_error *err)
{
    bool plain = type.class == CLASS_CONV, depthwise = type.class == CLASS_DEPTHWISE;
    image in = {0}, out;
    conv_status status = refuse_strides(type, o, err);
    if (status == CONV_OK) status = build_image(l, type.rank, &in, err);
    if (status == CONV_OK && plain) status = refuse_groups(o, in.channels, err);
    if (status != CONV_OK) return status;

    l->kind = LAYER_CONV;
    conv_problem *p = &l->problem;
    *p = (conv_problem){.variant = plain       ? CONV_DENSE
                                   : depthwise ? CONV_DEPTHWISE
                                               : CONV_SEPARABLE,
                        .rank = type.rank,
                        .mb = 1,
                        .ic = in.channels,
                        .oc = depthwise ? in.channels * o->depth_multiplier : o->filters,
                        .groups = plain       ? o->groups
                                  : depthwise ? in.channels
                                              : 1,
                        .depth_multiplier = o->depth_multiplier,
                        .layout = l->channels_first ? CONV_NCHW : CONV_NHWC,
                        .bias = o->use_bias};
    out.channels = p->oc;
    status = window_axes(&in, o, o->kernel_size, p->axis, out.size, err);
    if (status != CONV_OK) return status;
    l->out = build_image_shape(&out, type.rank, l->channels_first);
    status = conv_problem_check(p, err);
    return status == CONV_OK ? conv_weights(m, l, type, o, in.channels, err) : status;
}

static conv_status build_pool(layer *l, layer_type type, const layer_options *o, conv_error *err)
{
    image in = {0}, out;
    const int64_t *size = o->pool_size;
    conv_status status = build_image(l, type.rank, &in, err);
    l->kind = LAYER_POOL;
    l->average = type.class == CLASS_AVERAGE_POOL;
    l->pool_images = l->channels_first ? in.channels : 1;
    l->pool.channels = l->channels_first ? 1 : in.channels;
    if (status == CONV_OK) status = window_axes(&in, o, size, l->pool.axis, l->pool.out, err);
    if (status != CONV_OK) return status;
    if (!l->average && (double)size[CONV_D] * (double)size[CONV_H] * (double)size[CONV_W] > NN_POOL_WINDOW_MAX)
        return conv_fail(err, CONV_INVALID,
                         "pool_size: max pooling windows of more than %d elements are not supported",
                         NN_POOL_WINDOW_MAX);
    memcpy(out.size, l->pool.out, sizeof out.size);
    out.channels = in.channels;
    l->out = build_image_shape(&out, type.rank, l->channels_first);
    return CONV_OK;
}

static conv_status build_dense(model *m, layer *l, const layer_options *o, conv_error *err)
{
    l->kind = LAYER_DENSE;
    l->out = l->in;
    l->out.dim[l->out.rank - 1] = o->units;
    const weight_shape shape = {2, {l->in.dim[l->in.rank - 1], o->units}};
    conv_status status = build_parameter(m, l, "kernel", &shape, &o->kernel, err);
    return status == CONV_OK ? add_bias(m, l, o, o->units, err) : status;
}

conv_status build_axis(const tensor_shape *of, int64_t axis, int *out, conv_error *err)
{
    char text[64];
    int64_t at = axis < 0 ? axis + of->rank + 1 : axis;
    if (at < 0 || at > of->rank)
        return conv_fail(err, CONV_INVALID, "Axis %lld is out of bounds for an input of shape %s",
                         (long long)axis, shape_text(of, text));
    if (at == 0) return conv_fail(err, CONV_INVALID, "axis is %lld, the batch's", (long long)axis);
    *out = (int)at - 1;
    return CONV_OK;
}

/* Gamma, beta and the moving statistics, which no optimizer moves. */
static conv_status build_norm(model *m, layer *l, const layer_options *o, conv_error *err)
{
    const struct {
        const char *name;
        bool has, moving;
        weight_options options;
    } weights[] = {{"gamma", o->scale, false, o->gamma},
                   {"beta", o->center, false, o->beta},
                   {"moving_mean", true, true, o->moving_mean},
                   {"moving_variance", true, true, o->moving_variance}};
    l->kind = LAYER_NORMALIZATION;
    l->norm.momentum = o->momentum;
    l->norm.epsilon = o->epsilon;
    l->norm.scale = o->scale;
    l->norm.center = o->center;
    conv_status status = build_axis(&l->in, o->axis, &l->norm.axis, err);
    for (size_t i = 0; i < sizeof weights / sizeof *weights && status == CONV_OK; i++) {
        const weight_shape shape = {1, {l->in.dim[l->norm.axis]}};
        if (!weights[i].has) continue;
        status = build_parameter(m, l, weights[i].name, &shape, &weights[i].options, err);
        if (status == CONV_OK && weights[i].moving) m->parameter[m->parameter_count - 1].trainable = false;
    }
    return status;
}

static conv_status refuse_shapes(const char *words, const tensor_shape *a, const tensor_shape *b,
                                 conv_error *err)
{
    char one[64], other[64];
    return conv_fail(err, CONV_INVALID, "%s. Received shapes %s and %s", words, shape_text(a, one),
                     shape_text(b, other));
}

/* Input k's sizes into the output's: equal, or 1 in one of the two. */
static conv_status widen(layer *l, const tensor_shape *in, conv_error *err)
{
    if (in->rank != l->out.rank)
        return refuse_shapes("Inputs with different numbers of axes are not supported", &l->out, in, err);
    const tensor_shape before = l->out;
    for (int i = 0; i < in->rank; i++) {
        int64_t *size = &l->out.dim[i];
        if (*size != in->dim[i] && *size != 1 && in->dim[i] != 1)
            return refuse_shapes("Inputs have incompatible shapes", &before, in, err);
        if (*size == 1) *size = in->dim[i];
    }
    return CONV_OK;
}

static conv_status append(layer *l, const tensor_shape *in, conv_error *err)
{
    bool same = in->rank == l->out.rank;
    for (int i = 0; i < in->rank && same; i++) same = i == l->merge_axis || in->dim[i] == l->out.dim[i];
    if (!same)
        return refuse_shapes("A `Concatenate` layer requires inputs with matching shapes except for the "
                             "concatenation axis",
                             &l->out, in, err);
    l->out.dim[l->merge_axis] += in->dim[l->merge_axis];
    return CONV_OK;
}

static conv_status build_merge(const model *m, layer *l, const layer_options *o, conv_error *err)
{
    static const char *const names[] = {"Add",     "Subtract", "Multiply",   "Average",
                                        "Maximum", "Minimum",  "Concatenate"};
    l->kind = LAYER_MERGE;
    while (strcmp(names[l->merge], l->class_name) != 0) l->merge++;
    if (l->input_count < 2)
        return conv_fail(err, CONV_INVALID, "A merge layer should be called on a list of at least 2 inputs");
    if (l->merge == MERGE_SUBTRACT && l->input_count != 2)
        return conv_fail(err, CONV_INVALID, "A `Subtract` layer should be called on exactly 2 inputs");
    bool joins = l->merge == MERGE_CONCATENATE;
    conv_status status = joins ? build_axis(&l->in, o->axis, &l->merge_axis, err) : CONV_OK;
    for (int k = 1; k < l->input_count && status == CONV_OK; k++)
        status = joins ? append(l, layer_input(m, l, k), err) : widen(l, layer_input(m, l, k), err);
    return status;
}

/* The axis that an activation runs along, of those that have one. */
static conv_status place_activation(layer *l, int64_t axis, conv_error *err)
{
    int at = 0;
    conv_status status = build_axis(&l->out, axis, &at, err);
    l->activation.columns = l->out.dim[at];
    l->activation.step = 1;
    for (int i = at + 1; i < l->out.rank; i++) l->activation.step *= l->out.dim[i];
    return status;
}

/* Sizes that no memory holds would overflow where they are multiplied. */
static conv_status check_size(const layer *l, conv_error *err)
{
    char text[64];
    double count = 1;
    for (int i = 0; i < l->out.rank; i++) count *= (double)l->out.dim[i];
    return count <= INT32_MAX
               ? CONV_OK
               : conv_fail(err, CONV_INVALID, "its output of %s is too large", shape_text(&l->out, text));
}

static conv_status build_class(model *m, layer *l, layer_type type, const layer_options *o, conv_error *err)
{
    switch (type.class) {
    case CLASS_CONV:
    case CLASS_DEPTHWISE:
    case CLASS_SEPARABLE: return build_conv(m, l, type, o, err);
    case CLASS_MAX_POOL:
    case CLASS_AVERAGE_POOL: return build_pool(l, type, o, err);
    case CLASS_DENSE: return build_dense(m, l, o, err);
    case CLASS_NORMALIZATION: return build_norm(m, l, o, err);
    case CLASS_MERGE:
    case CLASS_CONCATENATE: return build_merge(m, l, o, err);
    default: return build_plain(m, l, type, o, err);
    }
}

conv_status layer_build(model *m, layer *l, layer_type type, const layer_options *o, conv_error *err)
{
    l->trainable = o->trainable;
    l->channels_first = o->channels_first;
    l->activation = o->activation;
    l->activity = o->activity_reg;
    l->first_parameter = m->parameter_count;
    l->out = l->in;
    conv_status status = build_class(m, l, type, o, err);
    if (status == CONV_OK) status = check_size(l, err);
    if (status != CONV_OK) return status;
    if (l->kind == LAYER_VIEW) nn_view_simplify(&l->view);
    return l->kind == LAYER_NORMALIZATION || l->kind == LAYER_MERGE ? CONV_OK
                                                                    : place_activation(l, o->axis, err);
}

void model_of_keras_3(model *m)
{
    for (int i = 0; i < m->parameter_count; i++)
        if (!m->parameter[i].trainable) m->parameter[i].reg = (regularizer){0};
}

void model_of_keras_2(model *m)
{
    for (int i = 0; i < m->layer_count; i++)
        if (m->layers[i].activation.kind == NN_HARD_SIGMOID) m->layers[i].activation.kind = NN_HARD_SIGMOID_2;
}
