/* Rows of a tensor copied next to each other, as the depthwise kernels come to need them.
 *
 * In NHWC with a power of two of channels, the pixels that a tile reads lie whole pages apart: all in one set
 * of the L1 cache, where they evict each other and each other's prefetched neighbours. A ring holds the rows of
 * one block of channels with pixels an odd number of cache lines apart; each row is copied once, in long
 * pieces. With a depth multiplier each channel is repeated as often meanwhile, for the kernels know none. Where
 * the tensor's pixels are well spread, rows are read where they lie. */
#ifndef SEPBENCH_SIMD_DEPTHWISE_COPIED_ROWS_H
#define SEPBENCH_SIMD_DEPTHWISE_COPIED_ROWS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Whether pixels that many floats apart all fall into one set of L1 (pixel_crowding). */
bool ring_wanted(int64_t pixel);
/* Floats from one copied pixel, or tap, to the next. */
int64_t ring_pixel(int64_t block);
/* What a ring holds at a time, all of the same block of channels. */
typedef struct {
    int64_t planes, rows; /* neighbouring planes of the image, neighbouring rows of each; rows 0: nothing */
    int64_t width;        /* neighbouring pixels of a row */
    int64_t channels;     /* of the block, repeated ones counted */
    int64_t multiplier;   /* how often each is repeated */
} ring_size;
/* Floats of scratch, a multiple of a cache line. */
int64_t ring_floats(const ring_size *size);

typedef struct {
    const float *image; /* row 0, pixel 0, first channel of the block */
    int64_t pixel;      /* floats from one to the next in the tensor */
    int64_t width;      /* pixels of a row there */
    int64_t height;     /* rows of a plane there */
    int64_t channels;   /* of the block that it is turned to, repeated ones counted */
    int64_t x0, x1;     /* pixels that it copies of a row */
    ring_size size;     /* rows 0: rows are read where they lie */
    int64_t copy_pixel;
    float *copies;
    int64_t *held; /* [planes][rows] the row in each place, -1: none */
} row_ring;

/* A ring in `scratch` of ring_floats, over images of rows of `width` pixels and planes of `height` rows. */
row_ring ring_make(float *scratch, const ring_size *size, int64_t height, int64_t width, int64_t pixel);
/* Rows of an image read where they lie. */
static inline row_ring rows_in_place(const float *image, int64_t width, int64_t pixel)
{
    return (row_ring){.image = image, .pixel = pixel, .width = width};
}
/* Turns to another image, block or part [x0, x1) of the rows: forgets all rows. */
void ring_turn(row_ring *r, const float *image, int64_t channels, int64_t x0, int64_t x1);
/* Row y, counted through all planes, at pixel 0; its pixels are ring_step apart. */
const float *ring_row(row_ring *r, int64_t y);

/* Floats from one pixel of a row to the next. */
static inline int64_t ring_step(const row_ring *r) { return r->size.rows > 0 ? r->copy_pixel : r->pixel; }

#endif
