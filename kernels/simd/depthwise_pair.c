/* Depthwise 3x3 on two neighbouring rows of outputs: forward and backward_data, and backward_weights.
 *
 * A tile is two rows of up to DEPTHWISE_OUTPUTS outputs, channels innermost: memory is read in long pieces.
 * Four source rows serve both output rows, each source vector being loaded once for up to six multiply-adds.
 * Columns in the padding read a vector of zeros; rows in the padding are left out. The last vector of channels
 * overlaps the one before, or in backward_weights, where that would count twice, is masked. */
#include "depthwise.h"

#include <stddef.h>

enum { CROWDED_PIXEL = 512 }; /* floats; 64 sets of 16 floats have 1024 */

static const float zeros[VL] __attribute__((aligned(64)));

/* Asks for a part of what the next tile is the first to read or write of a row of `width` pixels: from x on, or
 * past the end of this row the start of the row after next, the one that takes its place. The part is that of
 * the vector at channel c, counted as memory lies, so that the hardware sees long pieces too. */
ALWAYS_INLINE void ask(const int n, const float *row, int64_t width, int64_t pixel, int64_t x, int64_t c)
{
    if (row != NULL) prefetch(row + (x < width ? x : 2 * width) * pixel + c * n, n * VL);
}

/* ---- forward, backward_data */

ALWAYS_INLINE void pair_tile(const int n, const bool edge, const axis_sweep *w, const depthwise_pair *d,
                             int64_t x)
{
    int64_t in = x + w->first, pixel = d->src_pixel, first = w->first_tap * d->w_tap,
            step = w->tap_step * d->w_tap;
    for (int64_t at_c = 0; at_c < d->channels; at_c += VL) {
        int64_t c = min64(at_c, d->channels - VL);
        if (d->ahead) {
            UNROLL for (int i = 0; i < 2; i++)
            {
                ask(n, d->src[2 + i], w->inputs, pixel, in + n + 2, at_c);
                if (!d->stream) ask(n, d->dst[i], w->outputs, d->dst_pixel, x + n, at_c);
            }
        }
        vec acc[2][DEPTHWISE_OUTPUTS], start = d->bias == NULL ? vec_zero() : vec_load(d->bias + c);
        UNROLL for (int r = 0; r < n; r++) acc[0][r] = acc[1][r] = start;
        vec weight[4][3]; /* kernel row r for the first output row, r-1 for the second; unused ones vanish */
        UNROLL for (int r = 0; r < 4; r++)
        {
            UNROLL for (int k = 0; r < 3 && k < 3; k++) weight[r][k] =
                vec_load(d->weights[r] + first + k * step + c);
            if (d->src[r] == NULL) continue;
            const float *p = d->src[r] + in * pixel + c;
            UNROLL for (int column = 0; column < n + 2; column++)
            {
                const float *at = p;
                if (edge) at = (uint64_t)(in + column) < (uint64_t)w->inputs ? p : zeros;
                vec v = vec_held(vec_load(at));
                p = pointer_held(p + pixel);
                UNROLL for (int k = 0; k < 3; k++)
                {
                    const int o = column - k;
                    if (o < 0 || o >= n) continue;
                    if (r < 3) acc[0][o] = vec_fma(v, weight[r][k], acc[0][o]);
                    if (r > 0) acc[1][o] = vec_fma(v, weight[r - 1][k], acc[1][o]);
                }
            }
        }
        UNROLL for (int i = 0; i < 2; i++)
        {
            float *dst = d->dst[i] + x * d->dst_pixel + c;
            UNROLL for (int r = 0; r < n; r++)
            {
                vec v = d->relu ? vec_max(acc[i][r], vec_zero()) : acc[i][r];
                if (d->stream)
                    vec_stream(dst, v);
                else
                    vec_store(dst, v);
                dst += d->dst_pixel;
            }
        }
    }
}

static void pair_inner(const axis_sweep *w, const depthwise_pair *d, int64_t x)
{
    pair_tile(DEPTHWISE_OUTPUTS, false, w, d, x);
}

static void pair_edge(const axis_sweep *w, const depthwise_pair *d, int64_t x)
{
    switch (min64(DEPTHWISE_OUTPUTS, w->outputs - x)) {
    case 1: pair_tile(1, true, w, d, x); break;
    case 2: pair_tile(2, true, w, d, x); break;
    case 3: pair_tile(3, true, w, d, x); break;
#if VEC_REGISTERS == 32
    case 4: pair_tile(4, true, w, d, x); break;
    case 5: pair_tile(5, true, w, d, x); break;
    case 6: pair_tile(6, true, w, d, x); break;
#endif
    default: pair_tile(DEPTHWISE_OUTPUTS, true, w, d, x);
    }
}

/* Whether the tile of outputs from x on is whole and reads no padding. */
static bool inner(const axis_sweep *w, int64_t x)
{
    int64_t in = x + w->first;
    return x + DEPTHWISE_OUTPUTS <= w->outputs && in >= 0 && in + DEPTHWISE_OUTPUTS + 2 <= w->inputs;
}

bool depthwise_pair_fits(const axis_segments *x, int64_t channels)
{
    return x->sweep.taps == 3 && x->sweep.stride == 1 && channels >= VL;
}

void depthwise_pair_run(const axis_segments *segments, const depthwise_pair *d)
{
    const axis_sweep *w = &segments->sweep;
    for (int64_t x = 0; x < w->outputs; x += DEPTHWISE_OUTPUTS) (inner(w, x) ? pair_inner : pair_edge)(w, d, x);
}

/* ---- backward_weights */

ALWAYS_INLINE vec load_lanes(const bool whole, const float *p, vec_mask lanes)
{
    return whole ? vec_load(p) : vec_load_mask(p, lanes);
}

ALWAYS_INLINE void store_lanes(const bool whole, float *p, vec_mask lanes, vec v)
{
    if (whole)
        vec_store(p, v);
    else
        vec_store_mask(p, lanes, v);
}

/* Source row r's vector at `column` of the tile, *p, with all outputs of both rows that it meets; edge: unless
 * x, where it lies, is in the padding. *p moves on. */
ALWAYS_INLINE void meet(const int n, const int r, const int column, const bool edge, const bool whole,
                        vec_mask lanes, const axis_sweep *w, int64_t x, const float **p,
                        int64_t pixel, vec diff[2][DEPTHWISE_OUTPUTS], vec acc[3][3])
{
    const float *at = *p;
    if (edge) at = (uint64_t)x < (uint64_t)w->inputs ? at : zeros;
    vec v = vec_held(load_lanes(whole, at, lanes));
    UNROLL for (int k = 0; k < 3; k++)
    {
        const int o = column - k;
        if (o < 0 || o >= n) continue;
        if (r < 3) acc[r][k] = vec_fma(v, diff[0][o], acc[r][k]);
        if (r > 0) acc[r - 1][k] = vec_fma(v, diff[1][o], acc[r - 1][k]);
    }
    *p = pointer_held(*p + pixel);
}

/* n outputs of both rows, channels from c on. */
ALWAYS_INLINE void sums_tile(const int n, const bool edge, const bool all, const bool whole, vec_mask lanes,
                             const axis_sweep *w, const depthwise_sums_pair *d, int64_t x, int64_t c,
                             vec acc[3][3])
{
    int64_t in = x + w->first, pixel = d->src_pixel;
    const float *p[4];
    vec diff[2][DEPTHWISE_OUTPUTS];
    if (d->ahead) {
        UNROLL for (int i = 0; i < 2; i++)
        {
            ask(n, d->src[2 + i], w->inputs, pixel, in + n + 2, c);
            ask(n, d->diff_dst[i], w->outputs, d->dst_pixel, x + n, c);
        }
    }
    UNROLL for (int i = 0; i < 2; i++)
    {
        const float *q = d->diff_dst[i] + x * d->dst_pixel + c;
        UNROLL for (int o = 0; o < n; o++)
        {
            diff[i][o] = load_lanes(whole, q, lanes);
            q += d->dst_pixel;
        }
    }
    UNROLL for (int r = 0; r < 4; r++) p[r] = d->src[r] + in * pixel + c;
    if (all) {
        /* Column by column: the multiply-adds of one row alone would wait for each other. */
        UNROLL for (int i = 0; i < n + 2; i++)
        {
            UNROLL for (int r = 0; r < 4; r++) meet(n, r, i, edge, whole, lanes, w, in + i, &p[r], pixel, diff, acc);
        }
        return;
    }
    UNROLL for (int r = 0; r < 4; r++)
    {
        if (d->src[r] == NULL) continue;
        UNROLL for (int i = 0; i < n + 2; i++)
        {
            meet(n, r, i, edge, whole, lanes, w, in + i, &p[r], pixel, diff, acc);
        }
    }
}

/* The tiles of outputs [x, end), the sums in registers meanwhile. */
ALWAYS_INLINE void sums_tiles(const bool all, const bool whole, vec_mask lanes, const axis_sweep *w,
                              const depthwise_sums_pair *d, int64_t x, int64_t end, int64_t c)
{
    vec acc[3][3];
    UNROLL for (int r = 0; r < 3; r++)
    {
        UNROLL for (int k = 0; k < 3; k++) acc[r][k] = load_lanes(whole, d->sums[r] + k * d->w_tap + c, lanes);
    }
    for (; x < end; x += DEPTHWISE_OUTPUTS) {
        if (inner(w, x)) {
            sums_tile(DEPTHWISE_OUTPUTS, false, all, whole, lanes, w, d, x, c, acc);
            continue;
        }
        switch (min64(DEPTHWISE_OUTPUTS, w->outputs - x)) {
        case 1: sums_tile(1, true, all, whole, lanes, w, d, x, c, acc); break;
        case 2: sums_tile(2, true, all, whole, lanes, w, d, x, c, acc); break;
        case 3: sums_tile(3, true, all, whole, lanes, w, d, x, c, acc); break;
#if VEC_REGISTERS == 32
        case 4: sums_tile(4, true, all, whole, lanes, w, d, x, c, acc); break;
        case 5: sums_tile(5, true, all, whole, lanes, w, d, x, c, acc); break;
        case 6: sums_tile(6, true, all, whole, lanes, w, d, x, c, acc); break;
#endif
        default: sums_tile(DEPTHWISE_OUTPUTS, true, all, whole, lanes, w, d, x, c, acc);
        }
    }
    UNROLL for (int r = 0; r < 3; r++)
    {
        UNROLL for (int k = 0; k < 3; k++) store_lanes(whole, d->sums[r] + k * d->w_tap + c, lanes, acc[r][k]);
    }
}

static void sums_all_rows(const axis_sweep *w, const depthwise_sums_pair *d, int64_t x, int64_t end, int64_t c)
{
    sums_tiles(true, true, vec_mask_first(VL), w, d, x, end, c);
}

static void sums_some_rows(const axis_sweep *w, const depthwise_sums_pair *d, int64_t x, int64_t end, int64_t c)
{
    sums_tiles(false, true, vec_mask_first(VL), w, d, x, end, c);
}

static void sums_last_lanes(const axis_sweep *w, const depthwise_sums_pair *d, int64_t x, int64_t end,
                            int64_t c)
{
    sums_tiles(false, false, vec_mask_first(d->channels - c), w, d, x, end, c);
}

void depthwise_sums_pair_run(const axis_segments *segments, const depthwise_sums_pair *d)
{
    const axis_sweep *w = &segments->sweep;
    bool all = d->src[0] != NULL && d->src[1] != NULL && d->src[2] != NULL && d->src[3] != NULL;
    /* Sums stay in registers over the whole row, unless it comes from memory, best in long pieces, or its pixels
     * crowd two sets of L1, where a line's second vector would not be found again. */
    int64_t step = d->ahead || d->src_pixel % CROWDED_PIXEL == 0 ? DEPTHWISE_OUTPUTS : w->outputs;
    for (int64_t x = 0; x < w->outputs; x += step) {
        int64_t end = min64(w->outputs, x + step), c = 0;
        for (; c + VL <= d->channels; c += VL) (all ? sums_all_rows : sums_some_rows)(w, d, x, end, c);
        if (c < d->channels) sums_last_lanes(w, d, x, end, c);
    }
}
