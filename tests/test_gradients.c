/* Gradients by finite differences: the loss sum(dst * diff_dst), dst from the oracle's forward in double, is
 * perturbed in every element of src, weights, pointwise and bias;
 * every implementation's backward must agree. */
#include <math.h>
#include <stdlib.h>

#include "../harness/measure/job.h"
#include "../harness/measure/oracle.h"
#include "support.h"

static const char *const shapes[] = {
    "dense:mb2ic3ih5iw4oc4kh3kw2sh2ph1pw0",
    "dense:mb1ic2ih6oc3kh3dh1ph2",
    "dense:g2mb1ic4ih4oc2kh3ph1",
    "depthwise:mb2ic3ih5oc6kh3ph1",
    "depthwise:mb1ic4ih7oc4kh3sh2ph1",
    "pointwise:mb2ic3ih4oc5kh1",
    "pointwise:mb1ic3ih5oc4kh1sh2",
    "separable:mb2ic3ih5oc4kh3ph1",
    "separable:mb1ic2ih6oc3kh3sh2ph1dm2",
    "dense:mb1ic16ih6oc16kh3ph1",
    "dense:mb2ic3iw9oc4kw4pw3ow9",
    "dense:mb1ic2id4ih3iw4oc3kd2kh3kw3sd2sh1sw1pd0ph1pw1",
    "depthwise:mb2ic3iw9oc6kw4sw2pw3ow5",
    "depthwise:mb1ic3id4ih3iw4oc3kd3kh3kw2sd2sh1sw1pd1ph1pw0",
    "pointwise:mb2ic3id3ih2iw4oc5kd1kh1kw1",
    "separable:mb2ic3iw9oc4kw4dw1pw6ow9",
    "separable:mb1ic2id3ih4iw3oc3kd3kh3kw3pd1ph1pw1dm2",
};

/* Of reals of the order of 1 and a few hundred terms: rounding of fp32, and of the quotient. */
static const double tolerance = 2e-4;

/* sum(dst * diff_dst); dst is also stored when asked. */
static double loss(const conv_problem *p, const conv_args *args, const float *diff_dst, float *dst)
{
    oracle *o = oracle_create(p, CONV_FORWARD, args);
    int64_t rows, columns;
    double total = 0, value[64], magnitude[64];
    assert_non_null(o);
    oracle_extent(o, ORACLE_DST, &rows, &columns);
    assert_true(columns <= 64);
    for (int64_t row = 0; row < rows; row++) {
        oracle_row(o, (oracle_run){ORACLE_DST, row, 0, columns}, value, magnitude);
        for (int64_t i = 0; i < columns; i++) {
            int64_t at = oracle_offset(o, ORACLE_DST, row, i);
            total += value[i] * (double)diff_dst[at];
            if (dst != NULL) dst[at] = (float)value[i];
        }
    }
    oracle_destroy(o);
    return total;
}

/* d loss / d x[i] for all i, by central differences. */
static double *differences(const conv_problem *p, const conv_args *args, const float *diff_dst, float *x,
                           int64_t count)
{
    double *gradient = calloc((size_t)count + 1, sizeof *gradient);
    assert_non_null(gradient);
    for (int64_t i = 0; i < count; i++) {
        const float middle = x[i], above = middle + 0x1p-16f, below = middle - 0x1p-16f;
        x[i] = above;
        gradient[i] = loss(p, args, diff_dst, NULL);
        x[i] = below;
        gradient[i] = (gradient[i] - loss(p, args, diff_dst, NULL)) / ((double)above - (double)below);
        x[i] = middle;
    }
    return gradient;
}

typedef struct {
    const char *name;
    float *input, *output;
    int64_t count;
    double *gradient;
} checked;

static int check_implementations(const conv_problem *p, conv_tensors *t, const checked *parts, int part_count)
{
    size_t count;
    int ran = 0;
    const conv_entry *entries = conv_entries(&count);
    conv_context ctx = test_context(2);
    for (size_t e = 0; e < count; e++) {
        const conv_impl *impl = entries[e].impl;
        conv_error err = {""};
        conv_job job;
        conv_args args = conv_tensors_args(t);
        if (impl == NULL || entries[e].variant != p->variant || conv_refuse(impl, p, CONV_BACKWARD) != NULL)
            continue;
        conv_tensors_poison(p, CONV_BACKWARD, t);
        conv_status status = job_plan(&job, impl, p, CONV_BACKWARD, &ctx, &err);
        if (status == CONV_OK) status = job_ready(&job, &args, NULL, &err);
        if (status == CONV_OK) status = job_run(&job, &err);
        job_finish(&job);
        if (status == CONV_REFUSED) continue;
        if (status != CONV_OK) fail_msg("%s: %s", impl->name, err.text);
        for (int k = 0; k < part_count; k++)
            for (int64_t i = 0; parts[k].output != NULL && i < parts[k].count; i++) {
                double got = (double)parts[k].output[i], want = parts[k].gradient[i];
                if (!(fabs(got - want) <= tolerance * (1 + fabs(want))))
                    fail_msg("%s: %s[%lld] is %g, finite differences give %g", impl->name, parts[k].name,
                             (long long)i, got, want);
            }
        ran++;
    }
    return ran;
}

static void test_shape(void **state)
{
    const char *shape = *state;
    for (int op = 0; op < CONV_POST_COUNT; op++) {
        conv_problem p = test_problem(shape, CONV_NHWC, true, (conv_post_op)op);
        conv_sizes n = conv_problem_sizes(&p);
        conv_tensors t;
        assert_true(conv_tensors_create(&p, CONV_BACKWARD, FILL_REALS, 3, &t));
        t.bias = buffer_alloc((size_t)n.bias * sizeof(float));
        assert_non_null(t.bias);
        fill(t.bias, n.bias, FILL_REALS, 0, 4, 99);
        conv_args args = conv_tensors_args(&t);
        if (op != CONV_POST_NONE) loss(&p, &args, t.diff_dst, t.dst);
        for (int64_t i = 0, clipped = 0; op == CONV_POST_RELU6 && clipped == 0; clipped = t.dst[i++] == 6)
            assert_true(i < n.dst);
        checked parts[] = {{"diff_src", t.src, t.diff_src, n.src, NULL},
                           {"diff_weights", t.weights, t.diff_weights, n.weights, NULL},
                           {"diff_pointwise", t.pointwise, t.diff_pointwise, n.pointwise, NULL},
                           {"diff_bias", t.bias, t.diff_bias, n.bias, NULL}};
        for (int k = 0; k < 4; k++)
            parts[k].gradient = differences(&p, &args, t.diff_dst, parts[k].input, parts[k].count);
        int ran = check_implementations(&p, &t, parts, 4);
        for (int k = 0; k < 4; k++) free(parts[k].gradient);
        conv_tensors_destroy(&t);
        assert_true(ran > 0);
    }
}

int main(void)
{
    enum { COUNT = sizeof shapes / sizeof *shapes };
    struct CMUnitTest tests[COUNT];
    for (int i = 0; i < COUNT; i++)
        tests[i] = (struct CMUnitTest){shapes[i], test_shape, NULL, NULL, (void *)(uintptr_t)shapes[i]};
    return cmocka_run_group_tests_name("gradients", tests, NULL, NULL);
}
