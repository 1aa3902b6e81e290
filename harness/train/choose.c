/* Which implementation runs a layer: the one named, the one an earlier run chose, or the fastest by timing.
 *
 * Forward and backward are chosen together, because a backward may read a workspace that only its own forward
 * writes: candidates are (any forward, a backward without workspace) and (an implementation's forward that
 * keeps the workspace, its backward). Timing uses one slice on one thread, as training will; peers are not
 * candidates of "best", whose bits would then depend on another project's release. */
#include <float.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../machine.h"
#include "../tensors.h"
#include "net_internal.h"

enum { TIMED_CALLS = 5, MAX_CANDIDATES = 32 };

typedef struct {
    const conv_impl *impl;
    double forward, forward_kept, backward; /* seconds; DBL_MAX: cannot */
    bool workspace;                         /* backward reads one */
} candidate;

typedef struct {
    conv_problem problem;
    conv_tensors forward, backward;
    int threads;
} trial;

/* Seconds of the fastest of a few calls, packing included, or DBL_MAX. *workspace: bytes wanted, > 0. */
static double time_pass(const trial *t, const conv_impl *impl, conv_pass pass, bool keep, bool first_layer,
                        bool *workspace)
{
    conv_context context = machine_context(t->threads);
    context.keep_workspace = keep;
    conv_plan *plan;
    if (conv_plan_create(impl, &t->problem, pass, &context, &plan, NULL) != CONV_OK) return DBL_MAX;
    void *packed = buffer_alloc(plan->packed_bytes), *scratch = buffer_alloc(plan->scratch_bytes),
         *space = buffer_alloc(plan->workspace_bytes);
    if (workspace != NULL) *workspace = plan->workspace_bytes > 0;
    double best = DBL_MAX;
    if (packed != NULL && scratch != NULL && space != NULL) {
        memset(space, 0, plan->workspace_bytes);
        conv_args args = conv_tensors_args(pass == CONV_FORWARD ? &t->forward : &t->backward);
        args.packed = packed;
        args.scratch = scratch;
        args.workspace = space;
        if (first_layer) args.diff_src = NULL;
        for (int i = 0; i < TIMED_CALLS; i++) {
            double start = net_clock();
            conv_status status = conv_pack(plan, args.weights, args.pointwise, packed);
            if (status == CONV_OK) status = conv_enter(plan, &args);
            if (status == CONV_OK) status = conv_execute(plan, &args);
            if (status == CONV_OK) status = conv_leave(plan, &args);
            double seconds = net_clock() - start;
            if (status != CONV_OK) break;
            if (seconds < best) best = seconds;
            if (seconds > 0.5) break; /* naive on something large: no need to see it twice */
        }
    }
    buffer_free(packed);
    buffer_free(scratch);
    buffer_free(space);
    conv_plan_destroy(plan);
    return best;
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
    /* naive only when nothing else is there */
    if (found > 1 && strcmp(list[0].impl->name, "naive") == 0) list[0] = list[--found];
    return found;
}

static conv_status choose_best(net *n, op *o, conv_error *err)
{
    candidate list[MAX_CANDIDATES];
    int count = list_candidates(o->problem.variant, list);
    trial t = {.problem = op_problem(o, o->batched ? n->options.batch : n->slice_rows),
               .threads = o->batched ? n->options.threads : 1};
    if (!conv_tensors_create(&t.problem, CONV_FORWARD, FILL_REALS, 1, &t.forward))
        return conv_fail(err, CONV_NO_MEMORY, "no memory to time implementations");
    if (!conv_tensors_create(&t.problem, CONV_BACKWARD, FILL_REALS, 1, &t.backward)) {
        conv_tensors_destroy(&t.forward);
        return conv_fail(err, CONV_NO_MEMORY, "no memory to time implementations");
    }

    double best = DBL_MAX;
    for (int i = 0; i < count; i++) {
        candidate *c = &list[i];
        c->backward = time_pass(&t, c->impl, CONV_BACKWARD, false, !o->diff_wanted, &c->workspace);
        c->forward = time_pass(&t, c->impl, CONV_FORWARD, false, false, NULL);
        c->forward_kept = c->workspace ? time_pass(&t, c->impl, CONV_FORWARD, true, false, NULL) : c->forward;
        if (o->impl[USE_INFER] == NULL || c->forward < best) {
            o->impl[USE_INFER] = c->impl;
            best = c->forward;
        }
    }
    double infer = best;
    best = DBL_MAX;
    for (int i = 0; i < count; i++) {
        double forward = list[i].workspace ? list[i].forward_kept : infer;
        if (forward == DBL_MAX || list[i].backward == DBL_MAX || forward + list[i].backward >= best) continue;
        best = forward + list[i].backward;
        o->impl[USE_BACKWARD] = list[i].impl;
        o->keep_workspace = list[i].workspace;
        o->impl[USE_TRAIN] = list[i].workspace ? list[i].impl : o->impl[USE_INFER];
    }
    conv_tensors_destroy(&t.forward);
    conv_tensors_destroy(&t.backward);
    if (best < DBL_MAX) return CONV_OK;
    return conv_fail(err, CONV_REFUSED, "layer %s: no implementation does it", n->model->layers[o->layer].name);
}

/* Why impl cannot do forward and backward of o, or NULL. */
static const char *cannot(const op *o, const conv_impl *impl)
{
    const char *reason = conv_refuse(impl, &o->problem, CONV_FORWARD);
    return reason != NULL ? reason : conv_refuse(impl, &o->problem, CONV_BACKWARD);
}

/* One implementation for all uses, its workspace kept if its backward wants one. */
static void set_all(op *o, const conv_impl *impl)
{
    for (int use = 0; use < USE_COUNT; use++) o->impl[use] = impl;
    o->keep_workspace = true;
}

static const char *why_absent(const char *name, conv_variant variant)
{
    size_t count;
    const conv_entry *e = conv_entries(&count);
    bool known = false;
    for (size_t i = 0; i < count; i++) {
        if (strcmp(e[i].name, name) != 0) continue;
        known = true;
        if (e[i].variant == variant && e[i].impl == NULL) return e[i].absent;
    }
    return known ? "it has no such variant" : "no implementation of that name: 'sepbench list' names them";
}

static conv_status choose_named(net *n, op *o, conv_error *err)
{
    char names[256], *rest = names, last[64] = "";
    const char *reason = "none named";
    snprintf(names, sizeof names, "%s", n->options.impls);
    for (char *name; (name = strsep(&rest, ",")) != NULL;) {
        if (strcmp(name, "best") == 0) return choose_best(n, o, err);
        const conv_impl *impl = conv_find(name, o->problem.variant);
        reason = impl == NULL ? why_absent(name, o->problem.variant) : cannot(o, impl);
        if (reason == NULL) {
            set_all(o, impl);
            return CONV_OK;
        }
        snprintf(last, sizeof last, "%s", name);
    }
    return conv_fail(err, CONV_REFUSED, "--impl %s: layer %s (%s): %.120s", last,
                     n->model->layers[o->layer].name, conv_variant_name(o->problem.variant), reason);
}

static const char *const use_names[] = {"forward", "backward", "inference"};

static conv_status choose_recorded(net *n, op *o, conv_error *err)
{
    const char *layer_name = n->model->layers[o->layer].name;
    json_t *entry = json_object_get(n->options.choices, layer_name);
    for (int use = 0; use < USE_COUNT; use++) {
        const char *name = json_string_value(json_object_get(entry, use_names[use]));
        if (name == NULL)
            return conv_fail(err, CONV_INVALID, "layer %s: the checkpoint records no implementation for it",
                             layer_name);
        o->impl[use] = conv_find(name, o->problem.variant);
        if (o->impl[use] == NULL)
            return conv_fail(err, CONV_INVALID, "layer %s: the checkpoint was trained with %s: %s", layer_name,
                             name, why_absent(name, o->problem.variant));
    }
    o->keep_workspace = json_is_true(json_object_get(entry, "workspace"));
    return CONV_OK;
}

conv_status conv_op_choose(net *n, op *o, conv_error *err)
{
    conv_status status = n->options.choices != NULL ? choose_recorded(n, o, err) : choose_named(n, o, err);
    if (status != CONV_OK) return status;
    const char *forward = o->impl[USE_TRAIN]->name, *backward = o->impl[USE_BACKWARD]->name;
    snprintf(o->what, sizeof o->what, "%s%s%s%s%s", conv_variant_name(o->problem.variant),
             o->problem.post_op == CONV_POST_RELU ? " + relu " : " ", forward, forward == backward ? "" : " / ",
             forward == backward ? "" : backward);
    return CONV_OK;
}

json_t *net_choices(const net *n)
{
    json_t *all = json_object();
    for (int i = 0; i < n->op_count; i++) {
        const op *o = &n->ops[i];
        if (o->kind != OP_CONV) continue;
        json_t *entry = json_pack("{s:b}", "workspace", o->keep_workspace);
        for (int use = 0; use < USE_COUNT; use++)
            json_object_set_new(entry, use_names[use], json_string(o->impl[use]->name));
        json_object_set_new(all, n->model->layers[o->layer].name, entry);
    }
    return all;
}

char *net_impl(const net *n, int layer, char *buffer)
{
    buffer[0] = 0;
    for (int i = 0; i < n->op_count; i++)
        if (n->ops[i].kind == OP_CONV && n->ops[i].layer == layer) {
            const char *forward = n->ops[i].impl[USE_TRAIN]->name,
                       *backward = n->ops[i].impl[USE_BACKWARD]->name;
            snprintf(buffer, 64, "%s%s%s", forward, forward == backward ? "" : " / ",
                     forward == backward ? "" : backward);
        }
    return buffer;
}
