/* Rows of one image through the row kernels: finds for each output row the input rows that its taps meet. */
#include "channel_block.h"

#include "kernels.h"

bool block_plan_build(const conv_problem *p, bool backward, block_plan *plan)
{
    const conv_axis *w = &p->axis[CONV_W];
    *plan = (block_plan){.h = p->axis[CONV_H],
                         .backward = backward,
                         .in_width = axis_inputs(w, backward),
                         .out_width = axis_outputs(w, backward),
                         .taps_w = w->kernel};
    if (!axis_segments_build(w, backward, &plan->w)) return false;
    plan->pairs = plan->h.kernel == 3 && plan->h.stride == 1 && plan->h.dilation == 1 &&
                  depthwise_pair_fits(&plan->w, VL);
    return true;
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

/* Both of rows y and y+1. */
static void gradient_pair(const block_plan *plan, const block_tensors *t, float *diff_weights, int64_t tap,
                          int64_t y)
{
    int64_t first = y - plan->h.pad_before;
    depthwise_sums_pair pair = {
        .src_pixel = t->in_pixel, .w_tap = tap, .dst_pixel = t->out_pixel, .channels = t->channels};
    for (int64_t i = 0; i < 4; i++)
        if (first + i >= 0 && first + i < plan->h.in)
            pair.src[i] = t->in + (first + i) * plan->in_width * t->in_pixel;
    for (int64_t k = 0; k < 3; k++) pair.sums[k] = diff_weights + k * 3 * tap;
    for (int64_t i = 0; i < 2; i++)
        pair.diff_dst[i] = t->out + (y + i - t->row_begin) * plan->out_width * t->out_pixel;
    depthwise_sums_pair_run(&plan->w, &pair);
}

static void convolve_pair(const block_plan *plan, const block_tensors *t, const float *weights, int64_t tap,
                          int64_t y)
{
    int64_t rows = axis_inputs(&plan->h, plan->backward), out_row = plan->out_width * t->out_pixel;
    int64_t first = plan->backward ? y + plan->h.pad_before - 2 : y - plan->h.pad_before;
    depthwise_pair pair = {
        .src_pixel = t->in_pixel, .w_tap = tap, .dst_pixel = t->out_pixel, .channels = t->channels};
    for (int64_t i = 0; i < 4; i++)
        if (first + i >= 0 && first + i < rows)
            pair.src[i] = t->in + (first + i) * plan->in_width * t->in_pixel;
    for (int64_t k = 0; k < 3; k++) pair.weights[k] = weights + (plan->backward ? 2 - k : k) * 3 * tap;
    for (int64_t i = 0; i < 2; i++) pair.dst[i] = t->out + (y + i - t->row_begin) * out_row;
    depthwise_pair_run(&plan->w, &pair);
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
    bool pairs = plan->pairs && t->channels >= VL;
    for (int64_t y = t->row_begin; y < t->row_end; y++) {
        if (pairs && y + 1 < t->row_end) {
            convolve_pair(plan, t, weights, tap, y++);
            continue;
        }
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
        if (plan->pairs && y + 1 < t->row_end) {
            gradient_pair(plan, t, diff_weights, tap, y++);
            continue;
        }
        row.rows = rows_met(plan, t, y, in, kernel_row);
        for (int64_t i = 0; i < row.rows; i++) sums[i] = diff_weights + kernel_row[i] * plan->taps_w * tap;
        row.diff_dst = t->out + (y - t->row_begin) * plan->out_width * t->out_pixel;
        depthwise_sums_run(&plan->w, &row);
    }
}
