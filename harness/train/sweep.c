/* The executor's two sweeps over a batch: forward phase by phase, then backward. */
#include <omp.h>
#include <string.h>

#include "../machine/machine.h"
#include "../ranks/ranks.h"
#include "flush.h"
#include "net_internal.h"
#include "spread.h"

/* ---- one slice */

static float *value_at(net *n, int tensor, const slice *s)
{
    return n->value[tensor] != NULL ? n->value[tensor] + s->first * net_count(n, tensor)
                                    : n->buffer[tensor & 1][s->thread];
}

static float *diff_at(net *n, int tensor, const slice *s)
{
    return n->diff[tensor] != NULL ? n->diff[tensor] + s->first * net_count(n, tensor)
                                   : n->buffer[tensor & 1][s->thread];
}

static void charge(net *n, const slice *s, int row, int pass, double *since)
{
    double now = machine_now();
    n->seconds[((int64_t)s->thread * (n->op_count + PROFILE_EXTRA) + row) * 2 + pass] += now - *since;
    *since = now;
}

static void load_input(net *n, const net_batch *batch, const slice *s)
{
    int64_t count = net_count(n, 0);
    float *to = value_at(n, 0, s);
    for (int64_t i = 0; i < s->rows; i++, to += count) {
        int64_t row = batch->rows != NULL ? batch->rows[s->first + i] : s->first + i;
        n->labels[s->first + i] = batch->labels[row];
        if (batch->bytes != NULL)
            n->nn->scale_pixels(count, batch->bytes + row * count, to);
        else
            memcpy(to, batch->values + row * count, (size_t)count * sizeof *to);
    }
}

static void compute_loss(net *n, const slice *s, float *outputs)
{
    int last = n->op_count;
    const float *x = value_at(n, last, s);
    float *dx = s->training ? diff_at(n, last, s) : NULL,
          *p = outputs != NULL ? outputs + s->first * n->classes : NULL;
    const uint8_t *labels = n->labels + s->first;
    nn_losses to = {n->loss + s->first, n->correct + s->first, p, dx, n->penalty_scale};
    if (n->softmax_loss) {
        n->nn->softmax_cross_entropy(s->rows, n->classes, x, labels, &to);
        return;
    }
    n->nn->cross_entropy(s->rows, n->classes, x, labels, &to);
    if (p != NULL) memcpy(p, x, (size_t)(s->rows * n->classes) * sizeof *p);
}

/* The batch's statistics of a tensor that a batch normalization waits for. */
static void gather(net *n, int tensor, const slice *s, double *clock)
{
    for (op *o = n->watcher[tensor]; o != NULL && s->training; o = o->norm.also) {
        norm_op_gather(n, o, s, value_at(n, tensor, s));
        charge(n, s, (int)(o - n->ops), 0, clock);
    }
}

static conv_status forward_ops(net *n, const phase *ph, const slice *s, double *clock)
{
    conv_status status = CONV_OK;
    for (int i = ph->first; i < ph->last && status == CONV_OK; i++) {
        op *o = &n->ops[i];
        const float *x[LAYER_MAX_INPUTS];
        for (int k = 0; k < o->input_count; k++) x[k] = value_at(n, o->input[k], s);
        float *y = value_at(n, i + 1, s);
        if (o->kind == OP_CONV)
            status = conv_op_forward(n, o, s, x[0], y);
        else if (o->kind == OP_MERGE)
            merge_op_forward(n, o, s, x, y);
        else
            op_forward(n, o, s, x[0], y);
        charge(n, s, i, 0, clock);
        if (!ph->batched) gather(n, i + 1, s, clock);
    }
    return status;
}

/* The gradient by input k of operation i, and of its weights. */
static conv_status backward_input(net *n, int i, int k, const slice *s)
{
    op *o = &n->ops[i];
    int tensor = o->input[k];
    const float *x[LAYER_MAX_INPUTS] = {NULL};
    for (int j = 0; j < o->input_count && o->needs_input; j++) x[j] = value_at(n, o->input[j], s);
    float *dx = n->learns[tensor] ? diff_at(n, tensor, s) : NULL,
          *added = o->batched ? n->batch_buffer : n->buffer[2][s->thread];
    const op_gradients g = {.x = x[k],
                            .y = o->needs_output ? value_at(n, i + 1, s) : NULL,
                            .dy = diff_at(n, i + 1, s),
                            .dx = o->adds[k] ? added : dx};
    conv_status status = CONV_OK;
    if (o->kind == OP_CONV)
        status = conv_op_backward(n, o, s, &g);
    else if (o->kind == OP_MERGE)
        merge_op_backward(n, o, s, k, x, &g);
    else
        op_backward(n, o, s, &g);
    if (o->adds[k]) n->nn->combine(NN_ADD, s->rows * net_count(n, tensor), added, dx);
    return status;
}

static conv_status backward_op(net *n, int i, const slice *s, double *clock)
{
    op *o = &n->ops[i];
    conv_status status = CONV_OK;
    for (int k = o->input_count - 1; k >= 0 && status == CONV_OK; k--)
        if (n->learns[o->input[k]] || o->weights >= 0) status = backward_input(n, i, k, s);
    charge(n, s, i, 1, clock);
    return status;
}

static conv_status backward_ops(net *n, const phase *ph, const slice *s, double *clock)
{
    conv_status status = CONV_OK;
    if (ph + 1 < n->phases + n->phase_count && net_normalizes(n, ph + 1))
        status = backward_op(n, ph[1].first, s, clock);
    for (int i = ph->last - 1; i >= ph->first && status == CONV_OK; i--) {
        op *o = &n->ops[i];
        if (i > ph->first || !net_normalizes(n, ph)) {
            status = backward_op(n, i, s, clock);
            continue;
        }
        if (!n->learns[i + 1]) continue;
        const op_gradients g = {.x = value_at(n, o->input[0], s), .dy = diff_at(n, i + 1, s)};
        norm_op_gather_backward(n, o, s, &g);
        charge(n, s, i, 1, clock);
    }
    return status;
}

/* ---- sweeps */

typedef struct {
    const net_batch *batch;
    float *outputs;
    bool training, backward, spread; /* spread: over ranks */
    bool stop;                       /* this rank is told to; then any */
    uint32_t step;
} sweep;

/* Chunks of slices in parallel; within a chunk slices follow each other and add up their weight gradients. */
static conv_status sweep_slices(net *n, const phase *ph, const sweep *w)
{
    int64_t rows = w->batch->count, slices = net_slices(n, rows), chunks = net_chunks(n, slices);
    int64_t first_chunk = 0, last_chunk = chunks;
    conv_status result = CONV_OK;
    if (w->spread) spread_chunks(n, &first_chunk, &last_chunk);
#pragma omp parallel num_threads(n->options.threads)
    {
        flush_denormals(true);
        double clock;
#pragma omp for schedule(dynamic, 1)
        for (int64_t c = first_chunk; c < last_chunk; c++) {
            conv_status status = CONV_OK;
            int64_t first = net_slice_first(slices, chunks, c), last = net_slice_first(slices, chunks, c + 1);
            clock = machine_now();
            for (int64_t i = first; i < last && status == CONV_OK; i++) {
                if (w->spread && omp_get_thread_num() == 0) ranks_progress();
                int64_t from = net_slice_first(rows, slices, i);
                slice s = {.thread = omp_get_thread_num(),
                           .index = i,
                           .chunk = c,
                           .first = from,
                           .rows = net_slice_first(rows, slices, i + 1) - from,
                           .training = w->training,
                           .accumulate = i > first,
                           .parts = n->parts + c * n->parts_stride,
                           .step = w->step};
                if (w->backward) {
                    status = backward_ops(n, ph, &s, &clock);
                    continue;
                }
                if (ph == n->phases) {
                    load_input(n, w->batch, &s);
                    charge(n, &s, n->op_count + PROFILE_INPUT, 0, &clock);
                }
                if (ph == n->phases || ph[-1].batched) gather(n, ph->first, &s, &clock);
                status = forward_ops(n, ph, &s, &clock);
                if (ph == n->phases + n->phase_count - 1 && status == CONV_OK) {
                    compute_loss(n, &s, w->outputs);
                    charge(n, &s, n->op_count + PROFILE_LOSS, 0, &clock);
                }
            }
            if (status != CONV_OK) {
#pragma omp atomic write
                result = status;
            }
        }
    }
    return result;
}

/* A batched operation. Its time counts for every thread, since all work on it. */
static conv_status sweep_batch(net *n, const phase *ph, const sweep *w)
{
    slice s = {.rows = w->batch->count, .training = w->training, .step = w->step};
    if (w->spread)
        return w->backward ? spread_backward(n, ph->first, w->step) : spread_forward(n, ph->first, w->step);
    double start = machine_now(), clock = start;
    conv_status status = w->backward ? backward_ops(n, ph, &s, &clock) : forward_ops(n, ph, &s, &clock);
    double took = machine_now() - start;
    for (int t = 1; t < n->options.threads; t++)
        n->seconds[((int64_t)t * (n->op_count + PROFILE_EXTRA) + ph->first) * 2 + w->backward] += took;
    return status;
}

static conv_status sweep_all(net *n, sweep *w)
{
    conv_status status = CONV_OK;
    int64_t rows = w->batch->count;
    w->backward = false;
    for (int i = 0; i < n->phase_count && status == CONV_OK; i++) {
        const phase *ph = &n->phases[i];
        bool normalizes = w->training && net_normalizes(n, ph);
        if (normalizes && w->spread) spread_sums(n, ph->first, 0);
        if (normalizes) norm_op_finish(n, &n->ops[ph->first], rows);
        status = ph->batched ? sweep_batch(n, ph, w) : sweep_slices(n, ph, w);
    }
    w->backward = true;
    if (w->spread && status == CONV_OK) spread_losses(n, w->stop);
    bool behind = false; /* this phase, a batch normalization's gradient by its input is to come */
    for (int i = n->phase_count - 1; i >= 0 && w->training && status == CONV_OK; i--) {
        const phase *ph = &n->phases[i];
        if (ph->batched)
            status = sweep_batch(n, ph, w);
        else if (ph->first < ph->last || behind)
            status = sweep_slices(n, ph, w);
        if (w->spread && status == CONV_OK) spread_gradients(n, ph);
        behind = net_normalizes(n, ph);
        if (behind && w->spread) spread_sums(n, ph->first, 1);
        if (behind) norm_op_finish_backward(n, &n->ops[ph->first], rows);
    }
    if (w->spread && status == CONV_OK) w->stop = spread_losses_wait(n);
    return status;
}

/* ---- whole batches */

/* Plans for this batch size, once. */
static conv_status prepare(net *n, int64_t rows, bool training, conv_error *err)
{
    for (int i = 0; i < n->prepared_count; i++)
        if (n->prepared[i].rows == rows && n->prepared[i].training == training) return CONV_OK;
    for (int i = 0; i < n->op_count; i++) {
        if (n->ops[i].kind != OP_CONV) continue;
        conv_status status = training && n->spread != NULL && n->ops[i].batched
                                 ? spread_prepare(n, &n->ops[i], err)
                                 : conv_op_prepare(n, &n->ops[i], rows, training, err);
        if (status != CONV_OK) return status;
    }
    if (n->prepared_count < NET_MAX_PREPARED) {
        n->prepared[n->prepared_count].rows = rows;
        n->prepared[n->prepared_count++].training = training;
    }
    return CONV_OK;
}

/* Sums in the batch's order, in double. */
static void gather_result(net *n, int64_t rows, net_result *result)
{
    double loss = 0, penalty = 0;
    *result = (net_result){0};
    for (int64_t i = 0; i < rows; i++) {
        loss += n->loss[i];
        result->correct += n->correct[i];
    }
    for (int64_t i = 0; i < net_slices(n, rows) * n->op_count; i++) penalty += n->penalty[i];
    result->loss = (loss + penalty) / (double)rows;
    for (int i = 0; i < n->model->parameter_count; i++) {
        const parameter *p = &n->model->parameter[i];
        if (p->reg.l1 != 0 || p->reg.l2 != 0)
            result->loss += n->nn->penalty(p->count, p->reg.l1, p->reg.l2, 1, n->weights + p->offset, NULL);
    }
}

static conv_status run_batch(net *n, sweep *w, net_result *result, conv_error *err)
{
    double start = machine_now();
    int64_t rows = w->batch->count;
    conv_status status = rows < 1 || rows > n->options.batch
                             ? conv_fail(err, CONV_INVALID, "a batch of %lld images", (long long)rows)
                             : CONV_OK;
    w->spread = n->spread != NULL && w->training;
    if (w->spread && status == CONV_OK) status = spread_cut(n, rows, err);
    if (status == CONV_OK) status = prepare(n, rows, w->training, err);
    if (status != CONV_OK) return status;
    if (w->spread) spread_weights_sliced(n);
    if (n->spread != NULL && !w->spread) spread_weights_wait(n);
    for (int i = 0; i < n->op_count; i++) {
        if (n->ops[i].kind == OP_FIRST) first_op_refresh(n, &n->ops[i]);
        if (n->ops[i].kind == OP_POOLED && w->training) pooled_op_refresh(n, &n->ops[i]);
        if (n->ops[i].kind == OP_NORM && !(n->ops[i].norm.live && w->training)) norm_op_refresh(n, &n->ops[i]);
    }
    n->penalty_scale = 1.0f / (float)rows;
    n->chunks = net_chunks(n, net_slices(n, rows));
    status = sweep_all(n, w);
    if (status != CONV_OK) return conv_fail(err, CONV_FAILED, "a convolution failed");
    gather_result(n, rows, result);
    result->stop = w->stop;
    n->wall += machine_now() - start;
    return CONV_OK;
}

conv_status net_train(net *n, const net_batch *batch, uint32_t step, net_result *result, conv_error *err)
{
    sweep w = {.batch = batch, .training = true, .stop = batch->stop, .step = step};
    return run_batch(n, &w, result, err);
}

conv_status net_evaluate(net *n, const net_batch *batch, float *outputs, net_result *result, conv_error *err)
{
    sweep w = {.batch = batch, .outputs = outputs};
    return run_batch(n, &w, result, err);
}
