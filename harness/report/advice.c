#include "advice.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "../json.h"
#include "../layer.h"
#include "../text.h"

const char *const advice_measure_names[ADVICE_MEASURES] = {"forward", "backward", "training step"};

static const rule_time no_time = {NAN, NAN, NAN, false, false};

rule_time report_advice_add(rule_time a, rule_time b, double times)
{
    return (rule_time){a.median + times * b.median, a.low + times * b.low, a.high + times * b.high,
                       a.disturbed || b.disturbed, a.moved || b.moved};
}

/* ---- reading */

/* A stranger's file: a name that may be printed, or NULL. */
static const char *label(const json_t *value)
{
    const char *text = json_string_value(value);
    return text != NULL && text_is_label(text) && text_is_plain(text) ? text : NULL;
}

static bool read_count(const json_t *entry, const char *key, double *to)
{
    const json_t *value = json_object_get(entry, key);
    *to = (double)json_integer_value(value);
    return json_is_integer(value) && *to >= 0;
}

static bool all_labels(const json_t *names)
{
    for (size_t i = 0; i < json_array_size(names); i++)
        if (label(json_array_get(names, i)) == NULL) return false;
    return json_array_size(names) > 0;
}

static bool read_item(const json_t *entry, advice_item *item)
{
    const json_t *own = json_object_get(entry, "own");
    double times = 0;
    item->layer = label(json_object_get(entry, "layer"));
    item->names = json_object_get(entry, "layers");
    item->swaps = json_is_string(json_object_get(entry, "form"));
    bool fine = item->layer != NULL && all_labels(item->names) && all_labels(own) &&
                json_array_size(own) <= 2 && read_count(entry, "times", &times) && times >= 1 &&
                times <= LAYER_MOST_TIMES && read_count(entry, "parameters", &item->parameters[ADVICE_NOW]) &&
                read_count(entry, "multiplications", &item->multiplications[ADVICE_NOW]);
    item->times = (int)times;
    item->parameters[ADVICE_OTHER] = item->parameters[ADVICE_NOW];
    item->multiplications[ADVICE_OTHER] = item->multiplications[ADVICE_NOW];
    if (!fine || !item->swaps) return fine;
    return read_count(entry, "other_parameters", &item->parameters[ADVICE_OTHER]) &&
           read_count(entry, "other_multiplications", &item->multiplications[ADVICE_OTHER]);
}

/* ---- times */

static const report_network *find_network(const report_advice *a, const char *form, conv_pass pass)
{
    char name[96];
    snprintf(name, sizeof name, "%s%s", a->network, form);
    for (size_t i = 0; i < a->networks.count; i++)
        if (a->networks.items[i].pass == pass && strcmp(a->networks.items[i].name, name) == 0)
            return &a->networks.items[i];
    return NULL;
}

/* The row of "network:KEY" by that side. */
static const record_row *find_row(const report_advice *a, const report_network *n, const char *key,
                                  const network_side *side)
{
    for (size_t i = 0; n != NULL && i < n->count; i++)
        if (strcmp(strchr(n->layers[i].name, ':') + 1, key) == 0)
            return report_network_row(a->data, &n->layers[i], side);
    return NULL;
}

static rule_time time_or_none(const record_row *row) { return row != NULL ? rule_time_of(row) : no_time; }

static void find_times(const report_advice *a, const json_t *entry, const network_side *side, conv_pass pass,
                       advice_item *item)
{
    const report_network *now = find_network(a, "", pass),
                         *otherwise = find_network(a, "@" LAYER_SWAPPED, pass);
    const json_t *own = json_object_get(entry, "own");
    advice_times *at = &item->at[pass];
    char key[PROBLEM_NAME_MAX];
    at->time[ADVICE_NOW] = (rule_time){.median = 0};
    for (size_t i = 0; i < json_array_size(own); i++) {
        const record_row *row = find_row(a, now, json_string_value(json_array_get(own, i)), side);
        at->time[ADVICE_NOW] = report_advice_add(at->time[ADVICE_NOW], time_or_none(row), 1);
        if (item->own[i] == NULL) item->own[i] = row;
    }
    at->time[ADVICE_OTHER] = at->time[ADVICE_NOW];
    if (!item->swaps) return;
    snprintf(key, sizeof key, item->times > 1 ? "%s*%d" : "%s", item->layer, item->times);
    const record_row *row = find_row(a, otherwise, key, side);
    at->time[ADVICE_OTHER] = time_or_none(row);
    if (item->other == NULL) item->other = row;
}

static void find_item_times(const report_advice *a, const json_t *entry, const network_side *side,
                            advice_item *item)
{
    find_times(a, entry, side, CONV_FORWARD, item);
    find_times(a, entry, side, CONV_BACKWARD, item);
    for (int f = 0; f < ADVICE_FORMS; f++)
        item->at[ADVICE_STEP].time[f] =
            report_advice_add(item->at[ADVICE_FORWARD].time[f], item->at[ADVICE_BACKWARD].time[f], 1);
    for (int m = 0; m < ADVICE_MEASURES; m++)
        item->at[m].ratio = rule_compare(item->at[m].time[ADVICE_NOW], item->at[m].time[ADVICE_OTHER]);
}

/* ---- sums */

bool report_advice_pays(const advice_item *item, advice_measure m)
{
    return item->swaps && item->at[m].ratio.outcome == RATIO_FASTER;
}

const char *report_advice_verdict(const advice_item *item, advice_measure m)
{
    const ratio_outcome outcome = item->at[m].ratio.outcome;
    if (!item->swaps) return "";
    return outcome == RATIO_FASTER   ? "won"
           : outcome == RATIO_SLOWER ? "lost"
           : outcome == RATIO_SAME   ? "same"
                                     : "unsure";
}

static advice_sum sum_of(const report_advice *a, advice_measure m)
{
    advice_sum s = {.whole = true};
    for (size_t i = 0; i < a->count; i++) {
        const advice_item *item = &a->items[i];
        const ratio_outcome outcome = item->at[m].ratio.outcome;
        const int form[ADVICE_PLANS] = {ADVICE_NOW, ADVICE_OTHER,
                                        report_advice_pays(item, m) ? ADVICE_OTHER : ADVICE_NOW};
        for (int p = 0; p < ADVICE_PLANS; p++) {
            s.time[p] = report_advice_add(s.time[p], item->at[m].time[form[p]], item->times);
            s.parameters[p] += item->times * item->parameters[form[p]];
            s.multiplications[p] += item->times * item->multiplications[form[p]];
        }
        if (!item->swaps) continue;
        s.swap += item->times;
        s.pay += outcome == RATIO_FASTER ? item->times : 0;
        s.lose += outcome == RATIO_SLOWER ? item->times : 0;
        s.same += outcome == RATIO_SAME ? item->times : 0;
        s.unsure += !rule_determined(outcome) ? item->times : 0;
    }
    for (int p = 0; p < ADVICE_PLANS; p++) {
        s.whole = s.whole && !isnan(s.time[p].median);
        s.ratio[p] = rule_compare(s.time[ADVICE_NOW], s.time[p]);
    }
    return s;
}

/* ---- words for counts and shapes */

char *report_advice_count(double value, char *buffer)
{
    if (value >= 1000) return report_count(value, buffer);
    snprintf(buffer, 16, "%.0f", value);
    return buffer;
}

char *report_advice_shape(const advice_item *item, char *buffer)
{
    static const char *const kinds[] = {"", " depthwise", "", " separable"};
    const record_row *row = item->own[0];
    if (row == NULL) return strcpy(buffer, "not measured");
    const conv_problem *p = &row->problem;
    const report_setting all = {.shape = *p};
    char in[64], kernel[64], stride[24] = "", groups[40] = "";
    if (p->axis[CONV_W].stride > 1) snprintf(stride, sizeof stride, "/%lld", (long long)p->axis[CONV_W].stride);
    if (p->variant == CONV_DENSE && p->groups > 1)
        snprintf(groups, sizeof groups, " in %lld groups", (long long)p->groups);
    snprintf(buffer, 96, "%s%s%s%s%s %sx%lld->%lld", report_kernel_size(&all, kernel, sizeof kernel), stride,
             groups, kinds[p->variant], item->own[1] != NULL ? "+1x1" : "",
             report_input_size(&all, in, sizeof in), (long long)p->ic,
             (long long)(item->own[1] != NULL ? item->own[1]->problem.oc : p->oc));
    return buffer;
}

/* ---- */

static const network_side *find_side(const report_advice *a, network_side *sides)
{
    int count = report_network_sides(a->data, sides);
    for (int i = 0; i < count; i++)
        if (strcmp(sides[i].name, a->by) == 0) return &sides[i];
    return NULL;
}

static bool read_items(report_advice *a)
{
    network_side sides[NETWORK_SIDES];
    const json_t *layers = json_object_get(a->about, "layers");
    const network_side *side = find_side(a, sides);
    const size_t count = json_array_size(layers);
    a->items = calloc(count + 1, sizeof *a->items);
    if (a->items == NULL || side == NULL || count == 0) return false;
    for (a->count = 0; a->count < count; a->count++) {
        const json_t *entry = json_array_get(layers, a->count);
        if (!read_item(entry, &a->items[a->count])) return false;
        find_item_times(a, entry, side, &a->items[a->count]);
        a->convolutions += a->items[a->count].times * (int)json_array_size(json_object_get(entry, "own"));
    }
    return true;
}

bool report_advice_create(const report_data *data, report_advice *a)
{
    *a = (report_advice){.data = data, .about = json_object_get(data->run->run, "advise")};
    const char *network = label(json_object_get(a->about, "network")),
               *by = label(json_object_get(a->about, "by"));
    if (network == NULL || by == NULL || data->run->count == 0 || !report_networks_create(data, &a->networks))
        return false;
    snprintf(a->network, sizeof a->network, "%s", network);
    snprintf(a->by, sizeof a->by, "%s", by);
    a->trains = json_is_true(json_object_get(a->about, "train"));
    a->mb = data->run->rows[0].problem.mb;
    a->threads = data->run->rows[0].threads;
    if (!read_items(a)) {
        report_advice_destroy(a);
        return false;
    }
    for (int m = 0; m < ADVICE_MEASURES; m++) a->sum[m] = sum_of(a, (advice_measure)m);
    return true;
}

void report_advice_destroy(report_advice *a)
{
    report_networks_destroy(&a->networks);
    free(a->items);
    *a = (report_advice){.count = 0};
}
