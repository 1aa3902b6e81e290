/* The contract every convolution implementation meets: problem, plan, pack, execute.
 *
 * The shape is FFTW's and oneDNN's, the vocabulary oneDNN's: src, weights, bias, dst and their gradients
 * diff_*. A problem is plain data. A plan chooses blocking for one (implementation, problem, pass, thread
 * count) and states how many bytes it needs; pack lays weights out as the plan likes them; execute computes
 * and never allocates. Nothing here prints or exits.
 *
 * All tensors are dense arrays of float (IEEE binary32), 64-byte aligned by the caller, without gaps:
 *
 *                    NHWC (canonical)                NCHW
 *   src              [MB][ID][IH][IW][IC]            [MB][IC][ID][IH][IW]
 *   dst              [MB][OD][OH][OW][OC]            [MB][OC][OD][OH][OW]
 *   weights, whatever the activations' layout (Keras's shapes, TF's order):
 *     dense          [KD][KH][KW][IC/G][OC]          output channel o belongs to group o / (OC/G)
 *     depthwise      [KD][KH][KW][C][M]              output channel c*M + m
 *     pointwise      [IC][OC]
 *     separable      weights = depthwise [KD][KH][KW][C][M], pointwise [C*M][OC]
 *   bias             [OC]                            separable: after the pointwise stage only, as Keras
 *
 * Gradients have the shape of what they are the gradient of. Rank 2 has ID = KD = OD = 1, rank 1 also
 * IH = KH = OH = 1. */
#ifndef SEPBENCH_CONV_H
#define SEPBENCH_CONV_H

#include <math.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "cpu.h"

/* ---- the problem */

typedef enum { CONV_DENSE, CONV_DEPTHWISE, CONV_POINTWISE, CONV_SEPARABLE, CONV_VARIANT_COUNT } conv_variant;

/* BACKWARD is the joint call: diff_src, diff_weights (and diff_pointwise), diff_bias from src, weights and
 * diff_dst. Its components exist for the three single-kernel variants; a separable backward shares
 * d_mid = diff_dst * pointwise^T between them and is judged as one. */
typedef enum {
    CONV_FORWARD,
    CONV_BACKWARD,
    CONV_BACKWARD_DATA,
    CONV_BACKWARD_WEIGHTS,
    CONV_PASS_COUNT
} conv_pass;

/* Which gradients a pass makes: of src; of the weights and the bias. */
static inline bool conv_makes_data(conv_pass p) { return p == CONV_BACKWARD || p == CONV_BACKWARD_DATA; }
static inline bool conv_makes_weights(conv_pass p) { return p == CONV_BACKWARD || p == CONV_BACKWARD_WEIGHTS; }

typedef enum { CONV_NHWC, CONV_NCHW, CONV_LAYOUT_COUNT } conv_layout;
typedef enum { CONV_POST_NONE, CONV_POST_RELU, CONV_POST_RELU6, CONV_POST_COUNT } conv_post_op;

/* A post-op clips dst to [0, clip], NaN to 0; clip is 0 where there is none. */
static inline float conv_clip(conv_post_op o)
{
    return o == CONV_POST_NONE ? 0 : o == CONV_POST_RELU ? INFINITY : 6;
}
static inline float conv_clipped(float x, float clip)
{
    return clip == 0 ? x : !(x > 0) ? 0 : x < clip ? x : clip;
}
/* Its gradient passes where 0 < dst <= conv_passing(o): of ReLU6 up to the last float below 6, as TensorFlow's
 * Relu6Grad. */
static inline float conv_passing(conv_post_op o) { return o == CONV_POST_RELU6 ? 0x1.7ffffep2F : INFINITY; }
static inline bool conv_passes(conv_post_op o, float dst) { return dst > 0 && dst <= conv_passing(o); }

enum { CONV_D, CONV_H, CONV_W, CONV_AXES }; /* index into conv_problem.axis */

typedef struct {
    int64_t in;         /* source elements along the axis, >= 1 */
    int64_t kernel;     /* taps, >= 1 */
    int64_t stride;     /* >= 1 */
    int64_t dilation;   /* distance between taps, 1 = none (benchdnn's dh0) */
    int64_t pad_before; /* zeros before the first element, >= 0 */
    int64_t pad_after;  /* zeros after the last, may be negative: trailing elements no tap reads */
} conv_axis;

typedef struct {
    conv_variant variant;
    int rank;                 /* spatial: 1, 2 or 3 */
    int64_t mb;               /* minibatch */
    int64_t ic, oc;           /* depthwise: oc = ic * depth_multiplier */
    int64_t groups;           /* dense: divides ic and oc; depthwise: ic; pointwise and separable: 1 */
    int64_t depth_multiplier; /* depthwise and separable; 1 for the others */
    conv_axis axis[CONV_AXES];
    conv_layout layout; /* of src, dst, diff_src, diff_dst */
    bool bias;
    conv_post_op post_op; /* applied to dst after the bias */
} conv_problem;

/* Why a call failed, in one line that names the argument. */
typedef struct {
    char text[256];
} conv_error;

typedef enum {
    CONV_OK = 0,
    CONV_INVALID,   /* an argument is out of range: the caller's mistake */
    CONV_REFUSED,   /* the implementation does not do this problem; text says why */
    CONV_NO_MEMORY, /* an allocation failed */
    CONV_FAILED     /* a peer library reported an error; text has its words */
} conv_status;

/* Formats into err (which may be NULL) and returns status: `return conv_fail(err, CONV_INVALID, ...)`. */
conv_status conv_fail(conv_error *err, conv_status status, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* CONV_OK, or CONV_INVALID with the offending field: sizes below 1, groups that do not divide, no output
 * element; or CONV_NO_MEMORY for what no machine could hold: sizes beyond 2^31, tensors or FLOPs beyond 2^62.
 * Everything below expects a problem that passed. */
conv_status conv_problem_check(const conv_problem *p, conv_error *err);

/* Output elements along the axis: (in + pads - effective kernel) / stride + 1. */
int64_t conv_out(const conv_axis *a);
/* (kernel - 1) * dilation + 1. */
int64_t conv_effective_kernel(const conv_axis *a);
/* Padding after that the output's size needs, without trailing elements that no tap reads; negative: source
 * elements that no tap reads. */
int64_t conv_needed_pad_after(const conv_axis *a);
/* Pixels [*from, *end) of an image of src, which hold all that pixels first to last of an image of dst read. */
void conv_reach(const conv_problem *p, int64_t first, int64_t last, int64_t *from, int64_t *end);
/* Taps that fall on real source elements, summed over all output positions of the axis. */
int64_t conv_real_taps(const conv_axis *a);
/* Sets pads as TensorFlow's 'same': total = max((ceil(in/stride)-1)*stride + effective kernel - in, 0), the
 * odd one after. (https://www.tensorflow.org/api_docs/python/tf/nn#notes_on_padding_2) */
void conv_pad_same(conv_axis *a);

/* Elements of each tensor. mid is the separable's intermediate [MB][OD][OH][OW][IC*M]; 0 for other variants,
 * as is pointwise; bias is OC whether or not the problem has one. */
typedef struct {
    int64_t src, weights, pointwise, bias, dst, mid;
} conv_sizes;
conv_sizes conv_problem_sizes(const conv_problem *p);
/* Pixels of an image of src, of dst; taps. */
int64_t conv_src_pixels(const conv_problem *p);
int64_t conv_dst_pixels(const conv_problem *p);
int64_t conv_taps(const conv_problem *p);

/* The two stages of a separable problem: depthwise (no bias, no post-op), then pointwise (with both). */
conv_problem conv_depthwise_stage(const conv_problem *separable);
conv_problem conv_pointwise_stage(const conv_problem *separable);

/* 2 x multiply-accumulates of the direct algorithm over real taps (padding excluded, as benchdnn), the
 * same figure for every implementation. joint backward = backward_data + backward_weights. */
int64_t conv_flops(const conv_problem *p, conv_pass pass);
/* Multiplications of one forward pass as papers count them, padding included. */
int64_t conv_multiplications(const conv_problem *p);
/* Trainable parameters: weights, pointwise, and bias if any. */
int64_t conv_parameters(const conv_problem *p);
/* Bytes when each tensor of the pass is moved exactly once. The separable's intermediate is not counted. */
int64_t conv_bytes_min(const conv_problem *p, conv_pass pass);

/* "dense", "forward", "nhwc", "relu" ...; parsing returns false on an unknown name. */
const char *conv_variant_name(conv_variant v);
const char *conv_pass_name(conv_pass p);
const char *conv_layout_name(conv_layout l);
const char *conv_post_op_name(conv_post_op o);
const char *conv_post_op_word(conv_post_op o); /* the same, but "" for none */
bool conv_variant_parse(const char *name, conv_variant *v);
bool conv_pass_parse(const char *name, conv_pass *p);
bool conv_layout_parse(const char *name, conv_layout *l);
bool conv_post_op_parse(const char *name, conv_post_op *o);

/* ---- plan, pack, execute */

/* A strategy: how a driver blocks, copies, shares out and streams, as a few explicit choices with names.
 * Whatever is chosen, the result is right; which is fastest differs from CPU to CPU and is measured (FFTW:
 * M. Frigo and S. G. Johnson, Proceedings of the IEEE 93(2), 2005). What the choices are is the driver's: a
 * struct of int64_t of its own, seen here as values. Sizes beyond the problem's are cut to it, so a strategy
 * serves other batches too. */
enum { CONV_CHOICES = 10, CONV_STRATEGIES = 8, CONV_STRATEGY_TEXT = 160 };
typedef struct {
    int64_t value[CONV_CHOICES];
} conv_strategy;

/* The name of a choice, "pixels"; a flag is 0 or 1. A driver's list of them ends with a NULL name. */
typedef struct {
    const char *name;
    bool flag;
} conv_choice;

/* What makes sense for a problem, the cost model's pick first; count 0: there is nothing to choose. Which they
 * are follows from the problem, the caches and the threads, their order also from the machine's ceilings.
 * model_ns: a call's time as the cost model has it, which ranks and does not foretell; INFINITY where the
 * result's bits are not the pick's: whatever the ceilings and the threads, the pick's bits are the same. */
typedef struct {
    const conv_choice *choices;
    int count;
    conv_strategy list[CONV_STRATEGIES];
    double model_ns[CONV_STRATEGIES];
} conv_candidates;

/* What was found to be fastest. find: false when nothing is known of the implementation, the problem (in its
 * native layout), the pass and the number of threads. */
typedef struct conv_impl conv_impl;
typedef struct conv_book conv_book;
struct conv_book {
    bool (*find)(const conv_book *book, const conv_impl *impl, const conv_problem *p, conv_pass pass,
                 int threads, conv_strategy *found);
};

/* What a plan may know of the machine. The harness fills it from hwloc, clamped to sane figures. */
typedef struct machine_ceilings machine_ceilings; /* limits.h */
typedef struct {
    int threads;         /* OpenMP threads execute will use, >= 1 */
    size_t l1d, l2;      /* bytes per core */
    size_t l3;           /* bytes available to one core: the cache divided by the cores sharing it */
    bool keep_workspace; /* forward only: also write what this implementation's backward reads */
    const machine_ceilings *ceilings; /* NULL: not measured; then the cost model goes by nominal ones */
    bool told;                        /* the plan's strategy is this one: */
    conv_strategy strategy;
    const conv_book *book; /* else, and for the parts of a plan (a joint backward's, a separable's stages), the
                              one that this has; else the cost model's pick. NULL: no book */
} conv_context;

enum { CONV_NOTE = 136 };
/* What one warm call of execute does, all threads together, as its plan states it: work and data transfers of
 * the Roofline (S. Williams et al., CACM 52(4), 2009) and ECM models (H. Stengel et al., ICS 2015), which
 * likwid's tables write beside each kernel. It is stated low rather than high, for limits are made of it: what
 * a time is too short for. Peers state nothing. A move says which bytes travel and how far apart in the
 * thread's other bytes they are met again; the level they come from follows from the sizes of the caches (the
 * ECM model's layer condition). */
#define CONV_EACH_CALL (-1.0)     /* as a reach: met once, and again by the next call */
#define CONV_PAST_CACHES HUGE_VAL /* written to memory by non-temporal stores */
enum { CONV_MOVES = 24 };
typedef struct {
    double read, written; /* bytes; a line that is written is read before, unless it goes past the caches */
    double reach;         /* bytes that one thread touches before it meets them again */
} conv_move;
typedef struct {
    bool stated;
    double macs;       /* multiply-adds executed: with the lanes that fill up vectors, without padding's if the
                          kernel leaves it out; Winograd's and fip's multiplications are their own */
    double loads;      /* vector loads, operands of arithmetic included */
    double broadcasts; /* loads of one float into all lanes */
    double stores;     /* vector stores */
    double copied;    /* bytes read and written again in short pieces that no arithmetic hides: copies, and sums
                          between two blocks of terms; stated as loads, stores and moves as well */
    int barriers;     /* at which all threads meet; begin and end of a parallel region are one each */
    double busiest;   /* work of the busiest thread over the mean of all threads, >= 1 */
    double footprint; /* bytes that a call touches */
    conv_move move[CONV_MOVES];
    int moves;
} conv_work;

/* The public head of every plan; implementations embed it first in a larger struct of their own. */
typedef struct {
    const conv_impl *impl;
    conv_problem problem;
    conv_pass pass;
    conv_context context;
    size_t scratch_bytes;    /* execute's temporary memory, all threads together */
    size_t packed_bytes;     /* what pack writes; 0: execute reads weights as they are, no pack needed */
    size_t activation_bytes; /* activations in a layout of the implementation's own; 0 without enter */
    size_t workspace_bytes;  /* forward with keep_workspace: written; backward passes: must be given, written
                                by the same implementation's forward with keep_workspace */
    char note[CONV_NOTE];    /* what the plan decided, for rows and logs: "nchw by transpose", "14x32, k 256" */
    conv_work work;
} conv_plan;

/* Tensors of one execute. Those a pass does not use may be NULL. Inputs are never written. */
typedef struct {
    const float *src;
    const float *weights, *pointwise, *bias;
    const void *packed;    /* from conv_pack with the same plan; packed_bytes long */
    float *dst;            /* forward: output. backward with a post-op: input, what forward wrote */
    const float *diff_dst; /* backward passes */
    float *diff_src;       /* joint backward: NULL skips it (a network's first layer) */
    float *diff_weights, *diff_pointwise;
    float *diff_bias;  /* written when the problem has a bias; joint and backward_weights */
    void *scratch;     /* scratch_bytes, 64-byte aligned, contents undefined before and after */
    void *workspace;   /* workspace_bytes, 64-byte aligned */
    void *activations; /* activation_bytes, 64-byte aligned: enter fills it, execute reads and writes it, leave
                          reads it */
    bool accumulate;   /* add into diff_weights, diff_pointwise and diff_bias; else all outputs are
                          overwritten without being read. diff_src is always overwritten. */
} conv_args;

/* One implementation of one variant: a const object. `self` lets one set of functions serve several. */
struct conv_impl {
    const char *name; /* as users type it: "avx2" */
    conv_variant variant;
    const char *summary; /* one line for `sepbench list` */
    cpu_isa isa;         /* the copy's instruction set; execute runs nothing wider */
    bool inexact;        /* Winograd, fip: kept out by --exact, has its own error bound */
    bool peer;           /* another project's library */
    bool single_thread;  /* execute uses one thread whatever context.threads says */
    bool own_threads;    /* runs a thread pool of its own, not OpenMP's; bound to the same cores */
    bool loose_threads; /* own_threads that are not bound one to a core: when they wait for a core or change it,
                            that need not be another program's doing */
    bool own_process;   /* a worker process runs it (harness/worker): its library must not be in the program's,
                            or is a second version of one that is */
    /* The same strategy gives an output pixel (by_pixel) or an input channel's weights' gradients (by_input) the
     * same bits whatever others are computed with them: ranks share such a layer (harness/train/spread.h). */
    bool by_pixel, by_input;
    double error_factor; /* inexact: |err| <= error_factor * u * sqrt(K) * sum|x*w|; 0: the exact bound */
    unsigned layouts;    /* bit (1u << CONV_NHWC) ...: those run natively; others go through a transpose */
    const conv_impl *stage[2];    /* separable by composition: its depthwise and pointwise; else NULL */
    const char *(*version)(void); /* peers: the library's name and version for run.json; else NULL. It may open
                                     the library */
    /* Optional: what a call of the library takes that computes nothing; NaN: unknown. */
    double (*overhead_ns)(int threads);
    /* NULL, the member or its result, when the library is there; else in words why not and what brings it. With
     * own_process neither this nor refuse opens the library. */
    const char *(*absent)(void);

    /* NULL, the member or its result, or why not, in words ("groups other than 1"). Problem has been checked.
     */
    const char *(*refuse)(const conv_impl *self, const conv_problem *p, conv_pass pass);
    /* Allocates *plan (with its private part) and fills the byte counts. */
    conv_status (*plan)(const conv_impl *self, const conv_problem *p, conv_pass pass, const conv_context *ctx,
                        conv_plan **plan, conv_error *err);
    /* Optional: strategies of a pass that is not made of others. Their number and order may depend on ctx, what
     * each computes does not. */
    void (*strategies)(const conv_impl *self, const conv_problem *p, conv_pass pass, const conv_context *ctx,
                       conv_candidates *candidates);
    /* Optional. Writes packed_bytes to packed, 64-byte aligned. */
    conv_status (*pack)(const conv_plan *plan, const float *weights, const float *pointwise, void *packed);
    /* Optional, both or neither, for an activation layout of one's own: enter converts the pass's input
     * activations into args->activations, leave converts its output activations back. They are timed apart
     * from execute, which then reads and writes only those copies. */
    conv_status (*enter)(const conv_plan *plan, const conv_args *args);
    conv_status (*execute)(const conv_plan *plan, const conv_args *args);
    conv_status (*leave)(const conv_plan *plan, const conv_args *args);
    void (*destroy)(conv_plan *plan); /* NULL means free(plan) */
};

/* The instruction set execute runs. Peers choose by themselves at run time, under the user's cap: for them it
 * is cpu_allowed(), for all others impl->isa. */
cpu_isa conv_isa(const conv_impl *impl);

/* What the rest of the program calls. They check arguments, apply the layout transpose where the
 * implementation needs one, and forward to the table above. */
const char *conv_refuse(const conv_impl *impl, const conv_problem *p, conv_pass pass);
conv_status conv_plan_create(const conv_impl *impl, const conv_problem *p, conv_pass pass,
                             const conv_context *ctx, conv_plan **plan, conv_error *err);
/* p in a layout that the implementation runs natively. */
conv_problem conv_native(const conv_impl *impl, const conv_problem *p);
/* Of a problem that is not refused. */
void conv_strategies(const conv_impl *impl, const conv_problem *p, conv_pass pass, const conv_context *ctx,
                     conv_candidates *candidates);
conv_status conv_pack(const conv_plan *plan, const float *weights, const float *pointwise, void *packed);
conv_status conv_enter(const conv_plan *plan, const conv_args *args);
conv_status conv_execute(const conv_plan *plan, const conv_args *args);
conv_status conv_leave(const conv_plan *plan, const conv_args *args);
void conv_plan_destroy(conv_plan *plan); /* NULL is fine */

/* ---- the registry */

/* One per line of impl.def and variant, in that order. */
typedef struct {
    const char *name;
    conv_variant variant;
    const conv_impl *impl; /* NULL when absent */
    const char *absent;    /* why: "not built: libdnnl-dev was not found", "this CPU has no avx512", that
                              SEPBENCH_MAX_ISA forbids it, or impl->absent's words; NULL when present */
    const char *engine;    /* whose library it calls, "onednn"; NULL: the project's own */
    bool study;            /* of IMPL_STUDY or IMPL_PEER_STUDY: not to be chosen from */
    bool second_copy;      /* of conv_add_engine: what it is can be asked of its worker only */
} conv_entry;

/* Every entry, present or not; the array lives for the program, and grows by conv_add_engine only. */
const conv_entry *conv_entries(size_t *count);

/* A second copy of an engine, or of an implementation, under a name of its own, to be run in a worker process:
 * with the kind "onednn" and the name "onednn3" the entries onednn3, onednn3-any and onednn3-winograd.
 * CONV_INVALID with err: an unknown kind, a name that exists, or too many. Not while other threads read the
 * entries. */
conv_status conv_add_engine(const char *name, const char *kind, conv_error *err);
/* The engine of its entry, or NULL. */
const char *conv_engine(const conv_impl *impl);
/* The present implementation of that name and variant, or NULL. */
const conv_impl *conv_find(const char *name, conv_variant variant);

#endif
