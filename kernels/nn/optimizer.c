/* Keras's optimizers, one pass over a range of parameters each; the caller hands out ranges.
 * Formulas: Keras 2 (keras/optimizers.py). Adam's epsilon is Kingma and Ba's "epsilon hat": it is added to
 * sqrt(v) as it is, the bias corrections being in the learning rate. Sums run in a fixed order. */
#include <math.h>

#include "internal.h"

/* A binary tree over the chunks: sums of 1, 2, 4 ... wait for their like, as the digits of a binary counter, so
 * that whoever has only some neighbouring chunks can make the sums of the subtrees among them. */
void nn_sum_chunks(int64_t count, int64_t chunks, int64_t stride, const float *parts, float *g)
{
    enum { BLOCK = 64, MOST_LEVELS = 63 };
    float waiting[MOST_LEVELS][BLOCK];
    for (int64_t i = 0; i < count; i += BLOCK) {
        int64_t n = count - i < BLOCK ? count - i : BLOCK;
        int depth = 0;
        for (int64_t c = 0; c < chunks; c++) {
            const float *part = parts + c * stride + i;
            if (c % 2 == 0) {
                for (int64_t j = 0; j < n; j++) waiting[depth][j] = part[j];
                depth++;
                continue;
            }
            for (int64_t j = 0; j < n; j++) waiting[depth - 1][j] += part[j];
            for (int64_t k = c >> 1; k & 1; k >>= 1, depth--)
                for (int64_t j = 0; j < n; j++) waiting[depth - 2][j] += waiting[depth - 1][j];
        }
        for (; depth > 1; depth--)
            for (int64_t j = 0; j < n; j++) waiting[depth - 2][j] += waiting[depth - 1][j];
        for (int64_t j = 0; j < n; j++) g[i + j] = waiting[0][j];
    }
}

double nn_penalty(int64_t count, float l1, float l2, float scale, const float *x, float *g)
{
    double absolute = 0, square = 0;
    for (int64_t i = 0; i < count; i++) {
        absolute += fabsf(x[i]);
        square += (double)x[i] * x[i];
    }
    if (g != NULL)
        for (int64_t i = 0; i < count; i++)
            g[i] += scale * (l1 * (float)((x[i] > 0) - (x[i] < 0)) + 2 * l2 * x[i]);
    return (double)scale * ((double)l1 * absolute + (double)l2 * square);
}

void nn_adam(int64_t count, const nn_rates *r, const float *g, float *restrict w, float *restrict m,
             float *restrict v)
{
    float rate = r->learning_rate, b1 = r->beta_1, b2 = r->beta_2, epsilon = r->epsilon;
    float c1 = 1 - b1, c2 = 1 - b2;
#pragma omp simd
    for (int64_t i = 0; i < count; i++) {
        m[i] = b1 * m[i] + c1 * g[i];
        v[i] = b2 * v[i] + c2 * g[i] * g[i];
        w[i] -= rate * m[i] / (sqrtf(v[i]) + epsilon);
    }
}

void nn_sgd(int64_t count, const nn_rates *r, const float *g, float *restrict w, float *restrict velocity)
{
    float rate = r->learning_rate, momentum = r->momentum;
    for (int64_t i = 0; i < count; i++) {
        velocity[i] = momentum * velocity[i] - rate * g[i];
        w[i] += r->nesterov ? momentum * velocity[i] - rate * g[i] : velocity[i];
    }
}

void nn_rmsprop(int64_t count, const nn_rates *r, const float *g, float *restrict w,
                float *restrict mean_square)
{
    float rate = r->learning_rate, rho = r->rho, epsilon = r->epsilon;
#pragma omp simd
    for (int64_t i = 0; i < count; i++) {
        mean_square[i] = rho * mean_square[i] + (1 - rho) * g[i] * g[i];
        w[i] -= rate * g[i] / sqrtf(mean_square[i] + epsilon); /* within the root, as Keras since 2.11 */
    }
}
