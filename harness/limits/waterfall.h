/* Where the promise goes: from the ratio of multiplications, dense over separable, to the speedup that arrives,
 * as factors whose product is exactly the way between them. Every factor but the rest is measured, or counted,
 * by itself: the dense convolution's time, the separable one's and its stages' timed alone, barriers. */
#ifndef SEPBENCH_LIMITS_WATERFALL_H
#define SEPBENCH_LIMITS_WATERFALL_H

#include <stdio.h>

#include "../record/record.h"

/* Rows of one problem, pass and setting. */
typedef struct {
    const record_row *dense, *separable;     /* the two sides */
    const record_row *composed;              /* depthwise, then pointwise, the intermediate in memory; may be
                                                `separable` itself; NULL: not measured */
    const record_row *depthwise, *pointwise; /* its stages alone; NULL: not measured */
} waterfall_rows;

typedef enum {
    WATERFALL_PADDING,
    WATERFALL_DENSE,
    WATERFALL_DEPTHWISE,
    WATERFALL_POINTWISE,
    WATERFALL_BARRIERS,
    WATERFALL_INTERMEDIATE,
    WATERFALL_FUSED,
    WATERFALL_REST,
    WATERFALL_STEPS
} waterfall_kind;

typedef struct {
    const char *name, *label; /* "depthwise's few multiply-adds per byte", "depthwise" */
    double factor;            /* above 1 it helps the separable convolution */
    bool measured;            /* else the factor is 1, and what it would be is in the rest */
    char from[200];           /* which rows it was made of, or why it was not measured */
} waterfall_step;

typedef struct {
    double promised, speedup;
    waterfall_step step[WATERFALL_STEPS];
} waterfall;

/* Finds a row by its case name among those that were measured; NULL: there is none. */
typedef const record_row *waterfall_lookup(const void *rows, const char *case_name);
/* The rows that belong to the two. */
waterfall_rows waterfall_find(waterfall_lookup *find, const void *rows, const record_row *dense,
                              const record_row *separable);
/* Of a run. */
const record_row *waterfall_run_row(const void *run, const char *case_name);
/* False when a side has no time or no percentage of a peak. */
bool waterfall_of(const waterfall_rows *rows, waterfall *w);
/* A table of a dozen lines. */
void waterfall_print(FILE *out, const waterfall *w);

#endif
