/* Which command made a run, and whether that is a run of the kind that a reader needs. */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "../json.h"
#include "../text.h"
#include "internal.h"

static const struct {
    const char *name, *command; /* run.json's "kind", and what makes such runs */
} kinds[RECORD_KINDS] = {
    [RECORD_BENCH] = {"bench", "bench"},
    [RECORD_ADVISE] = {"advise", "advise"},
    [RECORD_TRAINING] = {"training", "train"},
};

/* Files of the first versions name no kind: there was one. RECORD_KINDS: none that this program knows. */
static record_kind kind_of(const json_t *run)
{
    const char *name = json_text(run, "kind", kinds[RECORD_BENCH].name);
    record_kind kind = RECORD_BENCH;
    while (kind < RECORD_KINDS && strcmp(name, kinds[kind].name) != 0) kind++;
    return kind;
}

static void describe_kind(const json_t *run, unsigned needed, char why[RECORD_WHY_MAX])
{
    const record_kind kind = kind_of(run);
    char name[41] = "", needs[64] = "";
    *why = '\0';
    if (kind < RECORD_KINDS && (needed & RECORD_IS(kind))) return;
    for (record_kind k = 0; k < RECORD_KINDS; k++)
        if (needed & RECORD_IS(k))
            snprintf(needs + strlen(needs), sizeof needs - strlen(needs), "%s'sepbench %s'",
                     *needs != '\0' ? " or " : "", kinds[k].command);
    if (kind < RECORD_KINDS)
        snprintf(why, RECORD_WHY_MAX, "a run of 'sepbench %s': one of %s is needed", kinds[kind].command,
                 needs);
    else
        snprintf(why, RECORD_WHY_MAX, "a run of kind '%s': one of %s is needed",
                 text_make_printable(strncpy(name, json_text(run, "kind", ""), sizeof name - 1)), needs);
}

const char *record_kind_name(record_kind kind) { return kinds[kind].name; }

bool record_suits(const json_t *run, unsigned needed, char why[RECORD_WHY_MAX])
{
    const json_t *schema = json_object_get(run, "schema");
    describe_kind(run, needed, why);
    if (*why != '\0' || (json_is_integer(schema) && json_integer_value(schema) == RECORD_SCHEMA))
        return *why == '\0';
    char *value = schema != NULL ? json_dumps(schema, JSON_ENCODE_ANY | JSON_COMPACT) : NULL;
    snprintf(why, RECORD_WHY_MAX, "schema is %.40s: this program reads schema %d",
             value != NULL ? text_make_printable(value) : "missing", RECORD_SCHEMA);
    free(value);
    return false;
}

bool record_other_kind(const char *dir, unsigned needed, char why[RECORD_WHY_MAX])
{
    char path[4400];
    json_t *run = NULL;
    snprintf(path, sizeof path, "%s/run.json", dir);
    if (access(path, F_OK) == 0) {
        run = json_load_file(path, 0, NULL);
    } else { /* as of a training that Keras alone did */
        snprintf(path, sizeof path, "%s/runs.csv", dir);
        if (access(path, F_OK) == 0)
            run = json_pack("{s:i, s:s}", "schema", RECORD_SCHEMA, "kind", kinds[RECORD_TRAINING].name);
    }
    bool other = json_is_integer(json_object_get(run, "schema")) && !record_suits(run, needed, why);
    json_decref(run);
    return other;
}
