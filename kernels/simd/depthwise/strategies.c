/* What is possible for a problem, rules of thumb, and what else may be faster.
 *
 * From memory whole rows are walked, the next tile's prefetched, and outputs too large for L3 go past it.
 * Where the pixels of all channels lie whole pages apart, rows are copied next to each other. The gradient's
 * sums are fixed chunks of rows x blocks of channels; where that is soon done, threads own channels and wait
 * for nobody. What changes bits follows from the problem and the caches, never from the number of threads. */
#include "strategies.h"

#include <string.h>

#include "../../strategy.h"
#include "../axis.h"
#include "../vec.h"
#include "kernels.h"
#include "walk.h"

enum {
    MOST_CHANNELS = 256,     /* of a block */
    MOST_SUM_CHANNELS = 128, /* of a block in backward_weights */
    ENOUGH_UNITS = 64,       /* of backward_weights: keep any number of threads busy */
    LEAST_PIXELS = 196,      /* of a chunk */
    SUMMING_CORES = 2,       /* whose L3 backward_weights counts on */
    RING_CHANNELS = 128      /* of a block whose rows are copied */
};
enum { WHOLE_LINE = VL * sizeof(float) == 64 }; /* a vector is one */

static const conv_choice walk_choices[] = {{"channels", false}, {"rows copied", true},     {"whole rows", true},
                                           {"streamed", true},  {"threads by rows", true}, {NULL, false}};
static const conv_choice sums_choices[] = {{"channels", false},    {"rows", false},          {"by tile", true},
                                           {"rows copied", true},  {"whole rows", true},     {"chunks", false},
                                           {"whole chunks", true}, {"channels owned", true}, {NULL, false}};
static const conv_choice joint_choices[] = {{"gradients at once", true}, {NULL, false}};
typedef struct {
    int64_t joint;
} joint_strategy;

char *depthwise_walk_text(const walk_strategy *how, char *text, size_t size)
{
    conv_strategy values = {{0}};
    memcpy(values.value, how, sizeof *how);
    return strategy_text(walk_choices, &values, text, size);
}

char *depthwise_sums_text(const sums_strategy *how, char *text, size_t size)
{
    conv_strategy values = {{0}};
    memcpy(values.value, how, sizeof *how);
    return strategy_text(sums_choices, &values, text, size);
}

/* ---- what is possible */

/* Whole vectors, or all multiples of whole source channels. */
static int64_t block_possible(const conv_problem *p, int64_t channels)
{
    int64_t unit = p->depth_multiplier > 1 ? p->depth_multiplier : VL;
    return min64(p->oc, round_up(max64(1, min64(channels, p->oc)), unit));
}

static bool joint_possible(const conv_problem *p)
{
    const conv_axis *h = &p->axis[CONV_H];
    return p->depth_multiplier == 1 && h->stride == 1 && h->in == conv_out(h);
}

static walk_strategy walk_possible(const conv_problem *p, walk_strategy how)
{
    bool stencil3 = row_walk_stencil3(p);
    how.channels = block_possible(p, how.channels);
    how.ring = how.ring && p->depth_multiplier == 1;
    how.ahead = how.ahead && stencil3 && !how.ring && how.channels == p->oc;
    how.stream = how.stream && stencil3 && p->oc % VL == 0;
    return how;
}

/* Narrow blocks go by twos instead of fours, which would make bits depend on who has them: shares of
 * channels are whole vectors. */
static sums_strategy sums_possible(const conv_problem *p, sums_strategy how)
{
    bool stencil3 = row_walk_stencil3(p);
    how.channels = block_possible(p, how.channels);
    how.rows = !stencil3 || how.rows < 2 ? 1 : how.rows < BAND_ROWS || how.channels % VL != 0 ? 2 : BAND_ROWS;
    how.by_tile = how.by_tile && how.rows > 1;
    how.ring = how.ring && p->depth_multiplier == 1;
    how.ahead = how.ahead && how.rows > 1 && !how.ring && how.channels == p->oc;
    how.chunks = max64(1, min64(how.chunks, p->mb * conv_out(&p->axis[CONV_H])));
    how.owned = how.owned && p->depth_multiplier == 1 && p->oc % VL == 0 && !how.ring;
    how.whole = how.whole && !how.ring && !how.owned;
    return how;
}

depthwise_choices depthwise_possible(const conv_problem *p, conv_pass pass, depthwise_choices how)
{
    how.joint = how.joint && pass == CONV_BACKWARD && joint_possible(p);
    how.sums = sums_possible(p, how.sums);
    if (how.joint) how.walk = (walk_strategy){.channels = how.sums.channels, .stream = how.walk.stream};
    how.walk = walk_possible(p, how.walk);
    return how;
}

/* ---- rules of thumb */

typedef struct {
    bool stencil3, crowded; /* crowded: pixels lie whole pages apart */
    size_t l3;              /* of those that work on it */
    bool beyond_l3;         /* src and dst are larger */
    bool whole_rows;
    int64_t channels; /* of a block */
} circumstances;

/* What lies in L3 is read quickly enough without a prefetch, and is best written there. Pixels that crowd
 * one set of L1 are better copied than walked whole: in vectors of half a line, which meet each line twice,
 * always; in whole lines until they come from memory for certain (a virtual machine's share of L3 is a guess).
 * Sums are made in another order when walked whole, so there the size must not depend on the threads. */
static circumstances circumstances_of(const conv_problem *p, conv_pass pass, const conv_context *ctx)
{
    conv_sizes sizes = conv_problem_sizes(p);
    int64_t m = p->depth_multiplier, units = p->mb * conv_out(&p->axis[CONV_H]) / 2, threads = ctx->threads;
    circumstances c = {.stencil3 = row_walk_stencil3(p), .crowded = ring_wanted(p->oc)};
    c.l3 = ctx->l3 * (size_t)(conv_makes_weights(pass) ? SUMMING_CORES : threads);
    c.beyond_l3 = (size_t)(sizes.src + sizes.dst) * sizeof(float) > (c.crowded ? 2 : 1) * c.l3;
    c.whole_rows = c.stencil3 && c.beyond_l3 && (WHOLE_LINE || !c.crowded);
    c.channels = round_up(div_up(p->oc, div_up(p->oc, MOST_CHANNELS)), VL);
    if (m > 1) c.channels = max64(1, c.channels / m) * m;
    if (c.whole_rows && deals_evenly(units, threads, 8)) c.channels = p->oc;
    c.channels = min64(c.channels, p->oc);
    return c;
}

/* Whether pixels crowd and the rings that hold so many rows besides the kernel's own fit half of L2. */
static bool copying_pays(const conv_problem *p, conv_pass pass, const conv_context *ctx, const circumstances *c,
                         int64_t more_rows)
{
    const conv_axis *h = &p->axis[CONV_H], *x = &p->axis[CONV_W];
    if (p->depth_multiplier > 1 || c->whole_rows || !c->crowded) return false;
    int64_t rings = pass == CONV_BACKWARD ? 2 : 1, rows = conv_effective_kernel(h) + more_rows;
    int64_t room = (int64_t)(ctx->l2 / 2 / sizeof(float));
    return rings * ring_floats(rows, max64(x->in, conv_out(x)), RING_CHANNELS) <= room;
}

walk_strategy depthwise_walk_pick(const conv_problem *p, conv_pass pass, const conv_context *ctx)
{
    circumstances c = circumstances_of(p, pass, ctx);
    conv_sizes sizes = conv_problem_sizes(p);
    bool data = conv_makes_data(pass), ring = copying_pays(p, pass, ctx, &c, c.stencil3);
    size_t written = (size_t)(data ? sizes.src : sizes.dst) * sizeof(float);
    int64_t steps = p->mb * div_up(axis_outputs(&p->axis[CONV_H], data), c.stencil3 ? 2 : 1);
    return (walk_strategy){.channels = ring ? min64(c.channels, RING_CHANNELS) : c.channels,
                           .ring = ring,
                           .ahead = c.whole_rows && c.channels == p->oc,
                           .stream = c.whole_rows && p->oc % VL == 0 && written > 2 * c.l3,
                           .by_rows = ring && deals_evenly(steps, ctx->threads, 8)};
}

/* Chunks of an even number of rows where that keeps rows in twos. */
static int64_t pick_chunks(const conv_problem *p, int64_t blocks)
{
    int64_t rows = p->mb * conv_out(&p->axis[CONV_H]), pixels = rows * conv_out(&p->axis[CONV_W]), chunks;
    int64_t most = min64(ENOUGH_UNITS / blocks, pixels / LEAST_PIXELS);
    for (chunks = 1; chunks * 2 <= most; chunks *= 2)
        if (rows / chunks % 4 != 0 && rows / chunks < 32) break;
    return chunks;
}

/* A thread that owns some of the channels reads a piece of every pixel, and such pieces use half the sets of
 * its caches or fewer: the tensors must fit a quarter of L2. Not with rings, which hold only a block of
 * channels, nor with multipliers, of whose channels a vector is no whole number. */
static bool owning_pays(const conv_problem *p, const conv_context *ctx, const sums_strategy *how)
{
    conv_sizes sizes = conv_problem_sizes(p);
    size_t bytes = (size_t)(sizes.src + sizes.dst) * sizeof(float), l2 = ctx->l2 * (size_t)ctx->threads;
    bool plain = !how->ring && p->depth_multiplier == 1 && p->oc % VL == 0;
    return how->chunks > 1 && plain && deals_evenly(p->oc / VL, ctx->threads, 8) && bytes <= l2 / 4;
}

sums_strategy depthwise_sums_pick(const conv_problem *p, conv_pass pass, const conv_context *ctx)
{
    circumstances c = circumstances_of(p, pass, ctx);
    /* Where a pixel is a single vector, a band is one long piece of memory, as whole rows would be. With
     * rows copied bands need larger rings: two of those cost as much as bands save. And in vectors of half a
     * cache line they save nothing on a diff_dst that is read where it lies. */
    bool bands = c.stencil3 && (!c.whole_rows || p->oc == VL) && c.channels % VL == 0;
    bool ring_bands = bands && pass != CONV_BACKWARD && WHOLE_LINE;
    sums_strategy how = {.ring = copying_pays(p, pass, ctx, &c, ring_bands ? BAND_ROWS - 1 : c.stencil3)};
    how.rows = (how.ring ? ring_bands : bands) ? BAND_ROWS : c.stencil3 ? 2 : 1;
    how.channels = how.ring ? min64(c.channels, RING_CHANNELS) : c.channels;
    if (p->depth_multiplier == 1) how.channels = min64(how.channels, MOST_SUM_CHANNELS);
    /* In vectors of half a line, also where a row evicts the other halves meanwhile. */
    how.by_tile = c.whole_rows || (c.stencil3 && !WHOLE_LINE && !how.ring && ring_wanted(2 * p->ic));
    how.chunks = pick_chunks(p, div_up(p->oc, how.channels));
    how.owned = owning_pays(p, ctx, &how);
    how.whole = c.beyond_l3 && !how.ring && !how.owned && deals_evenly(how.chunks, ctx->threads, 8);
    if (c.whole_rows && (how.owned || how.whole)) how.channels = p->oc;
    how.ahead = c.whole_rows && how.channels == p->oc;
    return how;
}

/* One walk for both gradients where it spares copies and every thread has its share. */
static bool pick_joint(const conv_problem *p, const conv_context *ctx, const sums_strategy *sums)
{
    int64_t units = sums->chunks * div_up(p->oc, sums->channels);
    return sums->ring && joint_possible(p) && deals_evenly(units, ctx->threads, 4);
}

depthwise_choices depthwise_choose(const conv_impl *impl, const conv_problem *p, conv_pass pass,
                                   const conv_context *ctx)
{
    depthwise_choices how = {0};
    conv_context parts = *ctx; /* a joint backward is told only whether it is one */
    if (pass == CONV_BACKWARD) parts.told = false;
    conv_pass rows = conv_makes_data(pass) ? CONV_BACKWARD_DATA : CONV_FORWARD;
    conv_context walk = strategy_context(impl, p, rows, &parts);
    conv_context sums = strategy_context(impl, p, CONV_BACKWARD_WEIGHTS, &parts);
    if (pass != CONV_BACKWARD_WEIGHTS) how.walk = depthwise_walk_pick(p, pass, ctx);
    if (pass != CONV_BACKWARD_WEIGHTS && walk.told) memcpy(&how.walk, walk.strategy.value, sizeof how.walk);
    if (conv_makes_weights(pass)) how.sums = depthwise_sums_pick(p, pass, ctx);
    if (conv_makes_weights(pass) && sums.told) memcpy(&how.sums, sums.strategy.value, sizeof how.sums);
    if (pass != CONV_BACKWARD) return how;
    conv_context both = strategy_context(impl, p, CONV_BACKWARD, ctx);
    how.joint = both.told ? both.strategy.value[0] != 0 : pick_joint(p, ctx, &how.sums);
    return how;
}

/* ---- candidates */

static bool beyond(const conv_problem *p, size_t bytes)
{
    conv_sizes sizes = conv_problem_sizes(p);
    return (size_t)(sizes.src + sizes.dst) * sizeof(float) > bytes;
}

static void add_walk(const conv_problem *p, walk_strategy s, conv_candidates *list)
{
    s = walk_possible(p, s);
    strategy_add(list, &s, sizeof s, 0);
}

/* The pick, and blocks one after the other; beyond L2 also the pick with outputs past the caches or not,
 * rows copied, and whole rows past the caches. */
static void list_walks(const conv_problem *p, conv_pass pass, const conv_context *ctx, conv_candidates *list)
{
    walk_strategy first = depthwise_walk_pick(p, pass, ctx), s = first;
    list->choices = walk_choices;
    add_walk(p, first, list);
    add_walk(p, (walk_strategy){.channels = RING_CHANNELS, .by_rows = 1}, list);
    if (!beyond(p, ctx->l2 * (size_t)ctx->threads)) return;
    s.stream = !first.stream;
    add_walk(p, s, list);
    add_walk(p, (walk_strategy){.channels = RING_CHANNELS, .ring = 1, .by_rows = 1}, list);
    add_walk(p, (walk_strategy){.channels = p->oc, .ahead = 1, .stream = 1}, list);
}

static void add_sums(const conv_problem *p, sums_strategy s, conv_candidates *list)
{
    s = sums_possible(p, s);
    strategy_add(list, &s, sizeof s, 0);
}

/* The pick, more chunks where threads would be idle, and rows otherwise; of what nearly fits L2 channels
 * owned, else rows copied, in two sizes of block. */
static void list_sums(const conv_problem *p, const conv_context *ctx, conv_candidates *list)
{
    const sums_strategy first = depthwise_sums_pick(p, CONV_BACKWARD_WEIGHTS, ctx);
    const int64_t other = first.rows == BAND_ROWS ? 2 : BAND_ROWS;
    sums_strategy s = first;
    list->choices = sums_choices;
    add_sums(p, first, list);
    s.chunks = first.chunks * 2;
    if (first.chunks * div_up(p->oc, first.channels) < ctx->threads) add_sums(p, s, list);
    s = first;
    s.rows = other;
    add_sums(p, s, list);
    add_sums(p, (sums_strategy){RING_CHANNELS, .rows = 2, .by_tile = 1, .chunks = first.chunks}, list);
    if (!beyond(p, ctx->l2 * (size_t)ctx->threads / 2)) {
        add_sums(p, (sums_strategy){p->oc, .rows = first.rows, .chunks = 1, .owned = 1}, list);
        add_sums(p, (sums_strategy){p->oc, .rows = other, .chunks = 1, .owned = 1}, list);
        return;
    }
    s = (sums_strategy){RING_CHANNELS, .rows = 2, .by_tile = 1, .ring = 1, .chunks = first.chunks};
    add_sums(p, s, list);
    s.channels = RING_CHANNELS / 2;
    add_sums(p, s, list);
}

static void list_joint(const conv_problem *p, const conv_context *ctx, conv_candidates *list)
{
    if (!joint_possible(p)) return;
    sums_strategy sums = depthwise_sums_pick(p, CONV_BACKWARD, ctx);
    joint_strategy s = {pick_joint(p, ctx, &sums)};
    list->choices = joint_choices;
    strategy_add(list, &s, sizeof s, 0);
    s.joint = !s.joint;
    strategy_add(list, &s, sizeof s, 0);
}

void depthwise_strategies(const conv_impl *impl, const conv_problem *p, conv_pass pass, const conv_context *ctx,
                          conv_candidates *list)
{
    (void)impl;
    if (pass == CONV_BACKWARD)
        list_joint(p, ctx, list);
    else if (pass == CONV_BACKWARD_WEIGHTS)
        list_sums(p, ctx, list);
    else
        list_walks(p, pass, ctx, list);
}
