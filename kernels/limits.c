#include "limits.h"

#include <math.h>

static const char *const names[LIMIT_COUNT] = {"compute", "load ports", "L1", "L2", "L3", "DRAM", "barrier"};

const char *limit_name(limit_kind kind) { return names[kind]; }

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

/* The bytes of a level, and those that it gets back, which leave a cache of that size before they are met
 * again. */
static double level_ns(const conv_work *w, const limit_call *call, double size_above, const machine_ceilings *c,
                       memory_level level)
{
    double in = 0, out = 0;
    for (int i = 0; i < w->moves; i++) {
        const conv_move *m = &w->move[i];
        bool each_call = m->reach == CONV_EACH_CALL, past = m->reach == CONV_PAST_CACHES;
        if (past && level != LEVEL_DRAM) continue;
        double reach = each_call ? w->footprint / call->threads : m->reach;
        double part = past || (call->cold && each_call) ? 1 : missing(reach, size_above, level == LEVEL_DRAM);
        in += part * m->read;
        out += part * m->written;
    }
    return transfer_ns(in, out, c, level);
}

static double over(double count, double per_ns) { return per_ns > 0 ? count / per_ns : 0; }

limit_times limits_of_work(const conv_work *w, const limit_call *call, const machine_ceilings *c,
                           const limit_caches *caches)
{
    cpu_isa isa = call->isa;
    double vector = 4.0 * cpu_isa_lanes(isa), l1_bytes = vector * (w->loads + w->stores) + 4 * w->broadcasts;
    double loads = over(w->loads, c->loads[isa]) + over(w->broadcasts, c->broadcasts[isa]);
    limit_times t = {.ns = {[LIMIT_COMPUTE] = w->busiest * over(2 * w->macs, c->fma_gflops[isa]),
                            [LIMIT_LOADS] = w->busiest * loads,
                            [LIMIT_L1] = w->busiest * over(l1_bytes, c->bandwidth_gbps[LEVEL_L1]),
                            [LIMIT_L2] = w->busiest * level_ns(w, call, caches->l1d, c, LEVEL_L2),
                            [LIMIT_L3] = level_ns(w, call, caches->l2, c, LEVEL_L3),
                            [LIMIT_DRAM] = level_ns(w, call, caches->l2 + caches->l3, c, LEVEL_DRAM),
                            [LIMIT_BARRIER] = w->barriers * c->barrier_ns}};
    for (int i = 0; i < LIMIT_COUNT; i++)
        if (t.ns[i] > t.ns[t.highest]) t.highest = (limit_kind)i;
    return t;
}

double limits_in_turn(const limit_times *t)
{
    return t->ns[LIMIT_LOADS] + t->ns[LIMIT_L2] + t->ns[LIMIT_L3] + t->ns[LIMIT_DRAM];
}

/* ---- the cost model */

/* 3 GHz; in a cycle two multiply-adds and two loads of a vector, 32, 16 and 4 bytes from L2, L3 and memory. */
static machine_ceilings nominal(cpu_isa isa, int threads)
{
    const double cycles = 3.0 * threads;
    machine_ceilings c = {.threads = threads,
                          .bandwidth_gbps = {64 * cycles, 32 * cycles, 16 * cycles, 4 * cycles},
                          .barrier_ns = threads > 1 ? 500 : 0};
    c.fma_gflops[isa] = 4 * cpu_isa_lanes(isa) * cycles;
    c.loads[isa] = c.broadcasts[isa] = 2 * cycles;
    return c;
}

double limits_model_ns(const conv_work *w, cpu_isa isa, const conv_context *ctx)
{
    const machine_ceilings c = ctx->ceilings != NULL ? *ctx->ceilings : nominal(isa, ctx->threads);
    const limit_caches caches = {(double)ctx->l1d, (double)ctx->l2, (double)ctx->l3};
    limit_times t = limits_of_work(w, &(limit_call){.isa = isa, .threads = ctx->threads}, &c, &caches);
    double sum = 0, copying = over(2 * w->copied, c.bandwidth_gbps[LEVEL_L2] / 4);
    for (int i = 0; i < LIMIT_COUNT; i++) sum += t.ns[i];
    return copying + t.ns[t.highest] + (sum - t.ns[t.highest]) / 8;
}
