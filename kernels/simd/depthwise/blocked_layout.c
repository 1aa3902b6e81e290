/* Depthwise convolution on activations blocked by channels, oneDNN's nChw16c: [MB][C/VL][H][W][VL], the last
 * block as narrow as what is left. enter and leave convert, outside execute: for a network that keeps to this
 * layout.
 *
 * A block of an image is an NHWC image of its own whose pixels lie side by side, so the passes over rows
 * (convolve_rows.c, gradient_rows.c) do it as they are, and memory is read in one piece however many channels
 * there are; in NHWC the pixels of many channels lie pages apart. image, block of channels, without weight
 * gradients also part of its rows: parallel. Gradients of images are joined in an ordered tree; a thread that
 * has its blocks of all images waits for nobody. Refuses multipliers other than 1. */
#include <omp.h>
#include <stdio.h>
#include <string.h>

#include "../../strategy.h"
#include "../../work.h"
#include "../copy.h"
#include "../reduce.h"
#include "../simd.h"
#include "driver.h"
#include "kernels.h"

typedef struct {
    conv_plan head;
    depthwise_choices how;       /* of a block of one image */
    depthwise_plan *full, *rest; /* its plan; that of a narrower last one, NULL: as wide */
    int64_t blocks, parts;       /* of an image; of a block */
    bool owned;                  /* a thread has its blocks of all images; else it has units in their order */
    int64_t in_pixels, out_pixels;
    size_t src, dst, diff_dst, diff_src; /* activations: offsets, floats; of those the pass has */
    size_t masked, partials, bias, threads, thread_floats; /* scratch: offsets and size, floats */
} blocked_plan;

/* ---- blocks */

static int64_t width_of(const blocked_plan *b, int64_t block)
{
    return min64(VL, b->head.problem.ic - block * VL);
}

static const depthwise_plan *plan_of(const blocked_plan *b, int64_t block)
{
    return b->rest != NULL && block == b->blocks - 1 ? b->rest : b->full;
}

/* Where a block begins in a tensor of so many pixels an image. */
static int64_t offset_of(const blocked_plan *b, int64_t image, int64_t block, int64_t pixels)
{
    return pixels * (image * b->head.problem.ic + block * VL);
}

/* ---- strategies: those of a block, whose pixels lie side by side, and its parts */

/* forward, backward_data. */
typedef struct {
    int64_t parts, stream; /* of a block's rows; as walk_strategy */
} blocked_walk;
/* backward_weights. */
typedef struct {
    int64_t rows, owned; /* as sums_strategy; a thread has blocks of all images */
} blocked_sums;

static const conv_choice blocked_walk_choices[] = {{"parts", false}, {"streamed", true}, {NULL, false}};
static const conv_choice blocked_sums_choices[] = {{"rows", false}, {"blocks owned", true}, {NULL, false}};

/* One block of one image. */
static conv_problem block_of(const conv_problem *p, int64_t width)
{
    conv_problem block = *p;
    block.mb = 1;
    block.ic = block.oc = block.groups = width;
    return block;
}

/* What is done with each, as nearly as is possible. */
static depthwise_choices block_choices(const conv_problem *p, const blocked_walk *walk,
                                       const blocked_sums *sums)
{
    conv_problem block = block_of(p, min64(VL, p->ic));
    depthwise_choices how = {
        .walk = {.channels = VL, .stream = walk->stream && p->ic % VL == 0},
        .sums = {.channels = VL, .rows = sums->rows, .chunks = 1, .outputs = conv_out(&p->axis[CONV_W])}};
    return depthwise_possible(&block, how);
}

static int64_t parts_possible(const conv_problem *p, int64_t parts)
{
    int64_t lines = conv_problem_sizes(p).dst / (p->mb * p->oc * row_walk_lines(p, false).outputs);
    return max64(1, min64(lines, parts));
}

/* All but the barriers and what a post-op's mask reads and writes, for conv_plan.work. */
static void state(const conv_problem *p, conv_pass pass, const depthwise_choices *how, int64_t units,
                  int threads, conv_work *work)
{
    depthwise_state(p, pass, how, VL, work);
    work->busiest = work_busiest(units, threads);
}

/* As wide images and few blocks need them; past the caches beyond the L2 of all threads. */
static void list_walks(const conv_problem *p, conv_pass pass, const conv_context *ctx, conv_candidates *list)
{
    const conv_sizes sizes = conv_problem_sizes(p);
    const bool beyond = 4 * (sizes.src + sizes.dst) > (int64_t)ctx->l2 * ctx->threads;
    int64_t blocks = p->mb * div_up(p->ic, VL);
    const int64_t parts[] = {1, 2, div_up(ANY_TEAM, blocks)};
    list->choices = blocked_walk_choices;
    for (int i = 0; i < 3; i++)
        for (int64_t stream = 0; stream <= beyond; stream++) {
            blocked_walk s = {parts_possible(p, parts[i]), stream};
            depthwise_choices how = block_choices(p, &s, &(blocked_sums){0});
            conv_work work = {0};
            s.stream = how.walk.stream;
            state(p, pass, &how, blocks * s.parts, ctx->threads, &work);
            strategy_add(list, &s, sizeof s, work_model_ns(&work, p, pass, ISA_ENUM, ctx));
        }
}

/* Bands first: a band of a block is one long piece of memory. */
static void list_sums(const conv_problem *p, const conv_context *ctx, conv_candidates *list)
{
    const conv_pass pass = CONV_BACKWARD_WEIGHTS;
    int64_t blocks = div_up(p->ic, VL);
    list->choices = blocked_sums_choices;
    for (int64_t rows = BAND_ROWS; rows > 0; rows -= 2)
        for (int64_t owned = 1; owned >= 0; owned--) {
            blocked_sums s = {rows, owned};
            depthwise_choices how = block_choices(p, &(blocked_walk){0}, &s);
            conv_work work = {0};
            s.rows = how.sums.rows;
            state(p, pass, &how, owned ? blocks : p->mb * blocks, ctx->threads, &work);
            work.barriers = !owned && ctx->threads > 1;
            double ns = work_model_ns(&work, p, pass, ISA_ENUM, ctx);
            strategy_add(list, &s, sizeof s, rows == BAND_ROWS ? ns : INFINITY);
        }
}

static void strategies(const conv_impl *self, const conv_problem *p, conv_pass pass, const conv_context *ctx,
                       conv_candidates *list)
{
    (void)self;
    if (pass == CONV_BACKWARD) return; /* made of the others */
    if (pass == CONV_BACKWARD_WEIGHTS)
        list_sums(p, ctx, list);
    else
        list_walks(p, pass, ctx, list);
}

/* What the plan goes by. */
static void choose(blocked_plan *b)
{
    const conv_problem *p = &b->head.problem;
    conv_pass pass = b->head.pass;
    conv_context ctx = b->head.context;
    blocked_walk walk = {.parts = 1};
    blocked_sums sums = {0};
    if (pass == CONV_BACKWARD) ctx.told = false; /* it has no strategy but its parts' */
    if (pass != CONV_BACKWARD_WEIGHTS) {
        conv_pass rows = pass == CONV_FORWARD ? pass : CONV_BACKWARD_DATA;
        memcpy(&walk, strategy_context(b->head.impl, p, rows, &ctx).strategy.value, sizeof walk);
    }
    if (conv_makes_weights(pass))
        memcpy(&sums, strategy_context(b->head.impl, p, CONV_BACKWARD_WEIGHTS, &ctx).strategy.value,
               sizeof sums);
    b->parts = conv_makes_weights(pass) ? 1 : parts_possible(p, walk.parts);
    b->owned = sums.owned != 0;
    b->how = block_choices(p, &walk, &sums);
}

/* ---- plan */

static const char *refuse(const conv_impl *self, const conv_problem *p, conv_pass pass)
{
    (void)self, (void)pass;
    return p->depth_multiplier != 1 ? "depth multiplier other than 1" : NULL;
}

static void destroy(conv_plan *plan)
{
    blocked_plan *b = (blocked_plan *)plan;
    if (b->full != NULL) depthwise_plan_free(b->full);
    if (b->rest != NULL) depthwise_plan_free(b->rest);
    free(b);
}

/* The plan of one block, by one thread. */
static conv_status plan_block(const blocked_plan *b, int64_t width, depthwise_plan **out, conv_error *err)
{
    conv_problem p = block_of(&b->head.problem, width);
    conv_context ctx = b->head.context;
    ctx.threads = 1;
    conv_status status = depthwise_plan_create(&p, b->head.pass, &ctx, &b->how, out, err);
    if (status == CONV_OK) (*out)->far = depthwise_far(&b->head.problem, &b->head.context);
    return status;
}

static bool has_src(const blocked_plan *b) { return b->head.pass == CONV_FORWARD || b->full->backward.weights; }
static bool masks(const blocked_plan *b)
{
    return b->head.pass != CONV_FORWARD && b->head.problem.post_op != CONV_POST_NONE;
}

static void lay_out_activations(blocked_plan *b)
{
    conv_sizes sizes = conv_problem_sizes(&b->head.problem);
    bool forward = b->head.pass == CONV_FORWARD;
    size_t floats = 0;
    b->src = conv_reserve(&floats, has_src(b) ? sizes.src : 0);
    b->dst = conv_reserve(&floats, forward || masks(b) ? sizes.dst : 0);
    b->diff_dst = conv_reserve(&floats, forward ? 0 : sizes.dst);
    b->diff_src = conv_reserve(&floats, b->full->backward.data ? sizes.src : 0);
    b->head.activation_bytes = floats * sizeof(float);
}

static void lay_out_scratch(blocked_plan *b)
{
    const conv_problem *p = &b->head.problem;
    size_t floats = 0;
    b->masked = conv_reserve(&floats, masks(b) ? conv_problem_sizes(p).dst : 0);
    b->partials = conv_reserve(&floats, b->full->backward.weights ? p->mb * conv_taps(p) * p->ic : 0);
    b->bias = conv_reserve(&floats, b->full->backward.bias ? p->mb * bias_chunks(b->out_pixels) * p->ic : 0);
    b->thread_floats = depthwise_job_floats(b->full);
    b->threads = conv_reserve(&floats, (int64_t)b->thread_floats * b->head.context.threads);
    b->head.scratch_bytes = floats * sizeof(float);
}

static void state_work(blocked_plan *b)
{
    const conv_problem *p = &b->head.problem;
    conv_work *w = &b->head.work;
    int64_t units = b->owned ? b->blocks : p->mb * b->blocks * b->parts;
    state(p, b->head.pass, &b->how, units, b->head.context.threads, w);
    if (masks(b)) work_write(w, 4.0 * (double)conv_problem_sizes(p).dst, CONV_EACH_CALL);
    work_finish(&b->head, 1, masks(b) + (b->full->backward.weights && !b->owned));
}

static conv_status plan(const conv_impl *self, const conv_problem *p, conv_pass pass, const conv_context *ctx,
                        conv_plan **out, conv_error *err)
{
    blocked_plan *b = conv_plan_new(sizeof *b, self, p, pass, ctx);
    if (b == NULL) return conv_fail(err, CONV_NO_MEMORY, "no memory for a plan");
    const conv_sizes sizes = conv_problem_sizes(p);
    b->blocks = div_up(p->ic, VL);
    choose(b);
    b->in_pixels = sizes.src / (p->mb * p->ic);
    b->out_pixels = sizes.dst / (p->mb * p->oc);
    conv_status status = plan_block(b, min64(VL, p->ic), &b->full, err);
    if (status == CONV_OK && b->blocks > 1 && p->ic % VL != 0)
        status = plan_block(b, p->ic % VL, &b->rest, err);
    if (status != CONV_OK) {
        destroy(&b->head);
        return status;
    }
    lay_out_activations(b);
    lay_out_scratch(b);
    if (pass != CONV_BACKWARD_WEIGHTS)
        b->head.packed_bytes = (size_t)conv_problem_sizes(p).weights * sizeof(float);
    state_work(b);
    snprintf(b->head.note, sizeof b->head.note, "nChw%dc, %lld parts a block", VL, (long long)b->parts);
    conv_note(b->head.note, row_walk_stencil3(p), "by twos");
    conv_note(b->head.note, b->full->backward.weights && b->how.sums.rows == BAND_ROWS, "bands");
    conv_note(b->head.note, b->owned, "blocks owned");
    conv_note(b->head.note, b->how.walk.stream, "streamed");
    *out = &b->head;
    return CONV_OK;
}

/* ---- pack, enter, leave */

static conv_status pack(const conv_plan *plan, const float *weights, const float *pointwise, void *packed)
{
    (void)pointwise;
    const blocked_plan *b = (const blocked_plan *)plan;
    int64_t taps = conv_taps(&plan->problem), channels = plan->problem.ic;
    float *to = packed;
    for (int64_t block = 0; block < b->blocks; block++)
        for (int64_t t = 0, width = width_of(b, block); t < taps; t++, to += width)
            memcpy(to, weights + t * channels + block * VL, (size_t)width * sizeof(float));
    return CONV_OK;
}

/* [MB][pixels][C] to blocks, or back. */
static void convert(const blocked_plan *b, bool back, const float *from, float *to, int64_t pixels)
{
    int64_t mb = b->head.problem.mb, channels = b->head.problem.ic;
#pragma omp parallel for collapse(2) schedule(static) num_threads(b->head.context.threads)
    for (int64_t block = 0; block < b->blocks; block++)
        for (int64_t image = 0; image < mb; image++) {
            int64_t width = width_of(b, block), blocked = offset_of(b, image, block, pixels);
            int64_t nhwc = image * pixels * channels + block * VL;
            if (back)
                copy_pixels(from + blocked, width, pixels, width, to + nhwc, channels);
            else
                copy_pixels(from + nhwc, channels, pixels, width, to + blocked, width);
        }
}

static conv_status enter(const conv_plan *plan, const conv_args *args)
{
    const blocked_plan *b = (const blocked_plan *)plan;
    float *to = args->activations;
    if (has_src(b)) convert(b, false, args->src, to + b->src, b->in_pixels);
    if (plan->pass != CONV_FORWARD) convert(b, false, args->diff_dst, to + b->diff_dst, b->out_pixels);
    if (masks(b)) convert(b, false, args->dst, to + b->dst, b->out_pixels);
    return CONV_OK;
}

static conv_status leave(const conv_plan *plan, const conv_args *args)
{
    const blocked_plan *b = (const blocked_plan *)plan;
    const float *from = args->activations;
    if (plan->pass == CONV_FORWARD) convert(b, true, from + b->dst, args->dst, b->out_pixels);
    if (b->full->backward.data && args->diff_src != NULL)
        convert(b, true, from + b->diff_src, args->diff_src, b->in_pixels);
    return CONV_OK;
}

/* ---- execute */

/* The sums that a block's units leave: [image][taps][width]. */
static float *partials_of(const blocked_plan *b, const conv_args *args, int64_t block, int64_t image)
{
    int64_t taps = conv_taps(&b->head.problem), mb = b->head.problem.mb;
    return (float *)args->scratch + b->partials + taps * (mb * block * VL + image * width_of(b, block));
}

/* And those of its bias: [image][chunk][width]. */
static float *bias_of(const blocked_plan *b, const conv_args *args, int64_t block, int64_t image)
{
    int64_t chunks = bias_chunks(b->out_pixels), mb = b->head.problem.mb;
    return (float *)args->scratch + b->bias + chunks * (mb * block * VL + image * width_of(b, block));
}

/* A part of a block of an image. */
typedef struct {
    int64_t image, block, part;
} unit;

/* diff_dst: blocked, masked where there is a post-op. */
static void run_unit(const blocked_plan *b, const conv_args *args, const float *diff_dst, unit u,
                     depthwise_job *job)
{
    int64_t image = u.image, block = u.block;
    const depthwise_plan *d = plan_of(b, block);
    int64_t in = offset_of(b, image, block, b->in_pixels), out = offset_of(b, image, block, b->out_pixels);
    float *all = args->activations;
    conv_args block_args = {.src = all + b->src + in,
                            .dst = all + b->dst + out,
                            .diff_dst = diff_dst + out,
                            .diff_src = all + b->diff_src + in};
    if (args->packed != NULL)
        block_args.weights = (const float *)args->packed + conv_taps(&b->head.problem) * block * VL;
    if (args->bias != NULL) block_args.bias = args->bias + block * VL;
    if (d->backward.weights) block_args.diff_weights = partials_of(b, args, block, image);
    depthwise_job_restart(job, d, &block_args);
    if (b->head.pass == CONV_FORWARD || (d->backward.data && args->diff_src != NULL))
        depthwise_run_rows(job, (int)u.part, (int)b->parts);
    if (d->backward.weights) depthwise_run_sums(job, 0, 1);
    if (d->backward.bias)
        bias_sums(block_args.diff_dst, b->out_pixels, width_of(b, block), bias_of(b, args, block, image), 0, 1);
}

/* to[taps][channels] (+)= from[taps][width]. */
static void deliver(const float *from, int64_t taps, int64_t width, bool accumulate, float *to,
                    int64_t channels)
{
    vec_mask lanes = vec_mask_first(width);
    for (int64_t t = 0; t < taps; t++, from += width, to += channels) {
        vec sum = vec_load_mask(from, lanes);
        if (accumulate) sum = vec_add(sum, vec_load_mask(to, lanes));
        vec_store_mask(to, lanes, sum);
    }
}

/* The gradients of blocks [first, last). */
static void join(const blocked_plan *b, const conv_args *args, int64_t first, int64_t last)
{
    const conv_problem *p = &b->head.problem;
    int64_t taps = conv_taps(p), chunks = p->mb * bias_chunks(b->out_pixels);
    for (int64_t block = first; block < last; block++) {
        int64_t width = width_of(b, block), size = taps * width;
        float *partials = partials_of(b, args, block, 0);
        reduce_chunks(&(chunk_sums){partials, p->mb, size, size}, false, partials, 0, 1);
        deliver(partials, taps, width, args->accumulate, args->diff_weights + block * VL, p->ic);
        chunk_sums bias = {bias_of(b, args, block, 0), chunks, width, width};
        if (b->full->backward.bias) reduce_chunks(&bias, args->accumulate, args->diff_bias + block * VL, 0, 1);
    }
}

static void run(const blocked_plan *b, const conv_args *args, int thread, int threads)
{
    const conv_problem *p = &b->head.problem;
    float *scratch = args->scratch, *own = scratch + b->threads + (size_t)thread * b->thread_floats;
    const float *all = args->activations, *diff_dst = all + b->diff_dst;
    if (masks(b)) {
        post_mask((post_output){all + b->dst, p->post_op}, diff_dst, conv_problem_sizes(p).dst,
                  scratch + b->masked, thread, threads);
        diff_dst = scratch + b->masked;
#pragma omp barrier
    }
    /* Image slowest, so that memory is walked in its order. */
    int64_t first, last, begin, end;
    share(b->blocks, thread, threads, &first, &last);
    int64_t from = b->owned ? first : 0, blocks = b->owned ? last - first : b->blocks;
    share(p->mb * blocks * b->parts, b->owned ? 0 : thread, b->owned ? 1 : threads, &begin, &end);
    depthwise_job job =
        depthwise_job_make(b->full, DEPTHWISE_ROWS, args, own); /* copies nothing: serves both */
    for (int64_t u = begin; u < end; u++) {
        int64_t i = u / b->parts;
        run_unit(b, args, diff_dst, (unit){i / blocks, from + i % blocks, u % b->parts}, &job);
    }
    if (!b->full->backward.weights) return;
    if (!b->owned) {
#pragma omp barrier
    }
    join(b, args, first, last);
}

static conv_status execute(const conv_plan *plan, const conv_args *args)
{
    const blocked_plan *b = (const blocked_plan *)plan;
#pragma omp parallel num_threads(plan->context.threads)
    run(b, args, omp_get_thread_num(), omp_get_num_threads());
    return CONV_OK;
}

static const conv_impl depthwise = {.name = "blocked-" ISA_STRING,
                                    .variant = CONV_DEPTHWISE,
                                    .summary =
                                        ISA_STRING " on activations blocked by channels, reorders timed apart",
                                    .isa = ISA_ENUM,
                                    .layouts = 1u << CONV_NHWC,
                                    .refuse = refuse,
                                    .plan = plan,
                                    .strategies = strategies,
                                    .pack = pack,
                                    .enter = enter,
                                    .execute = execute,
                                    .leave = leave,
                                    .destroy = destroy};

extern const conv_impl *const blocked_impls[CONV_VARIANT_COUNT];
const conv_impl *const blocked_impls[CONV_VARIANT_COUNT] = {[CONV_DEPTHWISE] = &depthwise};
