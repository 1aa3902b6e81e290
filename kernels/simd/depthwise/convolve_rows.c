/* Depthwise forward and backward_data over rows (walk.c): what is a thread's to do, and in which order.
 *
 * With a multiplier, rings repeat each source channel (copied_rows.h), and rows of diff_src are summed up from
 * their widened form (walk.c): the kernels know no multiplier. */
#include "driver.h"

#include <string.h>

#include "../vec.h"

/* ---- scratch of a thread */

typedef struct {
    size_t pointers, wide, src, diff, taps, sums, all;
} layout;

/* What a part copies. */
typedef struct {
    int64_t channels;    /* of a block */
    ring_size src, diff; /* rows 0: read where they lie */
    bool taps, sums;     /* so are the weights, and their gradients */
} copied;

/* For the weights' gradient alone each row of diff_dst is read once, best where it lies. */
static copied copied_by(const depthwise_plan *d, depthwise_part part)
{
    const conv_problem *p = &d->head.problem;
    const bool sums = part == DEPTHWISE_SUMS, backward = !sums && d->backward.data;
    const depthwise_choices *how = &d->how;
    copied c = {.channels = sums ? how->sums.channels : how->walk.channels};
    if (!(sums ? how->sums.ring : how->walk.ring && !(backward && p->depth_multiplier > 1))) return c;
    int64_t more = sums ? how->sums.rows - 1 : d->walk.stencil3;
    *(backward ? &c.diff : &c.src) =
        row_walk_ring(p, backward, more, (sums ? d->sums : d->lines).outputs, c.channels);
    c.taps = !sums;
    c.sums = sums;
    return c;
}

static layout lay_out(const depthwise_plan *d, depthwise_part part)
{
    const conv_problem *p = &d->head.problem;
    copied c = copied_by(d, part);
    layout at;
    size_t floats = 0;
    int64_t taps = conv_taps(p) * ring_pixel(c.channels), rows = conv_taps(p) / p->axis[CONV_W].kernel;
    bool folded = part == DEPTHWISE_ROWS && d->backward.data && p->depth_multiplier > 1;
    at.pointers = conv_reserve(&floats, div_up(2 * rows * (int64_t)sizeof(float *), (int64_t)sizeof(float)));
    at.wide = conv_reserve(&floats, folded ? d->lines.outputs * c.channels : 0);
    at.src = conv_reserve(&floats, ring_floats(&c.src));
    at.diff = conv_reserve(&floats, ring_floats(&c.diff));
    at.taps = conv_reserve(&floats, c.taps ? taps : 0);
    at.sums = conv_reserve(&floats, c.sums ? taps : 0);
    at.all = floats;
    return at;
}

size_t depthwise_job_floats(const depthwise_plan *d)
{
    size_t rows = d->head.pass == CONV_BACKWARD_WEIGHTS ? 0 : lay_out(d, DEPTHWISE_ROWS).all;
    size_t sums = d->backward.weights ? lay_out(d, DEPTHWISE_SUMS).all : 0;
    return rows > sums ? rows : sums;
}

depthwise_job depthwise_job_make(const depthwise_plan *d, depthwise_part part, const conv_args *args,
                                 float *scratch)
{
    const conv_problem *p = &d->head.problem;
    const conv_axis *h = &p->axis[CONV_H], *x = &p->axis[CONV_W];
    layout at = lay_out(d, part);
    copied c = copied_by(d, part);
    return (depthwise_job){.d = d,
                           .args = args,
                           .diff_dst = args->diff_dst,
                           .pointers = {(const float **)(scratch + at.pointers),
                                        (float **)(scratch + at.pointers) + conv_taps(p) / x->kernel},
                           .wide = scratch + at.wide,
                           .src_ring = ring_make(scratch + at.src, &c.src, h->in, x->in, p->ic),
                           .diff_ring =
                               ring_make(scratch + at.diff, &c.diff, conv_out(h), conv_out(x), d->channels),
                           .taps = c.taps ? scratch + at.taps : NULL,
                           .sums = c.sums ? scratch + at.sums : NULL,
                           .tap_step = c.taps || c.sums ? ring_pixel(c.channels) : d->channels,
                           .image = -1};
}

void depthwise_job_restart(depthwise_job *j, const depthwise_plan *d, const conv_args *args)
{
    j->d = d;
    j->args = args;
    j->diff_dst = args->diff_dst;
    j->src_ring.pixel = d->head.problem.ic;
    j->diff_ring.pixel = j->tap_step = d->channels;
    j->image = -1;
}

void depthwise_copy_taps(const depthwise_plan *d, const float *from, int64_t from_tap, float *to,
                         int64_t to_tap, int64_t width)
{
    for (int64_t t = 0, taps = conv_taps(&d->head.problem); t < taps; t++)
        memcpy(to + t * to_tap, from + t * from_tap, (size_t)width * sizeof(float));
}

void depthwise_turn(depthwise_job *j, const depthwise_piece *to)
{
    const depthwise_plan *d = j->d;
    const conv_problem *p = &d->head.problem;
    const int64_t image = to->image, c = to->c;
    if (image == j->image && c == j->c && to->x0 == j->x0) return;
    axis_interval in = {0, 0};
    if (j->src_ring.size.rows + j->diff_ring.size.rows > 0)
        in = axis_reach(&p->axis[CONV_W], j->diff_ring.size.rows > 0, to->x0, to->x1);
    if (d->head.pass == CONV_FORWARD || d->backward.weights)
        ring_turn(&j->src_ring, j->args->src + image * d->src_image + c / p->depth_multiplier, to->width,
                  in.begin, in.end);
    if (d->head.pass != CONV_FORWARD)
        ring_turn(&j->diff_ring, j->diff_dst + image * d->dst_image + c, to->width, in.begin, in.end);
    if (j->taps != NULL && j->args->weights != NULL && (c != j->c || j->image < 0))
        depthwise_copy_taps(d, j->args->weights + c, d->channels, j->taps, j->tap_step, to->width);
    j->image = image;
    j->c = c;
    j->x0 = to->x0;
}

/* Weights of the block that the rings are turned to. */
static const float *block_weights(const depthwise_job *j)
{
    return j->taps != NULL ? j->taps : j->args->weights + j->c;
}

/* ---- rows of dst or diff_src */

/* The piece's outputs of rows [y0, y1). */
static void forward_rows(depthwise_job *j, const depthwise_piece *piece, int64_t y0, int64_t y1)
{
    const depthwise_plan *d = j->d;
    const conv_problem *p = &d->head.problem;
    int64_t c = piece->c, row = d->walk.out_width * d->channels;
    row_convolution rows = {.walk = &d->walk,
                            .in = &j->src_ring,
                            .pointers = j->pointers,
                            .weights = block_weights(j),
                            .w_tap = j->tap_step,
                            .out = j->args->dst + piece->image * d->dst_image + y0 * row + c,
                            .out_pixel = d->channels,
                            .channels = piece->width,
                            .x0 = piece->x0,
                            .x1 = piece->x1,
                            .bias = p->bias ? j->args->bias + c : NULL,
                            .clip = conv_clip(p->post_op),
                            .ahead = depthwise_ahead(d, piece->width, d->how.walk.ring),
                            .stream = d->how.walk.stream};
    rows_convolve(&rows, y0, y1);
}

/* The same of diff_src; the piece's channels are dst's. */
static void backward_rows(depthwise_job *j, const depthwise_piece *piece, int64_t y0, int64_t y1)
{
    const depthwise_plan *d = j->d;
    const conv_problem *p = &d->head.problem;
    int64_t m = p->depth_multiplier, row = d->walk.out_width * p->ic;
    float *diff_src = j->args->diff_src + piece->image * d->src_image + y0 * row + piece->c / m;
    row_convolution rows = {.walk = &d->walk,
                            .in = &j->diff_ring,
                            .pointers = j->pointers,
                            .weights = block_weights(j),
                            .w_tap = j->tap_step,
                            .out = diff_src,
                            .out_pixel = p->ic,
                            .channels = piece->width,
                            .x0 = piece->x0,
                            .x1 = piece->x1,
                            .ahead = depthwise_ahead(d, piece->width, d->how.walk.ring),
                            .stream = d->how.walk.stream};
    rows_convolve_folded(&rows, m, j->wide, y0, y1);
}

/* Steps [s0, s1) of lines_together lines each, of one image and block. */
static void run_steps(depthwise_job *j, int64_t image, int64_t block, int64_t s0, int64_t s1)
{
    const depthwise_plan *d = j->d;
    const int64_t most = d->how.walk.channels, per_row = d->lines.per_row;
    const int64_t end = min64(d->walk.rows * per_row, s1 * d->lines_together);
    depthwise_piece piece = {.image = image, .c = block * most, .x1 = d->walk.out_width};
    piece.width = min64(most, d->channels - piece.c);
    int64_t at_once = d->walk.stencil3 ? d->lines_together : per_row > 1 ? 1 : end;
    for (int64_t line = s0 * d->lines_together, last; line < end; line = last) {
        last = min64(end, line + at_once);
        if (per_row > 1) {
            piece.x0 = line % per_row * d->lines.outputs;
            piece.x1 = min64(piece.x0 + d->lines.outputs, d->walk.out_width);
        }
        depthwise_turn(j, &piece);
        (d->backward.data ? backward_rows : forward_rows)(j, &piece, row_of_line(&d->lines, line),
                                                          row_of_line(&d->lines, last - 1) + 1);
    }
}

/* Image slowest, then steps of lines, then block of channels, so that shares are long contiguous pieces of
 * memory: a share of the channels alone would use only some sets of the caches. Rings hold the rows of one
 * block, so with them the block goes before the steps; and where its weights and rows are large. */
static void run_share(depthwise_job *j, int thread, int threads)
{
    const depthwise_plan *d = j->d;
    const conv_problem *p = &d->head.problem;
    int64_t steps = div_up(d->walk.rows * d->lines.per_row, d->lines_together), begin, end;
    int64_t blocks = div_up(d->channels, d->how.walk.channels);
    bool block_first = d->how.walk.by_block || blocks == 1;
    share(p->mb * steps * blocks, thread, threads, &begin, &end);
    for (int64_t u = begin, last; u < end; u = last) {
        int64_t image = u / blocks / steps, rest = u % (blocks * steps);
        int64_t block = block_first ? rest / steps : rest % blocks;
        int64_t step = block_first ? rest % steps : rest / blocks;
        last = block_first ? min64(end, u + steps - step) : u + 1;
        run_steps(j, image, block, step, step + last - u);
    }
}

void depthwise_run_rows(depthwise_job *j, int thread, int threads)
{
    run_share(j, thread, threads);
    if (j->d->how.walk.stream) vec_stream_end();
}
