/* Faults on purpose, to prove that the regression gate finds them. Compiled only by `make INJECT=...`, which
 * says so in every output of the program:
 *
 *   INJECT=delay:avx512:dense:forward:1.10   every execute of that kernel takes 1.10 times as long
 *   INJECT=wrong:avx512:dense:forward        its last output is off by one where oc is odd: an edge case */
#ifndef SEPBENCH_INJECT_H
#define SEPBENCH_INJECT_H

#include "../conv.h"

conv_status inject_execute(const conv_plan *plan, const conv_args *args);

#endif
