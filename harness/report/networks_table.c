/* Every network's convolutions together by every side, in both forms: for the terminal and as a file. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "../layer.h"
#include "../output.h"
#include "../record/csv.h"
#include "report.h"

typedef struct {
    const report_data *data;
    report_networks all;
    network_side sides[NETWORK_SIDES];
    int side_count;
} network_table;

static bool open_table(network_table *t, const report_data *data)
{
    *t = (network_table){.data = data};
    if (!report_networks_create(data, &t->all)) return false;
    t->side_count = report_network_sides(data, t->sides);
    return true;
}

/* ---- the terminal */

static const report_network *in_pass(const report_networks *all, const report_network *n, conv_pass pass)
{
    for (size_t i = 0; n != NULL && i < all->count; i++)
        if (report_same_network(&all->items[i], n) && all->items[i].pass == pass) return &all->items[i];
    return NULL;
}

/* " 12.3 ms", "~12.3 ms" where a layer is not sure, "-" where one lacks. µ is one character of two bytes. */
static void put_time(FILE *out, const network_sum *sum)
{
    char time[24], text[32] = "-";
    if (sum->whole)
        snprintf(text, sizeof text, "%s%s", rule_shown(&sum->time) ? "" : "~",
                 report_time(sum->time.median, time));
    fprintf(out, "%*s", (int)(10 + (strstr(text, "µ") != NULL)), text);
}

/* A network's pass, its other form, and how many times as fast that is: 29 columns. */
static void put_pass(FILE *out, const network_table *t, const report_network *n, const network_side *side)
{
    const report_network *other = n != NULL ? report_other_form(&t->all, n) : NULL;
    network_sum sum = {0}, theirs = {0};
    char times[16] = "";
    if (n != NULL) sum = report_network_sum(t->data, n, side);
    if (other != NULL) theirs = report_network_sum(t->data, other, side);
    put_time(out, &sum);
    if (other != NULL) put_time(out, &theirs);
    rule_ratio r = rule_compare(sum.time, theirs.time);
    if (sum.whole && theirs.whole && rule_determined(r.outcome))
        snprintf(times, sizeof times, "%.2fx", r.value);
    if (other != NULL) fprintf(out, "%9s", times);
}

static size_t left_out(const report_network *n)
{
    size_t count = 0;
    for (size_t i = 0; i < n->count; i++) count += n->layers[i].row == NULL;
    return count;
}

static void put_network(FILE *out, const network_table *t, const report_network *first)
{
    const report_network *passes[] = {in_pass(&t->all, first, CONV_FORWARD),
                                      in_pass(&t->all, first, CONV_BACKWARD)};
    const report_network *any = passes[0] != NULL ? passes[0] : passes[1] != NULL ? passes[1] : first;
    const report_network *other = report_other_form(&t->all, any);
    fprintf(out, "\n%s, batch %lld, %d thread%s%s\n", first->name, (long long)first->mb, first->threads,
            first->threads == 1 ? "" : "s", first->cache == CACHE_COLD ? ", cold cache" : "");
    if (left_out(any) > 0)
        fprintf(out, "(a part: %zu of its %zu layers are not in this run)\n", left_out(any), any->count);
    if (other != NULL) fprintf(out, "(instead: with %s)\n", report_form_words(other));
    fprintf(out, "%-16s", "all convolutions");
    for (int i = 0; i < 2; i++) {
        if (passes[i] == NULL) continue;
        fprintf(out, other != NULL ? "%10s%10s%9s" : "%10s", conv_pass_name(passes[i]->pass), "instead",
                "as fast");
    }
    fputs("\n", out);
    for (int s = 0; s < t->side_count && t->sides[s].impl < 0; s++) {
        size_t layers = 0;
        for (int i = 0; i < 2; i++)
            if (passes[i] != NULL) layers += report_network_sum(t->data, passes[i], &t->sides[s]).layers;
        if (layers == 0) continue;
        fprintf(out, "%-16.16s", t->sides[s].name);
        for (int i = 0; i < 2; i++)
            if (passes[i] != NULL) put_pass(out, t, passes[i], &t->sides[s]);
        fputs("\n", out);
    }
}

/* Whether the pass begins a network of the table: another form stands beside its own, if the run has that. */
static bool begins(const report_networks *all, size_t i)
{
    for (size_t j = 0; j < all->count; j++) {
        const report_network *other = report_other_form(all, &all->items[j]);
        if (other != NULL && report_same_network(other, &all->items[i])) return false;
    }
    return report_is_first(all, i) && (in_pass(all, &all->items[i], CONV_FORWARD) != NULL ||
                                       in_pass(all, &all->items[i], CONV_BACKWARD) != NULL);
}

static bool is_rough(const network_table *t)
{
    for (size_t i = 0; i < t->all.count; i++)
        for (int s = 0; s < t->side_count && t->sides[s].impl < 0; s++) {
            network_sum sum = report_network_sum(t->data, &t->all.items[i], &t->sides[s]);
            if (t->all.items[i].pass <= CONV_BACKWARD && sum.whole && !rule_shown(&sum.time)) return true;
        }
    return false;
}

void report_networks_print(FILE *out, const report_data *data)
{
    network_table t;
    bool any = false;
    if (!open_table(&t, data)) return;
    for (size_t i = 0; i < t.all.count; i++)
        if (begins(&t.all, i)) {
            put_network(out, &t, &t.all.items[i]);
            any = true;
        }
    if (any && is_rough(&t)) fputs("~ rough: a layer has too few repetitions, or the machine was busy\n", out);
    report_networks_destroy(&t.all);
}

/* ---- networks.csv */

/* "conv1+conv2*3", "all". */
static void put_missing(FILE *out, const network_table *t, const report_network *n, const network_side *side)
{
    char *missing = NULL;
    size_t size, count = 0;
    FILE *names = open_memstream(&missing, &size);
    if (names == NULL) return;
    for (size_t i = 0; i < n->count; i++)
        if (report_network_row(t->data, &n->layers[i], side) == NULL)
            fprintf(names, "%s%s", count++ > 0 ? "+" : "", strchr(n->layers[i].name, ':') + 1);
    fclose(names);
    csv_put(out, count == n->count ? "all" : missing);
    free(missing);
}

/* The sum only of a side that has every layer. */
static void put_record(FILE *out, const network_table *t, const report_network *n, const network_side *side)
{
    network_sum sum = report_network_sum(t->data, n, side);
    const char *form = strchr(n->name, LAYER_FORM);
    char network[PROBLEM_NAME_MAX];
    snprintf(network, sizeof network, "%.*s", (int)(form != NULL ? form - n->name : (long)strlen(n->name)),
             n->name);
    csv_put(out, network);
    fprintf(out, ",%s,%lld,%d,%s,%s,%s", form != NULL ? form + 1 : "own", (long long)n->mb, n->threads,
            cache_mode_name(n->cache), conv_pass_name(n->pass), side->kind);
    csv_add(out, side->name);
    fprintf(out, ",%zu,%zu,%zu", n->count, sum.layers, sum.rough);
    csv_add_number(out, "%.9g", sum.whole ? sum.time.median : NAN);
    csv_add_number(out, "%.9g", sum.whole ? sum.time.low : NAN);
    csv_add_number(out, "%.9g", sum.whole ? sum.time.high : NAN);
    fputc(',', out);
    put_missing(out, t, n, side);
    fputc('\n', out);
}

static bool put_records(FILE *out, const void *what)
{
    const network_table *t = what;
    fputs(
        "network,form,batch,threads,cache,pass,by,name,layers,timed,unsure,median_ns,ci95_low_ns,ci95_high_ns,"
        "missing\n",
        out);
    for (size_t i = 0; i < t->all.count; i++)
        for (int s = 0; s < t->side_count; s++) put_record(out, t, &t->all.items[i], &t->sides[s]);
    return t->all.count > 0;
}

bool report_networks_write(const report_data *data, const char *dir, conv_error *err)
{
    network_table t;
    if (!open_table(&t, data)) return conv_fail(err, CONV_NO_MEMORY, "out of memory"), false;
    bool fine = output_put(dir, "networks.csv", put_records, &t, err);
    report_networks_destroy(&t.all);
    return fine;
}
