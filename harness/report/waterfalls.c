#include "waterfalls.h"

#include <math.h>

#include "page.h"

int report_waterfalls(const report_data *data, waterfall_sink *sink, void *ctx)
{
    int found = 0;
    for (size_t s = 0; s < data->setting_count; s++)
        for (size_t i = 0; i < data->settings[s].count; i++) {
            report_ratio ratio;
            waterfall w;
            const report_point *point = &data->settings[s].points[i];
            if (!report_speedup(data, point, -1, &ratio) || !rule_determined(ratio.times.outcome)) continue;
            const waterfall_rows rows = waterfall_find(waterfall_run_row, data->run, ratio.slow, ratio.fast);
            if (!waterfall_of(&rows, &w)) continue;
            sink(ctx, &data->settings[s], point, &w);
            found++;
        }
    return found;
}

/* ---- the picture */

enum { WIDTH = 440, LABELS = 128, VALUES = 56, ROW = 21, HEAD = 24, BAR = 13 };

typedef struct {
    FILE *out;
    double least, most; /* of the axis */
} picture;

static picture picture_of(FILE *out, const waterfall *w)
{
    double at = w->promised;
    picture s = {out, fmin(1, at), at};
    for (int i = 0; i < WATERFALL_STEPS; i++) {
        at *= w->step[i].factor;
        s.least = fmin(s.least, at);
        s.most = fmax(s.most, at);
    }
    s.least /= 1.15;
    s.most *= 1.05;
    return s;
}

static double x_of(const picture *s, double value)
{
    return LABELS + (WIDTH - LABELS - VALUES) * log(value / s->least) / log(s->most / s->least);
}

static void put_row(FILE *out, int row, const char *label, const char *value)
{
    int y = HEAD + row * ROW + ROW / 2;
    fprintf(out, "<text x=\"%d\" y=\"%d\" text-anchor=\"end\">", LABELS - 8, y + 4);
    report_escape(out, label);
    fprintf(out, "</text><text x=\"%d\" y=\"%d\" text-anchor=\"end\">%s</text>", WIDTH, y + 4, value);
}

static void put_bar(const picture *s, int row, double from, double to, const char *color, const char *title)
{
    double x = x_of(s, fmin(from, to)), width = fmax(1, x_of(s, fmax(from, to)) - x);
    fprintf(s->out, "<rect x=\"%.1f\" y=\"%d\" width=\"%.1f\" height=\"%d\" fill=\"var(%s)\"><title>", x,
            HEAD + row * ROW + (ROW - BAR) / 2, width, BAR, color);
    report_escape(s->out, title);
    fputs("</title></rect>\n", s->out);
}

void waterfall_svg(FILE *out, const waterfall *w, const char *title)
{
    const picture s = picture_of(out, w);
    char value[24], number[16];
    double at = w->promised;
    int height = HEAD + (WATERFALL_STEPS + 2) * ROW + 6;
    fprintf(out, "<svg viewBox=\"0 0 %d %d\" role=\"img\" aria-label=\"", WIDTH, height);
    report_escape(out, title);
    fputs("\" font-size=\"12\" fill=\"var(--ink)\">\n<text x=\"0\" y=\"14\" font-weight=\"600\">", out);
    report_escape(out, title);
    fprintf(out,
            "</text>\n<line x1=\"%.1f\" x2=\"%.1f\" y1=\"%d\" y2=\"%d\" stroke=\"var(--axis)\" "
            "stroke-dasharray=\"3 3\"/>\n",
            x_of(&s, 1), x_of(&s, 1), HEAD, height);
    snprintf(value, sizeof value, "%s&times;", report_number(at, number));
    put_row(out, 0, "promised", value);
    put_bar(&s, 0, s.least, at, "--muted", "the ratio of multiplications");
    for (int i = 0; i < WATERFALL_STEPS; i++) {
        const waterfall_step *step = &w->step[i];
        snprintf(value, sizeof value, step->measured ? "&times;%s" : "-", report_number(step->factor, number));
        put_row(out, i + 1, step->label, value);
        if (step->measured)
            put_bar(&s, i + 1, at, at * step->factor, step->factor < 1 ? "--backward" : "--forward",
                    step->from);
        at *= step->factor;
    }
    snprintf(value, sizeof value, "%s&times;", report_number(w->speedup, number));
    put_row(out, WATERFALL_STEPS + 1, "speedup", value);
    put_bar(&s, WATERFALL_STEPS + 1, s.least, w->speedup, "--ink", "dense time over separable time");
    fputs("</svg>\n", out);
}

/* ---- the section */

typedef struct {
    FILE *out;
    const report_setting *setting; /* of the group of pictures that is open */
} section;

static void put_one(void *ctx, const report_setting *setting, const report_point *point, const waterfall *w)
{
    section *s = ctx;
    char title[200], name[160];
    if (s->setting == NULL)
        fputs(
            "<section id=\"waterfall\">\n<h2>Where the promise goes</h2>\n<p class=\"note\">From the ratio of "
            "multiplications to the speedup, both sides by their best exact implementations. Each bar begins "
            "where the one before ended; the factors' product is the way exactly. Measured: dense and "
            "separable, depthwise and pointwise alone, barriers.</p>\n",
            s->out);
    if (s->setting != setting) {
        fputs(s->setting != NULL ? "</div></details>\n<details><summary>" : "<details open><summary>", s->out);
        report_escape(s->out, report_setting_name(setting, name, sizeof name));
        fputs("</summary>\n<div class=\"plots\">\n", s->out);
    }
    s->setting = setting;
    snprintf(title, sizeof title, "%s, %lld channels", conv_pass_name(point->pass), (long long)point->ic);
    fputs("<figure>", s->out);
    waterfall_svg(s->out, w, title);
    fputs("</figure>\n", s->out);
}

void page_waterfalls(FILE *out, const report_page *page)
{
    section s = {.out = out};
    if (report_waterfalls(page->data, put_one, &s) > 0) fputs("</div></details>\n</section>\n", out);
}
