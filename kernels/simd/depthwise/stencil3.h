/* What the 3x3 kernels over two rows share: tiles of outputs [n <= DEPTHWISE_OUTPUTS][VL], and prefetching rows
 * [width][pixel]. */
#ifndef SEPBENCH_SIMD_DEPTHWISE_STENCIL3_H
#define SEPBENCH_SIMD_DEPTHWISE_STENCIL3_H

#include <stddef.h>

#include "../vec.h"
#include "kernels.h"

/* CALL(n) of a tile that n <= DEPTHWISE_OUTPUTS outputs are left for. */
#if VEC_REGISTERS == 32
#define BY_OUTPUTS(left, CALL)                                                                                 \
    switch (left) {                                                                                            \
    case 1: CALL(1); break;                                                                                    \
    case 2: CALL(2); break;                                                                                    \
    case 3: CALL(3); break;                                                                                    \
    case 4: CALL(4); break;                                                                                    \
    case 5: CALL(5); break;                                                                                    \
    case 6: CALL(6); break;                                                                                    \
    default: CALL(DEPTHWISE_OUTPUTS);                                                                          \
    }
#else
#define BY_OUTPUTS(left, CALL)                                                                                 \
    switch (left) {                                                                                            \
    case 1: CALL(1); break;                                                                                    \
    case 2: CALL(2); break;                                                                                    \
    case 3: CALL(3); break;                                                                                    \
    default: CALL(DEPTHWISE_OUTPUTS);                                                                          \
    }
#endif

/* Prefetches a part of what the next tile is the first to read or write of a row of `width` pixels: from x on,
 * or past the end of this row the start of the row after next, the one that takes its place. The part is that
 * of the vector at channel c, counted as memory lies, so that the hardware sees long pieces too. Pixels of a
 * single vector make tiles too short for that: there it is the tile under this one. */
ALWAYS_INLINE void prefetch_row(const int n, const float *row, int64_t width, int64_t pixel, int64_t x,
                                int64_t c)
{
    int64_t at = pixel == VL ? x - n + 2 * width : x < width ? x : 2 * width;
    if (row != NULL) prefetch(row + at * pixel + c * n, n * VL);
}

#endif
