/* Products that multiply pairs (kernels/simd/fip/fip.h): every tile at every depth around a group of
 * terms, exact on whole numbers; results that only change their exponent with the operands'; operands of any
 * magnitude; and where the stated error factor comes from. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "support.h"

#include "../kernels/simd/gemm/args.h"

#define COUNT(a) (int)(sizeof(a) / sizeof *(a))

/* The copies' symbols; absent in a build without that instruction set. */
#define COPY(isa)                                                                                              \
    extern void fip_pack_##isa(const gemm_pack_args *, int64_t, int64_t) __attribute__((weak));                \
    extern void fip_prepare_##isa(float *, const float *, int64_t) __attribute__((weak));                      \
    extern gemm_rows_kernel *fip_rows_##isa(int, int) __attribute__((weak));
COPY(avx512)

typedef struct {
    cpu_isa isa;
    int lanes, rows; /* floats of a vector, rows of the tallest tile */
    void (*pack)(const gemm_pack_args *, int64_t, int64_t);
    void (*prepare)(float *, const float *, int64_t);
    gemm_rows_kernel *(*kernel)(int, int);
} copy;

static const copy copies[] = {
    {CPU_AVX512, 16, 12, fip_pack_avx512, fip_prepare_avx512, fip_rows_avx512},
};

enum {
    VECTORS = 2, /* of the widest tile */
    HEADER = 2,  /* packed rows before a block's own, floats after a row's */
    MOST_TILES = 2,
    MOST_ROWS = MOST_TILES * 12,
    MOST_WIDTH = 16 * VECTORS,
    MOST_K = 77,
    MOST_BLOCKS = 5,
    GAP = 3, /* floats beside each row of dst that nobody may touch */
    LDC = MOST_WIDTH + GAP,
    LDA = MOST_K + HEADER,
    SENTINEL = 12345
};

static const int depths[] = {1, 7, 8, 23, 24, 25, 31, 32, 48, 49, 72, MOST_K};

static float a[MOST_ROWS * MOST_K], b[MOST_K * MOST_WIDTH], bias[MOST_WIDTH], dst[MOST_ROWS * LDC],
    wanted[MOST_ROWS * LDC], rows[MOST_ROWS * LDA],
    panel[(MOST_K + HEADER * MOST_BLOCKS) * MOST_WIDTH] __attribute__((aligned(64)));

static float whole(int64_t i) { return (float)(i * 2654435761u % 15) - 7; }

/* dst[m][n] = a[m][k] * b[k][n] as callers do it: blocks of k, each accumulated on the last. */
static void multiply(const copy *c, int m, int nv, int tiles, int64_t n, int64_t k, int64_t k_block,
                     gemm_rows_args args)
{
    int64_t width = (int64_t)nv * c->lanes, at = 0;
    gemm_pack_args pack = {.b = b,
                           .row_stride = n,
                           .column_stride = 1,
                           .rows = k,
                           .k = k,
                           .n = n,
                           .k_block = k_block,
                           .nv = nv,
                           .panels = panel};
    c->pack(&pack, 0, 1);
    bool relu = args.relu, accumulate = args.accumulate;
    for (int64_t k0 = 0; k0 < k; k0 += k_block, at += HEADER) {
        args.k = k - k0 < k_block ? k - k0 : k_block;
        for (int r = 0; r < m * tiles; r++) c->prepare(rows + r * LDA, a + r * k + k0, args.k);
        args.rows = rows;
        args.row_stride = LDA;
        args.panel = panel + at * width;
        args.taps = 1;
        args.dst = dst;
        args.dst_stride = LDC;
        args.tiles = tiles;
        args.n = n;
        args.accumulate = accumulate || k0 > 0;
        args.relu = relu && k0 + args.k == k;
        c->kernel(m, nv)(&args);
        at += args.k;
    }
}

static void check_tile(const copy *c, int m, int nv, int64_t n, int64_t k, int variant)
{
    int tiles = 1 + variant % MOST_TILES;
    int64_t k_block = variant % 3 == 0 ? k : (k + 2) / 3;
    bool accumulate = variant % 2 != 0, relu = variant % 5 == 0, with_bias = !accumulate && variant % 4 != 0;
    for (int i = 0; i < m * tiles * k; i++) a[i] = whole(i + variant);
    for (int i = 0; i < k * n; i++) b[i] = whole(3 * i + 2);
    for (int i = 0; i < n; i++) bias[i] = whole(5 * i + 4);
    for (int i = 0; i < MOST_ROWS * LDC; i++) {
        int r = i / LDC, j = i % LDC;
        bool inside = r < m * tiles && j < n;
        float sum = accumulate ? whole(7 * i) : with_bias ? bias[j < n ? j : 0] : 0;
        dst[i] = !inside ? SENTINEL : accumulate ? sum : __builtin_nanf("");
        for (int64_t l = 0; inside && l < k; l++) sum += a[r * k + l] * b[l * n + j];
        wanted[i] = !inside ? SENTINEL : relu && sum < 0 ? 0 : sum;
    }
    multiply(c, m, nv, tiles, n, k, k_block,
             (gemm_rows_args){.accumulate = accumulate, .bias = with_bias ? bias : NULL, .relu = relu});
    for (int i = 0; i < MOST_ROWS * LDC; i++)
        if (!(dst[i] == wanted[i]))
            fail_msg("%s %dx%d n %d k %d by %d: row %d column %d is %g, not %g", cpu_isa_name(c->isa), m, nv,
                     (int)n, (int)k, (int)k_block, i / LDC, i % LDC, dst[i], wanted[i]);
}

static void test_tiles(void **state)
{
    const copy *c = *state;
    int variant = 0;
    for (int nv = 1; nv <= VECTORS; nv++)
        for (int m = 1; m <= c->rows; m++)
            for (int64_t n = (nv - 1) * c->lanes + 1; n <= nv * c->lanes; n++)
                for (int d = 0; d < COUNT(depths); d++) check_tile(c, m, nv, n, depths[d], variant++);
}

/* Numbers in (-1, 1), the same for the same i. */
static float real(int i) { return (float)((uint32_t)i * 2654435761u >> 8) * 0x1p-23f - 1.0f; }

/* Rows and columns times powers of two, each another: the same bits, but for the exponents. */
static void test_scales(void **state)
{
    const copy *c = *state;
    enum { K = 61 };
    int m = c->rows, n = 2 * c->lanes;
    float before[MOST_ROWS * LDC];
    for (int pass = 0; pass < 2; pass++) {
        for (int i = 0; i < m * K; i++) a[i] = ldexpf(real(i), pass * (i / K * 7 - 40));
        for (int i = 0; i < K * n; i++) b[i] = ldexpf(real(i + 9999), pass * (i % n * 2 - 20));
        multiply(c, m, VECTORS, 1, n, K, K, (gemm_rows_args){0});
        if (pass == 0) memcpy(before, dst, sizeof before);
    }
    for (int r = 0; r < m; r++)
        for (int j = 0; j < n; j++)
            assert_true(dst[r * LDC + j] == ldexpf(before[r * LDC + j], r * 7 - 40 + j * 2 - 20));
}

/* A zero row or column gives zeros, whatever the other holds; the largest numbers do not overflow on the way;
 * subnormal ones are as inexact as the least normal one would be. */
static void test_extremes(void **state)
{
    const copy *c = *state;
    enum { K = 24 };
    static const float magnitude[] = {0, 0x1p-149f, 0x1.8p-126f, 1, 0x1.8p127f};
    for (int i = 0; i < COUNT(magnitude); i++)
        for (int j = 0; j < COUNT(magnitude); j++) {
            double want = (double)magnitude[i] * magnitude[j];
            double most = want == 0 ? 0 : fmax(magnitude[i], 0x1p-126) * fmax(magnitude[j], 0x1p-126) * K;
            if (most > 0x1p127) continue;
            for (int l = 0; l < K; l++) a[l] = magnitude[i] * (l % 2 ? 1 : -1), b[l] = magnitude[j];
            a[0] = b[0] = 0;
            multiply(c, 1, 1, 1, 1, K, K, (gemm_rows_args){0});
            if (fabs((double)dst[0] - want) > 1e-6 * most + 0x1p-149)
                fail_msg("%g times %g: %g, not %g", (double)magnitude[i], (double)magnitude[j], (double)dst[0],
                         want);
        }
}

/* The size of the numbers that are summed, over that of a plain sum, for rows of magnitude x and columns of
 * magnitude y after scaling. Of a triple of terms: the row's and the column's own products, the product of the
 * two sums, the single term. */
static double reach(double x, double y) { return (x * x + y * y + (x + y) * (x + y) + x * y) / (3 * x * y); }

/* Scaling brings the largest to [1, 2); how much smaller the others are on the mean differs between a row and
 * a column. The factor covers a tenth. */
static void test_factor(void **state)
{
    (void)state;
    const conv_impl *impl = conv_find("fip-avx512", CONV_POINTWISE);
    double factor = VERIFY_FACTOR * reach(1, 10);
    print_message("# error factor: alike %.1f, a tenth %.1f\n", VERIFY_FACTOR * reach(1, 1), factor);
    if (impl == NULL) skip();
    assert_true(factor <= impl->error_factor);
    assert_true(impl->error_factor <= 1.05 * factor);
}

/* Rows whose one largest element leaves the others a tenth, for real. */
static void test_bound(void **state)
{
    const copy *c = *state;
    double worst = 0;
    for (int k = 24; k <= 72; k += 8) {
        int m = c->rows, n = 2 * c->lanes;
        double largest = 0, error = 0;
        for (int i = 0; i < m * k; i++) a[i] = i % k == i / k ? 10 : real(i + k);
        for (int i = 0; i < k * n; i++) b[i] = real(i + 777);
        multiply(c, m, VECTORS, 1, n, k, k, (gemm_rows_args){0});
        for (int r = 0; r < m; r++)
            for (int j = 0; j < n; j++) {
                double sum = 0, size = 0;
                for (int l = 0; l < k; l++) {
                    double term = (double)a[r * k + l] * b[l * n + j];
                    sum += term, size += fabs(term);
                }
                largest = fmax(largest, size);
                error = fmax(error, fabs(dst[r * LDC + j] - sum));
            }
        worst = fmax(worst, error / (0x1p-24 * sqrt(k) * largest));
    }
    print_message("# %s: error %.2f of u sqrt(K) sum|x*w|\n", cpu_isa_name(c->isa), worst);
    assert_true(worst > 0 && worst < VERIFY_FACTOR * reach(1, 10));
}

int main(void)
{
    static const char *const names[][4] = {
        {"tiles avx512", "scales avx512", "extremes avx512", "bound avx512"}};
    static const CMUnitTestFunction functions[] = {test_tiles, test_scales, test_extremes, test_bound};
    struct CMUnitTest tests[1 + 4 * COUNT(copies)] = {{"factor", test_factor, NULL, NULL, NULL}};
    int count = 1;
    for (int i = 0; i < COUNT(copies); i++)
        for (int t = 0; t < 4 && copies[i].kernel != NULL && copies[i].isa <= cpu_allowed(); t++)
            tests[count++] = (struct CMUnitTest){names[i][t], functions[t], NULL, NULL, (void *)&copies[i]};
    return _cmocka_run_group_tests("fip", tests, (size_t)count, NULL, NULL);
}
