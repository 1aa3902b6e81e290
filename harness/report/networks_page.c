/* Networks on the page: a picture and a table of what each side takes for all convolutions, in both forms, and
 * the layers one by one. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "../../kernels/problem.h"
#include "../layer.h"
#include "page.h"

typedef struct {
    const report_data *data;
    const report_networks *all;
    size_t first; /* the network's first pass */
    network_side sides[NETWORK_SIDES];
    int side_count;
} network_page;

/* The i-th if it is a pass of the network in its own form, else NULL. */
static const report_network *pass_of(const network_page *p, size_t i)
{
    const report_network *n = &p->all->items[i];
    return report_same_network(n, &p->all->items[p->first]) ? n : NULL;
}

/* ---- the picture: of each side a bar for the network, and one for its other form */

enum { WIDTH = 440, LABELS = 110, VALUES = 124, ROW = 30, HEAD = 40, BAR = 11, LEAST_ROWS = 6 };

typedef struct {
    const char *name;
    network_sum own, other;
} bars;

/* Those sides that have a layer of either form. */
static int list_bars(const network_page *p, const report_network *n, const report_network *other, bars *list)
{
    int count = 0;
    for (int i = 0; i < p->side_count; i++) {
        const network_side *side = &p->sides[i];
        bars b = {side->name, report_network_sum(p->data, n, side), report_network_sum(p->data, other, side)};
        if (side->impl < 0 && b.own.layers + b.other.layers > 0) list[count++] = b;
    }
    return count;
}

/* A sum that lacks layers has no bar. */
static void put_bar(FILE *out, const report_network *n, const network_sum *sum, double most, int y,
                    const char *color)
{
    char text[24];
    double width = sum->whole ? (WIDTH - LABELS - VALUES) * sum->time.median / most : 0;
    fprintf(
        out,
        "<rect x=\"%d\" y=\"%d\" width=\"%.1f\" height=\"%d\" fill=\"var(%s)\"%s/><text x=\"%.1f\" y=\"%d\">",
        LABELS, y, width, BAR, color, sum->rough > 0 ? " opacity=\"0.5\"" : "", LABELS + width + 5, y + 10);
    if (sum->whole)
        fputs(report_time(sum->time.median, text), out);
    else
        fprintf(out, "%zu of %zu layers lack", n->count - sum->layers, n->count);
    fputs("</text>\n", out);
}

static void put_picture(FILE *out, const network_page *p, const report_network *n, const report_network *other)
{
    bars list[NETWORK_SIDES];
    const int rows = list_bars(p, n, other, list);
    double most = 0;
    for (int i = 0; i < rows; i++) {
        if (list[i].own.whole) most = fmax(most, list[i].own.time.median);
        if (list[i].other.whole) most = fmax(most, list[i].other.time.median);
    }
    fprintf(out, "<figure><svg viewBox=\"0 0 %d %d\" role=\"img\" aria-label=\"", WIDTH,
            HEAD + ROW * (rows < LEAST_ROWS ? LEAST_ROWS : rows));
    report_escape(out, n->name);
    fprintf(out, " %s\" font-size=\"12\" fill=\"var(--ink)\">\n<text x=\"0\" y=\"14\" font-weight=\"600\">",
            conv_pass_name(n->pass));
    report_escape(out, n->name);
    fprintf(
        out,
        ", %s: all convolutions</text>\n<text x=\"0\" y=\"30\" fill=\"var(--muted)\">grey: with %s</text>\n",
        conv_pass_name(n->pass), report_form_words(other));
    for (int i = 0, y = HEAD; i < rows; i++, y += ROW) {
        fprintf(out, "<text x=\"%d\" y=\"%d\" text-anchor=\"end\">", LABELS - 6, y + 15);
        report_escape(out, list[i].name);
        fputs("</text>\n", out);
        put_bar(out, n, &list[i].own, most, y, "--forward");
        put_bar(out, other, &list[i].other, most, y + BAR + 2, "--axis");
    }
    fputs("</svg></figure>\n", out);
}

static void put_pictures(FILE *out, const network_page *p)
{
    fputs("<div class=\"plots\">\n", out);
    for (size_t i = p->first; i < p->all->count; i++) {
        const report_network *n = pass_of(p, i), *other = n != NULL ? report_other_form(p->all, n) : NULL;
        if (other != NULL && n->pass <= CONV_BACKWARD) put_picture(out, p, n, other);
    }
    fputs("</div>\n", out);
}

/* ---- the table */

/* A part is no sum: which layers lack a time stands in its place. */
static void put_part(FILE *out, const network_page *p, const report_network *n, const network_side *side)
{
    network_sum sum = report_network_sum(p->data, n, side);
    char *names = sum.layers > 0 ? report_network_lacking(p->data, n, side, false) : NULL;
    fputs("<td class=\"even\">&ndash;", out);
    if (names != NULL) {
        fprintf(out, "<small>%zu of %zu layers lack a time: ", n->count - sum.layers, n->count);
        report_put(out, "", names, "</small>");
    }
    fputs("</td>", out);
    free(names);
}

/* than: the same sum of the network in its own form, or NULL. */
static void put_sum(FILE *out, const network_sum *sum, const network_sum *than)
{
    char text[24];
    bool sure = sum->rough == 0;
    fprintf(out, "<td%s>%s<small>", sure ? "" : " class=\"even\"", report_time(sum->time.median, text));
    if (sure) {
        page_interval(out, &sum->time);
        fputs("<br>", out);
    }
    if (than != NULL && than->whole && sure) {
        rule_ratio r = rule_compare(than->time, sum->time);
        if (rule_determined(r.outcome)) fprintf(out, "%.2f&times; as fast<br>", r.value);
    }
    fprintf(out, "%s GFLOP/s", report_number(sum->flops / sum->time.median, (char[16]){0}));
    if (sum->rough > 0) fprintf(out, "<br>%zu without an interval", sum->rough);
    fputs("</small></td>", out);
}

static void put_cell(FILE *out, const network_page *p, const report_network *n, const network_side *side,
                     const network_sum *than)
{
    network_sum sum = report_network_sum(p->data, n, side);
    if (sum.whole)
        put_sum(out, &sum, than);
    else
        put_part(out, p, n, side);
}

static void put_side(FILE *out, const network_page *p, const network_side *side)
{
    char *cells = NULL;
    size_t size, any = 0;
    FILE *row = open_memstream(&cells, &size);
    if (row == NULL) return;
    for (size_t i = p->first; i < p->all->count; i++) {
        const report_network *n = pass_of(p, i), *other = n != NULL ? report_other_form(p->all, n) : NULL;
        if (n == NULL) continue;
        network_sum sum = report_network_sum(p->data, n, side);
        put_cell(row, p, n, side, NULL);
        any += sum.layers;
        if (other == NULL) continue;
        put_cell(row, p, other, side, &sum);
        any += report_network_sum(p->data, other, side).layers;
    }
    fclose(row);
    if (any > 0) {
        bool one = side->impl >= 0 || side->filter.ours == side->filter.peers; /* or the best of all */
        report_put(out, one ? "<tr><td>" : "<tr><td>best of ", side->name, "</td>");
        fprintf(out, "%s</tr>\n", cells);
    }
    free(cells);
}

static void put_layers(FILE *out, const network_page *p, const report_network *n)
{
    const network_sum sum = report_network_sum(p->data, n, &p->sides[NETWORK_BEST]);
    char text[PROBLEM_STRING_MAX], name[PROBLEM_NAME_MAX];
    report_put(out, "<details><summary>Layers, ", report_network_name(n, name, sizeof name), ", ");
    fprintf(
        out,
        "%s</summary>\n<div class=\"scroll\"><table><thead><tr><th>Layer</th>"
        "<th class=\"text\">Problem</th><th>Times</th><th>Best exact</th><th>Share</th></tr></thead><tbody>\n",
        conv_pass_name(n->pass));
    for (size_t i = 0; i < n->count; i++) {
        const network_layer *l = &n->layers[i];
        report_put(out, "<tr><td>", strchr(l->name, ':') + 1, "</td><td class=\"text\">");
        if (l->row != NULL) {
            fprintf(out, "%s<small><code>", conv_variant_name(l->row->problem.variant));
            report_escape(out, problem_format(&l->row->problem, text));
            fputs("</code></small>", out);
        } else {
            fputs("not in this run", out);
        }
        fprintf(out, "</td><td>%d</td>", l->times);
        page_time_cell(out, l->best);
        if (sum.whole)
            fprintf(out, "<td>%.1f%%</td></tr>\n", 100 * l->times * l->best->median_ns / sum.time.median);
        else
            fputs("<td>&ndash;</td></tr>\n", out);
    }
    fputs("</tbody></table></div></details>\n", out);
}

static void put_network(FILE *out, const network_page *p)
{
    const report_network *first = &p->all->items[p->first], *other;
    report_put(out, "<h3>", first->name, "");
    fprintf(out, " <small>batch %lld, %d thread%s%s</small></h3>\n", (long long)first->mb, first->threads,
            first->threads == 1 ? "" : "s", first->cache == CACHE_COLD ? ", cold cache" : "");
    put_pictures(out, p);
    fputs("<div class=\"scroll\"><table><thead><tr><th>Sum of all layers</th>", out);
    for (size_t i = p->first; i < p->all->count; i++) {
        if (pass_of(p, i) == NULL) continue;
        report_put(out, "<th>", conv_pass_name(p->all->items[i].pass), "</th>");
        if ((other = report_other_form(p->all, &p->all->items[i])) == NULL) continue;
        report_put(out, "<th>", strchr(other->name, LAYER_FORM) + 1, " instead</th>");
    }
    fputs("</tr></thead><tbody>\n", out);
    for (int i = 0; i < p->side_count; i++) put_side(out, p, &p->sides[i]);
    fputs("</tbody></table></div>\n", out);
    for (size_t i = p->first; i < p->all->count; i++) {
        const report_network *n = pass_of(p, i);
        if (n != NULL) put_layers(out, p, n);
        if (n != NULL && (other = report_other_form(p->all, n)) != NULL) put_layers(out, p, other);
    }
}

/* Of its table: another form stands in its network's, if the run has that. */
static bool begins(const report_networks *all, size_t i)
{
    for (size_t j = 0; j < all->count; j++)
        if (report_other_form(all, &all->items[j]) == &all->items[i]) return false;
    return report_is_first(all, i);
}

void page_networks(FILE *out, const report_page *page)
{
    report_networks all;
    if (!report_networks_create(page->data, &all)) return;
    network_page p = {.data = page->data, .all = &all};
    p.side_count = report_network_sides(page->data, p.sides);
    if (all.count > 0)
        fputs(
            "<section id=\"networks\">\n<h2>Networks</h2>\n<p class=\"note\">Convolution layers only, each as "
            "often as the network has it. Where one has no time there is no sum. In its other form a network "
            "has ordinary convolutions in place of its separable ones, or, where it has none of "
            "these, the reverse. Pale bars: a layer is not sure.</p>\n",
            out);
    for (p.first = 0; p.first < all.count; p.first++)
        if (begins(&all, p.first)) put_network(out, &p);
    if (all.count > 0) fputs("</section>\n", out);
    report_networks_destroy(&all);
}
