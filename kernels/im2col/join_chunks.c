/* Partial sums over fixed chunks of the problem, in parallel, then a balanced tree over the chunks. */
#include "join_chunks.h"

#include <string.h>

#include "../util.h"

enum { MOST_CHUNKS = 64, CHUNK = 64 /* pixels, at least */ };

void join_chunks(float *parts, int64_t chunks, int64_t count, float *sum, bool add, int threads)
{
    enum { BLOCK = 256 }; /* elements per task */
#pragma omp parallel for schedule(static) num_threads(threads)
    for (int64_t first = 0; first < count; first += BLOCK) {
        int64_t end = min64(first + BLOCK, count);
        for (int64_t step = 1; step < chunks; step *= 2)
            for (int64_t c = 0; c + step < chunks; c += 2 * step) {
                float *to = parts + c * count, *from = parts + (c + step) * count;
#pragma omp simd
                for (int64_t i = first; i < end; i++) to[i] += from[i];
            }
        for (int64_t i = first; i < end; i++) sum[i] = add ? sum[i] + parts[i] : parts[i];
    }
}

static int64_t pixels_of(const conv_problem *p) { return p->mb * conv_dst_pixels(p); }

/* A chunk is a run of pixels of the whole batch. */
static int64_t chunk_size(const conv_problem *p) { return max64(CHUNK, div_up(pixels_of(p), MOST_CHUNKS)); }
static int64_t chunk_count(const conv_problem *p) { return div_up(pixels_of(p), chunk_size(p)); }

size_t bias_gradient_bytes(const conv_problem *p) { return (size_t)(chunk_count(p) * p->oc) * sizeof(float); }

/* dst: NULL without a post-op. */
static void sum_pixels(const conv_problem *p, const float *diff_dst, const float *dst, int64_t rows, float *sum)
{
    memset(sum, 0, (size_t)p->oc * sizeof *sum);
    for (int64_t r = 0; r < rows; r++)
#pragma omp simd
        for (int64_t o = 0; o < p->oc; o++)
            sum[o] += dst == NULL || conv_passes(p->post_op, dst[r * p->oc + o]) ? diff_dst[r * p->oc + o] : 0;
}

void bias_gradient(const conv_problem *p, const conv_args *args, float *scratch, int threads)
{
    bool mask = p->post_op != CONV_POST_NONE;
    int64_t size = chunk_size(p), chunks = chunk_count(p), pixels = pixels_of(p);
#pragma omp parallel for schedule(static) num_threads(threads)
    for (int64_t c = 0; c < chunks; c++) {
        const float *diff_dst = args->diff_dst + c * size * p->oc,
                    *dst = mask ? args->dst + c * size * p->oc : NULL;
        sum_pixels(p, diff_dst, dst, min64(size, pixels - c * size), scratch + c * p->oc);
    }
    join_chunks(scratch, chunks, p->oc, args->diff_bias, args->accumulate, threads);
}
