/* Builds row tables: the classes of rows, counted through depth, and of columns whose valid taps agree, then
 * pixels by class of row and column, then tiles. Runs once per plan. */
#include <stdlib.h>
#include <string.h>

#include "../../util.h"
#include "../axis.h"
#include "row_table.h"

/* One axis, or two as one: what tap k reads for output o, and the class of o. */
typedef struct {
    int64_t out, taps, classes;
    int32_t *in;    /* [out][taps], -1: nothing */
    int32_t *class; /* [out], numbered by first appearance */
} axis_map;

static bool same_taps(const int32_t *a, const int32_t *b, int64_t taps)
{
    for (int64_t k = 0; k < taps; k++)
        if ((a[k] < 0) != (b[k] < 0)) return false;
    return true;
}

/* Classes are few next to coordinates: each coordinate is compared with the first of each class. */
static bool map_axes(const conv_axis *outer, const conv_axis *a, bool backward, axis_map *map)
{
    int64_t outputs = axis_outputs(a, backward), inputs = axis_inputs(a, backward);
    map->out = axis_outputs(outer, backward) * outputs;
    map->taps = outer->kernel * a->kernel;
    map->in = malloc((size_t)(map->out * map->taps) * sizeof *map->in);
    map->class = malloc((size_t)map->out * sizeof *map->class);
    int64_t *first = malloc((size_t)map->out * sizeof *first);
    bool ok = map->in != NULL && map->class != NULL && first != NULL;
    for (int64_t o = 0; ok && o < map->out; o++) {
        int32_t *in = map->in + o * map->taps;
        for (int64_t k = 0; k < map->taps; k++) {
            int64_t at = axis_input(outer, backward, o / outputs, k / a->kernel),
                    inner = axis_input(a, backward, o % outputs, k % a->kernel);
            in[k] = at < 0 || inner < 0 ? -1 : (int32_t)(at * inputs + inner);
        }
        int64_t c = 0;
        while (c < map->classes && !same_taps(in, map->in + first[c] * map->taps, map->taps)) c++;
        if (c == map->classes) first[map->classes++] = o;
        map->class[o] = (int32_t)c;
    }
    free(first);
    return ok;
}

static void free_axis(axis_map *map)
{
    free(map->in);
    free(map->class);
}

/* An image: its rows, counted through depth, and columns. */
typedef struct {
    axis_map h, w;
    int64_t in_width;
} image_map;

static void order_pixels(const image_map *map, row_table *t)
{
    const axis_map *h = &map->h, *w = &map->w;
    int64_t at = 0;
    for (int64_t ch = 0; ch < h->classes; ch++)
        for (int64_t cw = 0; cw < w->classes; cw++)
            for (int64_t i = 0; i < t->images; i++)
                for (int64_t y = 0; y < h->out; y++)
                    for (int64_t x = 0; h->class[y] == ch && x < w->out; x++)
                        if (w->class[x] == cw) t->out[at++] = (int32_t)(i * t->out_image + y * w->out + x);
}

/* The input pixel of a tap for an output pixel of the table, or -1. */
static int32_t input_pixel(const image_map *map, const row_table *t, int32_t out, int64_t tap)
{
    const axis_map *h = &map->h, *w = &map->w;
    int64_t image = out / t->out_image, y = out % t->out_image / w->out, x = out % w->out;
    int32_t iy = h->in[y * h->taps + tap / w->taps], ix = w->in[x * w->taps + tap % w->taps];
    return iy < 0 || ix < 0 ? -1 : (int32_t)(image * t->in_image + iy * map->in_width + ix);
}

static void list_taps(const image_map *map, bool every_tap, row_table *t)
{
    int64_t index = 0, slices = 0;
    for (int64_t i = 0; i < t->tiles; i++) {
        row_tile *tile = &t->tile[i];
        int64_t begin, end;
        share(t->pixels, i, t->tiles, &begin, &end);
        *tile = (row_tile){.first = begin, .index = index, .m = (int32_t)(end - begin), .slices = slices};
        for (int64_t tap = 0; tap < t->taps; tap++) {
            bool reached = every_tap;
            for (int64_t r = 0; r < tile->m; r++) {
                int32_t in = input_pixel(map, t, t->out[begin + r], tap);
                t->index[index + r] = in;
                reached |= in >= 0;
            }
            if (!reached) continue;
            index += tile->m;
            t->slices[slices++] = (int32_t)tap;
            tile->taps++;
        }
    }
}

static void count_alike(row_table *t)
{
    for (int64_t i = t->tiles - 1; i >= 0; i--) {
        row_tile *tile = &t->tile[i], *next = tile + 1;
        bool same = i + 1 < t->tiles && next->m == tile->m && next->taps == tile->taps &&
                    memcmp(t->slices + tile->slices, t->slices + next->slices,
                           (size_t)tile->taps * sizeof *t->slices) == 0;
        tile->alike = same ? next->alike + 1 : 1;
    }
}

static bool is_straight(const row_table *t)
{
    bool straight = t->taps == 1;
    for (int64_t i = 0; straight && i < t->pixels; i++) straight = t->out[i] == i && t->index[i] == i;
    return straight;
}

conv_status row_table_build(const conv_problem *p, const row_table_kind *kind, row_table *table,
                            conv_error *err)
{
    static const conv_axis none = {.in = 1, .kernel = 1, .stride = 1, .dilation = 1};
    const conv_axis *aw = &p->axis[CONV_W];
    image_map map = {.in_width = axis_inputs(aw, kind->backward)};
    conv_status status = CONV_OK;
    int64_t src = conv_src_pixels(p), dst = conv_dst_pixels(p);
    *table = (row_table){.images = kind->images,
                         .out_image = kind->backward ? src : dst,
                         .in_image = kind->backward ? dst : src,
                         .taps = conv_taps(p)};
    table->pixels = kind->images * table->out_image;
    table->tiles = div_up(table->pixels, kind->rows);
    if (kind->images * max64(src, dst) > INT32_MAX)
        return conv_fail(err, CONV_REFUSED, "images beyond 2^31 pixels");
    table->tile = malloc((size_t)table->tiles * sizeof *table->tile);
    table->out = malloc((size_t)table->pixels * sizeof *table->out);
    /* One tap's row beyond the end: a tap is written before it is known to be reached. */
    table->index = malloc((size_t)(table->pixels * table->taps + kind->rows) * sizeof *table->index);
    table->slices = malloc((size_t)(table->tiles * table->taps) * sizeof *table->slices);
    if (table->tile == NULL || table->out == NULL || table->index == NULL || table->slices == NULL ||
        !map_axes(&p->axis[CONV_D], &p->axis[CONV_H], kind->backward, &map.h) ||
        !map_axes(&none, aw, kind->backward, &map.w)) {
        row_table_free(table);
        status = conv_fail(err, CONV_NO_MEMORY, "no memory for the table of rows");
    } else {
        order_pixels(&map, table);
        list_taps(&map, kind->every_tap, table);
        count_alike(table);
        table->straight = is_straight(table);
    }
    free_axis(&map.h);
    free_axis(&map.w);
    return status;
}

void row_table_free(row_table *t)
{
    free(t->tile);
    free(t->out);
    free(t->index);
    free(t->slices);
    *t = (row_table){0};
}
