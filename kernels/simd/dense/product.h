/* The rows product of a whole pass: forward, or backward_data with the roles of src and dst exchanged.
 * out[pixel][g*N + n] = sum over taps, k of in[pixel of tap][g*K + k] * B[tap][k][n], per group g. */
#ifndef SEPBENCH_SIMD_DENSE_PRODUCT_H
#define SEPBENCH_SIMD_DENSE_PRODUCT_H

#include "../vec.h"
#include "row_table.h"
#include "ways.h"

/* Rows are read where they lie, unless copied. */
typedef struct {
    int64_t vectors; /* of a weight panel */
    int64_t copied;  /* a block of k of the input pixels is copied side by side first */
    int64_t k;       /* of a block: terms of a tap */
    int64_t pixels;  /* of a block of outputs, whose rows stay in cache while the panels pass */
    int64_t images;  /* of a row table */
    int64_t stream;  /* out is written past the caches */
} product_strategy;

typedef struct {
    matrix_product head;
    row_table table[2]; /* of how.images images each, and of the remaining ones */
    int64_t full;       /* sets of images with table[0] */
    bool backward;
    const gemm_way *way; /* one that prepares every row: one tap only */
    product_strategy how;
    int64_t groups, taps, k, n;               /* per group of channels */
    int64_t panels, panel_rows, panel_floats; /* per group of channels; floats of one group's panels */
    int64_t k_blocks;
    bool gathered; /* copied output pixel by output pixel: of a single tap, only rows that are wanted */
    bool rows_ahead, panels_ahead; /* prefetched, the rows during a thread's first panel */
    int64_t units[2];              /* tiles * panels * groups of one table */
    float *zeros;                  /* [k]: what padding reads */
} product;

/* ---- what the plan and the run both need: blocks of pixels, as ranges of a table's tiles */

typedef struct {
    int64_t begin, end; /* tiles */
} tile_range;

static inline int64_t product_block_count(const product *p, const row_table *t)
{
    return min64(div_up(t->pixels, p->how.pixels), t->tiles);
}

static inline tile_range product_block_tiles(const product *p, const row_table *t, int64_t block)
{
    tile_range r;
    share(t->tiles, block, product_block_count(p, t), &r.begin, &r.end);
    return r;
}

/* Input pixels [lo, hi) that the tiles read. */
void product_tile_inputs(const row_table *t, tile_range tiles, int64_t *lo, int64_t *hi);

/* Floats from one copied row to the next: rows spread over cache sets. */
static inline int64_t product_row_gap(const product *p) { return p->how.k + VL; }

/* Rows of the tallest tile. */
ALWAYS_INLINE int product_tile_rows(const product *p) { return p->way->tile_rows((int)p->how.vectors); }

/* Output pixels of an image. */
int64_t product_image_pixels(const conv_problem *p, bool backward);

/* What a run of a strategy does, without its footprint; of s, tables are not looked at. */
conv_work product_work(const product *s, const conv_problem *p, const conv_context *ctx);

/* ---- what others call */

matrix_product_planner product_plan;
product_lister product_strategies;
/* Its run: a thread's share; no two write the same element, none waits. */
void product_run(const matrix_product *m, const product_share *s);

#endif
