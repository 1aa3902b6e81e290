/* One group: prepare, calibrate, repeat in random order, summarise. */
#include "measure.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "../cli.h"
#include "../limits/limits.h"
#include "../stats.h"
#include "internal.h"

void measure_close(measure_job *job, case_status status, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    vsnprintf(job->row->reason, sizeof job->row->reason, format, args);
    va_end(args);
    job->row->status = status;
    job->open = false;
}

static void close_all(group *g, case_status status, const char *reason)
{
    for (int i = 0; i < g->count; i++)
        if (g->jobs[i].open) measure_close(&g->jobs[i], status, "%s", reason);
}

bool measure_any_open(const group *g)
{
    for (int i = 0; i < g->count; i++)
        if (g->jobs[i].open) return true;
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
    measure_job *j = ctx;
    if (j->skip_call) {
        j->skip_call = false;
        return;
    }
    conv_status status = conv_execute(j->plan, &j->args);
    if (status != CONV_OK) j->status = status;
}

static void call_evict(void *ctx)
{
    measure_job *j = ctx;
    if (!j->skip_call) evict_now(&j->evict, j->plan->context.threads);
}

/* Seconds of one call, to choose iterations by: verification's single call when that was long, else a few. */
static void calibrate(group *g, measure_job *j)
{
    if (budget_skips_warmup(j->call_seconds) && !g->cold) return;
    const double enough = fmin(0.001, fmax(1e-4, 0.1 * g->options->min_time));
    double seconds = 0;
    measure_settle(g, j);
    call_once(j);
    for (int64_t calls = 1; seconds < enough; calls *= 2) {
        double start = machine_now();
        for (int64_t i = 0; i < calls; i++) {
            if (g->cold) call_evict(j);
            call_once(j);
        }
        seconds = machine_now() - start;
        j->call_seconds = fmax(seconds / (double)calls, 1e-8);
    }
    if (j->status != CONV_OK) measure_close(j, CASE_FAILED, "execute failed");
}

static void take_sample(group *g, measure_job *j)
{
    char name[CASE_NAME_MAX];
    record_case_name(j->row, name);
    const measure_loop loop = {call_once, g->cold ? call_evict : NULL, j};
    j->skip_call = budget_skips_warmup(j->call_seconds);
    measure_settle(g, j);
    double waited = quiet_waited(), start = machine_now();
    double ns = g->run(g->runner, name, &loop, j->iterations, j->samples);
    if (!(ns > 0) || j->status != CONV_OK) {
        measure_close(j, CASE_FAILED, "%s",
                      j->status != CONV_OK ? "execute failed" : "Google Benchmark reported an error");
        return;
    }
    j->sample[j->samples++] = ns;
    quiet_count(quiet_waited() - waited, (machine_now() - start) * g->threads);
    if (g->sink->on_sample != NULL) g->sink->on_sample(g->sink->ctx, j->row, j->samples - 1, j->iterations, ns);
}

/* SplitMix64 (Steele, Lea, Flood 2014): the order needs no better. */
static uint64_t next_random(uint64_t *state)
{
    uint64_t z = *state += 0x9e3779b97f4a7c15u;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    return z ^ z >> 31;
}

/* Rounds of one repetition each, rows in random order. A row with fewer repetitions sits out rounds evenly, so
 * that drift over the minutes meets all rows alike. Past the deadline only rows without any time go on. */
static void repeat_all(group *g, int *order)
{
    uint64_t state = g->options->seed ^ (uint64_t)conv_flops(&g->problem, g->pass);
    int rounds = 0;
    for (int i = 0; i < g->count; i++) {
        order[i] = i;
        if (g->jobs[i].open && g->jobs[i].repetitions > rounds) rounds = g->jobs[i].repetitions;
    }
    for (int round = 0; round < rounds; round++) {
        for (int i = g->count - 1; i > 0; i--) {
            int k = (int)(next_random(&state) % (uint64_t)(i + 1)), kept = order[i];
            order[i] = order[k];
            order[k] = kept;
        }
        for (int i = 0; i < g->count; i++) {
            measure_job *j = &g->jobs[order[i]];
            int64_t wanted = j->repetitions;
            bool turn = round * wanted % rounds < wanted; /* exactly `wanted` of the rounds, the first too */
            bool late = g->options->budget > 0 && machine_now() - g->started > 1.2 * g->options->budget;
            if (!j->open || !turn || (late && j->samples > 0)) continue;
            if (cli_interrupted()) return;
            take_sample(g, j);
        }
    }
}

/* ---- after timing */

static void summarise(const group *g, measure_job *j)
{
    record_row *row = j->row;
    stats_summary s = stats_summarize(j->sample, (size_t)j->samples);
    row->repetitions = j->samples;
    row->median_ns = s.median;
    row->min_ns = s.min;
    row->mad_ns = s.mad;
    row->ci95_low_ns = s.ci95_low;
    row->ci95_high_ns = s.ci95_high;
    double peak = g->ceilings != NULL ? g->ceilings->fma_gflops[row->isa] : 0;
    double gflops = (double)conv_flops(&g->problem, g->pass) / s.median;
    row->percent_peak = peak > 0 ? 100 * gflops / peak : NAN;
    if (g->ceilings != NULL) limits_fill(row, j->plan, g->ceilings);
    row->status = CASE_OK;
    snprintf(row->reason, sizeof row->reason, "%s%s%s", j->plan->note,
             j->evict.sweep != NULL && j->plan->note[0] ? "; " : "",
             j->evict.sweep != NULL ? "evicted by a sweep" : "");
    if (!g->cold) budget_learn(row, 1e-9 * s.median);
}

static void release(group *g)
{
    for (int i = 0; i < g->count; i++) {
        measure_job *j = &g->jobs[i];
        evict_release(&j->evict);
        conv_plan_destroy(j->plan);
        buffer_free(j->packed);
        buffer_free(j->workspace);
        buffer_free(j->activations);
        free(j->sample);
    }
    conv_tensors_destroy(&g->tensors);
    buffer_free(g->scratch);
    free(g->jobs);
}

/* ---- the group */

static void start_jobs(group *g, record_row *rows)
{
    for (int i = 0; i < g->count; i++) {
        measure_job *j = &g->jobs[i];
        j->row = &rows[i];
        j->impl = conv_find(rows[i].impl, g->problem.variant);
        j->open = rows[i].status == CASE_SKIPPED && rows[i].reason[0] == '\0';
        if (j->open && j->impl == NULL) measure_close(j, CASE_REFUSED, "not in this build or not on this CPU");
        if (j->open) j->call_seconds = budget_call_seconds(&rows[i]);
    }
}

static bool allocate(group *g)
{
    size_t scratch = 0;
    for (int i = 0; i < g->count; i++)
        if (g->jobs[i].open && g->jobs[i].plan->scratch_bytes > scratch)
            scratch = g->jobs[i].plan->scratch_bytes;
    g->scratch = buffer_alloc(scratch);
    return g->scratch != NULL &&
           conv_tensors_create(&g->problem, g->pass, FILL_REALS, g->options->seed, &g->tensors);
}

static void time_jobs(group *g)
{
    if (!allocate(g)) {
        close_all(g, CASE_SKIPPED, "no memory for the tensors");
        return;
    }
    for (int i = 0; i < g->count; i++) {
        measure_job *j = &g->jobs[i];
        if (cli_interrupted()) return;
        if (j->open) measure_ready(g, j);
        if (j->open) calibrate(g, j);
    }
    budget_fit(g->jobs, g->count, g->options, measure_budget_left(g));
    for (int i = 0; i < g->count; i++) {
        measure_job *j = &g->jobs[i];
        if (!j->open) continue;
        j->sample = calloc((size_t)j->repetitions, sizeof *j->sample);
        if (j->sample == NULL) measure_close(j, CASE_FAILED, "no memory for samples");
    }
    int *order = calloc((size_t)g->count, sizeof *order);
    if (order != NULL)
        repeat_all(g, order);
    else
        close_all(g, CASE_FAILED, "no memory for samples");
    free(order);
}

int measure_group(record_row *rows, int count, const measure_options *options, const machine_ceilings *ceilings,
                  measure_runner *run, void *runner, const measure_sink *sink)
{
    int timed = 0;
    if (count < 1) return 0;
    group g = {.count = count,
               .options = options,
               .ceilings = ceilings,
               .run = run,
               .runner = runner,
               .sink = sink,
               .problem = rows[0].problem,
               .pass = rows[0].pass,
               .threads = rows[0].threads,
               .cold = rows[0].cache == CACHE_COLD,
               .context = machine_context(rows[0].threads),
               .started = machine_now()};
    g.jobs = calloc((size_t)count, sizeof *g.jobs);
    if (g.jobs == NULL) return 0;
    start_jobs(&g, rows);
    if (measure_any_open(&g)) measure_prepare(&g);
    if (measure_any_open(&g) && !cli_interrupted()) time_jobs(&g);
    for (int i = 0; i < count; i++) {
        measure_job *j = &g.jobs[i];
        if (cli_interrupted() && j->open) continue; /* unfinished: --resume measures it again */
        if (j->open && j->samples > 0) {
            summarise(&g, j);
            timed++;
        }
        if (sink->on_row != NULL) sink->on_row(sink->ctx, &rows[i]);
    }
    release(&g);
    return timed;
}
