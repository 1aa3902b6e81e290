/* Engines: where their libraries are looked for, in words when they are not there; what TensorFlow refuses; and
 * the real ones, verified, where `make setup ENGINES=1` brought them. */
#include <elf.h>
#include <libgen.h>
#include <limits.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "../kernels/peers/engine.h"
#include "../kernels/peers/tensorflow.h"
#include "folder.h"
#include "support.h"

extern const conv_impl *const tensorflow_impls[CONV_VARIANT_COUNT],
    *const tensorflow_fed_impls[CONV_VARIANT_COUNT], *const onnxruntime_impls[CONV_VARIANT_COUNT],
                                                         *const onnxruntime_fed_impls[CONV_VARIANT_COUNT];

/* ---- looking for them, in a folder of made-up files */

/* A file that begins as this program does, but for its machine when foreign. */
static void write_library(const char *path, bool foreign)
{
    char command[2 * PATH_MAX];
    char output[256];
    Elf64_Ehdr header;
    snprintf(command, sizeof command, "%s", path);
    assert_int_equal(run_shell(output, sizeof output, "mkdir -p '%s'", dirname(command)), 0);
    FILE *own = fopen("/proc/self/exe", "rb"), *f = fopen(path, "wb");
    assert_true(own != NULL && f != NULL && fread(&header, sizeof header, 1, own) == 1);
    header.e_type = ET_DYN;
    header.e_shnum = header.e_phnum = 0; /* which end with the file */
    header.e_shoff = header.e_phoff = 0;
    if (foreign) header.e_machine ^= 1;
    assert_int_equal(fwrite(&header, sizeof header, 1, f), 1);
    fclose(own);
    fclose(f);
}

static void forget_variables(void)
{
    unsetenv("SEPBENCH_TENSORFLOW");
    unsetenv("SEPBENCH_ONNXRUNTIME");
    unsetenv("SEPBENCH_ONEDNN");
    setenv("SEPBENCH_ENGINES", "/", 1); /* holds none */
}

static void says(engine_kind kind, const char *words)
{
    const char *absent = engine_absent(kind);
    if (absent == NULL) fail_msg("%s is taken, expected: %s", engine_path(kind), words);
    if (strstr(absent, words) == NULL || strchr(absent, '\n') != NULL)
        fail_msg("'%s', expected: %s", absent, words);
}

static void takes(engine_kind kind, const char *path)
{
    const char *absent = engine_absent(kind);
    if (absent != NULL) fail_msg("%s, expected: %s", absent, path);
    assert_string_equal(engine_path(kind), path);
}

static void test_named_badly(void **state)
{
    conv_error err = {""};
    forget_variables();
    says(ENGINE_TENSORFLOW, "not found: 'make setup ENGINES=1' brings it");
    assert_null(engine_open(ENGINE_TENSORFLOW, &err));
    assert_non_null(strstr(err.text, "make setup"));

    setenv("SEPBENCH_ENGINES", "nowhere", 1);
    says(ENGINE_TENSORFLOW, "SEPBENCH_ENGINES=nowhere: No such file or directory");
    setenv("SEPBENCH_TENSORFLOW", "not/there.so", 1);
    says(ENGINE_TENSORFLOW, "SEPBENCH_TENSORFLOW=not/there.so: No such file or directory");
    setenv("SEPBENCH_TENSORFLOW", ".", 1);
    says(ENGINE_TENSORFLOW, "SEPBENCH_TENSORFLOW=.: there is no libtensorflow_cc.so.2 in this folder");
    write_text("text.so", "not a library at all, but longer than the header of one would be\n");
    setenv("SEPBENCH_ONNXRUNTIME", "text.so", 1);
    says(ENGINE_ONNXRUNTIME, "SEPBENCH_ONNXRUNTIME=text.so is no library");
    write_text("short.so", "");
    setenv("SEPBENCH_ONNXRUNTIME", "short.so", 1);
    says(ENGINE_ONNXRUNTIME, "short.so is no library");
    write_library("foreign/libonnxruntime.so.1", true);
    setenv("SEPBENCH_ONNXRUNTIME", "foreign", 1);
    says(ENGINE_ONNXRUNTIME, "foreign/libonnxruntime.so.1 is a library for another kind of CPU");
}

static void test_folders(void **state)
{
    static const struct {
        engine_kind kind;
        const char *file;
    } laid_out[] = {
        {ENGINE_ONNXRUNTIME, "libonnxruntime.so"},
        {ENGINE_ONNXRUNTIME, "lib/libonnxruntime.so.1.21"},
        {ENGINE_ONNXRUNTIME, "onnxruntime/capi/libonnxruntime.so.1.32.0"},
        {ENGINE_ONNXRUNTIME, "lib/python3.11/site-packages/onnxruntime/capi/libonnxruntime.so.1"},
#if defined(__x86_64__)
        {ENGINE_ONNXRUNTIME, "node_modules/onnxruntime-node/bin/napi-v6/linux/x64/libonnxruntime.so.1"},
#endif
        {ENGINE_TENSORFLOW, "libtensorflow_cc.so.2"},
        {ENGINE_TENSORFLOW, "tensorflow/libtensorflow_cc.so.2"},
        {ENGINE_TENSORFLOW, "lib/python3.13/site-packages/tensorflow/libtensorflow_cc.so.2"},
        {ENGINE_TENSORFLOW, "python/lib/python3.10/site-packages/tensorflow/libtensorflow_cc.so.2"},
        {ENGINE_TENSORFLOW, "lib/libtensorflow.so.2"},
        {ENGINE_ONEDNN, "lib64/libdnnl.so.2"},
        {ENGINE_ONEDNN, "lib/x86_64-linux-gnu/libdnnl.so.3.6"}, /* Debian's soname */
        {ENGINE_ONEDNN, "onednn_cpu_gomp-2023.2.0.data/data/lib/libdnnl.so.3"}
    };
    forget_variables();
    for (size_t i = 0; i < sizeof laid_out / sizeof *laid_out; i++) {
        char folder[32], path[PATH_MAX];
        snprintf(folder, sizeof folder, "*{a,b}[%zu]\\", i);
        snprintf(path, sizeof path, "%s/%s", folder, laid_out[i].file);
        write_library(path, false);
        setenv("SEPBENCH_ENGINES", folder, 1);
        takes(laid_out[i].kind, path);
        if (laid_out[i].kind != ENGINE_TENSORFLOW) says(ENGINE_TENSORFLOW, "not found"); /* no system has it */
    }
}

/* Found by its header, but the rest is missing. */
static void test_corrupt(void **state)
{
    conv_error err = {""};
    forget_variables();
    write_library("libonnxruntime.so", false);
    setenv("SEPBENCH_ONNXRUNTIME", "libonnxruntime.so", 1);
    takes(ENGINE_ONNXRUNTIME, "libonnxruntime.so");
    assert_null(engine_open(ENGINE_ONNXRUNTIME, &err));
    assert_non_null(strstr(err.text, "libonnxruntime.so"));
    setenv("SEPBENCH_ENGINES", ".", 1);
    engine_use(ENGINE_ONNXRUNTIME, "elsewhere"); /* in place of all these */
    says(ENGINE_ONNXRUNTIME, "elsewhere: No such file or directory");
    engine_use(ENGINE_ONNXRUNTIME, "");
    takes(ENGINE_ONNXRUNTIME, "libonnxruntime.so");
}

/* ---- refusals, which open no library */

static void test_refusals(void **state)
{
    static const struct {
        const char *problem;
        conv_pass pass;
        bool onednn, nchw;
        conv_post_op post_op;
        const char *words; /* NULL: it is done */
    } cases[] = {
        {"depthwise:g8mb1ic8ih9oc8kh3ph1", CONV_FORWARD, false, false, CONV_POST_RELU6, NULL},
        {"depthwise:g8mb1ic8ih9oc8kh3ph1", CONV_FORWARD, false, true, CONV_POST_NONE, "NHWC"},
        {"dense:mb1ic8ih9oc8kh3ph1", CONV_FORWARD, false, true, CONV_POST_NONE, "NHWC"},
        {"dense:mb1ic8ih9oc8kh3ph1", CONV_FORWARD, true, true, CONV_POST_NONE, NULL},
        {"depthwise:g8mb1ic8ih9oc8kh3ph2dh1", CONV_FORWARD, false, false, CONV_POST_NONE, "dilations"},
        {"depthwise:g8mb1ic8ih9oc8kh3ph2dh1", CONV_FORWARD, true, false, CONV_POST_NONE, NULL},
        {"depthwise:g8mb1ic8ih9oc8kh3ph2dh1", CONV_BACKWARD, true, false, CONV_POST_NONE,
         "ignore the dilation"},
        {"depthwise:g8mb1ic8ih9iw9oc8kh3kw3ph1pw1sh2sw1", CONV_FORWARD, false, false, CONV_POST_NONE,
         "equal length strides"},
        {"depthwise:g8mb1ic8ih9oc8kh3ph0oh9", CONV_FORWARD, true, false, CONV_POST_RELU6, "aborts"},
        {"dense:mb1ic8ih9oc8kh3ph2dh1", CONV_BACKWARD_DATA, false, false, CONV_POST_NONE, "dilation rates"},
        {"dense:g2mb1ic8ih9oc8kh3ph1", CONV_FORWARD, false, false, CONV_POST_NONE, NULL},
        {"dense:g2mb1ic8ih9oc8kh3ph1", CONV_BACKWARD, false, false, CONV_POST_NONE, "grouped"},
        {"depthwise:g8mb1ic8iw9oc8kw3sw2", CONV_BACKWARD, false, false, CONV_POST_NONE, NULL},
        {"dense:mb1ic8id5ih5iw5oc8kd3kh3kw3pd1ph1pw1", CONV_BACKWARD, false, false, CONV_POST_NONE, NULL},
        {"dense:mb1ic8id5ih5iw5oc8kd3kh3kw3pd1ph1pw1", CONV_FORWARD, false, true, CONV_POST_NONE, "NHWC"},
        {"dense:mb1ic8id5ih5iw5oc8kd3kh3kw3dd1dh1dw1", CONV_FORWARD, false, false, CONV_POST_NONE,
         "dilated rates"},
        {"dense:mb1ic8id5ih5iw5oc8kd3kh3kw3dd1dh1dw1", CONV_BACKWARD, true, true, CONV_POST_NONE, NULL},
        {"dense:mb1ic8id5ih5iw5oc8kd3kh3kw3pd1", CONV_FORWARD, true, false, CONV_POST_NONE, "SAME or VALID"},
        {"dense:g2mb1ic8id5ih5iw5oc8kd3kh3kw3", CONV_FORWARD, true, false, CONV_POST_NONE, "no groups"},
        {"separable:mb1ic8id5ih5iw5oc8kd3kh3kw3", CONV_FORWARD, true, false, CONV_POST_NONE, "no depthwise"},
        {"dense:mb1ic8ih12oc8kh3oh7ph0", CONV_FORWARD, true, false, CONV_POST_NONE, "padding after"}};
    if (cpu_allowed() < cpu_detect()) skip();
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const conv_problem p =
            test_problem(cases[i].problem, cases[i].nchw ? CONV_NCHW : CONV_NHWC, false, cases[i].post_op);
        setenv("TF_ENABLE_ONEDNN_OPTS", cases[i].onednn ? "1" : "0", 1);
        const char *why = conv_refuse(tensorflow_impls[p.variant], &p, cases[i].pass);
        if ((why == NULL) != (cases[i].words == NULL) || (why != NULL && strstr(why, cases[i].words) == NULL))
            fail_msg("%s %s: %s, expected %s", cases[i].problem, conv_pass_name(cases[i].pass),
                     why ? why : "done", cases[i].words ? cases[i].words : "done");
    }
    unsetenv("TF_ENABLE_ONEDNN_OPTS");
    const conv_problem p = test_problem("dense:mb1ic8ih9oc8kh3ph1", CONV_NHWC, false, CONV_POST_NONE);
    assert_non_null(strstr(conv_refuse(tensorflow_fed_impls[CONV_DENSE], &p, CONV_BACKWARD), "tensorflow"));
    assert_non_null(strstr(conv_refuse(onnxruntime_impls[CONV_DENSE], &p, CONV_BACKWARD), "inference only"));
}

/* ---- the real ones */

static const char *const shapes[] = {
    "dense:mb1ic16ih9oc16kh3ph1",
    "dense:mb2ic3ih11oc17kh3ph1",  /* first layer */
    "dense:g2mb1ic8ih6oc12kh3ph1", /* groups */
    "dense:mb1ic16ih13iw9oc24kh3kw5ph2pw1",
    "dense:mb1ic16ih12oc16kh3ph0oh6sh2", /* padding after only */
    "dense:mb1ic16ih12oc16kh3sh2oh5ph0", /* a trailing row that no tap reads */
    "dense:mb1ic16ih14oc16kh3ph2dh1",
    "dense:mb2ic16iw20oc8ow18kw3", /* rank 1 */
    "depthwise:g16mb2ic16ih9oc16kh3ph1",
    "depthwise:g17mb2ic17ih9oc17kh3ph1sh2",
    "depthwise:g8mb1ic8ih9oc24kh3ph1",     /* multiplier 3 */
    "depthwise:g6mb2ic6ih10oc6kh3ph0oh10", /* uneven padding */
    "pointwise:mb2ic19ih5oc7kh1",
    "pointwise:mb1ic32ih8oc16oh4kh1sh2",
    "separable:mb1ic16ih9oc32kh3ph1",
    "separable:mb2ic3ih10oc17kh3ph1sh2",
    "separable:mb1ic20ih9oc24kh3ph1dm2",
    "depthwise:g16mb2ic16iw21oc16kw3pw1sw2",
    "depthwise:g8mb1ic8iw20oc16kw3",
    "pointwise:mb2ic8iw20oc12kw1",
    "separable:mb2ic16iw20oc24kw4pw3ow20", /* causal */
    "dense:mb2ic8id5ih6iw7oc16kd3kh3kw3pd1ph1pw1",
    "dense:mb2ic8id7ih7iw7oc12kd3kh3kw3sd2sh2sw2",
    "pointwise:mb2ic8id3ih4iw5oc12kd1kh1kw1sd1sh2sw1",
    /* which TensorFlow lacks */
    "depthwise:g16mb1ic16id5ih6iw7oc16kd3kh3kw3pd1ph1pw1",
    "separable:mb1ic16id5ih6iw7oc20kd3kh3kw3sd1sh2sw1pd2ph1pw1od7",
};

/* What `make setup ENGINES=1` fills, or the user's own. */
static bool is_there(engine_kind kind)
{
    char program[PATH_MAX], folder[PATH_MAX + sizeof "/engines"];
    const char *sepbench = getenv("SEPBENCH");
    struct stat s;
    snprintf(program, sizeof program, "%s", sepbench != NULL ? sepbench : "build/sepbench");
    snprintf(folder, sizeof folder, "%s/engines", dirname(program));
    if (stat(folder, &s) == 0) setenv("SEPBENCH_ENGINES", folder, 0);
    const char *absent = engine_absent(kind);
    if (absent != NULL) print_message("# skipped: %s\n", absent);
    if (SANITIZED) print_message("# skipped: sanitizers report the library's own business\n");
    return absent == NULL && !SANITIZED && cpu_allowed() == cpu_detect();
}

static int check_case(const conv_impl *impl, const char *shape, int variation, conv_pass pass)
{
    static const fill_kind kinds[] = {FILL_INTEGERS, FILL_REALS};
    const conv_problem p = test_problem(shape, variation & 2 ? CONV_NCHW : CONV_NHWC, variation & 1,
                                        variation & 1 ? CONV_POST_RELU6 : CONV_POST_NONE);
    const conv_context ctx = test_context(2);
    char text[256];
    if (p.variant != impl->variant || conv_refuse(impl, &p, pass) != NULL) return 0;
    for (int i = 0; i < 2; i++) {
        verify_result result = {0};
        verify_options options = {.kind = kinds[i], .seed = 7, .accumulate = variation & 1};
        verify_case(impl, &p, pass, &ctx, &options, &result);
        /* What only the run finds out is in the engine's own words. */
        if (!result.ok && strncmp(result.where, "TensorFlow: ", strlen("TensorFlow: ")) == 0) return 0;
        if (!result.ok)
            fail_msg("%s %s: %s", impl->name, test_describe(&p, pass, text, sizeof text), result.where);
    }
    return 1;
}

static int check_engine(const conv_impl *const impls[CONV_VARIANT_COUNT], int passes)
{
    int ran = 0;
    for (int v = 0; v < CONV_VARIANT_COUNT; v++)
        for (size_t s = 0; s < sizeof shapes / sizeof *shapes; s++)
            for (int variation = 0; variation < 4; variation++)
                for (int pass = 0; pass < passes; pass++)
                    ran += check_case(impls[v], shapes[s], variation, (conv_pass)pass);
    return ran;
}

static void test_onnxruntime(void **state)
{
    if (!is_there(ENGINE_ONNXRUNTIME)) skip();
    const int all = 4 * (int)(sizeof shapes / sizeof *shapes);
    assert_int_equal(check_engine(onnxruntime_impls, 1), all);
    assert_int_equal(check_engine(onnxruntime_fed_impls, 1), all);
    assert_non_null(strstr(onnxruntime_impls[0]->version(), "ONNX Runtime 1."));
}

static void test_tensorflow(void **state)
{
    if (!is_there(ENGINE_TENSORFLOW)) skip();
    int least = 2 * (int)(sizeof shapes / sizeof *shapes) - 8; /* what is not refused even without oneDNN */
    assert_true(check_engine(tensorflow_fed_impls, 1) >= least);
    assert_true(check_engine(tensorflow_impls, CONV_PASS_COUNT) >= 2 * least);
    assert_non_null(strstr(tensorflow_impls[0]->version(), "TensorFlow 2."));
}

/* Its threads are those of its first session. */
static void test_tensorflow_threads(void **state)
{
    if (!is_there(ENGINE_TENSORFLOW)) skip();
    const conv_problem p = test_problem(shapes[0], CONV_NHWC, false, CONV_POST_NONE);
    const conv_context ctx = test_context(1);
    conv_plan *plan;
    conv_error err = {""};
    double overhead = tensorflow_overhead_ns(2);
    assert_true(overhead > 100 && overhead < 1e7);
    assert_true(isnan(tensorflow_overhead_ns(1)));
    assert_int_equal(conv_plan_create(tensorflow_impls[CONV_DENSE], &p, CONV_FORWARD, &ctx, &plan, &err),
                     CONV_REFUSED);
    assert_non_null(strstr(err.text, "process of its own"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_onnxruntime),
        cmocka_unit_test(test_tensorflow),
        cmocka_unit_test(test_tensorflow_threads),
        cmocka_unit_test_setup_teardown(test_named_badly, enter_folder, leave_folder),
        cmocka_unit_test_setup_teardown(test_folders, enter_folder, leave_folder),
        cmocka_unit_test_setup_teardown(test_corrupt, enter_folder, leave_folder),
        cmocka_unit_test(test_refusals),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
