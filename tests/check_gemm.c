/* The GEMM micro-kernels and packing: every tile, every count of columns, several depths, and all that the
 * arguments can ask for. */
#include "check.h"
#include "support.h"

#include "../kernels/simd/gemm/gemm.h"

CHECK_COPIES(gemm_tile_rows);
CHECK_COPIES(gemm_rows);
CHECK_COPIES(gemm_columns);
CHECK_COPIES(gemm_pack);

typedef struct {
    __typeof__(&gemm_tile_rows) tile_rows;
    __typeof__(&gemm_rows) rows;
    __typeof__(&gemm_columns) columns;
    __typeof__(&gemm_pack) pack;
} gemm_functions;

/* ---- every tile */

/* m rows of nv vectors, of which n columns; k terms. variant: says which options. */
typedef struct {
    int m, nv;
    int64_t n, k;
    int variant;
    bool timed;
} tile;

static void every_tile(const check_kernel *k, void (*check)(const check_kernel *k, const tile *t))
{
    static const int64_t depths[] = {1, 3, 8, 17, 37};
    const gemm_functions *f = k->functions;
    int variant = 0;
    for (int nv = 1; nv <= (k->lanes == 8 ? 3 : 4); nv++) {
        int most = f->tile_rows(nv);
        for (int m = 1; m <= most; m++)
            for (int64_t n = (nv - 1) * k->lanes + 1; n <= nv * k->lanes; n++)
                for (int64_t d = 0; d < COUNT(depths); d++)
                    check(k, &(tile){m, nv, n, depths[d], variant++, false});
        check(k, &(tile){most, nv, nv * k->lanes, 256, 1, true});
    }
}

typedef struct {
    gemm_rows_kernel *kernel;
    gemm_rows_args args;
} rows_call;

static void call_rows(const void *call) { ((const rows_call *)call)->kernel(&((const rows_call *)call)->args); }

/* The row that a tap of the tile's row i reads, or -1. */
static int64_t row_read(const gemm_rows_args *g, int64_t m, int64_t tap, int64_t i)
{
    return g->index == NULL ? i : g->index[(i / m * g->taps + tap) * m + i % m];
}

static void expect_rows(const gemm_rows_args *g, int64_t m, int64_t width, check_output *dst)
{
    for (int64_t i = 0; i < m * g->tiles; i++)
        for (int64_t j = 0; j < g->n; j++) {
            int64_t at = (g->dst_index != NULL ? g->dst_index[i] : i) * g->dst_stride + j;
            check_sum sum = check_start(dst, at, g->accumulate);
            if (!g->accumulate && g->bias != NULL) check_add(&sum, (double)g->bias[j]);
            for (int64_t t = 0; t < g->taps; t++) {
                int64_t row = row_read(g, m, t, i), slice = g->slices != NULL ? g->slices[t] : t;
                const float *a = row < 0 ? NULL : g->rows + (row - g->first) * g->row_stride;
                if (g->index == NULL) a += t * g->tap_stride;
                for (int64_t l = 0; a != NULL && l < g->k; l++)
                    check_add(&sum, (double)a[l] * g->panel[slice * g->slice_stride + l * width + j]);
            }
            check_expect(dst, at, &sum, g->clip, 1);
        }
}

static void check_rows_tile(const check_kernel *k, const tile *t)
{
    enum { MOST_TAPS = 3, MOST_TILES = 3, MOST_ROWS = MOST_TILES * 14, GAP = 3 };
    static const int32_t slices[MOST_TAPS] = {2, 0, 1};
    int v = t->variant;
    int64_t width = (int64_t)t->nv * k->lanes, taps = t->timed ? 1 : 1 + v % MOST_TAPS;
    int64_t tiles = 1 + v / 2 % MOST_TILES, count = t->m * tiles;
    bool indexed = v % 3 != 1, stream = v % 4 == 3;
    int32_t index[MOST_TAPS * MOST_ROWS], dst_index[MOST_ROWS];
    /* Rows neither evenly spaced nor all different, some of them padding; written last to first. */
    for (int32_t i = 0; i < taps * count; i++) index[i] = i % 11 == 3 ? -1 : 2 + i * 7 % MOST_ROWS;
    for (int32_t i = 0; i < count; i++) dst_index[i] = (int32_t)count - 1 - i;
    float *zeros = check_reals(t->k);
    for (int64_t i = 0; i < t->k; i++) zeros[i] = 0;
    rows_call call = {((const gemm_functions *)k->functions)->rows(t->m, t->nv),
                      {.rows = check_reals((MOST_ROWS + taps) * (t->k + 5)),
                       .row_stride = t->k + v % 3,
                       .index = indexed ? index : NULL,
                       .first = indexed ? 2 : 0,
                       .tap_stride = 5,
                       .zeros = zeros,
                       .panel = check_reals(taps * t->k * width),
                       .slice_stride = t->k * width,
                       .slices = taps == MOST_TAPS ? slices : NULL,
                       .taps = taps,
                       .k = t->k,
                       .dst_stride = stream ? width + k->lanes : width + GAP,
                       .dst_index = indexed ? dst_index : NULL,
                       .tiles = tiles,
                       .n = t->n,
                       .accumulate = v % 2 != 0,
                       .bias = v % 4 != 0 ? check_reals(t->n) : NULL,
                       .clip = check_clip(v),
                       .stream = stream}};
    gemm_rows_args *g = &call.args;
    if (v % 7 == 6) g->ahead = g->rows, g->ahead_stride = t->k, g->ahead_rows = count / 2;
    check_output dst = check_untouched(count * g->dst_stride);
    g->dst = dst.got;
    expect_rows(g, t->m, width, &dst);
    check_case c = {k, call_rows, &call, &dst, 2.0 * (double)(count * t->n * t->k * taps), t->timed};
    check_call(&c, "tile %dx%d, n %d, k %d, %d taps, %d tiles", t->m, t->nv, (int)t->n, (int)t->k, (int)taps,
               (int)tiles);
}

typedef struct {
    gemm_columns_kernel *kernel;
    gemm_columns_args args;
} columns_call;

static void call_columns(const void *call)
{
    ((const columns_call *)call)->kernel(&((const columns_call *)call)->args);
}

static void check_columns_tile(const check_kernel *k, const tile *t)
{
    enum { GAP = 3 };
    /* Two runs, the second stepping over pixels of a as a strided convolution does. */
    int64_t first = t->k / 3, step = 1 + t->variant % 2, ldc = t->n + GAP, a_pixel = t->m + 1,
            b_pixel = t->n + 2;
    const gemm_run runs[] = {{0, t->k - first, first}, {1, 0, t->k - first}};
    columns_call call = {((const gemm_functions *)k->functions)->columns(t->m, t->nv),
                         {.runs = runs,
                          .run_count = 2,
                          .a = check_reals((2 * t->k + 1) * a_pixel),
                          .a_pixel = a_pixel,
                          .a_step = step * a_pixel,
                          .b = check_reals(t->k * b_pixel),
                          .b_pixel = b_pixel,
                          .ldc = ldc,
                          .n = t->n,
                          .accumulate = t->variant % 3 == 0}};
    gemm_columns_args *g = &call.args;
    if (t->variant % 5 == 4) g->ahead = g->b, g->ahead_step = 16, g->next = g->a;
    check_output dst = check_untouched(t->m * ldc);
    g->dst = dst.got;
    for (int64_t r = 0; r < t->m; r++)
        for (int64_t j = 0; j < t->n; j++) {
            check_sum sum = check_start(&dst, r * ldc + j, g->accumulate);
            for (int run = 0; run < 2; run++)
                for (int64_t i = 0; i < runs[run].count; i++)
                    check_add(&sum, (double)g->a[(runs[run].a + i * step) * a_pixel + r] *
                                        g->b[(runs[run].b + i) * b_pixel + j]);
            check_expect(&dst, r * ldc + j, &sum, false, 1);
        }
    check_case c = {k, call_columns, &call, &dst, 2.0 * (double)(t->m * t->n * t->k), t->timed};
    check_call(&c, "tile %dx%d, n %d, k %d", t->m, t->nv, (int)t->n, (int)t->k);
}

static void check_gemm_rows(const check_kernel *k) { every_tile(k, check_rows_tile); }
static void check_gemm_columns(const check_kernel *k) { every_tile(k, check_columns_tile); }

/* ---- packing */

typedef struct {
    __typeof__(&gemm_pack) pack;
    gemm_pack_args args;
    int64_t panels, split; /* split: rows of a first call */
} pack_call;

/* In two calls by rows and two by panels, as several threads do it. */
static void call_pack(const void *args)
{
    const pack_call *call = args;
    gemm_pack_args part = call->args;
    part.rows = call->split;
    call->pack(&part, 0, 1);
    call->pack(&part, 1, call->panels);
    part.b += call->split * part.row_stride;
    part.first_row = call->split;
    part.rows = part.k - call->split;
    call->pack(&part, 0, call->panels);
}

static void check_pack(const check_kernel *k, int nv, bool transposed, int64_t depth, int64_t n, bool timed)
{
    int64_t full = (int64_t)nv * k->lanes, padded = round_up(n, k->lanes);
    const float *matrix = check_reals(depth * n);
    check_output packed = check_untouched(depth * padded);
    for (int64_t i = 0; i < depth; i++)
        for (int64_t j = 0; j < padded; j++) {
            int64_t column = j / full * full, width = min64(full, padded - column);
            int64_t at = column * depth + i * width + j % full;
            check_sum sum = check_start(&packed, at, false);
            if (j < n) check_add(&sum, (double)(transposed ? matrix[j * depth + i] : matrix[i * n + j]));
            check_expect(&packed, at, &sum, false, 0);
        }
    pack_call call = {.pack = ((const gemm_functions *)k->functions)->pack,
                      .args = {.b = matrix,
                               .row_stride = transposed ? 1 : n,
                               .column_stride = transposed ? depth : 1,
                               .k = depth,
                               .n = n,
                               .nv = nv,
                               .panels = packed.got},
                      .panels = div_up(padded, full),
                      .split = depth / 3};
    check_case c = {k, call_pack, &call, &packed, (double)(depth * n), timed};
    check_call(&c, "[%d][%d]%s in panels of %d vectors", (int)depth, (int)n, transposed ? " transposed" : "",
               nv);
}

static void check_gemm_pack(const check_kernel *k)
{
    for (int nv = 1; nv <= (k->lanes == 8 ? 3 : 4); nv++)
        for (int transposed = 0; transposed < 2; transposed++) {
            for (int64_t n = nv * k->lanes - 1; n <= nv * k->lanes + 1; n++)
                check_pack(k, nv, transposed, 2 * k->lanes + 5, n, false);
            check_pack(k, nv, transposed, 21, 77, false);
            check_pack(k, nv, transposed, 128, 128, true);
        }
}

/* ---- the family */

#define FUNCTIONS(isa)                                                                                         \
    {                                                                                                          \
        gemm_tile_rows##isa, gemm_rows##isa, gemm_columns##isa, gemm_pack##isa                                 \
    }
static const gemm_functions avx2 = FUNCTIONS(_avx2), avx512 = FUNCTIONS(_avx512);

static const check_entry entries[] = {
    {"gemm_rows", check_gemm_rows}, {"gemm_columns", check_gemm_columns}, {"gemm_pack", check_gemm_pack}};
const check_family check_gemm = {entries,
                                 COUNT(entries),
                                 {[CPU_AVX2] = {&avx2, (void (*)(void))gemm_rows_avx2},
                                  [CPU_AVX512] = {&avx512, (void (*)(void))gemm_rows_avx512}}};
