/* Networks: layers found by their names, summed with their multiplicity. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "../grow.h"
#include "../layer.h"
#include "../text.h"
#include "report.h"

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

static network_layer *layer_of(report_network *n, const record_row *row, const char *name)
{
    for (size_t i = 0; i < n->count; i++)
        if (strcmp(n->layers[i].name, name) == 0 && n->layers[i].row->problem.variant == row->problem.variant)
            return &n->layers[i];
    network_layer *layer = grow(&n->layers, &n->count, sizeof *layer);
    if (layer == NULL) return NULL;
    *layer = (network_layer){.row = row, .times = layer_times(name)};
    snprintf(layer->name, sizeof layer->name, "%s", name);
    return layer;
}

static bool add_layer(report_networks *networks, const report_data *data, const record_row *row,
                      const char *name)
{
    if (!layer_in_network(name)) return true;
    report_network *n = network_of(networks, row, name);
    network_layer *layer = n != NULL ? layer_of(n, row, name) : NULL;
    if (layer == NULL) return false;
    if (row->status != CASE_OK) return true;
    int impl = report_impl_index(data, row->impl);
    layer->by_impl[impl] = row;
    if (!data->impls[impl].inexact && !data->impls[impl].study && record_faster(row, layer->best))
        layer->best = row;
    return true;
}

static bool has_layer(const report_network *n, const char *name)
{
    for (size_t i = 0; i < n->count; i++)
        if (strcmp(n->layers[i].name, name) == 0) return true;
    return false;
}

/* Layers that the network has and the run no row of: an option left them out, or it was stopped. */
static bool add_left_out(const report_data *data, report_network *n)
{
    const json_t *names = json_object_get(json_object_get(data->run->run, "networks"), n->name);
    for (size_t i = 0; i < json_array_size(names); i++) {
        const char *text = json_string_value(json_array_get(names, i));
        network_layer layer = {.times = text != NULL ? layer_times(text) : 0}, *added;
        if (text == NULL || !text_is_label(text) ||
            snprintf(layer.name, sizeof layer.name, "%s:%s", n->name, text) >= (int)sizeof layer.name ||
            has_layer(n, layer.name))
            continue;
        if ((added = grow(&n->layers, &n->count, sizeof *added)) == NULL) return false;
        *added = layer;
    }
    return true;
}

bool report_networks_create(const report_data *data, report_networks *networks)
{
    *networks = (report_networks){0};
    bool fine = true;
    for (size_t i = 0; i < data->run->count; i++) {
        char names[sizeof data->run->rows->layer], *rest = names, *name;
        memcpy(names, data->run->rows[i].layer, sizeof names);
        while (fine && (name = strsep(&rest, "+")) != NULL)
            fine = add_layer(networks, data, &data->run->rows[i], name);
    }
    for (size_t i = 0; i < networks->count; i++) fine = fine && add_left_out(data, &networks->items[i]);
    if (!fine) report_networks_destroy(networks);
    return fine;
}

void report_networks_destroy(report_networks *networks)
{
    for (size_t i = 0; i < networks->count; i++) free(networks->items[i].layers);
    free(networks->items);
    *networks = (report_networks){0};
}

/* ---- sums */

int report_network_sides(const report_data *data, network_side *sides)
{
    int count = 0;
    sides[count++] = (network_side){"best", "best exact", BEST_EXACT, -1};
    sides[count++] = (network_side){"ours", "sepbench", {.ours = true}, -1};
    for (int e = 0; e < data->engine_count; e++)
        sides[count++] =
            (network_side){"engine", data->engines[e], {.peers = true, .engine = data->engines[e]}, -1};
    for (int i = 0; i < data->impl_count; i++)
        sides[count++] = (network_side){"implementation", data->impls[i].name, BEST_EXACT, i};
    return count;
}

const record_row *report_network_row(const report_data *data, const network_layer *layer,
                                     const network_side *side)
{
    const record_row *best = NULL;
    if (side->impl >= 0) return layer->by_impl[side->impl];
    for (int i = 0; i < data->impl_count; i++)
        if (layer->by_impl[i] != NULL && report_may_choose(&data->impls[i], side->filter) &&
            record_faster(layer->by_impl[i], best))
            best = layer->by_impl[i];
    return best;
}

network_sum report_network_sum(const report_data *data, const report_network *n, const network_side *side)
{
    network_sum sum = {0};
    for (size_t i = 0; i < n->count; i++) {
        const record_row *row = report_network_row(data, &n->layers[i], side);
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
    sum.whole = sum.layers == n->count;
    return sum;
}

char *report_network_lacking(const report_data *data, const report_network *n, const network_side *side,
                             bool timed)
{
    enum { MOST_NAMED = 3 };
    char *names = NULL;
    size_t size;
    int count = 0;
    FILE *out = open_memstream(&names, &size);
    if (out == NULL) return NULL;
    for (size_t i = 0; i < n->count; i++) {
        const record_row *row = report_network_row(data, &n->layers[i], side);
        rule_time time = row != NULL ? rule_time_of(row) : (rule_time){0};
        if ((row != NULL) != timed || (timed && rule_shown(&time))) continue;
        const char *layer = strchr(n->layers[i].name, ':') + 1;
        if (count++ < MOST_NAMED)
            fprintf(out, "%s%.*s", count > 1 ? ", " : "", (int)strcspn(layer, "*"), layer);
    }
    if (count > MOST_NAMED) fprintf(out, " and %d more", count - MOST_NAMED);
    fclose(out);
    return names;
}

/* ---- forms */

static bool same_setting(const report_network *a, const report_network *b)
{
    return a->threads == b->threads && a->cache == b->cache && a->mb == b->mb;
}

bool report_same_network(const report_network *a, const report_network *b)
{
    return strcmp(a->name, b->name) == 0 && same_setting(a, b);
}

bool report_is_first(const report_networks *all, size_t i)
{
    for (size_t j = 0; j < i; j++)
        if (report_same_network(&all->items[i], &all->items[j])) return false;
    return true;
}

bool report_is_other_form(const report_network *n) { return strchr(n->name, LAYER_FORM) != NULL; }

const report_network *report_other_form(const report_networks *all, const report_network *n)
{
    size_t length = strlen(n->name);
    for (size_t i = 0; i < all->count; i++) {
        const report_network *other = &all->items[i];
        if (strncmp(other->name, n->name, length) == 0 && other->name[length] == LAYER_FORM &&
            other->pass == n->pass && same_setting(other, n))
            return other;
    }
    return NULL;
}

static const char *form_of(const report_network *n)
{
    const char *form = strchr(n->name, LAYER_FORM);
    return form != NULL ? form + 1 : "";
}

static bool is_dense_form(const report_network *n)
{
    return strcmp(form_of(n), conv_variant_name(CONV_DENSE)) == 0;
}

bool report_is_swapped(const report_network *n) { return strcmp(form_of(n), LAYER_SWAPPED) == 0; }

const char *report_form_words(const report_network *other)
{
    return report_is_swapped(other) ? "every convolution in its other form"
           : is_dense_form(other)   ? "ordinary convolutions in place of its separable ones"
                                    : "separable convolutions in place of its ordinary ones";
}

char *report_network_name(const report_network *n, char *buffer, size_t size)
{
    const char *form = !report_is_other_form(n) ? ""
                       : report_is_swapped(n)   ? " with every convolution swapped"
                       : is_dense_form(n)       ? " with ordinary convolutions"
                                                : " with separable convolutions";
    snprintf(buffer, size, "%.*s%s", (int)strcspn(n->name, (char[]){LAYER_FORM, 0}), n->name, form);
    return buffer;
}
