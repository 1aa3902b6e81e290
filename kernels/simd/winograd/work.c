/* What Winograd's convolution does, for conv_plan.work. Its transforms are additions, which some CPUs do beside
 * multiply-adds: they are left out, their loads and stores are not. */
#include "../../work.h"

#include "../vec.h"
#include "winograd.h"

static double xis_of(const winograd_grid *g) { return (double)(g->alpha * g->alpha); }

/* Tiles of `channels`: read where neighbours overlap, written transformed, or the other way round. */
static void add_transform(const winograd_grid *g, double read, double written, double channels, conv_work *w)
{
    double vectors = (double)g->tiles * channels / VL;
    w->loads += read * vectors;
    w->stores += written * vectors;
}

void winograd_product_state(winograd_product *w, const conv_problem *p, const conv_context *ctx)
{
    const winograd_grid *g = &w->grid;
    conv_sizes s = conv_problem_sizes(p);
    int nv = (int)w->how.vectors, threads = ctx->threads;
    double xis = xis_of(g), tiles = (double)g->tiles, k = (double)w->k, n = (double)w->n;
    double teams = w->how.alone ? threads : 1, groups = fmax(teams, tiles / (double)w->how.chunk);
    conv_work own = {.busiest =
                         work_busiest(w->how.alone ? g->tiles : g->alpha * g->alpha * w->panels, threads)};
    work_add_product(&own, &(work_product){xis * tiles, k, w->n, VL, gemm_tile_rows(nv), nv});
    add_transform(g, xis, xis, k, &own);
    add_transform(g, xis, g->m * g->m, n, &own);

    /* V and M of one group, of one thread. */
    double v = 4 * xis * tiles * k, m = 4 * xis * tiles * n, u = 4.0 * (double)w->head.packed_floats;
    double group = (v + m) / groups * teams / threads, panel = 4 * k * (double)w->width;
    work_write(&own, v + m, group);
    work_read(&own, v + m, group);
    work_read(&own, v * (double)(w->panels - 1), v / xis / groups + panel);
    work_read(&own, u * teams, CONV_EACH_CALL);
    work_read(&own, u * (groups - teams), u * teams / threads + group);
    work_read(&own, 4.0 * (double)(w->backward ? s.dst : s.src), CONV_EACH_CALL);
    work_write(&own, 4.0 * (double)(w->backward ? s.src : s.dst),
               w->how.stream ? CONV_PAST_CACHES : CONV_EACH_CALL);
    own.barriers = threads == 1 || w->how.alone ? 0 : (int)(2 * groups);
    w->head.work = own;
}

void winograd_wgrad_state(winograd_wgrad *w, const conv_problem *p, const conv_context *ctx)
{
    const winograd_grid *g = &w->grid;
    conv_sizes s = conv_problem_sizes(p);
    int nv = (int)w->how.vectors, threads = ctx->threads;
    double xis = xis_of(g), tiles = (double)g->tiles, ic = (double)w->ic, oc = (double)w->oc;
    double chunks = fmax(1, tiles / (double)w->how.chunk), gradient = 4 * xis * ic * oc;
    conv_work own = {.busiest = w->how.units ? work_busiest(w->panels * w->strips, threads) : 1};
    work_add_product(&own, &(work_product){xis * ic, tiles, w->oc, VL, gemm_tile_rows(nv), nv});
    own.stores *= chunks;
    add_transform(g, xis, xis, ic, &own);
    add_transform(g, g->m * g->m, xis, oc, &own);

    double v = 4 * xis * tiles * ic, z = 4 * xis * tiles * oc, chunk = (v + z) / chunks / threads;
    work_read(&own, 4.0 * (double)(s.src + s.dst), CONV_EACH_CALL);
    work_write(&own, v + z, chunk);
    work_read(&own, v * (double)w->panels + z * (double)w->strips, chunk / xis);
    work_write(&own, gradient * chunks,
               w->how.units ? gradient / (double)(w->panels * w->strips) : gradient / threads + chunk);
    work_write(&own, 4.0 * (double)s.weights, CONV_EACH_CALL);
    own.barriers = threads == 1 ? 0 : w->how.alone ? w->how.parts > 1 : (int)(2 * chunks);
    w->head.work = own;
}
