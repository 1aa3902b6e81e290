/* What networks cost, in words: the sum of their convolutions, and the share that depthwise layers have of it. */
#include <stdlib.h>
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

/* "resnet50 forward (2 of 20 layers have no time, 5 no sure one)" */
static void put_unknown(FILE *out, const report_network *n, const network_sum *sum)
{
    size_t missing = n->count - sum->layers;
    fprintf(out, "%s %s (", n->name, conv_pass_name(n->pass));
    if (missing > 0)
        fprintf(out, "%zu of %zu layers have no time", missing, n->count);
    else if (sum->rough > 0)
        fprintf(out, "%zu of %zu layers have no sure time", sum->rough, n->count);
    else
        fputs(rule_reason(RATIO_BUSY), out);
    if (missing > 0 && sum->rough > 0) fprintf(out, ", %zu no sure one", sum->rough);
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
static char *tell_passes(const report_networks *all, verdict *v, int *passes)
{
    char *text = NULL;
    size_t size;
    FILE *out = open_memstream(&text, &size);
    int unknown = 0;
    for (size_t i = 0; out != NULL && i < all->count; i++) {
        const report_network *n = &all->items[i];
        network_sum sum = report_network_sum(n, -1);
        if (n->pass > CONV_BACKWARD) continue;
        ++*passes;
        if (is_whole(n, &sum)) {
            put_depthwise(n, &sum, v);
        } else {
            if (unknown++ > 0) fputs("; ", out);
            put_unknown(out, n, &sum);
        }
    }
    if (out != NULL) fclose(out);
    return text;
}

void verdict_networks(const report_data *data, verdict *v)
{
    report_networks all;
    int passes = 0;
    if (!report_networks_create(data, &all)) return;
    char *unknown = tell_passes(&all, v, &passes), *costs = passes > 0 ? headline(&all) : NULL;
    if (unknown != NULL && *unknown != 0) verdict_line(v, "Not determined: %s.", unknown);
    if (v->headline != NULL)
        verdict_add(&v->lines, &v->count, costs);
    else if (passes > 0)
        v->headline =
            costs != NULL
                ? costs
                : strdup("This run does not say what the networks cost: layers of each have no sure time.");
    free(unknown);
    report_networks_destroy(&all);
}
