/* Dense 3x3 convolution by Winograd's minimal filtering, F(4x4,3x3), or F(2x2,3x3) where outputs are too few
 * for it: 4 (2.25) times fewer multiplications, inexact. Forward and backward_data (a forward convolution of
 * diff_dst with the weights turned round); the joint backward takes its weight gradient from the direct
 * implementation.
 *
 * for group of tiles (transformed tensors of one group stay in the caches):
 *   for tile:                     V[xi][tile][k] = B' d B                      parallel over tiles
 *   for xi, panel of weights:     M[xi][tile][n] = V[xi] * U[xi]               parallel over xi and panels
 *   for tile:                     out = A' M A, bias, ReLU                     parallel over tiles
 * Refuses kernels other than 3x3, strides, dilations, groups, fewer than 16 channels and backward_weights. */
#include <omp.h>
#include <stdio.h>
#include <string.h>

#include "../plan.h"
#include "gemm.h"
#include "simd.h"
#include "winograd_transform.h"

/* |error| <= WINOGRAD_ERROR_FACTOR * u * sqrt(K) * max sum|x*w|: the componentwise bound of Barabasz et al.,
 * theorem 1, with roundings of random sign. The points of winograd_transform.h enlarge the numbers by 7.9 per
 * axis on a full tile; with K = 9*16 and 27 roundings in the transforms the worst output of any image has 94,
 * twice the exact bound's own factor included, and it falls with K (F(2x2) enlarges by 2.7). */
enum { WINOGRAD_ERROR_FACTOR = 104, LEAST_CHANNELS = 16, K_BLOCK = 256, GAP = 16 };

typedef struct {
    conv_plan head;
    conv_plan *weights; /* joint backward: backward_weights of the direct implementation */
    bool backward;      /* data: from diff_dst to diff_src */
    int alpha, m;       /* tile of input, of output, per axis */
    int64_t in_h, in_w, out_h, out_w, pad_h, pad_w;
    int64_t k, n; /* channels in, out */
    int64_t tiles_w, tiles_image, tiles;
    int64_t group;                            /* tiles at a time */
    int64_t width, panels;                    /* columns of a panel; panels */
    size_t v_floats, m_floats, packed_floats; /* of V, M, U */
} winograd_plan;

/* ---- plan */

static const char *refuse(const conv_impl *self, const conv_problem *p, conv_pass pass)
{
    (void)self;
    if (pass == CONV_BACKWARD_WEIGHTS) return "backward_weights: not by Winograd here";
    if (p->rank > 2) return "rank 3";
    if (p->groups != 1) return "groups other than 1";
    for (int i = CONV_H; i <= CONV_W; i++) {
        if (p->axis[i].kernel != 3) return "kernel other than 3x3";
        if (p->axis[i].stride != 1) return "stride other than 1";
        if (p->axis[i].dilation != 1) return "dilation";
    }
    if (p->ic < LEAST_CHANNELS || p->oc < LEAST_CHANNELS) return "fewer than 16 channels: nothing to gain";
    return NULL;
}

static void choose_tiles(winograd_plan *w)
{
    /* Multiplications per image with either tile. */
    int64_t tiles_4 = div_up(w->out_h, 4) * div_up(w->out_w, 4),
            tiles_2 = div_up(w->out_h, 2) * div_up(w->out_w, 2);
    w->m = tiles_4 * 36 <= tiles_2 * 16 ? 4 : 2;
    w->alpha = w->m + 2;
    w->tiles_w = div_up(w->out_w, w->m);
    w->tiles_image = w->tiles_w * div_up(w->out_h, w->m);
    w->tiles = w->tiles_image * w->head.problem.mb;
    /* V and M of a group: few enough for the caches of a few cores, enough rows for each pass over the weights.
     */
    int64_t tile_bytes = (int64_t)sizeof(float) * w->alpha * w->alpha * (w->k + w->n + 2 * GAP);
    int64_t group = max64(4 * (int64_t)w->head.context.l2 / tile_bytes, 96);
    w->group = div_up(w->tiles, div_up(w->tiles, group));
}

static void destroy(conv_plan *plan)
{
    conv_plan_destroy(((winograd_plan *)plan)->weights);
    free(plan);
}

static conv_status plan(const conv_impl *self, const conv_problem *p, conv_pass pass, const conv_context *ctx,
                        conv_plan **out, conv_error *err)
{
    winograd_plan *w = conv_plan_new(sizeof *w, self, p, pass, ctx);
    if (w == NULL) return conv_fail(err, CONV_NO_MEMORY, "no memory for a plan");
    const conv_axis *h = &p->axis[CONV_H], *x = &p->axis[CONV_W];
    w->backward = pass != CONV_FORWARD;
    w->in_h = w->backward ? conv_out(h) : h->in;
    w->in_w = w->backward ? conv_out(x) : x->in;
    w->out_h = w->backward ? h->in : conv_out(h);
    w->out_w = w->backward ? x->in : conv_out(x);
    w->pad_h = w->backward ? 2 - h->pad_before : h->pad_before;
    w->pad_w = w->backward ? 2 - x->pad_before : x->pad_before;
    w->k = w->backward ? p->oc : p->ic;
    w->n = w->backward ? p->ic : p->oc;
    w->width = (int64_t)gemm_panel_vectors(w->n) * VL;
    w->panels = div_up(w->n, w->width);
    choose_tiles(w);

    int64_t xis = (int64_t)w->alpha * w->alpha;
    w->v_floats = (size_t)round_up(xis * w->group * (w->k + GAP), VL);
    w->m_floats = (size_t)round_up(xis * w->group * (round_up(w->n, VL) + GAP), VL);
    w->packed_floats = (size_t)(xis * gemm_panels_floats(w->k, w->n));
    w->head.scratch_bytes = (w->v_floats + w->m_floats) * sizeof(float);
    w->head.packed_bytes = w->packed_floats * sizeof(float);
    snprintf(w->head.note, sizeof w->head.note, "F(%dx%d,3x3), %lld tiles at a time", w->m, w->m,
             (long long)w->group);
    if (pass == CONV_BACKWARD) {
        conv_status status = conv_plan_create(&simd_dense, p, CONV_BACKWARD_WEIGHTS, ctx, &w->weights, err);
        if (status != CONV_OK) {
            destroy(&w->head);
            return status;
        }
        w->head.scratch_bytes =
            (size_t)max64((int64_t)w->head.scratch_bytes, (int64_t)w->weights->scratch_bytes);
        w->head.packed_bytes = conv_align(w->head.packed_bytes) + w->weights->packed_bytes;
    }
    *out = &w->head;
    return CONV_OK;
}

/* ---- pack: U[xi] in panels */

static vec load_weights(const winograd_plan *w, const float *weights, int64_t tap, int64_t k, int64_t n)
{
    const conv_problem *p = &w->head.problem;
    int64_t lanes = min64(VL, w->n - n);
    if (!w->backward) return vec_load_mask(weights + (tap * p->ic + k) * p->oc + n, vec_mask_first(lanes));
    float column[VL] = {0};
    for (int64_t i = 0; i < lanes; i++) column[i] = weights[((8 - tap) * p->ic + n + i) * p->oc + k];
    return vec_load(column);
}

ALWAYS_INLINE void pack_vector(const int alpha, const winograd_plan *w, const float *weights, int64_t k,
                               int64_t n, float *packed)
{
    vec g[WINOGRAD_MOST_ALPHA * WINOGRAD_MOST_ALPHA];
    for (int tap = 0; tap < 9; tap++) g[tap / 3 * alpha + tap % 3] = load_weights(w, weights, tap, k, n);
    winograd_weights(alpha, g);
    int64_t panel = n / w->width, width = min64(w->width, round_up(w->n, VL) - panel * w->width);
    float *out = packed + panel * w->width * w->k + k * width + n % w->width;
    int64_t xi_floats = gemm_panels_floats(w->k, w->n);
    for (int xi = 0; xi < alpha * alpha; xi++) vec_store(out + xi * xi_floats, g[xi]);
}

static conv_status pack(const conv_plan *plan, const float *weights, const float *pointwise, void *packed)
{
    const winograd_plan *w = (const winograd_plan *)plan;
#pragma omp parallel for schedule(static) num_threads(plan->context.threads)
    for (int64_t k = 0; k < w->k; k++)
        for (int64_t n = 0; n < w->n; n += VL) {
            if (w->alpha == 6)
                pack_vector(6, w, weights, k, n, packed);
            else
                pack_vector(4, w, weights, k, n, packed);
        }
    if (w->weights == NULL) return CONV_OK;
    return conv_pack(w->weights, weights, pointwise,
                     (char *)packed + conv_align(w->packed_floats * sizeof(float)));
}

/* ---- execute */

typedef struct {
    const winograd_plan *w;
    const float *in, *mask; /* mask: dst, whose positive elements let diff_dst pass; NULL: all do */
    const float *packed, *bias;
    bool relu;
    float *out, *v, *m;
    int64_t first, count; /* the group's tiles */
} group_context;

/* Origin of tile t: image, and the upper left pixel that it writes. */
typedef struct {
    int64_t image, y, x;
} tile_place;

static tile_place place_of(const winograd_plan *w, int64_t t)
{
    int64_t i = t % w->tiles_image;
    return (tile_place){t / w->tiles_image, i / w->tiles_w * w->m, i % w->tiles_w * w->m};
}

ALWAYS_INLINE void transform_input(const int alpha, const group_context *g, int64_t t)
{
    const winograd_plan *w = g->w;
    tile_place at = place_of(w, g->first + t);
    int64_t offset[WINOGRAD_MOST_ALPHA * WINOGRAD_MOST_ALPHA]; /* of channel 0; -1: padding */
    for (int i = 0; i < alpha * alpha; i++) {
        int64_t y = at.y - w->pad_h + i / alpha, x = at.x - w->pad_w + i % alpha;
        bool inside = y >= 0 && y < w->in_h && x >= 0 && x < w->in_w;
        offset[i] = inside ? ((at.image * w->in_h + y) * w->in_w + x) * w->k : -1;
    }
    int64_t row = w->k + GAP;
    for (int64_t c = 0; c < w->k; c += VL) {
        vec_mask lanes = vec_mask_first(min64(VL, w->k - c));
        vec d[WINOGRAD_MOST_ALPHA * WINOGRAD_MOST_ALPHA];
        for (int i = 0; i < alpha * alpha; i++) {
            d[i] = offset[i] < 0 ? vec_zero() : vec_load_mask(g->in + offset[i] + c, lanes);
            if (g->mask != NULL && offset[i] >= 0)
                d[i] = vec_where_positive(vec_load_mask(g->mask + offset[i] + c, lanes), d[i]);
        }
        winograd_input(alpha, d);
        float *out = g->v + t * row + c;
        for (int xi = 0; xi < alpha * alpha; xi++) vec_store(out + xi * w->group * row, d[xi]);
    }
}

ALWAYS_INLINE void transform_output(const int alpha, const group_context *g, int64_t t)
{
    const winograd_plan *w = g->w;
    tile_place at = place_of(w, g->first + t);
    int64_t rows = min64(w->m, w->out_h - at.y), columns = min64(w->m, w->out_w - at.x);
    int64_t row = round_up(w->n, VL) + GAP;
    for (int64_t c = 0; c < w->n; c += VL) {
        vec_mask lanes = vec_mask_first(min64(VL, w->n - c));
        vec d[WINOGRAD_MOST_ALPHA * WINOGRAD_MOST_ALPHA];
        for (int xi = 0; xi < alpha * alpha; xi++) d[xi] = vec_load(g->m + (xi * w->group + t) * row + c);
        winograd_output(alpha, d);
        vec bias = g->bias == NULL ? vec_zero() : vec_load_mask(g->bias + c, lanes);
        for (int64_t y = 0; y < rows; y++)
            for (int64_t x = 0; x < columns; x++) {
                vec v = vec_add(d[y * alpha + x], bias);
                if (g->relu) v = vec_max(v, vec_zero());
                int64_t pixel = (at.image * w->out_h + at.y + y) * w->out_w + at.x + x;
                vec_store_mask(g->out + pixel * w->n + c, lanes, v);
            }
    }
}

/* M[xi] of one panel: all tiles of the group, k in blocks so that the panel's stays in L2. */
static void multiply(const group_context *g, int64_t xi, int64_t panel)
{
    const winograd_plan *w = g->w;
    int64_t v_row = w->k + GAP, m_row = round_up(w->n, VL) + GAP, column = panel * w->width;
    int64_t n = min64(w->width, w->n - column);
    int nv = (int)div_up(n, VL);
    int64_t k_blocks = div_up(w->k, K_BLOCK + K_BLOCK / 2), k_block = round_up(div_up(w->k, k_blocks), VL);
    const float *u = g->packed + xi * gemm_panels_floats(w->k, w->n) + column * w->k;
    for (int64_t k0 = 0; k0 < w->k; k0 += k_block) {
        gemm_rows_args args = {.rows = g->v + xi * w->group * v_row + k0,
                               .row_stride = v_row,
                               .panel = u + k0 * nv * VL,
                               .taps = 1,
                               .k = min64(k_block, w->k - k0),
                               .dst = g->m + xi * w->group * m_row + column,
                               .dst_stride = m_row,
                               .n = (int64_t)nv * VL,
                               .accumulate = k0 > 0};
        gemm_rows_even(args, g->count, nv);
    }
}

/* Each thread of the team runs this. */
static void run_group(const group_context *g)
{
    const winograd_plan *w = g->w;
    int thread = omp_get_thread_num(), threads = omp_get_num_threads();
    int64_t begin, end, first, last;
    share(g->count, thread, threads, &first, &last);
    for (int64_t t = first; t < last; t++) w->alpha == 6 ? transform_input(6, g, t) : transform_input(4, g, t);
#pragma omp barrier
    share((int64_t)w->alpha * w->alpha * w->panels, thread, threads, &begin, &end);
    for (int64_t i = begin; i < end; i++) multiply(g, i / w->panels, i % w->panels);
#pragma omp barrier
    for (int64_t t = first; t < last; t++)
        w->alpha == 6 ? transform_output(6, g, t) : transform_output(4, g, t);
    /* No barrier here: the next group's products, which overwrite M, wait for everybody's transforms. */
}

static conv_status execute(const conv_plan *plan, const conv_args *args)
{
    const winograd_plan *w = (const winograd_plan *)plan;
    const conv_problem *p = &plan->problem;
    bool relu = p->post_op == CONV_POST_RELU;
    group_context all = {.w = w,
                         .in = w->backward ? args->diff_dst : args->src,
                         .mask = w->backward && relu ? args->dst : NULL,
                         .packed = args->packed,
                         .bias = !w->backward && p->bias ? args->bias : NULL,
                         .relu = !w->backward && relu,
                         .out = w->backward ? args->diff_src : args->dst,
                         .v = args->scratch,
                         .m = (float *)args->scratch + w->v_floats};
    if (all.out != NULL) {
#pragma omp parallel num_threads(plan->context.threads)
        for (int64_t first = 0; first < w->tiles; first += w->group) {
            group_context g = all;
            g.first = first;
            g.count = min64(w->group, w->tiles - first);
            run_group(&g);
        }
    }
    if (w->weights == NULL) return CONV_OK;
    conv_args gradients = *args;
    gradients.packed = (const char *)args->packed + conv_align(w->packed_floats * sizeof(float));
    return conv_execute(w->weights, &gradients);
}

static const conv_impl dense = {.name = "winograd-" ISA_STRING,
                                .variant = CONV_DENSE,
                                .summary =
                                    "Winograd F(4x4,3x3) or F(2x2,3x3), the transformed tensors in cache",
                                .isa = ISA_ENUM,
                                .inexact = true,
                                .error_factor = WINOGRAD_ERROR_FACTOR,
                                .layouts = 1u << CONV_NHWC,
                                .refuse = refuse,
                                .plan = plan,
                                .pack = pack,
                                .execute = execute,
                                .destroy = destroy};

extern const conv_impl *const ISA_NAME(winograd_impls)[CONV_VARIANT_COUNT];
const conv_impl *const ISA_NAME(winograd_impls)[CONV_VARIANT_COUNT] = {[CONV_DENSE] = &dense};
