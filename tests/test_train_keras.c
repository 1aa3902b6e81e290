/* Models and weights as Keras 3 writes them (data/keras, made by its make.py), and what of them is refused. */
#include "train_support.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "../harness/train/weights.h"
#include "folder.h"

static char *keras_file(const char *name, char *path, size_t size)
{
    char part[128];
    snprintf(part, sizeof part, "data/keras/%s", name);
    return test_path(part, path, size);
}

static model *load(const char *name)
{
    char path[4096];
    conv_error err = {""};
    model *m = model_read(keras_file(name, path, sizeof path), &err);
    if (m == NULL) fail_msg("%s", err.text);
    return m;
}

/* As Keras counts them after model_from_json. */
static void models_load(void **state)
{
    static const struct {
        const char *file, *input;
        int64_t parameters;
    } models[] = {
        {"layers2d.json", "(12, 12, 1)", 990}, {"layers1d.json", "(12, 12)", 295},
        {"compiled.json", "(12, 12)", 295},    {"compiled_sgd_logits.json", "(12, 12)", 295},
        {"deferred.json", "(4, 4, 1)", 47},    {"keras2_deferred.json", "(12, 12, 1)", 4050},
        {"layers3d.json", "(4, 6, 5, 2)", 51}, {"depthwise1d.json", "(6, 2)", 67},
    };
    for (size_t i = 0; i < sizeof models / sizeof *models; i++) {
        char input[64];
        model *m = load(models[i].file);
        assert_string_equal(shape_text(&m->in, input), models[i].input);
        if (m->parameters != models[i].parameters)
            fail_msg("%s has %lld parameters", models[i].file, (long long)m->parameters);
        free(m);
    }
}

/* ---- keys */

/* The model with "novel": value in the config of layer `at`, or in that of its `inner` object. */
static model *with_key(json_t *root, size_t at, const char *inner, json_t *value, conv_error *err)
{
    json_t *copy = json_deep_copy(root), *layers = json_object_get(json_object_get(copy, "config"), "layers");
    json_t *config = json_object_get(json_array_get(layers, at), "config");
    if (inner != NULL) config = json_object_get(json_object_get(config, inner), "config");
    json_object_set(config, "novel", value);
    char *text = json_dumps(copy, 0);
    model *m = model_parse(text, "m.json", err);
    free(text);
    json_decref(copy);
    return m;
}

/* In every layer and initializer, a key nobody knows is passed over when it is null and refused by name when
 * not. */
static void unknown_keys(void **state)
{
    static const char *const files[] = {"data/keras/layers2d.json", "data/keras/layers1d.json",
                                        "data/keras/layers3d.json", "data/keras/depthwise1d.json"};
    static const char *const inner[] = {NULL,
                                        "kernel_initializer",
                                        "bias_initializer",
                                        "kernel_regularizer",
                                        "kernel_constraint",
                                        "depthwise_initializer"};
    json_t *null = json_null(), *one = json_integer(1);
    int tried = 0;
    for (size_t f = 0; f < sizeof files / sizeof *files; f++) {
        json_t *root = test_json(files[f]),
               *layers = json_object_get(json_object_get(root, "config"), "layers");
        for (size_t i = 0; i < json_array_size(layers); i++) {
            json_t *config = json_object_get(json_array_get(layers, i), "config");
            for (size_t k = 0; k < sizeof inner / sizeof *inner; k++) {
                if (inner[k] != NULL && !json_is_object(json_object_get(config, inner[k]))) continue;
                conv_error err = {""};
                model *m = with_key(root, i, inner[k], null, &err);
                if (m == NULL) fail_msg("null: %s", err.text);
                free(m);
                m = with_key(root, i, inner[k], one, &err);
                if (m != NULL || strstr(err.text, "unknown option 'novel'") == NULL)
                    fail_msg("layer %zu, %s: no refusal but: %s", i, inner[k] != NULL ? inner[k] : "itself",
                             err.text);
                tried++;
            }
        }
        json_decref(root);
    }
    assert_true(tried > 30);
    json_decref(one);
}

/* A Dense layer and its item's and config's further members, in a Sequential with these of its own. */
static model *dense(const char *of_model, const char *of_item, const char *of_config, conv_error *err)
{
    char text[2048];
    snprintf(
        text, sizeof text,
        "{\"class_name\":\"Sequential\",%s\"config\":{\"layers\":[{\"class_name\":\"Dense\",%s\"config\":{%s"
        "\"units\":3}}]}}",
        of_model, of_item, of_config);
    return model_parse(text, "m.json", err);
}

static void dense_forms(void **state)
{
    static const char built[] = "\"build_config\":{\"input_shape\":[null,7]},",
                      shaped[] = "\"batch_input_shape\":[null,7],";
    static const struct {
        const char *of_model, *of_item, *of_config, *words; /* words: NULL when it is accepted */
    } forms[] = {
        {built, "", "", NULL},
        {"", built, "", NULL},
        {"\"compile_config\":{},", built, "", NULL},
        {"\"compile_config\":null,\"novel\":null,", built, "\"batch_input_shape\":null,", NULL},
        {built, "\"shared_object_id\":3,\"registered_name\":null,", "", NULL},
        {built, "", "\"name\":null,\"dtype\":null,\"dynamic\":false,\"autocast\":true,", NULL},
        {built, "", "\"kernel_initializer\":null,\"bias_initializer\":null,", NULL},
        {built, "",
         "\"kernel_initializer\":{\"class_name\":\"HeNormal\",\"config\":{\"seed\":{\"class_name\":"
         "\"SeedGenerator\",\"config\":{\"seed\":5}}}},",
         NULL},
        {"", "", "", "no batch_input_shape"},
        {"\"build_config\":{\"input_shape\":[null,null]},", "", "",
         "the model was built for (None,): must be fully known"},
        {built, "\"registered_name\":\"my>Dense\",", "",
         "unknown layer 'my>Dense': it is not one of Keras's own"},
        {built, "\"novel\":1,", "", "unknown key 'novel'"},
        {"\"novel\":1,", "", shaped, "unknown key 'novel'"},
        {built, "", "\"quantization_config\":{\"mode\":\"int8\"},", "unknown option 'quantization_config'"},
        {built, "", "\"lora_rank\":4,", "unknown option 'lora_rank'"},
        {built, "", "\"dynamic\":true,", "dynamic is true"},
        {built, "", "\"dtype\":{\"class_name\":\"DTypePolicy\",\"config\":{\"name\":\"mixed_float16\"}},",
         "must be float32"},
        {built, "", "\"kernel_initializer\":{\"class_name\":\"HeNormal\",\"config\":{\"input_axes\":[0]}},",
         "unknown option 'input_axes'"},
        {built, "",
         "\"kernel_regularizer\":{\"class_name\":\"L2\",\"config\":{},\"registered_name\":\"my>L2\"},",
         "unknown regularizer 'my>L2'"},
    };
    for (size_t i = 0; i < sizeof forms / sizeof *forms; i++) {
        conv_error err = {""};
        model *m = dense(forms[i].of_model, forms[i].of_item, forms[i].of_config, &err);
        if (forms[i].words == NULL && m == NULL) fail_msg("form %zu: %s", i, err.text);
        if (forms[i].words != NULL && (m != NULL || strstr(err.text, forms[i].words) == NULL))
            fail_msg("form %zu: no \"%s\" in: %s", i, forms[i].words, err.text);
        if (m != NULL) assert_int_equal(m->parameters, 24);
        free(m);
    }
}

/* ---- what a run has to say about a model */

static void compiled_with(void **state)
{
    static const struct {
        const char *config, *optimizer, *loss;
    } cases[] = {
        {"{\"loss\":[\"sparse_categorical_crossentropy\"]}", "", ""},
        {"{\"loss\":{\"class_name\":\"function\",\"config\":\"categorical_crossentropy\"}}", "", ""},
        {"{\"loss\":\"mse\",\"optimizer\":\"sgd\"}", "sgd", "mse"},
        {"{\"loss\":{\"class_name\":\"CategoricalCrossentropy\",\"config\":{\"from_logits\":false,"
         "\"label_smoothing\":0.1}}}",
         "", "CategoricalCrossentropy with label_smoothing"},
        {"{\"loss\":{\"class_name\":\"CategoricalCrossentropy\",\"config\":{\"label_smoothing\":0.0}}}", "",
         ""},
        {"{\"loss\":null,\"loss_weights\":[2]}", "", "loss_weights"},
        {"{\"optimizer\":{\"class_name\":\"AdamW\",\"config\":{\"learning_rate\":0.0010000000474974513,"
         "\"weight_decay\":0.004,\"clipnorm\":null,\"use_ema\":false,\"ema_momentum\":0.99}}}",
         "adamw:learning_rate=0.001,weight_decay=0.004", ""},
        {"7", "", ""},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char of_model[1024];
        conv_error err = {""};
        snprintf(of_model, sizeof of_model, "\"compile_config\":%s,", cases[i].config);
        model *m = dense(of_model, "", "\"batch_input_shape\":[null,7],", &err);
        if (m == NULL) fail_msg("%s: %s", of_model, err.text);
        assert_string_equal(m->compiled.optimizer, cases[i].optimizer);
        assert_string_equal(m->compiled.loss, cases[i].loss);
        free(m);
    }
    model *m = load("compiled.json");
    optimizer ours, theirs;
    char text[2][256];
    optimizer_parse("adam", &ours, NULL);
    assert_int_equal(optimizer_parse(m->compiled.optimizer, &theirs, NULL), CONV_OK);
    assert_string_equal(optimizer_text(&theirs, text[0], sizeof text[0]),
                        optimizer_text(&ours, text[1], sizeof text[1]));
    assert_string_equal(m->compiled.loss, "");
    free(m);
    m = load("compiled_sgd_logits.json");
    assert_string_equal(m->compiled.optimizer, "sgd:learning_rate=0.1,momentum=0.9,nesterov=true");
    assert_string_equal(m->compiled.loss, "SparseCategoricalCrossentropy with from_logits");
    free(m);
}

static void last_layer(void **state)
{
    static const struct {
        const char *layers, *what; /* what: NULL for probabilities */
    } cases[] = {
        {"{'class_name':'Dense','config':{'units':3,'activation':'softmax'}}", NULL},
        {"{'class_name':'Dense','config':{'units':3}},{'class_name':'Activation','config':{'activation':'"
         "softmax'}}",
         NULL},
        {"{'class_name':'Conv2D','config':{'filters':3,'kernel_size':4,'activation':'softmax'}},"
         "{'class_name':'Flatten','config':{}}",
         NULL},
        {"{'class_name':'Dense','config':{'units':3}}", "linear"},
        {"{'class_name':'Dense','config':{'units':3,'activation':'relu'}}", "relu"},
        {"{'class_name':'Dense','config':{'units':3,'activation':'softmax'}},"
         "{'class_name':'Activation','config':{'activation':'tanh'}}",
         "tanh"},
        {"{'class_name':'Conv2D','config':{'filters':3,'kernel_size':3,'activation':'softmax'}},"
         "{'class_name':'Flatten','config':{}}",
         "a softmax of each pixel"},
        {"{'class_name':'Conv2D','config':{'filters':3,'kernel_size':1,'activation':'softmax'}},"
         "{'class_name':'MaxPooling2D','config':{'pool_size':4}},{'class_name':'Flatten','config':{}}",
         "none"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char text[1024];
        bool image = strstr(cases[i].layers, "Conv2D") != NULL;
        snprintf(text, sizeof text,
                 "{'class_name':'Sequential','config':{'layers':[{'class_name':'InputLayer','config':"
                 "{'batch_shape':[null,%s]}},%s]}}",
                 image ? "4,4,1" : "16", cases[i].layers);
        model *m = test_model(test_quoted(text, text));
        const char *what = model_not_softmax(m);
        if (cases[i].what == NULL ? what != NULL : what == NULL || strcmp(what, cases[i].what) != 0)
            fail_msg("%s: %s", cases[i].layers, what != NULL ? what : "probabilities");
        free(m);
    }
}

/* ---- weights */

/* Element i of weight p is 100 p + i in every file. */
static void weights_by_any_name(void **state)
{
    static const char *const files[][2] = {
        {"small.json", "w_paths.npz"},
        {"small.json", "w_other_model.npz"},
        {"small.json", "w_plain.npz"},
        {"small.json", "w_position.npz"},
        {"small.json", "w_tf_keras.npz"},
        {"small.json", "w_fortran.npz"},
        {"small.json", "w_big_endian.npz"},
        {"small.json", "w_float16.npz"},
        {"small.json", "w_float64_big_fortran.npz"},
        {"layers3d.json", "w_layers3d.npz"},
        {"depthwise1d.json", "w_depthwise1d.npz"},
        {"nested.json", "w_nested.keras"},
        {"nested.json", "w_nested.weights.h5"},
        {"nested.json", "w_nested.h5"},
        {"counted.json", "w_counted.keras"},
        {"counted.json", "w_counted.weights.h5"},
        {"counted.json", "w_counted.h5"},
        {"counted.json", "w_counted.npz"},
    };
    for (size_t f = 0; f < sizeof files / sizeof *files; f++) {
        char path[4096];
        conv_error err = {""};
        model *m = load(files[f][0]);
        float *w = calloc((size_t)m->total, sizeof *w);
        if (weights_load(keras_file(files[f][1], path, sizeof path), m, w, &err) != CONV_OK)
            fail_msg("%s", err.text);
        for (int p = 0; p < m->parameter_count; p++)
            for (int64_t i = 0; i < m->parameter[p].count; i++)
                if (w[m->parameter[p].offset + i] != (float)(100 * p + i))
                    fail_msg("%s: %s[%lld] is %g", files[f][1], m->parameter[p].name, (long long)i,
                             (double)w[m->parameter[p].offset + i]);
        free(w);
        free(m);
    }
}

/* small.json's weights under these names, with array `at` of another length when at >= 0. */
static void write_renamed(const model *m, const char *const *names, int count, int at)
{
    npz_array arrays[8];
    float *w = calloc((size_t)m->total, sizeof *w);
    conv_error err = {""};
    weights_to_arrays(m, w, "", arrays);
    for (int i = m->parameter_count; i < count; i++) arrays[i] = arrays[1];
    for (int i = 0; i < count; i++) strcpy(arrays[i].name, names[i]);
    if (at >= 0) arrays[at].shape.size[0]--;
    if (npz_write("w.npz", OUTPUT_OWN, arrays, count, &err) != CONV_OK) fail_msg("%s", err.text);
    free(w);
}

/* Keras 3 names the weights of a model within the model without that model's name. */
static void weights_of_inner_models(void **state)
{
    char path[4096];
    conv_error err = {""};
    model *m = load("nested.json");
    npz_array *arrays = calloc((size_t)m->parameter_count, sizeof *arrays);
    float *w = calloc((size_t)m->total, sizeof *w), *read = calloc((size_t)m->total, sizeof *w);
    int inner = 0;
    for (int p = 0; p < m->parameter_count; p++)
        for (int64_t i = 0; i < m->parameter[p].count; i++)
            w[m->parameter[p].offset + i] = (float)(100 * p + i);
    weights_to_arrays(m, w, "", arrays);
    for (int p = 0; p < m->parameter_count; p++) {
        const char *name = m->parameter[p].name, *last = strrchr(name, '/');
        while (last > name && last[-1] != '/') last--;
        inner += last > name;
        snprintf(arrays[p].name, sizeof arrays[p].name, "%.*s", (int)strlen(last) - 2, last);
    }
    assert_true(inner > 0);
    snprintf(path, sizeof path, "/tmp/sepbench-inner-%d.npz", (int)getpid());
    assert_int_equal(npz_write(path, OUTPUT_OWN, arrays, m->parameter_count, &err), CONV_OK);
    conv_status status = weights_load(path, m, read, &err);
    if (status != CONV_OK) fail_msg("%s", err.text);
    assert_memory_equal(read, w, (size_t)m->total * sizeof *w);

    /* the first weight's array is missing, its name taken by another's */
    strcpy(arrays[0].name, arrays[m->parameter_count - 1].name);
    assert_int_equal(npz_write(path, OUTPUT_OWN, arrays, m->parameter_count - 1, &err), CONV_OK);
    assert_int_equal(weights_load(path, m, read, &err), CONV_INVALID);
    remove(path);
    free(arrays);
    free(w);
    free(read);
    free(m);
}

/* The model is read first: its path may be relative to where the test began. */
static int load_and_enter(void **state)
{
    void *unused;
    *state = load("small.json");
    return enter_folder(&unused);
}

static int free_and_leave(void **state)
{
    free(*state);
    return leave_folder(state);
}

static void weights_refused(void **state)
{
    static const struct {
        const char *names[8];
        int at;
        const char *words;
    } cases[] = {
        {{"arr_0", "arr_1", "arr_2", "arr_3", "arr_4"}, -1, "5 arrays without names: the model has 6"},
        {{"arr_0", "arr_1", "arr_2", "arr_3", "arr_4", "arr_5"},
         5,
         "array 'arr_5' (dense/bias:0) has shape (2,): the model's is (3,)"},
        {{"arr_0", "arr_1", "arr_2", "arr_3", "arr_4", "dense/bias"},
         -1,
         "array 'arr_0' is none of the model's"},
        {{"small/conv2d/kernel", "small/conv2d/bias", "small/depthwise_conv2d/kernel",
          "small/depthwise_conv2d/bias", "small/dense/kernel", "small/dense/bias", "more"},
         -1,
         "array 'more' is none of the model's"},
        {{"a/conv2d/kernel", "b/conv2d/bias", "a/depthwise_conv2d/kernel", "a/depthwise_conv2d/bias",
          "a/dense/kernel", "a/dense/bias"},
         -1,
         "array 'a/conv2d/kernel' is none of the model's"},
        {{"conv2d/kernel", "conv2d/bias", "depthwise_conv2d/kernel", "depthwise_conv2d/bias", "dense/kernel"},
         -1,
         "array 'dense/bias:0' is missing"},
    };
    const model *m = *state;
    float *w = calloc((size_t)m->total, sizeof *w);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        int count = 0;
        conv_error err = {""};
        while (cases[i].names[count] != NULL) count++;
        write_renamed(m, cases[i].names, count, cases[i].at);
        assert_int_equal(weights_load("w.npz", m, w, &err), CONV_INVALID);
        if (strstr(err.text, cases[i].words) == NULL) fail_msg("no \"%s\" in: %s", cases[i].words, err.text);
    }
    conv_error err = {""};
    assert_int_equal(weights_load(".", m, w, &err), CONV_INVALID);
    assert_string_equal(err.text, ".: is a folder: an .npz file is expected");
    free(w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(models_load),
        cmocka_unit_test(unknown_keys),
        cmocka_unit_test(dense_forms),
        cmocka_unit_test(compiled_with),
        cmocka_unit_test(last_layer),
        cmocka_unit_test(weights_by_any_name),
        cmocka_unit_test(weights_of_inner_models),
        cmocka_unit_test_setup_teardown(weights_refused, load_and_enter, free_and_leave),
    };
    return cmocka_run_group_tests_name("train_keras", tests, NULL, NULL);
}
