/* The register tile: ROWS positions by LANES channels of sums, in arrays of constant size that the compiler
 * keeps in vector registers while it goes through one of these loops. */
#ifndef SEPBENCH_TILED_TILE_H
#define SEPBENCH_TILED_TILE_H

#include <stdint.h>

#include "../util.h"

#if defined(__AVX512F__)
enum { ROWS = 7, LANES = 32 };
#elif defined(__AVX2__)
enum { ROWS = 6, LANES = 16 };
#else
enum { ROWS = 4, LANES = 8 };
#endif

typedef float tile_sums[ROWS][LANES];
typedef const float *tile_rows[ROWS]; /* where each position's channels begin */

/* A tap and what its positions read. */
typedef struct {
    tile_rows x;
    int64_t tap;
} tile_tap;

/* sums[r][l] += x[r][from + k] * w[k][l], k < depth: every input channel with every lane of outputs. */
ALWAYS_INLINE void tile_add_product(tile_sums sums, const tile_rows x, int64_t from, int64_t depth,
                                    const float *restrict w)
{
    tile_sums s;
    for (int r = 0; r < ROWS; r++)
        for (int l = 0; l < LANES; l++) s[r][l] = sums[r][l];
    for (int64_t k = 0; k < depth; k++)
        for (int r = 0; r < ROWS; r++) {
            float value = x[r][from + k];
#pragma omp simd
            for (int l = 0; l < LANES; l++) s[r][l] += value * w[k * LANES + l];
        }
    for (int r = 0; r < ROWS; r++)
        for (int l = 0; l < LANES; l++) sums[r][l] = s[r][l];
}

/* sums[r][l] += taps[t].x[r][from + l] * w[tap][l], lanes lanes: each lane a channel of its own. */
ALWAYS_INLINE void tile_add_taps(tile_sums sums, const tile_tap *taps, int64_t count, int64_t from, int lanes,
                                 const float *restrict w)
{
    tile_sums s;
    for (int r = 0; r < ROWS; r++)
        for (int l = 0; l < lanes; l++) s[r][l] = sums[r][l];
    for (int64_t t = 0; t < count; t++)
        for (int r = 0; r < ROWS; r++) {
            const float *row = taps[t].x[r] + from, *weight = w + taps[t].tap * LANES;
#pragma omp simd
            for (int l = 0; l < lanes; l++) s[r][l] += row[l] * weight[l];
        }
    for (int r = 0; r < ROWS; r++)
        for (int l = 0; l < lanes; l++) sums[r][l] = s[r][l];
}

/* sums[r][l] += x[i][r] * y[i][l], i < count, rows of x `step` floats apart: ROWS channels with LANES channels.
 */
ALWAYS_INLINE void tile_add_outer(tile_sums sums, const float *restrict x, int64_t step,
                                  const float *restrict y, int64_t count)
{
    tile_sums s;
    for (int r = 0; r < ROWS; r++)
        for (int l = 0; l < LANES; l++) s[r][l] = sums[r][l];
    for (int64_t i = 0; i < count; i++)
        for (int r = 0; r < ROWS; r++) {
            float value = x[i * step + r];
#pragma omp simd
            for (int l = 0; l < LANES; l++) s[r][l] += value * y[i * LANES + l];
        }
    for (int r = 0; r < ROWS; r++)
        for (int l = 0; l < LANES; l++) sums[r][l] = s[r][l];
}

#endif
