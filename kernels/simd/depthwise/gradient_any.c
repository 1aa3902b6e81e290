/* Depthwise backward_weights, one row of diff_dst.
 *
 * For a vector of channels the sums of up to three kernel rows stay in registers while x runs along the whole
 * row: at least five independent sums hide the latency of the multiply-add. Where a tap falls in the padding it
 * reads a vector of zeros. Widths 3, 5 and 7 are compile-time constants, any stride; other widths, dilation and
 * the last channels (masked) go tap by tap over the segments of the row. */
#include "../vec.h"
#include "kernels.h"

typedef struct {
    const float *p[3]; /* source rows at x = 0, channel c */
    const float *diff; /* at output x = 0, channel c */
} streams;

/* Outputs [x0, x1) of rows x kw sums; edge: taps may lie in the padding. */
ALWAYS_INLINE void sum_pixels(const int rows, const int kw, const bool edge, const axis_sweep *w,
                              const gradient_any_args *d, const streams *s, int64_t x0, int64_t x1,
                              vec acc[3][7])
{
    int64_t pixel = d->src_pixel, in = x0 * w->stride + w->first, offset = in * pixel;
    const float *diff = s->diff + x0 * d->dst_pixel;
    for (int64_t x = x0; x < x1; x++, diff += d->dst_pixel, in += w->stride, offset += w->stride * pixel) {
        vec v = vec_load(diff);
        UNROLL for (int r = 0; r < rows; r++)
        {
            UNROLL for (int k = 0; k < kw; k++)
            {
                const float *at = s->p[r];
                if (edge)
                    at = (uint64_t)(in + k) < (uint64_t)w->inputs ? at + offset + k * pixel : vec_zeros;
                else
                    at += offset + k * pixel;
                acc[r][k] = vec_fma(vec_load(at), v, acc[r][k]);
            }
        }
    }
}

ALWAYS_INLINE void swept(const int rows, const int kw, const axis_sweep *w, const gradient_any_args *d,
                         int64_t row, int64_t c)
{
    vec acc[3][7];
    streams s = {.diff = d->diff_dst + c};
    UNROLL for (int r = 0; r < rows; r++)
    {
        s.p[r] = d->src[row + r] + c;
        UNROLL for (int k = 0; k < kw; k++) acc[r][k] = vec_load(d->sums[row + r] + k * d->w_tap + c);
    }
    /* Outputs whose every tap is real. */
    int64_t first = max64(0, min64(w->outputs, div_up(-w->first, w->stride)));
    int64_t room = w->inputs - kw - w->first;
    int64_t last = room < 0 ? first : max64(first, min64(w->outputs, room / w->stride + 1));
    sum_pixels(rows, kw, true, w, d, &s, 0, first, acc);
    sum_pixels(rows, kw, false, w, d, &s, first, last, acc);
    sum_pixels(rows, kw, true, w, d, &s, last, w->outputs, acc);
    UNROLL for (int r = 0; r < rows; r++)
    {
        UNROLL for (int k = 0; k < kw; k++) vec_store(d->sums[row + r] + k * d->w_tap + c, acc[r][k]);
    }
}

static void width_3(const axis_sweep *w, const gradient_any_args *d, int64_t c)
{
    int64_t row = 0;
    for (; row + 3 <= d->rows; row += 3) swept(3, 3, w, d, row, c);
    if (row + 2 <= d->rows) swept(2, 3, w, d, row, c), row += 2;
    if (row < d->rows) swept(1, 3, w, d, row, c);
}

static void width_5(const axis_sweep *w, const gradient_any_args *d, int64_t c)
{
    int64_t row = 0;
    for (; row + 2 <= d->rows; row += 2) swept(2, 5, w, d, row, c);
    if (row < d->rows) swept(1, 5, w, d, row, c);
}

static void width_7(const axis_sweep *w, const gradient_any_args *d, int64_t c)
{
    for (int64_t row = 0; row < d->rows; row++) swept(1, 7, w, d, row, c);
}

typedef void swept_kernel(const axis_sweep *w, const gradient_any_args *d, int64_t c);

/* One tap of one kernel row; four sums hide the latency and are joined in order. */
ALWAYS_INLINE void one_tap(const bool whole, vec_mask lanes, const gradient_any_args *d, const axis_segment *s,
                           int64_t row, const segment_tap *tap, int64_t c)
{
    const float *p = d->src[row] + tap->in * d->src_pixel + c,
                *diff = d->diff_dst + s->first * d->dst_pixel + c;
    float *sum = d->sums[row] + tap->tap * d->w_tap + c;
    int64_t step = s->in_step * d->src_pixel, x = 0;
    vec acc[4] = {vec_load_lanes(whole, sum, lanes), vec_zero(), vec_zero(), vec_zero()};
    for (; x + 4 <= s->count; x += 4) {
        UNROLL for (int i = 0; i < 4; i++, p += step, diff += d->dst_pixel) acc[i] =
            vec_fma(vec_load_lanes(whole, p, lanes), vec_load_lanes(whole, diff, lanes), acc[i]);
    }
    for (; x < s->count; x++, p += step, diff += d->dst_pixel)
        acc[0] = vec_fma(vec_load_lanes(whole, p, lanes), vec_load_lanes(whole, diff, lanes), acc[0]);
    vec all = vec_add(vec_add(acc[0], acc[1]), vec_add(acc[2], acc[3]));
    if (whole)
        vec_store(sum, all);
    else
        vec_store_mask(sum, lanes, all);
}

static void general(const axis_segments *x, const gradient_any_args *d, int64_t c)
{
    bool whole = c + VL <= d->channels;
    vec_mask lanes = vec_mask_first(min64(VL, d->channels - c));
    for (int64_t i = 0; i < x->count; i++)
        for (int64_t row = 0; row < d->rows; row++)
            for (int64_t k = 0; k < x->segments[i].tap_count; k++) {
                const axis_segment *s = &x->segments[i];
                if (whole)
                    one_tap(true, lanes, d, s, row, &s->taps[k], c);
                else
                    one_tap(false, lanes, d, s, row, &s->taps[k], c);
            }
}

void gradient_any(const axis_segments *x, const gradient_any_args *d)
{
    static swept_kernel *const by_width[8] = {[3] = width_3, [5] = width_5, [7] = width_7};
    const axis_sweep *w = &x->sweep;
    swept_kernel *kernel = w->taps < 8 ? by_width[w->taps] : NULL;
    int64_t c = 0;
    for (; c + VL <= d->channels; c += VL) {
        if (kernel != NULL)
            kernel(w, d, c);
        else
            general(x, d, c);
    }
    if (c < d->channels) general(x, d, c);
}
