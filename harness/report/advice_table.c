/* The advice on the terminal, and as advise.csv. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "../../kernels/problem.h"
#include "../output.h"
#include "../record/csv.h"
#include "advice.h"

enum { NAME = 38, TIME = 27 }; /* columns of a layer's name, and of "12.3 ms (11.9 to 12.8)" */

/* "12.3 ms (11.9 to 12.8)", padded; without an interval "~12.3 ms". */
static void put_time(FILE *out, const rule_time *t)
{
    char median[24], low[24], high[24], text[96] = "-";
    if (!isnan(t->median) && !rule_shown(t))
        snprintf(text, sizeof text, "~%s", report_time(t->median, median));
    else if (!isnan(t->median)) {
        char *unit_low = strchr(report_time(t->low, low), ' '),
             *unit_high = strchr(report_time(t->high, high), ' ');
        if (unit_low != NULL && unit_high != NULL && strcmp(unit_low, unit_high) == 0) *unit_low = 0;
        snprintf(text, sizeof text, "%s (%s to %s)", report_time(t->median, median), low, high);
    }
    fprintf(out, "%s%*s", text, TIME - report_width(text, strlen(text)), "");
}

/* Seven columns. */
static void put_ratio(FILE *out, const rule_ratio *r)
{
    if (rule_determined(r->outcome))
        fprintf(out, "%5.2fx ", r->value);
    else
        fprintf(out, "%7s", "");
}

static void put_measure(FILE *out, const advice_item *item, advice_measure m)
{
    const advice_times *at = &item->at[m];
    fprintf(out, "  %-9.9s", m == ADVICE_STEP ? "step" : advice_measure_names[m]);
    put_time(out, &at->time[ADVICE_NOW]);
    if (item->swaps) {
        put_time(out, &at->time[ADVICE_OTHER]);
        put_ratio(out, &at->ratio);
        fputs(report_advice_verdict(item, m), out);
    }
    fputs("\n", out);
}

static void put_item(FILE *out, const report_advice *a, const advice_item *item)
{
    char shape[96], name[PROBLEM_NAME_MAX + 16], own[2][16], other[2][16];
    snprintf(name, sizeof name, item->times > 1 ? "%s *%d" : "%s", item->layer, item->times);
    const int width = report_width(name, strlen(name));
    if (width > NAME)
        fprintf(out, "%s\n%*s", name, NAME + 1, "");
    else
        fprintf(out, "%s%*s", name, NAME + 1 - width, "");
    fprintf(out, "%s\n", report_advice_shape(item, shape));
    for (int m = 0; m < ADVICE_MEASURES; m++)
        if (m == ADVICE_FORWARD || a->trains) put_measure(out, item, (advice_measure)m);
    fprintf(out, "  %s to %s parameters, %s to %s multiplications\n",
            report_advice_count(item->parameters[ADVICE_NOW], own[0]),
            report_advice_count(item->parameters[ADVICE_OTHER], other[0]),
            report_advice_count(item->multiplications[ADVICE_NOW], own[1]),
            report_advice_count(item->multiplications[ADVICE_OTHER], other[1]));
}

/* Those without another form are no answer; the page and advise.csv have them one by one. */
static void put_rest(FILE *out, const report_advice *a)
{
    rule_time sum = {.median = 0};
    int count = 0;
    for (size_t i = 0; i < a->count; i++) {
        const advice_item *item = &a->items[i];
        if (item->swaps) continue;
        sum = report_advice_add(sum, item->at[ADVICE_FORWARD].time[ADVICE_NOW], item->times);
        count += item->times;
    }
    if (count == 0) return;
    fprintf(out, "%d other%s, without another form (1x1, grouped, depthwise alone)\n  %-9s", count,
            count == 1 ? "" : "s", "forward");
    put_time(out, &sum);
    fputs("\n", out);
}

static void put_sum(FILE *out, const report_advice *a, advice_measure m)
{
    static const char *const plans[ADVICE_PLANS] = {"now", "every swap", "those that pay"};
    const advice_sum *s = &a->sum[m];
    char parameters[16], multiplications[16];
    fprintf(out, "\nall %d convolution%s, %s\n", a->convolutions, a->convolutions == 1 ? "" : "s",
            advice_measure_names[m]);
    for (int p = 0; p < ADVICE_PLANS; p++) {
        fprintf(out, "  %-15s", plans[p]);
        put_time(out, &s->time[p]);
        if (p == ADVICE_NOW)
            fprintf(out, "%7s", "");
        else
            put_ratio(out, &s->ratio[p]);
        fprintf(out, "%s param., %s mult.\n", report_advice_count(s->parameters[p], parameters),
                report_advice_count(s->multiplications[p], multiplications));
    }
}

void report_advice_print(FILE *out, const report_advice *a)
{
    char text[256];
    snprintf(text, sizeof text,
             "%s, batch %lld, %d thread%s: %d convolution%s now and in %s other form, by %s%s", a->network,
             (long long)a->mb, a->threads, a->threads == 1 ? "" : "s", a->convolutions,
             a->convolutions == 1 ? "" : "s", a->convolutions == 1 ? "its" : "their",
             strcmp(a->by, "sepbench") == 0 ? "the best of " : "", a->by);
    report_wrap(out, "", "", text);
    fprintf(out, "\n%-11s%-*s%-*sas fast\n", "", (int)TIME, "now", TIME, "otherwise");
    for (size_t i = 0; i < a->count; i++)
        if (a->items[i].swaps) put_item(out, a, &a->items[i]);
    put_rest(out, a);
    for (int m = 0; m < ADVICE_MEASURES; m++)
        if (m == ADVICE_FORWARD || a->trains) put_sum(out, a, (advice_measure)m);
    fputs("\n", out);
}

/* ---- advise.csv */

/* "conv1 | conv2": of all, which may have commas and quotes. */
static void put_names(FILE *out, const json_t *names)
{
    char *text = NULL;
    size_t size;
    FILE *all = open_memstream(&text, &size);
    if (all == NULL) return;
    for (size_t i = 0; i < json_array_size(names); i++)
        fprintf(all, "%s%s", i > 0 ? " | " : "", json_string_value(json_array_get(names, i)));
    fclose(all);
    csv_put(out, text);
    free(text);
}

static void put_number(FILE *out, double value) { csv_add_number(out, "%.9g", value); }

/* Three fields, empty where they are not known. */
static void put_three(FILE *out, double value, double low, double high)
{
    put_number(out, value);
    put_number(out, low);
    put_number(out, high);
}

static void put_times(FILE *out, const rule_time *t) { put_three(out, t->median, t->low, t->high); }

static void put_problem(FILE *out, const record_row *row)
{
    char text[PROBLEM_STRING_MAX];
    if (row != NULL)
        fprintf(out, "%s:%s", conv_variant_name(row->problem.variant), problem_format(&row->problem, text));
}

/* Counts are of all its layers together, times of one. */
static void put_row(FILE *out, const report_advice *a, const advice_item *item, advice_measure m)
{
    csv_put(out, item->layer);
    fprintf(out, ",%d,", item->times);
    put_names(out, item->names);
    fputs(",", out);
    put_problem(out, item->own[0]);
    if (item->own[1] != NULL) fputs(" + ", out);
    put_problem(out, item->own[1]);
    fputs(",", out);
    put_problem(out, item->other);
    fprintf(out, ",%lld,%d,%s", (long long)a->mb, a->threads, advice_measure_names[m]);
    csv_add(out, a->by);
    put_times(out, &item->at[m].time[ADVICE_NOW]);
    put_times(out, item->swaps ? &item->at[m].time[ADVICE_OTHER] : &(rule_time){NAN, NAN, NAN, false, false});
    const rule_ratio *r = &item->at[m].ratio;
    if (item->swaps)
        put_three(out, r->value, r->low, r->high);
    else
        put_three(out, NAN, NAN, NAN);
    csv_add(out, report_advice_verdict(item, m));
    for (int f = 0; f < ADVICE_FORMS; f++)
        put_number(out, f == ADVICE_NOW || item->swaps ? item->parameters[f] : NAN);
    for (int f = 0; f < ADVICE_FORMS; f++)
        put_number(out, f == ADVICE_NOW || item->swaps ? item->multiplications[f] : NAN);
    fputc('\n', out);
}

/* The network now and with every swap, then now and with those that pay. */
static void put_total(FILE *out, const report_advice *a, advice_measure m, int plan)
{
    const advice_sum *s = &a->sum[m];
    fprintf(out, "%s,%d,,,,%lld,%d,%s", plan == ADVICE_EVERY ? "(every swap)" : "(those that pay)",
            a->convolutions, (long long)a->mb, a->threads, advice_measure_names[m]);
    csv_add(out, a->by);
    put_times(out, &s->time[ADVICE_NOW]);
    put_times(out, &s->time[plan]);
    put_three(out, s->ratio[plan].value, s->ratio[plan].low, s->ratio[plan].high);
    fputs(",", out);
    put_number(out, s->parameters[ADVICE_NOW]);
    put_number(out, s->parameters[plan]);
    put_number(out, s->multiplications[ADVICE_NOW]);
    put_number(out, s->multiplications[plan]);
    fputc('\n', out);
}

static bool put_advice(FILE *out, const void *what)
{
    const report_advice *a = what;
    fputs("layer,times,layers,problem,other_problem,batch,threads,measure,by,now_ns,now_low_ns,now_high_ns,"
          "other_ns,other_low_ns,other_high_ns,ratio,ratio_low,ratio_high,verdict,parameters,other_parameters,"
          "multiplications,other_multiplications\n",
          out);
    for (int m = 0; m < ADVICE_MEASURES; m++) {
        if (m != ADVICE_FORWARD && !a->trains) continue;
        for (size_t i = 0; i < a->count; i++) put_row(out, a, &a->items[i], (advice_measure)m);
        put_total(out, a, (advice_measure)m, ADVICE_EVERY);
        put_total(out, a, (advice_measure)m, ADVICE_PAYING);
    }
    return true;
}

bool report_advice_write(const report_advice *a, const char *dir, conv_error *err)
{
    return output_put(dir, "advise.csv", put_advice, a, err);
}
