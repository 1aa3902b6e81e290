/* GEMM micro-kernels: a tile of dst stays in registers over the whole sum.
 *
 * rows: per k the panel's nv vectors are loaded once and each row's element is broadcast. The panel streams
 * from L2 (16 bytes a cycle at most) or L1, whichever the caller's blocking provides; rows walk k contiguously.
 * columns: the same outer product with k over pixels: both operands advance by a leading dimension.
 * Sizes are compile-time constants of each instance (tiles.def), so that accumulators are registers. A call
 * does a batch of tiles: short sums would lose a twentieth of their time to calls and to pointers passed in
 * memory. Algorithm: Goto & van de Geijn, Anatomy of High-Performance Matrix Multiplication, TOMS 2008; row
 * indices as in the indirect convolution of Dukhan, arXiv:1907.02129. */
#include "tile.h"

/* Makes the compiler read what a tap or a tile needs from *args again, which costs nothing, instead of keeping
 * it in vector registers for want of others: from there it would come only after the sums before it. */
ALWAYS_INLINE void forget_memory(void) { __asm__ volatile("" ::: "memory"); }

ALWAYS_INLINE void start_rows(const int m, const int nv, vec acc[TILE_ROWS][TILE_VECTORS],
                              const gemm_rows_args *g, int64_t tile)
{
    vec first[TILE_VECTORS];
    UNROLL for (int v = 0; v < nv; v++) first[v] = vec_zero();
    if (g->accumulate) {
        float *dst[TILE_ROWS];
        dst_rows(m, g, tile, dst);
        load_tile(m, nv, acc, dst, vec_mask_first(g->n - (nv - 1) * VL));
        return;
    }
    if (g->bias != NULL) {
        UNROLL for (int v = 0; v < nv - 1; v++) first[v] = vec_load(g->bias + v * VL);
        first[nv - 1] = vec_load_mask(g->bias + (nv - 1) * VL, vec_mask_first(g->n - (nv - 1) * VL));
    }
    UNROLL for (int r = 0; r < m; r++) { UNROLL for (int v = 0; v < nv; v++) acc[r][v] = first[v]; }
}

/* The rows that a tap of the tile reads. */
ALWAYS_INLINE void src_rows(const int m, const gemm_rows_args *g, int64_t tile, int64_t tap,
                            const float *a[TILE_ROWS])
{
    if (g->index == NULL) {
        const float *row = g->rows + tap * g->tap_stride + tile * m * g->row_stride;
        UNROLL for (int r = 0; r < m; r++) a[r] = row + r * g->row_stride;
        return;
    }
    const int32_t *index = g->index + (tile * g->taps + tap) * m;
    UNROLL for (int r = 0; r < m; r++) a[r] =
        index[r] < 0 ? g->zeros : g->rows + (index[r] - g->first) * g->row_stride;
}

/* `count` steps of the sum over k, from k on. */
ALWAYS_INLINE void rows_sum(const int m, const int nv, vec acc[TILE_ROWS][TILE_VECTORS],
                            const float *const a[TILE_ROWS], int64_t k, int64_t count, const float *b)
{
    UNROLL8 for (int64_t last = k + count; k < last; k++, b += nv * VL)
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

/* The same, prefetching a cache line of each row ahead in the time that a line of each row takes. */
ALWAYS_INLINE void rows_sum_ahead(const int m, const int nv, vec acc[TILE_ROWS][TILE_VECTORS],
                                  const float *const a[TILE_ROWS], const gemm_rows_args *g, int64_t tile,
                                  const float *b)
{
    enum { LINE = 16 };
    const float *ahead = g->ahead + tile * m * g->ahead_stride;
    for (int64_t k = 0; k < g->k; k += LINE, b += LINE * nv * VL, ahead += LINE) {
        UNROLL for (int r = 0; r < m; r++) prefetch(ahead + r * g->ahead_stride, LINE);
        rows_sum(m, nv, acc, a, k, min64(LINE, g->k - k), b);
    }
}

/* All taps of the tile, those after the first without prefetching. */
ALWAYS_INLINE void taps_sum(const int m, const int nv, vec acc[TILE_ROWS][TILE_VECTORS],
                            const gemm_rows_args *g, int64_t tile)
{
    for (int64_t t = 0; t < g->taps; t++) {
        const float *b = g->panel + (g->slices != NULL ? g->slices[t] : t) * g->slice_stride;
        const float *a[TILE_ROWS];
        src_rows(m, g, tile, t, a);
        if (t == 0 && tile * m < g->ahead_rows)
            rows_sum_ahead(m, nv, acc, a, g, tile, b);
        else
            rows_sum(m, nv, acc, a, 0, g->k, b);
        forget_memory();
    }
}

/* plain: a single tap, which is slice 0, and nothing is prefetched. */
ALWAYS_INLINE void rows_tile(const int m, const int nv, const bool plain, const gemm_rows_args *g, int64_t tile)
{
    vec acc[TILE_ROWS][TILE_VECTORS];
    float *dst[TILE_ROWS];
    start_rows(m, nv, acc, g, tile);
    if (plain) {
        const float *a[TILE_ROWS];
        src_rows(m, g, tile, 0, a);
        rows_sum(m, nv, acc, a, 0, g->k, g->panel);
        forget_memory();
    } else {
        taps_sum(m, nv, acc, g, tile);
    }
    UNROLL for (int r = 0; r < m; r++) vec_clip(nv, acc[r], g->clip);
    dst_rows(m, g, tile, dst);
    store_tile(m, nv, acc, dst, g->n, g->stream);
}

/* Short sums spend a sixth of their instructions between tiles; the plain case spends less there. */
ALWAYS_INLINE void rows_kernel(const int m, const int nv, const gemm_rows_args *g)
{
    if (g->taps == 1 && g->slices == NULL && g->ahead_rows == 0)
        for (int64_t tile = 0; tile < g->tiles; tile++) rows_tile(m, nv, true, g, tile);
    else
        for (int64_t tile = 0; tile < g->tiles; tile++) rows_tile(m, nv, false, g, tile);
}

/* The sum over runs; whole: b's last vector is full, else only the lanes of tail may be read. */
ALWAYS_INLINE void columns_sum(const int m, const int nv, const bool whole, vec_mask tail,
                               vec acc[TILE_ROWS][TILE_VECTORS], const gemm_columns_args *g)
{
    const float *ahead = g->ahead;
    for (int64_t i = 0; i < g->run_count; i++) {
        const float *a = g->a + g->runs[i].a * g->a_pixel, *b = g->b + g->runs[i].b * g->b_pixel;
        UNROLL4 for (int64_t k = g->runs[i].count; k > 0; k--, a += g->a_step, b += g->b_pixel)
        {
            if (g->ahead_step != 0) {
                prefetch(ahead, 16);
                ahead += g->ahead_step;
            }
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
    if (g->next != NULL) {
        UNROLL for (int r = 0; r < m; r++) prefetch(g->next + r * g->ldc, nv * VL);
    }
    if (g->accumulate) {
        load_tile(m, nv, acc, dst, tail);
    } else {
        UNROLL for (int r = 0; r < m; r++) { UNROLL for (int v = 0; v < nv; v++) acc[r][v] = vec_zero(); }
    }
    if (g->n == nv * VL)
        columns_sum(m, nv, true, tail, acc, g);
    else
        columns_sum(m, nv, false, tail, acc, g);
    store_tile(m, nv, acc, dst, g->n, false);
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

void gemm_rows_even(gemm_rows_args g, int64_t count, int nv, int most, gemm_rows_finder *kernel)
{
    int64_t tiles = div_up(count, most), m = count / tiles, taller = count % tiles;
    if (taller > 0) {
        g.tiles = taller;
        kernel((int)m + 1, nv)(&g);
        g.rows += taller * (m + 1) * g.row_stride;
        g.dst += taller * (m + 1) * g.dst_stride;
        g.ahead += taller * (m + 1) * g.ahead_stride;
        g.ahead_rows -= taller * (m + 1);
    }
    g.tiles = tiles - taller;
    kernel((int)m, nv)(&g);
}

int gemm_panel_vectors(int64_t n)
{
    /* Wide panels broadcast each row once for more columns, and their few rows leave no L1 set crowded at
     * power-of-two distances: the widest tile that leaves no narrower last panel. */
    int64_t vectors = div_up(n, VL);
    for (int nv = TILE_VECTORS; nv > 2; nv--)
        if (vectors % nv == 0) return nv;
    return vectors == 1 ? 1 : 2;
}

int64_t gemm_fit_vectors(const gemm_way *way, int64_t vectors, int64_t n)
{
    vectors = max64(1, min64(vectors, min64(TILE_VECTORS, div_up(n, VL))));
    while (way->tile_rows((int)vectors) == 0) vectors--;
    return vectors;
}
