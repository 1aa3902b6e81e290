/* Implementation by implementation: the same one on both sides, times, percent of the peak. */
#include <stdlib.h>
#include <string.h>

#include "page.h"

static bool same_sides(const report_page *page, const report_setting *s, conv_pass pass, int impl)
{
    report_ratio p;
    for (size_t i = 0; i < s->count; i++)
        if (s->points[i].pass == pass && report_speedup(page->data, &s->points[i], impl, &p)) return true;
    return false;
}

/* One row per channel count, one column per exact implementation that has both variants. */
static bool put_table(FILE *out, const report_page *page, const report_setting *s, conv_pass pass, bool first)
{
    const report_data *data = page->data;
    bool has[REPORT_MAX_IMPLS], any = false;
    char name[160];
    for (int impl = 0; impl < data->impl_count; impl++) {
        has[impl] = !data->impls[impl].inexact && same_sides(page, s, pass, impl);
        any = any || has[impl];
    }
    if (!any) return false;
    if (first)
        fputs("<h3>The same implementation on both sides</h3>\n<p class=\"note\">How many times as fast its "
              "separable convolution is as its dense one. Grey: measured too few times to be sure.</p>\n",
              out);
    fprintf(out, "<details><summary>%s, ", page_pass(pass));
    report_escape(out, report_setting_name(s, name, sizeof name));
    fputs("</summary>\n<div class=\"scroll\"><table><thead><tr><th>Channels</th>", out);
    for (int impl = 0; impl < data->impl_count; impl++)
        if (has[impl]) {
            report_put(out, "<th>", data->impls[impl].name, "</th>");
        }
    fputs("</tr></thead><tbody>\n", out);
    for (size_t i = 0; i < s->count; i++) {
        report_ratio p;
        if (s->points[i].pass != pass || !report_speedup(data, &s->points[i], -1, &p)) continue;
        fputs("<tr>", out);
        page_channels(out, &s->points[i]);
        for (int impl = 0; impl < data->impl_count; impl++)
            if (has[impl] && report_speedup(data, &s->points[i], impl, &p))
                page_ratio_cell(out, &p, true);
            else if (has[impl])
                fputs("<td>&ndash;</td>", out);
        fputs("</tr>\n", out);
    }
    fputs("</tbody></table></div></details>\n", out);
    return true;
}

void page_each(FILE *out, const report_page *page)
{
    char *text = NULL;
    size_t size;
    FILE *body = open_memstream(&text, &size);
    if (body == NULL) return;
    bool any = false;
    for (size_t i = 0; i < page->data->setting_count; i++)
        for (int pass = CONV_FORWARD; pass <= CONV_BACKWARD; pass++)
            any = put_table(body, page, &page->data->settings[i], (conv_pass)pass, !any) || any;
    any = page_plots(body, page, "time") || any;
    any = page_plots(body, page, "peak") || any;
    fclose(body);
    if (any) fprintf(out, "<section id=\"each\">\n<h2>Each implementation</h2>\n%s</section>\n", text);
    free(text);
}
