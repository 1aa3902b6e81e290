/* One copy's functions as a table. */
#include "../isa.h"
#include "internal.h"

extern const nn_kernels nn_table;
const nn_kernels nn_table = {
    .isa = ISA_ENUM,
    .activate = nn_activate,
    .activate_backward = nn_activate_backward,
    .max_pool = nn_max_pool,
    .max_pool_backward = nn_max_pool_backward,
    .average_pool = nn_average_pool,
    .average_pool_backward = nn_average_pool_backward,
    .first_forward = nn_first_forward,
    .first_backward = nn_first_backward,
    .norm_moments = nn_norm_moments,
    .norm_apply = nn_norm_apply,
    .norm_sums = nn_norm_sums,
    .norm_backward = nn_norm_backward,
    .combine = nn_combine,
    .transpose = nn_transpose,
    .pooled_forward = nn_pooled_forward,
    .pooled_backward = nn_pooled_backward,
    .dropout_bits = nn_dropout_bits,
    .dropout = nn_apply_dropout,
    .scale_pixels = nn_scale_pixels,
    .softmax_cross_entropy = nn_softmax_cross_entropy,
    .cross_entropy = nn_cross_entropy,
    .sum_chunks = nn_sum_chunks,
    .penalty = nn_penalty,
    .adam = nn_adam,
    .sgd = nn_sgd,
    .rmsprop = nn_rmsprop,
};
