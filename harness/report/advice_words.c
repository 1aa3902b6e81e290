/* What to swap, in sentences. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "../json.h"
#include "advice.h"
#include "verdict.h"

enum { MOST_NAMED = 4 };

const char report_advice_caution[] =
    "A swapped layer must be trained again; what it does to the network's accuracy is not measured here. Each "
    "layer is measured alone: what fuses layers, or keeps a layout of its own between them, takes less for "
    "all.";

/* "1.9 times as fast (40.1 to 21.0 ms)", "not determined: the machine was busy". */
static void put_plan(FILE *out, const advice_sum *s, int plan)
{
    char now[24], then[24], times[16];
    const rule_ratio *r = &s->ratio[plan];
    report_time(s->time[ADVICE_NOW].median, now);
    report_time(s->time[plan].median, then);
    if (!rule_determined(r->outcome))
        fprintf(out, "is not determined (%s)", rule_reason(r->outcome));
    else if (r->outcome == RATIO_SAME)
        fprintf(out, "makes no measurable difference (%s, %s)", now, then);
    else
        fprintf(out, "makes them %s times as fast (%s instead of %s)", verdict_times(r->value, times), then,
                now);
}

/* "conv1 (0.83 times as fast), conv2 and 3 more": the worst first. */
static void put_losers(FILE *out, const report_advice *a, advice_measure m)
{
    const advice_item *named[MOST_NAMED];
    int count = 0, shapes = 0;
    char times[16];
    for (size_t i = 0; i < a->count; i++) {
        const advice_item *item = &a->items[i];
        if (!item->swaps || item->at[m].ratio.outcome != RATIO_SLOWER) continue;
        int at = count < MOST_NAMED ? count++ : MOST_NAMED;
        for (; at > 0 && item->at[m].ratio.value < named[at - 1]->at[m].ratio.value; at--)
            if (at < MOST_NAMED) named[at] = named[at - 1];
        if (at < MOST_NAMED) named[at] = item;
        shapes++;
    }
    for (int i = 0; i < count; i++)
        fprintf(out, "%s%s (%s times as fast)", i > 0 ? ", " : "", named[i]->layer,
                verdict_times(named[i]->at[m].ratio.value, times));
    if (shapes > count) fprintf(out, " and %d more", shapes - count);
}

static void put_sentence(FILE *out, const report_advice *a, advice_measure m)
{
    const advice_sum *s = &a->sum[m];
    if (s->swap == 0) {
        fprintf(out, "None of %s's %d convolutions has another form.", a->network, a->convolutions);
        return;
    }
    fprintf(out, "%s: swapping ", m == ADVICE_FORWARD ? "Forward" : "In a training step");
    if (s->swap == 1)
        fprintf(out, "the only layer of %s that has", a->network);
    else
        fprintf(out, "all %d layers of %s that have", s->swap, a->network);
    fprintf(out, " another form, of %d convolution%s, ", a->convolutions, a->convolutions == 1 ? "" : "s");
    put_plan(out, s, ADVICE_EVERY);
    if (s->pay > 0 && s->pay < s->swap) {
        fprintf(out, "; only the %d where it pays ", s->pay);
        put_plan(out, s, ADVICE_PAYING);
    }
    fputs(".", out);
    if (s->pay == 0) fputs(s->unsure == 0 ? " No swap pays." : " No swap is known to pay.", out);
    if (s->lose > 0) {
        fputs(" Not to be swapped: ", out);
        put_losers(out, a, m);
        fputs(".", out);
    }
    if (s->same > 0) fprintf(out, " Layers in which the swap makes no measurable difference: %d.", s->same);
    if (s->unsure > 0) fprintf(out, " Not determined: %d.", s->unsure);
}

char *report_advice_words(const report_advice *a, advice_measure m)
{
    char *text = NULL;
    size_t size;
    if (m == ADVICE_BACKWARD || (m == ADVICE_STEP && !a->trains)) return NULL;
    FILE *out = open_memstream(&text, &size);
    if (out == NULL) return NULL;
    if (a->sum[m].whole)
        put_sentence(out, a, m);
    else
        fprintf(out, "%s: a layer of %s has no time, so there is no sum.",
                m == ADVICE_FORWARD ? "Forward" : "In a training step", a->network);
    fclose(out);
    return text;
}

char *report_advice_unknown(const report_advice *a)
{
    json_t *unknown = json_object_get(a->about, "unknown"), *lost = json_object_get(a->about, "lost"), *value;
    const char *key;
    char *text = NULL;
    size_t size;
    int classes = 0;
    if (json_object_size(unknown) == 0 && json_array_size(lost) == 0) return NULL;
    FILE *out = open_memstream(&text, &size);
    if (out == NULL) return NULL;
    json_object_foreach(unknown, key, value)
    {
        fprintf(out, "%s%lld %s",
                classes++ > 0 ? ", " : "Layers that are not known: ", (long long)json_integer_value(value),
                key);
    }
    if (classes > 0) fputs(".", out);
    for (size_t i = 0; i < json_array_size(lost) && i < MOST_NAMED; i++) {
        const json_t *entry = json_array_get(lost, i);
        fprintf(out, "%sConvolution %s is left out: %s.", classes++ > 0 ? " " : "",
                json_text(entry, "layer", "?"), json_text(entry, "why", "?"));
    }
    if (json_array_size(lost) > MOST_NAMED)
        fprintf(out, " %zu more convolutions are left out.", json_array_size(lost) - MOST_NAMED);
    fclose(out);
    return text;
}

/* The run answers for one network, so that is the headline. */
void verdict_advice(const report_data *data, verdict *v)
{
    report_advice a;
    if (!report_advice_create(data, &a)) return;
    free(v->headline);
    v->headline = report_advice_words(&a, ADVICE_FORWARD);
    verdict_add(&v->lines, &v->count, report_advice_words(&a, ADVICE_STEP));
    verdict_add(&v->lines, &v->count, report_advice_unknown(&a));
    verdict_line(v, "%s", report_advice_caution);
    report_advice_destroy(&a);
}
