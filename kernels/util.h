/* Small arithmetic of sizes, and what the compiler must be told, for all kernels. */
#ifndef SEPBENCH_UTIL_H
#define SEPBENCH_UTIL_H

#include <stdbool.h>
#include <stdint.h>

#define ALWAYS_INLINE static inline __attribute__((always_inline))

/* Loops over registers must vanish before arrays of vectors can live in registers. */
#if defined(__clang__)
#define UNROLL _Pragma("clang loop unroll(full)")
#define UNROLL2 _Pragma("clang loop unroll_count(2)")
#define UNROLL4 _Pragma("clang loop unroll_count(4)")
#define UNROLL8 _Pragma("clang loop unroll_count(8)")
#else
#define UNROLL _Pragma("GCC unroll 32")
#define UNROLL2 _Pragma("GCC unroll 2")
#define UNROLL4 _Pragma("GCC unroll 4")
#define UNROLL8 _Pragma("GCC unroll 8")
#endif

/* Floats of a cache line; of a way of L1, of every x86 so far: what lies whole ways apart shares one set. */
enum { CACHE_LINE = 16, CACHE_WAY = 1024 };

/* Shares of work that keep any usual number of threads busy, for what must not depend on their number. */
enum { ANY_TEAM = 64 };

ALWAYS_INLINE int64_t min64(int64_t a, int64_t b) { return a < b ? a : b; }
ALWAYS_INLINE int64_t max64(int64_t a, int64_t b) { return a > b ? a : b; }
ALWAYS_INLINE int64_t div_up(int64_t n, int64_t unit) { return (n + unit - 1) / unit; }
ALWAYS_INLINE int64_t round_up(int64_t n, int64_t unit) { return (n + unit - 1) / unit * unit; }

/* The size of equal pieces of `whole`, a multiple of unit, of about `most` or less. */
ALWAYS_INLINE int64_t even_piece(int64_t whole, int64_t most, int64_t unit)
{
    int64_t pieces = div_up(whole, max64(most, unit));
    return round_up(div_up(whole, pieces), unit);
}

/* Share i of n of `total` pieces, contiguous, sizes differing by at most one: [*begin, *end). */
ALWAYS_INLINE void share(int64_t total, int64_t i, int64_t n, int64_t *begin, int64_t *end)
{
    int64_t least = total / n, more = total % n;
    *begin = i * least + min64(i, more);
    *end = *begin + least + (i < more);
}

/* How many times as many lines there would be room for in L1, did pixels that many floats apart reach all sets:
 * a power of two. */
ALWAYS_INLINE int64_t pixel_crowding(int64_t pixel)
{
    return max64(CACHE_LINE, min64(CACHE_WAY, pixel & -pixel)) / CACHE_LINE;
}

#endif
