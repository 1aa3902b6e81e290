/* Separable over dense of all machines against channels, a picture for each pass and shape. */
#include <math.h>

#include "sides.h"

#define LINE(i, l, d)                                                                                          \
    {                                                                                                          \
        .css = "--machine-" #i, .light = l, .dark = d                                                          \
    }

const report_data sides_palette = {.impl_count = SIDES_COLORS,
                                   .impls = {LINE(1, CHART_BLUE, "#4b97f5"), LINE(2, CHART_RED, "#ff6f5f"),
                                             LINE(3, CHART_GREEN, "#5cc47f"), LINE(4, "#6a3db8", "#a17df5"),
                                             LINE(5, "#94661a", "#d3a54c"), LINE(6, "#b8156f", "#ff6db6"),
                                             LINE(7, "#0c8080", "#3fcaca"), LINE(8, "#4d6a76", "#8fb1bf")}};

char *sides_picture(conv_pass pass, size_t setting, int part, char *buffer)
{
    if (part == 0)
        snprintf(buffer, 64, "machines-%s-%zu", conv_pass_name(pass), setting + 1);
    else
        snprintf(buffer, 64, "machines-%s-%zu-%d", conv_pass_name(pass), setting + 1, part + 1);
    return buffer;
}

/* All machines and both passes have one scale. */
static double most_speedup(const sides *s, const sides_setting *setting)
{
    double most = 1;
    report_ratio ratio;
    for (size_t k = 0; k < setting->count; k++)
        for (int m = 0; m < s->count; m++)
            if (sides_speedup(s, m, &setting->points[k], &ratio)) most = chart_most_speedup(most, &ratio);
    return most;
}

static void add_promise(chart *c, const sides *s, const sides_setting *setting, conv_pass pass)
{
    chart_add_line(c, "promised", CHART_MUTED, REPORT_DOTTED, 1.6, false);
    for (size_t k = 0; k < setting->count; k++)
        for (int m = 0; m < s->count && report_on_curve(setting->points[k].key, pass); m++) {
            report_ratio ratio;
            if (!sides_speedup(s, m, &setting->points[k], &ratio)) continue;
            chart_add_point(c, (double)setting->points[k].key->ic, ratio.promised, NAN, NAN);
            break;
        }
}

/* A gap where it is not determined. */
static void add_machine(chart *c, const sides *s, int machine, const sides_setting *setting, conv_pass pass)
{
    const int line = machine % SIDES_LINES;
    chart_add_line(c, s->machines[machine]->label, sides_palette.impls[line % SIDES_COLORS].light,
                   line < SIDES_COLORS ? REPORT_SOLID : REPORT_DASHED, 2, true);
    for (size_t k = 0; k < setting->count; k++) {
        const sides_point *p = &setting->points[k];
        report_ratio ratio;
        if (!report_on_curve(p->key, pass)) continue;
        chart_add_speedup(c, (double)p->key->ic, sides_speedup(s, machine, p, &ratio) ? &ratio : NULL);
    }
}

static bool compose_part(const sides *s, size_t index, conv_pass pass, int part, const chart_album *album)
{
    const sides_setting *setting = &s->settings[index];
    char name[64];
    chart c;
    if (!chart_begin(&c, sides_picture(pass, index, part, name), "machines", "lines")) {
        chart_drop(&c);
        return false;
    }
    fputs("set lmargin at screen 0.08\nset rmargin at screen 0.62\n", c.extra); /* names of machines are long */
    report_setting_name(&setting->shape, c.subtitle, sizeof c.subtitle);
    chart_channels(&c);
    for (size_t k = 0; k < setting->count; k++)
        if (report_on_curve(setting->points[k].key, setting->points[k].key->pass))
            chart_show_x(&c, (double)setting->points[k].key->ic);
    chart_speedup(&c, pass, most_speedup(s, setting));
    add_promise(&c, s, setting, pass);
    for (int m = part * SIDES_LINES; m < s->count && m < (part + 1) * SIDES_LINES; m++)
        add_machine(&c, s, m, setting, pass);
    return chart_finish(&c, album);
}

static bool has_point(const sides_setting *setting, conv_pass pass)
{
    for (size_t k = 0; k < setting->count; k++)
        if (report_on_curve(setting->points[k].key, pass)) return true;
    return false;
}

bool sides_compose(const void *subject, const chart_album *album)
{
    const sides *s = subject;
    bool fine = true;
    for (size_t i = 0; i < s->setting_count; i++)
        for (int pass = CONV_FORWARD; pass <= CONV_BACKWARD; pass++)
            for (int part = 0; sides_is_curve(&s->settings[i]) && has_point(&s->settings[i], (conv_pass)pass) &&
                               part * SIDES_LINES < s->count;
                 part++)
                fine = fine && compose_part(s, i, (conv_pass)pass, part, album);
    return fine;
}
