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

static void put_epochs(verdict *v, const training_model *a, const training_model *b)
{
    static const char *const answers[] = {
        [RATIO_FASTER] = "yes", [RATIO_SLOWER] = "no", [RATIO_SAME] = "no measurable difference"};
    training_time first = training_epoch_time(a), second = training_epoch_time(b);
    rule_ratio r = training_compare(a, b);
    char ours[24], theirs[24], where[160] = "Training", how[128] = "", threads[64];
    if (isnan(r.value)) return;
    if (a->peer)
        snprintf(where, sizeof where, "Training by %s, %s", a->impl, a->layout);
    else
        snprintf(how, sizeof how, "%s, batch %d, ", a->impl, a->batch);
    report_time(second.median * 1e9, ours);
    report_time(first.median * 1e9, theirs);
    if (!rule_determined(r.outcome)) {
        verdict_line(v, "%s: an epoch took %s (%s) and %s (%s), but which is faster is not determined: %s.",
                     where, ours, b->model, theirs, a->model, training_reason(r.outcome));
        return;
    }
    verdict_line(v,
                 "%s: an epoch of the %s network takes %s, one of the %s network %s: %.2f times as fast%s "
                 "(medians of %zu and %zu epochs; %s%s).",
                 where, b->model, ours, a->model, theirs, r.value,
                 r.outcome == RATIO_SAME ? ", no measurable difference" : "", second.epochs, first.epochs, how,
                 training_threads(b, threads));
    bool asked = b->separable && !a->separable; /* the question is whether separable layers are faster */
    if (v->headline == NULL && !a->peer &&      /* nothing else to say first */
        asprintf(&v->headline,
                 "In training%s%s: an epoch of the %s network takes %s, one of the %s network %s.",
                 asked ? ", " : "", asked ? answers[r.outcome] : "", b->model, ours, a->model, theirs) < 0)
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

/* The fastest of a program's layouts for a network; of equals the first. */
static bool is_better_layout(const report_training *t, const training_model *m)
{
    for (const training_model *o = t->models; o < t->models + t->count; o++) {
        double faster = training_epoch_time(m).median - training_epoch_time(o).median;
        if (o->peer && strcmp(o->impl, m->impl) == 0 && strcmp(o->model, m->model) == 0 &&
            strcmp(o->dir, m->dir) == 0 && (faster > 0 || (faster == 0 && o < m)))
            return false;
    }
    return true;
}

static void put_peer(const training_model *ours, const training_model *peer, verdict *v)
{
    training_time us = training_epoch_time(ours), them = training_epoch_time(peer);
    rule_ratio r = training_compare(peer, ours);
    char first[24], second[24], times[64] = "", what[16];
    if (rule_determined(r.outcome))
        snprintf(times, sizeof times, ", %s times as fast", verdict_times(r.value, what));
    else
        snprintf(times, sizeof times, "; %s", training_reason(r.outcome));
    verdict_line(
        v,
        "Against %s, %s, the %s network: an epoch takes %s here and %s there%s (medians of %zu and %zu "
        "epochs; %d and %d threads).",
        peer->impl, peer->layout, ours->model, report_time(us.median * 1e9, first),
        report_time(them.median * 1e9, second), times, us.epochs, them.epochs, ours->threads, peer->threads);
}

/* The two networks' epochs in each program and layout. */
static void put_peers_epochs(const report_training *t, const training_model *a, const training_model *b,
                             verdict *v)
{
    for (const training_model *m = t->models; m < t->models + t->count; m++) {
        const training_model *other = training_alike(t, b->model, m);
        if (m->peer && strcmp(m->model, a->model) == 0 && other != NULL) put_epochs(v, m, other);
    }
}

/* Ours against each program in its better layout, for each network that both trained. */
static void put_peers(const report_training *t, verdict *v)
{
    for (const training_model *m = t->models; m < t->models + t->count; m++)
        for (const training_model *ours = t->models; ours < t->models + t->count; ours++)
            if (m->peer && !ours->peer && strcmp(m->model, ours->model) == 0 &&
                strcmp(m->dir, ours->dir) == 0 && is_better_layout(t, m))
                put_peer(ours, m, v);
}

void verdict_training(const report_data *data, verdict *v)
{
    const report_training *t = data->training;
    const training_model *a, *b;
    if (t == NULL || t->count == 0) return;
    bool two = training_two(t, &a, &b), alone = data->run->count == 0; /* beside cases, the tables say it */
    if (two) {
        put_epochs(v, a, b);
        if (alone) put_peers_epochs(t, a, b, v);
    } else {
        char text[24];
        verdict_line(v, "Training: an epoch of the %s network takes %s (%s).", t->models[0].model,
                     report_time(training_epoch_time(&t->models[0]).median * 1e9, text), t->models[0].impl);
    }
    if (alone) put_peers(t, v);
    if (two) put_accuracy(v, a, b);
}
