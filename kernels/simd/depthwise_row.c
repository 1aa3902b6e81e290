/* Depthwise forward and backward_data, one row of outputs.
 *
 * Up to DEPTHWISE_OUTPUTS outputs of one vector of channels are held in registers; for each kernel row its
 * weights are loaded once and the source columns swept, each loaded once and used by every output it reaches.
 * Kernel widths 3, 5 and 7 with strides 1 and 2 are compile-time constants; other shapes, the edges of a row,
 * the phases of a strided backward_data and the last channels (masked) take the general kernel, a load for
 * every tap. */
#include "depthwise.h"

enum { MOST_OUTPUTS = 8 }; /* of any instruction set */

ALWAYS_INLINE vec load_lanes(const bool whole, const float *p, vec_mask lanes)
{
    return whole ? vec_load(p) : vec_load_mask(p, lanes);
}

/* The outputs of one tile: `n` from the x-th of a segment on, channels from c on. */
typedef struct {
    const depthwise_row *row;
    const axis_segment *segment;
    int64_t x, c;
} tile;

ALWAYS_INLINE void start(const int n, const bool whole, vec_mask lanes, const tile *t, vec acc[MOST_OUTPUTS])
{
    vec first = t->row->bias == NULL ? vec_zero() : load_lanes(whole, t->row->bias + t->c, lanes);
    UNROLL for (int r = 0; r < n; r++) acc[r] = first;
}

ALWAYS_INLINE void finish(const int n, const bool whole, vec_mask lanes, const tile *t, vec acc[MOST_OUTPUTS])
{
    const axis_segment *s = t->segment;
    int64_t step = s->out_step * t->row->dst_pixel;
    float *dst = t->row->dst + s->first * t->row->dst_pixel + t->x * step + t->c;
    UNROLL for (int r = 0; r < n; r++, dst += step)
    {
        vec v = t->row->relu ? vec_max(acc[r], vec_zero()) : acc[r];
        if (whole)
            vec_store(dst, v);
        else
            vec_store_mask(dst, lanes, v);
    }
}

/* Neighbouring taps, kw of them, stride s: whole vectors only. */
ALWAYS_INLINE void swept_tile(const int kw, const int s, const int n, const tile *t)
{
    const depthwise_row *d = t->row;
    const segment_tap *taps = t->segment->taps;
    vec acc[MOST_OUTPUTS], none = vec_zero();
    start(n, true, vec_mask_first(VL), t, acc);
    int64_t from = (taps[0].in + t->x * s) * d->src_pixel + t->c;
    int64_t first = taps[0].tap * d->w_tap + t->c, step = (taps[1].tap - taps[0].tap) * d->w_tap;
    for (int64_t row = 0; row < d->rows; row++) {
        const float *p = d->src[row] + from, *w = d->weights[row] + first;
        vec weights[7] = {none, none, none, none, none, none, none};
        UNROLL for (int k = 0; k < kw; k++) weights[k] = vec_load(w + k * step);
        UNROLL for (int column = 0; column < (DEPTHWISE_OUTPUTS - 1) * 2 + 7; column++)
        {
            if (column >= (n - 1) * s + kw) break;
            vec v = vec_load(p + column * d->src_pixel);
            UNROLL for (int r = 0; r < n; r++)
            {
                const int k = column - r * s;
                if (k >= 0 && k < kw) acc[r] = vec_fma(v, weights[k], acc[r]);
            }
        }
    }
    finish(n, true, vec_mask_first(VL), t, acc);
}

ALWAYS_INLINE void general_tile(const int n, const bool whole, vec_mask lanes, const tile *t)
{
    const depthwise_row *d = t->row;
    const axis_segment *s = t->segment;
    int64_t step = s->in_step * d->src_pixel;
    vec acc[MOST_OUTPUTS];
    start(n, whole, lanes, t, acc);
    for (int64_t row = 0; row < d->rows; row++)
        for (int64_t k = 0; k < s->tap_count; k++) {
            vec w = load_lanes(whole, d->weights[row] + s->taps[k].tap * d->w_tap + t->c, lanes);
            const float *p = d->src[row] + (s->taps[k].in + t->x * s->in_step) * d->src_pixel + t->c;
            UNROLL for (int r = 0; r < n; r++) acc[r] =
                vec_fma(load_lanes(whole, p + r * step, lanes), w, acc[r]);
        }
    finish(n, whole, lanes, t, acc);
}

/* ---- from run-time sizes to the constants above */

ALWAYS_INLINE void swept_outputs(const int kw, const int s, int64_t n, const tile *t)
{
    switch (n) {
    case 1: swept_tile(kw, s, 1, t); break;
    case 2: swept_tile(kw, s, 2, t); break;
    case 3: swept_tile(kw, s, 3, t); break;
    case 4: swept_tile(kw, s, 4, t); break;
    case 5: swept_tile(kw, s, 5, t); break;
    case 6: swept_tile(kw, s, 6, t); break;
    case 7:
        if (DEPTHWISE_OUTPUTS >= 7) swept_tile(kw, s, 7, t);
        break;
    case 8:
        if (DEPTHWISE_OUTPUTS >= 8) swept_tile(kw, s, 8, t);
        break;
    }
}

ALWAYS_INLINE void general_outputs(const bool whole, vec_mask lanes, int64_t n, const tile *t)
{
    switch (n) {
    case 1: general_tile(1, whole, lanes, t); break;
    case 2: general_tile(2, whole, lanes, t); break;
    case 3: general_tile(3, whole, lanes, t); break;
    case 4: general_tile(4, whole, lanes, t); break;
    case 5: general_tile(5, whole, lanes, t); break;
    case 6: general_tile(6, whole, lanes, t); break;
    case 7:
        if (DEPTHWISE_OUTPUTS >= 7) general_tile(7, whole, lanes, t);
        break;
    case 8:
        if (DEPTHWISE_OUTPUTS >= 8) general_tile(8, whole, lanes, t);
        break;
    }
}

typedef void whole_kernel(int64_t n, const tile *t);

static void swept_3_1(int64_t n, const tile *t) { swept_outputs(3, 1, n, t); }
static void swept_5_1(int64_t n, const tile *t) { swept_outputs(5, 1, n, t); }
static void swept_7_1(int64_t n, const tile *t) { swept_outputs(7, 1, n, t); }
static void swept_3_2(int64_t n, const tile *t) { swept_outputs(3, 2, n, t); }
static void swept_5_2(int64_t n, const tile *t) { swept_outputs(5, 2, n, t); }
static void swept_7_2(int64_t n, const tile *t) { swept_outputs(7, 2, n, t); }
static void general(int64_t n, const tile *t) { general_outputs(true, vec_mask_first(VL), n, t); }
static void general_masked(int64_t n, const tile *t)
{
    general_outputs(false, vec_mask_first(t->row->channels - t->c), n, t);
}

static whole_kernel *choose(const axis_segment *s)
{
    static whole_kernel *const swept[2][8] = {{[3] = swept_3_1, [5] = swept_5_1, [7] = swept_7_1},
                                              {[3] = swept_3_2, [5] = swept_5_2, [7] = swept_7_2}};
    if (!s->dense || s->in_step > 2 || s->tap_count > 7) return general;
    whole_kernel *k = swept[s->in_step - 1][s->tap_count];
    return k != NULL ? k : general;
}

void depthwise_row_run(const axis_segments *x, const depthwise_row *row)
{
    int64_t whole = row->channels / VL * VL;
    for (int64_t i = 0; i < x->count; i++) {
        const axis_segment *s = &x->segments[i];
        whole_kernel *kernel = choose(s);
        int64_t tiles = div_up(s->count, DEPTHWISE_OUTPUTS), begin, end;
        for (int64_t j = 0; j < tiles; j++) {
            share(s->count, j, tiles, &begin, &end);
            tile t = {.row = row, .segment = s, .x = begin};
            for (t.c = 0; t.c < whole; t.c += VL) kernel(end - begin, &t);
            if (whole < row->channels) general_masked(end - begin, &t);
        }
    }
}
