/* Depthwise backward_weights over rows (walk.c): by ones, twos or bands of four; what is a thread's to sum, and
 * in which order. */
#include <string.h>

#include "../reduce.h"
#include "../vec.h"
#include "driver.h"
#include "kernels.h"

/* How many bands go at once of `rows` rows from row y on. Of all their source rows only the first and the
 * last may lie in the padding. Where other channels lie between the pixels, or rows are copied, they go one
 * at a time, so that all channels of a band's rows are read before the next rows are. */
static int64_t bands_from(const depthwise_plan *d, int64_t y, int64_t rows)
{
    const conv_axis *h = &d->head.problem.axis[CONV_H];
    int64_t second = y - h->pad_before + 1;
    int64_t bands = second < 0 ? 0 : min64(rows, h->in - second) / BAND_ROWS;
    return d->channels > VL || d->how.sums.ring ? min64(bands, 1) : bands;
}

/* Adds the piece's outputs of rows [y, y + rows) to its sums [taps][..]. */
static void sum_piece(depthwise_job *j, const depthwise_piece *piece, int64_t y, int64_t rows, float *sums)
{
    const depthwise_plan *d = j->d;
    depthwise_turn(j, piece);
    row_gradient gradient = {.walk = &d->forward_walk,
                             .src = &j->src_ring,
                             .diff_dst = &j->diff_ring,
                             .pointers = j->pointers,
                             .sums = sums,
                             .w_tap = j->tap_step,
                             .channels = piece->width,
                             .x0 = piece->x0,
                             .x1 = piece->x1,
                             .by_tile = d->how.sums.by_tile,
                             .ahead = d->far && !d->how.sums.ring &&
                                      (d->sums.per_row > 1 || piece->width == d->channels)};
    rows_gradient(&gradient, y, rows);
}

/* Where a block's sums are made while its rows are copied: side by side; else in the gradient itself. */
static float *block_sums(const depthwise_job *j, float *out, int64_t c)
{
    return j->sums != NULL ? j->sums : out + c;
}

/* Lines [first, last), counted through all images, of channels [c0, c1) into out[taps][channels]. All blocks of
 * a line before the next one. */
static void sum_lines(depthwise_job *j, int64_t c0, int64_t c1, int64_t first, int64_t last, float *out)
{
    const depthwise_plan *d = j->d;
    const sums_strategy *how = &d->how.sums;
    const int64_t per_row = d->sums.per_row, lines = d->rows * per_row;
    int64_t image = first / lines, line = first % lines;
    for (int64_t i = first, n; i < last; i += n, line += n) {
        if (line == lines) image++, line = 0;
        int64_t y = row_of_line(&d->sums, line), left = min64(last - i, d->rows - y);
        int64_t x0 = (line - y * per_row) * d->sums.outputs;
        int64_t many = how->rows == BAND_ROWS ? BAND_ROWS * bands_from(d, y, left) : 0;
        n = many > 0 ? many : min64(left, how->rows > 1 ? 2 : 1);
        for (int64_t c = c0; c < c1; c += how->channels) {
            depthwise_piece piece = {image, c, min64(how->channels, c1 - c), x0,
                                     min64(x0 + d->sums.outputs, d->forward_walk.out_width)};
            sum_piece(j, &piece, y, n, block_sums(j, out, c));
        }
    }
}

/* Lines of a chunk: images where they can be dealt out evenly, else whole bands. */
static void lines_of_chunk(const depthwise_plan *d, int64_t chunk, int64_t *first, int64_t *last)
{
    int64_t images = d->head.problem.mb, image = d->rows * d->sums.per_row, chunks = d->how.sums.chunks;
    int64_t unit = images % chunks == 0 ? image : BAND_ROWS;
    share(div_up(images * image, unit), chunk, chunks, first, last);
    *first = min64(images * image, *first * unit);
    *last = min64(images * image, *last * unit);
}

/* The sums of a chunk's lines for channels [c, c + width). */
static void sum_chunk(depthwise_job *j, int64_t chunk, int64_t c, int64_t width)
{
    const depthwise_plan *d = j->d;
    int64_t taps = conv_taps(&d->head.problem), chunks = d->how.sums.chunks, first, last;
    float *out = chunks > 1 ? j->partials + chunk * d->chunk_floats : j->args->diff_weights;
    float *sums = block_sums(j, out, c);
    if (chunks > 1 || !j->args->accumulate)
        for (int64_t t = 0; t < taps; t++) memset(sums + t * j->tap_step, 0, (size_t)width * sizeof(float));
    else if (j->sums != NULL)
        depthwise_copy_taps(d, out + c, d->channels, sums, j->tap_step, width);
    lines_of_chunk(d, chunk, &first, &last);
    sum_lines(j, c, c + width, first, last, out);
    if (j->sums != NULL) depthwise_copy_taps(d, sums, j->tap_step, out + c, d->channels, width);
}

/* All chunks of a share of the channels, and their sum: threads wait for nobody. */
static void sum_owned(depthwise_job *j, int thread, int threads)
{
    const depthwise_plan *d = j->d;
    int64_t begin, end;
    share(div_up(d->channels, VL), thread, threads, &begin, &end);
    if (begin == end) return;
    int64_t c = begin * VL, width = min64(end * VL, d->channels) - c;
    int64_t chunks = d->how.sums.chunks, taps = conv_taps(&d->head.problem);
    for (int64_t chunk = 0; chunk < chunks; chunk++) sum_chunk(j, chunk, c, width);
    for (int64_t t = 0; chunks > 1 && t < taps; t++, c += d->channels) {
        chunk_sums tap = {j->partials + c, chunks, d->chunk_floats, width};
        reduce_chunks(&tap, j->args->accumulate, j->args->diff_weights + c, 0, 1);
    }
}

/* Blocks of chunks are shared out. */
static void sum_chunks(depthwise_job *j, int thread, int threads)
{
    const depthwise_plan *d = j->d;
    const sums_strategy *how = &d->how.sums;
    int64_t blocks = div_up(d->channels, how->channels), begin, end;
    share(how->chunks * blocks, thread, threads, &begin, &end);
    for (int64_t u = begin; u < end; u++) {
        int64_t c = u % blocks * how->channels;
        sum_chunk(j, u / blocks, c, min64(how->channels, d->channels - c));
    }
}

/* Whoever sums, the sums of a channel and chunk are made in one order. */
void depthwise_run_sums(depthwise_job *j, int thread, int threads)
{
    (j->d->how.sums.owned ? sum_owned : sum_chunks)(j, thread, threads);
}
