/* The depthwise convolution's plan, and the work of one thread: rows of outputs, sums of gradients. */
#ifndef SEPBENCH_SIMD_DEPTHWISE_DRIVER_H
#define SEPBENCH_SIMD_DEPTHWISE_DRIVER_H

#include "../backward.h"
#include "walk.h"

typedef struct {
    conv_plan head;
    backward_frame backward;
    row_walk walk, forward_walk;     /* of forward or backward_data; of backward_weights */
    int64_t rows, width;             /* of an image of dst */
    int64_t channels, block, blocks; /* of dst; of one block; blocks */
    int64_t sum_block, sum_blocks;   /* backward_weights: block of channels, blocks */
    int64_t chunks, chunk_floats;    /* fixed chunks of rows */
    bool block_alone;                /* a block of a larger tensor (blocked_layout.c): sums in one piece */
    bool aligned;                    /* and all such blocks begin where vectors may */
    bool owned;                      /* a thread sums all chunks of channels of its own, and waits for nobody */
    int64_t rows_together;           /* output rows of one unit of work */
    int64_t wide_rows;               /* source rows widened at once; 0: multiplier 1 */
    int64_t ring_rows;               /* rows copied next to each other; 0: read where they lie */
    int64_t tap_floats;              /* and from one copied tap to the next */
    bool twos;                       /* rows go by twos */
    bool bands;                      /* in backward_weights by BAND_ROWS */
    bool beyond_l3;                  /* src and dst are larger than L3 */
    bool whole_rows;                 /* so rows are walked with all channels, in the order memory has them */
    bool stream;                     /* and what is written goes past the caches */
    bool joint;                      /* both gradients in one walk over the rows */
    size_t threads, thread_floats;   /* scratch: where the threads' begins and how much each has, floats */
} depthwise_plan;

/* A thread's view of the pass and its scratch. */
typedef struct {
    const depthwise_plan *d;
    const conv_args *args;
    const float *diff_dst; /* masked where there is a ReLU */
    float *partials;       /* [chunks][taps][channels] */
    row_pointers pointers;
    float *wide;
    row_ring src_ring, diff_ring;
    float *taps, *sums; /* [taps][tap_floats] of the block: weights, their gradients */
    int64_t image, c;   /* where the rings are; -1: nowhere yet */
} depthwise_job;

/* The plan of a block of a tensor blocked by channels, as if it were a tensor of its own, by one thread; status
 * as of conv_plan_create. aligned: all blocks begin on a vector. */
conv_status depthwise_plan_block(const conv_problem *p, conv_pass pass, const conv_context *ctx, bool aligned,
                                 depthwise_plan **out, conv_error *err);
void depthwise_plan_free(depthwise_plan *d);

/* Adds to conv_plan.work what the plan's way does on a problem: its own, or all of one whose blocks it does. */
void depthwise_state(const depthwise_plan *d, const conv_problem *p, conv_work *work);
/* States the plan's own work. */
void depthwise_state_plan(depthwise_plan *d);

/* Floats of a thread's scratch, and a job over it. */
size_t depthwise_job_floats(const depthwise_plan *d);
depthwise_job depthwise_job_make(const depthwise_plan *d, const conv_args *args, float *scratch);
/* The job over other tensors, and a plan that differs in nothing but a smaller number of channels; no rings. */
void depthwise_job_restart(depthwise_job *j, const depthwise_plan *d, const conv_args *args);
/* What both halves of a joint backward need. Turns the rings and the weights to channels [c, c + width) of an
 * image. */
void depthwise_turn(depthwise_job *j, int64_t image, int64_t c, int64_t width);
/* Source rows that output rows [y0, y1) read, of the forward geometry and the block, widened: as an image. */
row_ring depthwise_widen_rows(const depthwise_job *j, int64_t width, int64_t y0, int64_t y1);
/* to[taps][..] = from[taps][..], `width` channels; floats from a tap to the next. */
void depthwise_copy_taps(const depthwise_plan *d, const float *from, int64_t from_tap, float *to,
                         int64_t to_tap, int64_t width);
/* Rows [y0, y1) of diff_src of one image, channels [c, c + width) of dst. */
void depthwise_backward_rows(depthwise_job *j, int64_t image, int64_t c, int64_t width, int64_t y0, int64_t y1);
/* Floats from a tap of the weights that the job reads, or of its sums, to the next. */
static inline int64_t depthwise_tap_step(const depthwise_plan *d)
{
    return d->ring_rows > 0 ? d->tap_floats : d->channels;
}

/* A thread's share of forward or backward_data. */
void depthwise_run_rows(depthwise_job *j, int thread, int threads);
/* A thread's share of backward_weights, as partials where there are several chunks; with the plan's joint and a
 * diff_src, of both gradients. */
void depthwise_run_sums(depthwise_job *j, int thread, int threads);

#endif
