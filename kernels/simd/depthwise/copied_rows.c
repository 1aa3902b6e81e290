/* Rows of one block of channels copied into scratch, each once while its neighbours are in use. */
#include "copied_rows.h"

#include <string.h>

#include "../vec.h"

enum { GAP = CACHE_LINE };

/* Measured at half a page (512 channels): reading in place is the faster. */
bool ring_wanted(int64_t pixel) { return pixel_crowding(pixel) == CACHE_WAY / CACHE_LINE; }

int64_t ring_pixel(int64_t block) { return round_up(block, 2 * GAP) + GAP; }

/* Of the row numbers in held. */
static int64_t tag_floats(const ring_size *s) { return round_up(2 * s->planes * s->rows, GAP); }

int64_t ring_floats(const ring_size *s)
{
    return s->rows == 0 ? 0 : tag_floats(s) + s->planes * s->rows * s->width * ring_pixel(s->channels);
}

row_ring ring_make(float *scratch, const ring_size *size, int64_t height, int64_t width, int64_t pixel)
{
    return (row_ring){.pixel = pixel,
                      .width = width,
                      .height = height,
                      .size = *size,
                      .copy_pixel = ring_pixel(size->channels),
                      .held = (int64_t *)scratch,
                      .copies = scratch + tag_floats(size)};
}

void ring_turn(row_ring *r, const float *image, int64_t channels, int64_t x0, int64_t x1)
{
    r->image = image;
    r->channels = channels;
    r->x0 = x0;
    r->x1 = x1;
    for (int64_t i = 0; i < r->size.planes * r->size.rows; i++) r->held[i] = -1;
}

/* Pixels [x0, x1) of a row, each of `channels` / multiplier channels repeated. Constant multipliers, of which vectors
 * are made. */
ALWAYS_INLINE void copy_row(const int64_t multiplier, const row_ring *r, const float *restrict row,
                            float *restrict copy)
{
    const int64_t count = r->channels / multiplier, pixel = r->pixel, copy_pixel = r->copy_pixel;
    for (int64_t x = r->x0; x < r->x1; x++) {
        const float *from = row + x * pixel;
        float *to = copy + x * copy_pixel;
        if (multiplier == 1) {
            memcpy(to, from, (size_t)count * sizeof *to);
            continue;
        }
        for (int64_t c = 0; c < count; c++)
            for (int64_t m = 0; m < multiplier; m++) to[c * multiplier + m] = from[c];
    }
}

const float *ring_row(row_ring *r, int64_t y)
{
    const float *row = r->image + y * r->width * r->pixel;
    if (r->size.rows == 0) return row;
    int64_t plane = y < r->height ? 0 : y / r->height;
    int64_t place = plane % r->size.planes * r->size.rows + (y - plane * r->height) % r->size.rows;
    float *copy = r->copies + (place * r->size.width - r->x0) * r->copy_pixel;
    if (r->held[place] == y) return copy;
    r->held[place] = y;
    switch (r->size.multiplier) {
    case 1: copy_row(1, r, row, copy); break;
    case 2: copy_row(2, r, row, copy); break;
    case 3: copy_row(3, r, row, copy); break;
    case 4: copy_row(4, r, row, copy); break;
    case 8: copy_row(8, r, row, copy); break;
    default: copy_row(r->size.multiplier, r, row, copy);
    }
    return copy;
}
