#include "csv.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

void csv_put(FILE *out, const char *text)
{
    if (strpbrk(text, ",\"\r\n") == NULL) {
        fputs(text, out);
        return;
    }
    putc('"', out);
    for (; *text != '\0'; text++) {
        if (*text == '"') putc('"', out);
        putc(*text, out);
    }
    putc('"', out);
}

void csv_add(FILE *out, const char *text)
{
    putc(',', out);
    csv_put(out, text);
}

void csv_add_number(FILE *out, const char *format, double value)
{
    putc(',', out);
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
    if (isfinite(value)) fprintf(out, format, value);
#pragma GCC diagnostic pop
}

void csv_open(csv_reader *r, const char *data, size_t size)
{
    *r = (csv_reader){.data = data, .at = data, .end = data + size, .next_line = 1, .start = data};
}

/* Where the record at r->at ends (past its line feed), or NULL when it is torn or wrong. */
static const char *record_end(csv_reader *r, size_t *fields, int *lines)
{
    bool quoted = false, closed = false; /* within quotes; behind the closing one */
    *fields = 1;
    *lines = 0;
    for (const char *at = r->at, *field = at; at < r->end; at++) {
        bool ends = *at == ',' || *at == '\n' || (*at == '\r' && at + 1 < r->end && at[1] == '\n');
        *lines += *at == '\n';
        if (*at == '\0') {
            r->wrong = "a zero byte";
            return NULL;
        }
        if (quoted) {
            closed = *at == '"';
            quoted = !closed;
        } else if (*at == '"' && (at == field || closed)) {
            quoted = true; /* opens the field, or is the second of a doubled one */
        } else if (*at == '"' || (closed && !ends)) {
            r->wrong = "a quote in the middle of a field";
            return NULL;
        } else if (*at == '\n') {
            return at + 1;
        } else if (*at == ',') {
            ++*fields;
            field = at + 1;
            closed = false;
        }
    }
    if (*lines > 0) r->wrong = "a quote that is not closed";
    return NULL;
}

static bool reserve(csv_reader *r, size_t fields, size_t bytes)
{
    if (fields > r->field_room) {
        char **grown = realloc(r->field, fields * sizeof *grown);
        if (grown == NULL) return false;
        r->field = grown;
        r->field_room = fields;
    }
    if (bytes > r->text_room) {
        char *grown = realloc(r->text, bytes);
        if (grown == NULL) return false;
        r->text = grown;
        r->text_room = bytes;
    }
    return true;
}

bool csv_next(csv_reader *r)
{
    size_t fields;
    int lines;
    r->line = r->next_line;
    const char *stop = record_end(r, &fields, &lines);
    if (stop == NULL) return false;
    if (!reserve(r, fields, (size_t)(stop - r->at) + 1)) {
        r->wrong = "too long for the memory";
        return false;
    }
    r->start = r->at;
    r->at = stop;
    r->next_line += lines;
    r->count = 0;

    const char *c = r->start, *last = stop - 1; /* the line feed */
    if (last > c && last[-1] == '\r') last--;
    char *out = r->text;
    r->field[r->count++] = out;
    for (bool quoted = false; c < last; c++) {
        if (*c == '"' && quoted && c + 1 < last && c[1] == '"')
            *out++ = *c++;
        else if (*c == '"')
            quoted = !quoted;
        else if (*c == ',' && !quoted) {
            *out++ = '\0';
            r->field[r->count++] = out;
        } else
            *out++ = *c;
    }
    *out = '\0';
    return true;
}

void csv_close(csv_reader *r)
{
    free(r->field);
    free(r->text);
}
