/* Sources that are compiled once per instruction set: how one of them names its own, and how a table in them is
 * found from outside.
 *
 * The Makefile compiles each file of such a folder with -DISA=base, -DISA=avx2, -DISA=avx512 and the matching
 * machine flags, and appends the set to every symbol that the folder defines: nn_table of the AVX2 copy is
 * linked as nn_table_avx2. The base copy keeps its names. Debug information keeps the names of the source. */
#ifndef SEPBENCH_ISA_H
#define SEPBENCH_ISA_H

#include "cpu.h"

/* ---- from outside: every copy of a table, by cpu_isa. Those that this build lacks are NULL (weak symbols). */
#define ISA_DECLARE(type, table)                                                                               \
    extern type table __attribute__((weak)), table##_avx2 __attribute__((weak)),                               \
        table##_avx512 __attribute__((weak));
#define ISA_COPIES(table)                                                                                      \
    {                                                                                                          \
        [CPU_BASE] = &table, [CPU_AVX2] = &table##_avx2, [CPU_AVX512] = &table##_avx512                        \
    }

/* ---- from inside: ISA_STRING is "avx2" and ISA_ENUM CPU_AVX2, and so on. */
#ifdef ISA
#define ISA_QUOTE_(isa) #isa
#define ISA_QUOTE(isa) ISA_QUOTE_(isa)
#define ISA_STRING ISA_QUOTE(ISA)

#define ISA_PASTE_(prefix, isa) prefix##isa
#define ISA_PASTE(prefix, isa) ISA_PASTE_(prefix, isa)
enum { ISA_IS_base = CPU_BASE, ISA_IS_avx2 = CPU_AVX2, ISA_IS_avx512 = CPU_AVX512 };
#define ISA_ENUM ((cpu_isa)ISA_PASTE(ISA_IS_, ISA))
#endif

#endif
