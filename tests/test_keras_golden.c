/* Keras's semantics against values TensorFlow.js computed (golden/make_golden.mjs): padding 'same' with strides
 * and dilations, the order of depth multipliers, where bias and activation go, all gradients. Every present
 * implementation; whole numbers, so exact ones must match exactly. */
#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../harness/measure/job.h"
#include "support.h"

static json_t *golden;

static int64_t pair(const json_t *c, const char *key, int i)
{
    return json_integer_value(json_array_get(json_object_get(c, key), (size_t)i));
}

static conv_problem read_problem(const json_t *c)
{
    conv_problem p = {.rank = 2, .layout = CONV_NHWC, .groups = 1};
    assert_true(conv_variant_parse(json_string_value(json_object_get(c, "variant")), &p.variant));
    p.mb = json_integer_value(json_object_get(c, "mb"));
    p.ic = json_integer_value(json_object_get(c, "ic"));
    p.oc = json_integer_value(json_object_get(c, "oc"));
    p.depth_multiplier = json_integer_value(json_object_get(c, "dm"));
    p.bias = json_is_true(json_object_get(c, "bias"));
    p.post_op = json_is_true(json_object_get(c, "relu")) ? CONV_POST_RELU : CONV_POST_NONE;
    if (p.variant == CONV_DEPTHWISE) p.groups = p.ic;
    p.axis[CONV_D] = (conv_axis){.in = 1, .kernel = 1, .stride = 1, .dilation = 1};
    for (int i = 0; i < 2; i++) {
        conv_axis *a = &p.axis[CONV_H + i];
        *a = (conv_axis){
            pair(c, "in", i), pair(c, "kernel", i), pair(c, "stride", i), pair(c, "dilation", i), 0, 0};
        if (strcmp(json_string_value(json_object_get(c, "padding")), "same") == 0) conv_pad_same(a);
    }
    conv_error err = {""};
    if (conv_problem_check(&p, &err) != CONV_OK) fail_msg("%s", err.text);
    for (int i = 0; i < 2; i++) assert_int_equal(conv_out(&p.axis[CONV_H + i]), pair(c, "dst_shape", 1 + i));
    return p;
}

/* The array of that name in a guarded buffer; NULL when the case has none. */
static float *read_tensor(const json_t *c, const char *name, int64_t count)
{
    const json_t *array = json_object_get(c, name);
    if (array == NULL || count == 0) return NULL;
    assert_int_equal(json_array_size(array), count);
    float *data = buffer_alloc((size_t)count * sizeof *data);
    assert_non_null(data);
    for (int64_t i = 0; i < count; i++) data[i] = (float)json_number_value(json_array_get(array, (size_t)i));
    return data;
}

static void read_tensors(const json_t *c, const conv_problem *p, conv_tensors *t)
{
    conv_sizes n = conv_problem_sizes(p);
    *t = (conv_tensors){
        .src = read_tensor(c, "src", n.src),
        .weights = read_tensor(c, "weights", n.weights),
        .pointwise = read_tensor(c, "pointwise", n.pointwise),
        .bias = read_tensor(c, "bias_values", n.bias),
        .dst = read_tensor(c, "dst", n.dst),
        .diff_dst = read_tensor(c, "diff_dst", n.dst),
        .diff_src = read_tensor(c, "diff_src", n.src),
        .diff_weights = read_tensor(c, "diff_weights", n.weights),
        .diff_pointwise = read_tensor(c, "diff_pointwise", n.pointwise),
        .diff_bias = read_tensor(c, "diff_bias", n.bias),
    };
}

static float *poison(int64_t count)
{
    float *data = buffer_alloc((size_t)count * sizeof *data);
    assert_non_null(data);
    for (int64_t i = 0; i < count; i++) data[i] = NAN;
    return data;
}

static void compare(const conv_impl *impl, const char *tensor, const float *got, const float *want,
                    int64_t count)
{
    double tolerance = impl->inexact ? 1e-3 : 0;
    for (int64_t i = 0; want != NULL && i < count; i++)
        if (!(fabs((double)got[i] - (double)want[i]) <= tolerance))
            fail_msg("%s: %s[%lld] is %g, Keras has %g", impl->name, tensor, (long long)i, (double)got[i],
                     (double)want[i]);
}

/* One pass of one implementation against the golden outputs; 1 when it ran. */
static int check(const conv_impl *impl, const conv_problem *p, conv_pass pass, const conv_tensors *want)
{
    conv_sizes n = conv_problem_sizes(p);
    conv_context ctx = test_context(2);
    conv_error err = {""};
    conv_job job;
    conv_tensors got = {0};
    conv_args args = conv_tensors_args(want);
    if (conv_refuse(impl, p, pass) != NULL) return 0;
    if (pass == CONV_FORWARD) args.dst = got.dst = poison(n.dst);
    args.diff_src = got.diff_src = poison(n.src);
    args.diff_weights = got.diff_weights = poison(n.weights);
    args.diff_pointwise = got.diff_pointwise = poison(n.pointwise);
    args.diff_bias = got.diff_bias = poison(n.bias);
    conv_status status = job_plan(&job, impl, p, pass, &ctx, &err);
    if (status == CONV_OK) status = job_ready(&job, &args, NULL, &err);
    if (status == CONV_OK) status = job_run(&job, &err);
    if (status == CONV_OK && pass == CONV_FORWARD) compare(impl, "dst", got.dst, want->dst, n.dst);
    if (status == CONV_OK && pass == CONV_BACKWARD) {
        compare(impl, "diff_src", got.diff_src, want->diff_src, n.src);
        compare(impl, "diff_weights", got.diff_weights, want->diff_weights, n.weights);
        compare(impl, "diff_pointwise", got.diff_pointwise, want->diff_pointwise, n.pointwise);
        compare(impl, "diff_bias", got.diff_bias, want->diff_bias, n.bias);
    }
    job_finish(&job);
    conv_tensors_destroy(&got);
    if (status != CONV_OK && status != CONV_REFUSED) fail_msg("%s: %s", impl->name, err.text);
    return status == CONV_OK;
}

static void test_variant(void **state)
{
    conv_variant variant = *(const conv_variant *)*state;
    size_t entries, i;
    const conv_entry *e = conv_entries(&entries);
    const json_t *c;
    int forward = 0, backward = 0;
    json_array_foreach(json_object_get(golden, "cases"), i, c)
    {
        conv_problem p = read_problem(c);
        conv_tensors want;
        if (p.variant != variant) continue;
        read_tensors(c, &p, &want);
        for (size_t j = 0; j < entries; j++) {
            if (e[j].variant != variant || e[j].impl == NULL) continue;
            forward += check(e[j].impl, &p, CONV_FORWARD, &want);
            if (want.diff_dst != NULL) backward += check(e[j].impl, &p, CONV_BACKWARD, &want);
        }
        conv_tensors_destroy(&want);
    }
    assert_true(forward >= 2);
    assert_true(backward >= 2);
}

static int load(void **state)
{
    char path[512];
    json_error_t error;
    snprintf(path, sizeof path, "%.*sgolden/keras.json", (int)(strrchr(__FILE__, '/') + 1 - __FILE__),
             __FILE__);
    golden = json_load_file(path, 0, &error);
    if (golden == NULL) print_message("%s: %s\n", path, error.text);
    return golden == NULL;
}

static int unload(void **state)
{
    json_decref(golden);
    return 0;
}

int main(void)
{
    static conv_variant variants[] = {CONV_DENSE, CONV_DEPTHWISE, CONV_POINTWISE, CONV_SEPARABLE};
    const struct CMUnitTest tests[] = {
        {"dense", test_variant, NULL, NULL, &variants[0]},
        {"depthwise", test_variant, NULL, NULL, &variants[1]},
        {"pointwise", test_variant, NULL, NULL, &variants[2]},
        {"separable", test_variant, NULL, NULL, &variants[3]},
    };
    return cmocka_run_group_tests_name("keras_golden", tests, load, unload);
}
