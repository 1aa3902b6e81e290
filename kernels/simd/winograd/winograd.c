/* Dense 3x3 convolution by Winograd's minimal filtering, F(4x4,3x3), or F(2x2,3x3) where outputs are too few
 * for it: 4 (2.25) times fewer multiplications, inexact, every pass. Refuses kernels other than 3x3, strides,
 * dilations, groups, fewer than 16 channels, and weight gradients over a single row or column. */
#include <omp.h>
#include <stdio.h>

#include "../../plan.h"
#include "../backward.h"
#include "../simd.h"
#include "winograd.h"

/* |error| <= WINOGRAD_ERROR_FACTOR * u * sqrt(K) * max sum|x*w|: the componentwise bound of Barabasz et al.,
 * theorem 1, with roundings of random sign. tests/test_winograd_bound.c derives it from the matrices, for every
 * pass, size and padding: the worst output has 83.3 (K = 9*16 and 27 roundings in the transforms; it falls with
 * K), the worst weight's gradient 99.6, twice the exact bound's own factor included. A weight's gradient sums
 * over few pixels in a small image, so F(4x4), which enlarges the numbers by 7.9 per axis, waits for 6 per axis
 * there, and F(2x2) for 2. */
enum { WINOGRAD_ERROR_FACTOR = 104, LEAST_CHANNELS = 16, LEAST_PIXELS = 2 };

typedef struct {
    conv_plan head;
    backward_frame backward;
    winograd_product product; /* forward or backward_data */
    winograd_wgrad wgrad;
    /* Offsets into scratch, floats. Either gradient has its own: a core would fetch what another wrote there.
     */
    size_t product_scratch, wgrad_scratch;
} winograd_plan;

static const char *refuse(const conv_impl *self, const conv_problem *p, conv_pass pass)
{
    (void)self;
    if (p->rank > 2) return "rank 3";
    if (p->groups != 1) return "groups other than 1";
    for (int i = CONV_H; i <= CONV_W; i++) {
        const conv_axis *a = &p->axis[i];
        if (a->kernel != 3) return "kernel other than 3x3";
        if (a->stride != 1) return "stride other than 1";
        if (a->dilation != 1) return "dilation";
        if ((pass == CONV_BACKWARD || pass == CONV_BACKWARD_WEIGHTS) &&
            min64(a->in, conv_out(a)) < LEAST_PIXELS)
            return "weight gradient over a single row or column: outside the error bound";
    }
    if (p->ic < LEAST_CHANNELS || p->oc < LEAST_CHANNELS) return "fewer than 16 channels: nothing to gain";
    return NULL;
}

static conv_status plan(const conv_impl *self, const conv_problem *p, conv_pass pass, const conv_context *ctx,
                        conv_plan **out, conv_error *err)
{
    winograd_plan *w = conv_plan_new(sizeof *w, self, p, pass, ctx);
    if (w == NULL) return conv_fail(err, CONV_NO_MEMORY, "no memory for a plan");
    w->backward = backward_of(p, pass);
    if (pass == CONV_FORWARD || w->backward.data) winograd_product_plan(p, w->backward.data, ctx, &w->product);
    if (w->backward.weights) winograd_wgrad_plan(p, ctx, &w->wgrad);

    size_t floats = 0;
    backward_reserve(p, pass, 0, &floats, &w->backward);
    w->product_scratch = conv_reserve(&floats, w->product.scratch_floats);
    w->wgrad_scratch = conv_reserve(&floats, w->wgrad.scratch_floats);
    w->head.scratch_bytes = floats * sizeof(float);
    w->head.packed_bytes = w->product.packed_floats * sizeof(float);
    if (w->head.packed_bytes > 0) winograd_product_state(&w->product, p, ctx, &w->head.work);
    if (w->backward.weights) winograd_wgrad_state(&w->wgrad, p, ctx, &w->head.work);
    backward_state(&w->backward, &w->head);

    const winograd_grid *g = w->backward.data || !w->backward.weights ? &w->product.grid : &w->wgrad.grid;
    snprintf(w->head.note, sizeof w->head.note, "F(%dx%d,3x3), %lld tiles at a time", g->m, g->m,
             (long long)(w->backward.weights && !w->backward.data ? w->wgrad.chunk : w->product.group));
    *out = &w->head;
    return CONV_OK;
}

static conv_status pack(const conv_plan *plan, const float *weights, const float *pointwise, void *packed)
{
    (void)pointwise;
    winograd_product_pack(&((const winograd_plan *)plan)->product, weights, packed, plan->context.threads);
    return CONV_OK;
}

static void forward(const winograd_plan *w, const conv_args *args, int thread, int threads)
{
    const conv_problem *p = &w->head.problem;
    product_share share = {.in = args->src,
                           .packed = args->packed,
                           .bias = p->bias ? args->bias : NULL,
                           .relu = p->post_op == CONV_POST_RELU,
                           .out = args->dst,
                           .scratch = (float *)args->scratch + w->product_scratch,
                           .thread = thread,
                           .threads = threads};
    winograd_product_run(&w->product, &share);
}

static void backward_data(const backward_job *j)
{
    const winograd_plan *w = (const winograd_plan *)j->plan;
    product_share share = {.in = j->diff_dst,
                           .packed = j->args->packed,
                           .out = j->args->diff_src,
                           .scratch = (float *)j->args->scratch + w->product_scratch,
                           .thread = j->thread,
                           .threads = j->threads};
    winograd_product_run(&w->product, &share);
}

static void backward_weights(const backward_job *j)
{
    const winograd_plan *w = (const winograd_plan *)j->plan;
    wgrad_share share = {.src = j->args->src,
                         .diff_dst = j->diff_dst,
                         .diff_weights = j->args->diff_weights,
                         .accumulate = j->args->accumulate,
                         .scratch = (float *)j->args->scratch + w->wgrad_scratch,
                         .thread = j->thread,
                         .threads = j->threads};
    winograd_wgrad_run(&w->wgrad, &share);
}

static conv_status execute(const conv_plan *plan, const conv_args *args)
{
    const winograd_plan *w = (const winograd_plan *)plan;
#pragma omp parallel num_threads(plan->context.threads)
    {
        backward_job j = {plan, args, omp_get_thread_num(), omp_get_num_threads(), NULL, NULL};
        if (plan->pass == CONV_FORWARD)
            forward(w, args, j.thread, j.threads);
        else
            backward_run(&w->backward, &j, backward_data, backward_weights);
    }
    return CONV_OK;
}

static const conv_impl dense = {.name = "winograd-" ISA_STRING,
                                .variant = CONV_DENSE,
                                .summary =
                                    "Winograd F(4x4,3x3) or F(2x2,3x3), the transformed tensors in cache",
                                .isa = ISA_ENUM,
                                .inexact = true,
                                .error_factor = WINOGRAD_ERROR_FACTOR,
                                .layouts = 1u << CONV_NHWC,
                                .refuse = refuse,
                                .plan = plan,
                                .pack = pack,
                                .execute = execute};

extern const conv_impl *const winograd_impls[CONV_VARIANT_COUNT];
const conv_impl *const winograd_impls[CONV_VARIANT_COUNT] = {[CONV_DENSE] = &dense};
