/* The fastest implementation of a layer, by timing: the least median of its calls, by the rule of
 * record/rule.h.
 *
 * Forward and backward are chosen together, because a backward may read a workspace that only its own forward
 * writes: candidates are (any forward, a backward without workspace) and (an implementation's forward that
 * keeps the workspace, its backward). Timing uses one slice on one thread, as training will. Each candidate is
 * first checked against the oracle, and runs by its best strategies (pins.c). Peers and inexact ones are not
 * candidates: the bits would depend on another project's release. choose.c remembers the choice. */
#include <float.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../../kernels/problem.h"
#include "../machine/machine.h"
#include "../measure/contest.h"
#include "../record/rule.h"
#include "net_internal.h"

enum { MAX_CANDIDATES = 32, LEAST_CALLS = 5, MOST_CALLS = 50 };
static const double ENOUGH_SECONDS = 0.05, TOO_SLOW = 0.5, ORACLE_FLOPS = 2e6;

typedef struct {
    const conv_impl *impl;
    double forward, forward_kept, backward; /* seconds; DBL_MAX: cannot */
    bool workspace;                         /* backward reads one */
} candidate;

typedef struct {
    conv_problem problem;
    conv_tensors forward, backward;
    verify_reference *truth[2]; /* forward, backward */
    int threads;
    bool diff_wanted; /* of the layer's input: not of a first one */
    pins pins;        /* strategies of all candidates */
} trial;

/* ---- timing */

static void trial_stop(trial *t)
{
    conv_tensors_destroy(&t->forward);
    conv_tensors_destroy(&t->backward);
    verify_release(t->truth[0]);
    verify_release(t->truth[1]);
    pins_free(&t->pins);
}

static conv_status trial_start(trial *t, const net *n, const op *o, conv_error *err)
{
    *t = (trial){.problem = pins_problem(n, o),
                 .threads = o->batched ? n->options.threads : 1,
                 .diff_wanted = o->diff_wanted};
    verify_options options = {.kind = FILL_REALS, .seed = 1, .budget_flops = ORACLE_FLOPS};
    conv_status status = CONV_OK;
    if (!conv_tensors_create(&t->problem, CONV_FORWARD, FILL_REALS, 1, &t->forward) ||
        !conv_tensors_create(&t->problem, CONV_BACKWARD, FILL_REALS, 1, &t->backward))
        status = conv_fail(err, CONV_NO_MEMORY, "no memory to time implementations");
    if (status == CONV_OK) status = verify_prepare(&t->problem, CONV_FORWARD, &options, &t->truth[0], err);
    if (status == CONV_OK) status = verify_prepare(&t->problem, CONV_BACKWARD, &options, &t->truth[1], err);
    if (status != CONV_OK) trial_stop(t);
    return status;
}

static conv_context context_of(const trial *t)
{
    conv_context context = machine_context(t->threads);
    context.book = t->pins.count > 0 ? &t->pins.book : NULL;
    return context;
}

static bool correct(const trial *t, const conv_impl *impl)
{
    conv_context context = context_of(t);
    for (int i = 0; i < 2; i++) {
        verify_result result;
        if (verify_against(t->truth[i], impl, &context, &result, NULL) != CONV_OK || !result.ok) return false;
    }
    return true;
}

/* One pass of one candidate. */
typedef struct {
    contender turns;
    double *seconds; /* their median; DBL_MAX: cannot */
} runner;

static void runner_start(runner *r, const trial *t, const conv_impl *impl, conv_pass pass, bool keep,
                         double *seconds)
{
    conv_context context = context_of(t);
    conv_args args = conv_tensors_args(pass == CONV_FORWARD ? &t->forward : &t->backward);
    context.keep_workspace = keep;
    if (!t->diff_wanted) args.diff_src = NULL;
    *r = (runner){.turns.as_step = true, .seconds = seconds};
    *seconds = DBL_MAX;
    r->turns.in = job_plan(&r->turns.job, impl, &t->problem, pass, &context, NULL) == CONV_OK &&
                  job_ready(&r->turns.job, &args, NULL, NULL) == CONV_OK;
}

/* By turns: a disturbance then meets all alike. */
static void race(runner *r, int count)
{
    double began = machine_now();
    for (int i = 0; i < MOST_CALLS && (i < LEAST_CALLS || machine_now() - began < count * ENOUGH_SECONDS); i++)
        for (int k = 0; k < count; k++) {
            double start = machine_now();
            contender_turn(&r[k].turns);
            if (machine_now() - start > TOO_SLOW) r[k].turns.in = false;
        }
    for (int k = 0; k < count; k++) {
        if (r[k].turns.times.count > 0) *r[k].seconds = contender_median(&r[k].turns);
        contender_finish(&r[k].turns);
        samples_free(&r[k].turns.times);
    }
}

/* The present implementations that may stand behind "best" and do the problem. */
static int list_candidates(const conv_problem *p, candidate *list)
{
    size_t count;
    int found = 0;
    const conv_entry *entries = conv_entries(&count);
    for (size_t i = 0; i < count && found < MAX_CANDIDATES; i++) {
        const conv_impl *impl = entries[i].impl;
        if (impl == NULL || impl->variant != p->variant || impl->peer || impl->inexact || entries[i].study)
            continue;
        if (conv_refuse(impl, p, CONV_FORWARD) != NULL || conv_refuse(impl, p, CONV_BACKWARD) != NULL) continue;
        list[found++] = (candidate){.impl = impl};
    }
    /* naive only where nothing else is */
    if (found > 1 && strcmp(list[0].impl->name, "naive") == 0) list[0] = list[--found];
    return found;
}

static double pick_inference(op *o, const candidate *list, int count)
{
    double best = DBL_MAX;
    for (int i = 0; i < count; i++)
        if (rule_less(list[i].forward, best)) {
            o->impl[USE_INFER] = list[i].impl;
            best = list[i].forward;
        }
    return best;
}

static bool pick_training(op *o, const candidate *list, int count, double infer)
{
    double best = DBL_MAX;
    for (int i = 0; i < count; i++) {
        double forward = list[i].workspace ? list[i].forward_kept : infer;
        bool can = forward < DBL_MAX && list[i].backward < DBL_MAX;
        if (!can || !rule_less(forward + list[i].backward, best)) continue;
        best = forward + list[i].backward;
        o->impl[USE_BACKWARD] = list[i].impl;
        o->keep_workspace = list[i].workspace;
        o->impl[USE_TRAIN] = list[i].workspace ? list[i].impl : o->impl[USE_INFER];
    }
    return best < DBL_MAX;
}

/* The runners of a candidate, in the order forward and backward, forward with a workspace if backward reads
 * one. Returns how many. */
static int start_candidate(const trial *t, candidate *c, runner *r)
{
    runner_start(&r[0], t, c->impl, CONV_BACKWARD, false, &c->backward);
    runner_start(&r[1], t, c->impl, CONV_FORWARD, false, &c->forward);
    c->workspace = r[0].turns.in && r[0].turns.job.plan->workspace_bytes > 0;
    c->forward_kept = DBL_MAX;
    if (c->workspace) runner_start(&r[2], t, c->impl, CONV_FORWARD, true, &c->forward_kept);
    return c->workspace ? 3 : 2;
}

static conv_status choose_strategies(net *n, const op *o, const conv_impl *impl, pins *to, conv_error *err)
{
    conv_status status = pins_choose(n, o, impl, CONV_FORWARD, to, err);
    return status == CONV_OK ? pins_choose(n, o, impl, CONV_BACKWARD, to, err) : status;
}

conv_status best_choose(net *n, op *o, conv_error *err)
{
    candidate list[MAX_CANDIDATES];
    runner *runners = calloc((size_t)3 * MAX_CANDIDATES, sizeof *runners);
    const conv_problem p = pins_problem(n, o);
    int count = list_candidates(&p, list), kept = 0, running = 0;
    trial t;
    conv_status status = runners == NULL ? conv_fail(err, CONV_NO_MEMORY, "no memory to time implementations")
                                         : trial_start(&t, n, o, err);
    if (status != CONV_OK) {
        free(runners);
        return status;
    }
    for (int i = 0; i < count && status == CONV_OK; i++)
        status = choose_strategies(n, o, list[i].impl, &t.pins, err);
    for (int i = 0; i < count && status == CONV_OK; i++) {
        if (!correct(&t, list[i].impl)) continue;
        list[kept] = list[i];
        running += start_candidate(&t, &list[kept++], &runners[running]);
    }
    race(runners, running);
    free(runners);
    trial_stop(&t);
    if (status != CONV_OK) return status;
    if (!pick_training(o, list, kept, pick_inference(o, list, kept)))
        return conv_fail(err, CONV_REFUSED, "layer %s: no implementation does it",
                         n->model->layers[o->layer].name);
    return pins_choose_all(n, o, err);
}
