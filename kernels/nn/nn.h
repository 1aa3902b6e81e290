/* The other layers training needs: activation, pooling, dropout, loss, optimizer. (A dense layer is a pointwise
 * convolution of one pixel an image, and runs on kernels/conv.h.)
 *
 * Every function works on what it is given with the calling thread: the executor (harness/train/net.h) hands
 * out slices of the batch or ranges of the parameters, so that no result depends on the number of threads.
 * Compiled once per instruction set; nn_kernels_get() returns the widest copy allowed. Tensors are dense fp32,
 * NHWC, without alignment demands; a "row" is one image's worth of a tensor, or for softmax the last axis.
 * Nothing here fails, allocates or prints. */
#ifndef SEPBENCH_NN_H
#define SEPBENCH_NN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "../cpu.h"

typedef enum {
    NN_LINEAR,
    NN_RELU,
    NN_SIGMOID,
    NN_TANH,
    NN_ELU,  /* alpha 1, as Keras's string 'elu' */
    NN_SELU, /* alpha 1.67326324, scale 1.05070099 */
    NN_SOFTPLUS,
    NN_SOFTMAX, /* over the last axis */
    NN_ACTIVATION_COUNT
} nn_activation;

/* Pooling of [images][in_h][in_w][channels] into [images][out_h][out_w][channels]. Taps outside the image do
 * not exist: they are neither maximum nor counted by the average (as TensorFlow). */
typedef struct {
    int64_t in_h, in_w, channels, out_h, out_w;
    int64_t pool_h, pool_w, stride_h, stride_w, pad_top, pad_left;
    bool relu; /* max pooling: of relu(x), that is max(0, max x) */
} nn_pool;

enum {
    NN_POOL_WINDOW_MAX = 255, /* taps of a max pooling window: their index is a byte */
    NN_POOL_NONE = 255        /* argmax of an output without gradient: clipped by ReLU or dropped */
};

/* The first convolution of a network, fused with what follows: one input channel, stride 1, no padding, bias,
 * ReLU, 2x2 max pooling with stride 2. src [images][in_h][in_w], weights [kernel_h*kernel_w][channels]. */
typedef struct {
    int64_t in_h, in_w, kernel_h, kernel_w, channels;
    int64_t out_h, out_w; /* after pooling */
} nn_first;

/* NULL, or why nn_first does not cover it. */
const char *nn_first_refuse(const nn_first *p);

/* A convolution with stride 1 and no padding + bias + ReLU + 2x2 max pooling with stride 2. src
 * [images][in_h][in_w][in_channels]. */
typedef struct {
    int64_t in_h, in_w, in_channels, kernel_h, kernel_w, channels;
    int64_t out_h, out_w; /* after pooling */
} nn_pooled;

/* NULL, or why pooled_forward and pooled_backward do not cover it. */
const char *nn_pooled_refuse(const nn_pooled *p);
/* Bytes of the latter's scratch. */
size_t nn_pooled_scratch(const nn_pooled *p);

/* Random bits of one dropout layer at one training step. Element i of row r of the batch is decided by
 * Philox4x32-10 (Random123) at counter (i / 128, r, step, tag) alone. */
typedef struct {
    uint64_t key;  /* the run's seed */
    uint32_t tag;  /* tells layers apart, below 2^24 */
    uint32_t step; /* training step since the run began */
    uint32_t rate; /* probability of dropping, in units of 2^-16 */
} nn_dropout;

/* 64-bit words of the bits of one row. */
static inline int64_t nn_dropout_words(int64_t columns) { return (columns + 127) / 128 * 2; }
static inline float nn_dropout_scale(const nn_dropout *d) { return 65536.0f / (65536.0f - (float)d->rate); }

/* One parameter tensor's update. */
typedef struct {
    float learning_rate; /* Adam: lr * sqrt(1 - beta2^t) / (1 - beta1^t) */
    float beta_1, beta_2, epsilon;
    float momentum;
    bool nesterov;
    float rho; /* RMSprop */
} nn_rates;

typedef struct {
    cpu_isa isa;

    /* y = f(x), columns being the last axis; y may be x. */
    void (*activate)(nn_activation f, int64_t rows, int64_t columns, const float *x, float *y);
    /* dx = dy * f'(x), from y = f(x); dx may be dy. */
    void (*activate_backward)(nn_activation f, int64_t rows, int64_t columns, const float *y, const float *dy,
                              float *dx);

    /* argmax (NULL when no backward follows): [images][out_h][out_w][channels], the tap's index in the window.
     * bits (NULL without dropout): [images][nn_dropout_words(out_h*out_w*channels)], set = kept; kept ones are
     * multiplied by scale. */
    void (*max_pool)(const nn_pool *p, int64_t images, const float *x, const uint64_t *bits, float scale,
                     float *y, uint8_t *argmax);
    void (*max_pool_backward)(const nn_pool *p, int64_t images, const float *dy, const uint8_t *argmax,
                              float scale, float *dx);
    void (*average_pool)(const nn_pool *p, int64_t images, const float *x, float *y);
    void (*average_pool_backward)(const nn_pool *p, int64_t images, const float *dy, float *dx);

    /* dst [images][out_h][out_w][channels] with dropout's bits and scale, and argmax, as max_pool; bias may be
     * NULL. */
    void (*first_forward)(const nn_first *p, int64_t images, const float *x, const float *weights,
                          const float *bias, const uint64_t *bits, float scale, float *y, uint8_t *argmax);
    /* dw [kernel_h*kernel_w][channels], db [channels]: overwritten, or added to. */
    void (*first_backward)(const nn_first *p, int64_t images, const float *x, const float *dy,
                           const uint8_t *argmax, float scale, bool accumulate, float *dw, float *db);

    /* y[columns][rows] = x[rows][columns] transposed. */
    void (*transpose)(int64_t rows, int64_t columns, const float *x, float *y);
    /* As first_forward; weights [kernel_h][kernel_w][in_channels][channels]. */
    void (*pooled_forward)(const nn_pooled *p, int64_t images, const float *x, const float *weights,
                           const float *bias, const uint64_t *bits, float scale, float *y, uint8_t *argmax);
    /* dy, argmax [images][out_h][out_w][channels] of the pooled output, weights [channels][kernel_h][kernel_w]
     * [in_channels]. dx (NULL: not wanted) as src, overwritten; dw [kernel_h][kernel_w][in_channels][channels],
     * db [channels] (NULL without bias): overwritten, or added to. */
    void (*pooled_backward)(const nn_pooled *p, int64_t images, const float *x, const float *dy,
                            const uint8_t *argmax, float scale, const float *weights, bool accumulate,
                            float *dx, float *dw, float *db, void *scratch);

    /* bits: [rows][nn_dropout_words(columns)] for rows first_row... of the batch. */
    void (*dropout_bits)(const nn_dropout *d, int64_t first_row, int64_t rows, int64_t columns, uint64_t *bits);
    /* y = bit ? x * scale : 0. Forward and backward are the same; y may be x. */
    void (*dropout)(int64_t rows, int64_t columns, const uint64_t *bits, float scale, const float *x, float *y);

    /* x[count] bytes to [0,1]: x / 255. */
    void (*scale_pixels)(int64_t count, const uint8_t *x, float *y);

    /* Softmax of x[rows][classes] with the categorical cross-entropy of labels[rows], from the logits:
     * loss[rows], correct[rows] (1 when the label's is the first largest), and unless NULL p (probabilities)
     * and dx = (p - one_hot) * scale. */
    void (*softmax_cross_entropy)(int64_t rows, int64_t classes, const float *x, const uint8_t *labels,
                                  float scale, float *loss, uint8_t *correct, float *p, float *dx);
    /* The same loss of outputs that are no softmax's, as Keras: y / sum(y), clipped to [1e-7, 1 - 1e-7]. */
    void (*cross_entropy)(int64_t rows, int64_t classes, const float *y, const uint8_t *labels, float scale,
                          float *loss, uint8_t *correct, float *dy);

    /* g[count] = sum over chunks of parts[chunk * stride + i], chunks in order. */
    void (*sum_chunks)(int64_t count, int64_t chunks, int64_t stride, const float *parts, float *g);
    /* Returns scale * (l1 * sum|x| + l2 * sum x^2) and, unless NULL, adds its gradient to g. */
    double (*penalty)(int64_t count, float l1, float l2, float scale, const float *x, float *g);
    /* Keras's updates, one pass over count parameters. */
    void (*adam)(int64_t count, const nn_rates *r, const float *g, float *w, float *m, float *v);
    void (*sgd)(int64_t count, const nn_rates *r, const float *g, float *w, float *velocity);
    void (*rmsprop)(int64_t count, const nn_rates *r, const float *g, float *w, float *mean_square);
} nn_kernels;

/* The widest copy this CPU and SEPBENCH_MAX_ISA allow. */
const nn_kernels *nn_kernels_get(void);
/* The copy of that instruction set, or NULL: not built, not allowed. For tests. */
const nn_kernels *nn_kernels_at(cpu_isa isa);

#endif
