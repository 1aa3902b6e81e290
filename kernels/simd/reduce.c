/* Reductions and the mask of backward passes: streaming loops over vectors, every thread a contiguous
 * share. */
#include "reduce.h"

/* Vectors [begin, end) of `count` floats that are thread's share. */
static void vector_share(int64_t count, int thread, int threads, int64_t *begin, int64_t *end)
{
    share(div_up(count, VL), thread, threads, begin, end);
    *begin *= VL;
    *end = min64(*end * VL, count);
}

/* Sums of 1, 2, 4 ... chunks wait in registers for their like, as the digits of a binary counter: what another
 * core wrote is read once and never written, for a line that both write travels twice. */
void reduce_chunks(const chunk_sums *sums, bool accumulate, float *out, int thread, int threads)
{
    enum { MOST_LEVELS = 63 };
    int64_t begin, end;
    vector_share(sums->count, thread, threads, &begin, &end);
    for (int64_t i = begin; i < end; i += VL) {
        vec_mask lanes = vec_mask_first(min64(VL, end - i));
        vec waiting[MOST_LEVELS];
        int depth = 0;
        for (int64_t c = 0; c < sums->chunks; c++) {
            vec sum = vec_load_mask(sums->at + c * sums->stride + i, lanes);
            for (int64_t n = c; n & 1; n >>= 1) sum = vec_add(waiting[--depth], sum);
            waiting[depth++] = sum;
        }
        vec sum = waiting[--depth];
        while (depth > 0) sum = vec_add(waiting[--depth], sum);
        if (accumulate) sum = vec_add(sum, vec_load_mask(out + i, lanes));
        vec_store_mask(out + i, lanes, sum);
    }
}

int64_t bias_chunks(int64_t pixels)
{
    enum { PIXELS = 64, MOST = 64 };
    return min64(MOST, div_up(pixels, PIXELS));
}

void bias_sums(const float *diff_dst, int64_t pixels, int64_t channels, float *partials, int thread,
               int threads)
{
    int64_t chunks = bias_chunks(pixels), first, last;
    share(chunks, thread, threads, &first, &last);
    for (int64_t c = first; c < last; c++) {
        int64_t begin, end;
        share(pixels, c, chunks, &begin, &end);
        for (int64_t j = 0; j < channels; j += VL) {
            vec_mask lanes = vec_mask_first(min64(VL, channels - j));
            vec sum = vec_zero();
            for (int64_t i = begin; i < end; i++)
                sum = vec_add(sum, vec_load_mask(diff_dst + i * channels + j, lanes));
            vec_store_mask(partials + c * channels + j, lanes, sum);
        }
    }
}

void post_mask(post_output post, const float *diff_dst, int64_t count, float *out, int thread, int threads)
{
    const vec most = vec_set1(conv_passing(post.op));
    int64_t begin, end;
    vector_share(count, thread, threads, &begin, &end);
    for (int64_t i = begin; i < end; i += VL) {
        vec_mask lanes = vec_mask_first(min64(VL, end - i));
        vec dst = vec_load_mask(post.dst + i, lanes);
        vec_store_mask(out + i, lanes, vec_where_within(dst, most, vec_load_mask(diff_dst + i, lanes)));
    }
}
