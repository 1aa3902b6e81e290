/* What this program was built from. The Makefile writes the facts to a small file whose only reader is
 * build_info.c, so that a commit rebuilds one object. */
#ifndef SEPBENCH_BUILD_INFO_H
#define SEPBENCH_BUILD_INFO_H

#include <stdbool.h>

const char *build_commit(void);   /* git's full id, or "unknown" outside a git checkout */
bool build_dirty(void);           /* the sources differed from that commit */
const char *build_compiler(void); /* "gcc 12.2.0" */
const char *build_flags(void);    /* CFLAGS, without those that choose an instruction set */
/* Everything that decides the kernels' machine code (sources, compiler, flags, INJECT), hashed: where it is the
 * same, a difference in time is not the kernels'. */
const char *build_kernels(void);
const char *build_inject(void); /* what `make INJECT=` broke on purpose; "" for a normal build */

#endif
