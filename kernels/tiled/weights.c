/* Loop order of a task (a tap, a chunk of input channels, a block of LANES output channels):
 *
 *   bands of output rows | register tiles of ROWS input channels | rows of the band | pixels
 *
 * First diff_dst, masked by dst, is laid out block by block, [block][pixels][LANES]: then a register tile
 * reads it in one stream, and a band of it stays in L2 for all input channels. Each task owns its part of
 * diff_weights and adds the bands to it in order. Depthwise: a task is a tap and a block, its lanes the
 * channels. */
#include "weights.h"

#include "../plan.h"
#include "tile.h"

static int64_t out_pixels(const conv_problem *p)
{
    return conv_out(&p->axis[CONV_H]) * conv_out(&p->axis[CONV_W]);
}

/* Depthwise blocks go over channels, once per multiple; dense ones over each group's outputs. */
static int64_t blocks_of(const conv_problem *p)
{
    if (p->variant == CONV_DEPTHWISE) return p->depth_multiplier * div_up(p->ic, LANES);
    return p->groups * div_up(p->oc / p->groups, LANES);
}

weights_shape weights_plan(const conv_problem *p, const conv_context *ctx)
{
    enum { TILES = 8 }; /* register tiles that share a task's reading of the gradient */
    weights_shape s = {.blocks = blocks_of(p), .chunk = TILES * ROWS};
    int64_t row = conv_out(&p->axis[CONV_W]) * LANES * (int64_t)sizeof(float);
    s.band = max64(1, (int64_t)(ctx->l2 / 4) / row);
    s.scratch_bytes = (size_t)(s.blocks * p->mb * out_pixels(p) * LANES) * sizeof(float);
    return s;
}

/* A block's output channels: o, o + step, ... `lanes` of them. */
typedef struct {
    int64_t o, step, lanes;
    int64_t group; /* dense */
} channels;

static channels channels_of(const conv_problem *p, int64_t block)
{
    int64_t in_row = p->variant == CONV_DEPTHWISE ? p->ic : p->oc / p->groups, per_row = div_up(in_row, LANES);
    int64_t row = block / per_row, first = block % per_row * LANES;
    channels c = {.lanes = min64(LANES, in_row - first)};
    if (p->variant == CONV_DEPTHWISE) {
        c.o = first * p->depth_multiplier + row;
        c.step = p->depth_multiplier;
    } else {
        c.o = row * in_row + first;
        c.step = 1;
        c.group = row;
    }
    return c;
}

/* to[OC] (+)= the block's sums. */
static void store_sums(const channels *c, const float sums[LANES], bool accumulate, float *to)
{
    for (int64_t l = 0; l < c->lanes; l++) {
        float *at = to + c->o + l * c->step;
        *at = (accumulate ? *at : 0) + sums[l];
    }
}

/* to[pixels][LANES]: the block's channels of diff_dst before the post-op, zeros beyond them. */
static void lay_out(const conv_problem *p, const conv_args *args, int64_t block, int64_t pixel, int64_t pixels,
                    float *to)
{
    channels c = channels_of(p, block);
    for (int64_t i = 0; i < pixels; i++, to += LANES) {
        int64_t at = (pixel + i) * p->oc + c.o;
        for (int64_t l = 0; l < c.lanes; l++, at += c.step)
            to[l] =
                p->post_op == CONV_POST_NONE || conv_passes(p->post_op, args->dst[at]) ? args->diff_dst[at] : 0;
        for (int64_t l = c.lanes; l < LANES; l++) to[l] = 0;
    }
}

/* Sums of sums: a band's pixels are added in a register, the bands' sums in another. */
static void add_bias(const weights_shape *s, const conv_problem *p, const conv_args *args,
                     const float *gradient, int64_t block)
{
    channels c = channels_of(p, block);
    int64_t pixels = p->mb * out_pixels(p), band = s->band * conv_out(&p->axis[CONV_W]);
    float total[LANES] = {0};
    for (int64_t from = 0; from < pixels; from += band) {
        float sum[LANES] = {0};
        for (int64_t i = from; i < min64(from + band, pixels); i++)
            for (int l = 0; l < LANES; l++) sum[l] += gradient[i * LANES + l];
        for (int l = 0; l < LANES; l++) total[l] += sum[l];
    }
    store_sums(&c, total, args->accumulate, args->diff_bias);
}

/* ---- one tap and one row: where real source pixels meet output pixels --------------------------------------
 */

typedef struct {
    const float *src;    /* the first source pixel */
    int64_t step, count; /* floats between source pixels; pixels */
    int64_t first;       /* output pixel of the row */
} stretch;

/* Output row of the whole batch. */
static stretch row_of(const conv_problem *p, const float *src, int64_t row, int64_t kh, int64_t kw)
{
    const conv_axis *h = &p->axis[CONV_H], *w = &p->axis[CONV_W];
    int64_t n = row / conv_out(h), y = row % conv_out(h) * h->stride - h->pad_before + kh * h->dilation;
    int64_t offset = kw * w->dilation - w->pad_before; /* x = ow * stride + offset */
    int64_t from = offset >= 0 ? 0 : div_up(-offset, w->stride);
    int64_t end = w->in <= offset ? 0 : min64(conv_out(w), div_up(w->in - offset, w->stride));
    if (y < 0 || y >= h->in || from >= end) return (stretch){0};
    return (stretch){src + ((n * h->in + y) * w->in + from * w->stride + offset) * p->ic, w->stride * p->ic,
                     end - from, from};
}

/* ---- tasks: a tap and a block */

typedef struct {
    const weights_shape *shape;
    const conv_problem *p;
    const conv_args *args;
    const float *gradient; /* of the block */
    int64_t tap, block;
} task;

/* The part of a row of the whole batch that the tap reads, from channel c on. */
static stretch tap_row(const task *t, int64_t c, int64_t row)
{
    int64_t kw = t->p->axis[CONV_W].kernel;
    return row_of(t->p, t->args->src + c, row, t->tap / kw, t->tap % kw);
}

/* The gradient that a stretch of an output row meets. */
static const float *gradient_at(const task *t, int64_t row, const stretch *s)
{
    return t->gradient + (row * conv_out(&t->p->axis[CONV_W]) + s->first) * LANES;
}

/* sums for input channels [c, c + rows) over output rows [row, row_end). */
static void band_sums(const task *t, int64_t c, int64_t rows, int64_t row, int64_t row_end, tile_sums sums)
{
    for (; row < row_end; row++) {
        stretch s = tap_row(t, c, row);
        const float *y = gradient_at(t, row, &s);
        if (rows == ROWS)
            tile_add_outer(sums, s.src, s.step, y, s.count);
        else
            for (int64_t i = 0; i < s.count; i++)
                for (int64_t r = 0; r < rows; r++)
                    for (int l = 0; l < LANES; l++) sums[r][l] += s.src[i * s.step + r] * y[i * LANES + l];
    }
}

/* Input channels [from, end) of the block's group. */
static void dense_task(const task *t, int64_t from, int64_t end)
{
    const conv_problem *p = t->p;
    channels o = channels_of(p, t->block);
    int64_t ic = p->ic / p->groups, all_rows = p->mb * conv_out(&p->axis[CONV_H]), band = t->shape->band;
    for (int64_t row = 0; row < all_rows; row += band)
        for (int64_t c = from; c < end; c += ROWS) {
            int64_t rows = min64(ROWS, end - c);
            tile_sums sums = {{0}};
            band_sums(t, o.group * ic + c, rows, row, min64(row + band, all_rows), sums);
            for (int64_t r = 0; r < rows; r++) {
                float *to = t->args->diff_weights + (t->tap * ic + c + r) * p->oc + o.o;
                for (int64_t l = 0; l < o.lanes; l++)
                    to[l] = (row > 0 || t->args->accumulate ? to[l] : 0) + sums[r][l];
            }
        }
}

static void depthwise_task(const task *t)
{
    const conv_problem *p = t->p;
    channels o = channels_of(p, t->block);
    int64_t all_rows = p->mb * conv_out(&p->axis[CONV_H]), band = t->shape->band;
    float total[LANES] = {0};
    for (int64_t from = 0; from < all_rows; from += band) {
        float sum[LANES] = {0};
        for (int64_t row = from; row < min64(from + band, all_rows); row++) {
            stretch x = tap_row(t, o.o / p->depth_multiplier, row);
            const float *y = gradient_at(t, row, &x);
            for (int64_t i = 0; i < x.count; i++)
                for (int64_t l = 0; l < o.lanes; l++) sum[l] += x.src[i * x.step + l] * y[i * LANES + l];
        }
        for (int l = 0; l < LANES; l++) total[l] += sum[l];
    }
    store_sums(&o, total, t->args->accumulate, t->args->diff_weights + t->tap * p->oc);
}

void weights_run(const weights_shape *s, const conv_problem *p, const conv_args *args, void *scratch,
                 int threads)
{
    enum { STRIP = 64 }; /* pixels laid out by a task */
    float *gradient = scratch;
    int64_t pixels = p->mb * out_pixels(p), taps = p->axis[CONV_H].kernel * p->axis[CONV_W].kernel;
    int64_t ic = p->variant == CONV_DEPTHWISE ? 1 : p->ic / p->groups;
#pragma omp parallel num_threads(threads)
    {
#pragma omp for collapse(2) schedule(static)
        for (int64_t b = 0; b < s->blocks; b++)
            for (int64_t i = 0; i < pixels; i += STRIP)
                lay_out(p, args, b, i, min64(STRIP, pixels - i), gradient + (b * pixels + i) * LANES);
#pragma omp for collapse(3) schedule(static) nowait
        for (int64_t b = 0; b < s->blocks; b++)
            for (int64_t t = 0; t < taps; t++)
                for (int64_t c = 0; c < ic; c += s->chunk) {
                    const task k = {s, p, args, gradient + b * pixels * LANES, t, b};
                    if (p->variant == CONV_DEPTHWISE)
                        depthwise_task(&k);
                    else
                        dense_task(&k, c, min64(c + s->chunk, ic));
                }
        if (p->bias) {
#pragma omp for schedule(static)
            for (int64_t b = 0; b < s->blocks; b++) add_bias(s, p, args, gradient + b * pixels * LANES, b);
        }
    }
}
