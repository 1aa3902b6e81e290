/* Why: what the counts promise, how much of the measured peak each side reaches, and the roofs above them. The
 * speedup is the promise times the separable side's part of the peak over the dense side's. */
#include <math.h>
#include <stdlib.h>

#include "../limits/limits.h"
#include "page.h"

static void put_counts(FILE *out, double dense, double separable)
{
    char text[24];
    fprintf(out, "<td>%s", report_count(dense, text));
    fprintf(out, "<small>%s</small></td>", report_count(separable, text));
}

/* What explains the time, by what the plan states of its work. */
static void put_limit(FILE *out, const record_row *row)
{
    char text[LIMIT_TEXT];
    if (limits_sentence(row, text)[0] == '\0') return;
    fprintf(out, "<small title=\"%s\">", text);
    if (row->percent_limit >= LIMIT_REACHED)
        fprintf(out, "%s: %.0f%%</small>", row->limit, row->percent_limit);
    else
        fputs("no limit reached</small>", out);
}

/* Percent of the peak, of a time that may be shown. */
static void put_peak(FILE *out, const record_row *row)
{
    rule_time time = rule_time_of(row);
    if (isnan(row->percent_peak) || !rule_shown(&time)) {
        fputs("<td>&ndash;</td>", out);
        return;
    }
    char name[CASE_NAME_MAX];
    fputs("<td data-column=\"percent_peak\" data-case=\"", out);
    report_escape(out, record_case_name(row, name));
    fprintf(out, "\">%.0f%%", row->percent_peak);
    put_limit(out, row);
    fputs("</td>", out);
}

static void put_row(FILE *out, const report_point *q, const report_ratio *p)
{
    const conv_problem *dense = &p->slow->problem, *separable = &p->fast->problem;
    fputs("<tr>", out);
    page_channels(out, q);
    put_counts(out, (double)conv_multiplications(dense), (double)conv_multiplications(separable));
    put_counts(out, (double)conv_parameters(dense), (double)conv_parameters(separable));
    put_peak(out, p->slow);
    put_peak(out, p->fast);
    fputs("</tr>\n", out);
}

/* The first sweep's; others differ in the times alone. Returns the number of rows. */
static int put_table(FILE *out, const report_page *page, conv_pass pass)
{
    const report_data *data = page->data;
    int rows = 0;
    for (size_t k = 0; k < data->setting_count && rows == 0; k++)
        for (size_t i = 0; report_is_sweep(&data->settings[k]) && i < data->settings[k].count; i++) {
            const report_point *q = &data->settings[k].points[i];
            report_ratio p;
            if (q->pass != pass || !report_speedup(data, q, -1, &p)) continue;
            if (rows++ == 0)
                fprintf(out,
                        "<div class=\"side\"><h3>%s</h3>\n<table class=\"verdict\"><thead><tr><th>Chan&shy;nels"
                        "</th><th>Multiplica&shy;tions<small>dense, separable</small></th><th>Para&shy;meters"
                        "</th><th>Dense: of the peak</th><th>Separable: of the peak</th></tr></thead><tbody>\n",
                        page_pass(pass));
            put_row(out, q, &p);
        }
    if (rows > 0) fputs("</tbody></table></div>\n", out);
    return rows;
}

void page_why(FILE *out, const report_page *page)
{
    char *text = NULL;
    size_t size;
    FILE *body = open_memstream(&text, &size);
    if (body == NULL) return;
    fputs("<div class=\"sides\">\n", body);
    int rows = put_table(body, page, CONV_FORWARD) + put_table(body, page, CONV_BACKWARD);
    fputs("</div>\n", body);
    bool roofs = page_plots(body, page, "roofline");
    fclose(body);
    if (rows > 0 || roofs)
        fprintf(
            out,
            "<section id=\"why\">\n<h2>Why</h2>\n<p class=\"note\">The separable convolution multiplies less, "
            "but its depthwise half has little arithmetic for each byte it moves, so it reaches less of the "
            "multiply-add peak. Under the percentage: which limit (compute, load ports, a cache, memory, "
            "barriers) "
            "explains the time, and how much of it. <code>sepbench explain CASE</code> tells "
            "more.</p>\n%s</section>\n",
            text);
    free(text);
}
