/* The machine: topology and caches by hwloc, thread binding, memory limits, measured ceilings. */
#ifndef SEPBENCH_MACHINE_H
#define SEPBENCH_MACHINE_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "../../kernels/limits.h"

enum { MACHINE_MAX_THREADS = 1024 };

typedef struct {
    char cpu[64], host[64], kernel_release[128];
    int packages, cores, pus;              /* allowed to this process: physical cores, hardware threads */
    size_t l1d, l2, l3;                    /* bytes as hwloc reports them, per cache */
    int l3_sharing;                        /* cores sharing one L3 */
    int l2_sharing;                        /* and one L2 */
    size_t memory_total, memory_available; /* bytes; available = min(MemAvailable, cgroup's remainder) */
    double cpu_quota;                      /* cgroup CPUs, 0 = unlimited */
    cpu_isa isa, isa_allowed;
} machine_info;

/* Reads the machine once; the same pointer ever after. */
const machine_info *machine_get(void);

/* The default of --threads: OMP_NUM_THREADS where it is set, else the physical cores allowed, never more than
 * the cgroup quota rounded up; in either case no more than OMP_THREAD_LIMIT. */
int machine_default_threads(void);

/* Bytes that may be allocated now: min(MemAvailable, cgroup limit - usage), read afresh. */
size_t machine_memory_available(void);

/* A context for plans: threads, cache figures clamped to sane ranges (a VM may report 480 MB of L3), and the
 * book of strategies and the ceilings in use. SEPBENCH_CACHES=l1d=32K,l2=512K,l3=4M makes plans for a CPU of
 * such caches instead. */
conv_context machine_context(int threads);
/* The book of every context from now on; NULL: none, as at first. */
void machine_use_book(const conv_book *book);
/* The ceilings of every context of so many threads from now on, by which strategies are ranked; kept by the
 * caller. NULL: nominal ones for all, as at first. */
void machine_use_ceilings(const machine_ceilings *c);
/* NULL when SEPBENCH_CACHES is unset or valid, else what is wrong with it, in words. */
const char *machine_caches_error(void);

/* Fewer threads than asked for (OMP_THREAD_LIMIT) are no measurement of that thread count; unbound ones are one
 * with a warning. */
typedef enum { THREADS_BOUND, THREADS_UNBOUND, THREADS_FEWER } threads_state;

/* Creates the OpenMP pool with `threads` threads and binds each, from inside the worker, to one physical
 * core (thread i to the i-th core in hwloc's order; with more threads than cores none is bound). Calls
 * omp_set_num_threads(threads), which peers obey. Unless THREADS_BOUND, why[] (size bytes) says what is amiss.
 * Call before the first peer plan. */
threads_state machine_bind_threads(int threads, char *why, size_t size);
/* The same for commands that need just this many: EXIT_FINE, after a warning when they are not bound, or
 * EXIT_USAGE after one line on stderr. */
int machine_need_threads(int threads);
/* Gives the calling thread back the affinity that the process was started with: for children. */
void machine_unbind(void);
/* That affinity as text: "0-3,8". */
void machine_started_text(char *text, size_t size);
/* This process is number index (from 0) of `count` that run at once on the same cores: from now on threads are
 * bound to the index-th set of cores, of as many as there are threads, and the default of --threads is the
 * count-th part. */
void machine_use_part(int index, int count);

/* Identifies this build of the program: a hash of the executable, 16 hexadecimal digits; "unknown" when the
 * executable cannot be read. What is remembered of a build (ceilings, the choice of `best`) is keyed by it. */
const char *machine_build_id(void);

/* $XDG_CACHE_HOME/sepbench or ~/.cache/sepbench, created; false when it cannot be. */
bool machine_cache_dir(char *path, size_t size);

const char *memory_level_name(memory_level level); /* "L1" ... "DRAM" */

/* Best of several tries, a second or two in all. Remembered in machine_cache_dir per CPU, build, ISA cap and
 * thread count for a day; fresh measures again. Call machine_bind_threads first. */
machine_ceilings machine_measure_ceilings(int threads, bool fresh);
/* Those that are remembered; false: none. */
bool machine_remembered_ceilings(int threads, machine_ceilings *c);

/* {"threads", "fma_gflops", "loads", "broadcasts": {isa: figure}, "bandwidth_gbps", "read_gbps": {level:
 * figure}, "barrier_ns", "age_seconds"}. New reference. */
json_t *machine_ceilings_json(const machine_ceilings *c);
/* The other way; what is not there is 0. */
machine_ceilings machine_ceilings_of(const json_t *j);

/* Seconds of CLOCK_MONOTONIC: the clock of every figure in this program. */
double machine_now(void);

/* Everything above plus compiler, flags, versions and warnings (governor, turbo, SMT, quota, load) as the
 * "machine" object of run.json. New reference. */
json_t *machine_json(int threads, const machine_ceilings *ceilings);

/* One thing that makes measurements noisy here. */
typedef struct {
    const char *name;    /* "governor" */
    const char *problem; /* what is found */
    const char *effect;  /* what it does to figures */
    const char *remedy;  /* the command that mends it, or why nothing can */
    const char *price;   /* what the remedy costs */
} machine_finding;

/* Calls sink once per finding; the strings live for the call only. Takes about a quarter of a second. */
void machine_doctor(void (*sink)(void *ctx, const machine_finding *finding), void *ctx);

#endif
