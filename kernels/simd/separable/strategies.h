/* The choices of the fused separable convolution (conv_strategy). */
#ifndef SEPBENCH_SIMD_SEPARABLE_STRATEGIES_H
#define SEPBENCH_SIMD_SEPARABLE_STRATEGIES_H

#include "../../conv.h"
#include "../gemm/gemm.h"

/* Forward. By pairs of terms (fip/) k changes bits. */
typedef struct {
    int64_t vectors;             /* of a panel of pointwise */
    int64_t rows;                /* output rows of a task */
    int64_t parts;               /* of the panels: a task does one */
    int64_t k;                   /* channels of the intermediate at once */
    int64_t ahead, panels_ahead; /* the next task's rows of src, the next panel, are prefetched */
    int64_t stream;              /* dst goes past the caches */
} fused_forward_strategy;

/* Backward. images and by_tile change bits. */
typedef struct {
    int64_t channels;              /* of a block */
    int64_t vectors, diff_vectors; /* of a panel of pointwise^T, and of diff_dst */
    int64_t k;                     /* outputs per pass of diff_dst * pointwise^T */
    int64_t pixels;                /* per pass of mid^T * diff_dst */
    int64_t images;                /* apart: in so many chunks with gradients of their own; 1: together */
    int64_t by_tile;               /* of the depthwise gradient (depthwise/kernels.h) */
} fused_backward_strategy;

/* What the rules of thumb say. */
fused_forward_strategy fused_forward_pick(const conv_problem *p, const gemm_way *way, const conv_context *ctx);
fused_backward_strategy fused_backward_pick(const conv_problem *p, const conv_context *ctx);
/* The nearest that can be done: sizes cut to the problem and to each other. */
fused_forward_strategy fused_forward_possible(const conv_problem *p, const gemm_way *way,
                                              fused_forward_strategy how);
fused_backward_strategy fused_backward_possible(const conv_problem *p, fused_backward_strategy how);
/* conv_impl.strategies, of a simd_impl. */
void fused_strategies(const conv_impl *impl, const conv_problem *p, conv_pass pass, const conv_context *ctx,
                      conv_candidates *list);
/* Adds how they read to a note. */
void fused_forward_note(const fused_forward_strategy *how, char note[CONV_NOTE]);
void fused_backward_note(const fused_backward_strategy *how, char note[CONV_NOTE]);

#endif
