/* Loop order of a task (a tap, a chunk of input channels, a block of LANES output channels):
 *
 *   bands of output rows or parts of one | register tiles of ROWS input channels | rows of the band | pixels
 *
 * First diff_dst, masked by dst, is laid out block by block, [block][pixels][LANES]: then a register tile
 * reads it in one stream, and a band of it stays in L2 for all input channels. Each task owns its part of
 * diff_weights and adds the bands to it in order. Depthwise: a task is a tap and a block, its lanes the
 * channels. */
#include "weights.h"

#include "../plan.h"
#include "../rows.h"
#include "tile.h"

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
    int64_t width = conv_out(&p->axis[CONV_W]), fits = (int64_t)(ctx->l2 / 4 / sizeof(float)) / LANES;
    s.pieces = min64(width, div_up(width, max64(1, fits)));
    s.band = max64(1, fits * s.pieces / width);
    s.scratch_bytes = (size_t)(s.blocks * p->mb * conv_dst_pixels(p) * LANES) * sizeof(float);
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
    int64_t pixels = p->mb * conv_dst_pixels(p), band = div_up(s->band * conv_out(&p->axis[CONV_W]), s->pieces);
    float total[LANES] = {0};
    for (int64_t from = 0; from < pixels; from += band) {
        float sum[LANES] = {0};
        for (int64_t i = from; i < min64(from + band, pixels); i++)
            for (int l = 0; l < LANES; l++) sum[l] += gradient[i * LANES + l];
        for (int l = 0; l < LANES; l++) total[l] += sum[l];
    }
    store_sums(&c, total, args->accumulate, args->diff_bias);
}

/* ---- tasks: a tap and a block */

typedef struct {
    const weights_shape *shape;
    const conv_problem *p;
    const conv_args *args;
    const float *gradient; /* of the block */
    int64_t tap, block;
    tap_rows rows;
    int64_t offset, first, past; /* source x = output x * stride + offset, for x in [first, past) a real one */
    int64_t width, height,
        source;         /* pixels of an output row; its rows of an image; source pixels of an image */
    int64_t all_pieces; /* of rows of the whole batch */
} task;

static task task_of(const weights_shape *s, const conv_problem *p, const conv_args *args, int64_t block,
                    int64_t tap)
{
    const conv_axis *w = &p->axis[CONV_W];
    int64_t width = conv_out(w), height = conv_dst_pixels(p) / width;
    int64_t offset = tap % w->kernel * w->dilation - w->pad_before;
    return (task){.shape = s,
                  .p = p,
                  .args = args,
                  .gradient = (const float *)args->scratch + block * p->mb * height * width * LANES,
                  .tap = tap,
                  .block = block,
                  .rows = tap_rows_of(p, tap / w->kernel, conv_out(&p->axis[CONV_H])),
                  .offset = offset,
                  .first = offset >= 0 ? 0 : div_up(-offset, w->stride),
                  .past = w->in <= offset ? 0 : div_up(w->in - offset, w->stride),
                  .width = width,
                  .height = height,
                  .source = conv_src_pixels(p),
                  .all_pieces = p->mb * height * s->pieces};
}

/* Where real source pixels meet pixels of an output row. */
typedef struct {
    const float *src;      /* the first source pixel */
    int64_t step, count;   /* floats between source pixels; pixels */
    const float *gradient; /* of the first output pixel */
} stretch;

/* What the tap reads for a piece of a row of the whole batch, from channel c on. Inlined, or the sums of a tile
 * that is not full would not stay in registers. */
ALWAYS_INLINE stretch tap_piece(const task *t, int64_t c, int64_t piece)
{
    const conv_axis *w = &t->p->axis[CONV_W];
    int64_t row = piece / t->shape->pieces, in = tap_rows_source(&t->rows, row % t->height), from, end;
    share(t->width, piece % t->shape->pieces, t->shape->pieces, &from, &end);
    from = max64(from, t->first);
    end = min64(end, t->past);
    if (in < 0 || from >= end) return (stretch){0};
    int64_t pixel = row / t->height * t->source + in * w->in + from * w->stride + t->offset;
    return (stretch){t->args->src + pixel * t->p->ic + c, w->stride * t->p->ic, end - from,
                     t->gradient + (row * t->width + from) * LANES};
}

/* sums for input channels [c, c + rows) over pieces [piece, end). */
static void band_sums(const task *t, int64_t c, int64_t rows, int64_t piece, int64_t end, tile_sums sums)
{
    for (; piece < end; piece++) {
        const stretch s = tap_piece(t, c, piece);
        const float *y = s.gradient;
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
    int64_t ic = p->ic / p->groups, band = t->shape->band;
    for (int64_t piece = 0; piece < t->all_pieces; piece += band)
        for (int64_t c = from; c < end; c += ROWS) {
            int64_t rows = min64(ROWS, end - c);
            tile_sums sums = {{0}};
            band_sums(t, o.group * ic + c, rows, piece, min64(piece + band, t->all_pieces), sums);
            for (int64_t r = 0; r < rows; r++) {
                float *to = t->args->diff_weights + (t->tap * ic + c + r) * p->oc + o.o;
                for (int64_t l = 0; l < o.lanes; l++)
                    to[l] = (piece > 0 || t->args->accumulate ? to[l] : 0) + sums[r][l];
            }
        }
}

static void depthwise_task(const task *t)
{
    const conv_problem *p = t->p;
    channels o = channels_of(p, t->block);
    float total[LANES] = {0};
    for (int64_t from = 0; from < t->all_pieces; from += t->shape->band) {
        float sum[LANES] = {0};
        for (int64_t piece = from; piece < min64(from + t->shape->band, t->all_pieces); piece++) {
            stretch x = tap_piece(t, o.o / p->depth_multiplier, piece);
            const float *y = x.gradient;
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
    int64_t pixels = p->mb * conv_dst_pixels(p), taps = conv_taps(p);
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
                    const task k = task_of(s, p, args, b, t);
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
