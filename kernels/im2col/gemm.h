/* C = A * B in fp32, blocked and packed, for operands that need not exist in memory.
 *
 * An operand is a function that writes any block of it; GEMM calls it to fill its packed panels. Lowering a
 * convolution is such a function (lower.h), so the lowered matrix exists only as panels that stay in cache.
 * All matrices are row-major; sizes and leading dimensions are in floats, at least 1. */
#ifndef SEPBENCH_IM2COL_GEMM_H
#define SEPBENCH_IM2COL_GEMM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Writes rows [row, row + rows) x columns [col, col + cols) of the matrix to to[r * ld + c]. */
typedef void gemm_fill(const void *matrix, int64_t row, int64_t rows, int64_t col, int64_t cols, float *to,
                       int64_t ld);

typedef struct {
    gemm_fill *fill;
    const void *matrix;
    bool transposed; /* A only: fill describes A^T, [k][m] */
} gemm_operand;

/* A stored matrix, and its fills: as it is, and transposed (fill's rows are data's columns). `mask`, if not
 * NULL, has data's shape: where it is not positive the element counts as 0 (ReLU's gradient). */
typedef struct {
    const float *data, *mask;
    int64_t ld;
} gemm_matrix;

/* How one product is cut up; from the sizes and the caches only, so the same on any number of threads. */
typedef struct {
    int64_t m, n, k;
    int64_t kc;             /* k per packed slice, a panel of B fits half of L1 */
    int64_t mc;             /* rows of A packed at a time, a slice fits L2 */
    int64_t tile_m, tile_n; /* register tiles per task, down and across */
    size_t packed_b_bytes;  /* of the whole of B packed ahead of time */
    size_t scratch_bytes;   /* one slice of A, and of B where it is not packed ahead */
} gemm_blocking;

typedef struct {
    int64_t row, col, k; /* where the product starts within the operands; where B is packed ahead, col is a
                            multiple of the register tile and k is 0 */
    int64_t rows, cols, depth; /* of the product; at most the blocking's m, n, k */
    gemm_operand a, b;         /* [m][k], [k][n] */
    const float *packed_b;     /* from gemm_pack_b: B is not filled; else NULL */
    float *c;                  /* [rows][ldc], written; added to if `add` */
    int64_t ldc;
    bool add, relu;    /* C += A * B;  max(., 0) at the end */
    const float *bias; /* added at the end, indexed like B's columns, or NULL */
    void *scratch;     /* gemm_blocking's scratch_bytes, 64-byte aligned */
    int threads;
} gemm_call;

gemm_fill gemm_fill_rows, gemm_fill_transposed; /* matrix: const gemm_matrix * */

/* b_ahead: B will be packed ahead of time. l1d, l2 in bytes. */
gemm_blocking gemm_block(int64_t m, int64_t n, int64_t k, size_t l1d, size_t l2, bool b_ahead);
void gemm_pack_b(const gemm_blocking *g, gemm_operand b, float *packed, int threads);
void gemm_run(const gemm_blocking *g, const gemm_call *call);

/* For the tests: the register tile by itself. c[rows][ldc] (+)= sum over depth of a * b, where b is
 * [depth][nr], and a [mr][a_ld] or, transposed, [depth][mr]. rows <= mr, cols <= nr, depth <= kc_max. */
typedef struct {
    int mr, nr, kc_max, a_ld;
} gemm_sizes;
gemm_sizes gemm_tile_sizes(void);
void gemm_tile(int64_t depth, const float *a, bool transposed, const float *b, float *c, int64_t ldc, int rows,
               int cols, bool add);

#endif
