/* Depthwise backward_weights, one row of diff_dst.
 *
 * For a vector of channels the sums of up to three kernel rows stay in registers while x runs along the row: at
 * least seven independent sums hide the latency of the multiply-add. Widths 3, 5 and 7 are compile-time
 * constants; other widths, the edges of a row and the last channels (masked) go tap by tap. */
#include "depthwise.h"

ALWAYS_INLINE vec load_lanes(const bool whole, const float *p, vec_mask lanes)
{
    return whole ? vec_load(p) : vec_load_mask(p, lanes);
}

/* rows x kw sums in registers, neighbouring taps, whole vectors. */
ALWAYS_INLINE void swept(const int rows, const int kw, const depthwise_sums *d, const axis_segment *s,
                         int64_t row, int64_t c)
{
    vec acc[3][7];
    const float *p[3];
    int64_t pixel = d->src_pixel, step = s->in_step * pixel;
    UNROLL for (int r = 0; r < rows; r++)
    {
        p[r] = d->src[row + r] + s->taps[0].in * pixel + c;
        const float *sum = d->sums[row + r] + s->taps[0].tap * d->w_tap + c;
        UNROLL for (int k = 0; k < kw; k++) acc[r][k] = vec_load(sum + k * d->w_tap);
    }
    const float *diff = d->diff_dst + s->first * d->dst_pixel + c;
    for (int64_t x = 0; x < s->count; x++, diff += d->dst_pixel) {
        vec v = vec_load(diff);
        UNROLL for (int r = 0; r < rows; r++)
        {
            UNROLL for (int k = 0; k < kw; k++) acc[r][k] = vec_fma(vec_load(p[r] + k * pixel), v, acc[r][k]);
            p[r] += step;
        }
    }
    UNROLL for (int r = 0; r < rows; r++)
    {
        float *sum = d->sums[row + r] + s->taps[0].tap * d->w_tap + c;
        UNROLL for (int k = 0; k < kw; k++) vec_store(sum + k * d->w_tap, acc[r][k]);
    }
}

/* One tap of one kernel row; four sums hide the latency and are joined in order. */
ALWAYS_INLINE void one_tap(const bool whole, vec_mask lanes, const depthwise_sums *d, const axis_segment *s,
                           int64_t row, const segment_tap *tap, int64_t c)
{
    const float *p = d->src[row] + tap->in * d->src_pixel + c,
                *diff = d->diff_dst + s->first * d->dst_pixel + c;
    float *sum = d->sums[row] + tap->tap * d->w_tap + c;
    int64_t step = s->in_step * d->src_pixel, x = 0;
    vec acc[4] = {load_lanes(whole, sum, lanes), vec_zero(), vec_zero(), vec_zero()};
    for (; x + 4 <= s->count; x += 4) {
        UNROLL for (int i = 0; i < 4; i++, p += step, diff += d->dst_pixel) acc[i] =
            vec_fma(load_lanes(whole, p, lanes), load_lanes(whole, diff, lanes), acc[i]);
    }
    for (; x < s->count; x++, p += step, diff += d->dst_pixel)
        acc[0] = vec_fma(load_lanes(whole, p, lanes), load_lanes(whole, diff, lanes), acc[0]);
    vec all = vec_add(vec_add(acc[0], acc[1]), vec_add(acc[2], acc[3]));
    if (whole)
        vec_store(sum, all);
    else
        vec_store_mask(sum, lanes, all);
}

static void general(const depthwise_sums *d, const axis_segment *s, int64_t c)
{
    bool whole = c + VL <= d->channels;
    vec_mask lanes = vec_mask_first(min64(VL, d->channels - c));
    for (int64_t row = 0; row < d->rows; row++)
        for (int64_t k = 0; k < s->tap_count; k++) {
            if (whole)
                one_tap(true, lanes, d, s, row, &s->taps[k], c);
            else
                one_tap(false, lanes, d, s, row, &s->taps[k], c);
        }
}

static void width_3(const depthwise_sums *d, const axis_segment *s, int64_t c)
{
    int64_t row = 0;
    for (; row + 3 <= d->rows; row += 3) swept(3, 3, d, s, row, c);
    if (row + 2 <= d->rows) swept(2, 3, d, s, row, c), row += 2;
    if (row < d->rows) swept(1, 3, d, s, row, c);
}

static void width_5(const depthwise_sums *d, const axis_segment *s, int64_t c)
{
    int64_t row = 0;
    for (; row + 2 <= d->rows; row += 2) swept(2, 5, d, s, row, c);
    if (row < d->rows) swept(1, 5, d, s, row, c);
}

static void width_7(const depthwise_sums *d, const axis_segment *s, int64_t c)
{
    for (int64_t row = 0; row < d->rows; row++) swept(1, 7, d, s, row, c);
}

typedef void whole_kernel(const depthwise_sums *d, const axis_segment *s, int64_t c);

void depthwise_sums_run(const axis_segments *x, const depthwise_sums *d)
{
    static whole_kernel *const by_width[8] = {[3] = width_3, [5] = width_5, [7] = width_7};
    for (int64_t i = 0; i < x->count; i++) {
        const axis_segment *s = &x->segments[i];
        whole_kernel *kernel = s->dense && s->tap_count < 8 ? by_width[s->tap_count] : NULL;
        if (kernel == NULL) kernel = general;
        int64_t c = 0;
        for (; c + VL <= d->channels; c += VL) kernel(d, s, c);
        if (c < d->channels) general(d, s, c);
    }
}
