/* The sections of the page of several machines. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "../report/page.h"
#include "sides.h"

void page_machines_meta(FILE *out, const report_page *page)
{
    const sides *s = page->sides;
    size_t comparisons = sides_comparisons(s, CONV_FORWARD) + sides_comparisons(s, CONV_BACKWARD);
    fprintf(out, "%d run%s &middot; %zu comparison%s of dense and separable that %s made", s->count,
            s->count == 1 ? "" : "s", comparisons, comparisons == 1 ? "" : "s",
            s->count == 1 ? "it" : "all of them");
    if (page->verdict->caution_count > 0)
        fprintf(out, " &middot; <a href=\"#cautions\">%zu thing%s to keep in mind</a>",
                page->verdict->caution_count, page->verdict->caution_count == 1 ? "" : "s");
    fputs(" &middot; <a href=\"machines.csv\">machines.csv</a> <a href=\"differences.csv\">differences.csv</a>",
          out);
}

/* ---- verdicts */

/* "3.4 to 8.0×", below it where separable is faster. */
static void put_tally(FILE *out, const sides *s, const side *m, conv_pass pass)
{
    const verdict_tally *t = &m->tally[pass];
    if (t->determined == 0) {
        fprintf(out, "<td class=\"even\">&ndash;<small>%s</small></td>",
                t->count == 0 ? "not measured" : "not determined");
        return;
    }
    fprintf(out, "<td class=\"main %s\">", t->ahead == t->determined ? "good" : t->ahead == 0 ? "bad" : "even");
    verdict_put_range(out, t->least, t->most);
    fputs("&times;<small>", out);
    verdict_put_where(out, t, (int)s->setting_count);
    if (t->count > t->determined) fprintf(out, "; %d not determined", t->count - t->determined);
    fputs("</small></td>", out);
}

static void put_verdicts(FILE *out, const sides *s)
{
    fputs("<div class=\"scroll\"><table "
          "class=\"machines\"><thead><tr><th>Machine</th><th>Forward</th><th>Backward"
          "</th><th>Threads</th><th class=\"text\">ISA</th><th class=\"text\">CPU</th></tr></thead><tbody>\n",
          out);
    for (int i = 0; i < s->count; i++) {
        const side *m = s->machines[i];
        char cpu[128], isa[32];
        report_put(out, "<tr><td>", m->label, "</td>");
        for (int pass = CONV_FORWARD; pass <= CONV_BACKWARD; pass++) put_tally(out, s, m, (conv_pass)pass);
        fprintf(out, "<td>%d</td>", m->threads);
        report_put(out, "<td class=\"text\">", sides_text(m, "isa_allowed", isa, sizeof isa), "</td>");
        report_put(out, "<td class=\"text wrap\">", sides_text(m, "cpu", cpu, sizeof cpu), "<small>run ");
        report_put(out, "", m->run.run_id, "</small></td>");
        fputs("</tr>\n", out);
    }
    fputs("</tbody></table></div>\n", out);
}

/* ---- a table of a setting and pass: channels down, machines across */

typedef void (*cell)(FILE *out, const sides *s, int machine, const sides_point *p);

static void put_speedup(FILE *out, const sides *s, int machine, const sides_point *p)
{
    report_ratio ratio;
    if (sides_speedup(s, machine, p, &ratio))
        page_ratio_cell(out, &ratio, false);
    else
        fputs("<td class=\"even\">&ndash;<small>a side has no time</small></td>", out);
}

static void put_best(FILE *out, const sides *s, int machine, const sides_point *p)
{
    static const conv_variant variants[] = {CONV_SEPARABLE, CONV_DENSE};
    fputs("<td>", out);
    for (int i = 0; i < 2; i++) {
        const record_row *row = sides_best(s, machine, p, variants[i]);
        rule_time time = row != NULL ? rule_time_of(row) : (rule_time){.median = NAN};
        char text[24];
        fputs(i == 0 ? "" : "<small>dense: ", out);
        report_escape(out, row != NULL ? row->impl : "–");
        if (row != NULL && rule_shown(&time)) fprintf(out, " %s", report_time(time.median, text));
        if (i == 1) fputs("</small>", out);
    }
    fputs("</td>", out);
}

static void put_table(FILE *out, const sides *s, const sides_setting *setting, conv_pass pass, cell put)
{
    if (!sides_has_pass(setting, pass)) return;
    fprintf(out, "<div class=\"scroll\"><table class=\"machines\"><thead><tr><th>%s</th>", page_pass(pass));
    for (int i = 0; i < s->count; i++) report_put(out, "<th>", s->machines[i]->label, "</th>");
    fputs("</tr></thead><tbody>\n", out);
    for (size_t k = 0; k < setting->count; k++) {
        if (setting->points[k].key->pass != pass) continue;
        fputs("<tr>", out);
        page_channels(out, setting->points[k].key);
        for (int i = 0; i < s->count; i++) put(out, s, i, &setting->points[k]);
        fputs("</tr>\n", out);
    }
    fputs("</tbody></table></div>\n", out);
}

static void put_pictures(FILE *out, const report_page *page, size_t setting)
{
    char name[64];
    bool any = false;
    for (int part = 0; part * SIDES_LINES < page->sides->count; part++)
        for (int pass = CONV_FORWARD; pass <= CONV_BACKWARD; pass++) {
            sides_picture((conv_pass)pass, setting, part, name);
            for (size_t i = 0; !any && i < page->plots->count; i++)
                if (strcmp(page->plots->plots[i].name, name) == 0) {
                    fputs("<div class=\"plots\">\n", out);
                    any = true;
                }
            page_figure(out, page, name);
        }
    if (any) fputs("</div>\n", out);
}

/* The first setting is open, the others are folded. */
static void put_setting(FILE *out, const report_page *page, size_t index, const char *what, bool pictures,
                        cell put)
{
    const sides_setting *setting = &page->sides->settings[index];
    char name[160];
    report_setting_name(&setting->shape, name, sizeof name);
    if (index == 0)
        report_put(out, "<p class=\"note\">", name, ".</p>\n");
    else
        report_put(out, "<details><summary>", name, "</summary>\n");
    if (pictures) put_pictures(out, page, index);
    if (index == 0) fprintf(out, "<details%s><summary>%s</summary>\n", pictures ? "" : " open", what);
    for (int pass = CONV_FORWARD; pass <= CONV_BACKWARD; pass++)
        put_table(out, page->sides, setting, (conv_pass)pass, put);
    fputs("</details>\n", out);
}

void page_machines_answer(FILE *out, const report_page *page)
{
    const sides *s = page->sides;
    fputs("<section id=\"verdicts\">\n", out);
    put_verdicts(out, s);
    fputs(
        "<p class=\"note\">How many times as fast the separable convolution is as the dense one, each by its "
        "best "
        "exact implementation on that machine: least to most over the channel counts that are determined, and "
        "where it is faster.</p>\n</section>\n<section id=\"speedups\">\n<h2>Speedup on each machine</h2>\n<p "
        "class=\"note\">Bars are 95% intervals; a gap or a dash is not determined.</p>\n",
        out);
    for (size_t i = 0; i < s->setting_count; i++)
        put_setting(out, page, i, "The figures, with their intervals", true, put_speedup);
    fputs("</section>\n", out);
}

void page_machines_best(FILE *out, const report_page *page)
{
    fputs("<section id=\"best\">\n<h2>The best implementation on each machine</h2>\n<p class=\"note\">Of the "
          "separable convolution with its time, below it of the dense one. No time: it is not sure.</p>\n",
          out);
    for (size_t i = 0; i < page->sides->setting_count; i++)
        put_setting(out, page, i, "Best by channel count", false, put_best);
    fputs("</section>\n", out);
}

/* ---- what differs */

static void put_differences(FILE *out, const sides *s, const sides_differences *d)
{
    fputs("<div class=\"scroll\"><table class=\"machines\"><thead><tr><th></th>", out);
    for (int i = 0; i < s->count; i++) report_put(out, "<th class=\"text\">", s->machines[i]->label, "</th>");
    fputs("</tr></thead><tbody>\n", out);
    for (size_t r = 0; r < d->count; r++) {
        if (!d->rows[r].differs) continue;
        report_put(out, "<tr><td>", d->rows[r].name, "</td>");
        for (int i = 0; i < s->count; i++) {
            const char *text = d->rows[r].text[i] != NULL ? d->rows[r].text[i] : "–";
            report_put(out, strlen(text) > 24 ? "<td class=\"text wrap\">" : "<td class=\"text\">", text,
                       "</td>");
        }
        fputs("</tr>\n", out);
    }
    fputs("</tbody></table></div>\n", out);
}

static void put_same(FILE *out, const sides_differences *d)
{
    fputs("<details><summary>What is the same on all</summary>\n<div class=\"scroll\"><table><tbody>\n", out);
    for (size_t r = 0; r < d->count; r++) {
        if (d->rows[r].differs) continue;
        report_put(out, "<tr><td>", d->rows[r].name, "</td>");
        report_put(out, "<td class=\"text wrap\">", d->rows[r].text[0], "</td></tr>\n");
    }
    fputs("</tbody></table></div></details>\n", out);
}

void page_machines_differences(FILE *out, const report_page *page)
{
    sides_differences d;
    bool differ = false, same = false;
    if (!sides_differences_create(page->sides, &d)) return;
    for (size_t r = 0; r < d.count; r++) {
        differ = differ || d.rows[r].differs;
        same = same || !d.rows[r].differs;
    }
    fputs("<section id=\"differences\">\n<h2>What differs between the machines</h2>\n", out);
    if (differ)
        put_differences(out, page->sides, &d);
    else
        fputs("<p>Nothing that the runs say.</p>\n", out);
    if (same) put_same(out, &d);
    fputs("</section>\n", out);
    sides_differences_destroy(&d);
}
