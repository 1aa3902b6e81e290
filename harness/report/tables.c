/* Tables of the page: dense against separable, what has no time, the machine. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "../machine/machine.h"
#include "page.h"

enum { OPEN_TABLES = 1 }; /* settings whose tables are unfolded */

static const char *class_of(ratio_outcome outcome)
{
    static const char *const classes[] = {
        [RATIO_FASTER] = "good", [RATIO_SLOWER] = "bad", [RATIO_SAME] = "even", [RATIO_UNPROVEN] = "even"};
    return classes[outcome];
}

/* "153 to 160 µs": one unit where both ends share it. */
static void put_interval(FILE *out, double low, double high)
{
    char a[24], b[24];
    report_time(low, a);
    report_time(high, b);
    char *unit_a = strchr(a, ' '), *unit_b = strchr(b, ' ');
    if (unit_a != NULL && unit_b != NULL && strcmp(unit_a, unit_b) == 0) *unit_a = 0;
    fprintf(out,
            strcmp(a, b) == 0 ||
                    (unit_b && strncmp(a, b, (size_t)(unit_b - b)) == 0 && strlen(a) == (size_t)(unit_b - b))
                ? "&plusmn; less than 1%%"
                : "%s to %s",
            a, b);
}

void page_time_cell(FILE *out, const record_row *row)
{
    char text[24];
    if (row == NULL) {
        fputs("<td>&ndash;</td>", out);
        return;
    }
    fprintf(out, "<td>%s<small>", report_time(row->median_ns, text));
    if (isnan(row->ci95_low_ns))
        fprintf(out, "%d repetition%s", row->repetitions, row->repetitions == 1 ? "" : "s");
    else
        put_interval(out, row->ci95_low_ns, row->ci95_high_ns);
    report_put(out, "<br>", row->impl, "</small></td>");
}

void page_ratio_cell(FILE *out, const report_ratio *ratio)
{
    fprintf(out, "<td class=\"main %s\">%.2f&times;<small>", class_of(ratio->outcome), ratio->speedup);
    if (ratio->outcome == RATIO_UNPROVEN)
        fputs("no interval", out);
    else if (ratio->outcome == RATIO_SAME)
        fputs("no measurable<br>difference", out);
    else
        fprintf(out, "%.2f to %.2f", ratio->low, ratio->high);
    fputs("</small></td>", out);
}

/* ---- dense against separable */

static void put_channels(FILE *out, const report_point *q)
{
    fprintf(out, "<tr><td>%lld", (long long)q->ic);
    if (q->oc != q->ic) fprintf(out, " &rarr; %lld", (long long)q->oc);
    if (q->depth_multiplier != 1)
        fprintf(out, "<small>multiplier %lld</small>", (long long)q->depth_multiplier);
    fputs("</td>", out);
}

static void put_counts(FILE *out, double dense, double separable)
{
    char text[24];
    fprintf(out, "<td>%s", report_count(dense, text));
    fprintf(out, "<small>%s</small></td>", report_count(separable, text));
}

static void put_ratio_row(FILE *out, const report_point *q, const report_ratio *p)
{
    put_channels(out, q);
    page_ratio_cell(out, p);
    page_time_cell(out, p->slow);
    page_time_cell(out, p->fast);
    fprintf(out, "<td>%.2f&times;</td><td>%.0f%%</td>", p->promised, 100 * p->speedup / p->promised);
    put_counts(out, (double)conv_parameters(&p->slow->problem), (double)conv_parameters(&p->fast->problem));
    put_counts(out, (double)conv_multiplications(&p->slow->problem),
               (double)conv_multiplications(&p->fast->problem));
    fputs("</tr>\n", out);
}

static void put_ratio_table(FILE *out, const report_page *page, const report_setting *s, conv_pass pass)
{
    bool open = false;
    for (size_t i = 0; i < s->count; i++) {
        report_ratio p;
        if (s->points[i].pass != pass || !report_speedup(page->data, &s->points[i], -1, &p)) continue;
        if (!open) {
            fprintf(out, "<h3>%s</h3>\n", pass == CONV_FORWARD ? "Forward" : "Backward");
            fputs("<div class=\"scroll\"><table><thead><tr><th>Channels</th><th>Speedup</th><th>Dense</th>"
                  "<th>Separable</th><th>Promised</th><th>Realised</th>"
                  "<th>Parameters<br>dense<br>separable</th><th>Multiplications<br>dense<br>separable</th></"
                  "tr></thead>"
                  "<tbody>\n",
                  out);
            open = true;
        }
        put_ratio_row(out, &s->points[i], &p);
    }
    if (open) fputs("</tbody></table></div>\n", out);
}

/* One row per channel count, one column per implementation that has both variants. */
static void put_impl_table(FILE *out, const report_page *page, const report_setting *s, conv_pass pass)
{
    const report_data *data = page->data;
    report_ratio p;
    bool has[REPORT_MAX_IMPLS] = {false}, any = false;
    for (int impl = 0; impl < data->impl_count; impl++)
        for (size_t i = 0; i < s->count; i++)
            if (s->points[i].pass == pass && !data->impls[impl].inexact &&
                report_speedup(data, &s->points[i], impl, &p))
                has[impl] = any = true;
    if (!any) return;
    fprintf(out,
            "<details><summary>%s, the same implementation on both sides</summary>\n<div "
            "class=\"scroll\"><table><thead>"
            "<tr><th>Channels</th>",
            pass == CONV_FORWARD ? "Forward" : "Backward");
    for (int impl = 0; impl < data->impl_count; impl++)
        if (has[impl]) {
            report_put(out, "<th>", data->impls[impl].name, "</th>");
        }
    fputs("</tr></thead><tbody>\n", out);
    for (size_t i = 0; i < s->count; i++) {
        if (s->points[i].pass != pass || !report_speedup(data, &s->points[i], -1, &p)) continue;
        put_channels(out, &s->points[i]);
        for (int impl = 0; impl < data->impl_count; impl++) {
            if (!has[impl]) continue;
            if (report_speedup(data, &s->points[i], impl, &p))
                page_ratio_cell(out, &p);
            else
                fputs("<td>&ndash;</td>", out);
        }
        fputs("</tr>\n", out);
    }
    fputs("</tbody></table></div></details>\n", out);
}

static bool has_ratios(const report_page *page, const report_setting *s)
{
    report_ratio p;
    for (size_t i = 0; i < s->count; i++)
        if (report_speedup(page->data, &s->points[i], -1, &p)) return true;
    return false;
}

void page_comparison(FILE *out, const report_page *page)
{
    if (page->data->run->count == 0) return; /* a training alone */
    fputs("<section id=\"comparison\">\n<h2>Dense against separable</h2>\n", out);
    bool any = false;
    for (size_t i = 0; i < page->data->setting_count; i++)
        any = any || has_ratios(page, &page->data->settings[i]);
    if (any) {
        fputs("<p class=\"note\">Each by its best exact implementation, named under its time with the 95% "
              "interval. Multiplications of one forward pass.</p>\n",
              out);
    } else {
        fputs("<p>This run has no problem that was timed both ways. <code>sepbench bench --suite sweep</code> "
              "measures both at every channel count from 32 to 2048.</p>\n",
              out);
    }
    int shown = 0;
    for (size_t i = 0; i < page->data->setting_count; i++) {
        const report_setting *s = &page->data->settings[i];
        if (!has_ratios(page, s)) continue;
        char name[160];
        fprintf(out, "<details%s><summary>", shown++ < OPEN_TABLES ? " open" : "");
        report_escape(out, report_setting_name(s, name, sizeof name));
        fputs("</summary>\n", out);
        for (int pass = CONV_FORWARD; pass <= CONV_BACKWARD; pass++)
            put_ratio_table(out, page, s, (conv_pass)pass);
        for (int pass = CONV_FORWARD; pass <= CONV_BACKWARD; pass++)
            put_impl_table(out, page, s, (conv_pass)pass);
        fputs("</details>\n", out);
    }
    fputs("</section>\n", out);
}

/* ---- rows without a time */

/* Two indices into a run's rows. */
static int by_reason(const void *a, const void *b, void *rows)
{
    const record_row *x = (const record_row *)rows + *(const size_t *)a;
    const record_row *y = (const record_row *)rows + *(const size_t *)b;
    if (x->status != y->status) return x->status > y->status ? -1 : 1; /* failed, wrong, skipped, refused */
    int reason = strcmp(x->reason, y->reason);
    return reason != 0 ? reason : (x > y) - (x < y);
}

void page_unmeasured(FILE *out, const report_page *page)
{
    const record_run *run = page->data->run;
    size_t count = run->count - page->data->by_status[CASE_OK], n = 0;
    if (count == 0) return;
    size_t *rows = malloc(count * sizeof *rows);
    if (rows == NULL) return;
    for (size_t i = 0; i < run->count; i++)
        if (run->rows[i].status != CASE_OK) rows[n++] = i;
    qsort_r(rows, n, sizeof *rows, by_reason, run->rows);
    fprintf(out,
            "<section id=\"unmeasured\">\n<h2>Cases without a time</h2>\n<details%s><summary>%zu of %zu cases, "
            "each with its reason</summary>\n<div class=\"scroll\"><table><thead><tr><th>Case</th><th "
            "class=\"text\">Status"
            "</th><th class=\"text\">Reason</th></tr></thead><tbody>\n",
            page->data->by_status[CASE_WRONG] > 0 ? " open" : "", n, run->count);
    for (size_t i = 0; i < n; i++) {
        const record_row *row = &run->rows[rows[i]];
        char name[CASE_NAME_MAX];
        fputs("<tr><td><code>", out);
        report_escape(out, record_case_name(row, name));
        fprintf(out, "</code></td><td class=\"text%s\">%s</td><td class=\"text wrap\">",
                row->status >= CASE_WRONG ? " bad" : "", case_status_name(row->status));
        report_escape(out, row->reason);
        fputs("</td></tr>\n", out);
    }
    fputs("</tbody></table></div></details>\n</section>\n", out);
    free(rows);
}

/* ---- the machine */

/* One row per scalar of run.json, nested keys joined: "machine cpu". */
static void put_json(FILE *out, const char *path, const json_t *value)
{
    const char *key;
    json_t *entry;
    size_t i;
    char deeper[256];
    if (json_is_object(value)) {
        json_object_foreach((json_t *)value, key, entry)
        {
            snprintf(deeper, sizeof deeper, "%s%s%s", path, *path ? " " : "", key);
            put_json(out, deeper, entry);
        }
    } else if (json_is_array(value) &&
               (json_is_object(json_array_get(value, 0)) || json_is_array(json_array_get(value, 0)))) {
        json_array_foreach(value, i, entry)
        {
            snprintf(deeper, sizeof deeper, "%s %zu", path, i + 1);
            put_json(out, deeper, entry);
        }
    } else {
        char *text = json_is_string(value) ? NULL : json_dumps(value, JSON_ENCODE_ANY | JSON_REAL_PRECISION(6));
        report_put(out, "<tr><td>", path, "</td><td class=\"text wrap\">");
        report_escape(out, text != NULL ? text : json_is_string(value) ? json_string_value(value) : "");
        fputs("</td></tr>\n", out);
        free(text);
    }
}

static void put_ceilings(FILE *out, const report_ceilings *c)
{
    char number[16];
    fprintf(out, "<p>Measured ceilings, %d thread%s: ", c->threads, c->threads == 1 ? "" : "s");
    bool first = true;
    for (int isa = 0; isa < CPU_ISA_COUNT; isa++)
        if (!isnan(c->fma_gflops[isa])) {
            fprintf(out, "%s%s GFLOP/s (%s)", first ? "" : ", ", report_number(c->fma_gflops[isa], number),
                    cpu_isa_name((cpu_isa)isa));
            first = false;
        }
    for (int level = 0; level < LEVEL_COUNT; level++)
        if (!isnan(c->bandwidth_gbps[level])) {
            fprintf(out, "%s%s GB/s (%s)", first ? "" : ", ", report_number(c->bandwidth_gbps[level], number),
                    memory_level_name((memory_level)level));
            first = false;
        }
    fputs(".</p>\n", out);
}

void page_machine(FILE *out, const report_page *page)
{
    for (int i = 0; i < page->data->ceiling_count; i++) put_ceilings(out, &page->data->ceilings[i]);
    fputs("<details><summary>Machine, compiler, versions: all of run.json</summary>\n<div "
          "class=\"scroll\"><table><tbody>\n",
          out);
    put_json(out, "", page->data->run->run);
    fputs("</tbody></table></div></details>\n", out);
}
