/* Which pixels each output pixel's taps read: convolution as an implicit GEMM over row pointers.
 *
 * Output pixels are ordered by the set of taps that reach the other tensor, and cut into tiles of up to `rows`
 * register rows. A tile lists only taps that some of its pixels have, so padding costs next to nothing, and in
 * backward_data a stride falls apart into its phases by itself. Small images share a table, so that tiles are
 * full. */
#ifndef SEPBENCH_SIMD_DENSE_ROW_TABLE_H
#define SEPBENCH_SIMD_DENSE_ROW_TABLE_H

#include <stdbool.h>
#include <stdint.h>

#include "../../conv.h"

typedef struct {
    int64_t first;   /* position of its first pixel in the order */
    int64_t index;   /* where its tap indices begin in row_table.index */
    int32_t m, taps; /* pixels; taps listed */
    int64_t slices;  /* where its taps' numbers begin in row_table.slices */
    int64_t alike;   /* tiles from this one on with as many pixels and the same taps: one batch of a kernel */
} row_tile;

typedef struct {
    int64_t images, pixels;      /* of one table; pixels = images * output pixels of an image */
    int64_t out_image, in_image; /* pixels of one image */
    int64_t taps, tiles;
    bool straight;   /* every pixel reads just the one in its own place: nobody needs out and index */
    row_tile *tile;  /* [tiles] */
    int32_t *out;    /* [pixels] output pixel, counted from the first image, at each position */
    int32_t *index;  /* per tile [taps][m]: input pixel counted from the first image, or -1: none */
    int32_t *slices; /* per tile [taps]: tap number (kd*KH + kh)*KW + kw */
} row_table;

typedef struct {
    int64_t images;
    int rows;       /* of a tile, at most */
    bool backward;  /* outputs are src pixels, inputs dst pixels */
    bool every_tap; /* tiles list all taps, reached or not */
} row_table_kind;

/* CONV_NO_MEMORY, or CONV_REFUSED when pixels reach 2^31. */
conv_status row_table_build(const conv_problem *p, const row_table_kind *kind, row_table *table,
                            conv_error *err);
void row_table_free(row_table *table);

#endif
