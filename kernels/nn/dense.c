/* The dense layer's matrix products. Loop order i, k, j: four rows of C at a time, the row of B is the vector.
 * Parallel over fixed blocks of rows of C, so the bits do not depend on the number of threads. */
#include <string.h>

#include "internal.h"

enum { ROWS = 4, COLUMNS = 256 };

static void block(bool ta, bool tb, int64_t m, int64_t n, int64_t k, const float *a, int64_t lda,
                  const float *b, int64_t ldb, float *c, int64_t ldc, bool accumulate, float *strip)
{
    for (int64_t j0 = 0; j0 < n; j0 += COLUMNS) {
        int64_t jn = n - j0 < COLUMNS ? n - j0 : COLUMNS;
        float sum[ROWS][COLUMNS];
        for (int64_t i = 0; i < m; i++)
            for (int64_t j = 0; j < jn; j++) sum[i][j] = accumulate ? c[i * ldc + j0 + j] : 0;
        for (int64_t p = 0; p < k; p++) {
            const float *row = tb ? strip : b + p * ldb + j0;
            if (tb)
                for (int64_t j = 0; j < jn; j++) strip[j] = b[(j0 + j) * ldb + p];
            for (int64_t i = 0; i < m; i++) {
                float x = ta ? a[p * lda + i] : a[i * lda + p];
#pragma omp simd
                for (int64_t j = 0; j < jn; j++) sum[i][j] += x * row[j];
            }
        }
        for (int64_t i = 0; i < m; i++) memcpy(c + i * ldc + j0, sum[i], (size_t)jn * sizeof *c);
    }
}

void ISA_NAME(nn_gemm)(bool transpose_a, bool transpose_b, int64_t m, int64_t n, int64_t k, const float *a,
                       int64_t lda, const float *b, int64_t ldb, float *c, int64_t ldc, bool accumulate,
                       int threads, void *scratch)
{
    (void)scratch;
#pragma omp parallel for num_threads(threads) schedule(static)
    for (int64_t i = 0; i < m; i += ROWS) {
        float strip[COLUMNS];
        block(transpose_a, transpose_b, m - i < ROWS ? m - i : ROWS, n, k, transpose_a ? a + i : a + i * lda,
              lda, b, ldb, c + i * ldc, ldc, accumulate, strip);
    }
}

size_t ISA_NAME(nn_gemm_scratch)(bool transpose_a, bool transpose_b, int64_t m, int64_t n, int64_t k,
                                 int threads)
{
    (void)transpose_a, (void)transpose_b, (void)m, (void)n, (void)k, (void)threads;
    return 0;
}

void ISA_NAME(nn_add_bias)(int64_t rows, int64_t columns, const float *bias, bool relu, float *y)
{
    for (int64_t r = 0; r < rows; r++, y += columns)
#pragma omp simd
        for (int64_t i = 0; i < columns; i++) {
            float value = y[i] + bias[i];
            y[i] = relu && !(value > 0) ? 0 : value;
        }
}

void ISA_NAME(nn_sum_rows)(int64_t rows, int64_t columns, const float *x, float *sum)
{
    memset(sum, 0, (size_t)columns * sizeof *sum);
    for (int64_t r = 0; r < rows; r++, x += columns)
#pragma omp simd
        for (int64_t i = 0; i < columns; i++) sum[i] += x[i];
}
