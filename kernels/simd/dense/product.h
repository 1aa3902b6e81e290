/* The rows product of a whole pass: forward, or backward_data with the roles of src and dst exchanged.
 * out[pixel][g*N + n] = sum over taps, k of in[pixel of tap][g*K + k] * B[tap][k][n], per group g. */
#ifndef SEPBENCH_SIMD_DENSE_PRODUCT_H
#define SEPBENCH_SIMD_DENSE_PRODUCT_H

#include "../vec.h"
#include "row_table.h"
#include "ways.h"

typedef enum {
    PRODUCT_DIRECT, /* rows read where they lie */
    PRODUCT_COPY,   /* a block of k of the input pixels copied side by side first */
    PRODUCT_GATHER  /* each output pixel's whole row (one tap, or all taps in line) copied first */
} product_mode;

typedef struct {
    matrix_product head;
    row_table table[2];   /* of `images` images each, and of the remaining ones */
    int64_t full, images; /* sets of so many images, with table[0] */
    bool backward;
    const gemm_way *way; /* one that prepares every row: one tap only */
    product_mode mode;
    int64_t groups, taps, k, n; /* per group of channels */
    int nv;
    int64_t panels, panel_rows, panel_floats; /* per group of channels; floats of one group's panels */
    int64_t k_block, k_blocks;
    int64_t block_pixels;  /* output pixels whose rows stay in L2 */
    bool rows_beyond_l2;   /* in and out do not fit L2: rows are prefetched */
    bool panels_beyond_l2; /* nor do the weights: so are panels */
    bool stream;           /* in and out do not fit L3: out is written past it */
    int64_t units[2];      /* tiles * panels * groups of one table */
    float *zeros;          /* [k]: what padding reads */
} product;

/* ---- what the plan and the run both need: blocks of pixels, as ranges of a table's tiles */

typedef struct {
    int64_t begin, end; /* tiles */
} tile_range;

static inline int64_t product_block_count(const product *p, const row_table *t)
{
    return min64(div_up(t->pixels, p->block_pixels), t->tiles);
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
static inline int64_t product_row_gap(const product *p) { return p->k_block + VL; }

/* Rows of the tallest tile. */
ALWAYS_INLINE int product_tile_rows(const product *p) { return p->way->tile_rows(p->nv); }

/* What a run does, for the statement of the plan (work.c). */
void product_state(product *p, const conv_context *ctx);

/* ---- what others call */

matrix_product_planner product_plan;
/* Its run: a thread's share; no two write the same element, none waits. */
void product_run(const matrix_product *m, const product_share *s);

#endif
