/* What depthwise rows do, for conv_plan.work. */
#include "../../work.h"

#include "../vec.h"
#include "driver.h"
#include "kernels.h"

/* Vectors of multiply-adds over real taps, channels filled up. */
static double tap_vectors(const conv_problem *depthwise)
{
    double fill = (double)round_up(depthwise->oc, VL) / (double)depthwise->oc;
    return (double)conv_flops(depthwise, CONV_FORWARD) / 2 / VL * fill;
}

/* What a tile of outputs reads again: rows that the tiles above and below share with it, columns of the tile
 * beside it, and its weights, all channels of the block before the next tile. */
static void read_again(const row_walk *w, const conv_problem *depthwise, int64_t block, conv_work *work)
{
    const axis_sweep *x = &w->x.sweep;
    conv_sizes s = conv_problem_sizes(depthwise);
    double n = DEPTHWISE_OUTPUTS, out_rows = w->stencil3 ? 2 : 1, kernel = (double)w->h.kernel;
    double step = out_rows * (double)(w->backward ? 1 : w->h.stride), rows = kernel + step - 1;
    double fresh = n * (double)x->stride, columns = fresh - (double)x->stride + (double)x->taps;
    double weights = kernel * (double)x->taps, in = 4.0 * (double)(w->backward ? s.dst : s.src);
    double tile = 4 * (double)block * (columns * rows + n * out_rows + weights);
    double strip = 4 * (double)block * (rows * (double)w->in_width + out_rows * (double)w->out_width);
    double tiles = (double)(w->backward ? s.src : s.dst) / (n * out_rows);
    work_read(work, in * fmax(0, rows / step - 1), strip);
    work_read(work, in * fmax(1, rows / step) * fmax(0, columns / fresh - 1), tile);
    work_read(work, 4 * tiles * weights, tile);
}

void rows_convolve_state(const row_walk *w, const conv_problem *depthwise, int64_t block, bool plain,
                         conv_work *work)
{
    const double n = DEPTHWISE_OUTPUTS, taps = (double)w->x.sweep.taps, stride = (double)w->x.sweep.stride;
    double vectors = tap_vectors(depthwise), loads = 1; /* segment by segment: a load for each multiply-add */
    if (w->stencil3 && plain)
        loads = (9 + 18 * n) / (18 * n);
    else if (w->stencil3)
        loads = (9 + 4 * (n + 2)) / (18 * n);
    else if (taps > 0)
        loads = (taps + (n - 1) * stride + taps) / (n * taps);
    conv_sizes s = conv_problem_sizes(depthwise);
    work->macs += VL * vectors;
    work->loads += loads * vectors;
    work->stores += (double)(w->backward ? s.src : s.dst) / VL;
    if (taps > 0) read_again(w, depthwise, block, work);
}

void rows_gradient_state(const row_walk *w, const conv_problem *depthwise, int64_t rows, conv_work *work)
{
    const double n = DEPTHWISE_OUTPUTS, together = (double)min64(3, w->h.kernel) * (double)w->kernel_w;
    double vectors = tap_vectors(depthwise), loads = (1 + together) / together;
    if (w->stencil3 && rows > 1)
        loads = rows == BAND_ROWS ? (BAND_ROWS + BAND_ROWS + 2) / (9.0 * BAND_ROWS)
                                  : (2 * n + 4 * (n + 2)) / (18 * n);
    work->macs += VL * vectors;
    work->loads += loads * vectors;
}

/* A tensor of `bytes` read row by row, copied into rings before where there are some. */
static void read_rows(bool ring, double bytes, double reach, conv_work *work)
{
    work_read(work, bytes, CONV_EACH_CALL);
    if (!ring) return;
    work_write(work, bytes, reach);
    work->loads += bytes / 4 / VL;
    work->stores += bytes / 4 / VL;
}

void depthwise_state(const depthwise_plan *d, const conv_problem *p, conv_work *work)
{
    conv_sizes s = conv_problem_sizes(p);
    double src = 4.0 * (double)s.src, dst = 4.0 * (double)s.dst;
    double kernel = (double)p->axis[CONV_H].kernel, stride = (double)p->axis[CONV_H].stride;
    double block = 4.0 * (double)max64(p->axis[CONV_W].in, d->width) * (kernel + 1); /* of a channel */
    if (d->head.pass == CONV_FORWARD || d->backward.data) {
        const walk_strategy *how = &d->how.walk;
        bool plain = d->backward.data || (!p->bias && p->post_op != CONV_POST_RELU);
        plain = plain && !how->ahead && !how->stream;
        rows_convolve_state(&d->walk, p, how->channels, plain, work);
        read_rows(how->ring, d->backward.data ? dst : src, block * (double)how->channels, work);
        work_write(work, d->backward.data ? src : dst, how->stream ? CONV_PAST_CACHES : CONV_EACH_CALL);
    }
    if (d->backward.weights) {
        const sums_strategy *how = &d->how.sums;
        double reach = block * (double)how->channels;
        rows_gradient_state(&d->forward_walk, p, how->rows, work);
        read_rows(how->ring, src, reach, work);
        if (!d->how.joint) read_rows(false, dst, reach, work);
        work_read(work, src * (how->rows > 1 ? 2.0 / (double)how->rows : fmax(0, kernel / stride - 1)), reach);
    }
}

static int64_t units_of(const depthwise_plan *d)
{
    const sums_strategy *sums = &d->how.sums;
    if (d->backward.weights && sums->owned) return div_up(d->channels, VL);
    if (d->backward.weights) return sums->chunks * (sums->whole ? 1 : div_up(d->channels, sums->channels));
    const conv_axis *h = &d->head.problem.axis[CONV_H];
    int64_t steps = d->head.problem.mb * div_up(axis_outputs(h, d->backward.data), d->rows_together);
    return d->how.walk.by_rows ? steps : steps * div_up(d->channels, d->how.walk.channels);
}

void depthwise_state_plan(depthwise_plan *d)
{
    depthwise_state(d, &d->head.problem, &d->head.work);
    d->head.work.busiest = work_busiest(units_of(d), d->head.context.threads);
    backward_state(&d->backward, &d->head);
}
