/* The plan of a product: blocks for the caches, tables of rows, packed weights. product.c says what they are
 * for.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../../plan.h"
#include "product.h"

enum {
    SHORT_K = 8,   /* below it the taps are put in line: a first layer */
    MOST_K = 2048, /* of a block when there is one tap: its panel, at most half of L2, stays there */
    LEAST_K = 64,
    PIXEL_BLOCKS = 8,   /* of a table, at least, when weights stay in L2: a thread's share is then a part of the
                           pixels, those that the layer before left in its cache */
    COPIED_BLOCKS = 32, /* where rows are copied and scaled, to be found in L1 again */
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

static void choose_blocks(int64_t pixels, const conv_context *ctx, product *out)
{
    int64_t l2 = (int64_t)(ctx->l2 / sizeof(float)), width = (int64_t)out->nv * VL;
    int64_t row_bytes = out->groups * out->k * (int64_t)sizeof(float);
    if (out->taps > 1 && out->k < SHORT_K) {
        out->mode = PRODUCT_GATHER;
        out->k_block = out->k * out->taps;
        out->k_blocks = 1;
    } else {
        int64_t most = min64(MOST_K, max64(LEAST_K, l2 / (out->taps == 1 ? 2 : 4) / (out->taps * width)));
        out->k_block = min64(out->k, round_up(div_up(out->k, div_up(out->k, most)), 16));
        out->k_blocks = div_up(out->k, out->k_block);
        bool copy = out->way->prepared || out->k_blocks > 1 || row_bytes % SAME_SET_BYTES == 0;
        out->mode = !copy ? PRODUCT_DIRECT : out->taps == 1 ? PRODUCT_GATHER : PRODUCT_COPY;
    }
    out->panel_rows = gemm_panel_rows(out->way, out->taps * out->k, out->k_block);
    out->panel_floats = gemm_panels_floats(out->panel_rows, out->n);
    int64_t tile = product_tile_rows(out),
            blocks = max64(out->way->prepared ? COPIED_BLOCKS : PIXEL_BLOCKS, ctx->threads);
    out->block_pixels = max64(4 * tile, l2 / 2 / out->k_block);
    if (out->panels > 1 && out->groups * out->panel_floats <= l2 / 8)
        out->block_pixels = min64(out->block_pixels, round_up(div_up(pixels, blocks), tile));
}

static void choose_distance(const conv_problem *p, const conv_context *ctx, product *out)
{
    conv_sizes sizes = conv_problem_sizes(p);
    size_t all = (size_t)(sizes.src + sizes.dst) * sizeof(float), threads = (size_t)ctx->threads;
    out->rows_beyond_l2 = all > ctx->l2 * threads;
    out->panels_beyond_l2 = out->taps == 1 && (size_t)out->panel_floats * sizeof(float) > ctx->l2 / 2;
    /* Twice, for a virtual machine's share of L3 is a guess. */
    out->stream = out->k_blocks == 1 && out->n % VL == 0 && all > 2 * ctx->l3 * threads;
}

/* Small images go together until there are enough pixels to fill tiles and panels' reuse. */
static int64_t images_together(const conv_problem *p, int64_t out_image)
{
    enum { ENOUGH_PIXELS = 512 };
    return min64(p->mb, div_up(ENOUGH_PIXELS, out_image));
}

static size_t copy_floats(const product *p)
{
    int64_t rows = 0;
    for (int i = 0; i < 2; i++) {
        const row_table *t = &p->table[i];
        for (int64_t b = 0; t->tiles > 0 && b < product_block_count(p, t); b++) {
            tile_range r = product_block_tiles(p, t, b);
            int64_t lo = 0, hi = 0;
            if (p->mode == PRODUCT_COPY) product_tile_inputs(t, r, &lo, &hi);
            if (p->mode == PRODUCT_GATHER)
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
                                   .k_block = p->k_block,
                                   .nv = p->nv,
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

conv_status product_plan(const conv_problem *p, bool backward, const gemm_way *way, const conv_context *ctx,
                         matrix_product **result, conv_error *err)
{
    int64_t inputs = p->ic / p->groups, outputs = p->oc / p->groups;
    product *out = malloc(sizeof *out);
    if (out == NULL) return conv_fail(err, CONV_NO_MEMORY, "no memory for a plan");
    *out = (product){.head = {.pack = pack, .run = product_run, .release = release},
                     .backward = backward,
                     .way = way,
                     .groups = p->groups};
    out->k = backward ? outputs : inputs;
    out->n = backward ? inputs : outputs;
    out->taps = p->axis[CONV_H].kernel * p->axis[CONV_W].kernel;
    out->nv = way->panel_vectors(out->n);
    out->panels = div_up(out->n, (int64_t)out->nv * VL);
    int64_t out_image = backward ? p->axis[CONV_H].in * p->axis[CONV_W].in
                                 : conv_out(&p->axis[CONV_H]) * conv_out(&p->axis[CONV_W]);
    out->images = images_together(p, out_image);
    choose_blocks(out->images * out_image, ctx, out);
    choose_distance(p, ctx, out);
    out->full = p->mb / out->images;
    int64_t rest = p->mb % out->images, images[2] = {out->images, rest};
    bool every_tap = out->mode == PRODUCT_GATHER;
    for (int i = 0; i < (rest > 0 ? 2 : 1); i++) {
        row_table_kind kind = {images[i], product_tile_rows(out), backward, every_tap};
        conv_status status = row_table_build(p, &kind, &out->table[i], err);
        if (status != CONV_OK) {
            release(&out->head);
            return status;
        }
        out->units[i] = out->table[i].tiles * out->panels * out->groups;
    }
    size_t zero_bytes =
        (size_t)round_up(out->k, 16) * sizeof(float); /* aligned_alloc: whole lines of 64 bytes */
    out->zeros = aligned_alloc(64, zero_bytes);
    if (out->zeros == NULL) {
        release(&out->head);
        return conv_fail(err, CONV_NO_MEMORY, "no memory for a row of zeros");
    }
    memset(out->zeros, 0, zero_bytes);
    out->head.thread_floats = copy_floats(out);
    out->head.packed_floats = (size_t)(out->groups * out->panel_floats);
    snprintf(out->head.note, sizeof out->head.note, "%dx%d, kc %lld", product_tile_rows(out), out->nv * VL,
             (long long)out->k_block);
    conv_note(out->head.note, out->mode == PRODUCT_DIRECT, "rows in place");
    conv_note(out->head.note, out->mode == PRODUCT_COPY, "rows copied");
    conv_note(out->head.note, out->mode == PRODUCT_GATHER, "rows gathered");
    conv_note(out->head.note, out->rows_beyond_l2, "rows prefetched");
    conv_note(out->head.note, out->panels_beyond_l2, "panels prefetched");
    conv_note(out->head.note, out->stream, "streamed");
    product_state(out, ctx);
    *result = &out->head;
    return CONV_OK;
}
