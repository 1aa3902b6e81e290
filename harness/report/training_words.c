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

static rule_time time_of(const training_time *t)
{
    return (rule_time){.median = t->median, .low = t->low, .high = t->high};
}

static const char *why_open(ratio_outcome outcome)
{
    return outcome == RATIO_FEW ? "too few epochs for an interval" : rule_reason(outcome);
}

static void put_epochs(verdict *v, const training_model *a, const training_model *b)
{
    static const char *const answers[] = {
        [RATIO_FASTER] = "yes", [RATIO_SLOWER] = "no", [RATIO_SAME] = "no measurable difference"};
    training_time first = training_epoch_time(a), second = training_epoch_time(b);
    rule_ratio r = rule_compare(time_of(&first), time_of(&second));
    char ours[24], theirs[24];
    if (isnan(r.value)) return;
    report_time(second.median * 1e9, ours);
    report_time(first.median * 1e9, theirs);
    if (!rule_determined(r.outcome)) {
        verdict_line(v,
                     "Training: an epoch took %s (%s) and %s (%s), but which is faster is not determined: %s.",
                     ours, b->model, theirs, a->model, why_open(r.outcome));
        return;
    }
    verdict_line(v,
                 "Training: an epoch of the %s network takes %s, one of the %s network %s: %.2f times as "
                 "long%s (medians of %zu and %zu epochs; %s, batch %d, %d thread%s).",
                 b->model, ours, a->model, theirs, 1 / r.value,
                 r.outcome == RATIO_SAME ? ", no measurable difference" : "", second.epochs, first.epochs,
                 b->impl, b->batch, b->threads, b->threads == 1 ? "" : "s");
    if (v->headline == NULL && /* nothing else to say first */
        asprintf(&v->headline,
                 "In training, %s: an epoch of the %s network takes %s, one of the %s network %s.",
                 answers[r.outcome], b->model, ours, a->model, theirs) < 0)
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
        rule_ratio r = rule_compare(time_of(&them), time_of(&us));
        char first[24], second[24], times[64] = "", what[16];
        if (rule_determined(r.outcome))
            snprintf(times, sizeof times, ", %s times as fast", verdict_times(r.value, what));
        else
            snprintf(times, sizeof times, "; %s", why_open(r.outcome));
        verdict_line(v,
                     "Against %s (its better layout), the %s network: an epoch takes %s here and %s there%s "
                     "(medians of %zu and %zu epochs; %d and %d threads).",
                     peer->impl, ours->model, report_time(us.median * 1e9, first),
                     report_time(them.median * 1e9, second), times, us.epochs, them.epochs, ours->threads,
                     peer->threads);
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
        if (data->run->count == 0) put_peers(data->training, v);
        return;
    }
    put_epochs(v, a, b);
    if (data->run->count == 0) put_peers(data->training, v); /* beside cases, the table of models says it */
    put_accuracy(v, a, b);
}
