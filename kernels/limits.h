/* The least time a call can take, limit by limit: what its plan states that it does (conv_work), over what the
 * machine does at most. The harness sets measured times beside it; from the same statement drivers tell which
 * of their strategies is likely to be fastest. S. Williams et al., Roofline, CACM 52(4), 2009; data transfers
 * as in the ECM model, H. Stengel et al., ICS 2015. */
#ifndef SEPBENCH_KERNELS_LIMITS_H
#define SEPBENCH_KERNELS_LIMITS_H

#include "conv.h"

typedef enum { LEVEL_L1, LEVEL_L2, LEVEL_L3, LEVEL_DRAM, LEVEL_COUNT } memory_level;

/* What a machine does at most, all threads together. */
struct machine_ceilings {
    int threads;
    double fma_gflops[CPU_ISA_COUNT];   /* 0 where the ISA is not allowed */
    double bandwidth_gbps[LEVEL_COUNT]; /* read + write bytes of a triad, all threads; 0: not measurable here */
    double read_gbps[LEVEL_COUNT];      /* of loads alone */
    double loads[CPU_ISA_COUNT], broadcasts[CPU_ISA_COUNT]; /* 1e9 load instructions a second from L1: whole
                                                               vectors; one float into all lanes */
    double barrier_ns;                                      /* one barrier of all threads; 0 with one thread */
    double age_seconds; /* 0: measured now; else how long ago, and so from a file */
};

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

/* Bytes of the caches that one thread may fill. */
typedef struct {
    double l1d, l2, l3;
} limit_caches;

typedef struct {
    double ns[LIMIT_COUNT]; /* 0: nothing stated, or not measured here */
    limit_kind highest;
} limit_times;

/* A call of so many threads; cold: it finds nothing in the caches. */
typedef struct {
    cpu_isa isa;
    int threads;
    bool cold;
} limit_call;

limit_times limits_of_work(const conv_work *w, const limit_call *call, const machine_ceilings *c,
                           const limit_caches *caches);

/* Load ports and the levels one after the other, as where transfers do not overlap (the ECM model of Intel's
 * cores): between the highest limit and this lies what data transfer alone explains. */
double limits_in_turn(const limit_times *t);

/* Nanoseconds by which strategies are ranked: the highest limit, for processors do one thing behind another;
 * of the others an eighth, for they do not hide it all; and copying in short pieces, which waits for them: at a
 * quarter of L2's bandwidth. Of the context's threads, caches and ceilings, or those of a nominal core. */
double limits_model_ns(const conv_work *w, cpu_isa isa, const conv_context *ctx);

#endif
