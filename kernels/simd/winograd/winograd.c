/* Dense 3x3 convolution by Winograd's minimal filtering, F(4x4,3x3), or F(2x2,3x3) where outputs are too few
 * for it: 4 (2.25) times fewer multiplications, inexact, every pass. Refuses kernels other than 3x3, strides,
 * dilations, groups, fewer than 16 channels, and weight gradients over a single row or column. */
#include "winograd.h"

#include "../dense/dense.h"

/* |error| <= WINOGRAD_ERROR_FACTOR * u * sqrt(K) * max sum|x*w|: the componentwise bound of Barabasz et al.,
 * theorem 1, with roundings of random sign. tests/test_winograd_bound.c derives it from the matrices, for every
 * pass, size and padding: the worst output has 83.3 (K = 9*16 and 27 roundings in the transforms; it falls with
 * K), the worst weight's gradient 99.6, twice the exact bound's own factor included. A weight's gradient sums
 * over few pixels in a small image, so F(4x4), which enlarges the numbers by 7.9 per axis, waits for 6 per axis
 * there, and F(2x2) for 2. */
enum { WINOGRAD_ERROR_FACTOR = 104, LEAST_CHANNELS = 16, LEAST_PIXELS = 2 };

static const char *refuse(const conv_impl *self, const conv_problem *p, conv_pass pass)
{
    (void)self;
    if (p->rank > 2) return "rank 3";
    if (p->groups != 1) return "groups other than 1";
    for (int i = CONV_H; i <= CONV_W; i++) {
        const conv_axis *a = &p->axis[i];
        if (a->kernel != 3) return "kernel other than 3x3";
        if (a->stride != 1) return "stride other than 1";
        if (a->dilation != 1) return "dilation";
        if (conv_makes_weights(pass) && min64(a->in, conv_out(a)) < LEAST_PIXELS)
            return "weight gradient over a single row or column: outside the error bound";
    }
    if (p->ic < LEAST_CHANNELS || p->oc < LEAST_CHANNELS) return "fewer than 16 channels: nothing to gain";
    return NULL;
}

static const simd_impl dense = {.impl = {MATRIX_CONVOLUTION(CONV_DENSE), .name = "winograd-" ISA_STRING,
                                         .refuse = refuse, .inexact = true,
                                         .error_factor = WINOGRAD_ERROR_FACTOR,
                                         .summary = "Winograd F(4x4,3x3) or F(2x2,3x3), the transformed "
                                                    "tensors in cache"},
                                .plan_product = winograd_product_plan,
                                .plan_weights = winograd_wgrad_plan,
                                .list_product = winograd_product_strategies,
                                .list_weights = winograd_wgrad_strategies};

extern const conv_impl *const winograd_impls[CONV_VARIANT_COUNT];
const conv_impl *const winograd_impls[CONV_VARIANT_COUNT] = {[CONV_DENSE] = &dense.impl};
