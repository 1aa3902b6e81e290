/* Products that multiply pairs (kernels/simd/fip/fip.h): every tile at every depth around a step of terms,
 * exact on whole numbers; results that only change their exponent with the operands'; operands of any
 * magnitude; and where the stated error factor comes from. */
#include <string.h>

#include "check.h"
#include "support.h"

#include "../kernels/simd/fip/fip.h"

CHECK_COPIES(fip_pack);
CHECK_COPIES(fip_prepare);
CHECK_COPIES(fip_rows);

typedef struct {
    __typeof__(&fip_pack) pack;
    __typeof__(&fip_prepare) prepare;
    __typeof__(&fip_rows) rows;
} fip_functions;

enum { MOST_BLOCKS = 5, GAP = 3 };

/* dst[count][n] = a[count][k] * b[k][n] as drivers do it: blocks of k, each added to the last. */
typedef struct {
    const fip_functions *f;
    int m, nv, lanes;
    int64_t tiles, n, k, k_block;
    const float *a, *b;
    float *rows, *panel; /* scratch: prepared rows, packed blocks */
    gemm_rows_args args;
} product;

static product make_product(const check_kernel *k, int m, int nv, int64_t tiles, int64_t n, int64_t depth)
{
    int64_t width = (int64_t)nv * k->lanes;
    return (product){.f = k->functions,
                     .m = m,
                     .nv = nv,
                     .lanes = k->lanes,
                     .tiles = tiles,
                     .n = n,
                     .k = depth,
                     .k_block = depth,
                     .a = check_integers(m * tiles * depth),
                     .b = check_integers(depth * n),
                     .rows = check_reals(m * tiles * (depth + FIP_ROW_TAIL)),
                     .panel = check_reals((depth + FIP_HEADER_ROWS * MOST_BLOCKS) * width)};
}

/* All but the product of the last block of k, which is left to args. */
static gemm_rows_args prepare_blocks(const product *p)
{
    gemm_rows_args args = p->args;
    int64_t width = (int64_t)p->nv * p->lanes;
    gemm_pack_args pack = {.b = p->b,
                           .row_stride = p->n,
                           .column_stride = 1,
                           .rows = p->k,
                           .k = p->k,
                           .n = p->n,
                           .k_block = p->k_block,
                           .nv = p->nv,
                           .panels = p->panel};
    p->f->pack(&pack, 0, 1);
    args.rows = p->rows;
    args.row_stride = p->k + FIP_ROW_TAIL;
    args.panel = p->panel;
    args.taps = 1;
    args.tiles = p->tiles;
    args.n = p->n;
    for (int64_t k0 = 0;; k0 += p->k_block) {
        args.k = min64(p->k_block, p->k - k0);
        for (int64_t r = 0; r < p->m * p->tiles; r++)
            p->f->prepare(p->rows + r * args.row_stride, p->a + r * p->k + k0, args.k);
        args.clip = k0 + args.k == p->k ? p->args.clip : 0;
        if (k0 + args.k == p->k) return args;
        p->f->rows(p->m, p->nv)(&args);
        args.accumulate = true;
        args.panel += (args.k + FIP_HEADER_ROWS) * width;
    }
}

static void call_product(const void *call)
{
    const product *p = call;
    gemm_rows_args last = prepare_blocks(p);
    p->f->rows(p->m, p->nv)(&last);
}

typedef struct {
    gemm_rows_kernel *kernel;
    gemm_rows_args args;
} rows_call;

static void call_rows(const void *call) { ((const rows_call *)call)->kernel(&((const rows_call *)call)->args); }

static void check_tile(const check_kernel *k, int m, int nv, int64_t n, int64_t depth, int variant)
{
    product p = make_product(k, m, nv, 1 + variant % 2, n, depth);
    if (variant % 3 != 0) p.k_block = (depth + 2) / 3;
    bool accumulate = variant % 2 != 0;
    int64_t count = m * p.tiles, stride = n + GAP;
    check_output dst = check_untouched(count * stride);
    p.args = (gemm_rows_args){.dst = dst.got,
                              .dst_stride = stride,
                              .accumulate = accumulate,
                              .bias = !accumulate && variant % 4 != 0 ? check_integers(n) : NULL,
                              .clip = check_clip(variant)};
    for (int64_t i = 0; i < count; i++)
        for (int64_t j = 0; j < n; j++) {
            check_sum sum = check_start(&dst, i * stride + j, accumulate);
            if (p.args.bias != NULL) check_add(&sum, (double)p.args.bias[j]);
            for (int64_t l = 0; l < depth; l++) check_add(&sum, (double)p.a[i * depth + l] * p.b[l * n + j]);
            check_expect(&dst, i * stride + j, &sum, p.args.clip, 0);
        }
    check_case c = {k, call_product, &p, &dst, 0, false};
    check_call(&c, "tile %dx%d, n %d, k %d by %d", m, nv, (int)n, (int)depth, (int)p.k_block);
}

/* The kernel alone, its operands prepared: what --bench times. */
static void check_prepared(const check_kernel *k, int nv)
{
    enum { K = 240 };
    int64_t n = (int64_t)nv * k->lanes;
    product p = make_product(k, FIP_ROWS, nv, 1, n, K);
    check_output dst = check_untouched(FIP_ROWS * n);
    p.args = (gemm_rows_args){.dst = dst.got, .dst_stride = n};
    for (int64_t i = 0; i < FIP_ROWS * n; i++) {
        check_sum sum = check_start(&dst, i, false);
        for (int64_t l = 0; l < K; l++) check_add(&sum, (double)p.a[i / n * K + l] * p.b[l * n + i % n]);
        check_expect(&dst, i, &sum, false, 0);
    }
    rows_call call = {p.f->rows(FIP_ROWS, nv), prepare_blocks(&p)};
    check_case c = {k, call_rows, &call, &dst, 2.0 * (double)(FIP_ROWS * n * K), true};
    check_call(&c, "tile %dx%d, n %d, k %d", FIP_ROWS, nv, (int)n, K);
}

static void check_fip_rows(const check_kernel *k)
{
    static const int64_t depths[] = {1, 7, 8, 23, 24, 25, 31, 32, 48, 49, 72, 77};
    int variant = 0;
    for (int nv = 1; nv <= FIP_VECTORS; nv++) {
        for (int m = 1; m <= FIP_ROWS; m++)
            for (int64_t n = (nv - 1) * k->lanes + 1; n <= nv * k->lanes; n++)
                for (int64_t d = 0; d < COUNT(depths); d++) check_tile(k, m, nv, n, depths[d], variant++);
        check_prepared(k, nv);
    }
}

/* ---- magnitudes */

enum { TALL = FIP_ROWS, WIDE = 2 * 16, MOST_K = 77 };
static float a[TALL * MOST_K], b[MOST_K * WIDE], rows[TALL * (MOST_K + FIP_ROW_TAIL)], dst[TALL * WIDE],
    panel[(MOST_K + FIP_HEADER_ROWS) * WIDE] __attribute__((aligned(64)));

/* dst[m][n] = a[m][k] * b[k][n] in one block. */
static void multiply(const check_kernel *k, int m, int nv, int64_t n, int64_t depth)
{
    product p = {.f = k->functions,
                 .m = m,
                 .nv = nv,
                 .lanes = k->lanes,
                 .tiles = 1,
                 .n = n,
                 .k = depth,
                 .k_block = depth,
                 .a = a,
                 .b = b,
                 .rows = rows,
                 .panel = panel,
                 .args = {.dst = dst, .dst_stride = n}};
    call_product(&p);
}

/* Numbers in (-1, 1), the same for the same i. */
static float real(int i) { return (float)((uint32_t)i * 2654435761u >> 8) * 0x1p-23f - 1.0f; }

/* Rows and columns times powers of two, each another: the same bits, but for the exponents. */
static void check_fip_scales(const check_kernel *k)
{
    enum { K = 61 };
    float before[TALL * WIDE];
    for (int pass = 0; pass < 2; pass++) {
        for (int i = 0; i < TALL * K; i++) a[i] = ldexpf(real(i), pass * (i / K * 7 - 40));
        for (int i = 0; i < K * WIDE; i++) b[i] = ldexpf(real(i + 9999), pass * (i % WIDE * 2 - 20));
        multiply(k, TALL, FIP_VECTORS, WIDE, K);
        if (pass == 0) memcpy(before, dst, sizeof before);
    }
    for (int r = 0; r < TALL; r++)
        for (int j = 0; j < WIDE; j++)
            assert_true(dst[r * WIDE + j] == ldexpf(before[r * WIDE + j], r * 7 - 40 + j * 2 - 20));
}

/* A zero row or column gives zeros, whatever the other holds; the largest numbers do not overflow on the way;
 * subnormal ones are as inexact as the least normal one would be. */
static void check_fip_extremes(const check_kernel *k)
{
    enum { K = 24 };
    static const float magnitude[] = {0, 0x1p-149f, 0x1.8p-126f, 1, 0x1.8p127f};
    for (int i = 0; i < COUNT(magnitude); i++)
        for (int j = 0; j < COUNT(magnitude); j++) {
            double want = (double)magnitude[i] * magnitude[j];
            double most = want == 0 ? 0 : fmax(magnitude[i], 0x1p-126) * fmax(magnitude[j], 0x1p-126) * K;
            if (most > 0x1p127) continue;
            for (int l = 0; l < K; l++) a[l] = magnitude[i] * (l % 2 ? 1 : -1), b[l] = magnitude[j];
            a[0] = b[0] = 0;
            multiply(k, 1, 1, 1, K);
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
 * a column. The factor covers a tenth; rows whose one largest element leaves the others a tenth, for real. */
static void check_fip_bound(const check_kernel *k)
{
    double worst = 0, factor = VERIFY_FACTOR * reach(1, 10);
    assert_true(factor <= FIP_ERROR_FACTOR && FIP_ERROR_FACTOR <= 1.05 * factor);
    for (int depth = 24; depth <= 72; depth += 8) {
        double largest = 0, error = 0;
        for (int i = 0; i < TALL * depth; i++) a[i] = i % depth == i / depth ? 10 : real(i + depth);
        for (int i = 0; i < depth * WIDE; i++) b[i] = real(i + 777);
        multiply(k, TALL, FIP_VECTORS, WIDE, depth);
        for (int i = 0; i < TALL * WIDE; i++) {
            check_sum sum = {0};
            for (int l = 0; l < depth; l++)
                check_add(&sum, (double)a[i / WIDE * depth + l] * b[l * WIDE + i % WIDE]);
            largest = fmax(largest, sum.size);
            error = fmax(error, fabs(dst[i] - sum.sum));
        }
        worst = fmax(worst, error / (0x1p-24 * sqrt(depth) * largest));
    }
    print_message("# %s: error %.2f of u sqrt(K) sum|x*w|, stated %d\n", cpu_isa_name(k->isa), worst,
                  FIP_ERROR_FACTOR);
    assert_true(worst > 0 && worst < factor);
}

/* ---- the family */

static const fip_functions avx512 = {fip_pack_avx512, fip_prepare_avx512, fip_rows_avx512};

static const check_entry entries[] = {{"fip_rows", check_fip_rows},
                                      {"fip_scales", check_fip_scales},
                                      {"fip_extremes", check_fip_extremes},
                                      {"fip_bound", check_fip_bound}};
const check_family check_fip = {
    entries, COUNT(entries), {[CPU_AVX512] = {&avx512, (void (*)(void))fip_rows_avx512}}};
