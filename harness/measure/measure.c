/* One group over all its visits: prepare, calibrate, repeat in random order, judge the race, summarise. */
#include "measure.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "../cli.h"
#include "../layer.h"
#include "../limits/limits.h"
#include "internal.h"
#include "race.h"

void measure_drop(timed_row *t, case_status status, const char *format, ...)
{
    va_list args;
    t->open = false;
    t->retired = true;
    if (status == CASE_SKIPPED && t->samples.count > 0) return; /* it keeps the time it has */
    va_start(args, format);
    vsnprintf(t->row->reason, sizeof t->row->reason, format, args);
    va_end(args);
    t->row->status = status;
}

void measure_drop_all(measure_group *g, case_status status, const char *reason)
{
    for (int i = 0; i < g->count; i++)
        if (g->rows[i].open) measure_drop(&g->rows[i], status, "%s", reason);
}

bool measure_any_open(const measure_group *g)
{
    for (int i = 0; i < g->count; i++)
        if (g->rows[i].open) return true;
    return false;
}

/* What is left of the visit's budget; 0 means unlimited, so never 0 when there is one. */
double measure_budget_left(const measure_group *g)
{
    if (g->budget <= 0) return 0;
    return fmax(1e-6, g->budget - (machine_now() - g->began));
}

/* ---- after timing */

char *measure_describe(const timed_row *t, char *text, size_t size)
{
    snprintf(text, size, "%s%s%s", t->job.plan->note,
             t->evict.sweep != NULL && t->job.plan->note[0] ? "; " : "",
             t->evict.sweep != NULL ? "evicted by a sweep" : "");
    return text;
}

static void summarise(const measure_group *g, timed_row *t)
{
    record_row *row = t->row;
    samples_summarise(&t->samples, row);
    double peak = g->setup.ceilings != NULL ? g->setup.ceilings->fma_gflops[row->isa] : 0;
    double gflops = (double)conv_flops(&g->problem, g->pass) / row->median_ns;
    row->percent_peak = peak > 0 ? 100 * gflops / peak : NAN;
    if (g->setup.ceilings != NULL) limits_fill(row, t->job.plan, g->setup.ceilings);
    row->status = CASE_OK;
    if (engines_elsewhere(t->impl))
        snprintf(row->reason, sizeof row->reason, "%s", t->remote.note);
    else if (t->job.plan != NULL)
        measure_describe(t, row->reason, sizeof row->reason);
    if (!g->cold) budget_learn(row, 1e-9 * row->median_ns);
}

static bool has_time(const timed_row *t)
{
    return t->samples.count > 0 && (t->row->status == CASE_OK || t->row->status == CASE_SKIPPED);
}

/* Of the two variants that the question is about, and of the layers of networks, each engine's best gets its
 * time: what its own separable convolution is beside its own dense one. Of the stages it is enough to know the
 * best peer. */
static const char *side_of(const conv_impl *impl, const record_row *row)
{
    bool asked = impl->variant == CONV_DENSE || impl->variant == CONV_SEPARABLE || layer_in_network(row->layer);
    return !impl->peer ? NULL : asked ? conv_engine(impl) : "peers";
}

/* Who is still in the race. */
static void judge(measure_group *g)
{
    race_entry *entries = calloc((size_t)g->count, sizeof *entries);
    if (entries == NULL) return;
    int timed = 0;
    for (int i = 0; i < g->count; i++) {
        const timed_row *t = &g->rows[i];
        entries[i] = (race_entry){.samples = &t->samples, .timed = has_time(t), .state = RACE_NONE};
        if (!entries[i].timed) continue;
        entries[i].exact = !t->impl->inexact;
        entries[i].side = side_of(t->impl, t->row);
        entries[i].choice = samples_median(&t->samples, SAMPLE_CHOOSES);
        timed++;
    }
    if (timed > 1 && !g->setup.options.equal) race_judge(entries, g->count);
    for (int i = 0; i < g->count; i++) {
        record_row *row = g->rows[i].row;
        if (!entries[i].timed) continue;
        bool same = isfinite(entries[i].choice) ? row->choice_ns == entries[i].choice : isnan(row->choice_ns);
        if (row->race != entries[i].state || !same) g->rows[i].visited = true; /* its row changed */
        row->race = entries[i].state;
        row->choice_ns = entries[i].choice;
    }
    free(entries);
}

/* Rows as they are after a visit. */
static void show(measure_group *g)
{
    judge(g);
    for (int i = 0; i < g->count; i++) {
        timed_row *t = &g->rows[i];
        if (!t->visited) continue;
        t->visited = false;
        if (has_time(t))
            summarise(g, t);
        else if (cli_interrupted() && t->row->reason[0] == '\0')
            continue; /* unfinished: --resume measures it */
        if (g->setup.sink.on_row != NULL) g->setup.sink.on_row(g->setup.sink.ctx, t->row);
    }
}

/* What a visit has made. */
void measure_release(measure_group *g)
{
    for (int i = 0; i < g->count; i++) {
        timed_row *t = &g->rows[i];
        if (engines_elsewhere(t->impl)) remote_leave(g, t);
        evict_release(&t->evict);
        job_finish(&t->job);
        t->open = false;
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
        if (g->rows[i].open && g->rows[i].job.plan != NULL && g->rows[i].job.plan->scratch_bytes > scratch)
            scratch = g->rows[i].job.plan->scratch_bytes;
    g->scratch = buffer_alloc(scratch);
    return g->scratch != NULL &&
           conv_tensors_create(&g->problem, g->pass, FILL_REALS, g->setup.options.seed, &g->tensors);
}

/* Buffers of all open rows, then their calls' cost where it is not known. */
void measure_make_ready(measure_group *g)
{
    if (!allocate(g)) {
        measure_drop_all(g, CASE_SKIPPED, "no memory for the tensors");
        return;
    }
    for (int i = 0; i < g->count && !cli_interrupted(); i++) {
        timed_row *t = &g->rows[i];
        if (t->open && engines_elsewhere(t->impl)) {
            remote_ready(g, t);
            continue;
        }
        if (t->open) measure_ready(g, t);
        if (t->open && t->samples.count == 0) measure_calibrate(g, t);
    }
}

/* The end of every visit: what was learned goes into the rows, what was allocated is given back. */
static void leave(measure_group *g)
{
    show(g);
    measure_release(g);
}

void measure_begin(measure_group *g, double budget)
{
    g->began = machine_now();
    g->budget = budget;
    g->context = machine_context(g->threads);
}

/* One repetition shows that a row is far behind. */
static void shorten_slow(measure_group *g)
{
    static const double far_behind = 2;
    double least = INFINITY;
    for (int i = 0; i < g->count; i++)
        if (g->rows[i].open) least = fmin(least, g->rows[i].call_seconds);
    for (int i = 0; i < g->count; i++)
        if (g->rows[i].open && g->rows[i].call_seconds > far_behind * least) g->rows[i].repetitions = 1;
}

void measure_first(measure_group *g, double budget)
{
    measure_begin(g, budget);
    for (int i = 0; i < g->count; i++) {
        timed_row *t = &g->rows[i];
        t->visited = t->samples.count == 0;
        t->open = t->visited && t->row->status == CASE_SKIPPED && t->row->reason[0] == '\0';
        if (t->open) t->retired = t->no_time = false;
        if (t->open && t->impl == NULL) measure_drop(t, CASE_REFUSED, "not in this build or not on this CPU");
        if (t->open) t->call_seconds = budget_call_seconds(t->row);
    }
    if (measure_any_open(g)) measure_prepare(g);
    const double verified = machine_now();
    if (measure_any_open(g) && !cli_interrupted()) measure_make_ready(g);
    int rows = 0;
    for (int i = 0; i < g->count; i++) rows += g->rows[i].open || g->rows[i].samples.count > 0;
    bool race = rows > 1 && !g->setup.options.equal;
    measure_options first = g->setup.options;
    if (!race) first.repetitions = 1;
    if (first.repetitions > MEASURE_FIRST) first.repetitions = MEASURE_FIRST;
    first.budget = budget;
    budget_fit(g->rows, g->count, &first, measure_budget_left(g));
    if (race) shorten_slow(g);
    if (measure_any_open(g)) g->fixed = machine_now() - verified; /* later visits do not verify */
    if (!cli_interrupted()) measure_repeat(g, race ? SAMPLE_CHOOSES : SAMPLE_REPORTS);
    leave(g);
}

bool measure_had_no_time(const measure_group *g, int row) { return g->rows[row].no_time; }

/* ---- later visits */

static bool in_race(const timed_row *t) { return !t->retired && has_time(t) && t->row->race != RACE_BEHIND; }

/* Repetitions of that use, those that were disturbed left out where they are to be replaced. */
static int usable(const measure_group *g, const timed_row *t, sample_use use)
{
    return g->setup.options.replace ? samples_clean(&t->samples, use) : samples_count(&t->samples, use);
}

/* Repetitions that report and are still to be taken of a row: of the fastest of its kind, or of everybody where
 * there is no race. Those that were disturbed are replaced, but not for ever. */
static int lacking(const measure_group *g, const timed_row *t)
{
    enum { MOST_TIMES = 3 };
    const int wanted = g->setup.options.repetitions;
    if (!in_race(t) || t->row->race == RACE_NEAR) return 0;
    int lacks = wanted - usable(g, t, SAMPLE_REPORTS);
    int room = MOST_TIMES * wanted - samples_count(&t->samples, SAMPLE_REPORTS);
    return lacks < room ? lacks : room > 0 ? room : 0;
}

/* Whether one more repetition that chooses may tell the row apart from its leader, or the leader from it:
 * what is near after so many is no different at this price. */
static bool chooses(const measure_group *g, const timed_row *t)
{
    enum { ENOUGH = 5 };
    bool undecided = false;
    for (int i = 0; i < g->count && !undecided; i++)
        undecided = in_race(&g->rows[i]) && g->rows[i].row->race == RACE_NEAR;
    return undecided && in_race(t) && usable(g, t, SAMPLE_CHOOSES) < ENOUGH &&
           samples_count(&t->samples, SAMPLE_CHOOSES) < 2 * ENOUGH;
}

measure_need measure_needs(const measure_group *g)
{
    measure_need need = {.fixed = g->fixed, .least_visits = INT32_MAX};
    for (int i = 0; i < g->count; i++) {
        const timed_row *t = &g->rows[i];
        int lacks = lacking(g, t);
        if (chooses(g, t)) need.fixed += budget_repetition_seconds(t, t->iterations);
        if (lacks <= 0) continue;
        if (lacks > need.repetitions) need.repetitions = lacks;
        int visits = samples_count(&t->samples, SAMPLE_REPORTS) == 0 ? 0 : t->row->visits;
        if (visits < need.least_visits) need.least_visits = visits;
        need.each += budget_repetition_seconds(t, measure_report_iterations(g, t));
    }
    return need;
}

/* First what chooses, so that whoever is ahead then has repetitions that report from this visit on. */
void measure_visit(measure_group *g, int repetitions)
{
    measure_begin(g, 0);
    g->visit++;
    for (int i = 0; i < g->count; i++) {
        timed_row *t = &g->rows[i];
        t->repetitions = chooses(g, t);
        t->visited = t->open = t->repetitions > 0 || lacking(g, t) > 0;
    }
    measure_plan_again(g);
    if (measure_any_open(g) && !cli_interrupted()) measure_make_ready(g);
    double ready = machine_now() - g->began;
    g->fixed = g->fixed > 0 ? 0.5 * (g->fixed + ready) : ready;
    if (!cli_interrupted()) measure_repeat(g, SAMPLE_CHOOSES);
    judge(g);
    for (int i = 0; i < g->count; i++) {
        int lacks = lacking(g, &g->rows[i]);
        g->rows[i].repetitions = lacks < repetitions ? lacks : repetitions;
    }
    if (!cli_interrupted()) measure_repeat(g, SAMPLE_REPORTS);
    leave(g);
}

/* ---- the group */

measure_group *measure_open(const measure_setup *setup, record_row *rows, int count)
{
    measure_group *g = calloc(1, sizeof *g);
    if (g != NULL) g->rows = calloc((size_t)count, sizeof *g->rows);
    if (g == NULL || g->rows == NULL) {
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
        timed_row *t = &g->rows[i];
        t->row = &rows[i];
        t->impl = conv_find(rows[i].impl, g->problem.variant);
    }
    return g;
}

bool measure_continue(measure_group *g, int row, const record_sample *samples, size_t count)
{
    timed_row *t = &g->rows[row];
    for (size_t i = 0; i < count; i++) {
        if (!samples_add(&t->samples, &samples[i])) return false;
        if (samples[i].visit > g->visit) g->visit = samples[i].visit;
    }
    if (count == 0) return true;
    t->iterations = samples[count - 1].iterations;
    t->call_seconds = 1e-9 * t->row->median_ns;
    return true;
}

int measure_timed(const measure_group *g)
{
    int timed = 0;
    for (int i = 0; i < g->count; i++) timed += has_time(&g->rows[i]);
    return timed;
}

void measure_close(measure_group *g)
{
    if (g == NULL) return;
    for (int i = 0; i < g->count; i++) samples_free(&g->rows[i].samples);
    free(g->rows);
    free(g);
}

int measure_at_once(const measure_setup *setup, record_row *rows, int count)
{
    measure_group *g = measure_open(setup, rows, count);
    if (g == NULL) return 0;
    const double end = machine_now() + (setup->options.budget > 0 ? setup->options.budget : INFINITY);
    measure_first(g, setup->options.budget);
    for (measure_need need; !cli_interrupted() && (need = measure_needs(g)).repetitions > 0;) {
        if (machine_now() + need.fixed + need.each > end) break;
        measure_visit(g, 1);
    }
    int timed = measure_timed(g);
    measure_close(g);
    return timed;
}
