/* Measured ceilings: what all threads together compute and move at most, by the kernels of kernels/peak. The
 * best of many short tries counts, because noise only ever takes away. */
#include <errno.h>
#include <math.h>
#include <omp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "../../kernels/isa.h"
#include "../../kernels/peak/peak.h"
#include "../cli.h"
#include "../output.h"
#include "internal.h"

ISA_DECLARE(const peak_kernels, peak_table)
static const peak_kernels *const kernels[CPU_ISA_COUNT] = ISA_COPIES(peak_table);

static const char *const level_names[LEVEL_COUNT] = {"L1", "L2", "L3", "DRAM"};

const char *memory_level_name(memory_level level) { return level_names[level]; }

enum { TRIES = 20, DRAM_TRIES = 5, MIB = 1 << 20 };
static const double TRY_SECONDS = 0.002, DAY = 86400;

/* ---- measuring */

static double fma_peak(const peak_kernels *k, int threads)
{
    float sink = 1.5f;
    double start = machine_now();
    k->fma(2000, &sink);
    int64_t rounds = 1 + (int64_t)(2000 * TRY_SECONDS / (machine_now() - start));
    double best = 0;
    for (int t = 0; t < TRIES; t++) {
        double flops = 0, begin = 0, seconds = INFINITY;
#pragma omp parallel num_threads(threads) reduction(+ : flops)
        {
            float own = 1.5f;
#pragma omp barrier
#pragma omp master
            begin = machine_now();
            flops += k->fma(rounds, &own);
#pragma omp barrier
#pragma omp master
            seconds = machine_now() - begin;
        }
        best = fmax(best, 1e-9 * flops / seconds);
    }
    return best;
}

/* Triad over three arrays of `floats` elements per thread, which each thread allocates and touches itself.
 * Bytes counted are the three arrays once, as STREAM does: a store's read for ownership is not. */
static double triad_bandwidth(const peak_kernels *k, int threads, size_t floats, int64_t repeats, int tries)
{
    /* Odd lines between the arrays: equal low address bits would make loads wait for unrelated stores. */
    const size_t stride = floats + 272,
                 bytes = (3 * stride * sizeof(float) + 2 * MIB - 1) / (2 * MIB) * (2 * MIB);
    double best = 0;
    int failed = 0;
    double *seconds = calloc((size_t)tries, sizeof *seconds);
    if (seconds == NULL) return 0;
#pragma omp parallel num_threads(threads) reduction(+ : failed)
    {
        double begin = 0;
        float *base = aligned_alloc(2 * MIB, bytes), *a = base, *b = base + stride, *c = base + 2 * stride;
        failed += base == NULL;
        if (base != NULL) {
            madvise(base, bytes, MADV_HUGEPAGE);
            for (size_t i = 0; i < 3 * stride; i++) base[i] = 1.0f;
        }
        for (int t = 0; t < tries; t++) {
#pragma omp barrier
#pragma omp master
            begin = machine_now();
            if (base != NULL) k->triad(a, b, c, 0.5f, floats, repeats);
#pragma omp barrier
#pragma omp master
            seconds[t] = machine_now() - begin;
        }
        free(base);
    }
    double moved = 3.0 * sizeof(float) * (double)floats * (double)repeats * threads;
    for (int t = 0; t < tries && failed == 0; t++) best = fmax(best, 1e-9 * moved / seconds[t]);
    free(seconds);
    return best;
}

/* Bytes per thread that live in a level: half of L1 or L2; for L3 more than L2 holds but no more than the
 * core's share adds to it; DRAM takes over 1 GB in all, or a quarter of what is free, if that still dwarfs the
 * caches. */
static size_t level_bytes(memory_level level, int threads)
{
    const machine_info *m = machine_get();
    conv_context c = machine_context(threads);
    size_t quarter = machine_memory_available() / 4, wanted = (size_t)1152 * MIB;
    switch (level) {
    case LEVEL_L1: return c.l1d / 2;
    case LEVEL_L2: return c.l2 / 2;
    case LEVEL_L3: {
        size_t share = m->l3 / (size_t)m->l3_sharing; /* unclamped: larger does no harm here */
        return share == 0 ? 0 : 2 * c.l2 < c.l2 + share / 2 ? 2 * c.l2 : c.l2 + share / 2;
    }
    default:
        if (quarter < wanted) wanted = quarter;
        return wanted >= 4 * (size_t)threads * (c.l2 + c.l3) ? wanted / (size_t)threads : 0;
    }
}

static double bandwidth(const peak_kernels *k, memory_level level, int threads)
{
    size_t floats = level_bytes(level, threads) / 3 / sizeof(float) / 64 * 64;
    if (floats == 0) return 0;
    if (level == LEVEL_DRAM) return triad_bandwidth(k, threads, floats, 1, DRAM_TRIES);
    double guess = 1e9 * triad_bandwidth(k, threads, floats, 1, 3); /* bytes per second */
    double per_repeat = 3.0 * sizeof(float) * (double)floats * threads / guess;
    return triad_bandwidth(k, threads, floats, 1 + (int64_t)(TRY_SECONDS / per_repeat), TRIES);
}

/* Returns the widest kernels measured. */
static const peak_kernels *measure_fma(machine_ceilings *c)
{
    const peak_kernels *widest = NULL;
    for (int isa = 0; isa < CPU_ISA_COUNT && isa <= (int)machine_get()->isa_allowed; isa++)
        if (kernels[isa] != NULL) {
            widest = kernels[isa];
            c->fma_gflops[isa] = fmax(c->fma_gflops[isa], fma_peak(widest, c->threads));
        }
    return widest;
}

/* The peak before and after the rest, a second or more apart: a neighbour that takes a core for a moment would
 * halve it for everything measured against it. */
static machine_ceilings measure_now(int threads)
{
    machine_ceilings c = {.threads = threads};
    const peak_kernels *widest = measure_fma(&c);
    for (int level = 0; level < LEVEL_COUNT && widest != NULL; level++)
        c.bandwidth_gbps[level] = bandwidth(widest, (memory_level)level, threads);
    measure_fma(&c);
    return c;
}

/* ---- remembering */

const char *machine_build_id(void)
{
    static char id[24];
    if (id[0] != '\0') return id;
    uint64_t hash = 0xcbf29ce484222325u; /* FNV-1a */
    FILE *f = fopen("/proc/self/exe", "rb");
    unsigned char block[1 << 16];
    size_t total = 0;
    for (size_t n; f != NULL && (n = fread(block, 1, sizeof block, f)) > 0; total += n)
        for (size_t i = 0; i < n; i++) hash = (hash ^ block[i]) * 0x100000001b3u;
    if (f != NULL) fclose(f);
    if (total > 0)
        snprintf(id, sizeof id, "%016llx", (unsigned long long)hash);
    else
        snprintf(id, sizeof id, "unknown");
    return id;
}

bool machine_cache_dir(char *path, size_t size)
{
    const char *xdg = getenv("XDG_CACHE_HOME"), *home = getenv("HOME");
    int n = -1;
    if (xdg != NULL && xdg[0] == '/') /* the specification: relative paths are invalid */
        n = snprintf(path, size, "%s/sepbench", xdg);
    else if (home != NULL && home[0] == '/')
        n = snprintf(path, size, "%s/.cache/sepbench", home);
    return n > 0 && (size_t)n < size && cli_make_path(path);
}

/* One file per ISA cap and thread count, overwritten by newer builds, so that the folder does not grow. */
static bool ceilings_file(int threads, char *path, size_t size)
{
    char dir[4096];
    return machine_cache_dir(dir, sizeof dir) &&
           (size_t)snprintf(path, size, "%s/ceilings-%s-t%d.json", dir,
                            cpu_isa_name(machine_get()->isa_allowed), threads) < size;
}

/* What must be the same for a remembered figure to be true. */
static json_t *ceilings_key(int threads)
{
    const machine_info *m = machine_get();
    return json_pack("{s:s, s:s, s:s, s:i, s:i, s:s}", "build", machine_build_id(), "cpu", m->cpu, "host",
                     m->host, "cores", m->cores, "threads", threads, "isa", cpu_isa_name(m->isa_allowed));
}

static bool ceilings_load(int threads, machine_ceilings *c)
{
    char path[4200];
    if (!ceilings_file(threads, path, sizeof path)) return false;
    json_t *file = json_load_file(path, 0, NULL), *key = ceilings_key(threads);
    json_t *fma = json_object_get(file, "fma_gflops"), *gbps = json_object_get(file, "bandwidth_gbps");
    double age = (double)time(NULL) - json_number_value(json_object_get(file, "measured"));
    bool good = json_equal(key, json_object_get(file, "key")) && age >= 0 && age < DAY;
    *c = (machine_ceilings){.threads = threads, .age_seconds = age > 0 ? age : 1e-3};
    for (int i = 0; i < CPU_ISA_COUNT; i++)
        c->fma_gflops[i] = json_number_value(json_object_get(fma, cpu_isa_name((cpu_isa)i)));
    for (int l = 0; l < LEVEL_COUNT; l++)
        c->bandwidth_gbps[l] = json_number_value(json_object_get(gbps, level_names[l]));
    json_decref(file);
    json_decref(key);
    return good && c->fma_gflops[CPU_BASE] > 0;
}

/* Failure costs the next run a second, no more. */
static void ceilings_save(const machine_ceilings *c)
{
    char path[4200];
    if (strcmp(machine_build_id(), "unknown") == 0 || !ceilings_file(c->threads, path, sizeof path)) return;
    json_t *fma = json_object(), *gbps = json_object();
    for (int i = 0; i < CPU_ISA_COUNT; i++)
        json_object_set_new(fma, cpu_isa_name((cpu_isa)i), json_real(c->fma_gflops[i]));
    for (int l = 0; l < LEVEL_COUNT; l++)
        json_object_set_new(gbps, level_names[l], json_real(c->bandwidth_gbps[l]));
    json_t *file = json_pack("{s:o, s:I, s:o, s:o}", "key", ceilings_key(c->threads), "measured",
                             (json_int_t)time(NULL), "fma_gflops", fma, "bandwidth_gbps", gbps);
    output_json(path, file, JSON_INDENT(2), NULL);
    json_decref(file);
}

machine_ceilings machine_measure_ceilings(int threads, bool fresh)
{
    machine_ceilings c;
    if (!fresh && ceilings_load(threads, &c)) return c;
    c = measure_now(threads);
    ceilings_save(&c);
    return c;
}
