/* What the products of dense and pointwise convolution do, for conv_plan.work. */
#include <math.h>

#include "../../work.h"

#include "product.h"

/* Sums over all tables of a run, as its strategy cuts it. */
typedef struct {
    double pixels, inputs, blocks;
    double pixel_taps,
        tile_taps; /* pairs of an output and an input pixel; the same with a tile for its outputs */
} run_counts;

static run_counts count_run(const product *s, const conv_problem *p)
{
    const conv_axis *d = &p->axis[CONV_D], *h = &p->axis[CONV_H], *x = &p->axis[CONV_W];
    int64_t image = product_image_pixels(p, s->backward), all = p->mb * image;
    int64_t table = s->how.images * image, tiles = div_up(table, product_tile_rows(s));
    double sets = (double)all / (double)table,
           pairs = (double)(conv_real_taps(d) * conv_real_taps(h) * conv_real_taps(x));
    return (run_counts){.pixels = (double)all,
                        .inputs = (double)(p->mb * (s->backward ? conv_dst_pixels(p) : conv_src_pixels(p))),
                        .blocks = sets * (double)min64(div_up(table, s->how.pixels), tiles),
                        .pixel_taps = (double)p->mb * pairs,
                        .tile_taps = (double)p->mb * pairs * (double)tiles / (double)table};
}

/* A panel's block of k is walked by every tile of a block of pixels, the panels one after the other by every
 * block; rows by every panel, and by every thread that has some of the panels of a block. */
static void move_panels(const product *s, const conv_context *ctx, const run_counts *c, conv_work *w)
{
    double panel = 4.0 * (double)(s->taps * s->how.k * s->how.vectors * VL);
    double all = 4.0 * (double)(s->groups * s->panel_floats);
    double reads = 4 * c->tile_taps * (double)(s->k * s->groups * round_up(s->n, VL));
    double visits = fmin(reads, c->blocks * all), first = fmin(visits, all * ctx->threads);
    double block_rows = 4.0 * (double)(s->how.pixels * s->how.k);
    work_read(w, reads - visits, panel);
    work_read(w, visits - first, all + block_rows);
    work_read(w, first, CONV_EACH_CALL);
    double readers = fmin(fmax(1, ctx->threads / c->blocks), (double)s->panels);
    double in = 4 * readers * c->inputs * (double)(s->groups * s->k);
    work_read(w, in, CONV_EACH_CALL);
    work_read(w, in * ((double)s->panels / readers - 1), block_rows + panel);
    if (s->how.copied) work_copy(w, in, block_rows + panel, VL);
}

/* Rows whole ways apart share one set of L1: of more rows than it has ways a line is gone before its next
 * element is wanted. */
static void crowd(const product *s, const conv_context *ctx, double broadcasts, conv_work *w)
{
    bool in_place = !s->how.copied && s->groups * s->k % CACHE_WAY == 0;
    if (in_place && product_tile_rows(s) > (int64_t)(ctx->l1d / sizeof(float) / CACHE_WAY))
        work_read(w, 4 * CACHE_LINE * broadcasts, 2.0 * (double)ctx->l1d);
}

conv_work product_work(const product *s, const conv_problem *p, const conv_context *ctx)
{
    run_counts c = count_run(s, p);
    double groups = (double)s->groups, vectors = (double)div_up(s->n, VL), k_blocks = (double)s->k_blocks;
    int64_t units = div_up((int64_t)c.pixels, product_tile_rows(s)) * s->groups * s->panels;
    conv_work w = {.busiest = work_busiest(units, ctx->threads)};
    work_add_product(&w, &(work_product){.rows = groups * c.pixel_taps,
                                         .k = (double)s->k,
                                         .n = s->n,
                                         .lanes = VL,
                                         .tile_rows = product_tile_rows(s),
                                         .nv = (int)s->how.vectors});
    /* Of three terms two are a pair for one multiplication (fip/fip.h). */
    if (s->way->prepared) w.macs *= 2.0 / 3;
    w.stores = groups * c.pixels * vectors * k_blocks;
    w.loads += groups * c.pixels * vectors * (k_blocks - 1);
    w.copied = 4 * groups * c.pixels * (double)s->n * (k_blocks - 1);
    crowd(s, ctx, w.broadcasts, &w);
    move_panels(s, ctx, &c, &w);
    double out = 4 * c.pixels * groups * (double)s->n;
    work_write(&w, out, s->how.stream ? CONV_PAST_CACHES : CONV_EACH_CALL);
    work_write(&w, out * (k_blocks - 1),
               4.0 * (double)(s->how.pixels * (s->n + s->how.k)) + 4.0 * (double)s->panel_floats / k_blocks);
    return w;
}
