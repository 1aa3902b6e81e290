/* Add, Subtract, Multiply, Average, Maximum, Minimum and Concatenate. An input whose size is 1 along an axis is
 * repeated along it, as Keras does; its gradient is the sum over the repetitions. */
#include <string.h>

#include "net_internal.h"

enum { MAX_RANK = CONV_AXES + 1, BLOCK = 256 /* floats of a row at a time, which stay in L1 */ };

/* ---- concatenation: runs of each input one after the other */

static int64_t run_length(const layer *l, const tensor_shape *of)
{
    int64_t length = 1;
    for (int i = l->merge_axis; i < l->out.rank; i++) length *= of->dim[i];
    return length;
}

/* Where input k begins within a run of the output. */
static int64_t run_start(const net *n, const layer *l, int k)
{
    int64_t start = 0;
    for (int i = 0; i < k; i++) start += run_length(l, layer_input(n->model, l, i));
    return start;
}

static void concatenate(const net *n, const op *o, int64_t rows, int k, const float *x, float *y)
{
    const layer *l = &n->model->layers[o->layer];
    int64_t whole = run_length(l, &l->out), length = run_length(l, layer_input(n->model, l, k));
    y += run_start(n, l, k);
    for (int64_t i = 0; i < rows * (o->out / whole); i++, x += length, y += whole)
        memcpy(y, x, (size_t)length * sizeof *y);
}

static void split(const net *n, const op *o, int64_t rows, int k, const float *dy, float *dx)
{
    const layer *l = &n->model->layers[o->layer];
    int64_t whole = run_length(l, &l->out), length = run_length(l, layer_input(n->model, l, k));
    dy += run_start(n, l, k);
    for (int64_t i = 0; i < rows * (o->out / whole); i++, dx += length, dy += whole)
        memcpy(dx, dy, (size_t)length * sizeof *dx);
}

/* ---- element by element: block by block of the output's rows, and where in each input they lie */

typedef struct {
    merge_kind kind;
    const nn_kernels *nn;
    const float *const *x; /* by input */
    int rank, inputs;
    int64_t dim[MAX_RANK + 1], index[MAX_RANK + 1];
    int64_t step[LAYER_MAX_INPUTS][MAX_RANK + 1]; /* floats from one to the next; 0: repeated */
    int64_t at[LAYER_MAX_INPUTS];                 /* the row */
    int64_t from, count;                          /* the block's columns */
    int64_t done;                                 /* floats of the output before it */
    float room[BLOCK];
} walk;

static void block_start(walk *w, int64_t from)
{
    int64_t left = w->dim[w->rank - 1] - from;
    w->from = from;
    w->count = left < BLOCK ? left : BLOCK;
}

/* Over a slice; of one row where no input is repeated. */
static walk walk_start(const net *n, const op *o, const slice *s, const float *const *x)
{
    const layer *l = &n->model->layers[o->layer];
    walk w = {.kind = l->merge, .nn = n->nn, .x = x, .inputs = o->input_count};
    bool flat = o->in == o->input_count * o->out;
    w.rank = flat ? 1 : l->out.rank + 1;
    w.dim[0] = flat ? s->rows * o->out : s->rows;
    for (int i = 1; i < w.rank; i++) w.dim[i] = l->out.dim[i - 1];
    for (int k = 0; k < w.inputs; k++) {
        const tensor_shape *in = layer_input(n->model, l, k);
        int64_t stride = 1;
        for (int i = w.rank - 1; i > 0; i--) {
            w.step[k][i] = in->dim[i - 1] < w.dim[i] ? 0 : stride;
            stride *= in->dim[i - 1];
        }
        w.step[k][0] = stride;
    }
    block_start(&w, 0);
    return w;
}

/* To the next row; false after the last. */
static bool next_row(walk *w)
{
    for (int i = w->rank - 2; i >= 0; i--) {
        bool more = ++w->index[i] < w->dim[i];
        if (!more) w->index[i] = 0;
        for (int k = 0; k < w->inputs; k++) w->at[k] += w->step[k][i] * (more ? 1 : 1 - w->dim[i]);
        if (more) return true;
    }
    return false;
}

static bool walk_next(walk *w)
{
    int64_t from = w->from + w->count;
    bool within = from < w->dim[w->rank - 1];
    w->done += w->count;
    if (!within && !next_row(w)) return false;
    block_start(w, within ? from : 0);
    return true;
}

/* Input k's part of the block. */
static const float *block_of(walk *w, int k)
{
    const float *row = w->x[k] + w->at[k];
    if (w->step[k][w->rank - 1] != 0) return row + w->from;
    for (int64_t i = 0; i < w->count; i++) w->room[i] = *row;
    return w->room;
}

static const nn_combination combinations[] = {
    [MERGE_ADD] = NN_ADD,     [MERGE_SUBTRACT] = NN_SUBTRACT, [MERGE_MULTIPLY] = NN_MULTIPLY,
    [MERGE_AVERAGE] = NN_ADD, [MERGE_MAXIMUM] = NN_MAXIMUM,   [MERGE_MINIMUM] = NN_MINIMUM};

void merge_op_forward(net *n, op *o, const slice *s, const float *const *x, float *y)
{
    walk w = walk_start(n, o, s, x);
    if (w.kind == MERGE_CONCATENATE) {
        for (int k = 0; k < w.inputs; k++) concatenate(n, o, s->rows, k, x[k], y);
        return;
    }
    do {
        float *to = y + w.done;
        for (int k = 0; k < w.inputs; k++)
            w.nn->combine(k == 0 ? NN_COPY : combinations[w.kind], w.count, block_of(&w, k), to);
        for (int64_t i = 0; i < w.count && w.kind == MERGE_AVERAGE; i++) to[i] /= (float)w.inputs;
    } while (walk_next(&w));
}

/* Keeps d where y is input k, of equal ones the first. */
static void keep_winner(walk *w, int k, const float *y, float *d)
{
    for (int j = 0; j <= k; j++) {
        const float *x = block_of(w, j);
        for (int64_t i = 0; i < w->count; i++)
            if ((x[i] == y[w->done + i]) != (j == k)) d[i] = 0;
    }
}

/* d, the gradient by the output, to that by input k. */
static void differentiate(walk *w, int k, const float *y, float *d)
{
    switch (w->kind) {
    case MERGE_SUBTRACT:
        for (int64_t i = 0; i < w->count && k > 0; i++) d[i] = -d[i];
        break;
    case MERGE_AVERAGE:
        for (int64_t i = 0; i < w->count; i++) d[i] /= (float)w->inputs;
        break;
    case MERGE_MULTIPLY:
        for (int j = 0; j < w->inputs; j++)
            if (j != k) w->nn->combine(NN_MULTIPLY, w->count, block_of(w, j), d);
        break;
    case MERGE_MAXIMUM:
    case MERGE_MINIMUM: keep_winner(w, k, y, d); break;
    case MERGE_ADD:
    case MERGE_CONCATENATE: break;
    }
}

void merge_op_backward(net *n, op *o, const slice *s, int k, const float *const *x, const op_gradients *g)
{
    walk w = walk_start(n, o, s, x);
    if (w.kind == MERGE_CONCATENATE) {
        split(n, o, s->rows, k, g->dy, g->dx);
        return;
    }
    int64_t own = s->rows * shape_count(layer_input(n->model, &n->model->layers[o->layer], k));
    bool repeated = own < s->rows * o->out;
    if (repeated) memset(g->dx, 0, (size_t)own * sizeof *g->dx);
    do {
        float d[BLOCK], *to = g->dx + w.at[k];
        memcpy(d, g->dy + w.done, (size_t)w.count * sizeof *d);
        differentiate(&w, k, g->y, d);
        if (w.step[k][w.rank - 1] != 0)
            w.nn->combine(repeated ? NN_ADD : NN_COPY, w.count, d, to + w.from);
        else
            for (int64_t i = 0; i < w.count; i++) *to += d[i];
    } while (walk_next(&w));
}
