/* Depthwise 3x3 backward_weights over a band of output rows, a vector of channels at a time.
 *
 * The band is walked column by column. Of diff_dst the columns that one source column meets, three, stay in
 * registers with the nine sums: a source vector is loaded once for up to nine multiply-adds. A column's
 * slot is its number modulo three, hence the steps by threes. Columns in the padding are zeros;
 * source rows there, at most the first and the last, are left out. */
#include "../vec.h"
#include "kernels.h"

typedef struct {
    vec sums[3][3];                                        /* [kernel row][tap] */
    vec diff[BAND_ROWS][3];                                /* column o of row i at [i][o % 3] */
    const float *src[BAND_ROWS + 2], *diff_dst[BAND_ROWS]; /* at the column to come */
} band_walk;

/* Output column o enters, and the source column x that meets it first, with the two before it. slot: o % 3;
 * inside: both exist. */
ALWAYS_INLINE void step(const int slot, const bool inside, const int first, const int last, const axis_sweep *w,
                        const stencil3_gradient4_args *d, int64_t o, band_walk *b)
{
    bool enters = inside || o < w->outputs, meets = inside || (uint64_t)(o + w->first) < (uint64_t)w->inputs;
    if (d->ahead) {
        UNROLL for (int i = 0; i < BAND_ROWS; i++)
        {
            if (2 + i < last) prefetch(b->src[2 + i] + BAND_ROWS * d->src_row, VL);
            prefetch(b->diff_dst[i] + BAND_ROWS * d->dst_row, VL);
        }
    }
    UNROLL for (int i = 0; i < BAND_ROWS; i++)
    {
        b->diff[i][slot] = enters ? vec_load(b->diff_dst[i]) : vec_zero();
        b->diff_dst[i] += d->dst_pixel;
    }
    UNROLL for (int r = first; r < last; r++)
    {
        if (meets) {
            vec v = vec_held(vec_load(b->src[r]));
            UNROLL for (int i = 0; i < BAND_ROWS; i++)
            {
                if (r - i < 0 || r - i > 2) continue;
                UNROLL for (int k = 0; k < 3; k++) b->sums[r - i][k] =
                    vec_fma(v, b->diff[i][(slot + 3 - k) % 3], b->sums[r - i][k]);
            }
        }
        b->src[r] += d->src_pixel;
    }
}

/* Band `number` of the column, of which the source rows [first, last) exist. */
ALWAYS_INLINE void band(const int first, const int last, const axis_sweep *w, const stencil3_gradient4_args *d,
                        int64_t number, int64_t c, band_walk *b)
{
    UNROLL for (int i = 0; i < BAND_ROWS; i++)
    {
        UNROLL for (int k = 0; k < 3; k++) b->diff[i][k] = vec_zero();
        b->diff_dst[i] = d->diff_dst[i] + number * BAND_ROWS * d->dst_row + c;
    }
    UNROLL for (int r = first; r < last; r++) b->src[r] =
        (number == 0 ? d->src[r] : d->src[1] + (number * BAND_ROWS + r - 1) * d->src_row) +
        w->first * d->src_pixel + c;
    for (int64_t o = 0; o < w->outputs + 2; o += 3) {
        if (o + w->first >= 0 && o + w->first + 2 < w->inputs && o + 2 < w->outputs) {
            UNROLL for (int s = 0; s < 3; s++) step(s, true, first, last, w, d, o + s, b);
        } else {
            UNROLL for (int s = 0; s < 3; s++) step(s, false, first, last, w, d, o + s, b);
        }
    }
}

void stencil3_gradient4(const axis_sweeps *x, const stencil3_gradient4_args *d)
{
    enum { ALL = BAND_ROWS + 2 };
    const axis_sweep *w = x->sweep;
    for (int64_t c = 0; c < d->channels; c += VL) {
        band_walk b;
        UNROLL for (int r = 0; r < 3; r++)
        {
            UNROLL for (int k = 0; k < 3; k++) b.sums[r][k] = vec_load(d->sums[r] + k * d->w_tap + c);
        }
        for (int64_t i = 0; i < d->bands; i++) {
            const bool head = i == 0 && d->head, tail = i == d->bands - 1 && d->tail;
            if (head && tail)
                band(1, ALL - 1, w, d, i, c, &b);
            else if (head)
                band(1, ALL, w, d, i, c, &b);
            else if (tail)
                band(0, ALL - 1, w, d, i, c, &b);
            else
                band(0, ALL, w, d, i, c, &b);
        }
        UNROLL for (int r = 0; r < 3; r++)
        {
            UNROLL for (int k = 0; k < 3; k++) vec_store(d->sums[r] + k * d->w_tap + c, b.sums[r][k]);
        }
    }
}
