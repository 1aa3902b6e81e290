/* Optimizer and loss of a compile_config, in one line each. Metrics and how Keras executes do not matter to
 * what is learned. */
#include "compiled.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>

/* A name, or an object with one: {"class_name": "Adam", ...}, {"class_name": "function", "config": "mse"}, or a
 * list of a single loss. */
static const char *name_of(json_t *value)
{
    if (json_array_size(value) == 1) value = json_array_get(value, 0);
    if (json_is_string(value)) return json_string_value(value);
    json_t *config = json_object_get(value, "config");
    return json_string_value(json_is_string(config) ? config : json_object_get(value, "class_name"));
}

/* Whether it is none of the optimizer's mathematics as long as what is null or false stays unused. */
static bool is_idle(const char *key, json_t *value)
{
    static const char *const idle[] = {"name", "ema_momentum", "jit_compile", "is_legacy_optimizer", NULL};
    for (int i = 0; idle[i] != NULL; i++)
        if (strcmp(idle[i], key) == 0) return true;
    return json_is_null(value) || json_is_false(value);
}

/* ",learning_rate=0.001": float32's digits, since Keras stores what it has rounded to that. */
static void read_optimizer(json_t *value, char *text, size_t size)
{
    const char *name = name_of(value), *key;
    if (name == NULL) return;
    size_t used = (size_t)snprintf(text, size, "%.40s", name);
    for (char *c = text; *c != 0; c++) *c = (char)tolower((unsigned char)*c);
    char separator = ':';
    json_t *item;
    json_object_foreach(json_object_get(value, "config"), key, item)
    {
        bool no_momentum = strcmp(key, "momentum") == 0 && json_number_value(item) == 0;
        if (is_idle(key, item) || no_momentum || used >= size) continue;
        if (json_is_number(item))
            used += (size_t)snprintf(text + used, size - used, "%c%s=%.7g", separator, key,
                                     json_number_value(item));
        else
            used += (size_t)snprintf(text + used, size - used, "%c%s=%s", separator, key,
                                     json_is_true(item)      ? "true"
                                     : name_of(item) != NULL ? name_of(item)
                                                             : "?");
        separator = ',';
    }
}

/* Labels are class numbers here, so both cross-entropies of classes are one. */
static void read_loss(json_t *value, char *text, size_t size)
{
    static const char *const same[] = {"sparse_categorical_crossentropy", "categorical_crossentropy",
                                       "SparseCategoricalCrossentropy", "CategoricalCrossentropy", NULL};
    static const char *const neutral[] = {"from_logits", "label_smoothing", "ignore_class", NULL};
    const char *name = name_of(value);
    if (value == NULL || json_is_null(value)) return;
    int i = 0;
    while (same[i] != NULL && (name == NULL || strcmp(same[i], name) != 0)) i++;
    if (same[i] == NULL) {
        snprintf(text, size, "%.60s", name != NULL ? name : "?");
        return;
    }
    if (json_array_size(value) == 1) value = json_array_get(value, 0);
    for (i = 0; neutral[i] != NULL; i++) {
        json_t *item = json_object_get(json_object_get(value, "config"), neutral[i]);
        bool idle =
            item == NULL || json_is_null(item) || json_is_false(item) ||
            (json_is_number(item) && json_number_value(item) == 0 && strcmp(neutral[i], "ignore_class") != 0);
        if (!idle) snprintf(text, size, "%.40s with %s", name, neutral[i]);
    }
}

void compiled_read(json_t *config, model_compiled *out)
{
    read_optimizer(json_object_get(config, "optimizer"), out->optimizer, sizeof out->optimizer);
    read_loss(json_object_get(config, "loss"), out->loss, sizeof out->loss);
    if (out->loss[0] == 0 && json_is_object(config) && json_object_get(config, "loss_weights") != NULL &&
        !json_is_null(json_object_get(config, "loss_weights")))
        snprintf(out->loss, sizeof out->loss, "loss_weights");
}
