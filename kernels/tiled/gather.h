/* Forward and backward_data as one operation: every output position gathers, tap by tap, the input position
 * that the tap pairs it with. Forward gathers src into dst, backward_data gathers diff_dst into diff_src.
 * Layout NHWC. */
#ifndef SEPBENCH_TILED_GATHER_H
#define SEPBENCH_TILED_GATHER_H

#include "../conv.h"

/* Along one axis output o and tap t meet at input (o * by_out + t * by_tap + offset) / divisor, if that divides
 * and lies inside. */
typedef struct {
    int64_t out, in, taps;
    int64_t by_out, by_tap, offset, divisor;
} gather_axis;

typedef struct {
    gather_axis axis[CONV_AXES];
    int64_t images, groups, taps;
    int64_t in_pixels, out_pixels; /* of an image */
    int64_t multiples;             /* depthwise: outputs of a channel; 0: dense and pointwise */
    int64_t in, out;               /* channels per group */
    int64_t in_all, out_all;       /* channels of the tensors, all groups */
    bool transposed;               /* backward_data: the weights' rows are the outputs */
    int64_t depth;                 /* input channels per cache tile: its weights stay in L2 */
    int64_t band, stretch;         /* output rows, counted through depth, and columns of one phase per task */
    int64_t blocks, chunk;         /* blocks of LANES outputs in a group, and per task */
    int64_t tiles;                 /* register tiles in a task, at most */
    size_t packed_group;           /* floats */
    size_t scratch_bytes;
} gather_shape;

/* For the dense, pointwise and depthwise variants; pass is CONV_FORWARD or CONV_BACKWARD_DATA. */
gather_shape gather_plan(const conv_problem *p, conv_pass pass, const conv_context *ctx);
/* Bytes of packed weights: packed_group floats for each group. */
void gather_pack(const gather_shape *g, const conv_problem *p, const float *weights, float *packed,
                 int threads);

/* The tensors of a run. */
typedef struct {
    const float
        *in; /* [images][d.in][h.in][w.in][in_all]; depthwise backward_data reads diff_dst with its multiples
                        apart: [images][..][..][M][C] */
    const float *packed, *bias; /* bias: NULL for none */
    float clip;                 /* as conv_clipped() */
    float *out;                 /* [images][d.out][h.out][w.out][out_all] */
    void *scratch;
} gather_tensors;
void gather_run(const gather_shape *g, const gather_tensors *t, int threads);

#endif
