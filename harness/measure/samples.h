/* The repetitions of one row over the whole session. From them alone follow its figures and what the race among
 * the rows of its group (race.h) makes of it, so that a run can be continued from samples.csv. */
#ifndef SEPBENCH_SAMPLES_H
#define SEPBENCH_SAMPLES_H

#include "../record/record.h"

typedef struct {
    record_sample *items;
    size_t count;
} samples;

/* False: no memory. */
bool samples_add(samples *s, const record_sample *sample);
void samples_free(samples *s);

/* Repetitions of that use; those of them without a mark and, where it shows, with the cores near each other. */
int samples_count(const samples *s, sample_use use);
int samples_clean(const samples *s, sample_use use);

/* A barrier that takes longer than so many times the shortest was met by cores farther apart. */
#define SAMPLES_FAR_APART 1.4

/* Whether the host's moves of the cores show: near and far ones differ by more than a tenth. */
bool samples_moved(const samples *s);

/* Median of the unmarked repetitions of that use, with near cores where that shows, of the marked ones where
 * there are no others; NaN: none. */
double samples_median(const samples *s, sample_use use);

/* Fills in repetitions, visits, disturbed, median, interval, least and MAD of a row. They rest on the
 * repetitions that report, or, where there are none, on those that chose; marked ones are left out when
 * those without a mark still make an interval, or when any are left of a row that has none in either case;
 * so are those of cores farther apart. Where those of near cores make no interval, all unmarked ones do,
 * wide enough for both: moved. */
void samples_summarise(const samples *s, record_row *row);
/* The repetitions that these figures rest on, into ns[s->count], and their median as the row has it. How many. */
size_t samples_used(const samples *s, double *ns, double *median);

#endif
