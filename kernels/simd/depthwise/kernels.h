/* Depthwise kernels on one row of pixels and a block of neighbouring channels. */
#ifndef SEPBENCH_SIMD_DEPTHWISE_KERNELS_H
#define SEPBENCH_SIMD_DEPTHWISE_KERNELS_H

#include "../axis.h"
#include "../vec.h"

/* dst[x][c] = bias[c] + sum over rows, taps of src[row][x of tap][c] * weights[row][tap][c]: forward, or
 * backward_data with diff_dst as src and segments of the backward axis. Pointers are at the block's first
 * channel. */
typedef struct {
    const float *const *src;             /* [rows] source rows, at x = 0 */
    const float *const *weights;         /* [rows] the kernel row that each meets, at tap 0 */
    int64_t rows;                        /* may be 0 */
    int64_t src_pixel, w_tap, dst_pixel; /* floats from one to the next */
    float *dst;                          /* at x = 0 */
    int64_t channels;
    const float *bias; /* NULL: none */
    bool relu;
} depthwise_row;
void depthwise_row_run(const axis_segments *x, const depthwise_row *row);

/* sums[row][tap][c] += sum over x of src[row][x of tap][c] * diff_dst[x][c]: x by segments of the forward axis.
 */
typedef struct {
    const float *const *src; /* [rows] source rows, at x = 0 */
    float *const *sums;      /* [rows] the kernel row that each meets, at tap 0 */
    int64_t rows;
    const float *diff_dst; /* at x = 0 */
    int64_t src_pixel, w_tap, dst_pixel;
    int64_t channels;
} depthwise_sums;
void depthwise_sums_run(const axis_segments *x, const depthwise_sums *row);

/* Two neighbouring output rows at once, of a 3x3 kernel whose outputs' source rows follow one another (stride
 * 1, no dilation): each source row is loaded once for both. */
typedef struct {
    const float *src[4]; /* the source rows from the first output's first on, at x = 0; NULL: padding */
    const float
        *weights[3]; /* the kernel row that meets src[i] in the first output and src[i+1] in the second */
    int64_t src_pixel, w_tap, dst_pixel;
    float *dst[2]; /* at x = 0 */
    int64_t channels;
    const float *bias;
    bool relu;
    bool ahead;  /* rows come from memory: the next tile's are prefetched; pixels must be `channels` apart */
    bool stream; /* dst goes there past the caches; its vectors must be aligned */
} depthwise_pair;
/* Whether the pair kernels do this axis (the row's; the caller looks after the other) and block of channels. */
bool depthwise_pair_fits(const axis_segments *x, int64_t channels);
void depthwise_pair_run(const axis_segments *x, const depthwise_pair *pair);

/* The same of backward_weights: sums[kernel row][tap][c]. */
typedef struct {
    const float *src[4];
    float *sums[3];
    const float *diff_dst[2];
    int64_t src_pixel, w_tap, dst_pixel;
    int64_t channels;
    bool ahead; /* as above */
} depthwise_sums_pair;
void depthwise_sums_pair_run(const axis_segments *x, const depthwise_sums_pair *pair);

/* The same of `bands` that follow one another, BAND_ROWS rows each, whole vectors of channels; of the source
 * rows only the first of all and the last of all may be padding. */
enum { BAND_ROWS = 4 };
typedef struct {
    const float *src[BAND_ROWS + 2]; /* of the first band */
    const float *diff_dst[BAND_ROWS];
    float *sums[3];
    int64_t src_pixel, w_tap, dst_pixel;
    int64_t channels;         /* a multiple of VL */
    int64_t bands;            /* > 0 */
    int64_t src_row, dst_row; /* with more than one: floats from a row to the next */
    bool head, tail;          /* the first source row, the last one, are padding */
    bool ahead;               /* bands follow one another in memory too: the next one's are prefetched */
} depthwise_band;
void depthwise_band_run(const axis_segments *x, const depthwise_band *band);

#endif
