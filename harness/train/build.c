/* One layer of its options: shapes, problem and parameters. What Keras refuses at build time is refused here in
 * its words (keras/layers/convolutional, keras/engine/input_spec.py, TensorFlow's depthwise kernel). */
#include "build.h"

#include <stdio.h>
#include <string.h>

enum { ALIGN_FLOATS = 16 }; /* each parameter starts on a cache line */

typedef struct {
    int rank;
    int64_t dim[PARAMETER_MAX_RANK];
} weight_shape;

static conv_status add_parameter(model *m, layer *l, const char *name, const weight_shape *shape,
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
    return add_parameter(m, l, "bias", &(weight_shape){1, {count}}, &o->bias, err);
}

/* Reads a spatial input shape in either data format as height, width, channels. */
static conv_status image_shape(const layer *l, bool flat, int64_t hwc[3], conv_error *err)
{
    int want = flat ? 2 : 3;
    char text[64];
    if (l->in.rank != want)
        return conv_fail(err, CONV_INVALID,
                         "Input 0 of the layer is incompatible with it: expected ndim=%d, found ndim=%d. Full "
                         "shape received: %s",
                         want + 1, l->in.rank + 1, shape_text(&l->in, text));
    const int64_t *space = l->in.dim + (l->channels_first ? 1 : 0);
    hwc[0] = flat ? 1 : space[0];
    hwc[1] = space[flat ? 0 : 1];
    hwc[2] = l->in.dim[l->channels_first ? 0 : want - 1];
    return CONV_OK;
}

static tensor_shape image_result(bool flat, bool channels_first, int64_t h, int64_t w, int64_t c)
{
    tensor_shape s = {.rank = flat ? 2 : 3};
    int n = 0;
    if (channels_first) s.dim[n++] = c;
    if (!flat) s.dim[n++] = h;
    s.dim[n++] = w;
    if (!channels_first) s.dim[n++] = c;
    return s;
}

static void pad(conv_axis *a, padding_kind padding)
{
    if (padding == PADDING_SAME) conv_pad_same(a);
    if (padding == PADDING_CAUSAL) a->pad_before = (a->kernel - 1) * a->dilation;
}

static conv_status refuse_strides(layer_class c, const layer_options *o, conv_error *err)
{
    bool strided = o->strides[0] > 1 || o->strides[1] > 1,
         dilated = o->dilation_rate[0] > 1 || o->dilation_rate[1] > 1;
    if (strided && dilated)
        return conv_fail(err, CONV_INVALID,
                         "`strides > 1` not supported in conjunction with `dilation_rate > 1`. Received: "
                         "strides=(%lld, %lld) and dilation_rate=(%lld, %lld)",
                         (long long)o->strides[0], (long long)o->strides[1], (long long)o->dilation_rate[0],
                         (long long)o->dilation_rate[1]);
    if ((c == CLASS_DEPTHWISE2D || c == CLASS_SEPARABLE2D) && o->strides[0] != o->strides[1])
        return conv_fail(err, CONV_INVALID,
                         "Current implementation only supports equal length strides in the row and column "
                         "dimensions. Received: strides=(%lld, %lld)",
                         (long long)o->strides[0], (long long)o->strides[1]);
    return CONV_OK;
}

static conv_status conv_weights(model *m, layer *l, layer_class c, const layer_options *o, int64_t channels,
                                conv_error *err)
{
    bool flat = layer_class_is_1d(c);
    int spatial = flat ? 1 : 2;
    weight_shape shape = {.rank = spatial + 2}, one = {spatial + 2, {1, 1, 1, 1}};
    memcpy(shape.dim, o->kernel_size + (flat ? 1 : 0), (size_t)spatial * sizeof *shape.dim);
    conv_status status;
    if (c == CLASS_CONV1D || c == CLASS_CONV2D) {
        shape.dim[spatial] = channels / o->groups;
        shape.dim[spatial + 1] = o->filters;
        status = add_parameter(m, l, "kernel", &shape, &o->kernel, err);
        return status == CONV_OK ? add_bias(m, l, o, o->filters, err) : status;
    }
    shape.dim[spatial] = channels;
    shape.dim[spatial + 1] = o->depth_multiplier;
    status = add_parameter(m, l, "depthwise_kernel", &shape, &o->depthwise, err);
    if (status == CONV_OK && c != CLASS_DEPTHWISE2D) {
        one.dim[spatial] = channels * o->depth_multiplier;
        one.dim[spatial + 1] = o->filters;
        status = add_parameter(m, l, "pointwise_kernel", &one, &o->pointwise, err);
    }
    return status == CONV_OK ? add_bias(m, l, o, l->problem.oc, err) : status;
}

static conv_status build_conv(model *m, layer *l, layer_class c, const layer_options *o, conv_error *err)
{
    bool flat = layer_class_is_1d(c), plain = c == CLASS_CONV1D || c == CLASS_CONV2D;
    int64_t hwc[3] = {0};
    conv_status status = refuse_strides(c, o, err);
    if (status == CONV_OK) status = image_shape(l, flat, hwc, err);
    if (status != CONV_OK) return status;
    if (plain && o->filters % o->groups != 0)
        return conv_fail(err, CONV_INVALID,
                         "The number of filters must be evenly divisible by the number of groups. Received: "
                         "groups=%lld, filters=%lld",
                         (long long)o->groups, (long long)o->filters);
    if (plain && hwc[2] % o->groups != 0)
        return conv_fail(err, CONV_INVALID,
                         "The number of input channels must be evenly divisible by the number of groups. "
                         "Received groups=%lld, but the input has %lld channels",
                         (long long)o->groups, (long long)hwc[2]);

    l->kind = LAYER_CONV;
    conv_problem *p = &l->problem;
    *p = (conv_problem){.variant = plain                    ? CONV_DENSE
                                   : c == CLASS_DEPTHWISE2D ? CONV_DEPTHWISE
                                                            : CONV_SEPARABLE,
                        .rank = flat ? 1 : 2,
                        .mb = 1,
                        .ic = hwc[2],
                        .oc = c == CLASS_DEPTHWISE2D ? hwc[2] * o->depth_multiplier : o->filters,
                        .groups = plain                    ? o->groups
                                  : c == CLASS_DEPTHWISE2D ? hwc[2]
                                                           : 1,
                        .depth_multiplier = o->depth_multiplier,
                        .layout = l->channels_first ? CONV_NCHW : CONV_NHWC,
                        .bias = o->use_bias};
    p->axis[CONV_D] = (conv_axis){.in = 1, .kernel = 1, .stride = 1, .dilation = 1};
    for (int i = 0; i < 2; i++) {
        conv_axis *a = &p->axis[CONV_H + i];
        *a = (conv_axis){.in = hwc[i],
                         .kernel = o->kernel_size[i],
                         .stride = o->strides[i],
                         .dilation = o->dilation_rate[i]};
        if (i == 0 && flat)
            a->stride = a->dilation = 1;
        else
            pad(a, o->padding);
        if (conv_out(a) < 1)
            return conv_fail(err, CONV_INVALID, "Negative dimension size caused by subtracting %lld from %lld",
                             (long long)conv_effective_kernel(a), (long long)a->in);
    }
    l->out =
        image_result(flat, l->channels_first, conv_out(&p->axis[CONV_H]), conv_out(&p->axis[CONV_W]), p->oc);
    status = conv_problem_check(p, err);
    return status == CONV_OK ? conv_weights(m, l, c, o, hwc[2], err) : status;
}

static conv_status build_pool(layer *l, layer_class c, const layer_options *o, conv_error *err)
{
    bool flat = layer_class_is_1d(c);
    int64_t hwc[3] = {0}, out[2];
    conv_status status = image_shape(l, flat, hwc, err);
    if (status != CONV_OK) return status;
    conv_axis axis[2];
    for (int i = 0; i < 2; i++) {
        axis[i] = (conv_axis){.in = hwc[i], .kernel = o->pool_size[i], .stride = o->strides[i], .dilation = 1};
        if (o->padding == PADDING_SAME) conv_pad_same(&axis[i]);
        out[i] = conv_out(&axis[i]);
        if (out[i] < 1)
            return conv_fail(err, CONV_INVALID, "Negative dimension size caused by subtracting %lld from %lld",
                             (long long)axis[i].kernel, (long long)axis[i].in);
    }
    l->kind = LAYER_POOL;
    l->average = c == CLASS_AVERAGE_POOL1D || c == CLASS_AVERAGE_POOL2D;
    if (!l->average && o->pool_size[0] * o->pool_size[1] > NN_POOL_WINDOW_MAX)
        return conv_fail(err, CONV_INVALID,
                         "pool_size: max pooling windows of more than %d elements are not supported",
                         NN_POOL_WINDOW_MAX);
    l->pool = (nn_pool){.in_h = hwc[0],
                        .in_w = hwc[1],
                        .channels = l->channels_first ? 1 : hwc[2],
                        .out_h = out[0],
                        .out_w = out[1],
                        .pool_h = o->pool_size[0],
                        .pool_w = o->pool_size[1],
                        .stride_h = o->strides[0],
                        .stride_w = o->strides[1],
                        .pad_top = axis[0].pad_before,
                        .pad_left = axis[1].pad_before};
    l->pool_images = l->channels_first ? hwc[2] : 1;
    l->out = image_result(flat, l->channels_first, out[0], out[1], hwc[2]);
    return CONV_OK;
}

static conv_status build_dense(model *m, layer *l, const layer_options *o, conv_error *err)
{
    l->kind = LAYER_DENSE;
    l->out = l->in;
    l->out.dim[l->out.rank - 1] = o->units;
    const weight_shape shape = {2, {l->in.dim[l->in.rank - 1], o->units}};
    conv_status status = add_parameter(m, l, "kernel", &shape, &o->kernel, err);
    return status == CONV_OK ? add_bias(m, l, o, o->units, err) : status;
}

conv_status layer_build(model *m, layer *l, layer_class c, const layer_options *o, conv_error *err)
{
    l->trainable = o->trainable;
    l->channels_first = o->channels_first;
    l->activation = o->activation;
    l->activity = o->activity_reg;
    l->first_parameter = m->parameter_count;
    l->out = l->in;
    switch (c) {
    case CLASS_CONV1D:
    case CLASS_CONV2D:
    case CLASS_DEPTHWISE2D:
    case CLASS_SEPARABLE1D:
    case CLASS_SEPARABLE2D: return build_conv(m, l, c, o, err);
    case CLASS_MAX_POOL1D:
    case CLASS_MAX_POOL2D:
    case CLASS_AVERAGE_POOL1D:
    case CLASS_AVERAGE_POOL2D: return build_pool(l, c, o, err);
    case CLASS_DENSE: return build_dense(m, l, o, err);
    case CLASS_DROPOUT:
        l->kind = LAYER_DROPOUT;
        l->rate = o->rate;
        l->seeded = o->seeded;
        l->seed = o->seed;
        return CONV_OK;
    case CLASS_FLATTEN:
        l->kind = LAYER_FLATTEN;
        l->out = (tensor_shape){.rank = 1, .dim = {shape_count(&l->in)}};
        return CONV_OK;
    default: l->kind = LAYER_ACTIVATION; return CONV_OK;
    }
}
