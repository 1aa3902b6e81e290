/* Depthwise convolution, every pass, any stride, dilation and multiplier.
 *
 * forward, backward_data: image, row of outputs, block of channels; a block is as wide as its rows of one
 * kernel fit L1. Rows are dealt out in equal contiguous shares. backward_weights: fixed chunks of rows x
 * blocks of channels, each with sums of its own, joined in an ordered tree; where that is soon done, by threads
 * that own channels and wait for nobody. From memory whole rows are walked, the next tile's prefetched,
 * and outputs too large for L3 go past it. Where the pixels of all channels lie whole pages apart, rows are
 * copied next to each other first (copied_rows.h), and the joint backward copies them once for both
 * gradients. All in one parallel region. Refuses rank 3. */
#include <omp.h>
#include <stdio.h>

#include "../simd.h"
#include "../vec.h"
#include "driver.h"
#include "kernels.h"

enum {
    MOST_CHANNELS = 256,     /* of a block */
    MOST_SUM_CHANNELS = 128, /* of a block in backward_weights */
    ENOUGH_UNITS = 64,       /* of backward_weights: keep any number of threads busy */
    LEAST_PIXELS = 196,      /* of a chunk */
    SUMMING_CORES = 2,       /* whose L3 backward_weights counts on */
    RING_CHANNELS = 128,     /* of a block whose rows are copied */
    WIDE_ROWS = 8            /* output rows whose widened sources are in scratch at once */
};
enum { WHOLE_LINE = VL * sizeof(float) == 64 }; /* a vector is one */

void depthwise_plan_free(depthwise_plan *d)
{
    row_walk_free(&d->walk);
    row_walk_free(&d->forward_walk);
    free(d);
}

static void destroy(conv_plan *plan) { depthwise_plan_free((depthwise_plan *)plan); }

/* ---- plan */

/* Sums are made in another order when walked whole, so there the size must not depend on the threads. */
static size_t l3_of_all(const depthwise_plan *d)
{
    return d->head.context.l3 * (size_t)(d->backward.weights ? SUMMING_CORES : d->head.context.threads);
}

/* What lies in L3 is read quickly enough without a prefetch, and is best written there. Pixels that crowd
 * one set of L1 are better copied than walked whole: in vectors of half a line, which meet each line twice,
 * always; in whole lines until they come from memory for certain (a virtual machine's share of L3 is a guess).
 */
static void choose_walk(depthwise_plan *d)
{
    const conv_problem *p = &d->head.problem;
    conv_sizes sizes = conv_problem_sizes(p);
    size_t src = (size_t)sizes.src * sizeof(float), dst = (size_t)sizes.dst * sizeof(float);
    int64_t units = p->mb * d->rows / 2, threads = d->head.context.threads;
    d->beyond_l3 = src + dst > (ring_wanted(d->channels) ? 2 : 1) * l3_of_all(d);
    d->whole_rows = d->twos && d->beyond_l3 && (WHOLE_LINE || !ring_wanted(d->channels));
    if (d->whole_rows && deals_evenly(units, threads, 8)) d->block = d->channels;
    d->stream = d->whole_rows && d->aligned && d->channels % VL == 0 &&
                (d->backward.data ? src : dst) > 2 * l3_of_all(d);
}

/* A thread that owns some of the channels reads a piece of every pixel, and such pieces use half the sets of
 * its caches or fewer: the tensors must fit a quarter of L2. Not with rings, which hold only a block of
 * channels, nor with multipliers, of whose channels a vector is no whole number. */
static void choose_owners(depthwise_plan *d)
{
    conv_sizes sizes = conv_problem_sizes(&d->head.problem);
    size_t bytes = (size_t)(sizes.src + sizes.dst) * sizeof(float), threads = (size_t)d->head.context.threads;
    int64_t vectors = d->channels / VL;
    bool even = deals_evenly(vectors, d->head.context.threads, 8);
    bool plain = d->ring_rows == 0 && d->head.problem.depth_multiplier == 1 && d->channels % VL == 0;
    d->owned = d->chunks > 1 && plain && even && bytes <= d->head.context.l2 * threads / 4;
}

/* Rows copied into rings where the pixels of a tile crowd into one set of L1, in blocks whose rings fit half of
 * L2. */
static void choose_ring(depthwise_plan *d)
{
    const conv_problem *p = &d->head.problem;
    const conv_axis *h = &p->axis[CONV_H], *x = &p->axis[CONV_W];
    if (p->depth_multiplier > 1 || d->whole_rows || !ring_wanted(d->channels)) return;
    /* Bands need larger rings: two of those cost as much as bands save. And in vectors of half a cache line
     * they save nothing on a diff_dst that is read where it lies. */
    bool bands = d->bands && !d->backward.data && WHOLE_LINE;
    int64_t rows = conv_effective_kernel(h) + (bands ? BAND_ROWS - 1 : d->twos);
    int64_t rings = d->backward.weights && d->backward.data ? 2 : 1, width = max64(x->in, d->width);
    int64_t room = (int64_t)(d->head.context.l2 / 2 / sizeof(float));
    if (rings * ring_floats(rows, width, RING_CHANNELS) > room) return;
    d->bands = bands;
    d->block = min64(d->block, RING_CHANNELS);
    d->ring_rows = rows;
    d->tap_floats = ring_pixel(d->block);
}

static void choose_blocks(depthwise_plan *d)
{
    const conv_problem *p = &d->head.problem;
    const conv_axis *h = &p->axis[CONV_H], *x = &p->axis[CONV_W];
    int64_t m = p->depth_multiplier;
    d->rows = conv_out(h);
    d->width = conv_out(x);
    d->channels = p->oc;
    int64_t block = round_up(div_up(d->channels, div_up(d->channels, MOST_CHANNELS)), VL);
    if (m > 1) block = max64(1, block / m) * m;
    d->block = min64(block, d->channels);
    d->twos = d->backward.weights ? d->forward_walk.stencil3 : d->walk.stencil3;
    choose_walk(d);
    /* Where a pixel is a single vector, a band is one long piece of memory, as whole rows would be. */
    d->bands = d->backward.weights && d->twos && (!d->whole_rows || d->channels == VL) && d->block % VL == 0;
    choose_ring(d);
    d->blocks = div_up(d->channels, d->block);
    d->rows_together = d->twos ? 2 : m > 1 ? WIDE_ROWS : 1;
    if (m > 1) d->wide_rows = min64(h->in, (WIDE_ROWS - 1) * h->stride + conv_effective_kernel(h));
    d->sum_block = m > 1 ? d->block : min64(d->block, MOST_SUM_CHANNELS);
    d->sum_blocks = div_up(d->channels, d->sum_block);
    /* Chunks of an even number of rows where that keeps rows in twos. */
    int64_t rows = p->mb * d->rows, most = min64(ENOUGH_UNITS / d->sum_blocks, rows * d->width / LEAST_PIXELS);
    if (d->block_alone) most = 1;
    for (d->chunks = 1; d->chunks * 2 <= most; d->chunks *= 2)
        if (rows / d->chunks % 4 != 0 && rows / d->chunks < 32) break;
    choose_owners(d);
    d->chunk_floats = d->chunks > 1 ? conv_problem_sizes(p).weights : 0;
    /* One walk for both gradients where diff_dst has as many rows as diff_src and every thread has its share.
     */
    int64_t units = d->chunks * d->sum_blocks, threads = d->head.context.threads;
    d->joint = d->backward.data && d->backward.weights && d->ring_rows > 0 && h->stride == 1 &&
               h->in == d->rows && deals_evenly(units, threads, 4);
}

static void lay_out_scratch(depthwise_plan *d)
{
    const conv_problem *p = &d->head.problem;
    size_t floats = 0;
    backward_reserve(p, d->head.pass, d->backward.weights ? (size_t)(d->chunks * d->chunk_floats) : 0, &floats,
                     &d->backward);
    d->backward.chunks = d->owned ? 1 : d->chunks;
    d->thread_floats = depthwise_job_floats(d);
    d->threads = conv_reserve(&floats, (int64_t)d->thread_floats * d->head.context.threads);
    d->head.scratch_bytes = floats * sizeof(float);
}

/* The rest of a plan whose head and kind are set, or NULL: no memory. */
static conv_status complete(depthwise_plan *d, depthwise_plan **out, conv_error *err)
{
    if (d == NULL) return conv_fail(err, CONV_NO_MEMORY, "no memory for a plan");
    const conv_problem *p = &d->head.problem;
    d->backward = backward_of(p, d->head.pass);
    bool rows = d->head.pass == CONV_FORWARD || d->backward.data;
    if ((rows && !row_walk_build(p, d->backward.data, &d->walk)) ||
        (d->backward.weights && !row_walk_build(p, false, &d->forward_walk))) {
        depthwise_plan_free(d);
        return conv_fail(err, CONV_NO_MEMORY, "no memory for the segments of a row");
    }
    choose_blocks(d);
    lay_out_scratch(d);
    depthwise_state_plan(d);
    snprintf(d->head.note, sizeof d->head.note, "%lld channels a block", (long long)d->block);
    conv_note(d->head.note, d->ring_rows > 0, "rows copied");
    conv_note(d->head.note, d->wide_rows > 0, "rows widened");
    conv_note(d->head.note, d->twos, "by twos");
    conv_note(d->head.note, d->bands, "bands");
    conv_note(d->head.note, d->whole_rows, "whole rows");
    conv_note(d->head.note, d->stream, "streamed");
    conv_note(d->head.note, d->chunks > 1, "in chunks");
    conv_note(d->head.note, d->owned, "channels owned");
    conv_note(d->head.note, d->joint, "gradients at once");
    *out = d;
    return CONV_OK;
}

static conv_status plan(const conv_impl *self, const conv_problem *p, conv_pass pass, const conv_context *ctx,
                        conv_plan **out, conv_error *err)
{
    depthwise_plan *d = conv_plan_new(sizeof *d, self, p, pass, ctx);
    if (d != NULL) d->aligned = true;
    conv_status status = complete(d, &d, err);
    if (status == CONV_OK) *out = &d->head;
    return status;
}

conv_status depthwise_plan_block(const conv_problem *p, conv_pass pass, const conv_context *ctx, bool aligned,
                                 depthwise_plan **out, conv_error *err)
{
    depthwise_plan *d = conv_plan_new(sizeof *d, &simd_depthwise, p, pass, ctx);
    if (d != NULL) d->block_alone = true, d->aligned = aligned;
    return complete(d, out, err);
}

/* ---- execute */

static void backward_data(const backward_job *j)
{
    depthwise_job *job = j->own;
    job->diff_dst = j->diff_dst;
    if (!job->d->joint) depthwise_run_rows(job, j->thread, j->threads);
}

static void backward_weights(const backward_job *j)
{
    depthwise_job *job = j->own;
    job->diff_dst = j->diff_dst;
    job->partials = (float *)j->args->scratch + job->d->backward.partials;
    depthwise_run_sums(job, j->thread, j->threads);
}

static conv_status execute(const conv_plan *plan, const conv_args *args)
{
    const depthwise_plan *d = (const depthwise_plan *)plan;
#pragma omp parallel num_threads(plan->context.threads)
    {
        int thread = omp_get_thread_num(), threads = omp_get_num_threads();
        float *own = (float *)args->scratch + d->threads + (size_t)thread * d->thread_floats;
        depthwise_job job = depthwise_job_make(d, args, own);
        backward_job j = {plan, args, thread, threads, NULL, &job};
        if (plan->pass == CONV_FORWARD)
            depthwise_run_rows(&job, thread, threads);
        else
            backward_run(&d->backward, &j, backward_data, backward_weights);
    }
    return CONV_OK;
}

const conv_impl simd_depthwise = {.name = ISA_STRING,
                                  .variant = CONV_DEPTHWISE,
                                  .summary = "rows in " ISA_STRING " registers, channels in vectors",
                                  .isa = ISA_ENUM,
                                  .layouts = 1u << CONV_NHWC,
                                  .refuse = conv_refuse_rank_3,
                                  .plan = plan,
                                  .execute = execute,
                                  .destroy = destroy};
