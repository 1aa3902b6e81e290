/* What the machines say together. When separable wins, and where it does not, is said by the rule and the
 * counts of one run's verdict (verdict.c, headline.c). */
#include <stdlib.h>
#include <string.h>

#include "../json.h"
#include "../text.h"
#include "sides.h"

char *sides_text(const side *m, const char *name, char *buffer, size_t size)
{
    const char *text = json_text(json_object_get(m->run.run, "machine"), name, "unknown");
    size_t length = strlen(text);
    if (length >= size) { /* a character is cut as a whole */
        length = size - 1;
        while (length > 0 && (text[length] & 0xC0) == 0x80) length--;
    }
    snprintf(buffer, size, "%.*s", (int)length, text);
    return text_make_printable(buffer);
}

/* ---- one machine */

static verdict_tally both(const side *m)
{
    verdict_tally sum = {0};
    verdict_add_tally(&sum, &m->tally[CONV_FORWARD]);
    verdict_add_tally(&sum, &m->tally[CONV_BACKWARD]);
    return sum;
}

static bool wins(const side *m)
{
    verdict_tally t = both(m);
    return t.determined > 0 && t.ahead == t.determined;
}

/* Comparisons that are not determined. */
static int open_of(const side *m)
{
    verdict_tally t = both(m);
    return t.count - t.determined;
}

/* Whether a channel count names one comparison of each pass. */
static bool is_plain(const sides *s)
{
    bool plain = s->setting_count == 1;
    for (size_t i = 0; plain && i < s->settings[0].count; i++)
        plain = report_on_curve(s->settings[0].points[i].key, s->settings[0].points[i].key->pass);
    return plain;
}

enum { NAMED = 4 };

/* The channel counts of a pass at which it does not win, in their order. */
typedef struct {
    int64_t lost[NAMED], won_first, lost_first;
    int count;      /* of lost */
    bool low, high; /* they are all those below won_first; all from lost_first on */
} losses;

static losses losses_of(const sides *s, int machine, conv_pass pass)
{
    losses l = {.low = true, .high = true};
    for (size_t i = 0; i < s->settings[0].count; i++) {
        const sides_point *p = &s->settings[0].points[i];
        report_ratio ratio;
        if (p->key->pass != pass) continue;
        if (!sides_speedup(s, machine, p, &ratio) || !rule_determined(ratio.times.outcome)) {
            l.low = l.high = false;
        } else if (ratio.times.outcome == RATIO_FASTER) {
            if (l.won_first == 0) l.won_first = p->key->ic;
            if (l.count > 0) l.high = false;
        } else {
            if (l.count == 0) l.lost_first = p->key->ic;
            if (l.count < NAMED) l.lost[l.count] = p->key->ic;
            if (l.won_first != 0) l.low = false;
            l.count++;
        }
    }
    return l;
}

/* "not below 64 channels", "" where it wins wherever that is determined. Malloced; NULL without memory. */
static char *where_not(const sides *s, int machine, conv_pass pass)
{
    const verdict_tally *t = &s->machines[machine]->tally[pass];
    int lost = t->determined - t->ahead;
    char *text = NULL;
    size_t size;
    FILE *out = open_memstream(&text, &size);
    if (out == NULL) return NULL;
    losses l = {0};
    if (lost > 0 && is_plain(s)) l = losses_of(s, machine, pass);
    if (lost == 0)
        fputs("", out);
    else if (t->ahead == 0)
        fputs(is_plain(s) ? "at no channel count" : "in no comparison", out);
    else if (l.count == 0 || (l.count > NAMED && !l.low && !l.high))
        fprintf(out, "not %s %d of %d %s", is_plain(s) ? "at" : "in", lost, t->count,
                is_plain(s) ? "channel counts" : "comparisons");
    else if (l.low)
        fprintf(out, "not below %lld channels", (long long)l.won_first);
    else if (l.high)
        fprintf(out, "not from %lld channels on", (long long)l.lost_first);
    else
        for (int i = 0; i < l.count; i++)
            fprintf(out, "%s%lld%s",
                    i == 0             ? "not at "
                    : i == l.count - 1 ? " and "
                                       : ", ",
                    (long long)l.lost[i], i == l.count - 1 ? " channels" : "");
    fclose(out);
    return text;
}

/* "; on vm-c not below 64 channels backward". */
static void put_loser(FILE *out, const sides *s, int machine)
{
    const side *m = s->machines[machine];
    char *where[2] = {where_not(s, machine, CONV_FORWARD), where_not(s, machine, CONV_BACKWARD)};
    fprintf(out, "; on %s ", m->label);
    if (where[0] == NULL || where[1] == NULL)
        fputs("not everywhere", out);
    else if (strcmp(where[0], where[1]) == 0)
        fprintf(out, "%s, forward and backward", where[0]);
    else
        fprintf(out, "%s%s%s%s%s", where[0], *where[0] ? " forward" : "", *where[0] && *where[1] ? " and " : "",
                where[1], *where[1] ? " backward" : "");
    if (open_of(m) > 0) fputs(", as far as its run can tell", out);
    free(where[0]);
    free(where[1]);
}

/* ---- all of them */

static bool same_text(const side *a, const side *b, const char *name)
{
    char first[256], second[256];
    return strcmp(sides_text(a, name, first, sizeof first), sides_text(b, name, second, sizeof second)) == 0;
}

/* How many machines the runs are of: one remains itself with its instruction set capped, or on fewer threads. */
static int count_machines(const sides *s)
{
    int count = 0;
    for (int i = 0; i < s->count; i++) {
        bool known = false;
        for (int k = 0; k < i; k++)
            known = known || (same_text(s->machines[i], s->machines[k], "host") &&
                              same_text(s->machines[i], s->machines[k], "cpu"));
        count += !known;
    }
    return count;
}

/* " (on vm-a and vm-b as far as their runs can tell)" of winners with comparisons that are not determined. */
static void put_unsure(FILE *out, const sides *s)
{
    int count = 0, done = 0;
    for (int i = 0; i < s->count; i++) count += wins(s->machines[i]) && open_of(s->machines[i]) > 0;
    if (count == 0) return;
    if (count > NAMED) {
        fprintf(out, " (on %d of them as far as their runs can tell)", count);
        return;
    }
    for (int i = 0; i < s->count; i++) {
        if (!wins(s->machines[i]) || open_of(s->machines[i]) == 0) continue;
        fprintf(out, "%s%s", done == 0 ? " (on " : done == count - 1 ? " and " : ", ", s->machines[i]->label);
        done++;
    }
    fprintf(out, " as far as %s can tell)", count == 1 ? "its run" : "their runs");
}

static char *sentence(const sides *s)
{
    char *text = NULL;
    size_t size;
    int won = 0, told = 0, machines = count_machines(s);
    FILE *out = open_memstream(&text, &size);
    if (out == NULL) return NULL;
    for (int i = 0; i < s->count; i++) {
        won += wins(s->machines[i]);
        told += both(s->machines[i]).determined > 0;
    }
    fprintf(out, "%s %s ", told > 0 ? "Separable wins" : "Nothing is determined",
            machines == s->count ? "on" : "in");
    if (told == 0)
        fprintf(out, "%s %d", s->count == 1 ? "this" : "these", s->count);
    else if (won == s->count && won > 1)
        fprintf(out, "all %d", won);
    else
        fprintf(out, "%d of %d", won, s->count);
    if (machines == s->count)
        fprintf(out, " machine%s", s->count == 1 ? "" : "s");
    else
        fprintf(out, " runs of %d machine%s", machines, machines == 1 ? "" : "s");
    put_unsure(out, s);
    for (int i = 0; i < s->count; i++)
        if (told > 0 && both(s->machines[i]).determined == 0)
            fprintf(out, "; on %s nothing is determined", s->machines[i]->label);
        else if (told > 0 && !wins(s->machines[i]))
            put_loser(out, s, i);
    fputc('.', out);
    fclose(out);
    return text;
}

/* ---- what to keep in mind */

/* "vm-a: 3 of 14 comparisons are not determined: the machine was busy (2), a side has no time (1)." */
static void tell_open(const side *m, verdict *v)
{
    verdict_tally sum = both(m);
    int untimed = open_of(m);
    char *text = NULL;
    size_t size;
    FILE *out = untimed > 0 ? open_memstream(&text, &size) : NULL;
    if (out == NULL) return;
    const char *before = "";
    for (int why = RATIO_FEW; why < RATIO_OUTCOMES; why++) {
        if (sum.by_outcome[why] == 0) continue;
        fprintf(out, "%s%s (%d)", before, rule_reason((ratio_outcome)why), sum.by_outcome[why]);
        untimed -= sum.by_outcome[why];
        before = ", ";
    }
    if (untimed > 0) fprintf(out, "%sa side has no time (%d)", before, untimed);
    fclose(out);
    verdict_caution(v, "%s: %d of %d comparisons are not determined: %s.", m->label, open_of(m), sum.count,
                    text);
    free(text);
}

static void tell_run(const side *m, verdict *v)
{
    const char *status = json_text(m->run.run, "status", "complete");
    size_t bad = m->data.by_status[CASE_WRONG];
    if (bad > 0)
        verdict_caution(v, "%s: %zu case%s computed a WRONG result.", m->label, bad, bad == 1 ? "" : "s");
    if (strcmp(status, "complete") != 0)
        verdict_caution(v, "%s: the run is not complete (%.40s).", m->label, status);
}

/* Of all in one line: they are many, long and the same each time. */
static void tell_warnings(const sides *s, verdict *v)
{
    char *text = NULL;
    size_t size, all = 0;
    FILE *out = open_memstream(&text, &size);
    if (out == NULL) return;
    for (int i = 0; i < s->count; i++) {
        const json_t *machine = json_object_get(s->machines[i]->run.run, "machine");
        size_t warnings = json_array_size(json_object_get(machine, "warnings"));
        if (warnings == 0) continue;
        fprintf(out, "%s%s %zu", all > 0 ? ", " : "", s->machines[i]->label, warnings);
        all += warnings;
    }
    fclose(out);
    if (all > 0) verdict_caution(v, "Warnings about the machines: %s; each run's own report has them.", text);
    free(text);
}

void sides_verdict(const sides *s, verdict *v)
{
    *v = (verdict){.headline = sentence(s)};
    for (size_t i = 0; i < s->note_count; i++) verdict_caution(v, "%s", s->notes[i]);
    for (int i = 0; i < s->count; i++) {
        tell_open(s->machines[i], v);
        tell_run(s->machines[i], v);
    }
    tell_warnings(s, v);
}

/* ---- who is the best where */

char *sides_best_words(const sides *s, int machine, const sides_setting *setting, conv_variant variant,
                       conv_pass pass)
{
    const record_row *last = NULL;
    char *text = NULL;
    size_t size;
    int64_t from = 0, to = 0;
    FILE *out = open_memstream(&text, &size);
    if (out == NULL) return NULL;
    for (size_t i = 0; i <= setting->count; i++) {
        bool end = i == setting->count;
        if (!end && setting->points[i].key->pass != pass) continue;
        const record_row *row = end ? NULL : sides_best(s, machine, &setting->points[i], variant);
        if (last != NULL && (row == NULL || strcmp(row->impl, last->impl) != 0))
            fprintf(out, from == to ? "%s%s at %lld" : "%s%s from %lld to %lld", ftell(out) > 0 ? ", " : "",
                    last->impl, (long long)from, (long long)to);
        if (row != NULL && (last == NULL || strcmp(row->impl, last->impl) != 0))
            from = setting->points[i].key->ic;
        if (row != NULL) to = setting->points[i].key->ic;
        last = row;
    }
    fclose(out);
    if (*text != '\0') return text;
    free(text);
    return NULL;
}
