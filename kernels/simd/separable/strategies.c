/* What is possible for a problem, rules of thumb, and what else may be faster. */
#include "strategies.h"

#include <math.h>
#include <string.h>

#include "../../strategy.h"
#include "../simd.h"
#include "fused.h"

enum {
    MOST_K = 2048,      /* of forward: shorter ones add to dst, which has left the caches, more often */
    BACKWARD_K = 512,   /* its panel stays in L2 */
    MOST_PIXELS = 1024, /* so does their panel of diff_dst */
    MOST_CHUNKS = 32,
    LEAST_CHUNKS = 8,      /* or the threads share out channels */
    CHUNK_BYTES = 64 << 20 /* all chunks' gradients together */
};

static const conv_choice forward_choices[] = {
    {"vectors", false},          {"rows", false},    {"parts", false}, {"k", false}, {"rows prefetched", true},
    {"panels prefetched", true}, {"streamed", true}, {NULL, false}};
static const conv_choice backward_choices[] = {
    {"channels", false}, {"vectors", false},          {"diff vectors", false}, {"k", false},
    {"pixels", false},   {"chunks of images", false}, {"by tile", true},       {NULL, false}};

static void add_note(const conv_choice *choices, const void *how, size_t size, char note[CONV_NOTE])
{
    conv_strategy values = {{0}};
    char text[CONV_STRATEGY_TEXT];
    memcpy(values.value, how, size);
    conv_note(note, true, strategy_text(choices, &values, text, sizeof text));
}

void fused_forward_note(const fused_forward_strategy *how, char note[CONV_NOTE])
{
    add_note(forward_choices, how, sizeof *how, note);
}

void fused_backward_note(const fused_backward_strategy *how, char note[CONV_NOTE])
{
    add_note(backward_choices, how, sizeof *how, note);
}

/* ---- what is possible */

static int64_t between(int64_t least, int64_t value, int64_t most) { return max64(least, min64(value, most)); }

fused_forward_strategy fused_forward_possible(const conv_problem *p, const gemm_way *way,
                                              fused_forward_strategy how)
{
    int64_t widest = way->panel_vectors((int64_t)TILE_VECTORS * VL);
    how.vectors = between(1, how.vectors, min64(widest, div_up(p->oc, VL)));
    how.rows = between(1, how.rows, conv_out(&p->axis[CONV_H]));
    how.parts = between(1, how.parts, div_up(p->oc, how.vectors * VL));
    how.k = min64(p->ic, round_up(between(1, how.k, p->ic), VL));
    how.stream = how.stream && how.k == p->ic && p->oc % VL == 0;
    return how;
}

/* A block is a whole number of pointwise^T's panels, so narrow blocks get narrow panels. */
fused_backward_strategy fused_backward_possible(const conv_problem *p, fused_backward_strategy how)
{
    how.channels = round_up(between(1, how.channels, p->ic), VL);
    how.vectors = between(1, how.vectors, min64(TILE_VECTORS, how.channels / VL));
    how.channels = round_up(how.channels, how.vectors * VL);
    how.diff_vectors = between(1, how.diff_vectors, min64(TILE_VECTORS, div_up(p->oc, VL)));
    how.k = between(1, how.k, p->oc);
    how.pixels = between(1, how.pixels, conv_out(&p->axis[CONV_H]) * conv_out(&p->axis[CONV_W]));
    how.images = between(1, how.images, p->mb);
    how.by_tile = how.by_tile && row_walk_stencil3(p);
    return how;
}

/* ---- rules of thumb: forward's is a small cost model, in cycles of one thread */

static double tiling_cost(const conv_problem *p, const gemm_way *way, const conv_context *ctx,
                          const fused_forward_strategy *t)
{
    int64_t row_tiles = div_up(conv_out(&p->axis[CONV_H]), t->rows), all = div_up(p->oc, t->vectors * VL);
    int64_t pixels = t->rows * conv_out(&p->axis[CONV_W]);
    double panels = (double)div_up(all, t->parts), c = (double)p->ic, vectors = panels * (double)t->vectors;
    /* A depthwise tap costs 1.3 cycles a vector; weights come at
     * 64 bytes a cycle from L2, at 32 from beyond, as they are prefetched, and so do rows that do not fit;
     * a task's start and the panels' first touch about 500 cycles. */
    double gemm = (double)round_up(pixels, way->tile_rows((int)t->vectors)) * c * vectors / way->rate;
    double depthwise =
        1.3 * (double)pixels * c / VL * (double)(p->axis[CONV_H].kernel * p->axis[CONV_W].kernel);
    double half = (double)ctx->l2 / 2, weight_bytes = 4 * c * vectors * VL;
    double streaming = weight_bytes / (weight_bytes > half ? 32 : 64);
    double buffer_bytes = 4 * (double)(pixels * (t->k + FUSED_ROW_GAP));
    double spill = buffer_bytes > half ? (buffer_bytes - half) * panels / 64 : 0;
    int64_t tasks = p->mb * row_tiles * t->parts;
    return (double)div_up(tasks, ctx->threads) * (gemm + depthwise + streaming + spill + 500);
}

fused_forward_strategy fused_forward_pick(const conv_problem *p, const gemm_way *way, const conv_context *ctx)
{
    fused_forward_strategy how = {.vectors = way->panel_vectors(p->oc),
                                  .k = min64(p->ic, round_up(div_up(p->ic, div_up(p->ic, MOST_K)), VL))};
    conv_sizes sizes = conv_problem_sizes(p);
    size_t bytes = (size_t)(sizes.src + sizes.dst) * sizeof(float), threads = (size_t)ctx->threads;
    size_t packed = (size_t)gemm_panels_floats(gemm_panel_rows(way, p->ic, how.k), p->oc) * sizeof(float);
    how.ahead = bytes > ctx->l2 * threads;
    how.panels_ahead = packed > ctx->l2 / 2;
    how.stream = bytes > 2 * ctx->l3 * threads && p->oc % VL == 0 && how.k == p->ic;
    fused_forward_strategy t = how;
    double least = INFINITY;
    for (t.parts = 1; t.parts <= div_up(p->oc, how.vectors * VL); t.parts *= 2)
        for (t.rows = 1; t.rows <= conv_out(&p->axis[CONV_H]); t.rows++) {
            double cost = tiling_cost(p, way, ctx, &t);
            if (cost < least) least = cost, how = t;
        }
    return how;
}

/* Channels per block: two buffers of a whole image within 2/5 of L2, and work for every thread. */
static void pick_block(const conv_problem *p, const conv_context *ctx, fused_backward_strategy *how)
{
    int64_t c = p->ic, threads = how->images > 1 ? 1 : ctx->threads,
            width = (int64_t)gemm_panel_vectors(c) * VL;
    int64_t pixels = conv_out(&p->axis[CONV_H]) * conv_out(&p->axis[CONV_W]);
    int64_t most = (int64_t)(ctx->l2 * 2 / 5 / (2 * sizeof(float)) / (size_t)pixels);
    int64_t blocks = div_up(c, max64(most / width * width, width));
    if (blocks < 4 * threads) blocks = round_up(blocks, threads);
    how->channels = round_up(div_up(c, blocks), VL);
    if (how->channels > width) how->channels = round_up(how->channels, width);
    how->vectors = min64(width, how->channels) / VL;
}

fused_backward_strategy fused_backward_pick(const conv_problem *p, const conv_context *ctx)
{
    conv_sizes sizes = conv_problem_sizes(p);
    int64_t floats = round_up(sizes.pointwise, VL) + round_up(sizes.weights, VL) + round_up(p->oc, VL);
    int64_t affordable = CHUNK_BYTES / (int64_t)sizeof(float) / floats;
    int64_t chunks = min64(p->mb, min64(affordable, MOST_CHUNKS));
    /* In vectors of half a line: where a row of pixels evicts the other halves meanwhile. */
    bool crowded = VL * sizeof(float) < 64 && ring_wanted(2 * p->ic);
    fused_backward_strategy how = {.diff_vectors = gemm_panel_vectors(p->oc),
                                   .k = BACKWARD_K,
                                   .pixels = MOST_PIXELS,
                                   .images = chunks >= LEAST_CHUNKS ? chunks : 1,
                                   .by_tile = crowded};
    pick_block(p, ctx, &how);
    return fused_backward_possible(p, how);
}

/* ---- candidates */

static void add_forward(const conv_problem *p, const gemm_way *way, fused_forward_strategy s,
                        conv_candidates *list)
{
    s = fused_forward_possible(p, way, s);
    strategy_add(list, &s, sizeof s, 0);
}

/* The pick; tasks of fewer and of more rows, while there is one for every thread; panels of another width;
 * more rows of fewer channels at a time; dst past the caches. */
static void list_forward(const conv_problem *p, const gemm_way *way, const conv_context *ctx,
                         conv_candidates *list)
{
    const fused_forward_strategy first = fused_forward_pick(p, way, ctx);
    fused_forward_strategy s = first;
    int64_t oh = conv_out(&p->axis[CONV_H]), more = p->mb * div_up(oh, first.rows * 2) * first.parts;
    list->choices = forward_choices;
    add_forward(p, way, first, list);
    s.rows = div_up(first.rows, 2);
    add_forward(p, way, s, list);
    s.rows = first.rows * 2;
    if (more >= ctx->threads) add_forward(p, way, s, list);
    s.k = BACKWARD_K;
    if (more >= ctx->threads) add_forward(p, way, s, list);
    s = first;
    s.parts = first.parts * 2;
    if (p->mb * div_up(oh, first.rows) * first.parts < ctx->threads) add_forward(p, way, s, list);
    s = first;
    s.vectors = first.vectors == 2 ? TILE_VECTORS : 2;
    add_forward(p, way, s, list);
    s = first;
    s.stream = !first.stream;
    add_forward(p, way, s, list);
}

static void add_backward(const conv_problem *p, fused_backward_strategy s, conv_candidates *list)
{
    s = fused_backward_possible(p, s);
    strategy_add(list, &s, sizeof s, 0);
}

/* The pick; then with a panel of diff_dst that fits L1; the same with images the other way, with wider and
 * narrower blocks of channels, of which every thread has one, and with panels of another width. */
static void list_backward(const conv_problem *p, const conv_context *ctx, conv_candidates *list)
{
    static const int64_t channels[] = {32, 64, 128, 256};
    const fused_backward_strategy first = fused_backward_pick(p, ctx);
    fused_backward_strategy s = first;
    int64_t panel = (int64_t)(ctx->l1d / sizeof(float)) / (first.diff_vectors * VL);
    list->choices = backward_choices;
    add_backward(p, first, list);
    s.pixels = even_piece(conv_out(&p->axis[CONV_H]) * conv_out(&p->axis[CONV_W]), panel, 1);
    add_backward(p, s, list);
    const fused_backward_strategy small = s;
    s.images = first.images > 1 ? 1 : p->mb;
    add_backward(p, s, list);
    for (int i = 0; i < 4; i++) {
        s = small;
        s.channels = channels[i];
        s.vectors = gemm_panel_vectors(p->ic);
        if (s.images > 1 || div_up(p->ic, s.channels) >= ctx->threads) add_backward(p, s, list);
    }
    s = small;
    s.diff_vectors = first.diff_vectors == 2 ? TILE_VECTORS : 2;
    add_backward(p, s, list);
}

void fused_strategies(const conv_impl *impl, const conv_problem *p, conv_pass pass, const conv_context *ctx,
                      conv_candidates *list)
{
    if (pass == CONV_FORWARD)
        list_forward(p, ((const simd_impl *)impl)->way, ctx, list);
    else if (pass == CONV_BACKWARD)
        list_backward(p, ctx, list);
}
