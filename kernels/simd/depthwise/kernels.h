/* The depthwise kernels: rows of pixels [x][channels], a block of neighbouring channels of each. Pointers are
 * at the first channel of the block and, rows of pixels, at x = 0; pixels and taps are so many floats apart as
 * the arguments say. Two families: `any`, one row of outputs of whatever kernel, stride and dilation, and
 * `stencil3`, several rows of outputs of a 3x3 kernel without stride and dilation. Plain data, the same for
 * every instruction set; tests/test_checkkernels.c verifies and times each by itself. */
#ifndef SEPBENCH_SIMD_DEPTHWISE_KERNELS_H
#define SEPBENCH_SIMD_DEPTHWISE_KERNELS_H

#include "../axis.h"

/* dst[x][c] = bias[c] + sum over rows, taps of src[row][x of tap][c] * weights[row][tap][c]: forward, or
 * backward_data with diff_dst as src and sweeps of the backward axis. */
typedef struct {
    const float *const *src;             /* [rows] source rows [IW][channels] */
    const float *const *weights;         /* [rows] the kernel row that each meets, [KW][channels] */
    int64_t rows;                        /* may be 0 */
    int64_t src_pixel, w_tap, dst_pixel; /* floats from one to the next */
    float *dst;                          /* [OW][channels] */
    int64_t channels;
    int64_t x0, x1;    /* of the row's outputs those from x0 to before x1 */
    const float *bias; /* [channels]; NULL: none */
    float clip;        /* above 0: dst is clipped to [0, clip] */
    bool stream;       /* dst goes there past the caches; its vectors must be aligned */
} convolve_any_args;
void convolve_any(const axis_sweeps *x, const convolve_any_args *args);

/* sums[row][tap][c] += sum over x of src[row][x of tap][c] * diff_dst[x][c]: x by sweeps of the forward axis. */
typedef struct {
    const float *const *src; /* [rows] source rows [IW][channels] */
    float *const *sums;      /* [rows] the kernel row that each meets, [KW][channels] */
    int64_t rows;
    const float *diff_dst; /* [OW][channels] */
    int64_t src_pixel, w_tap, dst_pixel;
    int64_t channels;
    int64_t x0, x1; /* as above */
    bool ahead;     /* rows come from memory: the channels to come of the same pixels are prefetched */
} gradient_any_args;
void gradient_any(const axis_sweeps *x, const gradient_any_args *args);

/* convolve_any of two neighbouring output rows at once: each source row is loaded once for both. */
typedef struct {
    const float *src[4]; /* the source rows from the first output's first on; NULL: padding */
    const float
        *weights[3]; /* the kernel row that meets src[i] in the first output and src[i+1] in the second */
    int64_t src_pixel, w_tap, dst_pixel;
    float *dst[2];
    int64_t channels;
    const float *bias;
    float clip;
    bool ahead;  /* rows come from memory: the next tile's are prefetched; pixels must be `channels` apart */
    bool stream; /* dst goes there past the caches; its vectors must be aligned */
} stencil3_convolve_args;
/* Three taps along the row, stride 1, no dilation, and VL channels or more. */
void stencil3_convolve(const axis_sweeps *x, const stencil3_convolve_args *args);

/* gradient_any of two neighbouring rows of diff_dst at once: sums[kernel row][tap][c]. */
typedef struct {
    const float *src[4];
    float *sums[3];
    const float *diff_dst[2];
    int64_t src_pixel, w_tap, dst_pixel;
    int64_t channels;
    bool by_tile; /* all channels of a tile before the next one, which reads memory in long pieces, and whole
                     lines where a vector is half of one: another order of the sums */
    bool ahead;   /* as above */
} stencil3_gradient2_args;
void stencil3_gradient2(const axis_sweeps *x, const stencil3_gradient2_args *args);

/* The same of `bands` of BAND_ROWS rows each, which follow one another, and whole vectors of channels. Of the
 * source rows only the first of all and the last of all may be padding. */
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
} stencil3_gradient4_args;
void stencil3_gradient4(const axis_sweeps *x, const stencil3_gradient4_args *args);

#endif
