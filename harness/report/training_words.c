/* What training says: the separable network's epoch against the ordinary one's,
 * and what it costs in accuracy. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "../train/history.h"
#include "training.h"
#include "verdict.h"

static sample_mean accuracy_of(const training_model *m)
{
    double values[256];
    int n = 0;
    for (size_t i = 0; i < m->count && n < 256; i++)
        if (!isnan(m->runs[i].test_accuracy)) values[n++] = 100 * m->runs[i].test_accuracy;
    return mean_of(values, n);
}

/* Of b against a: what is known, the ratio, and how. */
typedef struct {
    double ratio; /* of medians, b over a */
    const char *answer, *known;
    training_time a, b;
} epochs;

static bool compare_epochs(const training_model *a, const training_model *b, epochs *e)
{
    *e = (epochs){.a = training_epoch_time(a), .b = training_epoch_time(b)};
    e->ratio = e->b.median / e->a.median;
    if (isnan(e->ratio)) return false;
    bool proven = !isnan(e->a.low) && !isnan(e->b.low);
    if (!proven) {
        e->answer = e->ratio < 1 ? "probably yes" : "probably no";
        e->known = ", too few epochs for an interval";
    } else if (e->b.high < e->a.low || e->a.high < e->b.low) {
        e->answer = e->ratio < 1 ? "yes" : "no";
        e->known = "";
    } else {
        e->answer = "no measurable difference";
        e->known = ", no measurable difference";
    }
    return true;
}

static void put_epochs(verdict *v, const training_model *a, const training_model *b)
{
    epochs e;
    char first[24], second[24];
    if (!compare_epochs(a, b, &e)) return;
    report_time(e.b.median * 1e9, first);
    report_time(e.a.median * 1e9, second);
    verdict_line(v,
                 "Training: an epoch of the %s network takes %s, one of the %s network %s: %.2f times as "
                 "long%s (medians of %zu and %zu epochs; %s, batch %d, %d thread%s).",
                 b->model, first, a->model, second, e.ratio, e.known, e.b.epochs, e.a.epochs, b->impl, b->batch,
                 b->threads, b->threads == 1 ? "" : "s");
    if (v->headline == NULL && /* nothing else to say first */
        asprintf(&v->headline,
                 "In training, %s: an epoch of the %s network takes %s, one of the %s network %s.", e.answer,
                 b->model, first, a->model, second) < 0)
        v->headline = NULL;
}

static void put_accuracy(verdict *v, const training_model *a, const training_model *b)
{
    sample_mean x = accuracy_of(a), y = accuracy_of(b);
    double difference, low, high;
    if (x.n == 0 || y.n == 0) return;
    if (!welch_interval(y, x, &difference, &low, &high)) {
        verdict_line(
            v, "Test accuracy: %s %.2f%%, %s %.2f%%; an interval of the difference needs two runs of each.",
            a->model, x.mean, b->model, y.mean);
        return;
    }
    verdict_line(v,
                 "Test accuracy: %s %.2f%%, %s %.2f%% (means of %d and %d runs): %s, 95%% interval of the "
                 "difference %+.2f to %+.2f points.",
                 a->model, x.mean, b->model, y.mean, x.n, y.n,
                 low > 0    ? "the second is more accurate"
                 : high < 0 ? "the second is less accurate"
                            : "no measurable difference",
                 low, high);
}

static const training_model *find(const report_training *t, const char *model, const training_model *like)
{
    for (size_t i = 0; i < t->count; i++) {
        const training_model *m = &t->models[i];
        if (strcmp(m->model, model) != 0 || m == like || m->peer) continue;
        if (like == NULL ||
            (strcmp(m->impl, like->impl) == 0 && m->threads == like->threads && m->batch == like->batch))
            return m;
    }
    return NULL;
}

/* The article's two where they are there, else the first two models trained alike. */
static bool find_two(const report_training *t, const training_model **a, const training_model **b)
{
    for (size_t i = 0; i < t->count; i++) {
        *a = &t->models[i];
        if (strcmp((*a)->model, "conv") == 0 && !(*a)->peer && (*b = find(t, "separable", *a)) != NULL)
            return true;
    }
    for (size_t i = 0; i < t->count; i++)
        for (size_t k = i + 1; k < t->count; k++) {
            *a = &t->models[i];
            *b = find(t, t->models[k].model, *a);
            if (*b != NULL && !(*a)->peer && strcmp((*a)->model, (*b)->model) != 0) return true;
        }
    return false;
}

/* Ours against another program's better way, for each model that both trained. */
static void put_peers(const report_training *t, verdict *v)
{
    for (size_t i = 0; i < t->count; i++) {
        const training_model *ours = &t->models[i], *peer = NULL;
        for (size_t k = 0; k < t->count && !ours->peer; k++) {
            const training_model *m = &t->models[k];
            if (!m->peer || strcmp(m->model, ours->model) != 0 || strcmp(m->dir, ours->dir) != 0) continue;
            if (peer == NULL || training_epoch_time(m).median < training_epoch_time(peer).median) peer = m;
        }
        if (peer == NULL) continue;
        training_time us = training_epoch_time(ours), them = training_epoch_time(peer);
        char first[24], second[24];
        verdict_line(v,
                     "Against %s (its better layout), the %s network: an epoch takes %s here and %s there, "
                     "%.2f times as fast (medians of %zu and %zu epochs; %d and %d threads).",
                     peer->impl, ours->model, report_time(us.median * 1e9, first),
                     report_time(them.median * 1e9, second), them.median / us.median, us.epochs, them.epochs,
                     ours->threads, peer->threads);
    }
}

/* A step against its arithmetic at the measured peak. */
static void put_arithmetic(const report_data *data, verdict *v)
{
    for (size_t i = 0; i < data->training->count; i++) {
        const training_model *m = &data->training->models[i];
        training_step s = training_step_of(data, m);
        char first[24], second[24], name[160];
        if (!(s.whole > 0) || !(s.arithmetic > 0)) continue;
        verdict_line(v,
                     "A training step, %s network: %s, %.2f times its arithmetic at the measured peak (%s at "
                     "%.0f GFLOP/s).",
                     training_name(data->training, m, name), report_time(s.whole, first),
                     s.whole / s.arithmetic, report_time(s.arithmetic, second), s.peak);
    }
}

void verdict_training(const report_data *data, verdict *v)
{
    const training_model *a, *b;
    if (data->training == NULL || data->training->count == 0) return;
    if (!find_two(data->training, &a, &b)) {
        a = &data->training->models[0];
        char text[24];
        verdict_line(v, "Training: an epoch of the %s network takes %s (%s).", a->model,
                     report_time(training_epoch_time(a).median * 1e9, text), a->impl);
        put_peers(data->training, v);
        put_arithmetic(data, v);
        return;
    }
    put_epochs(v, a, b);
    put_peers(data->training, v);
    put_arithmetic(data, v);
    put_accuracy(v, a, b);
}
