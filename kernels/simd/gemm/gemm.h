/* GEMM micro-kernels and panel packing, the arithmetic of every GEMM-like pass in this folder.
 *
 * A register tile is m rows x nv vectors of dst, m <= gemm_rows(nv). Two shapes of product:
 *   rows     dst[r][n] (+)= sum over taps t, k:  rows[t][r][k] * panel[t][k][n]   (forward, backward_data)
 *   columns  dst[r][n] (+)= sum over pixels i of runs:  a[i][r] * b[i][n]          (backward_weights)
 * Row indices make convolution an implicit GEMM: no im2col, padding reads a row of zeros. Each tile's sums
 * run in the order given, so bits depend on the problem alone. Plain data, the same for every instruction set;
 * tests/test_checkkernels.c verifies and times each kernel by itself. */
#ifndef SEPBENCH_SIMD_GEMM_GEMM_H
#define SEPBENCH_SIMD_GEMM_GEMM_H

#include <stdbool.h>
#include <stdint.h>

#include "../../util.h"

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
    float clip;               /* above 0: the end is clipped to [0, clip] */
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

/* Rows of the tallest tile of nv vectors, 1 <= nv <= TILE_VECTORS. */
int gemm_tile_rows(int nv);
/* The kernel of exactly m rows and nv vectors. */
gemm_rows_kernel *gemm_rows(int m, int nv);
/* `count` evenly spaced rows (index and dst_index NULL) in tiles as tall as they can be alike, at most `most`,
 * each by kernel(m, nv); sets tiles. */
void gemm_rows_even(gemm_rows_args args, int64_t count, int nv, int most, gemm_rows_finder *kernel);
gemm_columns_kernel *gemm_columns(int m, int nv);

/* Vectors per panel that suit n columns: least waste, then fastest tile. */
int gemm_panel_vectors(int64_t n);

/* Panels of a [k][n] matrix: panel j holds columns [j*nv*VL, ...) as [k][width_j], width_j = nv*VL, the last
 * panel's rounded up to VL and zero-filled; panel j starts at j*nv*VL*k. Floats in all: k * round_up(n, VL). */
int64_t gemm_panels_floats(int64_t k, int64_t n);
/* Packs `rows` rows of such a matrix of k rows, those from row first_row on: element (i, j) of them is at
 * b[i*row_stride + j*column_stride], one of the strides being 1. Only panels [first, last) are written, so
 * parts may be packed by different threads. */
void gemm_pack(const gemm_pack_args *args, int64_t first, int64_t last);

/* One way to multiply rows by panels: plainly, or by pairs of terms (fip/fip.h). */
typedef struct {
    gemm_rows_finder *rows;
    int (*tile_rows)(int nv);        /* as gemm_tile_rows; 0: no such tile */
    int (*panel_vectors)(int64_t n); /* as gemm_panel_vectors */
    void (*pack)(const gemm_pack_args *args, int64_t first, int64_t last); /* as gemm_pack */
    void (*prepare)(float *to, const float *from, int64_t k); /* a row that the kernels will read */
    bool prepared;       /* every row has to be, else only those that are better copied */
    int64_t header_rows; /* that a packed panel has before each block of k */
} gemm_way;

extern const gemm_way gemm_plain;

/* The widest panel of at most so many vectors that n columns fill and that there is a tile for. */
int64_t gemm_fit_vectors(const gemm_way *way, int64_t vectors, int64_t n);

/* Rows that a panel of k rows in blocks of k_block has with its headers. */
ALWAYS_INLINE int64_t gemm_panel_rows(const gemm_way *way, int64_t k, int64_t k_block)
{
    return way->header_rows == 0 ? k : k + way->header_rows * div_up(k, k_block);
}

#endif
