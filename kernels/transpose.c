/* NHWC <-> NCHW around an implementation that has only one of them. Each image is a matrix [pixels][channels]
 * or its transpose, moved in square tiles that keep both sides' cache lines in L1; tiles run in parallel. */
#include "transpose.h"

#include <stdio.h>

#include "plan.h"
#include "work.h"

enum { TILE = 16 }; /* floats in a cache line: a tile touches whole lines on both sides */

/* The tensors whose layout it is, and what a pass does with each. */
enum { SRC, DST, DIFF_DST, DIFF_SRC, TENSORS };
typedef struct {
    bool read, written;
    bool of_src;   /* shaped as src, else as dst */
    size_t offset; /* of the transposed copy in scratch, after the inner plan's own */
} tensor;

typedef struct {
    conv_plan head; /* problem in the caller's layout: that is how conv.c knows this plan */
    conv_plan *inner;
    tensor tensor[TENSORS];
} transposing_plan;

bool transpose_needed(const conv_impl *impl, const conv_problem *p)
{
    return !(impl->layouts & (1u << p->layout));
}

conv_problem transpose_problem(const conv_problem *p)
{
    conv_problem other = *p;
    other.layout = p->layout == CONV_NHWC ? CONV_NCHW : CONV_NHWC;
    return other;
}

static void choose_copies(transposing_plan *t, const conv_problem *p, conv_pass pass)
{
    const bool forward = pass == CONV_FORWARD;
    const tensor all[TENSORS] = {[SRC] = {.read = pass != CONV_BACKWARD_DATA, .of_src = true},
                                 [DST] = {.read = !forward && p->post_op != CONV_POST_NONE, .written = forward},
                                 [DIFF_DST] = {.read = !forward},
                                 [DIFF_SRC] = {.written = conv_makes_data(pass), .of_src = true}};
    conv_sizes sizes = conv_problem_sizes(p);
    for (int i = 0; i < TENSORS; i++) {
        t->tensor[i] = all[i];
        t->tensor[i].offset = t->head.scratch_bytes;
        if (all[i].read || all[i].written)
            t->head.scratch_bytes +=
                conv_align((size_t)(all[i].of_src ? sizes.src : sizes.dst) * sizeof(float));
    }
}

conv_status transpose_plan(const conv_impl *impl, const conv_problem *p, conv_pass pass,
                           const conv_context *ctx, conv_plan **plan, conv_error *err)
{
    transposing_plan *t = conv_plan_new(sizeof *t, impl, p, pass, ctx);
    if (t == NULL) return conv_fail(err, CONV_NO_MEMORY, "no memory for a plan");
    conv_problem other = transpose_problem(p);
    conv_status status = impl->plan(impl, &other, pass, ctx, &t->inner, err);
    if (status != CONV_OK) {
        free(t);
        return status;
    }
    t->head.scratch_bytes = conv_align(t->inner->scratch_bytes);
    t->head.packed_bytes = t->inner->packed_bytes;
    t->head.activation_bytes = t->inner->activation_bytes;
    t->head.workspace_bytes = t->inner->workspace_bytes;
    choose_copies(t, p, pass);
    /* Both ways in copies that the inner plan then meets as its tensors. */
    work_add(&t->head.work, &t->inner->work, ctx->threads);
    double copied = (double)t->head.scratch_bytes - (double)t->inner->scratch_bytes;
    work_read(&t->head.work, copied, CONV_EACH_CALL);
    work_write(&t->head.work, copied, CONV_EACH_CALL);
    work_finish(&t->head, 2, 0);
    t->head.work.stated = t->inner->work.stated;
    const char *inner_note = t->inner->note;
    snprintf(t->head.note, sizeof t->head.note, "%s by transpose%s%.110s", conv_layout_name(p->layout),
             *inner_note ? ", " : "", inner_note);
    *plan = &t->head;
    return CONV_OK;
}

conv_status transpose_pack(const conv_plan *plan, const float *weights, const float *pointwise, void *packed)
{
    return conv_pack(((const transposing_plan *)plan)->inner, weights, pointwise, packed);
}

void transpose_destroy(conv_plan *plan)
{
    conv_plan_destroy(((transposing_plan *)plan)->inner);
    free(plan);
}

void transpose_images(const float *from, float *to, int64_t batch, int64_t rows, int64_t cols, int threads)
{
#pragma omp parallel for collapse(3) schedule(static) num_threads(threads)
    for (int64_t b = 0; b < batch; b++)
        for (int64_t r0 = 0; r0 < rows; r0 += TILE)
            for (int64_t c0 = 0; c0 < cols; c0 += TILE) {
                int64_t r1 = r0 + TILE < rows ? r0 + TILE : rows, c1 = c0 + TILE < cols ? c0 + TILE : cols;
                const float *in = from + b * rows * cols;
                float *out = to + b * rows * cols;
                for (int64_t c = c0; c < c1; c++)
                    for (int64_t r = r0; r < r1; r++) out[c * rows + r] = in[r * cols + c];
            }
}

/* One tensor from the caller's layout to the inner one, or back. */
static void transpose_one(const transposing_plan *t, int i, bool back, const float *from, float *to)
{
    const conv_problem *p = &t->head.problem;
    bool of_src = t->tensor[i].of_src;
    int64_t pixels = of_src ? conv_src_pixels(p) : conv_dst_pixels(p), channels = of_src ? p->ic : p->oc;
    bool from_nhwc = (p->layout == CONV_NHWC) != back;
    transpose_images(from, to, p->mb, from_nhwc ? pixels : channels, from_nhwc ? channels : pixels,
                     t->head.context.threads);
}

conv_status transpose_execute(const conv_plan *plan, const conv_args *args)
{
    const transposing_plan *t = (const transposing_plan *)plan;
    const float *const given[TENSORS] = {args->src, args->dst, args->diff_dst, args->diff_src};
    float *copy[TENSORS];
    for (int i = 0; i < TENSORS; i++) {
        copy[i] = (float *)((char *)args->scratch + t->tensor[i].offset);
        if (t->tensor[i].read) transpose_one(t, i, false, given[i], copy[i]);
    }
    conv_args inner = *args;
    inner.src = copy[SRC];
    inner.dst = copy[DST];
    inner.diff_dst = copy[DIFF_DST];
    if (args->diff_src != NULL) inner.diff_src = copy[DIFF_SRC];

    conv_status status = conv_enter(t->inner, &inner);
    if (status == CONV_OK) status = conv_execute(t->inner, &inner);
    if (status == CONV_OK) status = conv_leave(t->inner, &inner);
    if (status != CONV_OK) return status;

    if (t->tensor[DST].written) transpose_one(t, DST, true, copy[DST], args->dst);
    if (t->tensor[DIFF_SRC].written && args->diff_src != NULL)
        transpose_one(t, DIFF_SRC, true, copy[DIFF_SRC], args->diff_src);
    return CONV_OK;
}
