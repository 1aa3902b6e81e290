/* What a row costs, learned as the session goes, and how a group is fitted into its share of the budget. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "internal.h"

/* The shortest repetition worth taking: a hundred clock readings' noise is below 0.1% of it. */
static const double LEAST_TIME = 0.001, LONG_CALL = 0.03;

/* ---- speeds of this session */

enum { KEYS = 256, POINTS = 24 };

typedef struct {
    char impl[32];
    conv_variant variant;
    conv_pass pass;
    int threads;
    cache_mode cache;
    int points, next;
    struct {
        double flops, seconds;
    } point[POINTS];
} speed;

static speed speeds[KEYS];
static int speed_count;

static speed *find_speed(const record_row *row, bool add)
{
    for (int i = 0; i < speed_count; i++) {
        speed *s = &speeds[i];
        if (s->variant == row->problem.variant && s->pass == row->pass && s->threads == row->threads &&
            s->cache == row->cache && strcmp(s->impl, row->impl) == 0)
            return s;
    }
    if (!add || speed_count == KEYS) return NULL;
    speed *s = &speeds[speed_count++];
    *s = (speed){
        .variant = row->problem.variant, .pass = row->pass, .threads = row->threads, .cache = row->cache};
    snprintf(s->impl, sizeof s->impl, "%s", row->impl);
    return s;
}

void budget_learn(const record_row *row, double seconds)
{
    speed *s = find_speed(row, true);
    if (s == NULL || !(seconds > 0)) return;
    s->point[s->next].flops = (double)conv_flops(&row->problem, row->pass);
    s->point[s->next].seconds = seconds;
    s->next = (s->next + 1) % POINTS;
    if (s->points < POINTS) s->points++;
}

/* GFLOP/s and fixed microseconds to start from: deliberately slow ones, corrected by the first measurement. */
static double unknown_seconds(const record_row *row)
{
    const conv_impl *impl = conv_find(row->impl, row->problem.variant);
    bool plain = impl != NULL && impl->single_thread && impl->isa == CPU_BASE;
    static const double each_lane = 3;
    double gflops = plain ? 0.7 : each_lane * cpu_isa_lanes(row->isa) * row->threads;
    if (row->problem.variant == CONV_DEPTHWISE && !plain) gflops /= 4; /* no row of weights to reuse */
    static const double gigabytes = 4; /* a second: what multiplies little is bound by memory */
    double arithmetic = (double)conv_flops(&row->problem, row->pass) / gflops;
    return 5e-6 + 1e-9 * fmax(arithmetic, (double)conv_bytes_min(&row->problem, row->pass) / gigabytes);
}

double budget_call_seconds(const record_row *row)
{
    const speed *s = find_speed(row, false);
    double flops = (double)conv_flops(&row->problem, row->pass), nearest = INFINITY, seconds = 0;
    if (s == NULL || s->points == 0) return unknown_seconds(row);
    for (int i = 0; i < s->points; i++) {
        double distance = fabs(log(flops / s->point[i].flops));
        if (distance > nearest) continue;
        nearest = distance;
        seconds = fmax(s->point[i].seconds * flops / s->point[i].flops, 1e-6);
    }
    return seconds;
}

bool budget_skips_warmup(double call_seconds) { return call_seconds >= LONG_CALL; }

/* ---- costs */

int64_t budget_iterations(double min_time, double call_seconds)
{
    double calls = ceil(min_time / call_seconds);
    return calls < 1 ? 1 : calls > 1e9 ? 1000000000 : (int64_t)calls;
}

/* One repetition: its timed calls and the warm-up before. */
static double repetition_seconds(double min_time, double call_seconds)
{
    double calls = (double)budget_iterations(min_time, call_seconds) + !budget_skips_warmup(call_seconds);
    return calls * call_seconds;
}

double budget_repetition_seconds(const timed_row *t, int64_t iterations)
{
    return ((double)iterations + !budget_skips_warmup(t->call_seconds)) * t->call_seconds;
}

double measure_estimate(const record_row *row, const measure_options *options)
{
    double call = budget_call_seconds(row), repetition = repetition_seconds(options->min_time, call);
    /* Verifying: the call, and comparing tensors at about 3 GB/s. */
    double fixed = 0.003 + 3e-10 * (double)conv_bytes_min(&row->problem, row->pass);
    return fixed + (options->verify ? call : 0) + options->repetitions * repetition;
}

static timed_row *costliest(timed_row *rows, int count)
{
    timed_row *most = NULL;
    for (int i = 0; i < count; i++)
        if (rows[i].open && (most == NULL || rows[i].call_seconds > most->call_seconds)) most = &rows[i];
    return most;
}

void budget_drop(timed_row *rows, int count, double calls, double seconds)
{
    if (seconds <= 0) return;
    double total = 0;
    for (int i = 0; i < count; i++)
        if (rows[i].open) total += calls * rows[i].call_seconds;
    for (timed_row *t; total > seconds && (t = costliest(rows, count)) != NULL;) {
        double needed = calls * t->call_seconds;
        t->no_time = true;
        measure_drop(t, CASE_SKIPPED, "needs about %.3g s, %.3g s of the budget are left for it", needed,
                     fmax(0, seconds - (total - needed)));
        total -= needed;
    }
}

/* Seconds all open rows take with these repetitions. */
static double total_seconds(const timed_row *rows, int count, double min_time)
{
    double total = 0;
    for (int i = 0; i < count; i++)
        if (rows[i].open) total += rows[i].repetitions * repetition_seconds(min_time, rows[i].call_seconds);
    return total;
}

/* Takes one repetition from the row that costs most in all; false when all have one. */
static bool take_repetition(timed_row *rows, int count, double min_time)
{
    timed_row *most = NULL;
    double highest = 0;
    for (int i = 0; i < count; i++) {
        double cost = rows[i].repetitions * repetition_seconds(min_time, rows[i].call_seconds);
        if (rows[i].open && rows[i].repetitions > 1 && cost > highest) {
            highest = cost;
            most = &rows[i];
        }
    }
    if (most != NULL) most->repetitions--;
    return most != NULL;
}

void budget_fit(timed_row *rows, int count, const measure_options *options, double seconds)
{
    double min_time = options->min_time, least = fmin(LEAST_TIME, min_time);
    for (int i = 0; i < count; i++) rows[i].repetitions = options->repetitions;
    if (seconds > 0) {
        /* Who was verified has paid for most of a first figure: it is not lost to a preparation that took
         * longer than expected, only to a single call beyond the whole group's share. */
        budget_drop(rows, count, 1, fmax(seconds, options->budget));
        while (min_time > least && total_seconds(rows, count, min_time) > seconds)
            min_time = fmax(least, 0.8 * min_time);
        while (total_seconds(rows, count, min_time) > seconds && take_repetition(rows, count, min_time)) {
        }
    }
    for (int i = 0; i < count; i++)
        if (rows[i].open) rows[i].iterations = budget_iterations(min_time, rows[i].call_seconds);
}
