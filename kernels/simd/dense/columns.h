/* The columns product of backward_weights: what its plan and its run share. */
#ifndef SEPBENCH_SIMD_DENSE_COLUMNS_H
#define SEPBENCH_SIMD_DENSE_COLUMNS_H

#include "../gemm/gemm.h"
#include "../vec.h"
#include "weights_gradient.h"

typedef struct {
    int64_t vectors;  /* of a panel of outputs */
    int64_t packed;   /* each thread packs the strips and panels that it needs one behind another first */
    int64_t pixels;   /* of a block; in whole images, equal shares of the rows of one, or of its only row */
    int64_t together; /* strips whose inputs stay in cache while the panels pass */
    int64_t chunks;   /* of pixels with sums of their own */
} columns_strategy;

typedef struct {
    wgrad head;
    conv_problem problem;
    columns_strategy how;
    int64_t groups, inputs, outputs; /* channels per group */
    int64_t taps;
    int64_t a_pixel, b_pixel; /* floats from one pixel to the next, of src and diff_dst or of their copies */
    int64_t panels, strips;   /* tiles along outputs, along inputs */
    int64_t images, parts;    /* a block of pixels: so many images, or one of so many shares of an image */
    int64_t line;             /* pixels of a row, which shares do not cut; of an image of one row 1 */
    int64_t rows;             /* that a block has parts of, at most */
    int64_t blocks;           /* of pixels in all; a chunk has some of them */
    int64_t units;            /* of one chunk: groups * panels * strips * taps */
    int64_t a_floats, b_floats, run_floats; /* parts of a thread's scratch */
    bool ahead;                             /* what comes next is prefetched */
} columns_wgrad;

/* A block of pixels: whole images, or a share of one. */
typedef struct {
    int64_t image, images; /* first, count */
    int64_t begin, end;    /* output pixels of each image */
    int64_t from, to;      /* input pixels that hold all that they read */
} pixel_block;

pixel_block columns_block_at(const columns_wgrad *w, int64_t index);
int64_t columns_strip_begin(const columns_wgrad *w, int64_t strip); /* its first row */

void columns_run(const wgrad *plan, const wgrad_share *s);

#endif
