/* The advice on the page: a line for each shape, and what the network would take. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "advice.h"
#include "page.h"

static void put_time(FILE *out, const rule_time *t)
{
    char text[24];
    if (isnan(t->median)) {
        fputs("<td>&ndash;</td>", out);
        return;
    }
    fprintf(out, "<td%s>%s<small>", rule_shown(t) ? "" : " class=\"even\"", report_time(t->median, text));
    if (rule_shown(t)) page_interval(out, t);
    fputs("</small></td>", out);
}

static void put_ratio(FILE *out, const rule_ratio *r)
{
    page_ratio_cell(out, &(report_ratio){.times = *r, .promised = NAN}, false);
}

static void put_counts(FILE *out, double now, double then)
{
    char text[16];
    fprintf(out, "<td>%s", report_advice_count(now, text));
    if (then != now) fprintf(out, "<small>then %s</small>", report_advice_count(then, text));
    fputs("</td>", out);
}

static void put_measures(FILE *out, const report_advice *a, const advice_item *item)
{
    for (int m = 0; m < ADVICE_MEASURES; m++) {
        if (m != ADVICE_FORWARD && !(a->trains && m == ADVICE_STEP)) continue;
        put_time(out, &item->at[m].time[ADVICE_NOW]);
        if (item->swaps) {
            put_time(out, &item->at[m].time[ADVICE_OTHER]);
            put_ratio(out, &item->at[m].ratio);
        } else {
            fputs("<td></td><td class=\"even\">no other form</td>", out);
        }
    }
}

static void put_item(FILE *out, const report_advice *a, const advice_item *item)
{
    char shape[96];
    report_put(out, "<tr><td>", item->layer, "");
    if (item->times > 1) fprintf(out, " &times;%d", item->times);
    report_put(out, "<small>", report_advice_shape(item, shape), "</small></td>");
    put_measures(out, a, item);
    put_counts(out, item->parameters[ADVICE_NOW], item->parameters[ADVICE_OTHER]);
    put_counts(out, item->multiplications[ADVICE_NOW], item->multiplications[ADVICE_OTHER]);
    fputs("</tr>\n", out);
}

static void put_plan(FILE *out, const report_advice *a, int plan)
{
    const advice_sum *goal = &a->sum[a->trains ? ADVICE_STEP : ADVICE_FORWARD];
    fprintf(out, "<tr><td>all %d, %s</td>", a->convolutions,
            plan == ADVICE_EVERY ? "every swap" : "those that pay");
    for (int m = 0; m < ADVICE_MEASURES; m++) {
        if (m != ADVICE_FORWARD && !(a->trains && m == ADVICE_STEP)) continue;
        put_time(out, &a->sum[m].time[ADVICE_NOW]);
        put_time(out, &a->sum[m].time[plan]);
        put_ratio(out, &a->sum[m].ratio[plan]);
    }
    put_counts(out, goal->parameters[ADVICE_NOW], goal->parameters[plan]);
    put_counts(out, goal->multiplications[ADVICE_NOW], goal->multiplications[plan]);
    fputs("</tr>\n", out);
}

void page_advice(FILE *out, const report_page *page)
{
    report_advice a;
    if (!report_advice_create(page->data, &a)) return;
    report_put(out, "<section id=\"advise\">\n<h2>Which layers of ", a.network,
               " gain</h2>\n<p class=\"note\">");
    fprintf(out, "Batch %lld, %d thread%s, by ", (long long)a.mb, a.threads, a.threads == 1 ? "" : "s");
    report_put(out, strcmp(a.by, "sepbench") == 0 ? "the best of " : "", a.by, ". ");
    fputs(
        "Each convolution as it is and in its other form: an ordinary one as separable, a separable one, or a "
        "depthwise one with the 1x1 behind it, as ordinary. Layers of one shape are measured once. ",
        out);
    report_put(out, "", report_advice_caution, "</p>\n<div class=\"scroll\"><table><thead><tr><th>Layer</th>");
    fputs("<th>forward</th><th>otherwise</th><th>times as fast</th>", out);
    if (a.trains) fputs("<th>training step</th><th>otherwise</th><th>times as fast</th>", out);
    fputs("<th>Parameters</th><th>Multiplications</th></tr></thead><tbody>\n", out);
    for (size_t i = 0; i < a.count; i++) put_item(out, &a, &a.items[i]);
    put_plan(out, &a, ADVICE_EVERY);
    put_plan(out, &a, ADVICE_PAYING);
    fputs("</tbody></table></div></section>\n", out);
    report_advice_destroy(&a);
}
