/* Depthwise forward and backward_data, one row of outputs.
 *
 * For one vector of channels the row is swept in tiles of up to DEPTHWISE_OUTPUTS outputs held in registers:
 * for each kernel row its weights are loaded once and the source columns walked, each loaded once and used by
 * every output it reaches. Columns in the padding, which only the first and last tiles have, read a vector of
 * zeros. Kernel widths 3, 5 and 7 with strides 1 and 2 are compile-time constants; other shapes, the phases of
 * a strided backward_data and the last channels (masked) take the general kernel, segment by segment, a load
 * for every tap. */
#include "../vec.h"
#include "kernels.h"

enum { MOST_OUTPUTS = 7, MOST_TAPS = 7 }; /* of any instruction set */

ALWAYS_INLINE void start(const int n, const bool whole, vec_mask lanes, const convolve_any_args *d, int64_t c,
                         vec acc[MOST_OUTPUTS])
{
    vec first = d->bias == NULL ? vec_zero() : vec_load_lanes(whole, d->bias + c, lanes);
    UNROLL for (int r = 0; r < n; r++) acc[r] = first;
}

/* Outputs `step` floats apart. */
ALWAYS_INLINE void finish(const int n, const bool whole, vec_mask lanes, const convolve_any_args *d, float *dst,
                          int64_t step, vec acc[MOST_OUTPUTS])
{
    vec_clip(n, acc, d->clip);
    UNROLL for (int r = 0; r < n; r++) { vec_store_lanes(whole, dst + r * step, lanes, acc[r]); }
}

/* ---- swept: kw taps, stride s */

/* Outputs x .. x+n-1. edge: some columns may lie in the padding. */
ALWAYS_INLINE void swept_tile(const int kw, const int s, const int n, const bool edge, const axis_sweep *w,
                              const convolve_any_args *d, int64_t x)
{
    int64_t in = x * s + w->first, pixel = d->src_pixel, step = w->tap_step * d->w_tap;
    for (int64_t at_c = 0; at_c < d->channels; at_c += VL) {
        int64_t c = min64(at_c, d->channels - VL); /* the last vector overlaps the one before */
        vec acc[MOST_OUTPUTS];
        start(n, true, vec_mask_first(VL), d, c, acc);
        for (int64_t row = 0; row < d->rows; row++) {
            const float *weights = d->weights[row] + w->first_tap * d->w_tap + c,
                        *p = d->src[row] + in * pixel + c;
            vec weight[MOST_TAPS];
            UNROLL for (int k = 0; k < kw; k++) weight[k] = vec_load(weights + k * step);
            UNROLL for (int column = 0; column < (n - 1) * s + kw; column++)
            {
                const float *at = p;
                if (edge) at = (uint64_t)(in + column) < (uint64_t)w->inputs ? p : vec_zeros;
                vec v = vec_held(vec_load(at));
                p = pointer_held(p + pixel);
                UNROLL for (int r = 0; r < n; r++)
                {
                    const int k = column - r * s;
                    if (k >= 0 && k < kw) acc[r] = vec_fma(v, weight[k], acc[r]);
                }
            }
        }
        finish(n, true, vec_mask_first(VL), d, d->dst + x * d->dst_pixel + c, d->dst_pixel, acc);
    }
}

ALWAYS_INLINE void swept_edge(const int kw, const int s, int64_t n, const axis_sweep *w,
                              const convolve_any_args *d, int64_t x)
{
    switch (n) {
    case 1: swept_tile(kw, s, 1, true, w, d, x); break;
    case 2: swept_tile(kw, s, 2, true, w, d, x); break;
    case 3: swept_tile(kw, s, 3, true, w, d, x); break;
    case 4: swept_tile(kw, s, 4, true, w, d, x); break;
    case 5: swept_tile(kw, s, 5, true, w, d, x); break;
    case 6: swept_tile(kw, s, 6, true, w, d, x); break;
    default: swept_tile(kw, s, 7, true, w, d, x); break;
    }
}

ALWAYS_INLINE void swept_row(const int kw, const int s, const axis_sweep *w, const convolve_any_args *d)
{
    const int n = DEPTHWISE_OUTPUTS;
    for (int64_t x = 0; x < w->outputs; x += n) {
        int64_t in = x * s + w->first;
        if (x + n <= w->outputs && in >= 0 && in + (n - 1) * s + kw <= w->inputs)
            swept_tile(kw, s, n, false, w, d, x);
        else
            swept_edge(kw, s, min64(n, w->outputs - x), w, d, x);
    }
}

typedef void swept_kernel(const axis_sweep *w, const convolve_any_args *d);

static void swept_3_1(const axis_sweep *w, const convolve_any_args *d) { swept_row(3, 1, w, d); }
static void swept_5_1(const axis_sweep *w, const convolve_any_args *d) { swept_row(5, 1, w, d); }
static void swept_7_1(const axis_sweep *w, const convolve_any_args *d) { swept_row(7, 1, w, d); }
static void swept_3_2(const axis_sweep *w, const convolve_any_args *d) { swept_row(3, 2, w, d); }
static void swept_5_2(const axis_sweep *w, const convolve_any_args *d) { swept_row(5, 2, w, d); }
static void swept_7_2(const axis_sweep *w, const convolve_any_args *d) { swept_row(7, 2, w, d); }

static swept_kernel *choose(const axis_sweep *w)
{
    static swept_kernel *const kernels[2][MOST_TAPS + 1] = {
        {[3] = swept_3_1, [5] = swept_5_1, [7] = swept_7_1},
        {[3] = swept_3_2, [5] = swept_5_2, [7] = swept_7_2}};
    return w->taps <= MOST_TAPS && w->taps > 0 && w->stride <= 2 ? kernels[w->stride - 1][w->taps] : NULL;
}

/* ---- general: any segment */

ALWAYS_INLINE void general_tile(const int n, const bool whole, vec_mask lanes, const axis_segment *s,
                                const convolve_any_args *d, int64_t x, int64_t c)
{
    int64_t step = s->in_step * d->src_pixel, dst_step = s->out_step * d->dst_pixel;
    vec acc[MOST_OUTPUTS];
    start(n, whole, lanes, d, c, acc);
    for (int64_t row = 0; row < d->rows; row++)
        for (int64_t k = 0; k < s->tap_count; k++) {
            vec w = vec_load_lanes(whole, d->weights[row] + s->taps[k].tap * d->w_tap + c, lanes);
            const float *p = d->src[row] + (s->taps[k].in + x * s->in_step) * d->src_pixel + c;
            UNROLL for (int r = 0; r < n; r++) acc[r] =
                vec_fma(vec_load_lanes(whole, p + r * step, lanes), w, acc[r]);
        }
    finish(n, whole, lanes, d, d->dst + s->first * d->dst_pixel + x * dst_step + c, dst_step, acc);
}

ALWAYS_INLINE void general_segment(const bool whole, vec_mask lanes, const axis_segment *s,
                                   const convolve_any_args *d, int64_t c)
{
    const int n = DEPTHWISE_OUTPUTS;
    int64_t x = 0;
    for (; x + n <= s->count; x += n) general_tile(n, whole, lanes, s, d, x, c);
    for (; x + 3 <= s->count; x += 3) general_tile(3, whole, lanes, s, d, x, c);
    for (; x < s->count; x++) general_tile(1, whole, lanes, s, d, x, c);
}

static void general_row(const axis_segments *x, const convolve_any_args *d, int64_t c)
{
    vec_mask lanes = vec_mask_first(min64(VL, d->channels - c));
    for (int64_t i = 0; i < x->count; i++) {
        if (c + VL <= d->channels)
            general_segment(true, lanes, &x->segments[i], d, c);
        else
            general_segment(false, lanes, &x->segments[i], d, c);
    }
}

void convolve_any(const axis_segments *x, const convolve_any_args *row)
{
    swept_kernel *swept = choose(&x->sweep);
    if (swept != NULL && row->channels >= VL)
        swept(&x->sweep, row);
    else
        for (int64_t c = 0; c < row->channels; c += VL) general_row(x, row, c);
}
