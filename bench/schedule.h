/* Who is visited next, and for how many repetitions. The groups that answer the title, dense and separable,
 * forward and backward, come first; the others share the time that they leave. Where the time is short, the
 * groups that cost most have fewer visits, then fewer repetitions, then none: the cheap ones keep all of
 * theirs. Visits of a group are spread over the time that is left. */
#ifndef SEPBENCH_SCHEDULE_H
#define SEPBENCH_SCHEDULE_H

#include "../harness/measure/measure.h"

typedef struct {
    measure_need need;
    bool headline;
    bool left_out;   /* by the caller: its next visit does not fit any more */
    int visits;      /* the plan: still to come */
    int repetitions; /* in each */
} schedule_entry;

/* Plans all visits within `left` seconds (INFINITY: no limit) and returns the seconds they take. */
double schedule_plan(schedule_entry *entries, int count, double left);
/* Seconds of the visits that give every group an interval: less is not worth planning for. */
double schedule_least(const schedule_entry *entries, int count);
/* The group that is next by that plan, one of those behind at random; -1: nobody needs a visit. */
int schedule_next(const schedule_entry *entries, int count, uint64_t *random);

#endif
