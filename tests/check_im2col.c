/* The GEMM of im2col: its register tile over every m <= MR and n <= NR, and the blocked product at odd sizes,
 * with leading dimensions, operands packed ahead or not, masks, bias, clips and accumulation. */
#include "check.h"
#include "support.h"

#include "../kernels/im2col/sgemm.h"

CHECK_COPIES(sgemm_fill_rows);
CHECK_COPIES(sgemm_fill_transposed);
CHECK_COPIES(sgemm_cut);
CHECK_COPIES(sgemm_pack_b);
CHECK_COPIES(sgemm_run);
CHECK_COPIES(sgemm_tile);
CHECK_COPIES(sgemm_tile_sizes);

typedef struct {
    __typeof__(&sgemm_fill_rows) rows, transposed;
    __typeof__(&sgemm_cut) cut;
    __typeof__(&sgemm_pack_b) pack_b;
    __typeof__(&sgemm_run) run;
    __typeof__(&sgemm_tile) tile;
    __typeof__(&sgemm_tile_sizes) sizes;
} sgemm_functions;

enum { GAP = 3 };

/* ---- the register tile */

typedef struct {
    const sgemm_functions *f;
    int64_t depth;
    const float *a, *b;
    bool transposed, add;
    float *c;
    int64_t ldc;
    int rows, cols;
} tile;

static void call_tile(const void *call)
{
    const tile *t = call;
    t->f->tile(t->depth, t->a, t->transposed, t->b, t->c, t->ldc, t->rows, t->cols, t->add);
}

static void check_tile(const check_kernel *k, tile t, bool timed)
{
    sgemm_sizes s = t.f->sizes();
    t.a = check_reals(t.transposed ? t.depth * s.mr : s.mr * s.a_ld);
    t.b = check_reals(t.depth * s.nr);
    t.ldc = t.cols + GAP;
    check_output c = check_untouched(t.rows * t.ldc);
    t.c = c.got;
    for (int i = 0; i < t.rows; i++)
        for (int j = 0; j < t.cols; j++) {
            check_sum sum = check_start(&c, i * t.ldc + j, t.add);
            for (int64_t l = 0; l < t.depth; l++)
                check_add(&sum, (double)t.a[t.transposed ? l * s.mr + i : i * s.a_ld + l] * t.b[l * s.nr + j]);
            check_expect(&c, i * t.ldc + j, &sum, false, 1);
        }
    check_case call = {k, call_tile, &t, &c, 2.0 * (double)(t.rows * t.cols * t.depth), timed};
    check_call(&call, "tile %dx%d, depth %d%s%s", t.rows, t.cols, (int)t.depth,
               t.transposed ? ", transposed" : "", t.add ? ", added" : "");
}

static void check_sgemm_tile(const check_kernel *k)
{
    const sgemm_functions *f = k->functions;
    sgemm_sizes s = f->sizes();
    const int64_t depths[] = {1, 2, 31, s.kc_max};
    for (int options = 0; options < 4; options++) {
        tile t = {.f = f, .transposed = options & 1, .add = options & 2};
        for (int64_t d = 0; d < COUNT(depths); d++)
            for (t.rows = 1; t.rows <= s.mr; t.rows++)
                for (t.cols = 1; t.cols <= s.nr; t.cols++) {
                    t.depth = t.rows == s.mr || t.cols % 3 == 0 ? depths[d] : 5;
                    check_tile(k, t, options < 2 && d == 3 && t.rows == s.mr && t.cols == s.nr);
                }
    }
}

/* ---- the blocked product */

typedef struct {
    int64_t m, n, k;
    bool a_transposed, b_transposed; /* how the operand is stored */
    bool b_ahead, masked, add, clipped, bias;
    bool part; /* compute rows, columns and k behind the first ones only */
    int threads;
} product;

/* An operand [rows][cols], stored as told with a gap between its rows. */
static sgemm_matrix make_matrix(int64_t rows, int64_t cols, bool transposed, bool masked)
{
    int64_t height = transposed ? cols : rows, ld = (transposed ? rows : cols) + GAP;
    return (sgemm_matrix){check_reals(height * ld), masked ? check_reals(height * ld) : NULL, ld, 0.5F};
}

static double element(const sgemm_matrix *m, bool transposed, int64_t row, int64_t col)
{
    int64_t at = transposed ? col * m->ld + row : row * m->ld + col;
    return m->mask == NULL || (m->mask[at] > 0 && m->mask[at] <= m->passing) ? (double)m->data[at] : 0;
}

typedef struct {
    const sgemm_functions *f;
    sgemm_blocking cut;
    sgemm_call call;
} product_call;

static void call_product(const void *call)
{
    const product_call *p = call;
    p->f->run(&p->cut, &p->call);
}

static void check_product(const check_kernel *k, const product *p, bool timed)
{
    const sgemm_functions *f = k->functions;
    sgemm_sizes s = f->sizes();
    sgemm_matrix a = make_matrix(p->m, p->k, p->a_transposed, p->masked && !p->a_transposed);
    sgemm_matrix b = make_matrix(p->k, p->n, p->b_transposed, p->masked);
    size_t l1d = timed ? 32 << 10 : 4096, l2 = timed ? 512 << 10 : 65536; /* small: several slices */
    product_call c = {f, f->cut(p->m, p->n, p->k, l1d, l2, p->b_ahead), {0}};
    sgemm_call *call = &c.call;
    /* A's transposed panels come from its stored transpose by plain copying, as in backward_weights. */
    *call = (sgemm_call){.rows = p->m,
                         .cols = p->n,
                         .depth = p->k,
                         .a = {f->rows, &a, p->a_transposed},
                         .b = {p->b_transposed ? f->transposed : f->rows, &b, false},
                         .add = p->add,
                         .clip = !p->clipped ? 0
                                 : p->bias   ? 0.5F
                                             : INFINITY,
                         .bias = p->bias ? check_reals(p->n) : NULL,
                         .threads = p->threads};
    if (p->part) {
        call->row = p->m > s.mr ? s.mr : 0;
        call->col = p->n > s.nr ? s.nr : 0;
        call->k = p->b_ahead ? 0 : p->k / 2;
        call->rows -= call->row, call->cols -= call->col, call->depth -= call->k;
    }
    if (p->b_ahead) {
        float *packed = check_untouched((int64_t)(c.cut.packed_b_bytes / sizeof(float))).got;
        f->pack_b(&c.cut, call->b, packed, p->threads);
        call->packed_b = packed;
    }
    call->scratch = check_untouched((int64_t)(c.cut.scratch_bytes / sizeof(float))).got;
    call->ldc = call->cols + GAP;
    check_output out = check_untouched(call->rows * call->ldc);
    call->c = out.got;
    for (int64_t i = 0; i < call->rows; i++)
        for (int64_t j = 0; j < call->cols; j++) {
            check_sum sum = check_start(&out, i * call->ldc + j, p->add);
            for (int64_t l = call->k; l < call->k + call->depth; l++)
                check_add(&sum, element(&a, p->a_transposed, call->row + i, l) *
                                    element(&b, p->b_transposed, l, call->col + j));
            if (p->bias) check_add(&sum, (double)call->bias[call->col + j]);
            check_expect(&out, i * call->ldc + j, &sum, call->clip, 1);
        }
    check_case call_case = {k, call_product, &c, &out, 2.0 * (double)(p->m * p->n * p->k), timed};
    check_call(&call_case, "%dx%dx%d, A %d B %d%d part %d threads %d", (int)p->m, (int)p->n, (int)p->k,
               p->a_transposed, p->b_transposed, p->b_ahead, p->part, p->threads);
}

static void check_sgemm_run(const check_kernel *k)
{
    sgemm_sizes s = ((const sgemm_functions *)k->functions)->sizes();
    const int64_t ms[] = {1, s.mr, s.mr + 1, 5 * s.mr - 1, 97}, ns[] = {1, s.nr - 1, s.nr, 2 * s.nr + 1};
    const int64_t ks[] = {1, 7, 133};
    enum { OPTIONS = 8 };
    for (unsigned i = 0; i < COUNT(ms) * COUNT(ns) * COUNT(ks); i++)
        for (unsigned bit = 0; bit <= OPTIONS; bit++) { /* each option alone, and with a mix of the others */
            unsigned on = (bit < OPTIONS ? 1u << bit : 0) | (i * 0x9E3779B9u >> (32 - OPTIONS));
            product p = {.m = ms[i % COUNT(ms)],
                         .n = ns[i / COUNT(ms) % COUNT(ns)],
                         .k = ks[i / (COUNT(ms) * COUNT(ns))]};
            bool *const options[OPTIONS] = {&p.a_transposed, &p.b_transposed, &p.b_ahead, &p.masked,
                                            &p.add,          &p.clipped,      &p.bias,    &p.part};
            for (unsigned o = 0; o < OPTIONS; o++) *options[o] = on >> o & 1;
            p.threads = 1 + (int)(i + bit) % 3;
            check_product(k, &p, false);
        }
    check_product(k, &(product){.m = 196, .n = 128, .k = 256, .b_ahead = true, .threads = 1}, true);
}

/* ---- the family */

#define FUNCTIONS(isa)                                                                                         \
    {                                                                                                          \
        sgemm_fill_rows##isa, sgemm_fill_transposed##isa, sgemm_cut##isa, sgemm_pack_b##isa, sgemm_run##isa,   \
            sgemm_tile##isa, sgemm_tile_sizes##isa                                                             \
    }
static const sgemm_functions base = FUNCTIONS(), avx2 = FUNCTIONS(_avx2), avx512 = FUNCTIONS(_avx512);

static const check_entry entries[] = {{"sgemm_tile", check_sgemm_tile}, {"sgemm_run", check_sgemm_run}};
const check_family check_im2col = {entries,
                                   COUNT(entries),
                                   {[CPU_BASE] = {&base, (void (*)(void))sgemm_run},
                                    [CPU_AVX2] = {&avx2, (void (*)(void))sgemm_run_avx2},
                                    [CPU_AVX512] = {&avx512, (void (*)(void))sgemm_run_avx512}}};
