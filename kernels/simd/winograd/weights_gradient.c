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

#include "../../plan.h"
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
    return round_up(PARTS * 9 * w->ic * w->oc, CONV_ALIGN / (int64_t)sizeof(float));
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
                            .xi_stride = w->chunk * w->strips * STRIP + WINOGRAD_GAP,
                            .width = STRIP,
                            .block = w->chunk * STRIP};
}

static winograd_place panel_place(const winograd_wgrad *w, float *z, int64_t tile)
{
    return (winograd_place){.at = z + tile * w->width,
                            .xi_stride = w->chunk * w->panels * w->width + WINOGRAD_GAP,
                            .width = w->width,
                            .block = w->chunk * w->width};
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
        winograd_place to = strip_place(w, j->v + j->strip0 * w->chunk * STRIP, t);
        winograd_input(&w->grid, first + t, &src, &to);
    }
    for (int64_t t = begin; t < end; t++) {
        winograd_place to = panel_place(w, j->z + j->panel0 * w->chunk * w->width, t);
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
            multiply(j, xi, i, w->chunk, false, j->sums + xi * sum_stride(w, 1));
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
    if (w->alone && begin == end) return;
    job j = whole_job(w, s);
    if (w->alone) {
        j.panel0 = begin / w->strips;
        j.panel1 = (end - 1) / w->strips + 1;
        if (j.panel1 - j.panel0 == 1) {
            j.strip0 = begin % w->strips;
            j.strip1 = (end - 1) % w->strips + 1;
        }
        j.s.thread = 0;
        j.s.threads = 1;
        transform(&j, 0, w->chunk);
    } else {
        j.sums += s->thread * xis_of(w) * sum_stride(w, 1);
        transform(&j, 0, w->chunk);
        winograd_wait(s->threads);
    }
    units_apart(&j, begin, end);
}

/* Tiles [from, to) by a team, with sums and scratch of its own. */
static void run_tiles(const winograd_wgrad *w, const wgrad_share *s, int64_t from, int64_t to)
{
    job j = whole_job(w, s);
    for (int64_t tile = from; tile < to; tile += w->chunk) {
        int64_t count = min64(w->chunk, to - tile);
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
    int64_t weights = 9 * w->ic * w->oc, begin = 0, end = PARTS, joined = 1;
    float *partials = s->scratch;
    wgrad_share own = *s;
    own.scratch += partial_floats(w);
    own.accumulate = false;
    if (w->alone) {
        share(PARTS, s->thread, s->threads, &begin, &end);
        own.scratch += (size_t)s->thread * w->team_floats;
        own.thread = 0;
        own.threads = 1;
    }
    for (int64_t part = begin; part < end; part++) {
        int64_t from, to;
        share(w->grid.tiles, part, PARTS, &from, &to);
        own.diff_weights = partials + part * weights;
        run_tiles(w, &own, from, to);
    }
    /* Whole branches of the tree are joined by the thread that has them: less to fetch from another core. */
    if (w->alone && PARTS % s->threads == 0) {
        joined = PARTS / s->threads;
        float *first = partials + begin * weights;
        reduce_chunks(&(chunk_sums){first, joined, weights, weights}, false, first, 0, 1);
    }
    winograd_wait(s->threads);
    chunk_sums branches = {partials, PARTS / joined, joined * weights, weights};
    reduce_chunks(&branches, s->accumulate, s->diff_weights, s->thread, s->threads);
}

static void run(const wgrad *plan, const wgrad_share *s)
{
    const winograd_wgrad *w = (const winograd_wgrad *)plan;
    wgrad_share own = *s;
    switch (w->way) {
    case WINOGRAD_UNITS:
        if (w->alone) own.scratch += (size_t)s->thread * w->team_floats;
        run_units(w, &own);
        break;
    case WINOGRAD_PARTS: run_parts(w, s); break;
    case WINOGRAD_TOGETHER: run_tiles(w, s, 0, w->grid.tiles);
    }
}

/* ---- plan */

static void choose_way(winograd_wgrad *w, const conv_context *ctx)
{
    int64_t l2 = (int64_t)(ctx->l2 / sizeof(float)), xis = xis_of(w), tiles = w->grid.tiles;
    int64_t units = w->panels * w->strips, channels = w->strips * STRIP + w->panels * w->width;
    w->chunk = (l2 / 8 * 5 - units * unit_floats(w)) / (xis * channels);
    if (tiles >= PARTS * PART_TILES && units * unit_floats(w) <= PART_L2S * l2) {
        w->way = WINOGRAD_PARTS;
        w->alone = PARTS % ctx->threads == 0;
        tiles = div_up(tiles, PARTS);
        if (w->chunk < PART_CHUNK) w->chunk = MOST_CHUNK;
        w->chunk = div_up(tiles, div_up(tiles, w->chunk));
        return;
    }
    w->chunk = tiles;
    w->way = WINOGRAD_UNITS;
    w->alone = min64(w->ic, w->oc) >= LONE_CHANNELS * ctx->threads && deals_evenly(units, ctx->threads, 4);
    if ((units >= ENOUGH_UNITS || w->alone) && xis * tiles * w->width <= l2 / 8 * 5) return;
    w->alone = false;

    /* Few enough that one xi of V and Z stays in L2, enough that S is seldom read and written. */
    w->way = WINOGRAD_TOGETHER;
    int64_t chunk = max64(LEAST_CHUNK, min64(MOST_CHUNK, l2 / 2 / channels));
    w->chunk = div_up(tiles, div_up(tiles, chunk));
}

wgrad *winograd_wgrad_plan(const conv_problem *p, const conv_context *ctx)
{
    winograd_wgrad *w = malloc(sizeof *w);
    if (w == NULL) return NULL;
    const conv_axis *h = &p->axis[CONV_H], *x = &p->axis[CONV_W];
    *w = (winograd_wgrad){.head = {.run = run, .chunks = 1},
                          .ic = p->ic,
                          .oc = p->oc,
                          .nv = gemm_panel_vectors(p->oc),
                          .grid = {.in_h = h->in,
                                   .in_w = x->in,
                                   .out_h = conv_out(h),
                                   .out_w = conv_out(x),
                                   .pad_h = h->pad_before,
                                   .pad_w = x->pad_before}};
    winograd_grid *g = &w->grid;
    winograd_cut(g, LEAST_INSIDE, p, ctx);
    w->width = (int64_t)w->nv * VL;
    w->panels = div_up(p->oc, w->width);
    w->strips = div_up(p->ic, STRIP);
    choose_way(w, ctx);

    int64_t xis = xis_of(w), threads = ctx->threads;
    w->v_floats = (size_t)(xis * (w->chunk * w->strips * STRIP + WINOGRAD_GAP));
    w->z_floats = (size_t)(xis * (w->chunk * w->panels * w->width + WINOGRAD_GAP));
    int64_t sums = sum_stride(w, w->panels * w->strips);
    if (w->way == WINOGRAD_UNITS) sums = sum_stride(w, 1) * (w->alone ? 1 : threads);
    w->team_floats = w->v_floats + w->z_floats + (size_t)(xis * sums);
    w->head.common_floats = w->team_floats * (size_t)(w->alone ? threads : 1);
    if (w->way == WINOGRAD_PARTS) w->head.common_floats += (size_t)partial_floats(w);
    static const char *const ways[] = {"gradient together", "gradient by units", "gradient by parts"};
    winograd_note(g, w->chunk, w->head.note);
    conv_note(w->head.note, true, ways[w->way]);
    conv_note(w->head.note, w->alone, "each alone");
    winograd_wgrad_state(w, p, ctx);
    return &w->head;
}
