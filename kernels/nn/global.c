/* Global pooling: the mean or the maximum of each channel over all positions of an image. Loops of
 * channels_last: image, block of channels, position; the block's sums stay in registers. Of several equal
 * maxima each gets its share of the gradient, as in TensorFlow. Serial: the caller slices the batch. */
#include "internal.h"

enum { BLOCK = 64 }; /* channels at once */

static inline void channel_mean(int64_t n, const float *x, float *y)
{
    float sum = 0;
#pragma omp simd reduction(+ : sum)
    for (int64_t i = 0; i < n; i++) sum += x[i];
    *y = sum / (float)n;
}

static inline void block_mean(const nn_global *g, int64_t width, const float *x, float *y)
{
    float sum[BLOCK] = {0}, share = 1 / (float)g->positions;
    for (int64_t p = 0; p < g->positions; p++, x += g->channels)
        for (int64_t c = 0; c < width; c++) sum[c] += x[c];
    for (int64_t c = 0; c < width; c++) y[c] = sum[c] * share;
}

void nn_global_average(const nn_global *g, int64_t images, const float *x, float *y)
{
    int64_t channels = g->channels, positions = g->positions;
    for (int64_t n = 0; n < images; n++, x += positions * channels, y += channels) {
        if (g->channels_first) {
            for (int64_t c = 0; c < channels; c++) channel_mean(positions, x + c * positions, y + c);
            continue;
        }
        int64_t c = 0; /* of known width, which is vectorised */
        for (; c + BLOCK <= channels; c += BLOCK) block_mean(g, BLOCK, x + c, y + c);
        if (c < channels) block_mean(g, channels - c, x + c, y + c);
    }
}

void nn_global_average_backward(const nn_global *g, int64_t images, const float *dy, float *dx)
{
    int64_t channels = g->channels, positions = g->positions;
    float share = 1 / (float)positions;
    for (int64_t n = 0; n < images; n++, dy += channels) {
        if (g->channels_first)
            for (int64_t c = 0; c < channels; c++, dx += positions)
                for (int64_t p = 0; p < positions; p++) dx[p] = dy[c] * share;
        else
            for (int64_t p = 0; p < positions; p++, dx += channels)
#pragma omp simd
                for (int64_t c = 0; c < channels; c++) dx[c] = dy[c] * share;
    }
}

void nn_global_max(const nn_global *g, int64_t images, const float *x, float *y)
{
    int64_t channels = g->channels, positions = g->positions;
    for (int64_t n = 0; n < images; n++, x += positions * channels, y += channels) {
        if (g->channels_first) {
            for (int64_t c = 0; c < channels; c++) {
                float most = x[c * positions];
                for (int64_t p = 1; p < positions; p++)
                    most = x[c * positions + p] > most ? x[c * positions + p] : most;
                y[c] = most;
            }
            continue;
        }
        for (int64_t c = 0; c < channels; c++) y[c] = x[c];
        for (int64_t p = 1; p < positions; p++)
#pragma omp simd
            for (int64_t c = 0; c < channels; c++)
                y[c] = x[p * channels + c] > y[c] ? x[p * channels + c] : y[c];
    }
}

/* The gradient of `width` channels. */
static inline void share_max(const nn_global *g, const nn_global_diff *d, int64_t width, float *dx)
{
    int64_t step = g->channels;
    float share[BLOCK] = {0};
    for (int64_t p = 0; p < g->positions; p++)
        for (int64_t c = 0; c < width; c++) share[c] += d->x[p * step + c] == d->y[c] ? 1 : 0;
    for (int64_t c = 0; c < width; c++) share[c] = d->dy[c] / share[c];
    for (int64_t p = 0; p < g->positions; p++)
#pragma omp simd
        for (int64_t c = 0; c < width; c++) dx[p * step + c] = d->x[p * step + c] == d->y[c] ? share[c] : 0;
}

/* Of one channel, channels_first. */
static void share_channel(int64_t positions, const nn_global_diff *d, float *dx)
{
    const float *x = d->x;
    float count = 0, most = *d->y;
#pragma omp simd reduction(+ : count)
    for (int64_t p = 0; p < positions; p++) count += x[p] == most ? 1 : 0;
    float share = *d->dy / count;
#pragma omp simd
    for (int64_t p = 0; p < positions; p++) dx[p] = x[p] == most ? share : 0;
}

void nn_global_max_backward(const nn_global *g, int64_t images, const nn_global_diff *diff, float *dx)
{
    int64_t channels = g->channels, positions = g->positions, width = g->channels_first ? 1 : BLOCK;
    for (int64_t n = 0; n < images; n++)
        for (int64_t c = 0; c < channels; c += width) {
            int64_t at = n * positions * channels + (g->channels_first ? c * positions : c),
                    out = n * channels + c;
            const nn_global_diff d = {diff->x + at, diff->y + out, diff->dy + out};
            if (g->channels_first)
                share_channel(positions, &d, dx + at);
            else if (c + width <= channels)
                share_max(g, &d, BLOCK, dx + at);
            else
                share_max(g, &d, channels - c, dx + at);
        }
}
