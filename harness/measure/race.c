#include "race.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "../stats.h"

/* Intervals have to be this far apart; or the row's luckiest repetition that far from the leader's median,
 * for where times jump intervals do not part before most of the budget is gone; and single repetitions still
 * farther: of those nobody knows the spread. */
static const double apart = 1.02, far_apart = 1.1, single_apart = 1.4;
/* A repetition that was disturbed may have taken a few times its time: only what is beyond that is behind. */
static const double disturbed_apart = 4;

typedef struct {
    int count;
    double least, median;
    double low, high; /* least and greatest below 6 repetitions, the interval of the median from 6 on */
} spread;

/* Cores near each other or far apart, whichever more rows have met; where moves show, rows are compared in that
 * state only, for what is faster with far cores looks slower beside what met near ones. Else all repetitions
 * count, as do those of which the state is not known: an engine's own pool meets at no barrier of ours. */
typedef struct {
    double limit;
    bool far;
} core_state;

static bool is_in(const core_state *c, const record_sample *r, bool marked)
{
    return (marked || r->marks == 0) && (isnan(r->handover_ns) || (r->handover_ns > c->limit) == c->far);
}

static core_state state_of(const race_entry *entries, int count)
{
    core_state near = {INFINITY, false}, far;
    int have_near = 0, have_far = 0;
    bool moved = false;
    for (int i = 0; i < count; i++) moved = moved || (entries[i].timed && samples_moved(entries[i].samples));
    if (!moved) return near;
    for (int i = 0; i < count; i++)
        for (size_t k = 0; entries[i].timed && k < entries[i].samples->count; k++)
            if (entries[i].samples->items[k].marks == 0)
                near.limit = fmin(near.limit, SAMPLES_FAR_APART * entries[i].samples->items[k].handover_ns);
    far = (core_state){near.limit, true};
    for (int i = 0; i < count; i++) {
        bool seen_near = false, seen_far = false;
        for (size_t k = 0; entries[i].timed && k < entries[i].samples->count; k++) {
            seen_near = seen_near || is_in(&near, &entries[i].samples->items[k], false);
            seen_far = seen_far || is_in(&far, &entries[i].samples->items[k], false);
        }
        have_near += seen_near;
        have_far += seen_far;
    }
    return have_far > have_near ? far : near;
}

static spread spread_of(const samples *s, const core_state *c, bool marked)
{
    spread all = {.least = NAN, .median = NAN, .low = NAN, .high = NAN};
    double *ns = malloc((s->count + 1) * sizeof *ns);
    if (ns == NULL) return all;
    for (size_t i = 0; i < s->count; i++)
        if (is_in(c, &s->items[i], marked)) ns[all.count++] = s->items[i].ns;
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

static bool is_behind(const samples *row, const samples *leader, const core_state *c)
{
    spread a = spread_of(row, c, false), b = spread_of(leader, c, false);
    if (b.count == 0) b = spread_of(leader, c, true); /* it is no slower than that */
    if (a.count == 0) return spread_of(row, c, true).low > disturbed_apart * b.high;
    if (a.count == 1 || b.count == 1) return a.low > single_apart * b.high;
    return a.low > apart * b.high || a.least > far_apart * b.median;
}

static bool competes(const race_entry *leader, const race_entry *row)
{
    if (!row->exact) return true;
    bool both_named = leader->side != NULL && row->side != NULL;
    return leader->exact && (both_named ? strcmp(leader->side, row->side) == 0 : leader->side == row->side);
}

/* Median of the repetitions that choose, unmarked ones where there are any; NaN: none. A row that was alone when
 * it was measured has none that choose: its others were not chosen by luck either. */
static double choice_of(const samples *s, const core_state *c)
{
    const sample_use use = samples_count(s, SAMPLE_CHOOSES) > 0 ? SAMPLE_CHOOSES : SAMPLE_REPORTS;
    double *ns = malloc((s->count + 1) * sizeof *ns), median = NAN;
    for (int marked = 0; ns != NULL && marked < 2 && isnan(median); marked++) {
        size_t n = 0;
        for (size_t i = 0; i < s->count; i++)
            if (s->items[i].use == use && is_in(c, &s->items[i], marked)) ns[n++] = s->items[i].ns;
        if (n > 0) median = stats_median(ns, n);
    }
    free(ns);
    return median;
}

/* The fastest of those that the row has to beat, by the repetitions that choose. */
static const race_entry *leader_of(const race_entry *entries, int count, const race_entry *row)
{
    const race_entry *best = NULL;
    double least = INFINITY;
    for (int i = 0; i < count; i++) {
        if (!entries[i].timed || !competes(&entries[i], row)) continue;
        if (!(entries[i].choice < least)) continue;
        least = entries[i].choice;
        best = &entries[i];
    }
    return best;
}

void race_judge(race_entry *entries, int count)
{
    const core_state c = state_of(entries, count);
    for (int i = 0; i < count; i++)
        if (entries[i].timed) entries[i].choice = choice_of(entries[i].samples, &c);
    for (int i = 0; i < count; i++) {
        race_entry *row = &entries[i];
        if (!row->timed) continue;
        const race_entry *leader = leader_of(entries, count, row);
        row->state = leader == NULL                                 ? RACE_NEAR
                     : leader == row                                ? RACE_AHEAD
                     : is_behind(row->samples, leader->samples, &c) ? RACE_BEHIND
                                                                    : RACE_NEAR;
    }
}
