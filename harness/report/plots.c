/* Which pictures a run gives, their lines and points; then gnuplot draws them all in one go. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "../grow.h"
#include "../machine/machine.h"
#include "../output.h"
#include "drawing.h"
#include "training.h"

static const char *const pass_words[] = {"forward", "backward", "backward, data", "backward, weights"};
static const char *const variant_words[] = {"Dense", "Depthwise", "Pointwise", "Separable"};

/* ---- collecting */

bool chart_finish(chart *c, const chart_album *album)
{
    report_plot plot = c->plot;
    if (!chart_end(c, album->script)) return true;
    report_plot *kept = grow(&album->plots->plots, &album->plots->count, sizeof *kept);
    if (kept != NULL) *kept = plot;
    return kept != NULL;
}

/* "time-dense-forward-1": file names stay short and safe. */
static bool begin(chart *c, const char *section, const report_setting *s, size_t index, conv_pass pass,
                  const char *variant)
{
    char name[64];
    snprintf(name, sizeof name, "%s%s%s-%s-%zu", section, *variant ? "-" : "", variant, conv_pass_name(pass),
             index + 1);
    if (!chart_begin(c, name, section, "lines")) {
        chart_drop(c);
        return false;
    }
    report_setting_name(s, c->subtitle, sizeof c->subtitle);
    return true;
}

void chart_channels(chart *c)
{
    c->x.ticks = TICKS_CHANNELS;
    c->x.log = true;
    c->x.label = "channels, in = out";
}

/* All pictures of a setting have the same channel axis, so that they can be compared. */
static void channel_axis(chart *c, const report_setting *s)
{
    chart_channels(c);
    for (size_t k = 0; k < s->count; k++)
        if (s->points[k].ic == s->points[k].oc) chart_show_x(c, (double)s->points[k].ic);
}

static double line_width(const report_impl *impl) { return impl->peer ? 1.4 : 1.8; }

/* ---- time against channels, percent of peak */

typedef struct {
    const char *section, *title;
    chart_axis y;
    bool bars;
    double (*value)(const record_row *row);
} row_plot;

static double median_of(const record_row *row) { return row->median_ns; }
static double percent_of(const record_row *row) { return row->percent_peak; }

static const row_plot row_plots[] = {
    {"time", "%s %s: time", {.ticks = TICKS_TIME, .log = true, .label = ""}, true, median_of},
    {"peak", "%s %s: %% of the FMA peak", {.ticks = TICKS_PERCENT, .label = ""}, false, percent_of},
};

static bool plot_rows(const row_plot *kind, const report_data *data, size_t index, conv_variant variant,
                      conv_pass pass, const chart_album *album)
{
    const report_setting *s = &data->settings[index];
    chart c;
    if (!begin(&c, kind->section, s, index, pass, conv_variant_name(variant))) return false;
    snprintf(c.plot.title, sizeof c.plot.title, kind->title, variant_words[variant], pass_words[pass]);
    channel_axis(&c, s);
    chart_axis empty = c.y;
    c.y = kind->y;
    c.y.least = kind->y.log ? empty.least : 0;
    c.y.most = kind->y.ticks == TICKS_PERCENT ? 100 : empty.most;
    for (int i = 0; i < data->impl_count; i++) {
        const report_impl *impl = &data->impls[i];
        chart_add_line(&c, impl->name, impl->light, impl->dash, line_width(impl), true);
        for (size_t k = 0; k < s->count; k++) {
            const record_row *row =
                report_on_curve(&s->points[k], pass) ? report_row(&s->points[k], variant, i) : NULL;
            if (row == NULL) continue;
            rule_time time = rule_time_of(row);
            if (!rule_shown(&time))
                chart_add_rough(&c, (double)s->points[k].ic, kind->value(row));
            else
                chart_add_point(&c, (double)s->points[k].ic, kind->value(row), kind->bars ? time.low : NAN,
                                time.high);
        }
    }
    return chart_finish(&c, album);
}

/* ---- speedup of separable over dense */

void chart_break_even(chart *c)
{
    chart_add_line(c, "break-even", CHART_AXIS, REPORT_SOLID, 1.4, false);
    chart_add_point(c, c->xs[0], 1, NAN, NAN);
    chart_add_point(c, c->xs[c->x_count - 1], 1, NAN, NAN);
}

void chart_speedup(chart *c, conv_pass pass, double most)
{
    snprintf(c->plot.title, sizeof c->plot.title, "%s: separable over dense, times as fast",
             pass == CONV_FORWARD ? "Forward" : "Backward");
    c->y.least = 0;
    c->y.most = most;
    c->clip = true;
    chart_break_even(c);
}

double chart_most_speedup(double most, const report_ratio *ratio)
{
    most = fmax(most, ratio->promised);
    return rule_determined(ratio->times.outcome) ? fmax(most, ratio->times.high) : most;
}

void chart_add_speedup(chart *c, double x, const report_ratio *ratio)
{
    if (ratio != NULL && rule_determined(ratio->times.outcome))
        chart_add_point(c, x, ratio->times.value, ratio->times.low, ratio->times.high);
    else
        chart_add_gap(c);
}

static void add_promise(chart *c, const report_data *data, const report_setting *s, conv_pass pass)
{
    chart_add_line(c, "promised", CHART_MUTED, REPORT_DOTTED, 1.6, false);
    for (size_t k = 0; k < s->count; k++) {
        report_ratio ratio;
        if (report_on_curve(&s->points[k], pass) && report_speedup(data, &s->points[k], -1, &ratio))
            chart_add_point(c, (double)s->points[k].ic, ratio.promised, NAN, NAN);
    }
}

/* Both sides by one implementation: where that is not determined, a hollow point, or, beyond the scale of what
 * is, a gap. */
static void add_same(chart *c, const report_data *data, const report_setting *s, conv_pass pass, int impl)
{
    for (size_t k = 0; k < s->count; k++) {
        report_ratio ratio;
        if (!report_on_curve(&s->points[k], pass) || !report_speedup(data, &s->points[k], impl, &ratio))
            continue;
        if (rule_determined(ratio.times.outcome))
            chart_add_point(c, (double)s->points[k].ic, ratio.times.value, NAN, NAN);
        else if (ratio.times.value <= c->y.most)
            chart_add_rough(c, (double)s->points[k].ic, ratio.times.value);
        else
            chart_add_gap(c);
    }
}

/* The answer, with the intervals, which would hide the lines were all to have them: a gap where it is not
 * determined. */
static void add_best(chart *c, const report_data *data, const report_setting *s, conv_pass pass)
{
    for (size_t k = 0; k < s->count; k++) {
        report_ratio ratio;
        if (!report_on_curve(&s->points[k], pass)) continue;
        bool known = report_speedup(data, &s->points[k], -1, &ratio);
        chart_add_speedup(c, (double)s->points[k].ic, known ? &ratio : NULL);
    }
}

/* Both passes have one scale: what is promised, and more where more arrives. */
static double most_speedup(const report_data *data, const report_setting *s)
{
    double most = 1;
    for (size_t k = 0; k < s->count; k++) {
        report_ratio ratio;
        if (s->points[k].pass <= CONV_BACKWARD && report_speedup(data, &s->points[k], -1, &ratio))
            most = chart_most_speedup(most, &ratio);
    }
    return most;
}

static bool plot_speedup(const report_data *data, size_t index, conv_pass pass, const chart_album *album)
{
    const report_setting *s = &data->settings[index];
    chart c;
    if (!begin(&c, "speedup", s, index, pass, "")) return false;
    channel_axis(&c, s);
    chart_speedup(&c, pass, most_speedup(data, s));
    add_promise(&c, data, s, pass);
    bool any = isfinite(c.lines[1].end_y);
    for (int i = 0; any && i < data->impl_count; i++) {
        const report_impl *impl = &data->impls[i];
        if (impl->inexact) continue;
        chart_add_line(&c, impl->name, impl->light, impl->dash, 1.3, true);
        add_same(&c, data, s, pass, i);
    }
    chart_add_line(&c, "best exact", CHART_INK, REPORT_SOLID, 3, true);
    add_best(&c, data, s, pass);
    if (!any) {
        chart_drop(&c);
        return true;
    }
    return chart_finish(&c, album);
}

/* ---- each engine against itself */

static void add_engine(chart *c, const report_data *data, const report_setting *s, conv_pass pass,
                       const char *engine)
{
    for (size_t k = 0; k < s->count; k++) {
        report_ratio ratio;
        if (!report_on_curve(&s->points[k], pass) ||
            !report_engine_speedup(data, &s->points[k], engine, &ratio))
            continue;
        if (rule_determined(ratio.times.outcome))
            chart_add_point(c, (double)s->points[k].ic, ratio.times.value, ratio.times.low, ratio.times.high);
        else
            chart_add_rough(c, (double)s->points[k].ic, ratio.times.value);
    }
}

/* The first of the engine's implementations lends its colour. */
static const report_impl *look_of(const report_data *data, const char *engine)
{
    int i = 0;
    while (strcmp(data->impls[i].engine, engine) != 0) i++;
    return &data->impls[i];
}

static bool plot_engines(const report_data *data, size_t index, conv_pass pass, const chart_album *album)
{
    const report_setting *s = &data->settings[index];
    chart c;
    if (data->engine_count < 2) return true; /* the speedup's picture has it */
    if (!begin(&c, "engines", s, index, pass, "")) return false;
    snprintf(c.plot.title, sizeof c.plot.title, "%s: separable over dense by each engine",
             pass == CONV_FORWARD ? "Forward" : "Backward");
    channel_axis(&c, s);
    c.y.log = true;
    chart_break_even(&c);
    add_promise(&c, data, s, pass);
    for (int e = 0; e < data->engine_count; e++) {
        const report_impl *look = look_of(data, data->engines[e]);
        chart_add_line(&c, data->engines[e], look->light, REPORT_DASHED, 1.6, true);
        add_engine(&c, data, s, pass, data->engines[e]);
    }
    chart_add_line(&c, "sepbench", CHART_INK, REPORT_SOLID, 2.4, true);
    add_engine(&c, data, s, pass, NULL);
    return chart_finish(&c, album);
}

/* ---- roofline */

static void add_roofs(chart *c, const report_ceilings *roof, double from, double to)
{
    double top = 0;
    for (int isa = 0; isa < CPU_ISA_COUNT; isa++)
        if (roof->fma_gflops[isa] > top) top = roof->fma_gflops[isa];
    for (int isa = 0; isa < CPU_ISA_COUNT; isa++) {
        if (isnan(roof->fma_gflops[isa])) continue;
        char label[48];
        snprintf(label, sizeof label, "%s peak", cpu_isa_name((cpu_isa)isa));
        chart_add_line(c, label, CHART_MUTED, REPORT_SOLID, 1.2, false);
        chart_add_point(c, from, roof->fma_gflops[isa], NAN, NAN);
        chart_add_point(c, to, roof->fma_gflops[isa], NAN, NAN);
    }
    for (int level = 0; level < LEVEL_COUNT && top > 0; level++) {
        double gbps = roof->bandwidth_gbps[level];
        if (isnan(gbps) || from * gbps > top) continue; /* not measured, or nowhere the limit */
        double knee = fmin(to, fmax(top / gbps, from));
        chart_add_line(c, "", CHART_MUTED, REPORT_DASHED, 1, false);
        chart_add_point(c, from, from * gbps, NAN, NAN);
        chart_add_point(c, knee, knee * gbps, NAN, NAN);
        char text[48], number[16];
        snprintf(text, sizeof text, "%s %s GB/s", memory_level_name((memory_level)level),
                 report_number(gbps, number));
        chart_add_text(c, from, from * gbps, text, CHART_MUTED, "left offset 1.2,0.1 font \",10\"");
    }
}

static double intensity(const record_row *row)
{
    return (double)conv_flops(&row->problem, row->pass) / (double)conv_bytes_min(&row->problem, row->pass);
}

static bool plot_roofline(const report_data *data, size_t index, conv_pass pass, const chart_album *album)
{
    static const char *const colors[] = {CHART_INK, CHART_GREEN, CHART_BLUE, CHART_RED};
    const report_setting *s = &data->settings[index];
    const report_ceilings *roof = report_ceilings_of(data, s->threads);
    chart c;
    if (roof == NULL) return true; /* not measured */
    if (!begin(&c, "roofline", s, index, pass, "")) return false;
    snprintf(c.plot.title, sizeof c.plot.title, "Roofline, %s: GFLOP/s of the best exact", pass_words[pass]);
    c.x = (chart_axis){
        .log = true, .least = INFINITY, .most = -INFINITY, .label = "FLOP per byte, each tensor moved once"};
    c.y.log = true;
    double from = INFINITY, to = 0;
    for (int v = 0; v < CONV_VARIANT_COUNT; v++) {
        chart_add_line(&c, variant_words[v], colors[v], REPORT_SOLID, 1.6, true);
        for (size_t k = 0; k < s->count; k++) {
            const record_row *row = report_on_curve(&s->points[k], pass)
                                        ? report_best(data, &s->points[k], (conv_variant)v, BEST_EXACT)
                                        : NULL;
            if (row == NULL) continue;
            rule_time time = rule_time_of(row);
            double speed = (double)conv_flops(&row->problem, pass) / row->median_ns;
            if (rule_shown(&time))
                chart_add_point(&c, intensity(row), speed, NAN, NAN);
            else
                chart_add_rough(&c, intensity(row), speed);
            from = fmin(from, intensity(row));
            to = fmax(to, intensity(row));
        }
    }
    if (to > 0) add_roofs(&c, roof, from / 2, to * 1.3);
    return chart_finish(&c, album);
}

/* ---- all */

/* A map's purpose is its map: its lines would be dozens of pictures, its times stand in the tables. */
static bool wants_lines(const report_setting *s) { return strcmp(s->suite, "map") != 0; }

static bool compose_setting(const report_data *data, size_t i, const chart_album *album)
{
    bool fine = true;
    for (int pass = 0; pass < CONV_PASS_COUNT; pass++) {
        for (int v = 0; v < CONV_VARIANT_COUNT && wants_lines(&data->settings[i]); v++)
            for (size_t k = 0; k < sizeof row_plots / sizeof *row_plots; k++)
                if (report_has(&data->settings[i], (conv_variant)v, (conv_pass)pass))
                    fine = fine && plot_rows(&row_plots[k], data, i, (conv_variant)v, (conv_pass)pass, album);
        if (pass > CONV_BACKWARD) continue;
        fine = fine && plot_speedup(data, i, (conv_pass)pass, album);
        fine = fine && plot_engines(data, i, (conv_pass)pass, album);
        if (wants_lines(&data->settings[i])) fine = fine && plot_roofline(data, i, (conv_pass)pass, album);
    }
    return fine;
}

static bool compose(const void *subject, const chart_album *album)
{
    const report_data *data = subject;
    bool fine = true;
    for (size_t i = 0; i < data->setting_count; i++) {
        if (report_is_sweep(&data->settings[i])) fine = fine && compose_setting(data, i, album);
        for (int pass = CONV_FORWARD; pass <= CONV_BACKWARD; pass++) {
            chart c;
            if (fine && chart_map(&c, data, i, (conv_pass)pass)) fine = chart_finish(&c, album);
        }
    }
    return fine && training_plots(data, album) && scaling_plots(data, album);
}

static bool draw(const chart_drawing *d, const char *dir, const char *drawing, report_plots *plots,
                 conv_error *err)
{
    char path[4352];
    output o;
    snprintf(path, sizeof path, "%s/plots.gp", drawing);
    if (!output_open(&o, path, OUTPUT_OWN)) return output_fail(path, err);
    fprintf(o.file, "# Draws every picture of this report anew: gnuplot plots.gp\n");
    bool fine = d->compose(d->subject, &(chart_album){o.file, plots});
    if (!fine) conv_fail(err, CONV_NO_MEMORY, "out of memory");
    if (!output_close(&o, fine)) fine = output_fail(path, err);
    fine = fine && drawing_run(drawing, dir, err);
    for (size_t i = 0; fine && i < plots->count; i++) {
        snprintf(path, sizeof path, "%s/%s.svg", drawing, plots->plots[i].name);
        fine = svg_finish(path, plots->plots[i].name, plots->plots[i].title, d->palette, err);
    }
    return fine;
}

bool chart_draw(const chart_drawing *d, const char *dir, report_plots *plots, conv_error *err)
{
    char drawing[4096];
    *plots = (report_plots){0};
    if (!drawing_open(dir, drawing, sizeof drawing, err)) return false;
    bool fine = draw(d, dir, drawing, plots, err);
    fine = drawing_close(drawing, dir, fine, err) && fine;
    if (!fine) report_plots_destroy(plots);
    return fine;
}

bool report_plots_create(const report_data *data, const char *dir, report_plots *plots, conv_error *err)
{
    return chart_draw(&(chart_drawing){compose, data, data}, dir, plots, err);
}

void report_plots_destroy(report_plots *plots)
{
    free(plots->plots);
    *plots = (report_plots){0};
}
