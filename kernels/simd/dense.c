/* Dense and pointwise convolution: implicit GEMM (product.c) for forward and backward_data, columns product
 * (wgrad.c) for backward_weights, all in one parallel region. Pointwise is the case of one tap: a GEMM straight
 * on NHWC. Backward passes: the ReLU mask first, where there is one; then every thread's share of diff_src and
 * of the weights' gradient without waiting between them; then the joining of chunks' sums. Refuses rank 3.
 * fip is the same with products that multiply pairs (gemm_fip.h), and for the weights' gradient fip_wgrad.c. */
#include <omp.h>
#include <stdio.h>

#include "../plan.h"

#include "fip_wgrad.h"
#include "product.h"
#include "reduce.h"
#include "simd.h"
#include "wgrad.h"

typedef struct {
    conv_plan head;
    bool data, weights, bias; /* backward: which gradients */
    product product;          /* forward or backward_data */
    wgrad wgrad;
    bool pairs; /* the weights' gradient by fip_wgrad, else by wgrad */
    fip_wgrad fip_wgrad;
    int64_t pixels;                              /* of dst, all images */
    size_t masked, bias_sums, partials, threads; /* offsets into scratch, floats */
    size_t thread_floats;
} dense_plan;

static const char *refuse(const conv_impl *self, const conv_problem *p, conv_pass pass)
{
    (void)self, (void)pass;
    return p->rank == 3 ? "rank 3" : NULL;
}

static void destroy(conv_plan *plan)
{
    product_free(&((dense_plan *)plan)->product);
    free(plan);
}

static void lay_out_scratch(dense_plan *d)
{
    const conv_problem *p = &d->head.problem;
    size_t floats = 0, masked = (size_t)conv_problem_sizes(p).dst;
    bool mask = d->head.pass != CONV_FORWARD && p->post_op == CONV_POST_RELU;
    d->masked = conv_reserve(&floats, mask ? masked : 0);
    d->bias_sums = conv_reserve(&floats, d->bias ? (size_t)(bias_chunks(d->pixels) * p->oc) : 0);
    d->partials = conv_reserve(&floats, d->pairs ? d->fip_wgrad.partial_floats : d->wgrad.partial_floats);
    size_t data = d->product.thread_floats,
           weights = d->pairs ? d->fip_wgrad.thread_floats : d->wgrad.thread_floats;
    d->thread_floats = conv_align((data > weights ? data : weights) * sizeof(float)) / sizeof(float);
    d->threads = conv_reserve(&floats, d->thread_floats * (size_t)d->head.context.threads);
    d->head.scratch_bytes = floats * sizeof(float);
}

static conv_status plan(const conv_impl *self, const conv_problem *p, conv_pass pass, const conv_context *ctx,
                        conv_plan **out, conv_error *err)
{
    dense_plan *d = conv_plan_new(sizeof *d, self, p, pass, ctx);
    if (d == NULL) return conv_fail(err, CONV_NO_MEMORY, "no memory for a plan");
    d->data = pass == CONV_BACKWARD || pass == CONV_BACKWARD_DATA;
    d->weights = pass == CONV_BACKWARD || pass == CONV_BACKWARD_WEIGHTS;
    d->bias = d->weights && p->bias;
    d->pixels = p->mb * conv_out(&p->axis[CONV_H]) * conv_out(&p->axis[CONV_W]);
    if (pass == CONV_FORWARD || d->data) {
        conv_status status = product_plan(p, d->data, self->inexact, ctx, &d->product, err);
        if (status != CONV_OK) {
            destroy(&d->head);
            return status;
        }
        d->head.packed_bytes = (size_t)product_packed_floats(&d->product) * sizeof(float);
        snprintf(d->head.note, sizeof d->head.note, "%dx%d, kc %lld", product_tile_rows(&d->product),
                 d->product.nv * VL, (long long)d->product.k_block);
    }
    d->pairs = self->inexact && d->weights && fip_wgrad_fits(p);
    if (d->pairs)
        fip_wgrad_plan(p, ctx, &d->fip_wgrad);
    else if (d->weights)
        wgrad_plan(p, ctx, &d->wgrad);
    lay_out_scratch(d);
    *out = &d->head;
    return CONV_OK;
}

static conv_status pack(const conv_plan *plan, const float *weights, const float *pointwise, void *packed)
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
    if (d->pairs)
        fip_wgrad_run(&d->fip_wgrad, args->src, diff_dst, args->diff_weights, args->accumulate,
                      scratch + d->partials, own, thread, threads);
    else
        wgrad_run(&d->wgrad, args->src, diff_dst, args->diff_weights, args->accumulate, scratch + d->partials,
                  own, thread, threads);
    int64_t chunks = d->pairs ? d->fip_wgrad.chunks : d->wgrad.chunks;
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

static conv_status execute(const conv_plan *plan, const conv_args *args)
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

static const char *refuse_fip(const conv_impl *self, const conv_problem *p, conv_pass pass)
{
    /* A joint backward may need its forward's workspace. */
    int64_t terms = pass == CONV_FORWARD         ? p->ic / p->groups
                    : pass == CONV_BACKWARD_DATA ? p->oc / p->groups
                                                 : min64(p->ic, p->oc) / p->groups;
    if (pass == CONV_BACKWARD_WEIGHTS && !fip_wgrad_fits(p))
        return "groups or strides: the sums over pixels multiply no pairs, as " ISA_STRING;
    if (terms < FIP_GROUP) return "sums of fewer than 24 channels: hardly a pair";
    return refuse(self, p, pass);
}

#define MATRIX_CONVOLUTION(which, words)                                                                       \
    .variant = (which), .summary = words, .isa = ISA_ENUM, .layouts = 1u << CONV_NHWC, .plan = plan,           \
    .pack = pack, .execute = execute, .destroy = destroy

const conv_impl simd_dense = {MATRIX_CONVOLUTION(CONV_DENSE, "implicit GEMM, " ISA_STRING " register tiles"),
                              .name = ISA_STRING, .refuse = refuse};
const conv_impl simd_pointwise = {
    MATRIX_CONVOLUTION(CONV_POINTWISE, "GEMM on NHWC, " ISA_STRING " register tiles"), .name = ISA_STRING,
    .refuse = refuse};
const conv_impl simd_pointwise_fip = {
    MATRIX_CONVOLUTION(CONV_POINTWISE, "GEMM on NHWC, pairs of terms for one multiplication"),
    .name = "fip-" ISA_STRING, .refuse = refuse_fip, .inexact = true, .error_factor = FIP_ERROR_FACTOR};
