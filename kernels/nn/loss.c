/* Pixels in, losses out: the two ends of the network. */
#include <math.h>

#include "internal.h"

void nn_scale_pixels(int64_t count, const uint8_t *x, float *y)
{
#pragma omp simd
    for (int64_t i = 0; i < count; i++) y[i] = (float)x[i] / 255.0f;
}

/* Index of the first largest, as TensorFlow's argmax. */
static int64_t first_largest(int64_t count, const float *x)
{
    int64_t best = 0;
    for (int64_t i = 1; i < count; i++)
        if (x[i] > x[best]) best = i;
    return best;
}

void nn_softmax_cross_entropy(int64_t rows, int64_t classes, const float *x, const uint8_t *labels,
                              const nn_losses *to)
{
    for (int64_t r = 0; r < rows; r++, x += classes) {
        int64_t best = first_largest(classes, x);
        float sum = 0;
        for (int64_t i = 0; i < classes; i++) sum += expf(x[i] - x[best]);
        to->loss[r] = logf(sum) - (x[labels[r]] - x[best]);
        to->correct[r] = best == labels[r];
        for (int64_t i = 0; i < classes; i++) {
            float p = expf(x[i] - x[best]) / sum;
            if (to->p != NULL) to->p[r * classes + i] = p;
            if (to->dx != NULL) to->dx[r * classes + i] = (p - (i == labels[r] ? 1.0f : 0.0f)) * to->scale;
        }
    }
}

/* loss = -log(clip(x_label / S)), S = sum of x; where the clip is idle, d/dx_i = 1/S - [i = label] / x_label. */
void nn_cross_entropy(int64_t rows, int64_t classes, const float *x, const uint8_t *labels, const nn_losses *to)
{
    const float tiny = 1e-7f;
    for (int64_t r = 0; r < rows; r++, x += classes) {
        float sum = 0;
        for (int64_t i = 0; i < classes; i++) sum += x[i];
        float share = x[labels[r]] / sum, clipped = fminf(fmaxf(share, tiny), 1 - tiny);
        bool idle = share == clipped;
        to->loss[r] = isnan(share) ? share : -logf(clipped);
        to->correct[r] = first_largest(classes, x) == labels[r];
        if (to->dx == NULL) continue;
        for (int64_t i = 0; i < classes; i++) to->dx[r * classes + i] = idle ? to->scale / sum : 0;
        if (idle) to->dx[r * classes + labels[r]] -= to->scale / x[labels[r]];
    }
}
