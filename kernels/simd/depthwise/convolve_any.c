/* Depthwise forward and backward_data, one row of outputs.
 *
 * For one vector of channels a tile of up to DEPTHWISE_ROW outputs is held in registers. Where neighbouring
 * outputs share inputs (stride 1 or 2 in units of the distance between taps), up to DEPTHWISE_TAPS weights of a
 * kernel row are loaded and the source columns walked, each loaded once and used by every output it reaches;
 * wider kernels take several turns. Elsewhere, with one or two taps, and for fewer channels than a vector has, it
 * goes tap by tap, a load for every multiply-add. What lies in the padding is left out. The last tile overlaps
 * the one before, as does the last vector: what both write is the same. */
#include "../vec.h"
#include "kernels.h"

/* Outputs of a tile: the sizes there are. */
enum { SIZE_0 = DEPTHWISE_ROW, SIZE_1 = DEPTHWISE_ROW / 2, SIZE_2 = DEPTHWISE_ROW / 4, SIZE_3 = 1, SIZES = 4 };
static const int64_t tile_sizes[SIZES] = {SIZE_0, SIZE_1, SIZE_2, SIZE_3};

ALWAYS_INLINE void start(const int n, const bool whole, vec_mask lanes, const convolve_any_args *d, int64_t c,
                         vec acc[DEPTHWISE_ROW])
{
    vec first = d->bias == NULL ? vec_zero() : vec_load_lanes(whole, d->bias + c, lanes);
    UNROLL for (int r = 0; r < n; r++) acc[r] = first;
}

/* Outputs j .. j+n-1 of the sweep. */
ALWAYS_INLINE void finish(const int n, const bool whole, vec_mask lanes, const axis_sweep *w,
                          const convolve_any_args *d, int64_t j, int64_t c, vec acc[DEPTHWISE_ROW])
{
    float *dst = d->dst + (w->out_first + j * w->out_step) * d->dst_pixel + c;
    int64_t step = w->out_step * d->dst_pixel;
    vec_clip(n, acc, d->clip);
    if (whole && d->stream) {
        UNROLL for (int r = 0; r < n; r++) vec_stream(dst + r * step, acc[r]);
    } else {
        UNROLL for (int r = 0; r < n; r++) vec_store_lanes(whole, dst + r * step, lanes, acc[r]);
    }
}

/* F with a constant TAPS of those that are left, at most DEPTHWISE_TAPS. */
#define BY_TAPS(left, F, ...)                                                                                  \
    switch (left) {                                                                                            \
        TAPS_CASE(1, F, __VA_ARGS__)                                                                           \
        TAPS_CASE(2, F, __VA_ARGS__)                                                                           \
        TAPS_CASE(3, F, __VA_ARGS__)                                                                           \
        TAPS_CASE(4, F, __VA_ARGS__)                                                                           \
        TAPS_CASE(5, F, __VA_ARGS__)                                                                           \
        TAPS_CASE(6, F, __VA_ARGS__)                                                                           \
        TAPS_CASE(7, F, __VA_ARGS__)                                                                           \
    default: break;                                                                                            \
    }
#define TAPS_CASE(n, F, ...)                                                                                   \
    case n: {                                                                                                  \
        enum { TAPS = n };                                                                                     \
        F(__VA_ARGS__);                                                                                        \
        break;                                                                                                 \
    }

/* ---- column by column */

/* A kernel row, or a part of it. */
typedef struct {
    const float *src, *weights; /* at the first column, at the first tap */
    int64_t pixel, step;        /* floats from a column, from a tap to the next */
    int64_t column, columns;    /* counted from the first that exists; how many do */
} taps_at;

/* Which of a tile's columns may be in the padding: none; of a kernel without turns those that not all outputs of
 * the tile read with their last or with their first tap; any. */
typedef enum { INNER, RIM, EDGE, KINDS } tile_kind;

/* n outputs of kb taps. */
ALWAYS_INLINE void add_taps(const int s, const int n, const int kb, const tile_kind kind, const taps_at *t,
                            vec acc[DEPTHWISE_ROW])
{
    vec weight[DEPTHWISE_TAPS];
    UNROLL for (int k = 0; k < kb; k++) weight[k] = vec_load(t->weights + k * t->step);
    const float *p = t->src;
    UNROLL for (int column = 0; column < (n - 1) * s + kb; column++)
    {
        const bool unsure = kind == EDGE || (kind == RIM && (column < kb - 1 || column > (n - 1) * s));
        if (!unsure || (uint64_t)(t->column + column) < (uint64_t)t->columns) {
            vec v = vec_held(vec_load(p));
            UNROLL for (int r = 0; r < n; r++)
            {
                const int k = column - r * s;
                if (k >= 0 && k < kb) acc[r] = vec_fma(v, weight[k], acc[r]);
            }
        }
        p = pointer_held(p + t->pixel);
    }
}

/* Where the n outputs from j on read what of kernel row `row`. */
ALWAYS_INLINE taps_at taps_of_row(const axis_sweep *w, const convolve_any_args *d, int64_t row, int64_t j,
                                  int64_t c)
{
    return (taps_at){.src = d->src[row] + (w->first + j * w->stride) * d->src_pixel + c,
                     .weights = d->weights[row] + w->first_tap * d->w_tap + c,
                     .pixel = w->unit * d->src_pixel,
                     .step = w->tap_step * d->w_tap,
                     .column = j * w->shared - w->first_column,
                     .columns = w->end_column - w->first_column};
}

/* All rows of a kernel of kb taps. */
ALWAYS_INLINE void add_rows(const int s, const int n, const int kb, const tile_kind kind, const axis_sweep *w,
                            const convolve_any_args *d, int64_t j, int64_t c, vec acc[DEPTHWISE_ROW])
{
    for (int64_t row = 0; row < d->rows; row++) {
        taps_at t = taps_of_row(w, d, row, j, c);
        add_taps(s, n, kb, kind, &t, acc);
    }
}

/* All rows of a wider kernel. */
ALWAYS_INLINE void add_wide_rows(const int s, const int n, const tile_kind kind, const axis_sweep *w,
                                 const convolve_any_args *d, int64_t j, int64_t c, vec acc[DEPTHWISE_ROW])
{
    for (int64_t row = 0; row < d->rows; row++) {
        taps_at t = taps_of_row(w, d, row, j, c);
        int64_t left = w->taps;
        for (; left >= DEPTHWISE_TAPS; left -= DEPTHWISE_TAPS) {
            add_taps(s, n, DEPTHWISE_TAPS, kind, &t, acc);
            t.src += DEPTHWISE_TAPS * t.pixel, t.weights += DEPTHWISE_TAPS * t.step, t.column += DEPTHWISE_TAPS;
        }
        BY_TAPS(left, add_taps, s, n, TAPS, kind, &t, acc);
    }
}

ALWAYS_INLINE void columns_tile(const int s, const int n, const tile_kind kind, const axis_sweep *w,
                                const convolve_any_args *d, int64_t j)
{
    for (int64_t at_c = 0; at_c < d->channels; at_c += VL) {
        int64_t c = min64(at_c, d->channels - VL);
        vec acc[DEPTHWISE_ROW];
        start(n, true, vec_mask_first(VL), d, c, acc);
        if (w->taps <= DEPTHWISE_TAPS) {
            BY_TAPS(w->taps, add_rows, s, n, TAPS, kind, w, d, j, c, acc);
        } else if (kind != RIM) {
            add_wide_rows(s, n, kind, w, d, j, c, acc);
        }
        finish(n, true, vec_mask_first(VL), w, d, j, c, acc);
    }
}

typedef void tile_kernel(const axis_sweep *w, const convolve_any_args *d, int64_t j);

#define COLUMNS_TILE(kind, s, size)                                                                            \
    static void kind##_##s##_##size(const axis_sweep *w, const convolve_any_args *d, int64_t j)                \
    {                                                                                                          \
        columns_tile(s, SIZE_##size, kind, w, d, j);                                                           \
    }
#define COLUMNS_TILES(s)                                                                                       \
    COLUMNS_TILE(INNER, s, 0)                                                                                  \
    COLUMNS_TILE(INNER, s, 1)                                                                                  \
    COLUMNS_TILE(RIM, s, 0)                                                                                    \
    COLUMNS_TILE(RIM, s, 1)                                                                                    \
    COLUMNS_TILE(EDGE, s, 0)                                                                                   \
    COLUMNS_TILE(EDGE, s, 1)                                                                                   \
    COLUMNS_TILE(EDGE, s, 2)                                                                                   \
    COLUMNS_TILE(EDGE, s, 3)
COLUMNS_TILES(1)
COLUMNS_TILES(2)
#define KERNELS(s)                                                                                             \
    {                                                                                                          \
        {INNER_##s##_0, INNER_##s##_1, EDGE_##s##_2, EDGE_##s##_3},                                            \
            {RIM_##s##_0, RIM_##s##_1, EDGE_##s##_2, EDGE_##s##_3},                                            \
        {                                                                                                      \
            EDGE_##s##_0, EDGE_##s##_1, EDGE_##s##_2, EDGE_##s##_3                                             \
        }                                                                                                      \
    }
static tile_kernel *const kernels[2][KINDS][SIZES] = {KERNELS(1), KERNELS(2)};

static tile_kind kind_of(const axis_sweep *w, int64_t n, int64_t j)
{
    int64_t first = j * w->shared - w->first_column, taps = w->taps;
    int64_t past = (j + n - 1) * w->shared + taps - w->end_column;
    if (first >= 0 && past <= 0) return INNER;
    return taps <= DEPTHWISE_TAPS && first >= 1 - taps && past <= taps - 1 ? RIM : EDGE;
}

/* Outputs [j, end). */
static void columns_row(const axis_sweep *w, const convolve_any_args *d, int64_t j, int64_t end)
{
    const int64_t begin = j;
    while (j < end) {
        /* The smallest that does the rest, or the largest that there are outputs for. */
        int size = 0;
        while (size + 1 < SIZES && (tile_sizes[size + 1] >= end - j || tile_sizes[size] > end - begin)) size++;
        int64_t n = tile_sizes[size];
        if (j + n > end) j = end - n;
        kernels[w->shared - 1][kind_of(w, n, j)][size](w, d, j);
        j += n;
    }
}

/* ---- tap by tap */

ALWAYS_INLINE void taps_tile(const int n, const bool edge, const bool whole, const axis_sweep *w,
                             const convolve_any_args *d, int64_t j, int64_t c)
{
    const vec_mask lanes = vec_mask_first(min64(VL, d->channels - c));
    const int64_t step = w->stride * d->src_pixel;
    vec acc[DEPTHWISE_ROW];
    start(n, whole, lanes, d, c, acc);
    const int64_t unit = w->unit * d->src_pixel, tap = w->tap_step * d->w_tap, first = w->first + j * w->stride;
    for (int64_t row = 0; row < d->rows; row++) {
        const float *at = d->src[row] + first * d->src_pixel + c,
                    *weights = d->weights[row] + w->first_tap * d->w_tap + c;
        for (int64_t k = 0, in = first; k < w->taps; k++, in += w->unit, at += unit, weights += tap) {
            vec weight = vec_load_lanes(whole, weights, lanes);
            const float *p = at;
            UNROLL for (int r = 0; r < n; r++)
            {
                if (!edge || (uint64_t)(in + r * w->stride) < (uint64_t)w->inputs)
                    acc[r] = vec_fma(vec_load_lanes(whole, p, lanes), weight, acc[r]);
                p += step;
            }
        }
    }
    finish(n, whole, lanes, w, d, j, c, acc);
}

ALWAYS_INLINE void taps_outputs(const int n, const bool whole, const axis_sweep *w, const convolve_any_args *d,
                                int64_t j, int64_t c)
{
    int64_t in = w->first + j * w->stride, last = in + (n - 1) * w->stride + (w->taps - 1) * w->unit;
    if (in >= 0 && last < w->inputs)
        taps_tile(n, false, whole, w, d, j, c);
    else
        taps_tile(n, true, whole, w, d, j, c);
}

ALWAYS_INLINE void taps_vector(const bool whole, const axis_sweep *w, const convolve_any_args *d, int64_t j,
                               int64_t end, int64_t c)
{
    for (; j + DEPTHWISE_ROW <= end; j += DEPTHWISE_ROW) taps_outputs(DEPTHWISE_ROW, whole, w, d, j, c);
    for (; j + SIZE_1 <= end; j += SIZE_1) taps_outputs(SIZE_1, whole, w, d, j, c);
    for (; j + SIZE_2 <= end; j += SIZE_2) taps_outputs(SIZE_2, whole, w, d, j, c);
    for (; j < end; j++) taps_outputs(1, whole, w, d, j, c);
}

static void taps_row(const axis_sweep *w, const convolve_any_args *d, int64_t j, int64_t end)
{
    int64_t c = 0;
    for (; c + VL <= d->channels; c += VL) taps_vector(true, w, d, j, end, c);
    if (c < d->channels) taps_vector(false, w, d, j, end, c);
}

void convolve_any(const axis_sweeps *x, const convolve_any_args *d)
{
    for (int64_t i = 0; i < x->count; i++) {
        const axis_sweep *w = &x->sweep[i];
        int64_t j = axis_sweep_before(w, d->x0), end = axis_sweep_before(w, d->x1);
        bool columns = d->channels >= VL && (w->shared == 1 || w->shared == 2) && w->taps > 2;
        (columns ? columns_row : taps_row)(w, d, j, end);
    }
}
