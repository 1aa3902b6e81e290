/* What the files of this folder share: the table of columns, the index of cases, and small file helpers. */
#ifndef SEPBENCH_RECORD_INTERNAL_H
#define SEPBENCH_RECORD_INTERNAL_H

#include <stdio.h>

#include "../claim.h"
#include "csv.h"
#include "record.h"

typedef enum {
    COLUMN_TEXT,    /* char[size] at offset */
    COLUMN_NAME,    /* the same: text_is_name */
    COLUMN_LABEL,   /* the same: text_is_label */
    COLUMN_SIZE,    /* int64_t, always there; part of the problem */
    COLUMN_COUNT,   /* int64_t, negative = not available */
    COLUMN_INT,     /* int, negative = not available */
    COLUMN_REAL,    /* double, NaN = not available */
    COLUMN_BOOL,    /* 0 or 1 */
    COLUMN_VARIANT, /* the enums, by name */
    COLUMN_PASS,
    COLUMN_ISA,
    COLUMN_LAYOUT,
    COLUMN_POST_OP,
    COLUMN_CACHE,
    COLUMN_STATUS,
    COLUMN_RACE,
    COLUMN_CASE,    /* written, and read back for the problem's rank */
    COLUMN_REPRO,   /* written only */
    COLUMN_DERIVED, /* written only: follows from the other columns */
} column_kind;

typedef struct {
    const char *name;
    column_kind kind;
    size_t offset, size; /* in record_row */
    double (*derive)(const record_row *row);
} record_column;

extern const record_column record_table[]; /* record_column_count of them */

/* samples.csv: its header, and the line of a repetition. Returns the line's length. */
extern const char record_samples_header[];
int record_format_sample(const char *case_name, int repetition, const record_sample *sample, char *line,
                         size_t size);

void record_put_header(FILE *out);
void record_put_row(FILE *out, const record_row *row);

/* A tree of cases by name. */
typedef struct {
    const char *name; /* text */
    size_t value;     /* of the tree's owner */
    char text[];
} record_entry;

record_entry *record_index_find(void *const *index, const char *name); /* or NULL */
/* The entry of that name, made with the value where it is new; NULL without memory. */
record_entry *record_index_add(void **index, const char *name, size_t value);
void record_index_free(void **index);
enum { RECORD_ID_MAX = 64, RECORD_TABLES = 2, RECORD_FILES = 4 };
/* What a run's folder holds, the tables first. */
extern const char *const record_files[RECORD_FILES];
/* Makes the run's id, and finds or makes its folder (NULL: results/<run_id>) and locks it. One that exists must
 * be free. */
bool record_claim_new(claim *folder, const char *out_dir, char run_id[RECORD_ID_MAX], conv_error *err);

/* The whole file, followed by a 0 byte; NULL with err. */
char *record_slurp(const char *path, size_t *size, conv_error *err);
/* After the last csv_next: false with err when it stopped at a record that is none. */
bool record_csv_ended(const char *path, const csv_reader *csv, conv_error *err);
/* run.json of that folder, which record_suits; NULL with err. */
json_t *record_read_run(const char *dir, unsigned needed, conv_error *err);
/* Index of each of results.csv's columns in a header line, `count` for what a file of an older version does not
 * have: columns after repro. False with err naming what is missing. */
bool record_read_header(const char *path, char *const *field, size_t count, size_t *index, conv_error *err);

#endif
