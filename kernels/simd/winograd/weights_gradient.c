/* Winograd backward_weights: diff_weights = G' [ sum over tiles (B' d B) . (A diff_dst A') ] G.
 *
 * for chunk of tiles (transformed, one xi of both stays in L2):
 *   for tile:               V[xi][strip of k][tile] = B' d B, Z[xi][panel of n][tile] = A diff_dst A'
 *                                                                              parallel over tiles
 *   for xi, panel, strip:   S[xi][panel][strip] += V' * Z                      parallel over all three
 * for panel, strip, row:    diff_weights (+)= G' S G                           parallel over all three
 * Three ways to divide it. Together, as above. By units: where one chunk holds all tiles and there are panels
 * and strips for many threads, a (panel, strip) goes from product to gradient at once; its S stays in L2 and
 * never goes to memory; few threads each transform what their units read rather than fetch it from each other.
 * By parts: where there are many tiles and S is small, fixed parts of the tiles are summed by one thread each,
 * which waits for nobody and reads nothing that another core wrote (two cores may be two L3s apart) until their
 * gradients meet in an ordered tree; threads that the parts do not fit take them together, one after the other.
 * Within a part a sum runs over its tiles in order, so neither threads nor chunks change a bit. */
#include "winograd.h"

#include <stdlib.h>
#include <string.h>

#include "../../plan.h"
#include "../../strategy.h"
#include "../gemm/gemm.h"
#include "../reduce.h"

enum {
    STRIP = 16,         /* rows of V side by side */
    LEAST_INSIDE = 6,   /* pixels per axis from which F(4x4) keeps the error bound: see winograd.c */
    ENOUGH_UNITS = 16,  /* (panel, strip)s that keep any number of threads busy */
    LONE_CHANNELS = 16, /* per thread: a thread's products dwarf what others transform as well */
    PARTS = 8,          /* of the tiles */
    PART_TILES = 96,    /* tiles that pay for a gradient of their own */
    PART_L2S = 4,       /* this many L2s of sums are read and written no slower than V and Z of other cores */
    PART_CHUNK = 12,    /* tiles that pay for reading and writing sums in L2 ... */
    LEAST_CHUNK = 64,   /* ... and in L3 or memory */
    MOST_CHUNK = 128
};

/* ---- sizes */

static int64_t xis_of(const winograd_wgrad *w) { return (int64_t)w->grid.alpha * w->grid.alpha; }

/* Units of work are (panel, strip)s, panel slowest. Floats of one's S: [xi][STRIP][width]. */
static int64_t unit_floats(const winograd_wgrad *w) { return xis_of(w) * STRIP * w->width; }

/* From one xi to the next of the sums of so many units, [xi][unit][STRIP][width]. */
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
    share(xis_of(w) * units, j->s.thread, j->s.threads, &begin, &end);
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
        for (int64_t xi = 0; xi < xis_of(w); xi++)
            multiply(j, xi, i, w->how.chunk, false, j->sums + xi * sum_stride(w, 1));
        gradient(j, i, 0, STRIP, j->sums, sum_stride(w, 1));
    }
}

/* All strips and panels. */
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
        j.sums += s->thread * xis_of(w) * sum_stride(w, 1);
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
    {"gradient by units", true}, {"each alone", true}, {"parts", false},           {"m", false},
    {"vectors", false},          {"tiles", false},     {"tiles prefetched", true}, {NULL, false}};

/* What follows from the problem alone. */
static winograd_wgrad shape_of(const conv_problem *p)
{
    const conv_axis *h = &p->axis[CONV_H], *x = &p->axis[CONV_W];
    return (winograd_wgrad){.ic = p->ic,
                            .oc = p->oc,
                            .strips = div_up(p->ic, STRIP),
                            .grid = {.in_h = h->in,
                                     .in_w = x->in,
                                     .out_h = conv_out(h),
                                     .out_w = conv_out(x),
                                     .pad_h = h->pad_before,
                                     .pad_w = x->pad_before}};
}

/* Sets the grid and the panels. */
static void cut(const conv_problem *p, int64_t m, int64_t vectors, winograd_wgrad *w)
{
    winograd_cut(&w->grid, m, p->mb);
    w->width = vectors * VL;
    w->panels = div_up(w->oc, w->width);
}

/* The nearest possible strategy: sizes cut to the problem's, parts before units. Cuts grid and panels. */
static void fit(const conv_problem *p, winograd_wgrad_strategy *how, winograd_wgrad *w)
{
    how->m = how->m == 4 ? winograd_best_m(&w->grid, LEAST_INSIDE) : 2;
    how->vectors = gemm_fit_vectors(&gemm_plain, how->vectors, w->oc);
    cut(p, how->m, how->vectors, w);
    int64_t most = max64(1, min64(how->parts, w->grid.tiles));
    for (how->parts = 1; how->parts <= most / 2;) how->parts *= 2;
    how->units = how->units && how->parts == 1;
    how->alone = how->alone && (how->units || how->parts > 1);
    int64_t tiles = div_up(w->grid.tiles, how->parts);
    how->chunk = how->units ? tiles : max64(1, min64(how->chunk, tiles));
    how->ahead = w->grid.ahead = how->ahead != 0;
}

/* Tiles whose V and Z fit L2 beside the sums, of parts where those are enough; else few enough that one xi of
 * them does, enough that the sums are seldom read and written. */
static int64_t pick_chunk(const winograd_wgrad *w, int64_t l2, bool parts)
{
    int64_t channels = w->strips * STRIP + w->panels * w->width, units = w->panels * w->strips;
    int64_t inside = (l2 / 8 * 5 - units * unit_floats(w)) / (xis_of(w) * channels);
    int64_t chunk = inside >= PART_CHUNK ? inside : MOST_CHUNK, tiles = w->grid.tiles;
    if (parts)
        tiles = div_up(tiles, PARTS);
    else
        chunk = max64(LEAST_CHUNK, min64(MOST_CHUNK, l2 / 2 / channels));
    return div_up(tiles, div_up(tiles, chunk));
}

static winograd_wgrad_strategy pick(const conv_problem *p, const conv_context *ctx, winograd_wgrad *w)
{
    conv_sizes sizes = conv_problem_sizes(p);
    winograd_wgrad_strategy how = {.m = winograd_best_m(&w->grid, LEAST_INSIDE),
                                   .vectors = gemm_panel_vectors(p->oc),
                                   .parts = 1,
                                   .ahead = (size_t)(sizes.src + sizes.dst) * sizeof(float) >
                                            ctx->l3 * (size_t)ctx->threads};
    cut(p, how.m, how.vectors, w);
    int64_t l2 = (int64_t)(ctx->l2 / sizeof(float)), tiles = w->grid.tiles, units = w->panels * w->strips;
    bool parts = tiles >= PARTS * PART_TILES && units * unit_floats(w) <= PART_L2S * l2;
    if (parts) {
        how.parts = PARTS;
        how.alone = PARTS % ctx->threads == 0;
    } else {
        how.alone = min64(w->ic, w->oc) >= LONE_CHANNELS * ctx->threads && deals_evenly(units, ctx->threads, 4);
        how.units = (units >= ENOUGH_UNITS || how.alone) && xis_of(w) * tiles * w->width <= l2 / 8 * 5;
    }
    how.chunk = pick_chunk(w, l2, parts);
    fit(p, &how, w);
    return how;
}

static void add(const conv_problem *p, winograd_wgrad_strategy how, winograd_wgrad *w,
                conv_candidates *candidates)
{
    fit(p, &how, w);
    strategy_add(candidates, &how, sizeof how, 0);
}

/* The pick; then by units, each alone or not, where a panel of all tiles fits L2; together; by parts, where
 * their gradients are no more than what is transformed; panels of another width; F(2x2); prefetching or not. */
void winograd_wgrad_strategies(const conv_problem *p, const conv_context *ctx, conv_candidates *candidates)
{
    winograd_wgrad w = shape_of(p);
    const winograd_wgrad_strategy first = pick(p, ctx, &w);
    int64_t l2 = (int64_t)(ctx->l2 / sizeof(float)), numbers = xis_of(&w) * w.grid.tiles;
    candidates->choices = wgrad_choices;
    add(p, first, &w, candidates);
    winograd_wgrad_strategy how = first;
    how.parts = 1;
    how.units = 1;
    for (how.alone = 0; how.alone < 2 && numbers * w.width <= l2; how.alone++) add(p, how, &w, candidates);
    how.units = 0;
    how.chunk = pick_chunk(&w, l2, false);
    add(p, how, &w, candidates);
    how.parts = PARTS;
    how.alone = 1;
    how.chunk = pick_chunk(&w, l2, true);
    if (PARTS * 9 * w.ic * w.oc <= numbers * (w.ic + w.oc)) add(p, how, &w, candidates);
    how = first;
    how.vectors = first.vectors == 2 ? TILE_VECTORS : 2;
    add(p, how, &w, candidates);
    how = first;
    how.m = 2;
    add(p, how, &w, candidates);
    how = first;
    how.ahead = !first.ahead;
    add(p, how, &w, candidates);
}

/* ---- plan */

wgrad *winograd_wgrad_plan(const conv_problem *p, const conv_context *ctx)
{
    winograd_wgrad *w = malloc(sizeof *w);
    if (w == NULL) return NULL;
    *w = shape_of(p);
    w->head.run = run;
    w->head.chunks = 1;
    w->how = pick(p, ctx, w);
    if (ctx->told) memcpy(&w->how, ctx->strategy.value, sizeof w->how);
    fit(p, &w->how, w);

    int64_t xis = xis_of(w), threads = ctx->threads;
    w->v_floats = (size_t)(xis * (w->how.chunk * w->strips * STRIP + WINOGRAD_GAP));
    w->z_floats = (size_t)(xis * (w->how.chunk * w->panels * w->width + WINOGRAD_GAP));
    int64_t sums = sum_stride(w, w->panels * w->strips);
    if (w->how.units) sums = sum_stride(w, 1) * (w->how.alone ? 1 : threads);
    w->team_floats = w->v_floats + w->z_floats + (size_t)(xis * sums);
    w->head.common_floats = w->team_floats * (size_t)(w->how.alone ? threads : 1);
    if (w->how.parts > 1) w->head.common_floats += (size_t)partial_floats(w);
    winograd_note(&w->grid, w->head.note);
    conv_note(w->head.note, w->how.parts > 1, "gradient by parts");
    conv_note(w->head.note, !w->how.units && w->how.parts == 1, "gradient together");
    strategy_note(w->head.note, wgrad_choices, &w->how, sizeof w->how);
    winograd_wgrad_state(w, p, ctx);
    return &w->head;
}
