/* Partial sums over fixed chunks of the problem, in parallel, then a balanced tree over the chunks. */
#include "reduce.h"

#include <string.h>

enum { MOST_CHUNKS = 64, CHUNK = 64 /* pixels, at least */ };

static int64_t least(int64_t a, int64_t b) { return a < b ? a : b; }

void reduce_tree(float *parts, int64_t chunks, int64_t count, float *sum, bool add, int threads)
{
    enum { BLOCK = 256 }; /* elements per task */
#pragma omp parallel for schedule(static) num_threads(threads)
    for (int64_t first = 0; first < count; first += BLOCK) {
        int64_t end = least(first + BLOCK, count);
        for (int64_t step = 1; step < chunks; step *= 2)
            for (int64_t c = 0; c + step < chunks; c += 2 * step) {
                float *to = parts + c * count, *from = parts + (c + step) * count;
#pragma omp simd
                for (int64_t i = first; i < end; i++) to[i] += from[i];
            }
        for (int64_t i = first; i < end; i++) sum[i] = add ? sum[i] + parts[i] : parts[i];
    }
}

static int64_t pixels_of(const conv_problem *p)
{
    return conv_out(&p->axis[CONV_D]) * conv_out(&p->axis[CONV_H]) * conv_out(&p->axis[CONV_W]);
}

/* NHWC: a chunk is a run of pixels of the whole batch. NCHW: a run of images. */
static int64_t chunk_size(const conv_problem *p)
{
    int64_t whole = p->layout == CONV_NHWC ? p->mb * pixels_of(p) : p->mb;
    int64_t size = (whole + MOST_CHUNKS - 1) / MOST_CHUNKS;
    return p->layout == CONV_NHWC && size < CHUNK ? CHUNK : size;
}

static int64_t chunk_count(const conv_problem *p)
{
    int64_t whole = p->layout == CONV_NHWC ? p->mb * pixels_of(p) : p->mb;
    return (whole + chunk_size(p) - 1) / chunk_size(p);
}

size_t reduce_bias_bytes(const conv_problem *p) { return (size_t)(chunk_count(p) * p->oc) * sizeof(float); }

static void sum_nhwc(const conv_problem *p, const float *diff_dst, const float *dst, int64_t rows, float *sum)
{
    memset(sum, 0, (size_t)p->oc * sizeof *sum);
    for (int64_t r = 0; r < rows; r++)
#pragma omp simd
        for (int64_t o = 0; o < p->oc; o++)
            sum[o] += dst == NULL || dst[r * p->oc + o] > 0 ? diff_dst[r * p->oc + o] : 0;
}

static void sum_nchw(const conv_problem *p, const float *diff_dst, const float *dst, int64_t images, float *sum)
{
    int64_t pixels = pixels_of(p);
    memset(sum, 0, (size_t)p->oc * sizeof *sum);
    for (int64_t plane = 0; plane < images * p->oc; plane++) {
        float total = 0;
#pragma omp simd reduction(+ : total)
        for (int64_t i = plane * pixels; i < (plane + 1) * pixels; i++)
            total += dst == NULL || dst[i] > 0 ? diff_dst[i] : 0;
        sum[plane % p->oc] += total;
    }
}

void reduce_bias(const conv_problem *p, const conv_args *args, float *scratch, int threads)
{
    bool nhwc = p->layout == CONV_NHWC, relu = p->post_op == CONV_POST_RELU;
    int64_t size = chunk_size(p), chunks = chunk_count(p), whole = nhwc ? p->mb * pixels_of(p) : p->mb;
    int64_t unit = nhwc ? p->oc : p->oc * pixels_of(p);
#pragma omp parallel for schedule(static) num_threads(threads)
    for (int64_t c = 0; c < chunks; c++) {
        const float *diff_dst = args->diff_dst + c * size * unit,
                    *dst = relu ? args->dst + c * size * unit : NULL;
        (nhwc ? sum_nhwc : sum_nchw)(p, diff_dst, dst, least(size, whole - c * size), scratch + c * p->oc);
    }
    reduce_tree(scratch, chunks, p->oc, args->diff_bias, args->accumulate, threads);
}
