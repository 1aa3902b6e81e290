/* What the machine is: CPU, cores, caches. hwloc says; what it says of a virtual machine is clamped. */
#include <omp.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/utsname.h>
#include <time.h>
#include <unistd.h>

#include "internal.h"

static machine_info info;
static machine_map map;

double machine_now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static int cores_in(hwloc_topology_t t, hwloc_const_cpuset_t set)
{
    int cores = hwloc_get_nbobjs_inside_cpuset_by_type(t, set, HWLOC_OBJ_CORE);
    return cores > 0 ? cores : hwloc_get_nbobjs_inside_cpuset_by_type(t, set, HWLOC_OBJ_PU);
}

/* The cache of that kind above a core, and how many cores share it (the machine's, allowed or not). */
static size_t cache_size(hwloc_obj_t core, hwloc_obj_type_t type, int *sharing)
{
    hwloc_obj_t o = core;
    while (o != NULL && o->type != type) o = o->parent;
    *sharing = 1;
    if (o == NULL) return 0;
    int cores = cores_in(map.topology, o->cpuset);
    if (cores > 1) *sharing = cores;
    return o->attr->cache.size;
}

/* Hardware threads that the cgroup, the kernel and the caller's own affinity (taskset) leave. */
static hwloc_cpuset_t allowed_pus(hwloc_topology_t t)
{
    hwloc_cpuset_t allowed = hwloc_bitmap_dup(hwloc_topology_get_allowed_cpuset(t));
    hwloc_cpuset_t own = machine_started_mask(t);
    if (hwloc_bitmap_intersects(own, allowed)) hwloc_bitmap_and(allowed, allowed, own);
    hwloc_bitmap_free(own);
    return allowed;
}

static void read_cores(void)
{
    hwloc_obj_type_t type =
        hwloc_get_nbobjs_by_type(map.topology, HWLOC_OBJ_CORE) > 0 ? HWLOC_OBJ_CORE : HWLOC_OBJ_PU;
    int total = hwloc_get_nbobjs_by_type(map.topology, type);
    map.core = calloc((size_t)(total > 0 ? total : 1), sizeof(hwloc_cpuset_t));
    if (map.core == NULL) return;
    hwloc_obj_t first = NULL;
    for (hwloc_obj_t c = NULL; (c = hwloc_get_next_obj_by_type(map.topology, type, c)) != NULL;) {
        hwloc_cpuset_t set = hwloc_bitmap_dup(c->cpuset);
        hwloc_bitmap_and(set, set, map.allowed);
        if (hwloc_bitmap_iszero(set)) {
            hwloc_bitmap_free(set);
            continue;
        }
        hwloc_bitmap_singlify(set);
        map.core[info.cores++] = set;
        if (first == NULL) first = c;
    }
    if (first == NULL) return;
    int l1_sharing, l2_sharing;
    map.pus_per_core = hwloc_get_nbobjs_inside_cpuset_by_type(map.topology, first->cpuset, HWLOC_OBJ_PU);
    info.l1d = cache_size(first, HWLOC_OBJ_L1CACHE, &l1_sharing);
    info.l2 = cache_size(first, HWLOC_OBJ_L2CACHE, &l2_sharing);
    info.l2_sharing = l2_sharing;
    info.l3 = cache_size(first, HWLOC_OBJ_L3CACHE, &info.l3_sharing);
}

static void read_machine(void)
{
    struct utsname u;
    snprintf(info.cpu, sizeof info.cpu, "%s", cpu_model());
    for (size_t n = strlen(info.cpu); n > 0 && info.cpu[n - 1] == ' ';) info.cpu[--n] = '\0';
    if (uname(&u) == 0) {
        snprintf(info.host, sizeof info.host, "%.63s", u.nodename);
        snprintf(info.kernel_release, sizeof info.kernel_release, "%s %.60s", u.sysname, u.release);
    }
    info.isa = cpu_detect();
    info.isa_allowed = cpu_allowed();
    info.l3_sharing = info.l2_sharing = 1;
    if (hwloc_topology_init(&map.topology) == 0 &&
        hwloc_topology_set_flags(map.topology, HWLOC_TOPOLOGY_FLAG_INCLUDE_DISALLOWED) == 0 &&
        hwloc_topology_load(map.topology) == 0) {
        map.allowed = allowed_pus(map.topology);
        info.packages = hwloc_get_nbobjs_by_type(map.topology, HWLOC_OBJ_PACKAGE);
        info.pus = hwloc_bitmap_weight(map.allowed);
        read_cores();
    }
    if (info.cores == 0) info.cores = info.pus = (int)sysconf(_SC_NPROCESSORS_ONLN); /* hwloc failed */
    if (info.packages < 1) info.packages = 1;
    uint64_t total = 0, available = 0;
    machine_meminfo("", &total, &available);
    info.memory_total = total;
    info.memory_available = machine_memory_available();
    info.cpu_quota = machine_limits_read("").cpus;
}

const machine_info *machine_get(void)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, read_machine);
    return &info;
}

const machine_map *machine_topology(void)
{
    machine_get();
    return &map;
}

int machine_default_threads(void)
{
    const machine_info *m = machine_get();
    const char *wish = getenv("OMP_NUM_THREADS");
    long wanted = wish != NULL ? strtol(wish, NULL, 10) : 0; /* of a list, the outermost level's */
    int quota = (int)m->cpu_quota + (m->cpu_quota > (int)m->cpu_quota);
    int threads = (quota > 0 && quota < m->cores ? quota : m->cores) / machine_parts();
    if (wanted > 0) threads = wanted < MACHINE_MAX_THREADS ? (int)wanted : MACHINE_MAX_THREADS;
    if (threads > omp_get_thread_limit()) threads = omp_get_thread_limit();
    if (threads < 1) threads = 1;
    return threads < MACHINE_MAX_THREADS ? threads : MACHINE_MAX_THREADS;
}

static size_t clamp(size_t value, size_t unknown, size_t least, size_t most)
{
    if (value == 0) return unknown;
    return value < least ? least : value > most ? most : value;
}

/* A plan sizes its blocks by these, so a figure that is too large costs more than one that is too small. A
 * virtual machine shows the host's whole L3 (480 MB for two cores here), which it shares with neighbours
 * nobody counts: no common CPU has more than 4 MiB of plain L3 per core, so no plan believes more. L1 and L2
 * are private and usually told right; their clamps only catch nonsense. */
conv_context machine_clamp(int threads, size_t l1d, size_t l2, size_t l3)
{
    enum { KIB = 1024, MIB = 1024 * KIB };
    return (conv_context){.threads = threads,
                          .l1d = clamp(l1d, 32 * KIB, 16 * KIB, 192 * KIB),
                          .l2 = clamp(l2, 512 * KIB, 128 * KIB, 4 * MIB),
                          .l3 = clamp(l3, 0, 0, 4 * MIB)};
}

/* ---- SEPBENCH_CACHES */

/* "32K" in bytes; 0: none. *end: what follows. */
static size_t size_in_words(const char *text, const char **end)
{
    char *after;
    double value = strtod(text, &after);
    double unit = *after == 'K' ? 1 << 10 : *after == 'M' ? 1 << 20 : 0;
    *end = after + (unit > 0);
    return after == text || !(value > 0 && value * unit <= 1e9) ? 0 : (size_t)(value * unit);
}

/* Sets what the text names; NULL, or what is wrong in words. */
static const char *read_caches(const char *text, size_t *l1d, size_t *l2, size_t *l3)
{
    static const char *const names[] = {"l1d=", "l2=", "l3="};
    size_t *const sizes[] = {l1d, l2, l3};
    while (*text != '\0') {
        int i = 0;
        while (i < 3 && strncmp(text, names[i], strlen(names[i])) != 0) i++;
        if (i == 3) return "names other than l1d, l2 and l3";
        *sizes[i] = size_in_words(text + strlen(names[i]), &text);
        if (*sizes[i] == 0 || (*text != ',' && *text != '\0'))
            return "a size must be as 32K or 1.5M, at most 1e9 bytes";
        text += *text == ',';
    }
    return NULL;
}

const char *machine_caches_error(void)
{
    const char *text = getenv("SEPBENCH_CACHES");
    size_t l1d, l2, l3;
    return text == NULL ? NULL : read_caches(text, &l1d, &l2, &l3);
}

/* ---- contexts */

static const conv_book *known_book;
void machine_use_book(const conv_book *book) { known_book = book; }

enum { MOST_CEILINGS = 64 };
static const machine_ceilings *known_ceilings[MOST_CEILINGS];
static int ceilings_known;

void machine_use_ceilings(const machine_ceilings *c)
{
    if (c == NULL) ceilings_known = 0;
    if (c != NULL && ceilings_known < MOST_CEILINGS) known_ceilings[ceilings_known++] = c;
}

conv_context machine_context(int threads)
{
    const machine_info *m = machine_get();
    const char *other = getenv("SEPBENCH_CACHES");
    size_t l1d = m->l1d, l2 = m->l2 / (size_t)m->l2_sharing, l3 = m->l3 / (size_t)m->l3_sharing;
    if (other != NULL) read_caches(other, &l1d, &l2, &l3);
    conv_context c = machine_clamp(threads, l1d, l2, l3);
    c.book = known_book;
    for (int i = 0; i < ceilings_known; i++)
        if (known_ceilings[i]->threads == threads) c.ceilings = known_ceilings[i];
    return c;
}
