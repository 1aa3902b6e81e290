/* Dense and pointwise convolution: implicit GEMM (product.c) for forward and backward_data, columns product
 * (weights_gradient.c) for backward_weights, all in one parallel region. Pointwise is the case of one tap: a
 * GEMM straight on NHWC. Backward passes: the ReLU mask first, where there is one; then every thread's share of
 * diff_src and of the weights' gradient without waiting between them; then the joining of chunks' sums. Refuses
 * rank 3. fip/ has the same with products that multiply pairs and a weights' gradient of its own. */
#include <omp.h>
#include <stdio.h>

#include "../../plan.h"

#include "../reduce.h"
#include "dense.h"
#include "product.h"

typedef struct {
    conv_plan head;
    bool data, weights, bias;                    /* backward: which gradients */
    product product;                             /* forward or backward_data */
    wgrad *wgrad;                                /* NULL: not asked for */
    int64_t pixels;                              /* of dst, all images */
    size_t masked, bias_sums, partials, threads; /* offsets into scratch, floats */
    size_t thread_floats;
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
    size_t floats = 0, masked = (size_t)conv_problem_sizes(p).dst;
    bool mask = d->head.pass != CONV_FORWARD && p->post_op == CONV_POST_RELU;
    d->masked = conv_reserve(&floats, mask ? masked : 0);
    d->bias_sums = conv_reserve(&floats, d->bias ? (size_t)(bias_chunks(d->pixels) * p->oc) : 0);
    d->partials = conv_reserve(&floats, d->weights ? d->wgrad->partial_floats : 0);
    size_t data = d->product.thread_floats, weights = d->weights ? d->wgrad->thread_floats : 0;
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
    d->data = pass == CONV_BACKWARD || pass == CONV_BACKWARD_DATA;
    d->weights = pass == CONV_BACKWARD || pass == CONV_BACKWARD_WEIGHTS;
    d->bias = d->weights && p->bias;
    d->pixels = p->mb * conv_out(&p->axis[CONV_H]) * conv_out(&p->axis[CONV_W]);
    if (pass == CONV_FORWARD || d->data) {
        conv_status status = product_plan(p, d->data, impl->way, ctx, &d->product, err);
        if (status != CONV_OK) {
            dense_destroy(&d->head);
            return status;
        }
        d->head.packed_bytes = (size_t)product_packed_floats(&d->product) * sizeof(float);
        snprintf(d->head.note, sizeof d->head.note, "%dx%d, kc %lld", product_tile_rows(&d->product),
                 d->product.nv * VL, (long long)d->product.k_block);
    }
    if (d->weights) {
        d->wgrad = impl->plan_weights(p, ctx);
        if (d->wgrad == NULL) {
            dense_destroy(&d->head);
            return conv_fail(err, CONV_NO_MEMORY, "no memory for a plan");
        }
    }
    lay_out_scratch(d);
    *out = &d->head;
    return CONV_OK;
}

conv_status dense_pack(const conv_plan *plan, const float *weights, const float *pointwise, void *packed)
{
    (void)pointwise;
    product_pack(&((const dense_plan *)plan)->product, weights, packed, plan->context.threads);
    return CONV_OK;
}

/* One thread's part of a backward pass. */
static void backward(const dense_plan *d, const conv_args *args, int thread, int threads)
{
    const conv_problem *p = &d->head.problem;
    float *scratch = args->scratch, *own = scratch + d->threads + (size_t)thread * d->thread_floats;
    const float *diff_dst = args->diff_dst;
    if (p->post_op == CONV_POST_RELU) {
        relu_mask(args->dst, diff_dst, d->pixels * p->oc, scratch + d->masked, thread, threads);
        diff_dst = scratch + d->masked;
#pragma omp barrier
    }
    if (d->data && args->diff_src != NULL)
        product_run(&d->product, diff_dst, args->packed, NULL, false, args->diff_src, own, thread, threads);
    if (!d->weights) return;
    if (d->bias) bias_sums(diff_dst, d->pixels, p->oc, scratch + d->bias_sums, thread, threads);
    d->wgrad->run(d->wgrad, &(wgrad_share){.src = args->src,
                                           .diff_dst = diff_dst,
                                           .diff_weights = args->diff_weights,
                                           .accumulate = args->accumulate,
                                           .partials = scratch + d->partials,
                                           .scratch = own,
                                           .thread = thread,
                                           .threads = threads});
    int64_t chunks = d->wgrad->chunks;
    if (!d->bias && chunks <= 1) return;
#pragma omp barrier
    if (chunks > 1) {
        int64_t weights = conv_problem_sizes(p).weights;
        reduce_chunks(scratch + d->partials, chunks, weights, weights, args->accumulate, args->diff_weights,
                      thread, threads);
    }
    if (d->bias)
        reduce_chunks(scratch + d->bias_sums, bias_chunks(d->pixels), p->oc, p->oc, args->accumulate,
                      args->diff_bias, thread, threads);
}

conv_status dense_execute(const conv_plan *plan, const conv_args *args)
{
    const dense_plan *d = (const dense_plan *)plan;
    bool relu = plan->problem.post_op == CONV_POST_RELU;
    int threads = plan->context.threads;
#pragma omp parallel num_threads(threads)
    {
        int thread = omp_get_thread_num(), count = omp_get_num_threads();
        float *own = (float *)args->scratch + d->threads + (size_t)thread * d->thread_floats;
        if (plan->pass == CONV_FORWARD)
            product_run(&d->product, args->src, args->packed, plan->problem.bias ? args->bias : NULL, relu,
                        args->dst, own, thread, count);
        else
            backward(d, args, thread, count);
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
