#include "export.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "../json.h"
#include "../measure/samples.h"

/* ---- Bencher */

static void put_bmf(json_t *all, const char *name, const record_row *row)
{
    json_t *latency = json_pack("{s:f}", "value", row->median_ns);
    if (isfinite(row->ci95_low_ns) && isfinite(row->ci95_high_ns)) {
        json_object_set_new(latency, "lower_value", json_real(row->ci95_low_ns));
        json_object_set_new(latency, "upper_value", json_real(row->ci95_high_ns));
    }
    json_object_set_new(all, name, json_pack("{s:o}", "latency", latency)); /* its measure in nanoseconds */
}

/* ---- github-action-benchmark */

static void put_action(json_t *all, const char *name, const record_row *row)
{
    char range[64], extra[160];
    json_t *entry = json_pack("{s:s, s:s, s:f}", "name", name, "unit", "ns", "value", row->median_ns);
    if (isfinite(row->ci95_low_ns) && isfinite(row->ci95_high_ns)) {
        snprintf(range, sizeof range, "%.9g to %.9g", row->ci95_low_ns, row->ci95_high_ns);
        json_object_set_new(entry, "range", json_string(range));
    }
    snprintf(extra, sizeof extra, "min: %.9g ns\nrepetitions: %d\nthreads: %d", row->min_ns, row->repetitions,
             row->threads);
    json_object_set_new(entry, "extra", json_string(extra));
    json_array_append_new(all, entry);
}

/* ---- Google Benchmark */

/* Statistics of the library, each of its name and unit. */
typedef struct {
    const char *name, *unit;
    double value;
} aggregate;

enum { AGGREGATES = 4, MEDIAN = 1 };

/* As statistics.cc has them: the deviation of a sample, and it as a part of the mean. */
static void aggregate_of(const double *ns, size_t n, double median, aggregate a[AGGREGATES])
{
    double sum = 0, squares = 0;
    for (size_t i = 0; i < n; i++) sum += ns[i];
    double mean = sum / (double)n;
    for (size_t i = 0; i < n; i++) squares += (ns[i] - mean) * (ns[i] - mean);
    double deviation = sqrt(squares / (double)(n - 1));
    a[0] = (aggregate){"mean", "time", mean};
    a[MEDIAN] = (aggregate){"median", "time", median};
    a[2] = (aggregate){"stddev", "time", deviation};
    a[3] = (aggregate){"cv", "percentage", deviation / mean};
}

/* In the library's order of members. There is no processor time in a run's files: cpu_time, which the readers
 * demand, repeats the other. */
static json_t *google_entry(const char *case_name, size_t family, int repetitions, const aggregate *a)
{
    char name[CASE_NAME_MAX + 16];
    snprintf(name, sizeof name, "%s%s%s", case_name, a->name != NULL ? "_" : "",
             a->name != NULL ? a->name : "");
    json_t *entry =
        json_pack("{s:s, s:I, s:i, s:s, s:s, s:i}", "name", name, "family_index", (json_int_t)family,
                  "per_family_instance_index", 0, "run_name", case_name, "run_type",
                  a->name != NULL ? "aggregate" : "iteration", "repetitions", repetitions);
    if (a->name == NULL) json_object_set_new(entry, "repetition_index", json_integer(0));
    json_object_set_new(entry, "threads", json_integer(1)); /* the library's: one calls, as in benchmark.json */
    if (a->name != NULL) {
        json_object_set_new(entry, "aggregate_name", json_string(a->name));
        json_object_set_new(entry, "aggregate_unit", json_string(a->unit));
    }
    json_object_set_new(entry, "iterations", json_integer(repetitions));
    json_object_set_new(entry, "real_time", json_real(a->value));
    json_object_set_new(entry, "cpu_time", json_real(a->value));
    json_object_set_new(entry, "time_unit", json_string("ns"));
    return entry;
}

/* The repetitions that the row's figures rest on; 0 where they are not in samples.csv. */
static size_t repetitions_of(const record_samples *stored, const char *name, const record_row *row, double **ns)
{
    size_t count = 0;
    const record_sample *found = stored != NULL ? record_samples_of(stored, name, &count) : NULL;
    const samples all = {(record_sample *)found, count}; /* which are read only */
    double median = NAN;
    *ns = found != NULL ? malloc(count * sizeof **ns) : NULL;
    size_t n = *ns != NULL ? samples_used(&all, *ns, &median) : 0;
    return n == (size_t)row->repetitions && fabs(median - row->median_ns) <= 1e-6 * row->median_ns ? n : 0;
}

/* One repetition has no statistics: the library writes it as it is. */
static void put_google(json_t *all, const record_samples *stored, const char *name, const record_row *row,
                       export_counts *counts)
{
    aggregate a[AGGREGATES];
    size_t family = counts->by_status[CASE_OK] - 1;
    if (row->repetitions == 1) {
        json_array_append_new(all, google_entry(name, family, 1, &(aggregate){NULL, NULL, row->median_ns}));
        return;
    }
    double *ns;
    size_t n = repetitions_of(stored, name, row, &ns);
    counts->median_alone += n == 0;
    aggregate_of(ns, n, row->median_ns, a); /* of none at all only the median is a number */
    for (size_t i = 0; i < AGGREGATES; i++)
        if (n > 0 || i == MEDIAN)
            json_array_append_new(all, google_entry(name, family, row->repetitions, &a[i]));
    free(ns);
}

static json_t *google_caches(const json_t *machine)
{
    static const struct {
        const char *member, *type, *sharing;
        int level;
    } caches[] = {{"l1d", "Data", NULL, 1},
                  {"l2", "Unified", "cores_sharing_l2", 2},
                  {"l3", "Unified", "cores_sharing_l3", 3}};
    const json_t *known = json_object_get(machine, "caches");
    json_t *list = json_array();
    for (size_t i = 0; i < sizeof caches / sizeof *caches; i++) {
        json_int_t size = json_integer_value(json_object_get(known, caches[i].member)), sharing = 1;
        if (caches[i].sharing != NULL) sharing = json_integer_value(json_object_get(known, caches[i].sharing));
        if (size > 0)
            json_array_append_new(list, json_pack("{s:s, s:i, s:I, s:I}", "type", caches[i].type, "level",
                                                  caches[i].level, "size", size, "num_sharing", sharing));
    }
    return list;
}

/* What the run knows of the library's context: its machine, which need not be this one. */
static json_t *google_context(const record_run *run)
{
    const json_t *machine = json_object_get(run->run, "machine");
    return json_pack(
        "{s:s, s:s, s:s, s:I, s:o, s:[], s:s, s:i, s:s}", "date", json_text(run->run, "started", "unknown"),
        "host_name", json_text(machine, "host", "unknown"), "executable", "sepbench", "num_cpus",
        json_integer_value(json_object_get(machine, "hardware_threads")), "caches", google_caches(machine),
        "load_avg", "library_version", json_text(run->run, "google_benchmark", "unknown"),
        "json_schema_version", 1, "cpu_time", "repeats real_time: a run's files hold no processor time");
}

/* ---- */

static const char *const names[EXPORT_FORMAT_COUNT] = {"bmf", "github-action-benchmark", "googlebenchmark"};

const char *export_format_name(export_format format) { return names[format]; }

json_t *export_run(const record_run *run, const record_samples *stored, export_format format,
                   export_counts *counts)
{
    json_t *all = format == EXPORT_BMF ? json_object() : json_array();
    *counts = (export_counts){0};
    for (size_t i = 0; i < run->count; i++) {
        const record_row *row = &run->rows[i];
        char name[CASE_NAME_MAX];
        counts->by_status[row->status]++;
        if (row->status != CASE_OK) continue;
        record_case_name(row, name);
        if (format == EXPORT_BMF)
            put_bmf(all, name, row);
        else if (format == EXPORT_ACTION)
            put_action(all, name, row);
        else
            put_google(all, stored, name, row, counts);
    }
    if (format != EXPORT_GOOGLE) return all;
    return json_pack("{s:o, s:o}", "context", google_context(run), "benchmarks", all);
}
