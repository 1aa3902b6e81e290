/* What the products of dense and pointwise convolution do, for conv_plan.work. */
#include "../../work.h"

#include "product.h"

/* Sums over all tables of a run. */
typedef struct {
    double pixels, inputs, blocks;
    double tile_taps, pixel_taps; /* taps listed by tiles; times their pixels */
} run_counts;

static run_counts count_run(const product *p)
{
    run_counts c = {0};
    for (int i = 0; i < 2; i++) {
        const row_table *t = &p->table[i];
        double times = i == 0 ? (double)p->full : p->units[1] > 0;
        if (times == 0) continue;
        c.pixels += times * (double)t->pixels;
        c.inputs += times * (double)(t->images * t->in_image);
        c.blocks += times * (double)product_block_count(p, t);
        for (int64_t j = 0; j < t->tiles; j++) {
            c.tile_taps += times * t->tile[j].taps;
            c.pixel_taps += times * t->tile[j].taps * t->tile[j].m;
        }
    }
    return c;
}

/* A panel's block of k is walked by every tile of a block of pixels, the panels one after the other by every
 * block; rows by every panel. */
static void move_panels(const product *p, const conv_context *ctx, const run_counts *c, conv_work *w)
{
    double panel = 4.0 * (double)(p->taps * p->how.k * p->how.vectors * VL);
    double all = 4.0 * (double)(p->groups * p->panel_floats);
    double reads = 4 * c->tile_taps * (double)(p->k * p->groups * round_up(p->n, VL));
    double visits = fmin(reads, c->blocks * all), first = fmin(visits, all * ctx->threads);
    double block_rows = 4.0 * (double)(p->how.pixels * p->how.k);
    work_read(w, reads - visits, panel);
    work_read(w, visits - first, all + block_rows);
    work_read(w, first, CONV_EACH_CALL);
    double in = 4 * c->inputs * (double)(p->groups * p->k);
    work_read(w, in, CONV_EACH_CALL);
    work_read(w, in * (double)(p->panels - 1), block_rows + panel);
    if (p->how.copied || p->how.gathered) work_write(w, in, block_rows + panel);
}

void product_state(product *p, const conv_context *ctx)
{
    run_counts c = count_run(p);
    double groups = (double)p->groups, vectors = (double)(round_up(p->n, VL) / VL);
    conv_work own = {.busiest = work_busiest(p->full * p->units[0] + p->units[1], ctx->threads)};
    work_add_product(&own, &(work_product){.rows = groups * c.pixel_taps,
                                           .k = (double)p->k,
                                           .n = p->n,
                                           .lanes = VL,
                                           .tile_rows = product_tile_rows(p),
                                           .nv = (int)p->how.vectors});
    /* Of three terms two are a pair for one multiplication (fip/fip.h). */
    if (p->way->prepared) own.macs *= 2.0 / 3;
    own.stores = groups * c.pixels * vectors * (double)p->k_blocks;
    own.loads += groups * c.pixels * vectors * (double)(p->k_blocks - 1);
    move_panels(p, ctx, &c, &own);
    double out = 4 * c.pixels * groups * (double)p->n;
    work_write(&own, out, p->how.stream ? CONV_PAST_CACHES : CONV_EACH_CALL);
    work_write(&own, out * (double)(p->k_blocks - 1),
               4.0 * (double)(p->how.pixels * (p->n + p->how.k) + p->panel_floats / p->k_blocks));
    p->head.work = own;
}
