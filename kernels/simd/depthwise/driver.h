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
    int64_t src_image, dst_image;  /* floats of one */
    int64_t rows;                  /* of an image of dst, in all planes */
    int64_t channels;              /* of dst */
    int64_t chunk_floats;          /* of the sums of a chunk */
    row_lines lines, sums;         /* into which rows of the outputs are cut; of backward_weights */
    int64_t lines_together;        /* of one piece of work */
    size_t threads, thread_floats; /* scratch: where the threads' begins and how much each has, floats */
} depthwise_plan;

/* A thread's view of the pass and its scratch. */
typedef struct {
    const depthwise_plan *d;
    const conv_args *args;
    const float *diff_dst; /* masked where there is a post-op */
    float *partials;       /* [chunks][taps][channels] */
    row_pointers pointers;
    float *wide; /* a row of diff_src, each channel's multiples apart */
    row_ring src_ring, diff_ring;
    float *taps,
        *sums; /* of a block whose rows are copied, [taps][tap_step]: weights, their gradients; else NULL */
    int64_t tap_step;     /* floats from a tap of the weights that the job reads, or of its sums, to the next */
    int64_t image, c, x0; /* where the rings are; -1: nowhere yet */
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
/* Lines of one such piece. */
static inline int64_t depthwise_lines_together(const conv_problem *p) { return row_walk_stencil3(p) ? 2 : 1; }
/* The job of the weights' gradient, or of the other pass. */
typedef enum { DEPTHWISE_ROWS, DEPTHWISE_SUMS } depthwise_part;
/* Floats of a thread's scratch, for one part after the other, and a job over it. */
size_t depthwise_job_floats(const depthwise_plan *d);
depthwise_job depthwise_job_make(const depthwise_plan *d, depthwise_part part, const conv_args *args,
                                 float *scratch);
/* The job over other tensors, and a plan that differs in nothing but a smaller number of channels; no rings. */
void depthwise_job_restart(depthwise_job *j, const depthwise_plan *d, const conv_args *args);
/* What both parts need: which channels of an image, and which outputs of its rows. */
typedef struct {
    int64_t image, c, width, x0, x1;
} depthwise_piece;
/* Turns the rings and the weights there. */
void depthwise_turn(depthwise_job *j, const depthwise_piece *piece);
/* to[taps][..] = from[taps][..], `width` channels; floats from a tap to the next. */
void depthwise_copy_taps(const depthwise_plan *d, const float *from, int64_t from_tap, float *to,
                         int64_t to_tap, int64_t width);
/* A thread's share of forward or backward_data. */
void depthwise_run_rows(depthwise_job *j, int thread, int threads);
/* A thread's share of backward_weights, as partials where there are several chunks. */
void depthwise_run_sums(depthwise_job *j, int thread, int threads);

#endif
