/* Reading a run back: run.json, then results.csv by its column names. What does not parse is named by file,
 * line and value; a torn last line (the writer was killed in the middle of it) is left out. */
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../../kernels/problem.h"
#include "../cli.h"
#include "../grow.h"
#include "../text.h"
#include "internal.h"

char *record_slurp(const char *path, size_t *size, conv_error *err)
{
    char *data = NULL;
    size_t used = 0, room = 1 << 16;
    FILE *in = fopen(path, "rb");
    if (in == NULL) goto fail;
    for (;;) {
        char *grown = realloc(data, room);
        if (grown == NULL) goto fail;
        data = grown;
        used += fread(data + used, 1, room - used - 1, in);
        if (used < room - 1) break;
        room *= 2;
    }
    if (ferror(in)) goto fail;
    fclose(in);
    data[used] = '\0';
    *size = used;
    return data;
fail:
    conv_fail(err, CONV_FAILED, "%s: %s", path, strerror(errno));
    free(data);
    if (in != NULL) fclose(in);
    return NULL;
}

json_t *record_read_run(const char *dir, unsigned needed, conv_error *err)
{
    char path[4200], why[RECORD_WHY_MAX];
    snprintf(path, sizeof path, "%s/run.json", dir);
    size_t size;
    char *text = record_slurp(path, &size, err);
    if (text == NULL) return NULL;
    json_error_t where;
    json_t *run = json_loadb(text, size, 0, &where);
    free(text);
    if (run == NULL) {
        conv_fail(err, CONV_INVALID, "%s:%d: not JSON: %s", path, where.line, where.text);
    } else if (!record_suits(run, needed, why)) {
        conv_fail(err, CONV_INVALID, "%s: %s", path, why);
        json_decref(run);
        run = NULL;
    }
    return run;
}

/* Texts in place: who shows one need not think of what a terminal or a log makes of it. The words of the command
 * line are what --resume reads again. */
static void make_printable(json_t *value)
{
    const char *key;
    void *next;
    json_t *member;
    size_t i;
    json_object_foreach_safe(value, next, key, member) if (strcmp(key, "arguments") != 0)
        make_printable(member);
    json_array_foreach(value, i, member) make_printable(member);
    if (!json_is_string(value)) return;
    char *text = strdup(json_string_value(value));
    if (text != NULL) json_string_set_nocheck(value, text_make_printable(text));
    free(text);
}

bool record_csv_ended(const char *path, const csv_reader *csv, conv_error *err)
{
    if (csv->wrong != NULL) conv_fail(err, CONV_INVALID, "%s:%d: %s", path, csv->line, csv->wrong);
    return csv->wrong == NULL;
}

bool record_read_header(const char *path, char *const *field, size_t count, size_t *index, conv_error *err)
{
    bool later = false; /* columns after repro came with later versions */
    for (size_t c = 0; c < record_column_count; later |= record_table[c++].kind == COLUMN_REPRO) {
        for (index[c] = 0; index[c] < count; index[c]++)
            if (strcmp(field[index[c]], record_table[c].name) == 0) break;
        if (index[c] == count && !later) {
            conv_fail(err, CONV_INVALID, "%s:1: no column '%s': not a results.csv of schema %d", path,
                      record_table[c].name, RECORD_SCHEMA);
            return false;
        }
    }
    return true;
}

/* ---- one field */

/* Finds text among `count` names. */
static bool parse_name(const char *text, int count, const char *(*name)(int), int *value)
{
    for (*value = 0; *value < count; ++*value)
        if (strcmp(text, name(*value)) == 0) return true;
    return false;
}

static const char *variant_name(int i) { return conv_variant_name((conv_variant)i); }
static const char *pass_name(int i) { return conv_pass_name((conv_pass)i); }
static const char *isa_name(int i) { return cpu_isa_name((cpu_isa)i); }
static const char *layout_name(int i) { return conv_layout_name((conv_layout)i); }
static const char *post_op_name(int i) { return conv_post_op_name((conv_post_op)i); }
static const char *cache_name(int i) { return cache_mode_name((cache_mode)i); }
static const char *status_name(int i) { return case_status_name((case_status)i); }
static const char *race_name(int i) { return race_state_name((race_state)i); }

static const struct {
    int count;
    const char *(*name)(int);
} enums[] = {
    [COLUMN_VARIANT] = {CONV_VARIANT_COUNT, variant_name},
    [COLUMN_PASS] = {CONV_PASS_COUNT, pass_name},
    [COLUMN_ISA] = {CPU_ISA_COUNT, isa_name},
    [COLUMN_LAYOUT] = {CONV_LAYOUT_COUNT, layout_name},
    [COLUMN_POST_OP] = {CONV_POST_COUNT, post_op_name},
    [COLUMN_CACHE] = {CACHE_COUNT, cache_name},
    [COLUMN_STATUS] = {CASE_STATUS_COUNT, status_name},
    [COLUMN_RACE] = {RACE_STATE_COUNT, race_name},
};

static bool parse_signed(const char *text, int64_t *value)
{
    bool negative = *text == '-';
    if (!cli_parse_int(text + negative, 0, INT64_MAX, value)) return false;
    if (negative) *value = -*value;
    return true;
}

/* The largest error of a float output is below this, and so is every time. */
static const double largest_figure = 1e40;

/* Reads text into the row. False when it is not what the column holds. */
static bool parse_field(const record_column *c, const char *text, record_row *row)
{
    void *at = (char *)row + c->offset;
    int64_t whole = -1;
    int value;
    switch (c->kind) {
    case COLUMN_CASE:
    case COLUMN_REPRO:
    case COLUMN_DERIVED: return true;
    case COLUMN_NAME:
    case COLUMN_LABEL:
        if (!(c->kind == COLUMN_NAME ? text_is_name(text) : text_is_label(text))) return false;
        /* fall through */
    case COLUMN_TEXT:
        if ((size_t)snprintf(at, c->size, "%s", text) >= c->size) return false;
        if (c->kind != COLUMN_NAME) text_make_printable(at);
        return true;
    case COLUMN_SIZE: return parse_signed(text, at);
    case COLUMN_COUNT:
        if (*text != '\0' && !parse_signed(text, &whole)) return false;
        memcpy(at, &whole, sizeof whole);
        return true;
    case COLUMN_INT:
        if (*text != '\0' && !cli_parse_int(text, 0, INT32_MAX, &whole)) return false;
        *(int *)at = (int)whole;
        return true;
    case COLUMN_REAL: *(double *)at = NAN; return *text == '\0' || cli_parse_real(text, 0, largest_figure, at);
    case COLUMN_BOOL: *(bool *)at = *text == '1'; return strcmp(text, "0") == 0 || strcmp(text, "1") == 0;
    default: /* the enums, whose C type is that of an unsigned int or an int: same size */
        if (!parse_name(text, enums[c->kind].count, enums[c->kind].name, &value)) return false;
        memcpy(at, &value, sizeof value);
        return true;
    }
}

_Static_assert(sizeof(conv_variant) == sizeof(int) && sizeof(case_status) == sizeof(int), "enums as int");

/* ---- one row */

/* Whether the columns say what the name does before its problem and behind it, at start and end. */
static bool is_name_of(const char *name, const char *start, const char *end, const record_row *row)
{
    char text[CASE_NAME_MAX], problem[PROBLEM_STRING_MAX];
    size_t before = (size_t)(start - name);
    record_case_name(row, text);
    return strncmp(text, name, before) == 0 &&
           strcmp(text + before + strlen(problem_format(&row->problem, problem)), end) == 0;
}

/* A file of an older version lacks columns of the third axis, and none has the rank: the problem is the case
 * name's, and the columns that exist must agree with it. */
static bool adopt_problem(const char *name, const csv_reader *csv, const size_t *index, record_row *row,
                          conv_error *err)
{
    const char *start = name;
    for (int slashes = 0; slashes < 3 && start != NULL; slashes++) {
        start = strchr(start, '/');
        if (start != NULL) start++;
    }
    const char *end = start ? strchr(start, '/') : NULL;
    if (end == NULL || end - start >= PROBLEM_STRING_MAX) {
        conv_fail(err, CONV_INVALID, "case '%s' names no problem", name);
        return false;
    }
    char text[PROBLEM_STRING_MAX + 32];
    snprintf(text, sizeof text, "%s:%.*s", conv_variant_name(row->problem.variant), (int)(end - start), start);
    conv_problem p;
    conv_status status = problem_parse(text, &p, NULL, err);
    bool too_large = status == CONV_NO_MEMORY && row->status == CASE_SKIPPED;
    if (status != CONV_OK && !too_large) return false;
    p.layout = row->problem.layout;
    p.bias = row->problem.bias;
    p.post_op = row->problem.post_op;
    record_row named = *row;
    named.problem = p;
    for (size_t c = 0; c < record_column_count; c++) {
        if (record_table[c].kind != COLUMN_SIZE || index[c] >= csv->count) continue;
        const void *in_case = (const char *)&named + record_table[c].offset;
        const void *in_column = (const char *)row + record_table[c].offset;
        if (memcmp(in_case, in_column, sizeof(int64_t)) == 0) continue;
        conv_fail(err, CONV_INVALID, "column %s disagrees with the case name '%s'", record_table[c].name, name);
        return false;
    }
    if (!is_name_of(name, start, end, &named)) {
        char columns[CASE_NAME_MAX];
        conv_fail(err, CONV_INVALID, "case '%.80s': the columns are of '%.80s'", name,
                  record_case_name(&named, columns));
        return false;
    }
    *row = named;
    return true;
}

/* Whether the columns agree on a case that can have been run and timed; ratios of such times stay numbers. */
static bool check_row(const record_row *row, conv_error *err)
{
    const struct {
        const char *column;
        double value;
    } times[] = {{"median_ns", row->median_ns},
                 {"ci95_low_ns", row->ci95_low_ns},
                 {"ci95_high_ns", row->ci95_high_ns},
                 {"min_ns", row->min_ns}};
    if (row->threads < 1) {
        conv_fail(err, CONV_INVALID, "column threads: at least 1 is needed");
        return false;
    }
    const char *empty = isnan(row->median_ns)  ? "median_ns: empty"
                        : isnan(row->min_ns)   ? "min_ns: empty"
                        : row->repetitions < 1 ? "repetitions: none"
                                               : NULL;
    if (row->status == CASE_OK && empty != NULL) {
        conv_fail(err, CONV_INVALID, "column %s, but the status is ok", empty);
        return false;
    }
    for (size_t i = 0; row->status == CASE_OK && i < sizeof times / sizeof *times; i++)
        if (times[i].value < 1e-3 || times[i].value > 1e18) {
            conv_fail(err, CONV_INVALID, "column %s: %g is no time of a call: from 1e-3 to 1e18 ns",
                      times[i].column, times[i].value);
            return false;
        }
    if (row->status == CASE_OK && (row->ci95_low_ns > row->median_ns || row->ci95_high_ns < row->median_ns ||
                                   row->min_ns > row->median_ns)) {
        conv_fail(err, CONV_INVALID, "column median_ns: %g is outside of its interval or below min_ns",
                  row->median_ns);
        return false;
    }
    return true;
}

static bool read_row(const char *path, const csv_reader *csv, const size_t *index, record_row *row,
                     conv_error *err)
{
    *row = (record_row){0};
    const char *name = NULL;
    for (size_t c = 0; c < record_column_count; c++) {
        const char *text = index[c] < csv->count ? csv->field[index[c]] : "";
        if (record_table[c].kind == COLUMN_CASE) name = text;
        if (record_table[c].kind == COLUMN_SIZE && index[c] >= csv->count) continue;
        if (parse_field(&record_table[c], text, row)) continue;
        conv_fail(err, CONV_INVALID, "%s:%d: column %s: '%.60s' is not allowed there", path, csv->line,
                  record_table[c].name, text);
        return false;
    }
    conv_error why;
    if (check_row(row, &why) && adopt_problem(name, csv, index, row, &why)) return true;
    conv_fail(err, CONV_INVALID, "%s:%d: %.200s", path, csv->line, why.text);
    return false;
}

/* ---- the run */

/* While a run is written, a case measured again has two rows until the file is tidied: the last one counts. */
static bool keep_row(record_run *run, const record_row *row)
{
    char name[CASE_NAME_MAX];
    const record_entry *entry = record_index_add(&run->index, record_case_name(row, name), run->count);
    if (entry == NULL) return false;
    if (entry->value == run->count && grow(&run->rows, &run->count, sizeof *row) == NULL) return false;
    run->rows[entry->value] = *row;
    return true;
}

const record_row *record_find(const record_run *run, const char *case_name)
{
    const record_entry *entry = record_index_find(&run->index, case_name);
    return entry != NULL ? &run->rows[entry->value] : NULL;
}

static bool load_rows(record_run *run, conv_error *err)
{
    char path[4200];
    snprintf(path, sizeof path, "%s/results.csv", run->dir);
    size_t size;
    char *text = record_slurp(path, &size, err);
    if (text == NULL) return false;
    size_t *index = calloc(record_column_count, sizeof *index);
    csv_reader csv;
    csv_open(&csv, text, size);
    bool ok = index != NULL && csv_next(&csv);
    if (!ok && record_csv_ended(path, &csv, err))
        conv_fail(err, CONV_INVALID, "%s:1: no header line: not a results.csv", path);
    ok = ok && record_read_header(path, csv.field, csv.count, index, err);
    size_t fields = csv.count;
    while (ok && csv_next(&csv)) {
        record_row row;
        ok = csv.count == fields;
        if (!ok)
            conv_fail(err, CONV_INVALID, "%s:%d: %zu fields: the header has %zu", path, csv.line, csv.count,
                      fields);
        ok = ok && read_row(path, &csv, index, &row, err);
        if (ok && !keep_row(run, &row)) {
            conv_fail(err, CONV_NO_MEMORY, "%s: no memory for its rows", path);
            ok = false;
        }
    }
    ok = ok && record_csv_ended(path, &csv, err);
    csv_close(&csv);
    free(index);
    free(text);
    return ok;
}

bool record_load_kind(const char *dir, unsigned needed, record_run *run, conv_error *err)
{
    *run = (record_run){0};
    char *real = realpath(dir ? dir : "results/latest", NULL);
    if (real == NULL) {
        conv_fail(err, CONV_INVALID, "%s: %s%s", dir ? dir : "results/latest", strerror(errno),
                  dir ? "" : ": 'sepbench bench' makes a run");
        return false;
    }
    snprintf(run->dir, sizeof run->dir, "%s", real);
    free(real);
    run->run = record_read_run(run->dir, needed, err);
    if (run->run == NULL) return false;
    make_printable(run->run);
    const char *id = json_string_value(json_object_get(run->run, "run_id"));
    if (id == NULL || !text_is_name(id) ||
        (size_t)snprintf(run->run_id, sizeof run->run_id, "%s", id) >= sizeof run->run_id) {
        conv_fail(err, CONV_INVALID, "%.200s/run.json: run_id is '%.80s': not the name of a run", run->dir,
                  id ? id : "");
        record_free(run);
        return false;
    }
    if (load_rows(run, err)) return true;
    record_free(run);
    return false;
}

bool record_load(const char *dir, record_run *run, conv_error *err)
{
    return record_load_kind(dir, RECORD_WITH_CASES, run, err);
}

void record_free(record_run *run)
{
    json_decref(run->run);
    record_index_free(&run->index);
    free(run->rows);
    *run = (record_run){0};
}
