/* Which input rows a row of outputs meets, and which kernel does it: one row, two, or bands of four. One place
 * for every pass, plain and fused, whether rows are copied into a ring or read where they lie. */
#ifndef SEPBENCH_SIMD_DEPTHWISE_WALK_H
#define SEPBENCH_SIMD_DEPTHWISE_WALK_H

#include "../axis.h"
#include "copied_rows.h"

/* Rows are numbered through all planes of an image: y = depth * height + row. */
typedef struct {
    conv_axis d, h, w;
    bool backward; /* outputs are diff_src's, inputs diff_dst's */
    bool stencil3; /* 3x3, stride 1, no dilation: the stencil3 kernels do it, two or four rows at once */
    int64_t in_height, in_width, out_height, out_width;
    int64_t rows;  /* of outputs, in all planes */
    axis_sweeps x; /* along a row */
} row_walk;

/* Whether that is so of a problem. */
bool row_walk_stencil3(const conv_problem *p);
/* All but the sweeps of a row, for the statement of work; nothing is to be freed. */
row_walk row_walk_shape(const conv_problem *p, bool backward);
/* False when memory is short. */
bool row_walk_build(const conv_problem *p, bool backward, row_walk *w);
void row_walk_free(row_walk *w);

/* Rows are dealt out as lines: whole ones, or, of an image that is a single row, parts of it. */
typedef struct {
    int64_t outputs; /* of a line, the last one of a row may have fewer */
    int64_t per_row; /* lines */
} row_lines;
static inline row_lines row_lines_of(int64_t outputs, int64_t row)
{
    return (row_lines){outputs, (row + outputs - 1) / outputs};
}
/* The row of a line: whole rows are not to cost a division. */
static inline int64_t row_of_line(const row_lines *l, int64_t line)
{
    return l->per_row == 1 ? line : line / l->per_row;
}
/* Those of forward or backward_data: so many that any team can share a single row. */
row_lines row_walk_lines(const conv_problem *p, bool backward);

/* What a ring holds for that many outputs of a row, and for the rows that `more` rows than one meet. */
ring_size row_walk_ring(const conv_problem *p, bool backward, int64_t more, int64_t outputs, int64_t channels);

/* Room for KD*KH pointers each; NULL: there are at most WALK_ROWS. */
enum { WALK_ROWS = 64 };
typedef struct {
    const float **in;
    float **taps;
} row_pointers;

typedef struct {
    const row_walk *walk;
    row_ring *in;
    row_pointers pointers;
    const float *weights; /* [KD*KH*KW][..], taps w_tap floats apart */
    int64_t w_tap;
    float *out; /* of the first row, at x = 0 */
    int64_t out_pixel, channels;
    int64_t x0, x1;     /* of each row's outputs those from x0 to before x1; with stencil3 all. 0, 0: all */
    const float *bias;  /* NULL: none */
    float clip;         /* as conv_clipped() */
    bool ahead, stream; /* as in stencil3_convolve_args */
} row_convolution;

/* Output rows [y0, y1), overwritten. */
void rows_convolve(const row_convolution *c, int64_t y0, int64_t y1);

/* The same of diff_src, whose pixels have a `multiplier` of the channels: each row first into `wide`,
 * [x1 - x0][channels], then the sums over each source channel's multiples. */
void rows_convolve_folded(const row_convolution *c, int64_t multiplier, float *wide, int64_t y0, int64_t y1);

typedef struct {
    const row_walk *walk; /* forward */
    row_ring *src, *diff_dst;
    row_pointers pointers;
    float *sums; /* [KD*KH*KW][..], taps w_tap floats apart */
    int64_t w_tap, channels;
    int64_t x0, x1;      /* as above */
    bool by_tile, ahead; /* as in stencil3_gradient2_args, stencil3_gradient4_args */
} row_gradient;

/* Adds what rows [y, y + rows) of diff_dst give: one; with stencil3 two, or whole bands, of whose source
 * rows only the first of all and the last of all may be padding. */
void rows_gradient(const row_gradient *g, int64_t y, int64_t rows);

/* What all rows of a pass of the problem do, for conv_plan.work, but for what is read and written first; block:
 * channels at once; plain: neither bias nor post-op, rows from the caches. */
void rows_convolve_state(const row_walk *w, const conv_problem *depthwise, int64_t block, bool plain,
                         conv_work *work);
/* The same of the weights' gradient, `rows` of diff_dst at once. */
void rows_gradient_state(const row_walk *w, const conv_problem *depthwise, int64_t rows, conv_work *work);

#endif
