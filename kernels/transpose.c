/* NHWC <-> NCHW around an implementation that has only one of them. Each image is a matrix [pixels][channels]
 * or its transpose, moved in square tiles that keep both sides' cache lines in L1; tiles run in parallel. */
#include "transpose.h"

#include <stdio.h>

#include "plan.h"
#include "work.h"

enum { TILE = 16 }; /* floats in a cache line: a tile touches whole lines on both sides */

typedef struct {
    conv_plan head; /* problem in the caller's layout: that is how conv.c knows this plan */
    conv_plan *inner;
    size_t src, dst, diff_dst,
        diff_src; /* offsets of the transposed copies in scratch, after the inner's own */
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

static bool reads_src(conv_pass pass) { return pass != CONV_BACKWARD_DATA; }
static bool reads_dst(const conv_problem *p, conv_pass pass)
{
    return pass != CONV_FORWARD && p->post_op == CONV_POST_RELU;
}
static bool writes_diff_src(conv_pass pass) { return pass == CONV_BACKWARD || pass == CONV_BACKWARD_DATA; }

static size_t reserve(conv_plan *plan, bool wanted, int64_t elements)
{
    size_t offset = plan->scratch_bytes;
    if (wanted) plan->scratch_bytes += conv_align((size_t)elements * sizeof(float));
    return offset;
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
    conv_sizes sizes = conv_problem_sizes(p);
    t->head.scratch_bytes = conv_align(t->inner->scratch_bytes);
    t->head.packed_bytes = t->inner->packed_bytes;
    t->head.activation_bytes = t->inner->activation_bytes;
    t->head.workspace_bytes = t->inner->workspace_bytes;
    t->src = reserve(&t->head, reads_src(pass), sizes.src);
    t->dst = reserve(&t->head, pass == CONV_FORWARD || reads_dst(p, pass), sizes.dst);
    t->diff_dst = reserve(&t->head, pass != CONV_FORWARD, sizes.dst);
    t->diff_src = reserve(&t->head, writes_diff_src(pass), sizes.src);
    /* Both ways in copies that the inner plan then meets as its tensors. */
    work_add(&t->head.work, &t->inner->work, ctx->threads);
    double copied = (double)t->head.scratch_bytes - (double)t->inner->scratch_bytes;
    work_read(&t->head.work, copied, CONV_EACH_CALL);
    work_write(&t->head.work, copied, CONV_EACH_CALL);
    work_finish(&t->head, 2, 0);
    t->head.work.stated = t->inner->work.stated;
    const char *inner_note = t->inner->note;
    snprintf(t->head.note, sizeof t->head.note, "%s by transpose%s%.60s", conv_layout_name(p->layout),
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

static int64_t elements(int64_t channels, const conv_problem *p, int64_t (*along)(const conv_axis *))
{
    return channels * along(&p->axis[CONV_D]) * along(&p->axis[CONV_H]) * along(&p->axis[CONV_W]);
}

static int64_t along_in(const conv_axis *a) { return a->in; }

typedef struct {
    int64_t mb, pixels, channels;
} images;

/* The caller's layout to the inner one. */
static void enter(const conv_plan *plan, images i, const float *from, float *to)
{
    bool nhwc = plan->problem.layout == CONV_NHWC;
    transpose_images(from, to, i.mb, nhwc ? i.pixels : i.channels, nhwc ? i.channels : i.pixels,
                     plan->context.threads);
}

static void leave(const conv_plan *plan, images i, const float *from, float *to)
{
    bool nhwc = plan->problem.layout == CONV_NHWC;
    transpose_images(from, to, i.mb, nhwc ? i.channels : i.pixels, nhwc ? i.pixels : i.channels,
                     plan->context.threads);
}

conv_status transpose_execute(const conv_plan *plan, const conv_args *args)
{
    const transposing_plan *t = (const transposing_plan *)plan;
    const conv_problem *p = &plan->problem;
    images in = {p->mb, elements(1, p, along_in), p->ic}, out = {p->mb, elements(1, p, conv_out), p->oc};
    char *scratch = args->scratch;
    float *src = (float *)(scratch + t->src), *dst = (float *)(scratch + t->dst);
    float *diff_dst = (float *)(scratch + t->diff_dst), *diff_src = (float *)(scratch + t->diff_src);

    conv_args inner = *args;
    if (reads_src(plan->pass)) {
        enter(plan, in, args->src, src);
        inner.src = src;
    }
    if (plan->pass == CONV_FORWARD || reads_dst(p, plan->pass)) inner.dst = dst;
    if (reads_dst(p, plan->pass)) enter(plan, out, args->dst, dst);
    if (plan->pass != CONV_FORWARD) {
        enter(plan, out, args->diff_dst, diff_dst);
        inner.diff_dst = diff_dst;
    }
    if (args->diff_src != NULL) inner.diff_src = diff_src;

    conv_status status = conv_enter(t->inner, &inner);
    if (status == CONV_OK) status = conv_execute(t->inner, &inner);
    if (status == CONV_OK) status = conv_leave(t->inner, &inner);
    if (status != CONV_OK) return status;

    if (plan->pass == CONV_FORWARD) leave(plan, out, dst, args->dst);
    if (writes_diff_src(plan->pass) && args->diff_src != NULL) leave(plan, in, diff_src, args->diff_src);
    return CONV_OK;
}
