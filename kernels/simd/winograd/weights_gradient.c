/* Winograd backward_weights: diff_weights = G' [ sum over tiles (B' d B) . (A diff_dst A') ] G.
 *
 * for chunk of tiles (transformed, one xi of both stays in L2):
 *   for tile:               V[xi][strip of k][tile] = B' d B, Z[xi][panel of n][tile] = A diff_dst A'
 *                                                                              parallel over tiles
 *   for xi, panel, strip:   S[xi][panel][strip] += V' * Z                      parallel over all three
 * for panel, strip, row:    diff_weights (+)= G' S G                           parallel over all three
 * Three ways to divide it. Together, as above. By units: where all tiles are one chunk, a (panel, strip) goes
 * from product to gradient at once; its S stays in L2 and never goes to memory; few threads each transform
 * what their units read rather than fetch it from each other. By parts: of many tiles and a small S, fixed
 * parts of the tiles are summed by one thread each, which waits for nobody and reads nothing that another
 * core wrote (two cores may be two L3s apart) until their gradients meet in an ordered tree; or by all
 * threads, one after the other. Within a part a sum runs over its tiles in order, so neither threads nor
 * chunks change a bit. */
#include "winograd.h"

#include <stdlib.h>
#include <string.h>

#include "../../plan.h"
#include "../../strategy.h"
#include "../gemm/gemm.h"
#include "../reduce.h"
#include "../vec.h"

enum { STRIP = WINOGRAD_STRIP };
enum { LEAST_INSIDE = 6 }; /* pixels per axis from which F(4x4) keeps the error bound: see winograd.c */

/* Units of work are (panel, strip)s, panel slowest. From one xi to the next of the sums of so many units,
 * [xi][unit][STRIP][width]. */
static int64_t sum_stride(const winograd_wgrad *w, int64_t units)
{
    return units * STRIP * w->width + WINOGRAD_GAP;
}

/* The gradients of all parts; what follows them starts on a cache line. */
static int64_t partial_floats(const winograd_wgrad *w)
{
    return round_up(w->how.parts * 9 * w->ic * w->oc, CONV_ALIGN / (int64_t)sizeof(float));
}

/* ---- run */

typedef struct {
    const winograd_wgrad *w;
    wgrad_share s; /* thread and threads: of the team that works on this */
    float *v, *z, *sums;
    int64_t strip0, strip1, panel0, panel1; /* to be transformed */
} job;

static winograd_place strip_place(const winograd_wgrad *w, float *v, int64_t tile)
{
    return (winograd_place){.at = v + tile * STRIP,
                            .xi_stride = w->how.chunk * w->strips * STRIP + WINOGRAD_GAP,
                            .width = STRIP,
                            .block = w->how.chunk * STRIP};
}

static winograd_place panel_place(const winograd_wgrad *w, float *z, int64_t tile)
{
    return (winograd_place){.at = z + tile * w->width,
                            .xi_stride = w->how.chunk * w->panels * w->width + WINOGRAD_GAP,
                            .width = w->width,
                            .block = w->how.chunk * w->width};
}

/* One xi of one unit over `count` tiles. sum: [STRIP][width]. */
static void multiply(const job *j, int64_t xi, int64_t unit, int64_t count, bool accumulate, float *sum)
{
    const winograd_wgrad *w = j->w;
    int64_t panel = unit / w->strips, strip = unit % w->strips;
    winograd_place v = strip_place(w, j->v, 0), z = panel_place(w, j->z, 0);
    const gemm_run all = {0, 0, count};
    int64_t n = min64(w->width, w->oc - panel * w->width);
    int nv = (int)div_up(n, VL);
    int64_t m = min64(STRIP, w->ic - strip * STRIP), parts = div_up(m, gemm_tile_rows(nv));
    for (int64_t i = 0; i < parts; i++) {
        int64_t begin, end;
        share(m, i, parts, &begin, &end);
        gemm_columns_args args = {.runs = &all,
                                  .run_count = 1,
                                  .a = v.at + xi * v.xi_stride + strip * v.block + begin,
                                  .a_pixel = STRIP,
                                  .a_step = STRIP,
                                  .b = z.at + xi * z.xi_stride + panel * z.block,
                                  .b_pixel = w->width,
                                  .dst = sum + begin * w->width,
                                  .ldc = w->width,
                                  .n = (int64_t)nv * VL,
                                  .accumulate = accumulate};
        gemm_columns((int)(end - begin), nv)(&args);
    }
}

/* Rows [first, last) of a unit, from its sums, an xi every `stride`. */
static void gradient(const job *j, int64_t unit, int64_t first, int64_t last, const float *sums, int64_t stride)
{
    const winograd_wgrad *w = j->w;
    int64_t column = unit / w->strips * w->width, n = min64(w->width, w->oc - column);
    int64_t strip = unit % w->strips * STRIP;
    for (int64_t r = first; r < min64(last, w->ic - strip); r++) {
        winograd_taps to = {j->s.diff_weights + (strip + r) * w->oc + column, w->ic * w->oc, j->s.accumulate};
        winograd_gradient(w->grid.alpha, sums + r * w->width, stride, n, &to);
    }
}

/* V and Z of tiles [first, first + count). */
static void transform(const job *j, int64_t first, int64_t count)
{
    const winograd_wgrad *w = j->w;
    const winograd_channels src = {j->s.src, w->ic, j->strip0 * STRIP, min64(w->ic, j->strip1 * STRIP)};
    const winograd_channels diff_dst = {j->s.diff_dst, w->oc, j->panel0 * w->width,
                                        min64(w->oc, j->panel1 * w->width)};
    int64_t begin, end;
    share(count, j->s.thread, j->s.threads, &begin, &end);
    for (int64_t t = begin; t < end; t++) {
        winograd_place to = strip_place(w, j->v + j->strip0 * w->how.chunk * STRIP, t);
        winograd_input(&w->grid, first + t, &src, &to);
    }
    for (int64_t t = begin; t < end; t++) {
        winograd_place to = panel_place(w, j->z + j->panel0 * w->how.chunk * w->width, t);
        winograd_diff(&w->grid, first + t, &diff_dst, &to);
    }
}

/* Products of one chunk, xi by xi. */
static void multiply_chunk(const job *j, int64_t count, bool accumulate)
{
    const winograd_wgrad *w = j->w;
    int64_t units = w->panels * w->strips, begin, end;
    share(winograd_xis(&w->grid) * units, j->s.thread, j->s.threads, &begin, &end);
    for (int64_t i = begin; i < end; i++) {
        int64_t xi = i / units, unit = i % units;
        multiply(j, xi, unit, count, accumulate,
                 j->sums + xi * sum_stride(w, w->panels * w->strips) + unit * STRIP * w->width);
    }
}

static void gradients(const job *j)
{
    const winograd_wgrad *w = j->w;
    int64_t begin, end;
    share(w->panels * w->strips * STRIP, j->s.thread, j->s.threads, &begin, &end);
    for (int64_t i = begin; i < end; i++) {
        int64_t unit = i / STRIP, row = i % STRIP;
        gradient(j, unit, row, row + 1, j->sums + unit * STRIP * w->width,
                 sum_stride(w, w->panels * w->strips));
    }
}

/* Products and gradients of units [begin, end). */
static void units_apart(const job *j, int64_t begin, int64_t end)
{
    const winograd_wgrad *w = j->w;
    for (int64_t i = begin; i < end; i++) {
        for (int64_t xi = 0; xi < winograd_xis(&w->grid); xi++)
            multiply(j, xi, i, w->how.chunk, false, j->sums + xi * sum_stride(w, 1));
        gradient(j, i, 0, STRIP, j->sums, sum_stride(w, 1));
    }
}

static job whole_job(const winograd_wgrad *w, const wgrad_share *s)
{
    return (job){.w = w,
                 .s = *s,
                 .v = s->scratch,
                 .z = s->scratch + w->v_floats,
                 .sums = s->scratch + w->v_floats + w->z_floats,
                 .strip1 = w->strips,
                 .panel1 = w->panels};
}

/* Thread's share of the units; scratch is its own when the plan says alone. */
static void run_units(const winograd_wgrad *w, const wgrad_share *s)
{
    int64_t begin, end;
    share(w->panels * w->strips, s->thread, s->threads, &begin, &end);
    if (w->how.alone && begin == end) return;
    job j = whole_job(w, s);
    if (w->how.alone) {
        j.panel0 = begin / w->strips;
        j.panel1 = (end - 1) / w->strips + 1;
        if (j.panel1 - j.panel0 == 1) {
            j.strip0 = begin % w->strips;
            j.strip1 = (end - 1) % w->strips + 1;
        }
        j.s.thread = 0;
        j.s.threads = 1;
        transform(&j, 0, w->how.chunk);
    } else {
        j.sums += s->thread * winograd_xis(&w->grid) * sum_stride(w, 1);
        transform(&j, 0, w->how.chunk);
        winograd_wait(s->threads);
    }
    units_apart(&j, begin, end);
}

/* Tiles [from, to) by a team, with sums and scratch of its own. */
static void run_tiles(const winograd_wgrad *w, const wgrad_share *s, int64_t from, int64_t to)
{
    job j = whole_job(w, s);
    for (int64_t tile = from; tile < to; tile += w->how.chunk) {
        int64_t count = min64(w->how.chunk, to - tile);
        transform(&j, tile, count);
        winograd_wait(s->threads);
        multiply_chunk(&j, count, tile > from);
        winograd_wait(s->threads);
    }
    gradients(&j);
}

/* Fixed parts of the tiles: their gradients, then the sum of those. */
static void run_parts(const winograd_wgrad *w, const wgrad_share *s)
{
    int64_t weights = 9 * w->ic * w->oc, begin = 0, end = w->how.parts, joined = 1;
    float *partials = s->scratch;
    wgrad_share own = *s;
    own.scratch += partial_floats(w);
    own.accumulate = false;
    if (w->how.alone) {
        share(w->how.parts, s->thread, s->threads, &begin, &end);
        own.scratch += (size_t)s->thread * w->team_floats;
        own.thread = 0;
        own.threads = 1;
    }
    for (int64_t part = begin; part < end; part++) {
        int64_t from, to;
        share(w->grid.tiles, part, w->how.parts, &from, &to);
        own.diff_weights = partials + part * weights;
        run_tiles(w, &own, from, to);
    }
    /* Whole branches of the tree are joined by the thread that has them: less to fetch from another core. */
    if (w->how.alone && w->how.parts % s->threads == 0) {
        joined = w->how.parts / s->threads;
        float *first = partials + begin * weights;
        reduce_chunks(&(chunk_sums){first, joined, weights, weights}, false, first, 0, 1);
    }
    winograd_wait(s->threads);
    chunk_sums branches = {partials, w->how.parts / joined, joined * weights, weights};
    reduce_chunks(&branches, s->accumulate, s->diff_weights, s->thread, s->threads);
}

static void run(const wgrad *plan, const wgrad_share *s)
{
    const winograd_wgrad *w = (const winograd_wgrad *)plan;
    wgrad_share own = *s;
    if (w->how.units) {
        if (w->how.alone) own.scratch += (size_t)s->thread * w->team_floats;
        run_units(w, &own);
    } else if (w->how.parts > 1) {
        run_parts(w, s);
    } else {
        run_tiles(w, s, 0, w->grid.tiles);
    }
}

/* ---- strategies */

static const conv_choice wgrad_choices[] = {
    {"gradient by units", true}, {"each alone", true}, {"parts", false}, {"m", false},
    {"vectors", false},          {"tiles", false},     {NULL, false}};

/* What follows from the problem alone. */
static winograd_wgrad shape_of(const conv_problem *p, const conv_context *ctx)
{
    const conv_axis *h = &p->axis[CONV_H], *x = &p->axis[CONV_W];
    return (winograd_wgrad){.head = {.run = run, .chunks = 1},
                            .ic = p->ic,
                            .oc = p->oc,
                            .strips = div_up(p->ic, STRIP),
                            .grid = {.in_h = h->in,
                                     .in_w = x->in,
                                     .out_h = conv_out(h),
                                     .out_w = conv_out(x),
                                     .pad_h = h->pad_before,
                                     .pad_w = x->pad_before,
                                     .ahead = conv_beyond_l2(p, ctx)}};
}

/* Sets the nearest possible strategy, sizes cut to the problem's and parts before units, and what follows from
 * it. */
static void set(const conv_problem *p, const conv_context *ctx, const winograd_wgrad_strategy *how,
                winograd_wgrad *w)
{
    winograd_cut(&w->grid, how->m == 4 ? winograd_best_m(&w->grid, LEAST_INSIDE) : 2, p->mb);
    int64_t xis = winograd_xis(&w->grid), threads = ctx->threads;
    int64_t parts = 1; /* a power of two, for whole branches of a tree are joined first */
    while (2 * parts <= min64(how->parts, w->grid.tiles)) parts *= 2;
    int64_t tiles = div_up(w->grid.tiles, parts);
    bool units = how->units && parts == 1;
    w->how = (winograd_wgrad_strategy){.units = units,
                                       .alone = how->alone && (units || parts > 1),
                                       .parts = parts,
                                       .m = w->grid.m,
                                       .vectors = gemm_fit_vectors(&gemm_plain, how->vectors, w->oc),
                                       .chunk = units ? tiles : even_piece(tiles, min64(how->chunk, tiles), 1)};
    w->width = w->how.vectors * VL;
    w->panels = div_up(w->oc, w->width);
    w->v_floats = (size_t)(xis * (w->how.chunk * w->strips * STRIP + WINOGRAD_GAP));
    w->z_floats = (size_t)(xis * (w->how.chunk * w->panels * w->width + WINOGRAD_GAP));
    int64_t sums = sum_stride(w, w->panels * w->strips);
    if (units) sums = sum_stride(w, 1) * (w->how.alone ? 1 : threads);
    w->team_floats = w->v_floats + w->z_floats + (size_t)(xis * sums);
    w->head.common_floats = w->team_floats * (size_t)(w->how.alone ? threads : 1);
    if (parts > 1) w->head.common_floats += (size_t)partial_floats(w);
    winograd_wgrad_state(w, p, ctx);
}

/* Of the tiles, from the problem and a core's caches alone, for they change bits: S stays in these, and a part
 * has as many tiles as there are channels, or making its gradient from S would not pay. */
static int64_t best_parts(const winograd_wgrad *w, const conv_context *ctx)
{
    int64_t sums = winograd_xis(&w->grid) * w->ic * w->oc, parts = 1;
    if (sums > (int64_t)((ctx->l2 + ctx->l3) / sizeof(float))) return 1;
    while (2 * parts <= min64(ANY_TEAM, w->grid.tiles / (w->ic + w->oc))) parts *= 2;
    return parts;
}

/* By parts where these are enough, with chunks whose V and Z fit half of L2, or as many tiles as channels, so
 * that the sums move no oftener than the operands. Else by units, where a unit's operands stay in half of the
 * caches, and together, with chunks for all L2s or of as many tiles as channels. The other ones' bits and those
 * of F(2x2) are not the pick's: they are tried only. */
void winograd_wgrad_strategies(const conv_problem *p, const conv_context *ctx, conv_candidates *candidates)
{
    winograd_wgrad w = shape_of(p, ctx);
    int64_t best = gemm_panel_vectors(p->oc), other = best == 2 ? TILE_VECTORS : 2, channels = p->ic + p->oc;
    int64_t m = winograd_best_m(&w.grid, LEAST_INSIDE), l2 = (int64_t)(ctx->l2 / sizeof(float));
    winograd_cut(&w.grid, m, p->mb);
    int64_t xis = winograd_xis(&w.grid), parts = best_parts(&w, ctx);
    int64_t own = l2 / 2 / (xis * channels), inside = l2 * ctx->threads / (xis * channels);
    bool units = xis * w.grid.tiles * (STRIP + best * VL) <= (l2 + (int64_t)(ctx->l3 / sizeof(float))) / 2;
    const winograd_wgrad_strategy by_parts[] = {
        {false, true, parts, m, best, own},           {false, true, parts, m, best, channels / 2},
        {false, true, parts, m, other, channels / 2}, {false, false, parts, m, best, inside},
        {false, false, 1, m, best, inside},           {false, false, 1, m, other, inside}};
    const winograd_wgrad_strategy whole[] = {{true, true, 1, m, best, 0},
                                             {true, true, 1, m, other, 0},
                                             {true, false, 1, m, best, 0},
                                             {true, true, 1, 2, best, 0},
                                             {false, false, 1, m, best, inside},
                                             {false, false, 1, m, other, inside},
                                             {false, false, 1, m, best, channels / 2}};
    const winograd_wgrad_strategy *all = parts > 1 ? by_parts : whole;
    size_t count = parts > 1 ? sizeof by_parts / sizeof *by_parts : sizeof whole / sizeof *whole;
    candidates->choices = wgrad_choices;
    for (size_t i = 0; i < count; i++) {
        if (all[i].units && !units) continue;
        set(p, ctx, &all[i], &w);
        bool same = w.how.m == m && w.how.parts == parts;
        strategy_add(candidates, &w.how, sizeof w.how,
                     same ? winograd_model_ns(&w.head.work, w.handed, p, CONV_BACKWARD_WEIGHTS, ctx)
                          : INFINITY);
    }
}

/* ---- plan */

wgrad *winograd_wgrad_plan(const conv_problem *p, const conv_context *ctx)
{
    winograd_wgrad *w = malloc(sizeof *w);
    if (w == NULL) return NULL;
    winograd_wgrad_strategy how;
    memcpy(&how, ctx->strategy.value, sizeof how);
    *w = shape_of(p, ctx);
    set(p, ctx, &how, w);
    winograd_note(&w->grid, w->head.note);
    conv_note(w->head.note, w->how.parts > 1, "gradient by parts");
    conv_note(w->head.note, !w->how.units && w->how.parts == 1, "gradient together");
    strategy_note(w->head.note, wgrad_choices, &w->how, sizeof w->how);
    return &w->head;
}
