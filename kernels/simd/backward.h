/* The frame of a backward pass: the post-op's mask first, if any; then every thread's share of diff_src,
 * of the bias's and of the weights' gradient without waiting between them; then what threads summed apart is
 * joined. */
#ifndef SEPBENCH_SIMD_BACKWARD_H
#define SEPBENCH_SIMD_BACKWARD_H

#include <stdbool.h>

#include "../plan.h"

typedef struct {
    bool data, weights, bias;           /* which gradients; none in forward */
    int64_t pixels;                     /* of dst, all images */
    int64_t chunks;                     /* of the weights' gradient: if more than 1, joined at the end */
    size_t masked, bias_sums, partials; /* offsets into scratch, floats; partials: [chunks] of diff_weights */
} backward_frame;

/* All but the offsets, with one chunk. */
backward_frame backward_of(const conv_problem *p, conv_pass pass);
/* Reserves the scratch that the frame needs, with so many floats of partials. */
void backward_reserve(const conv_problem *p, conv_pass pass, size_t partial_floats, size_t *floats,
                      backward_frame *b);

/* Adds the frame's own to the plan's statement and ends it: forward's frame is a parallel region. */
void backward_state(const backward_frame *b, conv_plan *plan);

/* One thread's part. */
typedef struct {
    const conv_plan *plan;
    const conv_args *args;
    int thread, threads;
    const float *diff_dst; /* before the post-op; set by backward_run */
    void *own;             /* what the steps need besides */
} backward_job;
typedef void backward_step(const backward_job *job);

/* Every thread of the team calls this. data: its share of diff_src; weights: of diff_weights, or of partials.
 */
void backward_run(const backward_frame *b, backward_job *job, backward_step *data, backward_step *weights);

#endif
