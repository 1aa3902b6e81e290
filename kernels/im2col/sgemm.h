/* C = A * B in fp32, blocked and packed, for operands that need not exist in memory.
 *
 * An operand is a function that writes any block of it; GEMM calls it to fill its packed panels. Lowering a
 * convolution is such a function (lower.h), so the lowered matrix exists only as panels that stay in cache.
 * All matrices are row-major; sizes and leading dimensions are in floats, at least 1. */
#ifndef SEPBENCH_IM2COL_SGEMM_H
#define SEPBENCH_IM2COL_SGEMM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Rows [row, row + rows) x columns [col, col + cols) of a matrix. */
typedef struct {
    int64_t row, rows, col, cols;
} sgemm_block;

/* Writes a block of the matrix to to[rows][ld]. */
typedef void sgemm_fill(const void *matrix, const sgemm_block *block, float *to, int64_t ld);

typedef struct {
    sgemm_fill *fill;
    const void *matrix;
    bool transposed; /* A only: fill describes A^T, [k][m] */
} sgemm_operand;

/* A stored matrix, and its fills: as it is, and transposed (fill's rows are data's columns). `mask`, if not
 * NULL, has data's shape: where it is not in (0, passing] the element counts as 0 (a post-op's gradient). */
typedef struct {
    const float *data, *mask;
    int64_t ld;
    float passing;
} sgemm_matrix;

/* How one product is cut up; from the sizes and the caches only, so the same on any number of threads. */
typedef struct {
    int64_t m, n, k;
    int64_t kc;            /* k per packed slice, a panel of B fits half of L1 */
    int64_t mc;            /* rows of A packed at a time, a slice fits L2 */
    int64_t tile_m;        /* register tiles down a task; across it has one panel of B */
    size_t packed_b_bytes; /* of the whole of B packed ahead of time */
    size_t scratch_bytes;  /* one slice of A, and of B where it is not packed ahead */
} sgemm_blocking;

typedef struct {
    int64_t row, col, k; /* where the product starts within the operands; where B is packed ahead, col is a
                            multiple of the register tile and k is 0 */
    int64_t rows, cols, depth; /* of the product; at most the blocking's m, n, k */
    sgemm_operand a, b;        /* [m][k], [k][n] */
    const float *packed_b;     /* from sgemm_pack_b: B is not filled; else NULL */
    float *c;                  /* [rows][ldc], written; added to if `add` */
    int64_t ldc;
    bool add;          /* C += A * B */
    float clip;        /* at the end, as conv_clipped() */
    const float *bias; /* added at the end, indexed like B's columns, or NULL */
    void *scratch;     /* sgemm_blocking's scratch_bytes, 64-byte aligned */
    int threads;
} sgemm_call;

sgemm_fill sgemm_fill_rows, sgemm_fill_transposed; /* matrix: const sgemm_matrix * */

/* b_ahead: B will be packed ahead of time. l1d, l2 in bytes. */
sgemm_blocking sgemm_cut(int64_t m, int64_t n, int64_t k, size_t l1d, size_t l2, bool b_ahead);
void sgemm_pack_b(const sgemm_blocking *g, sgemm_operand b, float *packed, int threads);
void sgemm_run(const sgemm_blocking *g, const sgemm_call *call);

/* For the tests: the register tile by itself. c[rows][ldc] (+)= sum over depth of a * b, where b is
 * [depth][nr], and a [mr][a_ld] or, transposed, [depth][mr]. rows <= mr, cols <= nr, depth <= kc_max. */
typedef struct {
    int mr, nr, kc_max, a_ld;
} sgemm_sizes;
sgemm_sizes sgemm_tile_sizes(void);
void sgemm_tile(int64_t depth, const float *a, bool transposed, const float *b, float *c, int64_t ldc, int rows,
                int cols, bool add);

#endif
