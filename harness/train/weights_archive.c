/* .keras archives: the model as JSON and its weights, as Keras 3 writes and loads them. */
#include <stdlib.h>
#include <string.h>

#include "../archive.h"
#include "../text.h"
#include "weights_internal.h"

enum { SPARE_BYTES = 1 << 26, MOST_COPIES = 16 }; /* an optimizer keeps a few numbers for each weight */

static const char member[] = "model.weights.h5";

bool weights_is_archive(const char *path)
{
    return archive_has(path, member) || archive_has(path, "config.json");
}

conv_status weights_read_archive(const char *path, const model *m, float *weights, conv_error *err)
{
    size_t size, most = SPARE_BYTES + (size_t)m->total * sizeof *weights * MOST_COPIES;
    char *image = archive_read(path, member, most, &size, err);
    if (image == NULL) return CONV_INVALID;
    conv_status status = weights_read_h5(path, image, size, m, weights, err);
    free(image);
    return status;
}

/* ---- a model in the form of that layout's Keras: for 3, where each class is, and no options that it has no more */

static const char *module_of(const char *key, const char *class_name)
{
    static const char *const models[] = {"Sequential", "Functional", "Model"};
    static const char *const ends[][2] = {{"_initializer", "keras.initializers"},
                                          {"_regularizer", "keras.regularizers"},
                                          {"_constraint", "keras.constraints"}};
    for (size_t i = 0; i < 3; i++)
        if (strcmp(class_name, models[i]) == 0) return "keras";
    for (size_t i = 0; i < 3; i++)
        if (text_ends_with(key, ends[i][0])) return ends[i][1];
    return "keras.layers";
}

/* SeparableConv2D of tf.keras has groups, which must be 1. */
static void drop_groups(const char *class_name, json_t *config)
{
    if (strncmp(class_name, "Depthwise", 9) == 0 || strncmp(class_name, "Separable", 9) == 0)
        json_object_del(config, "groups");
}

static void modernise_layer(const char *class_name, json_t *config)
{
    json_t *axis = json_object_get(config, "axis");
    if (strcmp(class_name, "InputLayer") == 0 && json_object_get(config, "batch_shape") == NULL)
        json_object_set(config, "batch_shape", json_object_get(config, "batch_input_shape"));
    json_object_del(config, "batch_input_shape");
    if (strcmp(class_name, "BatchNormalization") == 0 && json_is_array(axis))
        json_object_set(config, "axis", json_array_get(axis, 0));
}

/* The input that a Sequential's first layer of Keras 2 names. */
static void make_input(json_t *layers)
{
    json_t *first = json_array_get(layers, 0);
    json_t *shape = json_object_get(json_object_get(first, "config"), "batch_input_shape");
    const char *class_name = json_string_value(json_object_get(first, "class_name"));
    if (shape != NULL && class_name != NULL && strcmp(class_name, "InputLayer") != 0)
        json_array_insert_new(
            layers, 0,
            json_pack("{s:s, s:{s:O}}", "class_name", "InputLayer", "config", "batch_input_shape", shape));
}

static void modernise_object(json_t *object, const char *key, const char *class_name, json_t *config)
{
    if (json_object_get(object, "module") == NULL) {
        json_object_set_new(object, "module", json_string(module_of(key, class_name)));
        json_object_set_new(object, "registered_name", json_null());
        if (strcmp(class_name, "Functional") == 0)
            json_object_set_new(object, "class_name", json_string("Model"));
    }
    if (json_is_array(json_object_get(config, "layers"))) make_input(json_object_get(config, "layers"));
    modernise_layer(class_name, config);
}

static void convert(json_t *value, const char *key, places_layout layout)
{
    const char *name = json_string_value(json_object_get(value, "class_name")), *inner;
    json_t *config = json_object_get(value, "config"), *item;
    size_t i;
    if (name != NULL && json_is_object(config)) {
        drop_groups(name, config);
        if (layout == PLACES_KERAS3) modernise_object(value, key, name, config);
    }
    if (json_is_object(value)) json_object_foreach(value, inner, item) convert(item, inner, layout);
    if (json_is_array(value)) json_array_foreach(value, i, item) convert(item, key, layout);
}

char *weights_model_text(const model *m, places_layout layout)
{
    json_t *root = json_loads(m->json, 0, NULL);
    convert(root, "", layout);
    char *text = json_dumps(root, 0);
    json_decref(root);
    return text;
}

conv_status weights_write_archive(const char *path, output_kind kind, const model *m, const float *weights,
                                  conv_error *err)
{
    static const char metadata[] = "{\"keras_version\": \"3.0.0\", \"written_by\": \"sepbench\"}";
    archive_member members[] = {{"metadata.json", strdup(metadata), strlen(metadata)},
                                {"config.json", weights_model_text(m, PLACES_KERAS3), 0},
                                {(char *)member, NULL, 0}};
    members[2].data = weights_make_h5(m, weights, PLACES_KERAS3, &members[2].size);
    if (members[0].data == NULL || members[1].data == NULL || members[2].data == NULL) {
        for (int i = 0; i < 3; i++) free(members[i].data);
        return conv_fail(err, CONV_FAILED, "%.200s: cannot be written: it could not be made in memory", path);
    }
    members[1].size = strlen(members[1].data);
    return archive_write(path, kind, members, 3, err) ? CONV_OK : CONV_FAILED;
}
