/* Before a group is timed: does it fit in memory, are the results right, where does everything go. Plans come
 * first, so that what they ask for is known before memory is taken; verification has tensors of its own, which
 * are gone before those of the timed calls are made. */
#include <math.h>
#include <stdlib.h>

#include "../cli.h"
#include "../stats.h"
#include "internal.h"
#include "job.h"

/* Oracle work per group, about a hundredth of a second. */
static const double VERIFY_FLOPS = 1e7;

static void close_by(measure_job *job, conv_status status, const conv_error *error)
{
    case_status verdict = status == CONV_REFUSED     ? CASE_REFUSED
                          : status == CONV_NO_MEMORY ? CASE_SKIPPED
                                                     : CASE_FAILED;
    measure_close(job, verdict, "%s", error->text);
}

/* ---- memory */

static double plan_bytes(const conv_plan *p)
{
    return (double)p->packed_bytes + (double)p->scratch_bytes + (double)p->workspace_bytes +
           (double)p->activation_bytes;
}

static void check_tensors_fit(group *g)
{
    conv_error error;
    conv_status status = conv_tensors_fit(&g->problem, g->pass, &error);
    for (int i = 0; i < g->count; i++)
        if (g->jobs[i].open && status != CONV_OK) close_by(&g->jobs[i], status, &error);
}

/* Alone for verification, then all packed weights and activations beside each other and the largest scratch:
 * the order of the rows decides who stays. */
static void check_plans_fit(group *g)
{
    double tensors = conv_tensors_bytes(&g->problem, g->pass), available = memory_to_use();
    double kept = 0, scratch = 0;
    conv_error error;
    for (int i = 0; i < g->count; i++) {
        measure_job *j = &g->jobs[i];
        if (!j->open) continue;
        double own = plan_bytes(j->plan) - (double)j->plan->scratch_bytes;
        double larger = fmax(scratch, (double)j->plan->scratch_bytes);
        if (tensors + kept + own + larger > available) {
            close_by(j, memory_short(tensors + kept + own + larger, available, &error), &error);
            continue;
        }
        kept += own;
        scratch = larger;
    }
}

/* ---- plans and verification */

static void plan_job(group *g, measure_job *j)
{
    conv_error error = {""};
    const char *why = conv_refuse(j->impl, &g->problem, g->pass);
    if (why != NULL) {
        measure_close(j, CASE_REFUSED, "%s", why);
        return;
    }
    double start = machine_now();
    conv_status status = conv_plan_create(j->impl, &g->problem, g->pass, &g->context, &j->plan, &error);
    j->row->plan_ns = 1e9 * (machine_now() - start);
    if (status != CONV_OK)
        close_by(j, status, &error);
    else
        j->row->scratch_bytes = (int64_t)j->plan->scratch_bytes;
}

static void verify_job(group *g, verify_reference *reference, measure_job *j)
{
    conv_error error = {""};
    verify_result result;
    conv_status status = verify_against(reference, j->impl, &g->context, &result, &error);
    if (status != CONV_OK) {
        close_by(j, status, &error);
        return;
    }
    j->row->max_abs_error = result.max_abs_error;
    j->row->error_bound = result.error_bound;
    j->call_seconds = result.execute_seconds;
    budget_learn(j->row, result.execute_seconds);
    if (!result.ok) measure_close(j, CASE_WRONG, "%s", result.where);
}

static void verify_all(group *g)
{
    const verify_options o = {.kind = FILL_REALS, .seed = g->options->seed, .budget_flops = VERIFY_FLOPS};
    conv_error error = {""};
    verify_reference *reference = NULL;
    conv_status status = verify_prepare(&g->problem, g->pass, &o, &reference, &error);
    for (int i = 0; i < g->count; i++) {
        measure_job *j = &g->jobs[i];
        if (!j->open || cli_interrupted()) continue;
        if (status != CONV_OK)
            close_by(j, status, &error);
        else
            verify_job(g, reference, j);
    }
    verify_release(reference);
}

/* One call to verify and one to time is the least a row costs; most rows are closed here, before any work. */
void measure_prepare(group *g)
{
    check_tensors_fit(g);
    budget_drop(g->jobs, g->count, g->options->verify ? 2 : 1, measure_budget_left(g));
    for (int i = 0; i < g->count; i++)
        if (g->jobs[i].open && !cli_interrupted()) plan_job(g, &g->jobs[i]);
    if (cli_interrupted()) return; /* plans may be missing */
    check_plans_fit(g);
    if (g->options->verify && measure_any_open(g)) verify_all(g);
}

/* ---- buffers */

enum { PACK_TIMES = 3 };
static const double PACK_LONG = 0.02; /* seconds: measured once */

/* Weights into the plan's layout, activations into and out of one of the implementation's own: what a caller
 * pays besides execute. Medians of a few. */
static bool time_packing(measure_job *j)
{
    double pack[PACK_TIMES], enter[PACK_TIMES], leave[PACK_TIMES];
    size_t times = 0;
    bool converts = j->impl->enter != NULL;
    bool ok = true;
    for (; ok && times < PACK_TIMES && (times == 0 || pack[times - 1] < PACK_LONG); times++) {
        double start = machine_now();
        ok = conv_pack(j->plan, j->args.weights, j->args.pointwise, j->packed) == CONV_OK;
        double packed = machine_now();
        ok = ok && conv_enter(j->plan, &j->args) == CONV_OK;
        double entered = machine_now();
        if (converts && times == 0) ok = ok && conv_execute(j->plan, &j->args) == CONV_OK;
        double executed = machine_now();
        ok = ok && conv_leave(j->plan, &j->args) == CONV_OK;
        pack[times] = packed - start;
        enter[times] = entered - packed;
        leave[times] = machine_now() - executed;
    }
    double seconds = j->plan->packed_bytes > 0 ? stats_median(pack, times) : 0;
    if (converts) seconds += stats_median(enter, times) + stats_median(leave, times);
    j->row->pack_ns = 1e9 * seconds;
    return ok;
}

void measure_ready(group *g, measure_job *j)
{
    conv_error error = {""};
    j->packed = buffer_alloc(j->plan->packed_bytes);
    if (j->plan->workspace_bytes > 0) j->workspace = buffer_alloc(j->plan->workspace_bytes);
    j->activations = buffer_alloc(j->plan->activation_bytes);
    if (j->packed == NULL || j->activations == NULL || (j->plan->workspace_bytes > 0 && j->workspace == NULL)) {
        measure_close(j, CASE_SKIPPED, "no memory for %.3g GB of packed weights and activations",
                      1e-9 * plan_bytes(j->plan));
        return;
    }
    j->args = conv_tensors_args(&g->tensors);
    j->args.packed = j->packed;
    j->args.scratch = g->scratch;
    j->args.activations = j->activations;
    conv_job work = {.plan = j->plan, .packed = j->packed, .workspace = j->workspace};
    conv_status status = job_prepare(&work, &j->args, &error);
    j->args.workspace = j->workspace = work.workspace;
    if (status != CONV_OK) {
        close_by(j, status, &error);
        return;
    }
    measure_settle(g, j);
    if (!time_packing(j)) {
        measure_close(j, CASE_FAILED, "packing failed");
        return;
    }
    if (!g->cold) return;
    evict_add_operands(&j->evict, j->plan, &j->args);
    if (!evict_prepare(&j->evict, g->threads))
        measure_close(j, CASE_SKIPPED, "no memory for the buffer that sweeps the caches");
}
