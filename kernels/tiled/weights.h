/* backward_weights, NHWC: diff_weights and diff_bias of the dense, pointwise and depthwise variants. */
#ifndef SEPBENCH_TILED_WEIGHTS_H
#define SEPBENCH_TILED_WEIGHTS_H

#include "../conv.h"

typedef struct {
    int64_t blocks;       /* of LANES output channels (depthwise: input channels), all groups */
    int64_t pieces;       /* of an output row, whose gradient would not stay in L2 whole */
    int64_t band;         /* such pieces of the batch whose gradient does while all channels use it */
    int64_t chunk;        /* dense: input channels per task, a multiple of the register tile */
    size_t scratch_bytes; /* the gradient, blocked */
} weights_shape;

weights_shape weights_plan(const conv_problem *p, const conv_context *ctx);
void weights_run(const weights_shape *s, const conv_problem *p, const conv_args *args, void *scratch,
                 int threads);

#endif
