/* A CSV file by its columns' names. */
#include "csv_table.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "../cli.h"
#include "../record/internal.h"

bool csv_table_open(csv_table *t, const char *path, conv_error *err)
{
    size_t size;
    *t = (csv_table){.path = path, .text = record_slurp(path, &size, err)};
    if (t->text == NULL) return false;
    csv_open(&t->reader, t->text, size);
    if (!csv_next(&t->reader) || t->reader.count > CSV_TABLE_COLUMNS) {
        if (record_csv_ended(path, &t->reader, err))
            conv_fail(err, CONV_INVALID, "%s:1: no header of at most %d columns", path, (int)CSV_TABLE_COLUMNS);
        csv_close(&t->reader);
        free(t->text);
        return false;
    }
    for (size_t i = 0; i < t->reader.count; i++)
        snprintf(t->name[t->columns++], CSV_TABLE_NAME, "%s", t->reader.field[i]);
    return true;
}

bool csv_table_close(csv_table *t, conv_error *err)
{
    bool whole = record_csv_ended(t->path, &t->reader, err);
    csv_close(&t->reader);
    free(t->text);
    return whole;
}

const char *csv_table_text(const csv_table *t, const char *column)
{
    for (size_t i = 0; i < t->columns && i < t->reader.count; i++)
        if (strcmp(t->name[i], column) == 0) return t->reader.field[i];
    return "";
}

bool csv_table_number(const csv_table *t, const char *column, double *value, conv_error *err)
{
    static const double largest = 1e40;
    const char *text = csv_table_text(t, column);
    *value = NAN;
    if (*text == 0 || cli_parse_real(text, -largest, largest, value)) return true;
    conv_fail(err, CONV_INVALID, "%s:%d: %s is '%.60s': must be a number", t->path, t->reader.line, column,
              text);
    return false;
}

bool csv_table_whole(const csv_table *t, const char *column, int64_t most, int *value, conv_error *err)
{
    const char *text = csv_table_text(t, column);
    int64_t whole = 0;
    bool fine = *text == 0 || cli_parse_int(text, 0, most, &whole);
    *value = (int)whole;
    if (!fine)
        conv_fail(err, CONV_INVALID, "%s:%d: %s is '%.60s': must be a whole number up to %lld", t->path,
                  t->reader.line, column, text, (long long)most);
    return fine;
}

bool csv_table_name(const csv_table *t, const char *column, bool (*is_name)(const char *text), conv_error *err)
{
    const char *text = csv_table_text(t, column);
    if (is_name(text)) return true;
    conv_fail(err, CONV_INVALID, "%s:%d: %s is '%.60s': not a name", t->path, t->reader.line, column, text);
    return false;
}
