/* The GEMM of im2col by itself, every compiled copy this CPU can run: its register tile over every m <= MR and
 * n <= NR, and the blocked product at odd sizes, with leading dimensions, operands packed ahead or not, masks,
 * bias, ReLU and accumulation. Small integers, so every result must be exact. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "support.h"

#include "../kernels/im2col/gemm.h"

/* gemm.h declares the base copy; the others are absent in a build without that instruction set. */
#define DECLARE(isa)                                                                                           \
    extern __typeof__(gemm_fill_rows) gemm_fill_rows##isa __attribute__((weak));                               \
    extern __typeof__(gemm_fill_transposed) gemm_fill_transposed##isa __attribute__((weak));                   \
    extern __typeof__(gemm_block) gemm_block##isa __attribute__((weak));                                       \
    extern __typeof__(gemm_pack_b) gemm_pack_b##isa __attribute__((weak));                                     \
    extern __typeof__(gemm_run) gemm_run##isa __attribute__((weak));                                           \
    extern __typeof__(gemm_tile) gemm_tile##isa __attribute__((weak));                                         \
    extern __typeof__(gemm_tile_sizes) gemm_tile_sizes##isa __attribute__((weak));
DECLARE(_avx2)
DECLARE(_avx512)

typedef struct {
    cpu_isa isa;
    __typeof__(&gemm_fill_rows) rows, transposed;
    __typeof__(&gemm_block) block;
    __typeof__(&gemm_pack_b) pack_b;
    __typeof__(&gemm_run) run;
    __typeof__(&gemm_tile) tile;
    __typeof__(&gemm_tile_sizes) sizes;
} copy;

#define COPY(number, isa)                                                                                      \
    {                                                                                                          \
        (number), gemm_fill_rows##isa, gemm_fill_transposed##isa, gemm_block##isa, gemm_pack_b##isa,           \
            gemm_run##isa, gemm_tile##isa, gemm_tile_sizes##isa                                                \
    }

/* Runs test on every copy that was built and is allowed; the base copy always is. */
static void on_every_copy(void (*test)(const copy *c))
{
    const copy copies[] = {COPY(CPU_BASE, ), COPY(CPU_AVX2, _avx2), COPY(CPU_AVX512, _avx512)};
    int ran = 0;
    for (size_t i = 0; i < sizeof copies / sizeof *copies; i++) {
        if (copies[i].run == NULL || copies[i].isa > cpu_allowed()) continue;
        test(&copies[i]);
        ran++;
    }
    assert_true(ran > 0);
}

static float *integers(int64_t count, uint32_t stream)
{
    float *data = buffer_alloc((size_t)count * sizeof *data);
    assert_non_null(data);
    fill(data, count, FILL_INTEGERS, 3, 1, stream);
    return data;
}

/* ---- the register tile */

enum { MARGIN = 3, OLD = 5, UNTOUCHED = 77 };

/* All corners [rows][cols] of one product of full tiles. */
static void check_tile(const copy *c, int64_t depth, bool transposed, bool add)
{
    gemm_sizes s = c->sizes();
    int64_t ldc = s.nr + MARGIN, count = (s.mr + 1) * ldc;
    float *a = integers(transposed ? depth * s.mr : s.mr * s.a_ld, 1), *b = integers(depth * s.nr, 2);
    float *out = buffer_alloc((size_t)count * sizeof *out), *want = calloc((size_t)(s.mr * s.nr), sizeof *want);
    for (int i = 0; i < s.mr; i++)
        for (int j = 0; j < s.nr; j++)
            for (int64_t k = 0; k < depth; k++)
                want[i * s.nr + j] += (transposed ? a[k * s.mr + i] : a[i * s.a_ld + k]) * b[k * s.nr + j];
    for (int rows = 1; rows <= s.mr; rows++)
        for (int cols = 1; cols <= s.nr; cols++) {
            for (int64_t i = 0; i < count; i++) {
                bool inside = i / ldc < rows && i % ldc < cols;
                out[i] = !inside ? UNTOUCHED : add ? OLD : NAN;
            }
            c->tile(depth, a, transposed, b, out, ldc, rows, cols, add);
            for (int64_t i = 0; i < count; i++) {
                bool inside = i / ldc < rows && i % ldc < cols;
                float expected = inside ? want[i / ldc * s.nr + i % ldc] + (add ? OLD : 0) : UNTOUCHED;
                if (out[i] == expected) continue;
                fail_msg("%s tile %dx%d of depth %lld%s: [%lld][%lld] is %g, not %g", cpu_isa_name(c->isa),
                         rows, cols, (long long)depth, transposed ? " transposed" : "", (long long)(i / ldc),
                         (long long)(i % ldc), (double)out[i], (double)expected);
            }
        }
    buffer_free(a);
    buffer_free(b);
    buffer_free(out);
    free(want);
}

static void tile_of_copy(const copy *c)
{
    const int64_t depths[] = {1, 2, 3, 8, 31, c->sizes().kc_max};
    for (size_t d = 0; d < sizeof depths / sizeof *depths; d++)
        for (int options = 0; options < 4; options++) check_tile(c, depths[d], options & 1, options & 2);
}

static void test_tile(void **state)
{
    (void)state;
    on_every_copy(tile_of_copy);
}

/* ---- the blocked product */

typedef struct {
    int64_t m, n, k;
    bool a_transposed, b_transposed; /* how the operand is stored */
    bool b_ahead, masked, add, relu, bias;
    bool part; /* compute rows, columns and k behind the first ones only */
    int threads;
} product;

/* An operand [rows][cols], stored as told with a margin between its rows. */
typedef struct {
    gemm_matrix stored;
    float *data, *mask;
    bool transposed;
} matrix;

static matrix matrix_create(int64_t rows, int64_t cols, bool transposed, bool masked, uint32_t stream)
{
    int64_t height = transposed ? cols : rows, ld = (transposed ? rows : cols) + MARGIN;
    matrix m = {.data = integers(height * ld, stream), .transposed = transposed};
    if (masked) m.mask = integers(height * ld, stream + 1);
    m.stored = (gemm_matrix){m.data, m.mask, ld};
    return m;
}

static double element(const matrix *m, int64_t row, int64_t col)
{
    int64_t at = m->transposed ? col * m->stored.ld + row : row * m->stored.ld + col;
    return m->mask == NULL || m->mask[at] > 0 ? (double)m->data[at] : 0;
}

static void matrix_free(matrix *m)
{
    buffer_free(m->data);
    buffer_free(m->mask);
}

static double expected(const product *p, const gemm_call *call, const matrix *a, const matrix *b, int64_t i,
                       int64_t j)
{
    double sum = p->add ? OLD : 0;
    for (int64_t k = 0; k < call->depth; k++)
        sum += element(a, call->row + i, call->k + k) * element(b, call->k + k, call->col + j);
    if (call->bias != NULL) sum += (double)call->bias[call->col + j];
    return p->relu && sum < 0 ? 0 : sum;
}

static void check_product(const copy *c, const product *p)
{
    gemm_sizes s = c->sizes();
    matrix a = matrix_create(p->m, p->k, p->a_transposed, p->masked && !p->a_transposed, 10);
    matrix b = matrix_create(p->k, p->n, p->b_transposed, p->masked, 20);
    float *bias = integers(p->n, 31);
    gemm_blocking g = c->block(p->m, p->n, p->k, 4096, 65536, p->b_ahead); /* small: several slices */

    /* A's transposed panels come from its stored transpose by plain copying, as in backward_weights. */
    gemm_call call = {
        .rows = p->m, .cols = p->n, .depth = p->k, .add = p->add, .relu = p->relu, .threads = p->threads};
    call.a = (gemm_operand){c->rows, &a.stored, p->a_transposed};
    call.b = (gemm_operand){p->b_transposed ? c->transposed : c->rows, &b.stored, false};
    if (p->part) {
        call.row = p->m > s.mr ? s.mr : 0;
        call.col = p->n > s.nr ? s.nr : 0;
        call.k = p->b_ahead ? 0 : p->k / 2;
        call.rows -= call.row, call.cols -= call.col, call.depth -= call.k;
    }
    call.bias = p->bias ? bias : NULL;
    float *packed_b = buffer_alloc(p->b_ahead ? g.packed_b_bytes : 0);
    if (p->b_ahead) c->pack_b(&g, call.b, packed_b, p->threads);
    call.packed_b = p->b_ahead ? packed_b : NULL;
    call.ldc = call.cols + MARGIN;
    call.c = buffer_alloc((size_t)(call.rows * call.ldc) * sizeof(float));
    call.scratch = buffer_alloc(g.scratch_bytes);
    memset(call.scratch, 0xff, g.scratch_bytes); /* NaN */
    for (int64_t i = 0; i < call.rows * call.ldc; i++)
        call.c[i] = i % call.ldc >= call.cols ? UNTOUCHED : p->add ? OLD : NAN;

    c->run(&g, &call);

    for (int64_t i = 0; i < call.rows * call.ldc; i++) {
        int64_t row = i / call.ldc, col = i % call.ldc;
        double want = col < call.cols ? expected(p, &call, &a, &b, row, col) : UNTOUCHED;
        if ((double)call.c[i] == want) continue;
        fail_msg("%s %lldx%lldx%lld: C[%lld][%lld] is %g, not %g; A %d B %d%d part %d threads %d",
                 cpu_isa_name(c->isa), (long long)p->m, (long long)p->n, (long long)p->k, (long long)row,
                 (long long)col, (double)call.c[i], want, p->a_transposed, p->b_transposed, p->b_ahead, p->part,
                 p->threads);
    }
    void *const buffers[] = {packed_b, call.c, call.scratch, bias};
    for (size_t i = 0; i < sizeof buffers / sizeof *buffers; i++) {
        assert_true(buffer_intact(buffers[i]));
        buffer_free(buffers[i]);
    }
    matrix_free(&a);
    matrix_free(&b);
}

static void products_of_copy(const copy *c)
{
    gemm_sizes s = c->sizes();
    const int64_t ms[] = {1, s.mr, s.mr + 1, 5 * s.mr - 1, 97}, ns[] = {1, s.nr - 1, s.nr, 2 * s.nr + 1};
    const int64_t ks[] = {1, 7, 133};
    enum { MS = sizeof ms / sizeof *ms, NS = sizeof ns / sizeof *ns, KS = sizeof ks / sizeof *ks, OPTIONS = 8 };
    for (unsigned i = 0; i < MS * NS * KS; i++)
        for (unsigned bit = 0; bit <= OPTIONS; bit++) { /* each option alone, and with a mix of the others */
            unsigned on = (bit < OPTIONS ? 1u << bit : 0) | (i * 0x9E3779B9u >> (32 - OPTIONS));
            product p = {.m = ms[i % MS], .n = ns[i / MS % NS], .k = ks[i / MS / NS]};
            bool *const options[OPTIONS] = {&p.a_transposed, &p.b_transposed, &p.b_ahead, &p.masked,
                                            &p.add,          &p.relu,         &p.bias,    &p.part};
            for (unsigned o = 0; o < OPTIONS; o++) *options[o] = on >> o & 1;
            p.threads = 1 + (int)(i + bit) % 3;
            check_product(c, &p);
        }
}

static void test_products(void **state)
{
    (void)state;
    on_every_copy(products_of_copy);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_tile), cmocka_unit_test(test_products)};
    return cmocka_run_group_tests_name("gemm", tests, NULL, NULL);
}
