/* The fastest implementation of a layer, by timing: the least median of its calls, by the rule of
 * record/rule.h.
 *
 * Forward and backward are chosen together, because a backward may read a workspace that only its own forward
 * writes: candidates are (any forward, a backward without workspace) and (an implementation's forward that
 * keeps the workspace, its backward). Timing uses one slice on one thread, as training will. Each candidate is
 * first checked against the oracle. Peers and inexact ones are not candidates: the bits would depend on another
 * project's release. The choice is remembered per machine and build, whatever the number of threads, so that
 * the same command gives the same bits. */
#include <float.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../../kernels/problem.h"
#include "../machine/machine.h"
#include "../measure/job.h"
#include "../measure/verify.h"
#include "../output.h"
#include "../record/rule.h"
#include "../stats.h"
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
} trial;

/* ---- timing */

static void trial_stop(trial *t)
{
    conv_tensors_destroy(&t->forward);
    conv_tensors_destroy(&t->backward);
    verify_release(t->truth[0]);
    verify_release(t->truth[1]);
}

static conv_status trial_start(trial *t, const net *n, const op *o, conv_error *err)
{
    *t = (trial){.problem = op_problem(o, o->batched ? n->options.batch : n->slice_rows),
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

static bool correct(const trial *t, const conv_impl *impl)
{
    conv_context context = machine_context(t->threads);
    for (int i = 0; i < 2; i++) {
        verify_result result;
        if (verify_against(t->truth[i], impl, &context, &result, NULL) != CONV_OK || !result.ok) return false;
    }
    return true;
}

/* One pass of one candidate, ready to be called. */
typedef struct {
    conv_job job;
    bool runs;
    double took[MOST_CALLS]; /* seconds of each call, packing included */
    size_t calls;
    double *seconds; /* their median; DBL_MAX: cannot */
} runner;

static void runner_start(runner *r, const trial *t, const conv_impl *impl, conv_pass pass, bool keep,
                         double *seconds)
{
    conv_context context = machine_context(t->threads);
    conv_args args = conv_tensors_args(pass == CONV_FORWARD ? &t->forward : &t->backward);
    context.keep_workspace = keep;
    if (!t->diff_wanted) args.diff_src = NULL;
    *r = (runner){.seconds = seconds};
    *seconds = DBL_MAX;
    r->runs = job_plan(&r->job, impl, &t->problem, pass, &context, NULL) == CONV_OK &&
              job_ready(&r->job, &args, NULL, NULL) == CONV_OK;
}

/* One call; how long it took. */
static double runner_call(runner *r)
{
    double start = machine_now();
    const conv_args *args = &r->job.args;
    r->runs = conv_pack(r->job.plan, args->weights, args->pointwise, r->job.packed) == CONV_OK &&
              job_run(&r->job, NULL) == CONV_OK;
    double took = machine_now() - start;
    if (r->runs) r->took[r->calls++] = took;
    if (took > TOO_SLOW) r->runs = false;
    return took;
}

/* By turns: a disturbance then meets all alike, and each finds the caches as another has left them, which is
 * how a training step leaves them. */
static void race(runner *r, int count)
{
    double spent = 0;
    for (int i = 0; i < MOST_CALLS && (i < LEAST_CALLS || spent < count * ENOUGH_SECONDS); i++)
        for (int k = 0; k < count; k++)
            if (r[k].runs) spent += runner_call(&r[k]);
    for (int k = 0; k < count; k++) {
        if (r[k].calls > 0) *r[k].seconds = stats_median(r[k].took, r[k].calls);
        job_finish(&r[k].job);
    }
}

/* The present implementations of the variant that may stand behind "best". */
static int list_candidates(conv_variant variant, candidate *list)
{
    size_t count;
    int found = 0;
    const conv_entry *entries = conv_entries(&count);
    for (size_t i = 0; i < count && found < MAX_CANDIDATES; i++) {
        const conv_impl *impl = entries[i].impl;
        if (impl == NULL || impl->variant != variant || impl->peer || impl->inexact) continue;
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

static conv_status time_all(net *n, op *o, conv_error *err)
{
    candidate list[MAX_CANDIDATES];
    runner *runners = calloc((size_t)3 * MAX_CANDIDATES, sizeof *runners);
    int count = list_candidates(o->problem.variant, list), kept = 0, running = 0;
    trial t;
    conv_status status = runners == NULL ? conv_fail(err, CONV_NO_MEMORY, "no memory to time implementations")
                                         : trial_start(&t, n, o, err);
    if (status != CONV_OK) {
        free(runners);
        return status;
    }
    for (int i = 0; i < count; i++) {
        if (!correct(&t, list[i].impl)) continue;
        candidate *c = &list[kept++];
        *c = list[i];
        runner *backward = &runners[running++];
        runner_start(backward, &t, c->impl, CONV_BACKWARD, false, &c->backward);
        c->workspace = backward->runs && backward->job.plan->workspace_bytes > 0;
        runner_start(&runners[running++], &t, c->impl, CONV_FORWARD, false, &c->forward);
        c->forward_kept = DBL_MAX;
        if (c->workspace) runner_start(&runners[running++], &t, c->impl, CONV_FORWARD, true, &c->forward_kept);
    }
    race(runners, running);
    free(runners);
    trial_stop(&t);
    if (pick_training(o, list, kept, pick_inference(o, list, kept))) return CONV_OK;
    return conv_fail(err, CONV_REFUSED, "layer %s: no implementation does it", n->model->layers[o->layer].name);
}

/* ---- remembering */

static bool cache_path(char *path, size_t size)
{
    char folder[4096];
    if (strcmp(machine_build_id(), "unknown") == 0 || !machine_cache_dir(folder, sizeof folder)) return false;
    return (size_t)snprintf(path, size, "%s/best-%s.json", folder, cpu_isa_name(cpu_allowed())) < size;
}

/* The choices of this build, by layer; empty when there are none. */
static json_t *cache_read(void)
{
    char path[4400];
    json_t *cache = cache_path(path, sizeof path) ? json_load_file(path, 0, NULL) : NULL;
    const char *build = json_string_value(json_object_get(cache, "build")),
               *cpu = json_string_value(json_object_get(cache, "cpu"));
    if (build != NULL && cpu != NULL && strcmp(build, machine_build_id()) == 0 &&
        strcmp(cpu, machine_get()->cpu) == 0)
        return cache;
    json_decref(cache);
    return json_pack("{s:s, s:s}", "build", machine_build_id(), "cpu", machine_get()->cpu);
}

/* A failure is no harm: the next run times again. */
static void cache_write(json_t *cache)
{
    char path[4400];
    if (cache_path(path, sizeof path)) output_json(path, cache, JSON_INDENT(1), NULL);
}

/* "dense mb8ic1ih28oc32oh26kh3 nhwc +bias first". */
static void key_of(const net *n, const op *o, char *key, size_t size)
{
    char text[PROBLEM_STRING_MAX];
    conv_problem p = op_problem(o, o->batched ? n->options.batch : n->slice_rows);
    snprintf(key, size, "%s %s %s%s%s%s", conv_variant_name(p.variant), problem_format(&p, text),
             conv_layout_name(p.layout), p.bias ? " +bias" : "", p.post_op == CONV_POST_RELU ? " +relu" : "",
             o->diff_wanted ? "" : " first");
}

conv_status best_choose(net *n, op *o, conv_error *err)
{
    char key[PROBLEM_STRING_MAX + 64];
    key_of(n, o, key, sizeof key);
    json_t *cache = cache_read(), *entry = json_object_get(cache, key);
    conv_status status = CONV_OK;
    if (!choice_read(o, entry)) {
        status = time_all(n, o, err);
        if (status == CONV_OK) {
            json_object_set_new(cache, key, choice_json(o));
            cache_write(cache);
        }
    }
    json_decref(cache);
    return status;
}
