/* Tiles in and out of Winograd's domain, a vector of channels at a time. Each transform takes the columns of a
 * tile, then its rows: six numbers at a time stay in registers, the tile between the two in L1. */
#include "winograd.h"

#include <stdio.h>

#include "transform.h"

enum { MOST_ALPHA = WINOGRAD_MOST_ALPHA, MOST_PIXELS = MOST_ALPHA * MOST_ALPHA };

int64_t winograd_best_m(const winograd_grid *g, int64_t least)
{
    int64_t tiles_4 = div_up(g->out_h, 4) * div_up(g->out_w, 4),
            tiles_2 = div_up(g->out_h, 2) * div_up(g->out_w, 2);
    bool inside = min64(min64(g->in_h, g->in_w), min64(g->out_h, g->out_w)) >= least;
    return inside && tiles_4 * 36 <= tiles_2 * 16 ? 4 : 2;
}

void winograd_cut(winograd_grid *g, int64_t m, int64_t images)
{
    g->m = (int)m;
    g->alpha = g->m + 2;
    g->tiles_w = div_up(g->out_w, m);
    g->tiles_image = g->tiles_w * div_up(g->out_h, m);
    g->tiles = g->tiles_image * images;
}

void winograd_note(const winograd_grid *g, char note[CONV_NOTE])
{
    snprintf(note, CONV_NOTE, "F(%dx%d,3x3)", g->m, g->m);
}

/* Upper left pixel of a tile in `out`. */
typedef struct {
    int64_t image, y, x;
} origin;

static origin origin_of(const winograd_grid *g, int64_t tile)
{
    int64_t i = tile % g->tiles_image;
    return (origin){tile / g->tiles_image, i / g->tiles_w * g->m, i % g->tiles_w * g->m};
}

/* What a transform reads: pixels of the tile, and which channels of each. */
typedef struct {
    const float *at[MOST_PIXELS];
    int64_t inside[MOST_PIXELS]; /* channel c of pixel i at at[i][c & inside[i]]: all ones; 0: padding, zeros */
    int64_t first, last;         /* channels */
    int64_t ahead; /* floats from a pixel to the one in its place in the next tile; 0: not prefetched */
} tile_pixels;

/* size x size pixels from (o.y, o.x) on of an image [height][width][channels]. */
static tile_pixels look(const winograd_grid *g, const winograd_channels *in, int size, int64_t height,
                        int64_t width, origin o)
{
    const float *image = in->data + o.image * height * width * in->channels;
    tile_pixels w = {.first = in->first, .last = in->last, .ahead = g->ahead ? g->m * in->channels : 0};
    for (int i = 0; i < size; i++)
        for (int j = 0; j < size; j++) {
            int64_t y = o.y + i, x = o.x + j;
            bool inside = y >= 0 && y < height && x >= 0 && x < width;
            w.at[i * size + j] = inside ? image + (y * width + x) * in->channels : vec_zeros;
            w.inside[i * size + j] = inside ? -1 : 0;
        }
    return w;
}

/* size numbers per axis become alpha: the input's transform, or that of the gradient of the output. */
ALWAYS_INLINE void transform_axis(const int alpha, const int size, vec *d)
{
    if (size == alpha)
        alpha == 6 ? winograd_input_6(d, 1) : winograd_input_4(d, 1);
    else
        alpha == 6 ? winograd_diff_6(d, 1) : winograd_diff_4(d, 1);
}

ALWAYS_INLINE void transform_pixels(const int alpha, const int size, const bool prefetching,
                                    const tile_pixels *w, const winograd_place *to)
{
    const int64_t stride = to->xi_stride, width = to->width, first = w->first, last = w->last;
    float *block = to->at;
    for (int64_t c0 = first; c0 < last; c0 += width, block += to->block)
        for (int64_t c = c0; c < min64(c0 + width, last); c += VL) {
            vec_mask lanes = vec_mask_first(min64(VL, last - c));
            vec half[MOST_PIXELS], d[MOST_ALPHA];
            for (int x = 0; x < size; x++) {
                const bool fresh =
                    prefetching && x >= size - (alpha - 2); /* the others it shares with this one */
                UNROLL for (int y = 0; fresh && y < size; y++) prefetch(w->at[y * size + x] + c + w->ahead, VL);
                UNROLL for (int y = 0; y < size; y++)
                {
                    const int i = y * size + x;
                    d[y] = vec_load_mask(w->at[i] + (c & w->inside[i]), lanes);
                }
                transform_axis(alpha, size, d);
                UNROLL for (int y = 0; y < alpha; y++) half[y * size + x] = d[y];
            }
            float *out = block + c - c0;
            for (int y = 0; y < alpha; y++) {
                UNROLL for (int x = 0; x < size; x++) d[x] = half[y * size + x];
                transform_axis(alpha, size, d);
                UNROLL for (int x = 0; x < alpha; x++, out += stride) vec_store(out, d[x]);
            }
        }
}

ALWAYS_INLINE void transform(const int alpha, const int size, const tile_pixels *w, const winograd_place *to)
{
    if (w->ahead > 0)
        transform_pixels(alpha, size, true, w, to);
    else
        transform_pixels(alpha, size, false, w, to);
}

void winograd_input(const winograd_grid *g, int64_t tile, const winograd_channels *in, const winograd_place *to)
{
    origin o = origin_of(g, tile);
    o.y -= g->pad_h;
    o.x -= g->pad_w;
    const tile_pixels w = look(g, in, g->alpha, g->in_h, g->in_w, o);
    if (g->alpha == 6)
        transform(6, 6, &w, to);
    else
        transform(4, 4, &w, to);
}

void winograd_diff(const winograd_grid *g, int64_t tile, const winograd_channels *out, const winograd_place *to)
{
    const tile_pixels w = look(g, out, g->m, g->out_h, g->out_w, origin_of(g, tile));
    if (g->alpha == 6)
        transform(6, 4, &w, to);
    else
        transform(4, 2, &w, to);
}

ALWAYS_INLINE void output_tile(const int alpha, const winograd_grid *g, int64_t tile,
                               const winograd_place *from, const winograd_outputs *to)
{
    const int m = alpha - 2;
    const int64_t channels = to->channels;
    const bool stream = to->stream;
    const float clip = to->clip;
    const float *bias = to->bias;
    const int64_t stride = from->xi_stride, line = g->out_w * channels;
    origin o = origin_of(g, tile);
    const int rows = (int)min64(m, g->out_h - o.y), columns = (int)min64(m, g->out_w - o.x);
    const float *at = from->at;
    float *out = to->data + ((o.image * g->out_h + o.y) * g->out_w + o.x) * channels;
    for (int64_t c = 0; c < channels; c += VL) {
        vec_mask lanes = vec_mask_first(min64(VL, channels - c));
        vec half[MOST_PIXELS], d[MOST_ALPHA], offset = vec_zero();
        if (bias != NULL) offset = vec_load_mask(bias + c, lanes);
        for (int x = 0; x < alpha; x++) {
            UNROLL for (int y = 0; y < alpha; y++) d[y] = vec_load(at + (y * alpha + x) * stride + c);
            alpha == 6 ? winograd_output_6(d, 1) : winograd_output_4(d, 1);
            UNROLL for (int y = 0; y < m; y++) half[y * alpha + x] = d[y];
        }
        for (int y = 0; y < m && y < rows; y++) {
            UNROLL for (int x = 0; x < alpha; x++) d[x] = half[y * alpha + x];
            alpha == 6 ? winograd_output_6(d, 1) : winograd_output_4(d, 1);
            float *pixel = out + y * line + c;
            UNROLL for (int x = 0; x < m; x++, pixel += channels)
            {
                vec v = vec_add(d[x], offset);
                vec_clip(1, &v, clip);
                if (x >= columns) continue;
                if (stream)
                    vec_stream(pixel, v);
                else
                    vec_store_mask(pixel, lanes, v);
            }
        }
    }
}

void winograd_output(const winograd_grid *g, int64_t tile, const winograd_place *from,
                     const winograd_outputs *to)
{
    if (g->alpha == 6)
        output_tile(6, g, tile, from, to);
    else
        output_tile(4, g, tile, from, to);
}

ALWAYS_INLINE void gradient_columns(const int alpha, const float *u, int64_t xi_stride, int64_t columns,
                                    const winograd_taps *to)
{
    const int64_t tap_stride = to->tap_stride;
    const bool accumulate = to->accumulate;
    float *weights = to->data;
    for (int64_t c = 0; c < columns; c += VL) {
        vec_mask lanes = vec_mask_first(min64(VL, columns - c));
        vec half[3 * MOST_ALPHA], d[MOST_ALPHA];
        for (int x = 0; x < alpha; x++) {
            UNROLL for (int y = 0; y < alpha; y++) d[y] = vec_load(u + (y * alpha + x) * xi_stride + c);
            alpha == 6 ? winograd_gradient_6(d, 1) : winograd_gradient_4(d, 1);
            UNROLL for (int y = 0; y < 3; y++) half[y * alpha + x] = d[y];
        }
        for (int y = 0; y < 3; y++) {
            UNROLL for (int x = 0; x < alpha; x++) d[x] = half[y * alpha + x];
            alpha == 6 ? winograd_gradient_6(d, 1) : winograd_gradient_4(d, 1);
            float *tap = weights + 3 * y * tap_stride + c;
            UNROLL for (int x = 0; x < 3; x++, tap += tap_stride)
                vec_store_mask(tap, lanes, accumulate ? vec_add(d[x], vec_load_mask(tap, lanes)) : d[x]);
        }
    }
}

void winograd_gradient(int alpha, const float *u, int64_t xi_stride, int64_t columns, const winograd_taps *to)
{
    if (alpha == 6)
        gradient_columns(6, u, xi_stride, columns, to);
    else
        gradient_columns(4, u, xi_stride, columns, to);
}
