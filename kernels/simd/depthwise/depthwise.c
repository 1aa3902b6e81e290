/* Depthwise convolution, every pass, any stride, dilation and multiplier.
 *
 * forward, backward_data: image, row of outputs, block of channels; a block is as wide as its rows of one
 * kernel window fit L1. Rows are dealt out in equal contiguous shares. backward_weights: fixed chunks of rows x
 * blocks of channels, each with sums of its own, joined in an ordered tree; where that is soon done, by threads
 * that own channels and wait for nobody. From memory whole rows are walked, the next tile's prefetched,
 * and outputs too large for L3 go past it. Where the pixels of all channels lie whole pages apart, rows are
 * copied next to each other first (copied_rows.h), and the joint backward copies them once for both
 * gradients. All in one parallel region. Refuses rank 3. */
#include <omp.h>
#include <stdio.h>

#include "../simd.h"
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

static const char *refuse(const conv_impl *self, const conv_problem *p, conv_pass pass)
{
    (void)self, (void)pass;
    return p->rank == 3 ? "rank 3" : NULL;
}

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
    d->whole_rows = d->pairs && d->beyond_l3 && (WHOLE_LINE || !ring_wanted(d->channels));
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
    /* No bands from two rings, for larger ones cost what bands save, nor from half lines of a diff_dst that is
     * read where it lies. */
    bool bands = d->bands && !d->backward.data && WHOLE_LINE;
    int64_t rows = conv_effective_kernel(h) + (bands ? BAND_ROWS - 1 : d->pairs);
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
    d->pairs = d->backward.weights ? d->forward_walk.pairs : d->walk.pairs;
    choose_walk(d);
    /* A band is a long piece of memory itself where pixels lie side by side. */
    d->bands = d->backward.weights && d->pairs && (!d->whole_rows || d->channels == VL) && d->block % VL == 0;
    choose_ring(d);
    d->blocks = div_up(d->channels, d->block);
    d->rows_together = d->pairs ? 2 : m > 1 ? WIDE_ROWS : 1;
    if (m > 1) d->wide_rows = min64(h->in, (WIDE_ROWS - 1) * h->stride + conv_effective_kernel(h));
    d->sum_block = m > 1 ? d->block : min64(d->block, MOST_SUM_CHANNELS);
    d->sum_blocks = div_up(d->channels, d->sum_block);
    /* Chunks of an even number of rows where that keeps pairs whole. */
    int64_t rows = p->mb * d->rows, most = min64(ENOUGH_UNITS / d->sum_blocks, rows * d->width / LEAST_PIXELS);
    if (d->block_alone) most = 1;
    for (d->chunks = 1; d->chunks * 2 <= most; d->chunks *= 2)
        if (rows / d->chunks % 4 != 0 && rows / d->chunks < 32) break;
    choose_owners(d);
    d->chunk_floats = d->chunks > 1 ? conv_problem_sizes(p).weights : 0;
    /* One walk for both gradients where rows of diff_dst and diff_src pair off and every thread has its share.
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

static conv_status make_plan(const conv_impl *self, const conv_problem *p, conv_pass pass,
                             const conv_context *ctx, bool block_alone, bool aligned, depthwise_plan **out,
                             conv_error *err)
{
    depthwise_plan *d = conv_plan_new(sizeof *d, self, p, pass, ctx);
    if (d == NULL) return conv_fail(err, CONV_NO_MEMORY, "no memory for a plan");
    d->block_alone = block_alone;
    d->aligned = aligned;
    d->backward = backward_of(p, pass);
    if (((pass == CONV_FORWARD || d->backward.data) && !row_walk_build(p, d->backward.data, &d->walk)) ||
        (d->backward.weights && !row_walk_build(p, false, &d->forward_walk))) {
        depthwise_plan_free(d);
        return conv_fail(err, CONV_NO_MEMORY, "no memory for the segments of a row");
    }
    choose_blocks(d);
    lay_out_scratch(d);
    depthwise_state_plan(d);
    snprintf(d->head.note, sizeof d->head.note, "%lld channels a block%s", (long long)d->block,
             d->ring_rows > 0 ? ", rows copied" : "");
    *out = d;
    return CONV_OK;
}

static conv_status plan(const conv_impl *self, const conv_problem *p, conv_pass pass, const conv_context *ctx,
                        conv_plan **out, conv_error *err)
{
    depthwise_plan *d = NULL;
    conv_status status = make_plan(self, p, pass, ctx, false, true, &d, err);
    if (status == CONV_OK) *out = &d->head;
    return status;
}

conv_status depthwise_plan_block(const conv_problem *p, conv_pass pass, const conv_context *ctx, bool aligned,
                                 depthwise_plan **out, conv_error *err)
{
    return make_plan(&simd_depthwise, p, pass, ctx, true, aligned, out, err);
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
                                  .refuse = refuse,
                                  .plan = plan,
                                  .execute = execute,
                                  .destroy = destroy};
