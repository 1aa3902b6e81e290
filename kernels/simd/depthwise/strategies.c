/* What is possible for a problem, and candidates for the cost model to rank.
 *
 * A block of channels is all of them, which walks memory in its order, or as many as a tile's reuse in L1
 * allows. Where pixels lie whole pages apart, rows may be copied next to each other. The gradient's sums are
 * chunks of rows x blocks of channels; of a small problem threads own channels and wait for nobody. What
 * changes bits follows from the problem and the sizes of L1 and L2 alone, never from threads and ceilings. */
#include "strategies.h"

#include <string.h>

#include "../../isa.h"
#include "../../strategy.h"
#include "../../util.h"
#include "../../work.h"
#include "../vec.h"
#include "driver.h"
#include "kernels.h"

enum { HALF_LINES = (int)VL < (int)CACHE_LINE }; /* a vector is half of a cache line */

static const conv_choice walk_choices[] = {
    {"channels", false}, {"rows copied", true}, {"streamed", true}, {"block by block", true}, {NULL, false}};
static const conv_choice sums_choices[] = {{"channels", false},   {"rows", false},   {"by tile", true},
                                           {"rows copied", true}, {"chunks", false}, {"channels owned", true},
                                           {"outputs", false},    {NULL, false}};

void depthwise_note_walk(char note[CONV_NOTE], const walk_strategy *how)
{
    strategy_note(note, walk_choices, how, sizeof *how);
}

void depthwise_note_sums(char note[CONV_NOTE], const sums_strategy *how)
{
    strategy_note(note, sums_choices, how, sizeof *how);
}

/* ---- what is possible */

/* Whole vectors, or all multiples of whole source channels. */
static int64_t block_possible(const conv_problem *p, int64_t channels)
{
    int64_t unit = p->depth_multiplier > 1 ? p->depth_multiplier : VL;
    return min64(p->oc, round_up(max64(1, min64(channels, p->oc)), unit));
}

/* With a multiplier rows are always copied: their channels are repeated then. */
static walk_strategy walk_possible(const conv_problem *p, walk_strategy how)
{
    how.channels = block_possible(p, how.channels);
    how.ring = how.ring || p->depth_multiplier > 1;
    how.stream = how.stream && p->depth_multiplier == 1 && p->oc % VL == 0;
    how.by_block = how.channels < p->oc && (how.by_block || how.ring);
    return how;
}

/* Bands are made of whole vectors: else bits would depend on who has the last, narrow one. A ring holds whole rows,
 * but where an image is a single one. */
static sums_strategy sums_possible(const conv_problem *p, sums_strategy how)
{
    const bool stencil3 = row_walk_stencil3(p);
    const int64_t rows = conv_out(&p->axis[CONV_D]) * conv_out(&p->axis[CONV_H]),
                  row = conv_out(&p->axis[CONV_W]);
    how.channels = block_possible(p, how.channels);
    how.rows = !stencil3 || how.rows < 2 ? 1 : how.rows < BAND_ROWS || p->oc % VL != 0 ? 2 : BAND_ROWS;
    how.by_tile = how.by_tile && how.rows == 2;
    how.ring = how.ring || p->depth_multiplier > 1;
    how.outputs = stencil3 || (how.ring && rows > 1) ? row : min64(row, max64(how.outputs, DEPTHWISE_DIFFS));
    how.chunks = max64(1, min64(how.chunks, p->mb * rows * div_up(row, how.outputs)));
    how.owned = how.owned && !how.ring;
    return how;
}

depthwise_choices depthwise_possible(const conv_problem *p, depthwise_choices how)
{
    return (depthwise_choices){walk_possible(p, how.walk), sums_possible(p, how.sums)};
}

/* ---- what the caches say */

/* Channels whose tile, with the rows it reads and its weights, fills half of L1: the other half is for what
 * passes by. */
static int64_t tile_channels(const conv_problem *p, const conv_context *ctx)
{
    const conv_axis *x = &p->axis[CONV_W];
    bool two = row_walk_stencil3(p);
    int64_t rows = two ? 2 : 1, n = two ? DEPTHWISE_OUTPUTS : DEPTHWISE_ROW, met = conv_taps(p) / x->kernel;
    int64_t columns = (n - 1) * x->stride + conv_effective_kernel(x);
    int64_t floats = (met + rows - 1) * columns + rows * n + conv_taps(p);
    return even_piece(p->oc, (int64_t)(ctx->l1d / 2 / sizeof(float)) / floats, VL);
}

/* Outputs of a row whose operands, of so many channels, fill half of L1, and their sums the other. */
static int64_t outputs_together(const conv_problem *p, int64_t channels, const conv_context *ctx)
{
    int64_t fit = (int64_t)(ctx->l1d / 2 / sizeof(float)) / (channels * (1 + p->axis[CONV_W].stride));
    return max64(1, fit / DEPTHWISE_DIFFS) * DEPTHWISE_DIFFS;
}

static int64_t operand_bytes(const conv_problem *p)
{
    conv_sizes sizes = conv_problem_sizes(p);
    return (sizes.src + sizes.dst) * (int64_t)sizeof(float);
}

/* Of at least half of L2 each, for smaller ones are not worth joining; no more than keep any team busy, whose
 * threads may also share the vectors of a chunk; and halves of halves, by which batches divide. */
static int64_t chunks_of(const conv_problem *p, const conv_context *ctx)
{
    int64_t units = ANY_TEAM / div_up(p->oc, VL),
            halves = operand_bytes(p) / (int64_t)max64(1, (int64_t)ctx->l2 / 2);
    int64_t chunks = 1;
    while (chunks * 2 <= min64(units, halves)) chunks *= 2;
    return chunks;
}

/* Bands of four rows load the least. In vectors of half a line two rows, whose lines meet both their halves
 * in L1 as long as their sets hold them: else tile by tile. A pixel of a single vector has no other half. */
static sums_strategy sums_order(const conv_problem *p, const conv_context *ctx)
{
    int64_t line_floats = min64(CACHE_LINE, p->oc) * pixel_crowding(p->oc);
    int64_t lines = 4 * p->axis[CONV_W].in + 2 * conv_out(&p->axis[CONV_W]);
    bool two = HALF_LINES && p->oc > VL;
    return (sums_strategy){.rows = two ? 2 : BAND_ROWS,
                           .by_tile = two && lines * line_floats > (int64_t)(ctx->l1d / sizeof(float)),
                           .chunks = chunks_of(p, ctx),
                           .outputs = conv_out(&p->axis[CONV_W])};
}

/* ---- candidates */

static double model_ns(const conv_problem *p, conv_pass pass, const conv_context *ctx,
                       const depthwise_choices *how)
{
    conv_work work = {.busiest = work_busiest(depthwise_units(p, pass, how), ctx->threads)};
    int64_t chunks = how->sums.chunks;
    depthwise_state(p, pass, how, p->oc, &work);
    if (chunks > 1) work_read(&work, 4.0 * (double)(chunks * conv_problem_sizes(p).weights), CONV_EACH_CALL);
    work.barriers = ctx->threads > 1 && chunks > 1 && !how->sums.owned;
    return work_model_ns(&work, p, pass, ISA_ENUM, ctx);
}

/* All channels or blocks, in place, or copied where pixels crowd one set; blocks one after another where the kernel
 * is so large that a row of all channels is much to read again; beyond the L2 of all threads each also past the
 * caches: what fits there is found again by whoever reads it next. */
static void list_walks(const conv_problem *p, conv_pass pass, const conv_context *ctx, conv_candidates *list)
{
    const bool crowded = ring_wanted(p->oc), beyond = operand_bytes(p) > (int64_t)ctx->l2 * ctx->threads;
    const int64_t block = tile_channels(p, ctx);
    const walk_strategy ways[] = {{.channels = p->oc},
                                  {.channels = block},
                                  {.channels = block, .by_block = !row_walk_stencil3(p)},
                                  {.channels = block, .ring = crowded}};
    list->choices = walk_choices;
    for (int i = 0; i < 4; i++)
        for (int64_t stream = 0; stream <= beyond; stream++) {
            depthwise_choices how = {.walk = ways[i]};
            how.walk.stream = stream;
            how.walk = walk_possible(p, how.walk);
            strategy_add(list, &how.walk, sizeof how.walk, model_ns(p, pass, ctx, &how));
        }
}

static void add_sums(const conv_problem *p, const conv_context *ctx, sums_strategy s, bool same_bits,
                     conv_candidates *list)
{
    depthwise_choices how = {.sums = sums_possible(p, s)};
    double ns = same_bits ? model_ns(p, CONV_BACKWARD_WEIGHTS, ctx, &how) : INFINITY;
    strategy_add(list, &how.sums, sizeof how.sums, ns);
}

/* Of an image that is one row a part at a time, whose pixels are read in long pieces: all channels, shared out among
 * the threads or not, or blocks of them. The outputs of a part decide bits, so they follow from all channels. */
static void list_row_sums(const conv_problem *p, const conv_context *ctx, conv_candidates *list)
{
    const sums_strategy whole = {
        .channels = p->oc, .chunks = chunks_of(p, ctx), .outputs = outputs_together(p, p->oc, ctx)};
    sums_strategy s = whole;
    for (int owned = 0; owned < 2; owned++) {
        s.owned = owned;
        s.channels = p->oc;
        add_sums(p, ctx, s, true, list);
        s.channels = div_up(p->oc, ctx->threads);
        add_sums(p, ctx, s, true, list);
        s.channels = tile_channels(p, ctx);
        add_sums(p, ctx, s, true, list);
    }
    s = whole, s.chunks *= 2;
    add_sums(p, ctx, s, false, list);
    s = whole, s.outputs *= 4, s.owned = 1;
    add_sums(p, ctx, s, false, list);
}

/* Channels of any kernel's block, which goes by single vectors: a thread's share of them. */
static int64_t even_share(const conv_problem *p, const conv_context *ctx)
{
    return round_up(div_up(p->oc, ctx->threads), VL);
}

/* Channels owned, while the tensors fit half of the L2 that each thread reads its piece of every pixel into.
 * Chunks whole or in blocks of channels, in place or copied, the narrowest of two lines, which the hardware
 * fetches together. Then other orders of the sums. */
static void list_image_sums(const conv_problem *p, const conv_context *ctx, conv_candidates *list)
{
    const bool crowded = ring_wanted(p->oc), copied = crowded && HALF_LINES;
    const bool small = operand_bytes(p) <= (int64_t)ctx->l2 / 2;
    const int64_t tile = tile_channels(p, ctx), block = row_walk_stencil3(p) ? tile : even_share(p, ctx);
    const sums_strategy ways[] = {{.channels = block, .owned = small},
                                  {.channels = p->oc},
                                  {.channels = tile},
                                  {.channels = 2 * CACHE_LINE},
                                  {.channels = block, .ring = 1}};
    sums_strategy order = sums_order(p, ctx), s = order;
    for (int i = small ? 0 : 1; i < (crowded ? 5 : 4); i++) {
        s.channels = ways[i].channels, s.ring = ways[i].ring, s.owned = ways[i].owned;
        add_sums(p, ctx, s, true, list);
    }
    s.channels = block, s.ring = copied, s.owned = small;
    order = s;
    s.rows = order.rows == 2 ? BAND_ROWS : 2;
    add_sums(p, ctx, s, false, list);
    s.rows = 2, s.by_tile = !order.by_tile;
    add_sums(p, ctx, s, false, list);
    s = order, s.chunks *= 2;
    add_sums(p, ctx, s, false, list);
}

static void list_sums(const conv_problem *p, const conv_context *ctx, conv_candidates *list)
{
    list->choices = sums_choices;
    if (conv_out(&p->axis[CONV_D]) * conv_out(&p->axis[CONV_H]) > 1)
        list_image_sums(p, ctx, list);
    else
        list_row_sums(p, ctx, list);
}

depthwise_choices depthwise_choose(const conv_impl *impl, const conv_problem *p, conv_pass pass,
                                   const conv_context *ctx)
{
    depthwise_choices how = {0};
    conv_context part = *ctx;
    if (pass != CONV_BACKWARD_WEIGHTS) {
        part = strategy_context(impl, p, pass == CONV_FORWARD ? pass : CONV_BACKWARD_DATA, ctx);
        memcpy(&how.walk, part.strategy.value, sizeof how.walk);
    }
    if (conv_makes_weights(pass)) {
        part = strategy_context(impl, p, CONV_BACKWARD_WEIGHTS, ctx);
        memcpy(&how.sums, part.strategy.value, sizeof how.sums);
    }
    return how;
}

void depthwise_strategies(const conv_impl *impl, const conv_problem *p, conv_pass pass, const conv_context *ctx,
                          conv_candidates *list)
{
    (void)impl;
    if (pass == CONV_BACKWARD) return; /* made of the others */
    if (pass == CONV_BACKWARD_WEIGHTS)
        list_sums(p, ctx, list);
    else
        list_walks(p, pass, ctx, list);
}
