#include "schedule.h"

#include "../harness/random.h"

/* An interval can be had from this many visits on. */
enum { LEAST_VISITS = 3 };

static double seconds_of(const schedule_entry *e)
{
    return e->visits * (e->need.fixed + e->repetitions * e->need.each);
}

/* One step down to less: the same repetitions in fewer visits, as long as these make an interval; then fewer
 * repetitions; then nothing, unless the title asks for it and there is no interval yet. False when there is no less. */
static bool reduce(schedule_entry *e)
{
    int least = e->need.least_visits < LEAST_VISITS ? LEAST_VISITS - e->need.least_visits : 1;
    if (e->visits > least) {
        e->visits--;
        e->repetitions = (e->need.repetitions + e->visits - 1) / e->visits;
        return true;
    }
    if (e->repetitions > 1) {
        e->repetitions--;
        return true;
    }
    if (e->visits == 0 || (e->headline && e->need.least_visits < LEAST_VISITS)) return false;
    e->visits = 0;
    return true;
}

static double plan_class(schedule_entry *entries, int count, bool headline, double left)
{
    for (;;) {
        double sum = 0, highest = 0;
        schedule_entry *dearest = NULL;
        for (int i = 0; i < count; i++) {
            schedule_entry *e = &entries[i], less = *e;
            if (e->headline != headline) continue;
            double seconds = seconds_of(e);
            sum += seconds;
            if (seconds <= highest || !reduce(&less)) continue;
            highest = seconds;
            dearest = e;
        }
        if (sum <= left || dearest == NULL) return sum;
        reduce(dearest);
    }
}

double schedule_plan(schedule_entry *entries, int count, double left)
{
    for (int i = 0; i < count; i++) {
        entries[i].visits = entries[i].left_out ? 0 : entries[i].need.repetitions;
        entries[i].repetitions = 1;
    }
    double headline = plan_class(entries, count, true, left);
    return headline + plan_class(entries, count, false, left > headline ? left - headline : 0);
}

int schedule_next(const schedule_entry *entries, int count, uint64_t *random)
{
    int next = -1;
    double least = 2;
    for (int i = 0; i < count; i++) {
        const schedule_entry *e = &entries[i];
        if (e->visits == 0) continue;
        /* The part of its visits that is over, give or take half a visit. */
        double jitter = (double)random_below(random, 1024) / 1024;
        double done = (e->need.least_visits + jitter) / (e->need.least_visits + e->visits);
        if (done >= least) continue;
        least = done;
        next = i;
    }
    return next;
}
