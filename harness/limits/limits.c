#include "limits.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

static const char *const names[LIMIT_COUNT] = {"compute", "load ports", "L1", "L2", "L3", "DRAM", "barrier"};

const char *limit_name(limit_kind kind) { return names[kind]; }

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

/* ---- the times */

/* The part of bytes met again after `reach` others that has left a cache of that size by then. One that
 * replaces what was used longest ago keeps nothing of a walk twice as long as it is; the last level of
 * many cores, hashed and shared, keeps what it can: no rule of replacement keeps more. */
static double missing(double reach, double size, bool last_level)
{
    if (reach <= size) return 0;
    return last_level ? 1 - size / reach : fmin(1, (reach - size) / size);
}

/* Nanoseconds that what comes from a level, and goes back to it, takes at least. A triad's bandwidth counts
 * three lines of the four that it moves, for a line is read before it is written. */
static double transfer_ns(double in, double out, const machine_ceilings *c, memory_level level)
{
    double mixed = c->bandwidth_gbps[level] * 4 / 3, reading = c->read_gbps[level];
    return fmax(mixed > 0 ? (in + out) / mixed : 0, reading > 0 ? in / reading : 0);
}

static double level_ns(const conv_plan *plan, const conv_work *w, bool cold, double size_above,
                       const machine_ceilings *c, memory_level level)
{
    double in = 0, out = 0;
    for (int i = 0; i < w->moves; i++) {
        const conv_move *m = &w->move[i];
        bool each_call = m->reach == CONV_EACH_CALL, past = m->reach == CONV_PAST_CACHES;
        if (past && level != LEVEL_DRAM) continue;
        double part = past || (cold && each_call)
                          ? 1
                          : missing(each_call ? w->footprint / plan->context.threads : m->reach, size_above,
                                    level == LEVEL_DRAM);
        in += part * m->read;
        out += part * m->written;
    }
    return transfer_ns(in, out, c, level);
}

static double over(double count, double per_ns) { return per_ns > 0 ? count / per_ns : 0; }

limit_times limits_of(const conv_plan *plan, bool cold, const machine_ceilings *c, const limit_caches *caches)
{
    conv_work w = plan->work.stated ? plan->work : least_work(plan);
    cpu_isa isa = conv_isa(plan->impl);
    double vector = 4.0 * cpu_isa_lanes(isa), busiest = w.busiest;
    double l1_bytes = vector * (w.loads + w.stores) + 4 * w.broadcasts;
    limit_times t = {.ns = {[LIMIT_COMPUTE] = busiest * over(2 * w.macs, c->fma_gflops[isa]),
                            [LIMIT_LOADS] = busiest * (over(w.loads, c->loads[isa]) +
                                                       over(w.broadcasts, c->broadcasts[isa])),
                            [LIMIT_L1] = busiest * over(l1_bytes, c->bandwidth_gbps[LEVEL_L1]),
                            [LIMIT_L2] = busiest * level_ns(plan, &w, cold, caches->l1d, c, LEVEL_L2),
                            [LIMIT_L3] = level_ns(plan, &w, cold, caches->l2, c, LEVEL_L3),
                            [LIMIT_DRAM] = level_ns(plan, &w, cold, caches->l2 + caches->l3, c, LEVEL_DRAM),
                            [LIMIT_BARRIER] = w.barriers * c->barrier_ns}};
    for (int i = 0; i < LIMIT_COUNT; i++)
        if (t.ns[i] > t.ns[t.highest]) t.highest = (limit_kind)i;
    return t;
}

double limits_in_turn(const limit_times *t)
{
    return t->ns[LIMIT_LOADS] + t->ns[LIMIT_L2] + t->ns[LIMIT_L3] + t->ns[LIMIT_DRAM];
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
