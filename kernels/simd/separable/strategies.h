/* The choices of the fused separable convolution (conv_strategy), and what follows from the problem and the
 * caches alone. */
#ifndef SEPBENCH_SIMD_SEPARABLE_STRATEGIES_H
#define SEPBENCH_SIMD_SEPARABLE_STRATEGIES_H

#include "../../conv.h"
#include "../gemm/gemm.h"

/* Forward. */
typedef struct {
    int64_t rows;   /* output rows of a task */
    int64_t parts;  /* of the panels: a task does one */
    int64_t stream; /* dst goes past the caches */
} fused_forward_strategy;

/* Backward. images changes bits. */
typedef struct {
    int64_t channels; /* of a block */
    int64_t images;   /* apart: in so many chunks with gradients of their own; 1: together */
} fused_backward_strategy;

extern const conv_choice fused_forward_choices[], fused_backward_choices[];

/* The nearest that can be done: sizes cut to the problem and to each other. */
fused_forward_strategy fused_forward_possible(const conv_problem *p, const gemm_way *way,
                                              const conv_context *ctx, fused_forward_strategy how);
fused_backward_strategy fused_backward_possible(const conv_problem *p, fused_backward_strategy how);
/* conv_impl.strategies, of a simd_impl. */
void fused_strategies(const conv_impl *impl, const conv_problem *p, conv_pass pass, const conv_context *ctx,
                      conv_candidates *list);

/* Terms at once of a product of that many, in whole units, whose panel has so many vectors: as many rows of the
 * panel as half of L2 holds, for what passes by needs the other half. */
int64_t fused_terms(int64_t terms, int64_t unit, int64_t vectors, const conv_context *ctx);
/* Of forward's: whole vectors, and all multiples of whole source channels. */
int64_t fused_forward_terms(const conv_problem *p, int64_t vectors, const conv_context *ctx);
/* Vectors of a panel of pointwise^T, of which a block is a whole number. */
int64_t fused_backward_vectors(const conv_problem *p, const fused_backward_strategy *how);
/* Pixels at once of mid^T * diff_dst: their panel of diff_dst, which every tile of a block reads, fits L1. */
int64_t fused_backward_pixels(const conv_problem *p, const conv_context *ctx);
/* Gradients of a chunk of images, in floats. */
int64_t fused_chunk_floats(const conv_problem *p);

#endif
