/* Cells of tables, and two tables: what has no time, and the machine. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "page.h"

const char *page_pass(conv_pass pass)
{
    static const char *const names[] = {"Forward", "Backward", "Backward, data", "Backward, weights"};
    return names[pass];
}

void page_channels(FILE *out, const report_point *q)
{
    fprintf(out, "<td>%lld", (long long)q->ic);
    if (q->oc != q->ic) fprintf(out, " &rarr; %lld", (long long)q->oc);
    if (q->depth_multiplier != 1)
        fprintf(out, "<small>multiplier %lld</small>", (long long)q->depth_multiplier);
    fputs("</td>", out);
}

void page_interval(FILE *out, const rule_time *time)
{
    char a[24], b[24];
    report_time(time->low, a);
    report_time(time->high, b);
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
    char text[24], name[CASE_NAME_MAX];
    if (row == NULL) {
        fputs("<td>&ndash;</td>", out);
        return;
    }
    rule_time time = rule_time_of(row);
    fprintf(out, "<td%s data-case=\"", rule_shown(&time) ? "" : " class=\"even\"");
    report_escape(out, record_case_name(row, name));
    fprintf(out, "\">%s<small>", report_time(time.median, text));
    if (time.disturbed)
        fputs("disturbed", out);
    else if (isnan(time.low))
        fprintf(out, "%d repetition%s", row->repetitions, row->repetitions == 1 ? "" : "s");
    else
        page_interval(out, &time);
    report_put(out, "<br>", row->impl, "</small></td>");
}

void page_ratio_cell(FILE *out, const report_ratio *ratio, bool rough)
{
    static const char *const classes[RATIO_OUTCOMES] = {"good", "bad", "even", "even", "even"};
    const rule_ratio *r = &ratio->times;
    bool known = rule_determined(r->outcome);
    fprintf(out, "<td class=\"%s%s\">", known ? "main " : "", classes[r->outcome]);
    if (known || rough)
        fprintf(out, "%.2f&times;<small>", r->value);
    else
        fputs("&ndash;<small>", out);
    if (!known)
        fputs(rule_reason(r->outcome), out);
    else if (r->outcome == RATIO_SAME)
        fputs("no measurable difference", out);
    else
        fprintf(out, "%.2f to %.2f", r->low, r->high);
    fputs("</small></td>", out);
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
        fputs("<tr><td>", out);
        report_escape(out, path);
        fputs("</td><td class=\"text wrap\">", out);
        report_escape(out, text != NULL ? text : json_is_string(value) ? json_string_value(value) : "");
        fputs("</td></tr>\n", out);
        free(text);
    }
}

static void put_ceilings(FILE *out, const report_ceilings *c)
{
    static const char *const levels[] = {"L1", "L2", "L3", "DRAM"};
    char number[16];
    fprintf(out, "<p>Measured ceilings, %d thread%s: ", c->threads, c->threads == 1 ? "" : "s");
    bool first = true;
    for (int isa = 0; isa < CPU_ISA_COUNT; isa++)
        if (!isnan(c->fma_gflops[isa])) {
            fprintf(out, "%s%s GFLOP/s (%s)", first ? "" : ", ", report_number(c->fma_gflops[isa], number),
                    cpu_isa_name((cpu_isa)isa));
            first = false;
        }
    for (int level = 0; level < 4; level++)
        if (!isnan(c->bandwidth_gbps[level])) {
            fprintf(out, "%s%s GB/s (%s)", first ? "" : ", ", report_number(c->bandwidth_gbps[level], number),
                    levels[level]);
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
