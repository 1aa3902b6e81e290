/* Stored runs as histories: one per machine and build, its runs in the order of time, its cases by name. */
#ifndef SEPBENCH_TREND_HISTORY_H
#define SEPBENCH_TREND_HISTORY_H

#include <stdio.h>

#include "../record/record.h"
#include "detect.h"

typedef struct {
    char id[64], started[32], commit[48];
    bool dirty;
    double handover_ns; /* median over its repetitions; NaN: not known */
} trend_run;

typedef struct {
    double ns, low, high; /* NaN: the run has no time of the case that may enter an answer */
} trend_point;

typedef struct {
    char *key;                       /* all that must be the same */
    char machine[320], compiler[64]; /* for people: printable, one line each */
    char flags[640];
    trend_run *runs;
    size_t run_count;
    char **names; /* of the cases, sorted */
    size_t case_count;
    trend_point *points;   /* [cases][runs] */
    trend_series series;   /* the same, levelled */
    trend_result *results; /* [cases] */
    double least_effect;   /* ln; with it they were judged */
} trend_group;

typedef struct {
    trend_group *groups;
    size_t count;
    char left_out[512]; /* how many folders beside the runs, and why; "": none */
} trend_history;

/* Each of dirs is a run, or a folder of runs. False with err: no run, another schema, a run twice. */
bool trend_gather(const char *const *dirs, size_t count, trend_history *h, conv_error *err);
/* Judges every group; false without memory. */
bool trend_judge(trend_history *h, double least_effect);
void trend_history_free(trend_history *h);

size_t trend_count(const trend_group *g, trend_verdict v);
/* Whether any case of it has enough runs. */
bool trend_is_tested(const trend_group *g);
/* The cases by what people want first: confirmed ones, then by how much is shown. NULL without memory. */
size_t *trend_sorted(const trend_group *g);
/* What the runs' speed did, ln of the last five over the first five; NaN: it was not taken off. */
double trend_speed_change(const trend_group *g);

/* What the group's runs could not have shown, in words, and why where it is more than the least effect: one
 * sentence without its stop. */
const char *trend_told(const trend_group *g, char *text, size_t size);

/* ---- table.c */
/* At most 80 columns, but for names of cases. all: also what is quiet. */
void trend_print(FILE *out, const trend_history *h, bool all);
/* DIR/trend.csv and DIR/trend-points.csv, as results/README.md has them. */
bool trend_write(const trend_history *h, const char *dir, conv_error *err);

/* ---- page.c */
/* DIR/index.html and its pictures, by gnuplot. */
bool trend_page_write(const trend_history *h, const char *dir, conv_error *err);

#endif
