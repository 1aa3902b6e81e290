/* The micro-kernel that multiplies pairs, and what prepares its operands; fip.h says how. Each step takes
 * one pair and one single term of every row, so that the scheduler's few dozen instructions always hold
 * additions as well as multiplications. */
#include "fip.h"

#include <string.h>

#include "../gemm/tile.h"

/* ---- operands */

/* The power of two that brings `most` to [1, 2), and the one that takes it back: 0 where all is zero, or what
 * the other operand's products leave of each other would come out. Subnormal, infinite and NaN count as the
 * nearest that have both. */
static float scale_of(float most, float *unscale)
{
    uint32_t bits;
    memcpy(&bits, &most, sizeof bits);
    uint32_t exponent = bits >> 23 & 255;
    exponent = exponent < 1 ? 1 : exponent > 253 ? 253 : exponent;
    float scale;
    bits = exponent << 23;
    memcpy(unscale, &bits, sizeof bits);
    bits = (254 - exponent) << 23;
    memcpy(&scale, &bits, sizeof bits);
    if (most == 0) *unscale = 0;
    return scale;
}

/* Rows are prepared eight floats at a time with either instruction set: halves of a step in AVX-512 would be
 * masked. */
ALWAYS_INLINE __m256i first_of_eight(int64_t n)
{
    return _mm256_cmpgt_epi32(_mm256_set1_epi32((int)n), _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
}

ALWAYS_INLINE float largest(const float *x, int64_t k)
{
    const __m256 magnitude = _mm256_castsi256_ps(_mm256_set1_epi32(0x7fffffff));
    __m256 most = _mm256_setzero_ps();
    int64_t i = 0;
    for (; i + 8 <= k; i += 8) most = _mm256_max_ps(_mm256_and_ps(_mm256_loadu_ps(x + i), magnitude), most);
    if (i < k)
        most = _mm256_max_ps(_mm256_and_ps(_mm256_maskload_ps(x + i, first_of_eight(k - i)), magnitude), most);
    __m128 four = _mm_max_ps(_mm256_castps256_ps128(most), _mm256_extractf128_ps(most, 1));
    four = _mm_max_ps(four, _mm_movehl_ps(four, four));
    return _mm_cvtss_f32(_mm_max_ss(four, _mm_movehdup_ps(four)));
}

ALWAYS_INLINE float sum_of_eight(__m256 v)
{
    __m128 four = _mm_add_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps(v, 1));
    four = _mm_add_ps(four, _mm_movehl_ps(four, four));
    return _mm_cvtss_f32(_mm_add_ss(four, _mm_movehdup_ps(four)));
}

void fip_prepare(float *to, const float *from, int64_t k)
{
    float unscale, scale = scale_of(largest(from, k), &unscale);
    __m256 by = _mm256_set1_ps(scale), pairs = _mm256_setzero_ps();
    int64_t i = 0;
    for (; i + FIP_STEP <= k; i += FIP_STEP) {
        __m256 term[3];
        UNROLL for (int t = 0; t < 3; t++)
        {
            term[t] = _mm256_mul_ps(_mm256_loadu_ps(from + i + t * FIP_LANES), by);
            _mm256_storeu_ps(to + i + t * FIP_LANES, term[t]);
        }
        pairs = _mm256_fmadd_ps(term[0], term[1], pairs);
    }
    for (; i + 8 <= k; i += 8) _mm256_storeu_ps(to + i, _mm256_mul_ps(_mm256_loadu_ps(from + i), by));
    if (i < k) {
        __m256i rest = first_of_eight(k - i);
        _mm256_maskstore_ps(to + i, rest, _mm256_mul_ps(_mm256_maskload_ps(from + i, rest), by));
    }
    to[k] = -sum_of_eight(pairs);
    to[k + 1] = unscale;
}

/* Scales a packed block [k][width] and writes the header [FIP_HEADER_ROWS][width] before it. */
static void finish_block(float *block, int64_t k, int64_t width)
{
    float *header = block - FIP_HEADER_ROWS * width;
    for (int64_t j = 0; j < width; j += VL) {
        float most[VL], scales[VL], unscales[VL];
        vec m = vec_zero(), pairs = vec_zero();
        for (int64_t i = 0; i < k; i++) m = vec_max(vec_abs(vec_load(block + i * width + j)), m);
        vec_store(most, m);
        for (int l = 0; l < VL; l++) scales[l] = scale_of(most[l], &unscales[l]);
        vec scale = vec_load(scales);
        for (int64_t i = 0; i < k; i++)
            vec_store(block + i * width + j, vec_mul(vec_load(block + i * width + j), scale));
        for (int64_t g = 0; g + FIP_STEP <= k; g += FIP_STEP)
            for (int64_t i = g; i < g + FIP_LANES; i++)
                pairs = vec_fma(vec_load(block + i * width + j), vec_load(block + (i + FIP_LANES) * width + j),
                                pairs);
        vec_store(header + j, vec_sub(vec_zero(), pairs));
        vec_store(header + width + j, vec_load(unscales));
    }
}

void fip_pack(const gemm_pack_args *p, int64_t first, int64_t last)
{
    int64_t full = (int64_t)p->nv * VL, rows = gemm_panel_rows(&fip_way, p->k, p->k_block);
    for (int64_t j = first; j < last; j++) {
        int64_t width = min64(full, round_up(p->n, VL) - j * full);
        gemm_pack_args block = *p;
        block.k = rows;
        for (int64_t k = 0; k < p->k; k += p->k_block) {
            block.first_row += FIP_HEADER_ROWS;
            block.rows = min64(p->k_block, p->k - k);
            gemm_pack(&block, j, j + 1);
            finish_block(p->panels + j * full * rows + block.first_row * width, block.rows, width);
            block.b += block.rows * p->row_stride;
            block.first_row += block.rows;
        }
    }
}

/* ---- micro-kernel */

/* A step of terms, from b on the panel's, from k on the rows'. */
ALWAYS_INLINE void sum_step(const int m, const int nv, vec acc[TILE_ROWS][TILE_VECTORS],
                            const float *const a[TILE_ROWS], int64_t k, const float *b)
{
    const int partner = FIP_LANES * nv * VL;
    for (int64_t last = k + FIP_LANES; k < last; k++, b += nv * VL) {
        vec first[FIP_VECTORS], second[FIP_VECTORS], single[FIP_VECTORS];
        UNROLL for (int v = 0; v < nv; v++)
        {
            first[v] = vec_load(b + v * VL);
            second[v] = vec_load(b + partner + v * VL);
            single[v] = vec_load(b + 2 * partner + v * VL);
        }
        UNROLL for (int r = 0; r < m; r++)
        {
            const float *x = a[r] + k;
            UNROLL for (int v = 0; v < nv; v++)
            {
                vec sum = vec_add_at(second[v], x), other = vec_add_at(first[v], x + FIP_LANES);
                acc[r][v] = vec_fma_at(single[v], x + 2 * FIP_LANES, acc[r][v]);
                acc[r][v] = vec_fma(sum, other, acc[r][v]);
            }
        }
    }
}

/* Takes the scales away and adds bias, or what dst has. */
ALWAYS_INLINE void unscale_tile(const int m, const int nv, vec acc[TILE_ROWS][TILE_VECTORS],
                                const float *const a[TILE_ROWS], float *const dst[TILE_ROWS],
                                const gemm_rows_args *g)
{
    vec_mask tail = vec_mask_first(g->n - (nv - 1) * VL);
    UNROLL for (int v = 0; v < nv; v++)
    {
        vec column = vec_load(g->panel + (nv + v) * VL), base = vec_zero();
        bool whole = v < nv - 1;
        if (!g->accumulate && g->bias != NULL)
            base = whole ? vec_load(g->bias + v * VL) : vec_load_mask(g->bias + v * VL, tail);
        UNROLL for (int r = 0; r < m; r++)
        {
            if (g->accumulate) base = whole ? vec_load(dst[r] + v * VL) : vec_load_mask(dst[r] + v * VL, tail);
            /* The scales first: a large one and a small one must not overflow the sum between them. */
            vec unscale = vec_mul(column, vec_set1(a[r][g->k + 1]));
            acc[r][v] = vec_fma(acc[r][v], unscale, base);
            vec_clip(1, &acc[r][v], g->clip);
        }
    }
}

ALWAYS_INLINE void fip_tile(const int m, const int nv, const gemm_rows_args *g, int64_t tile)
{
    vec acc[TILE_ROWS][TILE_VECTORS];
    const float *a[TILE_ROWS], *b = g->panel + FIP_HEADER_ROWS * nv * VL;
    float *dst[TILE_ROWS];
    UNROLL for (int r = 0; r < m; r++)
    {
        a[r] = g->rows + (tile * m + r) * g->row_stride;
        UNROLL for (int v = 0; v < nv; v++) acc[r][v] = vec_add_at(vec_load(g->panel + v * VL), a[r] + g->k);
    }
    bool prefetching = tile * m < g->ahead_rows;
    const float *ahead = prefetching ? g->ahead + tile * m * g->ahead_stride : NULL;
    int64_t k = 0;
    for (; k + FIP_STEP <= g->k; k += FIP_STEP, b += FIP_STEP * nv * VL) {
        if (prefetching) {
            UNROLL for (int r = 0; r < m; r++) prefetch(ahead + k + r * g->ahead_stride, FIP_STEP);
        }
        sum_step(m, nv, acc, a, k, b);
    }
    for (; k < g->k; k++, b += nv * VL) {
        UNROLL for (int v = 0; v < nv; v++)
        {
            vec panel = vec_load(b + v * VL);
            UNROLL for (int r = 0; r < m; r++) acc[r][v] = vec_fma_at(panel, a[r] + k, acc[r][v]);
        }
    }
    dst_rows(m, g, tile, dst);
    unscale_tile(m, nv, acc, a, dst, g);
    store_tile(m, nv, acc, dst, g->n, g->stream);
}

ALWAYS_INLINE void fip_kernel(const int m, const int nv, const gemm_rows_args *g)
{
    for (int64_t tile = 0; tile < g->tiles; tile++) fip_tile(m, nv, g, tile);
}

/* ---- one instance per line of tiles.def */

#define TILE(m, nv)                                                                                            \
    static void fip_##m##_##nv(const gemm_rows_args *g) { fip_kernel(m, nv, g); }
#include "tiles.def"
#undef TILE

static gemm_rows_kernel *const table[FIP_VECTORS + 1][FIP_ROWS + 1] = {
#define TILE(m, nv) [nv][m] = fip_##m##_##nv,
#include "tiles.def"
#undef TILE
};

gemm_rows_kernel *fip_rows(int m, int nv) { return table[nv][m]; }

static int tile_rows(int nv) { return nv <= FIP_VECTORS ? FIP_ROWS : 0; }

int fip_panel_vectors(int64_t n) { return (int)min64(FIP_VECTORS, div_up(n, VL)); }

const gemm_way fip_way = {.rows = fip_rows,
                          .tile_rows = tile_rows,
                          .panel_vectors = fip_panel_vectors,
                          .pack = fip_pack,
                          .prepare = fip_prepare,
                          .prepared = true,
                          .header_rows = FIP_HEADER_ROWS};
