/* mobilenet_small and its dense twin beside Keras (golden/train/make_small_keras.py): the same losses, moving averages
 * and predictions, and, where Keras is installed, each with the other's weights. */
#include "train_support.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../harness/train/data.h"
#include "../harness/train/weights.h"
#include "folder.h"
#include "support.h"

enum { CLASSES = 10, MOST_TESTED = 64 };

static const char *const endings[] = {"keras", "weights.h5", "npz"};
enum { ENDINGS = sizeof endings / sizeof *endings };

static data_sets digits;
static char script[4096]; /* make_small_keras.py */

static void compare(const char *what, const float *got, json_t *want, int64_t count, double bound)
{
    assert_int_equal(json_array_size(want), count);
    for (int64_t i = 0; i < count; i++) {
        double expected = json_number_value(json_array_get(want, (size_t)i));
        if (!(fabs((double)got[i] - expected) <= bound))
            fail_msg("%s: element %lld is %.9g, Keras's %.9g", what, (long long)i, (double)got[i], expected);
    }
}

static void predict(net *n, int64_t count, float *outputs)
{
    conv_error err = {""};
    net_result result;
    net_batch b = {.bytes = digits.test.images, .labels = digits.test.labels, .count = count};
    assert_in_range(count, 1, MOST_TESTED);
    if (net_evaluate(n, &b, outputs, &result, &err) != CONV_OK) fail_msg("%s", err.text);
}

static int64_t number(json_t *golden, const char *name)
{
    return json_integer_value(json_object_get(golden, name));
}

/* Sanitizers see in a few steps what the others do again. */
static int64_t steps_of(json_t *golden) { return SANITIZED ? 3 : number(golden, "steps"); }

/* Keras's steps from the hash's weights, in the file's order. */
static net *trained(json_t *golden, json_t *item, const model *m)
{
    conv_error err = {""};
    optimizer o;
    fit_state state;
    int64_t batch = number(golden, "batch"), pixels = shape_count(&digits.train.image);
    net *n = test_net(m, "best", batch, 2);
    optimizer_parse("adam:learning_rate=0.0001", &o, NULL);
    assert_true(fit_state_create(m, &(fit_options){.opt = o}, &state));
    noise_weights(m, net_weights(n));
    net_weights_changed(n);
    for (int64_t i = 0; i < steps_of(golden); i++) {
        net_batch b = {.bytes = digits.train.images + i * batch % digits.train.count * pixels,
                       .labels = digits.train.labels + i * batch % digits.train.count,
                       .count = batch};
        net_result r;
        if (net_train(n, &b, (uint32_t)i, &r, &err) != CONV_OK) fail_msg("%s", err.text);
        net_update(n, &o, i + 1, state.slots);
        double want = json_number_value(json_array_get(json_object_get(item, "losses"), (size_t)i));
        if (!(fabs(r.loss - want) <= 1e-3 * want))
            fail_msg("%s: step %lld: loss %.9g, Keras's %.9g", m->name, (long long)i + 1, r.loss, want);
    }
    fit_state_destroy(&state);
    return n;
}

/* A case of what the script writes; the network that has been trained so. */
static net *follow(json_t *golden, json_t *item, const model *m)
{
    net *n = trained(golden, item, m);
    float outputs[MOST_TESTED * CLASSES];
    size_t moving = 0;
    int64_t tested = number(golden, "tested");
    predict(n, tested, outputs);
    if (SANITIZED) return n; /* what follows is of Keras's last step */
    compare(m->name, outputs, json_object_get(item, "outputs"), tested * CLASSES, 1e-3);
    /* The dense one, of larger sums, drifts apart sooner. */
    double bound = strcmp(m->name, "mobilenet_small") == 0 ? 1e-3 : 3e-3;
    for (int p = 0; p < m->parameter_count; p++) {
        const parameter *its = &m->parameter[p];
        if (!its->trainable)
            compare(its->name, net_weights(n) + its->offset,
                    json_array_get(json_object_get(item, "moving"), moving++), its->count, bound);
    }
    assert_int_equal(moving, json_array_size(json_object_get(item, "moving")));
    return n;
}

static void follows_keras(void **state)
{
    json_t *golden = test_json("golden/train/small_keras.json"), *item;
    size_t at;
    json_array_foreach(json_object_get(golden, "cases"), at, item)
    {
        model *m = test_network(json_string_value(json_object_get(item, "model")));
        net_destroy(follow(golden, item, m));
        free(m);
    }
    assert_int_equal(at, 2);
    json_decref(golden);
}

/* ---- the real Keras */

static json_t *keras_says(const char *python, const char *arguments)
{
    static char output[1 << 18];
    json_error_t where;
    int code = run_shell(output, sizeof output, "'%s' -B '%s' %s 2>keras.log", python, script, arguments);
    json_t *said = json_loads(output, 0, &where);
    if (code != 0 || said == NULL)
        fail_msg("%s %s: exit %d (keras.log in the test's folder)", script, arguments, code);
    return said;
}

/* Keras's files of its trained weights say here what they say there. */
static void read_keras(json_t *golden, json_t *item, const model *m, net *n)
{
    for (int e = 0; e < ENDINGS; e++) {
        conv_error err = {""};
        char path[128];
        float outputs[MOST_TESTED * CLASSES];
        snprintf(path, sizeof path, "keras-%s.%s", m->name, endings[e]);
        if (weights_load(path, m, net_weights(n), &err) != CONV_OK) fail_msg("%s", err.text);
        net_weights_changed(n);
        predict(n, number(golden, "tested"), outputs);
        compare(path, outputs, json_object_get(item, "outputs"), number(golden, "tested") * CLASSES, 1e-4);
    }
}

/* And ours, there. */
static void write_ours(const char *python, const model *m, net *n, int64_t tested)
{
    char arguments[512] = "--predict";
    float outputs[MOST_TESTED * CLASSES];
    predict(n, tested, outputs);
    for (int e = 0; e < ENDINGS; e++) {
        conv_error err = {""};
        size_t used = strlen(arguments);
        snprintf(arguments + used, sizeof arguments - used, " %s.%s", m->name, endings[e]);
        if (weights_save(arguments + used + 1, OUTPUT_OWN, m, net_weights(n), &err) != CONV_OK)
            fail_msg("%s", err.text);
    }
    json_t *said = keras_says(python, arguments);
    assert_int_equal(json_array_size(said), ENDINGS);
    for (size_t e = 0; e < ENDINGS; e++)
        compare(endings[e], outputs, json_array_get(said, e), tested * CLASSES, 1e-4);
    json_decref(said);
}

static void goes_with_keras(void **state)
{
    char python[4096];
    size_t at;
    if (SANITIZED) {
        print_message("# skipped: sanitizers have seen these steps in the test before\n");
        skip();
    }
    if (run_shell(python, sizeof python, "sh \"$PEERS/python.sh\" tensorflow 2>&1") != 0) {
        print_message("# Keras itself not tried: %s", python);
        skip();
    }
    python[strcspn(python, "\n")] = 0;
    json_t *golden = keras_says(python, "."), *item;
    json_array_foreach(json_object_get(golden, "cases"), at, item)
    {
        model *m = test_network(json_string_value(json_object_get(item, "model")));
        net *n = follow(golden, item, m);
        write_ours(python, m, n, number(golden, "tested"));
        read_keras(golden, item, m, n);
        net_destroy(n);
        free(m);
    }
    assert_int_equal(at, 2);
    json_decref(golden);
}

static int load_digits(void **state)
{
    char path[4096], whole[4096];
    conv_error err = {""};
    return realpath(test_path("../bench/peers", path, sizeof path), whole) == NULL ||
           setenv("PEERS", whole, 1) != 0 ||
           realpath(test_path("golden/train/make_small_keras.py", path, sizeof path), script) == NULL ||
           data_load(test_path("data/mnist", path, sizeof path), &digits, &err) != CONV_OK;
}

static int free_digits(void **state)
{
    data_free(&digits);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(follows_keras),
        cmocka_unit_test_setup_teardown(goes_with_keras, enter_folder, leave_folder),
    };
    return cmocka_run_group_tests_name("train_small", tests, load_digits, free_digits);
}
