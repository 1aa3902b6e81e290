/* Every kernel of every instruction set that this CPU has and the user allows, verified by itself (check.h).
 * usage: test_checkkernels [--bench] [--filter NAME] [--seed NUMBER]
 * --bench prints the time of a call and GFLOP/s at a few sizes; NAME: only kernels whose name holds it. */
#include <assert.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "check.h"
#include "support.h"

typedef struct {
    check_kernel kernel;
    const check_entry *entry;
    char name[64];
} kernel_test;

static void test_kernel(void **state)
{
    const kernel_test *t = *state;
    t->entry->check(&t->kernel);
}

static bool read_options(int argc, char **argv)
{
    static const struct option options[] = {{"bench", no_argument, NULL, 'b'},
                                            {"filter", required_argument, NULL, 'f'},
                                            {"seed", required_argument, NULL, 's'},
                                            {0}};
    for (int o; (o = getopt_long(argc, argv, "", options, NULL)) != -1;) switch (o) {
        case 'b': check_the_options.bench = true; break;
        case 'f': check_the_options.filter = optarg; break;
        case 's': check_the_options.seed = strtoull(optarg, NULL, 10); break;
        default: return false;
        }
    return optind == argc;
}

int main(int argc, char **argv)
{
    const check_family families[] = {check_im2col, check_gemm, check_fip, check_depthwise, check_winograd};
    static const int lanes[CPU_ISA_COUNT] = {[CPU_AVX2] = 8, [CPU_AVX512] = 16};
    enum { MOST_KERNELS = 64 };
    static kernel_test kernels[MOST_KERNELS];
    static struct CMUnitTest tests[MOST_KERNELS];
    size_t count = 0;
    if (!read_options(argc, argv)) {
        fprintf(stderr, "usage: %s [--bench] [--filter NAME] [--seed NUMBER]\n", argv[0]);
        return 2;
    }
    for (int64_t f = 0; f < COUNT(families); f++)
        for (int64_t i = 0; i < families[f].count; i++)
            for (cpu_isa isa = CPU_BASE; isa <= cpu_allowed(); isa++) {
                const check_entry *e = &families[f].entries[i];
                if (families[f].copies[isa].one == NULL) continue;
                if (check_the_options.filter != NULL && strstr(e->name, check_the_options.filter) == NULL)
                    continue;
                assert(count < MOST_KERNELS);
                kernel_test *t = &kernels[count];
                *t = (kernel_test){{e->name, isa, lanes[isa], families[f].copies[isa].functions}, e, ""};
                snprintf(t->name, sizeof t->name, "%s %s", e->name, cpu_isa_name(isa));
                tests[count++] = (struct CMUnitTest){t->name, test_kernel, NULL, NULL, t};
            }
    return _cmocka_run_group_tests("checkkernels", tests, count, NULL, NULL) != 0 || count == 0;
}
