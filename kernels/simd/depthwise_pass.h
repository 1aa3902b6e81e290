/* The depthwise convolution's plan, and the work of one thread: rows of outputs, sums of gradients. */
#ifndef SEPBENCH_SIMD_DEPTHWISE_PASS_H
#define SEPBENCH_SIMD_DEPTHWISE_PASS_H

#include "../plan.h"
#include "axis.h"
#include "depthwise_ring.h"

typedef struct {
    conv_plan head;
    bool data, weights, bias;        /* backward: which gradients */
    axis_segments x, x_forward;      /* of forward or backward_data; of backward_weights */
    int64_t channels, block, blocks; /* of dst; of one block; blocks */
    int64_t sum_block, sum_blocks;   /* backward_weights: block of channels, blocks */
    int64_t chunks, chunk_floats;    /* fixed chunks of rows */
    bool owned;                      /* a thread sums all chunks of channels of its own, and waits for nobody */
    int64_t rows_together;           /* output rows of one unit of work */
    int64_t wide_rows;               /* source rows widened at once; 0: multiplier 1 */
    int64_t ring_rows;               /* rows copied next to each other; 0: read where they lie */
    int64_t tap_floats;              /* and from one copied tap to the next */
    bool pairs;                      /* rows go by twos */
    bool bands;                      /* in backward_weights by BAND_ROWS */
    bool from_memory;                /* src and dst are larger than L3 */
    bool whole_rows;                 /* so pairs are walked with all channels, in the order memory has them */
    bool stream;                     /* and what is written goes past the caches */
    bool joint;                      /* both gradients in one walk over the rows */
    size_t masked, bias_floats, partials, threads, thread_floats; /* scratch: offsets and size, floats */
} depthwise_plan;

/* A thread's view of the pass and its scratch. */
typedef struct {
    const depthwise_plan *d;
    const conv_args *args;
    const float *diff_dst; /* masked where there is a ReLU */
    float *partials;       /* [chunks][taps][channels] */
    const float **src;     /* [KH] */
    float **weights;       /* [KH] */
    float *wide;
    row_ring src_ring, diff_ring;
    float *taps, *sums; /* [taps][tap_floats] of the block: weights, their gradients */
    int64_t image, c;   /* where the rings are; -1: nowhere yet */
} depthwise_job;

/* Floats of a thread's scratch, and a job over it. */
size_t ISA_NAME(depthwise_job_floats)(const depthwise_plan *d);
depthwise_job ISA_NAME(depthwise_job_make)(const depthwise_plan *d, const conv_args *args, float *scratch);
/* The job over other tensors, and a plan that differs in nothing but a smaller number of channels; no rings. */
void ISA_NAME(depthwise_job_turn)(depthwise_job *j, const depthwise_plan *d, const conv_args *args);
/* A thread's share of forward or backward_data. */
void ISA_NAME(depthwise_run_rows)(depthwise_job *j, int thread, int threads);
/* A thread's share of backward_weights, as partials where there are several chunks; with the plan's joint and a
 * diff_src, of both gradients. */
void ISA_NAME(depthwise_run_sums)(depthwise_job *j, int thread, int threads);

#define depthwise_job_floats ISA_NAME(depthwise_job_floats)
#define depthwise_job_make ISA_NAME(depthwise_job_make)
#define depthwise_job_turn ISA_NAME(depthwise_job_turn)
#define depthwise_run_rows ISA_NAME(depthwise_run_rows)
#define depthwise_run_sums ISA_NAME(depthwise_run_sums)

#endif
