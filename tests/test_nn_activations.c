/* kernels/nn's activations and loss: every instruction set's copy against double precision. */
#include "nn_support.h"

#include <stdio.h>
#include <string.h>

static double within(double x, double low, double high) { return fmin(fmax(x, low), high); }

static double activation(const nn_function *f, double x)
{
    switch (f->kind) {
    case NN_RELU: return fmax(x, 0);
    case NN_SIGMOID: return 1 / (1 + exp(-x));
    case NN_TANH: return tanh(x);
    case NN_ELU: return x > 0 ? x : f->alpha * expm1(x);
    case NN_SELU: return 1.0507009873554805 * (x > 0 ? x : 1.6732632423543772 * expm1(x));
    case NN_SOFTPLUS: return log1p(exp(x));
    case NN_RELU6: return fmin(fmax(x, 0), 6);
    case NN_EXPONENTIAL: return exp(x);
    case NN_SOFTSIGN: return x / (1 + fabs(x));
    case NN_HARD_SIGMOID: return within(x / 6 + 0.5, 0, 1);
    case NN_HARD_SIGMOID_2: return within(0.2 * x + 0.5, 0, 1);
    case NN_HARD_TANH: return within(x, -1, 1);
    case NN_LOG_SIGMOID: return -log1p(exp(-x));
    case NN_SPARSE_SIGMOID: return within((x + 1) / 2, 0, 1);
    case NN_SPARSE_PLUS: return x <= -1 ? 0 : x >= 1 ? x : (x + 1) * (x + 1) / 4;
    case NN_SQUAREPLUS: return (x + sqrt(x * x + 4)) / 2;
    case NN_HARD_SHRINK: return fabs(x) > 0.5 ? x : 0;
    case NN_SOFT_SHRINK: return x > 0.5 ? x - 0.5 : x < -0.5 ? x + 0.5 : 0;
    case NN_SILU: return x / (1 + exp(-x));
    case NN_HARD_SILU: return x * within(x / 6 + 0.5, 0, 1);
    case NN_GELU: return x * erfc(-x / sqrt(2)) / 2;
    case NN_MISH: return x * tanh(log1p(exp(x)));
    case NN_TANH_SHRINK: return x - tanh(x);
    case NN_SHAPED_RELU: return x < f->threshold ? f->alpha * (x - f->threshold) : fmin(x, f->most);
    default: return x;
    }
}

static bool of_rows(nn_activation kind) { return kind >= NN_SOFTMAX && kind <= NN_LOG_SOFTMAX; }

/* At 0 itself, where a convolution of zeros puts everything: as TensorFlow. */
static void check_kinks(const nn_kernels *nn)
{
    static const struct {
        nn_function f;
        float slope;
    } kinks[] = {
        {{NN_SHAPED_RELU, 0.2f, INFINITY, 0, 1, 1}, 0.2f}, /* tf.nn.leaky_relu */
        {{NN_SHAPED_RELU, 0.2f, 4, 0, 1, 1}, 0},           /* what Keras puts together of ReLUs */
        {{NN_SELU, 1, INFINITY, 0, 1, 1}, 1.05070098f},
        {{NN_ELU, 2, INFINITY, 0, 1, 1}, 2},
        {{NN_RELU, 0, INFINITY, 0, 1, 1}, 0},
    };
    for (size_t i = 0; i < sizeof kinks / sizeof *kinks; i++) {
        const float zero = 0, one = 1;
        float slope;
        nn->activate_backward(&kinks[i].f, 1, &zero, &one, &slope);
        if (slope != kinks[i].slope) fail_msg("kink %zu: %g", i, (double)slope);
    }
}

static void check_activations(const nn_kernels *nn)
{
    enum { COUNT = 203 };
    float *x = filled(COUNT, 1, 20), y[COUNT], dy[COUNT], dx[COUNT];
    check_kinks(nn);
    for (int i = 0; i < COUNT; i++) dy[i] = (float)noise(2, (uint32_t)i);
    for (int k = NN_LINEAR; k < NN_ACTIVATION_COUNT; k++) {
        if (of_rows((nn_activation)k)) continue;
        const nn_function f = {(nn_activation)k, 0.7f, 4, 0.3f, COUNT, 1};
        nn->activate(&f, 1, x, y);
        nn->activate_backward(&f, 1, nn_derived_from_input(f.kind) ? x : y, dy, dx);
        for (int i = 0; i < COUNT; i++) {
            double want = activation(&f, x[i]), h = 1e-6;
            double slope = (activation(&f, x[i] + h) - activation(&f, x[i] - h)) / (2 * h);
            double cancelled = k == NN_TANH_SHRINK ? 0x1p-23 * fabs(x[i]) : 0; /* of x - tanh(x) */
            if (!(fabs(y[i] - want) <= 2e-6 * (fabs(want) + 1e-3) + cancelled))
                fail_msg("activation %d of %g: %.9g, expected %.9g", k, (double)x[i], (double)y[i], want);
            if (!(fabs(dx[i] - slope * dy[i]) <= 3e-6 * (1 + fabs(slope))))
                fail_msg("derivative %d at %g: %g, expected %g", k, (double)x[i], (double)dx[i], slope * dy[i]);
        }
    }
    free(x);
}

/* Beyond where e^x is a float, and no number at all, which must stay one. */
static void check_extremes(const nn_kernels *nn)
{
    enum { COUNT = 40 };
    float x[COUNT], y[COUNT], dx[COUNT], dy[COUNT];
    for (int i = 0; i < COUNT; i++) {
        x[i] = (i % 2 ? -1 : 1) * powf(10, (float)(i % 8));
        dy[i] = 1;
    }
    for (int k = NN_LINEAR; k < NN_ACTIVATION_COUNT; k++) {
        const nn_function f = {(nn_activation)k, 1, 4, 0, COUNT, 1};
        if (k == NN_EXPONENTIAL) continue; /* infinite by right */
        nn->activate(&f, 1, x, y);
        nn->activate_backward(&f, 1, nn_derived_from_input(f.kind) ? x : y, dy, dx);
        for (int i = 0; i < COUNT; i++)
            if (!isfinite(y[i]) || !isfinite(dx[i]))
                fail_msg("activation %d of %g: %g, derivative %g", k, (double)x[i], (double)y[i],
                         (double)dx[i]);
        if (of_rows((nn_activation)k)) continue;
        const float none = NAN;
        const nn_function one = {(nn_activation)k, 1, 4, 0, 1, 1};
        nn->activate(&one, 1, &none, y);
        bool clips =
            k == NN_RELU || k == NN_RELU6 || k == NN_SHAPED_RELU || k == NN_SPARSE_PLUS || k == NN_HARD_SHRINK;
        if (!clips && !isnan(y[0])) fail_msg("activation %d of NaN: %g", k, (double)y[0]);
    }
}

/* Softmax and its logarithm along any axis: what defines each, and derivatives by differences. */
static double row_of(nn_activation kind, int64_t n, int64_t step, const double *x, int64_t at)
{
    double most = -INFINITY, sum = 0;
    for (int64_t i = 0; i < n; i++) most = fmax(most, x[i * step]);
    for (int64_t i = 0; i < n; i++) sum += exp(x[i * step] - most);
    return kind == NN_SOFTMAX ? exp(x[at * step] - most) / sum : x[at * step] - most - log(sum);
}

static void check_rows_of(const nn_kernels *nn, const nn_function *f, double scale)
{
    enum { ROWS = 3 };
    int64_t n = f->columns * f->step, count = ROWS * n;
    float *x = filled(count, 21, scale), *dy = filled(count, 22, 2);
    float *y = malloc((size_t)count * sizeof *y), *dx = malloc((size_t)count * sizeof *dx);
    double *exact = malloc((size_t)count * sizeof *exact);
    for (int64_t i = 0; i < count; i++) exact[i] = x[i];
    nn->activate(f, ROWS, x, y);
    nn->activate_backward(f, ROWS, y, dy, dx);
    for (int64_t i = 0; i < count; i++) {
        double *axis = exact + i / n * n + i % f->step, want = 0, kept = exact[i], side;
        int64_t at = i % n / f->step;
        close_to(y[i], row_of(f->kind, f->columns, f->step, axis, at), 2e-6);
        for (int s = -1; s <= 1; s += 2) {
            exact[i] = kept + s * 1e-6;
            side = 0;
            for (int64_t k = 0; k < f->columns; k++)
                side += row_of(f->kind, f->columns, f->step, axis, k) * dy[axis - exact + k * f->step];
            want += s * side / 2e-6;
        }
        exact[i] = kept;
        close_to(dx[i], want, 2e-5);
    }
    free(x), free(dy), free(y), free(dx), free(exact);
}

static void check_rows(const nn_kernels *nn)
{
    static const int64_t shapes[][2] = {{1, 1}, {7, 1}, {33, 1}, {5, 3}, {17, 20}};
    for (int kind = NN_SOFTMAX; kind <= NN_LOG_SOFTMAX; kind++)
        for (size_t s = 0; s < sizeof shapes / sizeof *shapes; s++)
            for (int scale = 1; scale <= 16; scale *= 16)
                check_rows_of(nn, &(nn_function){(nn_activation)kind, 0, 0, 0, shapes[s][0], shapes[s][1]},
                              scale);
}

static void check_softmax(const nn_kernels *nn)
{
    enum { ROWS = 5, CLASSES = 7 };
    float *x = filled(ROWS * CLASSES, 3, 30), y[ROWS * CLASSES], dx[ROWS * CLASSES], loss[ROWS];
    uint8_t labels[ROWS] = {0, 6, 3, 2, 5}, correct[ROWS];
    x[0] = 200; /* must not overflow */
    nn->softmax_cross_entropy(ROWS, CLASSES, x, labels, &(nn_losses){loss, correct, y, dx, 0.5f});
    for (int r = 0; r < ROWS; r++) {
        double sum = 0, largest = -INFINITY;
        for (int i = 0; i < CLASSES; i++) largest = fmax(largest, x[r * CLASSES + i]);
        for (int i = 0; i < CLASSES; i++) sum += exp(x[r * CLASSES + i] - largest);
        close_to(loss[r], log(sum) + largest - x[r * CLASSES + labels[r]], 1e-4);
        assert_int_equal(correct[r], x[r * CLASSES + labels[r]] == largest);
        for (int i = 0; i < CLASSES; i++) {
            double p = exp(x[r * CLASSES + i] - largest) / sum;
            close_to(y[r * CLASSES + i], p, 1e-6);
            close_to(dx[r * CLASSES + i], 0.5 * (p - (i == labels[r])), 1e-6);
        }
    }
    free(x);
}

TEST(activations)
TEST(extremes)
TEST(rows)
TEST(softmax)

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(activations),
        cmocka_unit_test(extremes),
        cmocka_unit_test(rows),
        cmocka_unit_test(softmax),
    };
    return cmocka_run_group_tests_name("nn_activations", tests, NULL, NULL);
}
