/* Rows of one block of channels copied into scratch, each once while its neighbours are in use. */
#include "copied_rows.h"

#include <string.h>

#include "../vec.h"

enum { GAP = CACHE_LINE };

/* Measured at half a page (512 channels): reading in place is the faster. */
bool ring_wanted(int64_t pixel) { return pixel_crowding(pixel) == CACHE_WAY / CACHE_LINE; }

int64_t ring_pixel(int64_t block) { return round_up(block, 2 * GAP) + GAP; }

/* Of the row numbers in held. */
static int64_t tag_floats(int64_t rows) { return round_up(2 * rows, GAP); }

int64_t ring_floats(int64_t rows, int64_t width, int64_t block)
{
    return rows == 0 ? 0 : tag_floats(rows) + rows * width * ring_pixel(block);
}

row_ring ring_make(float *scratch, int64_t rows, int64_t width, int64_t block, int64_t pixel)
{
    return (row_ring){.pixel = pixel,
                      .width = width,
                      .rows = rows,
                      .copy_pixel = ring_pixel(block),
                      .held = (int64_t *)scratch,
                      .copies = scratch + tag_floats(rows)};
}

void ring_turn(row_ring *r, const float *image, int64_t channels)
{
    r->image = image;
    r->channels = channels;
    for (int64_t i = 0; i < r->rows; i++) r->held[i] = -1;
}

const float *ring_row(row_ring *r, int64_t y)
{
    const float *row = r->image + y * r->width * r->pixel;
    if (r->rows == 0) return row;
    int64_t place = y % r->rows;
    float *copy = r->copies + place * r->width * r->copy_pixel;
    if (r->held[place] == y) return copy;
    r->held[place] = y;
    for (int64_t x = 0; x < r->width; x++)
        memcpy(copy + x * r->copy_pixel, row + x * r->pixel, (size_t)r->channels * sizeof(float));
    return copy;
}
