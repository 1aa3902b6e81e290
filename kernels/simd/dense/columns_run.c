/* Columns product of backward_weights: the run.
 *
 * Loop order of a thread: chunk of pixels, channel group, block of pixels, strips of inputs together, panel of
 * outputs, strip, tap; the register tile [inputs][outputs] sums over the block's pixels, run by run (a run: the
 * valid part of a row). A block of few channels fits a part of L2 whole; of many, so many strips do, and one
 * panel of outputs. What comes next is prefetched while something else is summed. Pixels of many channels lie
 * pages apart: then each thread packs what its units read first, block by block. Units are dealt
 * out in equal contiguous shares; where weights are small beside the operands, fixed chunks of pixels sum apart
 * and meet in an ordered tree. How is the strategy's (columns_plan.c). */
#include "../../rows.h"
#include "../copy.h"
#include "columns.h"

typedef struct {
    const columns_wgrad *w;
    const float *src, *diff_dst;
    float *dst;         /* the chunk's sums, shaped as diff_weights */
    float *a, *b;       /* scratch: packed strips of src, panels of diff_dst */
    gemm_run *runs;     /* [taps][rows] */
    int64_t *run_count; /* [taps] */
} job;

/* Runs of one tap over the block, pixels counted from the block's first input and output pixel; adjacent ones
 * join. */
static int64_t list_runs(const columns_wgrad *w, const pixel_block *b, int64_t tap, gemm_run *runs)
{
    const conv_axis *h = &w->problem.axis[CONV_H], *x = &w->problem.axis[CONV_W];
    const tap_rows rows = tap_rows_of(&w->problem, tap / x->kernel, conv_out(h));
    int64_t width = conv_out(x), count = 0, offset = tap % x->kernel * x->dilation - x->pad_before;
    int64_t first = offset >= 0 ? 0 : div_up(-offset, x->stride);
    int64_t past = x->in - offset <= 0 ? 0 : min64(width, (x->in - offset - 1) / x->stride + 1);
    if (past <= first) return 0;
    for (int64_t i = 0; i < b->images; i++)
        for (int64_t row = b->begin / width, left = row * width; left < b->end; row++, left += width) {
            int64_t in = tap_rows_source(&rows, row), x0 = max64(first, b->begin - left),
                    x1 = min64(past, b->end - left);
            if (in < 0 || x1 <= x0) continue;
            gemm_run run = {.a = i * (b->to - b->from) + in * x->in + x0 * x->stride + offset - b->from,
                            .b = i * (b->end - b->begin) + left + x0 - b->begin,
                            .count = x1 - x0};
            gemm_run *last = count > 0 ? &runs[count - 1] : NULL;
            if (last != NULL && last->a + last->count * x->stride == run.a && last->b + last->count == run.b)
                last->count += run.count;
            else
                runs[count++] = run;
        }
    return count;
}

/* A unit of work, by its place in the order. */
typedef struct {
    int64_t first, count; /* strips together */
    int64_t panel, strip, tap;
} unit;

static unit unit_at(const columns_wgrad *w, int64_t index)
{
    int64_t taps = w->taps, first = index / (w->how.together * w->panels * taps) * w->how.together;
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
    int64_t width = w->how.vectors * VL, line = (u->strip - u->first) * CACHE_LINE, ic = w->problem.ic,
            oc = w->problem.oc;
    if (w->how.together < w->strips) {
        if (u->tap > 0 || line >= width || u->panel + 1 == w->panels) return;
        args->ahead = b->diff_dst + (u->panel + 1) * width + line;
        args->ahead_step = oc;
        return;
    }
    int64_t each = b->out_pixels * CACHE_LINE, src = b->in_pixels * ic, diff = b->out_pixels * oc;
    int64_t at = unit * each, diff_at = at - round_up(src, each);
    if (diff_at >= diff) return;
    args->ahead = at < src ? b->src + src + at : b->diff_dst + diff + diff_at;
    args->ahead_step = CACHE_LINE;
}

/* ---- packing: strips and panels one behind another, all the block's pixels in each */

static block_data data_of(const job *j, const pixel_block *b, int64_t group)
{
    const columns_wgrad *w = j->w;
    const conv_problem *p = &w->problem;
    int64_t in = b->image * conv_src_pixels(p) + b->from, out = b->image * conv_dst_pixels(p) + b->begin;
    return (block_data){.src = j->src + in * p->ic + group * w->inputs,
                        .diff_dst = j->diff_dst + out * p->oc + group * w->outputs,
                        .in_pixels = b->images * (b->to - b->from),
                        .out_pixels = b->images * (b->end - b->begin)};
}

typedef struct {
    int64_t begin, end;
} range;

/* Of `channels` channels cut into `count` pieces, those from `first` on, so many channels of them. In `to`
 * every piece has `width` of each pixel, whole vectors. */
typedef struct {
    int64_t channels, count, first, wanted, width;
} pieces;

/* `pixels` pixels, the first at `from`. Pixel by pixel, for down a strip every pixel may be on another page. */
static void pack_pixels(const pieces *p, const float *from, int64_t distance, int64_t pixels, float *to)
{
    int64_t least = p->channels / p->count, more = p->channels % p->count, skipped = p->first * more % p->count;
    for (int64_t i = 0; i < pixels; i++) {
        const float *pixel = from + i * distance;
        float *piece = to + i * p->width;
        for (int64_t c = 0, rest = skipped; c < p->wanted; piece += pixels * p->width) {
            if (c + p->width > p->wanted)
                copy_pixels(pixel + c, 0, 1, p->wanted - c, piece, 0);
            else
                for (int64_t v = 0; v < p->width; v += VL) vec_store(piece + v, vec_load(pixel + c + v));
            rest += more;
            c += least + (rest >= p->count);
            rest -= rest >= p->count ? p->count : 0;
        }
    }
}

/* What units [begin, end) read: the strips of their turns; of one turn their panels, else all. */
static range packed_strips(const columns_wgrad *w, int64_t begin, int64_t end)
{
    unit first = unit_at(w, begin), last = unit_at(w, end - 1);
    return (range){first.first, last.first + last.count};
}

static range packed_panels(const columns_wgrad *w, int64_t begin, int64_t end)
{
    unit first = unit_at(w, begin), last = unit_at(w, end - 1);
    return first.first == last.first ? (range){first.panel, last.panel + 1} : (range){0, w->panels};
}

static void pack_units(const job *j, const block_data *d, range strips, range panels)
{
    const columns_wgrad *w = j->w;
    int64_t c0 = columns_strip_begin(w, strips.begin), c1 = columns_strip_begin(w, strips.end);
    int64_t width = w->b_pixel, p0 = panels.begin * width, p1 = min64(w->outputs, panels.end * width);
    pieces a = {w->inputs, w->strips, strips.begin, c1 - c0, w->a_pixel};
    pieces b = {w->panels * width, w->panels, panels.begin, p1 - p0, width};
    pack_pixels(&a, d->src + c0, w->problem.ic, d->in_pixels, j->a);
    pack_pixels(&b, d->diff_dst + p0, w->problem.oc, d->out_pixels, j->b);
}

/* ---- units */

/* Units [begin, end) of one group over one block of pixels. */
static void run_block(const job *j, const pixel_block *b, int64_t group, int64_t begin, int64_t end,
                      bool accumulate)
{
    const columns_wgrad *w = j->w;
    int64_t oc = w->problem.oc, full = w->how.vectors * VL, taps = w->taps;
    block_data d = data_of(j, b, group);
    range strips = {0}, panels = {0};
    if (w->how.packed) {
        strips = packed_strips(w, begin, end);
        panels = packed_panels(w, begin, end);
        pack_units(j, &d, strips, panels);
    }
    for (int64_t t = 0; t < taps; t++) j->run_count[t] = list_runs(w, b, t, j->runs + t * w->rows);
    for (int64_t i = begin; i < end; i++) {
        unit u = unit_at(w, i);
        int64_t c0 = columns_strip_begin(w, u.strip), m = columns_strip_begin(w, u.strip + 1) - c0,
                column = u.panel * full, n = min64(full, w->outputs - column);
        gemm_columns_args args = {
            .runs = j->runs + u.tap * w->rows,
            .run_count = j->run_count[u.tap],
            .a = d.src + c0,
            .a_pixel = w->a_pixel,
            .a_step = w->a_pixel * w->problem.axis[CONV_W].stride,
            .b = d.diff_dst + column,
            .b_pixel = w->b_pixel,
            .dst = j->dst + (u.tap * w->inputs + c0) * oc + group * w->outputs + column,
            .ldc = oc,
            .n = n,
            .accumulate = accumulate,
        };
        if (w->how.packed) {
            args.a = j->a + (u.strip - strips.begin) * w->a_pixel * d.in_pixels;
            args.b = j->b + (u.panel - panels.begin) * w->b_pixel * d.out_pixels;
        }
        if (w->ahead) prefetch_next(w, &d, &u, i - begin, &args);
        if (u.tap + 1 < taps)
            args.next = args.dst + w->inputs * oc;
        else if (u.strip + 1 < u.first + u.count)
            args.next = args.dst + (m - u.tap * w->inputs) * oc;
        gemm_columns((int)m, (int)div_up(n, VL))(&args);
    }
}

void columns_run(const wgrad *plan, const wgrad_share *s)
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
                pixel_block b = columns_block_at(w, i);
                run_block(&j, &b, g, from - at, to - at, i > first || (s->accumulate && w->head.chunks == 1));
            }
        }
    }
}
