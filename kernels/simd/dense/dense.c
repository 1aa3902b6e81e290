/* Dense and pointwise convolution: implicit GEMM (product.c) for forward and backward_data, columns product
 * (weights_gradient.c) for backward_weights, all in one parallel region. Pointwise is the case of one tap: a
 * GEMM straight on NHWC. Refuses rank 3. fip/ has the same with products that multiply pairs and a weights'
 * gradient of its own. */
#include <omp.h>
#include <stdio.h>

#include "../../plan.h"
#include "../../work.h"

#include "../backward.h"
#include "dense.h"
#include "product.h"

typedef struct {
    conv_plan head;
    backward_frame backward;
    product product;               /* forward or backward_data */
    wgrad *wgrad;                  /* NULL in passes without */
    size_t threads, thread_floats; /* scratch: where the threads' begins and how much each has, floats */
} dense_plan;

const char *dense_refuse(const conv_impl *self, const conv_problem *p, conv_pass pass)
{
    (void)self, (void)pass;
    return p->rank == 3 ? "rank 3" : NULL;
}

void dense_destroy(conv_plan *plan)
{
    product_free(&((dense_plan *)plan)->product);
    free(((dense_plan *)plan)->wgrad);
    free(plan);
}

static void lay_out_scratch(dense_plan *d)
{
    const conv_problem *p = &d->head.problem;
    size_t floats = 0;
    backward_reserve(p, d->head.pass, d->wgrad != NULL ? d->wgrad->partial_floats : 0, &floats, &d->backward);
    size_t data = d->product.thread_floats, weights = d->wgrad != NULL ? d->wgrad->thread_floats : 0;
    d->thread_floats = conv_align((data > weights ? data : weights) * sizeof(float)) / sizeof(float);
    d->threads = conv_reserve(&floats, d->thread_floats * (size_t)d->head.context.threads);
    d->head.scratch_bytes = floats * sizeof(float);
}

conv_status dense_plan_create(const conv_impl *self, const conv_problem *p, conv_pass pass,
                              const conv_context *ctx, conv_plan **out, conv_error *err)
{
    const simd_impl *impl = (const simd_impl *)self;
    dense_plan *d = conv_plan_new(sizeof *d, self, p, pass, ctx);
    if (d == NULL) return conv_fail(err, CONV_NO_MEMORY, "no memory for a plan");
    d->backward = backward_of(p, pass);
    if (pass == CONV_FORWARD || d->backward.data) {
        conv_status status = product_plan(p, d->backward.data, impl->way, ctx, &d->product, err);
        if (status != CONV_OK) {
            dense_destroy(&d->head);
            return status;
        }
        d->head.packed_bytes = (size_t)product_packed_floats(&d->product) * sizeof(float);
        snprintf(d->head.note, sizeof d->head.note, "%dx%d, kc %lld", product_tile_rows(&d->product),
                 d->product.nv * VL, (long long)d->product.k_block);
    }
    if (d->backward.weights) {
        d->wgrad = impl->plan_weights(p, ctx);
        if (d->wgrad == NULL) {
            dense_destroy(&d->head);
            return conv_fail(err, CONV_NO_MEMORY, "no memory for a plan");
        }
        d->backward.chunks = d->wgrad->chunks;
    }
    lay_out_scratch(d);
    if (d->head.packed_bytes > 0) product_state(&d->product, ctx, &d->head.work);
    if (d->wgrad != NULL) work_add(&d->head.work, &d->wgrad->work, ctx->threads);
    backward_state(&d->backward, &d->head);
    *out = &d->head;
    return CONV_OK;
}

conv_status dense_pack(const conv_plan *plan, const float *weights, const float *pointwise, void *packed)
{
    (void)pointwise;
    product_pack(&((const dense_plan *)plan)->product, weights, packed, plan->context.threads);
    return CONV_OK;
}

static float *own_scratch(const dense_plan *d, const conv_args *args, int thread)
{
    return (float *)args->scratch + d->threads + (size_t)thread * d->thread_floats;
}

static void backward_data(const backward_job *j)
{
    const dense_plan *d = (const dense_plan *)j->plan;
    product_share share = {.in = j->diff_dst,
                           .packed = j->args->packed,
                           .out = j->args->diff_src,
                           .scratch = own_scratch(d, j->args, j->thread),
                           .thread = j->thread,
                           .threads = j->threads};
    product_run(&d->product, &share);
}

static void backward_weights(const backward_job *j)
{
    const dense_plan *d = (const dense_plan *)j->plan;
    wgrad_share share = {.src = j->args->src,
                         .diff_dst = j->diff_dst,
                         .diff_weights = j->args->diff_weights,
                         .accumulate = j->args->accumulate,
                         .partials = (float *)j->args->scratch + d->backward.partials,
                         .scratch = own_scratch(d, j->args, j->thread),
                         .thread = j->thread,
                         .threads = j->threads};
    d->wgrad->run(d->wgrad, &share);
}

static void forward(const dense_plan *d, const conv_args *args, int thread, int threads)
{
    const conv_problem *p = &d->head.problem;
    product_share share = {.in = args->src,
                           .packed = args->packed,
                           .bias = p->bias ? args->bias : NULL,
                           .relu = p->post_op == CONV_POST_RELU,
                           .out = args->dst,
                           .scratch = own_scratch(d, args, thread),
                           .thread = thread,
                           .threads = threads};
    product_run(&d->product, &share);
}

conv_status dense_execute(const conv_plan *plan, const conv_args *args)
{
    const dense_plan *d = (const dense_plan *)plan;
#pragma omp parallel num_threads(plan->context.threads)
    {
        backward_job j = {plan, args, omp_get_thread_num(), omp_get_num_threads(), NULL, NULL};
        if (plan->pass == CONV_FORWARD)
            forward(d, args, j.thread, j.threads);
        else
            backward_run(&d->backward, &j, backward_data, backward_weights);
    }
    return CONV_OK;
}

const simd_impl simd_dense = {.impl = {MATRIX_CONVOLUTION(CONV_DENSE), .name = ISA_STRING,
                                       .refuse = dense_refuse,
                                       .summary = "implicit GEMM, " ISA_STRING " register tiles"},
                              .way = &gemm_plain,
                              .plan_weights = wgrad_plan};
const simd_impl simd_pointwise = {.impl = {MATRIX_CONVOLUTION(CONV_POINTWISE), .name = ISA_STRING,
                                           .refuse = dense_refuse,
                                           .summary = "GEMM on NHWC, " ISA_STRING " register tiles"},
                                  .way = &gemm_plain,
                                  .plan_weights = wgrad_plan};
