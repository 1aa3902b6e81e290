#include "cpu.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#if defined(__x86_64__)
#include <cpuid.h>
#endif

static const struct {
    const char *name;
    int lanes;
} isas[] = {[CPU_BASE] = {"base", 4}, [CPU_AVX2] = {"avx2", 8}, [CPU_AVX512] = {"avx512", 16}};
static_assert(sizeof isas / sizeof *isas == CPU_ISA_COUNT, "every instruction set has a line");

cpu_isa cpu_detect(void)
{
#if defined(__x86_64__)
    __builtin_cpu_init();
    /* The copies are compiled for x86-64-v3 and v4: every feature the compiler may use must be there. The
     * builtin also checks that the OS saves the registers (XCR0). */
    bool v3 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") &&
              __builtin_cpu_supports("bmi") && __builtin_cpu_supports("bmi2");
    bool v4 = v3 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
              __builtin_cpu_supports("avx512cd") && __builtin_cpu_supports("avx512dq") &&
              __builtin_cpu_supports("avx512vl");
    return v4 ? CPU_AVX512 : v3 ? CPU_AVX2 : CPU_BASE;
#else
    return CPU_BASE;
#endif
}

bool cpu_isa_parse(const char *name, cpu_isa *isa)
{
    for (int i = 0; i < CPU_ISA_COUNT; i++)
        if (strcmp(name, isas[i].name) == 0) {
            *isa = (cpu_isa)i;
            return true;
        }
    return false;
}

const char *cpu_cap_error(void)
{
    const char *cap = getenv("SEPBENCH_MAX_ISA");
    cpu_isa isa;
    return cap == NULL || cpu_isa_parse(cap, &isa) ? NULL : cap;
}

cpu_isa cpu_allowed(void)
{
    cpu_isa widest = cpu_detect(), cap;
    const char *text = getenv("SEPBENCH_MAX_ISA");
    return text != NULL && cpu_isa_parse(text, &cap) && cap < widest ? cap : widest;
}

const void *cpu_widest(const void *const copies[CPU_ISA_COUNT])
{
    int isa = (int)cpu_allowed();
    while (isa > CPU_BASE && copies[isa] == NULL) isa--;
    return copies[isa];
}

const char *cpu_isa_name(cpu_isa isa) { return isas[isa].name; }
int cpu_isa_lanes(cpu_isa isa) { return isas[isa].lanes; }

const char *cpu_model(void)
{
#if defined(__x86_64__)
    static unsigned brand[13]; /* 48 characters and a terminator; the same bytes whoever writes them */
    unsigned max = __get_cpuid_max(0x80000000u, NULL);
    if (max >= 0x80000004u) {
        for (unsigned i = 0; i < 3; i++)
            __get_cpuid(0x80000002u + i, &brand[4 * i], &brand[4 * i + 1], &brand[4 * i + 2],
                        &brand[4 * i + 3]);
        const char *text = (const char *)brand;
        return text + strspn(text, " ");
    }
#endif
    return "unknown CPU";
}
