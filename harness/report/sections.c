/* Where it breaks even; and the same problem in two settings: more threads, cold against warm caches. */
#include <stdlib.h>
#include <string.h>

#include "page.h"

static const report_point *twin(const report_setting *s, const report_point *q)
{
    for (size_t i = 0; i < s->count; i++)
        if (s->points[i].ic == q->ic && s->points[i].oc == q->oc && s->points[i].pass == q->pass &&
            s->points[i].depth_multiplier == q->depth_multiplier)
            return &s->points[i];
    return NULL;
}

/* One table row per point and variant: best exact in either setting. Returns rows written. */
static int put_twins(FILE *out, const report_page *page, const report_setting *a, const report_setting *b)
{
    int rows = 0;
    for (int v = 0; v < CONV_VARIANT_COUNT; v++)
        for (size_t i = 0; i < a->count; i++) {
            const report_point *q = &a->points[i], *other = twin(b, q);
            report_ratio p;
            if (other == NULL || q->pass > CONV_BACKWARD ||
                !report_compare(report_best(page->data, q, (conv_variant)v, BEST_EXACT),
                                report_best(page->data, other, (conv_variant)v, BEST_EXACT), &p))
                continue;
            fprintf(out, "<tr><td>%s %s, %lld</td>", conv_variant_name((conv_variant)v),
                    conv_pass_name(q->pass), (long long)q->ic);
            page_time_cell(out, p.slow);
            page_time_cell(out, p.fast);
            page_ratio_cell(out, &p, true);
            fputs("</tr>\n", out);
            rows++;
        }
    return rows;
}

typedef struct {
    const char *opening; /* of the section */
    unsigned but;        /* what the two settings differ in */
    bool (*wanted)(const report_setting *first, const report_setting *second);
    const char *(*name)(const report_setting *s, char *buffer, size_t size); /* of a column */
} twin_section;

static void put_section(FILE *out, const report_page *page, const twin_section *t)
{
    const report_data *data = page->data;
    bool open = false;
    for (size_t i = 0; i < data->setting_count; i++)
        for (size_t j = 0; j < data->setting_count; j++) {
            const report_setting *first = &data->settings[i], *second = &data->settings[j];
            char name[160], left[32], right[32];
            if (!t->wanted(first, second) || !report_alike(first, second, t->but)) continue;
            if (!open) fputs(t->opening, out);
            open = true;
            report_put(out, "<details open><summary>", report_setting_name(second, name, sizeof name),
                       "</summary>\n<div class=\"scroll\"><table><thead><tr><th>Best exact of</th>");
            fprintf(out, "<th>%s</th><th>%s</th><th>Times as fast</th></tr></thead><tbody>\n",
                    t->name(first, left, sizeof left), t->name(second, right, sizeof right));
            put_twins(out, page, first, second);
            fputs("</tbody></table></div></details>\n", out);
        }
    if (open) fputs("</section>\n", out);
}

static bool is_scaling(const report_setting *one, const report_setting *many)
{
    return one->threads == 1 && many->threads > 1;
}

static const char *threads_name(const report_setting *s, char *buffer, size_t size)
{
    snprintf(buffer, size, "%d thread%s", s->threads, s->threads == 1 ? "" : "s");
    return buffer;
}

void page_scaling(FILE *out, const report_page *page)
{
    static const twin_section scaling = {"<section id=\"scaling\">\n<h2>More threads</h2>\n", BUT_THREADS,
                                         is_scaling, threads_name};
    put_section(out, page, &scaling);
}

static bool is_cold_and_warm(const report_setting *cold, const report_setting *warm)
{
    return cold->cache == CACHE_COLD && warm->cache == CACHE_WARM;
}

static const char *cache_name(const report_setting *s, char *buffer, size_t size)
{
    (void)buffer, (void)size;
    return s->cache == CACHE_COLD ? "Cold" : "Warm";
}

void page_cold(FILE *out, const report_page *page)
{
    static const twin_section cold = {
        "<section id=\"cold\">\n<h2>Cold and warm caches</h2>\n<p class=\"note\">Cold: every operand was "
        "evicted from all caches before each call.</p>\n",
        BUT_CACHE, is_cold_and_warm, cache_name};
    put_section(out, page, &cold);
}

void page_map(FILE *out, const report_page *page)
{
    char *text = NULL;
    size_t size;
    FILE *body = open_memstream(&text, &size);
    if (body == NULL) return;
    bool any = page_plots(body, page, "map");
    fclose(body);
    if (any) fprintf(out, "<section id=\"map\">\n%s</section>\n", text);
    free(text);
}
