/* A history for the terminal and for machines. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "../output.h"
#include "../record/csv.h"
#include "history.h"

static double percent(double ln) { return 100 * expm1(ln); }

/* ---- the terminal */

/* The day of "2026-11-30T08:03:39Z". */
static int day_length(const char *started) { return (int)strcspn(started, "T"); }

static void put_case(FILE *out, const trend_group *g, size_t c)
{
    const trend_result *r = &g->results[c];
    const trend_run *since = &g->runs[r->since];
    char change[64], at[64] = "";
    if (isfinite(r->low) && isfinite(r->high))
        snprintf(change, sizeof change, "%+.1f%% (%+.1f to %+.1f)", percent(r->change), percent(r->low),
                 percent(r->high));
    else
        snprintf(change, sizeof change, "%+.1f%%", percent(r->change));
    if (r->change_count > 0)
        snprintf(at, sizeof at, "%.*s %.8s%s", day_length(since->started), since->started, since->commit,
                 since->dirty ? "+" : "");
    fprintf(out, "%s\n  %-14s %-25s %-21s", g->names[c],
            r->verdict == TREND_SLOWER && r->drift ? "slower, drifts" : trend_verdict_name(r->verdict), change,
            at);
    fprintf(out, r->p <= TREND_ALPHA ? " %7.2f%%\n" : "       -\n", 100 * (1 - r->p));
}

static void put_group(FILE *out, const trend_group *g, bool all)
{
    const trend_run *first = g->runs, *last = &g->runs[g->run_count - 1];
    size_t *order = trend_sorted(g), shown = 0, few = trend_count(g, TREND_FEW), far = 0;
    double speed = trend_speed_change(g);
    char told[160];
    for (size_t r = 0; r < g->run_count; r++) far += g->series.state[r] == 1;
    fprintf(out, "%s, %s\n%zu run%s, %.*s to %.*s", g->machine, g->compiler, g->run_count,
            g->run_count == 1 ? "" : "s", day_length(first->started), first->started, day_length(last->started),
            last->started);
    if (far > 0) fprintf(out, "; %zu of them with cores far apart", far);
    if (isfinite(speed))
        fprintf(out, "\nthe machine itself, by %s: %+.1f%%, which is taken off",
                g->series.controlled ? "the code of others" : "the median of all cases", percent(speed));
    fputc('\n', out);
    for (size_t i = 0; order != NULL && i < g->case_count; i++) {
        trend_verdict v = g->results[order[i]].verdict;
        if (v == TREND_FEW || (v == TREND_QUIET && !all)) continue;
        if (shown++ == 0)
            fprintf(out, "%-16s %-25s %-21s %8s\n", "case", "last against first", "since", "sure");
        put_case(out, g, order[i]);
    }
    fprintf(out, "%zu cases: ", g->case_count - few);
    for (int v = TREND_SLOWER; v < TREND_FEW; v++)
        if (trend_count(g, (trend_verdict)v) > 0)
            fprintf(out, "%zu %s, ", trend_count(g, (trend_verdict)v), trend_verdict_name((trend_verdict)v));
    fprintf(out, "%zu quiet", trend_count(g, TREND_QUIET));
    if (few > 0)
        fprintf(out, "; %zu more in fewer than %d runs or none of the last %d", few, TREND_LEAST_RUNS,
                TREND_SEGMENT);
    fputc('\n', out);
    if (trend_is_tested(g)) fprintf(out, "%s\n", trend_told(g, told, sizeof told));
    fputc('\n', out);
    free(order);
}

void trend_print(FILE *out, const trend_history *h, bool all)
{
    for (size_t i = 0; i < h->count; i++) put_group(out, &h->groups[i], all);
}

/* ---- CSV */

static void put_real(FILE *out, double value, bool last)
{
    if (isfinite(value)) fprintf(out, "%.6g", value);
    fputc(last ? '\n' : ',', out);
}

static void put_text(FILE *out, const char *text)
{
    csv_put(out, text);
    fputc(',', out);
}

static void put_row(FILE *out, const trend_group *g, size_t group, size_t c)
{
    const trend_result *r = &g->results[c];
    bool changed = r->change_count > 0;
    size_t runs = 0;
    for (size_t k = 0; k < g->run_count; k++) runs += isfinite(g->points[c * g->run_count + k].ns);
    fprintf(out, "%zu,", group + 1);
    put_text(out, g->names[c]);
    fprintf(out, "%zu,%s,%s,", runs, trend_verdict_name(r->verdict),
            !changed   ? ""
            : r->drift ? "drift"
                       : "step");
    put_real(out, exp(r->change), false);
    put_real(out, exp(r->low), false);
    put_real(out, exp(r->high), false);
    put_real(out, exp(r->since_best), false);
    put_real(out, exp(r->since_low), false);
    put_real(out, exp(r->since_high), false);
    put_text(out, changed ? g->runs[r->since].id : "");
    put_text(out, changed ? g->runs[r->since].commit : "");
    for (size_t k = 0; k < r->change_count; k++) fprintf(out, "%s%zu", k > 0 ? " " : "", r->changes[k] + 1);
    fputc(',', out);
    put_real(out, r->statistic, false);
    put_real(out, r->verdict == TREND_FEW ? NAN : r->p, true);
}

static void put_points(FILE *out, const trend_group *g, size_t group, size_t c)
{
    for (size_t k = 0; k < g->run_count; k++) {
        const trend_point *p = &g->points[c * g->run_count + k];
        if (!isfinite(p->ns)) continue;
        fprintf(out, "%zu,", group + 1);
        put_text(out, g->names[c]);
        fprintf(out, "%zu,", k + 1);
        put_text(out, g->runs[k].id);
        put_text(out, g->runs[k].started);
        put_text(out, g->runs[k].commit);
        fprintf(out, "%d,%.9g,%.9g,%.9g,", g->series.state[k], p->ns, p->low, p->high);
        put_real(out, g->series.log_ns[c * g->run_count + k], true);
    }
}

static const struct {
    const char *name, *header;
    void (*put)(FILE *out, const trend_group *g, size_t group, size_t c);
} tables[] = {
    {"trend.csv",
     "group,case,runs,verdict,kind,change,change_low,change_high,since_best,since_low,since_high,since_run,"
     "since_commit,changes,statistic,p\n",
     put_row},
    {"trend-points.csv",
     "group,case,run,run_id,started,commit,far,median_ns,ci95_low_ns,ci95_high_ns,levelled\n", put_points},
};

bool trend_write(const trend_history *h, const char *dir, conv_error *err)
{
    for (size_t t = 0; t < sizeof tables / sizeof *tables; t++) {
        char path[4352];
        output o;
        snprintf(path, sizeof path, "%s/%s", dir, tables[t].name);
        if (!output_open(&o, path, OUTPUT_OWN)) return output_fail(path, err);
        fputs(tables[t].header, o.file);
        for (size_t i = 0; i < h->count; i++)
            for (size_t c = 0; c < h->groups[i].case_count; c++) tables[t].put(o.file, &h->groups[i], i, c);
        if (!output_close(&o, true)) return output_fail(path, err);
    }
    return true;
}
