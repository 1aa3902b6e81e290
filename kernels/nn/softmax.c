/* Activations of a whole axis: softmax and its logarithm, with their derivatives from the output. The axis may
 * be any: its elements lie f->step apart. Serial. */
#include "internal.h"
#include "smooth.h"

#define EACH for (int64_t i = 0; i < n; i += step)
#define SUM _Pragma("omp simd reduction(+ : sum)") EACH

/* n is the axis's length times step. */
static inline float largest(int64_t n, int64_t step, const float *x)
{
    float most = x[0];
    EACH most = x[i] > most ? x[i] : most;
    return most;
}

static inline void softmax(int64_t n, int64_t step, const float *x, float *y)
{
    float most = largest(n, step, x), sum = 0;
#pragma omp simd
    EACH y[i] = smooth_exp(x[i] - most);
    SUM sum += y[i];
    EACH y[i] /= sum;
}

static inline void softmax_backward(int64_t n, int64_t step, const float *y, const float *dy, float *dx)
{
    float sum = 0;
    SUM sum += y[i] * dy[i];
    EACH dx[i] = y[i] * (dy[i] - sum);
}

static inline void log_softmax(int64_t n, int64_t step, const float *x, float *y)
{
    float most = largest(n, step, x), sum = 0;
    SUM sum += smooth_exp(x[i] - most);
    sum = logf(sum);
    EACH y[i] = x[i] - most - sum;
}

static inline void log_softmax_backward(int64_t n, int64_t step, const float *y, const float *dy, float *dx)
{
    float sum = 0;
    SUM sum += dy[i];
#pragma omp simd
    EACH dx[i] = dy[i] - smooth_exp(y[i]) * sum;
}

static inline void forward(nn_activation kind, int64_t n, int64_t step, const float *x, float *y)
{
    if (kind == NN_SOFTMAX)
        softmax(n, step, x, y);
    else
        log_softmax(n, step, x, y);
}

static inline void backward(const nn_function *f, int64_t step, const float *y, const float *dy, float *dx)
{
    int64_t n = f->columns * step;
    if (f->kind == NN_SOFTMAX)
        softmax_backward(n, step, y, dy, dx);
    else
        log_softmax_backward(n, step, y, dy, dx);
}

void nn_activate_rows(const nn_function *f, int64_t rows, const float *x, float *y)
{
    int64_t n = f->columns * f->step;
    for (int64_t r = 0; r < rows; r++, x += n, y += n)
        if (f->step == 1) /* a copy for it, which is vectorised */
            forward(f->kind, n, 1, x, y);
        else
            for (int64_t i = 0; i < f->step; i++) forward(f->kind, n, f->step, x + i, y + i);
}

void nn_activate_rows_backward(const nn_function *f, int64_t rows, const float *y, const float *dy, float *dx)
{
    int64_t n = f->columns * f->step;
    for (int64_t r = 0; r < rows; r++, y += n, dy += n, dx += n)
        if (f->step == 1)
            backward(f, 1, y, dy, dx);
        else
            for (int64_t i = 0; i < f->step; i++) backward(f, f->step, y + i, dy + i, dx + i);
}
