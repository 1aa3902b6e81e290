/* The instruction set that runs is the one that is claimed: under every cap the registry hands out no wider
 * copy and says what it withheld; the copies' machine code holds no wider registers (by objdump, where there is
 * one); the program refuses a cap it does not know. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "support.h"

static char build[4096]; /* the build folder this program lies in */

/* Looks at the registry as a program started under the cap sees it; the number of faults, each told. */
static int faults_under(cpu_isa cap)
{
    size_t count;
    int faults = 0;
    cpu_isa widest = cpu_detect() < cap ? cpu_detect() : cap;
    setenv("SEPBENCH_MAX_ISA", cpu_isa_name(cap), 1);
    faults += cpu_allowed() != widest;
    const conv_entry *e = conv_entries(&count); /* the first call of this process */
    for (size_t i = 0; i < count; i++) {
        const char *why = NULL;
        const char *suffix = strrchr(e[i].name, '-');
        cpu_isa named;
        bool names_isa = cpu_isa_parse(suffix != NULL ? suffix + 1 : e[i].name, &named);
        if (e[i].impl != NULL && conv_isa(e[i].impl) > widest) why = "is wider than allowed";
        if (e[i].impl != NULL && names_isa && conv_isa(e[i].impl) != named) why = "is not what its name says";
        if (e[i].impl != NULL && names_isa && named > widest)
            why = "is present though its instruction set is not";
        if (e[i].impl == NULL && (e[i].absent == NULL || e[i].absent[0] == '\0'))
            why = "is absent without a reason";
        if (e[i].impl == NULL && names_isa && named > cap && named <= cpu_detect() &&
            strstr(e[i].absent, "SEPBENCH_MAX_ISA") == NULL && strstr(e[i].absent, "build") == NULL)
            why = "does not say that the cap forbids it";
        if (why == NULL) continue;
        printf("under %s: %s %s %s\n", cpu_isa_name(cap), e[i].name, conv_variant_name(e[i].variant), why);
        faults++;
    }
    fflush(stdout);
    return faults;
}

/* Implementations compiled per instruction set must really come in the widest allowed copy. */
static int check_widest(cpu_isa cap)
{
    cpu_isa widest = cpu_detect() < cap ? cpu_detect() : cap;
    const char *const per_isa[] = {"im2col", "tiled"};
    int faults = 0;
    for (size_t i = 0; i < sizeof per_isa / sizeof *per_isa; i++) {
        const conv_impl *impl = conv_find(per_isa[i], CONV_DENSE);
        if (impl == NULL || impl->isa == widest) continue;
        printf("under %s: %s is the %s copy\n", cpu_isa_name(cap), per_isa[i], cpu_isa_name(impl->isa));
        faults++;
    }
    fflush(stdout);
    return faults;
}

/* The registry is fixed at its first call, so each cap gets a process. */
static void test_caps(void **state)
{
    for (int cap = 0; cap < CPU_ISA_COUNT; cap++) {
        pid_t child = fork();
        assert_true(child >= 0);
        if (child == 0) _exit(faults_under((cpu_isa)cap) + check_widest((cpu_isa)cap) == 0 ? 0 : 1);
        int status;
        assert_int_equal(waitpid(child, &status, 0), child);
        assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    }
}

/* Right results under every cap, too: the narrower copies are otherwise never run on a wide machine. */
static int wrong_under(cpu_isa cap)
{
    static const char *const shapes[] = {"dense:mb1ic20ih9oc37kh3ph1", "dense:mb1ic6ih13oc18kh3sh2ph1",
                                         "depthwise:mb1ic37ih9oc37kh3ph1", "pointwise:mb2ic33ih7oc50kh1",
                                         "separable:mb1ic33ih9oc50kh3ph1"};
    size_t count;
    int64_t wrong = 0, ran = 0;
    setenv("SEPBENCH_MAX_ISA", cpu_isa_name(cap), 1);
    outcome *outcomes = outcomes_create(&count);
    conv_context ctx = test_context(2);
    for (size_t s = 0; s < sizeof shapes / sizeof *shapes; s++)
        for (int pass = 0; pass < CONV_PASS_COUNT; pass++) {
            conv_problem p = test_problem(shapes[s], CONV_NHWC, true, CONV_POST_RELU6);
            verify_options options = {.kind = FILL_INTEGERS, .seed = 5};
            if (p.variant == CONV_SEPARABLE && pass > CONV_BACKWARD) continue;
            outcomes_check(outcomes, count, &p, (conv_pass)pass, &options, &ctx);
        }
    for (size_t i = 0; i < count; i++) {
        wrong += outcomes[i].failed;
        ran += outcomes[i].ran;
    }
    fflush(stdout);
    return wrong > 0 || ran == 0;
}

static void test_results_under_caps(void **state)
{
    for (int cap = 0; cap < CPU_ISA_COUNT; cap++) {
        pid_t child = fork();
        assert_true(child >= 0);
        if (child == 0) _exit(wrong_under((cpu_isa)cap));
        int status;
        assert_int_equal(waitpid(child, &status, 0), child);
        assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    }
}

/* Instructions of the objects matching the pattern that mention the register file; -1 without objects. */
static long registers(const char *pattern, const char *file)
{
    char command[8192];
    long count = -1;
    snprintf(command, sizeof command,
             "set -- %s/%s; [ -e \"$1\" ] && objdump -d --no-show-raw-insn \"$@\" 2>/dev/null | grep -c '%%%s'",
             build, pattern, file);
    FILE *pipe = popen(command, "r");
    assert_non_null(pipe);
    if (fscanf(pipe, "%ld", &count) != 1) count = -1;
    pclose(pipe);
    return count;
}

static void test_machine_code(void **state)
{
#if defined(__x86_64__)
    if (SANITIZED || system("command -v objdump >/dev/null 2>&1") != 0) skip();
    assert_int_equal(registers("kernels/*/*.base.o", "[yz]mm"), 0);
    assert_int_equal(registers("kernels/*/*.avx2.o", "zmm"), 0);
    assert_true(registers("kernels/*/*.avx2.o", "ymm") > 0);
    assert_true(registers("kernels/*/*.avx512.o", "zmm") > 0);
    assert_true(registers("kernels/naive/*.o", "[yz]mm") == 0);
#else
    skip();
#endif
}

static void test_unknown_cap(void **state)
{
    char command[8192], line[512] = "";
    const char *program = getenv("SEPBENCH");
    snprintf(command, sizeof command, "SEPBENCH_MAX_ISA=sse9 '%s' list 2>&1",
             program != NULL ? program : "build/sepbench");
    FILE *pipe = popen(command, "r");
    assert_non_null(pipe);
    assert_non_null(fgets(line, sizeof line, pipe));
    assert_null(fgets(command, sizeof command, pipe));
    int status = pclose(pipe);
    assert_int_equal(WEXITSTATUS(status), 2);
    assert_non_null(strstr(line, "sse9"));
    assert_non_null(strstr(line, "avx2"));
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_caps), cmocka_unit_test(test_results_under_caps),
                                       cmocka_unit_test(test_machine_code), cmocka_unit_test(test_unknown_cap)};
    (void)argc;
    snprintf(build, sizeof build, "%s", argv[0]);
    char *end = strstr(build, "/tests/");
    if (end != NULL) *end = '\0';
    return cmocka_run_group_tests_name("isa", tests, NULL, NULL);
}
