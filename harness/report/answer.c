/* The first screen: for each pass the picture of the speedup and, under it, the table it is drawn from. No
 * figure stands here that the rule of record/rule.h does not let through. */
#include <math.h>
#include <string.h>

#include "page.h"

/* ---- a table */

/* The time of one side, and whose it is. */
static void put_side(FILE *out, const record_row *row)
{
    char name[CASE_NAME_MAX], text[24];
    rule_time time = rule_time_of(row);
    fputs("<td data-case=\"", out);
    report_escape(out, record_case_name(row, name));
    fprintf(out, "\">%s<small>", rule_shown(&time) ? report_time(time.median, text) : "&ndash;");
    report_escape(out, row->impl);
    fputs("</small></td>", out);
}

static void put_row(FILE *out, const report_point *q, const report_ratio *p)
{
    double share = rule_share(&p->times, p->promised);
    fputs("<tr>", out);
    page_channels(out, q);
    put_side(out, p->slow);
    put_side(out, p->fast);
    page_ratio_cell(out, p, false);
    fputs("<td>", out);
    if (isnan(share))
        fputs("&ndash;", out);
    else
        fprintf(out, "%.0f%%", 100 * share);
    fprintf(out, "<small>of %.1f&times;</small></td></tr>\n", p->promised);
}

static void put_table(FILE *out, const report_data *data, const report_setting *s, conv_pass pass)
{
    fputs("<table class=\"verdict\"><thead><tr><th>Chan&shy;nels</th><th>Dense</th><th>Separable</th>"
          "<th>Speedup</th><th>Realised</th></tr></thead><tbody>\n",
          out);
    for (size_t i = 0; i < s->count; i++) {
        report_ratio p;
        if (s->points[i].pass == pass && report_speedup(data, &s->points[i], -1, &p))
            put_row(out, &s->points[i], &p);
    }
    fputs("</tbody></table>\n", out);
}

/* ---- settings */

static int count_pairs(const report_data *data, const report_setting *s, conv_pass pass)
{
    int count = 0;
    report_ratio p;
    for (size_t i = 0; i < s->count; i++)
        count += s->points[i].pass == pass && report_speedup(data, &s->points[i], -1, &p);
    return count;
}

static int count_all(const report_data *data, const report_setting *s)
{
    return count_pairs(data, s, CONV_FORWARD) + count_pairs(data, s, CONV_BACKWARD);
}

static void put_setting(FILE *out, const report_page *page, size_t index)
{
    const report_setting *s = &page->data->settings[index];
    fputs("<div class=\"sides\">\n", out);
    for (int pass = CONV_FORWARD; pass <= CONV_BACKWARD; pass++) {
        char name[64];
        if (count_pairs(page->data, s, (conv_pass)pass) == 0) continue;
        snprintf(name, sizeof name, "speedup-%s-%zu", conv_pass_name((conv_pass)pass), index + 1);
        fputs("<div class=\"side\">\n", out);
        if (!page_figure(out, page, name)) fprintf(out, "<h3>%s</h3>\n", page_pass((conv_pass)pass));
        put_table(out, page->data, s, (conv_pass)pass);
        fputs("</div>\n", out);
    }
    fputs("</div>\n", out);
}

/* The setting with the most comparisons, or -1. */
static int first_setting(const report_data *data)
{
    int best = -1, most = 0;
    for (size_t i = 0; i < data->setting_count; i++) {
        int count = count_all(data, &data->settings[i]);
        if (count <= most) continue;
        most = count;
        best = (int)i;
    }
    return best;
}

static void put_more(FILE *out, const report_page *page, int shown)
{
    const report_data *data = page->data;
    for (size_t i = 0; i < data->setting_count; i++) {
        char name[160];
        if ((int)i == shown || count_all(data, &data->settings[i]) == 0) continue;
        report_put(out, "<details><summary>", report_setting_name(&data->settings[i], name, sizeof name),
                   "</summary>\n");
        put_setting(out, page, i);
        fputs("</details>\n", out);
    }
}

void page_answer(FILE *out, const report_page *page)
{
    char name[160];
    int first = first_setting(page->data);
    if (first < 0) return;
    fputs("<section id=\"answer\">\n", out);
    put_setting(out, page, (size_t)first);
    fputs("<p class=\"note\">", out);
    report_escape(out, report_setting_name(&page->data->settings[first], name, sizeof name));
    fputs(". Speedup: the time of the dense convolution over that of the separable one, each by its best exact "
          "implementation, named under its time; below it the 95% interval. Realised: its share of what the "
          "count of multiplications promises. Thick line: these; thin: both sides by the same implementation, "
          "hollow where there is no sure interval. A dash or a gap: not determined.</p>\n",
          out);
    put_more(out, page, first);
    fputs("</section>\n", out);
}

void page_cautions(FILE *out, const report_page *page)
{
    const verdict *v = page->verdict;
    if (v->caution_count == 0) return;
    fputs("<div class=\"cautions\" id=\"cautions\"><b>Keep in mind</b><ul>\n", out);
    for (size_t i = 0; i < v->caution_count; i++) {
        report_put(out, "<li>", v->cautions[i], "</li>\n");
    }
    fputs("</ul></div>\n", out);
}
