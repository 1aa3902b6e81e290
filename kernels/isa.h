/* Names for sources that are compiled once per instruction set.
 *
 * The Makefile compiles each file of such a folder with -DISA=base, -DISA=avx2, -DISA=avx512 and the
 * matching machine flags. ISA_NAME(sgemm) is then sgemm_avx2, so the copies can live in one program. Wrap
 * every external symbol of such a file; keep helpers static. */
#ifndef SEPBENCH_ISA_H
#define SEPBENCH_ISA_H

#include "cpu.h"

#ifndef ISA
#error "this file is compiled once per instruction set: add its folder to PER_ISA in the Makefile"
#endif

#define ISA_PASTE_(symbol, isa) symbol##_##isa
#define ISA_PASTE(symbol, isa) ISA_PASTE_(symbol, isa)
#define ISA_NAME(symbol) ISA_PASTE(symbol, ISA)

#define ISA_QUOTE_(isa) #isa
#define ISA_QUOTE(isa) ISA_QUOTE_(isa)
#define ISA_STRING ISA_QUOTE(ISA) /* "avx2" */

/* ISA_ENUM is CPU_AVX2 and so on. */
enum { ISA_VALUE_base = CPU_BASE, ISA_VALUE_avx2 = CPU_AVX2, ISA_VALUE_avx512 = CPU_AVX512 };
#define ISA_ENUM ((cpu_isa)ISA_PASTE(ISA_VALUE, ISA))

#endif
