/* Threads: the OpenMP pool, each worker bound from inside to a physical core of its own. */
#include <hwloc/glibc-sched.h>
#include <omp.h>
#include <sched.h>
#include <stdio.h>

#include "../cli.h"
#include "internal.h"

/* ---- the affinity this process was started with */

/* A bit per hardware thread; the kernel refuses a buffer with fewer than the machine could have. */
static unsigned long started_with[8192 / (8 * sizeof(unsigned long))];

static void read_started_mask(void) { sched_getaffinity(0, sizeof started_with, (cpu_set_t *)started_with); }

/* With OMP_PROC_BIND, OMP_PLACES or GOMP_CPU_AFFINITY libgomp moves this thread to one core while it is loaded:
 * only what stands in .preinit_array runs before the start of the libraries. */
__attribute__((section(".preinit_array"),
               used)) static void (*const before_libraries)(void) = read_started_mask;

hwloc_cpuset_t machine_started_mask(hwloc_topology_t t)
{
    hwloc_cpuset_t set = hwloc_bitmap_alloc();
    hwloc_cpuset_from_glibc_sched_affinity(t, set, (cpu_set_t *)started_with, sizeof started_with);
    return set;
}

void machine_started_text(char *text, size_t size)
{
    hwloc_cpuset_t set = machine_started_mask(machine_topology()->topology);
    hwloc_bitmap_list_snprintf(text, size, set);
    hwloc_bitmap_free(set);
}

void machine_unbind(void) { sched_setaffinity(0, sizeof started_with, (cpu_set_t *)started_with); }

/* ---- the pool */

static int part_index, part_count = 1;

void machine_use_part(int index, int count)
{
    part_index = index;
    part_count = count;
}

int machine_parts(void) { return part_count; }

/* Binds the calling thread and reads the affinity back: some containers accept the call and ignore it. */
static bool bind_self(hwloc_topology_t t, hwloc_const_cpuset_t set)
{
    hwloc_cpuset_t got = hwloc_bitmap_alloc();
    bool bound = hwloc_set_cpubind(t, set, HWLOC_CPUBIND_THREAD) == 0 &&
                 hwloc_get_cpubind(t, got, HWLOC_CPUBIND_THREAD) == 0 && hwloc_bitmap_isequal(set, got);
    hwloc_bitmap_free(got);
    return bound;
}

/* Binding the main thread alone, before a pool exists, would be inherited by every worker made later and put
 * them all on one core: so the pool comes first and each worker binds itself. With more threads than cores
 * every thread gets the whole allowed set back, also one that an earlier call bound. */
threads_state machine_bind_threads(int threads, char *why, size_t size)
{
    const machine_info *m = machine_get();
    const machine_map *map = machine_topology();
    int failed = 0, team = 0;
    why[0] = '\0';
    omp_set_dynamic(0);
    omp_set_num_threads(threads);
    if (map->core == NULL) {
        snprintf(why, size, "hwloc cannot read this machine's topology: threads are not bound");
        return THREADS_UNBOUND;
    }
    bool one_each = threads <= m->cores / part_count;
    int first = part_index * threads;
#pragma omp parallel num_threads(threads) reduction(+ : failed, team)
    {
        team += 1;
        failed += !bind_self(map->topology, one_each ? map->core[first + omp_get_thread_num()] : map->allowed);
    }
    if (team != threads) {
        snprintf(why, size, "OpenMP started %d of %d threads%s", team, threads,
                 omp_get_thread_limit() < threads ? ": OMP_THREAD_LIMIT allows no more" : "");
        return THREADS_FEWER;
    }
    if (failed > 0)
        snprintf(why, size, "%d of %d threads could not be bound to a core", failed, threads);
    else if (!one_each)
        snprintf(why, size, "%d threads on %d physical cores: none is bound", part_count * threads, m->cores);
    return why[0] == '\0' ? THREADS_BOUND : THREADS_UNBOUND;
}

int machine_need_threads(int threads)
{
    char why[256];
    threads_state state = machine_bind_threads(threads, why, sizeof why);
    if (state == THREADS_FEWER) return cli_error("--threads %d: %s", threads, why);
    if (state == THREADS_UNBOUND) cli_warning("%s", why);
    return EXIT_FINE;
}
