/* The page of a history: a small picture per case, over the runs. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "../embed.h"
#include "../output.h"
#include "../report/chart.h"
#include "../report/drawing.h"
#include "../stats.h"
#include "../text.h"
#include "history.h"

/* Of a group: what changed, then those that come nearest to it. trend-points.csv has all. */
enum { MOST_PICTURES = 36, LEAST_PICTURES = 12 };

static double percent(double ln) { return 100 * expm1(ln); }

/* ---- pictures */

/* Title and subtitle: "separable forward, fused-avx512" and "mb1ic64ih28oc64kh3ph1/nhwc/t2/warm". */
static void name_chart(chart *c, const char *name)
{
    char variant[32] = "", pass[32] = "", impl[40] = "";
    int rest = 0;
    sscanf(name, "%31[^/]/%31[^/]/%39[^/]/%n", variant, pass, impl, &rest);
    snprintf(c->plot.title, sizeof c->plot.title, "%s %s, %s", variant, pass, impl);
    snprintf(c->subtitle, sizeof c->subtitle, "%.60s", name + rest);
}

static bool is_level(const trend_result *r, size_t run, bool after)
{
    for (size_t k = 0; k < r->change_count; k++)
        if (after ? run == r->changes[k] : run + 1 == r->changes[k]) return true;
    return false;
}

/* Median of the levelled times in [from, to). */
static double level_of(const double *x, size_t from, size_t to, double *room)
{
    size_t n = 0;
    for (size_t r = from; r < to; r++)
        if (isfinite(x[r])) room[n++] = x[r];
    return n > 0 ? stats_median(room, n) : NAN;
}

static void add_times(chart *c, const trend_group *g, size_t k, double base)
{
    for (size_t r = 0; r < g->run_count; r++) {
        const trend_point *p = &g->points[k * g->run_count + r];
        double x = g->series.log_ns[k * g->run_count + r] - base;
        if (g->series.state[r] == 1)
            chart_add_rough(c, (double)r + 1, percent(x));
        else
            chart_add_point(c, (double)r + 1, percent(x), percent(x + log(p->low / p->ns)),
                            percent(x + log(p->high / p->ns)));
    }
}

/* The line of a drift, or the level of each segment. */
static void add_levels(chart *c, const trend_group *g, size_t k, double base, double *room)
{
    const trend_result *r = &g->results[k];
    const double *x = &g->series.log_ns[k * g->run_count];
    size_t last = g->run_count - 1;
    if (r->drift) {
        double mid = level_of(x, 0, g->run_count, room) - base;
        chart_add_point(c, 1, percent(mid - r->change / 2), NAN, NAN);
        chart_add_point(c, (double)last + 1, percent(mid + r->change / 2), NAN, NAN);
        return;
    }
    for (size_t from = 0, to; from <= last; from = to) {
        for (to = from + 1; to <= last && !is_level(r, to, true);) to++;
        double level = percent(level_of(x, from, to, room) - base);
        chart_add_gap(c);
        chart_add_point(c, (double)from + 1, level, NAN, NAN);
        chart_add_point(c, (double)to, level, NAN, NAN);
    }
}

static bool draw_case(const trend_group *g, size_t group, size_t k, const chart_album *album)
{
    static const char *const colours[TREND_VERDICT_COUNT] = {[TREND_SLOWER] = CHART_BACKWARD};
    const trend_result *r = &g->results[k];
    const char *colour = colours[r->verdict] != NULL ? colours[r->verdict] : CHART_FORWARD;
    double *room = malloc((g->run_count + 1) * sizeof *room);
    char name[64], label[48] = "";
    chart c;
    snprintf(name, sizeof name, "trend-%zu-%zu", group + 1, k + 1);
    if (room == NULL || !chart_begin(&c, name, "trend", "lines")) {
        free(room);
        return false;
    }
    size_t first = r->change_count > 0 ? r->changes[0] : g->run_count;
    double base = level_of(&g->series.log_ns[k * g->run_count], 0, first, room);
    name_chart(&c, g->names[k]);
    c.x.label = "run";
    c.y.ticks = TICKS_PERCENT;
    chart_add_line(&c, "", CHART_MUTED, REPORT_SOLID, 0.5, true);
    add_times(&c, g, k, base);
    if (r->change_count > 0) snprintf(label, sizeof label, "%+.1f%%", percent(r->change));
    chart_add_line(&c, label, colour, REPORT_SOLID, 2.2, false);
    add_levels(&c, g, k, base, room);
    free(room);
    return chart_finish(&c, album);
}

static bool draw_group(const trend_group *g, size_t group, const chart_album *album)
{
    size_t *order = trend_sorted(g), before = album->plots->count;
    bool fine = order != NULL;
    for (size_t i = 0; fine && i < g->case_count && album->plots->count - before < MOST_PICTURES; i++) {
        trend_verdict v = g->results[order[i]].verdict;
        if (v == TREND_FEW || (v == TREND_QUIET && album->plots->count - before >= LEAST_PICTURES)) break;
        fine = draw_case(g, group, order[i], album);
    }
    free(order);
    return fine;
}

static bool draw(const trend_history *h, const char *dir, const char *drawing, report_plots *plots,
                 conv_error *err)
{
    const report_data no_colours = {0};
    char path[4352];
    output o;
    snprintf(path, sizeof path, "%s/plots.gp", drawing);
    if (!output_open(&o, path, OUTPUT_OWN)) return output_fail(path, err);
    fputs("# Draws every picture of this page anew: gnuplot plots.gp\n", o.file);
    bool fine = true;
    for (size_t i = 0; fine && i < h->count; i++)
        fine = draw_group(&h->groups[i], i, &(chart_album){o.file, plots});
    if (!fine) conv_fail(err, CONV_NO_MEMORY, "out of memory");
    if (!output_close(&o, fine)) fine = fine && output_fail(path, err);
    fine = fine && drawing_run(drawing, dir, err);
    for (size_t i = 0; fine && i < plots->count; i++) {
        snprintf(path, sizeof path, "%s/%s.svg", drawing, plots->plots[i].name);
        fine = svg_finish(path, plots->plots[i].name, plots->plots[i].title, &no_colours, err);
    }
    return fine;
}

/* ---- the page */

static void put_head(FILE *out)
{
    const report_data no_colours = {0};
    const embedded_file *css = embedded_find("reports/page.css");
    fputs("<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n"
          "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; img-src 'self' data:; "
          "style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'\">\n"
          "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n"
          "<meta name=\"color-scheme\" content=\"light dark\">\n<title>Is it slower than it "
          "was?</title>\n<style>\n"
          ":root{--accent:#0b4fa0;--good:#1c7a3d;--bad:#b3261e;--soft:#f4f5f7;--line:#dfe2e6;",
          out);
    svg_write_variables(out, &no_colours, false);
    fputs("}\n@media (prefers-color-scheme:dark){:root{--accent:#79b4ff;--good:#63c787;--bad:#ff8a80;"
          "--soft:#1c2126;--line:#333a41;",
          out);
    svg_write_variables(out, &no_colours, true);
    fputs("}}\n", out);
    if (css != NULL) fwrite(css->data, 1, css->size, out);
    fputs("</style>\n</head>\n<body>\n<main>\n<h1>Is it slower than it was?</h1>\n", out);
}

static void put_answer(FILE *out, const trend_history *h)
{
    size_t slower = 0, cases = 0;
    for (size_t i = 0; i < h->count; i++) {
        slower += trend_count(&h->groups[i], TREND_SLOWER);
        cases += h->groups[i].case_count - trend_count(&h->groups[i], TREND_FEW);
    }
    fputs("<p class=\"answer\">", out);
    if (slower > 0)
        fprintf(out, "%zu of %zu cases %s slower, confirmed.", slower, cases, slower == 1 ? "is" : "are");
    else if (cases > 0)
        fprintf(out, "No slowdown is confirmed among %zu cases.", cases);
    else
        fprintf(out, "Too few runs to say: %d of one machine and build are needed.", TREND_LEAST_RUNS);
    fputs("</p>\n", out);
}

static void put_row(FILE *out, const trend_group *g, size_t c)
{
    const trend_result *r = &g->results[c];
    bool slower = r->verdict == TREND_SLOWER, faster = r->verdict == TREND_FASTER;
    report_put(out, "<tr><td><code>", g->names[c], "</code></td>");
    fprintf(out, "<td class=\"text%s\">%s%s</td><td>%+.1f%%",
            slower   ? " bad"
            : faster ? " good"
                     : "",
            trend_verdict_name(r->verdict), r->drift ? ", drift" : "", percent(r->change));
    if (isfinite(r->low) && isfinite(r->high))
        fprintf(out, "<small>%+.1f to %+.1f</small>", percent(r->low), percent(r->high));
    fprintf(out, "</td><td class=\"text\">run %zu", r->since + 1);
    for (size_t k = 0; !r->drift && k < r->change_count; k++) /* as the picture has them */
        if (r->changes[k] != r->since)
            fprintf(out, "<small>also changed with run %zu</small>", r->changes[k] + 1);
    report_put(out, "<small>", g->runs[r->since].started, "</small>");
    char commit[16];
    snprintf(commit, sizeof commit, "%.12s", g->runs[r->since].commit);
    report_put(out, "<small><code>", commit, "</code></small></td>");
    fprintf(out, "<td>%.2f%%</td></tr>\n", 100 * (1 - r->p));
}

static void put_table(FILE *out, const trend_group *g, const size_t *order)
{
    size_t shown = 0;
    for (size_t i = 0; i < g->case_count; i++) {
        if (g->results[order[i]].change_count == 0) continue;
        if (shown++ == 0)
            fputs(
                "<div class=\"scroll\"><table><tr><th>case</th><th class=\"text\">verdict</th><th>last against "
                "first</th><th class=\"text\">since</th><th>sure</th></tr>\n",
                out);
        put_row(out, g, order[i]);
    }
    if (shown > 0) fputs("</table></div>\n", out);
}

static void put_svg(FILE *out, const char *dir, const report_plot *plot)
{
    char path[4352], *line = NULL;
    size_t capacity = 0;
    snprintf(path, sizeof path, "%s/%s.svg", dir, plot->name);
    FILE *in = fopen(path, "r");
    if (in == NULL) return;
    fputs("<figure>", out);
    while (getline(&line, &capacity, in) > 0)
        if (strncmp(line, "<style>", 7) != 0) fputs(line, out); /* the page has it */
    fputs("</figure>\n", out);
    free(line);
    fclose(in);
}

static void put_group(FILE *out, const trend_group *g, size_t group, const report_plots *plots, const char *dir)
{
    size_t *order = trend_sorted(g);
    double speed = trend_speed_change(g);
    char beginning[32], told[160];
    report_put(out, "<section>\n<h2>", g->machine, "</h2>\n");
    report_put(out, "<p class=\"meta\">", g->compiler, "; <code>");
    report_put(out, "", g->flags, "</code></p>\n");
    fprintf(out, "<p class=\"meta\">%zu runs", g->run_count);
    report_put(out, ", ", g->runs[0].started, " to ");
    report_put(out, "", g->runs[g->run_count - 1].started, "");
    if (isfinite(speed))
        fprintf(out, "; the machine itself, by %s: %+.1f%%, which is taken off",
                g->series.controlled ? "the code of others" : "the median of all cases", percent(speed));
    fprintf(out, "; %zu cases, and %zu in fewer than %d runs or none of the last %d</p>\n",
            g->case_count - trend_count(g, TREND_FEW), trend_count(g, TREND_FEW), TREND_LEAST_RUNS,
            TREND_SEGMENT);
    if (trend_is_tested(g)) report_put(out, "<p class=\"meta\">", trend_told(g, told, sizeof told), ".</p>\n");
    if (order != NULL) put_table(out, g, order);
    free(order);
    fputs("<div class=\"plots\">\n", out);
    snprintf(beginning, sizeof beginning, "trend-%zu-", group + 1);
    for (size_t i = 0; i < plots->count; i++)
        if (strncmp(plots->plots[i].name, beginning, strlen(beginning)) == 0)
            put_svg(out, dir, &plots->plots[i]);
    fputs("</div>\n</section>\n", out);
}

static void put_method(FILE *out)
{
    fprintf(
        out,
        "<section>\n<h2>How this was found</h2>\n<ul>\n"
        "<li>Points are the runs&rsquo; medians with their 95%% intervals, as percent of the first level; "
        "hollow ones were measured with cores that the host had put far apart. What a run&rsquo;s machine does "
        "to all "
        "alike is taken off.</li>\n"
        "<li>A change is named when no more than 1 of 20 of %d histories made from the same runs without a "
        "change, their runs as much alike in a row, has as large a one in any case. It needs %d runs before it "
        "and after it. &ldquo;machine&rdquo;: the code of others, which no commit changes, changed as "
        "well.</li>\n"
        "<li>&ldquo;slower&rdquo; holds at the end, against the level at which the case was fastest, and is "
        "larger than the least effect. Pictures are of the cases that changed and of those that come nearest "
        "to it; <a href=\"trend.csv\">trend.csv</a> and <a href=\"trend-points.csv\">trend-points.csv</a> have "
        "all.</li>\n</ul>\n</section>\n</main>\n</body>\n</html>\n",
        TREND_PERMUTATIONS, TREND_SEGMENT);
}

static bool write_page(const trend_history *h, const report_plots *plots, const char *dir, conv_error *err)
{
    char path[4352];
    output o;
    snprintf(path, sizeof path, "%s/index.html", dir);
    if (!output_open(&o, path, OUTPUT_OWN)) return output_fail(path, err);
    put_head(o.file);
    put_answer(o.file, h);
    for (size_t i = 0; i < h->count; i++) put_group(o.file, &h->groups[i], i, plots, dir);
    put_method(o.file);
    return output_close(&o, true) || output_fail(path, err);
}

bool trend_page_write(const trend_history *h, const char *dir, conv_error *err)
{
    char drawing[4096];
    report_plots plots = {0};
    if (!drawing_open(dir, drawing, sizeof drawing, err)) return false;
    bool fine = draw(h, dir, drawing, &plots, err);
    fine = drawing_close(drawing, dir, fine, err) && fine;
    fine = fine && write_page(h, &plots, dir, err);
    report_plots_destroy(&plots);
    return fine;
}
