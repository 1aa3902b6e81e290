/* Dense and pointwise convolution as a product with the lowered matrix (lower.h), which gemm.c asks for block
 * by block and never has whole: scratch is a few slices that fit L2, whatever the batch.
 *
 *              NHWC, the whole batch at once                     NCHW, image by image
 *   forward    dst = lowered * weights                           dst = weights^T * lowered^T
 *   data       d_lowered = diff_dst * weights^T, added back      d_lowered^T = weights * diff_dst, added back
 *   weights    diff_weights = lowered^T * diff_dst               diff_weights += lowered^T * diff_dst^T
 *
 * Parallel inside each product; where diff_weights is too small for that, over fixed chunks of pixels (NHWC) or
 * images (NCHW) whose partial sums a tree adds. A 1x1 convolution of stride 1 needs no lowering: the matrix is
 * src itself. Refuses rank 3. */
#include <omp.h>
#include <stdio.h>
#include <string.h>

#include "../compose.h"
#include "../isa.h"
#include "../plan.h"
#include "depthwise.h"
#include "gemm.h"
#include "lower.h"
#include "reduce.h"

typedef struct {
    conv_plan head;
    bool nhwc, direct;      /* direct: the lowered matrix is src */
    int64_t images, pixels; /* products one after the other, and output pixels of each */
    int64_t columns, oc;    /* of the lowered matrix, of weights: per group */
    int64_t block_pixels;   /* per product, where B or d_lowered would grow with the image */
    int64_t block_columns;  /* of d_lowered per product */
    int64_t chunks, chunk;  /* backward_weights: how many, and pixels or images of each */
    gemm_blocking forward, data, weights;
    size_t product_bytes; /* scratch of one product */
    size_t packed_group;  /* packed floats per group */
} im2col_plan;

static int64_t least(int64_t a, int64_t b) { return a < b ? a : b; }
static int64_t parts(int64_t whole, int64_t part) { return (whole + part - 1) / part; }

/* Equal pieces of `whole`, multiples of unit, of about `most` floats or less. */
static int64_t piece(int64_t whole, int64_t most, int64_t unit)
{
    int64_t pieces = parts(whole, most > unit ? most : unit);
    return parts(parts(whole, pieces), unit) * unit;
}

/* ---- the passes ------------------------------------------------------------------------------------------ */

/* One group of one product: its operands. */
typedef struct {
    lowering lowered;
    gemm_matrix src, diff_dst; /* NHWC: [pixels][channels]; NCHW: [channels][pixels] */
    int64_t group;
    int64_t image; /* offset of its first element in src and diff_src */
} part;

/* A pass leaves the tensors it does not use NULL. */
static const float *offset(const float *tensor, int64_t elements)
{
    return tensor == NULL ? NULL : tensor + elements;
}

static part part_of(const im2col_plan *m, const conv_args *args, int64_t image, int64_t group)
{
    const conv_problem *p = &m->head.problem;
    int64_t in = p->axis[CONV_H].in * p->axis[CONV_W].in;
    part t = {.lowered = lower_describe(p, group), .group = group, .image = image * p->ic * in};
    t.lowered.src = offset(args->src, t.image);
    int64_t src = t.image + t.lowered.first * (m->nhwc ? 1 : in);
    int64_t dst = image * p->oc * m->pixels + group * m->oc * (m->nhwc ? 1 : m->pixels);
    bool relu = p->post_op == CONV_POST_RELU;
    t.src = (gemm_matrix){offset(args->src, src), NULL, m->nhwc ? p->ic : in};
    t.diff_dst = (gemm_matrix){offset(args->diff_dst, dst), relu ? offset(args->dst, dst) : NULL,
                               m->nhwc ? p->oc : m->pixels};
    return t;
}

/* The lowered matrix, or src where they are the same. */
static gemm_operand lowered_operand(const im2col_plan *m, const part *t)
{
    if (m->direct) return (gemm_operand){gemm_fill_rows, &t->src, false};
    return (gemm_operand){m->nhwc ? lower_nhwc : lower_nchw, &t->lowered, false};
}

static void forward(const im2col_plan *m, const conv_args *args)
{
    const conv_problem *p = &m->head.problem;
    for (int64_t n = 0; n < m->images; n++)
        for (int64_t g = 0; g < p->groups; g++) {
            part t = part_of(m, args, n, g);
            const float *packed = (const float *)args->packed + (size_t)g * m->packed_group;
            const float *bias = p->bias ? args->bias + g * m->oc : NULL;
            gemm_call call = {.depth = m->columns,
                              .relu = p->post_op == CONV_POST_RELU,
                              .scratch = args->scratch,
                              .threads = m->head.context.threads};
            if (m->nhwc) {
                call.rows = m->pixels, call.cols = m->oc;
                call.a = lowered_operand(m, &t), call.packed_b = packed;
                call.c = args->dst + g * m->oc, call.ldc = p->oc;
                call.col_bias = bias;
                gemm_run(&m->forward, &call);
                continue;
            }
            call.rows = m->oc, call.row_bias = bias;
            call.a.transposed = true, call.packed_a = packed;
            call.b = lowered_operand(m, &t);
            call.ldc = m->pixels;
            for (call.col = 0; call.col < m->pixels; call.col += m->block_pixels) {
                call.cols = least(m->block_pixels, m->pixels - call.col);
                call.c = args->dst + (n * p->oc + g * m->oc) * m->pixels + call.col;
                gemm_run(&m->forward, &call);
            }
        }
}

static void set_zero(float *to, int64_t count, int threads)
{
#pragma omp parallel for schedule(static) num_threads(threads)
    for (int64_t i = 0; i < count; i++) to[i] = 0;
}

/* d_lowered block by block into scratch, each added back at once; straight into diff_src where direct. */
static void data_of_part(const im2col_plan *m, const conv_args *args, const part *t)
{
    const conv_problem *p = &m->head.problem;
    int threads = m->head.context.threads;
    const float *packed = (const float *)args->packed + (size_t)t->group * m->packed_group;
    float *block = (float *)((char *)args->scratch + conv_align(m->data.scratch_bytes));
    float *diff_src = args->diff_src + t->image;
    gemm_operand gradient = {gemm_fill_rows, &t->diff_dst, false};
    for (int64_t i = 0; i < m->pixels; i += m->block_pixels)
        for (int64_t k = 0; k < m->columns; k += m->block_columns) {
            lowered_block b = {i, least(m->block_pixels, m->pixels - i), k,
                               least(m->block_columns, m->columns - k)};
            gemm_call call = {.depth = m->oc, .scratch = args->scratch, .threads = threads};
            if (m->nhwc) {
                call.row = i, call.rows = b.pixels, call.col = k, call.cols = b.columns;
                call.a = gradient, call.packed_b = packed;
                call.c = m->direct ? diff_src + i * p->ic + t->lowered.first + k : block;
                call.ldc = m->direct ? p->ic : m->block_columns;
            } else {
                call.row = k, call.rows = b.columns, call.col = i, call.cols = b.pixels;
                call.packed_a = packed, call.b = gradient;
                call.c = m->direct ? diff_src + (t->lowered.first + k) * m->pixels + i : block;
                call.ldc = m->direct ? m->pixels : m->block_pixels;
            }
            gemm_run(&m->data, &call);
            if (!m->direct)
                (m->nhwc ? lower_nhwc_add : lower_nchw_add)(&t->lowered, b, block, call.ldc, diff_src, threads);
        }
}

static void backward_data(const im2col_plan *m, const conv_args *args)
{
    if (!m->direct) set_zero(args->diff_src, conv_problem_sizes(&m->head.problem).src, m->head.context.threads);
    for (int64_t n = 0; n < m->images; n++)
        for (int64_t g = 0; g < m->head.problem.groups; g++) {
            part t = part_of(m, args, n, g);
            data_of_part(m, args, &t);
        }
}

/* Images [n, n_end), or of the one NHWC product pixels [i, i_end), into to, shaped like diff_weights. */
static void weights_of(const im2col_plan *m, const conv_args *args, int64_t n, int64_t n_end, int64_t i,
                       int64_t i_end, float *to, bool add, void *scratch, int threads)
{
    for (; n < n_end; n++, add = true)
        for (int64_t g = 0; g < m->head.problem.groups; g++) {
            part t = part_of(m, args, n, g);
            gemm_call call = {.k = i,
                              .rows = m->columns,
                              .cols = m->oc,
                              .depth = i_end - i,
                              .a = lowered_operand(m, &t),
                              .b = {m->nhwc ? gemm_fill_rows : gemm_fill_transposed, &t.diff_dst, false},
                              .c = to + g * m->oc,
                              .ldc = m->head.problem.oc,
                              .add = add,
                              .scratch = scratch,
                              .threads = threads};
            call.a.transposed = m->nhwc;
            gemm_run(&m->weights, &call);
        }
}

static void backward_weights(const im2col_plan *m, const conv_args *args)
{
    const conv_problem *p = &m->head.problem;
    int threads = m->head.context.threads;
    if (m->chunks == 1)
        weights_of(m, args, 0, m->images, 0, m->pixels, args->diff_weights, args->accumulate, args->scratch,
                   threads);
    else {
        int64_t count = m->columns * p->oc, whole = m->nhwc ? m->pixels : m->images;
        char *products = (char *)args->scratch + conv_align((size_t)(m->chunks * count) * sizeof(float));
        float *sums = args->scratch;
#pragma omp parallel for schedule(static) num_threads(threads)
        for (int64_t c = 0; c < m->chunks; c++) {
            int64_t from = c * m->chunk, end = least(from + m->chunk, whole);
            void *scratch = products + (size_t)omp_get_thread_num() * conv_align(m->weights.scratch_bytes);
            if (m->nhwc)
                weights_of(m, args, 0, 1, from, end, sums + c * count, false, scratch, 1);
            else
                weights_of(m, args, from, end, 0, m->pixels, sums + c * count, false, scratch, 1);
        }
        reduce_tree(sums, m->chunks, count, args->diff_weights, args->accumulate, threads);
    }
    if (p->bias) reduce_bias(p, args, args->scratch, threads);
}

static conv_status execute(const conv_plan *plan, const conv_args *args)
{
    const im2col_plan *m = (const im2col_plan *)plan;
    if (plan->pass == CONV_FORWARD) forward(m, args);
    if (plan->pass == CONV_BACKWARD_DATA || (plan->pass == CONV_BACKWARD && args->diff_src != NULL))
        backward_data(m, args);
    if (plan->pass == CONV_BACKWARD_WEIGHTS || plan->pass == CONV_BACKWARD) backward_weights(m, args);
    return CONV_OK;
}

/* ---- plan and pack --------------------------------------------------------------------------------------- */

static bool is_direct(const conv_problem *p)
{
    for (int i = 0; i < CONV_AXES; i++) {
        const conv_axis *a = &p->axis[i];
        if (a->kernel != 1 || a->stride != 1 || a->pad_before != 0 || conv_out(a) != a->in) return false;
    }
    return true;
}

static void plan_forward(im2col_plan *m)
{
    const conv_context *ctx = &m->head.context;
    if (m->nhwc)
        m->forward = gemm_block(m->pixels, m->oc, m->columns, ctx->l1d, ctx->l2, false, true);
    else
        m->forward = gemm_block(m->oc, m->block_pixels, m->columns, ctx->l1d, ctx->l2, true, false);
    size_t group = m->nhwc ? m->forward.packed_b_bytes : m->forward.packed_a_bytes;
    m->packed_group = conv_align(group) / sizeof(float);
    m->head.scratch_bytes = m->forward.scratch_bytes;
}

static void plan_data(im2col_plan *m)
{
    const conv_context *ctx = &m->head.context;
    gemm_sizes tile = gemm_tile_sizes();
    if (m->nhwc) {
        m->data = gemm_block(m->pixels, m->columns, m->oc, ctx->l1d, ctx->l2, false, true);
        m->block_pixels = m->data.mc;
    } else
        m->data = gemm_block(m->columns, m->block_pixels, m->oc, ctx->l1d, ctx->l2, true, false);
    /* Twice L2: small problems in one product, large ones in a few with d_lowered still in the shared cache. */
    int64_t room = (int64_t)(2 * ctx->l2 / sizeof(float)) / m->block_pixels;
    m->block_columns = m->direct ? m->columns : piece(m->columns, room, m->nhwc ? tile.nr : tile.mr);
    size_t group = m->nhwc ? m->data.packed_b_bytes : m->data.packed_a_bytes;
    m->packed_group = conv_align(group) / sizeof(float);
    size_t block = m->direct ? 0 : (size_t)(m->block_pixels * m->block_columns) * sizeof(float);
    m->head.scratch_bytes = conv_align(m->data.scratch_bytes) + block;
}

static void plan_weights(im2col_plan *m)
{
    enum {
        TASKS = 32,
        LEAST_PIXELS = 128
    }; /* below so many register tiles, chunks of at least so many pixels */
    const conv_context *ctx = &m->head.context;
    gemm_sizes tile = gemm_tile_sizes();
    int64_t tiles = parts(m->columns, tile.mr) * parts(m->oc, tile.nr);
    int64_t whole = m->nhwc ? m->pixels : m->images;
    int64_t wanted = least(parts(TASKS, tiles), parts(whole, m->nhwc ? LEAST_PIXELS : 1));
    m->chunk = parts(whole, wanted);
    m->chunks = parts(whole, m->chunk);
    int64_t depth = m->nhwc ? m->chunk : m->pixels;
    m->weights = gemm_block(m->columns, m->oc, depth, ctx->l1d, ctx->l2, false, false);
    size_t sums = (size_t)(m->chunks * m->columns * m->head.problem.oc) * sizeof(float);
    size_t bytes = m->weights.scratch_bytes;
    if (m->chunks > 1) bytes = conv_align(sums) + (size_t)ctx->threads * conv_align(bytes);
    if (bytes > m->head.scratch_bytes) m->head.scratch_bytes = bytes;
    size_t bias = m->head.problem.bias ? reduce_bias_bytes(&m->head.problem) : 0;
    if (bias > m->head.scratch_bytes) m->head.scratch_bytes = bias;
}

static conv_status plan(const conv_impl *self, const conv_problem *p, conv_pass pass, const conv_context *ctx,
                        conv_plan **out, conv_error *err)
{
    im2col_plan *m = conv_plan_new(sizeof *m, self, p, pass, ctx);
    if (m == NULL) return conv_fail(err, CONV_NO_MEMORY, "no memory for a plan");
    m->nhwc = p->layout == CONV_NHWC;
    m->direct = is_direct(p);
    int64_t image = conv_out(&p->axis[CONV_H]) * conv_out(&p->axis[CONV_W]);
    m->images = m->nhwc ? 1 : p->mb;
    m->pixels = m->nhwc ? p->mb * image : image;
    m->columns = p->axis[CONV_H].kernel * p->axis[CONV_W].kernel * (p->ic / p->groups);
    m->oc = p->oc / p->groups;
    gemm_sizes tile = gemm_tile_sizes();
    m->block_pixels = piece(m->pixels, (int64_t)(ctx->l2 / 2 / sizeof(float)) / tile.kc_max, tile.nr);
    if (pass == CONV_FORWARD) plan_forward(m);
    if (pass == CONV_BACKWARD_DATA || pass == CONV_BACKWARD) plan_data(m);
    if (pass == CONV_BACKWARD_WEIGHTS || pass == CONV_BACKWARD) plan_weights(m);
    m->head.packed_bytes = (size_t)p->groups * m->packed_group * sizeof(float);
    const gemm_blocking *g = pass == CONV_FORWARD         ? &m->forward
                             : pass == CONV_BACKWARD_DATA ? &m->data
                                                          : &m->weights;
    snprintf(m->head.note, sizeof m->head.note, "%dx%d, kc %lld, mc %lld", tile.mr, tile.nr, (long long)g->kc,
             (long long)g->mc);
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
        gemm_matrix matrix = {weights + g * m->oc, NULL, p->oc}; /* [columns][oc of the group] */
        float *to = (float *)packed + (size_t)g * m->packed_group;
        if (m->nhwc)
            gemm_pack_b(is_forward ? &m->forward : &m->data,
                        (gemm_operand){is_forward ? gemm_fill_rows : gemm_fill_transposed, &matrix, false}, to,
                        plan->context.threads);
        else
            gemm_pack_a(is_forward ? &m->forward : &m->data,
                        (gemm_operand){gemm_fill_rows, &matrix, is_forward}, to, plan->context.threads);
    }
    return CONV_OK;
}

static const char *refuse(const conv_impl *self, const conv_problem *p, conv_pass pass)
{
    (void)self, (void)pass;
    return p->rank == 3 ? "rank 3" : NULL;
}

#define COMMON .name = "im2col", .isa = ISA_ENUM, .layouts = 1u << CONV_NHWC | 1u << CONV_NCHW

#define PRODUCT(which, what)                                                                                   \
    {                                                                                                          \
        COMMON, .variant = (which), .summary = (what), .refuse = refuse, .plan = plan, .pack = pack,           \
                .execute = execute                                                                             \
    }

static const conv_impl dense = PRODUCT(CONV_DENSE, "lowering + the project's blocked GEMM");
static const conv_impl pointwise = PRODUCT(CONV_POINTWISE, "the project's blocked GEMM");
static const conv_impl separable = {COMPOSE(&im2col_depthwise, &pointwise), COMMON,
                                    .summary = "im2col depthwise, then im2col pointwise"};

extern const conv_impl *const im2col_impls[CONV_VARIANT_COUNT];
const conv_impl *const im2col_impls[CONV_VARIANT_COUNT] = {&dense, &im2col_depthwise, &pointwise, &separable};
