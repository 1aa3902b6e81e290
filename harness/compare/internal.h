/* What the parts of judging and printing a comparison share. */
#ifndef SEPBENCH_COMPARE_INTERNAL_H
#define SEPBENCH_COMPARE_INTERNAL_H

#include "compare.h"

/* null_spread in standard deviations of the shifts: of a normal law 90% lie within. */
#define COMPARE_SPREAD_SIGMAS 1.645

/* Margin, shift and spread of base against base, drift of the control, INVALID. */
void compare_judge_session(compare_result *r);

static inline bool compare_is_judged(const compare_case *c)
{
    return c->verdict != COMPARE_NOT_COMPARED && c->verdict != COMPARE_WRONG;
}

/* Cases in the order people want them: what fails first, the largest change first. `count` indices, or NULL
 * when out of memory. The caller frees. */
size_t *compare_sorted(const compare_result *r);
size_t compare_count(const compare_result *r, compare_verdict v);

/* The outcome in one line without a line feed: "REGRESSED: 1 of 64 cases is slower: NAME by 10.2%". */
void compare_outcome(const compare_result *r, char *line, size_t size);

#endif
