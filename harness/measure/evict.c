/* Cold mode: the operands leave every cache before each call, line by line (clflushopt or clflush on x86, which
 * reach all cores' caches), or by reading a buffer larger than the caches where no such instruction exists. */
#include <stdint.h>
#include <stdlib.h>

#include "internal.h"

#if defined(__x86_64__)
#include <cpuid.h>
#include <immintrin.h>
#endif

enum { LINE = 64, MIB = 1 << 20 };

void evict_add(evict_list *list, const void *data, size_t bytes)
{
    if (data == NULL || bytes == 0 || list->parts == EVICT_MAX) return;
    list->part[list->parts].data = data;
    list->part[list->parts++].bytes = bytes;
}

void evict_add_operands(evict_list *list, const conv_plan *plan, const conv_args *a)
{
    const conv_sizes n = conv_problem_sizes(&plan->problem);
    const struct {
        const void *data;
        int64_t count;
    } tensors[] = {{a->src, n.src},
                   {a->weights, n.weights},
                   {a->pointwise, n.pointwise},
                   {a->bias, n.bias},
                   {a->dst, n.dst},
                   {a->diff_dst, n.dst},
                   {a->diff_src, n.src},
                   {a->diff_weights, n.weights},
                   {a->diff_pointwise, n.pointwise},
                   {a->diff_bias, n.bias}};
    for (size_t i = 0; i < sizeof tensors / sizeof *tensors; i++)
        evict_add(list, tensors[i].data, (size_t)tensors[i].count * sizeof(float));
    evict_add(list, a->packed, plan->packed_bytes);
    evict_add(list, a->workspace, plan->workspace_bytes);
    evict_add(list, a->activations, plan->activation_bytes);
    evict_add(list, a->scratch, plan->scratch_bytes);
}

#if defined(__x86_64__)
static bool can_flush(void) { return true; /* clflush is part of x86-64 */ }

static bool has_clflushopt(void)
{
    unsigned a, b, c, d;
    return __get_cpuid_count(7, 0, &a, &b, &c, &d) && (b >> 23 & 1);
}

/* clflushopt overlaps; clflush orders itself after every other and is several times slower. */
__attribute__((target("clflushopt"))) static void flush_overlapping(const char *first, const char *end)
{
    for (const char *line = first; line < end; line += LINE) _mm_clflushopt((void *)(uintptr_t)line);
    _mm_mfence();
}

static void flush_ordered(const char *first, const char *end)
{
    for (const char *line = first; line < end; line += LINE) _mm_clflush(line);
    _mm_mfence();
}

static void flush(const char *data, size_t bytes, int threads)
{
    void (*const lines)(const char *, const char *) = has_clflushopt() ? flush_overlapping : flush_ordered;
    const char *base = (const char *)((uintptr_t)data / LINE * LINE);
    int64_t blocks = (int64_t)((size_t)(data + bytes - base) / MIB);
#pragma omp parallel for schedule(static) num_threads(threads) if (blocks > 0)
    for (int64_t b = 0; b <= blocks; b++)
        lines(base + b * MIB, b < blocks ? base + (b + 1) * MIB : data + bytes);
}
#else
static bool can_flush(void) { return false; }
static void flush(const char *data, size_t bytes, int threads) { (void)data, (void)bytes, (void)threads; }
#endif

/* Twice the caches plans believe in. A virtual machine's L3 may be the host's and too large to sweep: what is
 * left there is the neighbours' business as much as ours. */
static size_t sweep_size(int threads)
{
    conv_context c = machine_context(threads);
    return 2 * (size_t)threads * (c.l2 + c.l3);
}

bool evict_prepare(evict_list *list, int threads)
{
    if (can_flush()) return true;
    list->sweep_bytes = sweep_size(threads);
    list->sweep = buffer_alloc(list->sweep_bytes);
    return list->sweep != NULL;
}

/* Each thread writes a part, so that its own L2 and its share of L3 fill with it. */
static void sweep(char *buffer, size_t bytes, int threads)
{
#pragma omp parallel for schedule(static) num_threads(threads)
    for (size_t i = 0; i < bytes; i += LINE) ((volatile char *)buffer)[i]++;
}

void evict_now(const evict_list *list, int threads)
{
    if (list->sweep != NULL) sweep(list->sweep, list->sweep_bytes, threads);
    for (int i = 0; i < list->parts; i++) flush(list->part[i].data, list->part[i].bytes, threads);
}

void evict_release(evict_list *list) { buffer_free(list->sweep); }
