/* Rows of images, counted through depth: which row of src meets which of dst at one row of taps. */
#ifndef SEPBENCH_ROWS_H
#define SEPBENCH_ROWS_H

#include "conv.h"

/* An output at `first` + its own place * `step` reads there, if that is below `in`. */
typedef struct {
    int64_t step, first, in;
} tap_axis;

typedef struct {
    tap_axis d, h;
    int64_t height; /* rows of a slice of dst */
} tap_rows;

static inline tap_axis tap_axis_of(const conv_axis *a, int64_t tap)
{
    return (tap_axis){a->stride, tap * a->dilation - a->pad_before, a->in};
}

/* tap: kd*KH + kh; height: conv_out of axis h. */
static inline tap_rows tap_rows_of(const conv_problem *p, int64_t tap, int64_t height)
{
    const conv_axis *h = &p->axis[CONV_H];
    return (tap_rows){tap_axis_of(&p->axis[CONV_D], tap / h->kernel), tap_axis_of(h, tap % h->kernel), height};
}

/* The row of src that a row of dst reads, or -1. */
static inline int64_t tap_rows_source(const tap_rows *t, int64_t row)
{
    int64_t slice = row < t->height ? 0 : row / t->height;
    int64_t z = slice * t->d.step + t->d.first, y = (row - slice * t->height) * t->h.step + t->h.first;
    return z < 0 || z >= t->d.in || y < 0 || y >= t->h.in ? -1 : z * t->h.in + y;
}

#endif
