/* GEMM micro-kernels and panel packing, the arithmetic of every GEMM-like pass in this folder.
 *
 * A register tile is m rows x nv vectors of dst, m <= gemm_rows(nv). Two shapes of product:
 *   rows     dst[r][n] (+)= sum over taps t, k:  rows[t][r][k] * panel[t][k][n]   (forward, backward_data)
 *   columns  dst[r][n] (+)= sum over pixels i of runs:  a[i][r] * b[i][n]          (backward_weights)
 * Row indices make convolution an implicit GEMM: no im2col, padding reads a row of zeros. Each tile's sums
 * run in the order given, so bits depend on the problem alone. */
#ifndef SEPBENCH_SIMD_GEMM_GEMM_H
#define SEPBENCH_SIMD_GEMM_GEMM_H

#include <stdbool.h>
#include <stdint.h>

#include "../vec.h"
#include "args.h"

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
ALWAYS_INLINE int64_t gemm_panels_floats(int64_t k, int64_t n) { return k * round_up(n, VL); }
/* Packs `rows` rows of such a matrix of k rows, those from row first_row on: element (i, j) of them is at
 * b[i*row_stride + j*column_stride], one of the strides being 1. Only panels [first, last) are written, so
 * parts may be packed by different threads. */
void gemm_pack(const gemm_pack_args *args, int64_t first, int64_t last);

/* One way to multiply rows by panels: plainly, or by pairs of terms (fip/fip.h). */
typedef struct {
    gemm_rows_finder *rows;
    int (*tile_rows)(int nv);                                              /* as gemm_tile_rows */
    int (*panel_vectors)(int64_t n);                                       /* as gemm_panel_vectors */
    void (*pack)(const gemm_pack_args *args, int64_t first, int64_t last); /* as gemm_pack */
    void (*prepare)(float *to, const float *from, int64_t k); /* a row that the kernels will read */
    bool prepared;       /* every row has to be, else only those that are better copied */
    int64_t header_rows; /* that a packed panel has before each block of k */
    double rate;         /* vectors of multiply-adds in a cycle, for cost models */
} gemm_way;

extern const gemm_way gemm_plain;

/* Rows that a panel of k rows in blocks of k_block has with its headers. */
ALWAYS_INLINE int64_t gemm_panel_rows(const gemm_way *way, int64_t k, int64_t k_block)
{
    return way->header_rows == 0 ? k : k + way->header_rows * div_up(k, k_block);
}

#endif
