/* Reading initializers, regularizers and constraints. One table per kind: the names Keras gives, the case, the
 * numbers of its config with their defaults. A name or key that is not in the table is an error. */
#include "values.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>

enum { MAX_NUMBERS = 3 };

/* "GlorotUniform", "glorot_uniform" and "Glorot_Uniform" are one: letters and digits, lower case. */
static bool same_name(const char *a, const char *b)
{
    for (;;) {
        while (*a == '_') a++;
        while (*b == '_') b++;
        if (tolower((unsigned char)*a) != tolower((unsigned char)*b)) return false;
        if (*a == 0) return true;
        a++, b++;
    }
}

/* Splits a value into its name and config (NULL for a bare name). */
static conv_status open_value(const char *what, json_t *value, const char **name, json_t **config,
                              conv_error *err)
{
    *config = NULL;
    if (json_is_string(value)) {
        *name = json_string_value(value);
        return CONV_OK;
    }
    const char *key;
    json_t *item;
    *name = NULL;
    json_object_foreach(value, key, item)
    {
        if (strcmp(key, "class_name") == 0)
            *name = json_string_value(item);
        else if (strcmp(key, "config") == 0)
            *config = item;
        else if (strcmp(key, "registered_name") == 0 && json_is_string(item))
            return conv_fail(err, CONV_INVALID, "unknown %s '%s': it is not one of Keras's own", what,
                             json_string_value(item));
        else if (strcmp(key, "module") != 0 && strcmp(key, "shared_object_id") != 0 && !json_is_null(item))
            return conv_fail(err, CONV_INVALID, "%s: unknown key '%s'", what, key);
    }
    if (*name == NULL)
        return conv_fail(err, CONV_INVALID, "%s: neither a name nor an object with class_name", what);
    if (*config != NULL && !json_is_object(*config))
        return conv_fail(err, CONV_INVALID, "%s: its config is not an object", what);
    return CONV_OK;
}

/* Keys of a config that are no numbers go to `read`, with `out`. */
typedef struct {
    conv_status (*read)(void *out, const char *key, json_t *item, conv_error *err); /* NULL: there are none */
    void *out;
} other_keys;

/* Reads config[keys[i]] into values[i], which hold the defaults. */
static conv_status read_numbers(const char *name, json_t *config, const char *const *keys, double *values,
                                other_keys other, conv_error *err)
{
    const char *key;
    json_t *item;
    json_object_foreach(config, key, item)
    {
        int i = 0;
        while (i < MAX_NUMBERS && keys[i] != NULL && strcmp(keys[i], key) != 0) i++;
        if (i < MAX_NUMBERS && keys[i] != NULL) {
            if (!json_is_number(item)) return conv_fail(err, CONV_INVALID, "%s: %s is not a number", name, key);
            values[i] = json_number_value(item);
            continue;
        }
        if (json_is_null(item)) continue; /* of a newer Keras, and not used: input_axes */
        conv_status status = other.read != NULL ? other.read(other.out, key, item, err)
                                                : conv_fail(err, CONV_INVALID, "unknown option '%s'", key);
        if (status != CONV_OK) {
            char text[sizeof err->text];
            if (err != NULL) {
                snprintf(text, sizeof text, "%s", err->text);
                conv_fail(err, status, "%s: %.200s", name, text);
            }
            return status;
        }
    }
    return CONV_OK;
}

/* ---- initializers */

static const struct {
    const char *name;
    init_kind kind;
    const char *keys[MAX_NUMBERS];
    double defaults[MAX_NUMBERS];
    init_mode mode;
    init_distribution distribution;
} initializers[] = {
    {"zeros", INIT_ZEROS, {NULL}, {0}, FAN_IN, SCALE_UNIFORM},
    {"ones", INIT_ONES, {NULL}, {0}, FAN_IN, SCALE_UNIFORM},
    {"zero", INIT_ZEROS, {NULL}, {0}, FAN_IN, SCALE_UNIFORM},
    {"one", INIT_ONES, {NULL}, {0}, FAN_IN, SCALE_UNIFORM},
    {"constant", INIT_CONSTANT, {"value"}, {0}, FAN_IN, SCALE_UNIFORM},
    {"random_normal", INIT_RANDOM_NORMAL, {"mean", "stddev"}, {0, 0.05}, FAN_IN, SCALE_UNIFORM},
    {"normal", INIT_RANDOM_NORMAL, {"mean", "stddev"}, {0, 0.05}, FAN_IN, SCALE_UNIFORM},
    {"truncated_normal", INIT_TRUNCATED_NORMAL, {"mean", "stddev"}, {0, 0.05}, FAN_IN, SCALE_UNIFORM},
    {"random_uniform", INIT_RANDOM_UNIFORM, {"minval", "maxval"}, {-0.05, 0.05}, FAN_IN, SCALE_UNIFORM},
    {"uniform", INIT_RANDOM_UNIFORM, {"minval", "maxval"}, {-0.05, 0.05}, FAN_IN, SCALE_UNIFORM},
    {"glorot_uniform", INIT_VARIANCE_SCALING, {NULL}, {1}, FAN_AVG, SCALE_UNIFORM},
    {"glorot_normal", INIT_VARIANCE_SCALING, {NULL}, {1}, FAN_AVG, SCALE_TRUNCATED_NORMAL},
    {"he_uniform", INIT_VARIANCE_SCALING, {NULL}, {2}, FAN_IN, SCALE_UNIFORM},
    {"he_normal", INIT_VARIANCE_SCALING, {NULL}, {2}, FAN_IN, SCALE_TRUNCATED_NORMAL},
    {"lecun_uniform", INIT_VARIANCE_SCALING, {NULL}, {1}, FAN_IN, SCALE_UNIFORM},
    {"lecun_normal", INIT_VARIANCE_SCALING, {NULL}, {1}, FAN_IN, SCALE_TRUNCATED_NORMAL},
    {"variance_scaling", INIT_VARIANCE_SCALING, {"scale"}, {1}, FAN_IN, SCALE_TRUNCATED_NORMAL},
};

static int choose(const char *const *names, const char *name)
{
    for (int i = 0; name != NULL && names[i] != NULL; i++)
        if (strcmp(names[i], name) == 0) return i;
    return -1;
}

static conv_status initializer_key(void *to, const char *key, json_t *item, conv_error *err)
{
    static const char *const modes[] = {"fan_in", "fan_out", "fan_avg", NULL};
    static const char *const distributions[] = {"uniform", "truncated_normal", "untruncated_normal", "normal",
                                                NULL};
    initializer *out = to;
    if (strcmp(key, "seed") == 0) {
        if (json_is_object(item)) item = json_object_get(json_object_get(item, "config"), "seed");
        if (!json_is_null(item) && !json_is_integer(item))
            return conv_fail(err, CONV_INVALID, "seed is no integer");
        out->seeded = json_is_integer(item);
        out->seed = json_integer_value(item);
    } else if (strcmp(key, "dtype") == 0) {
        if (!json_is_null(item) && (!json_is_string(item) || strcmp(json_string_value(item), "float32") != 0))
            return conv_fail(err, CONV_INVALID, "dtype must be float32");
    } else if (strcmp(key, "mode") == 0 && out->kind == INIT_VARIANCE_SCALING) {
        int mode = choose(modes, json_string_value(item));
        if (mode < 0) return conv_fail(err, CONV_INVALID, "mode must be fan_in, fan_out or fan_avg");
        out->mode = (init_mode)mode;
    } else if (strcmp(key, "distribution") == 0 && out->kind == INIT_VARIANCE_SCALING) {
        int distribution = choose(distributions, json_string_value(item));
        if (distribution < 0)
            return conv_fail(err, CONV_INVALID,
                             "distribution must be uniform, truncated_normal or untruncated_normal");
        out->distribution = distribution == 3 ? SCALE_TRUNCATED_NORMAL : (init_distribution)distribution;
    } else {
        return conv_fail(err, CONV_INVALID, "unknown option '%s'", key);
    }
    return CONV_OK;
}

conv_status initializer_parse(json_t *value, initializer *out, conv_error *err)
{
    const char *name = "glorot_uniform"; /* what null means to Keras, also for a bias */
    json_t *config = NULL;
    conv_status status = json_is_null(value) ? CONV_OK : open_value("initializer", value, &name, &config, err);
    if (status != CONV_OK) return status;
    for (size_t i = 0; i < sizeof initializers / sizeof *initializers; i++)
        if (same_name(name, initializers[i].name)) {
            double numbers[MAX_NUMBERS];
            memcpy(numbers, initializers[i].defaults, sizeof numbers);
            *out = (initializer){.kind = initializers[i].kind,
                                 .mode = initializers[i].mode,
                                 .distribution = initializers[i].distribution};
            status = read_numbers(name, config, initializers[i].keys, numbers,
                                  (other_keys){initializer_key, out}, err);
            out->a = numbers[0];
            out->b = numbers[1];
            if (status == CONV_OK && out->kind == INIT_VARIANCE_SCALING && !(out->a > 0))
                return conv_fail(err, CONV_INVALID, "%s: `scale` must be a positive float. Got: %g", name,
                                 out->a);
            return status;
        }
    return conv_fail(err, CONV_INVALID, "unknown initializer '%s'", name);
}

/* ---- regularizers */

conv_status regularizer_parse(json_t *value, regularizer *out, conv_error *err)
{
    static const struct {
        const char *name, *keys[MAX_NUMBERS];
        double defaults[MAX_NUMBERS];
    } kinds[] = {{"l1_l2", {"l1", "l2"}, {0, 0}}, {"l1", {"l1"}, {0.01}}, {"l2", {"l1", "l2"}, {0, 0.01}}};
    *out = (regularizer){0};
    if (value == NULL || json_is_null(value)) return CONV_OK;
    const char *name;
    json_t *config;
    conv_status status = open_value("regularizer", value, &name, &config, err);
    if (status != CONV_OK) return status;
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++)
        if (same_name(name, kinds[i].name)) {
            double numbers[MAX_NUMBERS];
            memcpy(numbers, kinds[i].defaults, sizeof numbers);
            if (i == 0 && config == NULL)
                numbers[0] = numbers[1] = 0.01; /* keras.regularizers.l1_l2()'s defaults */
            status = read_numbers(name, config, kinds[i].keys, numbers, (other_keys){NULL, NULL}, err);
            *out = (regularizer){(float)numbers[0], (float)numbers[1]};
            return status;
        }
    return conv_fail(err, CONV_INVALID, "unknown regularizer '%s'", name);
}

/* ---- constraints */

static conv_status constraint_key(void *to, const char *key, json_t *item, conv_error *err)
{
    constraint *out = to;
    if (strcmp(key, "axis") != 0 || out->kind == CONSTRAINT_NON_NEG)
        return conv_fail(err, CONV_INVALID, "unknown option '%s'", key);
    size_t count = json_is_array(item) ? json_array_size(item) : 1;
    out->axes = 0;
    for (size_t i = 0; i < count; i++) {
        json_t *axis = json_is_array(item) ? json_array_get(item, i) : item;
        json_int_t value = json_integer_value(axis);
        if (!json_is_integer(axis) || value < -1 || value >= PARAMETER_MAX_RANK)
            return conv_fail(err, CONV_INVALID, "axis is no axis of the weights");
        out->axes |= 1u << (value < 0 ? 31 : value);
    }
    return CONV_OK;
}

conv_status constraint_parse(json_t *value, constraint *out, conv_error *err)
{
    static const struct {
        const char *name;
        constraint_kind kind;
        const char *keys[MAX_NUMBERS];
        double defaults[MAX_NUMBERS];
    } kinds[] = {{"max_norm", CONSTRAINT_MAX_NORM, {"max_value"}, {2}},
                 {"min_max_norm", CONSTRAINT_MIN_MAX_NORM, {"max_value", "min_value", "rate"}, {1, 0, 1}},
                 {"non_neg", CONSTRAINT_NON_NEG, {NULL}, {0}},
                 {"unit_norm", CONSTRAINT_UNIT_NORM, {NULL}, {0}}};
    *out = (constraint){0};
    if (value == NULL || json_is_null(value)) return CONV_OK;
    const char *name;
    json_t *config;
    conv_status status = open_value("constraint", value, &name, &config, err);
    if (status != CONV_OK) return status;
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++)
        if (same_name(name, kinds[i].name)) {
            double numbers[MAX_NUMBERS];
            memcpy(numbers, kinds[i].defaults, sizeof numbers);
            *out = (constraint){.kind = kinds[i].kind, .axes = 1};
            status = read_numbers(name, config, kinds[i].keys, numbers, (other_keys){constraint_key, out}, err);
            out->max_value = (float)numbers[0];
            out->min_value = (float)numbers[1];
            out->rate = (float)numbers[2];
            return status;
        }
    return conv_fail(err, CONV_INVALID, "unknown constraint '%s'", name);
}

const char *constraint_refuse(const constraint *c, int rank)
{
    if (c->kind == CONSTRAINT_NONE || c->kind == CONSTRAINT_NON_NEG) return NULL;
    return (c->axes & 0x7fffffffu) >> rank ? "the constraint's axis is beyond the weights' rank" : NULL;
}
