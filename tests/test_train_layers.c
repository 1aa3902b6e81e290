/* Small Keras models against TensorFlow.js (golden/train/make_layers.mjs) and Keras (make_layers_keras.py):
 * outputs, losses, gradients and constrained weights. Then what dropout drops together. */
#include "train_support.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_IMAGES = 16 };

static void compare(const char *what, const float *got, json_t *want, int64_t count, double tolerance)
{
    assert_int_equal(json_array_size(want), count);
    double largest = 0;
    for (int64_t i = 0; i < count; i++)
        largest = fmax(largest, fabs(json_number_value(json_array_get(want, (size_t)i))));
    for (int64_t i = 0; i < count; i++) {
        double expected = json_number_value(json_array_get(want, (size_t)i));
        if (!(fabs(got[i] - expected) <= tolerance * (largest + 0.01)))
            fail_msg("element %lld of %lld is %.9g, expected %.9g: %s", (long long)i, (long long)count,
                     (double)got[i], expected, what);
    }
}

static void check_case(json_t *item, const char *impls)
{
    int64_t images = json_integer_value(json_object_get(item, "images"));
    char *text = json_dumps(json_object_get(item, "model"), 0);
    model *m = test_model(text);
    net *n = test_net(m, impls, images, 2);
    int64_t count = shape_count(&m->in) * images;
    float *x = malloc((size_t)count * sizeof *x), outputs[MAX_IMAGES * 3];
    uint8_t labels[MAX_IMAGES];
    for (int64_t i = 0; i < count; i++) x[i] = (float)(2 * noise(77, (uint32_t)i));
    for (int i = 0; i < images; i++) labels[i] = (uint8_t)(i % 3);
    noise_weights(m, net_weights(n));
    net_weights_changed(n);

    conv_error err = {""};
    net_batch b = {.values = x, .labels = labels, .count = images};
    net_result r;
    assert_int_equal(net_evaluate(n, &b, outputs, &r, &err), CONV_OK);
    compare(text, outputs, json_object_get(item, "outputs"), images * 3, 1e-5);
    assert_int_equal(net_train(n, &b, 0, &r, &err), CONV_OK);
    double loss = json_number_value(json_object_get(item, "loss"));
    if (fabs(r.loss - loss) > 1e-5 * (1 + loss)) fail_msg("%s: loss %.9g, expected %.9g", text, r.loss, loss);
    net_reduce(n);
    for (int p = 0; p < m->parameter_count && json_object_get(item, "gradients") != NULL; p++)
        compare(text, net_gradient(n) + m->parameter[p].offset,
                json_array_get(json_object_get(item, "gradients"), (size_t)p), m->parameter[p].count, 1e-4);

    free(x);
    free(text);
    net_destroy(n);
    free(m);
}

/* The hash's weights after their constraints. */
static void check_constraints(json_t *item)
{
    char *text = json_dumps(json_object_get(item, "model"), 0);
    model *m = test_model(text);
    float *w = calloc((size_t)m->total, sizeof *w);
    noise_weights(m, w);
    for (int i = 0; i < m->parameter_count; i++) {
        const parameter *p = &m->parameter[i];
        constraint_apply(&p->limit, p->rank, p->shape, w + p->offset);
        compare(text, w + p->offset, json_array_get(json_object_get(item, "constrained"), (size_t)i), p->count,
                1e-6);
    }
    free(w);
    free(m);
    free(text);
}

static void agrees_with(const char *path, size_t least)
{
    json_t *golden = test_json(path), *item;
    size_t at;
    json_array_foreach(json_object_get(golden, "cases"), at, item)
    {
        json_object_set(item, "images", json_object_get(golden, "images"));
        if (json_object_get(item, "constrained") != NULL) {
            check_constraints(item);
            continue;
        }
        check_case(item, "naive");
        check_case(item, "best");
    }
    assert_true(json_array_size(json_object_get(golden, "cases")) >= least);
    json_decref(golden);
}

static void agrees_with_tfjs(void **state) { agrees_with("golden/train/layers.json", 30); }

static void agrees_with_keras(void **state) { agrees_with("golden/train/layers_keras.json", 45); }

/* Of an image of ones each channel is 0 or doubled, whole: the loss of its channels' means tells. */
static void channels_are_dropped_whole(void **state)
{
    static const char *const formats[][4] = {
        {"channels_last", "5,4,3", "SpatialDropout2D", "'data_format':'channels_last'"},
        {"channels_first", "3,5,4", "SpatialDropout2D", "'data_format':'channels_first'"},
        {"channels_last", "5,4,3", "Dropout", "'noise_shape':[null,1,1,3]"},
        {"channels_first", "3,5,4", "Dropout", "'noise_shape':[null,null,1,1]"}};
    for (size_t k = 0; k < sizeof formats / sizeof *formats; k++) {
        char text[1024], json[1024];
        snprintf(
            text, sizeof text,
            "{'class_name':'Sequential','config':[{'class_name':'Conv2D','config':{'filters':3,'kernel_size':1,"
            "'data_format':'%s','batch_input_shape':[null,%s]}},{'class_name':'%s','config':{'rate':0.5,%s}},"
            "{'class_name':'GlobalAveragePooling2D','config':{'data_format':'%s'}},"
            "{'class_name':'Softmax','config':{}}]}",
            formats[k][0], formats[k][1], formats[k][2], formats[k][3], formats[k][0]);
        model *m = test_model(test_quoted(text, json));
        net *n = test_net(m, "naive", 1, 1);
        for (int c = 0; c < 3; c++) net_weights(n)[m->parameter[1].offset + c] = 1;
        net_weights_changed(n);
        const float zeros[60] = {0};
        const uint8_t label = 1;
        int seen = 0;
        for (uint32_t step = 0; step < 100; step++) {
            net_result r;
            conv_error err;
            net_batch b = {.values = zeros, .labels = &label, .count = 1};
            assert_int_equal(net_train(n, &b, step, &r, &err), CONV_OK);
            int which = -1;
            for (int own = 0; own <= 2; own += 2)
                for (int others = 0; others <= 2; others++)
                    if (fabs(r.loss - (log(exp(own) + others * exp(2) + 2 - others) - own)) < 1e-5)
                        which = own * 3 / 2 + others;
            if (which < 0) fail_msg("%s: step %u: loss %.7g", formats[k][0], step, r.loss);
            seen |= 1 << which;
        }
        assert_int_equal(seen, 62); /* each; none and all give the same loss */
        net_destroy(n);
        free(m);
    }
}

/* Of an image that is 1 in one of three channels all is 0 or all doubled. */
static void images_are_dropped_whole(void **state)
{
    static const char text[] =
        "{'class_name':'Sequential','config':[{'class_name':'Conv2D','config':{'filters':3,'kernel_size':1,"
        "'batch_input_shape':[null,5,4,3]}},{'class_name':'Dropout','config':{'rate':0.5,'noise_shape':"
        "[null,1,1,1]}},{'class_name':'GlobalAveragePooling2D','config':{}},{'class_name':'Softmax',"
        "'config':{}}]}";
    char json[1024];
    model *m = test_model(test_quoted(text, json));
    net *n = test_net(m, "naive", 1, 1);
    net_weights(n)[m->parameter[1].offset + 1] = 1;
    net_weights_changed(n);
    const float zeros[60] = {0};
    const uint8_t label = 1;
    int dropped = 0;
    for (uint32_t step = 0; step < 100; step++) {
        net_result r;
        conv_error err;
        net_batch b = {.values = zeros, .labels = &label, .count = 1};
        assert_int_equal(net_train(n, &b, step, &r, &err), CONV_OK);
        bool none = fabs(r.loss - log(3)) < 1e-5, all = fabs(r.loss - (log(exp(2) + 2) - 2)) < 1e-5;
        if (!none && !all) fail_msg("step %u: loss %.7g", step, r.loss);
        dropped += none;
    }
    assert_in_range(dropped, 30, 70);
    net_destroy(n);
    free(m);
}

static void the_two_networks(void **state)
{
    model *conv = test_network("conv"), *separable = test_network("separable");
    assert_int_equal(conv->parameters, 431242);
    assert_int_equal(separable->parameters, 414899);
    assert_string_equal(conv->parameter[2].name, "conv2d_1/kernel:0");
    assert_string_equal(separable->parameter[1].name, "separable_conv2d/pointwise_kernel:0");
    free(conv);
    free(separable);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(agrees_with_tfjs),           cmocka_unit_test(agrees_with_keras),
        cmocka_unit_test(channels_are_dropped_whole), cmocka_unit_test(images_are_dropped_whole),
        cmocka_unit_test(the_two_networks),
    };
    return cmocka_run_group_tests_name("train_layers", tests, NULL, NULL);
}
