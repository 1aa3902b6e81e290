/* The functions of one copy, each of the type that its place in the table has (nn.h); table.c gathers them. */
#ifndef SEPBENCH_NN_INTERNAL_H
#define SEPBENCH_NN_INTERNAL_H

#include "nn.h"

#define NN_FUNCTION(member, name) __typeof__(*((nn_kernels *)0)->member) name
NN_FUNCTION(activate, nn_activate);
NN_FUNCTION(activate_backward, nn_activate_backward);
/* softmax.c: the activations of whole rows */
NN_FUNCTION(activate, nn_activate_rows);
NN_FUNCTION(activate_backward, nn_activate_rows_backward);
NN_FUNCTION(max_pool, nn_max_pool);
NN_FUNCTION(max_pool_backward, nn_max_pool_backward);
NN_FUNCTION(average_pool, nn_average_pool);
NN_FUNCTION(average_pool_backward, nn_average_pool_backward);
NN_FUNCTION(global_average, nn_global_average);
NN_FUNCTION(global_average_backward, nn_global_average_backward);
NN_FUNCTION(global_max, nn_global_max);
NN_FUNCTION(global_max_backward, nn_global_max_backward);
NN_FUNCTION(view, nn_view_forward);
NN_FUNCTION(view_backward, nn_view_backward);
NN_FUNCTION(prelu, nn_prelu_forward);
NN_FUNCTION(prelu_backward, nn_prelu_backward);
NN_FUNCTION(first_forward, nn_first_forward);
NN_FUNCTION(first_backward, nn_first_backward);
NN_FUNCTION(norm_moments, nn_norm_moments);
NN_FUNCTION(norm_apply, nn_norm_apply);
NN_FUNCTION(norm_sums, nn_norm_sums);
NN_FUNCTION(norm_backward, nn_norm_backward);
NN_FUNCTION(combine, nn_combine);
NN_FUNCTION(transpose, nn_transpose);
NN_FUNCTION(pooled_forward, nn_pooled_forward);
NN_FUNCTION(pooled_backward, nn_pooled_backward);
NN_FUNCTION(dropout_bits, nn_dropout_bits);
NN_FUNCTION(dropout, nn_apply_dropout);
NN_FUNCTION(scale_pixels, nn_scale_pixels);
NN_FUNCTION(softmax_cross_entropy, nn_softmax_cross_entropy);
NN_FUNCTION(cross_entropy, nn_cross_entropy);
NN_FUNCTION(sum_chunks, nn_sum_chunks);
NN_FUNCTION(penalty, nn_penalty);
NN_FUNCTION(adam, nn_adam);
NN_FUNCTION(sgd, nn_sgd);
NN_FUNCTION(rmsprop, nn_rmsprop);

#endif
