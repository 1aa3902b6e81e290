/* What a good C programmer gets from the compiler: plain loops over arrays, cut so that each level's operands
 * stay in its cache, with `omp simd` on the innermost and OpenMP on the outermost. No intrinsics, no vector
 * types.
 *
 *   gather.c    forward and backward_data, dense and depthwise    tile.h    the loops over a register tile
 *   weights.c   backward_weights
 *
 * NHWC. Weights are packed. Refuses nothing. */
#include <stdio.h>

#include "../compose.h"
#include "../isa.h"
#include "../plan.h"
#include "../work.h"
#include "gather.h"
#include "tile.h"
#include "weights.h"

typedef struct {
    conv_plan head;
    gather_shape gather;
    weights_shape weights;
    size_t gradient_bytes; /* backward_data: a copy of diff_dst, masked or with its multiples apart */
} tiled_plan;

/* to[pixels][M][C] from diff_dst[pixels][C][M], masked by the post-op; M is 1 but for depthwise. */
static void copy_gradient(const conv_problem *p, const conv_args *args, float *to, int threads)
{
    int64_t m_all = p->depth_multiplier, c_all = p->oc / m_all, pixels = conv_problem_sizes(p).dst / p->oc;
#pragma omp parallel for schedule(static) num_threads(threads)
    for (int64_t i = 0; i < pixels; i++)
        for (int64_t m = 0; m < m_all; m++)
            for (int64_t c = 0; c < c_all; c++) {
                int64_t y = i * p->oc + c * m_all + m;
                to[i * p->oc + m * c_all + c] =
                    p->post_op == CONV_POST_NONE || conv_passes(p->post_op, args->dst[y]) ? args->diff_dst[y]
                                                                                          : 0;
            }
}

static void forward(const tiled_plan *t, const conv_args *args)
{
    const conv_problem *p = &t->head.problem;
    gather_tensors tensors = {.in = args->src,
                              .packed = args->packed,
                              .bias = p->bias ? args->bias : NULL,
                              .clip = conv_clip(p->post_op),
                              .out = args->dst,
                              .scratch = args->scratch};
    gather_run(&t->gather, &tensors, t->head.context.threads);
}

static void backward_data(const tiled_plan *t, const conv_args *args)
{
    bool copied = t->gradient_bytes > 0;
    if (copied) copy_gradient(&t->head.problem, args, args->scratch, t->head.context.threads);
    gather_tensors tensors = {.in = copied ? args->scratch : args->diff_dst,
                              .packed = args->packed,
                              .out = args->diff_src,
                              .scratch = (char *)args->scratch + t->gradient_bytes};
    gather_run(&t->gather, &tensors, t->head.context.threads);
}

static conv_status execute(const conv_plan *plan, const conv_args *args)
{
    const tiled_plan *t = (const tiled_plan *)plan;
    if (plan->pass == CONV_FORWARD) forward(t, args);
    if (conv_data_wanted(plan, args)) backward_data(t, args);
    if (conv_makes_weights(plan->pass))
        weights_run(&t->weights, &plan->problem, args, args->scratch, plan->context.threads);
    return CONV_OK;
}

/* One product of the problem: a register tile's vectors and its rows' elements are loaded for ROWS x LANES
 * sums; in depthwise, whose taps and outputs a vector of both. */
static void state_product(const conv_problem *p, int64_t columns, conv_work *w)
{
    enum { VL = LANES / 2 };
    bool depthwise = p->variant == CONV_DEPTHWISE;
    double fill = (double)round_up(columns, depthwise ? VL : LANES) / (double)columns;
    double macs = fill * (double)conv_flops(p, CONV_FORWARD) / 2;
    w->macs += macs;
    w->loads += macs / VL * ((depthwise ? 1 : 0) + 1.0 / ROWS);
    w->broadcasts += depthwise ? 0 : macs / LANES;
}

static void state_work(tiled_plan *t)
{
    const conv_problem *p = &t->head.problem;
    conv_work *w = &t->head.work;
    conv_pass pass = t->head.pass;
    conv_sizes s = conv_problem_sizes(p);
    double src = 4.0 * (double)s.src, dst = 4.0 * (double)s.dst;
    bool data = pass == CONV_BACKWARD || pass == CONV_BACKWARD_DATA,
         weights = pass == CONV_BACKWARD || pass == CONV_BACKWARD_WEIGHTS;
    bool depthwise = p->variant == CONV_DEPTHWISE;
    int64_t inputs = depthwise ? p->ic : p->ic / p->groups, outputs = depthwise ? p->ic : p->oc / p->groups;
    if (!weights || data) {
        const gather_shape *g = &t->gather;
        double passes = depthwise ? 1 : (double)div_up(g->in, g->depth);
        double block = 4.0 * (double)(g->taps * g->depth * LANES),
               band = 4.0 * (double)(g->band * g->stretch * g->in);
        state_product(p, data ? inputs : outputs, w);
        w->stores += passes * (data ? src : dst) / 4 / (LANES / 2);
        work_read(w, data ? dst : src, CONV_EACH_CALL);
        if (!depthwise) work_read(w, (data ? dst : src) * (double)(g->blocks - 1), block + band);
        work_write(w, data ? src : dst, CONV_EACH_CALL);
        work_read(w, (double)t->head.packed_bytes, CONV_EACH_CALL);
        if (t->gradient_bytes > 0) { /* a copy, masked by dst where there is a post-op */
            work_read(w, p->post_op != CONV_POST_NONE ? 2 * dst : dst, CONV_EACH_CALL);
            work_write(w, dst, CONV_EACH_CALL);
        }
    }
    if (weights) {
        state_product(p, outputs, w);
        work_read(w, src, CONV_EACH_CALL);
        work_read(w, dst, CONV_EACH_CALL);
        work_write(w, dst, CONV_EACH_CALL); /* laid out in blocks */
        work_write(w, 4.0 * (double)s.weights, CONV_EACH_CALL);
    }
    work_finish(&t->head, (data || !weights) + weights, weights ? 1 : 0);
}

static conv_status plan(const conv_impl *self, const conv_problem *p, conv_pass pass, const conv_context *ctx,
                        conv_plan **out, conv_error *err)
{
    tiled_plan *t = conv_plan_new(sizeof *t, self, p, pass, ctx);
    if (t == NULL) return conv_fail(err, CONV_NO_MEMORY, "no memory for a plan");
    if (pass != CONV_BACKWARD_WEIGHTS) {
        t->gather = gather_plan(p, pass == CONV_FORWARD ? CONV_FORWARD : CONV_BACKWARD_DATA, ctx);
        t->head.packed_bytes = (size_t)t->gather.groups * t->gather.packed_group * sizeof(float);
        bool copied = pass != CONV_FORWARD && (p->post_op != CONV_POST_NONE || p->depth_multiplier > 1);
        if (copied) t->gradient_bytes = conv_align((size_t)conv_problem_sizes(p).dst * sizeof(float));
        t->head.scratch_bytes = t->gradient_bytes + t->gather.scratch_bytes;
        snprintf(t->head.note, sizeof t->head.note, "%lld rows x %lld columns, %lld channels a tile",
                 (long long)t->gather.band, (long long)t->gather.stretch, (long long)t->gather.depth);
    }
    if (conv_makes_weights(pass)) {
        t->weights = weights_plan(p, ctx);
        if (t->weights.scratch_bytes > t->head.scratch_bytes) t->head.scratch_bytes = t->weights.scratch_bytes;
    }
    state_work(t);
    *out = &t->head;
    return CONV_OK;
}

static conv_status pack(const conv_plan *plan, const float *weights, const float *pointwise, void *packed)
{
    (void)pointwise;
    gather_pack(&((const tiled_plan *)plan)->gather, &plan->problem, weights, packed, plan->context.threads);
    return CONV_OK;
}

#define COMMON .name = "tiled", .isa = ISA_ENUM, .layouts = 1u << CONV_NHWC
#define LOOPS(which)                                                                                           \
    {                                                                                                          \
        COMMON, .variant = (which), .summary = "plain C in cache tiles, vectorised by the compiler",           \
                .plan = plan, .pack = pack, .execute = execute, .by_pixel = (which) == CONV_POINTWISE,         \
                .by_input = (which) == CONV_POINTWISE                                                          \
    }

static const conv_impl dense = LOOPS(CONV_DENSE), depthwise = LOOPS(CONV_DEPTHWISE),
                       pointwise = LOOPS(CONV_POINTWISE);
static const conv_impl separable = {COMPOSE(&depthwise, &pointwise), COMMON,
                                    .summary = "tiled depthwise, then tiled pointwise"};

extern const conv_impl *const tiled_impls[CONV_VARIANT_COUNT];
const conv_impl *const tiled_impls[CONV_VARIANT_COUNT] = {&dense, &depthwise, &pointwise, &separable};
