/* The first 20 steps of both networks against float64 PyTorch (golden/train/make_trajectories.py), with every
 * implementation that can train them, and these against each other. */
#include "train_support.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "../harness/train/data.h"
#include "support.h"

enum { MAX_STEPS = 64 };

/* Trains `steps` steps of `batch` images in the file's order from the hash's weights. */
static void run_steps(const model *m, const char *impls, const char *optimizer_name, const data_set *set,
                      int steps, int64_t batch, double *losses)
{
    conv_error err = {""};
    optimizer o;
    fit_state state;
    net *n = test_net(m, impls, batch, 2);
    assert_int_equal(optimizer_parse(optimizer_name, &o, &err), CONV_OK);
    assert_true(fit_state_create(m, &(fit_options){.opt = o}, &state));
    noise_weights(m, net_weights(n));
    net_weights_changed(n);
    int64_t pixels = shape_count(&set->image);
    for (int i = 0; i < steps; i++) {
        net_batch b = {
            .bytes = set->images + i * batch * pixels, .labels = set->labels + i * batch, .count = batch};
        net_result r;
        if (net_train(n, &b, (uint32_t)i, &r, &err) != CONV_OK) fail_msg("%s", err.text);
        net_update(n, &o, i + 1, state.slots);
        losses[i] = r.loss;
    }
    fit_state_destroy(&state);
    net_destroy(n);
}

/* Of the golden file; sanitizers see in a few what the others do again. */
static int steps_of(json_t *golden)
{
    int steps = (int)json_integer_value(json_object_get(golden, "steps"));
    assert_in_range(steps, 4, MAX_STEPS);
    return SANITIZED ? 4 : steps;
}

/* 1e-4 relative in the first step, growing to 1e-3 by the last. */
static void compare(const char *what, const double *got, json_t *want, int steps)
{
    for (int i = 0; i < steps; i++) {
        double expected = json_number_value(json_array_get(want, (size_t)i));
        double bound = 1e-4 + (1e-3 - 1e-4) * i / (steps - 1);
        if (!(fabs(got[i] - expected) <= bound * expected))
            fail_msg("%s: step %d: loss %.9g, expected %.9g", what, i + 1, got[i], expected);
    }
}

static void load(data_sets *data)
{
    char path[4096];
    conv_error err = {""};
    if (data_load(test_path("data/mnist", path, sizeof path), data, &err) != CONV_OK) fail_msg("%s", err.text);
}

static bool can_train(const char *impl, const char *model_name)
{
    conv_variant variant = strcmp(model_name, "conv") == 0 ? CONV_DENSE : CONV_SEPARABLE;
    const conv_impl *i = conv_find(impl, variant);
    if (i == NULL || conv_find(impl, CONV_POINTWISE) == NULL) return false;
    conv_problem p = {.variant = variant,
                      .rank = 2,
                      .mb = 1,
                      .ic = 1,
                      .oc = 32,
                      .groups = 1,
                      .depth_multiplier = 1,
                      .bias = true};
    for (int a = 0; a < CONV_AXES; a++)
        p.axis[a] = (conv_axis){.in = 1, .kernel = 1, .stride = 1, .dilation = 1};
    p.axis[CONV_H] = p.axis[CONV_W] = (conv_axis){.in = 28, .kernel = 3, .stride = 1, .dilation = 1};
    return conv_refuse(i, &p, CONV_FORWARD) == NULL && conv_refuse(i, &p, CONV_BACKWARD) == NULL;
}

static void follows_torch(void **state)
{
    data_sets data;
    load(&data);
    json_t *golden = test_json("golden/train/trajectories.json"), *item;
    int steps = steps_of(golden);
    int64_t batch = json_integer_value(json_object_get(golden, "batch"));
    size_t at;
    json_array_foreach(json_object_get(golden, "cases"), at, item)
    {
        const char *name = json_string_value(json_object_get(item, "model"));
        const char *optimizer_name = json_string_value(json_object_get(item, "optimizer"));
        char what[128];
        double losses[MAX_STEPS];
        model *m = test_model_undropped(name);
        snprintf(what, sizeof what, "%s %s", name, optimizer_name);
        run_steps(m, "best", optimizer_name, &data.train, steps, batch, losses);
        compare(what, losses, json_object_get(item, "losses"), steps);
        free(m);
    }
    json_decref(golden);
    data_free(&data);
}

/* Every implementation, naive among them, on the trajectory of Adam; and within 1e-4 of naive. */
static void implementations_agree(void **state)
{
    static const char *const names[] = {"conv", "separable"};
    data_sets data;
    load(&data);
    json_t *golden = test_json("golden/train/trajectories.json"), *item;
    int steps = steps_of(golden), compared = 0;
    int64_t batch = json_integer_value(json_object_get(golden, "batch"));
    for (int k = 0; k < 2; k++) {
        model *m = test_model_undropped(names[k]);
        double naive[MAX_STEPS], losses[MAX_STEPS];
        json_t *want = NULL;
        size_t at, count;
        json_array_foreach(json_object_get(golden, "cases"), at, item)
        {
            if (strcmp(json_string_value(json_object_get(item, "model")), names[k]) == 0 && want == NULL)
                want = json_object_get(item, "losses");
        }
        run_steps(m, "naive", "adam", &data.train, steps, batch, naive);
        compare("naive", naive, want, steps);
        const conv_entry *entries = conv_entries(&count);
        for (size_t i = 0; i < count; i++) {
            const char *impl = entries[i].name;
            if (entries[i].variant != CONV_POINTWISE || entries[i].impl == NULL || strcmp(impl, "naive") == 0)
                continue;
            if (!can_train(impl, names[k])) continue;
            run_steps(m, impl, "adam", &data.train, steps, batch, losses);
            compare(impl, losses, want, steps);
            for (int s = 0; s < steps; s++)
                if (fabs(losses[s] - naive[s]) > 1e-4 * naive[s])
                    fail_msg("%s: %s: step %d: loss %.9g, naive's is %.9g", names[k], impl, s + 1, losses[s],
                             naive[s]);
            compared++;
        }
        free(m);
    }
    print_message("# %d implementations follow naive\n", compared);
    json_decref(golden);
    data_free(&data);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(follows_torch),
                                       cmocka_unit_test(implementations_agree)};
    return cmocka_run_group_tests_name("train_golden", tests, NULL, NULL);
}
