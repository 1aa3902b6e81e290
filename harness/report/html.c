/* The page: reports/page.html, of several machines reports/machines.html, with its {{marks}} replaced by
 * sections. */
#include <stdlib.h>
#include <string.h>

#include "../embed.h"
#include "../json.h"
#include "../output.h"
#include "chart.h"
#include "page.h"

static void put_headline(FILE *out, const report_page *page) { report_escape(out, page->verdict->headline); }

static void put_lines(FILE *out, const report_page *page)
{
    const verdict *v = page->verdict;
    for (size_t i = 0; i < v->count; i++) {
        char subject[64]; /* "Forward", "Test accuracy": what the paragraph is about */
        size_t length = strcspn(v->lines[i], "(,:");
        while (length > 0 && v->lines[i][length - 1] == ' ') length--;
        length = length < sizeof subject ? length : 0;
        snprintf(subject, sizeof subject, "%.*s", (int)length, v->lines[i]);
        report_put(out, "<p><b>", subject, "</b>");
        report_escape(out, v->lines[i] + length);
        fputs("</p>\n", out);
    }
}

static void put_meta(FILE *out, const report_page *page)
{
    const record_run *run = page->data->run;
    const json_t *machine = json_object_get(run->run, "machine");
    report_escape(out, json_text(machine, "cpu", "unknown CPU"));
    fputs(" &middot; run ", out);
    report_escape(out, run->run_id);
    if (run->count == 0) return;
    fprintf(out, " &middot; %zu cases: %zu with a time", run->count, page->data->by_status[CASE_OK]);
    for (int s = CASE_REFUSED; s < CASE_STATUS_COUNT; s++)
        if (page->data->by_status[s] > 0)
            fprintf(out, ", %s%zu %s%s", s >= CASE_WRONG ? "<b class=\"bad\">" : "", page->data->by_status[s],
                    case_status_name((case_status)s), s >= CASE_WRONG ? "</b>" : "");
    size_t cautions = page->verdict->caution_count;
    if (cautions > 0)
        fprintf(out, " &middot; <a href=\"#cautions\">%zu thing%s to keep in mind</a>", cautions,
                cautions == 1 ? "" : "s");
}

static void put_light(FILE *out, const report_page *page) { svg_write_variables(out, page->data, false); }
static void put_dark(FILE *out, const report_page *page) { svg_write_variables(out, page->data, true); }
static void put_run_id(FILE *out, const report_page *page) { report_escape(out, page->data->run->run_id); }
static void put_dir(FILE *out, const report_page *page) { report_escape(out, page->data->run->dir); }

static void put_css(FILE *out, const report_page *page)
{
    (void)page;
    const embedded_file *css = embedded_find("reports/page.css");
    if (css != NULL) fwrite(css->data, 1, css->size, out);
}

/* ---- pictures */

static const struct {
    const char *section, *level, *title, *note;
} sections[] = {
    {"time", "h3", "Time against channels",
     "Lower is faster. Both axes are logarithmic; bars are 95% intervals, hollow points have none that is "
     "sure. "
     "Solid: this project; dashed: other libraries; dotted: inexact (Winograd, fip)."},
    {"peak", "h3", "Percent of the measured multiply-add peak",
     "Against the peak of the instruction set each implementation uses, on the same number of threads."},
    {"roofline", "h3", "Roofline",
     "Where a point lies under a sloping roof, memory limits it; under the flat one, arithmetic. Each line "
     "runs through the channel counts."},
    {"engines", "h3", "Each engine against itself",
     "How many times as fast as its own dense convolution each engine&rsquo;s own separable one is. Above the "
     "grey line separable is faster; hollow points are not determined."},
    {"map", "h2", "Where it breaks even",
     "Times as fast as dense, each by its best exact implementation. A dash: not determined."},
    {"training", NULL, NULL, NULL}, /* parts of sections */
    {"ranks", NULL, NULL, NULL},
};

/* The SVG without what the page itself has: its style sheet. */
static void put_svg(FILE *out, const report_page *page, const report_plot *plot)
{
    char path[4352], *line = NULL;
    size_t capacity = 0;
    snprintf(path, sizeof path, "%s/%s.svg", page->dir, plot->name);
    FILE *in = fopen(path, "r");
    if (in == NULL) return;
    while (getline(&line, &capacity, in) > 0)
        if (strncmp(line, "<style>", 7) != 0) fputs(line, out);
    free(line);
    fclose(in);
}

static void put_figure(FILE *out, const report_page *page, const report_plot *plot)
{
    fputs("<figure>", out);
    put_svg(out, page, plot);
    fprintf(out, "<figcaption><a href=\"%s.svg\">SVG</a> <a href=\"%s.png\">PNG</a></figcaption></figure>\n",
            plot->name, plot->name);
}

bool page_figure(FILE *out, const report_page *page, const char *name)
{
    for (size_t i = 0; i < page->plots->count; i++)
        if (strcmp(page->plots->plots[i].name, name) == 0) {
            put_figure(out, page, &page->plots->plots[i]);
            return true;
        }
    return false;
}

bool page_plots(FILE *out, const report_page *page, const char *section)
{
    size_t g = 0, shown = 0, parts = 0;
    while (g < sizeof sections / sizeof *sections && strcmp(sections[g].section, section) != 0) g++;
    if (g == sizeof sections / sizeof *sections) return false;
    for (int folded = 0; folded < 2; folded++)
        for (size_t i = 0; i < page->plots->count; i++) {
            const report_plot *plot = &page->plots->plots[i];
            if (strcmp(plot->section, section) != 0 || (strstr(plot->name, "backward_") != NULL) != folded)
                continue;
            bool first = shown++ == 0;
            if (first && sections[g].title != NULL)
                fprintf(out, "<%s>%s</%s>\n<p class=\"note\">%s</p>\n", sections[g].level, sections[g].title,
                        sections[g].level, sections[g].note);
            if (first) fputs("<div class=\"plots\">\n", out);
            if (folded && parts++ == 0)
                fputs("</div>\n<details><summary>Backward in its parts: data and weights</summary>\n<div "
                      "class=\"plots\">\n",
                      out);
            put_figure(out, page, plot);
        }
    if (shown > 0) fputs(parts > 0 ? "</div>\n</details>\n" : "</div>\n", out);
    return shown > 0;
}

/* ---- the template */

static const struct {
    const char *mark;
    void (*put)(FILE *out, const report_page *page);
} marks[] = {{"light", put_light},
             {"dark", put_dark},
             {"css", put_css},
             {"run_id", put_run_id},
             {"dir", put_dir},
             {"headline", put_headline},
             {"lines", put_lines},
             {"meta", put_meta},
             {"answer", page_answer},
             {"cautions", page_cautions},
             {"engines", page_engines},
             {"why", page_why},
             {"waterfalls", page_waterfalls},
             {"staircase", page_staircase},
             {"each", page_each},
             {"map", page_map},
             {"versus", page_versus},
             {"advice", page_advice},
             {"networks", page_networks},
             {"scaling", page_scaling},
             {"cold", page_cold},
             {"training", page_training},
             {"ranks", page_ranks},
             {"machine", page_machine},
             {"unmeasured", page_unmeasured},
             {"machines_meta", page_machines_meta},
             {"machines_answer", page_machines_answer},
             {"machines_best", page_machines_best},
             {"machines_differences", page_machines_differences}};

static void put_mark(FILE *out, const report_page *page, const char *mark)
{
    for (size_t i = 0; i < sizeof marks / sizeof *marks; i++)
        if (strcmp(marks[i].mark, mark) == 0) marks[i].put(out, page);
}

static void expand(FILE *out, const report_page *page, const char *template)
{
    for (const char *at = template, *open; *at != 0;) {
        open = strstr(at, "{{");
        const char *close = open ? strstr(open, "}}") : NULL;
        if (close == NULL) {
            fputs(at, out);
            return;
        }
        fwrite(at, 1, (size_t)(open - at), out);
        char mark[32];
        snprintf(mark, sizeof mark, "%.*s", (int)(close - open - 2), open + 2);
        put_mark(out, page, mark);
        at = close + 2;
    }
}

bool page_write(const report_page *page, const char *name, conv_error *err)
{
    const embedded_file *template = embedded_find(name);
    char path[4352];
    output o;
    snprintf(path, sizeof path, "%s/index.html", page->dir);
    if (template == NULL) {
        conv_fail(err, CONV_FAILED, "no template of the page in this build");
        return false;
    }
    if (!output_open(&o, path, OUTPUT_OWN)) return output_fail(path, err);
    expand(o.file, page, template->data);
    return output_close(&o, true) || output_fail(path, err);
}

bool report_html_write(const report_data *data, const verdict *v, const report_plots *plots, const char *versus,
                       const char *dir, conv_error *err)
{
    return page_write(&(report_page){.data = data, .verdict = v, .plots = plots, .versus = versus, .dir = dir},
                      "reports/page.html", err);
}
