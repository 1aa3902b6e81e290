/* Implicit GEMM of forward and backward_data over row tables.
 *
 * Loop order of a thread: set of images, block of output pixels, channel group, block of k, weight panel, tile.
 * A panel's block of k is read from memory once per block of pixels and then from L2; the block's rows stay
 * while the panels pass, where they fit as well. Units (panel, tile) are dealt out as equal contiguous shares,
 * so any number of threads balances and none reduces: dst tiles have one owner. How large blocks are and the
 * rest is the strategy's (product_plan.c). Rows may be copied first: a block of k is compact in the cache only
 * then, and rows a multiple of 4 KiB apart share one cache set.
 * What does not fit L2 may be prefetched while something else is multiplied: during a thread's first panel the
 * rows of the tiles, or of the copy, that come next; during every other the next panel. */
#include "product.h"

#include "../copy.h"

enum { TILES_AHEAD = 4 }; /* rows are prefetched so many tiles before they are read in place */

/* What the tiles of one set of images have in common. */
typedef struct {
    const product *p;
    const row_table *table;
    const float *in, *packed, *bias; /* in: first image of the set */
    float *out;
    float clip;
    float *copied;
} job;

/* The present block: channel group, tiles, k, and where copied rows begin. */
typedef struct {
    int64_t group;
    tile_range tiles;
    int64_t first_panel, last_panel; /* of the thread's share of it */
    int64_t k0, k;
    int64_t first;       /* position (gather) or input pixel (copy) at job.copied */
    const float *rows;   /* of position `first`, where kernels need no index */
    float *dst;          /* of the present panel, from pixel 0 on */
    gemm_rows_args args; /* of the next batch; much is common to all */
} block;

static void copy_inputs(const job *j, const block *b, int64_t count)
{
    const product *p = j->p;
    int64_t channels = p->groups * p->k, gap = product_row_gap(p);
    const float *from = j->in + b->first * channels + b->group * p->k + b->k0;
    copy_pixels(from, channels, count, b->k, j->copied, gap);
}

/* The block of k of the row that each position reads. */
static void gather_rows(const job *j, const block *b, tile_range tiles)
{
    const product *p = j->p;
    int64_t channels = p->groups * p->k, gap = product_row_gap(p);
    const float *from = j->in + b->group * p->k + b->k0;
    for (int64_t i = tiles.begin; i < tiles.end; i++) {
        const row_tile *tile = &j->table->tile[i];
        const int32_t *in = j->table->index + tile->index;
        float *to = j->copied + (tile->first - b->first) * gap;
        for (int64_t r = 0; r < tile->m; r++, to += gap)
            p->way->prepare(to, in[r] < 0 ? p->zeros : from + in[r] * channels, b->k);
    }
}

/* What all batches of the block have in common; set once, for a batch may last a microsecond. */
static void set_common(const job *j, block *b)
{
    const product *p = j->p;
    bool direct = !p->how.copied;
    b->rows = direct ? j->in + b->group * p->k + b->k0 : j->copied;
    b->args = (gemm_rows_args){
        .rows = b->rows,
        .row_stride = direct ? p->groups * p->k : product_row_gap(p),
        .first = direct || p->gathered ? 0 : b->first,
        .zeros = p->zeros,
        .k = b->k,
        .dst_stride = p->groups * p->n,
        .accumulate = b->k0 > 0,
        .clip = b->k0 + b->k == p->k ? j->clip : 0,
        .stream = p->how.stream,
    };
}

/* Columns of a panel, its last vector filled up; where its present block of k begins. */
static int64_t panel_width(const product *p, int64_t panel)
{
    int64_t full = p->how.vectors * VL;
    return round_up(min64(full, p->n - panel * full), VL);
}

static const float *panel_at(const job *j, const block *b, int64_t panel)
{
    const product *p = j->p;
    int64_t row = gemm_panel_rows(p->way, b->k0, p->how.k);
    return j->packed + b->group * p->panel_floats + panel * p->how.vectors * VL * p->panel_rows +
           row * panel_width(p, panel);
}

/* What a batch prefetches: the panel after this one, as many rows of k floats as it has columns, from
 * the share's first tile on. */
static void prefetch_panel(const job *j, block *b, int64_t row, int64_t panel)
{
    b->args.ahead = panel_at(j, b, panel + 1) + row * b->k;
    b->args.ahead_stride = b->k;
    b->args.ahead_rows = panel_width(j->p, panel + 1) - row;
}

/* Or the rows that come next: of tiles further on; of a copy, those of its next block of k or of pixels. */
static void prefetch_rows(const job *j, block *b, const row_tile *tile, int64_t block_pixels)
{
    const product *p = j->p;
    int64_t pixel = max64(0, j->table->index[tile->index + tile->taps / 2 * tile->m]), k0 = b->k0;
    if (!p->how.copied)
        pixel += TILES_AHEAD * tile->m;
    else if (k0 + b->k < p->k)
        k0 += b->k;
    else
        pixel += block_pixels, k0 = 0;
    int64_t channels = p->groups * p->k;
    b->args.ahead = j->in + pixel * channels + b->group * p->k + k0;
    b->args.ahead_stride = channels;
    b->args.ahead_rows = INT64_MAX;
}

/* `tiles` tiles alike from this one on, and the panel that run_panel has set. */
static void run_batch(const job *j, block *b, const row_tile *tile, int64_t tiles, int vectors)
{
    const product *p = j->p;
    const row_table *t = j->table;
    gemm_rows_args *args = &b->args;
    bool gather = p->gathered;
    args->tiles = tiles;
    args->taps = gather ? 1 : tile->taps;
    if (gather || t->straight) {
        args->rows = b->rows + (tile->first - b->first) * args->row_stride;
    } else {
        args->slices = t->slices + tile->slices;
        args->index = t->index + tile->index;
    }
    if (t->straight)
        args->dst = b->dst + tile->first * args->dst_stride;
    else
        args->dst_index = t->out + tile->first;
    p->way->rows(tile->m, vectors)(args);
}

/* Tiles [begin, end) of the block's, of one panel. */
static void run_panel(const job *j, block *b, int64_t panel, int64_t begin, int64_t end)
{
    const product *p = j->p;
    const row_table *t = j->table;
    const tile_range tiles = b->tiles;
    const bool first = panel == b->first_panel, last = panel == b->last_panel;
    int64_t column = panel * p->how.vectors * VL, width = panel_width(p, panel),
            origin = t->tile[tiles.begin].first;
    int64_t pixels = (tiles.end == t->tiles ? t->pixels : t->tile[tiles.end].first) - origin;
    b->args.panel = panel_at(j, b, panel);
    b->args.slice_stride = p->k * width;
    b->args.dst = b->dst = j->out + b->group * p->n + column;
    b->args.n = min64(width, p->n - column);
    b->args.bias = j->bias == NULL ? NULL : j->bias + b->group * p->n + column;
    b->args.ahead_rows = 0;
    for (int64_t i = begin, batch; i < end; i += batch) {
        const row_tile *tile = &t->tile[tiles.begin + i];
        if (p->rows_ahead && first)
            prefetch_rows(j, b, tile, pixels);
        else if (p->panels_ahead && !last)
            prefetch_panel(j, b, tile->first - origin, panel);
        batch = min64(tile->alike, end - i);
        run_batch(j, b, tile, batch, (int)(width / VL));
    }
}

/* Units [begin, end) of (panel, tile), panel slowest, for one block of tiles and one channel group. */
static void run_units(const job *j, int64_t group, tile_range tiles, int64_t begin, int64_t end)
{
    const product *p = j->p;
    int64_t count = tiles.end - tiles.begin, first = begin / count, last = (end - 1) / count;
    /* Of a share within one panel only its own tiles' rows are wanted. */
    tile_range read = tiles;
    if (first == last)
        read = (tile_range){tiles.begin + begin - first * count, tiles.begin + end - first * count};
    block b = {.group = group, .tiles = tiles, .first_panel = first, .last_panel = last};
    for (int64_t kb = 0; kb < p->k_blocks; kb++) {
        b.k0 = kb * p->how.k;
        b.k = min64(p->how.k, p->k - b.k0);
        if (p->gathered) {
            b.first = j->table->tile[read.begin].first;
            gather_rows(j, &b, read);
        } else if (p->how.copied) {
            int64_t past;
            product_tile_inputs(j->table, read, &b.first, &past);
            copy_inputs(j, &b, past - b.first);
        }
        set_common(j, &b);
        for (int64_t panel = first; panel <= last; panel++)
            run_panel(j, &b, panel, max64(0, begin - panel * count), min64(count, end - panel * count));
    }
}

/* Units [begin, end) of one set of images: block of tiles slowest, then channel group, panel, tile. */
static void run_images(const job *j, int64_t begin, int64_t end)
{
    const product *p = j->p;
    int64_t per_tile = p->groups * p->panels, blocks = product_block_count(p, j->table);
    for (int64_t i = 0; i < blocks; i++) {
        tile_range tiles = product_block_tiles(p, j->table, i);
        int64_t count = (tiles.end - tiles.begin) * p->panels;
        for (int64_t g = 0; g < p->groups; g++) {
            int64_t first = tiles.begin * per_tile + g * count;
            int64_t from = max64(begin, first), to = min64(end, first + count);
            if (from < to) run_units(j, g, tiles, from - first, to - first);
        }
    }
}

void product_run(const matrix_product *m, const product_share *s)
{
    const product *p = (const product *)m;
    int64_t begin, end, at = 0;
    share(p->full * p->units[0] + p->units[1], s->thread, s->threads, &begin, &end);
    for (int64_t i = 0; i < p->full + (p->units[1] > 0); i++) {
        int which = i == p->full;
        const row_table *t = &p->table[which];
        int64_t from = max64(begin, at), to = min64(end, at + p->units[which]);
        if (from < to) {
            job j = {.p = p,
                     .table = t,
                     .in = s->in + i * p->how.images * t->in_image * p->groups * p->k,
                     .packed = s->packed,
                     .bias = s->bias,
                     .out = s->out + i * p->how.images * t->out_image * p->groups * p->n,
                     .clip = s->clip,
                     .copied = s->scratch};
            run_images(&j, from - at, to - at);
        }
        at += p->units[which];
    }
    if (p->how.stream) vec_stream_end();
}
