/* A sum over pixels as a product of rows (gemm_fip.h), for which both operands are laid out anew.
 *
 * for block of pixels (up to 1024, the product's k):
 *   src, transposed: a row of scaled pixels per input channel                parallel over channels
 *   diff_dst: panels of scaled columns, as weights are packed                parallel over panels
 *   for panel, for strip of inputs: register tile, diff_weights (+)=         parallel over panels and strips
 *
 * What the copies cost falls with the channels: a twentieth at 256. The sum over pixels of one weight has one
 * order whatever the threads. */
#include "fip_wgrad.h"

#include <string.h>

enum { MOST_PIXELS = 1024, ROW_GAP = 16 };

/* Floats from one transposed row to the next. */
static int64_t row_stride(const fip_wgrad *w) { return round_up(w->block, 8) + ROW_GAP; }

bool fip_wgrad_fits(const conv_problem *p)
{
    for (int i = 0; i < CONV_AXES; i++)
        if (p->axis[i].stride != 1 || p->axis[i].pad_before != 0 || p->axis[i].in != conv_out(&p->axis[i]))
            return false;
    return p->groups == 1;
}

void fip_wgrad_plan(const conv_problem *p, const conv_context *ctx, fip_wgrad *w)
{
    *w = (fip_wgrad){.inputs = p->ic, .outputs = p->oc, .pixels = p->mb, .nv = fip_panel_vectors(p->oc)};
    for (int i = 0; i < CONV_AXES; i++) w->pixels *= p->axis[i].in;
    w->block = div_up(w->pixels, div_up(w->pixels, MOST_PIXELS));
    w->blocks = div_up(w->pixels, w->block);
    w->strips = div_up(w->inputs, FIP_ROWS);
    w->panels = div_up(w->outputs, (int64_t)w->nv * VL);
    int64_t panel_floats = gemm_panels_floats(fip_panel_rows(w->block, w->block), w->outputs);
    w->rows_floats = (size_t)round_up(w->inputs * row_stride(w), 16);
    w->all_floats = w->rows_floats + (size_t)panel_floats;
    w->far = w->all_floats * sizeof(float) > ctx->l2;
}

/* ---- operands */

/* to[8][8] = the transpose of from[8][8]. */
ALWAYS_INLINE void transpose_8x8(const float *from, int64_t from_stride, float *to, int64_t to_stride)
{
    __m256 in[8], pair[8], four[8];
    UNROLL for (int i = 0; i < 8; i++) in[i] = _mm256_loadu_ps(from + i * from_stride);
    UNROLL for (int i = 0; i < 8; i += 2)
    {
        pair[i] = _mm256_unpacklo_ps(in[i], in[i + 1]);
        pair[i + 1] = _mm256_unpackhi_ps(in[i], in[i + 1]);
    }
    UNROLL for (int i = 0; i < 8; i += 4)
    {
        four[i] = _mm256_shuffle_ps(pair[i], pair[i + 2], 0x44);
        four[i + 1] = _mm256_shuffle_ps(pair[i], pair[i + 2], 0xee);
        four[i + 2] = _mm256_shuffle_ps(pair[i + 1], pair[i + 3], 0x44);
        four[i + 3] = _mm256_shuffle_ps(pair[i + 1], pair[i + 3], 0xee);
    }
    UNROLL for (int i = 0; i < 4; i++)
    {
        _mm256_storeu_ps(to + i * to_stride, _mm256_permute2f128_ps(four[i], four[i + 4], 0x20));
        _mm256_storeu_ps(to + (i + 4) * to_stride, _mm256_permute2f128_ps(four[i], four[i + 4], 0x31));
    }
}

/* Rows of channels [c, end), at most 8, of `pixels` pixels. */
static void make_rows(const fip_wgrad *w, const float *src, int64_t pixels, int64_t c, int64_t end, float *rows)
{
    int64_t stride = row_stride(w), i = 0;
    for (; end - c == 8 && i + 8 <= pixels; i += 8)
        transpose_8x8(src + i * w->inputs + c, w->inputs, rows + c * stride + i, stride);
    for (; i < pixels; i++)
        for (int64_t j = c; j < end; j++) rows[j * stride + i] = src[i * w->inputs + j];
    for (int64_t j = c; j < end; j++) fip_prepare(rows + j * stride, rows + j * stride, pixels);
}

static void lay_out(const fip_wgrad *w, const float *src, const float *diff_dst, int64_t pixels, float *rows,
                    float *panels, int thread, int threads)
{
    gemm_pack_args pack = {.b = diff_dst,
                           .row_stride = w->outputs,
                           .column_stride = 1,
                           .rows = pixels,
                           .k = pixels,
                           .n = w->outputs,
                           .nv = w->nv,
                           .panels = panels};
    int64_t begin, end;
    share(div_up(w->inputs, 8), thread, threads, &begin, &end);
    for (int64_t i = begin; i < end; i++) make_rows(w, src, pixels, i * 8, min64(w->inputs, i * 8 + 8), rows);
    share(w->panels, thread, threads, &begin, &end);
    fip_pack(&pack, pixels, begin, end);
}

/* ---- product */

static int64_t strip_begin(const fip_wgrad *w, int64_t strip)
{
    int64_t begin, end;
    share(w->inputs, strip, w->strips, &begin, &end);
    return begin;
}

/* Units (panel, strip), panel slowest: of one panel a thread has strips that follow one another. */
static void multiply(const fip_wgrad *w, int64_t pixels, const float *rows, const float *panels, bool accumulate,
                     float *diff_weights, int thread, int threads)
{
    int64_t begin, end, width = (int64_t)w->nv * VL, panel_rows = fip_panel_rows(pixels, pixels);
    share(w->panels * w->strips, thread, threads, &begin, &end);
    for (int64_t u = begin, next; u < end; u = next) {
        int64_t panel = u / w->strips, column = panel * width, n = min64(width, w->outputs - column);
        next = min64(end, (panel + 1) * w->strips);
        int64_t first = strip_begin(w, u % w->strips), last = strip_begin(w, (next - 1) % w->strips + 1);
        gemm_rows_args g = {.rows = rows + first * row_stride(w),
                            .row_stride = row_stride(w),
                            .panel = panels + column * panel_rows,
                            .taps = 1,
                            .k = pixels,
                            .dst = diff_weights + first * w->outputs + column,
                            .dst_stride = w->outputs,
                            .n = n,
                            .accumulate = accumulate};
        if (w->far && next < end)
            g.ahead = g.panel + width * panel_rows, g.ahead_stride = pixels, g.ahead_rows = width;
        gemm_rows_even(g, last - first, (int)div_up(n, VL), FIP_ROWS, fip_rows);
    }
}

void fip_wgrad_run(const fip_wgrad *w, const float *src, const float *diff_dst, float *diff_weights,
                   bool accumulate, float *scratch, int thread, int threads)
{
    float *rows = scratch, *panels = scratch + w->rows_floats;
    for (int64_t b = 0; b < w->blocks; b++) {
        int64_t first = b * w->block, pixels = min64(w->block, w->pixels - first);
        lay_out(w, src + first * w->inputs, diff_dst + first * w->outputs, pixels, rows, panels, thread, threads);
#pragma omp barrier
        multiply(w, pixels, rows, panels, accumulate || b > 0, diff_weights, thread, threads);
        if (b + 1 == w->blocks) break;
#pragma omp barrier
    }
}
