/* The fused separable convolution: what its forward and backward files share. */
#ifndef SEPBENCH_SIMD_SEPARABLE_FUSED_H
#define SEPBENCH_SIMD_SEPARABLE_FUSED_H

#include "../../plan.h"
#include "../depthwise/walk.h"
#include "../gemm/gemm.h"
#include "../vec.h"
#include "strategies.h"

/* Buffers of a block of channels keep pixels this much further apart than the block is wide: at powers of two
 * the rows of a register tile would all fall into one L1 set. */
enum { FUSED_ROW_GAP = 16 };

/* A matrix operand's columns in panels of nv vectors, the last one narrower. */
typedef struct {
    int64_t columns, width, count;
} fused_panels;

ALWAYS_INLINE fused_panels fused_panels_of(int64_t columns, int nv)
{
    int64_t width = (int64_t)nv * VL;
    return (fused_panels){columns, width, div_up(columns, width)};
}

/* Real columns of panel j; its vectors. */
ALWAYS_INLINE int64_t fused_panel_columns(const fused_panels *p, int64_t j)
{
    return min64(p->width, p->columns - j * p->width);
}

typedef struct {
    conv_plan head;
    int64_t rows, in_rows; /* of one image, in all planes: of dst, of src */
    int64_t pixels;        /* output pixels of one image */
    fused_panels panels;   /* forward: of pointwise [C][OC]; backward: of its transpose [OC][C] */
    int64_t terms;         /* of the product with those at once, in whose order they are packed */
    row_walk forward;      /* src -> intermediate */
    ring_size ring;        /* with a multiplier: of rows of src, whose channels it repeats */
    size_t mid_floats;     /* scratch of one thread: of an intermediate; of all, the ring last */
    size_t thread_floats;

    const gemm_way *way; /* forward: how the intermediate is multiplied */
    int64_t panel_rows;  /* forward: of a packed panel */
    bool ahead;          /* forward: the next task's rows of src, the next panel, are prefetched */

    /* forward: one task is `rows` lines of an image (walk.h) times one of `parts` of the panels */
    fused_forward_strategy forward_how;
    row_lines lines;
    int64_t row_tiles;

    /* backward: images in chunks with gradients of their own, summed in the end; threads share out those, or,
     * of one chunk, the channel blocks of each image */
    fused_backward_strategy backward_how;
    row_walk backward;   /* d_mid -> diff_src */
    fused_panels diff;   /* of diff_dst [pixel][OC] */
    int64_t diff_pixels; /* of those at once */
    size_t diff_floats;  /* with a post-op: of one image's */
    bool by_tile;        /* of the depthwise gradient (depthwise/kernels.h): in vectors of half a line, where a
                            row of pixels would evict the other halves meanwhile */
} fused_plan;

ALWAYS_INLINE bool fused_by_chunk(const fused_plan *f) { return f->backward_how.images > 1; }

/* Channels of the intermediate. */
ALWAYS_INLINE int64_t fused_channels(const conv_problem *p) { return p->ic * p->depth_multiplier; }

/* Sets how much of src a ring holds, and a thread's scratch: so many floats of the intermediate so many times,
 * then the ring. */
static inline void fused_lay_out(fused_plan *f, int64_t outputs, int64_t channels, int64_t mid, size_t times)
{
    const conv_problem *p = &f->head.problem;
    if (p->depth_multiplier > 1) f->ring = row_walk_ring(p, false, 0, outputs, channels);
    f->mid_floats = (size_t)round_up(mid, VL);
    f->thread_floats = f->mid_floats * times + (size_t)ring_floats(&f->ring);
}
/* Rows of src as a thread of that scratch reads them: where they lie, or from its ring. */
static inline row_ring fused_source(const fused_plan *f, float *scratch)
{
    const conv_problem *p = &f->head.problem;
    return ring_make(scratch + f->thread_floats - ring_floats(&f->ring), &f->ring, p->axis[CONV_H].in,
                     p->axis[CONV_W].in, p->ic);
}

/* Output rows of an image, in all planes; its lines, forward. */
ALWAYS_INLINE int64_t fused_rows(const conv_problem *p)
{
    return conv_out(&p->axis[CONV_D]) * conv_out(&p->axis[CONV_H]);
}
ALWAYS_INLINE int64_t fused_lines(const conv_problem *p)
{
    return fused_rows(p) * row_walk_lines(p, false).per_row;
}

/* State what a call does, for conv_plan.work, of which the plan adds its sizes, and for the cost model. */
void fused_forward_state(const conv_problem *p, const gemm_way *way, const conv_context *ctx,
                         const fused_forward_strategy *how, conv_work *w);
void fused_backward_state(const conv_problem *p, const conv_context *ctx, const fused_backward_strategy *how,
                          conv_work *w);

conv_status fused_backward_plan(fused_plan *f, const conv_context *ctx, conv_error *err);
conv_status fused_backward(const fused_plan *f, const conv_args *args);

#endif
