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

/* Each of `channels` / multiplier channels repeated. Constant multipliers, of which vectors are made. */
ALWAYS_INLINE void widen_by(const int64_t multiplier, const float *restrict from, int64_t channels,
                            float *restrict to)
{
    for (int64_t c = 0; c < channels / multiplier; c++)
        for (int64_t m = 0; m < multiplier; m++) to[c * multiplier + m] = from[c];
}

static void widen(int64_t multiplier, const float *from, int64_t channels, float *to)
{
    switch (multiplier) {
    case 1: memcpy(to, from, (size_t)channels * sizeof(float)); break;
    case 2: widen_by(2, from, channels, to); break;
    case 3: widen_by(3, from, channels, to); break;
    case 4: widen_by(4, from, channels, to); break;
    default: widen_by(multiplier, from, channels, to);
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
    for (int64_t x = r->x0; x < r->x1; x++)
        widen(r->size.multiplier, row + x * r->pixel, r->channels, copy + x * r->copy_pixel);
    return copy;
}
