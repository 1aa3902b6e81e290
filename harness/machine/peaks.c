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

enum { TRIES = 32, DRAM_TRIES = 2, DRAM_PIECES = 64, MIB = 1 << 20 };
/* A try is short: where others work on the cores too, all threads have theirs for moments only. */
static const double TRY_SECONDS = 0.0005, DAY = 86400;

/* ---- measuring */

/* The sum of what each thread reached at best: cores share nothing here, and need not have been left alone all
 * at once. More threads than cores reach no more than the cores. */
static double of_all(double sum, int threads) { return sum * fmin(1, (double)machine_get()->cores / threads); }

static double fma_peak(const peak_kernels *k, int threads)
{
    float sink = 1.5f;
    double start = machine_now(), sum = 0;
    k->fma(2000, &sink);
    int64_t rounds = 1 + (int64_t)(2000 * TRY_SECONDS / (machine_now() - start));
#pragma omp parallel num_threads(threads) reduction(+ : sum)
    {
        double best = 0;
        for (int t = 0; t < TRIES; t++) {
            float own = 1.5f;
#pragma omp barrier
            double begin = machine_now(), flops = k->fma(rounds, &own);
            best = fmax(best, 1e-9 * flops / (machine_now() - begin));
        }
        sum += best;
    }
    return of_all(sum, threads);
}

typedef struct {
    double triad, read; /* GB/s */
} bandwidths;

/* How a level is walked: arrays of `floats` elements per thread, each of their pieces timed by itself. */
typedef struct {
    size_t floats;
    int pieces;
    int64_t repeats; /* of a piece in one try */
    int tries;
} level_walk;

/* When the first thread began: one that is kept from its core may begin when others are done, and leave the
 * memory to them. */
static double earliest(const double *begin, int threads)
{
    double first = begin[0];
    for (int i = 1; i < threads; i++) first = fmin(first, begin[i]);
    return first;
}

/* Triad over three arrays per thread, which each thread allocates and touches itself, and reading the same
 * memory. Bytes counted are the three arrays once, as STREAM does: a store's read for ownership is not. */
static bandwidths measure_bandwidths(const peak_kernels *k, int threads, const level_walk *w)
{
    /* Odd lines between the arrays: equal low address bits would make loads wait for unrelated stores. */
    const size_t stride = w->floats + 272, pieces = (size_t)w->pieces,
                 triad_floats = w->floats / pieces / 64 * 64, read_floats = 3 * stride / pieces / 256 * 256,
                 bytes = (3 * stride * sizeof(float) + 2 * MIB - 1) / (2 * MIB) * (2 * MIB);
    int failed = 0;
    double least[2] = {INFINITY, INFINITY}; /* of the triad, of reading */
    double begin[MACHINE_MAX_THREADS];
#pragma omp parallel num_threads(threads) reduction(+ : failed)
    {
        float *base = aligned_alloc(2 * MIB, bytes);
        failed += base == NULL;
        if (base != NULL) {
            madvise(base, bytes, MADV_HUGEPAGE);
            for (size_t i = 0; i < 3 * stride; i++) base[i] = 1.0f;
        }
        for (int t = 0; t < 2 * w->tries * w->pieces; t++) {
            const int reads = t / w->pieces % 2;
            const size_t piece = (size_t)(t % w->pieces);
            float *a = base + piece * triad_floats;
#pragma omp barrier
            begin[omp_get_thread_num()] = machine_now();
            if (base != NULL && reads) k->load(base + piece * read_floats, read_floats, w->repeats);
            if (base != NULL && !reads) k->triad(a, a + stride, a + 2 * stride, 0.5f, triad_floats, w->repeats);
#pragma omp barrier
#pragma omp master
            least[reads] = fmin(least[reads], machine_now() - earliest(begin, threads));
        }
        free(base);
    }
    if (failed > 0) return (bandwidths){0, 0};
    double each = 1e-9 * sizeof(float) * (double)w->repeats * threads;
    return (bandwidths){3 * each * (double)triad_floats / least[0], each * (double)read_floats / least[1]};
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

static bandwidths bandwidth(const peak_kernels *k, memory_level level, int threads)
{
    size_t floats = level_bytes(level, threads) / 3 / sizeof(float) / 64 * 64;
    if (floats == 0) return (bandwidths){0, 0};
    if (level == LEVEL_DRAM)
        return measure_bandwidths(k, threads, &(level_walk){floats, DRAM_PIECES, 1, DRAM_TRIES});
    level_walk w = {floats, 1, 1, 3};
    double guess = 1e9 * measure_bandwidths(k, threads, &w).triad; /* bytes per second */
    double per_repeat = 3.0 * sizeof(float) * (double)floats * threads / guess;
    w.repeats += (int64_t)(TRY_SECONDS / per_repeat);
    w.tries = TRIES;
    return measure_bandwidths(k, threads, &w);
}

/* Load instructions of all threads, 1e9 a second: whole vectors, or one float into all lanes. */
static double load_rate(double (*load)(const float *p, size_t n, int64_t repeats), int threads)
{
    enum { FLOATS = 2048, LOADS = 1000000 }; /* of a try, a fraction of a millisecond */
    double sum = 0;
#pragma omp parallel num_threads(threads) reduction(+ : sum)
    {
        _Alignas(64) float data[FLOATS];
        for (int i = 0; i < FLOATS; i++) data[i] = 1.0f;
        int64_t repeats = (int64_t)(LOADS / load(data, FLOATS, 1));
        double best = 0;
        for (int t = 0; t < TRIES; t++) {
#pragma omp barrier
            double begin = machine_now(), loads = load(data, FLOATS, repeats);
            best = fmax(best, 1e-9 * loads / (machine_now() - begin));
        }
        sum += best;
    }
    return of_all(sum, threads);
}

/* Of barriers that follow one another, the quickest run: what a call's barriers cost at least. */
static double barrier_cost(int threads)
{
    enum { BARRIERS = 40, RUNS = 500 };
    static const double longest = 0.05; /* seconds of all runs */
    if (threads == 1) return 0;
    double least = INFINITY, until = machine_now() + longest;
    for (int run = 0; run < RUNS && (run == 0 || machine_now() < until); run++) {
        double begin = 0, seconds = INFINITY;
#pragma omp parallel num_threads(threads)
        {
#pragma omp barrier
#pragma omp master
            begin = machine_now();
            for (int i = 0; i < BARRIERS; i++) {
#pragma omp barrier
            }
#pragma omp master
            seconds = machine_now() - begin;
        }
        least = fmin(least, 1e9 * seconds / BARRIERS);
    }
    return least;
}

/* Returns the widest kernels measured. */
static const peak_kernels *measure_core(machine_ceilings *c)
{
    const peak_kernels *widest = NULL;
    for (int isa = 0; isa < CPU_ISA_COUNT && isa <= (int)machine_get()->isa_allowed; isa++)
        if (kernels[isa] != NULL) {
            widest = kernels[isa];
            c->fma_gflops[isa] = fmax(c->fma_gflops[isa], fma_peak(widest, c->threads));
            c->loads[isa] = fmax(c->loads[isa], load_rate(widest->load, c->threads));
            c->broadcasts[isa] = fmax(c->broadcasts[isa], load_rate(widest->broadcast, c->threads));
        }
    return widest;
}

static void measure_level(machine_ceilings *c, const peak_kernels *k, memory_level level)
{
    bandwidths b = bandwidth(k, level, c->threads);
    c->bandwidth_gbps[level] = fmax(c->bandwidth_gbps[level], b.triad);
    c->read_gbps[level] = fmax(c->read_gbps[level], b.read);
}

/* All but memory once before it and once after, half a second or more apart: a neighbour that takes a core for
 * a moment would halve a ceiling for everything measured against it. */
static machine_ceilings measure_now(int threads)
{
    machine_ceilings c = {.threads = threads, .barrier_ns = barrier_cost(threads)};
    for (int again = 0; again < 2; again++) {
        const peak_kernels *widest = measure_core(&c);
        for (int level = 0; level < LEVEL_DRAM && widest != NULL; level++)
            measure_level(&c, widest, (memory_level)level);
        if (again == 0 && widest != NULL) measure_level(&c, widest, LEVEL_DRAM);
    }
    if (threads > 1) c.barrier_ns = fmin(c.barrier_ns, barrier_cost(threads));
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

bool machine_remembered_ceilings(int threads, machine_ceilings *c)
{
    char path[4200];
    if (!ceilings_file(threads, path, sizeof path)) return false;
    json_t *file = json_load_file(path, 0, NULL), *key = ceilings_key(threads);
    double age = (double)time(NULL) - json_number_value(json_object_get(file, "measured"));
    bool good = json_equal(key, json_object_get(file, "key")) && age >= 0 && age < DAY;
    *c = machine_ceilings_of(json_object_get(file, "ceilings"));
    c->age_seconds = age > 0 ? age : 1e-3;
    json_decref(file);
    json_decref(key);
    return good && c->threads == threads && c->fma_gflops[CPU_BASE] > 0;
}

/* Failure costs the next run a second, no more. */
static void ceilings_save(const machine_ceilings *c)
{
    char path[4200];
    if (strcmp(machine_build_id(), "unknown") == 0 || !ceilings_file(c->threads, path, sizeof path)) return;
    json_t *file = json_pack("{s:o, s:I, s:o}", "key", ceilings_key(c->threads), "measured",
                             (json_int_t)time(NULL), "ceilings", machine_ceilings_json(c));
    output_json(path, OUTPUT_OWN, file, JSON_INDENT(2), NULL);
    json_decref(file);
}

machine_ceilings machine_measure_ceilings(int threads, bool fresh)
{
    machine_ceilings c;
    if (!fresh && machine_remembered_ceilings(threads, &c)) return c;
    c = measure_now(threads);
    ceilings_save(&c);
    return c;
}
