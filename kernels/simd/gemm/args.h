/* What the GEMM micro-kernels and the packing take: plain data, the same for every instruction set. See gemm.h.
 */
#ifndef SEPBENCH_SIMD_GEMM_ARGS_H
#define SEPBENCH_SIMD_GEMM_ARGS_H

#include <stdbool.h>
#include <stdint.h>

/* A batch of tiles over one panel. Sums of dst rows, each over the rows of src that its taps read. */
typedef struct {
    const float *rows; /* row i's k values at rows + i*row_stride */
    int64_t row_stride;
    const int32_t *index; /* [tiles][taps][m] the row each tap reads, -1: zeros; NULL: dst row i reads row i */
    int64_t first;      /* index counts rows from here: row index[.] lies at rows + (index[.] - first)*stride */
    int64_t tap_stride; /* without index: floats from one tap's rows to the next tap's */
    const float *zeros; /* [k] */
    const float *panel; /* slice s, [k][nv*VL] floats, at panel + s*slice_stride; 64-byte aligned */
    int64_t slice_stride;
    const int32_t *slices; /* [taps] the slice of each tap; NULL: 0, 1, 2, ... */
    int64_t taps, k;
    float *dst; /* row i's n values at dst + i*dst_stride */
    int64_t dst_stride;
    const int32_t *dst_index; /* [tiles][m] the row each is; NULL: 0, 1, 2, ... */
    int64_t tiles;            /* of m rows each */
    int64_t n;                /* columns, (nv-1)*VL < n <= nv*VL; the panel's columns beyond must be zero */
    bool accumulate;          /* add to dst (then bias is not added), else overwrite without reading */
    const float *bias;        /* [n] or NULL */
    bool relu;                /* max(0, .) at the end */
    bool stream;              /* full vectors of dst, which must be aligned, go past the caches */
    const float *ahead;       /* what is prefetched to L2 meanwhile: row i's k floats, while
                                 dst row i is computed, at ahead + i*ahead_stride */
    int64_t ahead_stride, ahead_rows; /* 0: nothing */
} gemm_rows_args;

/* A run of pixels that advance together, counted from the first pixel of a and b. */
typedef struct {
    int64_t a, b, count;
} gemm_run;

typedef struct {
    const gemm_run *runs;
    int64_t run_count;
    const float *a;          /* pixel i's m values at a + i*a_pixel */
    int64_t a_pixel, a_step; /* floats from one pixel to the next; from one step of a run to the next */
    const float *b;          /* pixel i's n values at b + i*b_pixel; one step of a run is one pixel of b */
    int64_t b_pixel;
    float *dst;     /* row r at dst + r*ldc, n floats */
    int64_t ldc, n; /* (nv-1)*VL < n <= nv*VL; of b, n columns are read */
    bool accumulate;
    const float *ahead; /* what is prefetched to L2 meanwhile: at each pixel ahead_step floats of it */
    int64_t ahead_step; /* 0: nothing */
    const float *next;  /* where the next tile's dst will be, prefetched too; NULL: nothing */
} gemm_columns_args;

typedef void gemm_rows_kernel(const gemm_rows_args *args);
typedef gemm_rows_kernel *gemm_rows_finder(int m, int nv);
typedef void gemm_columns_kernel(const gemm_columns_args *args);

/* A [k][n] matrix to pack into panels of nv vectors; see gemm_pack. */
typedef struct {
    const float *b;
    int64_t row_stride, column_stride;
    int64_t first_row, rows;
    int64_t k, n;
    int64_t k_block; /* fip/fip.h: rows of a block, each with a header; gemm_pack does without */
    int nv;
    float *panels;
} gemm_pack_args;

#endif
