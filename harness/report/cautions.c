/* What a reader should keep in mind: wrong and skipped cases, missing intervals, a noisy machine. */
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "../grow.h"
#include "../text.h"
#include "verdict.h"

void verdict_add(char ***list, size_t *count, char *text)
{
    if (text == NULL) return;
    char **line = grow(list, count, sizeof *line);
    if (line == NULL)
        free(text);
    else
        *line = text_make_printable(text);
}

static char *format_text(const char *format, va_list args)
{
    char *text;
    return vasprintf(&text, format, args) < 0 ? NULL : text;
}

void verdict_caution(verdict *v, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    verdict_add(&v->cautions, &v->caution_count, format_text(format, args));
    va_end(args);
}

void verdict_line(verdict *v, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    verdict_add(&v->lines, &v->count, format_text(format, args));
    va_end(args);
}

/* Warnings are sentences, or the findings of machine_doctor. */
static void warnings_of(verdict *v, const json_t *list)
{
    size_t i;
    const json_t *entry;
    json_array_foreach(list, i, entry)
    {
        const char *name = json_string_value(json_object_get(entry, "name"));
        const char *problem = json_string_value(json_object_get(entry, "problem"));
        const char *effect = json_string_value(json_object_get(entry, "effect"));
        if (name != NULL && strcmp(name, "aslr") == 0)
            continue; /* shifts runs against each other, not cases in one */
        if (json_is_string(entry)) problem = json_string_value(entry);
        if (problem == NULL) continue;
        if (effect != NULL)
            verdict_caution(v, "Machine: %s; %s.", problem, effect);
        else
            verdict_caution(v, "Machine: %s.", problem);
    }
}

void verdict_find_cautions(const report_data *data, verdict *v)
{
    const size_t *n = data->by_status;
    if (n[CASE_WRONG] > 0)
        verdict_caution(
            v, "%zu case%s computed a WRONG result and %s no time: see the list of cases without a time.",
            n[CASE_WRONG], n[CASE_WRONG] == 1 ? "" : "s", n[CASE_WRONG] == 1 ? "has" : "have");
    if (n[CASE_FAILED] > 0)
        verdict_caution(v, "%zu case%s failed to run.", n[CASE_FAILED], n[CASE_FAILED] == 1 ? "" : "s");
    if (n[CASE_SKIPPED] > 0)
        verdict_caution(
            v, "%zu of %zu cases were skipped (budget or memory); the best is the best of those measured.",
            n[CASE_SKIPPED], data->run->count);
    if (data->rough > 0)
        verdict_caution(
            v,
            "%zu of %zu times are rough, without an interval or with a wide one: they stand in tables, "
            "marked, and decide nothing.",
            data->rough, n[CASE_OK]);
    bool visits = false;
    for (size_t i = 0; i < data->run->count; i++) visits = visits || data->run->rows[i].visits >= 0;
    if (!visits && n[CASE_OK] > 0)
        verdict_caution(
            v, "An older version made this run and measured each case in one go: one burst of other work "
               "may have met a case whole.");
    const char *status = json_string_value(json_object_get(data->run->run, "status"));
    if (status != NULL && strcmp(status, "complete") != 0)
        verdict_caution(v, "The run is not complete (%s): 'sepbench bench --resume --out %s' finishes it.",
                        status, data->run->dir);
    warnings_of(v, json_object_get(data->run->run, "warnings"));
    warnings_of(v, json_object_get(json_object_get(data->run->run, "machine"), "warnings"));
}
