/* What a run draws at random: initial weights and the order of the images. */
#include "train_support.h"

#include <math.h>
#include <stdlib.h>

static void initial_distributions(void **state)
{
    /* a [3][3][32][64] kernel: fan_in 288, fan_out 576, as of the same with one more axis */
    static const int64_t shape[] = {3, 3, 32, 64}, deeper[] = {3, 1, 3, 32, 64};
    const double cut = 0.87962566103423978;
    const struct {
        const char *json;
        double mean, variance, low, high; /* bounds; 0, 0: none */
    } kinds[] = {
        {"'zeros'", 0, 0, 0, 0},
        {"'ones'", 1, 0, 1, 1},
        {"{'class_name':'Constant','config':{'value':0.3}}", 0.3, 0, 0.3, 0.3},
        {"'random_normal'", 0, 0.0025, 0, 0},
        {"{'class_name':'RandomNormal','config':{'mean':1,'stddev':2,'seed':3}}", 1, 4, 0, 0},
        {"'truncated_normal'", 0, 0.0025 * cut * cut, -0.1, 0.1},
        {"'random_uniform'", 0, 0.01 / 12, -0.05, 0.05},
        {"{'class_name':'RandomUniform','config':{'minval':1,'maxval':3}}", 2, 4.0 / 12, 1, 3},
        {"'glorot_uniform'", 0, 1.0 / 432, -sqrt(3.0 / 432), sqrt(3.0 / 432)},
        {"'glorot_normal'", 0, 1.0 / 432, -2 * sqrt(1.0 / 432) / cut, 2 * sqrt(1.0 / 432) / cut},
        {"'he_uniform'", 0, 2.0 / 288, -sqrt(6.0 / 288), sqrt(6.0 / 288)},
        {"'he_normal'", 0, 2.0 / 288, -2 * sqrt(2.0 / 288) / cut, 2 * sqrt(2.0 / 288) / cut},
        {"'lecun_uniform'", 0, 1.0 / 288, -sqrt(3.0 / 288), sqrt(3.0 / 288)},
        {"'lecun_normal'", 0, 1.0 / 288, -2 * sqrt(1.0 / 288) / cut, 2 * sqrt(1.0 / 288) / cut},
        {"{'class_name':'VarianceScaling','config':{'scale':3,'mode':'fan_out','distribution':'untruncated_"
         "normal'}}",
         0, 3.0 / 576, 0, 0},
    };
    enum { COUNT = 3 * 3 * 32 * 64 };
    static float w[COUNT], again[COUNT];
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
        char text[256];
        conv_error err = {""};
        initializer init;
        json_t *value = json_loads(test_quoted(kinds[i].json, text), JSON_DECODE_ANY, NULL);
        if (initializer_parse(value, &init, &err) != CONV_OK) fail_msg("%s: %s", text, err.text);
        json_decref(value);
        initializer_fill(&init, 4, shape, 9, 1, w);
        initializer_fill(&init, 5, deeper, 9, 1, again);
        assert_memory_equal(w, again, sizeof w);
        double mean = 0, square = 0, low = INFINITY, high = -INFINITY;
        for (int k = 0; k < COUNT; k++) {
            mean += w[k] / (double)COUNT;
            low = fmin(low, w[k]);
            high = fmax(high, w[k]);
        }
        for (int k = 0; k < COUNT; k++) square += (w[k] - mean) * (w[k] - mean) / (COUNT - 1);
        double error =
            sqrt(kinds[i].variance / COUNT); /* of the mean; of the variance, below 2 v / sqrt(2 n) */
        if (fabs(mean - kinds[i].mean) > 4 * error + 1e-6) fail_msg("%s: mean %g", text, mean);
        if (fabs(square - kinds[i].variance) > 6 * kinds[i].variance * sqrt(2.0 / COUNT) + 1e-9)
            fail_msg("%s: variance %g instead of %g", text, square, kinds[i].variance);
        if (kinds[i].high > kinds[i].low && (low < kinds[i].low - 1e-7 || high > kinds[i].high + 1e-7))
            fail_msg("%s: from %g to %g", text, low, high);
        double width = kinds[i].high - kinds[i].low;
        if (width > 0 && (low > kinds[i].low + 0.02 * width || high < kinds[i].high - 0.02 * width))
            fail_msg("%s: only from %g to %g", text, low, high);
    }
}

static void permutations(void **state)
{
    enum { COUNT = 1000 };
    int64_t a[COUNT], b[COUNT], fixed = 0;
    bool seen[COUNT] = {false};
    fit_permutation(1, 1, COUNT, a);
    fit_permutation(1, 2, COUNT, b);
    for (int i = 0; i < COUNT; i++) {
        assert_in_range(a[i], 0, COUNT - 1);
        assert_false(seen[a[i]]);
        seen[a[i]] = true;
        fixed += a[i] == b[i];
    }
    assert_true(fixed < 10);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(initial_distributions),
        cmocka_unit_test(permutations),
    };
    return cmocka_run_group_tests_name("train_random", tests, NULL, NULL);
}
