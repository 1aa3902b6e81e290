/* Vectors of channels in GNU C: one register of this copy's instruction set. */
#ifndef SEPBENCH_NN_LANES_H
#define SEPBENCH_NN_LANES_H

#include <stdint.h>
#include <string.h>

#include "nn.h"

#if defined(__AVX512F__)
#include <immintrin.h>
enum { LANES = 16 };
#elif defined(__AVX2__)
enum { LANES = 8 };
#else
enum { LANES = 4 };
#endif
typedef float lanes __attribute__((vector_size(4 * LANES)));
typedef int32_t indices __attribute__((vector_size(4 * LANES)));
typedef uint32_t words __attribute__((vector_size(4 * LANES)));
typedef uint8_t bytes __attribute__((vector_size(LANES)));

static inline lanes load(const float *x)
{
    lanes v;
    memcpy(&v, x, sizeof v);
    return v;
}

static inline void store(float *y, lanes v) { memcpy(y, &v, sizeof v); }

/* Small numbers kept as bytes. */
static inline indices load_bytes(const uint8_t *x)
{
    bytes b;
    memcpy(&b, x, sizeof b);
    return __builtin_convertvector(b, indices);
}

static inline void store_bytes(uint8_t *y, indices v)
{
    bytes b = __builtin_convertvector(v, bytes);
    memcpy(y, &b, sizeof b);
}

/* where mask (all ones or zeros) a, else b */
static inline lanes pick(indices mask, lanes a, lanes b)
{
    return (lanes)((mask & (indices)a) | (~mask & (indices)b));
}
static inline indices pick_index(indices mask, indices a, indices b) { return (mask & a) | (~mask & b); }

static inline lanes larger(lanes a, lanes b) { return pick(a > b, a, b); }

static inline indices bits_to_mask(uint32_t bits)
{
    static const int32_t each[] = {1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 2048, 4096, 8192, 16384, 32768};
    indices bit;
    memcpy(&bit, each, sizeof bit);
    return (bit & (int32_t)bits) != 0;
}

/* Bits i, i + 1, ... of a row; those beyond LANES are anything. */
static inline uint32_t bits_at(const uint64_t *bits, int64_t i)
{
    uint64_t word = bits[i / 64] >> (i % 64);
    if (i % 64 > 64 - LANES) word |= bits[i / 64 + 1] << (64 - i % 64);
    return (uint32_t)word;
}

/* The largest of a 2x2 window's outputs, after ReLU and (bits not NULL) dropout; argmax NULL: not wanted. Of
 * equals the first wins. */
#if defined(__AVX512F__)
/* With masks of a bit a lane, which GNU C's vectors do not have. */
static inline void put_winner(const lanes sum[4], const uint64_t *bits, int64_t at, float scale, float *y,
                              uint8_t *argmax)
{
    __m512 best = _mm512_max_ps(_mm512_max_ps(sum[0], sum[1]), _mm512_max_ps(sum[2], sum[3]));
    __mmask16 keep = _mm512_cmp_ps_mask(best, _mm512_setzero_ps(), _CMP_GT_OQ);
    if (bits != NULL) keep &= (__mmask16)bits_at(bits, at);
    _mm512_storeu_ps(y, _mm512_maskz_mul_ps(keep, best, _mm512_set1_ps(scale)));
    if (argmax == NULL) return;
    __m512i index = _mm512_set1_epi32(3);
    for (int k = 2; k >= 0; k--)
        index =
            _mm512_mask_mov_epi32(index, _mm512_cmp_ps_mask(sum[k], best, _CMP_EQ_OQ), _mm512_set1_epi32(k));
    index = _mm512_mask_mov_epi32(_mm512_set1_epi32(NN_POOL_NONE), keep, index);
    _mm_storeu_si128((__m128i *)argmax, _mm512_cvtepi32_epi8(index));
}
#else
static inline void put_winner(const lanes sum[4], const uint64_t *bits, int64_t at, float scale, float *y,
                              uint8_t *argmax)
{
    lanes best = larger(larger(sum[0], sum[1]), larger(sum[2], sum[3]));
    indices index = (indices){0} + 3, keep = best > (lanes){0};
    for (int k = 2; k >= 0; k--) index = pick_index(sum[k] == best, (indices){0} + k, index);
    if (bits != NULL) keep &= bits_to_mask(bits_at(bits, at));
    store(y, (lanes)(keep & (indices)(best * scale)));
    if (argmax != NULL) store_bytes(argmax, pick_index(keep, index, (indices){0} + NN_POOL_NONE));
}
#endif

#endif
