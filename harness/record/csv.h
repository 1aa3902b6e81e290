/* Comma-separated values as RFC 4180 has them, lines ended by a line feed (a carriage return before it is
 * accepted): fields holding a comma, a quote or a line break stand in quotes, quotes inside doubled. A quote
 * anywhere else is an error: it would hide the records up to the next one. */
#ifndef SEPBENCH_CSV_H
#define SEPBENCH_CSV_H

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

/* Writes one field, quoted if it must be; the comma and the line's end are the caller's. */
void csv_put(FILE *out, const char *text);
/* Behind a comma, of which the number may be none: the field is then empty. */
void csv_add(FILE *out, const char *text);
void csv_add_number(FILE *out, const char *format, double value);

/* Walks over the records of a text in memory. */
typedef struct {
    const char *data, *at, *end;
    int line;                     /* of the record csv_next returned, from 1 */
    int next_line;                /* of the record after it */
    const char *start;            /* the record's bytes: [start, at) */
    char **field;                 /* its fields, unquoted */
    size_t count;                 /* how many */
    char *text;                   /* their storage */
    size_t field_room, text_room; /* allocated */
    const char *wrong;            /* why csv_next stopped before the end, or NULL: what is wrong in `line` */
} csv_reader;

void csv_open(csv_reader *r, const char *data, size_t size);
/* The next record. False at the end, and at a record that is none (`wrong`). A last record without any line
 * feed is torn (the writer was killed in the middle of it) and is not returned. */
bool csv_next(csv_reader *r);
void csv_close(csv_reader *r);

#endif
