/* Rows and their limits (kernels/limits.h): the highest is the limit; what the median comes close to explains
 * it. A peer states nothing: for it hold the multiply-adds of the direct algorithm, unless it is inexact, and
 * every tensor moved once. */
#ifndef SEPBENCH_LIMITS_LIMITS_H
#define SEPBENCH_LIMITS_LIMITS_H

#include "../machine/machine.h"
#include "../record/record.h"

/* The caches as the machine has them, not as plans count on them. */
limit_caches limits_caches_here(int threads);

limit_times limits_of(const conv_plan *plan, bool cold, const machine_ceilings *c, const limit_caches *caches);

/* Fills the columns limit, limit_ns, percent_limit, barrier_ns and bound of a row that has a median. Without a
 * plan the limit stays, and only its share of the median is new. */
void limits_fill(record_row *row, const conv_plan *plan, const machine_ceilings *c);

/* Percent of the median from which on a limit explains it. */
enum { LIMIT_REACHED = 60 };
/* "bound by L2: 91% of it", "no limit reached: the highest, L2, explains 35% of the time"; "" without a limit.
 * Returns buffer[LIMIT_TEXT]. */
enum { LIMIT_TEXT = 96 };
char *limits_sentence(const record_row *row, char *buffer);

#endif
