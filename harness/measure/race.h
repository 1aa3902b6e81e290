/* The race among the rows of a group: a little time for all, then time for those that may be the fastest. A row
 * that lies clearly behind the leader of its kind stops with the few repetitions it has (successive
 * elimination: E. Even-Dar, S. Mannor, Y. Mansour, JMLR 7, 2006; here with distribution-free intervals). The
 * choice rests on repetitions of its own, so that no row looks faster than it is for having been chosen by its
 * luck. */
#ifndef SEPBENCH_RACE_H
#define SEPBENCH_RACE_H

#include "samples.h"

/* Whom a row has to beat: exact ones the fastest exact one of their side (NULL: ours, else a peer's name),
 * because each side's best is reported beside the others'; inexact ones whoever is fastest. */
typedef struct {
    const samples *samples;
    bool timed; /* false: takes no part, state stays as it is */
    bool exact;
    const char *side;
    race_state state; /* these two are found: */
    double choice; /* ns, median of the repetitions that choose and met the cores as most rows did; NaN: none */
} race_entry;

/* Sets state and choice of every timed entry. */
void race_judge(race_entry *entries, int count);

#endif
