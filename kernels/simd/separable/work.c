/* What the fused separable convolution does, for conv_plan.work and the cost model. */
#include "../../work.h"

#include "fused.h"

static double bytes(int64_t floats) { return (double)sizeof(float) * (double)floats; }

/* Of the first thread, which has the most: the tasks come image by image, the taller ones first. */
static double forward_busiest(const conv_problem *p, const fused_forward_strategy *how, int threads)
{
    int64_t oh = fused_lines(p), tiles = div_up(oh, how->rows), tasks = tiles * how->parts;
    int64_t most = div_up(p->mb * tasks, threads);
    double rest = (double)(most % tasks) / (double)how->parts;
    double rows = (double)(most / tasks * oh) + rest * (double)(oh / tiles) + fmin(rest, (double)(oh % tiles));
    return rows * threads / (double)(p->mb * oh);
}

/* A tile's rows of the intermediate are written once and read by every panel; the panels are read by every
 * task, a panel's rows of a block of terms by each of its register tiles. Of an image's tiles each reads again
 * the rows of src that it shares with the one above; parts repeat the depthwise. What a task reads again comes
 * from L2 at the nearest: tasks so small that L1 holds theirs lose more by their starts than that saves. */
void fused_forward_state(const conv_problem *p, const gemm_way *way, const conv_context *ctx,
                         const fused_forward_strategy *how, conv_work *w)
{
    const conv_axis *h = &p->axis[CONV_H];
    conv_problem depthwise = conv_depthwise_stage(p);
    conv_sizes s = conv_problem_sizes(p);
    row_walk walk = row_walk_shape(p, false);
    int nv = way->panel_vectors(p->oc);
    int64_t tiles = div_up(fused_lines(p), how->rows), pixels = how->rows * row_walk_lines(p, false).outputs;
    int64_t terms = fused_forward_terms(p, nv, ctx);
    double parts = (double)how->parts, blocks = (double)div_up(fused_channels(p), terms);
    double all = (double)s.mid / (double)fused_channels(p),
           rows = (double)pixels / (double)div_up(pixels, way->tile_rows(nv));
    work_add_product(w, &(work_product){all, (double)fused_channels(p), p->oc, VL, rows, nv});
    if (way->prepared) w->macs *= 2.0 / 3; /* a pair for one multiplication */
    w->stores *= blocks;
    depthwise.mb *= how->parts;
    rows_convolve_state(&walk, &depthwise, terms, true, w);

    double src = bytes(s.src), mid = bytes(s.mid), dst = bytes(s.dst), panel = bytes(terms * nv * VL);
    double weights = bytes(gemm_panels_floats(gemm_panel_rows(way, fused_channels(p), terms), p->oc)) / parts;
    double images = (double)(p->mb * tiles), buffer = bytes(pixels * terms), beyond = 2 * (double)ctx->l1d;
    double task = fmax(beyond, buffer + weights + src / images + dst / parts / images);
    double shared = (double)(tiles - 1) * (double)max64(0, conv_effective_kernel(h) - h->stride) /
                    (double)h->in * (double)p->axis[CONV_D].kernel / (double)p->axis[CONV_D].in;
    double visits = weights * parts * images, first = fmin(visits, weights * ctx->threads);
    work_read(w, src, CONV_EACH_CALL);
    work_read(w, src * (parts - 1 + shared), task);
    if (p->depth_multiplier > 1) work_copy(w, src * (parts + shared) * (double)p->depth_multiplier, task, VL);
    work_write(w, mid * parts, task);
    work_read(w, mid * (double)div_up(p->oc, nv * VL), fmax(beyond, buffer + panel));
    work_read(w, first, CONV_EACH_CALL);
    work_read(w, visits - first, task);
    work_read(w, fmax(0, weights * parts * all / rows - visits), panel);
    work_write(w, dst, how->stream ? CONV_PAST_CACHES : CONV_EACH_CALL);
    w->busiest = forward_busiest(p, how, ctx->threads);
}

/* What the products of a block of channels, which has `panels` of pointwise^T, read and write: diff_dst by each
 * of those panels and, for the gradient, once more, in turns of pixels of which every tile reads it again.
 * cycle: what a block touches in all. */
static void state_products(const conv_problem *p, const conv_context *ctx, const fused_backward_strategy *how,
                           double cycle, conv_work *w)
{
    conv_sizes s = conv_problem_sizes(p);
    int64_t pixels = s.mid / fused_channels(p) / p->mb, turn = fused_backward_pixels(p, ctx);
    int data_nv = (int)fused_backward_vectors(p, how), nv = gemm_panel_vectors(p->oc),
        rows = gemm_tile_rows(nv);
    double dst = bytes(s.dst), blocks = (double)div_up(fused_channels(p), how->channels),
           turns = (double)div_up(pixels, turn);
    double panels = (double)div_up(fused_channels(p), data_nv * VL),
           tiles = (double)div_up(how->channels, rows);
    double turn_bytes = bytes(turn * (how->channels + nv * VL)), all = (double)(p->mb * pixels);
    work_add_product(
        w, &(work_product){all, (double)p->oc, fused_channels(p), VL, gemm_tile_rows(data_nv), data_nv});
    work_add_product(w, &(work_product){(double)fused_channels(p), all, p->oc, VL, rows, nv});
    work_read(w, dst, CONV_EACH_CALL);
    work_read(w, dst * (2 * blocks - 1), cycle);
    work_read(w, dst * (panels - blocks), bytes(pixels * (p->oc + data_nv * VL)));
    work_read(w, dst * blocks * (tiles - 1), bytes(turn * nv * VL));
    work_read(w, bytes(s.mid) * (double)div_up(p->oc, nv * VL), turn_bytes);
    work_write(w, bytes(s.pointwise * p->mb) * (turns - 1), turn_bytes + bytes(how->channels * p->oc));
}

/* Two products and three depthwise passes per block of channels, whose intermediate and its gradient stay in
 * the caches: `buffer` is one of those. */
void fused_backward_state(const conv_problem *p, const conv_context *ctx, const fused_backward_strategy *how,
                          conv_work *w)
{
    const conv_problem depthwise = conv_depthwise_stage(p);
    conv_sizes s = conv_problem_sizes(p);
    row_walk forward = row_walk_shape(p, false), backward = row_walk_shape(p, true);
    bool apart = how->images > 1;
    double images = (double)p->mb, part = (double)how->channels / (double)fused_channels(p) / images;
    double src = bytes(s.src), mid = bytes(s.mid), weights = bytes(s.pointwise), diff = bytes(s.dst) / images;
    double buffer = mid * part, block_src = src * part;
    double cycle = 2 * (buffer + block_src + weights * part * images) + diff;
    rows_gradient_state(&forward, &depthwise, 2, w);
    rows_convolve_state(&backward, &depthwise, how->channels, true, w);
    rows_convolve_state(&forward, &depthwise, how->channels, true, w);
    state_products(p, ctx, how, cycle, w);
    work_write(w, 2 * mid, cycle);
    work_read(w, mid, buffer + diff);
    work_read(w, mid, buffer + block_src);
    work_read(w, src, buffer + 2 * block_src);
    if (p->depth_multiplier > 1) work_copy(w, src * (double)p->depth_multiplier, buffer + 2 * block_src, VL);
    work_read(w, src + weights, CONV_EACH_CALL);
    work_read(w, weights * (images - 1), 2 * (weights + src / images) / (apart ? 1 : ctx->threads) + diff);
    work_write(w, src + weights * (apart ? images : 1), CONV_EACH_CALL);
    if (p->post_op != CONV_POST_NONE) work_write(w, diff * images, CONV_EACH_CALL);
    w->busiest = work_busiest(apart ? how->images : div_up(fused_channels(p), how->channels), ctx->threads);
}
