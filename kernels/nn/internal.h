/* The symbols of one copy; table.c gathers them. */
#ifndef SEPBENCH_NN_INTERNAL_H
#define SEPBENCH_NN_INTERNAL_H

#include "nn.h"

void nn_activate(nn_activation f, int64_t rows, int64_t columns, const float *x, float *y);
void nn_activate_backward(nn_activation f, int64_t rows, int64_t columns, const float *y, const float *dy,
                          float *dx);
void nn_max_pool(const nn_pool *p, int64_t images, const float *x, const nn_pool_output *out);
void nn_max_pool_backward(const nn_pool *p, int64_t images, const nn_pool_diff *diff, float *dx);
void nn_average_pool(const nn_pool *p, int64_t images, const float *x, float *y);
void nn_average_pool_backward(const nn_pool *p, int64_t images, const float *dy, float *dx);
void nn_first_forward(const nn_pooled *p, int64_t images, const float *x, const float *weights,
                      const float *bias, const nn_pool_output *out);
void nn_first_backward(const nn_pooled *p, int64_t images, const float *x, const nn_pool_diff *diff,
                       const nn_pooled_gradients *to);
void nn_pooled_forward(const nn_pooled *p, int64_t images, const float *x, const float *weights,
                       const float *bias, const nn_pool_output *out);
void nn_pooled_backward(const nn_pooled *p, int64_t images, const float *x, const nn_pool_diff *diff,
                        const nn_pooled_gradients *to);
void nn_transpose(int64_t rows, int64_t columns, const float *x, float *y);
void nn_dropout_bits(const nn_dropout *d, int64_t first_row, int64_t rows, int64_t columns, uint64_t *bits);
void nn_apply_dropout(int64_t rows, int64_t columns, const uint64_t *bits, float scale, const float *x,
                      float *y);
void nn_scale_pixels(int64_t count, const uint8_t *x, float *y);
void nn_softmax_cross_entropy(int64_t rows, int64_t classes, const float *x, const uint8_t *labels,
                              const nn_losses *to);
void nn_cross_entropy(int64_t rows, int64_t classes, const float *x, const uint8_t *labels,
                      const nn_losses *to);
void nn_sum_chunks(int64_t count, int64_t chunks, int64_t stride, const float *parts, float *g);
double nn_penalty(int64_t count, float l1, float l2, float scale, const float *x, float *g);
void nn_adam(int64_t count, const nn_rates *r, const float *g, float *w, float *m, float *v);
void nn_sgd(int64_t count, const nn_rates *r, const float *g, float *w, float *velocity);
void nn_rmsprop(int64_t count, const nn_rates *r, const float *g, float *w, float *mean_square);

#endif
