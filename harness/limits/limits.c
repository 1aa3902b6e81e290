#include "limits.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

limit_caches limits_caches_here(int threads)
{
    const machine_info *m = machine_get();
    int caches = (threads + m->l3_sharing - 1) / m->l3_sharing;
    return (limit_caches){(double)m->l1d, (double)m->l2 / m->l2_sharing, (double)m->l3 * caches / threads};
}

/* ---- what a peer does at least: every tensor moved once, and an exact one all multiply-adds */

static conv_work least_work(const conv_plan *plan)
{
    const conv_problem *p = &plan->problem;
    conv_sizes s = conv_problem_sizes(p);
    int64_t weights = s.weights + s.pointwise + (p->bias ? s.bias : 0), written = 0;
    switch (plan->pass) {
    case CONV_FORWARD: written = s.dst; break;
    case CONV_BACKWARD_DATA: written = s.src; break;
    case CONV_BACKWARD_WEIGHTS: written = weights; break;
    default: written = s.src + weights;
    }
    double all = (double)conv_bytes_min(p, plan->pass), out = 4.0 * (double)written;
    return (conv_work){.macs = plan->impl->inexact ? 0 : (double)conv_flops(p, plan->pass) / 2,
                       .busiest = plan->impl->single_thread ? plan->context.threads : 1,
                       .footprint = all,
                       .move = {{all - out, out, CONV_EACH_CALL}},
                       .moves = 1};
}

limit_times limits_of(const conv_plan *plan, bool cold, const machine_ceilings *c, const limit_caches *caches)
{
    conv_work w = plan->work.stated ? plan->work : least_work(plan);
    limit_call call = {conv_isa(plan->impl), plan->context.threads, cold};
    return limits_of_work(&w, &call, c, caches);
}

/* ---- rows */

static void set_limit(record_row *row, const conv_plan *plan, const machine_ceilings *c)
{
    const limit_caches caches = limits_caches_here(row->threads);
    limit_times t = limits_of(plan, row->cache == CACHE_COLD, c, &caches);
    row->barrier_ns = t.ns[LIMIT_BARRIER];
    if (!(t.ns[t.highest] > 0)) return;
    snprintf(row->limit, sizeof row->limit, "%s", limit_name(t.highest));
    row->limit_ns = t.ns[t.highest];
    const char *bound = t.highest <= LIMIT_LOADS ? "compute" : t.highest < LIMIT_BARRIER ? "memory" : "";
    snprintf(row->bound, sizeof row->bound, "%s", bound);
}

void limits_fill(record_row *row, const conv_plan *plan, const machine_ceilings *c)
{
    if (plan != NULL) set_limit(row, plan, c);
    row->percent_limit = 100 * row->limit_ns / row->median_ns;
}

char *limits_sentence(const record_row *row, char *buffer)
{
    if (row->limit[0] == '\0' || !isfinite(row->percent_limit))
        buffer[0] = '\0';
    else if (row->percent_limit >= LIMIT_REACHED)
        snprintf(buffer, LIMIT_TEXT, "bound by %s: %.0f%% of it", row->limit, row->percent_limit);
    else
        snprintf(buffer, LIMIT_TEXT, "no limit reached: the highest, %s, explains %.0f%% of the time",
                 row->limit, row->percent_limit);
    return buffer;
}
