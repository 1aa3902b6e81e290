/* Where it breaks even; and the same problem in two settings: more threads, cold against warm caches. */
#include <stdlib.h>
#include <string.h>

#include "page.h"

/* ---- the same problem in two settings */

static bool same_but(const report_setting *a, const report_setting *b, bool threads, bool cache)
{
    conv_problem x = a->shape, y = b->shape;
    x.ic = y.ic, x.oc = y.oc, x.groups = y.groups, x.variant = y.variant,
    x.depth_multiplier = y.depth_multiplier;
    return memcmp(x.axis, y.axis, sizeof x.axis) == 0 && x.mb == y.mb && x.rank == y.rank &&
           x.layout == y.layout && x.bias == y.bias && x.post_op == y.post_op &&
           (threads || a->threads == b->threads) && (cache || a->cache == b->cache);
}

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

static void put_table_head(FILE *out, const report_setting *s, const char *first, const char *second)
{
    char name[160];
    fputs("<details open><summary>", out);
    report_escape(out, report_setting_name(s, name, sizeof name));
    fprintf(out,
            "</summary>\n<div class=\"scroll\"><table><thead><tr><th>Best exact "
            "of</th><th>%s</th><th>%s</th><th>Times as fast</th></tr></thead><tbody>\n",
            first, second);
}

void page_scaling(FILE *out, const report_page *page)
{
    const report_data *data = page->data;
    bool open = false;
    for (size_t i = 0; i < data->setting_count; i++)
        for (size_t j = 0; j < data->setting_count; j++) {
            const report_setting *one = &data->settings[i], *many = &data->settings[j];
            if (one->threads >= many->threads || one->threads != 1 || !same_but(one, many, true, false))
                continue;
            if (!open) fputs("<section id=\"scaling\">\n<h2>More threads</h2>\n", out);
            open = true;
            char threads[32];
            snprintf(threads, sizeof threads, "%d threads", many->threads);
            put_table_head(out, many, "1 thread", threads);
            put_twins(out, page, one, many);
            fputs("</tbody></table></div></details>\n", out);
        }
    if (open) fputs("</section>\n", out);
}

void page_cold(FILE *out, const report_page *page)
{
    const report_data *data = page->data;
    bool open = false;
    for (size_t i = 0; i < data->setting_count; i++)
        for (size_t j = 0; j < data->setting_count; j++) {
            const report_setting *cold = &data->settings[i], *warm = &data->settings[j];
            if (cold->cache != CACHE_COLD || warm->cache != CACHE_WARM || !same_but(cold, warm, false, true))
                continue;
            if (!open)
                fputs("<section id=\"cold\">\n<h2>Cold and warm caches</h2>\n<p class=\"note\">Cold: every "
                      "operand was evicted from all caches before each call.</p>\n",
                      out);
            open = true;
            put_table_head(out, warm, "Cold", "Warm");
            put_twins(out, page, cold, warm);
            fputs("</tbody></table></div></details>\n", out);
        }
    if (open) fputs("</section>\n", out);
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
