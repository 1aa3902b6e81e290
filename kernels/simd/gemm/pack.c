/* Packing of weight panels for the micro-kernels: panel by panel, row by row, so writes are sequential. Where
 * the matrix is given transposed (backward_data), VL columns are read together: each is contiguous along the
 * rows. */
#include "../copy.h"
#include "gemm.h"

/* Rows contiguous along n. */
static void copy_rows(const gemm_pack_args *p, int64_t column, int64_t width, float *out)
{
    int64_t n = min64(width, p->n - column);
    for (int64_t i = 0; i < p->rows; i++, out += width) {
        const float *b = p->b + i * p->row_stride + column;
        for (int64_t v = 0; v < width; v += VL)
            vec_store(out + v, vec_load_mask(b + v, vec_mask_first(max64(0, min64(VL, n - v)))));
    }
}

/* Columns contiguous along k: blocks of VL rows keep both sides' lines in L1. */
static void transpose_rows(const gemm_pack_args *p, int64_t column, int64_t width, float *out)
{
    int64_t n = min64(width, p->n - column);
    for (int64_t i0 = 0; i0 < p->rows; i0 += VL) {
        int64_t rows = min64(VL, p->rows - i0);
        for (int64_t j = 0; j < width; j++) {
            const float *b = p->b + i0 * p->row_stride + (column + j) * p->column_stride;
            for (int64_t i = 0; i < rows; i++) out[(i0 + i) * width + j] = j < n ? b[i * p->row_stride] : 0.0f;
        }
    }
}

void gemm_pack(const gemm_pack_args *p, int64_t first, int64_t last)
{
    int64_t full = (int64_t)p->nv * VL;
    for (int64_t j = first; j < last; j++) {
        int64_t column = j * full, width = min64(full, round_up(p->n, VL) - column);
        float *out = p->panels + column * p->k + p->first_row * width;
        if (p->column_stride == 1)
            copy_rows(p, column, width, out);
        else
            transpose_rows(p, column, width, out);
    }
}

int64_t gemm_panels_floats(int64_t k, int64_t n) { return k * round_up(n, VL); }

static void copy_row(float *to, const float *from, int64_t k) { copy_pixels(from, k, 1, k, to, k); }

const gemm_way gemm_plain = {.rows = gemm_rows,
                             .tile_rows = gemm_tile_rows,
                             .panel_vectors = gemm_panel_vectors,
                             .pack = gemm_pack,
                             .prepare = copy_row};
