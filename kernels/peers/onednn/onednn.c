/* The names under which oneDNN takes part. All share one plan function (conv.c); they differ in the
 * activations' layout and in the algorithm.
 *
 *   onednn            NHWC activations as the user has them, direct algorithms
 *   onednn-any        activations in format "any": what oneDNN prefers, which for many forward passes is NHWC
 *                     again (the note says which), reorders in enter and leave
 *   onednn-winograd   its Winograd, F(2x2,3x3) or F(4x4,3x3) as it chooses, which exists in its own layout only
 *
 * Weights are prepacked in every case. No name falls back to another; where oneDNN itself falls back to slow
 * code the row's note says so ("ref:any", "x64:gemm:jit"). Any rank; conv.c says what is refused. */
#include "onednn.h"

#define ONEDNN(variant_, name_, summary_, own_, algorithm_)                                                    \
    {                                                                                                          \
        .impl = {.name = name_,                                                                                \
                 .variant = variant_,                                                                          \
                 .summary = summary_,                                                                          \
                 .isa = CPU_BASE,                                                                              \
                 .peer = true,                                                                                 \
                 .layouts = 1u << CONV_NHWC,                                                                   \
                 .absent = onednn_absent,                                                                      \
                 .version = onednn_version,                                                                    \
                 .refuse = onednn_refuse,                                                                      \
                 .plan = onednn_create,                                                                        \
                 .pack = onednn_pack,                                                                          \
                 .execute = onednn_execute,                                                                    \
                 .destroy = onednn_destroy,                                                                    \
                 .enter = (own_) ? onednn_enter : NULL,                                                        \
                 .leave = (own_) ? onednn_leave : NULL},                                                       \
        .own_layout = own_, .algorithm = algorithm_                                                            \
    }

#define ALL_VARIANTS(name, summary, own)                                                                       \
    {                                                                                                          \
        ONEDNN(CONV_DENSE, name, summary, own, dnnl_convolution_direct),                                       \
            ONEDNN(CONV_DEPTHWISE, name, summary, own, dnnl_convolution_direct),                               \
            ONEDNN(CONV_POINTWISE, name, summary, own, dnnl_convolution_direct),                               \
            ONEDNN(CONV_SEPARABLE, name, summary, own, dnnl_convolution_direct)                                \
    }

#define ARRAY(impls)                                                                                           \
    {                                                                                                          \
        &(impls)[CONV_DENSE].impl, &(impls)[CONV_DEPTHWISE].impl, &(impls)[CONV_POINTWISE].impl,               \
            &(impls)[CONV_SEPARABLE].impl                                                                      \
    }

static const onednn_impl nhwc[] = ALL_VARIANTS("onednn", "oneDNN, NHWC activations, prepacked weights", false);
const conv_impl *const onednn_impls[CONV_VARIANT_COUNT] = ARRAY(nhwc);

static const onednn_impl any[] =
    ALL_VARIANTS("onednn-any", "oneDNN, activations in the layout it prefers, reorders timed apart", true);
const conv_impl *const onednn_any_impls[CONV_VARIANT_COUNT] = ARRAY(any);

/* How far Winograd's rounding errors reach, for the worse of its two tilings, F(4x4,3x3) with oneDNN's points
 * 0, +-5/8, +-3/2 and infinity. Componentwise, |error| <= u * |A'| ((|G| |g| |G'|) . (|B'| |d| |B|)) |A| times
 * the roundings on the way (Barabasz et al., "Error analysis and improving the accuracy of Winograd convolution
 * for deep neural networks", ACM TOMS 46(4), 2020, theorem 1 and section 4). For data of one magnitude the
 * product over what a direct sum would hold is a property of the matrices: 7.9 per dimension on a full tile.
 * Roundings of random sign grow as the root of their number, here the accumulation's plus 27 of the
 * transforms. Divided by sqrt(K) * max sum|x*w|, the worst output of any image, border tiles included, has 94
 * with 16 channels; the worst weight gradient has 103 with 5x5 outputs, both with the 2 that the exact bound
 * has as its factor. Both fall with size; onednn_winograd_refuse keeps smaller problems out. The same figures
 * come out of tests/test_winograd_bound.c. */
enum { WINOGRAD_ERROR_FACTOR = 104 };

static const onednn_impl winograd = {
    .impl = {.name = "onednn-winograd",
             .variant = CONV_DENSE,
             .summary = "oneDNN's Winograd, its own layout, reorders timed apart",
             .isa = CPU_BASE,
             .inexact = true,
             .peer = true,
             .error_factor = WINOGRAD_ERROR_FACTOR,
             .layouts = 1u << CONV_NHWC,
             .absent = onednn_absent,
             .version = onednn_version,
             .refuse = onednn_winograd_refuse,
             .plan = onednn_create,
             .pack = onednn_pack,
             .enter = onednn_enter,
             .execute = onednn_execute,
             .leave = onednn_leave,
             .destroy = onednn_destroy},
    .own_layout = true,
    .algorithm = dnnl_convolution_winograd};
const conv_impl *const onednn_winograd_impls[CONV_VARIANT_COUNT] = {[CONV_DENSE] = &winograd.impl};
