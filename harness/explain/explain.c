#include "explain.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "../cli.h"
#include "../limits/limits.h"
#include "../report/waterfalls.h"
#include "counters.h"
#include "experiments.h"

/* Shares of the budget: the case itself, its problem's other sides, the rest for experiments. */
static const double CASE_SHARE = 0.15, SIDE_SHARE = 0.08;
enum { MOST_SIDES = 64 };

/* ---- measuring rows */

static void measure_rows(record_row *rows, int count, const explain_options *o, double seconds)
{
    const measure_setup setup = {.options = {.repetitions = 9,
                                             .min_time = 0.006,
                                             .budget = seconds,
                                             .verify = true,
                                             .replace = true,
                                             .seed = 1},
                                 .ceilings = o->ceilings,
                                 .run = o->run,
                                 .runner = o->runner,
                                 .started = machine_now()};
    measure_at_once(&setup, rows, count);
}

/* ---- one case */

static arm_setting setting_of(const record_row *row)
{
    return (arm_setting){.impl = conv_find(row->impl, row->problem.variant),
                         .problem = row->problem,
                         .pass = row->pass,
                         .threads = row->threads,
                         .cache = row->cache};
}

static double us(double ns) { return 1e-3 * ns; }

static void print_case(FILE *out, const record_row *row)
{
    char name[CASE_NAME_MAX], interval[64] = "", text[400];
    if (isfinite(row->ci95_low_ns))
        snprintf(interval, sizeof interval, " (95%% interval %.4g to %.4g)", us(row->ci95_low_ns),
                 us(row->ci95_high_ns));
    snprintf(text, sizeof text, "%.4g us%s, %.1f GFLOP/s, %.0f%% of the peak%s%s", us(row->median_ns), interval,
             (double)conv_flops(&row->problem, row->pass) / row->median_ns, row->percent_peak,
             row->reason[0] ? "; " : "", row->reason);
    fprintf(out, "%s\n", record_case_name(row, name));
    report_wrap(out, "  ", "  ", text);
    if (row->strategy[0] != '\0') report_wrap(out, "  strategy: ", "    ", row->strategy);
    if (isfinite(row->model_ns)) fprintf(out, "  the cost model's pick: %.4g us\n", us(row->model_ns));
}

static void print_limits(FILE *out, const record_row *row, const arm_setting *setting, const explain_options *o)
{
    char text[LIMIT_TEXT];
    conv_context context = machine_context(row->threads);
    conv_plan *plan;
    if (conv_plan_create(setting->impl, &row->problem, row->pass, &context, &plan, NULL) != CONV_OK) return;
    const limit_caches caches = limits_caches_here(row->threads);
    limit_times t = limits_of(plan, row->cache == CACHE_COLD, o->ceilings, &caches);
    fprintf(out, "\n  %-12s %12s %8s  %s\n", "limit", "alone, us", "of time",
            plan->work.stated ? "from what the plan states" : "for any implementation: a peer states nothing");
    for (int i = 0; i < LIMIT_COUNT; i++)
        fprintf(out, "  %-12s %12.2f %7.0f%%\n", limit_name((limit_kind)i), us(t.ns[i]),
                100 * t.ns[i] / row->median_ns);
    fprintf(out, "  %-12s %12.2f %7.0f%%  loads, L2, L3 and DRAM, if none overlapped\n", "in turn",
            us(limits_in_turn(&t)), 100 * limits_in_turn(&t) / row->median_ns);
    fprintf(out, "  %s\n", limits_sentence(row, text));
    conv_plan_destroy(plan);
}

enum { SHOWS = 52 }; /* where the words begin of what an experiment shows */

/* No ratio is shown without its interval. */
static void print_experiment(void *out, const experiment_result *r)
{
    char first[SHOWS + 16], indent[SHOWS + 1];
    if (isnan(r->low))
        snprintf(first, sizeof first, "  %-22s %7s  %16s  ", r->name, "-", "");
    else
        snprintf(first, sizeof first, "  %-22s %7.2f%s [%5.2f to %5.2f]  ", r->name, 1 / r->ratio,
                 r->per_multiply_add ? "*" : " ", 1 / r->high, 1 / r->low);
    snprintf(indent, sizeof indent, "%*s", (int)SHOWS, "");
    report_wrap(out, first, indent, r->shows);
    fflush(out);
}

static void print_counters(FILE *out, const arm_setting *setting)
{
    enum { CALLS = 20 };
    conv_error err;
    counters c;
    arm *a = arm_create(setting, &err);
    if (a == NULL || !arm_call(a)) goto done;
    if (!counters_start(&c)) {
        fprintf(out, "\n  hardware counters: not available here (%s)\n", c.why);
        goto done;
    }
    for (int i = 0; i < CALLS; i++) arm_call(a);
    counters_stop(&c);
    fputs("\n  hardware counters, the first thread's, a call:", out);
    for (int i = 0; i < COUNTERS; i++)
        if (isfinite(c.value[i])) fprintf(out, " %.4g %s;", c.value[i] / CALLS, counter_name((counter_kind)i));
    putc('\n', out);
done:
    arm_destroy(a);
}

/* ---- the other sides of a separable case */

typedef struct {
    record_row rows[MOST_SIDES];
    int count;
} sides;

static const record_row *find_side(const void *all, const char *case_name)
{
    const sides *s = all;
    char name[CASE_NAME_MAX];
    for (int i = 0; i < s->count; i++)
        if (strcmp(record_case_name(&s->rows[i], name), case_name) == 0) return &s->rows[i];
    return NULL;
}

/* Measures the problem by this project's exact implementations that use threads; returns the fastest. */
static const record_row *measure_side(sides *s, const record_row *like, conv_problem p,
                                      const explain_options *o)
{
    int first = s->count;
    size_t count;
    const conv_entry *e = conv_entries(&count);
    for (size_t i = 0; i < count && s->count < MOST_SIDES; i++) {
        const conv_impl *impl = e[i].impl;
        if (impl == NULL || impl->variant != p.variant || e[i].study || impl->peer || impl->inexact ||
            impl->single_thread || conv_refuse(impl, &p, like->pass) != NULL)
            continue;
        record_row *row = &s->rows[s->count++];
        *row = *like;
        row->problem = p;
        row->isa = conv_isa(impl);
        snprintf(row->impl, sizeof row->impl, "%s", e[i].name);
        record_clear_measured(row);
    }
    if (s->count > first) measure_rows(&s->rows[first], s->count - first, o, SIDE_SHARE * o->budget);
    const record_row *best = NULL;
    for (int i = first; i < s->count; i++)
        if (record_faster(&s->rows[i], best)) best = &s->rows[i];
    return best;
}

static void print_waterfall(FILE *out, const record_row *row, const explain_options *o)
{
    sides *s = calloc(1, sizeof *s);
    if (s == NULL) return;
    conv_problem dense = row->problem;
    dense.variant = CONV_DENSE;
    dense.depth_multiplier = 1;
    measure_side(s, row, conv_depthwise_stage(&row->problem), o);
    measure_side(s, row, conv_pointwise_stage(&row->problem), o);
    const record_row *slow = measure_side(s, row, dense, o);
    const record_row *fast = measure_side(s, row, row->problem, o);
    waterfall w;
    const waterfall_rows rows = slow != NULL && fast != NULL ? waterfall_find(find_side, s, slow, fast)
                                                             : (waterfall_rows){.dense = NULL};
    if (waterfall_of(&rows, &w)) {
        fputs("\n  from what the multiplications promise to what arrives\n"
              "  (this project's exact implementations)\n",
              out);
        waterfall_print(out, &w);
    } else if (!cli_interrupted())
        fputs("\n  where the promise goes: not measured, the budget has no time for the dense side\n", out);
    free(s);
}

case_status explain_case(FILE *out, record_row *row, const explain_options *o)
{
    arm_setting setting = setting_of(row);
    double started = machine_now();
    conv_error err = {""};
    measure_rows(row, 1, o, CASE_SHARE * o->budget);
    if (row->status != CASE_OK || cli_interrupted()) return row->status;
    print_case(out, row);
    print_limits(out, row, &setting, o);
    print_counters(out, &setting);
    fflush(out);
    bool separable = row->problem.variant == CONV_SEPARABLE;
    if (separable) print_waterfall(out, row, o);
    fprintf(out, "\n  %-22s %7s  %16s  %s\n", "one thing changed", "as fast", "95% interval", "what it shows");
    experiment_options eo = {o->run, o->runner, fmax(1, o->budget - (machine_now() - started))};
    if (experiments_run(&setting, &eo, print_experiment, out, &err) < 0)
        fprintf(out, "  not measured: %s\n", err.text);
    else
        fputs("  * of a multiply-add: the problem is another one\n", out);
    return CASE_OK;
}

/* ---- a run */

typedef struct {
    FILE *out;
    int printed;
} printing;

static void print_one(void *ctx, const report_setting *setting, const report_point *point, const waterfall *w)
{
    printing *p = ctx;
    char name[160];
    fprintf(p->out, "%s%s, %lld to %lld channels, %s\n", p->printed++ > 0 ? "\n" : "",
            conv_pass_name(point->pass), (long long)point->ic, (long long)point->oc,
            report_setting_name(setting, name, sizeof name));
    waterfall_print(p->out, w);
}

int explain_run_waterfalls(FILE *out, const record_run *run, conv_error *err)
{
    report_data data;
    if (!report_data_create(run, &data, err)) return -1;
    int found = report_waterfalls(&data, print_one, &(printing){out, 0});
    report_data_destroy(&data);
    return found;
}
