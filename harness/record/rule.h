/* The one rule of what may be said of times, for the terminal, the report, --versus, `best` and the
 * training's comparison: what is fastest, whether a figure may be shown, whether two differ and whether that
 * is known.
 *
 * A time is shown in an answer when it has an interval, a narrow one, and nobody else had the cores
 * meanwhile. Two times differ when the interval of their ratio leaves 1 out (rule.c has the source). Where
 * it spans more than RULE_WIDEST there is no answer: what disturbed the machine would decide it; nor where
 * the host moved the cores and the interval of near and far ones spans more than RULE_MOVED. */
#ifndef SEPBENCH_RULE_H
#define SEPBENCH_RULE_H

#include "record.h"

/* ---- what is fastest */

/* Whether a, a median, is less than the least one so far; NaN is no time, on either side. */
bool rule_less(double a, double least);
/* Whether a is faster than b, for every choice among rows. What lies clearly behind is not; then the least
 * median of the repetitions that choose, or, of rows that have none, of those they have; of equals, what came
 * first. Rows without a time are never the fastest; b may be NULL. */
bool record_faster(const record_row *a, const record_row *b);

/* ---- what may be shown */

typedef struct {
    double median, low, high; /* of the 95% interval; NaN: there is none */
    bool disturbed;           /* most of it was measured while others had the cores */
    bool moved;               /* the cores were moved meanwhile: the interval holds near and far */
} rule_time;

/* An interval from fewer than RULE_VISITS visits is none: one burst can have met them all. Runs of a version
 * that did not tell visits keep theirs. */
enum { RULE_VISITS = 3 };
rule_time rule_time_of(const record_row *row);
bool rule_shown(const rule_time *t);

/* ---- how two compare */

typedef enum {
    RATIO_FASTER,
    RATIO_SLOWER,
    RATIO_SAME,  /* no measurable difference */
    RATIO_FEW,   /* not determined: a side has too few repetitions for an interval */
    RATIO_MOVED, /* not determined: the cores were moved, and the interval is too wide for that */
    RATIO_BUSY,  /* not determined: a side was disturbed, or the interval is too wide */
    RATIO_OUTCOMES
} ratio_outcome;

#define RULE_WIDEST 1.5
/* Of a time whose interval holds near and far cores. */
#define RULE_MOVED 1.15

typedef struct {
    double value, low, high; /* how many times as fast the second is; low, high: NaN without an interval */
    ratio_outcome outcome;
} rule_ratio;

rule_ratio rule_compare(rule_time first, rule_time second);
bool rule_determined(ratio_outcome outcome);
/* Why a ratio is not determined: "too few repetitions", "the machine was busy"; "" when it is. */
const char *rule_reason(ratio_outcome outcome);
/* The ratio's share of what was promised; NaN where none may be shown: not determined, or beyond
 * RULE_MOST_SHARE without an interval that lies beyond it too. */
#define RULE_MOST_SHARE 1.3
double rule_share(const rule_ratio *ratio, double promised);

#endif
