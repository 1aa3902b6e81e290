/* What Winograd's convolution does, for conv_plan.work. Its transforms are additions, which some CPUs do beside
 * multiply-adds: they are left out, their loads and stores are not. */
#include "../../work.h"
#include "../../isa.h"

#include "../gemm/gemm.h"
#include "../vec.h"
#include "winograd.h"

/* Tiles of `channels`: read where neighbours overlap, written transformed, or the other way round. */
static void add_transform(const winograd_grid *g, double read, double written, double channels, conv_work *w)
{
    double vectors = (double)g->tiles * channels / VL;
    w->loads += read * vectors;
    w->stores += written * vectors;
}

/* Of so many bytes that threads write and share out anew: what another wrote comes by the cache that they
 * share, once when it is read and once when it is written again. Returns what passes so. */
static double hand_over(conv_work *w, double bytes, const conv_context *ctx)
{
    double handed = 2 * bytes * (double)(ctx->threads - 1) / ctx->threads;
    work_write(w, handed, (double)ctx->l2 + fmin((double)ctx->l2, (double)ctx->l3));
    return handed;
}

/* Where two cores share no cache, a line takes as long as in a barrier, which hands one there and one back; so
 * many are under way at a time. Limits do not count on that, for cores may be nearer. */
double winograd_model_ns(const conv_work *w, double handed, const conv_problem *p, conv_pass pass,
                         const conv_context *ctx)
{
    enum { LINE_BYTES = 64, UNDER_WAY = 16 };
    conv_work own = *w;
    own.barriers += (int)(handed / LINE_BYTES / ctx->threads / (2 * UNDER_WAY));
    return work_model_ns(&own, p, pass, ISA_ENUM, ctx);
}

/* So many rows in tiles as tall as they can be alike. */
static int tile_rows(int64_t rows, int nv) { return (int)div_up(rows, div_up(rows, gemm_tile_rows(nv))); }

void winograd_product_state(winograd_product *w, const conv_problem *p, const conv_context *ctx)
{
    const winograd_grid *g = &w->grid;
    conv_sizes s = conv_problem_sizes(p);
    int nv = (int)w->how.vectors, threads = ctx->threads;
    double xis = (double)winograd_xis(g), tiles = (double)g->tiles, k = (double)w->k, n = (double)w->n;
    double teams = w->how.alone ? threads : 1, groups = fmax(teams, tiles / (double)w->how.chunk);
    conv_work own = {.busiest =
                         work_busiest(w->how.alone ? g->tiles : g->alpha * g->alpha * w->panels, threads)};
    work_add_product(&own, &(work_product){xis * tiles, k, w->n, VL, tile_rows(w->how.chunk, nv), nv});
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
    w->handed = 0;
    if (!w->how.alone) {
        own.barriers = threads == 1 ? 0 : (int)(2 * groups);
        w->handed = hand_over(&own, v + m, ctx);
    }
    w->head.work = own;
}

void winograd_wgrad_state(winograd_wgrad *w, const conv_problem *p, const conv_context *ctx)
{
    const winograd_grid *g = &w->grid;
    conv_sizes s = conv_problem_sizes(p);
    int nv = (int)w->how.vectors, threads = ctx->threads;
    double xis = (double)winograd_xis(g), tiles = (double)g->tiles, ic = (double)w->ic, oc = (double)w->oc;
    double panels = (double)w->panels, strips = (double)w->strips, width = (double)w->width;
    double parts = (double)w->how.parts, chunks = fmax(parts, tiles / (double)w->how.chunk);
    double gradient = 4 * xis * ic * oc;
    bool by_parts = w->how.alone && !w->how.units;
    int64_t units = w->panels * w->strips * (w->how.units ? 1 : winograd_xis(g));
    conv_work own = {.busiest = work_busiest(by_parts ? w->how.parts : units, threads)};
    work_add_product(&own, &(work_product){xis * ic, tiles, w->oc, VL, tile_rows(WINOGRAD_STRIP, nv), nv});
    own.stores *= chunks;
    own.loads += own.stores * (1 - 1 / chunks);

    /* How often each is transformed: by every thread alone that has units of it. */
    bool again = w->how.alone && w->how.units;
    double v_times = again ? fmin(threads, panels) : 1, z_times = again ? fmax(1, threads / panels) : 1;
    add_transform(g, xis, xis, ic * v_times, &own);
    add_transform(g, g->m * g->m, xis, oc * z_times, &own);
    work_read(&own, 4.0 * ((double)s.src * v_times + (double)s.dst * z_times), CONV_EACH_CALL);

    double v = 4 * xis * tiles * ic, z = 4 * xis * tiles * oc;
    double chunk = (v * v_times + z * z_times) / chunks / (by_parts ? 1 : threads);
    double unit = 4 * tiles / chunks * (gemm_tile_rows(nv) + width); /* of one xi */
    work_write(&own, v * v_times + z * z_times, chunk);
    /* Every panel meets V, every strip of a panel Z. */
    work_read(&own, v, chunk);
    work_read(&own, v * (panels - 1), w->how.units ? chunk : chunk / xis);
    work_read(&own, z, chunk);
    work_read(&own, z * (strips - 1), w->how.units ? xis * unit : unit);
    work_write(&own, gradient * chunks,
               w->how.units ? gradient / (panels * strips) : gradient / (by_parts ? 1 : threads) + chunk);
    if (parts > 1) work_write(&own, 8.0 * parts * (double)s.weights, gradient + chunk); /* made, then joined */
    work_write(&own, 4.0 * (double)s.weights, CONV_EACH_CALL);
    own.barriers = threads == 1 ? 0 : w->how.alone ? parts > 1 : w->how.units ? 1 : (int)(2 * chunks);
    w->handed = w->how.alone ? 0 : hand_over(&own, v + z + (w->how.units ? 0 : gradient * parts), ctx);
    w->head.work = own;
}
