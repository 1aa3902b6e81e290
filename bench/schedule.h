/* Who is visited in the next round, and for how many repetitions. The groups that answer the title, dense and
 * separable, forward and backward, come first: they are in every round, with as many repetitions in a visit as
 * it takes to reach all of them in the time that is left. The others share what remains. */
#ifndef SEPBENCH_SCHEDULE_H
#define SEPBENCH_SCHEDULE_H

#include "../harness/measure/measure.h"

typedef struct {
    measure_need need;
    bool headline;
    int repetitions; /* the answer: of each row in this round; 0: the group sits out */
} schedule_entry;

/* left: seconds until the end; INFINITY: no limit. Returns how many groups are to be visited. */
int schedule_round(schedule_entry *entries, int count, double left);

/* Seconds until all needs are met. */
double schedule_seconds(const schedule_entry *entries, int count);

#endif
