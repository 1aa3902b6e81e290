/* Convolutions and dense layers on the contract: plans by minibatch size and thread, packing when weights
 * changed, and the calls. A sliced operation's plans are for one thread, so their bits cannot depend on the
 * thread count. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../machine/machine.h"
#include "../measure/tensors.h"
#include "net_internal.h"

static int lanes(const net *n, const op *o) { return o->batched ? 1 : n->options.threads; }

conv_pass conv_use_pass(conv_use use) { return use == USE_BACKWARD ? CONV_BACKWARD : CONV_FORWARD; }

conv_problem op_problem(const op *o, int64_t rows)
{
    conv_problem p = o->problem;
    if (o->batched)
        p.axis[CONV_W].in *= rows;
    else
        p.mb = rows;
    return p;
}

static conv_exec *find_exec(const op *o, conv_use use, int lane, int64_t rows)
{
    for (int i = 0; i < o->exec_count; i++) {
        conv_exec *e = &o->exec[use][lane * o->exec_count + i];
        if (e->plan != NULL && e->rows == rows) return e;
    }
    return NULL;
}

/* For e->rows images. */
static conv_status make_exec(net *n, op *o, conv_use use, int lane, conv_exec *e, conv_error *err)
{
    conv_problem p = op_problem(o, e->rows);
    conv_context context = machine_context(o->batched ? n->options.threads : 1);
    context.keep_workspace = use == USE_TRAIN && o->keep_workspace;
    context.book = o->pins.count > 0 ? &o->pins.book : NULL;
    conv_error inner;
    conv_status status = conv_plan_create(o->impl[use], &p, conv_use_pass(use), &context, &e->plan, &inner);
    if (status != CONV_OK)
        return conv_fail(err, status, "layer %s: %s: %.180s", n->model->layers[o->layer].name,
                         o->impl[use]->name, inner.text);
    if (e->plan->packed_bytes > 0) {
        e->packed = buffer_alloc(e->plan->packed_bytes);
        if (e->packed == NULL) return conv_fail(err, CONV_NO_MEMORY, "no memory for packed weights");
    }
    if (e->plan->activation_bytes > 0) {
        e->activations = buffer_alloc(e->plan->activation_bytes);
        if (e->activations == NULL) return conv_fail(err, CONV_NO_MEMORY, "no memory for activations");
    }
    bool ok = o->batched ? net_room(&n->batch_scratch, &n->batch_scratch_bytes, e->plan->scratch_bytes)
                         : net_room(&n->scratch[lane], &n->scratch_bytes[lane], e->plan->scratch_bytes);
    return ok ? CONV_OK : conv_fail(err, CONV_NO_MEMORY, "no memory for a convolution's scratch");
}

/* Room for one more minibatch size in every lane of every use. */
static bool widen(net *n, op *o)
{
    int count = o->exec_count + 1, lane_count = lanes(n, o);
    for (int use = 0; use < USE_COUNT; use++) {
        conv_exec *wider = calloc((size_t)(count * lane_count), sizeof *wider);
        if (wider == NULL) return false;
        for (int lane = 0; lane < lane_count && o->exec_count > 0; lane++)
            memcpy(wider + lane * count, o->exec[use] + lane * o->exec_count,
                   (size_t)o->exec_count * sizeof *wider);
        free(o->exec[use]);
        o->exec[use] = wider;
        /* The other uses keep the old stride until their turn, within this loop. */
    }
    o->exec_count = count;
    return true;
}

static conv_status ensure(net *n, op *o, conv_use use, int64_t rows, conv_error *err)
{
    if (find_exec(o, use, 0, rows) != NULL) return CONV_OK;
    int slot = 0;
    while (slot < o->exec_count && o->exec[use][slot].plan != NULL) slot++;
    if (slot == o->exec_count && !widen(n, o)) return conv_fail(err, CONV_NO_MEMORY, "no memory");
    for (int lane = 0; lane < lanes(n, o); lane++) {
        conv_exec *e = &o->exec[use][lane * o->exec_count + slot];
        e->rows = rows;
        conv_status status = make_exec(n, o, use, lane, e, err);
        if (status != CONV_OK) return status;
    }
    return CONV_OK;
}

static conv_status ensure_uses(net *n, op *o, int64_t rows, bool training, conv_error *err)
{
    if (!training) return ensure(n, o, USE_INFER, rows, err);
    conv_status status = ensure(n, o, USE_TRAIN, rows, err);
    if (status == CONV_OK) status = ensure(n, o, USE_BACKWARD, rows, err);
    if (status != CONV_OK) return status;
    conv_exec *e = find_exec(o, USE_TRAIN, 0, rows);
    size_t bytes = (e->plan->workspace_bytes + 63) / 64 * 64;
    if (bytes <= o->workspace_stride) return CONV_OK;
    size_t copies = o->batched ? 1 : (size_t)net_slices(n, n->options.batch);
    buffer_free(o->workspace);
    o->workspace = buffer_alloc(bytes * copies);
    o->workspace_stride = bytes;
    return o->workspace != NULL ? CONV_OK
                                : conv_fail(err, CONV_NO_MEMORY, "no memory for a convolution's workspace");
}

conv_status conv_op_prepare(net *n, op *o, int64_t rows, bool training, conv_error *err)
{
    if (o->batched) return ensure_uses(n, o, rows, training, err);
    int64_t slices = net_slices(n, rows);
    for (int64_t i = 0; i < slices; i++) {
        int64_t size = net_slice_first(rows, slices, i + 1) - net_slice_first(rows, slices, i);
        conv_status status = ensure_uses(n, o, size, training, err);
        if (status != CONV_OK) return status;
    }
    return CONV_OK;
}

static conv_status run(net *n, op *o, const slice *s, conv_exec *e, conv_args *args)
{
    args->weights = net_parameter(n, o->weights);
    args->pointwise = net_parameter(n, o->pointwise);
    args->bias = net_parameter(n, o->bias);
    args->packed = e->packed;
    args->activations = e->activations;
    args->scratch = o->batched ? n->batch_scratch : n->scratch[s->thread];
    args->workspace =
        o->workspace == NULL ? NULL : (char *)o->workspace + (o->batched ? 0 : s->index) * o->workspace_stride;
    conv_status status = CONV_OK;
    if (e->packed != NULL && e->packed_at != n->version) {
        status = conv_pack(e->plan, args->weights, args->pointwise, e->packed);
        e->packed_at = n->version;
    }
    if (status == CONV_OK) status = conv_enter(e->plan, args);
    if (status == CONV_OK) status = conv_execute(e->plan, args);
    return status == CONV_OK ? conv_leave(e->plan, args) : status;
}

conv_status conv_op_forward(net *n, op *o, const slice *s, const float *x, float *y)
{
    conv_exec *e = find_exec(o, s->training ? USE_TRAIN : USE_INFER, o->batched ? 0 : s->thread, s->rows);
    conv_args args = {.src = x, .dst = y};
    return run(n, o, s, e, &args);
}

/* Where a parameter's gradient goes: the chunk's own part, or the sum itself. */
static float *gradient_of(const net *n, const slice *s, int p)
{
    if (p < 0) return NULL;
    return n->part_offset[p] < 0 ? n->gradient + n->model->parameter[p].offset : s->parts + n->part_offset[p];
}

conv_status conv_op_backward(net *n, op *o, const slice *s, const op_gradients *g)
{
    conv_exec *e = find_exec(o, USE_BACKWARD, o->batched ? 0 : s->thread, s->rows);
    conv_args args = {.src = g->x,
                      .dst = (float *)g->y,
                      .diff_dst = g->dy,
                      .diff_src = g->dx,
                      .diff_weights = gradient_of(n, s, o->weights),
                      .diff_pointwise = gradient_of(n, s, o->pointwise),
                      .diff_bias = gradient_of(n, s, o->bias),
                      .accumulate = s->accumulate};
    return run(n, o, s, e, &args);
}

void conv_op_free(net *n, op *o)
{
    for (int use = 0; use < USE_COUNT; use++) {
        for (int i = 0; o->exec[use] != NULL && i < lanes(n, o) * o->exec_count; i++) {
            conv_plan_destroy(o->exec[use][i].plan);
            buffer_free(o->exec[use][i].packed);
            buffer_free(o->exec[use][i].activations);
        }
        free(o->exec[use]);
    }
    buffer_free(o->workspace);
    pins_free(&o->pins);
}
