/* Each engine against itself, its separable convolution beside its dense one, and sepbench against each engine.
 * The first is what TensorFlow's users asked: they had one engine, not the best of all. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "page.h"
#include "verdict.h"

/* ---- words */

static verdict_tally tally(const report_data *data, const report_setting *s, conv_pass pass, const char *engine)
{
    verdict_tally t = {0};
    for (size_t i = 0; i < s->count; i++) {
        report_ratio p;
        if (s->points[i].pass == pass && report_engine_speedup(data, &s->points[i], engine, &p))
            verdict_tally_point(&s->points[i], &p.times, &t);
    }
    return t;
}

static void tell_engine(const report_data *data, const char *engine, verdict *v)
{
    verdict_tally sums[2] = {{0}, {0}};
    int settings = 0;
    for (size_t i = 0; i < data->setting_count; i++) {
        int count = 0;
        for (int pass = CONV_FORWARD; pass <= CONV_BACKWARD; pass++) {
            verdict_tally t = tally(data, &data->settings[i], (conv_pass)pass, engine);
            verdict_add_tally(&sums[pass], &t);
            count += t.count;
        }
        settings += count > 0;
    }
    if (sums[0].determined + sums[1].determined == 0) return;
    char *text = NULL;
    size_t size;
    FILE *out = open_memstream(&text, &size);
    if (out == NULL) return;
    verdict_put_passes(out, (const verdict_tally *const[]){&sums[0], &sums[1]}, settings);
    fclose(out);
    const char *version = report_engine_version(data, engine);
    bool whole = sums[0].determined == sums[0].count && sums[1].determined == sums[1].count;
    verdict_line(v, "%s%s%s%s: its own separable convolution is faster than its own dense one%s %s.", engine,
                 version != NULL ? " (" : "", version != NULL ? version : "", version != NULL ? ")" : "",
                 whole ? "" : ", as far as this run can tell,", text);
    free(text);
}

void verdict_engines(const report_data *data, verdict *v)
{
    for (int e = 0; e < data->engine_count; e++) tell_engine(data, data->engines[e], v);
}

/* ---- the page */

/* Whether the engine has both sides of one of the setting's points. */
static bool takes_part(const report_data *data, const report_setting *s, const char *engine)
{
    return tally(data, s, CONV_FORWARD, engine).count + tally(data, s, CONV_BACKWARD, engine).count > 0;
}

static void put_head(FILE *out, const report_page *page, const char *first)
{
    report_put(out, "<div class=\"scroll\"><table><thead><tr><th>", first, "</th>");
    for (int e = 0; e < page->data->engine_count; e++) report_put(out, "<th>", page->data->engines[e], "</th>");
}

/* Channels down, engines across: separable over dense. */
static void put_speedups(FILE *out, const report_page *page, const report_setting *s, conv_pass pass)
{
    const report_data *data = page->data;
    put_head(out, page, page_pass(pass));
    fputs("<th>sepbench</th></tr></thead><tbody>\n", out);
    for (size_t i = 0; i < s->count; i++) {
        const report_point *q = &s->points[i];
        report_ratio p;
        if (q->pass != pass || !report_speedup(data, q, -1, &p)) continue;
        fputs("<tr>", out);
        page_channels(out, q);
        for (int e = 0; e <= data->engine_count; e++) {
            if (report_engine_speedup(data, q, e < data->engine_count ? data->engines[e] : NULL, &p))
                page_ratio_cell(out, &p, true);
            else
                fputs("<td>&ndash;</td>", out);
        }
        fputs("</tr>\n", out);
    }
    fputs("</tbody></table></div>\n", out);
}

static void put_mean(FILE *out, const versus_mean *m)
{
    if (m->determined == 0)
        fputs("<td>&ndash;</td>", out);
    else
        fprintf(out, "<td class=\"%s\">%.2f&times;<small>%.2f to %.2f, %d of %d</small></td>",
                m->mean > 1 && m->ahead > 0    ? "good"
                : m->mean < 1 && m->behind > 0 ? "bad"
                                               : "even",
                m->mean, m->least, m->most, m->determined, m->count);
}

/* Variants and passes down, engines across: theirs over ours. */
static void put_means(FILE *out, const report_page *page, const report_setting *s)
{
    put_head(out, page, "sepbench is");
    fputs("</tr></thead><tbody>\n", out);
    for (int v = 0; v < CONV_VARIANT_COUNT; v++)
        for (int pass = 0; pass < CONV_PASS_COUNT; pass++) {
            versus_mean means[REPORT_MAX_IMPLS];
            int count = 0;
            for (int e = 0; e < page->data->engine_count; e++) {
                means[e] = report_versus_mean(page->data, s, (conv_variant)v, (conv_pass)pass,
                                              page->data->engines[e], false);
                count += means[e].count;
            }
            if (count == 0) continue;
            fprintf(out, "<tr><td>%s %s</td>", conv_variant_name((conv_variant)v),
                    conv_pass_name((conv_pass)pass));
            for (int e = 0; e < page->data->engine_count; e++) put_mean(out, &means[e]);
            fputs("</tr>\n", out);
        }
    fputs("</tbody></table></div>\n", out);
}

/* An engine that is not on the machine has rows too, all refused. */
static bool is_compared(const report_data *data, const char *engine)
{
    int count = 0;
    for (size_t i = 0; i < data->setting_count; i++)
        for (int pass = CONV_FORWARD; pass <= CONV_BACKWARD; pass++)
            count += tally(data, &data->settings[i], (conv_pass)pass, engine).count;
    return count > 0;
}

static void put_setting(FILE *out, const report_page *page, const report_setting *s)
{
    char name[160];
    report_put(out, "<h3>", report_setting_name(s, name, sizeof name), "</h3>\n");
    for (int pass = CONV_FORWARD; pass <= CONV_BACKWARD; pass++) {
        bool any = false;
        for (int e = 0; e < page->data->engine_count; e++)
            any = any || tally(page->data, s, (conv_pass)pass, page->data->engines[e]).count > 0;
        if (any) put_speedups(out, page, s, (conv_pass)pass);
    }
    report_put(out, "<details><summary>sepbench beside each engine: ", name, "</summary>\n");
    put_means(out, page, s);
    fputs("</details>\n", out);
}

static void put_legend(FILE *out, const report_page *page)
{
    fputs("<p class=\"note\">", out);
    bool first = true;
    for (int e = 0; e < page->data->engine_count; e++) {
        const char *version = report_engine_version(page->data, page->data->engines[e]);
        if (version == NULL && !is_compared(page->data, page->data->engines[e])) continue;
        report_put(out, first ? "<b>" : "; <b>", page->data->engines[e], "</b> ");
        first = false;
        report_escape(out, version != NULL ? version : "of an unknown version");
    }
    fputs(".</p>\n", out);
}

void page_engines(FILE *out, const report_page *page)
{
    const report_data *data = page->data;
    bool open = false;
    for (size_t i = 0; i < data->setting_count; i++) {
        const report_setting *s = &data->settings[i];
        bool any = false;
        for (int e = 0; e < data->engine_count; e++) any = any || takes_part(data, s, data->engines[e]);
        if (!any || !report_is_sweep(s)) continue;
        if (!open) {
            fputs("<section id=\"engines\">\n<h2>What each engine makes of it</h2>\n<p class=\"note\">Each "
                  "engine&rsquo;s own separable convolution against its own dense one, both by its best exact "
                  "implementation: how many times as fast. Folded below: how many times as fast as the engine "
                  "sepbench is, geometric means over the channel counts that are determined.</p>\n",
                  out);
            put_legend(out, page);
            page_plots(out, page, "engines");
        }
        open = true;
        put_setting(out, page, s);
    }
    if (open) fputs("</section>\n", out);
}
