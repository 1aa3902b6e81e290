/* What the fused separable convolution does, for conv_plan.work. */
#include "../../work.h"

#include "fused.h"

/* All images' output pixels. */
static double all_pixels(const fused_plan *f) { return (double)(f->head.problem.mb * f->pixels); }

/* A tile's rows of the intermediate are written once and read by every panel; the panels are read by every
 * task, a panel's block of k by each of its register tiles. */
void fused_forward_state(fused_plan *f)
{
    const conv_problem *p = &f->head.problem, depthwise = conv_depthwise_stage(p);
    conv_sizes s = conv_problem_sizes(p);
    conv_work *w = &f->head.work;
    int nv = (int)(f->panels.width / VL), rows = f->way->tile_rows(nv), threads = f->head.context.threads;
    int64_t tasks = p->mb * f->row_tiles * f->forward_how.parts;
    double pixels = all_pixels(f), parts = (double)f->forward_how.parts,
           blocks = (double)div_up(p->ic, f->block);
    work_add_product(w, &(work_product){pixels, (double)p->ic, p->oc, VL, rows, nv});
    if (f->way->prepared) w->macs *= 2.0 / 3; /* a pair for one multiplication */
    w->stores *= blocks;
    rows_convolve_state(&f->forward, &depthwise, f->block, true, w);

    double mid = 4.0 * (double)s.mid, weights = (double)f->head.packed_bytes;
    double task_pixels = (double)(f->forward_how.rows * f->pixels) / (double)conv_out(&p->axis[CONV_H]);
    double buffer = 4 * task_pixels * (double)f->block, panel = 4.0 * (double)(f->block * f->panels.width);
    double visits = weights * (double)tasks / parts, first = fmin(visits, weights * threads / parts);
    work_read(w, 4.0 * (double)s.src, CONV_EACH_CALL);
    work_write(w, mid * parts, buffer + weights / parts / blocks);
    work_read(w, mid * (double)f->panels.count, buffer + panel);
    work_read(w, first, CONV_EACH_CALL);
    work_read(w, visits - first, weights / parts + buffer);
    work_read(w, fmax(0, weights * pixels / rows - visits), panel);
    work_write(w, 4.0 * (double)s.dst, f->forward_how.stream ? CONV_PAST_CACHES : CONV_EACH_CALL);
    w->busiest = work_busiest(tasks, threads);
    work_finish(&f->head, 1, 0);
}

/* Two products and three depthwise passes per block of channels, whose intermediate and its gradient stay in
 * the caches; diff_dst is walked by both products of every block. */
void fused_backward_state(fused_plan *f)
{
    const conv_problem *p = &f->head.problem, depthwise = conv_depthwise_stage(p);
    conv_sizes s = conv_problem_sizes(p);
    conv_work *w = &f->head.work;
    int data_nv = (int)(f->panels.width / VL), nv = (int)(f->diff.width / VL);
    int threads = f->head.context.threads;
    double pixels = all_pixels(f), blocks = (double)div_up(p->ic, f->block), images = (double)p->mb;
    work_add_product(w, &(work_product){pixels, (double)p->oc, p->ic, VL, gemm_tile_rows(data_nv), data_nv});
    work_add_product(w, &(work_product){(double)p->ic, pixels, p->oc, VL, gemm_tile_rows(nv), nv});
    rows_gradient_state(&f->forward, &depthwise, 2, w);
    rows_convolve_state(&f->backward, &depthwise, f->block, true, w);
    rows_convolve_state(&f->forward, &depthwise, f->block, true, w);

    double mid = 4.0 * (double)s.mid, weights = (double)f->head.packed_bytes, src = 4.0 * (double)s.src;
    double buffers = 8.0 * (double)(f->pixels * f->block), dst = 4.0 * (double)s.dst;
    double diff = 4.0 * (double)(f->pixels * p->oc), gradient = 4.0 * (double)s.pointwise;
    work_write(w, 2 * mid, buffers);
    work_read(w, 3 * mid, buffers);
    work_read(w, src, CONV_EACH_CALL);
    work_write(w, src, CONV_EACH_CALL);
    work_read(w, src, buffers + 4.0 * (double)(f->pixels * f->block));
    work_read(w, dst, CONV_EACH_CALL);
    work_read(w, dst * (2 * blocks - 1), diff + buffers);
    work_read(w, weights, CONV_EACH_CALL);
    work_read(w, weights * (images - 1),
              (weights + gradient) / (fused_by_chunk(f) ? 1 : threads) + diff + buffers);
    work_write(w, gradient * (fused_by_chunk(f) ? (double)f->backward_how.images : 1), CONV_EACH_CALL);
    if (f->diff_floats > 0) work_write(w, dst, CONV_EACH_CALL);
    w->busiest = work_busiest(fused_by_chunk(f) ? f->backward_how.images : (int64_t)blocks, threads);
    work_finish(&f->head, 1, fused_by_chunk(f) ? 1 : 2 * (int)p->mb);
}
