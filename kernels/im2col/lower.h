/* Lowering: convolution as a matrix product, and back.
 *
 * The lowered matrix has a row per output pixel and a column per (tap, channel of the group), in the order of
 * the weights' rows:
 *     lowered[(n, od, oh, ow)][(kd, kh, kw, c)] = src[n][...][oh*stride - pad + kh*dilation][...][c], 0 in the
 *     padding
 * Then dst = lowered * weights, and so on. Nothing here stores it whole: the functions write any block of it.
 */
#ifndef SEPBENCH_IM2COL_LOWER_H
#define SEPBENCH_IM2COL_LOWER_H

#include "../conv.h"
#include "sgemm.h"

typedef struct {
    const conv_problem *problem;
    int64_t out[CONV_AXES], src_pixels, dst_pixels; /* of an image */
    int64_t first, channels;                        /* of the group being lowered */
    const float *src;                               /* [MB][ID][IH][IW][IC] */
} lowering;

/* Everything but src, for group g of p. */
lowering lower_describe(const conv_problem *p, int64_t g);

/* Whether the lowered matrix of a group is src as it lies. */
bool lower_is_src(const conv_problem *p);

/* Fills a block of the lowered matrix, as sgemm_fill. */
void lower_block(const void *lowering, const sgemm_block *block, float *to, int64_t ld);

/* The adjoint: adds a block, col[rows][ld] (the gradient of the lowered matrix), into diff_src, shaped like
 * l->src, source rows in parallel; diff_src cleared first. */
void lower_add_block(const lowering *l, const sgemm_block *block, const float *col, int64_t ld, float *diff_src,
                     int threads);
void lower_clear(const conv_problem *p, float *diff_src, int threads);

#endif
