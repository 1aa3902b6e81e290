/* .npy files and `sepbench apply`: right values through files, and one line naming file, expectation and
 * finding for every bad input, with nothing written. Runs $SEPBENCH (tests/run.sh sets it; build/sepbench
 * otherwise). */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "../harness/npy.h"
#include "support.h"

static char folder[] = "/tmp/sepbench-apply-XXXXXX";

/* Runs `sepbench apply ARGUMENTS` in the folder; its exit code, what it printed on both streams in output. */
static int apply(const char *arguments, char *output, size_t size)
{
    char program[4096], command[8192];
    const char *given = getenv("SEPBENCH");
    if (realpath(given != NULL ? given : "build/sepbench", program) == NULL) fail_msg("no sepbench to run");
    snprintf(command, sizeof command, "cd %s && '%s' apply --threads 1 %s 2>&1", folder, program, arguments);
    FILE *pipe = popen(command, "r");
    assert_non_null(pipe);
    size_t got = fread(output, 1, size - 1, pipe);
    output[got] = '\0';
    int status = pclose(pipe);
    assert_true(WIFEXITED(status));
    return WEXITSTATUS(status);
}

static const char *in_folder(const char *name)
{
    static char path[256];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    return path;
}

static void write_constant(const char *name, npy_shape shape, float value)
{
    float data[4096];
    conv_error err = {""};
    for (int i = 0; i < 4096; i++) data[i] = value;
    if (!npy_write(in_folder(name), &shape, data, &err)) fail_msg("%s", err.text);
}

static void write_bytes(const char *name, const void *bytes, size_t size)
{
    FILE *file = fopen(in_folder(name), "wb");
    assert_non_null(file);
    assert_int_equal(fwrite(bytes, 1, size, file), size);
    assert_int_equal(fclose(file), 0);
}

/* An .npy of the given header text, major version and data; NULL for zeros. */
static void write_raw(const char *name, int major, const char *header, const void *data, size_t data_bytes)
{
    unsigned char bytes[2048] = "\x93NUMPY";
    size_t length = strlen(header), at = 8;
    bytes[6] = (unsigned char)major;
    bytes[at++] = (unsigned char)length;
    bytes[at++] = (unsigned char)(length >> 8);
    if (major >= 2) at += 2;
    memcpy(bytes + at, header, length);
    if (data != NULL) memcpy(bytes + at + length, data, data_bytes);
    write_bytes(name, bytes, at + length + data_bytes);
}

static int setup(void **state)
{
    if (mkdtemp(folder) == NULL) return -1;
    write_constant("src.npy", (npy_shape){4, {1, 5, 5, 3}}, 1);
    write_constant("src_nchw.npy", (npy_shape){4, {1, 3, 5, 5}}, 1);
    write_constant("w.npy", (npy_shape){4, {3, 3, 3, 4}}, 2);
    write_constant("dw.npy", (npy_shape){4, {3, 3, 3, 1}}, 1);
    write_constant("pw.npy", (npy_shape){2, {3, 4}}, 1);
    write_constant("pw4.npy", (npy_shape){4, {1, 1, 3, 4}}, 1);
    write_constant("b.npy", (npy_shape){1, {4}}, -100);
    write_constant("dd.npy", (npy_shape){4, {1, 3, 3, 4}}, 1);
    write_constant("dst0.npy", (npy_shape){4, {1, 3, 3, 4}}, 0);
    write_constant("dst6.npy", (npy_shape){4, {1, 3, 3, 4}}, 6);
    return 0;
}

static int teardown(void **state)
{
    char command[128];
    snprintf(command, sizeof command, "rm -rf %s", folder);
    return system(command);
}

static void assert_file(const char *name, npy_shape shape, float value)
{
    float data[4096];
    int64_t count = 1;
    conv_error err = {""};
    if (!npy_read(in_folder(name), &shape, 1, data, &err)) fail_msg("%s", err.text);
    for (int i = 0; i < shape.rank; i++) count *= shape.size[i];
    for (int64_t i = 0; i < count; i++)
        if (data[i] != value)
            fail_msg("%s[%lld] is %g, expected %g", name, (long long)i, (double)data[i], (double)value);
}

static void test_values(void **state)
{
    static const struct {
        const char *arguments, *output;
        npy_shape shape;
        float value;
    } cases[] = {
        {"mb1ic3ih5oc4kh3 --src src.npy --weights w.npy --dst o.npy", "o.npy", {4, {1, 3, 3, 4}}, 54},
        {"mb1ic3ih5oc4kh3 --src src.npy --weights w.npy --bias b.npy --dst o.npy",
         "o.npy",
         {4, {1, 3, 3, 4}},
         -46},
        {"mb1ic3ih5oc4kh3 --src src.npy --weights w.npy --bias b.npy --relu --dst o.npy",
         "o.npy",
         {4, {1, 3, 3, 4}},
         0},
        {"mb1ic3ih5oc4kh3 --src src.npy --weights w.npy --relu6 --dst o.npy", "o.npy", {4, {1, 3, 3, 4}}, 6},
        {"mb1ic3ih5oc4kh3 --layout nchw --src src_nchw.npy --weights w.npy --dst o.npy",
         "o.npy",
         {4, {1, 4, 3, 3}},
         54},
        {"separable:mb1ic3ih5oc4kh3 --src src.npy --weights dw.npy --pointwise pw.npy --dst o.npy",
         "o.npy",
         {4, {1, 3, 3, 4}},
         27},
        {"separable:mb1ic3ih5oc4kh3 --src src.npy --weights dw.npy --pointwise pw4.npy --dst o.npy",
         "o.npy",
         {4, {1, 3, 3, 4}},
         27},
        {"mb1ic3ih5oc4kh3 --pass backward --src src.npy --weights w.npy --diff-dst dd.npy --diff-weights o.npy",
         "o.npy",
         {4, {3, 3, 3, 4}},
         9},
        {"mb1ic3ih5oc4kh3 --pass backward --src src.npy --weights w.npy --diff-dst dd.npy --diff-bias o.npy",
         "o.npy",
         {1, {4}},
         9},
        {"mb1ic3ih5oc4kh3 --pass backward_weights --src src.npy --diff-dst dd.npy --relu --dst dst0.npy "
         "--diff-weights o.npy",
         "o.npy",
         {4, {3, 3, 3, 4}},
         0},
        {"mb1ic3ih5oc4kh3 --pass backward_weights --src src.npy --diff-dst dd.npy --relu6 --dst dst6.npy "
         "--diff-weights o.npy",
         "o.npy",
         {4, {3, 3, 3, 4}},
         0},
        {"mb1ic3ih5oc4kh3 --pass backward_weights --src src.npy --diff-dst dd.npy --relu --dst dst6.npy "
         "--diff-weights o.npy",
         "o.npy",
         {4, {3, 3, 3, 4}},
         9},
        {"separable:mb1ic3ih5oc4kh3 --pass backward --src src.npy --weights dw.npy --pointwise pw.npy "
         "--diff-dst dd.npy --diff-pointwise o.npy",
         "o.npy",
         {2, {3, 4}},
         81},
        {"separable:mb1ic3ih5oc4kh3 --pass backward --src src.npy --weights dw.npy --pointwise pw.npy "
         "--diff-dst dd.npy --diff-weights o.npy",
         "o.npy",
         {4, {3, 3, 3, 1}},
         36},
    };
    char output[4096], arguments[1024];
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        snprintf(arguments, sizeof arguments, "%s --impl naive", cases[i].arguments);
        if (apply(arguments, output, sizeof output) != 0) fail_msg("%s: %s", arguments, output);
        assert_string_equal(output, "");
        assert_file(cases[i].output, cases[i].shape, cases[i].value);
        unlink(in_folder(cases[i].output));
    }
}

/* Every bad input: exit 2, one line with the words, no output file. */
static void test_bad_input(void **state)
{
    static const char shape[] = "{'descr': '<f4', 'fortran_order': False, 'shape': (3, 3, 3, 4), }\n";
    const double huge[108] = {[5] = 1e300};
    write_raw("i4.npy", 1, "{'descr': '<i4', 'fortran_order': False, 'shape': (3, 3, 3, 4), }\n", NULL, 432);
    write_raw("pairs.npy", 1, "{'descr': [('a', '<f4')], 'fortran_order': False, 'shape': (3, 3, 3, 4), }\n",
              NULL, 432);
    write_raw("huge.npy", 1, "{'descr': '<f8', 'fortran_order': False, 'shape': (3, 3, 3, 4), }\n", huge,
              sizeof huge);
    write_raw("order.npy", 1, "{'descr': '<f4', 'fortran_order': None, 'shape': (3, 3, 3, 4), }\n", NULL, 432);
    write_raw("product.npy", 1,
              "{'descr': '<f4', 'fortran_order': False, 'shape': (4294967296, 4294967296), }\n", NULL, 432);
    write_raw("short.npy", 1, shape, NULL, 431);
    write_raw("long.npy", 1, shape, NULL, 433);
    write_raw("short16.npy", 1, "{'descr': '<f2', 'fortran_order': True, 'shape': (3, 3, 3, 4), }\n", NULL,
              215);
    write_raw("nokey.npy", 1, "{'descr': '<f4', 'shape': (3, 3, 3, 4), }\n", NULL, 432);
    write_raw("badshape.npy", 1, "{'descr': '<f4', 'fortran_order': False, 'shape': (3, x), }\n", NULL, 432);
    write_raw("v3.npy", 3, shape, NULL, 432);
    write_bytes("garbage.npy", "PK\3\4 this is no array", 22);
    write_bytes("empty.npy", "", 0);
    static const struct {
        const char *arguments, *words[2];
    } cases[] = {
        {"mb1ic3ih5oc4kh3 --impl naive --src none.npy --weights w.npy --dst o.npy",
         {"none.npy", "No such file"}},
        {"mb1ic3ih5oc4kh3 --impl naive --src src.npy --weights i4.npy --dst o.npy", {"i4.npy", "'<i4'"}},
        {"mb1ic3ih5oc4kh3 --impl naive --src src.npy --weights pairs.npy --dst o.npy",
         {"pairs.npy", "float32"}},
        {"mb1ic3ih5oc4kh3 --impl naive --src src.npy --weights huge.npy --dst o.npy",
         {"huge.npy", "element 5 is beyond float32"}},
        {"mb1ic3ih5oc4kh3 --impl naive --src src.npy --weights order.npy --dst o.npy",
         {"order.npy", "fortran_order"}},
        {"mb1ic3ih5oc4kh3 --impl naive --src src.npy --weights product.npy --dst o.npy",
         {"product.npy", "shape"}},
        {"mb1ic3ih5oc4kh3 --impl naive --src src.npy --weights short16.npy --dst o.npy",
         {"short16.npy", "truncated: 108 values are expected, 107"}},
        {"mb1ic3ih5oc4kh3 --impl naive --src src.npy --weights short.npy --dst o.npy",
         {"short.npy", "truncated"}},
        {"mb1ic3ih5oc4kh3 --impl naive --src src.npy --weights long.npy --dst o.npy", {"long.npy", "longer"}},
        {"mb1ic3ih5oc4kh3 --impl naive --src src.npy --weights nokey.npy --dst o.npy",
         {"nokey.npy", "fortran_order"}},
        {"mb1ic3ih5oc4kh3 --impl naive --src src.npy --weights badshape.npy --dst o.npy",
         {"badshape.npy", "shape"}},
        {"mb1ic3ih5oc4kh3 --impl naive --src src.npy --weights v3.npy --dst o.npy", {"v3.npy", "3.0"}},
        {"mb1ic3ih5oc4kh3 --impl naive --src src.npy --weights garbage.npy --dst o.npy",
         {"garbage.npy", "not an .npy"}},
        {"mb1ic3ih5oc4kh3 --impl naive --src src.npy --weights empty.npy --dst o.npy",
         {"empty.npy", "not an .npy"}},
        {"mb1ic3ih5oc4kh3 --impl naive --src src.npy --weights . --dst o.npy", {"--weights", "folder"}},
        {"mb1ic3ih5oc4kh3 --impl naive --src w.npy --weights w.npy --dst o.npy",
         {"(3, 3, 3, 4)", "(1, 5, 5, 3)"}},
        {"mb1ic3ih5oc4kh3 --impl naive --layout nchw --src src.npy --weights w.npy --dst o.npy",
         {"(1, 5, 5, 3)", "(1, 3, 5, 5)"}},
        {"mb1ic3ih5oc4kh3 --impl naive --src src.npy --dst o.npy", {"--weights", "missing"}},
        {"mb1ic3ih5oc4kh3 --impl naive --src src.npy --weights w.npy", {"no output", "--dst"}},
        {"mb1ic3ih5oc4kh3 --impl naive --src src.npy --weights w.npy --diff-dst dd.npy --dst o.npy",
         {"--diff-dst", "neither"}},
        {"mb1ic3ih5oc4kh3 --impl naive --src src.npy --weights w.npy --pointwise pw.npy --dst o.npy",
         {"--pointwise", "neither"}},
        {"mb1ic3ih5oc4kh3 --impl naive --pass backward_weights --src src.npy --diff-dst dd.npy --dst dst0.npy "
         "--diff-weights o.npy",
         {"--dst", "--relu6"}},
        {"mb1ic3ih5oc4kh3 --impl naive --src src.npy --weights w.npy --relu --relu6 --dst o.npy",
         {"--relu and --relu6", "one"}},
        {"mb1ic3ih5oc4kh3 --impl nonesuch --src src.npy --weights w.npy --dst o.npy", {"nonesuch", "naive"}},
        {"mb1ic3ih5oc4kh3 --src src.npy --weights w.npy --dst o.npy", {"--impl", "missing"}},
        {"mb1ic3ih5oc4kh9 --impl naive --src src.npy --weights w.npy --dst o.npy", {"mb1ic3ih5oc4kh9", "kh9"}},
        {"separable:mb1ic3ih5oc4kh3 --impl naive --pass backward_data --weights dw.npy --pointwise pw.npy "
         "--diff-dst dd.npy --diff-src o.npy",
         {"refuses", "joint"}},
        {"mb1ic3ih5oc4kh3 --impl naive --pass sideways --src src.npy --weights w.npy --dst o.npy",
         {"sideways", "forward"}},
        {"mb1ic3ih5oc4kh3 --impl naive --layout hwcn --src src.npy --weights w.npy --dst o.npy",
         {"hwcn", "nchw"}},
        {"mb1ic3ih5oc4kh3 --impl naive --threads 0 --src src.npy --weights w.npy --dst o.npy",
         {"--threads", "0"}},
        {"--impl naive --src src.npy --weights w.npy --dst o.npy", {"PROBLEM", "mb1"}},
        {"mb1ic3ih5oc4kh3 --impl naive --src src.npy --weights w.npy --dst no/such/folder/o.npy",
         {"no/such/folder/o.npy", "cannot be written"}},
        {"mb1ic3ih5oc4kh3 --impl naive --src src.npy --weights w.npy --dst .", {"--dst", "folder"}},
        {"mb1ic3ih5oc4kh3 --impl naive --src src.npy --weights w.npy --dst /dev/full",
         {"/dev/full", "No space left"}},
        {"mb200000ic3000ih5000oc4kh3 --impl naive --src src.npy --weights w.npy --dst o.npy", {"memory", "GB"}},
    };
    char output[4096];
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const char *arguments = cases[i].arguments;
        int code = apply(arguments, output, sizeof output);
        if (code != 2) fail_msg("%s: exit code %d: %s", arguments, code, output);
        const char *line = strchr(output, '\n');
        if (line == NULL || line[1] != '\0') fail_msg("%s: not one line: %s", arguments, output);
        for (int w = 0; w < 2; w++)
            if (strstr(output, cases[i].words[w]) == NULL)
                fail_msg("%s: '%s' is not in: %s", arguments, cases[i].words[w], output);
        if (access(in_folder("o.npy"), F_OK) == 0) fail_msg("%s: an output was written", arguments);
    }
}

/* What numpy writes: version 1 with an odd amount of blanks, version 2, keys in another order,
 * long integers. */
static void test_read_dialects(void **state)
{
    static const struct {
        int major;
        const char *header;
    } cases[] = {
        {1, "{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), }            \n"},
        {2, "{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), }\n"},
        {1, "{'shape': (2, 3), 'fortran_order': False, 'descr': '<f4'}"},
        {1, "{\"descr\":\"<f4\",\"fortran_order\":False,\"shape\":(2,3)}\n"},
        {1, "{'descr': '<f4', 'fortran_order': False, 'shape': (2L, 3L)}\n"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        npy_shape shape = {2, {2, 3}};
        float data[6];
        conv_error err = {""};
        write_raw("dialect.npy", cases[i].major, cases[i].header, NULL, sizeof data);
        if (!npy_read(in_folder("dialect.npy"), &shape, 1, data, &err))
            fail_msg("%s: %s", cases[i].header, err.text);
    }
}

/* numpy.array([[1, -2, 0.5], [3, 2**-24, -65504]]) in every float type, byte order and memory order. */
static void test_read_types(void **state)
{
    static const float want[] = {1, -2, 0.5f, 3, 0x1p-24f, -65504};
    static const struct {
        const char *descr, *fortran;
        unsigned char bytes[48];
    } cases[] = {
        {"<f4", "False", "\0\0\x80\x3f\0\0\0\xc0\0\0\0\x3f\0\0\x40\x40\0\0\x80\x33\0\xe0\x7f\xc7"},
        {">f4", "False", "\x3f\x80\0\0\xc0\0\0\0\x3f\0\0\0\x40\x40\0\0\x33\x80\0\0\xc7\x7f\xe0"},
        {"<f4", "True", "\0\0\x80\x3f\0\0\x40\x40\0\0\0\xc0\0\0\x80\x33\0\0\0\x3f\0\xe0\x7f\xc7"},
        {"<f2", "False", "\0\x3c\0\xc0\0\x38\0\x42\1\0\xff\xfb"},
        {">f2", "True", "\x3c\0\x42\0\xc0\0\0\1\x38\0\xfb\xff"},
        {"<f8", "False",
         "\0\0\0\0\0\0\xf0\x3f\0\0\0\0\0\0\0\xc0\0\0\0\0\0\0\xe0\x3f"
         "\0\0\0\0\0\0\x08\x40\0\0\0\0\0\0\x70\x3e\0\0\0\0\0\xfc\xef\xc0"},
        {">f8", "True",
         "\x3f\xf0\0\0\0\0\0\0\x40\x08\0\0\0\0\0\0\xc0\0\0\0\0\0\0\0"
         "\x3e\x70\0\0\0\0\0\0\x3f\xe0\0\0\0\0\0\0\xc0\xef\xfc\0\0\0\0\0"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        npy_shape shape = {2, {2, 3}};
        char header[128];
        float data[6];
        conv_error err = {""};
        snprintf(header, sizeof header, "{'descr': '%s', 'fortran_order': %s, 'shape': (2, 3), }\n",
                 cases[i].descr, cases[i].fortran);
        write_raw("type.npy", 1, header, cases[i].bytes, 6 * (size_t)(cases[i].descr[2] - '0'));
        if (!npy_read(in_folder("type.npy"), &shape, 1, data, &err)) fail_msg("%s: %s", header, err.text);
        for (int k = 0; k < 6; k++)
            if (data[k] != want[k]) fail_msg("%s: element %d is %g", header, k, (double)data[k]);
    }
}

/* The bytes numpy.save writes for numpy.float32([1, -2]). */
static void test_written_bytes(void **state)
{
    unsigned char want[136] =
        "\x93NUMPY\x01\x00\x76\x00{'descr': '<f4', 'fortran_order': False, 'shape': (2,), }",
                  got[256];
    size_t end = 10 + strlen("{'descr': '<f4', 'fortran_order': False, 'shape': (2,), }");
    memset(want + end, ' ', 127 - end);
    want[127] = '\n';
    memcpy(want + 128, "\x00\x00\x80\x3f\x00\x00\x00\xc0", 8);
    const float data[] = {1, -2};
    conv_error err = {""};
    assert_true(npy_write(in_folder("two.npy"), &(npy_shape){1, {2}}, data, &err));
    FILE *file = fopen(in_folder("two.npy"), "rb");
    assert_non_null(file);
    assert_int_equal(fread(got, 1, sizeof got, file), sizeof want);
    fclose(file);
    assert_memory_equal(got, want, sizeof want);
}

/* A file that was there stays whole when writing fails, keeps its name through a link, and no part is left. */
static void test_atomic(void **state)
{
    npy_shape shape = {1, {2}};
    const float before[] = {1, 2}, after[] = {3, 3};
    conv_error err = {""};
    struct stat status;
    char real[256], link_name[256];
    snprintf(real, sizeof real, "%s/real.npy", folder);
    snprintf(link_name, sizeof link_name, "%s/link.npy", folder);
    assert_true(npy_write(real, &shape, before, &err));
    assert_int_equal(symlink("real.npy", link_name), 0);
    assert_true(npy_write(link_name, &shape, after, &err));
    assert_int_equal(lstat(link_name, &status), 0);
    assert_true(S_ISLNK(status.st_mode));
    assert_file("real.npy", shape, 3);
    assert_false(npy_write("/dev/full", &shape, after, &err));
    assert_int_equal(stat("/dev/full", &status), 0);
    assert_true(S_ISCHR(status.st_mode));
    char command[256];
    snprintf(command, sizeof command, "ls %s/*.npy.* >/dev/null 2>&1", folder);
    assert_int_not_equal(system(command), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_values),        cmocka_unit_test(test_bad_input),
        cmocka_unit_test(test_read_dialects), cmocka_unit_test(test_read_types),
        cmocka_unit_test(test_written_bytes), cmocka_unit_test(test_atomic),
    };
    return cmocka_run_group_tests_name("apply", tests, setup, teardown);
}
