/* A CSV file read by its columns' names, in any order; whatever is wrong is told with file and line. */
#ifndef SEPBENCH_REPORT_CSV_TABLE_H
#define SEPBENCH_REPORT_CSV_TABLE_H

#include "../../kernels/conv.h"
#include "../record/csv.h"

enum { CSV_TABLE_COLUMNS = 32, CSV_TABLE_NAME = 32 };

typedef struct {
    const char *path;
    char *text;
    csv_reader reader; /* csv_next: the next record */
    char name[CSV_TABLE_COLUMNS][CSV_TABLE_NAME];
    size_t columns;
} csv_table;

bool csv_table_open(csv_table *t, const char *path, conv_error *err);
/* False with err when the last record read was none. */
bool csv_table_close(csv_table *t, conv_error *err);

/* The field of that column in the current record; "" when there is none. */
const char *csv_table_text(const csv_table *t, const char *column);
/* Empty: NaN. Anything but a number that training can have found (a float, or seconds): NaN, and false with
 * err. */
bool csv_table_number(const csv_table *t, const char *column, double *value, conv_error *err);
/* Empty: 0. */
bool csv_table_whole(const csv_table *t, const char *column, int64_t most, int *value, conv_error *err);
/* A name that is part of a path or of a picture. */
bool csv_table_name(const csv_table *t, const char *column, bool (*is_name)(const char *text), conv_error *err);

#endif
