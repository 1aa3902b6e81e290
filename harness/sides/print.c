/* Several machines on a terminal of 80 columns. */
#include <stdlib.h>
#include <string.h>

#include "sides.h"

enum { CPU_WIDTH = 15, ISA_WIDTH = 7, NAME_WIDTH = 20, VALUE_WIDTH = 20, BLOCK = 3 };

/* The text at the left of a column, cut where it is longer; 0: the last one. */
static void put_left(FILE *out, const char *text, int width)
{
    size_t bytes = 0;
    if (width == 0) {
        fputs(text, out);
        return;
    }
    const bool cut = report_width(text, strlen(text)) >= width;
    while (text[bytes] != '\0' && report_width(text, bytes + 1) <= width - (cut ? 2 : 1)) bytes++;
    while ((text[bytes] & 0xC0) == 0x80) bytes++;
    fprintf(out, "%.*s%s%*s", (int)bytes, text, cut ? "…" : "",
            width - report_width(text, bytes) - (cut ? 1 : 0), "");
}

/* "   7/7    3.4-8.0": 17 columns. */
static void put_tally(FILE *out, const verdict_tally *t)
{
    char text[48], least[16], most[16];
    snprintf(text, sizeof text, "%d/%d", t->ahead, t->count);
    report_right(out, text, 6);
    snprintf(text, sizeof text, "-");
    if (t->determined > 0 && strcmp(verdict_times(t->least, least), verdict_times(t->most, most)) == 0)
        strcpy(text, least);
    else if (t->determined > 0)
        snprintf(text, sizeof text, "%s-%s", least, most);
    report_right(out, text, 11);
}

static void put_machines(FILE *out, const sides *s)
{
    fprintf(out, "\n%*s%17s%17s\n", SIDES_LABEL_WIDTH + 1 + CPU_WIDTH + ISA_WIDTH + 4, "", "forward",
            "backward");
    fprintf(out, "%-*s%-*s%-*s%4s%6s%11s%6s%11s\n", SIDES_LABEL_WIDTH + 1, "machine", CPU_WIDTH, "CPU",
            ISA_WIDTH, "ISA", "thr.", "wins", "as fast", "wins", "as fast");
    for (int i = 0; i < s->count; i++) {
        const side *m = s->machines[i];
        char cpu[128], isa[32];
        put_left(out, m->label, SIDES_LABEL_WIDTH + 1);
        put_left(out, sides_text(m, "cpu", cpu, sizeof cpu), CPU_WIDTH);
        put_left(out, sides_text(m, "isa_allowed", isa, sizeof isa), ISA_WIDTH);
        fprintf(out, "%4d", m->threads);
        for (int pass = CONV_FORWARD; pass <= CONV_BACKWARD; pass++) put_tally(out, &m->tally[pass]);
        fputc('\n', out);
    }
}

/* ---- who is the best where */

static void put_best_of(FILE *out, const sides *s, int machine, conv_pass pass)
{
    static const conv_variant variants[] = {CONV_SEPARABLE, CONV_DENSE};
    for (int i = 0; i < 2; i++) {
        char *words = sides_best_words(s, machine, &s->settings[0], variants[i], pass), first[128];
        if (words == NULL) continue;
        snprintf(first, sizeof first, "%s, %s: ", s->machines[machine]->label, conv_variant_name(variants[i]));
        report_wrap(out, first, "    ", words);
        free(words);
    }
}

static void put_best(FILE *out, const sides *s)
{
    char name[160];
    for (int pass = CONV_FORWARD; pass <= CONV_BACKWARD; pass++) {
        if (!sides_has_pass(&s->settings[0], (conv_pass)pass)) continue;
        fprintf(out, "\nbest %s by channel count, %s\n", conv_pass_name((conv_pass)pass),
                report_setting_name(&s->settings[0].shape, name, sizeof name));
        for (int i = 0; i < s->count; i++) put_best_of(out, s, i, (conv_pass)pass);
    }
    if (s->setting_count > 1)
        fprintf(out, "The report has the tables of %zu more setting%s.\n", s->setting_count - 1,
                s->setting_count == 2 ? "" : "s");
}

/* ---- what differs */

/* Texts that are too long for a column only differ. */
static bool is_short(const sides *s, const sides_difference *row)
{
    for (int i = 0; i < s->count; i++)
        if (row->text[i] != NULL && report_width(row->text[i], strlen(row->text[i])) >= VALUE_WIDTH)
            return false;
    return true;
}

/* Some of the machines, side by side. */
static void put_block(FILE *out, const sides *s, const sides_differences *d, int from, int to)
{
    fprintf(out, "\n%-*s", NAME_WIDTH, from == 0 ? "what differs" : "");
    for (int i = from; i < to; i++) put_left(out, s->machines[i]->label, i < to - 1 ? VALUE_WIDTH : 0);
    fputc('\n', out);
    for (size_t r = 0; r < d->count; r++) {
        const sides_difference *row = &d->rows[r];
        if (!row->differs) continue;
        put_left(out, row->name, NAME_WIDTH);
        for (int i = from; i < to && is_short(s, row); i++)
            put_left(out, row->text[i] != NULL ? row->text[i] : "-", i < to - 1 ? VALUE_WIDTH : 0);
        fprintf(out, "%s\n", is_short(s, row) ? "" : "see the report");
    }
}

static void put_differences(FILE *out, const sides *s)
{
    sides_differences d;
    if (s->count == 1 || !sides_differences_create(s, &d)) return;
    for (int from = 0; from < s->count; from += BLOCK)
        put_block(out, s, &d, from, from + BLOCK < s->count ? from + BLOCK : s->count);
    sides_differences_destroy(&d);
}

void sides_print(FILE *out, const sides *s, const verdict *v)
{
    report_wrap(out, "", "", v->headline);
    put_machines(out, s);
    put_best(out, s);
    put_differences(out, s);
    fputc('\n', out);
    for (size_t i = 0; i < v->caution_count; i++) report_wrap(out, "! ", "  ", v->cautions[i]);
}
