/* What training needs beside convolutions: activations, pooling, normalization, views, dropout, losses and
 * optimizers. (A dense layer is a pointwise convolution of one pixel an image, and runs on kernels/conv.h.)
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

#include "../conv.h"

typedef enum {
    NN_LINEAR,
    NN_RELU,
    NN_SIGMOID,
    NN_TANH,
    NN_ELU,  /* alpha */
    NN_SELU, /* alpha 1.67326324, scale 1.05070099 */
    NN_SOFTPLUS,
    NN_RELU6,
    NN_SOFTMAX, /* this and the next along one axis */
    NN_LOG_SOFTMAX,
    NN_EXPONENTIAL,
    NN_SOFTSIGN,
    NN_HARD_SIGMOID,   /* Keras 3's, relu6(x + 3) / 6 */
    NN_HARD_SIGMOID_2, /* Keras 2's, 0.2 x + 0.5 within [0, 1] */
    NN_HARD_TANH,
    NN_LOG_SIGMOID,
    NN_SPARSE_SIGMOID,
    NN_SPARSE_PLUS,
    NN_SQUAREPLUS,  /* b 4 */
    NN_HARD_SHRINK, /* threshold 0.5, as the next */
    NN_SOFT_SHRINK,
    NN_SILU, /* of these the derivative is computed from the input */
    NN_HARD_SILU,
    NN_GELU, /* exact */
    NN_MISH,
    NN_TANH_SHRINK,
    NN_SHAPED_RELU, /* x up to most above threshold, alpha * (x - threshold) below */
    NN_ACTIVATION_COUNT
} nn_activation;

/* Whether activate_backward wants the activation's input, else its output. */
static inline bool nn_derived_from_input(nn_activation f) { return f >= NN_SILU; }

/* An activation of tensors [rows][columns][step]; which axis is `columns` and what the numbers are matters only
 * where it says so above. */
typedef struct {
    nn_activation kind;
    float alpha, most, threshold;
    int64_t columns, step;
} nn_function;

/* Pooling of [images][in D][in H][in W][channels] into [images][out D][out H][out W][channels]; of fewer axes,
 * the outer ones are 1. Taps outside the image do not exist: they are neither maximum nor counted by the
 * average (as TensorFlow). */
typedef struct {
    conv_axis axis[CONV_AXES]; /* kernel is the window's size, dilation 1 */
    int64_t out[CONV_AXES];    /* conv_out of each */
    int64_t channels;
    bool relu; /* max pooling: of relu(x), that is max(0, max x) */
} nn_pool;

enum {
    NN_POOL_WINDOW_MAX = 255, /* taps of a max pooling window: their index is a byte */
    NN_POOL_NONE = 255        /* argmax of an output without gradient: clipped by ReLU or dropped */
};

/* A convolution with stride 1 and no padding + bias + ReLU + 2x2 max pooling with stride 2. src
 * [images][in_h][in_w][in_channels]. */
typedef struct {
    int64_t in_h, in_w, in_channels, kernel_h, kernel_w, channels;
    int64_t out_h, out_w; /* after pooling */
} nn_pooled;

/* NULL, or why first_forward and first_backward, a network's first layer of one channel, do not cover it. */
const char *nn_first_refuse(const nn_pooled *p);
/* The same of pooled_forward and pooled_backward. */
const char *nn_pooled_refuse(const nn_pooled *p);
/* Bytes of the latter's scratch. */
size_t nn_pooled_scratch(const nn_pooled *p);

/* What max pooling makes of the largest of each window. All tensors [images][outputs][channels], an output for
 * each window. */
typedef struct {
    const uint64_t *bits; /* [images][nn_dropout_words(outputs*channels)], set = kept; NULL: all are */
    float scale;          /* of those that are kept, with bits */
    float *y;
    uint8_t *argmax; /* the tap's index in the window; NULL when no backward follows */
} nn_pool_output;

/* The gradient of that. */
typedef struct {
    const float *dy;
    const uint8_t *argmax;
    float scale;
} nn_pool_diff;

/* Where a pooled convolution's gradients go. */
typedef struct {
    float *dw;       /* [kernel_h][kernel_w][in_channels][channels] */
    float *db;       /* [channels]; NULL without bias */
    bool accumulate; /* add to these two, else overwrite them */
    /* pooled_backward only: */
    float *dx;            /* as src, overwritten; NULL: not wanted */
    const float *weights; /* [channels][kernel_h][kernel_w][in_channels] */
    void *scratch;        /* nn_pooled_scratch bytes */
} nn_pooled_gradients;

/* Images [positions][channels], or channels_first [channels][positions]. */
typedef struct {
    int64_t positions, channels;
    bool channels_first;
} nn_global;

typedef struct {
    const float *x; /* as the images */
    const float *y; /* [images][channels], as the next */
    const float *dy;
} nn_global_diff;

/* Images of which each element is one of x's at another place, or 0. Outermost axis first. */
enum { NN_VIEW_AXES = 4 };
typedef struct {
    int64_t in, out; /* sizes of x and y along it */
    int64_t before;  /* zeros of y before x begins; below 0: elements of x left out. 0 where repeat is not 1 */
    int64_t repeat;  /* how often each element of x follows itself; out is then in * repeat */
    int64_t stride;  /* in x, elements */
} nn_view_axis;
typedef struct {
    nn_view_axis axis[NN_VIEW_AXES];
    int64_t in; /* elements of an image of x */
} nn_view;

/* The same with whole innermost axes made one, so that copies are long. */
void nn_view_simplify(nn_view *v);

/* Images [size 0]...[size 3] and the steps along each in the slopes, 0 where they are shared. */
enum { NN_PRELU_AXES = 4 };
typedef struct {
    int64_t size[NN_PRELU_AXES], stride[NN_PRELU_AXES];
    int64_t slopes; /* how many there are */
} nn_prelu;

typedef struct {
    const float *x, *dy; /* as the images */
    const float *alpha;  /* [slopes] */
} nn_prelu_diff;

/* What a loss gives for each row: [rows], or [rows][classes]. */
typedef struct {
    float *loss;
    uint8_t *correct; /* 1 when the label's class is the first largest */
    float *p;         /* softmax_cross_entropy: probabilities; NULL: not wanted */
    float *dx;        /* the gradient of the sum of losses times scale; NULL: not wanted */
    float scale;
} nn_losses;

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

/* Batch normalization of [images][outer][channels][inner], with the activation behind it. */
typedef struct {
    int64_t outer, channels, inner; /* of one image */
    conv_post_op post_op;
} nn_norm;

/* y = post_op((x - mean) * scale + offset); [channels] each. */
typedef struct {
    const float *mean, *scale, *offset;
} nn_norm_map;

/* With d = dy where the post-op passes it, else 0: dx = scale * (d - each - (x - mean) * slope). each and slope
 * [channels], the others as x. */
typedef struct {
    const float *x, *dy, *each, *slope;
    float *dx;
} nn_norm_diff;

typedef enum { NN_COPY, NN_ADD, NN_SUBTRACT, NN_MULTIPLY, NN_MAXIMUM, NN_MINIMUM } nn_combination;

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

    /* y = f(x); y may be x. */
    void (*activate)(const nn_function *f, int64_t rows, const float *x, float *y);
    /* dx = dy * f'(x), from x or y as nn_derived_from_input says; dx may be dy. */
    void (*activate_backward)(const nn_function *f, int64_t rows, const float *from, const float *dy,
                              float *dx);

    void (*max_pool)(const nn_pool *p, int64_t images, const float *x, const nn_pool_output *out);
    void (*max_pool_backward)(const nn_pool *p, int64_t images, const nn_pool_diff *diff, float *dx);
    void (*average_pool)(const nn_pool *p, int64_t images, const float *x, float *y);
    void (*average_pool_backward)(const nn_pool *p, int64_t images, const float *dy, float *dx);

    void (*global_average)(const nn_global *g, int64_t images, const float *x, float *y);
    void (*global_average_backward)(const nn_global *g, int64_t images, const float *dy, float *dx);
    void (*global_max)(const nn_global *g, int64_t images, const float *x, float *y);
    void (*global_max_backward)(const nn_global *g, int64_t images, const nn_global_diff *diff, float *dx);

    void (*view)(const nn_view *v, int64_t images, const float *x, float *y);
    void (*view_backward)(const nn_view *v, int64_t images, const float *dy, float *dx);

    void (*prelu)(const nn_prelu *p, int64_t images, const float *x, const float *alpha, float *y);
    /* dx NULL: not wanted. dalpha [slopes]: overwritten, or added to. */
    void (*prelu_backward)(const nn_prelu *p, int64_t images, const nn_prelu_diff *diff, float *dx,
                           float *dalpha, bool accumulate);

    /* weights [kernel_h][kernel_w][in_channels][channels], bias [channels] or NULL. */
    void (*first_forward)(const nn_pooled *p, int64_t images, const float *x, const float *weights,
                          const float *bias, const nn_pool_output *out);
    void (*first_backward)(const nn_pooled *p, int64_t images, const float *x, const nn_pool_diff *diff,
                           const nn_pooled_gradients *to);
    void (*pooled_forward)(const nn_pooled *p, int64_t images, const float *x, const float *weights,
                           const float *bias, const nn_pool_output *out);
    void (*pooled_backward)(const nn_pooled *p, int64_t images, const float *x, const nn_pool_diff *diff,
                            const nn_pooled_gradients *to);

    /* Adds the sums over the images to sums[2][channels]: of x - shift, and of its square. */
    void (*norm_moments)(const nn_norm *p, int64_t images, const float *x, const float *shift, double *sums);
    void (*norm_apply)(const nn_norm *p, int64_t images, const float *x, const nn_norm_map *m, float *y);
    /* The same of d and of d * (x - mean), d as in nn_norm_diff. */
    void (*norm_sums)(const nn_norm *p, int64_t images, const float *x, const float *dy, const nn_norm_map *m,
                      double *sums);
    void (*norm_backward)(const nn_norm *p, int64_t images, const nn_norm_diff *diff, const nn_norm_map *m);

    /* y = f(y, x), element by element; of x and y that do not overlap. */
    void (*combine)(nn_combination f, int64_t count, const float *x, float *y);

    /* y[columns][rows] = x[rows][columns] transposed. */
    void (*transpose)(int64_t rows, int64_t columns, const float *x, float *y);

    /* bits: [rows][nn_dropout_words(columns)] for rows first_row... of the batch. */
    void (*dropout_bits)(const nn_dropout *d, int64_t first_row, int64_t rows, int64_t columns, uint64_t *bits);
    /* y = bit ? x * scale : 0. Forward and backward are the same; y may be x. */
    void (*dropout)(int64_t rows, int64_t columns, const uint64_t *bits, float scale, const float *x, float *y);

    /* x[count] bytes to [0,1]: x / 255. */
    void (*scale_pixels)(int64_t count, const uint8_t *x, float *y);

    /* Softmax of x[rows][classes] with the categorical cross-entropy of labels[rows], from the logits. */
    void (*softmax_cross_entropy)(int64_t rows, int64_t classes, const float *x, const uint8_t *labels,
                                  const nn_losses *to);
    /* The same loss of outputs that are no softmax's, as Keras: x / sum(x), clipped to [1e-7, 1 - 1e-7]. */
    void (*cross_entropy)(int64_t rows, int64_t classes, const float *x, const uint8_t *labels,
                          const nn_losses *to);

    /* g[count] = sum over chunks of parts[chunk * stride + i], by a binary tree: of n chunks the first p and
     * the others, each so summed, p being the largest power of two below n. g may be the first part. */
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
