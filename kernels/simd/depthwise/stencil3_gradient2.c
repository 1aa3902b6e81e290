/* Depthwise 3x3 backward_weights over two neighbouring rows of diff_dst.
 *
 * A tile is two rows of up to DEPTHWISE_OUTPUTS pixels: each source vector of the four rows is loaded once for
 * up to six multiply-adds. Columns in the padding read a vector of zeros; rows in the padding are left out. The
 * last channels are masked. */
#include "stencil3.h"

/* Whether the tile of outputs from x on is whole and reads no padding. */
static bool inner(const axis_sweep *w, int64_t x)
{
    int64_t in = x + w->first;
    return x + DEPTHWISE_OUTPUTS <= w->outputs && in >= 0 && in + DEPTHWISE_OUTPUTS + 2 <= w->inputs;
}

/* Source row r's vector at `column` of the tile, *p, with all outputs of both rows that it meets; edge: unless
 * x, where it lies, is in the padding. *p moves on. */
ALWAYS_INLINE void meet(const int n, const int r, const int column, const bool edge, const bool whole,
                        vec_mask lanes, const axis_sweep *w, int64_t x, const float **p, int64_t pixel,
                        vec diff[2][DEPTHWISE_OUTPUTS], vec acc[3][3])
{
    const float *at = *p;
    if (edge) at = (uint64_t)x < (uint64_t)w->inputs ? at : vec_zeros;
    vec v = vec_held(vec_load_lanes(whole, at, lanes));
    UNROLL for (int k = 0; k < 3; k++)
    {
        const int o = column - k;
        if (o < 0 || o >= n) continue;
        if (r < 3) acc[r][k] = vec_fma(v, diff[0][o], acc[r][k]);
        if (r > 0) acc[r - 1][k] = vec_fma(v, diff[1][o], acc[r - 1][k]);
    }
    *p = pointer_held(*p + pixel);
}

/* n outputs of both rows, channels from c on; columns: all source rows are there, and read column by column. */
ALWAYS_INLINE void sums_tile(const int n, const bool edge, const bool columns, const bool whole, vec_mask lanes,
                             const axis_sweep *w, const stencil3_gradient2_args *d, int64_t x, int64_t c,
                             vec acc[3][3])
{
    int64_t in = x + w->first, pixel = d->src_pixel;
    const float *p[4];
    vec diff[2][DEPTHWISE_OUTPUTS];
    if (d->ahead) {
        UNROLL for (int i = 0; i < 2; i++)
        {
            prefetch_row(n, d->src[2 + i], w->inputs, pixel, in + n + 2, c);
            prefetch_row(n, d->diff_dst[i], w->outputs, d->dst_pixel, x + n, c);
        }
    }
    UNROLL for (int i = 0; i < 2; i++)
    {
        const float *q = d->diff_dst[i] + x * d->dst_pixel + c;
        UNROLL for (int o = 0; o < n; o++)
        {
            diff[i][o] = vec_load_lanes(whole, q, lanes);
            q += d->dst_pixel;
        }
    }
    UNROLL for (int r = 0; r < 4; r++) p[r] = d->src[r] == NULL ? NULL : d->src[r] + in * pixel + c;
    if (columns) {
        /* The multiply-adds of one row alone would wait for each other. */
        UNROLL for (int i = 0; i < n + 2; i++)
        {
            UNROLL for (int r = 0; r < 4; r++)
                meet(n, r, i, edge, whole, lanes, w, in + i, &p[r], pixel, diff, acc);
        }
        return;
    }
    UNROLL for (int r = 0; r < 4; r++)
    {
        if (d->src[r] == NULL) continue;
        UNROLL for (int i = 0; i < n + 2; i++)
            meet(n, r, i, edge, whole, lanes, w, in + i, &p[r], pixel, diff, acc);
    }
}

ALWAYS_INLINE void load_sums(const bool whole, vec_mask lanes, const stencil3_gradient2_args *d, int64_t c,
                             vec acc[3][3])
{
    UNROLL for (int r = 0; r < 3; r++)
    {
        UNROLL for (int k = 0; k < 3; k++) acc[r][k] =
            vec_load_lanes(whole, d->sums[r] + k * d->w_tap + c, lanes);
    }
}

ALWAYS_INLINE void store_sums(const bool whole, vec_mask lanes, const stencil3_gradient2_args *d, int64_t c,
                              vec acc[3][3])
{
    UNROLL for (int r = 0; r < 3; r++)
    {
        UNROLL for (int k = 0; k < 3; k++)
            vec_store_lanes(whole, d->sums[r] + k * d->w_tap + c, lanes, acc[r][k]);
    }
}

/* A tile of all channels from c on. */
ALWAYS_INLINE void sums_channels(const int n, const bool edge, const axis_sweep *w,
                                 const stencil3_gradient2_args *d, int64_t x, int64_t c)
{
    vec acc[3][3];
    vec_mask lanes = vec_mask_first(VL);
    for (; c + VL <= d->channels; c += VL) {
        load_sums(true, lanes, d, c, acc);
        sums_tile(n, edge, false, true, lanes, w, d, x, c, acc);
        store_sums(true, lanes, d, c, acc);
    }
    if (c == d->channels) return;
    lanes = vec_mask_first(d->channels - c);
    load_sums(false, lanes, d, c, acc);
    sums_tile(n, edge, false, false, lanes, w, d, x, c, acc);
    store_sums(false, lanes, d, c, acc);
}

static void sums_inner(const axis_sweep *w, const stencil3_gradient2_args *d, int64_t x, int64_t c)
{
    sums_channels(DEPTHWISE_OUTPUTS, false, w, d, x, c);
}

static void sums_edge(const axis_sweep *w, const stencil3_gradient2_args *d, int64_t x, int64_t c)
{
#define SUMS_EDGE(n) sums_channels(n, true, w, d, x, c)
    BY_OUTPUTS(w->outputs - x, SUMS_EDGE);
}

/* A vector of channels of both rows whole, the sums in registers meanwhile. */
static void sums_row(const axis_sweep *w, const stencil3_gradient2_args *d, int64_t c)
{
    vec acc[3][3];
    const vec_mask lanes = vec_mask_first(VL);
    load_sums(true, lanes, d, c, acc);
    for (int64_t x = 0; x < w->outputs; x += DEPTHWISE_OUTPUTS) {
        if (inner(w, x)) {
            sums_tile(DEPTHWISE_OUTPUTS, false, true, true, lanes, w, d, x, c, acc);
            continue;
        }
#define ROW_EDGE(n) sums_tile(n, true, true, true, lanes, w, d, x, c, acc)
        BY_OUTPUTS(w->outputs - x, ROW_EDGE);
    }
    store_sums(true, lanes, d, c, acc);
}

void stencil3_gradient2(const axis_sweeps *sweeps, const stencil3_gradient2_args *d)
{
    const axis_sweep *w = sweeps->sweep;
    /* Tile by tile with all channels: where the caller wants it; of the last channels, if they fill no vector,
     * always, so that a channel's sum has the same order in whatever block it is. */
    int64_t c = 0;
    bool rows = d->src[0] != NULL && d->src[1] != NULL && d->src[2] != NULL && d->src[3] != NULL;
    if (rows && !d->by_tile)
        for (; c + VL <= d->channels; c += VL) sums_row(w, d, c);
    for (int64_t x = 0; c < d->channels && x < w->outputs; x += DEPTHWISE_OUTPUTS)
        (inner(w, x) ? sums_inner : sums_edge)(w, d, x, c);
}
