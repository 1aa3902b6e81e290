/* One group over all its visits: prepare, calibrate, repeat in random order, judge the race, summarise. */
#include "measure.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "../cli.h"
#include "internal.h"
#include "race.h"

/* Repetitions of each row in the first visit: they choose. */
enum { FIRST = 3 };

void measure_drop(measure_job *job, case_status status, const char *format, ...)
{
    va_list args;
    job->open = false;
    job->retired = true;
    if (status == CASE_SKIPPED && job->samples.count > 0) return; /* it keeps the time it has */
    va_start(args, format);
    vsnprintf(job->row->reason, sizeof job->row->reason, format, args);
    va_end(args);
    job->row->status = status;
}

static void drop_all(measure_group *g, case_status status, const char *reason)
{
    for (int i = 0; i < g->count; i++)
        if (g->jobs[i].open) measure_drop(&g->jobs[i], status, "%s", reason);
}

bool measure_any_open(const measure_group *g)
{
    for (int i = 0; i < g->count; i++)
        if (g->jobs[i].open) return true;
    return false;
}

/* What is left of the visit's budget; 0 means unlimited, so never 0 when there is one. */
double measure_budget_left(const measure_group *g)
{
    if (g->budget <= 0) return 0;
    return fmax(1e-6, g->budget - (machine_now() - g->began));
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
static void calibrate(measure_group *g, measure_job *j)
{
    if (budget_skips_warmup(j->call_seconds) && !g->cold) return;
    const double enough = fmin(0.001, fmax(1e-4, 0.1 * g->setup.options.min_time));
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
    if (j->status != CONV_OK) measure_drop(j, CASE_FAILED, "execute failed");
}

static void take_sample(measure_group *g, measure_job *j, sample_use use)
{
    char name[CASE_NAME_MAX];
    record_case_name(j->row, name);
    const measure_loop loop = {call_once, g->cold ? call_evict : NULL, j};
    const int loop_threads = j->impl->own_threads ? 1 : g->threads, repetition = (int)j->samples.count;
    j->skip_call = budget_skips_warmup(j->call_seconds);
    measure_settle(g, j);
    quiet_reading before = quiet_before(loop_threads);
    double ns = g->setup.run(g->setup.runner, name, &loop, j->iterations, repetition);
    record_sample sample = {.ns = ns,
                            .iterations = j->iterations,
                            .visit = g->visit,
                            .seconds = before.began - g->setup.started,
                            .use = use,
                            .marks = quiet_after(&before, g->threads, loop_threads)};
    if (!(ns > 0) || j->status != CONV_OK)
        measure_drop(j, CASE_FAILED, "%s",
                     j->status != CONV_OK ? "execute failed" : "Google Benchmark reported an error");
    else if (!samples_add(&j->samples, &sample))
        measure_drop(j, CASE_FAILED, "no memory for samples");
    else if (g->setup.sink.on_sample != NULL)
        g->setup.sink.on_sample(g->setup.sink.ctx, j->row, repetition, &sample);
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
 * that drift over the visit meets all rows alike. Past the deadline only rows without any time go on. */
static void repeat_all(measure_group *g, sample_use use)
{
    int rounds = 0, *order = calloc((size_t)g->count, sizeof *order);
    for (int i = 0; order != NULL && i < g->count; i++) {
        order[i] = i;
        if (g->jobs[i].open && g->jobs[i].repetitions > rounds) rounds = g->jobs[i].repetitions;
    }
    if (order == NULL) drop_all(g, CASE_FAILED, "no memory for samples");
    for (int round = 0; round < rounds; round++) {
        for (int i = g->count - 1; i > 0; i--) {
            int k = (int)(next_random(&g->random) % (uint64_t)(i + 1)), kept = order[i];
            order[i] = order[k];
            order[k] = kept;
        }
        for (int i = 0; i < g->count; i++) {
            measure_job *j = &g->jobs[order[i]];
            int64_t wanted = j->repetitions;
            bool turn = round * wanted % rounds < wanted; /* exactly `wanted` of the rounds, the first too */
            bool late = g->budget > 0 && machine_now() - g->began > 1.2 * g->budget;
            if (!j->open || !turn || (late && j->samples.count > 0)) continue;
            if (cli_interrupted()) goto done;
            take_sample(g, j, use);
        }
    }
done:
    free(order);
}

/* ---- after timing */

/* The roof over this row: the peak of its instruction set, or the bandwidth of the smallest level that holds
 * all tensors of the pass (cold: memory) times FLOP per byte. S. Williams et al., Roofline, CACM 52(4), 2009.
 */
static const char *find_bound(const measure_group *g, double peak)
{
    const machine_ceilings *c = g->setup.ceilings;
    const double bytes = (double)conv_bytes_min(&g->problem, g->pass), threads = g->threads;
    const double holds[LEVEL_COUNT] = {threads * (double)g->context.l1d, threads * (double)g->context.l2,
                                       threads * (double)g->context.l3, INFINITY};
    int level = g->cold ? LEVEL_DRAM : LEVEL_L1;
    while (level < LEVEL_DRAM && (bytes > holds[level] || c->bandwidth_gbps[level] <= 0)) level++;
    double roof = c->bandwidth_gbps[level] * (double)conv_flops(&g->problem, g->pass) / bytes;
    return peak <= 0 || roof <= 0 ? "" : peak <= roof ? "compute" : "memory";
}

static void summarise(const measure_group *g, measure_job *j)
{
    record_row *row = j->row;
    samples_summarise(&j->samples, row);
    row->choice_ns = samples_median(&j->samples, SAMPLE_CHOOSES);
    double peak = g->setup.ceilings != NULL ? g->setup.ceilings->fma_gflops[row->isa] : 0;
    double gflops = (double)conv_flops(&g->problem, g->pass) / row->median_ns;
    row->percent_peak = peak > 0 ? 100 * gflops / peak : NAN;
    snprintf(row->bound, sizeof row->bound, "%s", g->setup.ceilings != NULL ? find_bound(g, peak) : "");
    row->status = CASE_OK;
    if (!g->cold) budget_learn(row, 1e-9 * row->median_ns);
}

static bool has_time(const measure_job *j)
{
    return j->samples.count > 0 && (j->row->status == CASE_OK || j->row->status == CASE_SKIPPED);
}

/* Who is still in the race. */
static void judge(measure_group *g)
{
    race_entry *entries = calloc((size_t)g->count, sizeof *entries);
    if (entries == NULL) return;
    int timed = 0;
    for (int i = 0; i < g->count; i++) {
        const measure_job *j = &g->jobs[i];
        entries[i] = (race_entry){&j->samples, has_time(j), false, false, RACE_NONE};
        if (!entries[i].timed) continue;
        entries[i].exact = !j->impl->inexact;
        entries[i].peer = j->impl->peer;
        timed++;
    }
    if (timed > 1 && !g->setup.options.equal) race_judge(entries, g->count);
    for (int i = 0; i < g->count; i++)
        if (entries[i].timed) g->jobs[i].row->race = entries[i].state;
    free(entries);
}

/* Rows as they are after a visit. */
static void show(measure_group *g)
{
    judge(g);
    for (int i = 0; i < g->count; i++) {
        measure_job *j = &g->jobs[i];
        if (!j->visited) continue;
        j->visited = false;
        if (has_time(j))
            summarise(g, j);
        else if (cli_interrupted() && j->row->reason[0] == '\0')
            continue; /* unfinished: --resume measures it */
        if (g->setup.sink.on_row != NULL) g->setup.sink.on_row(g->setup.sink.ctx, j->row);
    }
}

/* What a visit has made. */
static void release(measure_group *g)
{
    for (int i = 0; i < g->count; i++) {
        measure_job *j = &g->jobs[i];
        evict_release(&j->evict);
        conv_plan_destroy(j->plan);
        buffer_free(j->packed);
        buffer_free(j->workspace);
        buffer_free(j->activations);
        j->plan = NULL;
        j->packed = j->workspace = j->activations = NULL;
        j->open = false;
    }
    conv_tensors_destroy(&g->tensors);
    buffer_free(g->scratch);
    g->scratch = NULL;
    g->pool = NULL;
}

/* ---- a visit */

static bool allocate(measure_group *g)
{
    size_t scratch = 0;
    for (int i = 0; i < g->count; i++)
        if (g->jobs[i].open && g->jobs[i].plan->scratch_bytes > scratch)
            scratch = g->jobs[i].plan->scratch_bytes;
    g->scratch = buffer_alloc(scratch);
    return g->scratch != NULL && conv_tensors_create(&g->problem, g->pass, FILL_REALS, g->setup.options.seed, &g->tensors);
}

/* Buffers of all open rows, then their calls' cost where it is not known. */
static void make_ready(measure_group *g)
{
    if (!allocate(g)) {
        drop_all(g, CASE_SKIPPED, "no memory for the tensors");
        return;
    }
    for (int i = 0; i < g->count && !cli_interrupted(); i++) {
        measure_job *j = &g->jobs[i];
        if (j->open) measure_ready(g, j);
        if (j->open && j->samples.count == 0) calibrate(g, j);
    }
}

/* The end of every visit: what was learned goes into the rows, what was allocated is given back. */
static void leave(measure_group *g)
{
    show(g);
    release(g);
}

static void begin(measure_group *g, double budget)
{
    g->began = machine_now();
    g->budget = budget;
    g->context = machine_context(g->threads);
}

void measure_first(measure_group *g, double budget)
{
    begin(g, budget);
    for (int i = 0; i < g->count; i++) {
        measure_job *j = &g->jobs[i];
        j->visited = j->samples.count == 0;
        j->open = j->visited && j->row->status == CASE_SKIPPED && j->row->reason[0] == '\0';
        if (j->open && j->impl == NULL) measure_drop(j, CASE_REFUSED, "not in this build or not on this CPU");
    }
    if (measure_any_open(g)) measure_prepare(g);
    if (measure_any_open(g) && !cli_interrupted()) make_ready(g);
    measure_options first = g->setup.options;
    int rows = 0;
    for (int i = 0; i < g->count; i++) rows += g->jobs[i].open || g->jobs[i].samples.count > 0;
    if (first.repetitions > FIRST) first.repetitions = FIRST;
    first.budget = budget;
    budget_fit(g->jobs, g->count, &first, measure_budget_left(g));
    g->fixed = machine_now() - g->began;
    bool race = rows > 1 && !g->setup.options.equal;
    if (!cli_interrupted()) repeat_all(g, race ? SAMPLE_CHOOSES : SAMPLE_REPORTS);
    leave(g);
}

/* ---- later visits */

static bool in_race(const measure_job *j)
{
    return !j->retired && has_time(j) && j->row->race != RACE_BEHIND;
}

/* Somebody is not told apart from the leader yet, so repetitions are needed that choose. */
static bool must_choose(const measure_group *g)
{
    for (int i = 0; i < g->count; i++)
        if (in_race(&g->jobs[i]) && g->jobs[i].row->race == RACE_NEAR) return true;
    return false;
}

static double relative_width(const record_row *row)
{
    double width = (row->ci95_high_ns - row->ci95_low_ns) / row->median_ns;
    return isfinite(width) ? width : INFINITY;
}

measure_need measure_needs(const measure_group *g)
{
    measure_need need = {.fixed = g->fixed, .least_visits = INT32_MAX};
    const int wanted = g->setup.options.repetitions;
    for (int i = 0; i < g->count; i++) {
        const measure_job *j = &g->jobs[i];
        if (!in_race(j)) continue;
        int have = samples_clean(&j->samples, SAMPLE_REPORTS);
        if (wanted - have > need.repetitions) need.repetitions = wanted - have;
        if (j->row->visits < need.least_visits) need.least_visits = j->row->visits;
        if (j->row->race != RACE_NEAR) need.width = fmax(need.width, relative_width(j->row));
        need.each += budget_repetition_seconds(j);
    }
    if (must_choose(g)) need.fixed += need.each;
    return need;
}

void measure_visit(measure_group *g, int repetitions)
{
    begin(g, 0);
    g->visit++;
    bool choose = must_choose(g);
    for (int i = 0; i < g->count; i++) {
        measure_job *j = &g->jobs[i];
        j->visited = j->open = in_race(j);
        j->repetitions = repetitions;
    }
    measure_plan_again(g);
    if (measure_any_open(g) && !cli_interrupted()) make_ready(g);
    double ready = machine_now() - g->began;
    g->fixed = 0.5 * (g->fixed + ready);
    if (!cli_interrupted()) repeat_all(g, SAMPLE_REPORTS);
    for (int i = 0; i < g->count; i++) g->jobs[i].repetitions = 1;
    if (choose && !cli_interrupted()) repeat_all(g, SAMPLE_CHOOSES);
    leave(g);
}

/* ---- the group */

measure_group *measure_open(const measure_setup *setup, record_row *rows, int count)
{
    measure_group *g = calloc(1, sizeof *g);
    if (g != NULL) g->jobs = calloc((size_t)count, sizeof *g->jobs);
    if (g == NULL || g->jobs == NULL) {
        free(g);
        return NULL;
    }
    g->setup = *setup;
    g->count = count;
    g->problem = rows[0].problem;
    g->pass = rows[0].pass;
    g->threads = rows[0].threads;
    g->cold = rows[0].cache == CACHE_COLD;
    g->random = setup->options.seed ^ (uint64_t)conv_flops(&g->problem, g->pass);
    for (int i = 0; i < count; i++) {
        measure_job *j = &g->jobs[i];
        j->row = &rows[i];
        j->impl = conv_find(rows[i].impl, g->problem.variant);
    }
    return g;
}

bool measure_continue(measure_group *g, int row, const record_sample *samples, size_t count)
{
    measure_job *j = &g->jobs[row];
    for (size_t i = 0; i < count; i++) {
        if (!samples_add(&j->samples, &samples[i])) return false;
        if (samples[i].visit > g->visit) g->visit = samples[i].visit;
    }
    if (count == 0) return true;
    j->iterations = samples[count - 1].iterations;
    j->call_seconds = 1e-9 * j->row->median_ns;
    return true;
}

int measure_timed(const measure_group *g)
{
    int timed = 0;
    for (int i = 0; i < g->count; i++) timed += has_time(&g->jobs[i]);
    return timed;
}

void measure_close(measure_group *g)
{
    if (g == NULL) return;
    for (int i = 0; i < g->count; i++) samples_free(&g->jobs[i].samples);
    free(g->jobs);
    free(g);
}
