/* The executor's memory, and what it says of itself. sweep.c goes over the batch. */
#include "net_internal.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../machine/machine.h"
#include "../measure/tensors.h"
#include "flush.h"
#include "spread.h"

enum {
    MIN_SLICES = 8,              /* slices come in multiples of this, so that cores share them evenly */
    PARTS_LIMIT_BYTES = 32 << 20 /* weight gradients kept apart per chunk before chunks get several slices */
};

/* ---- cutting the batch */

int64_t net_slices(const net *n, int64_t rows)
{
    int64_t slices = (rows + n->slice_rows - 1) / n->slice_rows;
    if (!n->options.part) slices = (slices + MIN_SLICES - 1) / MIN_SLICES * MIN_SLICES;
    return slices < rows ? slices : rows;
}

/* The slice whose two largest neighbouring tensors, with the weights between, fills half of the L2. */
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

/* ---- memory */

/* Which tensors and gradients live for the whole batch: what backward reads, and what passes between phases. */
static void mark_kept(const net *n, bool *value, bool *diff)
{
    int readers[NET_MAX_OPS + 1] = {0};
    for (int i = 0; i < n->op_count; i++) {
        const op *o = &n->ops[i];
        for (int k = 0; k < o->input_count; k++) {
            int t = o->input[k];
            bool more = t != i || readers[t]++ > 0;
            value[t] = value[t] || o->needs_input || more;
            diff[t] = diff[t] || more;
        }
        value[i + 1] = o->needs_output;
    }
    for (int i = 0; i < n->phase_count; i++) {
        int t = n->phases[i].first;
        bool normalizes = net_normalizes(n, &n->phases[i]);
        value[t] = true;
        /* The phase before makes a live normalization's gradient by its input, from that by its output. */
        diff[t + normalizes] = true;
    }
    value[n->op_count] = diff[n->op_count] = true;
    for (int t = 0; t < n->op_count; t++) diff[t] = diff[t] && n->learns[t];
}

/* Room for a gradient that is to be added to another reader's. */
static bool allocate_added(net *n)
{
    int64_t batched = 0, sliced = 0;
    bool ok = true;
    for (int i = 0; i < n->op_count; i++)
        for (int k = 0; k < n->ops[i].input_count; k++) {
            int64_t count = n->ops[i].adds[k] ? net_count(n, n->ops[i].input[k]) : 0;
            int64_t *most = n->ops[i].batched ? &batched : &sliced;
            if (count > *most) *most = count;
        }
    if (batched > 0)
        ok = (n->batch_buffer = buffer_alloc((size_t)(n->options.batch * batched) * sizeof(float))) != NULL;
    for (int t = 0; t < n->options.threads && ok && sliced > 0; t++)
        ok = (n->buffer[2][t] = buffer_alloc((size_t)(n->slice_rows * sliced) * sizeof(float))) != NULL;
    return ok;
}

static bool allocate_tensors(net *n)
{
    bool value[NET_MAX_OPS + 1] = {false}, diff[NET_MAX_OPS + 1] = {false};
    mark_kept(n, value, diff);
    int64_t batch = n->options.batch, widest = 0;
    bool ok = true;
    for (int i = 0; i <= n->op_count; i++) {
        size_t bytes = (size_t)(batch * net_count(n, i)) * sizeof(float);
        if (value[i]) ok = ok && (n->value[i] = buffer_alloc(bytes)) != NULL;
        if (diff[i]) ok = ok && (n->diff[i] = buffer_alloc(bytes)) != NULL;
        if (net_count(n, i) > widest) widest = net_count(n, i);
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
    bool ok = true;
    for (int i = 0; i < 3; i++) ok = (n->buffer[i] = calloc(threads, sizeof *n->buffer[i])) != NULL && ok;
    n->bits = calloc(threads, sizeof *n->bits);
    n->scratch = calloc(threads, sizeof *n->scratch);
    n->scratch_bytes = calloc(threads, sizeof *n->scratch_bytes);
    ok = ok && n->weights != NULL && n->gradient != NULL && n->loss != NULL && n->correct != NULL &&
         n->labels != NULL && n->penalty != NULL && n->seconds != NULL && n->bits != NULL &&
         n->scratch != NULL && n->scratch_bytes != NULL;
    if (!ok) return false;
    memset(n->weights, 0, total);
    memset(n->gradient, 0, total);
    return allocate_tensors(n) && allocate_added(n) && allocate_parts(n);
}

bool net_room(void **memory, size_t *have, size_t want)
{
    if (want <= *have) return true;
    buffer_free(*memory);
    *memory = buffer_alloc(want);
    *have = *memory == NULL ? 0 : want;
    return *memory != NULL;
}

bool net_grow_scratch(net *n, size_t bytes)
{
    bool ok = true;
    for (int t = 0; t < n->options.threads && ok; t++)
        ok = net_room(&n->scratch[t], &n->scratch_bytes[t], bytes);
    return ok;
}

/* What runs operation o, and its memory. */
static conv_status equip(net *n, op *o, conv_error *err)
{
    conv_status status = o->kind == OP_CONV ? conv_op_choose(n, o, err) : CONV_OK;
    bool ok = (o->kind != OP_FIRST || first_op_allocate(n, o)) &&
              (o->kind != OP_POOLED || pooled_op_allocate(n, o)) &&
              (o->kind != OP_NORM || norm_op_allocate(n, o));
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
    if (status == CONV_OK) status = spread_create(n, err);
    if (status == CONV_OK) return n;
    net_destroy(n);
    return NULL;
}

void net_destroy(net *n)
{
    if (n == NULL) return;
    spread_destroy(n);
#pragma omp parallel num_threads(n->options.threads)
    flush_denormals(false);
    for (int i = 0; i < n->op_count; i++) {
        conv_op_free(n, &n->ops[i]);
        buffer_free(n->ops[i].argmax);
        buffer_free(n->ops[i].bits);
        buffer_free(n->ops[i].product);
        norm_op_free(&n->ops[i]);
    }
    for (int i = 0; i <= n->op_count; i++) {
        buffer_free(n->value[i]);
        buffer_free(n->diff[i]);
    }
    for (int t = 0; t < n->options.threads; t++) {
        for (int k = 0; k < 3; k++)
            if (n->buffer[k] != NULL) buffer_free(n->buffer[k][t]);
        if (n->bits != NULL) buffer_free(n->bits[t]);
        if (n->scratch != NULL) buffer_free(n->scratch[t]);
    }
    buffer_free(n->batch_scratch);
    buffer_free(n->batch_buffer);
    buffer_free(n->weights);
    buffer_free(n->gradient);
    buffer_free(n->parts);
    for (int k = 0; k < 3; k++) free(n->buffer[k]);
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

float *net_weights(net *n)
{
    if (n->spread != NULL) spread_weights_wait(n);
    return n->weights;
}

void net_gather_slot(net *n, float *slot)
{
    if (n->spread != NULL) spread_slots(n, slot);
}

int64_t net_slice(const net *n) { return n->slice_rows; }
const float *net_gradient(net *n) { return n->gradient; }
void net_weights_changed(net *n) { n->version++; }

/* ---- reports */

const char *net_fusion(const net *n, int layer_index) { return n->fusion[layer_index]; }

void net_profile_reset(net *n)
{
    memset(n->seconds, 0,
           (size_t)n->options.threads * (size_t)(n->op_count + PROFILE_EXTRA) * 2 * sizeof *n->seconds);
    n->wall = 0;
    if (n->spread != NULL) *spread_clock(n) = (spread_times){0};
}

double net_hidden(const net *n)
{
    if (n->spread == NULL) return 0;
    const spread_times *t = spread_clock(n);
    return t->hidden[0] + t->hidden[1];
}

/* What waiting for other ranks took; returns how many rows that are. */
static int communication(const net *n, net_profile_row *r)
{
    if (n->spread == NULL) return 0;
    const spread_times *t = spread_clock(n);
    *r = (net_profile_row){.layer = "communication",
                           .operation = "packing and waiting",
                           .forward_s = t->waited[0],
                           .backward_s = t->waited[1]};
    return 1;
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
        r->whole = o != NULL && o->batched && !spread_splits(o);
        for (int t = 0; t < n->options.threads; t++) {
            const double *s = n->seconds + ((int64_t)t * (n->op_count + PROFILE_EXTRA) + i) * 2;
            r->forward_s += s[0] / n->options.threads;
            r->backward_s += s[1] / n->options.threads;
        }
    }
    if (count < most) count += communication(n, &rows[count]);
    return count;
}
