/* Activations of single elements and their derivatives, from the output alone where that suffices. Formulas:
 * Keras 2's and 3's activations (keras/src/activations, keras/src/backend/tensorflow/nn.py); at kinks
 * TensorFlow's derivatives; Klambauer et al. 2017 for selu's constants. Those of whole rows: softmax.c. */
#include "../conv.h"
#include "internal.h"
#include "smooth.h"

static const float selu_alpha = 1.6732632423543772f, selu_scale = 1.0507009873554805f;
static const float shrink = 0.5f;

static inline float clip(float x, float low, float high) { return x < low ? low : x > high ? high : x; }

/* tanh(softplus(x)), and the derivative of that. */
static inline float mish_gate(float x, float *slope)
{
    float e = smooth_exp(x > 20 ? 20 : x), w = e * (e + 2);
    *slope = 4 * e * (e + 1) / ((w + 2) * (w + 2));
    return w / (w + 2);
}

static inline float mish(float x)
{
    float slope, gate = mish_gate(x, &slope);
    return x * gate;
}

static inline float mish_slope(float x)
{
    float slope, gate = mish_gate(x, &slope);
    return gate + x * slope;
}

static inline float silu_slope(float x)
{
    float s = smooth_sigmoid(x);
    return s * (1 + x * (1 - s));
}

static inline float squareplus(float x)
{
    float root = sqrtf(x * x + 4);
    return x > 0 ? (x + root) / 2 : 2 / (root - x);
}

static inline float sparse_plus(float x) { return x >= 1 ? x : x > -1 ? (x + 1) * (x + 1) / 4 : 0; }

static inline float gelu(float x)
{
    float density;
    return x * smooth_normal(x, &density);
}

static inline float gelu_slope(float x)
{
    float density, below = smooth_normal(x, &density);
    return below + x * density;
}

static inline float shaped_relu(const nn_function *f, float x)
{
    float positive = x > f->threshold ? x : 0, below = f->threshold - x;
    positive = positive > f->most ? f->most : positive;
    return positive - f->alpha * (below > 0 ? below : 0);
}

/* TensorFlow's LeakyRelu, of which Keras makes those without threshold and limit, has the lower slope at 0 itself,
 * where layers behind a ReLU often are; what Keras puts together of others has none there. */
static inline float shaped_relu_slope(const nn_function *f, float x)
{
    bool leaky = f->threshold == 0 && f->most == INFINITY;
    return (x > f->threshold && x <= f->most ? 1 : 0) + (x < f->threshold || (leaky && x == 0) ? f->alpha : 0);
}

#define EACH _Pragma("omp simd") for (int64_t i = 0; i < n; i++)

void nn_activate(const nn_function *of, int64_t rows, const float *x, float *y)
{
    const nn_function f = *of;
    int64_t n = rows * f.columns * f.step;
    switch (f.kind) {
    case NN_RELU: EACH y[i] = x[i] > 0 ? x[i] : 0; break;
    case NN_SIGMOID: EACH y[i] = smooth_sigmoid(x[i]); break;
    case NN_TANH: EACH y[i] = smooth_tanh(x[i]); break;
    case NN_ELU: EACH y[i] = x[i] > 0 ? x[i] : f.alpha * smooth_expm1(x[i]); break;
    case NN_SELU: EACH y[i] = selu_scale * (x[i] > 0 ? x[i] : selu_alpha * smooth_expm1(x[i])); break;
    case NN_SOFTPLUS: EACH y[i] = smooth_softplus(x[i]); break;
    case NN_RELU6: EACH y[i] = conv_clipped(x[i], conv_clip(CONV_POST_RELU6)); break;
    case NN_EXPONENTIAL: EACH y[i] = smooth_exp(x[i]); break;
    case NN_SOFTSIGN: EACH y[i] = x[i] / (1 + fabsf(x[i])); break;
    case NN_HARD_SIGMOID: EACH y[i] = clip(x[i] + 3, 0, 6) / 6; break;
    case NN_HARD_SIGMOID_2: EACH y[i] = clip(0.2f * x[i] + 0.5f, 0, 1); break;
    case NN_HARD_TANH: EACH y[i] = clip(x[i], -1, 1); break;
    case NN_LOG_SIGMOID: EACH y[i] = -smooth_softplus(-x[i]); break;
    case NN_SPARSE_SIGMOID: EACH y[i] = clip(0.5f * (x[i] + 1), 0, 1); break;
    case NN_SPARSE_PLUS: EACH y[i] = sparse_plus(x[i]); break;
    case NN_SQUAREPLUS: EACH y[i] = squareplus(x[i]); break;
    case NN_HARD_SHRINK: EACH y[i] = fabsf(x[i]) > shrink ? x[i] : 0; break;
    case NN_SOFT_SHRINK: EACH y[i] = x[i] - clip(x[i], -shrink, shrink); break;
    case NN_SILU: EACH y[i] = x[i] * smooth_sigmoid(x[i]); break;
    case NN_HARD_SILU: EACH y[i] = x[i] * (clip(x[i] + 3, 0, 6) / 6); break;
    case NN_GELU: EACH y[i] = gelu(x[i]); break;
    case NN_MISH: EACH y[i] = mish(x[i]); break;
    case NN_TANH_SHRINK: EACH y[i] = x[i] - smooth_tanh(x[i]); break;
    case NN_SHAPED_RELU: EACH y[i] = shaped_relu(&f, x[i]); break;
    case NN_SOFTMAX:
    case NN_LOG_SOFTMAX: nn_activate_rows(of, rows, x, y); break;
    default: EACH y[i] = x[i];
    }
}

void nn_activate_backward(const nn_function *of, int64_t rows, const float *from, const float *dy, float *dx)
{
    const float *x = from, *y = from; /* as nn_derived_from_input says */
    const nn_function f = *of;
    int64_t n = rows * f.columns * f.step;
    switch (f.kind) {
    case NN_RELU: EACH dx[i] = y[i] > 0 ? dy[i] : 0; break;
    case NN_SIGMOID: EACH dx[i] = dy[i] * y[i] * (1 - y[i]); break;
    case NN_TANH: EACH dx[i] = dy[i] * (1 - y[i] * y[i]); break;
    case NN_ELU: EACH dx[i] = dy[i] * (y[i] > 0 ? 1 : y[i] + f.alpha); break;
    case NN_SELU: EACH dx[i] = dy[i] * (y[i] >= 0 ? selu_scale : y[i] + selu_scale * selu_alpha); break;
    case NN_SOFTPLUS: EACH dx[i] = -dy[i] * smooth_expm1(-y[i]); break;
    case NN_RELU6: EACH dx[i] = conv_passes(CONV_POST_RELU6, y[i]) ? dy[i] : 0; break;
    case NN_EXPONENTIAL: EACH dx[i] = dy[i] * y[i]; break;
    case NN_SOFTSIGN: EACH dx[i] = dy[i] * (1 - fabsf(y[i])) * (1 - fabsf(y[i])); break;
    case NN_HARD_SIGMOID: EACH dx[i] = y[i] > 0 && y[i] < 1 ? dy[i] / 6 : 0; break;
    case NN_HARD_SIGMOID_2: EACH dx[i] = y[i] > 0 && y[i] < 1 ? dy[i] * 0.2f : 0; break;
    case NN_HARD_TANH: EACH dx[i] = y[i] > -1 && y[i] < 1 ? dy[i] : 0; break;
    case NN_LOG_SIGMOID: EACH dx[i] = -dy[i] * smooth_expm1(y[i]); break;
    case NN_SPARSE_SIGMOID: EACH dx[i] = y[i] > 0 && y[i] < 1 ? dy[i] / 2 : 0; break;
    case NN_SPARSE_PLUS: EACH dx[i] = dy[i] * sqrtf(y[i] < 1 ? y[i] : 1); break;
    case NN_SQUAREPLUS: EACH dx[i] = dy[i] * (y[i] / (y[i] + 1 / y[i])); break;
    case NN_HARD_SHRINK:
    case NN_SOFT_SHRINK: EACH dx[i] = y[i] != 0 ? dy[i] : 0; break;
    case NN_SILU: EACH dx[i] = dy[i] * silu_slope(x[i]); break;
    case NN_HARD_SILU:
        EACH dx[i] = dy[i] * (x[i] > -3 && x[i] < 3 ? (2 * x[i] + 3) / 6 : x[i] > 0 ? 1 : 0);
        break;
    case NN_GELU: EACH dx[i] = dy[i] * gelu_slope(x[i]); break;
    case NN_MISH: EACH dx[i] = dy[i] * mish_slope(x[i]); break;
    case NN_TANH_SHRINK: EACH dx[i] = dy[i] * smooth_tanh(x[i]) * smooth_tanh(x[i]); break;
    case NN_SHAPED_RELU: EACH dx[i] = dy[i] * shaped_relu_slope(&f, x[i]); break;
    case NN_SOFTMAX:
    case NN_LOG_SOFTMAX: nn_activate_rows_backward(of, rows, y, dy, dx); break;
    default: EACH dx[i] = dy[i];
    }
}
