/* Depthwise 3x3 on two neighbouring rows of outputs: forward and backward_data.
 *
 * A tile is two rows of up to DEPTHWISE_OUTPUTS outputs, channels innermost: memory is read in long pieces.
 * Four source rows serve both output rows, each source vector being loaded once for up to six multiply-adds.
 * Columns in the padding read a vector of zeros; rows in the padding are left out. The last vector of channels
 * overlaps the one before. */
#include "stencil3.h"

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

ALWAYS_INLINE void tile(const int n, const tile_kind kind, const axis_sweep *w, const stencil3_convolve_args *d,
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
        UNROLL for (int i = 0; !plain && i < 2; i++) vec_clip(n, acc[i], d->clip);
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

#define WHOLE_TILE(name, kind)                                                                                 \
    static void name(const axis_sweep *w, const stencil3_convolve_args *d, int64_t x)                          \
    {                                                                                                          \
        tile(DEPTHWISE_OUTPUTS, kind, w, d, x);                                                                \
    }
WHOLE_TILE(tile_plain, PLAIN)
WHOLE_TILE(tile_left, PLAIN_LEFT)
WHOLE_TILE(tile_right, PLAIN_RIGHT)
WHOLE_TILE(tile_both, PLAIN_BOTH)
WHOLE_TILE(tile_inner, INNER)

static void tile_edge(const axis_sweep *w, const stencil3_convolve_args *d, int64_t x)
{
#define EDGE_TILE(n) tile(n, EDGE, w, d, x)
    BY_OUTPUTS(w->outputs - x, EDGE_TILE);
}

typedef void tile_kernel(const axis_sweep *w, const stencil3_convolve_args *d, int64_t x);

/* For the tile of outputs from x on; plain: rows allow it and nothing else is to be done. */
static tile_kernel *kernel_of(const axis_sweep *w, bool plain, int64_t x)
{
    static tile_kernel *const plain_ones[2][2] = {{tile_plain, tile_right}, {tile_left, tile_both}};
    int64_t first = x + w->first, last = first + DEPTHWISE_OUTPUTS + 1; /* columns read */
    if (x + DEPTHWISE_OUTPUTS > w->outputs || first < -1 || last > w->inputs) return tile_edge;
    bool left = first < 0, right = last == w->inputs;
    return plain ? plain_ones[left][right] : left || right ? tile_edge : tile_inner;
}

void stencil3_convolve(const axis_sweeps *sweeps, const stencil3_convolve_args *d)
{
    const axis_sweep *w = sweeps->sweep;
    bool rows = d->src[0] != NULL && d->src[1] != NULL && d->src[2] != NULL && d->src[3] != NULL;
    bool plain = rows && d->bias == NULL && d->clip == 0 && !d->ahead && !d->stream;
    for (int64_t x = 0; x < w->outputs; x += DEPTHWISE_OUTPUTS) kernel_of(w, plain, x)(w, d, x);
}
