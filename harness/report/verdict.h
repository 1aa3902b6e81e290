/* What verdict.c, headline.c, cautions.c and the files *_words.c share. */
#ifndef SEPBENCH_VERDICT_H
#define SEPBENCH_VERDICT_H

#include "report.h"

/* Dense against separable over the channel counts of one setting and pass, each by its best exact one. */
typedef struct {
    int count, determined, ahead, by_outcome[RATIO_OUTCOMES];
    double least, most;  /* speedups of those determined */
    int64_t first, last; /* their channels */
    int64_t from;        /* ahead at this channel count and at every larger one; 0: not at the largest */
} verdict_tally;

/* "0.94", "3.4", "12": times as fast. Returns buffer[16]. */
char *verdict_times(double value, char *buffer);
/* "3.4 to 8.0", or "3.4" when both read the same. */
void verdict_put_range(FILE *out, double least, double most);
void verdict_add_tally(verdict_tally *sum, const verdict_tally *t);
/* Sums of all settings; settings: how many have a comparison. Malloced; NULL without memory. */
char *verdict_headline(const verdict_tally *forward, const verdict_tally *backward, int settings);

/* Where it is faster. One setting: "from 64 channels on" and the like. Several: in how many comparisons. */
void verdict_put_where(FILE *out, const verdict_tally *t, int settings);
/* "at every channel count from 32 to 2048: 3.4 to 8.0 times as fast forward, ..." of forward and backward. */
void verdict_put_passes(FILE *out, const verdict_tally *const passes[2], int settings);

/* Appends text (malloced, or NULL for nothing) to a list that then owns it. */
void verdict_add(char ***list, size_t *count, char *text);
void verdict_line(verdict *v, const char *format, ...) __attribute__((format(printf, 2, 3)));
void verdict_caution(verdict *v, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* training_words.c: "Training: an epoch of separable takes ..." */
void verdict_training(const report_data *data, verdict *v);
/* scaling.c: "Training on more ranks, conv: ..." */
void verdict_ranks(const report_data *data, verdict *v);
/* engines.c: each engine's own separable beside its own dense */
void verdict_engines(const report_data *data, verdict *v);
void verdict_tally_point(const report_point *q, const rule_ratio *times, verdict_tally *t);
/* advice_words.c: of a run of advise */
void verdict_advice(const report_data *data, verdict *v);
/* networks_words.c */
void verdict_networks(const report_data *data, verdict *v);
void verdict_find_cautions(const report_data *data, verdict *v);

#endif
