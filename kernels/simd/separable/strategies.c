/* Which strategies are possible for a problem, and which of them the cost model (work.c) finds fastest. */
#include "strategies.h"

#include <math.h>
#include <string.h>

#include "../../strategy.h"
#include "../../work.h"
#include "../simd.h"
#include "fused.h"

const conv_choice fused_forward_choices[] = {
    {"rows", false}, {"parts", false}, {"streamed", true}, {NULL, false}};
const conv_choice fused_backward_choices[] = {{"channels", false}, {"chunks of images", false}, {NULL, false}};

static int64_t between(int64_t least, int64_t value, int64_t most) { return max64(least, min64(value, most)); }

/* ---- what follows from the problem and the caches */

/* Channels of the intermediate that are a multiple of `whole` and all multiples of whole source channels. */
static int64_t of_multiplier(const conv_problem *p, int64_t whole)
{
    int64_t unit = p->depth_multiplier;
    while (unit % whole != 0) unit += p->depth_multiplier;
    return unit;
}

int64_t fused_terms(int64_t terms, int64_t unit, int64_t vectors, const conv_context *ctx)
{
    int64_t row = vectors * VL * (int64_t)sizeof(float);
    return min64(terms, even_piece(terms, (int64_t)ctx->l2 / 2 / row, unit));
}

int64_t fused_forward_terms(const conv_problem *p, int64_t vectors, const conv_context *ctx)
{
    return fused_terms(fused_channels(p), of_multiplier(p, VL), vectors, ctx);
}

int64_t fused_backward_vectors(const conv_problem *p, const fused_backward_strategy *how)
{
    return min64(gemm_panel_vectors(fused_channels(p)), how->channels / VL);
}

int64_t fused_backward_pixels(const conv_problem *p, const conv_context *ctx)
{
    int64_t row = gemm_panel_vectors(p->oc) * VL * (int64_t)sizeof(float);
    return even_piece(fused_rows(p) * conv_out(&p->axis[CONV_W]), (int64_t)ctx->l1d / row, 1);
}

int64_t fused_chunk_floats(const conv_problem *p)
{
    conv_sizes s = conv_problem_sizes(p);
    return round_up(s.pointwise, VL) + round_up(s.weights, VL) + round_up(p->oc, VL);
}

/* Chunks of images: as many as there are images, while all their gradients together are no larger than the
 * operands. Threads share out those where they are no fewer than the panels of channels, which are the other
 * way: chunks need not wait for each other. Whatever the threads, for it changes bits. */
static int64_t chunks_of(const conv_problem *p)
{
    conv_sizes s = conv_problem_sizes(p);
    int64_t chunks = min64(min64(p->mb, ANY_TEAM), (s.src + s.dst) / fused_chunk_floats(p));
    return chunks * gemm_panel_vectors(fused_channels(p)) * VL >= fused_channels(p) ? max64(chunks, 1) : 1;
}

/* ---- what is possible */

fused_forward_strategy fused_forward_possible(const conv_problem *p, const gemm_way *way,
                                              const conv_context *ctx, fused_forward_strategy how)
{
    int64_t vectors = way->panel_vectors(p->oc);
    how.rows = between(1, how.rows, fused_lines(p));
    how.parts = between(1, how.parts, div_up(p->oc, vectors * VL));
    how.stream = how.stream && p->oc % VL == 0 && fused_forward_terms(p, vectors, ctx) == fused_channels(p);
    return how;
}

fused_backward_strategy fused_backward_possible(const conv_problem *p, fused_backward_strategy how)
{
    how.channels = round_up(between(1, how.channels, fused_channels(p)), of_multiplier(p, VL));
    how.channels = round_up(how.channels, of_multiplier(p, fused_backward_vectors(p, &how) * VL));
    how.images = between(1, how.images, p->mb);
    return how;
}

/* ---- candidates */

static void add_forward(const conv_problem *p, const gemm_way *way, const conv_context *ctx,
                        fused_forward_strategy s, conv_candidates *list)
{
    conv_work work = {0};
    s = fused_forward_possible(p, way, ctx, s);
    fused_forward_state(p, way, ctx, &s, &work);
    strategy_add(list, &s, sizeof s, work_model_ns(&work, p, CONV_FORWARD, ISA_ENUM, ctx));
}

/* Of all ways to cut an image's rows evenly, with panels together, halved and so on, those that the model finds
 * fastest. */
static void list_forward(const conv_problem *p, const gemm_way *way, const conv_context *ctx,
                         conv_candidates *list)
{
    int64_t lines = fused_lines(p), panels = div_up(p->oc, way->panel_vectors(p->oc) * VL);
    *list = (conv_candidates){.choices = fused_forward_choices};
    for (int64_t rows = lines; rows > 0; rows--)
        for (int64_t parts = 1; parts <= panels && even_piece(lines, rows, 1) == rows; parts *= 2)
            for (int64_t stream = 0; stream <= 1; stream++)
                add_forward(p, way, ctx, (fused_forward_strategy){rows, parts, stream}, list);
}

static void add_backward(const conv_problem *p, const conv_context *ctx, fused_backward_strategy s,
                         conv_candidates *list)
{
    conv_work work = {0};
    s = fused_backward_possible(p, s);
    fused_backward_state(p, ctx, &s, &work);
    bool same_bits = s.images == chunks_of(p);
    strategy_add(list, &s, sizeof s,
                 same_bits ? work_model_ns(&work, p, CONV_BACKWARD, ISA_ENUM, ctx) : INFINITY);
}

/* Channels together, halved and so on; the best of these with images the other way. */
static void list_backward(const conv_problem *p, const conv_context *ctx, conv_candidates *list)
{
    fused_backward_strategy s = {.images = chunks_of(p)};
    *list = (conv_candidates){.choices = fused_backward_choices};
    for (int64_t blocks = 1; blocks <= ANY_TEAM; blocks *= 2) {
        s.channels = div_up(fused_channels(p), blocks);
        add_backward(p, ctx, s, list);
    }
    memcpy(&s, list->list[0].value, sizeof s);
    s.images = s.images > 1 ? 1 : ANY_TEAM;
    add_backward(p, ctx, s, list);
}

void fused_strategies(const conv_impl *impl, const conv_problem *p, conv_pass pass, const conv_context *ctx,
                      conv_candidates *list)
{
    if (pass == CONV_FORWARD)
        list_forward(p, ((const simd_impl *)impl)->way, ctx, list);
    else if (pass == CONV_BACKWARD)
        list_backward(p, ctx, list);
}
