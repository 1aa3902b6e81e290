/* Whether two runs are of one machine. */
#include <stdio.h>
#include <string.h>

#include "../json.h"
#include "record.h"

int record_most_threads(const record_run *run)
{
    int most = 0;
    for (size_t i = 0; i < run->count; i++)
        if (run->rows[i].threads > most) most = run->rows[i].threads;
    return most;
}

static const char *word_of(const record_run *run, const char *what, char word[RECORD_WORD_MAX])
{
    if (strcmp(what, "threads") == 0)
        snprintf(word, RECORD_WORD_MAX, "%d", record_most_threads(run));
    else
        snprintf(word, RECORD_WORD_MAX, "%s", json_text(json_object_get(run->run, "machine"), what, "unknown"));
    return word;
}

const char *record_machine_differs(const record_run *a, const record_run *b, char first[RECORD_WORD_MAX],
                                   char second[RECORD_WORD_MAX])
{
    static const char *const same[] = {"cpu", "host", "isa_allowed", "threads"};
    for (size_t i = 0; i < sizeof same / sizeof *same; i++)
        if (strcmp(word_of(a, same[i], first), word_of(b, same[i], second)) != 0) return same[i];
    return NULL;
}
