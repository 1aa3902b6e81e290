/* Dense and pointwise convolution by matrix products (ways.h), all of a pass in one parallel region: implicit
 * GEMM (product.c) for forward and backward_data, columns product (weights_gradient.c) for backward_weights.
 * Pointwise is the case of one tap: a GEMM straight on NHWC. Refuses nothing. fip/ and winograd/ have products
 * of their own. */
#include <omp.h>
#include <stdio.h>

#include "../../plan.h"
#include "../../strategy.h"
#include "../../work.h"

#include "../backward.h"
#include "dense.h"
#include "product.h"
#include "weights_gradient.h"

/* A product's scratch: offsets, floats. What a thread has of its own serves both, one after the other; of what
 * they have in common each has its own, for a core would fetch what another wrote there. */
typedef struct {
    conv_plan head;
    backward_frame backward;
    matrix_product *product;       /* forward or backward_data; NULL in passes without */
    wgrad *wgrad;                  /* the same */
    size_t threads, thread_floats; /* scratch: where the threads' begins and how much each has */
    size_t product_common, wgrad_common;
} dense_plan;

void dense_destroy(conv_plan *plan)
{
    dense_plan *d = (dense_plan *)plan;
    if (d->product != NULL) d->product->release(d->product);
    free(d->wgrad);
    free(plan);
}

static void lay_out_scratch(dense_plan *d)
{
    static const matrix_product no_product;
    static const wgrad no_wgrad;
    const matrix_product *m = d->product != NULL ? d->product : &no_product;
    const wgrad *w = d->wgrad != NULL ? d->wgrad : &no_wgrad;
    size_t floats = 0, most = m->thread_floats > w->thread_floats ? m->thread_floats : w->thread_floats;
    backward_reserve(&d->head.problem, d->head.pass, w->partial_floats, &floats, &d->backward);
    d->thread_floats = conv_align(most * sizeof(float)) / sizeof(float);
    d->threads = conv_reserve(&floats, d->thread_floats * (size_t)d->head.context.threads);
    d->product_common = conv_reserve(&floats, m->common_floats);
    d->wgrad_common = conv_reserve(&floats, w->common_floats);
    d->head.scratch_bytes = floats * sizeof(float);
    d->head.packed_bytes = m->packed_floats * sizeof(float);
    conv_note(d->head.note, d->product != NULL, m->note);
    conv_note(d->head.note, d->wgrad != NULL, w->note);
}

void dense_strategies(const conv_impl *self, const conv_problem *p, conv_pass pass, const conv_context *ctx,
                      conv_candidates *candidates)
{
    const simd_impl *impl = (const simd_impl *)self;
    if (pass == CONV_BACKWARD_WEIGHTS && impl->list_weights != NULL)
        impl->list_weights(p, ctx, candidates);
    else if ((pass == CONV_FORWARD || pass == CONV_BACKWARD_DATA) && impl->list_product != NULL)
        impl->list_product(p, pass == CONV_BACKWARD_DATA, impl->way, ctx, candidates);
}

conv_status dense_plan_create(const conv_impl *self, const conv_problem *p, conv_pass pass,
                              const conv_context *ctx, conv_plan **out, conv_error *err)
{
    const simd_impl *impl = (const simd_impl *)self;
    dense_plan *d = conv_plan_new(sizeof *d, self, p, pass, ctx);
    if (d == NULL) return conv_fail(err, CONV_NO_MEMORY, "no memory for a plan");
    d->backward = backward_of(p, pass);
    bool data = d->backward.data, product = pass == CONV_FORWARD || data;
    conv_status status = CONV_OK;
    conv_context part = strategy_context(self, p, data ? CONV_BACKWARD_DATA : CONV_FORWARD, ctx);
    if (product) status = impl->plan_product(p, data, impl->way, &part, &d->product, err);
    if (status == CONV_OK && d->backward.weights) {
        part = strategy_context(self, p, CONV_BACKWARD_WEIGHTS, ctx);
        d->wgrad = impl->plan_weights(p, &part);
        if (d->wgrad == NULL) status = conv_fail(err, CONV_NO_MEMORY, "no memory for a plan");
    }
    if (status != CONV_OK) {
        dense_destroy(&d->head);
        return status;
    }
    if (d->wgrad != NULL) d->backward.chunks = d->wgrad->chunks;
    lay_out_scratch(d);
    if (d->product != NULL) work_add(&d->head.work, &d->product->work, ctx->threads);
    if (d->wgrad != NULL) work_add(&d->head.work, &d->wgrad->work, ctx->threads);
    backward_state(&d->backward, &d->head);
    *out = &d->head;
    return CONV_OK;
}

conv_status dense_pack(const conv_plan *plan, const float *weights, const float *pointwise, void *packed)
{
    (void)pointwise;
    const dense_plan *d = (const dense_plan *)plan;
    d->product->pack(d->product, weights, packed, plan->context.threads);
    return CONV_OK;
}

/* The scratch of a product: in common where it has some, from `common` on, else the thread's own. */
static float *scratch_of(const dense_plan *d, const conv_args *args, size_t common_floats, size_t common,
                         int thread)
{
    return (float *)args->scratch +
           (common_floats > 0 ? common : d->threads + (size_t)thread * d->thread_floats);
}

/* Forward, or backward_data of j->diff_dst. */
static void run_product(const backward_job *j)
{
    const dense_plan *d = (const dense_plan *)j->plan;
    const conv_args *args = j->args;
    const conv_problem *p = &d->head.problem;
    const matrix_product *m = d->product;
    bool forward = d->head.pass == CONV_FORWARD;
    product_share share = {.in = forward ? args->src : j->diff_dst,
                           .packed = args->packed,
                           .bias = forward && p->bias ? args->bias : NULL,
                           .clip = forward ? conv_clip(p->post_op) : 0,
                           .out = forward ? args->dst : args->diff_src,
                           .scratch = scratch_of(d, args, m->common_floats, d->product_common, j->thread),
                           .thread = j->thread,
                           .threads = j->threads};
    m->run(m, &share);
}

static void backward_weights(const backward_job *j)
{
    const dense_plan *d = (const dense_plan *)j->plan;
    const wgrad *w = d->wgrad;
    wgrad_share share = {.src = j->args->src,
                         .diff_dst = j->diff_dst,
                         .diff_weights = j->args->diff_weights,
                         .accumulate = j->args->accumulate,
                         .partials = (float *)j->args->scratch + d->backward.partials,
                         .scratch = scratch_of(d, j->args, w->common_floats, d->wgrad_common, j->thread),
                         .thread = j->thread,
                         .threads = j->threads};
    w->run(w, &share);
}

conv_status dense_execute(const conv_plan *plan, const conv_args *args)
{
    const dense_plan *d = (const dense_plan *)plan;
#pragma omp parallel num_threads(plan->context.threads)
    {
        backward_job j = {plan, args, omp_get_thread_num(), omp_get_num_threads(), NULL, NULL};
        if (plan->pass == CONV_FORWARD)
            run_product(&j);
        else
            backward_run(&d->backward, &j, run_product, backward_weights);
    }
    return CONV_OK;
}

const simd_impl simd_dense = {.impl = {MATRIX_CONVOLUTION(CONV_DENSE), .name = ISA_STRING,
                                       .summary = "implicit GEMM, " ISA_STRING " register tiles"},
                              .way = &gemm_plain,
                              .plan_product = product_plan,
                              .plan_weights = wgrad_plan,
                              .list_product = product_strategies,
                              .list_weights = wgrad_strategies};
const simd_impl simd_pointwise = {.impl = {MATRIX_CONVOLUTION(CONV_POINTWISE), .name = ISA_STRING,
                                           .summary = "GEMM on NHWC, " ISA_STRING " register tiles",
                                           .by_pixel = true, .by_input = true},
                                  .way = &gemm_plain,
                                  .plan_product = product_plan,
                                  .plan_weights = wgrad_plan,
                                  .list_product = product_strategies,
                                  .list_weights = wgrad_strategies};
