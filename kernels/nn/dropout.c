/* Dropout by bits of a counter-based generator: which elements a step drops depends on seed, layer, step, row
 * and element only. A bit that is 1 with probability r/2^16 takes one random bit per significant binary digit
 * of r: from the last 1 to the first digit, OR with a random bit for a 1, AND for a 0 (Knuth, TAOCP 4A, 7.1.3).
 * 0.25 and 0.5 thus cost two random bits and one. Philox is vectorised over counters. */
#include <Random123/philox.h>

#include "internal.h"

enum { LANES = 16 }; /* counters at once, each 128 bits */

static void random_bits(const nn_dropout *d, uint32_t row, uint32_t first, uint32_t digit,
                        uint32_t out[4][LANES])
{
    philox4x32_key_t key = {{(uint32_t)d->key, (uint32_t)(d->key >> 32)}};
#pragma omp simd
    for (int l = 0; l < LANES; l++) {
        philox4x32_ctr_t counter = {{first + (uint32_t)l, row, d->step, d->tag << 8 | digit}};
        philox4x32_ctr_t r = philox4x32_R(10, counter, key);
        out[0][l] = r.v[0];
        out[1][l] = r.v[1];
        out[2][l] = r.v[2];
        out[3][l] = r.v[3];
    }
}

/* keep[..][l]: 128 bits of block first + l, each 0 with probability rate / 2^16. */
static void keep_bits(const nn_dropout *d, uint32_t row, uint32_t first, uint32_t keep[4][LANES])
{
    uint32_t r[4][LANES];
    for (int v = 0; v < 4; v++)
        for (int l = 0; l < LANES; l++) keep[v][l] = 0; /* "dropped", complemented at the end */
    uint32_t digit = 0;
    while (digit < 16 && !(d->rate >> digit & 1)) digit++;
    for (; digit < 16; digit++) {
        random_bits(d, row, first, digit, r);
        bool one = d->rate >> digit & 1;
        for (int v = 0; v < 4; v++)
            for (int l = 0; l < LANES; l++) keep[v][l] = one ? keep[v][l] | r[v][l] : keep[v][l] & r[v][l];
    }
    for (int v = 0; v < 4; v++)
        for (int l = 0; l < LANES; l++) keep[v][l] = ~keep[v][l];
}

void nn_dropout_bits(const nn_dropout *d, int64_t first_row, int64_t rows, int64_t columns, uint64_t *bits)
{
    int64_t blocks = nn_dropout_words(columns) / 2;
    uint32_t keep[4][LANES];
    for (int64_t row = 0; row < rows; row++, bits += 2 * blocks)
        for (int64_t first = 0; first < blocks; first += LANES) {
            keep_bits(d, (uint32_t)(first_row + row), (uint32_t)first, keep);
            for (int64_t l = 0; l < LANES && first + l < blocks; l++) {
                bits[2 * (first + l)] = (uint64_t)keep[1][l] << 32 | keep[0][l];
                bits[2 * (first + l) + 1] = (uint64_t)keep[3][l] << 32 | keep[2][l];
            }
        }
}

void nn_apply_dropout(int64_t rows, int64_t columns, const uint64_t *bits, float scale, const float *x,
                      float *y)
{
    for (int64_t row = 0; row < rows; row++, x += columns, y += columns, bits += nn_dropout_words(columns))
        for (int64_t i = 0; i < columns; i += 64) {
            uint64_t word = bits[i / 64];
            int64_t n = columns - i < 64 ? columns - i : 64;
#pragma omp simd
            for (int64_t j = 0; j < n; j++) y[i + j] = (word >> j & 1) ? x[i + j] * scale : 0;
        }
}
