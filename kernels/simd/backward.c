/* The frame of dense, depthwise and Winograd's backward passes. */
#include "backward.h"

#include "../work.h"
#include "reduce.h"

backward_frame backward_of(const conv_problem *p, conv_pass pass)
{
    bool weights = conv_makes_weights(pass);
    return (backward_frame){.data = conv_makes_data(pass),
                            .weights = weights,
                            .bias = weights && p->bias,
                            .pixels = conv_problem_sizes(p).dst / p->oc,
                            .chunks = 1};
}

void backward_reserve(const conv_problem *p, conv_pass pass, size_t partial_floats, size_t *floats,
                      backward_frame *b)
{
    bool mask = pass != CONV_FORWARD && p->post_op != CONV_POST_NONE;
    b->masked = conv_reserve(floats, mask ? (size_t)(b->pixels * p->oc) : 0);
    b->bias_sums = conv_reserve(floats, b->bias ? (size_t)(bias_chunks(b->pixels) * p->oc) : 0);
    b->partials = conv_reserve(floats, partial_floats);
}

void backward_state(const backward_frame *b, conv_plan *plan)
{
    const conv_problem *p = &plan->problem;
    bool mask = plan->pass != CONV_FORWARD && p->post_op != CONV_POST_NONE;
    bool joined = b->weights && (b->bias || b->chunks > 1);
    double dst = 4.0 * (double)(b->pixels * p->oc);
    if (mask) {
        work_read(&plan->work, 2 * dst, CONV_EACH_CALL);
        work_write(&plan->work, dst, CONV_EACH_CALL);
    }
    if (b->chunks > 1)
        work_read(&plan->work, 4.0 * (double)(b->chunks * conv_problem_sizes(p).weights), CONV_EACH_CALL);
    work_finish(plan, 1, mask + joined);
}

/* Joins the chunks of both gradients. */
static void join(const backward_frame *b, const backward_job *j)
{
    const conv_args *args = j->args;
    const conv_problem *p = &j->plan->problem;
    const float *scratch = args->scratch;
    int64_t count = conv_problem_sizes(p).weights;
    chunk_sums weights = {scratch + b->partials, b->chunks, count, count};
    chunk_sums bias = {scratch + b->bias_sums, bias_chunks(b->pixels), p->oc, p->oc};
    if (b->chunks > 1) reduce_chunks(&weights, args->accumulate, args->diff_weights, j->thread, j->threads);
    if (b->bias) reduce_chunks(&bias, args->accumulate, args->diff_bias, j->thread, j->threads);
}

void backward_run(const backward_frame *b, backward_job *j, backward_step *data, backward_step *weights)
{
    const conv_args *args = j->args;
    const conv_problem *p = &j->plan->problem;
    float *scratch = args->scratch;
    j->diff_dst = args->diff_dst;
    if (p->post_op != CONV_POST_NONE) {
        post_mask((post_output){args->dst, p->post_op}, args->diff_dst, b->pixels * p->oc, scratch + b->masked,
                  j->thread, j->threads);
        j->diff_dst = scratch + b->masked;
#pragma omp barrier
    }
    if (b->data && args->diff_src != NULL) data(j);
    if (!b->weights) return;
    if (b->bias) bias_sums(j->diff_dst, b->pixels, p->oc, scratch + b->bias_sums, j->thread, j->threads);
    weights(j);
    if (!b->bias && b->chunks <= 1) return;
#pragma omp barrier
    join(b, j);
}
