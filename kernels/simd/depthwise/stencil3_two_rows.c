/* Depthwise 3x3 on two neighbouring rows of outputs: forward and backward_data, and backward_weights.
 *
 * A tile is two rows of up to DEPTHWISE_OUTPUTS outputs, channels innermost: memory is read in long pieces.
 * Four source rows serve both output rows, each source vector being loaded once for up to six multiply-adds.
 * Columns in the padding read a vector of zeros; rows in the padding are left out. The last vector of
 * channels overlaps the one before, or in backward_weights, where that would count twice, is masked. */
#include "kernels.h"

#include <stddef.h>

enum { CROWDED_PIXEL = 512 }; /* floats; 64 sets of 16 floats have 1024 */

/* CALL(n) of a tile that n <= DEPTHWISE_OUTPUTS outputs are left for. */
#if VEC_REGISTERS == 32
#define BY_OUTPUTS(left, CALL)                                                                                 \
    switch (left) {                                                                                            \
    case 1: CALL(1); break;                                                                                    \
    case 2: CALL(2); break;                                                                                    \
    case 3: CALL(3); break;                                                                                    \
    case 4: CALL(4); break;                                                                                    \
    case 5: CALL(5); break;                                                                                    \
    case 6: CALL(6); break;                                                                                    \
    default: CALL(DEPTHWISE_OUTPUTS);                                                                          \
    }
#else
#define BY_OUTPUTS(left, CALL)                                                                                 \
    switch (left) {                                                                                            \
    case 1: CALL(1); break;                                                                                    \
    case 2: CALL(2); break;                                                                                    \
    case 3: CALL(3); break;                                                                                    \
    default: CALL(DEPTHWISE_OUTPUTS);                                                                          \
    }
#endif

/* Prefetches a part of what the next tile is the first to read or write of a row of `width` pixels: from x on,
 * or past the end of this row the start of the row after next, the one that takes its place. The part is that
 * of the vector at channel c, counted as memory lies, so that the hardware sees long pieces too. Pixels of a
 * single vector make tiles too short for that: there it is the tile under this one. */
ALWAYS_INLINE void prefetch_row(const int n, const float *row, int64_t width, int64_t pixel, int64_t x,
                                int64_t c)
{
    int64_t at = pixel == VL ? x - n + 2 * width : x < width ? x : 2 * width;
    if (row != NULL) prefetch(row + at * pixel + c * n, n * VL);
}

/* ---- forward, backward_data */

/* Odd multiples of a pixel's bytes: with those every column is a base and a scaled index, part of the load. */
typedef struct {
    int64_t one, three, five, seven;
} columns;

ALWAYS_INLINE columns columns_of(int64_t pixel)
{
    int64_t bytes = pixel * (int64_t)sizeof(float);
    return (columns){bytes, 3 * bytes, 5 * bytes, 7 * bytes};
}

ALWAYS_INLINE const float *column_at(const float *p, const columns *by, const int i)
{
    _Static_assert(DEPTHWISE_OUTPUTS + 2 <= 9, "columns of a tile");
    const int64_t offset[] = {0,        by->one,       2 * by->one, by->three,  4 * by->one,
                              by->five, 2 * by->three, by->seven,   8 * by->one};
    return (const float *)((const char *)p + offset[i]);
}

/* Where a tile reads, at channel 0. */
typedef struct {
    const float *rows[4], *weights[3]; /* rows: NULL in the padding */
    int64_t in;                        /* the column its first output reads first */
} tile_place;

/* Sums of a whole tile all of whose rows exist, and all columns but the first (left) and the last (right). Tap
 * by tap: source vectors are operands of the multiply-adds, which saves a quarter of all instructions. */
ALWAYS_INLINE void sum_taps(const bool left, const bool right, const tile_place *t, const columns *by,
                            int64_t step, int64_t c, vec acc[2][DEPTHWISE_OUTPUTS])
{
    enum { N = DEPTHWISE_OUTPUTS };
    UNROLL for (int r = 0; r < 3; r++)
    {
        UNROLL for (int k = 0; k < 3; k++)
        {
            vec weight = vec_held(vec_load(t->weights[r] + k * step + c));
            UNROLL for (int o = 0; o < N; o++)
            {
                if ((left && o + k == 0) || (right && o + k == N + 1)) continue;
                acc[0][o] = vec_fma(weight, vec_load(column_at(t->rows[r] + c, by, o + k)), acc[0][o]);
                acc[1][o] = vec_fma(weight, vec_load(column_at(t->rows[r + 1] + c, by, o + k)), acc[1][o]);
            }
        }
    }
}

/* Sums of n outputs; edge: columns may be in the padding. */
ALWAYS_INLINE void sum_columns(const int n, const bool edge, const axis_sweep *w, const tile_place *t,
                               int64_t pixel, int64_t step, int64_t c, vec acc[2][DEPTHWISE_OUTPUTS])
{
    vec weight[4][3]; /* kernel row r for the first output row, r-1 for the second; unused ones vanish */
    UNROLL for (int r = 0; r < 4; r++)
    {
        UNROLL for (int k = 0; r < 3 && k < 3; k++) weight[r][k] = vec_load(t->weights[r] + k * step + c);
        if (t->rows[r] == NULL) continue;
        const float *p = t->rows[r] + c;
        UNROLL for (int column = 0; column < n + 2; column++)
        {
            const float *at = p;
            if (edge) at = (uint64_t)(t->in + column) < (uint64_t)w->inputs ? p : vec_zeros;
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
}

/* PLAIN: sum_taps does it, and there is neither bias nor anything else to be done; two bits for left and right.
 */
typedef enum { PLAIN, PLAIN_LEFT, PLAIN_RIGHT, PLAIN_BOTH, INNER, EDGE } tile_kind;

ALWAYS_INLINE void pair_tile(const int n, const tile_kind kind, const axis_sweep *w, const depthwise_pair *d,
                             int64_t x)
{
    int64_t pixel = d->src_pixel, step = w->tap_step * d->w_tap;
    const bool plain = kind <= PLAIN_BOTH;
    const columns by = columns_of(pixel);
    tile_place t = {.in = x + w->first};
    UNROLL for (int r = 0; r < 4; r++) t.rows[r] =
        !plain && d->src[r] == NULL ? NULL : d->src[r] + t.in * pixel;
    UNROLL for (int r = 0; r < 3; r++) t.weights[r] = d->weights[r] + w->first_tap * d->w_tap;
    float *const dst[2] = {d->dst[0] + x * d->dst_pixel, d->dst[1] + x * d->dst_pixel};
    for (int64_t at_c = 0; at_c < d->channels; at_c += VL) {
        int64_t c = min64(at_c, d->channels - VL);
        if (!plain && d->ahead) {
            UNROLL for (int i = 0; i < 2; i++)
            {
                prefetch_row(n, d->src[2 + i], w->inputs, pixel, t.in + n + 2, at_c);
                if (!d->stream) prefetch_row(n, d->dst[i], w->outputs, d->dst_pixel, x + n, at_c);
            }
        }
        vec acc[2][DEPTHWISE_OUTPUTS], start = plain || d->bias == NULL ? vec_zero() : vec_load(d->bias + c);
        UNROLL for (int r = 0; r < n; r++) acc[0][r] = acc[1][r] = start;
        if (plain)
            sum_taps(kind & PLAIN_LEFT, kind & PLAIN_RIGHT, &t, &by, step, c, acc);
        else
            sum_columns(n, kind == EDGE, w, &t, pixel, step, c, acc);
        if (!plain && d->relu) {
            UNROLL for (int i = 0; i < 2; i++)
            {
                UNROLL for (int r = 0; r < n; r++) acc[i][r] = vec_max(acc[i][r], vec_zero());
            }
        }
        UNROLL for (int i = 0; i < 2; i++)
        {
            float *at = dst[i] + c;
            if (!plain && d->stream) {
                UNROLL for (int r = 0; r < n; r++) vec_stream(at + r * d->dst_pixel, acc[i][r]);
            } else {
                UNROLL for (int r = 0; r < n; r++) vec_store(at + r * d->dst_pixel, acc[i][r]);
            }
        }
    }
}

#define PAIR_WHOLE(name, kind)                                                                                 \
    static void name(const axis_sweep *w, const depthwise_pair *d, int64_t x)                                  \
    {                                                                                                          \
        pair_tile(DEPTHWISE_OUTPUTS, kind, w, d, x);                                                           \
    }
PAIR_WHOLE(pair_plain, PLAIN)
PAIR_WHOLE(pair_left, PLAIN_LEFT)
PAIR_WHOLE(pair_right, PLAIN_RIGHT)
PAIR_WHOLE(pair_both, PLAIN_BOTH)
PAIR_WHOLE(pair_inner, INNER)

static void pair_edge(const axis_sweep *w, const depthwise_pair *d, int64_t x)
{
#define PAIR_EDGE(n) pair_tile(n, EDGE, w, d, x)
    BY_OUTPUTS(w->outputs - x, PAIR_EDGE);
}

bool depthwise_pair_fits(const axis_segments *x, int64_t channels)
{
    return x->sweep.taps == 3 && x->sweep.stride == 1 && channels >= VL;
}

typedef void pair_kernel(const axis_sweep *w, const depthwise_pair *d, int64_t x);

/* For the tile of outputs from x on; plain: rows allow it and nothing else is to be done. */
static pair_kernel *kernel_of(const axis_sweep *w, bool plain, int64_t x)
{
    static pair_kernel *const plain_ones[2][2] = {{pair_plain, pair_right}, {pair_left, pair_both}};
    int64_t first = x + w->first, last = first + DEPTHWISE_OUTPUTS + 1; /* columns read */
    if (x + DEPTHWISE_OUTPUTS > w->outputs || first < -1 || last > w->inputs) return pair_edge;
    bool left = first < 0, right = last == w->inputs;
    return plain ? plain_ones[left][right] : left || right ? pair_edge : pair_inner;
}

void depthwise_pair_run(const axis_segments *segments, const depthwise_pair *d)
{
    const axis_sweep *w = &segments->sweep;
    bool rows = d->src[0] != NULL && d->src[1] != NULL && d->src[2] != NULL && d->src[3] != NULL;
    bool plain = rows && d->bias == NULL && !d->relu && !d->ahead && !d->stream;
    for (int64_t x = 0; x < w->outputs; x += DEPTHWISE_OUTPUTS) kernel_of(w, plain, x)(w, d, x);
}

/* ---- backward_weights */

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
                             const axis_sweep *w, const depthwise_sums_pair *d, int64_t x, int64_t c,
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

ALWAYS_INLINE void load_sums(const bool whole, vec_mask lanes, const depthwise_sums_pair *d, int64_t c,
                             vec acc[3][3])
{
    UNROLL for (int r = 0; r < 3; r++)
    {
        UNROLL for (int k = 0; k < 3; k++) acc[r][k] =
            vec_load_lanes(whole, d->sums[r] + k * d->w_tap + c, lanes);
    }
}

ALWAYS_INLINE void store_sums(const bool whole, vec_mask lanes, const depthwise_sums_pair *d, int64_t c,
                              vec acc[3][3])
{
    UNROLL for (int r = 0; r < 3; r++)
    {
        UNROLL for (int k = 0; k < 3; k++)
            vec_store_lanes(whole, d->sums[r] + k * d->w_tap + c, lanes, acc[r][k]);
    }
}

/* A tile of all channels. */
ALWAYS_INLINE void sums_channels(const int n, const bool edge, const axis_sweep *w,
                                 const depthwise_sums_pair *d, int64_t x)
{
    vec acc[3][3];
    int64_t c = 0;
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

static void sums_inner(const axis_sweep *w, const depthwise_sums_pair *d, int64_t x)
{
    sums_channels(DEPTHWISE_OUTPUTS, false, w, d, x);
}

static void sums_edge(const axis_sweep *w, const depthwise_sums_pair *d, int64_t x)
{
#define SUMS_EDGE(n) sums_channels(n, true, w, d, x)
    BY_OUTPUTS(w->outputs - x, SUMS_EDGE);
}

/* A vector of channels of both rows whole, the sums in registers meanwhile. */
static void sums_row(const axis_sweep *w, const depthwise_sums_pair *d, int64_t c)
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

void depthwise_sums_pair_run(const axis_segments *segments, const depthwise_sums_pair *d)
{
    const axis_sweep *w = &segments->sweep;
    /* Tile by tile what comes from memory, best in long pieces, and half lines of pixels that crowd few sets of
     * L1, where the other half would not be found again. */
    bool rows = d->src[0] != NULL && d->src[1] != NULL && d->src[2] != NULL && d->src[3] != NULL;
    bool crowded = VL * sizeof(float) < 64 && d->src_pixel % CROWDED_PIXEL == 0;
    if (rows && !crowded && !d->ahead && d->channels % VL == 0) {
        for (int64_t c = 0; c < d->channels; c += VL) sums_row(w, d, c);
        return;
    }
    for (int64_t x = 0; x < w->outputs; x += DEPTHWISE_OUTPUTS) (inner(w, x) ? sums_inner : sums_edge)(w, d, x);
}
