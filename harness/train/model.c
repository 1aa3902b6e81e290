/* From Sequential JSON to a model, as Keras 2, tf.keras and Keras 3 write it. */
#include "model.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

#include "../text.h"
#include "build.h"
#include "compiled.h"

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

/* ---- reading the file */

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

/* A key that is null says nothing, so it need not be known. */
static conv_status check_keys(json_t *object, const char *const *allowed, const char *what, conv_error *err)
{
    const char *key;
    json_t *value;
    json_object_foreach(object, key, value)
    {
        int i = 0;
        while (allowed[i] != NULL && strcmp(allowed[i], key) != 0) i++;
        if (allowed[i] == NULL && !json_is_null(value))
            return conv_fail(err, CONV_INVALID, "%s: unknown key '%s'", what, key);
    }
    return CONV_OK;
}

/* What a Sequential without an input layer was built for, or null: Keras writes it after build() or a first
 * call, where depends on its version. */
static json_t *built_shape(json_t *root, json_t *layers)
{
    json_t *const shapes[] = {
        json_object_get(json_object_get(root, "config"), "build_input_shape"),
        json_object_get(json_object_get(root, "build_config"), "input_shape"),
        json_object_get(json_object_get(json_array_get(layers, 0), "build_config"), "input_shape")};
    int i = 0;
    while (i < 2 && (shapes[i] == NULL || json_is_null(shapes[i]))) i++;
    return shapes[i];
}

/* The model's input, which is known once m->in.rank is: that of the first layer that names one, else the shape
 * the model was built for. */
static conv_status read_input(model *m, const layer_options *options, json_t *built, conv_error *err)
{
    const tensor_shape *last = m->layer_count > 0 ? &m->layers[m->layer_count - 1].out : &m->in;
    if (options->has_shape && m->in.rank == 0) {
        m->in = options->shape;
    } else if (options->has_shape && !shape_equal(&options->shape, last)) {
        return conv_fail(err, CONV_INVALID, "batch_input_shape differs from what the layer before gives");
    } else if (m->in.rank == 0 && built != NULL && !json_is_null(built)) {
        const char *wrong = shape_parse(built, &m->in);
        if (wrong != NULL) return conv_fail(err, CONV_INVALID, "build_input_shape must be %s", wrong);
    }
    if (m->in.rank == 0)
        return conv_fail(err, CONV_INVALID,
                         "the first layer has no batch_input_shape: save the model after building it");
    return CONV_OK;
}

static conv_status read_layer(model *m, json_t *item, json_t *built, conv_error *err)
{
    static const char *const allowed[] = {"class_name",   "config",           "module", "registered_name",
                                          "build_config", "shared_object_id", NULL};
    const char *class_name = json_string_value(json_object_get(item, "class_name"));
    json_t *config = json_object_get(item, "config");
    if (class_name == NULL || !json_is_object(config))
        return conv_fail(err, CONV_INVALID, "a layer needs class_name and config");
    conv_status status = check_keys(item, allowed, class_name, err);
    if (status != CONV_OK) return status;
    layer_type type = layer_type_parse(class_name);
    if (type.class == CLASS_COUNT) return conv_fail(err, CONV_INVALID, "unknown layer '%s'", class_name);
    const char *own = json_string_value(json_object_get(item, "registered_name"));
    if (own != NULL)
        return conv_fail(err, CONV_INVALID, "unknown layer '%s': it is not one of Keras's own", own);
    layer_options options;
    status = layer_options_parse(type, config, &options, err);
    if (status != CONV_OK) return status;

    if (type.class == CLASS_INPUT && !options.has_shape)
        return conv_fail(err, CONV_INVALID, "InputLayer without batch_input_shape");
    status = read_input(m, &options, built, err);
    if (status != CONV_OK || type.class == CLASS_INPUT) return status;
    if (m->layer_count == MODEL_MAX_LAYERS)
        return conv_fail(err, CONV_INVALID, "more than %d layers", MODEL_MAX_LAYERS);

    layer *l = &m->layers[m->layer_count];
    l->in = m->layer_count > 0 ? l[-1].out : m->in;
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
    status = layer_build(m, l, type, &options, err);
    if (status == CONV_OK) m->layer_count++;
    return status;
}

static conv_status read_model(model *m, json_t *root, const char *label, conv_error *err)
{
    static const char *const root_keys[] = {"class_name",   "config",         "keras_version",
                                            "backend",      "module",         "registered_name",
                                            "build_config", "compile_config", NULL};
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

    compiled_read(json_object_get(root, "compile_config"), &m->compiled);
    json_t *built = built_shape(root, layers);
    for (size_t i = 0; i < json_array_size(layers); i++) {
        json_t *item = json_array_get(layers, i);
        status = read_layer(m, item, built, &inner);
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
    model *m = calloc(1, sizeof *m + strlen(text) + 1);
    if (m != NULL) strcpy(m->json, text);
    conv_status status =
        m != NULL ? read_model(m, root, label, err) : conv_fail(err, CONV_NO_MEMORY, "%s: no memory", label);
    json_decref(root);
    if (status == CONV_OK) return m;
    free(m);
    return NULL;
}

model *model_read(const char *path, conv_error *err)
{
    FILE *file = fopen(path, "rb");
    char *text = NULL;
    size_t size = 0;
    ssize_t got = file == NULL ? -1 : getdelim(&text, &size, 0, file);
    model *m = NULL;
    if (got <= 0)
        conv_fail(err, CONV_INVALID, "%s: %s", path, got == 0 || errno == 0 ? "empty" : strerror(errno));
    else
        m = model_parse(text, path, err);
    free(text);
    if (file != NULL) fclose(file);
    return m;
}

const char *model_not_softmax(const model *m)
{
    const layer *l = &m->layers[m->layer_count - 1];
    while (l > m->layers && (l->kind == LAYER_FLATTEN || l->kind == LAYER_DROPOUT)) l--;
    if (l->kind != LAYER_CONV && l->kind != LAYER_DENSE && l->kind != LAYER_ACTIVATION) return "none";
    if (l->activation != NN_SOFTMAX) return activation_names[l->activation];
    return l->out.dim[l->out.rank - 1] == shape_count(&l->out) ? NULL : "a softmax of each pixel";
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
        for (int k = 0; k < 3; k++) /* the depth only where it is one, for checkpoints of earlier versions */
            for (int a = l->in.rank <= CONV_AXES ? CONV_H : CONV_D; a < CONV_AXES; a++) {
                const conv_axis *axis = &l->pool.axis[a];
                const int64_t numbers[] = {axis->kernel, axis->stride, axis->pad_before};
                crc = crc32(crc, (const Bytef *)&numbers[k], sizeof numbers[k]);
            }
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
