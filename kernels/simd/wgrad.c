/* Columns product of backward_weights.
 *
 * Loop order of a thread: chunk of pixels, channel group, block of pixels, panel of outputs, strip of inputs,
 * tap; the register tile [inputs][outputs] sums over the block's pixels, run by run (a run: the valid part of a
 * row). Wide channels are copied first: inputs into strips as wide as a tile (read once per tap from L1/L2),
 * outputs into panels (L2); in place their rows would lie far apart, in few cache sets and many pages. Units
 * (panel, strip, tap) are dealt out in equal contiguous shares; where weights are too small to feed many cores,
 * fixed chunks of pixels sum apart and meet in an ordered tree. A first layer's taps are put in line, one tap
 * of taps*inputs channels. */
#include "wgrad.h"

#include "reduce.h"

enum {
    SHORT_K = 8,       /* channels below which taps are put in line */
    NARROW = 256,      /* channels up to which rows are read in place */
    ENOUGH_UNITS = 96, /* tiles that keep any number of threads busy */
    CHUNK_PIXELS = 256,
    LEAST_PIXELS = 128,
    MOST_PIXELS = 2048
};

/* ---- blocks of pixels: whole images, or rows of one */

typedef struct {
    int64_t image, images; /* first, count */
    int64_t y0, y1;        /* output rows of each image */
    int64_t iy0, iy1;      /* input rows they read */
} pixel_block;

static pixel_block block_at(const wgrad *w, int64_t index)
{
    const conv_axis *h = &w->problem.axis[CONV_H];
    pixel_block b = {.y1 = conv_out(h), .iy1 = h->in};
    if (w->row_blocks == 1) {
        b.image = index * w->images;
        b.images = min64(w->images, w->problem.mb - b.image);
        return b;
    }
    b.image = index / w->row_blocks;
    b.images = 1;
    share(conv_out(h), index % w->row_blocks, w->row_blocks, &b.y0, &b.y1);
    b.iy0 = max64(0, min64(b.y0 * h->stride - h->pad_before, h->in));
    b.iy1 = max64(b.iy0, min64(h->in, (b.y1 - 1) * h->stride - h->pad_before + conv_effective_kernel(h)));
    return b;
}

static int64_t strip_begin(const wgrad *w, int64_t strip)
{
    int64_t begin, end;
    share(w->height, strip, w->strips, &begin, &end);
    return begin;
}

/* ---- plan */

static void choose_blocks(const conv_problem *p, const conv_context *ctx, wgrad *w)
{
    int64_t out = conv_out(&p->axis[CONV_H]) * conv_out(&p->axis[CONV_W]);
    int64_t l2 = (int64_t)(ctx->l2 / sizeof(float)), reuse = min64(w->lower ? 1 : w->taps, 4);
    int64_t tiles = w->groups * w->panels * w->strips * (w->lower ? 1 : w->taps);
    int64_t pixels = max64(LEAST_PIXELS, min64(MOST_PIXELS, l2 / 2 * reuse / w->height));
    w->chunks = max64(1, min64(div_up(ENOUGH_UNITS, tiles), p->mb * out / CHUNK_PIXELS));
    pixels = min64(pixels, div_up(p->mb * out, w->chunks));
    w->images = max64(1, pixels / out);
    w->row_blocks = min64(conv_out(&p->axis[CONV_H]), div_up(out, pixels));
    w->blocks = w->row_blocks > 1 ? p->mb * w->row_blocks : div_up(p->mb, w->images);
    w->chunks = min64(w->chunks, w->blocks);
}

static void size_scratch(const conv_problem *p, wgrad *w)
{
    const conv_axis *x = &p->axis[CONV_W];
    int64_t in_rows = 0, out_rows = 0;
    for (int64_t i = 0; i < w->blocks; i++) {
        pixel_block b = block_at(w, i);
        in_rows = max64(in_rows, b.images * (b.iy1 - b.iy0));
        out_rows = max64(out_rows, b.images * (b.y1 - b.y0));
    }
    int64_t out_pixels = out_rows * conv_out(x);
    if (w->lower)
        w->a_floats = out_pixels * w->height;
    else if (w->copy)
        w->a_floats = in_rows * x->in * w->height;
    if (w->copy) w->b_floats = out_pixels * w->nv * VL;
    if (w->a_floats > 0) w->a_floats = round_up(w->a_floats, VL) + w->strips * VL;
    w->rows = out_rows;
    int64_t run_bytes = w->taps * (out_rows * (int64_t)sizeof(gemm_run) + (int64_t)sizeof(int64_t));
    w->run_floats = round_up(run_bytes / (int64_t)sizeof(float), VL);
    w->thread_floats = (size_t)(w->a_floats + w->b_floats + w->run_floats + round_up(w->height, VL));
    w->partial_floats = w->chunks > 1 ? (size_t)(w->chunks * conv_problem_sizes(p).weights) : 0;
}

void wgrad_plan(const conv_problem *p, const conv_context *ctx, wgrad *w)
{
    *w = (wgrad){.problem = *p,
                 .groups = p->groups,
                 .inputs = p->ic / p->groups,
                 .outputs = p->oc / p->groups,
                 .taps = p->axis[CONV_H].kernel * p->axis[CONV_W].kernel};
    w->lower = w->taps > 1 && w->inputs < SHORT_K;
    w->copy = p->ic > NARROW || p->oc > NARROW;
    w->height = w->lower ? w->taps * w->inputs : w->inputs;
    w->nv = gemm_panel_vectors(w->outputs);
    w->panels = div_up(w->outputs, (int64_t)w->nv * VL);
    w->strips = div_up(w->height, gemm_tile_rows(w->nv));
    choose_blocks(p, ctx, w);
    w->units = w->groups * w->panels * w->strips * (w->lower ? 1 : w->taps);
    size_scratch(p, w);
}

/* ---- run */

typedef struct {
    const wgrad *w;
    const float *src, *diff_dst;
    float *dst;          /* the chunk's sums, shaped as diff_weights */
    float *a, *b, *line; /* scratch: strips, panel, one row of taps in line */
    gemm_run *runs;      /* [taps][rows] */
    int64_t *run_count;  /* [taps] */
} job;

/* Runs of one tap over the block, pixels counted from the block's first input and output pixel; adjacent ones
 * join. */
static int64_t list_runs(const wgrad *w, const pixel_block *b, int64_t tap, gemm_run *runs)
{
    const conv_axis *h = &w->problem.axis[CONV_H], *x = &w->problem.axis[CONV_W];
    int64_t out_w = conv_out(x), count = 0, offset = tap % x->kernel * x->dilation - x->pad_before;
    int64_t x0 = offset >= 0 ? 0 : div_up(-offset, x->stride);
    int64_t x1 = x->in - offset <= 0 ? 0 : min64(out_w, (x->in - offset - 1) / x->stride + 1);
    if (x1 <= x0) return 0;
    for (int64_t i = 0; i < b->images; i++)
        for (int64_t y = b->y0; y < b->y1; y++) {
            int64_t iy = y * h->stride - h->pad_before + tap / x->kernel * h->dilation;
            if (iy < 0 || iy >= h->in) continue;
            gemm_run run = {.a = (i * (b->iy1 - b->iy0) + iy - b->iy0) * x->in + x0 * x->stride + offset,
                            .b = (i * (b->y1 - b->y0) + y - b->y0) * out_w + x0,
                            .count = x1 - x0};
            gemm_run *last = count > 0 ? &runs[count - 1] : NULL;
            if (last != NULL && last->a + last->count * x->stride == run.a && last->b + last->count == run.b)
                last->count += run.count;
            else
                runs[count++] = run;
        }
    return count;
}

/* Channels [c0, c0+m) of `pixels` pixels side by side. */
static void copy_strip(const float *from, int64_t channels, int64_t pixels, int64_t m, float *to)
{
    int64_t whole = m / VL * VL;
    vec_mask tail = vec_mask_first(m - whole);
    for (int64_t i = 0; i < pixels; i++, from += channels, to += m) {
        for (int64_t v = 0; v < whole; v += VL) vec_store(to + v, vec_load(from + v));
        if (whole < m) vec_store_mask(to + whole, tail, vec_load_mask(from + whole, tail));
    }
}

/* Where a strip lies in the copy. A pixel is stored as a whole vector, the next one over what is too much of
 * it, for masked stores are slow on some CPUs; behind its last pixel a strip has room for that. */
static int64_t strip_at(int64_t strip, int64_t c0, int64_t pixels) { return c0 * pixels + strip * VL; }

_Static_assert(TILE_ROWS <= VL, "a pixel of a strip is one vector");

/* The strips of src that a share reads: pixel by pixel, for down a strip every pixel is another page, and all
 * of them one cache set where channels are a power of two. */
static void copy_strips(const wgrad *w, const float *src, int64_t pixels, int64_t strip0, int64_t strip1,
                        float *to)
{
    int64_t least = w->height / w->strips, taller = w->height % w->strips;
    vec_mask lanes[2] = {vec_mask_first(least), vec_mask_first(least + 1)};
    for (int64_t i = 0; i < pixels; i++, src += w->problem.ic) {
        int64_t c0 = strip_begin(w, strip0);
        for (int64_t s = strip0; s < strip1; s++) {
            int64_t m = least + (s < taller);
            vec_store(to + strip_at(s, c0, pixels) + i * m, vec_load_mask(src + c0, lanes[s < taller]));
            c0 += m;
        }
    }
}

/* The taps of output pixel (y, x) of an image in line; zeros where they fall in the padding. */
static void line_of(const wgrad *w, const float *image, int64_t y, int64_t x, float *line)
{
    const conv_axis *ah = &w->problem.axis[CONV_H], *aw = &w->problem.axis[CONV_W];
    for (int64_t kh = 0; kh < ah->kernel; kh++) {
        int64_t iy = y * ah->stride - ah->pad_before + kh * ah->dilation;
        for (int64_t kw = 0; kw < aw->kernel; kw++, line += w->inputs) {
            int64_t ix = x * aw->stride - aw->pad_before + kw * aw->dilation;
            bool real = iy >= 0 && iy < ah->in && ix >= 0 && ix < aw->in;
            const float *from = image + (real ? (iy * aw->in + ix) * w->problem.ic : 0);
            for (int64_t c = 0; c < w->inputs; c++) line[c] = real ? from[c] : 0.0f;
        }
    }
}

static void lower(const job *j, const pixel_block *b, int64_t group)
{
    const wgrad *w = j->w;
    const conv_axis *h = &w->problem.axis[CONV_H], *x = &w->problem.axis[CONV_W];
    int64_t out_w = conv_out(x), pixels = b->images * (b->y1 - b->y0) * out_w, at = 0;
    for (int64_t i = 0; i < b->images; i++) {
        const float *image = j->src + (b->image + i) * h->in * x->in * w->problem.ic + group * w->inputs;
        for (int64_t y = b->y0; y < b->y1; y++)
            for (int64_t ox = 0; ox < out_w; ox++, at++) {
                line_of(w, image, y, ox, j->line);
                for (int64_t s = 0; s < w->strips; s++) {
                    int64_t c0 = strip_begin(w, s), m = strip_begin(w, s + 1) - c0;
                    copy_strip(j->line + c0, 0, 1, m, j->a + strip_at(s, c0, pixels) + at * m);
                }
            }
    }
}

/* Units [begin, end) of (panel, strip, tap) of one group over one block of pixels. */
static void run_block(const job *j, const pixel_block *b, int64_t group, int64_t begin, int64_t end,
                      bool accumulate)
{
    const wgrad *w = j->w;
    const conv_axis *h = &w->problem.axis[CONV_H], *x = &w->problem.axis[CONV_W];
    int64_t ic = w->problem.ic, oc = w->problem.oc, full = (int64_t)w->nv * VL, taps = w->lower ? 1 : w->taps;
    int64_t out_pixels = b->images * (b->y1 - b->y0) * conv_out(x);
    int64_t in_pixels = w->lower ? out_pixels : b->images * (b->iy1 - b->iy0) * x->in;
    const float *src = j->src + (b->image * h->in + b->iy0) * x->in * ic + group * w->inputs;
    const float *diff_dst =
        j->diff_dst + (b->image * conv_out(h) + b->y0) * conv_out(x) * oc + group * w->outputs;
    bool whole = (end - 1) / (w->strips * taps) > begin / (w->strips * taps);
    int64_t strip0 = whole ? 0 : begin / taps % w->strips,
            strip1 = whole ? w->strips : (end - 1) / taps % w->strips + 1;
    if (w->lower) lower(j, b, group);
    bool strips = w->lower || w->copy;
    if (w->copy && !w->lower) copy_strips(w, src, in_pixels, strip0, strip1, j->a);
    for (int64_t t = 0; t < taps; t++) {
        gemm_run all = {0, 0, out_pixels};
        if (w->lower) j->runs[0] = all;
        j->run_count[t] = w->lower ? 1 : list_runs(w, b, t, j->runs + t * w->rows);
    }
    int64_t copied = -1;
    for (int64_t u = begin; u < end; u++) {
        int64_t tap = u % taps, strip = u / taps % w->strips, panel = u / taps / w->strips;
        int64_t c0 = strip_begin(w, strip), m = strip_begin(w, strip + 1) - c0, column = panel * full;
        int64_t n = min64(full, w->outputs - column), width = round_up(n, VL);
        if (w->copy && panel != copied) copy_strip(diff_dst + column, oc, out_pixels, n, j->b);
        copied = panel;
        gemm_columns_args args = {
            .runs = j->runs + tap * w->rows,
            .run_count = j->run_count[tap],
            .a = strips ? j->a + strip_at(strip, c0, in_pixels) : src + c0,
            .a_pixel = strips ? m : ic,
            .a_step = (strips ? m : ic) * (w->lower ? 1 : x->stride),
            .b = w->copy ? j->b : diff_dst + column,
            .b_pixel = w->copy ? n : oc,
            .dst = j->dst + (tap * w->height + c0) * oc + group * w->outputs + column,
            .ldc = oc,
            .n = n,
            .accumulate = accumulate,
        };
        gemm_columns((int)m, (int)(width / VL))(&args);
    }
}

void wgrad_run(const wgrad *w, const float *src, const float *diff_dst, float *diff_weights, bool accumulate,
               float *partials, float *scratch, int thread, int threads)
{
    int64_t weights = w->taps * w->inputs * w->problem.oc, per_group = w->units / w->groups, begin, end;
    share(w->chunks * w->units, thread, threads, &begin, &end);
    job j = {.w = w, .src = src, .diff_dst = diff_dst, .a = scratch, .b = scratch + w->a_floats};
    j.runs = (gemm_run *)(j.b + w->b_floats);
    j.run_count = (int64_t *)(j.runs + w->taps * w->rows);
    j.line = (float *)j.runs + w->run_floats;
    for (int64_t chunk = begin / w->units; chunk * w->units < end; chunk++) {
        int64_t first, last;
        share(w->blocks, chunk, w->chunks, &first, &last);
        j.dst = w->chunks > 1 ? partials + chunk * weights : diff_weights;
        for (int64_t g = 0; g < w->groups; g++) {
            int64_t at = chunk * w->units + g * per_group;
            int64_t from = max64(begin, at), to = min64(end, at + per_group);
            for (int64_t i = first; from < to && i < last; i++) {
                pixel_block b = block_at(w, i);
                run_block(&j, &b, g, from - at, to - at, i > first || (accumulate && w->chunks == 1));
            }
        }
    }
}

void wgrad_reduce(const wgrad *w, float *diff_weights, bool accumulate, float *partials, int thread,
                  int threads)
{
    int64_t weights = w->taps * w->inputs * w->problem.oc;
    if (w->chunks > 1)
        reduce_chunks(partials, w->chunks, weights, weights, accumulate, diff_weights, thread, threads);
}
