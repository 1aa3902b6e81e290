/* The least time a call can take, limit by limit: what its plan states that it does (conv_plan.work), over what
 * this machine was measured to do. The highest is the limit; what the median comes close to explains it.
 * S. Williams et al., Roofline, CACM 52(4), 2009; data transfers as in the ECM model, H. Stengel et al., ICS
 * 2015. A peer states nothing: for it hold the multiply-adds of the direct algorithm, unless it is inexact, and
 * every tensor moved once. */
#ifndef SEPBENCH_LIMITS_LIMITS_H
#define SEPBENCH_LIMITS_LIMITS_H

#include "../machine/machine.h"
#include "../record/record.h"

typedef enum {
    LIMIT_COMPUTE,
    LIMIT_LOADS,
    LIMIT_L1,
    LIMIT_L2,
    LIMIT_L3,
    LIMIT_DRAM,
    LIMIT_BARRIER,
    LIMIT_COUNT
} limit_kind;
const char *limit_name(limit_kind kind); /* "compute" "load ports" "L1" ... "barrier" */

/* Bytes of the caches that one thread may fill, as the machine has them, not as plans count on them. */
typedef struct {
    double l1d, l2, l3;
} limit_caches;
limit_caches limits_caches_here(int threads);

typedef struct {
    double ns[LIMIT_COUNT]; /* 0: nothing stated, or not measured here */
    limit_kind highest;
} limit_times;

/* Load ports and the levels one after the other, as where transfers do not overlap (the ECM model of Intel's
 * cores): between the highest limit and this lies what data transfer alone explains. */
double limits_in_turn(const limit_times *t);

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
