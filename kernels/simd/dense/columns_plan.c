/* Columns product of backward_weights: its strategies and its plan. columns_run.c says what they are for. */
#include "columns.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "../../plan.h"
#include "../../strategy.h"
#include "../../work.h"
#include "../simd.h"

static const conv_choice columns_choices[] = {{"vectors", false}, {"operands packed", true}, {"pixels", false},
                                              {"strips", false},  {"chunks", false},         {NULL, false}};

pixel_block columns_block_at(const columns_wgrad *w, int64_t index)
{
    pixel_block b = {.end = conv_dst_pixels(&w->problem), .to = conv_src_pixels(&w->problem)};
    if (w->parts == 1) {
        b.image = index * w->images;
        b.images = min64(w->images, w->problem.mb - b.image);
        return b;
    }
    b.image = index / w->parts;
    b.images = 1;
    share(b.end / w->line, index % w->parts, w->parts, &b.begin, &b.end);
    b.begin *= w->line;
    b.end *= w->line;
    conv_reach(&w->problem, b.begin, b.end - 1, &b.from, &b.to);
    return b;
}

int64_t columns_strip_begin(const columns_wgrad *w, int64_t strip) { return strip * w->inputs / w->strips; }

/* ---- strategies */

/* What follows from the problem and the strategy; its sizes are cut to the problem's. */
static columns_wgrad shape_of(const conv_problem *p, const columns_strategy *how)
{
    columns_wgrad w = {.problem = *p,
                       .how = *how,
                       .groups = p->groups,
                       .inputs = p->ic / p->groups,
                       .outputs = p->oc / p->groups,
                       .taps = conv_taps(p),
                       .line = conv_out(&p->axis[CONV_W])};
    int64_t out = conv_dst_pixels(p), pixels = max64(1, how->pixels);
    if (w.line == out) w.line = 1;
    w.how.vectors = gemm_fit_vectors(&gemm_plain, how->vectors, w.outputs);
    w.panels = div_up(w.outputs, w.how.vectors * VL);
    w.strips = div_up(w.inputs, gemm_tile_rows((int)w.how.vectors));
    w.units = w.groups * w.panels * w.strips * w.taps;
    w.images = max64(1, pixels / out);
    w.parts = min64(out / w.line, div_up(out, pixels));
    w.blocks = w.parts > 1 ? p->mb * w.parts : div_up(p->mb, w.images);
    w.how.chunks = w.head.chunks = max64(1, min64(how->chunks, w.blocks));
    w.how.together = max64(1, min64(how->together, w.strips));
    w.how.packed = how->packed != 0;
    w.a_pixel = w.how.packed ? round_up(gemm_tile_rows((int)w.how.vectors), VL) : p->ic;
    w.b_pixel = w.how.packed ? w.how.vectors * VL : p->oc;
    return w;
}

/* How many times the room in a cache that pieces of so many floats take up, one in each pixel. */
static double crowding(int64_t distance, int64_t floats)
{
    return fmax(1, (double)(pixel_crowding(distance) * CACHE_LINE) / (double)round_up(floats, CACHE_LINE));
}

/* Per block of pixels and panel, each strip and tap multiplies its columns with the panel's. */
static conv_work work_of(const columns_wgrad *w, const conv_context *ctx)
{
    const conv_problem *p = &w->problem;
    double groups = (double)w->groups, taps = (double)w->taps, strips = (double)w->strips;
    double pixels = (double)conv_flops(p, CONV_FORWARD) / (2.0 * (double)(w->inputs * p->oc)); /* of all taps */
    double block = pixels / taps / (double)w->blocks, sums = 4.0 * (double)conv_problem_sizes(p).weights;
    int64_t columns = round_up(w->outputs, VL), rows = gemm_tile_rows((int)w->how.vectors),
            width = w->how.vectors * VL;
    conv_work own = {.busiest = work_busiest(w->head.chunks * w->units, ctx->threads)};
    own.macs = groups * pixels * (double)(w->inputs * columns);
    own.loads = groups * pixels * strips * (double)(columns / VL);
    own.broadcasts = groups * pixels * (double)(w->inputs * w->panels);
    own.stores = (double)w->blocks * sums / 4 / VL;
    own.loads += (double)(w->blocks - w->head.chunks) * sums / 4 / VL;
    own.copied = (double)(w->blocks - w->head.chunks) * sums;

    /* Of a block: a strip of inputs; the strips of a turn; a panel. */
    double turns = (double)div_up(w->strips, w->how.together), panels = (double)w->panels;
    double strip = 4 * block * (double)rows * crowding(w->a_pixel, rows);
    double turn = 4 * block * (double)w->inputs / turns * crowding(w->a_pixel, w->inputs / (int64_t)turns);
    double panel = 4 * block * (double)width * crowding(w->b_pixel, width);
    double src = 4 * groups * pixels / taps * (double)w->inputs,
           diff = 4 * groups * pixels / taps * (double)columns;
    work_read(&own, src + diff, CONV_EACH_CALL);
    work_read(&own, src * (panels - 1), turn + panel);
    work_read(&own, diff * (turns - 1), turn + 4 * block * (double)columns);
    work_read(&own, diff * (strips - turns), strip + panel);
    work_read(&own, (src * panels + diff * strips) * (taps - 1), strip + panel);
    /* Pieces whole pages apart that have left L2 come one by one: hardware prefetches within pages. */
    if (w->a_pixel >= CACHE_WAY && turn + panel > (double)ctx->l2) own.copied += src * (panels - 1);
    if (w->b_pixel >= CACHE_WAY && strip + panel > (double)ctx->l2) own.copied += diff * (strips - turns);
    work_write(&own, sums * (double)w->head.chunks, CONV_EACH_CALL);
    work_write(&own, sums * (double)(w->blocks - w->head.chunks), sums / ctx->threads + turn + panel);
    double copied = w->how.packed ? src + diff * fmin(turns, ctx->threads) : 0;
    work_copy(&own, copied, turn + panel, VL);
    return own;
}

static void add(const conv_problem *p, const conv_context *ctx, const columns_strategy *how,
                int64_t same_bits_chunks, conv_candidates *candidates)
{
    columns_wgrad w = shape_of(p, how);
    conv_work work = work_of(&w, ctx);
    double ns = work_model_ns(&work, p, CONV_BACKWARD_WEIGHTS, ISA_ENUM, ctx);
    strategy_add(candidates, &w.how, sizeof w.how, w.how.chunks == same_bits_chunks ? ns : INFINITY);
}

/* As many as share the work among any number of threads, or, `apart`, as that have a thread each, so that none
 * reads what others do; while all sums are a thirty-second of the operands: one thread writes them and
 * another one joins them. */
static int64_t chunks_of(const conv_problem *p, const columns_strategy *how, bool apart)
{
    conv_sizes sizes = conv_problem_sizes(p);
    int64_t wanted = apart ? ANY_TEAM : div_up(ANY_TEAM, shape_of(p, how).units);
    return max64(1, min64(wanted, (sizes.src + sizes.dst) / 32 / sizes.weights));
}

/* Blocks of pixels whose operands fit half of L2 (what passes by needs the other half); blocks of which a panel
 * of outputs and as many strips of inputs do, in place as long as L2 has room for their lines in the few sets
 * that both may fall into, or, of a larger image, for a panel's alone; and blocks whose panel fits half of L1.
 * With wide panels and narrow ones, operands in place and packed; then another number of chunks. */
void wgrad_strategies(const conv_problem *p, const conv_context *ctx, conv_candidates *candidates)
{
    enum { ALL, TURNS, SHARED_SETS, SETS, PANEL };
    static const struct {
        int block;
        bool narrow, packed;
    } ways[] = {{SETS, false, false}, {ALL, false, false}, {SHARED_SETS, true, false}, {SETS, true, false},
                {TURNS, false, true}, {TURNS, true, true}, {PANEL, true, true}};
    const int64_t l1 = (int64_t)(ctx->l1d / 2 / sizeof(float)), l2 = (int64_t)(ctx->l2 / 2 / sizeof(float));
    const int64_t shared = 2 * l2 / CACHE_LINE / (pixel_crowding(p->ic) + pixel_crowding(p->oc));
    const int64_t pixels = p->mb * conv_dst_pixels(p);
    const int64_t wide = gemm_panel_vectors(p->oc / p->groups), all = max64(1, l2 / (p->ic + p->oc));
    columns_strategy how = {.vectors = wide, .pixels = pixels};
    how.chunks = chunks_of(p, &how, false);
    /* Chunks end where blocks do: of several the block is theirs, so that bits are. */
    how.pixels = min64(div_up(pixels, how.chunks), all);
    how.together = INT64_MAX;
    const columns_strategy first = shape_of(p, &how).how;
    candidates->choices = columns_choices;
    for (size_t i = 0; i < sizeof ways / sizeof *ways; i++) {
        how = first;
        how.packed = ways[i].packed;
        how.vectors = ways[i].narrow ? (wide > 2 ? 2 : 1) : wide;
        const int64_t width = how.vectors * VL, turns = l2 / 2 / width;
        const int64_t blocks[] = {all, turns, min64(turns, shared),
                                  min64(turns, 2 * shared < pixels ? 2 * shared : shared), l1 / width};
        if (first.chunks == 1) how.pixels = min64(pixels, blocks[ways[i].block]);
        how.together =
            ways[i].block == ALL ? INT64_MAX : l2 / 2 / how.pixels / gemm_tile_rows((int)how.vectors);
        add(p, ctx, &how, first.chunks, candidates);
    }
    how = first;
    how.chunks = first.chunks > 1 ? 1 : chunks_of(p, &how, true);
    how.pixels = min64(div_up(pixels, how.chunks), all);
    add(p, ctx, &how, first.chunks, candidates);
}

/* ---- plan */

static void size_scratch(const conv_problem *p, int threads, columns_wgrad *w)
{
    int64_t in_pixels = 0, out_pixels = 0, width = conv_out(&p->axis[CONV_W]);
    for (int64_t i = 0; i < w->blocks; i++) {
        pixel_block b = columns_block_at(w, i);
        in_pixels = max64(in_pixels, b.images * (b.to - b.from));
        out_pixels = max64(out_pixels, b.images * (b.end - b.begin));
        w->rows = max64(w->rows, b.images * ((b.end - 1) / width - b.begin / width + 1));
    }
    if (w->how.packed) {
        /* A share of the units meets so many turns; all panels, unless there is a single turn. */
        int64_t count = div_up(w->head.chunks * w->units, threads), taps = w->taps, together = w->how.together;
        int64_t turns = count / (together * w->panels * taps) + 2, panels = count / (together * taps) + 2;
        w->a_floats = in_pixels * min64(w->strips, turns * together) * w->a_pixel;
        w->a_floats = round_up(w->a_floats, CACHE_LINE);
        w->b_floats = out_pixels * (together < w->strips ? w->panels : min64(w->panels, panels)) * w->b_pixel;
    }
    int64_t run_bytes = w->taps * (w->rows * (int64_t)sizeof(gemm_run) + (int64_t)sizeof(int64_t));
    w->run_floats = round_up(run_bytes / (int64_t)sizeof(float), VL);
    w->head.thread_floats = (size_t)(w->a_floats + w->b_floats + w->run_floats);
    w->head.partial_floats = w->head.chunks > 1 ? (size_t)(w->head.chunks * conv_problem_sizes(p).weights) : 0;
}

wgrad *wgrad_plan(const conv_problem *p, const conv_context *ctx)
{
    columns_wgrad *w = malloc(sizeof *w);
    if (w == NULL) return NULL;
    columns_strategy how;
    memcpy(&how, ctx->strategy.value, sizeof how);
    *w = shape_of(p, &how);
    w->head.run = columns_run;
    w->head.work = work_of(w, ctx);
    w->ahead = !w->how.packed && conv_beyond_l2(p, ctx);
    size_scratch(p, ctx->threads, w);
    conv_note(w->head.note, true, "gradient");
    conv_note(w->head.note, w->how.together < w->strips, "strips by turns");
    conv_note(w->head.note, w->head.chunks > 1, "in chunks");
    conv_note(w->head.note, w->ahead, "operands prefetched");
    strategy_note(w->head.note, columns_choices, &w->how, sizeof w->how);
    return &w->head;
}
