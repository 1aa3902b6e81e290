/* What the sources of the oneDNN peers share: a plan is a list of primitives (steps) over a list of memory
 * objects (slots), built once. Steps belong to a phase of the contract: pack, enter, execute, leave.
 *
 * A slot knows where its bytes are at run time (a tensor of conv_args, or an offset into packed, scratch,
 * workspace or activations), so running a phase is: set the handles that changed, execute its steps. A
 * plan's memory objects carry those handles: one plan runs one call at a time.
 *
 * Builder calls keep the first error and then do nothing, so that a plan reads as the sequence it is. */
#ifndef SEPBENCH_PEERS_ONEDNN_H
#define SEPBENCH_PEERS_ONEDNN_H

#include "../../conv.h"
#include "dnnl.h"

/* One name of impl.def and variant. conv_impl comes first: `self` is one of these. */
typedef struct {
    conv_impl impl;
    bool own_layout;           /* activations in the layout oneDNN prefers, through enter and leave */
    dnnl_alg_kind_t algorithm; /* dnnl_convolution_direct or _winograd */
} onednn_impl;

/* The first ten are conv_args's tensors, the rest memory by offset. */
typedef enum {
    AT_SRC,
    AT_WEIGHTS,
    AT_POINTWISE,
    AT_BIAS,
    AT_DST,
    AT_DIFF_DST,
    AT_DIFF_SRC,
    AT_DIFF_WEIGHTS,
    AT_DIFF_POINTWISE,
    AT_DIFF_BIAS,
    AT_PACKED,
    AT_SCRATCH,
    AT_SCRATCHPAD, /* the end of scratch: steps run one after another, so their scratchpads overlap */
    AT_WORKSPACE,
    AT_ACTIVATIONS,
    ONEDNN_PLACES
} onednn_place;

typedef enum { ONEDNN_PACK, ONEDNN_ENTER, ONEDNN_EXECUTE, ONEDNN_LEAVE } onednn_phase;
typedef enum { ONEDNN_ALWAYS, ONEDNN_IF_DIFF_SRC, ONEDNN_IF_OVERWRITE, ONEDNN_IF_ACCUMULATE } onednn_when;

typedef struct {
    const_dnnl_memory_desc_t md; /* the builder's: gone with it */
    dnnl_memory_t memory;
    onednn_place at, accumulate_at; /* the latter when args->accumulate */
    size_t offset;                  /* bytes into AT_PACKED and later places */
} onednn_slot;

enum { ONEDNN_MAX_SLOTS = 64, ONEDNN_MAX_STEPS = 32, ONEDNN_MAX_ARGS = 6, ONEDNN_MAX_MDS = 192 };

typedef struct {
    dnnl_primitive_t primitive;
    dnnl_exec_arg_t args[ONEDNN_MAX_ARGS];
    int count;
    onednn_phase phase;
    onednn_when when;
} onednn_step;

typedef struct {
    conv_plan base;
    dnnl_stream_t stream;
    char **handle;              /* [ONEDNN_MAX_SLOTS] what each memory object points to by now */
    size_t used[ONEDNN_PLACES]; /* bytes of the places by offset; AT_SCRATCHPAD: the largest */
    int slots, steps;
    onednn_slot slot[ONEDNN_MAX_SLOTS];
    onednn_step step[ONEDNN_MAX_STEPS];
} onednn_plan;

typedef struct {
    onednn_plan *plan;
    dnnl_engine_t engine;
    conv_error *err;
    conv_status status; /* the first failure */
    int callers_threads;
    int mds;
    dnnl_memory_desc_t md[ONEDNN_MAX_MDS]; /* every memory descriptor of the plan, destroyed by onednn_finish */
} onednn_builder;

typedef struct {
    int arg; /* DNNL_ARG_... */
    int slot;
} onednn_use;

/* False, with the status kept and err saying what failed and why, unless s is success. */
bool onednn_ok(onednn_builder *b, dnnl_status_t s, const char *what);

/* Memory descriptors that live as long as the builder; NULL after a failure. Of fp32 elements by strides; of
 * the same dimensions in whatever layout oneDNN likes; a copy. */
const_dnnl_memory_desc_t onednn_by_strides(onednn_builder *b, int ndims, const dnnl_dims_t dims,
                                           const dnnl_dims_t strides);
const_dnnl_memory_desc_t onednn_any_layout(onednn_builder *b, const_dnnl_memory_desc_t md);
const_dnnl_memory_desc_t onednn_copy(onednn_builder *b, const_dnnl_memory_desc_t md);

/* A new slot; its index. Places by offset are extended by md's size, 64-byte aligned. md is copied. */
int onednn_add_slot(onednn_builder *b, const_dnnl_memory_desc_t md, onednn_place at);

/* A primitive of pd, which is destroyed, over `count` slots; adds the scratchpad that execute's steps need. */
void onednn_add_step(onednn_builder *b, onednn_phase phase, onednn_when when, dnnl_primitive_desc_t pd,
                     const onednn_use *uses, int count);
/* A step that copies (or with add, adds) slot `from` to slot `to`, whatever their layouts. */
void onednn_add_reorder(onednn_builder *b, onednn_phase phase, onednn_when when, int from, int to, bool add);

/* Attributes with that post-op, or with the one that adds to what is there. NULL after a failure. */
dnnl_primitive_attr_t onednn_attributes(onednn_builder *b, dnnl_scratchpad_mode_t mode, conv_post_op post,
                                        bool add);

/* True when both describe the same bytes: plain, unpadded, equal strides along dimensions above 1. */
bool onednn_same_bytes(const_dnnl_memory_desc_t a, const_dnnl_memory_desc_t b);

/* Builder of an empty plan; then the byte counts of the finished one. On failure finish
 * destroys the plan. */
onednn_builder onednn_begin(const conv_impl *self, const conv_problem *p, conv_pass pass,
                            const conv_context *ctx, conv_error *err);
conv_status onednn_finish(onednn_builder *b, conv_plan **plan);

/* Members of conv_impl that need no more than the lists. */
conv_status onednn_pack(const conv_plan *plan, const float *weights, const float *pointwise, void *packed);
conv_status onednn_enter(const conv_plan *plan, const conv_args *args);
conv_status onednn_execute(const conv_plan *plan, const conv_args *args);
conv_status onednn_leave(const conv_plan *plan, const conv_args *args);
void onednn_destroy(conv_plan *plan);

/* conv.c: what all names refuse, and the plan function of all of them. */
const char *onednn_refuse(const conv_impl *self, const conv_problem *p, conv_pass pass);
/* Also what its Winograd refuses. */
const char *onednn_winograd_refuse(const conv_impl *self, const conv_problem *p, conv_pass pass);
conv_status onednn_create(const conv_impl *self, const conv_problem *p, conv_pass pass, const conv_context *ctx,
                          conv_plan **plan, conv_error *err);

#endif
