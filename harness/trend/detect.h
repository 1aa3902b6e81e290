/* Which of many cases changed over the runs of one machine and build, and how sure that is.
 *
 * Times are logarithms. What a run's machine does to all cases alike is taken off first (the run's speed),
 * then each case is a series of runs in the order of time, tested for steps and for slow drift by
 * permuting the runs: under "nothing changed" any order is as likely as any other. What breaks this is
 * seen to: runs whose cores lay near and far (two states of a virtual machine's host) are permuted among
 * their likes only, all cases are permuted together, so that what a run has in common stays together, and
 * where runs in a row are alike, in blocks. The chance that any case of a history without a change is
 * called changed is TREND_ALPHA, whatever their number and however they depend on each other. Sources
 * stand at each formula in detect.c and segments.c. */
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
    TREND_QUIET,  /* nothing was shown */
    TREND_SLOWER, /* confirmed, and it still holds at the end: the only one that fails */
    TREND_FASTER, /* confirmed */
    TREND_BACK,   /* confirmed changes that cancel each other */
    TREND_SMALL,  /* confirmed, and less than the least effect */
    TREND_FEW,    /* too few runs */
    TREND_VERDICT_COUNT
} trend_verdict;
const char *trend_verdict_name(trend_verdict v); /* "quiet" "slower" ... */

/* What came of one case. */
typedef struct {
    trend_verdict verdict;
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
    size_t alike; /* so many runs in a row stay together: trend_detect finds it */
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

#endif
