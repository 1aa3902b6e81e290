/* Columns product of backward_weights.
 *
 * Loop order of a thread: chunk of pixels, channel group, block of pixels, strips of inputs together, panel of
 * outputs, strip, tap; the register tile [inputs][outputs] sums over the block's pixels, run by run (a run: the
 * valid part of a row). A block of few channels fits a part of L2 whole; of many, so many strips do, and one
 * panel of outputs. What comes next is prefetched while something else is summed. For narrow vectors wide
 * pixels are copied closer together first. Units are dealt out in equal contiguous shares; where weights are
 * too small to feed many cores, fixed chunks of pixels sum apart and meet in an ordered tree. A first layer's
 * taps are put in line, one tap of taps*inputs channels. */
#include "weights_gradient.h"

#include <stdlib.h>
#include <string.h>

#include "../../plan.h"
#include "../../strategy.h"
#include "../../work.h"
#include "../copy.h"
#include "../gemm/gemm.h"
#include "../vec.h"

enum {
    SHORT_K = 8,              /* channels below which taps are put in line */
    ENOUGH_UNITS = 96,        /* tiles that keep any number of threads busy */
    FEW_UNITS = 8,            /* tiles that hardly keep two */
    CHUNK_PIXELS = 2048,      /* of a chunk, or joining the sums costs too much; */
    FEW_CHUNK_PIXELS = 196,   /* where tiles are few, leaving threads idle costs more */
    CHUNK_BYTES = 1 << 20,    /* of all chunks' sums where tiles are enough: so threads read less memory */
    LEAST_PIXELS = 256,       /* of a block that fits whole: below it sums are read and written too often */
    LEAST_CHUNK_PIXELS = 128, /* of a block of such a chunk */
    MOST_PIXELS = 2048,
    PASSING_PIXELS = 1024, /* a panel of their outputs fits a quarter of L2 */
    NARROW = 256,          /* channels up to which pixels lie close enough together for any vector */
    LINE = 16,             /* floats of a cache line */
};

typedef struct {
    int64_t vectors;  /* of a panel of outputs */
    int64_t lower;    /* taps put in line: one row of taps*inputs values per output pixel */
    int64_t copied;   /* operands are copied closer together first */
    int64_t pixels;   /* of a block; in whole images or equal shares of the rows of one */
    int64_t together; /* strips whose inputs stay in cache while the panels pass */
    int64_t chunks;   /* of pixels with sums of their own */
    int64_t ahead;    /* what comes next is prefetched */
} columns_strategy;

static const conv_choice columns_choices[] = {
    {"vectors", false}, {"taps in line", true}, {"operands copied", true},     {"pixels", false},
    {"strips", false},  {"chunks", false},      {"operands prefetched", true}, {NULL, false}};

typedef struct {
    wgrad head;
    conv_problem problem;
    columns_strategy how;
    int64_t groups, inputs, outputs; /* channels per group */
    int64_t taps;
    int64_t height;           /* rows of the product: inputs, or taps*inputs when lowered */
    int64_t a_pixel, b_pixel; /* floats from one pixel to the next, of src and diff_dst or of their copies */
    int64_t panels, strips;   /* tiles along outputs, along height */
    int64_t images, row_blocks,
        rows;       /* a block of pixels: whole images, or a share of one image's rows; its rows */
    int64_t blocks; /* of pixels in all; a chunk has some of them */
    int64_t units;  /* of one chunk: groups * panels * strips * taps */
    int64_t a_floats, b_floats, run_floats; /* parts of a thread's scratch */
} columns_wgrad;

/* ---- blocks of pixels: whole images, or rows of one */

typedef struct {
    int64_t image, images; /* first, count */
    int64_t y0, y1;        /* output rows of each image */
    int64_t iy0, iy1;      /* input rows they read */
} pixel_block;

static pixel_block block_at(const columns_wgrad *w, int64_t index)
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

static int64_t strip_begin(const columns_wgrad *w, int64_t strip)
{
    int64_t begin, end;
    share(w->height, strip, w->strips, &begin, &end);
    return begin;
}

/* ---- plan */

/* What follows from the problem and the strategy alone; its sizes are cut to the problem's. */
static columns_wgrad shape_of(const conv_problem *p, const columns_strategy *how)
{
    columns_wgrad w = {.problem = *p,
                       .how = *how,
                       .groups = p->groups,
                       .inputs = p->ic / p->groups,
                       .outputs = p->oc / p->groups,
                       .taps = p->axis[CONV_H].kernel * p->axis[CONV_W].kernel};
    int64_t out = conv_out(&p->axis[CONV_H]) * conv_out(&p->axis[CONV_W]), pixels = max64(1, how->pixels);
    w.how.vectors = gemm_fit_vectors(&gemm_plain, how->vectors, w.outputs);
    w.height = how->lower ? w.taps * w.inputs : w.inputs;
    w.panels = div_up(w.outputs, w.how.vectors * VL);
    w.strips = div_up(w.height, gemm_tile_rows((int)w.how.vectors));
    w.units = w.groups * w.panels * w.strips * (how->lower ? 1 : w.taps);
    w.images = max64(1, pixels / out);
    w.row_blocks = min64(conv_out(&p->axis[CONV_H]), div_up(out, pixels));
    w.blocks = w.row_blocks > 1 ? p->mb * w.row_blocks : div_up(p->mb, w.images);
    w.head.chunks = max64(1, min64(how->chunks, w.blocks));
    w.how.together = max64(1, min64(how->together, w.strips));
    return w;
}

static int64_t block_pixels(const columns_wgrad *w)
{
    int64_t out = conv_out(&w->problem.axis[CONV_H]) * conv_out(&w->problem.axis[CONV_W]);
    return w->row_blocks > 1 ? div_up(out, w->row_blocks) : w->images * out;
}

/* Of the chunks of a whole block of pixels, or of one whose strips take turns. */
static void pick_pixels(const conv_problem *p, const conv_context *ctx, bool apart, columns_strategy *how)
{
    int64_t out = p->mb * conv_out(&p->axis[CONV_H]) * conv_out(&p->axis[CONV_W]),
            l2 = (int64_t)(ctx->l2 / sizeof(float));
    int64_t taps = p->axis[CONV_H].kernel * p->axis[CONV_W].kernel, reuse = how->lower ? 1 : min64(taps, 4);
    int64_t pixels = l2 * 3 / 8 * reuse / (p->ic + p->oc);
    bool whole = pixels >= (apart ? LEAST_CHUNK_PIXELS : LEAST_PIXELS);
    pixels = whole ? min64(MOST_PIXELS, pixels) : PASSING_PIXELS;
    how->pixels = min64(pixels, div_up(out, how->chunks));
    how->together = INT64_MAX;
    columns_wgrad w = shape_of(p, how);
    how->chunks = w.head.chunks;
    how->together =
        whole ? w.strips
              : min64(w.strips, max64(1, l2 * 3 / 8 / block_pixels(&w) / gemm_tile_rows((int)how->vectors)));
}

static columns_strategy pick(const conv_problem *p, const conv_context *ctx)
{
    int64_t taps = p->axis[CONV_H].kernel * p->axis[CONV_W].kernel, inputs = p->ic / p->groups;
    int64_t pixels = p->mb * conv_out(&p->axis[CONV_H]) * conv_out(&p->axis[CONV_W]);
    conv_sizes sizes = conv_problem_sizes(p);
    columns_strategy how = {.vectors = gemm_panel_vectors(p->oc / p->groups),
                            .lower = taps > 1 && inputs < SHORT_K,
                            .copied = (int)VL < (int)LINE && (p->ic > NARROW || p->oc > NARROW),
                            .pixels = pixels,
                            .together = 1,
                            .chunks = 1,
                            .ahead = (size_t)(sizes.src + sizes.dst) * sizeof(float) >
                                     ctx->l2 * (size_t)ctx->threads};
    int64_t tiles = shape_of(p, &how).units;
    how.chunks = max64(
        1, min64(div_up(ENOUGH_UNITS, tiles), pixels / (tiles < FEW_UNITS ? FEW_CHUNK_PIXELS : CHUNK_PIXELS)));
    bool apart = tiles >= ENOUGH_UNITS && taps == 1;
    if (apart)
        how.chunks =
            max64(1, min64(pixels / CHUNK_PIXELS, CHUNK_BYTES / (int64_t)sizeof(float) / sizes.weights));
    pick_pixels(p, ctx, apart && how.chunks > 1, &how);
    return how;
}

/* The pick; then operands copied or not, a panel's block of pixels in half of L1, panels of another width, and
 * other numbers of chunks. */
void wgrad_strategies(const conv_problem *p, const conv_context *ctx, conv_candidates *candidates)
{
    const columns_strategy first = pick(p, ctx);
    candidates->choices = columns_choices;
    strategy_add(candidates, &first, sizeof first, 0);
    columns_strategy s = first;
    s.copied = !first.copied;
    strategy_add(candidates, &s, sizeof s, 0);
    s = first;
    s.copied = 1;
    s.pixels = min64(first.pixels, max64(LINE, (int64_t)(ctx->l1d / 2 / sizeof(float)) / (s.vectors * VL)));
    s.together = max64(1, (int64_t)(ctx->l2 / 2 / sizeof(float)) / s.pixels / gemm_tile_rows((int)s.vectors));
    strategy_add(candidates, &s, sizeof s, 0);
    s.copied = 0;
    strategy_add(candidates, &s, sizeof s, 0);
    s = first;
    s.vectors = first.vectors == 2 ? TILE_VECTORS : 2;
    if (gemm_tile_rows((int)s.vectors) > 0 && p->oc / p->groups > 2 * VL)
        strategy_add(candidates, &s, sizeof s, 0);
    s.copied = 1;
    if (gemm_tile_rows((int)s.vectors) > 0 && p->oc / p->groups > 2 * VL)
        strategy_add(candidates, &s, sizeof s, 0);
    s = first;
    s.chunks = first.chunks > 1 ? 1 : 2;
    s.pixels =
        min64(s.pixels, div_up(p->mb * conv_out(&p->axis[CONV_H]) * conv_out(&p->axis[CONV_W]), s.chunks));
    strategy_add(candidates, &s, sizeof s, 0);
}

static void size_scratch(const conv_problem *p, columns_wgrad *w)
{
    const conv_axis *x = &p->axis[CONV_W];
    int64_t in_rows = 0, out_rows = 0;
    for (int64_t i = 0; i < w->blocks; i++) {
        pixel_block b = block_at(w, i);
        in_rows = max64(in_rows, b.images * (b.iy1 - b.iy0));
        out_rows = max64(out_rows, b.images * (b.y1 - b.y0));
    }
    int64_t out_pixels = out_rows * conv_out(x);
    if (w->how.lower || w->how.copied) w->a_floats = (w->how.lower ? out_pixels : in_rows * x->in) * w->a_pixel;
    if (w->how.copied) w->b_floats = out_pixels * w->b_pixel;
    w->rows = out_rows;
    int64_t run_bytes = w->taps * (out_rows * (int64_t)sizeof(gemm_run) + (int64_t)sizeof(int64_t));
    w->run_floats = round_up(run_bytes / (int64_t)sizeof(float), VL);
    w->head.thread_floats = (size_t)(w->a_floats + w->b_floats + w->run_floats);
    w->head.partial_floats = w->head.chunks > 1 ? (size_t)(w->head.chunks * conv_problem_sizes(p).weights) : 0;
}

/* Per block of pixels and panel, each strip and tap multiplies its columns with the panel's. */
static void state_work(const conv_context *ctx, columns_wgrad *w)
{
    const conv_problem *p = &w->problem;
    double groups = (double)w->groups, taps = w->how.lower ? 1 : (double)w->taps, strips = (double)w->strips;
    /* Pixels of all taps: of those in line the padding's as well. */
    double pixels = w->how.lower ? (double)(conv_problem_sizes(p).dst / p->oc)
                                 : (double)conv_flops(p, CONV_FORWARD) / (2.0 * (double)(w->inputs * p->oc));
    double block = pixels / taps / (double)w->blocks, sums = 4.0 * (double)conv_problem_sizes(p).weights;
    int64_t columns = round_up(w->outputs, VL), rows = gemm_tile_rows((int)w->how.vectors),
            width = w->how.vectors * VL;
    conv_work *own = &w->head.work;
    own->busiest = work_busiest(w->head.chunks * w->units, ctx->threads);
    own->macs = groups * pixels * (double)(w->height * columns);
    own->loads = groups * pixels * strips * (double)(columns / VL);
    own->broadcasts = groups * pixels * (double)(w->height * w->panels);
    own->stores = (double)w->blocks * sums / 4 / VL;
    own->loads += (double)(w->blocks - w->head.chunks) * sums / 4 / VL;

    double tile = 4 * block * (double)(width + rows), all = 4 * block * (double)(w->height + width);
    double src = 4 * groups * pixels / taps * (double)w->height,
           diff = 4 * groups * pixels / taps * (double)columns;
    work_read(own, src + diff, CONV_EACH_CALL);
    work_read(own, src * (double)(w->panels - 1), all);
    work_read(own, (src * (double)w->panels + diff * strips) * (taps - 1), tile);
    work_read(own, diff * (strips - 1), tile);
    work_write(own, sums * (double)w->head.chunks, CONV_EACH_CALL);
    work_write(own, sums * (double)(w->blocks - w->head.chunks), sums / ctx->threads + all);
}

static void run(const wgrad *plan, const wgrad_share *s);

wgrad *wgrad_plan(const conv_problem *p, const conv_context *ctx)
{
    columns_wgrad *w = malloc(sizeof *w);
    if (w == NULL) return NULL;
    columns_strategy how = pick(p, ctx);
    if (ctx->told) memcpy(&how, ctx->strategy.value, sizeof how);
    *w = shape_of(p, &how);
    w->head.run = run;
    int64_t copied =
        round_up(min64(w->height, w->how.together * gemm_tile_rows((int)w->how.vectors)), LINE) + LINE;
    w->a_pixel = w->how.lower ? round_up(w->height, LINE) : w->how.copied ? copied : p->ic;
    w->b_pixel = w->how.copied ? w->how.vectors * VL : p->oc;
    size_scratch(p, w);
    conv_note(w->head.note, true, "gradient");
    conv_note(w->head.note, w->how.together < w->strips, "strips by turns");
    conv_note(w->head.note, w->head.chunks > 1, "in chunks");
    strategy_note(w->head.note, columns_choices, &w->how, sizeof w->how);
    state_work(ctx, w);
    return &w->head;
}

/* ---- run */

typedef struct {
    const columns_wgrad *w;
    const float *src, *diff_dst;
    float *dst;         /* the chunk's sums, shaped as diff_weights */
    float *a, *b;       /* scratch: copies of src, or taps in line; of a panel of diff_dst */
    gemm_run *runs;     /* [taps][rows] */
    int64_t *run_count; /* [taps] */
} job;

/* Runs of one tap over the block, pixels counted from the block's first input and output pixel; adjacent ones
 * join. */
static int64_t list_runs(const columns_wgrad *w, const pixel_block *b, int64_t tap, gemm_run *runs)
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

/* The taps of output pixel (y, x) of an image in line; zeros where they fall in the padding. */
static void line_of(const columns_wgrad *w, const float *image, int64_t y, int64_t x, float *line)
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
    const columns_wgrad *w = j->w;
    const conv_axis *h = &w->problem.axis[CONV_H], *x = &w->problem.axis[CONV_W];
    float *to = j->a;
    for (int64_t i = 0; i < b->images; i++) {
        const float *image = j->src + (b->image + i) * h->in * x->in * w->problem.ic + group * w->inputs;
        for (int64_t y = b->y0; y < b->y1; y++)
            for (int64_t ox = 0; ox < conv_out(x); ox++, to += w->a_pixel) line_of(w, image, y, ox, to);
    }
}

/* A unit of work, by its place in the order. */
typedef struct {
    int64_t first, count; /* strips together */
    int64_t panel, strip, tap;
} unit;

static unit unit_at(const columns_wgrad *w, int64_t index)
{
    int64_t taps = w->how.lower ? 1 : w->taps,
            first = index / (w->how.together * w->panels * taps) * w->how.together;
    int64_t count = min64(w->how.together, w->strips - first), rest = index - first * w->panels * taps;
    return (unit){first, count, rest / (count * taps), first + rest / taps % count, rest % taps};
}

/* What a block of pixels reads, counted from its first pixel. */
typedef struct {
    const float *src, *diff_dst;
    int64_t in_pixels, out_pixels;
} block_data;

/* The next panel of outputs, where strips see several: a line of each pixel in one strip, the next line in the
 * next. Else the block after this one, as many lines in each unit as there are pixels: src, then diff_dst. */
static void prefetch_next(const columns_wgrad *w, const block_data *b, const unit *u, int64_t unit,
                          gemm_columns_args *args)
{
    int64_t width = w->how.vectors * VL, line = (u->strip - u->first) * LINE, ic = w->problem.ic,
            oc = w->problem.oc;
    if (w->how.together < w->strips) {
        if (u->tap > 0 || line >= width || u->panel + 1 == w->panels) return;
        args->ahead = b->diff_dst + (u->panel + 1) * width + line;
        args->ahead_step = oc;
        return;
    }
    int64_t each = b->out_pixels * LINE, src = b->in_pixels * ic, diff = b->out_pixels * oc;
    int64_t at = unit * each, diff_at = at - round_up(src, each);
    if (diff_at >= diff) return;
    args->ahead = at < src ? b->src + src + at : b->diff_dst + diff + diff_at;
    args->ahead_step = LINE;
}

/* Units [begin, end) of one group over one block of pixels. */
static void run_block(const job *j, const pixel_block *b, int64_t group, int64_t begin, int64_t end,
                      bool accumulate)
{
    const columns_wgrad *w = j->w;
    const conv_axis *h = &w->problem.axis[CONV_H], *x = &w->problem.axis[CONV_W];
    int64_t ic = w->problem.ic, oc = w->problem.oc, full = w->how.vectors * VL,
            taps = w->how.lower ? 1 : w->taps;
    block_data d = {.src = j->src + (b->image * h->in + b->iy0) * x->in * ic + group * w->inputs,
                    .diff_dst =
                        j->diff_dst + (b->image * conv_out(h) + b->y0) * conv_out(x) * oc + group * w->outputs,
                    .in_pixels = b->images * (b->iy1 - b->iy0) * x->in,
                    .out_pixels = b->images * (b->y1 - b->y0) * conv_out(x)};
    if (w->how.lower) lower(j, b, group);
    for (int64_t t = 0; t < taps; t++) {
        gemm_run all = {0, 0, d.out_pixels};
        if (w->how.lower) j->runs[0] = all;
        j->run_count[t] = w->how.lower ? 1 : list_runs(w, b, t, j->runs + t * w->rows);
    }
    unit before = {.first = -1};
    for (int64_t i = begin; i < end; i++) {
        unit u = unit_at(w, i);
        int64_t c0 = strip_begin(w, u.strip), m = strip_begin(w, u.strip + 1) - c0, column = u.panel * full;
        int64_t n = min64(full, w->outputs - column), width = round_up(n, VL), copied0 = 0;
        bool turned = u.first != before.first;
        if (w->how.copied && !w->how.lower) {
            copied0 = strip_begin(w, u.first);
            if (turned)
                copy_pixels(d.src + copied0, ic, d.in_pixels, strip_begin(w, u.first + u.count) - copied0, j->a,
                            w->a_pixel);
        }
        if (w->how.copied && (turned || u.panel != before.panel))
            copy_pixels(d.diff_dst + column, oc, d.out_pixels, n, j->b, w->b_pixel);
        before = u;
        gemm_columns_args args = {
            .runs = j->runs + u.tap * w->rows,
            .run_count = j->run_count[u.tap],
            .a = (w->a_floats > 0 ? j->a : d.src) + c0 - copied0,
            .a_pixel = w->a_pixel,
            .a_step = w->a_pixel * (w->how.lower ? 1 : x->stride),
            .b = w->how.copied ? j->b : d.diff_dst + column,
            .b_pixel = w->b_pixel,
            .dst = j->dst + (u.tap * w->height + c0) * oc + group * w->outputs + column,
            .ldc = oc,
            .n = n,
            .accumulate = accumulate,
        };
        if (w->how.ahead) prefetch_next(w, &d, &u, i - begin, &args);
        if (u.tap + 1 < taps)
            args.next = args.dst + w->height * oc;
        else if (u.strip + 1 < u.first + u.count)
            args.next = args.dst + (m - u.tap * w->height) * oc;
        gemm_columns((int)m, (int)(width / VL))(&args);
    }
}

static void run(const wgrad *plan, const wgrad_share *s)
{
    const columns_wgrad *w = (const columns_wgrad *)plan;
    int64_t weights = w->taps * w->inputs * w->problem.oc, per_group = w->units / w->groups, begin, end;
    share(w->head.chunks * w->units, s->thread, s->threads, &begin, &end);
    job j = {.w = w, .src = s->src, .diff_dst = s->diff_dst, .a = s->scratch, .b = s->scratch + w->a_floats};
    j.runs = (gemm_run *)(j.b + w->b_floats);
    j.run_count = (int64_t *)(j.runs + w->taps * w->rows);
    for (int64_t chunk = begin / w->units; chunk * w->units < end; chunk++) {
        int64_t first, last;
        share(w->blocks, chunk, w->head.chunks, &first, &last);
        j.dst = w->head.chunks > 1 ? s->partials + chunk * weights : s->diff_weights;
        for (int64_t g = 0; g < w->groups; g++) {
            int64_t at = chunk * w->units + g * per_group;
            int64_t from = max64(begin, at), to = min64(end, at + per_group);
            for (int64_t i = first; from < to && i < last; i++) {
                pixel_block b = block_at(w, i);
                run_block(&j, &b, g, from - at, to - at, i > first || (s->accumulate && w->head.chunks == 1));
            }
        }
    }
}
