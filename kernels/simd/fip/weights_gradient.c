/* A sum over pixels as a product of rows (fip.h), for which both operands are laid out anew.
 *
 * for chunk of pixels, part of the inputs, part of the outputs:       parallel
 *   for block of pixels (the product's k):
 *     src, transposed: a row of scaled pixels per input
 *     diff_dst: panels of scaled columns, as weights are packed
 *     for panel, for strip of inputs: register tile, diff_weights (+)=
 *
 * Each thread lays out what it needs by itself: what another core has just written comes slower than that.
 * What that costs falls with the channels, and is least where a thread has all of them: hence chunks of
 * pixels, fixed by the problem and the caches and joined in a tree; what threads are left share out the
 * channels. The sum over pixels of one weight has one order whatever the parts. */
#include "weights_gradient.h"

#include <stdlib.h>
#include <string.h>

#include "../../isa.h"
#include "../../plan.h"
#include "../../strategy.h"
#include "../../work.h"
#include "../vec.h"
#include "fip.h"

typedef struct {
    int64_t pixels;                    /* of a block, the product's k; blocks are of one size */
    int64_t chunks;                    /* of pixels with sums of their own */
    int64_t input_parts, output_parts; /* into which a chunk's channels are shared out */
} pairs_strategy;

static const conv_choice pairs_choices[] = {
    {"pixels", false}, {"chunks", false}, {"input parts", false}, {"output parts", false}, {NULL, false}};

typedef struct {
    wgrad head;
    pairs_strategy how;
    int64_t pixels, inputs, outputs;
    int64_t block, blocks; /* pixels of a block, the last one may have fewer; blocks */
    int64_t lines, panels; /* the inputs' cache lines and the outputs' panels, which are dealt out */
    int nv;
    bool ahead;          /* the next block is prefetched: the tensors exceed the threads' L2s */
    int64_t rows_floats; /* of a thread's scratch, the rows' part */
} fip_wgrad;

/* Floats from one transposed row to the next: an odd number of cache lines, or rows would crowd few sets. */
static int64_t row_stride(const fip_wgrad *w)
{
    return (div_up(w->block + FIP_ROW_TAIL, CACHE_LINE) | 1) * CACHE_LINE;
}

bool fip_wgrad_fits(const conv_problem *p)
{
    for (int i = 0; i < CONV_AXES; i++)
        if (p->axis[i].stride != 1 || p->axis[i].pad_before != 0 || p->axis[i].in != conv_out(&p->axis[i]))
            return false;
    return p->groups == 1;
}

/* Both operands are laid out anew by every part that reads them; then two multiplications for three terms. */
static void state_work(const conv_context *ctx, fip_wgrad *w)
{
    conv_work *own = &w->head.work;
    double pixels = (double)w->pixels, weights = 4.0 * (double)(w->inputs * w->outputs);
    double operands = 4 * pixels * (double)(w->inputs * w->how.output_parts + w->outputs * w->how.input_parts);
    double scratch = 4.0 * (double)w->head.thread_floats;
    own->busiest = work_busiest(w->head.chunks * w->how.input_parts * w->how.output_parts, ctx->threads);
    work_add_product(own, &(work_product){(double)w->inputs, pixels, w->outputs, VL, FIP_ROWS, w->nv});
    own->macs *= 2.0 / 3;
    own->stores *= (double)w->blocks;
    own->loads += 2 * operands / 4 / VL; /* laid out, then scaled */
    own->stores += operands / 4 / VL;
    work_read(own, operands, CONV_EACH_CALL);
    work_write(own, operands, scratch);
    work_write(own, weights * (double)w->blocks, weights / ctx->threads + scratch);
}

static void run(const wgrad *plan, const wgrad_share *s);

/* ---- strategies */

/* What follows from the problem and the strategy; sizes beyond the problem's are cut. */
static fip_wgrad shape_of(const conv_problem *p, const conv_context *ctx, const pairs_strategy *how)
{
    conv_sizes sizes = conv_problem_sizes(p);
    fip_wgrad w = {.head.run = run,
                   .inputs = p->ic,
                   .outputs = p->oc,
                   .pixels = sizes.src / p->ic,
                   .nv = fip_panel_vectors(p->oc),
                   .ahead = conv_beyond_l2(p, ctx)};
    w.lines = div_up(w.inputs, CACHE_LINE);
    w.panels = div_up(w.outputs, (int64_t)w.nv * VL);
    int64_t chunk = div_up(w.pixels, max64(1, min64(how->chunks, w.pixels)));
    w.block = even_piece(chunk, min64(how->pixels, chunk), 1);
    w.blocks = div_up(w.pixels, w.block);
    w.how.pixels = w.block;
    w.how.chunks = w.head.chunks = max64(1, min64(how->chunks, w.blocks));
    w.how.input_parts = max64(1, min64(how->input_parts, w.lines));
    w.how.output_parts = max64(1, min64(how->output_parts, w.panels));
    if (w.head.chunks > 1) w.head.partial_floats = (size_t)(w.head.chunks * w.inputs * w.outputs);
    w.rows_floats = div_up(w.lines, w.how.input_parts) * CACHE_LINE * row_stride(&w);
    w.head.thread_floats = (size_t)(w.rows_floats + div_up(w.panels, w.how.output_parts) * w.nv * VL *
                                                        gemm_panel_rows(&fip_way, w.block, w.block));
    state_work(ctx, &w);
    return w;
}

/* What decides bits, from the problem and the caches alone. L1 holds a panel of a block. Chunks have such a
 * block each, or joining their sums would not pay, where a chunk's sums stay in half of L2; they are a power
 * of two, which threads share evenly. */
static pairs_strategy pick_sums(const conv_problem *p, const conv_context *ctx)
{
    conv_sizes sizes = conv_problem_sizes(p);
    int64_t panel = (int64_t)(ctx->l1d / sizeof(float)) / (fip_panel_vectors(p->oc) * VL);
    pairs_strategy how = {.pixels = max64(1, panel / FIP_STEP) * FIP_STEP, .chunks = 1};
    bool apart = sizes.weights <= (int64_t)(ctx->l2 / 2 / sizeof(float));
    int64_t most = apart ? min64(ANY_TEAM, sizes.src / p->ic / how.pixels) : 1;
    while (2 * how.chunks <= most) how.chunks *= 2;
    return how;
}

/* Adds the ways to share out a chunk's channels in so many parts. */
static void add(const conv_problem *p, const conv_context *ctx, pairs_strategy how, int64_t parts,
                conv_candidates *candidates)
{
    for (how.input_parts = 1; how.input_parts <= parts; how.input_parts++) {
        if (parts % how.input_parts != 0) continue;
        how.output_parts = parts / how.input_parts;
        fip_wgrad w = shape_of(p, ctx, &how);
        strategy_add(candidates, &w.how, sizeof w.how,
                     work_model_ns(&w.head.work, p, CONV_BACKWARD_WEIGHTS, ISA_ENUM, ctx));
    }
}

/* The channels shared out among the threads that chunks leave, or among all. Before these what is only tried,
 * as its bits are others: blocks of twice the pixels; no chunks, or as many as threads. */
void fip_wgrad_strategies(const conv_problem *p, const conv_context *ctx, conv_candidates *candidates)
{
    const pairs_strategy how = pick_sums(p, ctx), whole = {how.pixels, 1, 1, ctx->threads},
                         apart = {how.pixels, ctx->threads, 1, 1};
    const pairs_strategy tried[] = {{2 * how.pixels, how.chunks, 1, 1}, how.chunks > 1 ? whole : apart};
    const fip_wgrad rule = shape_of(p, ctx, &how);
    candidates->choices = pairs_choices;
    for (int i = 0; i < 2; i++) {
        fip_wgrad w = shape_of(p, ctx, &tried[i]);
        if (w.block != rule.block || w.head.chunks != rule.head.chunks)
            strategy_add(candidates, &w.how, sizeof w.how, INFINITY);
    }
    add(p, ctx, how, div_up(ctx->threads, how.chunks), candidates);
    add(p, ctx, how, ctx->threads, candidates);
}

/* ---- plan */

wgrad *fip_wgrad_plan(const conv_problem *p, const conv_context *ctx)
{
    fip_wgrad *w = malloc(sizeof *w);
    if (w == NULL) return NULL;
    pairs_strategy how;
    memcpy(&how, ctx->strategy.value, sizeof how);
    *w = shape_of(p, ctx, &how);
    conv_note(w->head.note, true, "gradient by pairs");
    conv_note(w->head.note, w->head.chunks > 1, "in chunks");
    strategy_note(w->head.note, pairs_choices, &w->how, sizeof w->how);
    return &w->head;
}

/* ---- operands */

/* to[8][8] = the transpose of from[8][8]. */
ALWAYS_INLINE void transpose_8x8(const float *from, int64_t from_stride, float *to, int64_t to_stride)
{
    __m256 in[8], pair[8], four[8];
    UNROLL for (int i = 0; i < 8; i++) in[i] = _mm256_loadu_ps(from + i * from_stride);
    UNROLL for (int i = 0; i < 8; i += 2)
    {
        pair[i] = _mm256_unpacklo_ps(in[i], in[i + 1]);
        pair[i + 1] = _mm256_unpackhi_ps(in[i], in[i + 1]);
    }
    UNROLL for (int i = 0; i < 8; i += 4)
    {
        four[i] = _mm256_shuffle_ps(pair[i], pair[i + 2], 0x44);
        four[i + 1] = _mm256_shuffle_ps(pair[i], pair[i + 2], 0xee);
        four[i + 2] = _mm256_shuffle_ps(pair[i + 1], pair[i + 3], 0x44);
        four[i + 3] = _mm256_shuffle_ps(pair[i + 1], pair[i + 3], 0xee);
    }
    UNROLL for (int i = 0; i < 4; i++)
    {
        _mm256_storeu_ps(to + i * to_stride, _mm256_permute2f128_ps(four[i], four[i + 4], 0x20));
        _mm256_storeu_ps(to + (i + 4) * to_stride, _mm256_permute2f128_ps(four[i], four[i + 4], 0x31));
    }
}

/* Rows of channels [c0, end), by eight pixels: src is read in long pieces, and of each row a line is written at
 * a time. */
static void make_rows(const fip_wgrad *w, const float *src, int64_t pixels, int64_t c0, int64_t end,
                      float *rows)
{
    int64_t stride = row_stride(w), i = 0, c;
    for (; i + 8 <= pixels; i += 8) {
        const float *from = src + i * w->inputs;
        for (c = c0; c + 8 <= end; c += 8)
            transpose_8x8(from + c, w->inputs, rows + (c - c0) * stride + i, stride);
        for (; c < end; c++)
            for (int64_t k = 0; k < 8; k++) rows[(c - c0) * stride + i + k] = from[k * w->inputs + c];
    }
    for (; i < pixels; i++)
        for (c = c0; c < end; c++) rows[(c - c0) * stride + i] = src[i * w->inputs + c];
    for (c = 0; c < end - c0; c++) fip_prepare(rows + c * stride, rows + c * stride, pixels);
}

/* ---- one part */

/* What a thread works on, and its scratch. */
typedef struct {
    int64_t line, line_end, panel, panel_end; /* of inputs, of outputs */
    float *rows, *panels;
} part;

/* A block of pixels, and the one after it: NULL where that is not prefetched. */
typedef struct {
    int64_t pixels;
    const float *src, *diff_dst, *next_src, *next_diff;
} pixel_block;

static pixel_block block_at(const fip_wgrad *w, const wgrad_share *s, int64_t i)
{
    int64_t p0 = i * w->block, pixels = min64(w->block, w->pixels - p0), p1 = p0 + pixels;
    bool next = w->ahead && p1 < w->pixels;
    return (pixel_block){.pixels = pixels,
                         .src = s->src + p0 * w->inputs,
                         .diff_dst = s->diff_dst + p0 * w->outputs,
                         .next_src = next ? s->src + p1 * w->inputs : NULL,
                         .next_diff = next ? s->diff_dst + p1 * w->outputs : NULL};
}

static void lay_out(const fip_wgrad *w, const part *t, const pixel_block *b)
{
    int64_t first = t->line * CACHE_LINE, width = (int64_t)w->nv * VL;
    make_rows(w, b->src, b->pixels, first, min64(w->inputs, t->line_end * CACHE_LINE), t->rows);
    gemm_pack_args pack = {.b = b->diff_dst,
                           .row_stride = w->outputs,
                           .column_stride = 1,
                           .rows = b->pixels,
                           .k = b->pixels,
                           .n = w->outputs,
                           .k_block = b->pixels,
                           .nv = w->nv,
                           .panels =
                               t->panels - t->panel * width * gemm_panel_rows(&fip_way, b->pixels, b->pixels)};
    fip_pack(&pack, t->panel, t->panel_end);
}

/* What panel j prefetches of the next block, which is as many rows of k floats as there are channels: in the
 * first half of the panels src, where all of it is wanted in one place, in the others diff_dst. */
static void prefetch_next(const fip_wgrad *w, int64_t j, const pixel_block *b, gemm_rows_args *g)
{
    int64_t srcs = w->how.input_parts * w->how.output_parts == 1 ? w->panels / 2 : 0, begin, end;
    if (j < srcs)
        share(w->inputs, j, srcs, &begin, &end);
    else
        share(w->outputs, j - srcs, w->panels - srcs, &begin, &end);
    g->ahead = (j < srcs ? b->next_src : b->next_diff) + begin * g->k;
    g->ahead_stride = g->k;
    g->ahead_rows = end - begin;
}

static void multiply(const fip_wgrad *w, const part *t, const pixel_block *b, bool accumulate,
                     float *diff_weights)
{
    int64_t width = (int64_t)w->nv * VL, panel_rows = gemm_panel_rows(&fip_way, b->pixels, b->pixels);
    int64_t first = t->line * CACHE_LINE, count = min64(w->inputs, t->line_end * CACHE_LINE) - first;
    for (int64_t j = t->panel; j < t->panel_end && count > 0; j++) {
        int64_t column = j * width, n = min64(width, w->outputs - column);
        gemm_rows_args g = {.rows = t->rows,
                            .row_stride = row_stride(w),
                            .panel = t->panels + (column - t->panel * width) * panel_rows,
                            .taps = 1,
                            .k = b->pixels,
                            .dst = diff_weights + first * w->outputs + column,
                            .dst_stride = w->outputs,
                            .n = n,
                            .accumulate = accumulate};
        if (b->next_src != NULL) prefetch_next(w, j, b, &g);
        gemm_rows_even(g, count, (int)div_up(n, VL), FIP_ROWS, fip_rows);
    }
}

static void run(const wgrad *plan, const wgrad_share *s)
{
    const fip_wgrad *w = (const fip_wgrad *)plan;
    part t = {.rows = s->scratch, .panels = s->scratch + w->rows_floats};
    int64_t parts = w->how.input_parts * w->how.output_parts, begin, end;
    share(w->head.chunks * parts, s->thread, s->threads, &begin, &end);
    for (int64_t i = begin; i < end; i++) {
        int64_t chunk = i / parts, block, last;
        share(w->lines, i % parts / w->how.output_parts, w->how.input_parts, &t.line, &t.line_end);
        share(w->panels, i % w->how.output_parts, w->how.output_parts, &t.panel, &t.panel_end);
        share(w->blocks, chunk, w->head.chunks, &block, &last);
        float *out = w->head.chunks > 1 ? s->partials + chunk * w->inputs * w->outputs : s->diff_weights;
        bool add = w->head.chunks == 1 && s->accumulate;
        for (; block < last; block++, add = true) {
            pixel_block b = block_at(w, s, block);
            lay_out(w, &t, &b);
            multiply(w, &t, &b, add, out);
        }
    }
}
