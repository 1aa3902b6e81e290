/* Shared by the files of this folder only. */
#ifndef SEPBENCH_MACHINE_INTERNAL_H
#define SEPBENCH_MACHINE_INTERNAL_H

#include <hwloc.h>

#include "machine.h"

/* The topology and, per allowed physical core, the hardware thread that is bound to. */
typedef struct {
    hwloc_topology_t topology;
    hwloc_cpuset_t allowed; /* hardware threads this process may use */
    hwloc_cpuset_t *core;   /* [machine_get()->cores], one bit each */
    int pus_per_core;       /* hardware threads of the first allowed core, allowed or not */
} machine_map;
const machine_map *machine_topology(void);

/* The affinity this process was started with; empty when the system does not say. New bitmap. */
hwloc_cpuset_t machine_started_mask(hwloc_topology_t t);

/* How many processes share the cores (machine_use_part). */
int machine_parts(void);

/* What the cgroups above this process allow. root is "" or, in tests, a folder that stands for /. */
typedef struct {
    double cpus;          /* quota in CPUs, 0 = unlimited */
    uint64_t memory_left; /* bytes, UINT64_MAX = unlimited */
} machine_limits;
machine_limits machine_limits_read(const char *root);

/* MemTotal and MemAvailable of root/proc/meminfo in bytes; false when unreadable. */
bool machine_meminfo(const char *root, uint64_t *total, uint64_t *available);

/* First line of root + path without its newline, formatted path; false when unreadable. */
bool machine_read_line(char *line, size_t size, const char *root, const char *format, ...)
    __attribute__((format(printf, 4, 5)));

/* The first `count` numbers of that line; false when they are not there. */
bool machine_read_numbers(double *value, int count, const char *root, const char *path);

/* One plan-side cache figure from what hwloc says: see machine_context. */
conv_context machine_clamp(int threads, size_t l1d, size_t l2, size_t l3);

/* machine_doctor on a tree that stands for /, without the timed look at steal and jitter when root
 * is not "". */
void machine_doctor_at(const char *root, void (*sink)(void *ctx, const machine_finding *finding), void *ctx);

#endif
