/* One tensor into another, element by element: what layers of several inputs are made of. */
#include "internal.h"

#define EACH _Pragma("omp simd") for (int64_t i = 0; i < count; i++)

void nn_combine(nn_combination f, int64_t count, const float *restrict x, float *restrict y)
{
    switch (f) {
    case NN_COPY: EACH y[i] = x[i]; break;
    case NN_ADD: EACH y[i] += x[i]; break;
    case NN_SUBTRACT: EACH y[i] -= x[i]; break;
    case NN_MULTIPLY: EACH y[i] *= x[i]; break;
    case NN_MAXIMUM: EACH y[i] = x[i] > y[i] ? x[i] : y[i]; break;
    case NN_MINIMUM: EACH y[i] = x[i] < y[i] ? x[i] : y[i]; break;
    }
}
