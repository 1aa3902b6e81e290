/* Separable convolution, forward, without the intermediate ever leaving the cache.
 *
 * for tile of output rows, part of the output channels:          parallel
 *   for block of channels (the GEMM's k):
 *     depthwise of those rows and channels -> buffer in L2
 *     for panel of pointwise, for a tile of pixels: micro-kernel, dst += buffer * panel
 *
 * The depthwise stage is the GEMM's k, so tiles overlap in nothing but the source rows they read. Where rows
 * are few and weights large (7x7, 2048 channels) threads take parts of the panels instead and repeat the
 * depthwise, a hundredth of the work. fip/ has the same loops with a product of pairs. The sum over k of one
 * output has one order whatever the tiles, hence the same bits. With a multiplier the rows of src are copied,
 * each channel repeated (depthwise/copied_rows.h). Refuses kernels of more than 64 rows. */
#include "fused.h"

#include <omp.h>
#include <string.h>

#include "../../strategy.h"
#include "../../work.h"
#include "../simd.h"

/* ---- plan */

static conv_status fused_forward_plan(fused_plan *f, const conv_context *ctx, conv_error *err)
{
    const conv_problem *p = &f->head.problem;
    size_t threads = (size_t)f->head.context.threads;
    fused_forward_strategy how;
    memcpy(&how, ctx->strategy.value, sizeof how);
    f->forward_how = how = fused_forward_possible(p, f->way, ctx, how);
    f->panels = fused_panels_of(p->oc, f->way->panel_vectors(p->oc));
    f->terms = fused_forward_terms(p, f->panels.width / VL, ctx);
    f->panel_rows = gemm_panel_rows(f->way, fused_channels(p), f->terms);
    f->ahead = (size_t)conv_bytes_min(p, CONV_FORWARD) > ctx->l2 * threads;
    f->head.packed_bytes = (size_t)gemm_panels_floats(f->panel_rows, p->oc) * sizeof(float);
    f->lines = row_walk_lines(p, false);
    f->row_tiles = div_up(f->rows * f->lines.per_row, how.rows);
    int64_t outputs = how.rows * f->lines.outputs;
    fused_lay_out(f, min64(outputs, conv_out(&p->axis[CONV_W])), f->terms, outputs * (f->terms + FUSED_ROW_GAP),
                  1);
    f->head.scratch_bytes = f->thread_floats * sizeof(float) * threads;
    conv_note(f->head.note, true, "fused");
    strategy_note(f->head.note, fused_forward_choices, &how, sizeof how);
    conv_note(f->head.note, f->ahead, "prefetched");
    if (!row_walk_build(p, false, &f->forward))
        return conv_fail(err, CONV_NO_MEMORY, "no memory for the tap lists");
    fused_forward_state(p, f->way, ctx, &how, &f->head.work);
    work_finish(&f->head, 1, 0);
    return CONV_OK;
}

/* ---- execute */

typedef struct {
    int64_t image, row_begin, row_end, panel_begin, panel_end; /* rows: lines */
    int64_t first, pixels;                                     /* of the image */
    int64_t k0, k;                                             /* the present block of channels */
    float *mid;                                                /* [pixels][terms + gap]: its intermediate */
    row_ring *src;
} forward_task;

static int64_t mid_pixel(const fused_plan *f) { return f->terms + FUSED_ROW_GAP; }

static forward_task nth_task(const fused_plan *f, int64_t i)
{
    forward_task t = {0};
    int64_t tile = i / f->forward_how.parts % f->row_tiles;
    t.image = i / f->forward_how.parts / f->row_tiles;
    share(f->rows * f->lines.per_row, tile, f->row_tiles, &t.row_begin, &t.row_end);
    t.first = t.row_begin * f->lines.outputs;
    t.pixels = min64(f->pixels, t.row_end * f->lines.outputs) - t.first;
    share(f->panels.count, i % f->forward_how.parts, f->forward_how.parts, &t.panel_begin, &t.panel_end);
    return t;
}

/* The first source row that the depthwise of the task after t is the first to read; any row if there is none.
 */
static const float *rows_ahead(const fused_plan *f, const conv_args *args, const forward_task *t)
{
    const conv_axis *d = &f->head.problem.axis[CONV_D], *h = &f->head.problem.axis[CONV_H];
    int64_t end = t->row_end / f->lines.per_row, plane = end / f->forward.out_height,
            y = end % f->forward.out_height;
    int64_t row = y * h->stride - h->pad_before + conv_effective_kernel(h) - h->stride;
    if (d->kernel > 1)
        row += (plane * d->stride - d->pad_before + conv_effective_kernel(d) - d->stride) * h->in;
    return args->src + (t->image * f->in_rows + max64(0, row)) * f->forward.in_width * f->head.problem.ic;
}

/* dst[pixels][OC] (+)= mid[pixels][k] * panels, rows [k0, k0 + k) of pointwise. */
static void multiply(const fused_plan *f, const conv_args *args, const forward_task *t)
{
    const conv_problem *p = &f->head.problem;
    int64_t pixels = t->pixels;
    float *dst = args->dst + (t->image * f->pixels + t->first) * p->oc;
    int64_t row = gemm_panel_rows(f->way, t->k0, f->terms);
    for (int64_t j = t->panel_begin; j < t->panel_end; j++) {
        int64_t n = fused_panel_columns(&f->panels, j), column = j * f->panels.width;
        int nv = (int)div_up(n, VL);
        gemm_rows_args g = {.rows = t->mid,
                            .row_stride = mid_pixel(f),
                            .panel = (const float *)args->packed + column * f->panel_rows + row * nv * VL,
                            .taps = 1,
                            .k = t->k,
                            .dst = dst + column,
                            .dst_stride = p->oc,
                            .n = n,
                            .accumulate = t->k0 > 0,
                            .bias = p->bias ? args->bias + column : NULL,
                            .clip = t->k0 + t->k == fused_channels(p) ? conv_clip(p->post_op) : 0,
                            .stream = f->forward_how.stream};
        if (f->ahead && j == t->panel_begin && p->depth_multiplier == 1)
            g.ahead = rows_ahead(f, args, t) + t->k0, g.ahead_stride = p->ic, g.ahead_rows = pixels;
        else if (f->ahead && j + 1 < t->panel_end)
            g.ahead = g.panel + f->panels.width * f->panel_rows, g.ahead_stride = t->k,
            g.ahead_rows = f->panels.width;
        gemm_rows_even(g, pixels, nv, f->way->tile_rows(nv), f->way->rows);
    }
}

/* The intermediate of the task's rows and channels [k0, k0 + k) into mid; prepared, where the product wants
 * that, while the rows just made are in L1. */
static void fill(const fused_plan *f, const conv_args *args, const forward_task *t)
{
    const conv_problem *p = &f->head.problem;
    int64_t image = f->in_rows * f->forward.in_width * p->ic;
    int64_t rows = f->way->prepared ? 2 : t->row_end - t->row_begin, outputs = f->lines.outputs;
    int64_t x0 = f->lines.per_row > 1 ? t->first : 0, x1 = f->lines.per_row > 1 ? x0 + t->pixels : outputs;
    axis_interval in = axis_reach(&f->forward.w, false, x0, x1);
    row_convolution depthwise = {.walk = &f->forward,
                                 .in = t->src,
                                 .weights = args->weights + t->k0,
                                 .w_tap = fused_channels(p),
                                 .out_pixel = mid_pixel(f),
                                 .channels = t->k};
    ring_turn(t->src, args->src + t->image * image + t->k0 / p->depth_multiplier, t->k, in.begin, in.end);
    for (int64_t y = t->row_begin, end; y < t->row_end; y = end) {
        end = min64(y + rows, t->row_end);
        int64_t first = y * outputs, last = min64(f->pixels, end * outputs);
        float *pixel = t->mid + (first - t->first) * mid_pixel(f);
        depthwise.out = pixel;
        if (f->lines.per_row > 1) {
            depthwise.out -= first * mid_pixel(f);
            depthwise.x0 = first;
            depthwise.x1 = last;
            rows_convolve(&depthwise, 0, 1);
        } else {
            rows_convolve(&depthwise, y, end);
        }
        for (int64_t i = first; i < last && f->way->prepared; i++, pixel += mid_pixel(f))
            f->way->prepare(pixel, pixel, t->k);
    }
}

static conv_status fused_forward(const fused_plan *f, const conv_args *args)
{
    int64_t tasks = f->head.problem.mb * f->row_tiles * f->forward_how.parts,
            channels = fused_channels(&f->head.problem);
#pragma omp parallel num_threads(f->head.context.threads)
    {
        float *mid = (float *)args->scratch + f->thread_floats * (size_t)omp_get_thread_num();
        row_ring src = fused_source(f, mid);
        int64_t begin, end;
        share(tasks, omp_get_thread_num(), omp_get_num_threads(), &begin, &end);
        for (int64_t i = begin; i < end; i++) {
            forward_task t = nth_task(f, i);
            t.mid = mid;
            t.src = &src;
            for (; t.k0 < channels; t.k0 += f->terms) {
                t.k = min64(f->terms, channels - t.k0);
                fill(f, args, &t);
                multiply(f, args, &t);
            }
        }
        if (f->forward_how.stream) vec_stream_end();
    }
    return CONV_OK;
}

/* ---- the implementation's table */

static void destroy(conv_plan *plan)
{
    fused_plan *f = (fused_plan *)plan;
    row_walk_free(&f->forward);
    row_walk_free(&f->backward);
    free(f);
}

static const char *refuse(const conv_impl *self, const conv_problem *p, conv_pass pass)
{
    (void)self, (void)pass;
    if (conv_taps(p) > WALK_ROWS * p->axis[CONV_W].kernel) return "kernel of more than 64 rows";
    return NULL;
}

static conv_status plan(const conv_impl *self, const conv_problem *p, conv_pass pass, const conv_context *ctx,
                        conv_plan **out, conv_error *err)
{
    fused_plan *f = conv_plan_new(sizeof *f, self, p, pass, ctx);
    if (f == NULL) return conv_fail(err, CONV_NO_MEMORY, "no memory for a plan");
    f->way = ((const simd_impl *)self)->way;
    f->rows = fused_rows(p);
    f->in_rows = p->axis[CONV_D].in * p->axis[CONV_H].in;
    f->pixels = f->rows * conv_out(&p->axis[CONV_W]);
    conv_context own = strategy_context(self, p, pass, ctx);
    conv_status status = (pass == CONV_FORWARD ? fused_forward_plan : fused_backward_plan)(f, &own, err);
    if (status != CONV_OK) {
        destroy(&f->head);
        return status;
    }
    *out = &f->head;
    return CONV_OK;
}

static conv_status pack(const conv_plan *plan, const float *weights, const float *pointwise, void *packed)
{
    (void)weights;
    const fused_plan *f = (const fused_plan *)plan;
    const conv_problem *p = &plan->problem;
    bool forward = plan->pass == CONV_FORWARD;
    int64_t channels = fused_channels(p);
    gemm_pack_args args = {.b = pointwise,
                           .row_stride = forward ? p->oc : 1,
                           .column_stride = forward ? 1 : p->oc,
                           .rows = forward ? channels : p->oc,
                           .k = forward ? channels : p->oc,
                           .n = forward ? p->oc : channels,
                           .k_block = f->terms,
                           .nv = (int)(f->panels.width / VL),
                           .panels = packed};
#pragma omp parallel for schedule(static) num_threads(plan->context.threads)
    for (int64_t j = 0; j < f->panels.count; j++) f->way->pack(&args, j, j + 1);
    return CONV_OK;
}

static conv_status execute(const conv_plan *plan, const conv_args *args)
{
    const fused_plan *f = (const fused_plan *)plan;
    return plan->pass == CONV_FORWARD ? fused_forward(f, args) : fused_backward(f, args);
}

const simd_impl simd_separable_fused = {
    .impl = {.name = "fused-" ISA_STRING,
             .variant = CONV_SEPARABLE,
             .summary = "depthwise and pointwise in one pass, the intermediate in cache",
             .isa = ISA_ENUM,
             .layouts = 1u << CONV_NHWC,
             .refuse = refuse,
             .plan = plan,
             .strategies = fused_strategies,
             .pack = pack,
             .execute = execute,
             .destroy = destroy},
    .way = &gemm_plain};

extern const conv_impl *const fused_impls[CONV_VARIANT_COUNT];
const conv_impl *const fused_impls[CONV_VARIANT_COUNT] = {[CONV_SEPARABLE] = &simd_separable_fused.impl};
