/* samples.csv: one line per repetition, written as it is measured and read back when a run is continued. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "../cli.h"
#include "../grow.h"
#include "internal.h"

const char record_samples_header[] =
    "case,repetition,iterations,ns_per_iteration,visit,at_s,use,marks,handover_ns\n";

static const char *const use_names[] = {"choose", "report"};
static const char *const mark_names[] = {"waited", "switched", "stolen", "slowed"};
enum { MARKS = sizeof mark_names / sizeof *mark_names };

int record_format_sample(const char *case_name, int repetition, const record_sample *sample, char *line,
                         size_t size)
{
    char marks[64] = "";
    for (int m = 0; m < MARKS; m++)
        if (sample->marks & 1u << m)
            snprintf(marks + strlen(marks), sizeof marks - strlen(marks), "%s%s", marks[0] ? "+" : "",
                     mark_names[m]);
    char handover[32] = "";
    if (isfinite(sample->handover_ns)) snprintf(handover, sizeof handover, "%.0f", sample->handover_ns);
    return snprintf(line, size, "%s,%d,%lld,%.9g,%d,%.3f,%s,%s,%s\n", case_name, repetition,
                    (long long)sample->iterations, sample->ns, sample->visit, sample->seconds,
                    use_names[sample->use], marks, handover);
}

/* ---- reading */

/* The repetitions of one case; the index of record_samples leads to its place. */
typedef struct {
    record_sample *items;
    size_t count;
} case_samples;

struct record_samples {
    void *index;
    case_samples *cases;
    size_t count;
};

enum { CASE, ITERATIONS, NS, VISIT, SECONDS, USE, MARK, HANDOVER, FIELDS };
static const char *const field_names[FIELDS] = {"case", "iterations", "ns_per_iteration", "visit", "at_s",
                                                "use",  "marks",      "handover_ns"};

/* Where the fields stand; false for a file of a version that knew no visits, or no handovers. */
static bool find_fields(const csv_reader *header, size_t *index)
{
    for (int f = 0; f < FIELDS; f++) {
        for (index[f] = 0; index[f] < header->count; index[f]++)
            if (strcmp(header->field[index[f]], field_names[f]) == 0) break;
        if (index[f] == header->count) return false;
    }
    return true;
}

static bool parse_marks(const char *text, unsigned *marks)
{
    *marks = 0;
    while (*text != '\0') {
        size_t n = strcspn(text, "+");
        int m = 0;
        while (m < MARKS && (strncmp(text, mark_names[m], n) != 0 || mark_names[m][n] != '\0')) m++;
        if (m == MARKS) return false;
        *marks |= 1u << m;
        text += n + (text[n] == '+');
    }
    return true;
}

/* The first field that is not what its column holds, or FIELDS. */
static int parse_sample(char *const *field, const size_t *index, record_sample *sample)
{
    int64_t visit;
    *sample = (record_sample){0};
    if (!cli_parse_int(field[index[ITERATIONS]], 1, INT64_MAX, &sample->iterations)) return ITERATIONS;
    if (!cli_parse_real(field[index[NS]], 1e-3, 1e18, &sample->ns)) return NS;
    if (!cli_parse_int(field[index[VISIT]], 0, INT32_MAX, &visit)) return VISIT;
    if (!cli_parse_real(field[index[SECONDS]], 0, 1e9, &sample->seconds)) return SECONDS;
    if (!parse_marks(field[index[MARK]], &sample->marks)) return MARK;
    const char *handover = field[index[HANDOVER]];
    sample->handover_ns = NAN;
    if (*handover != '\0' && !cli_parse_real(handover, 0, 1e12, &sample->handover_ns)) return HANDOVER;
    sample->visit = (int)visit;
    for (int u = 0; u < SAMPLE_USE_COUNT; u++)
        if (strcmp(field[index[USE]], use_names[u]) == 0) {
            sample->use = (sample_use)u;
            return FIELDS;
        }
    return USE;
}

static bool keep(record_samples *all, const char *name, const record_sample *sample)
{
    const record_entry *entry = record_index_add(&all->index, name, all->count);
    if (entry == NULL) return false;
    if (entry->value == all->count && grow(&all->cases, &all->count, sizeof *all->cases) == NULL) return false;
    case_samples *c = &all->cases[entry->value];
    record_sample *added = grow(&c->items, &c->count, sizeof *added);
    if (added != NULL) *added = *sample;
    return added != NULL;
}

static bool read_samples(const char *path, csv_reader *csv, record_samples *all, conv_error *err)
{
    size_t index[FIELDS];
    if (!csv_next(csv) || !find_fields(csv, index)) return record_csv_ended(path, csv, err);
    size_t fields = csv->count;
    while (csv_next(csv)) {
        record_sample sample;
        if (csv->count != fields) {
            conv_fail(err, CONV_INVALID, "%s:%d: %zu fields: the header has %zu", path, csv->line, csv->count,
                      fields);
            return false;
        }
        int bad = parse_sample(csv->field, index, &sample);
        if (bad != FIELDS) {
            conv_fail(err, CONV_INVALID, "%s:%d: column %s: '%.60s' is not allowed there", path, csv->line,
                      field_names[bad], csv->field[index[bad]]);
            return false;
        }
        if (keep(all, csv->field[index[CASE]], &sample)) continue;
        conv_fail(err, CONV_NO_MEMORY, "%s: no memory for its repetitions", path);
        return false;
    }
    return record_csv_ended(path, csv, err);
}

record_samples *record_samples_load(const char *dir, conv_error *err)
{
    char path[4200];
    snprintf(path, sizeof path, "%s/samples.csv", dir);
    size_t size;
    char *text = record_slurp(path, &size, err);
    if (text == NULL) return NULL;
    record_samples *all = calloc(1, sizeof *all);
    csv_reader csv;
    csv_open(&csv, text, size);
    if (all == NULL) conv_fail(err, CONV_NO_MEMORY, "%s: no memory for its repetitions", path);
    if (all != NULL && !read_samples(path, &csv, all, err)) {
        record_samples_free(all);
        all = NULL;
    }
    csv_close(&csv);
    free(text);
    return all;
}

const record_sample *record_samples_of(const record_samples *all, const char *case_name, size_t *count)
{
    const record_entry *entry = record_index_find(&all->index, case_name);
    *count = entry != NULL ? all->cases[entry->value].count : 0;
    return *count > 0 ? all->cases[entry->value].items : NULL;
}

void record_samples_free(record_samples *all)
{
    if (all == NULL) return;
    for (size_t i = 0; i < all->count; i++) free(all->cases[i].items);
    free(all->cases);
    record_index_free(&all->index);
    free(all);
}
