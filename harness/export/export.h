/* A run in the formats of dashboards that people have. Each rests on its reader's own sources:
 *   bmf                      Bencher Metric Format: bencherdev/bencher, services/console/public/bmf.json
 *   github-action-benchmark  its tool customSmallerIsBetter: benchmark-action's, src/extract.ts
 *   googlebenchmark          google/benchmark, json_reporter.cc and statistics.cc, as its
 *                            --benchmark_report_aggregates_only writes it
 * Rows without a time are left out and counted. */
#ifndef SEPBENCH_EXPORT_H
#define SEPBENCH_EXPORT_H

#include "../record/record.h"

typedef enum { EXPORT_BMF, EXPORT_ACTION, EXPORT_GOOGLE, EXPORT_FORMAT_COUNT } export_format;
const char *export_format_name(export_format format);

typedef struct {
    size_t by_status[CASE_STATUS_COUNT]; /* rows of the run; those of CASE_OK are what was written */
    size_t median_alone; /* of these, how many have a median only: their repetitions are not in samples.csv */
} export_counts;

/* The whole text as JSON; NULL without memory. stored: the run's repetitions (googlebenchmark reads them),
 * may be NULL. */
json_t *export_run(const record_run *run, const record_samples *stored, export_format format,
                   export_counts *counts);

#endif
