/* What each rank owns of a batch and of the parameters; gradients, losses and weights on their way. The dense
 * layers are in spread_dense.c. */
#include "spread_internal.h"

#include <stdlib.h>
#include <string.h>

#include "../../kernels/util.h"
#include "../machine/machine.h"
#include "../measure/tensors.h"

enum {
    UNIT = 16,
    LARGE = 1 << 16,
    PIECE = 4096
}; /* floats: of an own part's bounds; sent by itself; of a task */

/* ---- waiting */

void spread_wait(spread *s, ranks_message *m, int pass)
{
    if (m->handle == NULL && m->ended == 0) return;
    double waited = ranks_wait(m), flown = m->ended - m->began;
    s->clock.waited[pass] += waited;
    if (flown > waited) s->clock.hidden[pass] += flown - waited;
    m->ended = 0;
}

spread_times *spread_clock(const net *n) { return &n->spread->clock; }

/* ---- who owns what */

/* Where rank r's part of `total` pieces begins; r = size: total. */
static int64_t part_begin(int64_t total, int64_t unit, int r, int size)
{
    int64_t begin, end;
    if (r == size) return total;
    share(div_up(total, unit), r, size, &begin, &end);
    return min64(total, begin * unit);
}

/* Where rank r's part of parameter p begins: whole rows of a dense layer's weights; its bias is rank 0's, which
 * always has some of them. */
static int64_t own_begin(const net *n, int p, int r)
{
    const spread *s = n->spread;
    const parameter *parameter = &n->model->parameter[p];
    const op *o = &n->ops[s->op_of[p]];
    if (!s->dense[s->op_of[p]].split) return part_begin(parameter->count, UNIT, r, s->size);
    if (p == o->bias) return r == 0 ? 0 : parameter->count;
    return part_begin(o->problem.ic, UNIT, r, s->size) * o->problem.oc;
}

void spread_own(const net *n, int p, int64_t *begin, int64_t *end)
{
    *begin = n->spread->own[p];
    *end = n->spread->own_end[p];
}

/* ---- the tree of chunks */

/* Of ranks' chunks [first, last): the largest subtrees of [low, high) that lie in them, in order. */
static void cover(spread *s, int64_t low, int64_t high, int64_t first, int64_t last)
{
    if (high <= first || last <= low) return;
    if (first <= low && high <= last) {
        s->node[s->node_count++] = (tree_node){low, high};
        return;
    }
    int64_t half = 1;
    while (2 * half < high - low) half *= 2;
    cover(s, low, low + half, first, last);
    cover(s, low + half, high, first, last);
}

/* The sums that lead from the ranks' nodes to the whole, from node *next on. Returns the node that has
 * [low, high). */
static int64_t list_sums(spread *s, int64_t low, int64_t high, int64_t *next)
{
    if (s->node[*next].low == low && s->node[*next].high == high) return (*next)++;
    int64_t half = 1;
    while (2 * half < high - low) half *= 2;
    int64_t to = list_sums(s, low, low + half, next), from = list_sums(s, low + half, high, next);
    s->sum[s->sum_count++] = (tree_sum){to, from};
    return to;
}

static void cut_tree(spread *s, int64_t chunks)
{
    int64_t next = 0;
    s->node_count = s->sum_count = 0;
    for (int r = 0; r < s->size; r++) {
        s->node_first[r] = s->node_count;
        if (s->chunk[r] < s->chunk[r + 1]) cover(s, 0, chunks, s->chunk[r], s->chunk[r + 1]);
    }
    s->node_first[s->size] = s->node_count;
    list_sums(s, 0, chunks, &next);
}

/* ---- cutting a batch */

static bool room_for_gradients(net *n, flight *f)
{
    spread *s = n->spread;
    int64_t own_nodes = s->node_first[s->rank + 1] - s->node_first[s->rank];
    for (int r = 0; r <= s->size; r++) {
        f->from[r] = r == 0 ? 0 : f->from[r - 1] + own_nodes * f->total[r - 1];
        f->to[r] = s->node_first[r] * f->total[s->rank];
    }
    return net_room((void **)&f->send, &f->send_bytes, (size_t)f->from[s->size] * sizeof *f->send) &&
           net_room((void **)&f->receive, &f->receive_bytes, (size_t)f->to[s->size] * sizeof *f->receive);
}

conv_status spread_cut(net *n, int64_t rows, conv_error *err)
{
    spread *s = n->spread;
    int64_t slices = net_slices(n, rows), chunks = net_chunks(n, slices), end;
    if (s->rows == rows) return CONV_OK;
    for (int r = 0; r <= s->size; r++) {
        if (r < s->size)
            share(chunks, r, s->size, &s->chunk[r], &end);
        else
            s->chunk[r] = chunks;
        s->slice[r] = net_slice_first(slices, chunks, s->chunk[r]);
        s->row[r] = net_slice_first(rows, slices, s->slice[r]);
    }
    cut_tree(s, chunks);
    bool ok = true;
    for (int i = 0; i < n->phase_count && ok; i++)
        if (s->flight[i].total != NULL) ok = room_for_gradients(n, &s->flight[i]);
    s->rows = ok ? rows : 0;
    return ok ? CONV_OK : conv_fail(err, CONV_NO_MEMORY, "no memory for the gradients of %d ranks", s->size);
}

void spread_chunks(const net *n, int64_t *first, int64_t *last)
{
    *first = n->spread->chunk[n->spread->rank];
    *last = n->spread->chunk[n->spread->rank + 1];
}

/* ---- gradients */

/* This rank's subtrees of part r of parameter p, `piece` of PIECES of each, into the message. */
enum { PIECES = 16 };
static void sum_subtrees(net *n, const flight *f, int p, int r, int64_t piece)
{
    const spread *s = n->spread;
    int64_t begin = own_begin(n, p, r), count = own_begin(n, p, r + 1) - begin;
    int64_t from = part_begin(count, UNIT, (int)piece, PIECES),
            to = part_begin(count, UNIT, (int)piece + 1, PIECES);
    float *send = r == s->rank ? f->receive + f->to[r] : f->send + f->from[r];
    send += f->at[(int64_t)p * s->size + r];
    for (int64_t k = s->node_first[s->rank]; k < s->node_first[s->rank + 1]; k++, send += f->total[r]) {
        const tree_node *node = &s->node[k];
        const float *parts = n->parts + node->low * n->parts_stride + n->part_offset[p] + begin;
        if (from < to)
            n->nn->sum_chunks(to - from, node->high - node->low, n->parts_stride, parts + from, send + from);
    }
}

void spread_gradients(net *n, const phase *ph)
{
    spread *s = n->spread;
    flight *f = &s->flight[ph - n->phases];
    if (f->total == NULL) return;
    double began = machine_now();
#pragma omp parallel for collapse(3) num_threads(n->options.threads) schedule(dynamic, 8)
    for (int i = 0; i < f->parameter_count; i++)
        for (int r = 0; r < s->size; r++)
            for (int64_t piece = 0; piece < PIECES; piece++) sum_subtrees(n, f, f->parameter[i], r, piece);
    ranks_exchange(&f->message, RANKS_FLOATS, f->send, f->from, f->receive, f->to);
    s->clock.waited[1] += machine_now() - began;
}

void spread_gradients_wait(net *n)
{
    for (int i = 0; i < n->phase_count; i++) spread_wait(n->spread, &n->spread->flight[i].message, 1);
}

void spread_join(net *n, int p, int64_t begin, int64_t count)
{
    const spread *s = n->spread;
    const flight *f = &s->flight[s->phase_of[s->op_of[p]]];
    if (n->part_offset[p] < 0) return;
    int64_t total = f->total[s->rank];
    float *own = f->receive + f->at[(int64_t)p * s->size + s->rank] + begin - s->own[p];
    for (int64_t i = 0; i < s->sum_count; i++) {
        float *to = own + s->sum[i].to * total;
        const float *from = own + s->sum[i].from * total;
        for (int64_t k = 0; k < count; k++) to[k] += from[k];
    }
    memcpy(n->gradient + n->model->parameter[p].offset + begin, own, (size_t)count * sizeof *own);
}

void spread_sums(net *n, int i, int pass)
{
    spread *s = n->spread;
    ranks_message m = {0};
    for (int r = 0; r <= s->size; r++) s->first[r] = s->chunk[r] * 2 * n->ops[i].norm.shape.channels;
    ranks_gather(&m, RANKS_DOUBLES, n->ops[i].norm.sums, s->first);
    spread_wait(s, &m, pass);
}

/* ---- losses: of each rank's images, loss and whether correct, and its slices' penalties; whether to stop */

void spread_losses(net *n, bool stop)
{
    spread *s = n->spread;
    int64_t at = 0;
    for (int r = 0; r <= s->size; r++) {
        s->loss_first[r] = at;
        if (r == s->size) break;
        int64_t rows = s->row[r + 1] - s->row[r], slices = s->slice[r + 1] - s->slice[r];
        at += 1 + rows * (int64_t)(sizeof *n->loss + 1) + slices * n->op_count * (int64_t)sizeof *n->penalty;
    }
    uint8_t *to = s->losses + s->loss_first[s->rank];
    size_t first = (size_t)s->row[s->rank], rows = (size_t)s->row[s->rank + 1] - first;
    size_t ops = (size_t)n->op_count, slice = (size_t)s->slice[s->rank];
    *to++ = stop;
    memcpy(to, n->loss + first, rows * sizeof *n->loss);
    to += rows * sizeof *n->loss;
    memcpy(to, n->correct + first, rows);
    memcpy(to + rows, n->penalty + slice * ops,
           ((size_t)s->slice[s->rank + 1] - slice) * ops * sizeof *n->penalty);
    ranks_gather(&s->loss_message, RANKS_BYTES, s->losses, s->loss_first);
}

bool spread_losses_wait(net *n)
{
    spread *s = n->spread;
    size_t ops = (size_t)n->op_count;
    bool stop = false;
    spread_wait(s, &s->loss_message, 1);
    for (int r = 0; r < s->size; r++) {
        const uint8_t *from = s->losses + s->loss_first[r];
        size_t first = (size_t)s->row[r], rows = (size_t)s->row[r + 1] - first, slice = (size_t)s->slice[r];
        stop = *from++ != 0 || stop;
        memcpy(n->loss + first, from, rows * sizeof *n->loss);
        from += rows * sizeof *n->loss;
        memcpy(n->correct + first, from, rows);
        memcpy(n->penalty + slice * ops, from + rows,
               ((size_t)s->slice[r + 1] - slice) * ops * sizeof *n->penalty);
    }
    return stop;
}

/* ---- weights: those that the optimizer moves */

static bool is_small(const parameter *p) { return p->trainable && p->count < LARGE; }
static bool is_large(const parameter *p) { return p->trainable && p->count >= LARGE; }

/* Own parts of the small parameters beside each other, rank by rank; or back, all of them. */
static void move_small(net *n, float *vector, bool pack)
{
    spread *s = n->spread;
    for (int p = 0; p < n->model->parameter_count; p++) {
        const parameter *parameter = &n->model->parameter[p];
        for (int r = pack ? s->rank : 0; is_small(parameter) && r < (pack ? s->rank + 1 : s->size); r++) {
            int64_t begin = own_begin(n, p, r), count = own_begin(n, p, r + 1) - begin;
            float *packed = s->small + s->small_first[r] + s->small_at[(int64_t)p * s->size + r];
            float *whole = vector + parameter->offset + begin;
            memcpy(pack ? packed : whole, pack ? whole : packed, (size_t)count * sizeof *packed);
        }
    }
}

static void start_parts(net *n, float *vector)
{
    spread *s = n->spread;
    for (int p = 0; p < n->model->parameter_count; p++) {
        const parameter *parameter = &n->model->parameter[p];
        if (!is_large(parameter)) continue;
        for (int r = 0; r <= s->size; r++) s->first[r] = own_begin(n, p, r);
        ranks_gather(&s->large[p], RANKS_FLOATS, vector + parameter->offset, s->first);
    }
    move_small(n, vector, true);
    ranks_gather(&s->small_message, RANKS_FLOATS, s->small, s->small_first);
    s->settled = false;
}

/* What has arrived is in its place. large: of dense layers too. */
static void finish_parts(net *n, float *vector, bool large, int pass)
{
    spread *s = n->spread;
    if (s->settled) return;
    if (s->small_message.handle != NULL || s->small_message.ended != 0) {
        spread_wait(s, &s->small_message, pass);
        move_small(n, vector, false);
    }
    for (int p = 0; p < n->model->parameter_count; p++)
        if (large || !n->ops[s->op_of[p]].batched) spread_wait(s, &s->large[p], pass);
    s->settled = large;
}

void spread_weights(net *n)
{
    double began = machine_now();
    start_parts(n, n->weights);
    n->spread->clock.waited[1] += machine_now() - began;
}

void spread_weights_wait(net *n) { finish_parts(n, n->weights, true, 1); }
void spread_weights_sliced(net *n) { finish_parts(n, n->weights, false, 0); }

void spread_slots(net *n, float *slots)
{
    spread_weights_wait(n);
    start_parts(n, slots);
    finish_parts(n, slots, true, 1);
}

/* ---- memory */

/* Which operation and phase a parameter is of. */
static void find_owners(net *n)
{
    spread *s = n->spread;
    for (int i = 0; i < n->op_count; i++) {
        const op *o = &n->ops[i];
        const int parameters[] = {o->weights,   o->pointwise, o->bias,         o->norm.gamma,
                                  o->norm.beta, o->norm.mean, o->norm.variance};
        for (int k = 0; k < (o->kind == OP_NORM ? 7 : 3); k++)
            if (parameters[k] >= 0) s->op_of[parameters[k]] = i;
    }
    for (int i = 0; i < n->phase_count; i++)
        for (int k = n->phases[i].first; k < n->phases[i].last; k++) s->phase_of[k] = i;
}

/* Where the parts of the parameters lie in the messages: in a phase's gradients, of each node; among the small
 * weights. */
static void lay_out(net *n)
{
    spread *s = n->spread;
    for (int p = 0; p < n->model->parameter_count; p++) {
        s->own[p] = own_begin(n, p, s->rank);
        s->own_end[p] = own_begin(n, p, s->rank + 1);
        flight *f = &s->flight[s->phase_of[s->op_of[p]]];
        bool sliced = n->part_offset[p] >= 0;
        if (sliced) f->parameter[f->parameter_count++] = p;
        for (int r = 0; r < s->size; r++) {
            int64_t count = own_begin(n, p, r + 1) - own_begin(n, p, r);
            s->small_at[(int64_t)p * s->size + r] = s->small_first[r + 1];
            if (is_small(&n->model->parameter[p])) s->small_first[r + 1] += count;
            if (!sliced) continue;
            f->at[(int64_t)p * s->size + r] = f->total[r];
            f->total[r] += count;
        }
    }
    for (int r = 0; r < s->size; r++) s->small_first[r + 1] += s->small_first[r];
}

static int64_t *numbers(int64_t count) { return calloc((size_t)count + 1, sizeof(int64_t)); }

static bool allocate_flights(net *n)
{
    spread *s = n->spread;
    bool ok = true;
    for (int i = 0; i < n->phase_count && ok; i++) {
        flight *f = &s->flight[i];
        bool weights = false;
        for (int k = n->phases[i].first; k < n->phases[i].last; k++)
            weights = weights || n->ops[k].weights >= 0;
        if (n->phases[i].batched || !weights) continue;
        f->total = numbers(s->size);
        f->from = numbers(s->size);
        f->to = numbers(s->size);
        f->at = numbers((int64_t)n->model->parameter_count * s->size);
        f->parameter = calloc((size_t)n->model->parameter_count, sizeof *f->parameter);
        ok = f->total != NULL && f->from != NULL && f->to != NULL && f->at != NULL && f->parameter != NULL;
    }
    return ok;
}

static bool allocate(net *n)
{
    spread *s = n->spread;
    int64_t size = s->size, parameters = n->model->parameter_count, batch = n->options.batch;
    int64_t **const lists[] = {&s->chunk,      &s->slice,      &s->row,        &s->first,
                               &s->node_first, &s->loss_first, &s->small_first};
    bool ok = true;
    for (size_t i = 0; i < sizeof lists / sizeof *lists; i++) ok = (*lists[i] = numbers(size)) != NULL && ok;
    size_t losses = (size_t)size + (size_t)batch * (sizeof *n->loss + 1) +
                    (size_t)net_slices(n, batch) * (size_t)n->op_count * sizeof *n->penalty;
    int64_t small = 0;
    for (int p = 0; p < parameters; p++)
        if (is_small(&n->model->parameter[p])) small += n->model->parameter[p].count;
    s->small_at = numbers(parameters * size);
    s->small = buffer_alloc((size_t)small * sizeof *s->small);
    s->losses = malloc(losses);
    s->node = calloc((size_t)n->chunks_allocated, sizeof *s->node);
    s->sum = calloc((size_t)n->chunks_allocated, sizeof *s->sum);
    s->large = calloc((size_t)parameters, sizeof *s->large);
    return ok && s->small_at != NULL && s->small != NULL && s->losses != NULL && s->node != NULL &&
           s->sum != NULL && s->large != NULL && allocate_flights(n);
}

conv_status spread_create(net *n, conv_error *err)
{
    if (ranks_size() == 1 || n->options.alone) return CONV_OK;
    spread *s = n->spread = calloc(1, sizeof *s);
    if (s == NULL) return conv_fail(err, CONV_NO_MEMORY, "no memory");
    s->rank = ranks_rank();
    s->size = ranks_size();
    s->settled = true;
    find_owners(n);
    if (!allocate(n) || !spread_dense_create(n))
        return conv_fail(err, CONV_NO_MEMORY, "no memory for a batch of %lld on %d ranks",
                         (long long)n->options.batch, s->size);
    lay_out(n);
    return CONV_OK;
}

void spread_destroy(net *n)
{
    spread *s = n->spread;
    if (s == NULL) return;
    if (s->small_first != NULL) { /* what is under way, after a training that stopped: its buffers go now */
        spread_gradients_wait(n);
        spread_weights_wait(n);
    }
    spread_dense_destroy(n);
    for (int i = 0; i < n->phase_count; i++) {
        flight *f = &s->flight[i];
        free(f->total);
        free(f->from);
        free(f->to);
        free(f->at);
        free(f->parameter);
        buffer_free(f->send);
        buffer_free(f->receive);
    }
    int64_t *const lists[] = {s->chunk,      s->slice,      s->row,         s->first,
                              s->node_first, s->loss_first, s->small_first, s->small_at};
    for (size_t i = 0; i < sizeof lists / sizeof *lists; i++) free(lists[i]);
    buffer_free(s->small);
    free(s->losses);
    free(s->node);
    free(s->sum);
    free(s->large);
    free(s);
    n->spread = NULL;
}

/* ---- what a step would be on other ranks */

/* In how many subtrees of [low, high) the chunks [first, last) lie. */
static int64_t count_nodes(int64_t low, int64_t high, int64_t first, int64_t last)
{
    if (high <= first || last <= low) return 0;
    if (first <= low && high <= last) return 1;
    int64_t half = 1;
    while (2 * half < high - low) half *= 2;
    return count_nodes(low, low + half, first, last) + count_nodes(low + half, high, first, last);
}

/* Who has images, and how many subtrees' sums each of the owners of a parameter gets. */
static int64_t share_chunks(const net *n, int64_t rows, int ranks, net_share *s)
{
    int64_t slices = net_slices(n, rows), chunks = net_chunks(n, slices), nodes = 0, first, last;
    for (int r = 0; r < ranks; r++) {
        share(chunks, r, ranks, &first, &last);
        if (first == last) continue;
        nodes += count_nodes(0, chunks, first, last);
        first = net_slice_first(rows, slices, net_slice_first(slices, chunks, first));
        last = net_slice_first(rows, slices, net_slice_first(slices, chunks, last));
        if (last - first > s->images) s->images = last - first;
        s->working++;
    }
    return nodes - 1; /* its own does not travel */
}

net_share net_share_of(const net *n, int64_t rows, int ranks)
{
    net_share s = {.hidden = 1};
    double others = (double)(ranks - 1) / ranks, image = (double)rows * sizeof(float);
    double nodes = (double)share_chunks(n, rows, ranks, &s) / ranks;
    for (int p = 0; p < n->model->parameter_count; p++) {
        const parameter *parameter = &n->model->parameter[p];
        if (!parameter->trainable) continue;
        s.hidden_bytes += others * (double)parameter->count * sizeof(float);
        s.hidden += is_large(parameter);
        if (n->part_offset[p] >= 0) s.waited_bytes += nodes * (double)parameter->count * sizeof(float);
    }
    for (int i = 0; i < n->op_count; i++) {
        const op *o = &n->ops[i];
        bool norm = o->kind == OP_NORM && o->norm.live, whole = o->batched && !spread_splits(o);
        if (o->batched && !whole)
            s.hidden_bytes += others * image * ((double)o->in / ranks + (double)o->out), s.hidden += 2;
        if (whole) s.waited_bytes += others * image * (double)(o->in + o->out), s.waited += 2;
        if (norm)
            s.waited_bytes +=
                4 * others * (double)(n->chunks_allocated * o->norm.shape.channels) * sizeof(double),
                s.waited += 2;
    }
    for (int i = 0; i < n->phase_count; i++)
        for (int k = n->phases[i].first, any = 0; k < n->phases[i].last && !any; k++)
            s.waited += any = !n->phases[i].batched && n->ops[k].weights >= 0;
    return s;
}
