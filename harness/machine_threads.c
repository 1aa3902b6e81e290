/* Threads: the OpenMP pool, each worker bound from inside to a physical core of its own. */
#include <omp.h>
#include <stdio.h>

#include "machine_internal.h"

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
bool machine_bind_threads(int threads, char *why, size_t size)
{
    const machine_info *m = machine_get();
    const machine_map *map = machine_topology();
    int failed = 0, team = 0;
    why[0] = '\0';
    omp_set_dynamic(0);
    omp_set_num_threads(threads);
    if (map->core == NULL) {
        snprintf(why, size, "hwloc cannot read this machine's topology: threads are not bound");
        return false;
    }
    bool one_each = threads <= m->cores;
#pragma omp parallel num_threads(threads) reduction(+ : failed, team)
    {
        team += 1;
        failed += !bind_self(map->topology, one_each ? map->core[omp_get_thread_num()] : map->allowed);
    }
    if (team != threads)
        snprintf(why, size, "OpenMP started %d of %d threads", team, threads);
    else if (failed > 0)
        snprintf(why, size, "%d of %d threads could not be bound to a core", failed, threads);
    else if (!one_each)
        snprintf(why, size, "%d threads on %d physical cores: none is bound", threads, m->cores);
    return why[0] == '\0';
}
