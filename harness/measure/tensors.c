/* Buffers: one block holds [header 64][guard 64][data, 64-byte aligned][guard 64 or more]. Blocks of 4 MB and
 * more are fresh anonymous memory, aligned to huge pages, so that who touches them first decides their node.
 * With AddressSanitizer the guards are poisoned: then a read of them is caught at once, too. */
#include "tensors.h"

#include <Random123/philox.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "../machine/machine.h"

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/asan_interface.h>
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#include <sanitizer/asan_interface.h>
#endif
#endif
#ifndef ASAN_POISON_MEMORY_REGION
#define ASAN_POISON_MEMORY_REGION(address, size) ((void)(address), (void)(size))
#define ASAN_UNPOISON_MEMORY_REGION(address, size) ((void)(address), (void)(size))
#endif

/* ---- buffers */

enum { LINE = 64, HUGE_PAGE = 2 << 20, LARGE = 4 << 20, GUARD_BYTE = 0xA5 };
static const uint64_t header_mark = UINT64_C(0x7365706275666672);

typedef struct {
    uint64_t mark;
    size_t bytes, total;
    bool mapped;
} header;

_Static_assert(sizeof(header) <= LINE, "the header must fit its line");

static header *header_of(const void *buffer) { return (header *)((char *)(uintptr_t)buffer - 2 * LINE); }

static size_t tail_of(const header *h) { return h->total - 2 * LINE - h->bytes; }

static size_t round_up(size_t value, size_t to) { return (value + to - 1) / to * to; }

/* Fresh pages aligned to huge ones; the unaligned ends of a larger mapping are given back. */
static void *map_large(size_t total)
{
    size_t mapped = total + HUGE_PAGE;
    char *raw = mmap(NULL, mapped, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (raw == MAP_FAILED) return NULL;
    char *base = (char *)round_up((uintptr_t)raw, HUGE_PAGE);
    if (base > raw) munmap(raw, (size_t)(base - raw));
    size_t behind = (size_t)(raw + mapped - (base + total));
    if (behind > 0) munmap(base + total, behind);
    madvise(base, total, MADV_HUGEPAGE); /* a wish: without it the pages are small */
    return base;
}

void *buffer_alloc(size_t bytes)
{
    if (bytes > SIZE_MAX - 2 * HUGE_PAGE) return NULL;
    size_t total = round_up(bytes, LINE) + 3 * LINE;
    bool mapped = total >= LARGE;
    if (mapped) total = round_up(total, 4096);
    char *base = mapped ? map_large(total) : aligned_alloc(LINE, total);
    if (base == NULL) return NULL;
    header *h = (header *)base;
    *h = (header){header_mark, bytes, total, mapped};
    char *data = base + 2 * LINE;
    memset(data - LINE, GUARD_BYTE, LINE);
    memset(data + bytes, GUARD_BYTE, tail_of(h));
    ASAN_POISON_MEMORY_REGION(data - LINE, LINE);
    ASAN_POISON_MEMORY_REGION(data + bytes, tail_of(h));
    return data;
}

bool buffer_intact(const void *buffer)
{
    const header *h = header_of(buffer);
    if (h->mark != header_mark) return false;
    const unsigned char *data = buffer, *end = data + h->bytes;
    size_t tail = tail_of(h);
    bool intact = true;
    ASAN_UNPOISON_MEMORY_REGION(data - LINE, LINE);
    ASAN_UNPOISON_MEMORY_REGION(end, tail);
    for (size_t i = 0; i < LINE; i++) intact = intact && data[(ptrdiff_t)i - LINE] == GUARD_BYTE;
    for (size_t i = 0; i < tail; i++) intact = intact && end[i] == GUARD_BYTE;
    ASAN_POISON_MEMORY_REGION(data - LINE, LINE);
    ASAN_POISON_MEMORY_REGION(end, tail);
    return intact;
}

void buffer_free(void *buffer)
{
    if (buffer == NULL) return;
    header *h = header_of(buffer);
    if (h->mark != header_mark) return; /* overrun: leaking it is safer than freeing by a torn header */
    ASAN_UNPOISON_MEMORY_REGION(h, h->total);
    h->mark = 0;
    if (h->mapped)
        munmap(h, h->total);
    else
        free(h);
}

/* ---- numbers */

static float number(uint32_t bits, fill_kind kind, int amplitude)
{
    if (kind == FILL_REALS) return (float)(bits >> 8) * 0x1p-23f - 1.0f; /* 24 bits: exact */
    return (float)((int64_t)(((uint64_t)bits * (2 * (uint64_t)amplitude + 1)) >> 32) - amplitude);
}

void fill(float *data, int64_t count, fill_kind kind, int amplitude, uint64_t seed, uint32_t stream)
{
    const philox4x32_key_t key = {{(uint32_t)seed, (uint32_t)(seed >> 32)}};
#pragma omp parallel for schedule(static) if (count > 65536)
    for (int64_t block = 0; block < (count + 3) / 4; block++) {
        philox4x32_ctr_t counter = {{(uint32_t)block, (uint32_t)((uint64_t)block >> 32), stream, 0}};
        philox4x32_ctr_t random = philox4x32(counter, key);
        for (int64_t i = 4 * block; i < 4 * block + 4 && i < count; i++)
            data[i] = number(random.v[i % 4], kind, amplitude);
    }
}

/* ---- the tensors of a problem */

_Static_assert(sizeof(conv_tensors) == TENSOR_COUNT * sizeof(float *), "conv_tensors has these, in this order");

typedef struct {
    int64_t count; /* 0: the pass does not use it */
    bool output;
} usage;

static void tensor_usage(const conv_problem *p, conv_pass pass, usage *use)
{
    conv_sizes n = conv_problem_sizes(p);
    bool forward = pass == CONV_FORWARD, data = pass == CONV_BACKWARD || pass == CONV_BACKWARD_DATA,
         weights = pass == CONV_BACKWARD || pass == CONV_BACKWARD_WEIGHTS, post = p->post_op != CONV_POST_NONE;
    const usage all[TENSOR_COUNT] = {
        [TENSOR_SRC] = {forward || weights ? n.src : 0, false},
        [TENSOR_WEIGHTS] = {forward || data ? n.weights : 0, false},
        [TENSOR_POINTWISE] = {forward || data ? n.pointwise : 0, false},
        [TENSOR_BIAS] = {forward && p->bias ? n.bias : 0, false},
        [TENSOR_DST] = {forward || post ? n.dst : 0, forward},
        [TENSOR_DIFF_DST] = {forward ? 0 : n.dst, false},
        [TENSOR_DIFF_SRC] = {data ? n.src : 0, true},
        [TENSOR_DIFF_WEIGHTS] = {weights ? n.weights : 0, true},
        [TENSOR_DIFF_POINTWISE] = {weights ? n.pointwise : 0, true},
        [TENSOR_DIFF_BIAS] = {weights && p->bias ? n.bias : 0, true},
    };
    memcpy(use, all, sizeof all);
}

static float **slots(conv_tensors *t) { return &t->src; }

double conv_tensors_bytes(const conv_problem *p, conv_pass pass)
{
    usage use[TENSOR_COUNT];
    tensor_usage(p, pass, use);
    double bytes = 0;
    for (int i = 0; i < TENSOR_COUNT; i++)
        if (use[i].count > 0) bytes += (double)use[i].count * sizeof(float) + 4 * LINE;
    return bytes;
}

static double over_axes(const conv_problem *p, bool outputs)
{
    double product = 1;
    for (int i = 0; i < CONV_AXES; i++)
        product *= outputs ? (double)conv_out(&p->axis[i]) : (double)p->axis[i].kernel;
    return product;
}

double memory_to_use(void) { return 0.9 * (double)machine_memory_available(); }

conv_status memory_short(double needed, double available, conv_error *err)
{
    return conv_fail(err, CONV_NO_MEMORY, "needs %.3g GB of memory, %.3g GB are available", 1e-9 * needed,
                     1e-9 * available);
}

conv_status conv_tensors_fit(const conv_problem *p, conv_pass pass, conv_error *err)
{
    /* Which input each tap of each output of an image reads, and the list of taps. */
    double tables = 2 * sizeof(int32_t) * over_axes(p, true) * over_axes(p, false);
    double needed = conv_tensors_bytes(p, pass) + tables, available = memory_to_use();
    return needed <= available ? CONV_OK : memory_short(needed, available, err);
}

/* The largest whole amplitude for which no sum of the pass can come near 2^24, at least 1. With 1 the sums of
 * the very largest problems can pass it; the verifier looks at each sum of magnitudes and then uses the bound
 * for reals. */
static int integer_amplitude(const conv_problem *p, conv_pass pass)
{
    double taps = over_axes(p, false), positions = (double)p->mb * over_axes(p, true);
    double channels = (double)p->ic / (double)p->groups, outputs = (double)p->oc / (double)p->groups, longest;
    int factors = 2;
    if (p->variant == CONV_SEPARABLE) {
        factors = 3;
        longest = pass == CONV_FORWARD ? taps * channels * (double)p->depth_multiplier
                                       : fmax(positions * fmax(taps, outputs), taps * outputs);
    } else {
        longest = pass == CONV_FORWARD ? taps * channels : fmax(taps * outputs, positions);
    }
    int amplitude = 1;
    while (amplitude < 5 && longest * pow(amplitude + 1, factors) < 0x1p21) amplitude++;
    return amplitude;
}

/* Keeps dst of the order of 1 for sources of [-1, 1), with ReLU6, which shall clip some of it, of 10: weights
 * shrink with the number of terms. */
static void scale_weights(const conv_problem *p, const usage *use, conv_tensors *t)
{
    double taps = over_axes(p, false), channels = (double)p->ic / (double)p->groups;
    bool dense = p->variant == CONV_DENSE || p->variant == CONV_POINTWISE;
    double size = p->post_op == CONV_POST_RELU6 ? 20 : 1.7, first = p->variant == CONV_SEPARABLE ? 1.7 : size;
    const struct {
        float *data;
        int64_t count;
        float factor;
    } parts[] = {{t->weights, use[TENSOR_WEIGHTS].count, (float)(first / sqrt(dense ? taps * channels : taps))},
                 {t->pointwise, use[TENSOR_POINTWISE].count,
                  (float)(size / sqrt(channels * (double)p->depth_multiplier))}};
    for (int part = 0; part < 2; part++) {
        float *data = parts[part].data, factor = parts[part].factor;
#pragma omp parallel for simd schedule(static) if (parts[part].count > 65536)
        for (int64_t i = 0; i < parts[part].count; i++) data[i] *= factor;
    }
}

/* What a post-op leaves of whole numbers: about half of it zero, and of ReLU6 a fifth its clip. */
static void fill_clipped(float *dst, int64_t count, conv_post_op op, uint64_t seed)
{
    fill(dst, count, FILL_INTEGERS, 9, seed, TENSOR_DST);
#pragma omp parallel for simd schedule(static) if (count > 65536)
    for (int64_t i = 0; i < count; i++) dst[i] = conv_clipped(dst[i], conv_clip(op));
}

bool conv_tensors_create(const conv_problem *p, conv_pass pass, fill_kind kind, uint64_t seed, conv_tensors *t)
{
    usage use[TENSOR_COUNT];
    int amplitude = integer_amplitude(p, pass);
    tensor_usage(p, pass, use);
    *t = (conv_tensors){0};
    for (int i = 0; i < TENSOR_COUNT; i++) {
        if (use[i].count == 0) continue;
        slots(t)[i] = buffer_alloc((size_t)use[i].count * sizeof(float));
        if (slots(t)[i] == NULL) {
            conv_tensors_destroy(t);
            return false;
        }
        if (!use[i].output) fill(slots(t)[i], use[i].count, kind, amplitude, seed, (uint32_t)i);
    }
    if (kind == FILL_REALS) scale_weights(p, use, t);
    if (pass != CONV_FORWARD && t->dst != NULL) fill_clipped(t->dst, use[TENSOR_DST].count, p->post_op, seed);
    conv_tensors_poison(p, pass, t);
    return true;
}

void conv_tensors_poison(const conv_problem *p, conv_pass pass, conv_tensors *t)
{
    usage use[TENSOR_COUNT];
    tensor_usage(p, pass, use);
    for (int slot = 0; slot < TENSOR_COUNT; slot++) {
        if (!use[slot].output || use[slot].count == 0) continue;
        float *data = slots(t)[slot];
#pragma omp parallel for simd schedule(static) if (use[slot].count > 65536)
        for (int64_t i = 0; i < use[slot].count; i++) data[i] = NAN;
    }
}

bool conv_tensors_intact(const conv_tensors *t)
{
    float *const *slot = &t->src;
    for (int i = 0; i < TENSOR_COUNT; i++)
        if (slot[i] != NULL && !buffer_intact(slot[i])) return false;
    return true;
}

void conv_tensors_destroy(conv_tensors *t)
{
    for (int i = 0; i < TENSOR_COUNT; i++) buffer_free(slots(t)[i]);
    *t = (conv_tensors){0};
}

conv_args conv_tensors_args(const conv_tensors *t)
{
    return (conv_args){.src = t->src,
                       .weights = t->weights,
                       .pointwise = t->pointwise,
                       .bias = t->bias,
                       .dst = t->dst,
                       .diff_dst = t->diff_dst,
                       .diff_src = t->diff_src,
                       .diff_weights = t->diff_weights,
                       .diff_pointwise = t->diff_pointwise,
                       .diff_bias = t->diff_bias};
}
