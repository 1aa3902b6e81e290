/* The training loop. Everything random is a counter of (seed, epoch or step), so a run can be taken up at any
 * epoch and goes on as if it had never stopped. */
#include "loop.h"

#include <Random123/philox.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "../../kernels/util.h"
#include "../machine/machine.h"
#include "../measure/tensors.h"
#include "../ranks/ranks.h"
#include "../stats.h"
#include "net_internal.h"

bool fit_state_create(const model *m, const fit_options *o, fit_state *s)
{
    *s = (fit_state){.best = INFINITY, .test_loss = NAN, .test_accuracy = NAN};
    s->history = calloc((size_t)o->epochs + 1, sizeof *s->history);
    bool ok = s->history != NULL;
    for (int i = 0; i < optimizer_slots(&o->opt); i++) {
        s->slots[i] = buffer_alloc((size_t)m->total * sizeof *s->slots[i]);
        if (s->slots[i] == NULL)
            ok = false;
        else
            memset(s->slots[i], 0, (size_t)m->total * sizeof *s->slots[i]);
    }
    if (!ok) fit_state_destroy(s);
    return ok;
}

void fit_state_destroy(fit_state *s)
{
    buffer_free(s->slots[0]);
    buffer_free(s->slots[1]);
    free(s->history);
    *s = (fit_state){0};
}

void fit_initialize(const model *m, uint64_t seed, net *n)
{
    for (int i = 0; i < m->parameter_count; i++) {
        const parameter *p = &m->parameter[i];
        initializer_fill(&p->init, p->rank, p->shape, seed, (uint32_t)i + 1, net_weights(n) + p->offset);
    }
    net_weights_changed(n);
}

void fit_share(const fit_session *f)
{
    fit_state *s = f->state;
    int64_t bytes = f->m->total * (int64_t)sizeof(float);
    float *slots[2] = {s->slots[0], s->slots[1]};
    fit_epoch *history = s->history;
    ranks_share(s, sizeof *s);
    s->slots[0] = slots[0];
    s->slots[1] = slots[1];
    s->history = history;
    for (int i = 0; i < optimizer_slots(&f->options->opt); i++) ranks_share(slots[i], bytes);
    ranks_share(net_weights(f->n), bytes);
    net_weights_changed(f->n);
}

/* Uniform in [0, bound), exactly: the high word of a product, redrawn in its biased corner (Lemire 2019). */
static uint32_t below(uint32_t bound, uint64_t seed, uint64_t epoch, uint32_t index)
{
    const uint32_t purpose = 0x5f0f0e1e; /* apart from dropout's and the initializers' counters */
    philox4x32_key_t key = {{(uint32_t)seed, (uint32_t)(seed >> 32)}};
    for (uint32_t attempt = 0;; attempt++) {
        philox4x32_ctr_t counter = {{index, (uint32_t)epoch, attempt, purpose}};
        uint64_t product = (uint64_t)philox4x32_R(10, counter, key).v[0] * bound;
        if ((uint32_t)product >= -bound % bound) return (uint32_t)(product >> 32);
    }
}

void fit_permutation(uint64_t seed, int64_t epoch, int64_t count, int64_t *order)
{
    for (int64_t i = 0; i < count; i++) order[i] = i;
    for (int64_t i = count - 1; i > 0; i--) {
        int64_t j = below((uint32_t)i + 1, seed, (uint64_t)epoch, (uint32_t)i), swap = order[i];
        order[i] = order[j];
        order[j] = swap;
    }
}

/* The set's images from number `first` on. */
static net_batch batch_from(const data_set *set, int64_t first)
{
    int64_t at = first * shape_count(&set->image);
    return (net_batch){.bytes = set->images != NULL ? set->images + at : NULL,
                       .values = set->values != NULL ? set->values + at : NULL,
                       .labels = set->labels + first};
}

/* Images [first, first + count) of a set. */
typedef struct {
    const data_set *set;
    int64_t first, count;
} data_part;

/* Every rank's results of its batches everywhere; they came to `status` here. */
static conv_status share_results(net_result *results, int64_t batches, conv_status status, conv_error *err)
{
    int size = ranks_size();
    if (size == 1) return status;
    int64_t *first = malloc(((size_t)size + 1) * sizeof *first), end;
    ranks_message m = {0};
    if (status != CONV_OK || first == NULL) ranks_fail("%s", status != CONV_OK ? err->text : "no memory");
    for (int r = 0; r < size; r++) {
        share(batches, r, size, &first[r], &end);
        first[r] *= (int64_t)sizeof *results;
        first[r + 1] = end * (int64_t)sizeof *results;
    }
    ranks_gather(&m, RANKS_BYTES, results, first);
    ranks_wait(&m);
    free(first);
    return status;
}

/* Mean loss and accuracy over them, in batches of at most `batch`, of which each rank computes some. */
static conv_status evaluate(net *n, data_part part, int64_t batch, double *loss, double *accuracy,
                            conv_error *err)
{
    int64_t batches = div_up(part.count, batch), begin, end, correct = 0;
    double sum = 0;
    net_result *results = calloc((size_t)batches, sizeof *results);
    conv_status status = results == NULL ? conv_fail(err, CONV_NO_MEMORY, "no memory") : CONV_OK;
    share(batches, ranks_rank(), ranks_size(), &begin, &end);
    for (int64_t i = begin; i < end && status == CONV_OK; i++) {
        net_batch b = batch_from(part.set, part.first + i * batch);
        b.count = min64(part.count - i * batch, batch);
        status = net_evaluate(n, &b, NULL, &results[i], err);
    }
    status = share_results(results, batches, status, err);
    for (int64_t i = 0; i < batches && status == CONV_OK; i++) {
        sum += results[i].loss * (double)min64(part.count - i * batch, batch);
        correct += results[i].correct;
    }
    free(results);
    *loss = sum / (double)part.count;
    *accuracy = (double)correct / (double)part.count;
    return status;
}

static bool wants_stop(const fit_watch *w) { return w->interrupted != NULL && w->interrupted(); }

/* Rank 0 keeps what the epoch came to. False: it could not, or the caller wants to stop. */
static bool end_epoch(const fit_session *f, const fit_watch *w, const fit_epoch *row, bool best, int64_t steps)
{
    for (int i = 0; i < optimizer_slots(&f->options->opt); i++) net_gather_slot(f->n, f->state->slots[i]);
    bool stop = ranks_rank() == 0 && w->on_epoch != NULL && !w->on_epoch(w->ctx, row, best, steps);
    return !ranks_any(stop);
}

/* Room for an epoch: the images' order, and seconds of each step. */
typedef struct {
    int64_t *order;
    double *took;
} fit_room;

/* One pass over the training images. */
static fit_result train_epoch(const fit_session *f, const fit_room *room, fit_epoch *row,
                              const fit_watch *watch, conv_error *err)
{
    const fit_options *o = f->options;
    fit_state *s = f->state;
    int64_t images = fit_images(o, f->data->train.count);
    int64_t steps = (images + o->batch_size - 1) / o->batch_size, correct = 0, seen = 0;
    double sum = 0, start = machine_now(), before = start;
    if (o->shuffle) fit_permutation(o->seed, row->epoch, images, room->order);
    for (int64_t i = 0; i < steps; i++) {
        int64_t first = i * o->batch_size;
        net_batch b = batch_from(&f->data->train, 0);
        b.rows = room->order + first;
        b.count = images - first < o->batch_size ? images - first : o->batch_size;
        b.stop = wants_stop(watch);
        net_result r;
        if (net_train(f->n, &b, (uint32_t)s->steps, &r, err) != CONV_OK) {
            if (ranks_size() > 1) ranks_fail("%s", err->text); /* the others wait for this rank's part */
            return FIT_FAILED;
        }
        if (!isfinite(r.loss)) {
            conv_fail(err, CONV_FAILED, "loss is %g at step %lld (epoch %lld, batch %lld)", r.loss,
                      (long long)s->steps + 1, (long long)row->epoch, (long long)i + 1);
            return FIT_DIVERGED;
        }
        s->steps++;
        net_update(f->n, &o->opt, s->steps, s->slots);
        sum += r.loss * (double)b.count;
        correct += r.correct;
        seen += b.count;
        row->loss = sum / (double)seen;
        row->accuracy = (double)correct / (double)seen;
        double now = machine_now();
        room->took[i] = now - before;
        before = now;
        if (watch->on_step != NULL)
            watch->on_step(watch->ctx,
                           &(fit_step){row->epoch, i + 1, steps, row->loss, row->accuracy, now - start});
        if (r.stop) return FIT_STOPPED;
    }
    row->seconds = machine_now() - start;
    row->images_per_s = (double)images / row->seconds;
    row->quiet_seconds = (double)steps * stats_median(room->took, (size_t)steps);
    row->learning_rate = o->opt.learning_rate;
    return FIT_DONE;
}

/* A network whose weights are no numbers may still have a loss that is one: ReLU turns NaN into 0. */
static fit_result check_weights(net *n, const model *m, const fit_state *s, conv_error *err)
{
    for (int i = 0; i < m->parameter_count; i++)
        for (int64_t k = 0; k < m->parameter[i].count; k++)
            if (!isfinite(net_weights(n)[m->parameter[i].offset + k])) {
                conv_fail(err, CONV_FAILED, "%s[%lld] is no finite number after step %lld",
                          m->parameter[i].name, (long long)k, (long long)s->steps);
                return FIT_DIVERGED;
            }
    return FIT_DONE;
}

int64_t fit_images(const fit_options *o, int64_t count)
{
    return (int64_t)((double)count * (1 - o->validation_split));
}

fit_result fit_run(const fit_session *f, const fit_watch *watch, conv_error *err)
{
    const fit_options *o = f->options;
    fit_state *s = f->state;
    const data_set *train = &f->data->train, *test = &f->data->test;
    int64_t images = fit_images(o, train->count);
    const data_part held = {train, images, train->count - images}, all = {test, 0, test->count};
    const fit_room room = {malloc((size_t)train->count * sizeof *room.order),
                           malloc((size_t)train->count * sizeof *room.took)};
    fit_result result = FIT_DONE;
    if (room.order == NULL || room.took == NULL) {
        conv_fail(err, CONV_NO_MEMORY, "no memory");
        result = FIT_FAILED;
    }
    for (int64_t i = 0; i < images && result == FIT_DONE; i++) room.order[i] = i;
    while (result == FIT_DONE && s->epochs_done < o->epochs) {
        fit_epoch row = {.epoch = s->epochs_done + 1, .val_loss = NAN, .val_accuracy = NAN};
        result = train_epoch(f, &room, &row, watch, err);
        if (result == FIT_DONE) result = check_weights(f->n, f->m, s, err);
        if (result == FIT_DONE && held.count > 0 &&
            evaluate(f->n, held, o->batch_size, &row.val_loss, &row.val_accuracy, err) != CONV_OK)
            result = FIT_FAILED;
        if (result != FIT_DONE) break;
        double watched = held.count > 0 ? row.val_loss : row.loss;
        bool best = watched < s->best;
        if (best) {
            s->best = watched;
            s->best_epoch = row.epoch;
        }
        s->history[s->epochs_done++] = row;
        int64_t steps = (images + o->batch_size - 1) / o->batch_size;
        if (!end_epoch(f, watch, &row, best, steps)) result = FIT_STOPPED;
    }
    if (result == FIT_DONE && !s->finished) {
        if (evaluate(f->n, all, o->batch_size, &s->test_loss, &s->test_accuracy, err) != CONV_OK)
            result = FIT_FAILED;
        s->finished = result == FIT_DONE;
    }
    free(room.order);
    free(room.took);
    return result;
}
