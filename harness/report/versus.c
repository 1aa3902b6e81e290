/* Ours against one engine: the best of ours over the best of the engine's, case by case and in the mean. */
#include <math.h>
#include <string.h>

#include "../../kernels/problem.h"
#include "page.h"

typedef struct {
    const char *title;
    bool inexact;
} contest;

static const contest contests[] = {{"exact against exact", false}, {"anything, inexact too", true}};

enum { CONTESTS = sizeof contests / sizeof *contests };

bool report_versus(const report_data *data, const report_point *q, conv_variant v, const char *engine,
                   bool inexact, report_ratio *ratio)
{
    return report_compare(
        report_best(data, q, v, (best_filter){.inexact = inexact, .peers = true, .engine = engine}),
        report_best(data, q, v, (best_filter){.inexact = inexact, .ours = true}), ratio);
}

/* ---- means */

/* setting NULL: the rest, all that are no sweeps (layers of networks, single problems) together. */
static bool belongs(const report_setting *s, const report_setting *wanted)
{
    return wanted == NULL ? !report_is_sweep(s) : s == wanted;
}

static void add_ratio(versus_mean *m, double *log_sum, const report_ratio *p)
{
    m->count++;
    if (!rule_determined(p->times.outcome)) return;
    m->determined++;
    m->ahead += p->times.outcome == RATIO_FASTER;
    m->behind += p->times.outcome == RATIO_SLOWER;
    *log_sum += log(p->times.value);
    if (p->times.value < m->least) m->worst = *p;
    m->least = fmin(m->least, p->times.value);
    m->most = fmax(m->most, p->times.value);
}

versus_mean report_versus_mean(const report_data *data, const report_setting *setting, conv_variant v,
                               conv_pass pass, const char *engine, bool inexact)
{
    versus_mean m = {.least = INFINITY};
    double log_sum = 0;
    for (size_t k = 0; k < data->setting_count; k++) {
        const report_setting *s = &data->settings[k];
        report_ratio p;
        for (size_t i = 0; belongs(s, setting) && i < s->count; i++)
            if (s->points[i].pass == pass && report_versus(data, &s->points[i], v, engine, inexact, &p))
                add_ratio(&m, &log_sum, &p);
    }
    m.mean = m.determined > 0 ? exp(log_sum / m.determined) : NAN;
    return m;
}

char *report_versus_name(const report_data *data, const report_setting *setting, char *buffer, size_t size)
{
    bool sweeps = false;
    for (size_t i = 0; i < data->setting_count; i++) sweeps = sweeps || report_is_sweep(&data->settings[i]);
    if (setting != NULL) return report_setting_name(setting, buffer, size);
    snprintf(buffer, size, "%s", sweeps ? "all other problems" : "all problems");
    return buffer;
}

static void put_mean(FILE *out, const versus_mean *m)
{
    if (m->determined == 0) {
        fputs("<td>&ndash;</td>", out);
        return;
    }
    fprintf(out, "<td class=\"main %s\">%.2f&times;<small>%.2f to %.2f</small></td>",
            m->mean > 1 && m->ahead > 0    ? "good"
            : m->mean < 1 && m->behind > 0 ? "bad"
                                           : "even",
            m->mean, m->least, m->most);
}

static void put_means(FILE *out, const report_page *page, const report_setting *s)
{
    char name[160];
    bool open = false;
    for (int v = 0; v < CONV_VARIANT_COUNT; v++)
        for (int pass = 0; pass < CONV_PASS_COUNT; pass++) {
            versus_mean exact =
                report_versus_mean(page->data, s, (conv_variant)v, (conv_pass)pass, page->versus, false);
            versus_mean any =
                report_versus_mean(page->data, s, (conv_variant)v, (conv_pass)pass, page->versus, true);
            if (any.count == 0) continue;
            if (!open) {
                report_put(out, "<h3>Geometric means <small>",
                           report_versus_name(page->data, s, name, sizeof name),
                           "</small></h3>\n<div class=\"scroll\"><table><thead><tr><th>Variant and "
                           "pass</th><th>Exact against exact</th><th>Any, inexact too</th><th>Worst "
                           "case</th><th>Determined</th><th>Faster</th><th>Slower</th></tr></thead><tbody>\n");
                open = true;
            }
            fprintf(out, "<tr><td>%s %s</td>", conv_variant_name((conv_variant)v),
                    conv_pass_name((conv_pass)pass));
            put_mean(out, &exact);
            put_mean(out, &any);
            const versus_mean *shown = exact.count > 0 ? &exact : &any;
            if (shown->determined > 0)
                page_ratio_cell(out, &shown->worst, false);
            else
                fputs("<td>&ndash;</td>", out);
            fprintf(out, "<td>%d<small>of %d</small></td><td>%d</td><td>%d</td></tr>\n", shown->determined,
                    shown->count, shown->ahead, shown->behind);
        }
    if (open) fputs("</tbody></table></div>\n", out);
}

/* ---- cases */

static void put_case(FILE *out, const report_data *data, const report_point *q, const report_ratio *p,
                     const contest *c, bool whole)
{
    char text[PROBLEM_STRING_MAX];
    fprintf(out, "<tr><td>%s %s, %lld", conv_variant_name(p->fast->problem.variant), conv_pass_name(q->pass),
            (long long)q->ic);
    if (q->ic != q->oc) fprintf(out, " &rarr; %lld", (long long)q->oc);
    if (whole) fprintf(out, "<small>%s</small>", problem_format(&p->fast->problem, text));
    fputs("</td>", out);
    page_time_cell(out, p->fast);
    page_time_cell(out, p->slow);
    page_ratio_cell(out, p, true);
    bool ours = data->impls[report_impl_index(data, p->fast->impl)].inexact,
         theirs = data->impls[report_impl_index(data, p->slow->impl)].inexact;
    fprintf(out, "<td class=\"text\">%s</td></tr>\n",
            !c->inexact      ? "exact"
            : ours && theirs ? "both inexact"
            : ours           ? "ours inexact"
                             : "theirs inexact");
}

/* whole: the problem is not plain from the table's title. */
static void put_point(FILE *out, const report_page *page, const report_point *q, conv_variant v, bool whole)
{
    for (int c = 0; c < CONTESTS; c++) {
        report_ratio exact, p;
        if (!report_versus(page->data, q, v, page->versus, contests[c].inexact, &p)) continue;
        /* the second contest only where it differs from the first */
        if (c == 1 && report_versus(page->data, q, v, page->versus, false, &exact) && exact.fast == p.fast &&
            exact.slow == p.slow)
            continue;
        put_case(out, page->data, q, &p, &contests[c], whole);
    }
}

static void put_cases(FILE *out, const report_page *page, const report_setting *s)
{
    char name[160];
    report_put(out, "<details><summary>Every case: ", report_versus_name(page->data, s, name, sizeof name),
               "</summary>\n<div class=\"scroll\"><table><thead><tr><th>Case</th><th>Ours</th><th>");
    report_escape(out, page->versus);
    fputs("</th><th>Ours is</th><th class=\"text\">Kind</th></tr></thead><tbody>\n", out);
    for (int v = 0; v < CONV_VARIANT_COUNT; v++)
        for (size_t k = 0; k < page->data->setting_count; k++)
            for (size_t i = 0; belongs(&page->data->settings[k], s) && i < page->data->settings[k].count; i++)
                put_point(out, page, &page->data->settings[k].points[i], (conv_variant)v, s == NULL);
    fputs("</tbody></table></div></details>\n", out);
}

/* The tables of one sweep, or (NULL) of the rest; false when no case applies. */
static bool put_setting(FILE *out, const report_page *page, const report_setting *s)
{
    int count = 0;
    for (int v = 0; v < CONV_VARIANT_COUNT; v++)
        for (int pass = 0; pass < CONV_PASS_COUNT; pass++)
            count +=
                report_versus_mean(page->data, s, (conv_variant)v, (conv_pass)pass, page->versus, true).count;
    if (count == 0) return false;
    put_means(out, page, s);
    put_cases(out, page, s);
    return true;
}

void page_versus(FILE *out, const report_page *page)
{
    if (page->versus == NULL) return;
    bool any = false;
    report_put(out, "<section id=\"versus\">\n<h2>Ours against ", page->versus,
               "</h2>\n<p class=\"note\">The best of this project's implementations against the best of ");
    report_escape(out, page->versus);
    fputs(", each by its median. Above 1&times;, ours is faster. Means, worst case, &ldquo;faster&rdquo; and "
          "&ldquo;slower&rdquo; are of the cases that are determined: both times have an interval, and that of "
          "their ratio is narrow. Only <code>execute</code>: packing and reorders are timed apart.</p>\n",
          out);
    for (size_t i = 0; i < page->data->setting_count; i++)
        if (report_is_sweep(&page->data->settings[i]))
            any = put_setting(out, page, &page->data->settings[i]) || any;
    any = put_setting(out, page, NULL) || any;
    if (!any) fputs("<p>This run has no case that both ran.</p>\n", out);
    fputs("</section>\n", out);
}
