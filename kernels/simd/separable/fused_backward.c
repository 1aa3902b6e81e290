/* Separable convolution, joint backward, the intermediate's gradient and the intermediate itself never leaving
 * the cache. Blocks of channels, so that the depthwise stage needs no halo and no product is computed twice:
 *
 * for image:
 *   diff_dst masked by the post-op, if there is one
 *   for block of channels:                                        parallel (or images in chunks are)
 *     d_mid[pixels][block]  = diff_dst * pointwise^T              block is the GEMM's n
 *     diff_weights         += src (scatter) d_mid
 *     diff_src              = d_mid (gather) weights
 *     mid[pixels][block]    = depthwise of src, again: cheaper than fetching it from memory
 *     diff_pointwise       += mid^T * diff_dst                    block is the GEMM's m, pixels its k
 *
 * With several images each chunk of them (fixed by the problem) has gradients of its own, summed in a tree. */
#include "fused.h"

#include <omp.h>
#include <string.h>

#include "../../strategy.h"
#include "../../work.h"
#include "../reduce.h"

/* ---- plan */

conv_status fused_backward_plan(fused_plan *f, const conv_context *ctx, conv_error *err)
{
    const conv_problem *p = &f->head.problem;
    fused_backward_strategy how;
    memcpy(&how, ctx->strategy.value, sizeof how);
    f->backward_how = how = fused_backward_possible(p, how);
    f->panels = fused_panels_of(fused_channels(p), (int)fused_backward_vectors(p, &how));
    f->terms = fused_terms(p->oc, VL, f->panels.width / VL, ctx);
    f->diff = fused_panels_of(p->oc, gemm_panel_vectors(p->oc));
    f->diff_pixels = fused_backward_pixels(p, ctx);
    f->by_tile = (int)VL < CACHE_LINE && ring_wanted(2 * p->ic);
    bool by_chunk = fused_by_chunk(f);
    size_t threads = (size_t)f->head.context.threads;
    f->diff_floats = p->post_op != CONV_POST_NONE ? (size_t)round_up(f->pixels * p->oc, VL) : 0;
    int64_t wide = p->depth_multiplier > 1 ? p->axis[CONV_W].in : 0;
    fused_lay_out(f, conv_out(&p->axis[CONV_W]), how.channels,
                  max64(f->pixels, wide) * (how.channels + FUSED_ROW_GAP), 2);
    size_t floats = f->thread_floats * threads + f->diff_floats * (by_chunk ? threads : 1) +
                    (by_chunk ? (size_t)(how.images * fused_chunk_floats(p)) : 0);
    f->head.scratch_bytes = floats * sizeof(float);
    f->head.packed_bytes = (size_t)gemm_panels_floats(p->oc, fused_channels(p)) * sizeof(float);
    conv_note(f->head.note, true, "fused");
    strategy_note(f->head.note, fused_backward_choices, &how, sizeof how);
    conv_note(f->head.note, f->by_tile, "by tile");
    conv_note(f->head.note, true, by_chunk ? "threads by chunk" : "threads by channels");
    if (!row_walk_build(p, false, &f->forward) || !row_walk_build(p, true, &f->backward))
        return conv_fail(err, CONV_NO_MEMORY, "no memory for the tap lists");
    fused_backward_state(p, ctx, &how, &f->head.work);
    work_finish(&f->head, 1, by_chunk ? 1 : 2 * (int)p->mb);
    return CONV_OK;
}

/* ---- execute */

/* Where one chunk's gradients go, and whether they are added to what is there. */
typedef struct {
    float *pointwise, *weights, *bias;
    bool accumulate;
} gradients;

typedef struct {
    const fused_plan *f;
    const conv_args *args;
    int64_t image;
    float *masked;      /* with a post-op: room for an image's gradient */
    const float *diff;  /* the image's gradient [pixels][OC] */
    float *d_mid, *mid; /* this thread's, [pixels][block + gap] */
    row_ring *src;
    gradients out;
} context;

/* The image's gradient, of which this thread masks its share. */
static void take_diff(context *x, int thread, int threads)
{
    const conv_problem *p = &x->f->head.problem;
    int64_t floats = x->f->pixels * p->oc, at = x->image * floats;
    x->diff = x->args->diff_dst + at;
    if (p->post_op == CONV_POST_NONE) return;
    post_mask((post_output){x->args->dst + at, p->post_op}, x->diff, floats, x->masked, thread, threads);
    x->diff = x->masked;
}

/* Bias gradient of panel j: pixels in order. */
static void sum_bias(const context *x, int64_t j)
{
    int64_t n = fused_panel_columns(&x->f->diff, j), oc = x->f->diff.columns;
    for (int64_t v = 0; v < n; v += VL) {
        vec_mask tail = vec_mask_first(min64(VL, n - v));
        int64_t column = j * x->f->diff.width + v;
        float *out = x->out.bias + column;
        vec sum = vec_zero();
        for (int64_t i = 0; i < x->f->pixels; i++)
            sum = vec_add(sum, vec_load_mask(x->diff + i * oc + column, tail));
        vec_store_mask(out, tail, x->out.accumulate ? vec_add(sum, vec_load_mask(out, tail)) : sum);
    }
}

typedef struct {
    int64_t begin, count; /* channels of the intermediate */
} channel_block;

static int64_t block_count(const fused_plan *f)
{
    return div_up(fused_channels(&f->head.problem), f->backward_how.channels);
}

static channel_block nth_block(const fused_plan *f, int64_t i)
{
    int64_t begin = i * f->backward_how.channels;
    return (channel_block){begin, min64(f->backward_how.channels, fused_channels(&f->head.problem) - begin)};
}

static int64_t mid_pixel(const fused_plan *f) { return f->backward_how.channels + FUSED_ROW_GAP; }

/* d_mid[pixels][block] = diff_dst * pointwise^T. */
static void multiply_data(const context *x, channel_block block)
{
    const fused_plan *f = x->f;
    int64_t oc = f->diff.columns, k = f->terms;
    for (int64_t k0 = 0; k0 < oc; k0 += k)
        for (int64_t c = block.begin; c < block.begin + block.count; c += f->panels.width) {
            int64_t n = fused_panel_columns(&f->panels, c / f->panels.width);
            int nv = (int)div_up(n, VL);
            gemm_rows_args g = {.rows = x->diff + k0,
                                .row_stride = oc,
                                .panel = (const float *)x->args->packed + c * oc + k0 * nv * VL,
                                .taps = 1,
                                .k = min64(k, oc - k0),
                                .dst = x->d_mid + c - block.begin,
                                .dst_stride = mid_pixel(f),
                                .n = n,
                                .accumulate = k0 > 0};
            gemm_rows_even(g, f->pixels, nv, gemm_tile_rows(nv), gemm_rows);
        }
}

/* diff_pointwise[block][OC] += mid^T[block][pixels] * diff_dst[pixels][OC]. */
static void multiply_weights(const context *x, channel_block block)
{
    const fused_plan *f = x->f;
    int64_t oc = f->diff.columns, pixels = f->diff_pixels;
    for (int64_t p0 = 0; p0 < f->pixels; p0 += pixels)
        for (int64_t j = 0; j < f->diff.count; j++) {
            gemm_run run = {p0, p0, min64(pixels, f->pixels - p0)};
            gemm_columns_args g = {.runs = &run,
                                   .run_count = 1,
                                   .a_pixel = mid_pixel(f),
                                   .a_step = mid_pixel(f),
                                   .b = x->diff + j * f->diff.width,
                                   .b_pixel = oc,
                                   .ldc = oc,
                                   .n = fused_panel_columns(&f->diff, j),
                                   .accumulate = p0 > 0 || x->out.accumulate};
            int nv = (int)div_up(g.n, VL);
            int64_t tiles = div_up(block.count, gemm_tile_rows(nv));
            for (int64_t i = 0; i < tiles; i++) {
                int64_t begin, end;
                share(block.count, i, tiles, &begin, &end);
                g.a = x->mid + begin;
                g.dst = x->out.pointwise + (block.begin + begin) * oc + j * f->diff.width;
                gemm_columns((int)(end - begin), nv)(&g);
            }
        }
}

/* Where the block of the image is in src and diff_src. */
static int64_t block_of_src(const context *x, channel_block block)
{
    const conv_problem *p = &x->f->head.problem;
    return x->image * x->f->in_rows * p->axis[CONV_W].in * p->ic + block.begin / p->depth_multiplier;
}

static void depthwise_gradients(const context *x, channel_block block)
{
    const conv_problem *p = &x->f->head.problem;
    int64_t taps = conv_taps(p), channels = fused_channels(p);
    float *sums = x->out.weights + block.begin;
    for (int64_t t = 0; t < taps && !x->out.accumulate; t++)
        memset(sums + t * channels, 0, (size_t)block.count * sizeof *sums);
    row_ring d_mid = rows_in_place(x->d_mid, conv_out(&p->axis[CONV_W]), mid_pixel(x->f));
    row_gradient gradient = {.walk = &x->f->forward,
                             .src = x->src,
                             .diff_dst = &d_mid,
                             .sums = sums,
                             .w_tap = channels,
                             .channels = block.count,
                             .by_tile = x->f->by_tile};
    for (int64_t y = 0, rows, end = x->f->rows; y < end; y += rows) {
        rows = x->f->forward.stencil3 && y + 1 < end ? 2 : 1;
        rows_gradient(&gradient, y, rows);
    }
    if (x->args->diff_src == NULL) return;
    row_convolution data = {.walk = &x->f->backward,
                            .in = &d_mid,
                            .weights = x->args->weights + block.begin,
                            .w_tap = channels,
                            .out = x->args->diff_src + block_of_src(x, block),
                            .out_pixel = p->ic,
                            .channels = block.count};
    rows_convolve_folded(&data, p->depth_multiplier, x->mid, 0, x->f->in_rows);
}

static void recompute_mid(const context *x, channel_block block)
{
    row_convolution forward = {.walk = &x->f->forward,
                               .in = x->src,
                               .weights = x->args->weights + block.begin,
                               .w_tap = fused_channels(&x->f->head.problem),
                               .out = x->mid,
                               .out_pixel = mid_pixel(x->f),
                               .channels = block.count};
    rows_convolve(&forward, 0, x->f->rows);
}

static void backward_block(const context *x, int64_t i)
{
    channel_block block = nth_block(x->f, i);
    axis_interval in = axis_reach(&x->f->forward.w, false, 0, x->f->forward.out_width);
    ring_turn(x->src, x->args->src + block_of_src(x, block), block.count, in.begin, in.end);
    multiply_data(x, block);
    depthwise_gradients(x, block);
    recompute_mid(x, block);
    multiply_weights(x, block);
}

/* Where chunk g's gradients lie: the caller's tensors when there is one chunk only. */
static gradients chunk_gradients(const fused_plan *f, const conv_args *args, float *chunks, int64_t g)
{
    const conv_problem *p = &f->head.problem;
    if (!fused_by_chunk(f))
        return (gradients){args->diff_pointwise, args->diff_weights, args->diff_bias, args->accumulate};
    float *pointwise = chunks + g * fused_chunk_floats(p);
    float *weights = pointwise + round_up(fused_channels(p) * p->oc, VL);
    return (gradients){pointwise, weights, weights + round_up(conv_taps(p) * fused_channels(p), VL), false};
}

/* All of one chunk's images by one thread. */
static void backward_chunk(context *x, int64_t g)
{
    const fused_plan *f = x->f;
    int64_t begin, end;
    share(f->head.problem.mb, g, f->backward_how.images, &begin, &end);
    for (x->image = begin; x->image < end; x->image++) {
        x->out.accumulate = x->image > begin;
        take_diff(x, 0, 1);
        for (int64_t j = 0; j < f->diff.count && f->head.problem.bias; j++) sum_bias(x, j);
        for (int64_t i = 0; i < block_count(f); i++) backward_block(x, i);
    }
}

/* Every image in turn by all threads: panels, then channel blocks. Called by each thread of the team. */
static void backward_images(context *x)
{
    const fused_plan *f = x->f;
    const conv_problem *p = &f->head.problem;
    int thread = omp_get_thread_num(), threads = omp_get_num_threads();
    int64_t begin, end;
    for (x->image = 0; x->image < p->mb; x->image++) {
        x->out.accumulate = x->image > 0 || x->args->accumulate;
        take_diff(x, thread, threads);
#pragma omp barrier
        share(f->diff.count, thread, threads, &begin, &end);
        for (int64_t j = begin; j < end && p->bias; j++) sum_bias(x, j);
        share(block_count(f), thread, threads, &begin, &end);
        for (int64_t i = begin; i < end; i++) backward_block(x, i);
#pragma omp barrier
    }
}

/* The sum of the chunks' gradients, a thread's share of its elements. */
static void sum_chunks(const fused_plan *f, const conv_args *args, float *chunks)
{
    const conv_problem *p = &f->head.problem;
    gradients first = chunk_gradients(f, args, chunks, 0);
    int64_t taps = conv_taps(p), channels = fused_channels(p);
    int64_t count = f->backward_how.images, floats = fused_chunk_floats(p);
    const chunk_sums sums[] = {{first.pointwise, count, floats, channels * p->oc},
                               {first.weights, count, floats, taps * channels},
                               {first.bias, count, floats, p->bias ? p->oc : 0}};
    float *const out[] = {args->diff_pointwise, args->diff_weights, args->diff_bias};
    for (size_t i = 0; i < sizeof sums / sizeof *sums; i++)
        reduce_chunks(&sums[i], args->accumulate, out[i], omp_get_thread_num(), omp_get_num_threads());
}

conv_status fused_backward(const fused_plan *f, const conv_args *args)
{
    size_t threads = (size_t)f->head.context.threads;
    float *buffers = args->scratch, *diffs = buffers + f->thread_floats * threads;
    float *chunks = diffs + f->diff_floats * (fused_by_chunk(f) ? threads : 1);
#pragma omp parallel num_threads(f->head.context.threads)
    {
        size_t thread = (size_t)omp_get_thread_num();
        context x = {.f = f, .args = args, .masked = diffs + (fused_by_chunk(f) ? thread * f->diff_floats : 0)};
        x.d_mid = buffers + thread * f->thread_floats;
        x.mid = x.d_mid + f->mid_floats;
        row_ring src = fused_source(f, x.d_mid);
        x.src = &src;
        if (fused_by_chunk(f)) {
#pragma omp for schedule(static)
            for (int64_t g = 0; g < f->backward_how.images; g++) {
                x.out = chunk_gradients(f, args, chunks, g);
                backward_chunk(&x, g);
            }
            sum_chunks(f, args, chunks);
        } else {
            x.out = chunk_gradients(f, args, chunks, 0);
            backward_images(&x);
        }
    }
    return CONV_OK;
}
