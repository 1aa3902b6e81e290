/* The GEMM micro-kernels alone: every tile of every instruction set this CPU has, every count of columns,
 * several depths, against plain loops on whole numbers, which are exact. What lies beside a tile must stay as
 * it was. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "../kernels/cpu.h"
#include "../kernels/simd/gemm/args.h"

#define COUNT(a) (int)(sizeof(a) / sizeof *(a))

/* The copies' symbols; absent in a build without that instruction set. */
#define COPY(isa)                                                                                              \
    extern int gemm_tile_rows_##isa(int) __attribute__((weak));                                                \
    extern gemm_rows_kernel *gemm_rows_##isa(int, int) __attribute__((weak));                                  \
    extern gemm_columns_kernel *gemm_columns_##isa(int, int) __attribute__((weak));                            \
    extern void gemm_pack_##isa(const gemm_pack_args *, int64_t, int64_t) __attribute__((weak));
COPY(avx2)
COPY(avx512)

typedef struct {
    cpu_isa isa;
    int lanes, vectors; /* floats of a vector; widest tile in vectors */
    int (*tile_rows)(int);
    gemm_rows_kernel *(*rows)(int, int);
    gemm_columns_kernel *(*columns)(int, int);
    void (*pack)(const gemm_pack_args *, int64_t, int64_t);
} copy;

static const copy copies[] = {
    {CPU_AVX2, 8, 3, gemm_tile_rows_avx2, gemm_rows_avx2, gemm_columns_avx2, gemm_pack_avx2},
    {CPU_AVX512, 16, 4, gemm_tile_rows_avx512, gemm_rows_avx512, gemm_columns_avx512, gemm_pack_avx512},
};

enum {
    MOST_TILES = 3, /* of one call */
    MOST_ROWS = MOST_TILES * 14,
    MOST_WIDTH = 64,
    MOST_TAPS = 3,
    MOST_K = 37,
    GAP = 3, /* floats beside each row of dst that nobody may touch */
    LDC = MOST_WIDTH + GAP,
    SENTINEL = 12345
};

static const int depths[] = {1, 2, 3, 4, 5, 8, 17, MOST_K};

static float whole(int64_t i) { return (float)(i * 2654435761u % 15) - 7; }

static const float zeros[MOST_K];
static float a_values[MOST_ROWS * (MOST_K + MOST_TAPS) + 16],
    panel[MOST_TAPS * MOST_K * MOST_WIDTH] __attribute__((aligned(64))), bias[MOST_WIDTH], dst[MOST_ROWS * LDC],
    wanted[MOST_ROWS * LDC];

static void fill(void)
{
    for (int i = 0; i < COUNT(a_values); i++) a_values[i] = whole(i + 1);
    for (int i = 0; i < COUNT(panel); i++) panel[i] = whole(3 * i + 2);
    for (int i = 0; i < MOST_WIDTH; i++) bias[i] = whole(5 * i + 4);
}

/* Fills dst and wanted alike: sentinels, and where sums are added to, numbers. */
static void prepare(int m, int64_t n, bool accumulate)
{
    for (int i = 0; i < MOST_ROWS * LDC; i++) {
        bool inside = i / LDC < m && i % LDC < n;
        wanted[i] = dst[i] = inside && accumulate ? whole(7 * i) : SENTINEL;
        if (inside && !accumulate) dst[i] = __builtin_nanf("");
    }
}

static void compare(const copy *c, const char *what, int m, int nv, int64_t n, int64_t k)
{
    for (int i = 0; i < MOST_ROWS * LDC; i++)
        if (!(dst[i] == wanted[i]))
            fail_msg("%s %s %dx%d n %d k %d: row %d column %d is %g, not %g", cpu_isa_name(c->isa), what, m, nv,
                     (int)n, (int)k, i / LDC, i % LDC, dst[i], wanted[i]);
}

static void check_rows(const copy *c, int m, int nv, int64_t n, int64_t k, int variant)
{
    static const int32_t slices[MOST_TAPS] = {2, 0, 1};
    int64_t width = (int64_t)nv * c->lanes, taps = 1 + variant % MOST_TAPS,
            tiles = 1 + variant / 2 % MOST_TILES;
    bool accumulate = variant % 2 != 0, relu = variant % 5 == 0, with_bias = variant % 4 != 0;
    bool indexed = variant % 3 != 1;
    int32_t index[MOST_TAPS * MOST_ROWS], dst_index[MOST_ROWS];
    /* Rows neither evenly spaced nor all different, some of them padding; written last to first. */
    for (int32_t i = 0; i < taps * m * tiles; i++) index[i] = i % 11 == 3 ? -1 : 2 + i * 7 % MOST_ROWS;
    for (int32_t i = 0; i < m * tiles; i++) dst_index[i] = (int32_t)(m * tiles) - 1 - i;
    gemm_rows_args args = {.rows = a_values,
                           .row_stride = k + variant % 3,
                           .index = indexed ? index : NULL,
                           .first = indexed ? 2 : 0,
                           .tap_stride = 5,
                           .zeros = zeros,
                           .panel = panel,
                           .slice_stride = k * width,
                           .slices = taps == MOST_TAPS ? slices : NULL,
                           .taps = taps,
                           .k = k,
                           .dst = dst,
                           .dst_stride = LDC,
                           .dst_index = indexed ? dst_index : NULL,
                           .tiles = tiles,
                           .n = n,
                           .accumulate = accumulate,
                           .bias = with_bias ? bias : NULL,
                           .relu = relu};
    prepare(m * (int)tiles, n, accumulate);
    for (int r = 0; r < m * tiles; r++)
        for (int64_t j = 0; j < n; j++) {
            float *out = &wanted[(indexed ? dst_index[r] : r) * LDC + j];
            float sum = accumulate ? *out : with_bias ? bias[j] : 0;
            for (int64_t t = 0; t < taps; t++) {
                int32_t at = index[(r / m * taps + t) * m + r % m];
                const float *a = !indexed ? a_values + t * args.tap_stride + r * args.row_stride
                                 : at < 0 ? zeros
                                          : a_values + (at - args.first) * args.row_stride;
                for (int64_t i = 0; i < k; i++)
                    sum += a[i] * panel[((args.slices != NULL ? slices[t] : t) * k + i) * width + j];
            }
            *out = relu && sum < 0 ? 0 : sum;
        }
    c->rows(m, nv)(&args);
    compare(c, "rows", m, nv, n, k);
}

static void check_columns(const copy *c, int m, int nv, int64_t n, int64_t k, int variant)
{
    /* Two runs, the second stepping over pixels of a as a strided convolution does. */
    int64_t first = k / 3, step = 1 + variant % 2;
    const gemm_run runs[] = {{0, k - first, first}, {1, 0, k - first}};
    bool accumulate = variant % 3 == 0;
    gemm_columns_args args = {.runs = runs,
                              .run_count = 2,
                              .a = a_values,
                              .a_pixel = m,
                              .a_step = step * m,
                              .b = panel,
                              .b_pixel = n,
                              .dst = dst,
                              .ldc = LDC,
                              .n = n,
                              .accumulate = accumulate};
    prepare(m, n, accumulate);
    for (int r = 0; r < m; r++)
        for (int64_t j = 0; j < n; j++) {
            float sum = accumulate ? wanted[r * LDC + j] : 0;
            for (int run = 0; run < 2; run++)
                for (int64_t i = 0; i < runs[run].count; i++)
                    sum += a_values[(runs[run].a + i * step) * m + r] * panel[(runs[run].b + i) * n + j];
            wanted[r * LDC + j] = sum;
        }
    c->columns(m, nv)(&args);
    compare(c, "columns", m, nv, n, k);
}

typedef void checker(const copy *c, int m, int nv, int64_t n, int64_t k, int variant);

static void every_tile(const copy *c, checker *check)
{
    int variant = 0;
    fill();
    for (int nv = 1; nv <= c->vectors; nv++) {
        assert_true(c->tile_rows(nv) > 0 && c->tile_rows(nv) <= MOST_ROWS);
        for (int m = 1; m <= c->tile_rows(nv); m++)
            for (int64_t n = (nv - 1) * c->lanes + 1; n <= nv * c->lanes; n++)
                for (int d = 0; d < COUNT(depths); d++) check(c, m, nv, n, depths[d], variant++);
    }
}

static void test_rows(void **state) { every_tile(*state, check_rows); }
static void test_columns(void **state) { every_tile(*state, check_columns); }

/* Packed in two calls, from a matrix and from its transpose: [k][n] panels,
 * the last one rounded up with zeros. */
static void test_pack(void **state)
{
    const copy *c = *state;
    enum { K = 21, N = 77 };
    static float matrix[K * N], packed[K * (N + MOST_WIDTH)] __attribute__((aligned(64)));
    for (int nv = 1; nv <= c->vectors; nv++)
        for (int transposed = 0; transposed < 2; transposed++) {
            int64_t full = (int64_t)nv * c->lanes, padded = (N + c->lanes - 1) / c->lanes * c->lanes;
            for (int i = 0; i < K * N; i++) matrix[i] = (float)(1 + (transposed ? i % K * N + i / K : i));
            memset(packed, 0xff, sizeof packed);
            gemm_pack_args args = {.b = matrix,
                                   .row_stride = transposed ? 1 : N,
                                   .column_stride = transposed ? K : 1,
                                   .rows = 8,
                                   .k = K,
                                   .n = N,
                                   .nv = nv,
                                   .panels = packed};
            int64_t panels = (padded + full - 1) / full;
            c->pack(&args, 0, 1);
            c->pack(&args, 1, panels);
            args.b += 8 * args.row_stride;
            args.first_row = 8;
            args.rows = K - 8;
            c->pack(&args, 0, panels);
            for (int64_t j = 0; j < padded; j++) {
                int64_t p = j / full, width = p == panels - 1 ? padded - p * full : full;
                for (int64_t i = 0; i < K; i++) {
                    float got = packed[p * full * K + i * width + j % full],
                          want = j < N ? (float)(1 + i * N + j) : 0;
                    if (got != want)
                        fail_msg("nv %d transposed %d: (%d, %d) is %g, not %g", nv, transposed, (int)i, (int)j,
                                 got, want);
                }
            }
        }
}

int main(void)
{
    static const char *const names[][3] = {{"rows avx2", "columns avx2", "pack avx2"},
                                           {"rows avx512", "columns avx512", "pack avx512"}};
    struct CMUnitTest tests[3 * COUNT(copies)];
    int count = 0;
    for (int i = 0; i < COUNT(copies); i++) {
        if (copies[i].rows == NULL || cpu_allowed() < copies[i].isa) continue;
        void *c = (void *)&copies[i];
        tests[count++] = (struct CMUnitTest){names[i][0], test_rows, NULL, NULL, c};
        tests[count++] = (struct CMUnitTest){names[i][1], test_columns, NULL, NULL, c};
        tests[count++] = (struct CMUnitTest){names[i][2], test_pack, NULL, NULL, c};
    }
    if (count == 0) print_message("# no instruction set with micro-kernels is allowed here\n");
    return _cmocka_run_group_tests("microkernel", tests, (size_t)count, NULL, NULL) != 0 || count == 0;
}
