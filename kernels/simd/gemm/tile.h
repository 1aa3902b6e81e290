/* A register tile of dst: where its rows lie, and their way from and to memory. For the micro-kernels. */
#ifndef SEPBENCH_SIMD_GEMM_TILE_H
#define SEPBENCH_SIMD_GEMM_TILE_H

#include <stddef.h>

#include "../vec.h"
#include "gemm.h"

ALWAYS_INLINE void load_tile(const int m, const int nv, vec acc[TILE_ROWS][TILE_VECTORS], float *const *dst,
                             vec_mask tail)
{
    UNROLL for (int r = 0; r < m; r++)
    {
        UNROLL for (int v = 0; v < nv - 1; v++) acc[r][v] = vec_load(dst[r] + v * VL);
        acc[r][nv - 1] = vec_load_mask(dst[r] + (nv - 1) * VL, tail);
    }
}

ALWAYS_INLINE void store_tile(const int m, const int nv, vec acc[TILE_ROWS][TILE_VECTORS], float *const *dst,
                              int64_t n, bool stream)
{
    if (n == nv * VL && stream) {
        UNROLL for (int r = 0; r < m; r++)
        {
            UNROLL for (int v = 0; v < nv; v++) vec_stream(dst[r] + v * VL, acc[r][v]);
        }
        return;
    }
    if (n == nv * VL) {
        UNROLL for (int r = 0; r < m; r++)
        {
            UNROLL for (int v = 0; v < nv; v++) vec_store(dst[r] + v * VL, acc[r][v]);
        }
        return;
    }
    vec_mask tail = vec_mask_first(n - (nv - 1) * VL);
    UNROLL for (int r = 0; r < m; r++)
    {
        UNROLL for (int v = 0; v < nv - 1; v++) vec_store(dst[r] + v * VL, acc[r][v]);
        vec_store_mask(dst[r] + (nv - 1) * VL, tail, acc[r][nv - 1]);
    }
}

/* Where the tile's rows of dst lie. */
ALWAYS_INLINE void dst_rows(const int m, const gemm_rows_args *g, int64_t tile, float *dst[TILE_ROWS])
{
    const int32_t *index = g->dst_index == NULL ? NULL : g->dst_index + tile * m;
    UNROLL for (int r = 0; r < m; r++) dst[r] =
        g->dst + (index == NULL ? tile * m + r : index[r]) * g->dst_stride;
}

#endif
