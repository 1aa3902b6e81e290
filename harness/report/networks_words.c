/* What networks cost, in words: the sum of their convolutions, and the share that depthwise layers have of it. */
#include <stdlib.h>
#include <string.h>

#include "verdict.h"

enum { MOST_NAMED = 4 }; /* sums that one sentence may hold */

typedef struct {
    const report_data *data;
    report_networks all;
    network_side best;
} told;

static network_sum sum_of(const told *t, const report_network *n)
{
    return report_network_sum(t->data, n, &t->best);
}

static bool is_sure(const network_sum *sum) { return sum->whole && rule_shown(&sum->time); }

/* "40.1 ms forward and 95.2 ms backward": the passes of a network that are known. */
static int put_costs(FILE *out, const told *t, const report_network *n)
{
    int named = 0;
    for (size_t i = 0; i < t->all.count; i++) {
        const report_network *pass = &t->all.items[i];
        char time[24];
        if (!report_same_network(n, pass) || pass->pass > CONV_BACKWARD) continue;
        network_sum sum = sum_of(t, pass);
        if (!is_sure(&sum)) continue;
        fprintf(out, "%s%s %s", named++ > 0 ? " and " : "", report_time(sum.time.median, time),
                conv_pass_name(pass->pass));
    }
    return named;
}

/* "120 ms forward, 0.33 times as fast, and ...": of the other form, where both are known. */
static int put_others(FILE *out, const told *t, const report_network *n)
{
    int named = 0;
    for (size_t i = 0; i < t->all.count; i++) {
        const report_network *pass = &t->all.items[i], *other = report_other_form(&t->all, pass);
        char time[24], times[16];
        if (!report_same_network(n, pass) || pass->pass > CONV_BACKWARD || other == NULL) continue;
        network_sum own = sum_of(t, pass), theirs = sum_of(t, other);
        if (!is_sure(&own) || !is_sure(&theirs)) continue;
        rule_ratio r = rule_compare(own.time, theirs.time);
        fprintf(out, "%s%s %s, ", named++ > 0 ? ", and " : "", report_time(theirs.time.median, time),
                conv_pass_name(pass->pass));
        if (!rule_determined(r.outcome))
            fputs(rule_reason(r.outcome), out);
        else if (r.outcome == RATIO_SAME)
            fputs("no measurable difference", out);
        else
            fprintf(out, "%s times as fast", verdict_times(r.value, times));
    }
    return named;
}

/* "resnet50's convolutions take 40.1 ms forward; with separable convolutions in place of its ordinary ones they
 * would take 20.0 ms forward, 2.0 times as fast." NULL: one of the two is not known. */
static char *tell_form(const told *t, const report_network *n)
{
    char *text = NULL;
    size_t size;
    const report_network *other = NULL;
    for (size_t i = 0; i < t->all.count && other == NULL; i++)
        if (report_same_network(n, &t->all.items[i])) other = report_other_form(&t->all, &t->all.items[i]);
    if (other != NULL && report_is_swapped(other)) return NULL; /* the advice tells */
    FILE *out = other != NULL ? open_memstream(&text, &size) : NULL;
    if (out == NULL) return NULL;
    fprintf(out, "%s's convolutions take ", n->name);
    int known = put_costs(out, t, n);
    fprintf(out, "; with %s they would take ", report_form_words(other));
    known = known > 0 ? put_others(out, t, n) : 0;
    fputs(", each layer by its best exact implementation.", out);
    fclose(out);
    if (known > 0) return text;
    free(text);
    return NULL;
}

/* "All convolutions together: ..."; NULL: none is known. */
static char *tell_costs(const told *t)
{
    char *text = NULL;
    size_t size;
    FILE *out = open_memstream(&text, &size);
    if (out == NULL) return NULL;
    int named = 0;
    for (size_t i = 0; i < t->all.count && named < MOST_NAMED; i++) {
        const report_network *n = &t->all.items[i];
        char *costs = NULL;
        size_t length;
        FILE *one =
            report_is_first(&t->all, i) && !report_is_other_form(n) ? open_memstream(&costs, &length) : NULL;
        if (one == NULL) continue;
        int known = put_costs(one, t, n);
        fclose(one);
        if (known > 0)
            fprintf(out, "%s%s's %s", named++ > 0 ? "; " : "All convolutions together: ", n->name, costs);
        free(costs);
    }
    fputs(", each layer by its best exact implementation.", out);
    fclose(out);
    if (named > 0) return text;
    free(text);
    return NULL;
}

/* ": conv1, conv2 and 3 more": layers without a time, or without a sure one. */
static void put_layers(FILE *out, const told *t, const report_network *n, bool timed)
{
    char *names = report_network_lacking(t->data, n, &t->best, timed);
    fprintf(out, ": %s", names != NULL ? names : "");
    free(names);
}

/* "resnet50 forward (2 of 20 layers have no time: res2, res3; 1 no sure one: res5)" */
static void put_unknown(FILE *out, const told *t, const report_network *n, const network_sum *sum)
{
    size_t missing = n->count - sum->layers;
    char name[PROBLEM_NAME_MAX];
    fprintf(out, "%s %s (", report_network_name(n, name, sizeof name), conv_pass_name(n->pass));
    if (missing > 0) {
        fprintf(out, "%zu of %zu layers have no time", missing, n->count);
        put_layers(out, t, n, false);
    } else if (sum->rough > 0) {
        fprintf(out, "%zu of %zu layers have no sure time", sum->rough, n->count);
        put_layers(out, t, n, true);
    } else {
        fputs(rule_reason(RATIO_BUSY), out);
    }
    if (missing > 0 && sum->rough > 0) {
        fprintf(out, "; %zu no sure one", sum->rough);
        put_layers(out, t, n, true);
    }
    fputc(')', out);
}

/* Depthwise layers multiply little; what they take all the same is what a sum does not show. */
static void put_depthwise(const report_network *n, const network_sum *sum, verdict *v)
{
    double ns = 0, flops = 0;
    for (size_t i = 0; i < n->count; i++) {
        const network_layer *l = &n->layers[i];
        if (l->row->problem.variant != CONV_DEPTHWISE) continue;
        ns += l->times * l->best->median_ns;
        flops += l->times * (double)conv_flops(&l->row->problem, n->pass);
    }
    if (flops > 0)
        verdict_line(v, "%s %s: depthwise layers have %.0f%% of the arithmetic and take %.0f%% of the time.",
                     n->name, conv_pass_name(n->pass), 100 * flops / sum->flops, 100 * ns / sum->time.median);
}

/* Of the passes; the page has backward's parts. Returns what is not determined, malloced, "" when all is. */
static char *tell_passes(const told *t, verdict *v, int *passes)
{
    char *text = NULL;
    size_t size;
    FILE *out = open_memstream(&text, &size);
    int unknown = 0;
    for (size_t i = 0; out != NULL && i < t->all.count; i++) {
        const report_network *n = &t->all.items[i];
        network_sum sum = sum_of(t, n);
        if (n->pass > CONV_BACKWARD) continue;
        ++*passes;
        if (is_sure(&sum)) {
            put_depthwise(n, &sum, v);
        } else {
            if (unknown++ > 0) fputs("; ", out);
            put_unknown(out, t, n, &sum);
        }
    }
    if (out != NULL) fclose(out);
    return text;
}

/* What the network of one run costs in both forms answers the title by itself; of several, a sentence each. */
static void tell_forms(const told *t, verdict *v, char **headline)
{
    int networks = 0;
    for (size_t i = 0; i < t->all.count; i++)
        networks += report_is_first(&t->all, i) && !report_is_other_form(&t->all.items[i]);
    for (size_t i = 0; i < t->all.count; i++) {
        char *text = report_is_first(&t->all, i) ? tell_form(t, &t->all.items[i]) : NULL;
        if (networks == 1 && text != NULL) {
            free(*headline);
            *headline = text;
        } else {
            verdict_add(&v->lines, &v->count, text);
        }
    }
}

void verdict_networks(const report_data *data, verdict *v)
{
    told t = {.data = data};
    network_side sides[NETWORK_SIDES];
    int passes = 0;
    if (!report_networks_create(data, &t.all)) return;
    report_network_sides(data, sides);
    t.best = sides[NETWORK_BEST];
    char *unknown = tell_passes(&t, v, &passes), *costs = passes > 0 ? tell_costs(&t) : NULL;
    tell_forms(&t, v, &costs);
    if (unknown != NULL && *unknown != 0) verdict_line(v, "Not determined: %s.", unknown);
    if (v->headline != NULL)
        verdict_add(&v->lines, &v->count, costs);
    else if (passes > 0)
        v->headline =
            costs != NULL
                ? costs
                : strdup("This run does not say what the networks cost: layers of each have no sure time.");
    free(unknown);
    report_networks_destroy(&t.all);
}
