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

/* A pooled row of `blocks` vectors of channels starting at channel c. */
ALWAYS_INLINE void forward_row(const nn_first *p, const int kh, const int kw, const int blocks, const float *x,
                               const float *weights, const float *bias, const uint64_t *bits, int64_t at,
                               float scale, float *y, uint8_t *argmax)
{
    for (int64_t ow = 0; ow < p->out_w; ow++, x += 2, y += p->channels, at += p->channels) {
        lanes sum[2][WINDOW];
        UNROLL for (int b = 0; b < blocks; b++)
        {
            lanes start = bias != NULL ? load(bias + b * LANES) : (lanes){0};
            UNROLL for (int k = 0; k < WINDOW; k++) sum[b][k] = start;
        }
        UNROLL for (int h = 0; h < kh; h++)
        {
            UNROLL for (int w = 0; w < kw; w++)
            {
                UNROLL for (int b = 0; b < blocks; b++)
                {
                    lanes weight = load(weights + (h * kw + w) * p->channels + b * LANES);
                    UNROLL for (int k = 0; k < WINDOW; k++) sum[b][k] +=
                        weight * x[(h + k / 2) * p->in_w + w + k % 2];
                }
            }
        }
        UNROLL for (int b = 0; b < blocks; b++)
        {
            put_winner(sum[b], bits, at + b * LANES, scale, y + b * LANES,
                       argmax == NULL ? NULL : argmax + b * LANES);
        }
        if (argmax != NULL) argmax += p->channels;
    }
}

ALWAYS_INLINE void forward(const nn_first *p, const int kh, const int kw, int64_t images, const float *x,
                           const float *weights, const float *bias, const uint64_t *bits, float scale, float *y,
                           uint8_t *argmax)
{
    int64_t row = p->out_w * p->channels, out = p->out_h * row;
    for (int64_t n = 0; n < images; n++)
        for (int64_t oh = 0; oh < p->out_h; oh++)
            for (int64_t c = 0; c < p->channels;) {
                const float *from = x + (n * p->in_h + 2 * oh) * p->in_w, *b = bias == NULL ? NULL : bias + c;
                const uint64_t *keep = bits == NULL ? NULL : bits + n * nn_dropout_words(out);
                int64_t to = n * out + oh * row + c;
                uint8_t *which = argmax == NULL ? NULL : argmax + to;
                if (c + 2 * LANES <= p->channels) {
                    forward_row(p, kh, kw, 2, from, weights + c, b, keep, oh * row + c, scale, y + to, which);
                    c += 2 * LANES;
                } else {
                    forward_row(p, kh, kw, 1, from, weights + c, b, keep, oh * row + c, scale, y + to, which);
                    c += LANES;
                }
            }
}

void nn_first_forward(const nn_first *p, int64_t images, const float *x, const float *weights,
                      const float *bias, const uint64_t *bits, float scale, float *y, uint8_t *argmax)
{
    if (p->kernel_h == 3)
        forward(p, 3, 3, images, x, weights, bias, bits, bits != NULL ? scale : 1, y, argmax);
    else
        forward(p, 5, 5, images, x, weights, bias, bits, bits != NULL ? scale : 1, y, argmax);
}

/* One block of channels over all images. */
ALWAYS_INLINE void backward_block(const nn_first *p, const int kh, const int kw, int64_t images, const float *x,
                                  const float *dy, const uint8_t *argmax, float scale, bool accumulate,
                                  float *dw, float *db)
{
    lanes sum[MAX_TAPS], bias = {0};
    UNROLL for (int t = 0; t < kh * kw; t++) sum[t] = (lanes){0};
    for (int64_t n = 0; n < images; n++, x += p->in_h * p->in_w)
        for (int64_t oh = 0; oh < p->out_h; oh++) {
            const float *patch = x + 2 * oh * p->in_w;
            for (int64_t ow = 0; ow < p->out_w; ow++, patch += 2, dy += p->channels, argmax += p->channels) {
                bytes code;
                memcpy(&code, argmax, sizeof code);
                indices index = __builtin_convertvector(code, indices);
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
        float *to = dw + t * p->channels;
        store(to, accumulate ? load(to) + sum[t] * scale : sum[t] * scale);
    }
    if (db != NULL) store(db, accumulate ? load(db) + bias * scale : bias * scale);
}

void nn_first_backward(const nn_first *p, int64_t images, const float *x, const float *dy,
                       const uint8_t *argmax, float scale, bool accumulate, float *dw, float *db)
{
    for (int64_t c = 0; c < p->channels; c += LANES) {
        float *bias = db == NULL ? NULL : db + c;
        if (p->kernel_h == 3)
            backward_block(p, 3, 3, images, x, dy + c, argmax + c, scale, accumulate, dw + c, bias);
        else
            backward_block(p, 5, 5, images, x, dy + c, argmax + c, scale, accumulate, dw + c, bias);
    }
}
