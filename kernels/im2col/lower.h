/* Lowering: convolution as a matrix product, and back.
 *
 * The lowered matrix has a row per output pixel and a column per (tap, channel of the group), in the order of
 * the weights' rows:
 *     lowered[(n, oh, ow)][(kh, kw, c)] = src[n][oh*stride - pad + kh*dilation][...][c], 0 in the padding
 * Then dst = lowered * weights, and so on. Nothing here stores it whole: the functions write any block of it.
 * NCHW lowers one image at a time, transposed: a row per (tap, channel), a column per pixel. */
#ifndef SEPBENCH_IM2COL_LOWER_H
#define SEPBENCH_IM2COL_LOWER_H

#include "../conv.h"

typedef struct {
    conv_axis h, w;
    int64_t oh, ow;
    int64_t mb;              /* NCHW: 1 */
    int64_t ic;              /* channels of the whole tensor */
    int64_t first, channels; /* of the group being lowered */
    const float *src;        /* NHWC: [MB][IH][IW][IC]; NCHW: the image [IC][IH][IW] */
} lowering;

/* A block of the lowered matrix: pixels and columns, both counted from 0 */
typedef struct {
    int64_t pixel, pixels;
    int64_t column, columns;
} lowered_block;

/* Everything but src, for group g of p. */
lowering lower_describe(const conv_problem *p, int64_t g);

/* Fill blocks of the lowered matrix (gemm_fill of gemm.h): NHWC rows are pixels, NCHW rows are columns. */
void lower_nhwc(const void *lowering, int64_t pixel, int64_t pixels, int64_t column, int64_t columns, float *to,
                int64_t ld);
void lower_nchw(const void *lowering, int64_t column, int64_t columns, int64_t pixel, int64_t pixels, float *to,
                int64_t ld);

/* The adjoints: add a block (the gradient of the lowered matrix) into diff_src, shaped like l->src, source rows
 * in parallel. col is [pixels][ld] for NHWC, [columns][ld] for NCHW. */
void lower_nhwc_add(const lowering *l, lowered_block block, const float *col, int64_t ld, float *diff_src,
                    int threads);
void lower_nchw_add(const lowering *l, lowered_block block, const float *col, int64_t ld, float *diff_src,
                    int threads);

#endif
