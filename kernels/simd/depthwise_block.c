/* Rows of one image through the row kernels: finds for each output row the input rows that its taps meet. */
#include "depthwise_block.h"

#include "depthwise.h"

bool block_plan_build(const conv_problem *p, bool backward, block_plan *plan)
{
    const conv_axis *w = &p->axis[CONV_W];
    *plan = (block_plan){.h = p->axis[CONV_H],
                         .backward = backward,
                         .in_width = axis_inputs(w, backward),
                         .out_width = axis_outputs(w, backward),
                         .taps_w = w->kernel};
    return axis_segments_build(w, backward, &plan->w);
}

void block_plan_free(block_plan *plan) { axis_segments_free(&plan->w); }

/* The input rows of output row y into in[], the kernel rows that meet them into kernel_row[]; returns how many.
 */
static int64_t rows_met(const block_plan *plan, const block_tensors *t, int64_t y, const float **in,
                        int64_t *kernel_row)
{
    int64_t rows = 0;
    for (int64_t k = 0; k < plan->h.kernel; k++) {
        int64_t row = axis_input(&plan->h, plan->backward, y, k);
        if (row < 0) continue;
        in[rows] = t->in + row * plan->in_width * t->in_pixel;
        kernel_row[rows++] = k;
    }
    return rows;
}

void block_convolve(const block_plan *plan, const block_tensors *t, const float *weights, int64_t tap)
{
    const float *in[BLOCK_KERNEL_ROWS], *kernel[BLOCK_KERNEL_ROWS];
    int64_t kernel_row[BLOCK_KERNEL_ROWS];
    depthwise_row row = {.src = in,
                         .weights = kernel,
                         .src_pixel = t->in_pixel,
                         .w_tap = tap,
                         .dst_pixel = t->out_pixel,
                         .channels = t->channels};
    for (int64_t y = t->row_begin; y < t->row_end; y++) {
        row.rows = rows_met(plan, t, y, in, kernel_row);
        for (int64_t i = 0; i < row.rows; i++) kernel[i] = weights + kernel_row[i] * plan->taps_w * tap;
        row.dst = t->out + (y - t->row_begin) * plan->out_width * t->out_pixel;
        depthwise_row_run(&plan->w, &row);
    }
}

void block_gradient(const block_plan *plan, const block_tensors *t, float *diff_weights, int64_t tap)
{
    const float *in[BLOCK_KERNEL_ROWS];
    float *sums[BLOCK_KERNEL_ROWS];
    int64_t kernel_row[BLOCK_KERNEL_ROWS];
    depthwise_sums row = {.src = in,
                          .sums = sums,
                          .src_pixel = t->in_pixel,
                          .w_tap = tap,
                          .dst_pixel = t->out_pixel,
                          .channels = t->channels};
    for (int64_t y = t->row_begin; y < t->row_end; y++) {
        row.rows = rows_met(plan, t, y, in, kernel_row);
        for (int64_t i = 0; i < row.rows; i++) sums[i] = diff_weights + kernel_row[i] * plan->taps_w * tap;
        row.diff_dst = t->out + (y - t->row_begin) * plan->out_width * t->out_pixel;
        depthwise_sums_run(&plan->w, &row);
    }
}
