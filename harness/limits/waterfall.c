#include "waterfall.h"
#include "../record/rule.h"

#include <math.h>
#include <stdarg.h>
#include <string.h>

/* ---- which rows */

typedef struct {
    waterfall_lookup *find;
    const void *rows;
    const record_row *like; /* of the pass and setting wanted */
} measured;

/* The ok row of that problem and implementation, or NULL. */
static const record_row *find_row(const measured *m, conv_problem p, const char *impl)
{
    char name[CASE_NAME_MAX];
    record_row wanted = *m->like;
    wanted.problem = p;
    snprintf(wanted.impl, sizeof wanted.impl, "%s", impl);
    const record_row *row = m->find(m->rows, record_case_name(&wanted, name));
    return row != NULL && row->status == CASE_OK ? row : NULL;
}

const record_row *waterfall_run_row(const void *run, const char *case_name)
{
    return record_find(run, case_name);
}

waterfall_rows waterfall_find(waterfall_lookup *find, const void *all, const record_row *dense,
                              const record_row *separable)
{
    const measured m = {find, all, separable};
    waterfall_rows rows = {.dense = dense, .separable = separable};
    const conv_impl *stage[2] = {NULL, NULL};
    size_t count;
    const conv_entry *e = conv_entries(&count);
    for (size_t i = 0; i < count; i++) {
        const conv_impl *impl = e[i].impl;
        if (impl == NULL || e[i].study || impl->variant != CONV_SEPARABLE || impl->stage[0] == NULL ||
            impl->inexact)
            continue;
        const record_row *row = find_row(&m, separable->problem, impl->name);
        if (row == NULL || !record_faster(row, rows.composed)) continue;
        rows.composed = row;
        memcpy(stage, impl->stage, sizeof stage);
    }
    if (rows.composed == NULL) return rows;
    rows.depthwise = find_row(&m, conv_depthwise_stage(&separable->problem), stage[0]->name);
    rows.pointwise = find_row(&m, conv_pointwise_stage(&separable->problem), stage[1]->name);
    return rows;
}

/* ---- the steps */

static double flops(const record_row *r) { return (double)conv_flops(&r->problem, r->pass); }

/* GFLOP/s of the peak that the row was compared with. */
static double peak_of(const record_row *r) { return 100 * flops(r) / r->median_ns / r->percent_peak; }

/* What the row takes above its arithmetic at the peak. */
static double above(const record_row *r, double peak) { return fmax(0, r->median_ns - flops(r) / peak); }

/* Of that the barriers' part: a cost measured beside others' work may be too high. */
static double barriers(const record_row *r, double peak)
{
    return isfinite(r->barrier_ns) ? fmin(r->barrier_ns, above(r, peak)) : 0;
}

static double excess(const record_row *r, double peak) { return above(r, peak) - barriers(r, peak); }

static void set_step(waterfall_step *s, double factor, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
static void set_step(waterfall_step *s, double factor, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    vsnprintf(s->from, sizeof s->from, format, args);
    va_end(args);
    s->factor = factor;
    s->measured = true;
}

/* Takes the separable side from *at to `to` nanoseconds: the factor of that. */
static double pass_on(double *at, double to)
{
    double factor = *at / to;
    *at = to;
    return factor;
}

/* The separable side: from its arithmetic at the peak, through what was measured of it, to its time. */
static void separable_steps(const waterfall_rows *rows, double peak, waterfall_step *step)
{
    const record_row *s = rows->separable, *c = rows->composed, *d = rows->depthwise, *p = rows->pointwise;
    double at = flops(s) / peak;
    if (d != NULL)
        set_step(&step[WATERFALL_DEPTHWISE], pass_on(&at, at + excess(d, peak)),
                 "depthwise %s alone, %.0f%% of the peak", d->impl, 100 * flops(d) / peak / d->median_ns);
    if (p != NULL)
        set_step(&step[WATERFALL_POINTWISE], pass_on(&at, at + excess(p, peak)),
                 "pointwise %s alone, %.0f%% of the peak", p->impl, 100 * flops(p) / peak / p->median_ns);
    if (isfinite(s->barrier_ns))
        set_step(&step[WATERFALL_BARRIERS], pass_on(&at, at + barriers(s, peak)),
                 "%.3g us of the separable row's time", 1e-3 * barriers(s, peak));
    if (c != NULL && d != NULL && p != NULL) {
        double more = excess(c, peak) - excess(d, peak) - excess(p, peak);
        set_step(&step[WATERFALL_INTERMEDIATE], pass_on(&at, at + more),
                 "separable %s less its two stages alone", c->impl);
        if (c != s)
            set_step(&step[WATERFALL_FUSED], pass_on(&at, s->median_ns), "separable %s against separable %s",
                     c->impl, s->impl);
        else
            set_step(&step[WATERFALL_FUSED], 1, "the fastest is %s, which is not fused", s->impl);
    }
    set_step(&step[WATERFALL_REST], at / s->median_ns, "what the others leave");
}

bool waterfall_of(const waterfall_rows *rows, waterfall *w)
{
    static const struct {
        const char *name, *label;
    } steps[WATERFALL_STEPS] = {[WATERFALL_PADDING] = {"taps on padding, which nobody multiplies", "padding"},
                                [WATERFALL_DENSE] = {"dense is below the peak itself", "dense below peak"},
                                [WATERFALL_DEPTHWISE] = {"depthwise's few multiply-adds per byte", "depthwise"},
                                [WATERFALL_POINTWISE] = {"pointwise's small sums", "pointwise"},
                                [WATERFALL_BARRIERS] = {"barriers", "barriers"},
                                [WATERFALL_INTERMEDIATE] = {"the intermediate through memory", "intermediate"},
                                [WATERFALL_FUSED] = {"fused: the intermediate in cache", "fused"},
                                [WATERFALL_REST] = {"rest", "rest"}};
    const record_row *dense = rows->dense, *separable = rows->separable;
    if (dense == NULL || separable == NULL || !(dense->median_ns > 0) || !(separable->median_ns > 0) ||
        !(dense->percent_peak > 0) || !(separable->percent_peak > 0))
        return false;
    double peak = fmax(peak_of(dense), peak_of(separable));
    *w = (waterfall){.promised = (double)conv_multiplications(&dense->problem) /
                                 (double)conv_multiplications(&separable->problem),
                     .speedup = dense->median_ns / separable->median_ns};
    for (int i = 0; i < WATERFALL_STEPS; i++)
        w->step[i] = (waterfall_step){
            .name = steps[i].name, .label = steps[i].label, .factor = 1, .from = "not measured in this run"};
    set_step(&w->step[WATERFALL_PADDING], flops(dense) / flops(separable) / w->promised, "counted");
    set_step(&w->step[WATERFALL_DENSE], dense->median_ns / (flops(dense) / peak),
             "dense %s, %.0f%% of the peak", dense->impl, 100 * flops(dense) / peak / dense->median_ns);
    separable_steps(rows, peak, w->step);
    return true;
}

enum { COLUMNS = 80 };

void waterfall_print(FILE *out, const waterfall *w)
{
    double at = w->promised;
    fprintf(out, "  %-42s %6s %8.2f\n", "promised by the multiplications", "", at);
    for (int i = 0; i < WATERFALL_STEPS; i++) {
        const waterfall_step *s = &w->step[i];
        at *= s->factor;
        const int before = s->measured ? fprintf(out, "  %-42s x %4.2f %8.2f", s->name, s->factor, at)
                                       : fprintf(out, "  %-42s %6s %8s", s->name, "-", "");
        const bool fits = before + 2 + (int)strlen(s->from) <= COLUMNS; /* else below it */
        fprintf(out, "%s%s\n", fits ? "  " : "\n    ", s->from);
    }
    fprintf(out, "  %-42s %6s %8.2f\n", "speedup", "", w->speedup);
}
