/* From Sequential JSON to layers with shapes and parameters. What Keras refuses at build time is refused here
 * in its words (keras/layers/convolutional, keras/engine/input_spec.py, TensorFlow's depthwise kernel). */
#include "model.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

#include "../embed.h"
#include "../text.h"
#include "options.h"

enum { ALIGN_FLOATS = 16 }; /* each parameter starts on a cache line */

int64_t shape_count(const tensor_shape *s)
{
    int64_t count = 1;
    for (int i = 0; i < s->rank; i++) count *= s->dim[i];
    return count;
}

static bool shape_equal(const tensor_shape *a, const tensor_shape *b)
{
    return a->rank == b->rank && memcmp(a->dim, b->dim, (size_t)a->rank * sizeof *a->dim) == 0;
}

char *shape_text(const tensor_shape *s, char *buffer)
{
    int n = sprintf(buffer, "(");
    for (int i = 0; i < s->rank; i++)
        n += snprintf(buffer + n, 64 - (size_t)n, i ? ", %lld" : "%lld", (long long)s->dim[i]);
    snprintf(buffer + n, 64 - (size_t)n, s->rank == 1 ? ",)" : ")");
    return buffer;
}

int64_t layer_flops(const layer *l)
{
    if (l->kind == LAYER_CONV) return conv_flops(&l->problem, CONV_FORWARD);
    if (l->kind == LAYER_DENSE) return 2 * shape_count(&l->in) * l->out.dim[l->out.rank - 1];
    return 0;
}

/* ---- building one layer ------------------------------------------------------------------------------ */

static conv_status add_parameter(model *m, layer *l, const char *name, int rank, const int64_t *shape,
                                 bool trainable, const initializer *init, const regularizer *reg,
                                 const constraint *limit, conv_error *err)
{
    const char *wrong = constraint_refuse(limit, rank);
    if (wrong != NULL) return conv_fail(err, CONV_INVALID, "%s_constraint: %s", name, wrong);
    parameter *p = &m->parameter[m->parameter_count++];
    *p = (parameter){
        .rank = rank, .count = 1, .init = *init, .reg = *reg, .limit = *limit, .trainable = trainable};
    snprintf(p->name, sizeof p->name, "%s/%s:0", l->name, name);
    for (int i = 0; i < rank; i++) {
        p->shape[i] = shape[i];
        p->count *= shape[i];
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
    return add_parameter(m, l, "bias", 1, &count, o->trainable, &o->bias_init, &o->bias_reg, &o->bias_limit,
                         err);
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
                         "strides=(%lld, %lld) "
                         "and dilation_rate=(%lld, %lld)",
                         (long long)o->strides[0], (long long)o->strides[1], (long long)o->dilation_rate[0],
                         (long long)o->dilation_rate[1]);
    if ((c == CLASS_DEPTHWISE2D || c == CLASS_SEPARABLE2D) && o->strides[0] != o->strides[1])
        return conv_fail(
            err, CONV_INVALID,
            "Current implementation only supports equal length strides in the row and column dimensions. "
            "Received: strides=(%lld, %lld)",
            (long long)o->strides[0], (long long)o->strides[1]);
    return CONV_OK;
}

static conv_status conv_weights(model *m, layer *l, layer_class c, const layer_options *o, int64_t channels,
                                conv_error *err)
{
    bool flat = layer_class_is_1d(c);
    int spatial = flat ? 1 : 2;
    int64_t shape[4], one[4] = {1, 1, 1, 1};
    memcpy(shape, o->kernel_size + (flat ? 1 : 0), (size_t)spatial * sizeof *shape);
    conv_status status;
    if (c == CLASS_CONV1D || c == CLASS_CONV2D) {
        shape[spatial] = channels / o->groups;
        shape[spatial + 1] = o->filters;
        status = add_parameter(m, l, "kernel", spatial + 2, shape, o->trainable, &o->kernel_init,
                               &o->kernel_reg, &o->kernel_limit, err);
        return status == CONV_OK ? add_bias(m, l, o, o->filters, err) : status;
    }
    shape[spatial] = channels;
    shape[spatial + 1] = o->depth_multiplier;
    status = add_parameter(m, l, "depthwise_kernel", spatial + 2, shape, o->trainable, &o->depthwise_init,
                           &o->depthwise_reg, &o->depthwise_limit, err);
    if (status == CONV_OK && c != CLASS_DEPTHWISE2D) {
        one[spatial] = channels * o->depth_multiplier;
        one[spatial + 1] = o->filters;
        status = add_parameter(m, l, "pointwise_kernel", spatial + 2, one, o->trainable, &o->pointwise_init,
                               &o->pointwise_reg, &o->pointwise_limit, err);
    }
    return status == CONV_OK ? add_bias(m, l, o, l->problem.oc, err) : status;
}

static conv_status build_conv(model *m, layer *l, layer_class c, const layer_options *o, conv_error *err)
{
    bool flat = layer_class_is_1d(c), plain = c == CLASS_CONV1D || c == CLASS_CONV2D;
    int64_t hwc[3];
    conv_status status = refuse_strides(c, o, err);
    if (status == CONV_OK) status = image_shape(l, flat, hwc, err);
    if (status != CONV_OK) return status;
    if (plain && o->filters % o->groups != 0)
        return conv_fail(
            err, CONV_INVALID,
            "The number of filters must be evenly divisible by the number of groups. Received: groups=%lld, "
            "filters=%lld",
            (long long)o->groups, (long long)o->filters);
    if (plain && hwc[2] % o->groups != 0)
        return conv_fail(
            err, CONV_INVALID,
            "The number of input channels must be evenly divisible by the number of groups. Received "
            "groups=%lld, but the input has %lld channels",
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
    int64_t hwc[3], out[2];
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
    int64_t shape[2] = {l->in.dim[l->in.rank - 1], o->units};
    conv_status status = add_parameter(m, l, "kernel", 2, shape, o->trainable, &o->kernel_init, &o->kernel_reg,
                                       &o->kernel_limit, err);
    return status == CONV_OK ? add_bias(m, l, o, o->units, err) : status;
}

static conv_status build_layer(model *m, layer *l, layer_class c, const layer_options *o, conv_error *err)
{
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

/* ---- reading the file -------------------------------------------------------------------------------- */

/* "MaxPooling2D" to "max_pooling2d", as Keras names layers; _1, _2 for the next of the same kind. */
static void default_name(const model *m, const char *class_name, char *name)
{
    char base[MODEL_NAME_MAX / 2], *to = base;
    for (const char *c = class_name; *c != 0 && to < base + sizeof base - 3; c++) {
        if (isupper((unsigned char)*c) && c > class_name && !isdigit((unsigned char)c[-1])) *to++ = '_';
        *to++ = (char)tolower((unsigned char)*c);
    }
    *to = 0;
    int same = 0;
    for (int i = 0; i < m->layer_count; i++) same += strcmp(m->layers[i].class_name, class_name) == 0;
    snprintf(name, MODEL_NAME_MAX, same ? "%s_%d" : "%s", base, same);
}

static conv_status check_keys(json_t *object, const char *const *allowed, const char *what, conv_error *err)
{
    const char *key;
    json_t *value;
    json_object_foreach(object, key, value)
    {
        int i = 0;
        while (allowed[i] != NULL && strcmp(allowed[i], key) != 0) i++;
        if (allowed[i] == NULL) return conv_fail(err, CONV_INVALID, "%s: unknown key '%s'", what, key);
    }
    return CONV_OK;
}

static conv_status read_layer(model *m, json_t *item, bool *has_input, conv_error *err)
{
    static const char *const allowed[] = {"class_name",      "config",       "module",
                                          "registered_name", "build_config", NULL};
    const char *class_name = json_string_value(json_object_get(item, "class_name"));
    json_t *config = json_object_get(item, "config");
    if (class_name == NULL || !json_is_object(config))
        return conv_fail(err, CONV_INVALID, "a layer needs class_name and config");
    conv_status status = check_keys(item, allowed, class_name, err);
    if (status != CONV_OK) return status;
    layer_class c = layer_class_parse(class_name);
    if (c == CLASS_COUNT) return conv_fail(err, CONV_INVALID, "unknown layer '%s'", class_name);
    layer_options options;
    status = layer_options_parse(c, config, &options, err);
    if (status != CONV_OK) return status;

    tensor_shape *last = m->layer_count > 0 ? &m->layers[m->layer_count - 1].out : &m->in;
    if (options.has_shape && !*has_input && m->layer_count == 0) {
        m->in = options.shape;
        *has_input = true;
    } else if (options.has_shape && !shape_equal(&options.shape, last)) {
        return conv_fail(err, CONV_INVALID, "batch_input_shape differs from what the layer before gives");
    }
    if (c == CLASS_INPUT)
        return options.has_shape ? CONV_OK
                                 : conv_fail(err, CONV_INVALID, "InputLayer without batch_input_shape");
    if (!*has_input)
        return conv_fail(err, CONV_INVALID,
                         "the first layer has no batch_input_shape: save the model after building it");
    if (m->layer_count == MODEL_MAX_LAYERS)
        return conv_fail(err, CONV_INVALID, "more than %d layers", MODEL_MAX_LAYERS);

    layer *l = &m->layers[m->layer_count];
    l->in = *last;
    snprintf(l->class_name, sizeof l->class_name, "%s", class_name);
    if (options.name[0] != 0)
        strcpy(l->name, options.name);
    else
        default_name(m, class_name, l->name);
    for (int i = 0; i < m->layer_count; i++)
        if (strcmp(m->layers[i].name, l->name) == 0)
            return conv_fail(err, CONV_INVALID,
                             "The name \"%s\" is used 2 times in the model. All layer names should be unique.",
                             l->name);
    status = build_layer(m, l, c, &options, err);
    if (status == CONV_OK) m->layer_count++;
    return status;
}

static conv_status read_model(model *m, json_t *root, const char *label, conv_error *err)
{
    static const char *const root_keys[] = {"class_name", "config",          "keras_version", "backend",
                                            "module",     "registered_name", "build_config",  NULL};
    static const char *const config_keys[] = {"name",      "layers", "build_input_shape",
                                              "trainable", "dtype",  NULL};
    const char *class_name = json_string_value(json_object_get(root, "class_name"));
    if (class_name == NULL || strcmp(class_name, "Sequential") != 0)
        return conv_fail(err, CONV_INVALID, "%s: class_name is '%s': must be Sequential", label,
                         class_name == NULL ? "absent" : class_name);
    json_t *config = json_object_get(root, "config");
    json_t *layers = json_is_array(config) ? config : json_object_get(config, "layers");
    conv_error inner;
    conv_status status = check_keys(root, root_keys, "model", &inner);
    if (status == CONV_OK && json_is_object(config)) status = check_keys(config, config_keys, "model", &inner);
    if (status != CONV_OK) return conv_fail(err, status, "%s: %.200s", label, inner.text);
    const char *name = json_is_object(config) ? json_string_value(json_object_get(config, "name")) : NULL;
    snprintf(m->name, sizeof m->name, "%s", name == NULL ? "sequential" : name);
    text_make_printable(m->name);

    bool has_input = false;
    for (size_t i = 0; i < json_array_size(layers); i++) {
        json_t *item = json_array_get(layers, i);
        status = read_layer(m, item, &has_input, &inner);
        const char *layer_name = json_string_value(json_object_get(json_object_get(item, "config"), "name"));
        const char *layer_class = json_string_value(json_object_get(item, "class_name"));
        if (status != CONV_OK)
            return conv_fail(err, status, "%s: layer %zu%s%.40s (%.30s): %.150s", label, i + 1,
                             layer_name ? " " : "", layer_name ? layer_name : "",
                             layer_class ? layer_class : "no class_name", inner.text);
    }
    if (m->layer_count == 0) return conv_fail(err, CONV_INVALID, "%s: no layers", label);
    if (m->layers[m->layer_count - 1].out.rank != 1)
        return conv_fail(err, CONV_INVALID,
                         "%s: the last layer's output is not a vector of class scores: add Flatten or Dense",
                         label);
    return CONV_OK;
}

model *model_parse(const char *text, const char *label, conv_error *err)
{
    json_error_t where;
    json_t *root = json_loads(text, JSON_REJECT_DUPLICATES, &where);
    if (root == NULL) {
        conv_fail(err, CONV_INVALID, "%s:%d: %s", label, where.line, where.text);
        return NULL;
    }
    model *m = calloc(1, sizeof *m);
    conv_status status =
        m != NULL ? read_model(m, root, label, err) : conv_fail(err, CONV_NO_MEMORY, "%s: no memory", label);
    json_decref(root);
    if (status == CONV_OK) return m;
    free(m);
    return NULL;
}

model *model_load(const char *name, conv_error *err)
{
    size_t length = strlen(name);
    if (length < 5 || strcmp(name + length - 5, ".json") != 0) {
        char path[256];
        snprintf(path, sizeof path, "bench/models/%.200s.json", name);
        const embedded_file *file = embedded_find(path);
        if (file != NULL) return model_parse(file->data, path, err);
        conv_fail(err, CONV_INVALID, "model '%s': neither conv, separable nor a path ending in .json", name);
        return NULL;
    }
    FILE *file = fopen(name, "rb");
    char *text = NULL;
    size_t size = 0;
    ssize_t got = file == NULL ? -1 : getdelim(&text, &size, 0, file);
    model *m = NULL;
    if (got <= 0)
        conv_fail(err, CONV_INVALID, "%s: %s", name, got == 0 || errno == 0 ? "empty" : strerror(errno));
    else
        m = model_parse(text, name, err);
    free(text);
    if (file != NULL) fclose(file);
    return m;
}

uint32_t model_fingerprint(const model *m)
{
    uLong crc = crc32(0, NULL, 0);
    for (int i = 0; i < m->layer_count; i++) {
        const layer *l = &m->layers[i];
        char text[512];
        int n = snprintf(text, sizeof text, "%d %d %d %d %.9g %d %.9g %.9g", (int)l->kind, (int)l->activation,
                         l->channels_first, l->average, l->rate, (int)l->problem.variant,
                         (double)l->activity.l1, (double)l->activity.l2);
        crc = crc32(crc, (const Bytef *)text, (uInt)n);
        crc = crc32(crc, (const Bytef *)l->in.dim, sizeof l->in.dim);
        crc = crc32(crc, (const Bytef *)l->out.dim, sizeof l->out.dim);
        crc = crc32(crc, (const Bytef *)l->problem.axis, sizeof l->problem.axis);
        crc = crc32(crc, (const Bytef *)&l->pool.pool_h, 6 * sizeof l->pool.pool_h);
    }
    for (int i = 0; i < m->parameter_count; i++) {
        const parameter *p = &m->parameter[i];
        crc = crc32(crc, (const Bytef *)p->name, (uInt)strlen(p->name));
        crc = crc32(crc, (const Bytef *)p->shape, sizeof p->shape);
        crc = crc32(crc, (const Bytef *)&p->reg, sizeof p->reg);
        crc = crc32(crc, (const Bytef *)&p->limit.kind, sizeof p->limit.kind);
        crc = crc32(crc, (const Bytef *)&p->limit.min_value, 3 * sizeof p->limit.min_value);
    }
    return (uint32_t)crc;
}
