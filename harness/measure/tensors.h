/* The tensors of one problem: guarded, 64-byte aligned buffers, filled reproducibly. */
#ifndef SEPBENCH_TENSORS_H
#define SEPBENCH_TENSORS_H

#include "../../kernels/conv.h"

/* A 64-byte aligned block with guard bytes on both sides; large ones ask for huge pages (madvise). First
 * touch is left to the caller's threads. NULL when memory is short. bytes may be 0. */
void *buffer_alloc(size_t bytes);
/* True when the guards on both sides are intact. */
bool buffer_intact(const void *buffer);
void buffer_free(void *buffer); /* NULL is fine */

typedef enum {
    FILL_INTEGERS, /* whole numbers in [-amplitude, amplitude]: sums are exact in fp32 */
    FILL_REALS     /* uniform in [-1, 1) */
} fill_kind;

/* Element i depends on (seed, stream, i) only (Random123 Philox4x32-10), so any thread may fill any part. */
void fill(float *data, int64_t count, fill_kind kind, int amplitude, uint64_t seed, uint32_t stream);

typedef struct {
    float *src, *weights, *pointwise, *bias, *dst, *diff_dst;    /* inputs (dst: backward with a post-op) */
    float *diff_src, *diff_weights, *diff_pointwise, *diff_bias; /* outputs of backward passes */
} conv_tensors;

/* Its members in order. */
enum {
    TENSOR_SRC,
    TENSOR_WEIGHTS,
    TENSOR_POINTWISE,
    TENSOR_BIAS,
    TENSOR_DST,
    TENSOR_DIFF_DST,
    TENSOR_DIFF_SRC,
    TENSOR_DIFF_WEIGHTS,
    TENSOR_DIFF_POINTWISE,
    TENSOR_DIFF_BIAS,
    TENSOR_COUNT
};

/* Bytes conv_tensors_create will allocate for that pass. In floating point: sizes that nobody can allocate must
 * not overflow on the way to being refused. */
double conv_tensors_bytes(const conv_problem *p, conv_pass pass);
/* What may be taken of the memory that is free; the rest is for libraries' private buffers. */
double memory_to_use(void);
/* Says in err that needed bytes are more than memory_to_use() said. Returns CONV_NO_MEMORY. */
conv_status memory_short(double needed, double available, conv_error *err);
/* Before anything is allocated or planned: CONV_OK, or CONV_NO_MEMORY when the tensors, and what a plan
 * tabulates for them, do not fit in memory. */
conv_status conv_tensors_fit(const conv_problem *p, conv_pass pass, conv_error *err);
/* Allocates what the pass needs (NULL for the rest) and fills inputs; weights scaled so that dst is of the
 * order of 1 for FILL_REALS. Touched first by the bound OpenMP threads. False when memory is short. */
bool conv_tensors_create(const conv_problem *p, conv_pass pass, fill_kind kind, uint64_t seed, conv_tensors *t);
/* Fills every output of the pass with NaN. */
void conv_tensors_poison(const conv_problem *p, conv_pass pass, conv_tensors *t);
bool conv_tensors_intact(const conv_tensors *t);
void conv_tensors_destroy(conv_tensors *t);

/* The args of one execute on these tensors; packed, scratch and workspace are left NULL. */
conv_args conv_tensors_args(const conv_tensors *t);

#endif
