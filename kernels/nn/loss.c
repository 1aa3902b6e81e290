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

void nn_softmax_cross_entropy(int64_t rows, int64_t classes, const float *x, const uint8_t *labels, float scale,
                              float *loss, uint8_t *correct, float *p, float *dx)
{
    for (int64_t r = 0; r < rows; r++, x += classes) {
        int64_t best = first_largest(classes, x);
        float sum = 0;
        for (int64_t i = 0; i < classes; i++) sum += expf(x[i] - x[best]);
        loss[r] = logf(sum) - (x[labels[r]] - x[best]);
        correct[r] = best == labels[r];
        if (p != NULL)
            for (int64_t i = 0; i < classes; i++) p[r * classes + i] = expf(x[i] - x[best]) / sum;
        if (dx != NULL)
            for (int64_t i = 0; i < classes; i++)
                dx[r * classes + i] = (expf(x[i] - x[best]) / sum - (i == labels[r] ? 1.0f : 0.0f)) * scale;
    }
}

/* loss = -log(clip(y_label / S)), S = sum of y; where the clip is idle, d/dy_i = 1/S - [i = label] / y_label.
 */
void nn_cross_entropy(int64_t rows, int64_t classes, const float *y, const uint8_t *labels, float scale,
                      float *loss, uint8_t *correct, float *dy)
{
    const float tiny = 1e-7f;
    for (int64_t r = 0; r < rows; r++, y += classes) {
        float sum = 0;
        for (int64_t i = 0; i < classes; i++) sum += y[i];
        float share = y[labels[r]] / sum, clipped = fminf(fmaxf(share, tiny), 1 - tiny);
        bool idle = share == clipped;
        loss[r] = isnan(share) ? share : -logf(clipped);
        correct[r] = first_largest(classes, y) == labels[r];
        if (dy == NULL) continue;
        for (int64_t i = 0; i < classes; i++) dy[r * classes + i] = idle ? scale / sum : 0;
        if (idle) dy[r * classes + labels[r]] -= scale / y[labels[r]];
    }
}
