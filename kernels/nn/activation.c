/* Activations and their derivatives, the latter from the output alone, so that only one tensor is kept.
 * Formulas: Keras 2's activations (keras/activations.py) and Klambauer et al. 2017 for selu's constants. */
#include <math.h>

#include "../conv.h"
#include "internal.h"

static const float selu_alpha = 1.6732632423543772f, selu_scale = 1.0507009873554805f;

#define EACH for (int64_t i = 0; i < n; i++)

static void softmax(int64_t rows, int64_t columns, const float *x, float *y)
{
    for (int64_t r = 0; r < rows; r++, x += columns, y += columns) {
        float largest = x[0], sum = 0;
        for (int64_t i = 1; i < columns; i++) largest = fmaxf(largest, x[i]);
        for (int64_t i = 0; i < columns; i++) sum += y[i] = expf(x[i] - largest);
        for (int64_t i = 0; i < columns; i++) y[i] /= sum;
    }
}

static void softmax_backward(int64_t rows, int64_t columns, const float *y, const float *dy, float *dx)
{
    for (int64_t r = 0; r < rows; r++, y += columns, dy += columns, dx += columns) {
        float dot = 0;
        for (int64_t i = 0; i < columns; i++) dot += y[i] * dy[i];
        for (int64_t i = 0; i < columns; i++) dx[i] = y[i] * (dy[i] - dot);
    }
}

void nn_activate(nn_activation f, int64_t rows, int64_t columns, const float *x, float *y)
{
    int64_t n = rows * columns;
    switch (f) {
    case NN_RELU: EACH y[i] = x[i] > 0 ? x[i] : 0; break;
    case NN_SIGMOID: EACH y[i] = 1 / (1 + expf(-x[i])); break;
    case NN_TANH: EACH y[i] = tanhf(x[i]); break;
    case NN_ELU: EACH y[i] = x[i] > 0 ? x[i] : expm1f(x[i]); break;
    case NN_SELU: EACH y[i] = selu_scale * (x[i] > 0 ? x[i] : selu_alpha * expm1f(x[i])); break;
    case NN_SOFTPLUS: EACH y[i] = fmaxf(x[i], 0) + log1pf(expf(-fabsf(x[i]))); break;
    case NN_RELU6: EACH y[i] = conv_clipped(x[i], conv_clip(CONV_POST_RELU6)); break;
    case NN_SOFTMAX: softmax(rows, columns, x, y); break;
    default:
        if (x != y) EACH y[i] = x[i];
    }
}

void nn_activate_backward(nn_activation f, int64_t rows, int64_t columns, const float *y, const float *dy,
                          float *dx)
{
    int64_t n = rows * columns;
    switch (f) {
    case NN_RELU: EACH dx[i] = y[i] > 0 ? dy[i] : 0; break;
    case NN_SIGMOID: EACH dx[i] = dy[i] * y[i] * (1 - y[i]); break;
    case NN_TANH: EACH dx[i] = dy[i] * (1 - y[i] * y[i]); break;
    case NN_ELU: EACH dx[i] = dy[i] * (y[i] > 0 ? 1 : y[i] + 1); break;
    case NN_SELU: EACH dx[i] = dy[i] * (y[i] > 0 ? selu_scale : y[i] + selu_scale * selu_alpha); break;
    case NN_SOFTPLUS: EACH dx[i] = -dy[i] * expm1f(-y[i]); break;
    case NN_RELU6: EACH dx[i] = conv_passes(CONV_POST_RELU6, y[i]) ? dy[i] : 0; break;
    case NN_SOFTMAX: softmax_backward(rows, columns, y, dy, dx); break;
    default:
        if (dx != dy) EACH dx[i] = dy[i];
    }
}
