/* The plan of a product: blocks for the caches, tables of rows, packed weights. product.c says what they are
 * for.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../../plan.h"
#include "../../strategy.h"
#include "product.h"

enum {
    SHORT_K = 8,   /* below it the taps are put in line: a first layer */
    MOST_K = 2048, /* of a block when there is one tap: its panel, at most half of L2, stays there */
    LEAST_K = 64,
    PIXEL_BLOCKS = 8,   /* of a table, at least, when weights stay in L2: a thread's share is then a part of the
                           pixels, those that the layer before left in its cache */
    COPIED_BLOCKS = 32, /* where rows are copied and scaled, to be found in L1 again */
    ENOUGH_PIXELS = 512,
    SAME_SET_BYTES = 4096
};

void product_tile_inputs(const row_table *t, tile_range tiles, int64_t *lo, int64_t *hi)
{
    int32_t least = INT32_MAX, most = -1;
    for (int64_t i = tiles.begin; i < tiles.end; i++) {
        const row_tile *tile = &t->tile[i];
        const int32_t *in = t->index + tile->index;
        for (int64_t j = 0; j < (int64_t)tile->m * tile->taps; j++) {
            if (in[j] < 0) continue;
            if (in[j] < least) least = in[j];
            if (in[j] > most) most = in[j];
        }
    }
    *lo = most < 0 ? 0 : least;
    *hi = most + 1;
}

/* ---- strategies */

static const conv_choice product_choices[] = {
    {"vectors", false}, {"rows copied", true}, {"rows gathered", true},   {"k", false},
    {"pixels", false},  {"images", false},     {"rows prefetched", true}, {"panels prefetched", true},
    {"streamed", true}, {NULL, false}};

/* Output pixels of an image. */
static int64_t image_pixels(const conv_problem *p, bool backward)
{
    const conv_axis *h = &p->axis[CONV_H], *x = &p->axis[CONV_W];
    return backward ? h->in * x->in : conv_out(h) * conv_out(x);
}

/* What follows from the problem alone. */
static product shape_of(const conv_problem *p, bool backward, const gemm_way *way)
{
    int64_t inputs = p->ic / p->groups, outputs = p->oc / p->groups;
    return (product){.backward = backward,
                     .way = way,
                     .groups = p->groups,
                     .taps = p->axis[CONV_H].kernel * p->axis[CONV_W].kernel,
                     .k = backward ? outputs : inputs,
                     .n = backward ? inputs : outputs};
}

/* The nearest possible strategy: sizes cut to the problem's, and one of two that exclude each other. */
static void fit(const product *s, const conv_problem *p, product_strategy *how)
{
    how->vectors = gemm_fit_vectors(s->way, how->vectors, s->n);
    /* Of a single tap, a copy of the rows that are wanted is the better copy of the input. */
    how->gathered = how->gathered || s->way->prepared || (how->copied && s->taps == 1);
    how->copied = how->copied && !how->gathered;
    int64_t k = how->gathered ? s->taps * s->k : s->k, image = image_pixels(p, s->backward);
    how->k = how->gathered && s->taps > 1 ? k : min64(k, round_up(max64(1, min64(how->k, k)), 16));
    how->images = max64(1, min64(how->images, p->mb));
    how->pixels = max64(s->way->tile_rows((int)how->vectors), min64(how->pixels, how->images * image));
    how->rows_ahead = how->rows_ahead != 0;
    how->panels_ahead = how->panels_ahead != 0;
    how->stream = how->stream && how->k == k && s->n % VL == 0;
}

/* The block of k, and whether its rows are copied. */
static void pick_k(const product *s, int64_t l2, product_strategy *how)
{
    int64_t row_bytes = s->groups * s->k * (int64_t)sizeof(float), taps = s->taps;
    how->gathered = taps > 1 && s->k < SHORT_K;
    how->k = taps * s->k;
    if (how->gathered) return;
    int64_t most = min64(MOST_K, max64(LEAST_K, l2 / (taps == 1 ? 2 : 4) / (taps * how->vectors * VL)));
    how->k = min64(s->k, even_piece(s->k, most, 16));
    how->copied = s->way->prepared || how->k < s->k || row_bytes % SAME_SET_BYTES == 0;
}

/* Small images go together until there are enough pixels to fill tiles and panels' reuse. */
static product_strategy pick(const product *s, const conv_problem *p, const conv_context *ctx)
{
    conv_sizes sizes = conv_problem_sizes(p);
    size_t all = (size_t)(sizes.src + sizes.dst) * sizeof(float), threads = (size_t)ctx->threads;
    int64_t l2 = (int64_t)(ctx->l2 / sizeof(float)), image = image_pixels(p, s->backward);
    product_strategy how = {.vectors = s->way->panel_vectors(s->n),
                            .images = min64(p->mb, div_up(ENOUGH_PIXELS, image)),
                            .rows_ahead = all > ctx->l2 * threads};
    pick_k(s, l2, &how);
    int64_t tile = s->way->tile_rows((int)how.vectors), panel = gemm_panel_rows(s->way, s->taps * s->k, how.k);
    int64_t blocks = max64(s->way->prepared ? COPIED_BLOCKS : PIXEL_BLOCKS, ctx->threads);
    panel = gemm_panels_floats(panel, s->n);
    how.pixels = max64(4 * tile, l2 / 2 / how.k);
    if (s->n > how.vectors * VL && s->groups * panel <= l2 / 8)
        how.pixels = min64(how.pixels, round_up(div_up(how.images * image, blocks), tile));
    how.panels_ahead = s->taps == 1 && panel > l2 / 2;
    /* Twice, for a virtual machine's share of L3 is a guess. */
    how.stream = all > 2 * ctx->l3 * threads;
    fit(s, p, &how);
    return how;
}

static void add(const product *s, const conv_problem *p, product_strategy how, conv_candidates *candidates)
{
    fit(s, p, &how);
    strategy_add(candidates, &how, sizeof how, 0);
}

/* So that weights are read once: all of a thread's pixels, in place, while a panel that L2 holds passes. */
static void add_once(const product *s, const conv_problem *p, const conv_context *ctx, product_strategy how,
                     conv_candidates *candidates)
{
    int64_t image = image_pixels(p, s->backward), width = how.vectors * VL;
    how.pixels = div_up(p->mb * image, ctx->threads);
    how.k = even_piece(s->k, (int64_t)(ctx->l2 / sizeof(float)) / (s->taps * width), 16);
    how.copied = how.gathered = 0;
    add(s, p, how, candidates);
}

/* The pick; then panels of another width, rows the other way, blocks of half the terms and twice the pixels,
 * weights read once; and beyond L2 without prefetching, and written to memory the other way. */
void product_strategies(const conv_problem *p, bool backward, const gemm_way *way, const conv_context *ctx,
                        conv_candidates *candidates)
{
    product s = shape_of(p, backward, way);
    const product_strategy first = pick(&s, p, ctx);
    product_strategy other = first, how = first;
    candidates->choices = product_choices;
    add(&s, p, first, candidates);
    other.vectors = first.vectors == 2 ? TILE_VECTORS : 2;
    add(&s, p, other, candidates);
    how.copied = !first.copied && !first.gathered;
    how.gathered = 0;
    add(&s, p, how, candidates);
    how = first;
    how.k = first.k / 2;
    how.pixels = 2 * first.pixels;
    add(&s, p, how, candidates);
    add_once(&s, p, ctx, first, candidates);
    add_once(&s, p, ctx, other, candidates);
    how = first;
    how.rows_ahead = how.panels_ahead = 0;
    add(&s, p, how, candidates);
    how = first;
    how.stream = !first.stream && first.rows_ahead;
    add(&s, p, how, candidates);
}

/* ---- plan */

static size_t copy_floats(const product *p)
{
    int64_t rows = 0;
    for (int i = 0; i < 2; i++) {
        const row_table *t = &p->table[i];
        for (int64_t b = 0; t->tiles > 0 && b < product_block_count(p, t); b++) {
            tile_range r = product_block_tiles(p, t, b);
            int64_t lo = 0, hi = 0;
            if (p->how.copied) product_tile_inputs(t, r, &lo, &hi);
            if (p->how.gathered)
                hi = (r.end == t->tiles ? t->pixels : t->tile[r.end].first) - t->tile[r.begin].first;
            rows = max64(rows, hi - lo);
        }
    }
    return (size_t)round_up(rows * product_row_gap(p), VL);
}

static void release(matrix_product *m)
{
    product *p = (product *)m;
    for (int i = 0; i < 2; i++) row_table_free(&p->table[i]);
    free(p->zeros);
    free(p);
}

static void pack(const matrix_product *m, const float *weights, float *packed, int threads)
{
    const product *p = (const product *)m;
    int64_t inputs = p->backward ? p->n : p->k, outputs = p->backward ? p->k : p->n, oc = p->groups * outputs;
#pragma omp parallel for collapse(2) schedule(static) num_threads(threads)
    for (int64_t g = 0; g < p->groups; g++)
        for (int64_t panel = 0; panel < p->panels; panel++) {
            gemm_pack_args args = {.b = weights + g * outputs,
                                   .row_stride = oc,
                                   .column_stride = 1,
                                   .rows = p->taps * p->k,
                                   .k = p->taps * p->k,
                                   .n = p->n,
                                   .k_block = p->how.k,
                                   .nv = (int)p->how.vectors,
                                   .panels = packed + g * p->panel_floats};
            if (p->backward) {
                args.row_stride = 1;
                args.column_stride = oc;
                args.rows = p->k;
            }
            /* Transposed tap by tap; else the taps lie as the panel has them. */
            for (int64_t tap = 0; tap < (p->backward ? p->taps : 1); tap++, args.first_row += p->k) {
                p->way->pack(&args, panel, panel + 1);
                args.b += inputs * oc;
            }
        }
}

/* A table for sets of images, and one for the images that are left. */
static conv_status build_tables(const conv_problem *p, product *out, conv_error *err)
{
    int64_t images[2] = {out->how.images, p->mb % out->how.images};
    out->full = p->mb / images[0];
    for (int i = 0; i < (images[1] > 0 ? 2 : 1); i++) {
        row_table_kind kind = {images[i], product_tile_rows(out), out->backward, out->how.gathered};
        conv_status status = row_table_build(p, &kind, &out->table[i], err);
        if (status != CONV_OK) return status;
        out->units[i] = out->table[i].tiles * out->panels * out->groups;
    }
    return CONV_OK;
}

static void note(product *p)
{
    snprintf(p->head.note, sizeof p->head.note, "%dx%d", product_tile_rows(p), (int)(p->how.vectors * VL));
    conv_note(p->head.note, !p->how.copied && !p->how.gathered, "rows in place");
    strategy_note(p->head.note, product_choices, &p->how, sizeof p->how);
}

conv_status product_plan(const conv_problem *p, bool backward, const gemm_way *way, const conv_context *ctx,
                         matrix_product **result, conv_error *err)
{
    product *out = malloc(sizeof *out);
    if (out == NULL) return conv_fail(err, CONV_NO_MEMORY, "no memory for a plan");
    *out = shape_of(p, backward, way);
    out->head = (matrix_product){.pack = pack, .run = product_run, .release = release};
    out->how = pick(out, p, ctx);
    if (ctx->told) memcpy(&out->how, ctx->strategy.value, sizeof out->how);
    fit(out, p, &out->how);
    out->k_blocks = out->how.gathered && out->taps > 1 ? 1 : div_up(out->k, out->how.k);
    out->panels = div_up(out->n, out->how.vectors * VL);
    out->panel_rows = gemm_panel_rows(way, out->taps * out->k, out->how.k);
    out->panel_floats = gemm_panels_floats(out->panel_rows, out->n);
    /* aligned_alloc: whole lines of 64 bytes. */
    size_t zero_bytes = (size_t)round_up(out->k, 16) * sizeof(float);
    out->zeros = aligned_alloc(64, zero_bytes);
    conv_status status = out->zeros != NULL ? build_tables(p, out, err)
                                            : conv_fail(err, CONV_NO_MEMORY, "no memory for a row of zeros");
    if (status != CONV_OK) {
        release(&out->head);
        return status;
    }
    memset(out->zeros, 0, zero_bytes);
    out->head.thread_floats = copy_floats(out);
    out->head.packed_floats = (size_t)(out->groups * out->panel_floats);
    note(out);
    product_state(out, ctx);
    *result = &out->head;
    return CONV_OK;
}
