/* The vector type of kernels/simd: one source for every instruction set, this header the only difference.
 *
 * Per ISA a file vec_<isa>.h defines
 *   vec, VL              the type and its number of floats
 *   vec_mask             lanes of a tail; vec_mask_first(n): the first n lanes, 0 <= n <= VL
 *   vec_zero() vec_set1(x) vec_load(p) vec_store(p, v) vec_stream(p, v)   unaligned, but stream: aligned
 *   vec_stream_end()     after the last vec_stream, before another thread reads
 *   vec_load_mask(p, m) vec_store_mask(p, m, v)   touch only lanes in m; lanes outside load as 0
 *   vec_fma(a, b, c) = a*b + c, vec_add vec_sub vec_mul vec_min vec_max vec_abs
 *   vec_add_at(v, p) = v + *p in every lane, vec_fma_at(v, p, c) = v * *p + c: the broadcast is part of the
 *                        instruction where the instruction set has that
 *   vec_where_within(t, most, v): v where 0 < t <= most, else 0 (a post-op's gradient; a NaN in t gives 0)
 *   VEC_REGISTERS        how many there are
 *   TILE_*               register-tile sizes of the GEMM micro-kernels (gemm/gemm.h)
 *   DEPTHWISE_*          and of depthwise rows */
#ifndef SEPBENCH_SIMD_VEC_H
#define SEPBENCH_SIMD_VEC_H

#include <immintrin.h>
#include <math.h>
#include <stdint.h>
#include <string.h>

#include "../util.h"

#if defined(__AVX512F__)
#include "vec_avx512.h"
#else
#include "vec_avx2.h"
#endif

/* What columns in the padding read. */
static const float vec_zeros[VL] __attribute__((aligned(64)));

/* A vector that is whole, else only the lanes of a tail. */
ALWAYS_INLINE vec vec_load_lanes(const bool whole, const float *p, vec_mask lanes)
{
    return whole ? vec_load(p) : vec_load_mask(p, lanes);
}
ALWAYS_INLINE void vec_store_lanes(const bool whole, float *p, vec_mask lanes, vec v)
{
    if (whole)
        vec_store(p, v);
    else
        vec_store_mask(p, lanes, v);
}

/* A post-op, as conv_clipped(). Beside the nine multiply-adds of an output ReLU without minima, and the two kinds
 * told by bits and not by floats, which would be compared by the same units, is 5% faster. */
ALWAYS_INLINE void vec_clip(const int n, vec v[], float clip)
{
    const float infinity = INFINITY;
    int32_t bits, relu;
    memcpy(&bits, &clip, sizeof bits);
    memcpy(&relu, &infinity, sizeof relu);
    if (bits == 0) return;
    UNROLL for (int i = 0; i < n; i++) v[i] = vec_max(v[i], vec_zero());
    if (bits == relu) return;
    UNROLL for (int i = 0; i < n; i++) v[i] = vec_min(v[i], vec_set1(clip));
}

/* p, in a register: keeps the compiler from precomputing (and spilling) every address of an unrolled loop. */
ALWAYS_INLINE const float *pointer_held(const float *p)
{
    __asm__("" : "+r"(p));
    return p;
}

/* Asks for `floats` floats from p on to be brought to L2; an address past the tensor's end does no harm. */
ALWAYS_INLINE void prefetch(const float *p, const int floats)
{
    UNROLL for (int i = 0; i < floats; i += 16) _mm_prefetch((const char *)(p + i), _MM_HINT_T1);
}

#endif
