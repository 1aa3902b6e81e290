/* One copy's functions as a table. */
#include "internal.h"

extern const nn_kernels ISA_NAME(nn_table);
const nn_kernels ISA_NAME(nn_table) = {
    .isa = ISA_ENUM,
    .activate = ISA_NAME(nn_activate),
    .activate_backward = ISA_NAME(nn_activate_backward),
    .max_pool = ISA_NAME(nn_max_pool),
    .max_pool_backward = ISA_NAME(nn_max_pool_backward),
    .average_pool = ISA_NAME(nn_average_pool),
    .average_pool_backward = ISA_NAME(nn_average_pool_backward),
    .first_forward = ISA_NAME(nn_first_forward),
    .first_backward = ISA_NAME(nn_first_backward),
    .transpose = ISA_NAME(nn_transpose),
    .pooled_forward = ISA_NAME(nn_pooled_forward),
    .pooled_backward = ISA_NAME(nn_pooled_backward),
    .dropout_bits = ISA_NAME(nn_dropout_bits),
    .dropout = ISA_NAME(nn_apply_dropout),
    .scale_pixels = ISA_NAME(nn_scale_pixels),
    .softmax_cross_entropy = ISA_NAME(nn_softmax_cross_entropy),
    .cross_entropy = ISA_NAME(nn_cross_entropy),
    .sum_chunks = ISA_NAME(nn_sum_chunks),
    .penalty = ISA_NAME(nn_penalty),
    .adam = ISA_NAME(nn_adam),
    .sgd = ISA_NAME(nn_sgd),
    .rmsprop = ISA_NAME(nn_rmsprop),
};
