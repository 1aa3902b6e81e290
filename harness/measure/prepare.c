/* Before a group is timed: does it fit in memory, are the results right, where does everything go. Plans come
 * first, so that what they ask for is known before memory is taken; verification has tensors of its own, which
 * are gone before those of the timed calls are made. */
#include <math.h>
#include <stdlib.h>

#include "../cli.h"
#include "../stats.h"
#include "internal.h"

/* Oracle work per group, about a hundredth of a second. */
static const double VERIFY_FLOPS = 1e7;

static void close_by(timed_row *t, conv_status status, const conv_error *error)
{
    measure_drop(t, case_status_of(status), "%s", error->text);
}

/* ---- memory */

static void check_tensors_fit(measure_group *g)
{
    conv_error error;
    conv_status status = conv_tensors_fit(&g->problem, g->pass, &error);
    for (int i = 0; i < g->count; i++)
        if (g->rows[i].open && status != CONV_OK) close_by(&g->rows[i], status, &error);
}

/* Alone for verification, then all packed weights and activations beside each other and the largest scratch:
 * the order of the rows decides who stays. */
static void check_plans_fit(measure_group *g)
{
    double tensors = conv_tensors_bytes(&g->problem, g->pass), available = memory_to_use();
    double kept = 0, scratch = 0;
    conv_error error;
    for (int i = 0; i < g->count; i++) {
        timed_row *t = &g->rows[i];
        if (!t->open || engines_elsewhere(t->impl)) continue; /* a worker looks for itself */
        double own = job_bytes(&t->job) - (double)t->job.plan->scratch_bytes;
        double larger = fmax(scratch, (double)t->job.plan->scratch_bytes);
        if (tensors + kept + own + larger > available) {
            close_by(t, memory_short(tensors + kept + own + larger, available, &error), &error);
            continue;
        }
        kept += own;
        scratch = larger;
    }
}

/* ---- plans and verification */

static void plan_row(measure_group *g, timed_row *t)
{
    conv_error error = {""};
    if (engines_elsewhere(t->impl)) {
        remote_open(g, t);
        return;
    }
    double start = machine_now();
    conv_status status = job_plan(&t->job, t->impl, &g->problem, g->pass, &g->context, &error);
    if (t->samples.count == 0) t->row->plan_ns = 1e9 * (machine_now() - start);
    if (status != CONV_OK)
        close_by(t, status, &error);
    else
        t->row->scratch_bytes = (int64_t)t->job.plan->scratch_bytes;
}

static void verify_row(measure_group *g, verify_reference *reference, timed_row *t)
{
    conv_error error = {""};
    verify_result result;
    conv_status status = verify_against(reference, t->impl, &g->context, &result, &error);
    if (status != CONV_OK) {
        close_by(t, status, &error);
        return;
    }
    t->row->max_abs_error = result.max_abs_error;
    t->row->error_bound = result.error_bound;
    t->call_seconds = result.execute_seconds;
    budget_learn(t->row, result.execute_seconds);
    if (!result.ok) measure_drop(t, CASE_WRONG, "%s", result.where);
}

static void verify_all(measure_group *g)
{
    const verify_options o = {.kind = FILL_REALS, .seed = g->setup.options.seed, .budget_flops = VERIFY_FLOPS};
    conv_error error = {""};
    verify_reference *reference = NULL;
    conv_status status = verify_prepare(&g->problem, g->pass, &o, &reference, &error);
    for (int i = 0; i < g->count; i++) {
        timed_row *t = &g->rows[i];
        if (!t->open || engines_elsewhere(t->impl) || cli_interrupted()) continue;
        if (status != CONV_OK)
            close_by(t, status, &error);
        else
            verify_row(g, reference, t);
    }
    verify_release(reference);
}

/* One call to verify and one to time is the least a row costs; most rows are closed here, before any work. */
void measure_prepare(measure_group *g)
{
    check_tensors_fit(g);
    budget_drop(g->rows, g->count, g->setup.options.verify ? 2 : 1, measure_budget_left(g));
    for (int i = 0; i < g->count; i++)
        if (g->rows[i].open && !cli_interrupted()) plan_row(g, &g->rows[i]);
    if (cli_interrupted()) return; /* plans may be missing */
    check_plans_fit(g);
    if (g->setup.options.verify && measure_any_open(g)) verify_all(g);
}

void measure_plan_again(measure_group *g)
{
    for (int i = 0; i < g->count; i++)
        if (g->rows[i].open && !cli_interrupted()) plan_row(g, &g->rows[i]);
    if (!cli_interrupted()) check_plans_fit(g);
}

/* ---- buffers */

enum { PACK_TIMES = 3 };
static const double PACK_LONG = 0.02; /* seconds: measured once */

/* Weights into the plan's layout, activations into and out of one of the implementation's own: what a caller
 * pays besides execute. Medians of a few, of the first visit. */
static bool time_packing(timed_row *t)
{
    double pack[PACK_TIMES], enter[PACK_TIMES], leave[PACK_TIMES];
    size_t times = 0;
    const conv_plan *plan = t->job.plan;
    const conv_args *args = &t->job.args;
    bool converts = t->impl->enter != NULL;
    bool ok = true;
    size_t most = t->samples.count == 0 ? PACK_TIMES : 1;
    for (; ok && times < most && (times == 0 || pack[times - 1] < PACK_LONG); times++) {
        double start = machine_now();
        ok = conv_pack(plan, args->weights, args->pointwise, t->job.packed) == CONV_OK;
        double packed = machine_now();
        ok = ok && conv_enter(plan, args) == CONV_OK;
        double entered = machine_now();
        if (converts && times == 0) ok = ok && conv_execute(plan, args) == CONV_OK;
        double executed = machine_now();
        ok = ok && conv_leave(plan, args) == CONV_OK;
        pack[times] = packed - start;
        enter[times] = entered - packed;
        leave[times] = machine_now() - executed;
    }
    double seconds = plan->packed_bytes > 0 ? stats_median(pack, times) : 0;
    if (converts) seconds += stats_median(enter, times) + stats_median(leave, times);
    if (t->samples.count == 0) t->row->pack_ns = 1e9 * seconds;
    return ok;
}

void measure_ready(measure_group *g, timed_row *t)
{
    conv_error error = {""};
    const conv_args args = conv_tensors_args(&g->tensors);
    conv_status status = job_ready(&t->job, &args, g->scratch, &error);
    if (status != CONV_OK) {
        close_by(t, status, &error);
        return;
    }
    measure_settle(g, t);
    if (!time_packing(t)) {
        measure_drop(t, CASE_FAILED, "packing failed");
        return;
    }
    if (t->impl->own_threads) g->pool = NULL; /* its packing may have run on OpenMP's threads, which spin now */
    if (!g->cold) return;
    evict_add_operands(&t->evict, t->job.plan, &t->job.args);
    if (!evict_prepare(&t->evict, g->threads))
        measure_drop(t, CASE_SKIPPED, "no memory for the buffer that sweeps the caches");
}
