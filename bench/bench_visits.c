/* The visits of `sepbench bench`: a first one to every group, within a part of the budget; then those that
 * schedule.h plans, until the rows still in the race have their repetitions. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "../harness/cli.h"
#include "../harness/random.h"
#include "../harness/record/rule.h"
#include "bench_internal.h"
#include "budget.h"
#include "schedule.h"

/* Of the budget, for the first visits: everybody is verified and gets a little time. Who does not fit into it
 * gets what the others leave of the whole. */
static const double first_part = 0.5;
/* What is left of it at the end for writing files. */
static const double ending = 0.02;
/* Of the first visits' part, for contests of strategies at most. */
static const double contest_part = 0.25;

typedef struct {
    record_row *rows;
    size_t first, count;
    measure_group *group;
    bool headline;
    double price; /* of what was given up of it */
} visited;

typedef struct {
    bench *b;
    visited *groups;
    size_t count;
    bool *given_up; /* of each case: it did not fit into its share */
    schedule_entry *entries;
    budget budget;
    chooser *chooser;
} visits;

/* ---- what is measured, as it is measured */

static void on_sample(void *ctx, const record_row *row, int repetition, const record_sample *sample)
{
    bench *b = ctx;
    char name[CASE_NAME_MAX];
    record_case_name(row, name);
    b->timed_seconds += 1e-9 * sample->ns * (double)sample->iterations;
    progress_update(&b->progress, b->done, b->seconds_left, name);
    if (b->write_error.text[0] == '\0')
        record_write_sample(b->store, name, repetition, sample, &b->write_error);
}

static void on_row(void *ctx, const record_row *row)
{
    bench *b = ctx;
    char name[CASE_NAME_MAX];
    record_case_name(row, name);
    b->done += !record_has(b->store, name);
    if (row->status == CASE_WRONG) {
        progress_clear(&b->progress);
        cli_warning("wrong result: %s: %s", name, row->reason);
    }
    if (b->write_error.text[0] == '\0') record_write(b->store, row, &b->write_error);
}

/* "dense/backward/mb1ic64ih28oc64kh3ph1/t2: onednn 156 us" */
static void describe_group(const visited *v, char *text, size_t size)
{
    char name[CASE_NAME_MAX], time[16];
    const record_row *best = NULL;
    for (size_t i = 0; i < v->count; i++)
        if (record_faster(&v->rows[i], best)) best = &v->rows[i];
    snprintf(text, size, "%s: %s%s%s", bench_group_name(v->rows, name), best ? best->impl : "no time",
             best ? " " : "", best ? bench_time(best->median_ns, time) : "");
}

/* ---- the groups */

static void no_memory(bench *b, const char *what)
{
    if (b->write_error.text[0] == '\0') conv_fail(&b->write_error, CONV_NO_MEMORY, "no memory for %s", what);
}

static bool open_group(visits *v, size_t first, size_t end)
{
    bench *b = v->b;
    record_row *rows = &b->cases->rows[first];
    for (record_row *row = rows; row < &b->cases->rows[end]; row++) {
        wisdom_refuse(b->wisdom, row);
        if (!chooser_add(v->chooser, row)) return false;
    }
    const measure_setup setup = {.options = b->a->measure,
                                 .ceilings = bench_ceilings_of(b, rows->threads),
                                 .run = bench_loop,
                                 .note = bench_note,
                                 .sink = {on_sample, on_row, b},
                                 .started = b->a->started};
    visited *added = &v->groups[v->count];
    *added = (visited){.rows = rows, .first = first, .count = end - first};
    added->headline = select_rank(rows->problem.variant, rows->pass, rows->layer) <= SELECT_RANK_HEADLINE;
    added->group = measure_open(&setup, rows, (int)(end - first));
    if (added->group != NULL) v->count++;
    return added->group != NULL;
}

/* Rows that the run has already: those in a race that was not ended take it up again, the others leave. */
static void take_up(bench *b, const record_samples *samples)
{
    const char *status = json_string_value(json_object_get(b->a->continued->run, "status"));
    bool ended = status != NULL && strcmp(status, "complete") == 0;
    size_t left = 0;
    for (size_t i = 0; i < b->cases->count; i++) {
        record_row *row = &b->cases->rows[i];
        char name[CASE_NAME_MAX];
        size_t count = 0;
        record_case_name(row, name);
        const record_row *old = record_find(b->a->continued, name);
        if (old != NULL && record_has(b->store, name)) {
            if (!ended && old->status == CASE_OK) record_samples_of(samples, name, &count);
            if (count == 0) continue;
            int group = row->group;
            *row = *old;
            row->group = group;
            wisdom_adopt(b->wisdom, row);
            b->done++;
        }
        b->cases->rows[left++] = *row;
    }
    b->cases->count = left;
}

static bool continue_rows(visits *v, const record_samples *samples)
{
    for (size_t g = 0; g < v->count; g++)
        for (size_t i = 0; i < v->groups[g].count; i++) {
            char name[CASE_NAME_MAX];
            size_t count;
            const record_row *row = &v->groups[g].rows[i];
            if (row->status != CASE_OK) continue;
            const record_sample *s = record_samples_of(samples, record_case_name(row, name), &count);
            if (!measure_continue(v->groups[g].group, (int)i, s, count)) return false;
        }
    return true;
}

static bool open_groups(visits *v)
{
    bench *b = v->b;
    record_samples *samples = NULL;
    bool ok = true;
    if (b->a->continued != NULL) {
        samples = record_samples_load(record_dir(b->store), &b->write_error);
        ok = samples != NULL;
        if (ok) take_up(b, samples);
    }
    v->groups = ok ? calloc(b->cases->count + 1, sizeof *v->groups) : NULL;
    v->given_up = calloc(b->cases->count + 1, sizeof *v->given_up);
    v->entries = calloc(b->cases->count + 1, sizeof *v->entries);
    ok = v->groups != NULL && v->given_up != NULL && v->entries != NULL;
    for (size_t first = 0, end; ok && first < b->cases->count; first = end) {
        end = select_group_end(b->cases, first);
        ok = open_group(v, first, end);
    }
    ok = ok && (samples == NULL || continue_rows(v, samples));
    record_samples_free(samples);
    return ok;
}

/* ---- the first visits */

static void on_part(void *ctx, const char *name)
{
    bench *b = ctx;
    char text[PART_NAME_MAX + 16];
    snprintf(text, sizeof text, "choosing: %s", name);
    progress_update(&b->progress, b->done, b->seconds_left, text);
}

static double seconds_until(const bench *b, double part)
{
    if (b->a->budget <= 0) return 0;
    return fmax(0.001, b->a->started + part * b->a->budget - machine_now());
}

static bool is_stopped(const bench *b) { return cli_interrupted() || b->write_error.text[0] != '\0'; }

/* The first visit of the group's pending rows, but of those in skip[], which need more than `why` says. */
static void visit_pending(visits *v, visited *g, const bool *skip, const char *why, double granted)
{
    bench *b = v->b;
    for (size_t i = 0; i < g->count; i++)
        if (skip[i])
            snprintf(g->rows[i].reason, sizeof g->rows[i].reason, "needs about %.3g s, %s",
                     v->budget.cost[g->first + i].least, why);
    bench_bind_pool(b, g->rows->threads);
    for (size_t i = 0; i < g->count && b->no_pool[0] != '\0'; i++) {
        if (g->rows[i].reason[0] != '\0') continue;
        g->rows[i].status = CASE_FAILED;
        snprintf(g->rows[i].reason, sizeof g->rows[i].reason, "%s", b->no_pool);
    }
    chooser_run(v->chooser, g->rows, skip, g->count);
    double started = machine_now();
    b->timed_seconds = 0;
    measure_first(g->group, b->a->budget > 0 ? fmax(granted, 0.001) : 0);
    budget_learn_overhead(&v->budget, g->first, g->count, skip, machine_now() - started, b->timed_seconds);
    for (size_t i = 0; i < g->count; i++)
        v->given_up[g->first + i] = skip[i] || measure_had_no_time(g->group, (int)i);
}

static bool visit_first(visits *v, visited *g)
{
    bench *b = v->b;
    bool *skip = calloc(g->count, sizeof *skip);
    char why[64];
    if (skip == NULL) return false;
    double contests = chooser_left(v->chooser), left = seconds_until(b, first_part);
    if (b->a->budget > 0) left = fmax(0.001, left - contests);
    double granted = budget_group(&v->budget, g->first, g->count, left, skip, &b->seconds_left);
    b->seconds_left += contests + (1 - first_part) * b->a->budget;
    snprintf(why, sizeof why, "beyond its share of the budget of %g s", b->a->budget);
    visit_pending(v, g, skip, why, granted);
    free(skip);
    return true;
}

static void visit_all_first(visits *v)
{
    bench *b = v->b;
    chooser_limit(v->chooser, contest_part * first_part * b->a->budget);
    for (size_t i = 0; i < v->count && !is_stopped(b); i++) {
        visited *g = &v->groups[i];
        if (!visit_first(v, g)) no_memory(b, "a group");
        char text[CASE_NAME_MAX + 64];
        describe_group(g, text, sizeof text);
        progress_step(&b->progress, b->done, b->seconds_left > 0 ? b->seconds_left : 0, text);
    }
}

/* ---- rows that had no time, again */

static bool reopen(visits *v, visited *g)
{
    bool any = false;
    for (size_t i = 0; i < g->count; i++) {
        if (!v->given_up[g->first + i]) continue;
        g->rows[i].reason[0] = '\0';
        any = true;
    }
    return any;
}

static int compare_prices(const void *a, const void *b)
{
    const visited *x = *(visited *const *)a, *y = *(visited *const *)b;
    return x->price < y->price ? -1 : x->price > y->price;
}

/* Whether a row of it was measured. waiting[]: those that come behind it. */
static bool visit_once_more(visits *v, visited *g, visited *const *waiting, size_t count, double left)
{
    bool *skip = calloc(g->count, sizeof *skip);
    char why[80];
    double others = 0;
    if (skip == NULL) return false;
    for (size_t i = 0; i < count; i++) {
        double least = budget_least(&v->budget, waiting[i]->first, waiting[i]->count);
        others += least <= left ? least : 0;
    }
    double granted = budget_again(&v->budget, g->first, g->count, left, others, skip);
    snprintf(why, sizeof why, "%.3g s of the budget of %g s are left", fmax(0, left), v->b->a->budget);
    visit_pending(v, g, skip, why, granted);
    free(skip);
    return granted > 0;
}

/* What did not fit into its share, the most valuable first, in the time that nobody else needs: what `reserved`
 * seconds leave. untimed: of the groups only that have no time at all. Returns whether anything was measured. */
static bool visit_given_up(visits *v, bool untimed, double reserved)
{
    visited **order = calloc(v->count + 1, sizeof(visited *));
    size_t count = 0;
    bool any = false;
    if (order == NULL) return false;
    for (size_t i = 0; i < v->count; i++)
        if (!(untimed && measure_timed(v->groups[i].group) > 0) && reopen(v, &v->groups[i]))
            order[count++] = &v->groups[i];
    v->budget.estimated = 0;
    for (size_t i = 0; i < count; i++)
        order[i]->price = budget_price(&v->budget, order[i]->first, order[i]->count);
    qsort(order, count, sizeof(visited *), compare_prices);
    for (size_t i = 0; i < count && !is_stopped(v->b); i++) {
        double left = seconds_until(v->b, 1 - ending) - reserved;
        any = visit_once_more(v, order[i], order + i + 1, count - i - 1, left) || any;
    }
    free(order);
    return any;
}

/* ---- later visits */

/* One visit; false when nobody needs one, or none fits into the time left. */
static bool visit_next(visits *v, uint64_t *random)
{
    bench *b = v->b;
    schedule_entry *entries = v->entries;
    double left = b->a->budget > 0 ? seconds_until(b, 1 - ending) : INFINITY;
    b->seconds_left = schedule_plan(entries, (int)v->count, left);
    int next = schedule_next(entries, (int)v->count, random);
    if (next < 0) return false;
    schedule_entry *e = &entries[next];
    const visited *g = &v->groups[next];
    e->left_out = e->need.fixed + e->repetitions * e->need.each > left;
    if (e->left_out) return true;
    char text[CASE_NAME_MAX + 64], name[CASE_NAME_MAX];
    snprintf(text, sizeof text, "visit %d: %s", e->need.least_visits + 2, bench_group_name(g->rows, name));
    progress_update(&b->progress, b->done, b->seconds_left, text);
    bench_bind_pool(b, g->rows->threads);
    measure_visit(g->group, e->repetitions);
    e->need = measure_needs(g->group);
    return true;
}

static void find_needs(visits *v)
{
    for (size_t i = 0; i < v->count; i++)
        v->entries[i] =
            (schedule_entry){.need = measure_needs(v->groups[i].group), .headline = v->groups[i].headline};
}

/* A group without any time comes before repetitions beyond those that make an interval; other rows that had none
 * come after all repetitions. */
static void visit_again(visits *v)
{
    uint64_t random = v->b->a->measure.seed;
    bool more = v->b->a->budget > 0;
    find_needs(v);
    if (more && visit_given_up(v, true, schedule_least(v->entries, (int)v->count))) find_needs(v);
    do {
        while (!is_stopped(v->b) && visit_next(v, &random)) {
        }
        more = more && !is_stopped(v->b) && visit_given_up(v, false, 0);
        if (more) find_needs(v);
    } while (more);
}

void bench_visits(bench *b)
{
    visits v = {.b = b, .chooser = chooser_create(b->wisdom, on_part, b)};
    measure_options first = b->a->measure;
    if (first.repetitions > MEASURE_FIRST) first.repetitions = MEASURE_FIRST;
    if (v.chooser == NULL || !open_groups(&v)) no_memory(b, "the groups of cases");
    if (!budget_open(&v.budget, b->cases, &first, b->a->budget)) no_memory(b, "the budget");
    if (!is_stopped(b)) visit_all_first(&v);
    if (!is_stopped(b)) visit_again(&v);
    for (size_t i = 0; i < v.count; i++) measure_close(v.groups[i].group);
    if (v.chooser != NULL) b->strategies = chooser_so_far(v.chooser);
    chooser_destroy(v.chooser);
    budget_close(&v.budget);
    free(v.entries);
    free(v.given_up);
    free(v.groups);
}
