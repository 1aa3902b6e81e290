#include "schedule.h"

#include <math.h>

/* An interval can be had from this many visits on. */
enum { LEAST_VISITS = 3 };

static int visits_for(const measure_need *need, int repetitions)
{
    return (need->repetitions + repetitions - 1) / repetitions;
}

/* Of the group until it has what it needs, so many repetitions a visit. */
static double seconds_of(const measure_need *need, int repetitions)
{
    if (need->repetitions == 0) return 0;
    return visits_for(need, repetitions) * need->fixed + need->repetitions * need->each;
}

/* Repetitions in a visit so that as few visits as an interval needs are left. */
static int most_repetitions(const measure_need *need)
{
    int visits = need->least_visits < LEAST_VISITS ? LEAST_VISITS - need->least_visits : 1;
    return need->repetitions > visits ? (need->repetitions + visits - 1) / visits : 1;
}

static double sum(const schedule_entry *entries, int count, bool headline, int repetitions)
{
    double seconds = 0;
    for (int i = 0; i < count; i++) {
        const schedule_entry *e = &entries[i];
        if (e->headline != headline || e->need.repetitions == 0) continue;
        int most = most_repetitions(&e->need);
        seconds += seconds_of(&e->need, repetitions < most ? repetitions : most);
    }
    return seconds;
}

/* The fewest repetitions a visit with which that class fits into `left` seconds; what an interval needs, where
 * nothing fits. */
static int repetitions_of(const schedule_entry *entries, int count, bool headline, double left)
{
    int most = 1;
    for (int i = 0; i < count; i++)
        if (entries[i].headline == headline && most_repetitions(&entries[i].need) > most)
            most = most_repetitions(&entries[i].need);
    int repetitions = 1;
    while (repetitions < most && sum(entries, count, headline, repetitions) > left) repetitions++;
    return repetitions;
}

/* Visits of that class in this round, within `allowance` seconds; those with the fewest visits first. */
static int choose(schedule_entry *entries, int count, bool headline, int repetitions, double allowance)
{
    int chosen = 0;
    for (int visits = 0; allowance > 0; visits++) {
        bool more = false;
        for (int i = 0; i < count && allowance > 0; i++) {
            schedule_entry *e = &entries[i];
            if (e->headline != headline || e->need.repetitions == 0) continue;
            more = more || e->need.least_visits > visits;
            if (e->need.least_visits != visits) continue;
            int most = most_repetitions(&e->need);
            int wanted = repetitions < most ? repetitions : most;
            double seconds = e->need.fixed + wanted * e->need.each;
            if (seconds > allowance) continue;
            e->repetitions = wanted;
            allowance -= seconds;
            chosen++;
        }
        if (!more) break;
    }
    return chosen;
}

int schedule_round(schedule_entry *entries, int count, double left)
{
    int rounds = 1;
    for (int i = 0; i < count; i++) entries[i].repetitions = 0;
    int of_headline = repetitions_of(entries, count, true, left);
    double spare = left - sum(entries, count, true, of_headline);
    int of_others = repetitions_of(entries, count, false, spare);
    for (int i = 0; i < count; i++) {
        const measure_need *need = &entries[i].need;
        if (entries[i].headline && need->repetitions > 0 && visits_for(need, of_headline) > rounds)
            rounds = visits_for(need, of_headline);
    }
    int chosen = choose(entries, count, true, of_headline, left);
    return chosen + choose(entries, count, false, of_others, chosen > 0 ? spare / rounds : spare);
}

double schedule_seconds(const schedule_entry *entries, int count)
{
    return sum(entries, count, true, 1) + sum(entries, count, false, 1);
}
