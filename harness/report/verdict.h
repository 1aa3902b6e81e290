/* What verdict.c and cautions.c share. */
#ifndef SEPBENCH_VERDICT_H
#define SEPBENCH_VERDICT_H

#include "report.h"

/* Speedups, and their shares of what the multiplications promise. */
typedef struct {
    int count;
    double least, most, log_sum, least_share, most_share;
} verdict_figures;

/* Dense against separable over the channel counts of one setting and pass. */
typedef struct {
    const report_setting *setting;
    conv_pass pass;
    int impl; /* of both sides; below 0: each by its best exact one */
    int count, ahead, by_outcome[4];
    verdict_figures all, proven; /* of all comparisons; of those where both sides have an interval */
    double least_promised, most_promised;
    int64_t first, last; /* channels */
    int64_t from;        /* ahead at this channel count and at every larger one; 0: not at the largest */
    int dense[REPORT_MAX_IMPLS], separable[REPORT_MAX_IMPLS]; /* how often whose was the best */
} verdict_tally;

/* "0.94", "3.4", "12": times as fast. Returns buffer[16]. */
char *verdict_times(double value, char *buffer);
/* Those that a sentence may name: the proven ones where there are any. */
const verdict_figures *verdict_figures_of(const verdict_tally *t);
/* "3.4 to 8.0", or "3.4" when both read the same. */
void verdict_range(FILE *out, double least, double most);
void verdict_add_tally(verdict_tally *sum, const verdict_tally *t);
/* Sums of all settings; settings: how many have a comparison. Malloced; NULL without memory. */
char *verdict_headline(const verdict_tally *forward, const verdict_tally *backward, int settings);

/* Appends text (malloced, or NULL for nothing) to a list that then owns it. */
void verdict_add(char ***list, size_t *count, char *text);
void verdict_line(verdict *v, const char *format, ...) __attribute__((format(printf, 2, 3)));
void verdict_caution(verdict *v, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* training_words.c: "Training: an epoch of separable takes ..." */
void verdict_training(const report_data *data, verdict *v);
void verdict_find_cautions(const report_data *data, verdict *v);

#endif
