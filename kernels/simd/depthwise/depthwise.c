/* Depthwise convolution, every pass, any stride, dilation and multiplier.
 *
 * forward, backward_data: image, row of outputs, block of channels, dealt out in equal contiguous shares.
 * backward_weights: fixed chunks of rows x blocks of channels, each with sums of its own, joined in an
 * ordered tree; or threads own channels and wait for nobody. Rows may be copied next to each other first
 * (copied_rows.h). How is a strategy's to say (strategies.h). All in one parallel region. */
#include <omp.h>

#include "../../work.h"
#include "../simd.h"
#include "../vec.h"
#include "driver.h"
#include "kernels.h"

void depthwise_plan_free(depthwise_plan *d)
{
    row_walk_free(&d->walk);
    row_walk_free(&d->forward_walk);
    free(d);
}

static void destroy(conv_plan *plan) { depthwise_plan_free((depthwise_plan *)plan); }

/* ---- plan */

bool depthwise_far(const conv_problem *p, const conv_context *ctx)
{
    conv_sizes sizes = conv_problem_sizes(p);
    return (size_t)(sizes.src + sizes.dst) * sizeof(float) > (ctx->l2 + ctx->l3) * (size_t)ctx->threads;
}

static void set_sizes(depthwise_plan *d)
{
    const conv_problem *p = &d->head.problem;
    const conv_sizes sizes = conv_problem_sizes(p);
    d->far = depthwise_far(p, &d->head.context);
    d->src_image = sizes.src / p->mb;
    d->dst_image = sizes.dst / p->mb;
    d->rows = conv_out(&p->axis[CONV_D]) * conv_out(&p->axis[CONV_H]);
    d->channels = p->oc;
    d->lines = row_walk_lines(p, d->backward.data);
    d->sums = row_lines_of(d->how.sums.outputs, conv_out(&p->axis[CONV_W]));
    d->lines_together = depthwise_lines_together(p);
    d->chunk_floats = d->how.sums.chunks > 1 ? sizes.weights : 0;
}

static void lay_out_scratch(depthwise_plan *d)
{
    const conv_problem *p = &d->head.problem;
    size_t floats = 0;
    const sums_strategy *sums = &d->how.sums;
    backward_reserve(p, d->head.pass, d->backward.weights ? (size_t)(sums->chunks * d->chunk_floats) : 0,
                     &floats, &d->backward);
    d->backward.chunks = !d->backward.weights || sums->owned ? 1 : sums->chunks;
    d->thread_floats = depthwise_job_floats(d);
    d->threads = conv_reserve(&floats, (int64_t)d->thread_floats * d->head.context.threads);
    d->head.scratch_bytes = floats * sizeof(float);
}

static void write_note(depthwise_plan *d)
{
    char *note = d->head.note;
    const depthwise_choices *how = &d->how;
    bool rows = d->head.pass != CONV_BACKWARD_WEIGHTS;
    if (rows) depthwise_note_walk(note, &how->walk);
    conv_note(note, rows && d->walk.stencil3, "by twos");
    conv_note(note, rows && depthwise_ahead(d, how->walk.channels, how->walk.ring), "rows prefetched");
    if (!d->backward.weights) return;
    conv_note(note, rows, "gradient");
    depthwise_note_sums(note, &how->sums);
    conv_note(note, how->sums.rows == BAND_ROWS, "bands");
    conv_note(note, how->sums.chunks > 1, "in chunks");
    conv_note(note, !rows && depthwise_ahead(d, how->sums.channels, how->sums.ring), "rows prefetched");
}

conv_status depthwise_plan_create(const conv_problem *p, conv_pass pass, const conv_context *ctx,
                                  const depthwise_choices *how, depthwise_plan **out, conv_error *err)
{
    depthwise_plan *d = conv_plan_new(sizeof *d, &simd_depthwise, p, pass, ctx);
    if (d == NULL) return conv_fail(err, CONV_NO_MEMORY, "no memory for a plan");
    d->how = depthwise_possible(p, *how);
    d->backward = backward_of(p, d->head.pass);
    bool rows = d->head.pass == CONV_FORWARD || d->backward.data;
    if ((rows && !row_walk_build(p, d->backward.data, &d->walk)) ||
        (d->backward.weights && !row_walk_build(p, false, &d->forward_walk))) {
        depthwise_plan_free(d);
        return conv_fail(err, CONV_NO_MEMORY, "no memory for the sweeps of a row");
    }
    set_sizes(d);
    lay_out_scratch(d);
    depthwise_state(p, pass, &d->how, p->oc, &d->head.work);
    d->head.work.busiest = work_busiest(depthwise_units(p, pass, &d->how), ctx->threads);
    backward_state(&d->backward, &d->head);
    write_note(d);
    *out = d;
    return CONV_OK;
}

static conv_status plan(const conv_impl *self, const conv_problem *p, conv_pass pass, const conv_context *ctx,
                        conv_plan **out, conv_error *err)
{
    depthwise_choices how = depthwise_choose(self, p, pass, ctx);
    depthwise_plan *d;
    conv_status status = depthwise_plan_create(p, pass, ctx, &how, &d, err);
    if (status == CONV_OK) *out = &d->head;
    return status;
}

/* ---- execute */

/* One thread's, of a part. */
static depthwise_job job_of(const backward_job *j, depthwise_part part)
{
    const depthwise_plan *d = (const depthwise_plan *)j->plan;
    float *scratch = j->args->scratch, *own = scratch + d->threads + (size_t)j->thread * d->thread_floats;
    depthwise_job job = depthwise_job_make(d, part, j->args, own);
    job.diff_dst = j->diff_dst;
    job.partials = scratch + d->backward.partials;
    return job;
}

/* Forward, or diff_src. */
static void run_rows(const backward_job *j)
{
    depthwise_job job = job_of(j, DEPTHWISE_ROWS);
    depthwise_run_rows(&job, j->thread, j->threads);
}

static void run_sums(const backward_job *j)
{
    depthwise_job job = job_of(j, DEPTHWISE_SUMS);
    depthwise_run_sums(&job, j->thread, j->threads);
}

static conv_status execute(const conv_plan *plan, const conv_args *args)
{
    const depthwise_plan *d = (const depthwise_plan *)plan;
#pragma omp parallel num_threads(plan->context.threads)
    {
        backward_job j = {plan, args, omp_get_thread_num(), omp_get_num_threads(), NULL, NULL};
        if (plan->pass == CONV_FORWARD)
            run_rows(&j);
        else
            backward_run(&d->backward, &j, run_rows, run_sums);
    }
    return CONV_OK;
}

const conv_impl simd_depthwise = {.name = ISA_STRING,
                                  .variant = CONV_DEPTHWISE,
                                  .summary = "rows in " ISA_STRING " registers, channels in vectors",
                                  .isa = ISA_ENUM,
                                  .layouts = 1u << CONV_NHWC,
                                  .plan = plan,
                                  .strategies = depthwise_strategies,
                                  .execute = execute,
                                  .destroy = destroy};
