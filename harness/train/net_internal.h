/* The executor's operations: what the layers became. They are numbered in the order in which they run; tensor 0
 * is the model's input, tensor i + 1 operation i's output. In a chain operation i reads tensor i. */
#ifndef SEPBENCH_TRAIN_NET_INTERNAL_H
#define SEPBENCH_TRAIN_NET_INTERNAL_H

#include "net.h"

enum { NET_MAX_OPS = 3 * MODEL_MAX_LAYERS + 2, NET_MAX_PREPARED = 16 };

typedef enum {
    OP_CONV,
    OP_ACTIVATION,
    OP_MAX_POOL,
    OP_AVERAGE_POOL,
    OP_DROPOUT,
    OP_PENALTY,
    OP_NORM,        /* batch normalization */
    OP_MERGE,       /* Add, Concatenate and the like */
    OP_GLOBAL_POOL, /* this and the next four: layer_op.c */
    OP_VIEW,
    OP_RESCALE,
    OP_SPATIAL_DROPOUT,
    OP_PRELU,
    OP_FIRST, /* convolution of one channel with relu and pooling: kernels/nn/first.c */
    OP_POOLED /* convolution with relu and pooling: kernels/nn/pooled.c */
} op_kind;

/* Strategies that all plans of a layer use, whatever their minibatch: the same ones in each part, so that
 * what a checkpoint records of them gives the same bits. */
typedef struct {
    const conv_impl *impl;
    conv_pass pass;
    const conv_choice *choices;
    conv_strategy strategy;
} pin;
typedef struct {
    conv_book book; /* first */
    pin *list;
    size_t count;
} pins;

/* One plan of a convolution for one minibatch size, and on a sliced operation one thread. */
typedef struct {
    conv_plan *plan;
    int64_t rows; /* images */
    void *packed, *activations;
    uint64_t packed_at; /* value of net.version when packed */
} conv_exec;

typedef enum { USE_TRAIN, USE_BACKWARD, USE_INFER, USE_COUNT } conv_use;

/* Batch normalization's. In training its statistics are those of the whole batch: its input is summed up where
 * it is made, its output made in the next phase; and so backward. */
typedef struct {
    nn_norm shape;
    bool live;                       /* so; else by the moving statistics, as any other operation */
    int gamma, beta, mean, variance; /* parameter indices or -1 */
    double *sums;                    /* [chunks][2][channels] */
    double *moments;                 /* mean and variance of the batch: [2][channels] */
    float *factors;                  /* norm_op.c's */
    struct op *also;                 /* another live one that reads the same tensor, or NULL */
} norm_part;

typedef struct op {
    op_kind kind;
    int layer; /* index in model.layers */
    char what[64];
    int input[LAYER_MAX_INPUTS], input_count; /* tensors */
    bool adds[LAYER_MAX_INPUTS];              /* backward: another reader has written this input's gradient */
    int64_t in, out;                          /* floats of one image; in: of all inputs */
    bool batched;                             /* dense: the whole batch at once on all threads */
    bool needs_input, needs_output;           /* in backward */
    bool diff_wanted;                         /* some operation that it depends on has weights */

    int64_t flops; /* one image, forward */

    /* conv */
    conv_problem problem; /* of one image; op_problem makes it one of many */
    const conv_impl *impl[USE_COUNT];
    bool keep_workspace;
    pins pins;
    conv_exec *exec[USE_COUNT]; /* [threads or 1][exec_count], by minibatch */
    int exec_count;
    int weights, pointwise, bias; /* parameter indices or -1 */
    void *workspace;              /* [slices][workspace_stride] */
    size_t workspace_stride;

    nn_pooled first, pooled;
    /* The weights as the above want them, of version product_at: separable first layer [taps][channels], the
     * product of its factors; pooled [channels][taps], transposed. */
    float *product;
    uint64_t product_at;

    nn_function activation;
    nn_pool pool;
    int64_t pool_images;
    nn_dropout dropout; /* rate 0: none */
    uint8_t *argmax;    /* max pooling: [batch][out] */
    uint64_t *bits;     /* dropout on its own: [batch][words] */
    regularizer penalty;
    norm_part norm;
} op;

/* A run of operations that slices go through together, or one batched operation. A live batch normalization is
 * the first of its phase. */
typedef struct {
    int first, last; /* operations [first, last) */
    bool batched;
} phase;

typedef struct {
    int thread;
    int64_t index, chunk, first, rows;
    bool training;
    bool accumulate; /* not the first slice of its chunk */
    float *parts;    /* the chunk's weight gradients */
    uint32_t step;
} slice;

struct net {
    const model *model;
    net_options options;
    const nn_kernels *nn;
    op ops[NET_MAX_OPS];
    int op_count;
    phase phases[2 * NET_MAX_OPS];
    int phase_count;
    char fusion[MODEL_MAX_LAYERS][96];
    /* While building. next: the layer that alone reads this one's output, and reads nothing else, and comes
     * next; else -1. output: the tensor. */
    int order[MODEL_MAX_LAYERS], next[MODEL_MAX_LAYERS], output[MODEL_MAX_LAYERS];
    int top; /* the tensor that the next operation reads */
    bool softmax_loss;
    int64_t classes, slice_rows;

    bool learns[NET_MAX_OPS + 1];  /* tensors: whether their gradient is wanted */
    float *value[NET_MAX_OPS + 1]; /* [batch][count] where kept, else NULL */
    float *diff[NET_MAX_OPS + 1];
    op *watcher[NET_MAX_OPS + 1]; /* the first live batch normalization that reads this tensor, or NULL */
    float **buffer[3]; /* [threads]: a slice's transient tensors, by parity of their index; a gradient to add */
    float *batch_buffer; /* the latter of batched operations */
    uint64_t **bits;     /* [threads]: dropout bits of one slice */
    void **scratch;      /* [threads] */
    size_t *scratch_bytes;
    void *batch_scratch;
    size_t batch_scratch_bytes;

    float *weights, *gradient;
    float *parts;         /* [chunks][parts_stride]: weight gradients of the sliced operations */
    int64_t parts_stride; /* floats */
    int64_t part_offset[MODEL_MAX_PARAMETERS]; /* -1: the operation writes the gradient itself */
    int64_t chunks_allocated, chunks;          /* of the last net_train */
    uint64_t version;

    float *loss;         /* [batch] */
    uint8_t *correct;    /* [batch] */
    double *penalty;     /* [slices][op_count] */
    float penalty_scale; /* 1 / images of the batch */
    uint8_t *labels;     /* [batch], gathered */

    struct {
        int64_t rows;
        bool training;
    } prepared[NET_MAX_PREPARED];
    int prepared_count;

    double *seconds; /* [threads][op_count + PROFILE_EXTRA][2] */
    double wall;
    struct spread *spread; /* NULL: this process computes all */
};

enum { PROFILE_INPUT, PROFILE_LOSS, PROFILE_OPTIMIZER, PROFILE_EXTRA };

/* What an operation's backward reads and writes of a slice; NULL for what it does not need. */
typedef struct {
    const float *x, *y; /* its input, of several the one that dx belongs to, and output */
    const float *dy;
    float *dx; /* NULL: nothing before it learns */
} op_gradients;

/* How a batch of `rows` is cut. */
int64_t net_slices(const net *n, int64_t rows);
static inline int64_t net_slice_first(int64_t rows, int64_t slices, int64_t i) { return rows * i / slices; }
static inline int64_t net_chunks(const net *n, int64_t slices)
{
    return slices < n->chunks_allocated ? slices : n->chunks_allocated;
}

/* The weights of parameter p; NULL for none (below 0). */
static inline const float *net_parameter(const net *n, int p)
{
    return p < 0 ? NULL : n->weights + n->model->parameter[p].offset;
}

/* Floats of one image's tensor. */
static inline int64_t net_count(const net *n, int tensor)
{
    return tensor == 0 ? shape_count(&n->model->in) : n->ops[tensor - 1].out;
}

/* Whether phase ph begins with a live batch normalization. */
static inline bool net_normalizes(const net *n, const phase *ph)
{
    return ph->first < ph->last && n->ops[ph->first].kind == OP_NORM && n->ops[ph->first].norm.live;
}

/* At least `want` bytes in *memory, whose contents are lost where it is too small. */
bool net_room(void **memory, size_t *have, size_t want);
/* At least so many bytes of scratch for every thread. */
bool net_grow_scratch(net *n, size_t bytes);

/* fuse.c: layers to operations and phases. */
conv_status net_build(net *n, conv_error *err);

/* fuse.c */
/* Stride 1, no dilation, no padding, in both directions. */
bool layer_is_plain(const layer *l);
/* A convolution with relu and no penalty, NHWC, whose output 2x2 max pooling takes in whole steps. */
bool layer_is_pooled(const layer *l, const layer *next);
/* Whether this layer's choice of an earlier run, or else --impl best, wants what `key` names. */
bool net_wants(const net *n, const layer *l, const char *key);

/* conv_op.c */
/* The problem of `rows` images. A dense layer's are the columns of one image: implementations that divide work
 * by images would otherwise run matrix times vector. */
conv_problem op_problem(const op *o, int64_t rows);
conv_status conv_op_choose(net *n, op *o, conv_error *err);
/* best.c: the fastest correct ones by timing. */
conv_status best_choose(net *n, op *o, conv_error *err);
/* choose.c: an operation's implementations and strategies as JSON; reading is false unless all
 * implementations are there and present; it leaves out the strategies. */
json_t *choice_json(const op *o);
bool choice_read(op *o, json_t *entry);
/* pins.c: the problem by which an operation's strategies and implementations are chosen. */
conv_problem pins_problem(const net *n, const op *o);
/* Adds the strategies of an implementation's pass, by a contest where none was held yet, on one thread, for
 * bits do not depend on threads. CONV_FAILED: a strategy computes wrongly. */
conv_status pins_choose(net *n, const op *o, const conv_impl *impl, conv_pass pass, pins *to, conv_error *err);
/* Of all uses of an operation, instead of those it has. */
conv_status pins_choose_all(net *n, op *o, conv_error *err);
json_t *pins_json(const pins *all);
/* Those that are not in it are the cost model's. CONV_INVALID: one that is none of this machine's. object: may be
 * NULL. */
conv_status pins_read(const net *n, op *o, const json_t *object, conv_error *err);
void pins_free(pins *all);
conv_pass conv_use_pass(conv_use use);
conv_status conv_op_prepare(net *n, op *o, int64_t rows, bool training, conv_error *err);
conv_status conv_op_forward(net *n, op *o, const slice *s, const float *x, float *y);
conv_status conv_op_backward(net *n, op *o, const slice *s, const op_gradients *g);
void conv_op_free(net *n, op *o);

/* first_op.c */
bool first_op_wanted(const net *n, int layer_index); /* it is layer 0, and with layer 1 an OP_FIRST */
void first_op_set(const net *n, op *o);
bool first_op_allocate(net *n, op *o);
void first_op_refresh(net *n, op *o); /* before a sweep */
void first_op_forward(net *n, op *o, const slice *s, const float *x, float *y);
void first_op_backward(net *n, op *o, const slice *s, const op_gradients *g);

/* pooled_op.c */
/* Layer i and the pooling behind it are one OP_POOLED, of a separable layer its pointwise half. */
bool pooled_op_wanted(const net *n, int layer_index);
void pooled_op_set(const net *n, op *o);
bool pooled_op_allocate(net *n, op *o);
void pooled_op_refresh(net *n, op *o); /* before a training sweep */
void pooled_op_forward(net *n, op *o, const slice *s, const float *x, float *y);
void pooled_op_backward(net *n, op *o, const slice *s, const op_gradients *g);

/* norm_op.c. Gathering is of a slice; finishing, of the batch, when all slices are through. */
void norm_op_set(const net *n, op *o);
bool norm_op_allocate(net *n, op *o);
void norm_op_refresh(net *n, op *o); /* to the moving statistics, before a sweep that is not live */
void norm_op_gather(net *n, op *o, const slice *s, const float *x);
void norm_op_finish(net *n, op *o, int64_t rows);
void norm_op_forward(net *n, op *o, const slice *s, const float *x, float *y);
void norm_op_gather_backward(net *n, op *o, const slice *s, const op_gradients *g);
void norm_op_finish_backward(net *n, op *o, int64_t rows);
void norm_op_backward(net *n, op *o, const slice *s, const op_gradients *g);
void norm_op_update(net *n, const op *o); /* the moving statistics */
void norm_op_free(op *o);

/* merge_op.c. x: by input */
void merge_op_forward(net *n, op *o, const slice *s, const float *const *x, float *y);
void merge_op_backward(net *n, op *o, const slice *s, int input, const float *const *x, const op_gradients *g);

/* layer_op.c */
/* Makes o the operation of its layer. */
void layer_op_set(net *n, op *o);
void layer_op_forward(net *n, op *o, const slice *s, const float *x, float *y);
void layer_op_backward(net *n, op *o, const slice *s, const op_gradients *g);

/* ops.c: the others. */
/* The slice's bits of a dropout, made now; NULL outside training or without one. */
const uint64_t *op_dropout_bits(net *n, op *o, const slice *s);
/* What max pooling writes of the slice, and its gradient. */
nn_pool_output op_pool_output(net *n, op *o, const slice *s, float *y);
nn_pool_diff op_pool_diff(const op *o, const slice *s, const float *dy);
void op_forward(net *n, op *o, const slice *s, const float *x, float *y);
void op_backward(net *n, op *o, const slice *s, const op_gradients *g);

#endif
