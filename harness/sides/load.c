/* Which folders are machines to compare, and what they are called. */
#include <ctype.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "../cli.h"
#include "../json.h"
#include "../report/training.h"
#include "../text.h"
#include "sides.h"

void sides_note(sides *s, const char *format, ...)
{
    char *text;
    va_list args;
    va_start(args, format);
    if (vasprintf(&text, format, args) < 0) text = NULL;
    va_end(args);
    verdict_add(&s->notes, &s->note_count, text);
}

/* ---- folders */

int sides_count(const char *const *runs, int count)
{
    int found = 0;
    char path[REPORT_FOLDER_MAX];
    for (int i = 0; i < count; i++)
        found += !training_is(report_folder(runs[i], path)) && !report_again(runs, i);
    return found;
}

/* Whose run_id is the same: a copy. */
static const side *copy_of(const sides *s, const side *m)
{
    for (int i = 0; i < s->count; i++)
        if (strcmp(s->machines[i]->run.run_id, m->run.run_id) == 0) return s->machines[i];
    return NULL;
}

void sides_drop(side *m)
{
    report_data_destroy(&m->data);
    record_free(&m->run);
    free(m);
}

static bool add(sides *s, const char *name, const char *dir, conv_error *err)
{
    side *m = calloc(1, sizeof *m);
    if (m == NULL || !record_load_kind(dir, RECORD_IS(RECORD_BENCH), &m->run, err)) {
        if (m == NULL) conv_fail(err, CONV_NO_MEMORY, "out of memory");
        free(m);
        return false;
    }
    const side *copy = copy_of(s, m);
    if (copy != NULL || m->run.count == 0) {
        if (copy != NULL)
            sides_note(s, "%.200s: left out: a copy of %.200s.", name, copy->run.dir);
        else
            sides_note(s, "%.200s: left out: no case was measured.", name);
        sides_drop(m);
        return true;
    }
    if (!report_data_create(&m->run, &m->data, err)) {
        sides_drop(m);
        return false;
    }
    s->machines[s->count++] = m;
    return true;
}

/* ---- labels */

enum { BY_HOST, BY_ISA, BY_MINUTE, BY_SECOND, BY_NUMBER, WAYS };

/* "11-30 08:12" or "08:12:51" of a run's name "20261130T081251.138645Z-vm"; false: it is of another kind. */
static bool time_of(const char *id, bool seconds, char text[16])
{
    for (int i = 0; i < 15; i++)
        if (i == 8 ? id[i] != 'T' : !isdigit((unsigned char)id[i])) return false;
    if (seconds)
        snprintf(text, 16, "%.2s:%.2s:%.2s", id + 9, id + 11, id + 13);
    else
        snprintf(text, 16, "%.2s-%.2s %.2s:%.2s", id + 4, id + 6, id + 9, id + 11);
    return true;
}

/* The host's name, in all SIDES_LABEL_WIDTH characters: a long one loses its beginning. */
static void label_by(const sides *s, int machine, int way, char label[SIDES_LABEL_MAX])
{
    const side *m = s->machines[machine];
    char host[256], end[24] = "", text[16];
    sides_text(m, "host", host, sizeof host);
    if (way == BY_ISA) snprintf(end, sizeof end, " %.10s", sides_text(m, "isa_allowed", text, sizeof text));
    if ((way == BY_MINUTE || way == BY_SECOND) && time_of(m->run.run_id, way == BY_SECOND, text))
        snprintf(end, sizeof end, " %s", text);
    if (way == BY_NUMBER) snprintf(end, sizeof end, " #%d", machine + 1);
    const char *kept = host;
    int room = SIDES_LABEL_WIDTH - report_width(end, strlen(end));
    const bool cut = report_width(host, strlen(host)) > room;
    while (report_width(kept, strlen(kept)) > room - cut || (*kept & 0xC0) == 0x80) kept++;
    snprintf(label, SIDES_LABEL_MAX, "%s%.*s%s", cut ? "…" : "", 4 * SIDES_LABEL_WIDTH, kept, end);
}

/* The first way that gives the machine a label which that way gives to nobody else. */
static void label_machine(const sides *s, int machine)
{
    char label[SIDES_LABEL_MAX], other[SIDES_LABEL_MAX];
    for (int way = 0; way < WAYS; way++) {
        bool alone = true;
        label_by(s, machine, way, label);
        for (int i = 0; alone && i < s->count; i++) {
            label_by(s, i, way, other);
            alone = i == machine || strcmp(label, other) != 0;
        }
        strcpy(s->machines[machine]->label, label);
        if (alone) return;
    }
}

/* ---- the whole */

static int load_all(const sides_request *request, sides *s, conv_error *err)
{
    char path[REPORT_FOLDER_MAX], why[RECORD_WHY_MAX];
    for (int i = 0; i < request->run_count; i++) {
        const char *name = request->runs[i], *dir = report_folder(name, path);
        if (report_again(request->runs, i))
            sides_note(s, "%.200s: given twice, counted once.", name);
        else if (record_other_kind(dir, RECORD_IS(RECORD_BENCH), why))
            sides_note(s, "%.200s: left out: %s.", name, why);
        else if (s->count == SIDES_MAX)
            return conv_fail(err, CONV_INVALID, "at most %d machines: '%.200s' is one too many", (int)SIDES_MAX,
                             name),
                   EXIT_USAGE;
        else if (!add(s, name, dir, err))
            return EXIT_USAGE;
    }
    if (s->count > 0) return EXIT_FINE;
    conv_fail(err, CONV_INVALID, "none of the runs has cases that can be compared: %s",
              s->note_count > 0 ? s->notes[0] : "there is none");
    return EXIT_INVALID;
}

int sides_load(const sides_request *request, sides *s, conv_error *err)
{
    *s = (sides){.count = 0};
    for (int i = 0; i < request->note_count; i++) sides_note(s, "%s", request->notes[i]);
    int code = load_all(request, s, err);
    for (int i = 0; i < s->count; i++) label_machine(s, i);
    if (code == EXIT_FINE) code = sides_meet(s, err);
    if (code != EXIT_FINE) sides_free(s);
    return code;
}

void sides_free(sides *s)
{
    for (int i = 0; i < s->count; i++) sides_drop(s->machines[i]);
    for (size_t i = 0; i < s->setting_count; i++) free(s->settings[i].points);
    for (size_t i = 0; i < s->note_count; i++) free(s->notes[i]);
    free(s->settings);
    free(s->notes);
    *s = (sides){.count = 0};
}
