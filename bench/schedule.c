#include "schedule.h"

#include "../harness/random.h"

/* An interval can be had from this many visits on. */
enum { LEAST_VISITS = 3 };

static double seconds_of(const schedule_entry *e)
{
    return e->visits * (e->need.fixed + e->repetitions * e->need.each);
}

/* One step down to less: the same repetitions in fewer visits, as long as these make an interval; then fewer
 * repetitions. False when there is no less than that. */
static bool reduce(schedule_entry *e)
{
    int least = e->need.least_visits < LEAST_VISITS ? LEAST_VISITS - e->need.least_visits : 0;
    if (e->visits > 1 && e->visits > least) {
        e->visits--;
        e->repetitions = (e->need.repetitions + e->visits - 1) / e->visits;
        return true;
    }
    if (e->repetitions > 1) {
        e->repetitions--;
        return true;
    }
    if (e->visits == 0 || least > 0) return false; /* without an interval it keeps what makes one */
    e->visits = 0;
    return true;
}

/* The group that costs most of those that can do with less, or, when none can, of all. */
static schedule_entry *dearest(schedule_entry *entries, int count, bool headline, bool reducible)
{
    schedule_entry *found = NULL;
    double highest = 0;
    for (int i = 0; i < count; i++) {
        schedule_entry less = entries[i];
        double seconds = seconds_of(&less);
        if (less.headline != headline || seconds <= highest || (reducible && !reduce(&less))) continue;
        highest = seconds;
        found = &entries[i];
    }
    return found;
}

/* Two visits decide nothing, so where not even three of each fit, the dearest groups have none. */
static double plan_class(schedule_entry *entries, int count, bool headline, double left)
{
    for (;;) {
        double sum = 0;
        for (int i = 0; i < count; i++) sum += entries[i].headline == headline ? seconds_of(&entries[i]) : 0;
        if (sum <= left) return sum;
        schedule_entry *e = dearest(entries, count, headline, true);
        if (e != NULL)
            reduce(e);
        else if ((e = dearest(entries, count, headline, false)) != NULL)
            e->visits = 0;
        else
            return sum;
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

double schedule_least(const schedule_entry *entries, int count)
{
    double sum = 0;
    for (int i = 0; i < count; i++) {
        const measure_need *n = &entries[i].need;
        if (n->repetitions > 0 && n->least_visits < LEAST_VISITS)
            sum += (LEAST_VISITS - n->least_visits) * (n->fixed + n->each);
    }
    return sum;
}

int schedule_next(const schedule_entry *entries, int count, uint64_t *random)
{
    int next = -1;
    double least = 2;
    for (int i = 0; i < count; i++) {
        const schedule_entry *e = &entries[i];
        if (e->visits == 0) continue;
        /* The part of its visits that is over, give or take half a visit. The headline is ahead of the others,
         * so that what is disturbed in its last visits can still be replaced. */
        static const double headline_lead = 0.85;
        double jitter = (double)random_below(random, 1024) / 1024;
        double done = (e->need.least_visits + jitter) / (e->need.least_visits + e->visits);
        if (e->headline) done *= headline_lead;
        if (done >= least) continue;
        least = done;
        next = i;
    }
    return next;
}
