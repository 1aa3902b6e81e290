#include "race.h"

#include <math.h>
#include <stdlib.h>

#include "../stats.h"

/* Intervals have to be this far apart; or the row's luckiest repetition that far from the leader's median, for where
 * times jump intervals do not part before most of the budget is gone; and single repetitions still farther: of those
 * nobody knows the spread. */
static const double apart = 1.02, far_apart = 1.1, single_apart = 1.4;
/* A repetition that was disturbed may have taken a few times its time: only what is beyond that is behind. */
static const double disturbed_apart = 4;

typedef struct {
    int count;
    double least, median;
    double low, high; /* least and greatest below 6 repetitions, the interval of the median from 6 on */
} spread;

static spread spread_of(const samples *s, bool marked)
{
    spread all = {.least = NAN, .median = NAN, .low = NAN, .high = NAN};
    double *ns = malloc((s->count + 1) * sizeof *ns);
    if (ns == NULL) return all;
    for (size_t i = 0; i < s->count; i++)
        if (marked || s->items[i].marks == 0) ns[all.count++] = s->items[i].ns;
    if (all.count > 0) {
        stats_summary x = stats_summarize(ns, (size_t)all.count);
        all.median = x.median;
        all.least = x.min;
        all.low = x.has_ci ? x.ci95_low : x.min;
        all.high = x.has_ci ? x.ci95_high : x.min;
        for (int i = 0; i < all.count && !x.has_ci; i++) all.high = fmax(all.high, ns[i]);
    }
    free(ns);
    return all;
}

static bool is_behind(const samples *row, const samples *leader)
{
    spread a = spread_of(row, false), b = spread_of(leader, false);
    if (b.count == 0) b = spread_of(leader, true); /* it is no slower than that */
    if (a.count == 0) return spread_of(row, true).low > disturbed_apart * b.high;
    if (a.count == 1 || b.count == 1) return a.low > single_apart * b.high;
    return a.low > apart * b.high || a.least > far_apart * b.median;
}

static bool competes(const race_entry *leader, const race_entry *row)
{
    if (!row->exact) return true;
    return leader->exact && leader->peer == row->peer;
}

/* The fastest of those that the row has to beat, by the repetitions that choose. */
static const race_entry *leader_of(const race_entry *entries, int count, const race_entry *row)
{
    const race_entry *best = NULL;
    double least = INFINITY;
    for (int i = 0; i < count; i++) {
        if (!entries[i].timed || !competes(&entries[i], row)) continue;
        double median = samples_median(entries[i].samples, SAMPLE_CHOOSES);
        if (!(median < least)) continue;
        least = median;
        best = &entries[i];
    }
    return best;
}

void race_judge(race_entry *entries, int count)
{
    for (int i = 0; i < count; i++) {
        race_entry *row = &entries[i];
        if (!row->timed) continue;
        const race_entry *leader = leader_of(entries, count, row);
        row->state = leader == NULL                             ? RACE_NEAR
                     : leader == row                            ? RACE_AHEAD
                     : is_behind(row->samples, leader->samples) ? RACE_BEHIND
                                                                : RACE_NEAR;
    }
}
