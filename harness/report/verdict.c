/* The answer in words. A sentence says what the tables below it cannot; figures come by the rule of
 * record/rule.h alone. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "verdict.h"

enum { TOLD_SETTINGS = 2 }; /* settings that get sentences of their own; of more, the tables say which */

/* ---- counting */

void verdict_tally_point(const report_point *q, const rule_ratio *times, verdict_tally *t)
{
    t->count++;
    t->by_outcome[times->outcome]++;
    if (!rule_determined(times->outcome)) return;
    bool first = t->determined++ == 0, ahead = times->outcome == RATIO_FASTER;
    t->least = first ? times->value : fmin(t->least, times->value);
    t->most = first ? times->value : fmax(t->most, times->value);
    t->first = first || q->ic < t->first ? q->ic : t->first;
    t->last = first || q->ic > t->last ? q->ic : t->last;
    t->ahead += ahead;
    t->from = !ahead ? 0 : t->from == 0 ? q->ic : t->from;
}

/* Points are in order of channels. */
static verdict_tally tally_setting(const report_data *data, const report_setting *s, conv_pass pass)
{
    verdict_tally t = {0};
    for (size_t i = 0; i < s->count; i++) {
        report_ratio p;
        if (s->points[i].pass == pass && report_speedup(data, &s->points[i], -1, &p))
            verdict_tally_point(&s->points[i], &p.times, &t);
    }
    return t;
}

/* ---- what the tables leave open */

enum { ANSWERED = -1, NO_TIME = RATIO_OUTCOMES }; /* beside the outcomes that say why there is no answer */

/* Why the point has no answer; ANSWERED also where the run has nothing to do with it. */
static int why_open(const report_data *data, const report_point *q)
{
    report_ratio p;
    if (report_speedup(data, q, -1, &p))
        return rule_determined(p.times.outcome) ? ANSWERED : (int)p.times.outcome;
    for (int impl = 0; impl < data->impl_count; impl++)
        if (q->rows[CONV_DENSE][impl] != NULL || q->rows[CONV_SEPARABLE][impl] != NULL) return NO_TIME;
    return ANSWERED;
}

/* "; forward at 128 and 512 channels (the machine was busy)". Returns how many channel counts that are. */
static int put_open(FILE *out, const report_data *data, const report_setting *s, conv_pass pass, int why)
{
    int count = 0, done = 0;
    for (size_t i = 0; i < s->count; i++)
        count += s->points[i].pass == pass && why_open(data, &s->points[i]) == why;
    for (size_t i = 0; i < s->count; i++) {
        if (s->points[i].pass != pass || why_open(data, &s->points[i]) != why) continue;
        if (done == 0) fprintf(out, "; %s at", conv_pass_name(pass));
        fprintf(out, "%s %lld", done == 0 ? "" : done == count - 1 ? " and" : ",", (long long)s->points[i].ic);
        done++;
    }
    if (count > 0)
        fprintf(out, " channels (%s)",
                why == NO_TIME ? "one side has no time" : rule_reason((ratio_outcome)why));
    return count;
}

static void tell_open(const report_data *data, const report_setting *s, verdict *v)
{
    char *text = NULL;
    size_t size;
    FILE *out = open_memstream(&text, &size);
    int named = 0;
    if (out == NULL) return;
    for (int pass = CONV_FORWARD; pass <= CONV_BACKWARD; pass++)
        for (int why = RATIO_FEW; why <= NO_TIME; why++) named += put_open(out, data, s, (conv_pass)pass, why);
    fclose(out);
    if (named > 0) verdict_line(v, "Not determined: %s.", text + strlen("; "));
    free(text);
}

/* ---- the whole */

/* Why there is no comparison at all. */
static char *no_answer(const report_data *data)
{
    if (data->run->count == 0) return strdup("This run does not say: it trained no two networks alike.");
    bool has[CONV_VARIANT_COUNT] = {false};
    for (size_t i = 0; i < data->run->count; i++)
        if (data->run->rows[i].status == CASE_OK) has[data->run->rows[i].problem.variant] = true;
    const char *text =
        "This run does not say: no dense and separable case share channels, size, pass and threads.";
    if (!has[CONV_DENSE] && !has[CONV_SEPARABLE])
        text = "This run does not say: it has no time for a dense nor for a separable convolution.";
    else if (!has[CONV_DENSE])
        text = "This run does not say: it has no time for a dense convolution.";
    else if (!has[CONV_SEPARABLE])
        text = "This run does not say: it has no time for a separable convolution.";
    return strdup(text);
}

void verdict_create(const report_data *data, verdict *v)
{
    *v = (verdict){0};
    verdict_tally sums[2] = {{0}, {0}};
    int settings = 0;
    for (size_t i = 0; i < data->setting_count; i++) {
        int count = 0;
        for (int pass = CONV_FORWARD; pass <= CONV_BACKWARD; pass++) {
            verdict_tally t = tally_setting(data, &data->settings[i], (conv_pass)pass);
            verdict_add_tally(&sums[pass], &t);
            count += t.count;
        }
        if (count > 0 && settings++ < TOLD_SETTINGS) tell_open(data, &data->settings[i], v);
    }
    if (settings > 0) v->headline = verdict_headline(&sums[0], &sums[1], settings);
    /* A network's layers are then what is asked for. */
    const bool advises = json_object_get(data->run->run, "advise") != NULL;
    for (int pass = CONV_FORWARD; settings > 0 && !advises && pass <= CONV_BACKWARD; pass++)
        if (sums[pass].count == 0)
            verdict_caution(v, "%s: this run has no comparison.",
                            pass == CONV_FORWARD ? "Forward" : "Backward");
    verdict_advice(data, v);
    verdict_engines(data, v);
    verdict_networks(data, v);
    verdict_training(data, v);
    verdict_ranks(data, v);
    if (v->headline == NULL) v->headline = no_answer(data);
    verdict_find_cautions(data, v);
}

void verdict_destroy(verdict *v)
{
    free(v->headline);
    for (size_t i = 0; i < v->count; i++) free(v->lines[i]);
    for (size_t i = 0; i < v->caution_count; i++) free(v->cautions[i]);
    free(v->lines);
    free(v->cautions);
    *v = (verdict){0};
}
