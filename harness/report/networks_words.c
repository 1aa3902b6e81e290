/* What networks cost, in words: the sum of their convolutions, and the share that depthwise layers have of it. */
#include <math.h>
#include <string.h>

#include "verdict.h"

enum { MOST_NAMED = 4 }; /* sums that one sentence may hold */

static bool is_whole(const report_network *n, const network_sum *sum)
{
    return sum->layers == n->count && rule_shown(&sum->time);
}

static bool same_network(const report_network *a, const report_network *b)
{
    return strcmp(a->name, b->name) == 0 && a->threads == b->threads && a->cache == b->cache && a->mb == b->mb;
}

/* "resnet50's 40.1 ms forward and 95.2 ms backward": the passes of a network that are known. */
static int put_costs(FILE *out, const report_networks *all, size_t first)
{
    const report_network *n = &all->items[first];
    int named = 0;
    for (size_t i = first; i < all->count; i++) {
        const report_network *pass = &all->items[i];
        network_sum sum = report_network_sum(pass, -1);
        char time[24];
        if (!same_network(n, pass) || pass->pass > CONV_BACKWARD || !is_whole(pass, &sum)) continue;
        if (named++ == 0)
            fprintf(out, "%s's", n->name);
        else
            fputs(" and", out);
        fprintf(out, " %s %s", report_time(sum.time.median, time), conv_pass_name(pass->pass));
    }
    return named;
}

static bool is_first(const report_networks *all, size_t i)
{
    for (size_t j = 0; j < i; j++)
        if (same_network(&all->items[i], &all->items[j])) return false;
    return true;
}

static char *headline(const report_networks *all)
{
    char *text = NULL;
    size_t size;
    FILE *out = open_memstream(&text, &size);
    if (out == NULL) return NULL;
    int named = 0;
    for (size_t i = 0; i < all->count && named < MOST_NAMED; i++) {
        char *costs = NULL;
        size_t length;
        FILE *one = is_first(all, i) ? open_memstream(&costs, &length) : NULL;
        if (one == NULL) continue;
        int known = put_costs(one, all, i);
        fclose(one);
        if (known > 0) fprintf(out, "%s%s", named++ > 0 ? "; " : "All convolutions together: ", costs);
        free(costs);
    }
    fputs(", each layer by its best exact implementation.", out);
    fclose(out);
    if (named > 0) return text;
    free(text);
    return NULL;
}

static void put_unknown(const report_network *n, const network_sum *sum, verdict *v)
{
    size_t missing = n->count - sum->layers;
    char why[96] = "";
    if (missing > 0) snprintf(why, sizeof why, "%zu of %zu layers have no time", missing, n->count);
    size_t used = strlen(why);
    if (sum->rough > 0)
        snprintf(why + used, sizeof why - used, "%s%zu%s no interval", used > 0 ? " and " : "", sum->rough,
                 used > 0          ? " have"
                 : sum->rough == 1 ? " layer has"
                                   : " layers have");
    if (*why == 0) snprintf(why, sizeof why, "the machine was busy");
    verdict_line(v, "%s %s, batch %lld, is not determined: %s.", n->name, conv_pass_name(n->pass),
                 (long long)n->mb, why);
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

void verdict_networks(const report_data *data, verdict *v)
{
    report_networks all;
    if (!report_networks_create(data, &all)) return;
    bool any = false;
    for (size_t i = 0; i < all.count; i++) {
        network_sum sum = report_network_sum(&all.items[i], -1);
        if (all.items[i].pass > CONV_BACKWARD) continue; /* the page has the parts */
        any = true;
        if (is_whole(&all.items[i], &sum))
            put_depthwise(&all.items[i], &sum, v);
        else
            put_unknown(&all.items[i], &sum, v);
    }
    char *costs = any ? headline(&all) : NULL;
    if (v->headline != NULL)
        verdict_add(&v->lines, &v->count, costs);
    else if (any)
        v->headline =
            costs != NULL
                ? costs
                : strdup(
                      "This run does not say what the networks cost: parts of them have no time that is sure.");
    report_networks_destroy(&all);
}
