/* Peak multiply-add rate and triad bandwidth of one thread, compiled once per instruction set.
 *
 * fma: 12 independent chains a = a*x + y of one vector each. Two FMA units of latency 4 or 5 need 8 to 10; 12
 * and the two constants still fit 16 registers. Without FMA (base) the compiler splits each step in a multiply
 * and an add, and the same 12 chains hide both latencies. x < 1 keeps every value normal and finite.
 * triad: McCalpin's STREAM triad, unrolled by four vectors, ordinary stores, as convolutions use.
 * load, broadcast: what the load ports take, and from larger arrays what a level gives to reading alone.
 * Vectors are GCC's and clang's vector extension, so one source serves every instruction set. */
#include "peak.h"

#if defined(__AVX512F__)
enum { VECTOR_BYTES = 64 };
#elif defined(__AVX2__)
enum { VECTOR_BYTES = 32 };
#else
enum { VECTOR_BYTES = 16 };
#endif

typedef float vector __attribute__((vector_size(VECTOR_BYTES)));

enum { LANES = VECTOR_BYTES / sizeof(float), CHAINS = 12, STEPS = 16 };

static const vector zero = {0};

static double fma_rate(int64_t rounds, float *sink)
{
    vector a[CHAINS], x = zero + 0.999f, y = zero + 0.001f;
    for (int c = 0; c < CHAINS; c++) a[c] = zero + (*sink + (float)c); /* unknown to the compiler */
    for (int64_t r = 0; r < rounds; r++) {
#pragma GCC unroll 16
        for (int s = 0; s < STEPS; s++)
#pragma GCC unroll 12
            for (int c = 0; c < CHAINS; c++) a[c] = a[c] * x + y;
    }
    vector sum = a[0];
    for (int c = 1; c < CHAINS; c++) sum += a[c];
    float total = 0;
    for (int l = 0; l < LANES; l++) total += sum[l];
    *sink = total;
    return 2.0 * CHAINS * STEPS * LANES * (double)rounds;
}

static void triad(float *a, const float *b, const float *c, float s, size_t n, int64_t repeats)
{
    vector factor = zero + s;
    for (int64_t r = 0; r < repeats; r++) {
        for (size_t i = 0; i < n; i += 4 * LANES)
#pragma GCC unroll 4
            for (size_t v = 0; v < 4; v++) {
                size_t j = i + v * LANES;
                *(vector *)&a[j] = *(const vector *)&b[j] + factor * *(const vector *)&c[j];
            }
        __asm__ volatile("" ::: "memory"); /* or one repeat would do for all */
    }
}

/* The value is wanted in a vector register, and then not used: nothing but the load can take time. */
#if defined(__x86_64__)
#define WANT(v) __asm__ volatile("" : : "x"(v))
#elif defined(__aarch64__)
#define WANT(v) __asm__ volatile("" : : "w"(v))
#else
#define WANT(v) __asm__ volatile("" : : "r"(&(v)) : "memory")
#endif

static double load_rate(const float *p, size_t n, int64_t repeats)
{
    for (int64_t r = 0; r < repeats; r++)
        for (size_t i = 0; i < n; i += 16 * LANES)
#pragma GCC unroll 16
            for (size_t v = 0; v < 16; v++) {
                vector loaded = *(const vector *)&p[i + v * LANES];
                WANT(loaded);
            }
    return (double)(n / LANES) * (double)repeats;
}

static double broadcast_rate(const float *p, size_t n, int64_t repeats)
{
    for (int64_t r = 0; r < repeats; r++)
        for (size_t i = 0; i < n; i += 16)
#pragma GCC unroll 16
            for (size_t v = 0; v < 16; v++) {
                vector loaded = p[i + v] - (vector){0};
                WANT(loaded);
            }
    return (double)n * (double)repeats;
}

extern const peak_kernels peak_table;
const peak_kernels peak_table = {fma_rate, triad, load_rate, broadcast_rate};
