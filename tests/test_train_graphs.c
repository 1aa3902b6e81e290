/* Functional models and batch normalization: against Keras (golden/train/make_graphs_keras.py), the same bits on any
 * number of threads, and what is refused. Their gradients: test_train_gradients. */
#include "train_support.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../harness/train/summary.h"

enum { MAX_IMAGES = 64, CLASSES = 3 };

/* Images, labels and state of a network in training. */
typedef struct {
    model *m;
    net *n;
    optimizer opt;
    fit_state state;
    int64_t images, steps;
    float *x;
    uint8_t labels[MAX_IMAGES];
} run;

static void run_start(run *r, model *m, const net_options *options, const char *optimizer_name)
{
    conv_error err = {""};
    *r = (run){.m = m, .n = test_net_with(m, options), .images = options->batch};
    if (optimizer_parse(optimizer_name, &r->opt, &err) != CONV_OK) fail_msg("%s", err.text);
    assert_true(fit_state_create(m, &(fit_options){.opt = r->opt}, &r->state));
    r->x = malloc((size_t)(r->images * shape_count(&m->in)) * sizeof *r->x);
    noise_weights(m, net_weights(r->n));
    net_weights_changed(r->n);
}

static void run_stop(run *r)
{
    net_destroy(r->n);
    fit_state_destroy(&r->state);
    free(r->x);
    free(r->m);
}

/* Those of the step to come. */
static net_batch batch_of(run *r)
{
    int64_t count = r->images * shape_count(&r->m->in);
    for (int64_t i = 0; i < count; i++) r->x[i] = (float)(2 * noise(77, (uint32_t)(r->steps * count + i)));
    for (int64_t i = 0; i < r->images; i++) r->labels[i] = (uint8_t)((i + r->steps) % CLASSES);
    return (net_batch){.values = r->x, .labels = r->labels, .count = r->images};
}

static double step(run *r)
{
    net_batch b = batch_of(r);
    net_result result;
    conv_error err = {""};
    if (net_train(r->n, &b, (uint32_t)r->steps, &result, &err) != CONV_OK) fail_msg("%s", err.text);
    net_update(r->n, &r->opt, ++r->steps, r->state.slots);
    return result.loss;
}

static void compare(const char *what, const float *got, json_t *want, int64_t count, double tolerance)
{
    double largest = 0;
    assert_int_equal(json_array_size(want), count);
    for (int64_t i = 0; i < count; i++)
        largest = fmax(largest, fabs(json_number_value(json_array_get(want, (size_t)i))));
    for (int64_t i = 0; i < count; i++) {
        double expected = json_number_value(json_array_get(want, (size_t)i));
        if (!(fabs((double)got[i] - expected) <= tolerance * (largest + 0.01)))
            fail_msg("%s: element %lld is %.9g, expected %.9g", what, (long long)i, (double)got[i], expected);
    }
}

static model *golden_model(json_t *item)
{
    char *text = json_dumps(json_object_get(item, "model"), 0);
    model *m = test_model(text);
    free(text);
    return m;
}

static void check_case(json_t *item, int64_t images, int64_t steps, const char *impls)
{
    run r;
    char what[256];
    float outputs[MAX_IMAGES * CLASSES];
    net_result result;
    conv_error err = {""};
    run_start(&r, golden_model(item), &(net_options){.threads = 2, .batch = images, .impls = impls},
              json_string_value(json_object_get(item, "optimizer")));
    for (int64_t i = 0; i < steps; i++) {
        double loss = step(&r),
               want = json_number_value(json_array_get(json_object_get(item, "losses"), (size_t)i));
        if (!(fabs(loss - want) <= 1e-3 * want))
            fail_msg("%s, %s: step %lld: loss %.9g, Keras's %.9g", r.m->name, impls, (long long)i + 1, loss,
                     want);
    }
    for (int p = 0, at = 0; p < r.m->parameter_count; p++) {
        const parameter *its = &r.m->parameter[p];
        if (its->rank == 0) continue; /* a count, which nothing reads */
        snprintf(what, sizeof what, "%s, %s: %s", r.m->name, impls, its->name);
        compare(what, net_weights(r.n) + its->offset,
                json_array_get(json_object_get(item, "weights"), (size_t)at++), its->count, 1e-3);
    }
    net_batch b = batch_of(&r);
    assert_int_equal(net_evaluate(r.n, &b, outputs, &result, &err), CONV_OK);
    compare(r.m->name, outputs, json_object_get(item, "outputs"), images * CLASSES, 1e-3);
    run_stop(&r);
}

static void follows_keras(void **state)
{
    json_t *golden = test_json("golden/train/graphs_keras.json"), *item;
    int64_t images = json_integer_value(json_object_get(golden, "images"));
    int64_t steps = json_integer_value(json_object_get(golden, "steps"));
    size_t at;
    json_array_foreach(json_object_get(golden, "cases"), at, item)
    {
        check_case(item, images, steps, "naive");
        check_case(item, images, steps, "best");
    }
    assert_int_equal(at, 10);
    json_decref(golden);
}

/* Three steps by these options; malloc'ed weights. */
static float *trained(json_t *item, const net_options *options, size_t *bytes)
{
    run r;
    run_start(&r, golden_model(item), options, "adam");
    for (int i = 0; i < 3; i++) step(&r);
    *bytes = (size_t)r.m->total * sizeof(float);
    float *w = malloc(*bytes);
    memcpy(w, net_weights(r.n), *bytes);
    run_stop(&r);
    return w;
}

static void threads_do_not_matter(void **state)
{
    json_t *golden = test_json("golden/train/graphs_keras.json"), *item;
    size_t at, bytes;
    json_array_foreach(json_object_get(golden, "cases"), at, item)
    {
        net_options o = {.threads = 1, .batch = 53, .slice = 3, .impls = "best"};
        model *m = golden_model(item);
        net *n = test_net_with(m, &o);
        o.choices = net_choices(n);
        net_destroy(n);
        free(m);
        float *one = trained(item, &o, &bytes);
        for (o.threads = 2; o.threads <= 3; o.threads++) {
            float *more = trained(item, &o, &bytes);
            assert_memory_equal(one, more, bytes);
            free(more);
        }
        free(one);
        json_decref(o.choices);
    }
    json_decref(golden);
}

/* Statistics of a mean far from zero lose no digits, and a step moves them once. */
static void statistics_are_exact(void **state)
{
    enum { IMAGES = 40, CHANNELS = 3 };
    static const char text[] =
        "{\"class_name\":\"Sequential\",\"config\":[{\"class_name\":\"BatchNormalization\",\"config\":{"
        "\"name\":\"bn\","
        "\"momentum\":0,\"batch_input_shape\":[null,4,3]}},{\"class_name\":\"Flatten\",\"config\":{}},"
        "{\"class_name\":\"Dense\",\"config\":{\"units\":3,\"activation\":\"softmax\"}}]}";
    run r;
    conv_error err = {""};
    net_result result;
    run_start(&r, test_model(text), &(net_options){.threads = 2, .batch = IMAGES, .slice = 3, .impls = "naive"},
              "sgd");
    const parameter *p = r.m->parameter;
    assert_string_equal(p[2].name, "bn/moving_mean:0");
    assert_string_equal(p[3].name, "bn/moving_variance:0");
    net_batch b = batch_of(&r);
    double sum[CHANNELS] = {0}, square[CHANNELS] = {0};
    const int64_t count = IMAGES * 4;
    for (int64_t i = 0; i < count * CHANNELS; i++) {
        r.x[i] += 1000;
        sum[i % CHANNELS] += (double)r.x[i] / (double)count;
    }
    for (int64_t i = 0; i < count * CHANNELS; i++)
        square[i % CHANNELS] += pow((double)r.x[i] - sum[i % CHANNELS], 2) / (double)count;
    float before[4 * 16];
    memcpy(before, net_weights(r.n), sizeof before);
    assert_int_equal(net_train(r.n, &b, 0, &result, &err), CONV_OK);
    assert_memory_equal(before, net_weights(r.n), sizeof before);
    net_update(r.n, &r.opt, 1, r.state.slots);
    for (int c = 0; c < CHANNELS; c++) {
        assert_true(fabs((double)net_weights(r.n)[p[2].offset + c] - sum[c]) <= 1e-4);
        assert_true(fabs((double)net_weights(r.n)[p[3].offset + c] - square[c]) <= 1e-6 * square[c]);
    }
    run_stop(&r);
}

/* The small MobileNet and its dense twin: parameters as Keras counts them, and every implementation agrees. */
static void small_mobilenets(void **state)
{
    static const struct {
        const char *name;
        int64_t parameters;
    } models[] = {{"mobilenet_small", 48410}, {"mobilenet_small_dense", 362906}};
    for (int i = 0; i < 2; i++) {
        double loss[2];
        for (int k = 0; k < 2; k++) {
            run r;
            net_options o = {.threads = 2, .batch = 8, .impls = k ? "tiled" : "avx2,tiled"};
            run_start(&r, test_network(models[i].name), &o, "sgd:learning_rate=0.01");
            assert_int_equal(r.m->parameters, models[i].parameters);
            step(&r);
            loss[k] = step(&r);
            run_stop(&r);
        }
        if (!(fabs(loss[0] - loss[1]) <= 1e-3 * loss[0]))
            fail_msg("%s: losses %.9g and %.9g", models[i].name, loss[0], loss[1]);
    }
}

/* keras.applications as the real Keras writes them: parameters as Keras counts them. */
static void applications(void **state)
{
    static const struct {
        const char *file;
        int64_t parameters;
    } models[] = {{"MobileNet", 4253864},          {"MobileNetV2", 3538984},
                  {"MobileNetV2_keras2", 3538984}, {"ResNet50", 25636712},
                  {"Xception", 22910480},          {"VGG16", 138357544},
                  {"EfficientNetB0", 5330571},     {"EfficientNetV2B0", 7200312},
                  {"MobileNetV3Small", 2554968},   {"MobileNetV3Small_keras2", 2554968}};
    for (size_t i = 0; i < sizeof models / sizeof *models; i++) {
        char name[128], path[4096];
        conv_error err = {""};
        snprintf(name, sizeof name, "golden/networks/%s.json.gz", models[i].file);
        model *m = model_read(test_path(name, path, sizeof path), &err);
        if (m == NULL) fail_msg("%s", err.text);
        if (m->parameters != models[i].parameters)
            fail_msg("%s: %lld parameters", models[i].file, (long long)m->parameters);
        free(m);
    }
}

static void summary_names_inputs(void **state)
{
    json_t *golden = test_json("golden/train/graphs_keras.json");
    model *m = golden_model(json_array_get(json_object_get(golden, "cases"), 0));
    net *n = test_net(m, "naive", 2, 1);
    char *text = NULL;
    size_t size;
    FILE *out = open_memstream(&text, &size);
    summary_print(out, m, n);
    fclose(out);
    static const char *const says[] = {"reads main_relu, shortcut_bn\n", "reads add, expand\n",
                                       "reads largest, mean, largest\n", "Non-trainable params: 32\n",
                                       " in batch normalization\n"};
    for (size_t i = 0; i < sizeof says / sizeof *says; i++)
        if (strstr(text, says[i]) == NULL) fail_msg("no \"%s\" in:\n%s", says[i], text);
    free(text);
    net_destroy(n);
    free(m);
    json_decref(golden);
}

/* ---- what is refused */

#define INPUT "{'class_name':'InputLayer','name':'in','config':{'batch_shape':[null,4,4,2]},'inbound_nodes':[]}"
#define LAYER(class, name, config, call)                                                                       \
    ",{'class_name':'" class "','name':'" name "','config':{" config "},'inbound_nodes':[[" call "]]}"
#define READ(name) "['" name "',0,0,{}]"
/* Called as Keras 3 writes it, with training. */
#define KERAS_3(class, name, config, training)                                                                 \
    ",{'class_name':'" class "','name':'" name "','config':{" config "},'inbound_nodes':[{'args':[{"           \
                             "'class_name':'__keras_tensor__','config':{'shape':[null,4,4,2],'dtype':'"        \
                             "float32','keras_history':['in'"                                                  \
                             ",0,0]}}],'kwargs':{'training':" training "}}]}"
#define CONV(name) LAYER("Conv2D", name, "'filters':2,'kernel_size':1", READ("in"))
#define HEAD(from)                                                                                             \
    LAYER("Flatten", "f", "", READ(from)) LAYER("Dense", "d", "'units':3,'activation':'softmax'", READ("f"))
#define MODEL(layers)                                                                                          \
    "{'class_name':'Functional','config':{'name':'m','layers':[" INPUT layers                                  \
    "],'input_layers':[['in',0,0]],'output_layers':[['d',0,0]]}}"
#define NORM(config) MODEL(LAYER("BatchNormalization", "bn", config, READ("in")) HEAD("bn"))

#define TENSOR(name) "{'class_name':'__keras_tensor__','config':{'keras_history':['" name "',0,0]}}"
#define NUMBER(value) #value
#define OPERATION(class, args, keywords)                                                                       \
    MODEL(CONV("a") ",{'class_name':'" class "','registered_name':'" class "','module':'keras.src.ops.numpy'," \
                                                                           "'name':'o','config':{'name':'o'}," \
                                                                           "'inbound_nodes':[{'args':[" args   \
                                                                           "],'kwargs':{" keywords             \
                                                                           "}}]}" HEAD("o"))
#define LAMBDA(config, keywords)                                                                               \
    ",{'class_name':'TFOpLambda','name':'o','config':{" config "},'inbound_nodes':[['a',0,0,{" keywords "}]]}"

static void refusals(void **state)
{
    static const struct {
        const char *text, *says;
    } cases[] = {
        {MODEL(CONV("a") LAYER("Add", "s", "", READ("a")) HEAD("s")),
         "layer 3 s (Add): A merge layer should be called on a list of at least 2 inputs"},
        {MODEL(CONV("a") CONV("b") CONV("c") LAYER("Subtract", "s", "", READ("a") "," READ("b") "," READ("c"))
                   HEAD("s")),
         "layer 5 s (Subtract): A `Subtract` layer should be called on exactly 2 inputs"},
        {MODEL(CONV("a") LAYER("Conv2D", "b", "'filters':3,'kernel_size':1", READ("in"))
                   LAYER("Multiply", "s", "", READ("a") "," READ("b")) HEAD("s")),
         "s (Multiply): Inputs have incompatible shapes. Received shapes (4, 4, 2) and (4, 4, 3)"},
        {MODEL(CONV("a") LAYER("Conv2D", "b", "'filters':3,'kernel_size':2", READ("in"))
                   LAYER("Concatenate", "s", "'axis':3", READ("a") "," READ("b")) HEAD("s")),
         "s (Concatenate): A `Concatenate` layer requires inputs with matching shapes except for the "
         "concatenation axis. Received shapes (4, 4, 2) and (3, 3, 3)"},
        {MODEL(CONV("a") LAYER("Concatenate", "s", "'axis':0", READ("a") "," READ("in")) HEAD("s")),
         "s (Concatenate): axis is 0, the batch's"},
        {MODEL(CONV("a") LAYER("Concatenate", "s", "'axis':-5", READ("a") "," READ("in")) HEAD("s")),
         "s (Concatenate): Axis -5 is out of bounds for an input of shape (4, 4, 2)"},
        {MODEL(CONV("a") LAYER("Flatten", "b", "", READ("a")) LAYER("Add", "s", "", READ("a") "," READ("b"))
                   HEAD("s")),
         "s (Add): Inputs with different numbers of axes are not supported. Received shapes (4, 4, 2) and "
         "(32,)"},
        {MODEL(CONV("a") LAYER("Flatten", "f", "", READ("a") "," READ("in"))
                   LAYER("Dense", "d", "'units':3", READ("f"))),
         "f (Flatten): it has 2 inputs, its class one"},
        {MODEL(CONV("a") CONV("b") HEAD("a")), "m.json: layer b: nothing reads its output"},
        {MODEL(",{'class_name':'InputLayer','name':'x','config':{'batch_shape':[null,4,4,2]},'inbound_nodes':[]"
               "}" LAYER("Add", "s", "", READ("in") "," READ("x")) HEAD("s")),
         "m.json: it has 2 inputs and 1 outputs: only one of each is supported"},
        {MODEL(LAYER("BatchNormalization", "bn", "", "['in',0,0,{'training':false}]") HEAD("bn")),
         "it is called with training, which is not supported"},
        {MODEL(LAYER("Dropout", "drop", "'rate':0.5", "['in',0,0,{'training':false}]") HEAD("drop")),
         "it is called with training, which is not supported"},
        {NORM("'renorm':true"), "layer 2 bn (BatchNormalization): renorm is true: must be false"},
        {NORM("'synchronized':true"), "bn (BatchNormalization): synchronized is true: must be false"},
        {NORM("'axis':[1,2]"), "axis is [1, 2]: must be one integer: several axes are not supported"},
        {NORM("'axis':0"), "bn (BatchNormalization): axis is 0, the batch's"},
        {NORM("'axis':4"), "Axis 4 is out of bounds for an input of shape (4, 4, 2)"},
        {NORM("'epsilon':0"), "epsilon is 0: must be a number above 0"},
        {NORM("'momentum':1.5"), "momentum is 1.5: must be a number from 0 to 1"},
        {NORM("'gamma_constraint':'max'"), "bn (BatchNormalization): gamma_constraint: "},
        {NORM("'fused':true"), "unknown option 'fused'"},
        {OPERATION("Divide", NUMBER(1) "," TENSOR("a"), ""),
         "layer 3 o (Divide): only dividing by a number is supported"},
        {OPERATION("TrueDivide", TENSOR("a") "," TENSOR("a"), ""), "only dividing by a number is supported"},
        {OPERATION("TrueDivide", TENSOR("a") "," NUMBER(0), ""),
         "its number is 0, which float32 cannot do that by"},
        {OPERATION("Add", TENSOR("a") "," NUMBER(1e39), ""), "its number is 1e+39, which"},
        {OPERATION("Add", TENSOR("a") ",{'class_name':'__numpy__','config':{'value':[1.0,2.0]}}", ""),
         "layer 3 o (Add): its operands must be two tensors, or a tensor and a number"},
        {OPERATION("Add", TENSOR("a"), ""), "its operands must be two tensors, or a tensor and a number"},
        {OPERATION("Add", TENSOR("a") "," NUMBER(1), "'axis':1"),
         "it is called with axis, which is not supported"},
        {OPERATION("Power", TENSOR("a") "," NUMBER(2), ""), "layer 3 o (Power): unknown operation 'Power'"},
        {MODEL(CONV("a") LAMBDA("'function':'math.pow'", "'y':2") HEAD("o")),
         "layer 3 o (TFOpLambda): unknown operation 'math.pow'"},
        {MODEL(CONV("a") LAMBDA("'function':'math.add','axis':1", "'y':2") HEAD("o")), "unknown option 'axis'"},
        {MODEL(CONV("a") LAMBDA("'function':'math.add'", "'y':null") HEAD("o")),
         "its operands must be two tensors, or a tensor and a number"},
        {MODEL(CONV("a") LAMBDA("'function':'math.add'", "'y':2,'name':'n'") HEAD("o")),
         "it is called with name"},
        {MODEL(LAYER("Normalization", "n", "'mean':[1,2]", READ("in")) HEAD("n")),
         "both `mean` and `variance` must be set"},
        {MODEL(LAYER("Normalization", "n", "'mean':[1,2,3],'variance':1", READ("in")) HEAD("n")),
         "mean and variance have 3 numbers, the axis 2"},
        {MODEL(LAYER("Normalization", "n", "'axis':1,'mean':[1,2],'variance':1", READ("in")) HEAD("n")),
         "mean and variance of another axis than the last are not supported"},
        {MODEL(LAYER("Normalization", "n", "'mean':0,'variance':-1", READ("in")) HEAD("n")),
         "variance is -1: must not be negative"},
        {MODEL(LAYER("Normalization", "n", "'invert':true", READ("in")) HEAD("n")),
         "invert without mean and variance is not supported"},
        {MODEL(LAYER("Dropout", "n", "'rate':0.5,'noise_shape':[null,4,1,2]", READ("in")) HEAD("n")),
         "noise_shape (4, 1, 2) of an input of (4, 4, 2): must be 1 along all axes"},
        {MODEL(LAYER("Dropout", "n", "'rate':0.5,'noise_shape':[null,1,1,3]", READ("in")) HEAD("n")),
         "noise_shape (1, 1, 3) of an input of (4, 4, 2): must be 1 along all axes"},
        {MODEL(LAYER("Dropout", "n", "'rate':0.5,'noise_shape':[null,1,1]", READ("in")) HEAD("n")),
         "noise_shape (1, 1) of an input of (4, 4, 2): must be 1 along all axes"},
        {MODEL(LAYER("Dropout", "n", "'rate':0.5,'noise_shape':7", READ("in")) HEAD("n")),
         "noise_shape is 7: must be null or a list"},
        {MODEL(LAYER("Dot", "s", "", READ("in") "," READ("in")) HEAD("s")),
         "layer 2 s (Dot): unknown layer 'Dot'"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char *text = strdup(cases[i].text);
        conv_error err = {""};
        assert_null(model_parse(test_quoted(text, text), "m.json", &err));
        if (strstr(err.text, cases[i].says) == NULL) fail_msg("case %zu says: %s", i, err.text);
        free(text);
    }
}

/* Keras 3 writes it at every dropout layer of a functional model, and its fit() drops out all the same. */
static void dropout_is_called_with_its_default(void **state)
{
    static const char *const classes[] = {"Dropout", "SpatialDropout2D"};
    for (size_t i = 0; i < sizeof classes / sizeof *classes; i++) {
        char text[2048];
        snprintf(text, sizeof text, MODEL(KERAS_3("%s", "drop", "'rate':0.5", "false") HEAD("drop")),
                 classes[i]);
        model *m = test_model(test_quoted(text, text));
        assert_true(m->layers[0].rate == 0.5);
        free(m);
    }
}

/* The loss of Keras 3 has no penalty of a frozen layer, that of Keras 2 has; a frozen functional model has no
 * other layers, whatever these say. */
static void frozen_layers(void **state)
{
    static const struct {
        const char *version, *model, *layer;
        bool trainable, penalty;
    } files[] = {
        {"3.15.1", "", "", true, true},
        {"3.15.1", "", "'trainable':false,", false, false},
        {"3.15.1", "'trainable':true,", "'trainable':true,", true, true},
        {"3.15.1", "'trainable':false,", "'trainable':true,", false, false},
        {"2.15.0", "", "'trainable':false,", false, true},
    };
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        char text[2048];
        snprintf(text, sizeof text,
                 "{'class_name':'Functional','keras_version':'%s','config':{%s'layers':[{'class_name':"
                 "'InputLayer','name':'in','config':{'batch_input_shape':[null,4]},'inbound_nodes':[]},"
                 "{'class_name':'Dense','name':'d','config':{%s'units':3,'kernel_regularizer':'l2'},"
                 "'inbound_nodes':[[['in',0,0,{}]]]}],'input_layers':[['in',0,0]],"
                 "'output_layers':[['d',0,0]]}}",
                 files[i].version, files[i].model, files[i].layer);
        model *m = test_model(test_quoted(text, text));
        assert_int_equal(m->parameter[0].trainable, files[i].trainable);
        assert_int_equal(m->parameter[0].reg.l2 != 0, files[i].penalty);
        free(m);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(follows_keras),
        cmocka_unit_test(threads_do_not_matter),
        cmocka_unit_test(statistics_are_exact),
        cmocka_unit_test(small_mobilenets),
        cmocka_unit_test(applications),
        cmocka_unit_test(summary_names_inputs),
        cmocka_unit_test(refusals),
        cmocka_unit_test(dropout_is_called_with_its_default),
        cmocka_unit_test(frozen_layers),
    };
    return cmocka_run_group_tests_name("train_graphs", tests, NULL, NULL);
}
