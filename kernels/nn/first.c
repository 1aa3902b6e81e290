/* Convolution of one input channel + bias + ReLU + 2x2 max pooling (+ dropout) in one pass: the convolution's
 * output, 120 times the size of its input on MNIST, never leaves the registers. Loops: block of channels,
 * image, pooled row, pooled column; per pooled element its four outputs are computed side by side from a patch
 * of kernel + 1, the weights of the block staying in registers. Backward sums the weights' gradient over all
 * positions in registers; there is no gradient by the input, a network's first layer needs none. Serial: the
 * caller slices the batch. */
#include "../util.h"
#include "internal.h"
#include "lanes.h"

enum { WINDOW = 4, MAX_TAPS = 25 }; /* outputs of a pooling window */

/* A pooled row of `blocks` vectors of channels: where it begins in each tensor. */
typedef struct {
    const float *x, *weights, *bias;
    const uint64_t *bits; /* of this image */
    int64_t at;           /* in them, and in the outputs of this image */
    float scale, *y;
    uint8_t *argmax;
} row;

ALWAYS_INLINE void forward_row(const nn_pooled *p, const int kh, const int kw, const int blocks, row r)
{
    for (int64_t ow = 0; ow < p->out_w; ow++, r.x += 2, r.y += p->channels, r.at += p->channels) {
        lanes sum[2][WINDOW];
        UNROLL for (int b = 0; b < blocks; b++)
        {
            lanes start = r.bias != NULL ? load(r.bias + b * LANES) : (lanes){0};
            UNROLL for (int k = 0; k < WINDOW; k++) sum[b][k] = start;
        }
        UNROLL for (int h = 0; h < kh; h++)
        {
            UNROLL for (int w = 0; w < kw; w++)
            {
                UNROLL for (int b = 0; b < blocks; b++)
                {
                    lanes weight = load(r.weights + (h * kw + w) * p->channels + b * LANES);
                    UNROLL for (int k = 0; k < WINDOW; k++) sum[b][k] +=
                        weight * r.x[(h + k / 2) * p->in_w + w + k % 2];
                }
            }
        }
        UNROLL for (int b = 0; b < blocks; b++)
        {
            put_winner(sum[b], r.bits, r.at + b * LANES, r.scale, r.y + b * LANES,
                       r.argmax == NULL ? NULL : r.argmax + b * LANES);
        }
        if (r.argmax != NULL) r.argmax += p->channels;
    }
}

ALWAYS_INLINE void forward_image(const nn_pooled *p, const int kh, const int kw, const row *image)
{
    for (int64_t oh = 0; oh < p->out_h; oh++)
        for (int64_t c = 0; c < p->channels;) {
            row r = *image;
            r.at = oh * p->out_w * p->channels + c;
            r.x += 2 * oh * p->in_w;
            r.weights += c;
            r.y += r.at;
            if (r.bias != NULL) r.bias += c;
            if (r.argmax != NULL) r.argmax += r.at;
            if (c + 2 * LANES <= p->channels) {
                forward_row(p, kh, kw, 2, r);
                c += 2 * LANES;
            } else {
                forward_row(p, kh, kw, 1, r);
                c += LANES;
            }
        }
}

void nn_first_forward(const nn_pooled *p, int64_t images, const float *x, const float *weights,
                      const float *bias, const nn_pool_output *out)
{
    int64_t count = p->out_h * p->out_w * p->channels;
    for (int64_t n = 0; n < images; n++) {
        row image = {.x = x + n * p->in_h * p->in_w,
                     .weights = weights,
                     .bias = bias,
                     .bits = out->bits == NULL ? NULL : out->bits + n * nn_dropout_words(count),
                     .scale = out->bits == NULL ? 1 : out->scale,
                     .y = out->y + n * count,
                     .argmax = out->argmax == NULL ? NULL : out->argmax + n * count};
        if (p->kernel_h == 3)
            forward_image(p, 3, 3, &image);
        else
            forward_image(p, 5, 5, &image);
    }
}

/* One block of channels over all images. */
ALWAYS_INLINE void backward_block(const nn_pooled *p, const int kh, const int kw, int64_t images,
                                  const float *x, const nn_pool_diff *diff, const nn_pooled_gradients *to)
{
    const float *dy = diff->dy, scale = diff->scale;
    const uint8_t *argmax = diff->argmax;
    lanes sum[MAX_TAPS], bias = {0};
    UNROLL for (int t = 0; t < kh * kw; t++) sum[t] = (lanes){0};
    for (int64_t n = 0; n < images; n++, x += p->in_h * p->in_w)
        for (int64_t oh = 0; oh < p->out_h; oh++) {
            const float *patch = x + 2 * oh * p->in_w;
            for (int64_t ow = 0; ow < p->out_w; ow++, patch += 2, dy += p->channels, argmax += p->channels) {
                indices index = load_bytes(argmax);
                lanes d = (lanes)((index != NN_POOL_NONE) & (indices)load(dy));
                bias += d;
                UNROLL for (int k = 0; k < WINDOW; k++)
                {
                    lanes share = (lanes)((index == k) & (indices)d);
                    UNROLL for (int h = 0; h < kh; h++)
                    {
                        UNROLL for (int w = 0; w < kw; w++) sum[h * kw + w] +=
                            share * patch[(h + k / 2) * p->in_w + w + k % 2];
                    }
                }
            }
        }
    UNROLL for (int t = 0; t < kh * kw; t++)
    {
        float *dw = to->dw + t * p->channels;
        store(dw, to->accumulate ? load(dw) + sum[t] * scale : sum[t] * scale);
    }
    if (to->db != NULL) store(to->db, to->accumulate ? load(to->db) + bias * scale : bias * scale);
}

void nn_first_backward(const nn_pooled *p, int64_t images, const float *x, const nn_pool_diff *diff,
                       const nn_pooled_gradients *to)
{
    for (int64_t c = 0; c < p->channels; c += LANES) {
        nn_pool_diff d = {diff->dy + c, diff->argmax + c, diff->scale};
        nn_pooled_gradients g = {
            .dw = to->dw + c, .db = to->db == NULL ? NULL : to->db + c, .accumulate = to->accumulate};
        if (p->kernel_h == 3)
            backward_block(p, 3, 3, images, x, &d, &g);
        else
            backward_block(p, 5, 5, images, x, &d, &g);
    }
}
