/* A convolution + bias + ReLU + 2x2 max pooling (+ dropout) in one pass, and its backward.
 *
 * Forward: the four outputs of a window, of several windows side by side, are one register tile, so that the
 * convolution's output never leaves the registers, and outputs that no window reads are not computed. Loops:
 * image, block of channels, windows, tap, input channel.
 *
 * Backward: of a window's outputs only the winner has a gradient, and none where ReLU clipped or dropout
 * dropped it. Instead of spreading that over a tensor that is zero in more than three places of four, every
 * winner is taken by itself: its patch of the input (kernel_h rows of kernel_w * in_channels neighbouring
 * floats) times its gradient goes to its channel's weights, and its channel's weights times its gradient go to
 * its patch of diff_src. Loops: image, channel, winner; the channel's weights or their gradient stay in
 * registers, the image in L1; both are [channels][taps] meanwhile, so that a patch and they are rows alike.
 *
 * Serial: the caller slices the batch. */
#include <string.h>

#include "../util.h"
#include "internal.h"
#include "lanes.h"

enum {
    WINDOW = 4,                     /* outputs of a pooling window */
    TOGETHER = LANES == 16 ? 3 : 1, /* windows in a register tile */
    AT_ONCE = 32,                   /* windows whose winners one word a channel tells */
    TILE = 16
};

/* ---- forward */

typedef struct {
    const float *x, *weights, *bias; /* of this image; of this block of channels, bias or NULL */
    const uint64_t *bits;            /* of this image, or NULL */
    float scale, *y;                 /* of this image */
    uint8_t *argmax;
} image;

/* Windows first ..., channels c ... of one image. */
ALWAYS_INLINE void forward_tile(const nn_pooled *p, const image *m, const int windows, const int vectors,
                                int64_t first, int64_t c)
{
    lanes sum[TOGETHER][2][WINDOW];
    const float *from[TOGETHER], *weights = m->weights + c;
    UNROLL for (int w = 0; w < windows; w++)
    {
        int64_t oh = (first + w) / p->out_w, ow = (first + w) % p->out_w;
        from[w] = m->x + (2 * oh * p->in_w + 2 * ow) * p->in_channels;
        UNROLL for (int v = 0; v < vectors; v++)
        {
            lanes start = m->bias != NULL ? load(m->bias + c + v * LANES) : (lanes){0};
            UNROLL for (int k = 0; k < WINDOW; k++) sum[w][v][k] = start;
        }
    }
    int64_t row = p->in_w * p->in_channels, patch = p->kernel_w * p->in_channels;
    for (int64_t h = 0; h < p->kernel_h; h++) {
        for (int64_t i = 0; i < patch; i++, weights += p->channels) {
            lanes weight[2];
            UNROLL for (int v = 0; v < vectors; v++) weight[v] = load(weights + v * LANES);
            UNROLL for (int w = 0; w < windows; w++)
            {
                UNROLL for (int k = 0; k < WINDOW; k++)
                {
                    float x = from[w][k / 2 * row + k % 2 * p->in_channels + i];
                    UNROLL for (int v = 0; v < vectors; v++) sum[w][v][k] += weight[v] * x;
                }
            }
        }
        UNROLL for (int w = 0; w < windows; w++) from[w] += row;
    }
    UNROLL for (int w = 0; w < windows; w++)
    {
        UNROLL for (int v = 0; v < vectors; v++)
        {
            int64_t at = (first + w) * p->channels + c + v * LANES;
            put_winner(sum[w][v], m->bits, at, m->scale, m->y + at, m->argmax == NULL ? NULL : m->argmax + at);
        }
    }
}

ALWAYS_INLINE void forward_block(const nn_pooled *p, const image *m, const int vectors, int64_t c)
{
    int64_t windows = p->out_h * p->out_w, w = 0;
    for (; w + TOGETHER <= windows; w += TOGETHER) forward_tile(p, m, TOGETHER, vectors, w, c);
    for (; w < windows; w++) forward_tile(p, m, 1, vectors, w, c);
}

void nn_pooled_forward(const nn_pooled *p, int64_t images, const float *x, const float *weights,
                       const float *bias, const nn_pool_output *to)
{
    int64_t in = p->in_h * p->in_w * p->in_channels, out = p->out_h * p->out_w * p->channels;
    for (int64_t n = 0; n < images; n++) {
        image m = {.x = x + n * in,
                   .weights = weights,
                   .bias = bias,
                   .bits = to->bits == NULL ? NULL : to->bits + n * nn_dropout_words(out),
                   .scale = to->bits == NULL ? 1 : to->scale,
                   .y = to->y + n * out,
                   .argmax = to->argmax == NULL ? NULL : to->argmax + n * out};
        int64_t c = 0;
        for (; c + 2 * LANES <= p->channels; c += 2 * LANES) forward_block(p, &m, 2, c);
        for (; c < p->channels; c += LANES) forward_block(p, &m, 1, c);
    }
}

/* ---- backward */

/* The winners of some windows of one image. */
typedef struct {
    const float *dy;         /* [windows][channels] */
    const uint8_t *argmax;   /* the same */
    uint32_t *live;          /* [channels]: bit w is set where window w has a gradient */
    int64_t channels, row;   /* row: floats from one row of the input to the next */
    int64_t origin[AT_ONCE]; /* of the windows in the input */
    int64_t tap[WINDOW];     /* of the winners in their windows */
    float scale;
} winners;

void nn_transpose(int64_t rows, int64_t columns, const float *x, float *y)
{
    for (int64_t r0 = 0; r0 < rows; r0 += TILE)
        for (int64_t c0 = 0; c0 < columns; c0 += TILE) {
            int64_t r1 = r0 + TILE < rows ? r0 + TILE : rows, c1 = c0 + TILE < columns ? c0 + TILE : columns;
            for (int64_t c = c0; c < c1; c++)
                for (int64_t r = r0; r < r1; r++) y[c * rows + r] = x[r * columns + c];
        }
}

/* Taps of a channel: where they meet the image, and what goes with them. */
typedef struct {
    const float *x, *weights;
    float *dx, *dw;
} taps;

typedef enum { TO_WEIGHTS = 1, TO_DATA = 2, TO_BOTH = 3 } gradient_of;

static taps moved(taps at, const gradient_of what, int64_t place, int64_t tap)
{
    at.x += place;
    if (what & TO_DATA) at.dx += place, at.weights += tap;
    if (what & TO_WEIGHTS) at.dw += tap;
    return at;
}

/* Of every winner of channel c, d being its gradient, for taps [rows][vectors]: dw += d * the patch of x, and
 * the patch of dx += d * weights. */
ALWAYS_INLINE void block(const winners *g, int64_t c, const int rows, const int vectors, const gradient_of what,
                         const taps at)
{
    lanes sum[18], weight[18];
    UNROLL for (int i = 0; i < rows * vectors; i++)
    {
        if (what & TO_WEIGHTS) sum[i] = load(at.dw + i * LANES);
        if (what & TO_DATA) weight[i] = load(at.weights + i * LANES);
    }
    for (uint32_t left = g->live[c]; left != 0; left &= left - 1) {
        int w = __builtin_ctz(left);
        int64_t won = w * g->channels + c, place = g->origin[w] + g->tap[g->argmax[won]];
        float d = g->dy[won] * g->scale;
        UNROLL for (int i = 0; i < rows * vectors; i++)
        {
            int64_t to = place + i / vectors * g->row + i % vectors * LANES;
            if (what & TO_WEIGHTS) sum[i] += d * load(at.x + to);
            if (what & TO_DATA) store(at.dx + to, load(at.dx + to) + d * weight[i]);
        }
    }
    UNROLL for (int i = 0; i < rows * vectors; i++)
    {
        if (what & TO_WEIGHTS) store(at.dw + i * LANES, sum[i]);
    }
}

/* Both at once for a small kernel, where finding the winners is most of the work. */
static void joint_channel(const winners *g, int64_t c, int64_t vectors, taps at)
{
    switch (vectors) {
    case 1: block(g, c, 1, 1, TO_BOTH, at); break;
    case 2: block(g, c, 1, 2, TO_BOTH, at); break;
    default: block(g, c, 1, 4, TO_BOTH, at);
    }
}

/* Blocks as wide as the registers allow. */
ALWAYS_INLINE void channel(const nn_pooled *p, const winners *g, int64_t c, const gradient_of what, taps at)
{
    int64_t vectors = p->kernel_w * p->in_channels / LANES;
    if (LANES == 16 && p->kernel_h == 3 && vectors == 6) {
        block(g, c, 3, 6, what, at);
        return;
    }
    for (int64_t h = 0; h < p->kernel_h; h++) {
        for (int64_t v = 0, done; v < vectors; v += done, at = moved(at, what, done * LANES, done * LANES)) {
            done = vectors - v >= 12 ? 12 : vectors - v >= 6 ? 6 : vectors - v >= 3 ? 3 : 1;
            switch (done) {
            case 12: block(g, c, 1, 12, what, at); break;
            case 6: block(g, c, 1, 6, what, at); break;
            case 3: block(g, c, 1, 3, what, at); break;
            default: block(g, c, 1, 1, what, at);
            }
        }
        at = moved(at, what, g->row - vectors * LANES, 0);
    }
}

static void weights_channel(const nn_pooled *p, const winners *g, int64_t c, taps at)
{
    channel(p, g, c, TO_WEIGHTS, at);
}

static void data_channel(const nn_pooled *p, const winners *g, int64_t c, taps at)
{
    channel(p, g, c, TO_DATA, at);
}

/* Of the windows first ... of an image, as many as there is room for; returns how many. Adds to db. */
static int64_t next_winners(const nn_pooled *p, int64_t first, const nn_pool_diff *image, winners *g, float *db)
{
    int64_t windows = min64(p->out_h * p->out_w - first, AT_ONCE);
    g->dy = image->dy + first * p->channels;
    g->argmax = image->argmax + first * p->channels;
    for (int64_t w = 0; w < windows; w++) {
        int64_t oh = (first + w) / p->out_w, ow = (first + w) % p->out_w;
        g->origin[w] = (oh * 2 * p->in_w + ow * 2) * p->in_channels;
    }
    for (int64_t c = 0; c < p->channels; c += LANES) {
        words alive = {0}, bit = (words){0} + 1;
        lanes sum = load(db + c);
        for (int64_t w = 0; w < windows; w++, bit += bit) {
            indices won = load_bytes(g->argmax + w * p->channels + c) != NN_POOL_NONE;
            alive |= (words)won & bit;
            sum += (lanes)(won & (indices)load(g->dy + w * p->channels + c));
        }
        memcpy(g->live + c, &alive, sizeof alive);
        store(db + c, sum);
    }
    return windows;
}

/* Sums [channels][taps] to the gradient of the weights, transposed on the way, and of the bias. */
static void write_gradient(const nn_pooled *p, const float *sum, const float *bias, float scale,
                           const nn_pooled_gradients *to)
{
    int64_t taps = p->kernel_h * p->kernel_w * p->in_channels;
    for (int64_t c0 = 0; c0 < p->channels; c0 += TILE)
        for (int64_t t = 0; t < taps; t++)
            for (int64_t c = c0; c < c0 + TILE && c < p->channels; c++) {
                float *dw = to->dw + t * p->channels + c;
                *dw = to->accumulate ? *dw + sum[c * taps + t] : sum[c * taps + t];
            }
    for (int64_t c = 0; c < p->channels && to->db != NULL; c++)
        to->db[c] = to->accumulate ? to->db[c] + bias[c] * scale : bias[c] * scale;
}

void nn_pooled_backward(const nn_pooled *p, int64_t images, const float *x, const nn_pool_diff *diff,
                        const nn_pooled_gradients *to)
{
    int64_t taps_all = p->kernel_h * p->kernel_w * p->in_channels, in = p->in_h * p->in_w * p->in_channels,
            out = p->out_h * p->out_w, vectors = p->in_channels / LANES;
    float *sum = to->scratch, *bias = sum + p->channels * taps_all;
    winners g = {.live = (uint32_t *)(bias + p->channels),
                 .channels = p->channels,
                 .row = p->in_w * p->in_channels,
                 .scale = diff->scale};
    float *dx = to->dx;
    for (int64_t k = 0; k < WINDOW; k++) g.tap[k] = (k / 2 * p->in_w + k % 2) * p->in_channels;
    bool joint = dx != NULL && taps_all == p->in_channels && (vectors == 1 || vectors == 2 || vectors == 4);
    memset(sum, 0, (size_t)(p->channels * (taps_all + 1)) * sizeof *sum);
    for (int64_t n = 0; n < images; n++, x += in) {
        nn_pool_diff image = {diff->dy + n * out * p->channels, diff->argmax + n * out * p->channels, 0};
        if (dx != NULL) memset(dx, 0, (size_t)in * sizeof *dx);
        for (int64_t first = 0; first < out;) {
            first += next_winners(p, first, &image, &g, bias);
            for (int64_t c = 0; c < p->channels; c++) {
                taps at = {x, to->weights + c * taps_all, dx, sum + c * taps_all};
                if (joint)
                    joint_channel(&g, c, vectors, at);
                else
                    weights_channel(p, &g, c, at);
            }
            for (int64_t c = 0; c < p->channels && dx != NULL && !joint; c++)
                data_channel(p, &g, c, (taps){x, to->weights + c * taps_all, dx, sum + c * taps_all});
        }
        if (dx != NULL) dx += in;
    }
    write_gradient(p, sum, bias, diff->scale, to);
}
