/* The plan of a product: blocks for the caches, tables of rows, packed weights. product.c says what they are
 * for.
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../../plan.h"
#include "../../strategy.h"
#include "../../work.h"
#include "../simd.h"
#include "product.h"

enum { TABLE_TILES = 16 }; /* of a table at least, so that a last one that is not full costs little */

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

static const conv_choice product_choices[] = {{"vectors", false}, {"rows copied", true}, {"k", false},
                                              {"pixels", false},  {"images", false},     {"streamed", true},
                                              {NULL, false}};

int64_t product_image_pixels(const conv_problem *p, bool backward)
{
    return backward ? conv_src_pixels(p) : conv_dst_pixels(p);
}

/* What follows from the problem alone. */
static product shape_of(const conv_problem *p, bool backward, const gemm_way *way)
{
    int64_t inputs = p->ic / p->groups, outputs = p->oc / p->groups;
    return (product){.backward = backward,
                     .way = way,
                     .groups = p->groups,
                     .taps = conv_taps(p),
                     .k = backward ? outputs : inputs,
                     .n = backward ? inputs : outputs};
}

/* The nearest possible strategy, its sizes cut to the problem's, and what follows from it. */
static void set_strategy(const conv_problem *p, product_strategy how, product *s)
{
    int64_t image = product_image_pixels(p, s->backward);
    how.vectors = gemm_fit_vectors(s->way, how.vectors, s->n);
    how.copied = how.copied || s->way->prepared;
    how.k = min64(s->k, round_up(max64(1, min64(how.k, s->k)), CACHE_LINE));
    how.images = max64(1, min64(how.images, p->mb));
    how.pixels = max64(s->way->tile_rows((int)how.vectors), min64(how.pixels, how.images * image));
    how.stream = how.stream && how.k == s->k && s->n % VL == 0;
    s->how = how;
    s->gathered = how.copied && s->taps == 1;
    s->k_blocks = div_up(s->k, how.k);
    s->panels = div_up(s->n, how.vectors * VL);
    s->panel_rows = gemm_panel_rows(s->way, s->taps * s->k, how.k);
    s->panel_floats = gemm_panels_floats(s->panel_rows, s->n);
}

/* The block of terms changes a sum's order where several taps take turns, or terms go in pairs: then it
 * follows from the caches alone, and others are only measured. */
static void add(const product *shape, const conv_problem *p, const conv_context *ctx, product_strategy how,
                int64_t same_bits_k, conv_candidates *candidates)
{
    product s = *shape;
    set_strategy(p, how, &s);
    bool ordered = !s.way->prepared && s.taps == 1;
    conv_work work = product_work(&s, p, ctx);
    double ns = work_model_ns(&work, p, s.backward ? CONV_BACKWARD_DATA : CONV_FORWARD, ISA_ENUM, ctx);
    strategy_add(candidates, &s.how, sizeof s.how, ordered || s.how.k == same_bits_k ? ns : INFINITY);
}

/* A block of terms whose panel takes half of L2 (what passes by
 * needs the other half); with it, rows that do, or all of a thread's pixels, so that weights are read once;
 * rows copied where blocks are parts of them or pixels lie whole ways of a cache apart, and the other way;
 * panels as wide as registers allow and not; out past the caches. */
void product_strategies(const conv_problem *p, bool backward, const gemm_way *way, const conv_context *ctx,
                        conv_candidates *candidates)
{
    const product s = shape_of(p, backward, way);
    const int64_t image = product_image_pixels(p, backward), widest = TILE_VECTORS * VL;
    const int64_t l2 = (int64_t)(ctx->l2 / 2 / sizeof(float)), share = div_up(p->mb * image, ctx->threads);
    product_strategy how = {.vectors = way->panel_vectors(s.n)};
    how.k = min64(s.k, even_piece(s.k, l2 / (s.taps * widest), CACHE_LINE));
    how.images = div_up((int64_t)TABLE_TILES * way->tile_rows((int)how.vectors), image);
    how.copied = how.k < s.k || s.groups * s.k % CACHE_WAY == 0;
    how.pixels = min64(share, l2 / how.k);
    const int64_t k = how.k;
    candidates->choices = product_choices;
    add(&s, p, ctx, how, k, candidates);
    product_strategy other = how;
    other.vectors = how.vectors == 2 ? TILE_VECTORS : 2;
    add(&s, p, ctx, other, k, candidates);
    other = how;
    other.stream = 1;
    add(&s, p, ctx, other, k, candidates);
    other.pixels = share;
    add(&s, p, ctx, other, k, candidates);
    other.stream = 0;
    add(&s, p, ctx, other, k, candidates);
    other.copied = !how.copied;
    add(&s, p, ctx, other, k, candidates);
    other.pixels = how.pixels;
    add(&s, p, ctx, other, k, candidates);
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
            if (p->gathered)
                hi = (r.end == t->tiles ? t->pixels : t->tile[r.end].first) - t->tile[r.begin].first;
            else if (p->how.copied)
                product_tile_inputs(t, r, &lo, &hi);
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
        row_table_kind kind = {images[i], product_tile_rows(out), out->backward, out->gathered};
        conv_status status = row_table_build(p, &kind, &out->table[i], err);
        if (status != CONV_OK) return status;
        out->units[i] = out->table[i].tiles * out->panels * out->groups;
    }
    return CONV_OK;
}

static void note(product *p)
{
    snprintf(p->head.note, sizeof p->head.note, "%dx%d", product_tile_rows(p), (int)(p->how.vectors * VL));
    conv_note(p->head.note, !p->how.copied, "rows in place");
    conv_note(p->head.note, p->gathered, "rows gathered");
    conv_note(p->head.note, p->rows_ahead, "rows prefetched");
    conv_note(p->head.note, p->panels_ahead, "panels prefetched");
    strategy_note(p->head.note, product_choices, &p->how, sizeof p->how);
}

conv_status product_plan(const conv_problem *p, bool backward, const gemm_way *way, const conv_context *ctx,
                         matrix_product **result, conv_error *err)
{
    product *out = malloc(sizeof *out);
    if (out == NULL) return conv_fail(err, CONV_NO_MEMORY, "no memory for a plan");
    *out = shape_of(p, backward, way);
    out->head = (matrix_product){.pack = pack, .run = product_run, .release = release};
    product_strategy how;
    memcpy(&how, ctx->strategy.value, sizeof how);
    set_strategy(p, how, out);
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
    out->rows_ahead = conv_beyond_l2(p, ctx);
    out->panels_ahead = out->taps == 1 && (size_t)out->panel_floats * sizeof(float) > ctx->l2 / 2;
    out->head.work = product_work(out, p, ctx);
    note(out);
    *result = &out->head;
    return CONV_OK;
}
