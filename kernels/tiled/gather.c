/* Loop order of a task (an image, a stretch of a band of output rows, a chunk of output channels):
 *
 *   table of input pointers, tap by tap | input channel tiles | blocks of LANES outputs | register tiles | taps
 *
 * The weights of a channel tile and a block stay in L2 while the register tiles of the band pass over them;
 * sums go through memory once per channel tile. Padding is a pointer to a row of zeros, so the inner loops test
 * nothing. Where backward_data divides by the stride, outputs of one phase are tiled together: they share their
 * taps. Tasks run in parallel; each owns its outputs. */
#include "gather.h"

#include <omp.h>
#include <string.h>

#include "../plan.h"
#include "tile.h"

static gather_axis axis_of(const conv_axis *a, bool data)
{
    if (data) return (gather_axis){a->in, conv_out(a), a->kernel, 1, -a->dilation, a->pad_before, a->stride};
    return (gather_axis){conv_out(a), a->in, a->kernel, a->stride, a->dilation, -a->pad_before, 1};
}

static bool meet(const gather_axis *a, int64_t out, int64_t tap, int64_t *in)
{
    *in = out * a->by_out + tap * a->by_tap + a->offset;
    if (a->divisor > 1) {
        if (*in % a->divisor != 0) return false;
        *in /= a->divisor;
    }
    return *in >= 0 && *in < a->in;
}

/* ---- weights: blocks of LANES outputs, padded with zeros */

/* [channel tile][tap][channel][LANES] of a block, from [taps][IC/G][OC] at the group's first output channel. */
static void pack_block(const gather_shape *g, const conv_problem *p, const float *weights, int64_t block,
                       float *to)
{
    int64_t rows = p->ic / p->groups;
    for (int64_t from = 0; from < g->in; from += g->depth)
        for (int64_t t = 0; t < g->taps; t++)
            for (int64_t c = from; c < min64(from + g->depth, g->in); c++)
                for (int64_t l = 0; l < LANES; l++) {
                    int64_t o = block * LANES + l;
                    int64_t at = g->transposed ? (t * rows + o) * p->oc + c : (t * rows + c) * p->oc + o;
                    *to++ = o < g->out ? weights[at] : 0;
                }
}

/* [M][block][tap][LANES], from [taps][C][M]. */
static void pack_depthwise(const gather_shape *g, const conv_problem *p, const float *weights, float *to)
{
    for (int64_t m = 0; m < p->depth_multiplier; m++)
        for (int64_t b = 0; b < g->blocks; b++)
            for (int64_t t = 0; t < g->taps; t++)
                for (int64_t c = b * LANES; c < (b + 1) * LANES; c++)
                    *to++ = c < p->ic ? weights[(t * p->ic + c) * p->depth_multiplier + m] : 0;
}

void gather_pack(const gather_shape *g, const conv_problem *p, const float *weights, float *packed, int threads)
{
    if (p->variant == CONV_DEPTHWISE) {
        pack_depthwise(g, p, weights, packed);
        return;
    }
#pragma omp parallel for collapse(2) schedule(static) num_threads(threads)
    for (int64_t group = 0; group < g->groups; group++)
        for (int64_t b = 0; b < g->blocks; b++)
            pack_block(g, p, weights + group * p->oc / p->groups, b,
                       packed + (size_t)group * g->packed_group + b * g->taps * g->in * LANES);
}

/* ---- tasks */

/* ROWS output positions of one phase and the taps that reach input from any of them. */
typedef struct {
    int64_t at[ROWS][CONV_AXES], pixel[ROWS]; /* in the output image; the first `count` are real */
    int64_t count, taps;
    tile_tap *tap;
} positions;

typedef struct {
    int64_t image, group;
    int64_t phase[CONV_AXES];
    int64_t block, block_end;
    int64_t tiles;
    positions *tile;
} task;

/* Scratch: the row of zeros that all threads read, then per thread the positions and their taps. */
static size_t zeros_bytes(const gather_shape *g) { return conv_align((size_t)g->in_all * sizeof(float)); }

static size_t thread_bytes(const gather_shape *g)
{
    return conv_align((size_t)g->tiles * sizeof(positions)) +
           conv_align((size_t)(g->tiles * g->taps) * sizeof(tile_tap));
}

/* in: the image, at the group's first channel. */
static void find_taps(const gather_shape *g, const float *in, const float *zeros, positions *tile)
{
    const gather_axis *d = &g->axis[CONV_D], *h = &g->axis[CONV_H], *w = &g->axis[CONV_W];
    tile->taps = 0;
    for (int64_t row = 0; row < d->taps * h->taps; row++) {
        int64_t left[ROWS], kd = row / h->taps, kh = row - kd * h->taps; /* left: pixel, or -1 */
        for (int r = 0; r < ROWS; r++) {
            int64_t z, y;
            bool real =
                r < tile->count && meet(d, tile->at[r][CONV_D], kd, &z) && meet(h, tile->at[r][CONV_H], kh, &y);
            left[r] = real ? (z * h->in + y) * w->in : -1;
        }
        for (int64_t kw = 0; kw < w->taps; kw++) {
            tile_tap *tap = &tile->tap[tile->taps];
            bool any = false;
            for (int r = 0; r < ROWS; r++) {
                int64_t x;
                bool real = left[r] >= 0 && meet(w, tile->at[r][CONV_W], kw, &x);
                tap->x[r] = real ? in + (left[r] + x) * g->in_all : zeros;
                any |= real;
            }
            tap->tap = row * w->taps + kw;
            tile->taps += any;
        }
    }
}

/* Outputs of a phase along an axis. */
static int64_t of_phase(const gather_axis *a, int64_t phase) { return div_up(a->out - phase, a->divisor); }

/* Rows, counted through depth, and columns of one phase of each. */
typedef struct {
    int64_t row, row_end, col, col_end;
} area;

static void find_tiles(const gather_shape *g, task *t, const area *a, const float *in, const float *zeros)
{
    tile_tap *taps = (tile_tap *)((char *)t->tile + conv_align((size_t)g->tiles * sizeof(positions)));
    const gather_axis *h = &g->axis[CONV_H], *w = &g->axis[CONV_W];
    int64_t end = (a->row_end - a->row) * (a->col_end - a->col);
    int64_t height = of_phase(h, t->phase[CONV_H]), next[] = {a->row / height, a->row % height, a->col};
    for (int64_t first = 0; first < end; first += ROWS, t->tiles++) {
        positions *tile = &t->tile[t->tiles];
        tile->count = min64(ROWS, end - first);
        tile->tap = taps + t->tiles * g->taps;
        for (int64_t r = 0; r < tile->count; r++) {
            int64_t *at = tile->at[r];
            for (int i = 0; i < CONV_AXES; i++) at[i] = next[i] * g->axis[i].divisor + t->phase[i];
            tile->pixel[r] = (at[CONV_D] * h->out + at[CONV_H]) * w->out + at[CONV_W];
            if (++next[CONV_W] < a->col_end) continue;
            next[CONV_W] = a->col;
            if (++next[CONV_H] < height) continue;
            next[CONV_H] = 0, next[CONV_D]++;
        }
        find_taps(g, in, zeros, tile);
    }
}

static int64_t rows_of_phase(const gather_shape *g)
{
    return of_phase(&g->axis[CONV_D], 0) * of_phase(&g->axis[CONV_H], 0);
}

static int64_t bands(const gather_shape *g) { return div_up(rows_of_phase(g), g->band); }
static int64_t stretches(const gather_shape *g) { return div_up(of_phase(&g->axis[CONV_W], 0), g->stretch); }
static int64_t chunks(const gather_shape *g) { return div_up(g->blocks, g->chunk); }

/* Tasks for one chunk of channels. */
static int64_t places(const gather_shape *g)
{
    int64_t phases = 1;
    for (int i = 0; i < CONV_AXES; i++) phases *= g->axis[i].divisor;
    return g->images * phases * bands(g) * stretches(g) * g->groups;
}

gather_shape gather_plan(const conv_problem *p, conv_pass pass, const conv_context *ctx)
{
    enum { POSITIONS = 392, TASKS = 32 }; /* per task, at most; tasks wanted */
    bool data = pass == CONV_BACKWARD_DATA, depthwise = p->variant == CONV_DEPTHWISE;
    gather_shape g = {.images = p->mb,
                      .in_pixels = data ? conv_dst_pixels(p) : conv_src_pixels(p),
                      .out_pixels = data ? conv_src_pixels(p) : conv_dst_pixels(p),
                      .taps = conv_taps(p),
                      .groups = depthwise ? 1 : p->groups,
                      .in_all = data ? p->oc : p->ic,
                      .out_all = data ? p->ic : p->oc,
                      .multiples = depthwise ? p->depth_multiplier : 0,
                      .transposed = data};
    for (int i = 0; i < CONV_AXES; i++) g.axis[i] = axis_of(&p->axis[i], data);
    g.in = g.in_all / g.groups;
    g.out = depthwise ? p->ic : g.out_all / g.groups;
    g.blocks = div_up(g.out, LANES);
    int64_t fits = (int64_t)(ctx->l2 / 4 / sizeof(float)) / (g.taps * LANES);
    g.depth = div_up(g.in, div_up(g.in, max64(fits, 16)));
    int64_t rows = rows_of_phase(&g), columns = of_phase(&g.axis[CONV_W], 0);
    g.stretch = div_up(columns, div_up(columns, POSITIONS));
    g.band = div_up(rows, div_up(rows * g.stretch, POSITIONS));
    g.chunk = div_up(g.blocks, min64(g.blocks, div_up(TASKS, places(&g))));
    g.tiles = div_up(g.band * g.stretch, ROWS);
    g.packed_group = (size_t)(g.taps * LANES * g.blocks * (depthwise ? p->depth_multiplier : g.in));
    g.scratch_bytes = zeros_bytes(&g) + (size_t)ctx->threads * thread_bytes(&g);
    return g;
}

/* Takes the digit for `count` off a task number. */
static int64_t digit(int64_t *number, int64_t count)
{
    int64_t value = *number % count;
    *number /= count;
    return value;
}

/* Task number i, its tables in this thread's scratch. */
static task find_task(const gather_shape *g, const gather_tensors *tensors, int64_t i)
{
    task t = {.block = digit(&i, chunks(g)) * g->chunk};
    t.block_end = min64(t.block + g->chunk, g->blocks);
    t.group = digit(&i, g->groups);
    area a = {.col = digit(&i, stretches(g)) * g->stretch};
    a.row = digit(&i, bands(g)) * g->band;
    for (int a = CONV_AXES - 1; a >= 0; a--) t.phase[a] = digit(&i, g->axis[a].divisor);
    t.image = i;
    t.tile = (positions *)((char *)tensors->scratch + zeros_bytes(g) +
                           (size_t)omp_get_thread_num() * thread_bytes(g));
    int64_t left[CONV_AXES];
    for (int x = 0; x < CONV_AXES; x++) left[x] = of_phase(&g->axis[x], t.phase[x]);
    a.row_end = min64(a.row + g->band, left[CONV_D] * left[CONV_H]);
    a.col_end = min64(a.col + g->stretch, left[CONV_W]);
    const float *in = tensors->in + t.image * g->in_pixels * g->in_all + t.group * g->in;
    if (a.row < a.row_end && a.col < a.col_end) find_tiles(g, &t, &a, in, tensors->scratch);
    return t;
}

/* ---- sums */

/* What happens to sums on their way to memory. */
typedef struct {
    bool add; /* to what earlier channel tiles left there */
    float clip;
    const float *bias;
    int64_t lanes, step; /* real ones, and their distance in out */
} ending;

/* out: the image, at the lanes' first channel. */
static void store(const gather_shape *g, const positions *tile, tile_sums sums, ending e, float *out)
{
    for (int64_t r = 0; r < tile->count; r++) {
        float *to = out + tile->pixel[r] * g->out_all;
        for (int64_t l = 0; l < e.lanes; l++) {
            float value = sums[r][l] + (e.add ? to[l * e.step] : 0) + (e.bias ? e.bias[l * e.step] : 0);
            to[l * e.step] = conv_clipped(value, e.clip);
        }
    }
}

static void dense_task(const gather_shape *g, const task *t, const gather_tensors *tensors)
{
    int64_t first = t->group * g->out, block_size = g->taps * g->in * LANES;
    float *out = tensors->out + t->image * g->out_pixels * g->out_all;
    const float *packed = tensors->packed + (size_t)t->group * g->packed_group, *bias = tensors->bias;
    for (int64_t c = 0; c < g->in; c += g->depth)
        for (int64_t b = t->block; b < t->block_end; b++) {
            int64_t depth = min64(g->depth, g->in - c), o = first + b * LANES;
            bool last = c + depth == g->in;
            const float *w = packed + b * block_size + c * g->taps * LANES;
            ending e = {c > 0, last ? tensors->clip : 0, last && bias ? bias + o : NULL,
                        min64(LANES, g->out - b * LANES), 1};
            for (int64_t i = 0; i < t->tiles; i++) {
                const positions *tile = &t->tile[i];
                tile_sums sums = {{0}};
                for (int64_t k = 0; k < tile->taps; k++)
                    tile_add_product(sums, tile->tap[k].x, c, depth, w + tile->tap[k].tap * depth * LANES);
                store(g, tile, sums, e, out + o);
            }
        }
}

static void depthwise_sums(const positions *tile, const float *w, int64_t from, int64_t lanes, tile_sums sums)
{
    if (lanes == LANES)
        tile_add_taps(sums, tile->tap, tile->taps, from, LANES, w);
    else
        tile_add_taps(sums, tile->tap, tile->taps, from, (int)lanes, w);
}

/* Forward writes each multiple of a channel on its own; backward_data sums over them. */
static void depthwise_task(const gather_shape *g, const task *t, const gather_tensors *tensors)
{
    float *out = tensors->out + t->image * g->out_pixels * g->out_all;
    for (int64_t i = 0; i < t->tiles; i++)
        for (int64_t b = t->block; b < t->block_end; b++) {
            const positions *tile = &t->tile[i];
            int64_t c = b * LANES, lanes = min64(LANES, g->out - c);
            tile_sums sums = {{0}};
            for (int64_t m = 0; m < g->multiples; m++) {
                const float *w = tensors->packed + (m * g->blocks + b) * g->taps * LANES;
                int64_t o = c * g->multiples + m;
                depthwise_sums(tile, w, g->transposed ? m * g->out + c : c, lanes, sums);
                if (g->transposed) continue;
                ending e = {false, tensors->clip, tensors->bias ? tensors->bias + o : NULL, lanes,
                            g->multiples};
                store(g, tile, sums, e, out + o);
                memset(sums, 0, sizeof(tile_sums));
            }
            if (g->transposed) store(g, tile, sums, (ending){false, 0, NULL, lanes, 1}, out + c);
        }
}

void gather_run(const gather_shape *g, const gather_tensors *tensors, int threads)
{
    memset(tensors->scratch, 0, zeros_bytes(g));
#pragma omp parallel for schedule(static) num_threads(threads)
    for (int64_t i = 0; i < places(g) * chunks(g); i++) {
        task t = find_task(g, tensors, i);
        (g->multiples > 0 ? depthwise_task : dense_task)(g, &t, tensors);
    }
}
