/* The executor's memory and its two sweeps over the batch. */
#include "net_internal.h"

#include <omp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../machine/machine.h"
#include "../measure/tensors.h"
#include "flush.h"

enum {
    MIN_SLICES = 8,              /* slices come in multiples of this, so that cores share them evenly */
    PARTS_LIMIT_BYTES = 32 << 20 /* weight gradients kept apart per chunk before chunks get several slices */
};

/* ---- cutting the batch -------------------------------------------------------------------------------- */

int64_t net_slices(const net *n, int64_t rows)
{
    int64_t slices = (rows + n->slice_rows - 1) / n->slice_rows;
    slices = (slices + MIN_SLICES - 1) / MIN_SLICES * MIN_SLICES;
    return slices < rows ? slices : rows;
}

/* The slice whose largest pair of neighbouring tensors, with the weights between, fills half of the L2. */
static int64_t images_per_slice(const net *n)
{
    int64_t budget = (int64_t)(machine_context(1).l2 / 2 / sizeof(float)), rows = n->options.batch;
    for (int i = 0; i < n->op_count; i++) {
        const op *o = &n->ops[i];
        if (o->batched) continue;
        int64_t weights = o->weights < 0 ? 0 : n->model->parameter[o->weights].count;
        int64_t fit = (budget - weights) / (o->in + o->out);
        if (fit < rows) rows = fit;
    }
    return rows < 1 ? 1 : rows;
}

/* ---- memory ------------------------------------------------------------------------------------------- */

/* Which tensors and gradients live for the whole batch: what backward reads, and what passes between phases. */
static void mark_kept(const net *n, bool *value, bool *diff)
{
    for (int i = 0; i < n->op_count; i++) {
        value[i] = value[i] || n->ops[i].needs_input;
        value[i + 1] = n->ops[i].needs_output;
    }
    for (int i = 0; i < n->phase_count; i++) {
        value[n->phases[i].first] = true;
        diff[n->phases[i].first] = n->phases[i].first > 0;
    }
    value[n->op_count] = diff[n->op_count] = true;
}

static int64_t count_of(const net *n, int tensor)
{
    return tensor == 0 ? n->ops[0].in : n->ops[tensor - 1].out;
}

static bool allocate_tensors(net *n)
{
    bool value[NET_MAX_OPS + 1] = {false}, diff[NET_MAX_OPS + 1] = {false};
    mark_kept(n, value, diff);
    int64_t batch = n->options.batch, widest = 0;
    bool ok = true;
    for (int i = 0; i <= n->op_count; i++) {
        size_t bytes = (size_t)(batch * count_of(n, i)) * sizeof(float);
        if (value[i]) ok = ok && (n->value[i] = buffer_alloc(bytes)) != NULL;
        if (diff[i]) ok = ok && (n->diff[i] = buffer_alloc(bytes)) != NULL;
        if (count_of(n, i) > widest) widest = count_of(n, i);
    }
    int64_t words = 0;
    for (int i = 0; i < n->op_count; i++) {
        op *o = &n->ops[i];
        if (o->kind == OP_MAX_POOL || o->kind == OP_FIRST || o->kind == OP_POOLED)
            ok = ok && (o->argmax = buffer_alloc((size_t)(batch * o->out))) != NULL;
        if (o->kind == OP_DROPOUT)
            ok = ok &&
                 (o->bits = buffer_alloc((size_t)(batch * nn_dropout_words(o->out)) * sizeof *o->bits)) != NULL;
        if (nn_dropout_words(o->out) > words) words = nn_dropout_words(o->out);
    }
    for (int t = 0; t < n->options.threads && ok; t++) {
        size_t bytes = (size_t)(n->slice_rows * widest) * sizeof(float);
        ok = (n->buffer[0][t] = buffer_alloc(bytes)) != NULL &&
             (n->buffer[1][t] = buffer_alloc(bytes)) != NULL &&
             (n->bits[t] = buffer_alloc((size_t)(n->slice_rows * words) * sizeof **n->bits)) != NULL;
    }
    return ok;
}

/* Gradients of sliced operations: one part per chunk of slices. */
static bool allocate_parts(net *n)
{
    for (int p = 0; p < n->model->parameter_count; p++) n->part_offset[p] = -1;
    for (int i = 0; i < n->op_count; i++) {
        const int parameters[] = {n->ops[i].weights, n->ops[i].pointwise, n->ops[i].bias};
        for (int k = 0; k < 3 && !n->ops[i].batched; k++) {
            if (parameters[k] < 0) continue;
            n->part_offset[parameters[k]] = n->parts_stride;
            n->parts_stride += (n->model->parameter[parameters[k]].count + 15) / 16 * 16;
        }
    }
    int64_t slices = net_slices(n, n->options.batch);
    int64_t affordable =
        PARTS_LIMIT_BYTES / (int64_t)sizeof(float) / (n->parts_stride > 0 ? n->parts_stride : 1);
    if (affordable < MIN_SLICES) affordable = MIN_SLICES;
    n->chunks_allocated = slices < affordable ? slices : affordable;
    n->parts = buffer_alloc((size_t)(n->chunks_allocated * n->parts_stride) * sizeof *n->parts);
    return n->parts != NULL;
}

static bool allocate(net *n)
{
    size_t threads = (size_t)n->options.threads, batch = (size_t)n->options.batch;
    size_t slices = (size_t)net_slices(n, n->options.batch), total = (size_t)n->model->total * sizeof(float);
    n->weights = buffer_alloc(total);
    n->gradient = buffer_alloc(total);
    n->loss = malloc(batch * sizeof *n->loss);
    n->correct = malloc(batch);
    n->labels = malloc(batch);
    n->penalty = calloc(slices * (size_t)n->op_count, sizeof *n->penalty);
    n->seconds = calloc(threads * (size_t)(n->op_count + PROFILE_EXTRA) * 2, sizeof *n->seconds);
    n->buffer[0] = calloc(threads, sizeof *n->buffer[0]);
    n->buffer[1] = calloc(threads, sizeof *n->buffer[1]);
    n->bits = calloc(threads, sizeof *n->bits);
    n->scratch = calloc(threads, sizeof *n->scratch);
    n->scratch_bytes = calloc(threads, sizeof *n->scratch_bytes);
    bool ok = n->weights != NULL && n->gradient != NULL && n->loss != NULL && n->correct != NULL &&
              n->labels != NULL && n->penalty != NULL && n->seconds != NULL && n->buffer[0] != NULL &&
              n->buffer[1] != NULL && n->bits != NULL && n->scratch != NULL && n->scratch_bytes != NULL;
    if (!ok) return false;
    memset(n->weights, 0, total);
    memset(n->gradient, 0, total);
    return allocate_tensors(n) && allocate_parts(n);
}

bool net_grow_scratch(net *n, size_t bytes)
{
    for (int t = 0; t < n->options.threads; t++) {
        if (n->scratch_bytes[t] >= bytes) continue;
        buffer_free(n->scratch[t]);
        n->scratch[t] = buffer_alloc(bytes);
        n->scratch_bytes[t] = n->scratch[t] == NULL ? 0 : bytes;
        if (n->scratch[t] == NULL) return false;
    }
    return true;
}

/* What runs operation o, and its memory. */
static conv_status equip(net *n, op *o, conv_error *err)
{
    conv_status status = o->kind == OP_CONV ? conv_op_choose(n, o, err) : CONV_OK;
    bool ok =
        (o->kind != OP_FIRST || first_op_allocate(n, o)) && (o->kind != OP_POOLED || pooled_op_allocate(n, o));
    return ok ? status : conv_fail(err, CONV_NO_MEMORY, "no memory for a fused layer");
}

net *net_create(const model *m, const net_options *options, conv_error *err)
{
    net *n = calloc(1, sizeof *n);
    if (n == NULL) {
        conv_fail(err, CONV_NO_MEMORY, "no memory");
        return NULL;
    }
    n->model = m;
    n->options = *options;
    n->nn = nn_kernels_get();
    n->version = 1;
    conv_status status = net_build(n, err);
    if (status == CONV_OK) {
        n->slice_rows = options->slice > 0 ? options->slice : images_per_slice(n);
        int64_t slices = net_slices(n, options->batch);
        n->slice_rows = (options->batch + slices - 1) / slices; /* of the largest, after rounding */
        if (!allocate(n))
            status = conv_fail(err, CONV_NO_MEMORY, "no memory for a batch of %lld", (long long)options->batch);
    }
    for (int i = 0; i < n->op_count && status == CONV_OK; i++) status = equip(n, &n->ops[i], err);
    if (status == CONV_OK) return n;
    net_destroy(n);
    return NULL;
}

void net_destroy(net *n)
{
    if (n == NULL) return;
#pragma omp parallel num_threads(n->options.threads)
    flush_denormals(false);
    for (int i = 0; i < n->op_count; i++) {
        conv_op_free(n, &n->ops[i]);
        buffer_free(n->ops[i].argmax);
        buffer_free(n->ops[i].bits);
        buffer_free(n->ops[i].product);
    }
    for (int i = 0; i <= n->op_count; i++) {
        buffer_free(n->value[i]);
        buffer_free(n->diff[i]);
    }
    for (int t = 0; t < n->options.threads; t++) {
        for (int k = 0; k < 2; k++)
            if (n->buffer[k] != NULL) buffer_free(n->buffer[k][t]);
        if (n->bits != NULL) buffer_free(n->bits[t]);
        if (n->scratch != NULL) buffer_free(n->scratch[t]);
    }
    buffer_free(n->batch_scratch);
    buffer_free(n->weights);
    buffer_free(n->gradient);
    buffer_free(n->parts);
    free(n->buffer[0]);
    free(n->buffer[1]);
    free(n->bits);
    free(n->scratch);
    free(n->scratch_bytes);
    free(n->loss);
    free(n->correct);
    free(n->labels);
    free(n->penalty);
    free(n->seconds);
    free(n);
}

float *net_weights(net *n) { return n->weights; }
const float *net_gradient(net *n) { return n->gradient; }
void net_weights_changed(net *n) { n->version++; }

/* ---- one slice ----------------------------------------------------------------------------------------- */

static float *value_at(net *n, int tensor, const slice *s)
{
    return n->value[tensor] != NULL ? n->value[tensor] + s->first * count_of(n, tensor)
                                    : n->buffer[tensor & 1][s->thread];
}

static float *diff_at(net *n, int tensor, const slice *s)
{
    return n->diff[tensor] != NULL ? n->diff[tensor] + s->first * count_of(n, tensor)
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
    int64_t count = count_of(n, 0);
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

static conv_status forward_ops(net *n, const phase *ph, const slice *s, double *clock)
{
    conv_status status = CONV_OK;
    for (int i = ph->first; i < ph->last && status == CONV_OK; i++) {
        const float *x = value_at(n, i, s);
        float *y = value_at(n, i + 1, s);
        if (n->ops[i].kind == OP_CONV)
            status = conv_op_forward(n, &n->ops[i], s, x, y);
        else
            op_forward(n, &n->ops[i], s, x, y);
        charge(n, s, i, 0, clock);
    }
    return status;
}

static conv_status backward_ops(net *n, const phase *ph, const slice *s, double *clock)
{
    conv_status status = CONV_OK;
    for (int i = ph->last - 1; i >= ph->first && status == CONV_OK; i--) {
        op *o = &n->ops[i];
        if (o->weights < 0 && !o->diff_wanted) break; /* nothing before it learns */
        const float *x = o->needs_input ? value_at(n, i, s) : NULL,
                    *y = o->needs_output ? value_at(n, i + 1, s) : NULL;
        const float *dy = diff_at(n, i + 1, s);
        float *dx = o->diff_wanted ? diff_at(n, i, s) : NULL;
        if (o->kind == OP_CONV)
            status = conv_op_backward(n, o, s, x, y, dy, dx);
        else
            op_backward(n, o, s, x, y, dy, dx);
        charge(n, s, i, 1, clock);
    }
    return status;
}

/* ---- sweeps -------------------------------------------------------------------------------------------- */

typedef struct {
    const net_batch *batch;
    float *outputs;
    bool training, backward;
    uint32_t step;
} sweep;

/* Chunks of slices in parallel; within a chunk slices follow each other and add up their weight gradients. */
static conv_status sweep_slices(net *n, const phase *ph, const sweep *w)
{
    int64_t rows = w->batch->count, slices = net_slices(n, rows), chunks = net_chunks(n, slices);
    conv_status result = CONV_OK;
#pragma omp parallel num_threads(n->options.threads)
    {
        flush_denormals(true);
        double clock;
#pragma omp for schedule(dynamic, 1)
        for (int64_t c = 0; c < chunks; c++) {
            conv_status status = CONV_OK;
            int64_t first = net_slice_first(slices, chunks, c), last = net_slice_first(slices, chunks, c + 1);
            clock = machine_now();
            for (int64_t i = first; i < last && status == CONV_OK; i++) {
                int64_t from = net_slice_first(rows, slices, i);
                slice s = {.thread = omp_get_thread_num(),
                           .index = i,
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
    w->backward = false;
    for (int i = 0; i < n->phase_count && status == CONV_OK; i++)
        status = n->phases[i].batched ? sweep_batch(n, &n->phases[i], w) : sweep_slices(n, &n->phases[i], w);
    w->backward = true;
    for (int i = n->phase_count - 1; i >= 0 && w->training && status == CONV_OK; i--) {
        if (n->phases[i].batched)
            status = sweep_batch(n, &n->phases[i], w);
        else if (n->phases[i].first < n->phases[i].last)
            status = sweep_slices(n, &n->phases[i], w);
    }
    return status;
}

/* ---- whole batches ------------------------------------------------------------------------------------- */

/* Plans for this batch size, once. */
static conv_status prepare(net *n, int64_t rows, bool training, conv_error *err)
{
    for (int i = 0; i < n->prepared_count; i++)
        if (n->prepared[i].rows == rows && n->prepared[i].training == training) return CONV_OK;
    for (int i = 0; i < n->op_count; i++) {
        if (n->ops[i].kind != OP_CONV) continue;
        conv_status status = conv_op_prepare(n, &n->ops[i], rows, training, err);
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
                             : prepare(n, rows, w->training, err);
    if (status != CONV_OK) return status;
    for (int i = 0; i < n->op_count; i++) {
        if (n->ops[i].kind == OP_FIRST) first_op_refresh(n, &n->ops[i]);
        if (n->ops[i].kind == OP_POOLED && w->training) pooled_op_refresh(n, &n->ops[i]);
    }
    n->penalty_scale = 1.0f / (float)rows;
    n->chunks = net_chunks(n, net_slices(n, rows));
    status = sweep_all(n, w);
    if (status != CONV_OK) return conv_fail(err, CONV_FAILED, "a convolution failed");
    gather_result(n, rows, result);
    n->wall += machine_now() - start;
    return CONV_OK;
}

conv_status net_train(net *n, const net_batch *batch, uint32_t step, net_result *result, conv_error *err)
{
    sweep w = {.batch = batch, .training = true, .step = step};
    return run_batch(n, &w, result, err);
}

conv_status net_evaluate(net *n, const net_batch *batch, float *outputs, net_result *result, conv_error *err)
{
    sweep w = {.batch = batch, .outputs = outputs};
    return run_batch(n, &w, result, err);
}

/* ---- reports ------------------------------------------------------------------------------------------- */

const char *net_fusion(const net *n, int layer_index) { return n->fusion[layer_index]; }

void net_profile_reset(net *n)
{
    memset(n->seconds, 0,
           (size_t)n->options.threads * (size_t)(n->op_count + PROFILE_EXTRA) * 2 * sizeof *n->seconds);
    n->wall = 0;
}

int net_profile(const net *n, net_profile_row *rows, int most, double *wall_s)
{
    static const char *const extra[] = {"input", "loss", "optimizer"};
    int count = n->op_count + PROFILE_EXTRA < most ? n->op_count + PROFILE_EXTRA : most;
    *wall_s = n->wall;
    for (int i = 0; i < count; i++) {
        net_profile_row *r = &rows[i];
        *r = (net_profile_row){0};
        const op *o = i < n->op_count ? &n->ops[i] : NULL;
        const layer *l = o != NULL ? &n->model->layers[o->layer] : NULL;
        snprintf(r->layer, sizeof r->layer, "%s", o != NULL ? l->name : extra[i - n->op_count]);
        snprintf(r->operation, sizeof r->operation, "%s", o != NULL ? o->what : extra[i - n->op_count]);
        r->flops = o != NULL && o->weights >= 0 ? o->flops : 0;
        r->first_weights = o != NULL && !o->diff_wanted;
        for (int t = 0; t < n->options.threads; t++) {
            const double *s = n->seconds + ((int64_t)t * (n->op_count + PROFILE_EXTRA) + i) * 2;
            r->forward_s += s[0] / n->options.threads;
            r->backward_s += s[1] / n->options.threads;
        }
    }
    return count;
}
