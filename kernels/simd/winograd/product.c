/* Winograd forward, and backward_data as the forward convolution of diff_dst with the weights turned round.
 *
 * for chunk of tiles (transformed tensors of one chunk stay in the caches):
 *   for tile:                     V[xi][tile][k] = B' d B                      parallel over tiles
 *   for xi, panel of weights:     M[xi][tile][n] = V[xi] * U[xi]               parallel over xi and panels
 *   for tile:                     out = A' M A, bias, ReLU                     parallel over tiles
 * With chunks of its own a thread waits for nobody and reads nothing that another core wrote: better where all
 * of U leaves room for a chunk in L2, or U stays in L3 and there are tiles enough. No sum crosses tiles, so
 * chunks change no bits. */
#include "winograd.h"

#include <stdlib.h>
#include <string.h>

#include "../../plan.h"
#include "../../strategy.h"
#include "../gemm/gemm.h"
#include "transform.h"

enum {
    K_BLOCK = 256,    /* a panel's of one xi stays in L2 */
    LEAST_CHUNK = 8,  /* tiles that pay for reading U from L2 ... */
    LEAST_LARGE = 48, /* ... and from L3, */
    MOST_L2S = 12,    /* where U of so many L2s stays next to what else is there */
    LEAST_INSIDE = 2  /* pixels per axis from which F(4x4) keeps the error bound: see winograd.c */
};

/* ---- strategies */

static const conv_choice product_choices[] = {
    {"m", false}, {"vectors", false},         {"threads apart", true}, {"tiles", false},
    {"k", false}, {"tiles prefetched", true}, {"streamed", true},      {NULL, false}};

/* What follows from the problem alone. */
static winograd_product shape_of(const conv_problem *p, bool backward)
{
    const conv_axis *h = &p->axis[CONV_H], *x = &p->axis[CONV_W];
    int64_t src_h = h->in, src_w = x->in, dst_h = conv_out(h), dst_w = conv_out(x);
    winograd_product w = {.backward = backward,
                          .ic = p->ic,
                          .oc = p->oc,
                          .k = backward ? p->oc : p->ic,
                          .n = backward ? p->ic : p->oc,
                          .grid = {.in_h = backward ? dst_h : src_h,
                                   .in_w = backward ? dst_w : src_w,
                                   .out_h = backward ? src_h : dst_h,
                                   .out_w = backward ? src_w : dst_w,
                                   .pad_h = backward ? 2 - h->pad_before : h->pad_before,
                                   .pad_w = backward ? 2 - x->pad_before : x->pad_before}};
    w.v_row = round_up(w.k, VL) + WINOGRAD_GAP;
    w.m_row = round_up(w.n, VL) + WINOGRAD_GAP;
    return w;
}

/* The nearest possible strategy: sizes cut to the problem's. Cuts the grid as it says. */
static void fit(const conv_problem *p, const conv_context *ctx, winograd_product_strategy *how,
                winograd_product *w)
{
    how->m = how->m == 4 ? winograd_best_m(&w->grid, LEAST_INSIDE) : 2;
    winograd_cut(&w->grid, how->m, p->mb);
    how->vectors = gemm_fit_vectors(&gemm_plain, how->vectors, w->n);
    how->alone = how->alone != 0;
    int64_t tiles = how->alone ? div_up(w->grid.tiles, ctx->threads) : w->grid.tiles;
    how->chunk = max64(1, min64(how->chunk, tiles));
    how->k = round_up(max64(1, min64(how->k, w->k)), VL);
    how->ahead = w->grid.ahead = how->ahead != 0;
    how->stream = how->stream && w->n % VL == 0;
}

/* Tiles of a chunk of a thread's own, where that fits L2 beside all of U, and else where U is in L3 and tiles
 * are enough; else of one for all threads: V and M for the caches of a few cores, rows enough for each pass
 * over the weights. */
static void pick_chunk(const winograd_product *w, const conv_context *ctx, winograd_product_strategy *how)
{
    int64_t l2 = (int64_t)ctx->l2, tiles = w->grid.tiles, own = div_up(tiles, ctx->threads);
    int64_t xis = (int64_t)w->grid.alpha * w->grid.alpha, bytes = xis * (int64_t)sizeof(float);
    int64_t u_bytes = bytes * gemm_panels_floats(w->k, w->n), tile_bytes = bytes * (w->v_row + w->m_row);
    int64_t inside = (l2 / 8 * 7 - u_bytes) / tile_bytes, large = max64(2 * l2 / tile_bytes, LEAST_LARGE);
    bool fits = min64(own, inside) >= LEAST_CHUNK;
    how->alone = fits || (own >= large && u_bytes <= MOST_L2S * l2);
    int64_t chunk = fits ? inside : how->alone ? large : 2 * large;
    if (how->alone) tiles = own;
    how->chunk = div_up(tiles, div_up(tiles, chunk));
}

static winograd_product_strategy pick(const conv_problem *p, const conv_context *ctx, winograd_product *w)
{
    conv_sizes sizes = conv_problem_sizes(p);
    winograd_product_strategy how = {.m = winograd_best_m(&w->grid, LEAST_INSIDE),
                                     .vectors = gemm_panel_vectors(w->n),
                                     .k = div_up(w->k, div_up(w->k, K_BLOCK + K_BLOCK / 2)),
                                     .ahead = (size_t)(sizes.src + sizes.dst) * sizeof(float) >
                                              ctx->l3 * (size_t)ctx->threads};
    how.stream = how.ahead;
    winograd_cut(&w->grid, how.m, p->mb);
    pick_chunk(w, ctx, &how);
    fit(p, ctx, &how, w);
    return how;
}

/* The pick; then F(2x2), threads the other way, chunks of half and twice as many tiles, panels of another
 * width, all of k at once, and prefetching and stores the other way. */
void winograd_product_strategies(const conv_problem *p, bool backward, const gemm_way *way,
                                 const conv_context *ctx, conv_candidates *candidates)
{
    (void)way; /* always the plain one */
    winograd_product w = shape_of(p, backward);
    const winograd_product_strategy first = pick(p, ctx, &w);
    winograd_product_strategy all[CONV_STRATEGIES] = {first, first, first, first, first, first, first, first};
    all[1].m = 2;
    winograd_cut(&w.grid, 2, p->mb);
    pick_chunk(&w, ctx, &all[1]);
    all[2].alone = !first.alone;
    all[3].chunk = div_up(first.chunk, 2);
    all[4].chunk = 2 * first.chunk;
    all[5].vectors = first.vectors == 2 ? TILE_VECTORS : 2;
    all[6].k = w.k;
    all[7].ahead = !first.ahead;
    all[7].stream = !first.stream;
    candidates->choices = product_choices;
    for (int i = 0; i < CONV_STRATEGIES; i++) {
        fit(p, ctx, &all[i], &w);
        strategy_add(candidates, &all[i], sizeof all[i], 0);
    }
}

/* ---- pack: U[xi] in panels */

static vec load_weights(const winograd_product *w, const float *weights, int64_t tap, int64_t k, int64_t n)
{
    int64_t lanes = min64(VL, w->n - n);
    if (!w->backward) return vec_load_mask(weights + (tap * w->ic + k) * w->oc + n, vec_mask_first(lanes));
    float column[VL] = {0};
    for (int64_t i = 0; i < lanes; i++) column[i] = weights[((8 - tap) * w->ic + n + i) * w->oc + k];
    return vec_load(column);
}

ALWAYS_INLINE void pack_vector(const int alpha, const winograd_product *w, const float *weights, int64_t k,
                               int64_t n, float *packed)
{
    vec g[WINOGRAD_MOST_ALPHA * WINOGRAD_MOST_ALPHA];
    for (int tap = 0; tap < 9; tap++) g[tap / 3 * alpha + tap % 3] = load_weights(w, weights, tap, k, n);
    winograd_weights(alpha, g);
    int64_t panel = n / w->width, width = min64(w->width, round_up(w->n, VL) - panel * w->width);
    float *out = packed + panel * w->width * w->k + k * width + n % w->width;
    int64_t xi_floats = gemm_panels_floats(w->k, w->n);
    for (int xi = 0; xi < alpha * alpha; xi++) vec_store(out + xi * xi_floats, g[xi]);
}

static void pack(const matrix_product *m, const float *weights, float *packed, int threads)
{
    const winograd_product *w = (const winograd_product *)m;
#pragma omp parallel for schedule(static) num_threads(threads)
    for (int64_t k = 0; k < w->k; k++)
        for (int64_t n = 0; n < w->n; n += VL) {
            if (w->grid.alpha == 6)
                pack_vector(6, w, weights, k, n, packed);
            else
                pack_vector(4, w, weights, k, n, packed);
        }
}

/* ---- run */

/* M[xi][count][panel] = V[xi][count][k] * U[xi][k][panel], k in blocks so that the panel's stays in L2. */
static void multiply(const winograd_product *w, const product_share *s, int64_t count, int64_t xi,
                     int64_t panel)
{
    const float *v = s->scratch;
    float *m = s->scratch + w->v_floats;
    int64_t column = panel * w->width, n = min64(w->width, w->n - column);
    int nv = (int)div_up(n, VL);
    const float *u = s->packed + xi * gemm_panels_floats(w->k, w->n) + column * w->k;
    for (int64_t k0 = 0; k0 < w->k; k0 += w->how.k) {
        gemm_rows_args args = {.rows = v + xi * w->how.chunk * w->v_row + k0,
                               .row_stride = w->v_row,
                               .panel = u + k0 * nv * VL,
                               .taps = 1,
                               .k = min64(w->how.k, w->k - k0),
                               .dst = m + xi * w->how.chunk * w->m_row + column,
                               .dst_stride = w->m_row,
                               .n = (int64_t)nv * VL,
                               .accumulate = k0 > 0};
        gemm_rows_even(args, count, nv, gemm_tile_rows(nv), gemm_rows);
    }
}

/* Tiles [from, to) by a team of `threads`. */
static void run_tiles(const winograd_product *w, const product_share *s, int64_t from, int64_t to)
{
    const winograd_grid *g = &w->grid;
    float *v = s->scratch, *m = s->scratch + w->v_floats;
    const winograd_channels in = {s->in, w->k, 0, w->k};
    const winograd_outputs out = {s->out, w->n, s->bias, s->relu, w->how.stream};
    for (int64_t chunk = from; chunk < to; chunk += w->how.chunk) {
        int64_t count = min64(w->how.chunk, to - chunk), begin, end, first, last;
        share(count, s->thread, s->threads, &first, &last);
        for (int64_t t = first; t < last; t++) {
            winograd_place place = {
                .at = v + t * w->v_row, .xi_stride = w->how.chunk * w->v_row, .width = w->v_row};
            winograd_input(g, chunk + t, &in, &place);
        }
        winograd_wait(s->threads);
        share((int64_t)g->alpha * g->alpha * w->panels, s->thread, s->threads, &begin, &end);
        for (int64_t i = begin; i < end; i++) multiply(w, s, count, i / w->panels, i % w->panels);
        winograd_wait(s->threads);
        for (int64_t t = first; t < last; t++) {
            winograd_place place = {.at = m + t * w->m_row, .xi_stride = w->how.chunk * w->m_row};
            winograd_output(g, chunk + t, &place, &out);
        }
        /* No wait here: the next chunk's products, which overwrite M, wait for everybody's transforms. */
    }
    if (w->how.stream) vec_stream_end();
}

static void run(const matrix_product *m, const product_share *s)
{
    const winograd_product *w = (const winograd_product *)m;
    int64_t begin, end;
    if (!w->how.alone) {
        run_tiles(w, s, 0, w->grid.tiles);
        return;
    }
    share(w->grid.tiles, s->thread, s->threads, &begin, &end);
    product_share alone = *s;
    alone.scratch += (size_t)s->thread * w->team_floats;
    alone.thread = 0;
    alone.threads = 1;
    run_tiles(w, &alone, begin, end);
}

/* ---- plan */

static void release(matrix_product *m) { free(m); }

conv_status winograd_product_plan(const conv_problem *p, bool backward, const gemm_way *way,
                                  const conv_context *ctx, matrix_product **out, conv_error *err)
{
    (void)way; /* always the plain one */
    winograd_product *w = malloc(sizeof *w);
    if (w == NULL) return conv_fail(err, CONV_NO_MEMORY, "no memory for a plan");
    *w = shape_of(p, backward);
    w->head = (matrix_product){.pack = pack, .run = run, .release = release};
    w->how = pick(p, ctx, w);
    if (ctx->told) memcpy(&w->how, ctx->strategy.value, sizeof w->how);
    fit(p, ctx, &w->how, w);
    w->width = w->how.vectors * VL;
    w->panels = div_up(w->n, w->width);

    int64_t xis = (int64_t)w->grid.alpha * w->grid.alpha, teams = w->how.alone ? ctx->threads : 1;
    w->head.packed_floats = (size_t)(xis * gemm_panels_floats(w->k, w->n));
    w->v_floats = (size_t)(xis * w->how.chunk * w->v_row);
    w->team_floats = w->v_floats + (size_t)(xis * w->how.chunk * w->m_row);
    w->head.common_floats = (size_t)teams * w->team_floats;
    winograd_note(&w->grid, w->head.note);
    conv_note(w->head.note, !w->how.alone, "threads together");
    strategy_note(w->head.note, product_choices, &w->how, sizeof w->how);
    winograd_product_state(w, p, ctx);
    *out = &w->head;
    return CONV_OK;
}
