/* One group: prepare, calibrate, repeat in random order, summarise. */
#include "measure.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "../cli.h"
#include "../random.h"
#include "../stats.h"
#include "internal.h"

void measure_close(timed_row *t, case_status status, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    vsnprintf(t->row->reason, sizeof t->row->reason, format, args);
    va_end(args);
    t->row->status = status;
    t->open = false;
}

static void close_all(group *g, case_status status, const char *reason)
{
    for (int i = 0; i < g->count; i++)
        if (g->rows[i].open) measure_close(&g->rows[i], status, "%s", reason);
}

bool measure_any_open(const group *g)
{
    for (int i = 0; i < g->count; i++)
        if (g->rows[i].open) return true;
    return false;
}

/* What is left of the group's budget; 0 means unlimited, so never 0 when there is one. */
double measure_budget_left(const group *g)
{
    if (g->options->budget <= 0) return 0;
    return fmax(1e-6, g->options->budget - (machine_now() - g->started));
}

/* ---- timing */

static void call_once(void *ctx)
{
    timed_row *t = ctx;
    if (t->skip_call) {
        t->skip_call = false;
        return;
    }
    conv_status status = conv_execute(t->job.plan, &t->job.args);
    if (status != CONV_OK) t->status = status;
}

static void call_evict(void *ctx)
{
    timed_row *t = ctx;
    if (!t->skip_call) evict_now(&t->evict, t->job.plan->context.threads);
}

/* Seconds of one call, to choose iterations by: verification's single call when that was long, else a few. */
static void calibrate(group *g, timed_row *t)
{
    if (budget_skips_warmup(t->call_seconds) && !g->cold) return;
    const double enough = fmin(0.001, fmax(1e-4, 0.1 * g->options->min_time));
    double seconds = 0;
    measure_settle(g, t);
    call_once(t);
    for (int64_t calls = 1; seconds < enough; calls *= 2) {
        double start = machine_now();
        for (int64_t i = 0; i < calls; i++) {
            if (g->cold) call_evict(t);
            call_once(t);
        }
        seconds = machine_now() - start;
        t->call_seconds = fmax(seconds / (double)calls, 1e-8);
    }
    if (t->status != CONV_OK) measure_close(t, CASE_FAILED, "execute failed");
}

static void take_sample(group *g, timed_row *t)
{
    char name[CASE_NAME_MAX];
    record_case_name(t->row, name);
    const measure_loop loop = {call_once, g->cold ? call_evict : NULL, t};
    t->skip_call = budget_skips_warmup(t->call_seconds);
    measure_settle(g, t);
    double waited = quiet_waited(), start = machine_now();
    double ns = g->run(g->runner, name, &loop, t->iterations, t->samples);
    if (!(ns > 0) || t->status != CONV_OK) {
        measure_close(t, CASE_FAILED, "%s",
                      t->status != CONV_OK ? "execute failed" : "Google Benchmark reported an error");
        return;
    }
    t->sample[t->samples++] = ns;
    quiet_count(quiet_waited() - waited, (machine_now() - start) * g->threads);
    if (g->sink->on_sample != NULL) g->sink->on_sample(g->sink->ctx, t->row, t->samples - 1, t->iterations, ns);
}

/* Rounds of one repetition each, rows in random order. A row with fewer repetitions sits out rounds evenly, so
 * that drift over the minutes meets all rows alike. Past the deadline only rows without any time go on. */
static void repeat_all(group *g, size_t *order)
{
    uint64_t state = g->options->seed ^ (uint64_t)conv_flops(&g->problem, g->pass);
    int rounds = 0;
    for (int i = 0; i < g->count; i++) {
        order[i] = (size_t)i;
        if (g->rows[i].open && g->rows[i].repetitions > rounds) rounds = g->rows[i].repetitions;
    }
    for (int round = 0; round < rounds; round++) {
        random_shuffle(&state, order, (size_t)g->count);
        for (int i = 0; i < g->count; i++) {
            timed_row *t = &g->rows[order[i]];
            int64_t wanted = t->repetitions;
            bool turn = round * wanted % rounds < wanted; /* exactly `wanted` of the rounds, the first too */
            bool late = g->options->budget > 0 && machine_now() - g->started > 1.2 * g->options->budget;
            if (!t->open || !turn || (late && t->samples > 0)) continue;
            if (cli_interrupted()) return;
            take_sample(g, t);
        }
    }
}

/* ---- after timing */

/* The roof over this row: the peak of its instruction set, or the bandwidth of the smallest level that holds
 * all tensors of the pass (cold: memory) times FLOP per byte. S. Williams et al., Roofline, CACM 52(4),
 * 2009. */
static const char *find_bound(const group *g, double peak)
{
    const machine_ceilings *c = g->options->ceilings;
    const double bytes = (double)conv_bytes_min(&g->problem, g->pass), threads = g->threads;
    const double holds[LEVEL_COUNT] = {threads * (double)g->context.l1d, threads * (double)g->context.l2,
                                       threads * (double)g->context.l3, INFINITY};
    int level = g->cold ? LEVEL_DRAM : LEVEL_L1;
    while (level < LEVEL_DRAM && (bytes > holds[level] || c->bandwidth_gbps[level] <= 0)) level++;
    double roof = c->bandwidth_gbps[level] * (double)conv_flops(&g->problem, g->pass) / bytes;
    return peak <= 0 || roof <= 0 ? "" : peak <= roof ? "compute" : "memory";
}

static void summarise(const group *g, timed_row *t)
{
    record_row *row = t->row;
    stats_summary s = stats_summarize(t->sample, (size_t)t->samples);
    row->repetitions = t->samples;
    row->median_ns = s.median;
    row->min_ns = s.min;
    row->mad_ns = s.mad;
    row->ci95_low_ns = s.ci95_low;
    row->ci95_high_ns = s.ci95_high;
    double peak = g->options->ceilings != NULL ? g->options->ceilings->fma_gflops[row->isa] : 0;
    double gflops = (double)conv_flops(&g->problem, g->pass) / s.median;
    row->percent_peak = peak > 0 ? 100 * gflops / peak : NAN;
    snprintf(row->bound, sizeof row->bound, "%s", g->options->ceilings != NULL ? find_bound(g, peak) : "");
    row->status = CASE_OK;
    snprintf(row->reason, sizeof row->reason, "%s%s%s", t->job.plan->note,
             t->evict.sweep != NULL && t->job.plan->note[0] ? "; " : "",
             t->evict.sweep != NULL ? "evicted by a sweep" : "");
    if (!g->cold) budget_learn(row, 1e-9 * s.median);
}

static void release(group *g)
{
    for (int i = 0; i < g->count; i++) {
        timed_row *t = &g->rows[i];
        evict_release(&t->evict);
        job_finish(&t->job);
        free(t->sample);
    }
    conv_tensors_destroy(&g->tensors);
    buffer_free(g->scratch);
    free(g->rows);
}

/* ---- the group */

static void start_rows(group *g, record_row *rows)
{
    for (int i = 0; i < g->count; i++) {
        timed_row *t = &g->rows[i];
        t->row = &rows[i];
        t->impl = conv_find(rows[i].impl, g->problem.variant);
        t->open = rows[i].status == CASE_SKIPPED && rows[i].reason[0] == '\0';
        if (t->open && t->impl == NULL) measure_close(t, CASE_REFUSED, "not in this build or not on this CPU");
        if (t->open) t->call_seconds = budget_call_seconds(&rows[i]);
    }
}

static bool allocate(group *g)
{
    size_t scratch = 0;
    for (int i = 0; i < g->count; i++)
        if (g->rows[i].open && g->rows[i].job.plan->scratch_bytes > scratch)
            scratch = g->rows[i].job.plan->scratch_bytes;
    g->scratch = buffer_alloc(scratch);
    return g->scratch != NULL &&
           conv_tensors_create(&g->problem, g->pass, FILL_REALS, g->options->seed, &g->tensors);
}

static void time_rows(group *g)
{
    if (!allocate(g)) {
        close_all(g, CASE_SKIPPED, "no memory for the tensors");
        return;
    }
    for (int i = 0; i < g->count; i++) {
        timed_row *t = &g->rows[i];
        if (cli_interrupted()) return;
        if (t->open) measure_ready(g, t);
        if (t->open) calibrate(g, t);
    }
    budget_fit(g->rows, g->count, g->options, measure_budget_left(g));
    for (int i = 0; i < g->count; i++) {
        timed_row *t = &g->rows[i];
        if (!t->open) continue;
        t->sample = calloc((size_t)t->repetitions, sizeof *t->sample);
        if (t->sample == NULL) measure_close(t, CASE_FAILED, "no memory for samples");
    }
    size_t *order = calloc((size_t)g->count, sizeof *order);
    if (order != NULL)
        repeat_all(g, order);
    else
        close_all(g, CASE_FAILED, "no memory for samples");
    free(order);
}

int measure_group(record_row *rows, int count, const measure_options *options, measure_runner *run,
                  void *runner, const measure_sink *sink)
{
    int timed = 0;
    if (count < 1) return 0;
    group g = {.count = count,
               .options = options,
               .run = run,
               .runner = runner,
               .sink = sink,
               .problem = rows[0].problem,
               .pass = rows[0].pass,
               .threads = rows[0].threads,
               .cold = rows[0].cache == CACHE_COLD,
               .context = machine_context(rows[0].threads),
               .started = machine_now()};
    g.rows = calloc((size_t)count, sizeof *g.rows);
    if (g.rows == NULL) return 0;
    start_rows(&g, rows);
    if (measure_any_open(&g)) measure_prepare(&g);
    if (measure_any_open(&g) && !cli_interrupted()) time_rows(&g);
    for (int i = 0; i < count; i++) {
        timed_row *t = &g.rows[i];
        if (cli_interrupted() && t->open) continue; /* unfinished: --resume measures it again */
        if (t->open && t->samples > 0) {
            summarise(&g, t);
            timed++;
        }
        if (sink->on_row != NULL) sink->on_row(sink->ctx, &rows[i]);
    }
    release(&g);
    return timed;
}
