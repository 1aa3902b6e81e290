/* Depthwise backward_weights, one row of diff_dst.
 *
 * For a vector of channels the sums of some kernel rows and up to DEPTHWISE_TAPS taps stay in registers while x
 * runs along the row: as many independent sums as hide the latency of the multiply-add, where the kernel has
 * them. Where neighbouring outputs share inputs (stride 1 or 2 in units of the distance between taps) a few
 * outputs' gradients are held as well and the source columns walked, each loaded once; else each tap is loaded.
 * What lies in the padding is left out. The last channels are masked. */
#include "../vec.h"
#include "kernels.h"

enum { MOST_ROWS = 3 };

/* The sums of `rows` kernel rows and kb taps, of one vector of channels. */
typedef struct {
    const float *src[MOST_ROWS]; /* source rows, at input `first` of the sweep's output 0 and the first tap */
    float *sums[MOST_ROWS];      /* at the first tap */
    const float *diff;           /* at output 0 */
    int64_t tap;                 /* the first one's number */
} sums_at;

/* Outputs j .. j+n-1. edge: columns may be in the padding. */
ALWAYS_INLINE void sum_columns(const int s, const int n, const int rows, const int kb, const bool edge,
                               const axis_sweep *w, const gradient_any_args *d, const sums_at *t, int64_t j,
                               vec acc[MOST_ROWS][DEPTHWISE_TAPS])
{
    const int64_t pixel = w->unit * d->src_pixel, column = j * s + t->tap - w->first_column;
    vec diff[DEPTHWISE_DIFFS];
    UNROLL for (int i = 0; i < n; i++) diff[i] = vec_load(t->diff + (j + i) * w->out_step * d->dst_pixel);
    UNROLL for (int r = 0; r < rows; r++)
    {
        const float *p = t->src[r] + j * s * pixel;
        UNROLL for (int i = 0; i < (n - 1) * s + kb; i++)
        {
            if (!edge || (uint64_t)(column + i) < (uint64_t)(w->end_column - w->first_column)) {
                vec v = vec_held(vec_load(p));
                UNROLL for (int k = 0; k < kb; k++)
                {
                    const int o = (i - k) / s;
                    if (i >= k && o * s == i - k && o < n) acc[r][k] = vec_fma(v, diff[o], acc[r][k]);
                }
            }
            p = pointer_held(p + pixel);
        }
    }
}

/* Output j alone, whatever the stride. */
ALWAYS_INLINE void sum_taps(const int rows, const int kb, const bool whole, vec_mask lanes, const axis_sweep *w,
                            const gradient_any_args *d, const sums_at *t, int64_t j,
                            vec acc[MOST_ROWS][DEPTHWISE_TAPS])
{
    vec diff = vec_load_lanes(whole, t->diff + j * w->out_step * d->dst_pixel, lanes);
    int64_t at = j * w->stride, in = w->first + at + t->tap * w->unit;
    UNROLL for (int k = 0; k < kb; k++)
    {
        if ((uint64_t)(in + k * w->unit) >= (uint64_t)w->inputs) continue;
        UNROLL for (int r = 0; r < rows; r++) acc[r][k] = vec_fma(
            vec_load_lanes(whole, t->src[r] + (at + k * w->unit) * d->src_pixel, lanes), diff, acc[r][k]);
    }
}

/* s: w->shared, or 0. */
ALWAYS_INLINE void sum_outputs(const int s, const int rows, const int kb, const bool whole, vec_mask lanes,
                               const axis_sweep *w, const gradient_any_args *d, const sums_at *t)
{
    const int n = DEPTHWISE_DIFFS;
    int64_t j = axis_sweep_before(w, d->x0), end = axis_sweep_before(w, d->x1);
    vec acc[MOST_ROWS][DEPTHWISE_TAPS];
    UNROLL for (int r = 0; r < rows; r++)
    {
        UNROLL for (int k = 0; k < kb; k++) acc[r][k] =
            vec_load_lanes(whole, t->sums[r] + k * w->tap_step * d->w_tap, lanes);
    }
    for (; s > 0 && j + n <= end; j += n) {
        int64_t first = j * s + t->tap;
        if (first >= w->first_column && first + (n - 1) * s + kb <= w->end_column)
            sum_columns(s, n, rows, kb, false, w, d, t, j, acc);
        else
            sum_columns(s, n, rows, kb, true, w, d, t, j, acc);
    }
    for (; j < end; j++) sum_taps(rows, kb, whole, lanes, w, d, t, j, acc);
    UNROLL for (int r = 0; r < rows; r++)
    {
        UNROLL for (int k = 0; k < kb; k++)
            vec_store_lanes(whole, t->sums[r] + k * w->tap_step * d->w_tap, lanes, acc[r][k]);
    }
}

/* Kernel rows that go together: as many as there are registers for, and with the last channels one. */
ALWAYS_INLINE int rows_together(const int kb) { return max64(1, min64(MOST_ROWS, DEPTHWISE_TAP_SUMS / kb)); }

/* Taps [k, k + kb) of all kernel rows. */
ALWAYS_INLINE void sum_rows(const int s, const int kb, const bool whole, vec_mask lanes, const axis_sweep *w,
                            const gradient_any_args *d, int64_t k, int64_t c)
{
    const int together = whole ? rows_together(kb) : 1;
    for (int64_t row = 0; row < d->rows;) {
        int64_t rows = min64(together, d->rows - row);
        sums_at t = {.diff = d->diff_dst + w->out_first * d->dst_pixel + c, .tap = k};
        for (int64_t r = 0; r < rows; r++) {
            t.src[r] = d->src[row + r] + (w->first + k * w->unit) * d->src_pixel + c;
            t.sums[r] = d->sums[row + r] + (w->first_tap + k * w->tap_step) * d->w_tap + c;
        }
        if (together >= 3 && rows == 3)
            sum_outputs(s, 3, kb, whole, lanes, w, d, &t);
        else if (together >= 2 && rows == 2)
            sum_outputs(s, 2, kb, whole, lanes, w, d, &t);
        else
            sum_outputs(s, 1, kb, whole, lanes, w, d, &t);
        row += rows;
    }
}

ALWAYS_INLINE void sum_vector(const int s, const bool whole, const axis_sweep *w, const gradient_any_args *d,
                              int64_t c)
{
    const vec_mask lanes = vec_mask_first(min64(VL, d->channels - c));
    int64_t k = 0;
    for (; k + DEPTHWISE_TAPS <= w->taps; k += DEPTHWISE_TAPS)
        sum_rows(s, DEPTHWISE_TAPS, whole, lanes, w, d, k, c);
    switch (w->taps - k) {
    case 1: sum_rows(s, 1, whole, lanes, w, d, k, c); break;
    case 2: sum_rows(s, 2, whole, lanes, w, d, k, c); break;
    case 3: sum_rows(s, 3, whole, lanes, w, d, k, c); break;
    case 4: sum_rows(s, 4, whole, lanes, w, d, k, c); break;
    case 5: sum_rows(s, 5, whole, lanes, w, d, k, c); break;
    case 6: sum_rows(s, 6, whole, lanes, w, d, k, c); break;
    default: break;
    }
}

typedef void vector_kernel(const axis_sweep *w, const gradient_any_args *d, int64_t c);

static void vector_any(const axis_sweep *w, const gradient_any_args *d, int64_t c)
{
    sum_vector(0, true, w, d, c);
}
static void vector_1(const axis_sweep *w, const gradient_any_args *d, int64_t c)
{
    sum_vector(1, true, w, d, c);
}
static void vector_2(const axis_sweep *w, const gradient_any_args *d, int64_t c)
{
    sum_vector(2, true, w, d, c);
}
static void vector_tail(const axis_sweep *w, const gradient_any_args *d, int64_t c)
{
    sum_vector(0, false, w, d, c);
}

void gradient_any(const axis_sweeps *x, const gradient_any_args *d)
{
    static vector_kernel *const kernels[] = {vector_any, vector_1, vector_2};
    for (int64_t i = 0; i < x->count; i++) {
        const axis_sweep *w = &x->sweep[i];
        vector_kernel *kernel = kernels[w->shared <= 2 ? w->shared : 0];
        int64_t c = 0;
        for (; c + VL <= d->channels; c += VL) kernel(w, d, c);
        if (c < d->channels) vector_tail(w, d, c);
    }
}
