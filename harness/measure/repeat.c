/* The timed calls of a visit: how many make a repetition, and repetitions in random order, each with its
 * marks. */
#include <math.h>
#include <stdlib.h>

#include "../cli.h"
#include "../random.h"
#include "internal.h"

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

void measure_calibrate(measure_group *g, timed_row *t)
{
    if (budget_skips_warmup(t->call_seconds) && !g->cold) return;
    const double enough = fmin(0.001, fmax(1e-4, 0.1 * g->setup.options.min_time));
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
    if (t->status != CONV_OK) measure_drop(t, CASE_FAILED, "execute failed");
}

/* What flickers while calls run (a neighbour on a core's other hardware thread comes and goes within some 50
 * ms) has to be averaged over in what is reported; to choose, it meets all alike. */
int64_t measure_report_iterations(const measure_group *g, const timed_row *t)
{
    enum { LONGER = 3 };
    return budget_iterations(LONGER * g->setup.options.min_time, t->call_seconds);
}

record_sample measure_take(measure_group *g, timed_row *t, int64_t iterations)
{
    char name[CASE_NAME_MAX];
    const measure_loop loop = {call_once, g->cold ? call_evict : NULL, t};
    const int loop_threads = t->impl->own_threads ? 1 : g->threads;
    t->skip_call = budget_skips_warmup(t->call_seconds);
    measure_settle(g, t);
    quiet_reading before = quiet_before(loop_threads);
    double ns =
        g->setup.run(g->setup.runner, record_case_name(t->row, name), &loop, iterations, (int)t->samples.count);
    return (record_sample){.ns = t->status == CONV_OK ? ns : -1,
                           .iterations = iterations,
                           .seconds = before.began - g->setup.started,
                           .handover_ns = before.handover,
                           .marks = quiet_after(&before, g->threads, loop_threads, t->impl->loose_threads)};
}

static void take_sample(measure_group *g, timed_row *t, sample_use use)
{
    const int64_t iterations =
        use == SAMPLE_REPORTS && g->visit > 0 ? measure_report_iterations(g, t) : t->iterations;
    const int repetition = (int)t->samples.count;
    record_sample sample =
        engines_elsewhere(t->impl) ? remote_take(g, t, iterations) : measure_take(g, t, iterations);
    if (!t->open) return; /* its worker is gone */
    sample.visit = g->visit;
    sample.use = use;
    if (!(sample.ns > 0))
        measure_drop(t, CASE_FAILED, "%s",
                     t->status != CONV_OK ? "execute failed" : "Google Benchmark reported an error");
    else if (!samples_add(&t->samples, &sample))
        measure_drop(t, CASE_FAILED, "no memory for samples");
    else if (g->setup.sink.on_sample != NULL)
        g->setup.sink.on_sample(g->setup.sink.ctx, t->row, repetition, &sample);
}

/* A row with fewer repetitions sits out rounds evenly, so that drift over the visit meets all rows alike. */
void measure_repeat(measure_group *g, sample_use use)
{
    int rounds = 0;
    size_t *order = calloc((size_t)g->count, sizeof *order);
    for (int i = 0; order != NULL && i < g->count; i++) {
        order[i] = (size_t)i;
        if (g->rows[i].open && g->rows[i].repetitions > rounds) rounds = g->rows[i].repetitions;
    }
    if (order == NULL) measure_drop_all(g, CASE_FAILED, "no memory for samples");
    for (int round = 0; round < rounds; round++) {
        random_shuffle(&g->random, order, (size_t)g->count);
        for (int i = 0; i < g->count; i++) {
            timed_row *t = &g->rows[order[i]];
            int64_t wanted = t->repetitions;
            bool turn = round * wanted % rounds < wanted; /* exactly `wanted` of the rounds */
            bool late = g->budget > 0 && machine_now() - g->began > 1.2 * g->budget;
            if (!t->open || !turn || (late && t->samples.count > 0)) continue;
            if (cli_interrupted()) goto done;
            take_sample(g, t, use);
        }
    }
done:
    free(order);
}
