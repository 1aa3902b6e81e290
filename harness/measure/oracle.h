/* What a convolution is, in double precision: every output of every variant, pass and layout as a plain sum
 * over its terms, with what an error bound needs beside the value. Any part of an output can be asked for
 * alone, so checking a sample is cheap.
 *
 * The outputs of a tensor are arranged in rows of consecutive channels:
 *
 *                      rows                         columns
 *   dst                [MB][OD*OH*OW][G]            OC/G      (G = 1 but for dense with groups)
 *   diff_src           [MB][ID*IH*IW][G]            IC/G
 *   diff_weights       dense [taps][IC/G][G]        OC/G
 *                      depthwise, separable [taps]  C*M
 *   diff_pointwise     [C*M]                        OC
 *   diff_bias          one                          OC */
#ifndef SEPBENCH_ORACLE_H
#define SEPBENCH_ORACLE_H

#include "../../kernels/conv.h"

typedef enum {
    ORACLE_DST,
    ORACLE_DIFF_SRC,
    ORACLE_DIFF_WEIGHTS,
    ORACLE_DIFF_POINTWISE,
    ORACLE_DIFF_BIAS,
    ORACLE_TENSORS
} oracle_tensor;

typedef struct oracle oracle;

/* Reads (never writes) the inputs of the pass from in: src, weights, pointwise, bias, diff_dst, and dst for the
 * mask of a backward post-op. They must outlive the oracle. NULL when memory is short. */
oracle *oracle_create(const conv_problem *p, conv_pass pass, const conv_args *in);
void oracle_destroy(oracle *o); /* NULL is fine */

/* Rows and columns of a tensor; 0 rows when the pass does not write it. */
void oracle_extent(const oracle *o, oracle_tensor tensor, int64_t *rows, int64_t *columns);
/* Multiply-accumulates that one element costs here, about. */
double oracle_cost(const oracle *o, oracle_tensor tensor);
/* Where the element is in the caller's tensor, in elements. */
int64_t oracle_offset(const oracle *o, oracle_tensor tensor, int64_t row, int64_t column);

/* Columns [first, first + count) of one row of an output tensor. */
typedef struct {
    oracle_tensor tensor;
    int64_t row, first, count;
} oracle_run;

/* Of each column of the run: value[] the sums, magnitude[] the sums of the terms' absolute
 * values (the separable's through its intermediate). Returns sqrt of the number of terms; for two stages the
 * sum of both roots. Safe to call from several threads. */
double oracle_row(const oracle *o, oracle_run run, double *value, double *magnitude);

/* Separable backward: computes d_mid = diff_dst * pointwise^T once for the given channels of C*M, in parallel,
 * so that rows of diff_src and diff_weights need not do it again and again. Replaces what was kept before.
 * No-op for other variants. False when memory is short: rows then work without. */
bool oracle_keep_mid(oracle *o, int64_t first, int64_t count);

#endif
