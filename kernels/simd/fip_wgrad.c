/* A sum over pixels as a product of rows (gemm_fip.h), for which both operands are laid out anew.
 *
 * for part of the inputs, part of the outputs:             parallel, as many as threads, nearly square
 *   for block of pixels (up to 528, the product's k):
 *     src, transposed: a row of scaled pixels per input
 *     diff_dst: panels of scaled columns, as weights are packed
 *     for panel, for strip of inputs: register tile, diff_weights (+)=
 *
 * Each thread lays out what it needs by itself: what another core has just written comes slower than that. What
 * that costs falls with the channels. The sum over pixels of one weight has one order whatever the parts. */
#include "fip_wgrad.h"

enum { MOST_PIXELS = 22 * FIP_GROUP, LINE = 16 }; /* floats of a cache line */

/* Floats from one transposed row to the next: an odd number of cache lines, or rows would crowd few sets. */
static int64_t row_stride(const fip_wgrad *w) { return (div_up(w->block + FIP_ROW_TAIL, LINE) | 1) * LINE; }

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
    w->lines = div_up(w->inputs, LINE);
    w->panels = div_up(w->outputs, (int64_t)w->nv * VL);
    conv_sizes sizes = conv_problem_sizes(p);
    w->far = (size_t)(sizes.src + sizes.dst) * sizeof(float) > ctx->l2 * (size_t)ctx->threads;
    int64_t least = INT64_MAX;
    for (int64_t parts = 1; parts <= ctx->threads; parts++) {
        int64_t across = ctx->threads / parts;
        int64_t channels = div_up(w->lines, parts) * LINE + div_up(w->panels, across) * w->nv * VL;
        if (ctx->threads % parts != 0 || channels >= least) continue;
        least = channels;
        w->input_parts = parts;
        w->output_parts = across;
    }
    int64_t panels = div_up(w->panels, w->output_parts);
    w->rows_floats = round_up(div_up(w->lines, w->input_parts) * LINE * row_stride(w), LINE);
    w->thread_floats = (size_t)(w->rows_floats + panels * w->nv * VL * fip_panel_rows(w->block, w->block));
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

/* Rows of channels [c, end), at most a cache line, of `pixels` pixels. */
static void make_rows(const fip_wgrad *w, const float *src, int64_t pixels, int64_t c, int64_t end, float *rows)
{
    int64_t stride = row_stride(w), i = 0;
    for (; end - c == LINE && i + 8 <= pixels; i += 8) {
        const float *from = src + i * w->inputs + c;
        transpose_8x8(from, w->inputs, rows + c * stride + i, stride);
        transpose_8x8(from + 8, w->inputs, rows + (c + 8) * stride + i, stride);
    }
    for (; i < pixels; i++)
        for (int64_t j = c; j < end; j++) rows[j * stride + i] = src[i * w->inputs + j];
    for (int64_t j = c; j < end; j++) fip_prepare(rows + j * stride, rows + j * stride, pixels);
}

/* ---- one part */

typedef struct {
    int64_t line, line_end, panel, panel_end; /* of inputs, of outputs */
} part;

static void lay_out(const fip_wgrad *w, const part *t, const float *src, const float *diff_dst, int64_t pixels,
                    float *rows, float *panels)
{
    int64_t first = t->line * LINE, width = (int64_t)w->nv * VL;
    for (int64_t c = first; c < min64(w->inputs, t->line_end * LINE); c += LINE)
        make_rows(w, src, pixels, c, min64(w->inputs, c + LINE), rows - first * row_stride(w));
    gemm_pack_args pack = {.b = diff_dst,
                           .row_stride = w->outputs,
                           .column_stride = 1,
                           .rows = pixels,
                           .k = pixels,
                           .n = w->outputs,
                           .nv = w->nv,
                           .panels = panels - t->panel * width * fip_panel_rows(pixels, pixels)};
    fip_pack(&pack, pixels, t->panel, t->panel_end);
}

/* next: diff_dst of the next block, to be asked for meanwhile; NULL: nothing. */
static void multiply(const fip_wgrad *w, const part *t, int64_t pixels, const float *rows, const float *panels,
                     bool accumulate, const float *next, float *diff_weights)
{
    int64_t width = (int64_t)w->nv * VL, panel_rows = fip_panel_rows(pixels, pixels);
    int64_t first = t->line * LINE, count = min64(w->inputs, t->line_end * LINE) - first;
    for (int64_t j = t->panel; j < t->panel_end && count > 0; j++) {
        int64_t column = j * width, n = min64(width, w->outputs - column);
        gemm_rows_args g = {.rows = rows,
                            .row_stride = row_stride(w),
                            .panel = panels + (column - t->panel * width) * panel_rows,
                            .taps = 1,
                            .k = pixels,
                            .dst = diff_weights + first * w->outputs + column,
                            .dst_stride = w->outputs,
                            .n = n,
                            .accumulate = accumulate};
        /* As many rows of k floats as there are columns are this panel's share of the next block. */
        if (next != NULL) g.ahead = next + column * pixels, g.ahead_stride = pixels, g.ahead_rows = n;
        gemm_rows_even(g, count, (int)div_up(n, VL), FIP_ROWS, fip_rows);
    }
}

void fip_wgrad_run(const fip_wgrad *w, const float *src, const float *diff_dst, float *diff_weights,
                   bool accumulate, float *scratch, int thread, int threads)
{
    float *rows = scratch, *panels = scratch + w->rows_floats;
    for (int64_t i = thread; i < w->input_parts * w->output_parts; i += threads) {
        part t;
        share(w->lines, i / w->output_parts, w->input_parts, &t.line, &t.line_end);
        share(w->panels, i % w->output_parts, w->output_parts, &t.panel, &t.panel_end);
        for (int64_t b = 0; b < w->blocks; b++) {
            int64_t p0 = b * w->block, pixels = min64(w->block, w->pixels - p0);
            const float *next = w->far && b + 1 < w->blocks ? diff_dst + (p0 + pixels) * w->outputs : NULL;
            lay_out(w, &t, src + p0 * w->inputs, diff_dst + p0 * w->outputs, pixels, rows, panels);
            multiply(w, &t, pixels, rows, panels, accumulate || b > 0, next, diff_weights);
        }
    }
}
