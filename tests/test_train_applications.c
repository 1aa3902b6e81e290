/* Networks of keras.applications, narrow ones for small images, against Keras in float64
 * (golden/train/make_applications_keras.py): parameters, losses of steps, and outputs in inference by the statistics that
 * the first step left. */
#include "train_support.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

enum { CLASSES = 10 };

typedef struct {
    model *m;
    net *n;
    float *x, *outputs;
    uint8_t *labels;
    net_batch batch;
} run;

static model *model_of(const char *name)
{
    char part[128], path[4096];
    conv_error err = {""};
    snprintf(part, sizeof part, "golden/train/applications/%s.json.gz", name);
    model *m = model_read(test_path(part, path, sizeof path), &err);
    if (m == NULL) fail_msg("%s", err.text);
    return m;
}

static run run_start(json_t *item, int64_t images, const char *impls)
{
    run r = {.m = model_of(json_string_value(json_object_get(item, "name")))};
    const int64_t count = images * shape_count(&r.m->in);
    const double most = json_number_value(json_object_get(item, "most"));
    r.n = test_net(r.m, impls, images, 2);
    r.x = malloc((size_t)count * sizeof *r.x);
    r.outputs = malloc((size_t)images * CLASSES * sizeof *r.outputs);
    r.labels = malloc((size_t)images);
    for (int64_t i = 0; i < count; i++) r.x[i] = (float)(most * (noise(77, (uint32_t)i) + 0.5));
    for (int64_t i = 0; i < images; i++) r.labels[i] = (uint8_t)(i % CLASSES);
    r.batch = (net_batch){.values = r.x, .labels = r.labels, .count = images};
    noise_weights(r.m, net_weights(r.n));
    net_weights_changed(r.n);
    return r;
}

static void run_stop(run *r)
{
    net_destroy(r->n);
    free(r->x);
    free(r->outputs);
    free(r->labels);
    free(r->m);
}

/* Of Keras in float64: as far from it as float32 may be. parts: by how much Keras's own is, of losses and outputs. */
static double allowed(json_t *item, size_t which, double least)
{
    return fmax(least, 4 * json_number_value(json_array_get(json_object_get(item, "parts"), which)));
}

static void check_outputs(run *r, json_t *item, const char *impls)
{
    json_t *want = json_object_get(item, "outputs");
    net_result result;
    conv_error err = {""};
    if (net_evaluate(r->n, &r->batch, r->outputs, &result, &err) != CONV_OK) fail_msg("%s", err.text);
    assert_int_equal(json_array_size(want), r->batch.count * CLASSES);
    for (int64_t i = 0; i < r->batch.count * CLASSES; i++) {
        double expected = json_number_value(json_array_get(want, (size_t)i));
        if (!(fabs((double)r->outputs[i] - expected) <= allowed(item, 1, 1e-4)))
            fail_msg("%s, %s: output %lld is %.9g, Keras's %.9g", r->m->name, impls, (long long)i,
                     (double)r->outputs[i], expected);
    }
}

static void check_case(json_t *item, int64_t images, const char *impls)
{
    run r = run_start(item, images, impls);
    const optimizer opt = {.kind = OPTIMIZER_SGD,
                           .learning_rate = json_number_value(json_object_get(item, "rate"))};
    json_t *losses = json_object_get(item, "losses");
    conv_error err = {""};
    float *slot = calloc((size_t)r.m->total, sizeof *slot);
    assert_int_equal(r.m->parameters, json_integer_value(json_object_get(item, "parameters")));
    for (size_t i = 0; i < json_array_size(losses); i++) {
        net_result result;
        const double want = json_number_value(json_array_get(losses, i));
        if (net_train(r.n, &r.batch, (uint32_t)i, &result, &err) != CONV_OK) fail_msg("%s", err.text);
        if (!(fabs(result.loss - want) <= allowed(item, 0, 2e-5 * want)))
            fail_msg("%s, %s: step %zu: loss %.9g, Keras's %.9g", r.m->name, impls, i + 1, result.loss, want);
        net_update(r.n, &opt, (int64_t)i + 1, (float *[]){slot, NULL});
        if (i == 0) check_outputs(&r, item, impls);
    }
    free(slot);
    run_stop(&r);
}

static void follow_keras(void **state)
{
    json_t *golden = test_json("golden/train/applications_keras.json"), *item;
    const int64_t images = json_integer_value(json_object_get(golden, "images"));
    size_t at;
    json_array_foreach(json_object_get(golden, "cases"), at, item)
    {
        check_case(item, images, "tiled");
        check_case(item, images, "avx512,avx2,tiled");
    }
    assert_int_equal(at, 6);
    json_decref(golden);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(follow_keras)};
    return cmocka_run_group_tests_name("train_applications", tests, NULL, NULL);
}
