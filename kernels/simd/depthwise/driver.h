/* The depthwise convolution's plan, and the work of one thread: rows of outputs, sums of gradients. */
#ifndef SEPBENCH_SIMD_DEPTHWISE_DRIVER_H
#define SEPBENCH_SIMD_DEPTHWISE_DRIVER_H

#include "../backward.h"
#include "strategies.h"
#include "walk.h"

typedef struct {
    conv_plan head;
    backward_frame backward;
    row_walk walk, forward_walk; /* of forward or backward_data; of backward_weights */
    depthwise_choices how;
    bool far;                      /* src and dst are in memory */
    int64_t rows, width;           /* of an image of dst */
    int64_t channels;              /* of dst */
    int64_t chunk_floats;          /* of the sums of a chunk */
    int64_t rows_together;         /* output rows of one piece of work */
    int64_t wide_rows;             /* source rows widened at once; 0: multiplier 1 */
    size_t threads, thread_floats; /* scratch: where the threads' begins and how much each has, floats */
} depthwise_plan;

/* A thread's view of the pass and its scratch. */
typedef struct {
    const depthwise_plan *d;
    const conv_args *args;
    const float *diff_dst; /* masked where there is a post-op */
    float *partials;       /* [chunks][taps][channels] */
    row_pointers pointers;
    float *wide;
    row_ring src_ring, diff_ring;
    float *taps,
        *sums; /* of a block whose rows are copied, [taps][tap_step]: weights, their gradients; else NULL */
    int64_t tap_step; /* floats from a tap of the weights that the job reads, or of its sums, to the next */
    int64_t image, c; /* where the rings are; -1: nowhere yet */
} depthwise_job;

/* One that goes by `how` as nearly as is possible; status as of conv_plan_create. Of blocked_layout.c also
 * that of a block of channels, as if it were a tensor of its own, by one thread. */
conv_status depthwise_plan_create(const conv_problem *p, conv_pass pass, const conv_context *ctx,
                                  const depthwise_choices *how, depthwise_plan **out, conv_error *err);
void depthwise_plan_free(depthwise_plan *d);

/* Whether src and dst are in memory: larger than the caches of all threads. From L3 rows come quickly enough
 * without a prefetch, which, measured, costs more than it saves. */
bool depthwise_far(const conv_problem *p, const conv_context *ctx);
/* Whether rows are prefetched: from memory, and all their channels in the order memory has them. */
static inline bool depthwise_ahead(const depthwise_plan *d, int64_t channels, bool ring)
{
    return d->far && !ring && channels == d->channels;
}
/* Adds what a possible way does on a problem, for conv_plan.work. pixel: floats from one to the next. */
void depthwise_state(const conv_problem *p, conv_pass pass, const depthwise_choices *how, int64_t pixel,
                     conv_work *work);
/* Equal pieces of work that threads share. */
int64_t depthwise_units(const conv_problem *p, conv_pass pass, const depthwise_choices *how);
/* Output rows of one such piece: with a multiplier, those whose widened sources are in scratch at once. */
enum { WIDE_ROWS = 8 };
static inline int64_t depthwise_rows_together(const conv_problem *p)
{
    return row_walk_stencil3(p) ? 2 : p->depth_multiplier > 1 ? WIDE_ROWS : 1;
}

/* The job of the weights' gradient, or of the other pass. */
typedef enum { DEPTHWISE_ROWS, DEPTHWISE_SUMS } depthwise_part;
/* Floats of a thread's scratch, for one part after the other, and a job over it. */
size_t depthwise_job_floats(const depthwise_plan *d);
depthwise_job depthwise_job_make(const depthwise_plan *d, depthwise_part part, const conv_args *args,
                                 float *scratch);
/* The job over other tensors, and a plan that differs in nothing but a smaller number of channels; no rings. */
void depthwise_job_restart(depthwise_job *j, const depthwise_plan *d, const conv_args *args);
/* What both parts need. Turns the rings and the weights to channels [c, c + width) of an
 * image. */
void depthwise_turn(depthwise_job *j, int64_t image, int64_t c, int64_t width);
/* Source rows that output rows [y0, y1) read, of the forward geometry and the block, widened: as an image. */
row_ring depthwise_widen_rows(const depthwise_job *j, int64_t width, int64_t y0, int64_t y1);
/* to[taps][..] = from[taps][..], `width` channels; floats from a tap to the next. */
void depthwise_copy_taps(const depthwise_plan *d, const float *from, int64_t from_tap, float *to,
                         int64_t to_tap, int64_t width);
/* A thread's share of forward or backward_data. */
void depthwise_run_rows(depthwise_job *j, int thread, int threads);
/* A thread's share of backward_weights, as partials where there are several chunks. */
void depthwise_run_sums(depthwise_job *j, int thread, int threads);

#endif
