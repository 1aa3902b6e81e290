/* The choices of the depthwise drivers (conv_strategy): how rows of dst or diff_src are walked, and how the
 * weights' gradient is summed. */
#ifndef SEPBENCH_SIMD_DEPTHWISE_STRATEGIES_H
#define SEPBENCH_SIMD_DEPTHWISE_STRATEGIES_H

#include "../../conv.h"

/* forward, backward_data. None changes a bit. */
typedef struct {
    int64_t channels; /* of a block */
    int64_t ring;     /* rows are copied next to each other first (copied_rows.h) */
    int64_t stream;   /* what is written goes past the caches */
    int64_t by_block; /* all rows of a block of channels, then the next block; rows copied: always */
} walk_strategy;

/* backward_weights. rows, by_tile, chunks and outputs change the order of the sums. */
typedef struct {
    int64_t channels; /* summed at once */
    int64_t rows;     /* of diff_dst at once: 1; of a 3x3 kernel without stride and dilation 2 or 4, too */
    int64_t by_tile;  /* of two rows: all channels of a tile, then the next tile; else a vector along both */
    int64_t ring;
    int64_t chunks;  /* of rows, with sums of their own */
    int64_t owned;   /* a thread has some of the channels of all chunks; else blocks of chunks */
    int64_t outputs; /* of a row before the next block of channels */
} sums_strategy;

/* What a plan goes by. */
typedef struct {
    walk_strategy walk;
    sums_strategy sums;
} depthwise_choices;

/* What a plan of its own goes by: what it is told, or the book has of its parts, or the cost model's picks. */
depthwise_choices depthwise_choose(const conv_impl *impl, const conv_problem *p, conv_pass pass,
                                   const conv_context *ctx);
/* The nearest to `how` that can be done: sizes cut to the problem, and no flags that exclude each other. */
depthwise_choices depthwise_possible(const conv_problem *p, depthwise_choices how);
/* conv_impl.strategies. */
void depthwise_strategies(const conv_impl *impl, const conv_problem *p, conv_pass pass, const conv_context *ctx,
                          conv_candidates *candidates);
/* Adds how they read to a plan's note. */
void depthwise_note_walk(char note[CONV_NOTE], const walk_strategy *how);
void depthwise_note_sums(char note[CONV_NOTE], const sums_strategy *how);

#endif
