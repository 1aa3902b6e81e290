/* The names under which oneDNN takes part. All share one plan function (onednn_conv.c); they differ in the
 * activations' layout and in the algorithm.
 *
 *   onednn            NHWC activations as the user has them, direct algorithms
 *
 * Weights are prepacked in every case. No name falls back to another; where oneDNN itself falls back to its
 * reference code the row's note says so ("ref:any"). Any rank; see onednn_conv.c for what is refused. */
#include "onednn.h"

#define ONEDNN(variant_, name_, summary_, own_, algorithm_)                                                    \
    {                                                                                                          \
        .impl = {.name = name_,                                                                                \
                 .variant = variant_,                                                                          \
                 .summary = summary_,                                                                          \
                 .isa = CPU_BASE,                                                                              \
                 .peer = true,                                                                                 \
                 .layouts = 1u << CONV_NHWC,                                                                   \
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

static const onednn_impl nhwc[] = ALL_VARIANTS("onednn", "oneDNN, NHWC activations, prepacked weights", false);

const conv_impl *const onednn_impls[CONV_VARIANT_COUNT] = {&nhwc[0].impl, &nhwc[1].impl, &nhwc[2].impl,
                                                           &nhwc[3].impl};
