/* A product of rows and panels whose units multiply and add at once: Winograd's inner product.
 *
 * For a pair of terms  x0*y0 + x1*y1 = (x0 + y1)*(x1 + y0) - x0*x1 - y1*y0.  The last two products depend on
 * one row and on one column only, so a pair costs a multiplication and two additions. Of every three terms two
 * are such a pair and one is multiplied as ever: two multiplications and two additions instead of three
 * multiplications. Where additions have units of their own, which a plain GEMM leaves idle (AMD's Zen), that
 * can be 1.5 times as fast as multiplying at the peak; where they share the multipliers', it is four operations
 * instead of three.
 * The two numbers of a sum must be of one magnitude, or the smaller is rounded away: every row and every column
 * is scaled by a power of two of its own, which a tile takes away again in the end. Inexact.
 * Source: S. Winograd, A New Algorithm for Inner Product, IEEE TC C-17, 1968; scaling: R. P. Brent, Error
 * analysis of algorithms for matrix multiplication, Stanford CS157, 1970. In hardware called FIP: Pogue &
 * Nicolici, Fast Inner-Product Algorithms and Architectures, IEEE TC 2024. */
#ifndef SEPBENCH_SIMD_FIP_FIP_H
#define SEPBENCH_SIMD_FIP_FIP_H

#include "../gemm/gemm.h"

/* Terms go by steps: FIP_LANES first partners, as many second ones, as many single terms. What is left at the
 * end of a block of k is single too. */
enum { FIP_LANES = 8, FIP_STEP = 3 * FIP_LANES, FIP_VECTORS = 2 };

/* Error of an element against u * sqrt(K) * sum|x*w|; tests/check_fip.c derives it. */
enum { FIP_ERROR_FACTOR = 16 };

/* Packed: of every panel, of every block of k, two rows before the block's own: minus the sum of the products
 * of each column's pairs, and the factor that takes away its scale. */
enum { FIP_HEADER_ROWS = 2 };

/* gemm_pack, with headers, of whole panels [first, last): p->k and p->rows are k, p->first_row 0. */
void fip_pack(const gemm_pack_args *p, int64_t first, int64_t last);

/* A row's two numbers of that kind follow its k floats. */
enum { FIP_ROW_TAIL = 2 };
/* Scales k floats to the magnitude that columns have and writes the tail after them; `to` may be `from`. An
 * infinite or NaN element makes the whole row's results NaN. */
void fip_prepare(float *to, const float *from, int64_t k);

/* Of the tallest tile, of 2 vectors: 24 accumulators, 6 vectors of a panel, 2 sums are 32 registers. */
enum { FIP_ROWS = 12 };

/* As gemm_rows, for one tap without index: m <= FIP_ROWS, nv <= FIP_VECTORS; args.rows prepared by fip_prepare,
 * args.panel at the header of a block packed by fip_pack. */
gemm_rows_kernel *fip_rows(int m, int nv);
/* As gemm_panel_vectors. */
int fip_panel_vectors(int64_t n);

extern const gemm_way fip_way;

#endif
