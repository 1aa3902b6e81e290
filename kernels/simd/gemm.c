/* GEMM micro-kernels: a tile of dst stays in registers over the whole sum.
 *
 * rows: per k the panel's nv vectors are loaded once and each row's element is broadcast. The panel streams
 * from L2 (16 bytes a cycle at most) or L1, whichever the caller's blocking provides; rows walk k contiguously.
 * columns: the same outer product with k over pixels: both operands advance by a leading dimension.
 * Sizes are compile-time constants of each instance (tiles.def), so that accumulators are registers.
 * Algorithm: Goto & van de Geijn, Anatomy of High-Performance Matrix Multiplication, TOMS 2008; row pointers as
 * in the indirect convolution of Dukhan, arXiv:1907.02129. */
#include "gemm.h"

#include <stddef.h>

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
                              int64_t n)
{
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

ALWAYS_INLINE void start_rows(const int m, const int nv, vec acc[TILE_ROWS][TILE_VECTORS],
                              const gemm_rows_args *g)
{
    vec_mask tail = vec_mask_first(g->n - (nv - 1) * VL);
    if (g->accumulate) {
        load_tile(m, nv, acc, g->dst, tail);
        return;
    }
    vec first[TILE_VECTORS];
    UNROLL for (int v = 0; v < nv; v++) first[v] = vec_zero();
    if (g->bias != NULL) {
        UNROLL for (int v = 0; v < nv - 1; v++) first[v] = vec_load(g->bias + v * VL);
        first[nv - 1] = vec_load_mask(g->bias + (nv - 1) * VL, tail);
    }
    UNROLL for (int r = 0; r < m; r++) { UNROLL for (int v = 0; v < nv; v++) acc[r][v] = first[v]; }
}

ALWAYS_INLINE void rows_kernel(const int m, const int nv, const gemm_rows_args *g)
{
    vec acc[TILE_ROWS][TILE_VECTORS];
    start_rows(m, nv, acc, g);
    const float *const *rows = g->rows;
    for (int64_t t = 0; t < g->taps; t++, rows += m) {
        const float *b = g->panel + (g->slices != NULL ? g->slices[t] : t) * g->slice_stride;
        const float *a[TILE_ROWS];
        UNROLL for (int r = 0; r < m; r++) a[r] = rows[r] + g->row_offset;
        UNROLL4 for (int64_t k = 0; k < g->k; k++, b += nv * VL)
        {
            vec panel[TILE_VECTORS];
            UNROLL for (int v = 0; v < nv; v++) panel[v] = vec_load(b + v * VL);
            UNROLL for (int r = 0; r < m; r++)
            {
                vec x = vec_set1(a[r][k]);
                UNROLL for (int v = 0; v < nv; v++) acc[r][v] = vec_fma(x, panel[v], acc[r][v]);
            }
        }
    }
    if (g->relu) {
        UNROLL for (int r = 0; r < m; r++)
        {
            UNROLL for (int v = 0; v < nv; v++) acc[r][v] = vec_max(acc[r][v], vec_zero());
        }
    }
    store_tile(m, nv, acc, g->dst, g->n);
}

/* The sum over runs; whole: b's last vector is full, else only the lanes of tail may be read. */
ALWAYS_INLINE void columns_sum(const int m, const int nv, const bool whole, vec_mask tail,
                               vec acc[TILE_ROWS][TILE_VECTORS], const gemm_columns_args *g)
{
    for (int64_t i = 0; i < g->run_count; i++) {
        const float *a = g->a + g->runs[i].a * g->a_pixel, *b = g->b + g->runs[i].b * g->b_pixel;
        UNROLL4 for (int64_t k = g->runs[i].count; k > 0; k--, a += g->a_step, b += g->b_pixel)
        {
            vec panel[TILE_VECTORS];
            UNROLL for (int v = 0; v < nv - 1; v++) panel[v] = vec_load(b + v * VL);
            panel[nv - 1] = whole ? vec_load(b + (nv - 1) * VL) : vec_load_mask(b + (nv - 1) * VL, tail);
            UNROLL for (int r = 0; r < m; r++)
            {
                vec x = vec_set1(a[r]);
                UNROLL for (int v = 0; v < nv; v++) acc[r][v] = vec_fma(x, panel[v], acc[r][v]);
            }
        }
    }
}

ALWAYS_INLINE void columns_kernel(const int m, const int nv, const gemm_columns_args *g)
{
    vec acc[TILE_ROWS][TILE_VECTORS];
    vec_mask tail = vec_mask_first(g->n - (nv - 1) * VL);
    float *dst[TILE_ROWS];
    UNROLL for (int r = 0; r < m; r++) dst[r] = g->dst + r * g->ldc;
    if (g->accumulate) {
        load_tile(m, nv, acc, dst, tail);
    } else {
        UNROLL for (int r = 0; r < m; r++) { UNROLL for (int v = 0; v < nv; v++) acc[r][v] = vec_zero(); }
    }
    if (g->n == nv * VL)
        columns_sum(m, nv, true, tail, acc, g);
    else
        columns_sum(m, nv, false, tail, acc, g);
    store_tile(m, nv, acc, dst, g->n);
}

/* ---- one instance per line of tiles.def, and the tables that find them */

#define TILE(m, nv)                                                                                            \
    static void rows_##m##_##nv(const gemm_rows_args *g) { rows_kernel(m, nv, g); }                            \
    static void columns_##m##_##nv(const gemm_columns_args *g) { columns_kernel(m, nv, g); }
#include "tiles.def"
#undef TILE

static gemm_rows_kernel *const rows_table[TILE_VECTORS + 1][TILE_ROWS + 1] = {
#define TILE(m, nv) [nv][m] = rows_##m##_##nv,
#include "tiles.def"
#undef TILE
};

static gemm_columns_kernel *const columns_table[TILE_VECTORS + 1][TILE_ROWS + 1] = {
#define TILE(m, nv) [nv][m] = columns_##m##_##nv,
#include "tiles.def"
#undef TILE
};

int gemm_tile_rows(int nv)
{
    static const int rows[] = {0, TILE_ROWS_1, TILE_ROWS_2, TILE_ROWS_3, TILE_ROWS_4};
    return rows[nv];
}

gemm_rows_kernel *gemm_rows(int m, int nv) { return rows_table[nv][m]; }
gemm_columns_kernel *gemm_columns(int m, int nv) { return columns_table[nv][m]; }

int gemm_panel_vectors(int64_t n)
{
    /* Wide panels broadcast each row once for more columns, and their few rows leave no L1 set crowded at
     * power-of-two distances: the widest tile that leaves no narrower last panel. */
    int64_t vectors = div_up(n, VL);
    for (int nv = TILE_VECTORS; nv > 2; nv--)
        if (vectors % nv == 0) return nv;
    return vectors == 1 ? 1 : 2;
}
