/* Winograd forward, and backward_data as the forward convolution of diff_dst with the weights turned round.
 *
 * for chunk of tiles (transformed tensors of one chunk stay in the caches):
 *   for tile:                     V[xi][tile][k] = B' d B                      parallel over tiles
 *   for xi, panel of weights:     M[xi][tile][n] = V[xi] * U[xi]               parallel over xi and panels
 *   for tile:                     out = A' M A, bias, clip                     parallel over tiles
 * With chunks of its own a thread waits for nobody and reads nothing that another core wrote, but reads all of
 * U: the cost model compares the two. No sum crosses tiles, so chunks change no bits. */
#include "winograd.h"

#include <stdlib.h>
#include <string.h>

#include "../../plan.h"
#include "../../strategy.h"
#include "../gemm/gemm.h"
#include "transform.h"

enum { LEAST_INSIDE = 2 }; /* pixels per axis from which F(4x4) keeps the error bound: see winograd.c */

/* ---- strategies */

static const conv_choice product_choices[] = {
    {"vectors", false}, {"threads apart", true}, {"tiles", false}, {"streamed", true}, {NULL, false}};

/* What follows from the problem alone. */
static winograd_product shape_of(const conv_problem *p, bool backward, const conv_context *ctx)
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
                                   .pad_w = backward ? 2 - x->pad_before : x->pad_before,
                                   .ahead = conv_beyond_l2(p, ctx)}};
    winograd_cut(&w.grid, winograd_best_m(&w.grid, LEAST_INSIDE), p->mb);
    w.v_row = round_up(w.k, VL) + WINOGRAD_GAP;
    w.m_row = round_up(w.n, VL) + WINOGRAD_GAP;
    w.head.packed_floats = (size_t)(winograd_xis(&w.grid) * gemm_panels_floats(w.k, w.n));
    return w;
}

/* Sets the nearest possible strategy, sizes cut to the problem's, and what follows from it. */
static void set(const conv_problem *p, const conv_context *ctx, const winograd_product_strategy *how,
                winograd_product *w)
{
    int64_t xis = winograd_xis(&w->grid), tiles = w->grid.tiles, teams = how->alone ? ctx->threads : 1;
    w->how = (winograd_product_strategy){.vectors = gemm_fit_vectors(&gemm_plain, how->vectors, w->n),
                                         .alone = how->alone != 0,
                                         .chunk = even_piece(div_up(tiles, teams), min64(how->chunk, tiles), 1),
                                         .stream = how->stream && w->n % VL == 0};
    w->width = w->how.vectors * VL;
    w->panels = div_up(w->n, w->width);
    w->v_floats = (size_t)(xis * w->how.chunk * w->v_row);
    w->team_floats = w->v_floats + (size_t)(xis * w->how.chunk * w->m_row);
    w->head.common_floats = (size_t)teams * w->team_floats;
    winograd_product_state(w, p, ctx);
}

/* Threads apart, in chunks whose V and M fit L2, or half of it, the other half for what passes by; and
 * together, in chunks as large as U, which is then read no oftener than pays. Where tensors exceed L2 each also
 * writes past the caches, elsewhere also with panels of another width. */
void winograd_product_strategies(const conv_problem *p, bool backward, const gemm_way *way,
                                 const conv_context *ctx, conv_candidates *candidates)
{
    (void)way; /* always the plain one */
    winograd_product w = shape_of(p, backward, ctx);
    int64_t tile_floats = winograd_xis(&w.grid) * (w.v_row + w.m_row), best = gemm_panel_vectors(w.n);
    int64_t inside = (int64_t)(ctx->l2 / sizeof(float)) / tile_floats;
    int64_t balanced = (int64_t)w.head.packed_floats / tile_floats;
    candidates->choices = product_choices;
    for (int other = 0; other < 2; other++) {
        bool stream = other && w.grid.ahead;
        int64_t vectors = !other || stream ? best : best == 2 ? TILE_VECTORS : 2;
        const winograd_product_strategy all[] = {{vectors, true, inside / 2, stream},
                                                 {vectors, true, inside, stream},
                                                 {vectors, false, balanced, stream}};
        for (int i = 0; i < 3; i++) {
            set(p, ctx, &all[i], &w);
            strategy_add(candidates, &w.how, sizeof w.how,
                         winograd_model_ns(&w.head.work, w.handed, p,
                                           backward ? CONV_BACKWARD_DATA : CONV_FORWARD, ctx));
        }
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

/* M[xi][count][panel] = V[xi][count][k] * U[xi][k][panel]. */
static void multiply(const winograd_product *w, const product_share *s, int64_t count, int64_t xi,
                     int64_t panel)
{
    int64_t column = panel * w->width, n = min64(w->width, w->n - column);
    int nv = (int)div_up(n, VL);
    const gemm_rows_args args = {.rows = s->scratch + xi * w->how.chunk * w->v_row,
                                 .row_stride = w->v_row,
                                 .panel = s->packed + xi * gemm_panels_floats(w->k, w->n) + column * w->k,
                                 .taps = 1,
                                 .k = w->k,
                                 .dst = s->scratch + w->v_floats + xi * w->how.chunk * w->m_row + column,
                                 .dst_stride = w->m_row,
                                 .n = (int64_t)nv * VL};
    gemm_rows_even(args, count, nv, gemm_tile_rows(nv), gemm_rows);
}

/* Tiles [from, to) by a team of `threads`. */
static void run_tiles(const winograd_product *w, const product_share *s, int64_t from, int64_t to)
{
    const winograd_grid *g = &w->grid;
    float *v = s->scratch, *m = s->scratch + w->v_floats;
    const winograd_channels in = {s->in, w->k, 0, w->k};
    const winograd_outputs out = {s->out, w->n, s->bias, s->clip, w->how.stream};
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
    winograd_product_strategy how;
    memcpy(&how, ctx->strategy.value, sizeof how);
    *w = shape_of(p, backward, ctx);
    w->head.pack = pack;
    w->head.run = run;
    w->head.release = release;
    set(p, ctx, &how, w);
    winograd_note(&w->grid, w->head.note);
    conv_note(w->head.note, !w->how.alone, "threads together");
    strategy_note(w->head.note, product_choices, &w->how, sizeof w->how);
    *out = &w->head;
    return CONV_OK;
}
