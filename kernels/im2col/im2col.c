/* Dense and pointwise convolution as a product with the lowered matrix (lower.h), which sgemm.c asks for block
 * by block and never has whole: scratch is a few slices that fit L2, whatever the batch.
 *
 *   forward    dst = lowered * weights
 *   data       d_lowered = diff_dst * weights^T, added back
 *   weights    diff_weights = lowered^T * diff_dst
 *
 * Parallel inside each product; where diff_weights is too small for that, over fixed chunks of pixels whose
 * partial sums a tree adds. A 1x1 convolution of stride 1 needs no lowering: the matrix is src itself. Refuses
 * nothing. */
#include <omp.h>
#include <stdio.h>
#include <string.h>

#include "../compose.h"
#include "../isa.h"
#include "../plan.h"
#include "../strategy.h"
#include "../util.h"
#include "../work.h"
#include "depthwise.h"
#include "join_chunks.h"
#include "lower.h"
#include "sgemm.h"

typedef struct {
    conv_plan head;
    bool direct;                         /* the lowered matrix is src */
    int64_t pixels;                      /* of the whole batch's output */
    int64_t columns, oc;                 /* of the lowered matrix, of weights: per group */
    int64_t block_pixels, block_columns; /* of d_lowered, per product */
    int64_t chunks, chunk;               /* backward_weights: how many, and pixels of each */
    sgemm_blocking forward, data, weights;
    size_t packed_group; /* packed floats per group */
} im2col_plan;

/* ---- the passes */

/* One group: its operands. */
typedef struct {
    lowering lowered;
    sgemm_matrix src, diff_dst; /* [pixels][channels] */
    int64_t group;
} part;

/* A pass leaves the tensors it does not use NULL. */
static const float *offset(const float *tensor, int64_t elements)
{
    return tensor == NULL ? NULL : tensor + elements;
}

static part part_of(const im2col_plan *m, const conv_args *args, int64_t group)
{
    const conv_problem *p = &m->head.problem;
    part t = {.lowered = lower_describe(p, group), .group = group};
    t.lowered.src = args->src;
    int64_t dst = group * m->oc;
    bool mask = p->post_op != CONV_POST_NONE;
    t.src = (sgemm_matrix){offset(args->src, t.lowered.first), NULL, p->ic, 0};
    t.diff_dst = (sgemm_matrix){offset(args->diff_dst, dst), mask ? offset(args->dst, dst) : NULL, p->oc,
                                conv_passing(p->post_op)};
    return t;
}

/* The lowered matrix, or src where they are the same. */
static sgemm_operand lowered_operand(const im2col_plan *m, const part *t)
{
    if (m->direct) return (sgemm_operand){sgemm_fill_rows, &t->src, false};
    return (sgemm_operand){lower_block, &t->lowered, false};
}

static void forward(const im2col_plan *m, const conv_args *args)
{
    const conv_problem *p = &m->head.problem;
    for (int64_t g = 0; g < p->groups; g++) {
        part t = part_of(m, args, g);
        sgemm_call call = {.rows = m->pixels,
                           .cols = m->oc,
                           .depth = m->columns,
                           .a = lowered_operand(m, &t),
                           .packed_b = (const float *)args->packed + (size_t)g * m->packed_group,
                           .c = args->dst + g * m->oc,
                           .ldc = p->oc,
                           .clip = conv_clip(p->post_op),
                           .bias = p->bias ? args->bias + g * m->oc : NULL,
                           .scratch = args->scratch,
                           .threads = m->head.context.threads};
        sgemm_run(&m->forward, &call);
    }
}

/* d_lowered block by block into scratch, each added back at once; straight into diff_src where direct. */
static void data_of_part(const im2col_plan *m, const conv_args *args, const part *t)
{
    const conv_problem *p = &m->head.problem;
    int threads = m->head.context.threads;
    const float *packed = (const float *)args->packed + (size_t)t->group * m->packed_group;
    float *block = (float *)((char *)args->scratch + conv_align(m->data.scratch_bytes));
    for (int64_t i = 0; i < m->pixels; i += m->block_pixels)
        for (int64_t k = 0; k < m->columns; k += m->block_columns) {
            sgemm_block b = {i, min64(m->block_pixels, m->pixels - i), k,
                             min64(m->block_columns, m->columns - k)};
            sgemm_call call = {.row = i,
                               .rows = b.rows,
                               .col = k,
                               .cols = b.cols,
                               .depth = m->oc,
                               .a = {sgemm_fill_rows, &t->diff_dst, false},
                               .packed_b = packed,
                               .c = m->direct ? args->diff_src + i * p->ic + t->lowered.first + k : block,
                               .ldc = m->direct ? p->ic : m->block_columns,
                               .scratch = args->scratch,
                               .threads = threads};
            sgemm_run(&m->data, &call);
            if (!m->direct) lower_add_block(&t->lowered, &b, block, call.ldc, args->diff_src, threads);
        }
}

static void backward_data(const im2col_plan *m, const conv_args *args)
{
    if (!m->direct) lower_clear(&m->head.problem, args->diff_src, m->head.context.threads);
    for (int64_t g = 0; g < m->head.problem.groups; g++) {
        part t = part_of(m, args, g);
        data_of_part(m, args, &t);
    }
}

/* Pixels [i, i_end) into to, shaped like diff_weights. */
static void weights_of(const im2col_plan *m, const conv_args *args, int64_t i, int64_t i_end, sgemm_call call,
                       float *to)
{
    for (int64_t g = 0; g < m->head.problem.groups; g++) {
        part t = part_of(m, args, g);
        call.k = i;
        call.rows = m->columns;
        call.cols = m->oc;
        call.depth = i_end - i;
        call.a = lowered_operand(m, &t);
        call.a.transposed = true;
        call.b = (sgemm_operand){sgemm_fill_rows, &t.diff_dst, false};
        call.c = to + g * m->oc;
        call.ldc = m->head.problem.oc;
        sgemm_run(&m->weights, &call);
    }
}

static void backward_weights(const im2col_plan *m, const conv_args *args)
{
    const conv_problem *p = &m->head.problem;
    int threads = m->head.context.threads;
    if (m->chunks == 1)
        weights_of(m, args, 0, m->pixels,
                   (sgemm_call){.add = args->accumulate, .scratch = args->scratch, .threads = threads},
                   args->diff_weights);
    else {
        int64_t count = m->columns * p->oc;
        char *products = (char *)args->scratch + conv_align((size_t)(m->chunks * count) * sizeof(float));
        float *sums = args->scratch;
#pragma omp parallel for schedule(static) num_threads(threads)
        for (int64_t c = 0; c < m->chunks; c++) {
            void *scratch = products + (size_t)omp_get_thread_num() * conv_align(m->weights.scratch_bytes);
            weights_of(m, args, c * m->chunk, min64((c + 1) * m->chunk, m->pixels),
                       (sgemm_call){.scratch = scratch, .threads = 1}, sums + c * count);
        }
        join_chunks(sums, m->chunks, count, args->diff_weights, args->accumulate, threads);
    }
    if (p->bias) bias_gradient(p, args, args->scratch, threads);
}

static conv_status execute(const conv_plan *plan, const conv_args *args)
{
    const im2col_plan *m = (const im2col_plan *)plan;
    if (plan->pass == CONV_FORWARD) forward(m, args);
    if (conv_data_wanted(plan, args)) backward_data(m, args);
    if (conv_makes_weights(plan->pass)) backward_weights(m, args);
    return CONV_OK;
}

/* ---- plan and pack */

static void plan_forward(im2col_plan *m)
{
    const conv_context *ctx = &m->head.context;
    m->forward = sgemm_cut(m->pixels, m->oc, m->columns, ctx->l1d, ctx->l2, true);
    m->packed_group = conv_align(m->forward.packed_b_bytes) / sizeof(float);
    m->head.scratch_bytes = m->forward.scratch_bytes;
}

static void plan_data(im2col_plan *m)
{
    const conv_context *ctx = &m->head.context;
    m->data = sgemm_cut(m->pixels, m->columns, m->oc, ctx->l1d, ctx->l2, true);
    m->block_pixels = m->data.mc;
    /* Twice L2: small problems in one product, large ones in a few with d_lowered still in the shared cache. */
    int64_t room = (int64_t)(2 * ctx->l2 / sizeof(float)) / m->block_pixels;
    m->block_columns = m->direct ? m->columns : even_piece(m->columns, room, sgemm_tile_sizes().nr);
    m->packed_group = conv_align(m->data.packed_b_bytes) / sizeof(float);
    size_t block = m->direct ? 0 : (size_t)(m->block_pixels * m->block_columns) * sizeof(float);
    m->head.scratch_bytes = conv_align(m->data.scratch_bytes) + block;
}

/* The order of diff_weights' sums is a strategy, though the only one: who computes some rows of a layer's
 * diff_weights has fewer register tiles than the layer, and must cut the pixels as for all of them. */
static const conv_choice weights_choices[] = {{"pixels", false}, {NULL, false}};

enum { TASKS = 32, LEAST_PIXELS = 64 }; /* register tiles at least, else chunks; pixels of a chunk at least */

static void weights_strategy(const conv_impl *self, const conv_problem *p, conv_pass pass,
                             const conv_context *ctx, conv_candidates *candidates)
{
    (void)self;
    (void)ctx;
    if (pass != CONV_BACKWARD_WEIGHTS) return;
    sgemm_sizes tile = sgemm_tile_sizes();
    int64_t pixels = p->mb * conv_dst_pixels(p), columns = conv_taps(p) * (p->ic / p->groups),
            tiles = div_up(columns, tile.mr) * div_up(p->oc / p->groups, tile.nr),
            chunk = div_up(pixels, min64(div_up(TASKS, tiles), div_up(pixels, 2 * LEAST_PIXELS)));
    candidates->choices = weights_choices;
    strategy_add(candidates, &chunk, sizeof chunk, 0);
}

static void plan_weights(im2col_plan *m)
{
    const conv_problem *p = &m->head.problem;
    const conv_context *ctx = &m->head.context;
    conv_context weights = strategy_context(m->head.impl, p, CONV_BACKWARD_WEIGHTS, ctx);
    m->chunk = min64(m->pixels, max64(LEAST_PIXELS, weights.strategy.value[0]));
    m->chunks = div_up(m->pixels, m->chunk);
    m->weights = sgemm_cut(m->columns, m->oc, m->chunk, ctx->l1d, ctx->l2, false);
    size_t sums = (size_t)(m->chunks * m->columns * m->head.problem.oc) * sizeof(float);
    size_t bytes = m->weights.scratch_bytes;
    if (m->chunks > 1) bytes = conv_align(sums) + (size_t)ctx->threads * conv_align(bytes);
    if (bytes > m->head.scratch_bytes) m->head.scratch_bytes = bytes;
    size_t bias = m->head.problem.bias ? bias_gradient_bytes(&m->head.problem) : 0;
    if (bias > m->head.scratch_bytes) m->head.scratch_bytes = bias;
}

/* A product of the plan, `times` of it: A is copied into panels slice by slice, each read by every panel of B.
 */
static void state_product(const sgemm_blocking *g, double times, conv_work *w)
{
    sgemm_sizes tile = sgemm_tile_sizes();
    double rows = (double)round_up(g->m, tile.mr), k = (double)g->k, across = (double)div_up(g->n, tile.nr);
    double slices = (double)div_up(g->m, g->mc), depths = (double)div_up(g->k, g->kc);
    double a = 4 * times * rows * k, b = 4 * times * across * tile.nr * k,
           c = 4 * times * (double)(g->m * g->n);
    double slice = 4.0 * (double)(g->mc * g->kc), panel = 4.0 * (double)(g->kc * tile.nr);
    work_add_product(w, &(work_product){times * rows, k, round_up(g->n, tile.nr), tile.nr / 2, tile.mr, 2});
    w->stores *= depths;
    work_write(w, a, slice);
    work_read(w, a * across, slice + panel);
    work_read(w, b, CONV_EACH_CALL);
    work_read(w, b * (slices - 1), slice + 4.0 * (double)(g->kc * g->n));
    work_write(w, c, CONV_EACH_CALL);
    work_write(w, c * (depths - 1), slice + 4.0 * (double)(g->mc * g->n));
}

/* Barriers of such a product on all threads. */
static int product_barriers(const sgemm_blocking *g)
{
    return (int)(2 + 2 * div_up(g->m, g->mc) * div_up(g->k, g->kc));
}

static void state_work(im2col_plan *m)
{
    const conv_problem *p = &m->head.problem;
    conv_pass pass = m->head.pass;
    conv_work *w = &m->head.work;
    double src = 4.0 * (double)conv_problem_sizes(p).src, groups = (double)p->groups;
    int barriers = 0;
    if (pass == CONV_FORWARD) {
        state_product(&m->forward, groups, w);
        barriers = product_barriers(&m->forward);
    }
    if (pass == CONV_BACKWARD || pass == CONV_BACKWARD_DATA) {
        state_product(&m->data, groups, w);
        barriers += product_barriers(&m->data);
        if (!m->direct) work_write(w, src, CONV_EACH_CALL);
    }
    if (pass == CONV_BACKWARD || pass == CONV_BACKWARD_WEIGHTS) {
        state_product(&m->weights, groups * (double)m->chunks, w);
        barriers += m->chunks > 1 ? 2 : product_barriers(&m->weights);
    }
    work_read(w, src, CONV_EACH_CALL);
    work_finish(&m->head, 0, (int)p->groups * barriers);
}

static conv_status plan(const conv_impl *self, const conv_problem *p, conv_pass pass, const conv_context *ctx,
                        conv_plan **out, conv_error *err)
{
    im2col_plan *m = conv_plan_new(sizeof *m, self, p, pass, ctx);
    if (m == NULL) return conv_fail(err, CONV_NO_MEMORY, "no memory for a plan");
    m->direct = lower_is_src(p);
    m->pixels = p->mb * conv_dst_pixels(p);
    m->columns = conv_taps(p) * (p->ic / p->groups);
    m->oc = p->oc / p->groups;
    sgemm_sizes tile = sgemm_tile_sizes();
    if (pass == CONV_FORWARD) plan_forward(m);
    if (conv_makes_data(pass)) plan_data(m);
    if (conv_makes_weights(pass)) plan_weights(m);
    m->head.packed_bytes = (size_t)p->groups * m->packed_group * sizeof(float);
    const sgemm_blocking *g = pass == CONV_FORWARD         ? &m->forward
                              : pass == CONV_BACKWARD_DATA ? &m->data
                                                           : &m->weights;
    snprintf(m->head.note, sizeof m->head.note, "%dx%d, kc %lld, mc %lld", tile.mr, tile.nr, (long long)g->kc,
             (long long)g->mc);
    conv_note(m->head.note, m->direct, "src in place");
    conv_note(m->head.note, m->chunks > 1, "in chunks");
    state_work(m);
    *out = &m->head;
    return CONV_OK;
}

static conv_status pack(const conv_plan *plan, const float *weights, const float *pointwise, void *packed)
{
    (void)pointwise;
    const im2col_plan *m = (const im2col_plan *)plan;
    const conv_problem *p = &plan->problem;
    bool is_forward = plan->pass == CONV_FORWARD;
    for (int64_t g = 0; g < p->groups; g++) {
        sgemm_matrix matrix = {weights + g * m->oc, NULL, p->oc, 0}; /* [columns][oc of the group] */
        float *to = (float *)packed + (size_t)g * m->packed_group;
        sgemm_pack_b(is_forward ? &m->forward : &m->data,
                     (sgemm_operand){is_forward ? sgemm_fill_rows : sgemm_fill_transposed, &matrix, false}, to,
                     plan->context.threads);
    }
    return CONV_OK;
}

#define COMMON .name = "im2col", .isa = ISA_ENUM, .layouts = 1u << CONV_NHWC

#define PRODUCT(which, what)                                                                                   \
    {                                                                                                          \
        COMMON, .variant = (which), .summary = (what), .plan = plan, .pack = pack, .execute = execute,         \
                .strategies = weights_strategy, .by_pixel = (which) == CONV_POINTWISE,                         \
                .by_input = (which) == CONV_POINTWISE                                                          \
    }

static const conv_impl dense = PRODUCT(CONV_DENSE, "lowering + the project's blocked GEMM");
static const conv_impl pointwise = PRODUCT(CONV_POINTWISE, "the project's blocked GEMM");
static const conv_impl separable = {COMPOSE(&im2col_depthwise, &pointwise), COMMON,
                                    .summary = "im2col depthwise, then im2col pointwise"};

extern const conv_impl *const im2col_impls[CONV_VARIANT_COUNT];
const conv_impl *const im2col_impls[CONV_VARIANT_COUNT] = {&dense, &im2col_depthwise, &pointwise, &separable};
