/* The choices of the depthwise drivers (conv_strategy): how rows of dst or diff_src are walked, how the
 * weights' gradient is summed, and whether one walk makes both gradients. */
#ifndef SEPBENCH_SIMD_DEPTHWISE_STRATEGIES_H
#define SEPBENCH_SIMD_DEPTHWISE_STRATEGIES_H

#include "../../conv.h"

/* forward, backward_data. None changes a bit. */
typedef struct {
    int64_t channels; /* of a block */
    int64_t ring;     /* rows are copied next to each other first (copied_rows.h) */
    int64_t ahead;    /* all channels of a row, in the order memory has them, the next tile's prefetched */
    int64_t stream;   /* what is written goes past the caches */
    int64_t by_rows;  /* a thread has rows and does them block by block; else it has rows of blocks */
} walk_strategy;

/* backward_weights. rows, by_tile and chunks change the order of the sums. */
typedef struct {
    int64_t channels; /* summed at once */
    int64_t rows;     /* of diff_dst at once: 1; of a 3x3 kernel without stride and dilation 2 or 4, too */
    int64_t by_tile;  /* of two rows: all channels of a tile, then the next tile; else a vector along both */
    int64_t ring, ahead;
    int64_t chunks; /* of rows, with sums of their own */
    int64_t whole;  /* a thread has whole chunks; */
    int64_t owned;  /* or some of the channels of all chunks; else blocks of chunks */
} sums_strategy;

/* What a plan goes by. joint: both gradients in one walk over the rows, the sums'. */
typedef struct {
    walk_strategy walk;
    sums_strategy sums;
    bool joint;
} depthwise_choices;

/* What the rules of thumb say. */
walk_strategy depthwise_walk_pick(const conv_problem *p, conv_pass pass, const conv_context *ctx);
sums_strategy depthwise_sums_pick(const conv_problem *p, conv_pass pass, const conv_context *ctx);
/* What a plan of its own goes by: what it is told, what the book has of its parts, or the picks. */
depthwise_choices depthwise_choose(const conv_impl *impl, const conv_problem *p, conv_pass pass,
                                   const conv_context *ctx);
/* The nearest to `how` that can be done: sizes cut to the problem, and no flags that exclude each other. */
depthwise_choices depthwise_possible(const conv_problem *p, conv_pass pass, depthwise_choices how);
/* conv_impl.strategies. */
void depthwise_strategies(const conv_impl *impl, const conv_problem *p, conv_pass pass, const conv_context *ctx,
                          conv_candidates *candidates);
/* How they read. Returns text[size]. */
char *depthwise_walk_text(const walk_strategy *how, char *text, size_t size);
char *depthwise_sums_text(const sums_strategy *how, char *text, size_t size);

#endif
