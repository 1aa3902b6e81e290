/* Dense layers on several ranks (spread.h). */
#include "spread_internal.h"

#include <stdlib.h>
#include <string.h>

#include "../../kernels/util.h"
#include "../grow.h"
#include "../machine/machine.h"
#include "../measure/tensors.h"

enum { UNIT = 16 }; /* inputs: of an own part's bounds */

/* Pixels of an image: a dense layer on more than one axis has several. */
static int64_t pixels_of(const op *o) { return o->problem.axis[CONV_W].in; }

static int64_t own_rows(const spread *s) { return s->row[s->rank + 1] - s->row[s->rank]; }

bool spread_splits(const op *o)
{
    const conv_impl *backward = o->impl[USE_BACKWARD];
    return o->impl[USE_TRAIN]->by_pixel && backward->by_pixel && backward->by_input;
}

/* ---- plans */

static conv_problem data_problem(const op *o, int64_t rows)
{
    conv_problem p = op_problem(o, rows);
    p.post_op = CONV_POST_NONE; /* its gradient has been taken */
    return p;
}

static conv_problem weights_problem(const op *o, const dense_part *d, const spread *s)
{
    conv_problem p = data_problem(o, s->rows);
    p.ic = d->input[s->rank + 1] - d->input[s->rank];
    p.bias = p.bias && s->rank == 0;
    return p;
}

static dense_plan *find_plan(dense_plan *list, size_t count, int64_t rows)
{
    for (size_t i = 0; i < count; i++)
        if (list[i].rows == rows) return &list[i];
    return NULL;
}

/* A plan of a part of backward for so many images, by the strategies of the whole layer. */
static conv_status add_plan(net *n, op *o, const conv_problem *p, conv_pass pass, dense_plan *to,
                            conv_error *err)
{
    conv_context context = machine_context(n->options.threads);
    conv_error inner;
    context.book = o->pins.count > 0 ? &o->pins.book : NULL;
    conv_status status = conv_plan_create(o->impl[USE_BACKWARD], p, pass, &context, &to->plan, &inner);
    if (status != CONV_OK)
        return conv_fail(err, status, "layer %s: %s: %.180s", n->model->layers[o->layer].name,
                         o->impl[USE_BACKWARD]->name, inner.text);
    bool ok = to->plan->packed_bytes == 0 || (to->packed = buffer_alloc(to->plan->packed_bytes)) != NULL;
    ok = ok && net_room(&n->batch_scratch, &n->batch_scratch_bytes, to->plan->scratch_bytes);
    return ok ? CONV_OK : conv_fail(err, CONV_NO_MEMORY, "no memory for a dense layer on several ranks");
}

static conv_status ensure_plan(net *n, op *o, const conv_problem *p, conv_pass pass, int64_t rows,
                               conv_error *err)
{
    dense_part *d = &n->spread->dense[o - n->ops];
    dense_plan **list = pass == CONV_BACKWARD_DATA ? &d->data : &d->weights;
    size_t *count = pass == CONV_BACKWARD_DATA ? &d->data_count : &d->weights_count;
    if (find_plan(*list, *count, rows) != NULL) return CONV_OK;
    dense_plan *added = grow(list, count, sizeof *added);
    if (added == NULL) return conv_fail(err, CONV_NO_MEMORY, "no memory for a plan");
    *added = (dense_plan){.rows = rows};
    return add_plan(n, o, p, pass, added, err);
}

conv_status spread_prepare(net *n, op *o, conv_error *err)
{
    const spread *s = n->spread;
    const dense_part *d = &s->dense[o - n->ops];
    int64_t rows = own_rows(s);
    if (!d->split) return conv_op_prepare(n, o, s->rows, true, err);
    conv_problem data = data_problem(o, rows), weights = weights_problem(o, d, s);
    conv_status status = rows > 0 ? conv_op_prepare(n, o, rows, true, err) : CONV_OK;
    if (status == CONV_OK && rows > 0 && n->learns[o->input[0]])
        status = ensure_plan(n, o, &data, CONV_BACKWARD_DATA, rows, err);
    if (status == CONV_OK && weights.ic > 0)
        status = ensure_plan(n, o, &weights, CONV_BACKWARD_WEIGHTS, s->rows, err);
    return status;
}

static conv_status run_plan(net *n, dense_plan *p, conv_args *args)
{
    conv_status status = CONV_OK;
    args->packed = p->packed;
    args->scratch = n->batch_scratch;
    if (p->packed != NULL && p->packed_at != n->version) {
        status = conv_pack(p->plan, args->weights, NULL, p->packed);
        p->packed_at = n->version;
    }
    return status == CONV_OK ? conv_execute(p->plan, args) : status;
}

/* ---- forward */

/* Time of all threads, the waiting left out. */
static void charge(net *n, int i, int pass, double since)
{
    double took = machine_now() - since;
    for (int t = 0; t < n->options.threads; t++)
        n->seconds[((int64_t)t * (n->op_count + PROFILE_EXTRA) + i) * 2 + pass] += took;
}

/* Own images' inputs to those who own the weights' rows. */
static void send_inputs(net *n, int i)
{
    spread *s = n->spread;
    const op *o = &n->ops[i];
    dense_part *d = &s->dense[i];
    double began = machine_now();
    int64_t inputs = o->problem.ic, each = pixels_of(o), pixels = own_rows(s) * each;
    const float *x = n->value[o->input[0]] + s->row[s->rank] * o->in;
    for (int r = 0; r <= s->size; r++) {
        d->from[r] = pixels * d->input[r];
        d->to[r] = s->row[r] * each * (d->input[s->rank + 1] - d->input[s->rank]);
    }
#pragma omp parallel for num_threads(n->options.threads)
    for (int64_t k = 0; k < pixels; k++)
        for (int r = 0; r < s->size; r++) {
            int64_t count = d->input[r + 1] - d->input[r];
            float *to = r == s->rank ? d->columns + d->to[r] : d->send + d->from[r];
            memcpy(to + k * count, x + k * inputs + d->input[r], (size_t)count * sizeof *x);
        }
    ranks_exchange(&d->inputs, RANKS_FLOATS, d->send, d->from, d->columns, d->to);
    s->clock.waited[0] += machine_now() - began;
}

/* Everybody's images of a tensor of so many floats an image. */
static void start_rows(spread *s, float *tensor, int64_t count, ranks_message *m)
{
    for (int r = 0; r <= s->size; r++) s->first[r] = s->row[r] * count;
    ranks_gather(m, RANKS_FLOATS, tensor, s->first);
}

conv_status spread_forward(net *n, int i, uint32_t step)
{
    spread *s = n->spread;
    op *o = &n->ops[i];
    dense_part *d = &s->dense[i];
    conv_status status = CONV_OK;
    slice all = {.rows = s->rows, .training = true, .step = step}, part = all;
    part.first = s->row[s->rank];
    part.rows = own_rows(s);
    for (int p = 0; p < n->model->parameter_count; p++)
        if (s->op_of[p] == i) spread_wait(s, &s->large[p], 0);
    if (!d->split) {
        start_rows(s, n->value[o->input[0]], o->in, &d->inputs);
        spread_wait(s, &d->inputs, 0);
        part = all;
    } else {
        send_inputs(n, i);
    }
    double began = machine_now();
    if (part.rows > 0)
        status = conv_op_forward(n, o, &part, n->value[o->input[0]] + part.first * o->in,
                                 n->value[i + 1] + part.first * o->out);
    charge(n, i, 0, began);
    return status;
}

/* ---- backward */

/* As a plan with the post-op does it. */
static void mask(net *n, const op *o, const float *y, float *dy, int64_t count)
{
    if (o->problem.post_op == CONV_POST_NONE) return;
#pragma omp parallel for num_threads(n->options.threads)
    for (int64_t k = 0; k < count; k++) dy[k] = conv_passes(o->problem.post_op, y[k]) ? dy[k] : 0;
}

/* Of rows [first, first + rows): where a gradient by the input goes, and its sum with what is there already. */
static float *diff_src_of(const net *n, const op *o, int64_t first)
{
    return o->adds[0] ? n->batch_buffer + first * o->in : n->diff[o->input[0]] + first * o->in;
}

static void add_diff_src(const net *n, const op *o, int64_t first, int64_t rows)
{
    if (!o->adds[0]) return;
    n->nn->combine(NN_ADD, rows * o->in, diff_src_of(n, o, first), n->diff[o->input[0]] + first * o->in);
}

static conv_status own_diff_src(net *n, int i)
{
    spread *s = n->spread;
    const op *o = &n->ops[i];
    dense_part *d = &s->dense[i];
    int64_t first = s->row[s->rank];
    conv_args args = {.weights = net_parameter(n, o->weights),
                      .diff_dst = n->diff[i + 1] + first * o->out,
                      .diff_src = diff_src_of(n, o, first)};
    conv_status status = run_plan(n, find_plan(d->data, d->data_count, own_rows(s)), &args);
    add_diff_src(n, o, first, own_rows(s));
    return status;
}

static conv_status own_weights(net *n, int i)
{
    spread *s = n->spread;
    const op *o = &n->ops[i];
    dense_part *d = &s->dense[i];
    const parameter *all = n->model->parameter;
    conv_args args = {.src = d->columns,
                      .diff_dst = n->diff[i + 1],
                      .diff_weights = n->gradient + all[o->weights].offset + d->input[s->rank] * o->problem.oc,
                      .diff_bias = o->bias >= 0 && s->rank == 0 ? n->gradient + all[o->bias].offset : NULL};
    return run_plan(n, find_plan(d->weights, d->weights_count, s->rows), &args);
}

conv_status spread_backward(net *n, int i, uint32_t step)
{
    spread *s = n->spread;
    op *o = &n->ops[i];
    dense_part *d = &s->dense[i];
    conv_status status = CONV_OK;
    int64_t first = s->row[s->rank], rows = own_rows(s);
    double began = machine_now();
    if (d->split) mask(n, o, n->value[i + 1] + first * o->out, n->diff[i + 1] + first * o->out, rows * o->out);
    start_rows(s, n->diff[i + 1], o->out, &d->diffs);
    if (!d->split) {
        const slice all = {.rows = s->rows, .training = true, .step = step};
        const op_gradients g = {.x = n->value[o->input[0]],
                                .y = o->needs_output ? n->value[i + 1] : NULL,
                                .dy = n->diff[i + 1],
                                .dx = n->learns[o->input[0]] ? diff_src_of(n, o, 0) : NULL};
        spread_wait(s, &d->diffs, 1);
        began = machine_now();
        status = conv_op_backward(n, o, &all, &g);
        add_diff_src(n, o, first, rows);
        charge(n, i, 1, began);
        return status;
    }
    if (n->learns[o->input[0]] && rows > 0) status = own_diff_src(n, i);
    charge(n, i, 1, began);
    spread_wait(s, &d->inputs, 1);
    spread_wait(s, &d->diffs, 1);
    began = machine_now();
    if (status == CONV_OK && d->input[s->rank] < d->input[s->rank + 1]) status = own_weights(n, i);
    charge(n, i, 1, began);
    return status;
}

/* ---- memory */

bool spread_dense_create(net *n)
{
    spread *s = n->spread;
    bool ok = true;
    for (int i = 0; i < n->op_count && ok; i++) {
        const op *o = &n->ops[i];
        dense_part *d = &s->dense[i];
        if (!o->batched) continue;
        d->split = spread_splits(o);
        int64_t pixels = n->options.batch * pixels_of(o), begin, end;
        int64_t **const lists[] = {&d->input, &d->from, &d->to};
        for (int k = 0; k < 3; k++)
            ok = (*lists[k] = calloc((size_t)s->size + 1, sizeof(int64_t))) != NULL && ok;
        for (int r = 0; r < s->size && ok; r++) {
            share(div_up(o->problem.ic, UNIT), r, s->size, &begin, &end);
            d->input[r] = min64(o->problem.ic, begin * UNIT);
        }
        if (!ok) return false;
        d->input[s->size] = o->problem.ic;
        if (!d->split) continue;
        int64_t columns = d->input[s->rank + 1] - d->input[s->rank];
        d->send = buffer_alloc((size_t)(pixels * o->problem.ic) * sizeof *d->send);
        d->columns = buffer_alloc((size_t)(pixels * columns) * sizeof *d->columns);
        ok = d->send != NULL && d->columns != NULL;
    }
    return ok;
}

static void free_plans(dense_plan *list, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        conv_plan_destroy(list[i].plan);
        buffer_free(list[i].packed);
    }
    free(list);
}

void spread_dense_destroy(net *n)
{
    for (int i = 0; i < n->op_count; i++) {
        dense_part *d = &n->spread->dense[i];
        free_plans(d->data, d->data_count);
        free_plans(d->weights, d->weights_count);
        free(d->input);
        free(d->from);
        free(d->to);
        buffer_free(d->send);
        buffer_free(d->columns);
    }
}
