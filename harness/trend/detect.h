/* Which of many cases changed over the runs of one machine and build, and how sure that is.
 *
 * Times are logarithms. What a run's machine does to the code of others is taken off all cases: its speed, and
 * its mood, which some cases follow more than others (level.c). Each case is then a series of runs in the order
 * of time, tested for a step and for slow drift by sums of ranks (detect.c). How much runs in a row are alike
 * is measured on the code of others, as the correlation of an autoregression (null.c). What is found has to
 * exceed what 19 of 20 such histories without a change have in any case, made from the same runs: the
 * innovations are put in another order, the same one for all cases (a bootstrap by residuals: B. Efron, R. J.
 * Tibshirani, An Introduction to the Bootstrap, 1993, 8.5). Runs whose cores lay near and far are ranked apart.
 * tests/test_trend.c says on what the rates were measured. */
#ifndef SEPBENCH_TREND_DETECT_H
#define SEPBENCH_TREND_DETECT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    TREND_MOST_RUNS = 1000,
    TREND_LEAST_RUNS = 10, /* a case with fewer runs is not tested */
    TREND_SEGMENT = 5,     /* so many runs, or more, lie before a change and after it */
    TREND_STATES = 2,      /* near and far cores */
    TREND_CONTROLS = 6,    /* so many cases, or more, tell a run's speed */
    TREND_PERMUTATIONS = 1999,
};
#define TREND_ALPHA 0.05
/* What is confirmed must be so large, too: ln of 2%. */
#define TREND_LEAST_EFFECT 0.0198

typedef enum {
    TREND_QUIET,   /* nothing was shown */
    TREND_SLOWER,  /* confirmed, and it still holds at the end: the only one that fails */
    TREND_FASTER,  /* confirmed */
    TREND_BACK,    /* confirmed changes that cancel each other */
    TREND_SMALL,   /* confirmed, and less than the least effect */
    TREND_MACHINE, /* confirmed, of code that no commit changes, or together with as many of those */
    TREND_FEW,     /* not tested: in too few runs, or in none of the last TREND_SEGMENT: there it is no more */
    TREND_VERDICT_COUNT
} trend_verdict;
const char *trend_verdict_name(trend_verdict v); /* "quiet" "slower" ... */

/* What came of one case. */
typedef struct {
    trend_verdict verdict;
    bool machine;      /* as many of the others' cases changed with it: no commit did it */
    bool drift;        /* a line fits the runs better than steps do */
    double p;          /* that something changed by chance alone, over all cases */
    double statistic;  /* the larger of both, in standard deviations */
    double change;     /* ln of last over first: of the line, or of the last against the first segment */
    double low, high;  /* its 95% interval */
    double since_best; /* the same against the segment in which the case was fastest; since_low, since_high */
    double since_low, since_high;
    size_t since;    /* the run with which the slowdown (else the first change) begins */
    size_t *changes; /* the first run of each segment but the first; change_count of them */
    size_t change_count;
} trend_result;

typedef struct {
    size_t runs, cases;
    double *log_ns;  /* [cases][runs]: NaN where a run has no sure time of the case; trend_level changes it */
    bool *control;   /* [cases]: code that the project's commits do not change */
    int *state;      /* [runs]: 0 near, 1 far */
    double *speed;   /* [runs]: what trend_level took off */
    bool controlled; /* the controls told the speed; else all cases did, or (levelled false) nothing */
    bool levelled;
    double *mood; /* [runs]: what the controls do together beyond it; 0 where they do not tell it */
    /* trend_detect finds them: */
    double alike; /* correlation of one run and the next */
    double
        limit; /* what no case's statistic exceeds in 19 of 20 histories without a change; inf: none tested */
    double spread; /* ln: how far a usual case's runs lie from its level */
    /* trend_tell finds them: */
    double kept; /* what levelling leaves of a step half-way; little: the host changed about then as well */
    double told; /* ln of the step half-way that 4 of 5 histories would show in a usual case; inf: none */
} trend_series;

/* Zeroed; false without memory. */
bool trend_series_create(trend_series *s, size_t runs, size_t cases);
void trend_series_destroy(trend_series *s);

/* Takes the speed of each run off, and of each case its level near and far: what is left varies about 0. */
bool trend_level(trend_series *s);
/* Tests all cases of a levelled series; results[cases], to be emptied by trend_result_free. histories: among so
 * many such calls the chance of an error is shared. least_effect: ln. The same input gives the same answer. */
bool trend_detect(trend_series *s, size_t histories, double least_effect, trend_result *results);
void trend_result_free(trend_result *r);
/* What a series that trend_detect has seen could have shown: s->kept and s->told. False without memory. */
bool trend_tell(trend_series *s);

#endif
