/* Networks: layers found by their names, summed with their multiplicity. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "../../kernels/problem.h"
#include "../grow.h"
#include "page.h"

/* ---- collecting */

static report_network *network_of(report_networks *networks, const record_row *row, const char *layer)
{
    size_t length = strcspn(layer, ":");
    for (size_t i = 0; i < networks->count; i++) {
        report_network *n = &networks->items[i];
        if (strlen(n->name) == length && strncmp(n->name, layer, length) == 0 && n->pass == row->pass &&
            n->threads == row->threads && n->cache == row->cache && n->mb == row->problem.mb)
            return n;
    }
    report_network *n = grow(&networks->items, &networks->count, sizeof *n);
    if (n == NULL) return NULL;
    *n = (report_network){
        .threads = row->threads, .cache = row->cache, .mb = row->problem.mb, .pass = row->pass};
    memcpy(n->name, layer, length);
    return n;
}

static int multiplicity(const char *layer)
{
    const char *star = strrchr(layer, '*');
    long times = star != NULL ? strtol(star + 1, NULL, 10) : 1;
    return times > 0 && times < 100000 ? (int)times : 1;
}

static network_layer *layer_of(report_network *n, const record_row *row, const char *name)
{
    for (size_t i = 0; i < n->count; i++)
        if (strcmp(n->layers[i].name, name) == 0 && n->layers[i].row->problem.variant == row->problem.variant)
            return &n->layers[i];
    network_layer *layer = grow(&n->layers, &n->count, sizeof *layer);
    if (layer == NULL) return NULL;
    *layer = (network_layer){.row = row, .times = multiplicity(name)};
    snprintf(layer->name, sizeof layer->name, "%s", name);
    return layer;
}

static bool add_layer(report_networks *networks, const report_data *data, const record_row *row,
                      const char *name)
{
    if (strchr(name, ':') == NULL) return true; /* a name, but of no network */
    report_network *n = network_of(networks, row, name);
    network_layer *layer = n != NULL ? layer_of(n, row, name) : NULL;
    if (layer == NULL) return false;
    if (row->status != CASE_OK) return true;
    int impl = report_impl_index(data, row->impl);
    layer->by_impl[impl] = row;
    if (!data->impls[impl].inexact && record_faster(row, layer->best)) layer->best = row;
    return true;
}

bool report_networks_create(const report_data *data, report_networks *networks)
{
    *networks = (report_networks){0};
    for (size_t i = 0; i < data->run->count; i++) {
        char names[sizeof data->run->rows->layer], *rest = names, *name;
        memcpy(names, data->run->rows[i].layer, sizeof names);
        while ((name = strsep(&rest, "+")) != NULL)
            if (!add_layer(networks, data, &data->run->rows[i], name)) {
                report_networks_destroy(networks);
                return false;
            }
    }
    return true;
}

void report_networks_destroy(report_networks *networks)
{
    for (size_t i = 0; i < networks->count; i++) free(networks->items[i].layers);
    free(networks->items);
    *networks = (report_networks){0};
}

network_sum report_network_sum(const report_network *n, int impl)
{
    network_sum sum = {0};
    for (size_t i = 0; i < n->count; i++) {
        const record_row *row = impl < 0 ? n->layers[i].best : n->layers[i].by_impl[impl];
        if (row == NULL) continue;
        rule_time time = rule_time_of(row);
        bool shown = rule_shown(&time);
        sum.time.median += n->layers[i].times * time.median;
        sum.time.low += shown ? n->layers[i].times * time.low : NAN;
        sum.time.high += shown ? n->layers[i].times * time.high : NAN;
        sum.flops += n->layers[i].times * (double)conv_flops(&row->problem, row->pass);
        sum.layers++;
        sum.rough += !shown;
    }
    return sum;
}

/* ---- the section */

static void put_sum(FILE *out, const report_network *n, int impl)
{
    network_sum sum = report_network_sum(n, impl);
    char text[24];
    if (sum.layers == 0) {
        fputs("<td>&ndash;</td>", out);
        return;
    }
    bool whole = sum.layers == n->count;
    fprintf(out, "<td%s>%s<small>", whole && sum.rough == 0 ? "" : " class=\"even\"",
            report_time(sum.time.median, text));
    if (whole && sum.rough == 0) {
        page_interval(out, &sum.time);
        fputs("<br>", out);
    }
    fprintf(out, "%s GFLOP/s", report_number(sum.flops / sum.time.median, (char[16]){0}));
    if (!whole) fprintf(out, "<br>only %zu of %zu layers", sum.layers, n->count);
    if (sum.rough > 0) fprintf(out, "<br>%zu without an interval", sum.rough);
    fputs("</small></td>", out);
}

static bool same_table(const report_network *a, const report_network *b)
{
    return strcmp(a->name, b->name) == 0 && a->threads == b->threads && a->cache == b->cache && a->mb == b->mb;
}

static void put_layers(FILE *out, const report_network *n)
{
    double whole = report_network_sum(n, -1).time.median;
    char text[PROBLEM_STRING_MAX];
    fprintf(
        out,
        "<details><summary>Layers, %s</summary>\n<div class=\"scroll\"><table><thead><tr><th>Layer</th>"
        "<th class=\"text\">Problem</th><th>Times</th><th>Best exact</th><th>Share</th></tr></thead><tbody>\n",
        conv_pass_name(n->pass));
    for (size_t i = 0; i < n->count; i++) {
        const network_layer *l = &n->layers[i];
        fputs("<tr><td>", out);
        report_escape(out, strchr(l->name, ':') + 1);
        fprintf(out, "</td><td class=\"text\">%s<small><code>", conv_variant_name(l->row->problem.variant));
        report_escape(out, problem_format(&l->row->problem, text));
        fprintf(out, "</code></small></td><td>%d</td>", l->times);
        page_time_cell(out, l->best);
        if (l->best != NULL)
            fprintf(out, "<td>%.1f%%</td></tr>\n", 100 * l->times * l->best->median_ns / whole);
        else
            fputs("<td>&ndash;</td></tr>\n", out);
    }
    fputs("</tbody></table></div></details>\n", out);
}

static void put_network(FILE *out, const report_data *data, const report_networks *all, size_t first)
{
    const report_network *n = &all->items[first];
    fputs("<h3>", out);
    report_escape(out, n->name);
    fprintf(out,
            " <small>batch %lld, %d thread%s%s</small></h3>\n<div class=\"scroll\"><table><thead><tr><th>Sum "
            "of all layers</th>",
            (long long)n->mb, n->threads, n->threads == 1 ? "" : "s",
            n->cache == CACHE_COLD ? ", cold cache" : "");
    for (size_t i = first; i < all->count; i++)
        if (same_table(n, &all->items[i])) fprintf(out, "<th>%s</th>", conv_pass_name(all->items[i].pass));
    fputs("</tr></thead><tbody>\n", out);
    for (int impl = -1; impl < data->impl_count; impl++) {
        size_t any = 0;
        for (size_t i = first; i < all->count; i++)
            if (same_table(n, &all->items[i])) any += report_network_sum(&all->items[i], impl).layers;
        if (any == 0) continue;
        report_put(out, "<tr><td>", impl < 0 ? "best exact of each layer" : data->impls[impl].name, "</td>");
        for (size_t i = first; i < all->count; i++)
            if (same_table(n, &all->items[i])) put_sum(out, &all->items[i], impl);
        fputs("</tr>\n", out);
    }
    fputs("</tbody></table></div>\n", out);
    for (size_t i = first; i < all->count; i++)
        if (same_table(n, &all->items[i])) put_layers(out, &all->items[i]);
}

void page_networks(FILE *out, const report_page *page)
{
    report_networks all;
    if (!report_networks_create(page->data, &all)) return;
    if (all.count > 0)
        fputs(
            "<section id=\"networks\">\n<h2>Networks</h2>\n<p class=\"note\">Convolution layers only, each as "
            "often as the network has it. A sum that lacks layers is not comparable with a whole one.</p>\n",
            out);
    for (size_t i = 0; i < all.count; i++) {
        bool seen = false;
        for (size_t j = 0; j < i; j++) seen = seen || same_table(&all.items[i], &all.items[j]);
        if (!seen) put_network(out, page->data, &all, i);
    }
    if (all.count > 0) fputs("</section>\n", out);
    report_networks_destroy(&all);
}
