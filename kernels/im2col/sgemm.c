/* Loop order (BLIS's, its two outer loops exchanged because C here outgrows the caches sooner than B does):
 *
 *   mc rows of A    kc of k    pack A and B slices    tasks: tile_m rows of register tiles, a panel of B    k
 *
 * The register tile MR x NR lives in vector registers; a panel of B, [kc][NR], in L1; the slice of A, mc x kc,
 * in L2. Packing and tasks are parallel, with a barrier between; slices of k follow one another in order, so
 * the bits do not depend on the number of threads. A's panels are [MR][A_LD], rows as they lie in memory: then
 * packing is copying, and A_LD, constant and off any power of two, costs neither address arithmetic nor cache
 * conflicts. Where A comes transposed, copying gives [kc][MR] instead. Tails are packed with zeros and computed
 * in full. Source: Van Zee and van de Geijn, BLIS, ACM TOMS 41(3), 2015. */
#include "sgemm.h"

#include <string.h>

#include "../conv.h"
#include "../util.h"

/* Vector length, vectors across a register tile, rows down it, most k per slice. MR * NV accumulators, NV for B
 * and one for the broadcast of A must fit the registers: 32 with AVX-512, else 16. */
#if defined(__AVX512F__)
enum { VL = 16, NV = 2, MR = 14, KC_MAX = 256 };
#elif defined(__AVX2__)
enum { VL = 8, NV = 2, MR = 6, KC_MAX = 384 };
#else
enum { VL = 4, NV = 2, MR = 4, KC_MAX = 384 };
#endif
enum { NR = VL * NV, A_LD = KC_MAX + 16 };
enum { TASKS = 32 }; /* wanted per slice: what two to a few dozen threads share evenly */

typedef float vec __attribute__((vector_size(VL * sizeof(float))));
typedef float vec_unaligned __attribute__((vector_size(VL * sizeof(float)), aligned(sizeof(float)), may_alias));

/* ---- the register tile */

/* a(i, k) is a[i * row + k * step]; both are constants where this is inlined. */
ALWAYS_INLINE void full_tile(int64_t depth, const float *restrict a, int64_t row, int64_t step,
                             const float *restrict b, float *restrict c, int64_t ldc, bool add)
{
    vec sum[MR][NV];
#pragma GCC unroll 16
    for (int i = 0; i < MR; i++)
#pragma GCC unroll 4
        for (int j = 0; j < NV; j++) sum[i][j] = (vec){0};

    for (int64_t k = 0; k < depth; k++) {
        vec bk[NV];
#pragma GCC unroll 4
        for (int j = 0; j < NV; j++) bk[j] = *(const vec *)(b + k * NR + j * VL);
#pragma GCC unroll 16
        for (int i = 0; i < MR; i++)
#pragma GCC unroll 4
            for (int j = 0; j < NV; j++) sum[i][j] += a[i * row + k * step] * bk[j];
    }

#pragma GCC unroll 16
    for (int i = 0; i < MR; i++)
#pragma GCC unroll 4
        for (int j = 0; j < NV; j++) {
            vec_unaligned *to = (vec_unaligned *)(c + i * ldc + j * VL);
            if (add) sum[i][j] += *to;
            *to = sum[i][j];
        }
}

static void tile(int64_t depth, const float *a, bool transposed, const float *b, float *c, int64_t ldc,
                 bool add)
{
    if (transposed)
        full_tile(depth, a, 1, MR, b, c, ldc, add);
    else
        full_tile(depth, a, A_LD, 1, b, c, ldc, add);
}

void sgemm_tile(int64_t depth, const float *a, bool transposed, const float *b, float *c, int64_t ldc, int rows,
                int cols, bool add)
{
    if (rows == MR && cols == NR) {
        tile(depth, a, transposed, b, c, ldc, add);
        return;
    }
    float whole[MR * NR];
    tile(depth, a, transposed, b, whole, NR, false);
    for (int i = 0; i < rows; i++)
        for (int j = 0; j < cols; j++) c[i * ldc + j] = (add ? c[i * ldc + j] : 0) + whole[i * NR + j];
}

sgemm_sizes sgemm_tile_sizes(void) { return (sgemm_sizes){MR, NR, KC_MAX, A_LD}; }

/* ---- packing */

void sgemm_fill_rows(const void *matrix, const sgemm_block *b, float *to, int64_t ld)
{
    const sgemm_matrix *m = matrix;
    for (int64_t r = 0; r < b->rows; r++) {
        const float *from = m->data + (b->row + r) * m->ld + b->col;
        if (m->mask == NULL) {
            memcpy(to + r * ld, from, (size_t)b->cols * sizeof(float));
            continue;
        }
        const float *mask = m->mask + (b->row + r) * m->ld + b->col;
        for (int64_t c = 0; c < b->cols; c++)
            to[r * ld + c] = mask[c] > 0 && mask[c] <= m->passing ? from[c] : 0;
    }
}

void sgemm_fill_transposed(const void *matrix, const sgemm_block *b, float *to, int64_t ld)
{
    const sgemm_matrix *m = matrix;
    for (int64_t c = 0; c < b->cols; c++) {
        const float *from = m->data + (b->col + c) * m->ld + b->row,
                    *mask = m->mask ? m->mask + (from - m->data) : NULL;
        for (int64_t r = 0; r < b->rows; r++)
            to[r * ld + c] = mask == NULL || (mask[r] > 0 && mask[r] <= m->passing) ? from[r] : 0;
    }
}

static int64_t a_panel(bool transposed, int64_t kc) { return MR * (transposed ? kc : A_LD); }

/* Rows [row, row + MR) of A, k in [k0, k0 + depth), zeros below the last row m. */
static void pack_a_panel(sgemm_operand a, int64_t row, int64_t m, int64_t k0, int64_t depth, float *to)
{
    int64_t rows = min64(MR, m - row);
    if (a.transposed) {
        if (rows < MR) memset(to, 0, (size_t)(depth * MR) * sizeof *to);
        a.fill(a.matrix, &(sgemm_block){k0, depth, row, rows}, to, MR);
    } else {
        a.fill(a.matrix, &(sgemm_block){row, rows, k0, depth}, to, A_LD);
        if (rows < MR) memset(to + rows * A_LD, 0, (size_t)((MR - rows) * A_LD) * sizeof *to);
    }
}

static void pack_b_panel(sgemm_operand b, int64_t col, int64_t n, int64_t k0, int64_t depth, float *to)
{
    int64_t cols = min64(NR, n - col);
    if (cols < NR) memset(to, 0, (size_t)(depth * NR) * sizeof *to);
    b.fill(b.matrix, &(sgemm_block){k0, depth, col, cols}, to, NR);
}

/* Ahead of time: [slice of k][panel], every slice kc deep but the last. */
void sgemm_pack_b(const sgemm_blocking *g, sgemm_operand b, float *packed, int threads)
{
    int64_t panels = div_up(g->n, NR), size = g->kc * NR;
#pragma omp parallel for collapse(2) schedule(static) num_threads(threads)
    for (int64_t s = 0; s < div_up(g->k, g->kc); s++)
        for (int64_t j = 0; j < panels; j++)
            pack_b_panel(b, j * NR, g->n, s * g->kc, min64(g->kc, g->k - s * g->kc),
                         packed + (s * panels + j) * size);
}

/* ---- the product */

sgemm_blocking sgemm_cut(int64_t m, int64_t n, int64_t k, size_t l1d, size_t l2, bool b_ahead)
{
    sgemm_blocking g = {.m = m, .n = n, .k = k};
    int64_t fits_l1 = (int64_t)(l1d * 2 / 3 / (NR * sizeof(float)));
    g.kc = even_piece(k, min64(fits_l1, KC_MAX), 8);
    g.mc = even_piece(m, (int64_t)(l2 * 3 / 4 / (A_LD * sizeof(float))), MR);
    int64_t down = g.mc / MR, across = div_up(n, NR);
    for (g.tile_m = div_up(down, 2); g.tile_m > 1 && div_up(down, g.tile_m) * across < TASKS;)
        g.tile_m = div_up(g.tile_m, 2);
    int64_t slices = div_up(k, g.kc),
            panel = a_panel(true, g.kc) > a_panel(false, g.kc) ? a_panel(true, g.kc) : a_panel(false, g.kc);
    g.packed_b_bytes = (size_t)(slices * across * NR * g.kc) * sizeof(float);
    g.scratch_bytes =
        (size_t)(down * panel) * sizeof(float) + (b_ahead ? 0 : (size_t)(across * NR * g.kc) * sizeof(float));
    return g;
}

/* One slice of the product, packed: C's rows [row, row + rows), relative to the call's first. */
typedef struct {
    const float *a, *b; /* first panels */
    int64_t row, rows, depth;
    bool add, last;
} slice;

/* Bias and post-op, while the tile of C is in L1. */
static void finish(const sgemm_call *call, int64_t row, int64_t rows, int64_t col, int64_t cols)
{
    for (int64_t i = 0; i < rows; i++) {
        float *c = call->c + (row + i) * call->ldc + col;
        for (int64_t j = 0; j < cols; j++) {
            float value = c[j] + (call->bias ? call->bias[call->col + col + j] : 0);
            c[j] = conv_clipped(value, call->clip);
        }
    }
}

/* The task: register tiles [i, i_end) down panel j of B, which stays in L1. */
static void task(const sgemm_blocking *g, const sgemm_call *call, const slice *s, int64_t i, int64_t i_end,
                 int64_t j)
{
    bool finishing = s->last && (call->clip > 0 || call->bias != NULL);
    int64_t panel = a_panel(call->a.transposed, g->kc), cols = min64(NR, call->cols - j * NR);
    for (; i < i_end; i++) {
        int64_t row = s->row + i * MR, rows = min64(MR, s->rows - i * MR);
        sgemm_tile(s->depth, s->a + i * panel, call->a.transposed, s->b + j * g->kc * NR,
                   call->c + row * call->ldc + j * NR, call->ldc, (int)rows, (int)cols, s->add);
        if (finishing) finish(call, row, rows, j * NR, cols);
    }
}

/* Packs what is not packed ahead and says where the slice's panels are. Called by every thread of the team. */
static slice pack_slice(const sgemm_blocking *g, const sgemm_call *call, int64_t row, int64_t k0)
{
    slice s = {.row = row, .rows = min64(g->mc, call->rows - row), .depth = min64(g->kc, call->depth - k0)};
    s.add = call->add || k0 > 0;
    s.last = k0 + s.depth == call->depth;
    int64_t panel = a_panel(call->a.transposed, g->kc), first = call->row + row;
    float *a = call->scratch, *b = a + g->mc / MR * panel;
    s.a = a;
    s.b = b;
#pragma omp for schedule(static) nowait
    for (int64_t i = 0; i < div_up(s.rows, MR); i++)
        pack_a_panel(call->a, first + i * MR, first + s.rows, call->k + k0, s.depth, a + i * panel);
    if (call->packed_b)
        s.b = call->packed_b + (k0 / g->kc * div_up(g->n, NR) + call->col / NR) * g->kc * NR;
    else {
#pragma omp for schedule(static) nowait
        for (int64_t j = 0; j < div_up(call->cols, NR); j++)
            pack_b_panel(call->b, call->col + j * NR, call->col + call->cols, call->k + k0, s.depth,
                         b + j * g->kc * NR);
    }
    return s;
}

void sgemm_run(const sgemm_blocking *g, const sgemm_call *call)
{
    int64_t across = div_up(call->cols, NR);
#pragma omp parallel num_threads(call->threads)
    for (int64_t row = 0; row < call->rows; row += g->mc)
        for (int64_t k0 = 0; k0 < call->depth; k0 += g->kc) {
            slice s = pack_slice(g, call, row, k0);
            int64_t down = div_up(s.rows, MR);
#pragma omp barrier
#pragma omp for collapse(2) schedule(static)
            for (int64_t i = 0; i < down; i += g->tile_m)
                for (int64_t j = 0; j < across; j++) task(g, call, &s, i, min64(i + g->tile_m, down), j);
        }
}
