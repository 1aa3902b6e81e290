#include "csv.h"

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

void csv_open(csv_reader *r, const char *data, size_t size)
{
    *r = (csv_reader){.data = data, .at = data, .end = data + size, .next_line = 1, .start = data};
}

/* Where the record that begins at `at` ends (past its line feed), or NULL when it is torn. */
static const char *record_end(const char *at, const char *end, size_t *fields, int *lines)
{
    bool quoted = false;
    *fields = 1;
    *lines = 0;
    for (; at < end; at++) {
        if (*at == '"') quoted = !quoted; /* a doubled quote toggles twice */
        if (*at == ',' && !quoted) ++*fields;
        if (*at == '\n') {
            ++*lines;
            if (!quoted) return at + 1;
        }
    }
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
    const char *stop = record_end(r->at, r->end, &fields, &lines);
    if (stop == NULL || !reserve(r, fields, (size_t)(stop - r->at) + 1)) return false;
    r->start = r->at;
    r->at = stop;
    r->line = r->next_line;
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
