/* What the implementations of the family tf-like (tflike.c) and their pixels (pixels.c) share. */
#ifndef SEPBENCH_SIMD_TFLIKE_H
#define SEPBENCH_SIMD_TFLIKE_H

#include "../../plan.h"
#include "../vec.h"
#include "sleepers.h"

/* What was removed; each level lacks the causes of those before it too. */
typedef enum {
    AS_TENSORFLOW,
    WITH_FMA,       /* multiply-add in one instruction */
    WITHOUT_COPY,   /* inputs are read where they lie */
    WITH_REGISTERS, /* what a tap needs is loaded once for PIXELS pixels */
    WITH_THREADS,   /* rows are shared out in gradients too, in short calls too, among threads that are awake */
    LEVELS
} removed;

enum {
    PIXELS = 4,
    CHUNKS = 16, /* of rows: enough for the usual numbers of threads */
    /* Floats between buffers that TensorFlow allocates one by one, and which here are parts of one scratch. 64
     * KB, as the prefetcher of a core runs on past the end of its patch into another core's; and not whole
     * pages, as a load waits for an earlier store to the same offset in another page. */
    APART = 16 * CACHE_WAY + 64
};

typedef struct {
    conv_plan head;
    removed level;
    sleepers *pool;                         /* before WITH_THREADS; NULL with one thread */
    int64_t taps, padded;                   /* padded: channels in whole vectors */
    int64_t chunk;                          /* backward_weights: rows of an image that are summed apart */
    size_t patch_floats;                    /* from one thread's to the next */
    size_t filter, gradient, sums, patches; /* where they begin in scratch, floats */
} tflike_plan;

/* One product: units of `step` rows of an image. */
typedef struct job job;
struct job {
    const tflike_plan *plan;
    const float *in;           /* src or, backward_data, diff_dst: [MB][H][W][C] */
    const float *filter;       /* [taps][padded] */
    const float *gradient;     /* backward_weights: diff_dst [MB][OH][OW][C] */
    float *out;                /* dst or diff_src [MB][H][W][C]; backward_weights: sums [units][taps][padded] */
    bool backward;             /* out is diff_src */
    int64_t rows, width, step; /* of an image of what is walked over */
    void (*unit)(const job *j, int64_t unit, float *patch);
};

/* Of each level, for forward and backward_data, and for backward_weights. patch: the thread's. */
typedef struct {
    void (*convolve)(const job *j, int64_t unit, float *patch);
    void (*weights)(const job *j, int64_t unit, float *patch);
} tflike_units;
extern const tflike_units tflike_units_of[LEVELS];

#endif
