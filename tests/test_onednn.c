/* oneDNN opened at run time: our declarations against its own header where one is installed, and libraries that
 * cannot be used. What it computes is test_peers's. */
#include <dlfcn.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "../kernels/conv.h"
#include "../kernels/peers/onednn/dnnl2.h"
#include "folder.h"
#include "unit.h"

/* ---- the header. A function declared otherwise than there does not compile. */

#if __has_include(<oneapi/dnnl/dnnl.h>)
#include <oneapi/dnnl/dnnl.h>
#endif

#if defined(DNNL_VERSION_MAJOR) &&                                                                             \
    (DNNL_VERSION_MAJOR == 3 || (DNNL_VERSION_MAJOR == 2 && DNNL_VERSION_MINOR >= 6))
#define HEADER_KNOWN

#if DNNL_VERSION_MAJOR == 2
#define const_dnnl_memory_desc_t const dnnl_memory_desc_t *
#define DNNL2_FUNCTION(type, name, parameters) type dnnl_##name parameters;
#define dnnl2_md dnnl_memory_desc_t
#else
#define DNNL3_FUNCTION(type, name, parameters) type dnnl_##name parameters;
#endif
#define DNNL_FUNCTION(type, name, parameters) type dnnl_##name parameters;
#include "../kernels/peers/onednn/dnnl.def"
#undef dnnl2_md

static const struct {
    const char *name;
    long long ours, theirs;
} values[] = {
#define DNNL_VALUE(name, value) {#name, value, name},
#if DNNL_VERSION_MAJOR == 2
#define DNNL2_VALUE(name, value) {#name, value, name},
#else
#define DNNL3_VALUE(name, value) {#name, value, name},
#endif
#include "../kernels/peers/onednn/dnnl.def"
    {"DNNL_MAX_NDIMS", DNNL2_MAX_NDIMS, DNNL_MAX_NDIMS},
#if DNNL_VERSION_MAJOR == 2
#define MEMBER(ours, theirs) {#theirs, offsetof(dnnl2_md, ours), offsetof(dnnl_memory_desc_t, theirs)},
    MEMBER(ndims, ndims) MEMBER(dims, dims) MEMBER(padded_dims, padded_dims) MEMBER(offset0, offset0)
        MEMBER(format_kind, format_kind) MEMBER(blocking.strides, format_desc.blocking.strides)
            MEMBER(blocking.inner_nblks, format_desc.blocking.inner_nblks) MEMBER(extra, extra){
                "bytes of a memory descriptor", sizeof(dnnl2_md), sizeof(dnnl_memory_desc_t)},
#endif
};
#endif

static void test_header(void **state)
{
#ifdef HEADER_KNOWN
    for (size_t i = 0; i < sizeof values / sizeof *values; i++)
        if (values[i].ours != values[i].theirs)
            fail_msg("%s is %lld, the header's %lld", values[i].name, values[i].ours, values[i].theirs);
#if DNNL_VERSION_MAJOR == 2
    assert_true(sizeof(dnnl_convolution_desc_t) <= DNNL2_DESC_BYTES);
    assert_true(sizeof(dnnl_eltwise_desc_t) <= DNNL2_DESC_BYTES);
#endif
#else
    skip();
#endif
}

/* ---- libraries. Which one is decided once in a process, so a fresh one is asked each time. */

static int print_absent(void)
{
    size_t count;
    const conv_entry *e = conv_entries(&count);
    for (size_t i = 0; i < count; i++)
        if (strcmp(e[i].name, "onednn") == 0 && e[i].variant == CONV_DENSE)
            return puts(e[i].impl != NULL ? e[i].impl->version() : e[i].absent) < 0;
    return 1;
}

/* One line that names the file or folder and has `words`. */
static void refuses(const char *place, const char *words)
{
    char program[PATH_MAX] = "", answer[1024];
    assert_true(readlink("/proc/self/exe", program, sizeof program - 1) > 0);
    assert_int_equal(run_shell(answer, sizeof answer, "SEPBENCH_ONEDNN=%s %s --absent 2>&1", place, program),
                     0);
    if (strstr(answer, words) == NULL || strstr(answer, place) == NULL ||
        strchr(answer, '\n') != answer + strlen(answer) - 1)
        fail_msg("%s: %s", place, answer);
}

static void test_unusable_libraries(void **state)
{
    char start[4096];
    Dl_info libc;
    assert_true(dladdr(dlsym(RTLD_DEFAULT, "gnu_get_libc_version"), &libc) != 0);
    FILE *from = fopen(libc.dli_fname, "rb"), *to = fopen("cut.so", "wb");
    assert_true(from != NULL && to != NULL);
    assert_int_equal(fread(start, sizeof start, 1, from), 1);
    assert_int_equal(fwrite(start, sizeof start, 1, to), 1);
    assert_true(fclose(from) == 0 && fclose(to) == 0);
    refuses("nowhere", "No such file");
    refuses(".", "there is no libdnnl.so.3 or libdnnl.so.2");
    refuses("cut.so", "is cut short");
    refuses(libc.dli_fname, "has no dnnl_version");
}

int main(int argc, char **argv)
{
    if (argc > 1 && strcmp(argv[1], "--absent") == 0) return print_absent();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_header),
        cmocka_unit_test_setup_teardown(test_unusable_libraries, enter_folder, leave_folder)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
