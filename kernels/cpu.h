/* Which instruction sets this CPU has and which the user allows.
 *
 * Every speed-relevant source is compiled once per instruction set; this module decides at run time which
 * of the copies may run. The cap SEPBENCH_MAX_ISA=base|avx2|avx512 lowers the answer, never raises it. */
#ifndef SEPBENCH_CPU_H
#define SEPBENCH_CPU_H

#include <stdbool.h>

typedef enum {
    CPU_BASE,   /* what the compiler assumes without flags: SSE2 on x86-64 */
    CPU_AVX2,   /* AVX2 + FMA3, OS saves ymm */
    CPU_AVX512, /* AVX-512 F, BW, DQ, VL, OS saves zmm */
    CPU_ISA_COUNT
} cpu_isa;

/* The widest instruction set of this CPU, ignoring the user's cap. */
cpu_isa cpu_detect(void);

/* The widest instruction set allowed: cpu_detect() lowered by SEPBENCH_MAX_ISA. An unreadable value of
 * the variable leaves the cap off; call cpu_cap_error() once at program start to refuse it in words. */
cpu_isa cpu_allowed(void);

/* Of the copies of something, by cpu_isa and NULL where the build lacks one, the widest that is allowed; or
 * NULL. */
const void *cpu_widest(const void *const copies[CPU_ISA_COUNT]);

/* NULL when SEPBENCH_MAX_ISA is unset or valid, else its offending value. */
const char *cpu_cap_error(void);

/* "base", "avx2", "avx512". */
const char *cpu_isa_name(cpu_isa isa);

/* Floats of its widest vector. */
int cpu_isa_lanes(cpu_isa isa);

/* False when name is none of the three. */
bool cpu_isa_parse(const char *name, cpu_isa *isa);

/* The CPU's marketing name as the CPU states it ("unknown CPU" off x86), for reports. Static storage. */
const char *cpu_model(void);

#endif
