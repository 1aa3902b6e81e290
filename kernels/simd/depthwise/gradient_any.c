/* Depthwise backward_weights, one row of diff_dst.
 *
 * For a vector of channels the sums of some kernel rows and up to DEPTHWISE_TAPS taps stay in registers while x
 * runs along the row: as many independent sums as hide the latency of the multiply-add, where the kernel has
 * them. Where neighbouring outputs are as far apart as taps, a few outputs' gradients are held as well and the
 * source columns walked, each loaded once; else each tap is loaded.
 * What lies in the padding is left out. The last channels are masked. */
#include "../vec.h"
#include "kernels.h"

enum { MOST_ROWS = 3 };
/* Floats from what is read to what is prefetched meanwhile, of neighbouring channels. */
enum { AHEAD = 8 * CACHE_LINE };

/* Outputs [j, end) of a sweep, and taps from number `tap` on: all of those are real for outputs
 * [inner, inner_end). Of channels that fill no vector the lanes. */
typedef struct {
    const axis_sweep *w;
    const gradient_any_args *d;
    int64_t j, end, tap, inner, inner_end;
    vec_mask lanes;
} outputs;

/* The sums of `rows` kernel rows and kb taps, of one vector of channels. */
typedef struct {
    const float *src[MOST_ROWS]; /* source rows, at input `first` of the sweep's output 0 and the first tap */
    float *sums[MOST_ROWS];      /* at the first tap */
    const float *diff;           /* at output 0 */
} sums_at;

/* n outputs from j on, a unit apart. rim: columns may be in the padding that not all n outputs read. */
ALWAYS_INLINE void sum_columns(const int rows, const int kb, const bool rim, const outputs *o, const sums_at *t,
                               int64_t j, vec acc[MOST_ROWS][DEPTHWISE_TAPS])
{
    const int n = DEPTHWISE_DIFFS;
    const axis_sweep *w = o->w;
    const int64_t pixel = w->unit * o->d->src_pixel, diff_pixel = w->out_step * o->d->dst_pixel;
    const int64_t column = j + o->tap - w->first_column;
    const float *at = t->diff + j * diff_pixel;
    if (o->d->ahead) {
        UNROLL for (int i = 0; i < n; i++) prefetch(at + i * diff_pixel + AHEAD, VL);
        UNROLL for (int i = kb - 1; i < n + kb - 1; i++) prefetch(t->src[0] + (j + i) * pixel + AHEAD, VL);
    }
    vec diff[DEPTHWISE_DIFFS];
    UNROLL for (int i = 0; i < n; i++) diff[i] = vec_load(at + i * diff_pixel);
    UNROLL for (int r = 0; r < rows; r++)
    {
        const float *p = t->src[r] + j * pixel;
        UNROLL for (int i = 0; i < n + kb - 1; i++)
        {
            const bool unsure = rim && (i < kb - 1 || i > n - 1);
            if (!unsure || (uint64_t)(column + i) < (uint64_t)(w->end_column - w->first_column)) {
                vec v = vec_held(vec_load(p));
                UNROLL for (int k = 0; k < kb; k++) if (i >= k && i - k < n) acc[r][k] =
                    vec_fma(v, diff[i - k], acc[r][k]);
            }
            p = pointer_held(p + pixel);
        }
    }
}

/* Outputs [j, end) one by one, whatever the stride. edge: taps may be in the padding. */
ALWAYS_INLINE void sum_taps(const int rows, const int kb, const bool edge, const bool whole, const outputs *o,
                            const sums_at *t, int64_t j, int64_t end, vec acc[MOST_ROWS][DEPTHWISE_TAPS])
{
    const axis_sweep *w = o->w;
    const vec_mask lanes = o->lanes;
    const int64_t pixel = o->d->src_pixel, step = w->unit * pixel, diff_step = w->out_step * o->d->dst_pixel;
    int64_t in = w->first + j * w->stride + o->tap * w->unit, at = j * w->stride * pixel;
    const float *diff = t->diff + j * diff_step;
    for (; j < end; j++, in += w->stride, at += w->stride * pixel, diff += diff_step) {
        const vec v = vec_load_lanes(whole, diff, lanes);
        UNROLL for (int r = 0; r < rows; r++)
        {
            const float *p = t->src[r] + at;
            UNROLL for (int k = 0; k < kb; k++) if (!edge || (uint64_t)(in + k * w->unit) < (uint64_t)w->inputs)
                acc[r][k] = vec_fma(vec_load_lanes(whole, p + k * step, lanes), v, acc[r][k]);
        }
    }
}

/* shared: outputs are a unit apart. */
ALWAYS_INLINE void sum_outputs(const bool shared, const int rows, const int kb, const bool whole,
                               const outputs *o, const sums_at *t)
{
    const vec_mask lanes = o->lanes;
    const int n = DEPTHWISE_DIFFS;
    const int64_t step = o->w->tap_step * o->d->w_tap;
    int64_t j = o->j;
    vec acc[MOST_ROWS][DEPTHWISE_TAPS];
    UNROLL for (int r = 0; r < rows; r++)
    {
        UNROLL for (int k = 0; k < kb; k++) acc[r][k] = vec_load_lanes(whole, t->sums[r] + k * step, lanes);
    }
    while (shared && j < o->end) {
        const bool tile = j + n <= o->end;
        if (tile && j >= o->inner && j + n <= o->inner_end) {
            sum_columns(rows, kb, false, o, t, j, acc);
            j += n;
        } else if (tile && j > o->inner - kb && j + n < o->inner_end + kb) {
            sum_columns(rows, kb, true, o, t, j, acc);
            j += n;
        } else {
            sum_taps(rows, kb, true, whole, o, t, j, j + 1, acc);
            j++;
        }
    }
    if (!shared) {
        int64_t inner = max64(j, min64(o->end, o->inner)), past = max64(inner, min64(o->end, o->inner_end));
        sum_taps(rows, kb, true, whole, o, t, j, inner, acc);
        sum_taps(rows, kb, false, whole, o, t, inner, past, acc);
        sum_taps(rows, kb, true, whole, o, t, past, o->end, acc);
    }
    UNROLL for (int r = 0; r < rows; r++)
    {
        UNROLL for (int k = 0; k < kb; k++) vec_store_lanes(whole, t->sums[r] + k * step, lanes, acc[r][k]);
    }
}

typedef void sums_kernel(const outputs *o, const sums_at *t);

/* One that has more sums than registers is never called. */
#define SUMS(kb, rows)                                                                                         \
    static void taps_##kb##_##rows(const outputs *o, const sums_at *t)                                         \
    {                                                                                                          \
        if (rows == 1 || rows * kb <= DEPTHWISE_TAP_SUMS) sum_outputs(false, rows, kb, true, o, t);            \
    }                                                                                                          \
    static void columns_##kb##_##rows(const outputs *o, const sums_at *t)                                      \
    {                                                                                                          \
        if (rows == 1 || rows * kb <= DEPTHWISE_TAP_SUMS) sum_outputs(true, rows, kb, true, o, t);             \
    }
#define SUMS_OF(kb)                                                                                            \
    SUMS(kb, 1)                                                                                                \
    SUMS(kb, 2)                                                                                                \
    SUMS(kb, 3)                                                                                                \
    static void masked_##kb(const outputs *o, const sums_at *t) { sum_outputs(false, 1, kb, false, o, t); }
SUMS_OF(1)
SUMS_OF(2)
SUMS_OF(3)
SUMS_OF(4)
SUMS_OF(5)
SUMS_OF(6)
SUMS_OF(7)

/* By number of taps; how the row is walked; number of kernel rows. */
#define KERNELS_OF(kb)                                                                                         \
    [kb] = {{taps_##kb##_1, taps_##kb##_2, taps_##kb##_3},                                                     \
            {columns_##kb##_1, columns_##kb##_2, columns_##kb##_3},                                            \
            {masked_##kb}},
typedef enum { BY_TAP, BY_COLUMN, MASKED, WALKS } row_walk_kind;
static sums_kernel *const kernels[DEPTHWISE_TAPS + 1][WALKS][MOST_ROWS] = {
    KERNELS_OF(1) KERNELS_OF(2) KERNELS_OF(3) KERNELS_OF(4) KERNELS_OF(5) KERNELS_OF(6) KERNELS_OF(7)};

/* Taps [o->tap, o->tap + kb) of all kernel rows, of which as many go together as there are registers for, evenly. */
static void sum_rows(row_walk_kind kind, int64_t kb, const outputs *o, int64_t c)
{
    const axis_sweep *w = o->w;
    const gradient_any_args *d = o->d;
    const int64_t src = (w->first + o->tap * w->unit) * d->src_pixel + c;
    const int64_t sum = (w->first_tap + o->tap * w->tap_step) * d->w_tap + c;
    const int64_t together = kind == MASKED ? 1 : max64(1, min64(MOST_ROWS, DEPTHWISE_TAP_SUMS / kb));
    for (int64_t row = 0, rows; row < d->rows; row += rows) {
        rows = div_up(d->rows - row, div_up(d->rows - row, together));
        sums_at t = {.diff = d->diff_dst + w->out_first * d->dst_pixel + c};
        for (int64_t r = 0; r < rows; r++) {
            t.src[r] = d->src[row + r] + src;
            t.sums[r] = d->sums[row + r] + sum;
        }
        kernels[kb][kind][rows - 1](o, &t);
    }
}

void gradient_any(const axis_sweeps *x, const gradient_any_args *d)
{
    for (int64_t i = 0; i < x->count; i++) {
        const axis_sweep *w = &x->sweep[i];
        outputs o = {.w = w,
                     .d = d,
                     .j = axis_sweep_before(w, d->x0),
                     .end = axis_sweep_before(w, d->x1),
                     .inner = w->inner,
                     .inner_end = w->inner_end,
                     .lanes = vec_mask_first(VL)};
        for (int64_t c = 0; c < d->channels; c += VL) {
            row_walk_kind kind = w->shared == 1 ? BY_COLUMN : BY_TAP;
            if (c + VL > d->channels) {
                kind = MASKED;
                o.lanes = vec_mask_first(d->channels - c);
            }
            for (int64_t k = 0, kb; k < w->taps; k += kb) {
                kb = min64(DEPTHWISE_TAPS, w->taps - k);
                o.tap = k;
                if (kb < w->taps) axis_sweep_inner(w, k, kb, &o.inner, &o.inner_end);
                sum_rows(kind, kb, &o, c);
            }
        }
    }
}
