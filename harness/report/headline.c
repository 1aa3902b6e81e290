/* The one sentence that answers the title. */
#include <math.h>
#include <string.h>

#include "verdict.h"

char *verdict_times(double value, char *buffer)
{
    snprintf(buffer, 16, "%.*f", value < 1.995 ? 2 : value < 99.5 ? 1 : 0, value);
    return buffer;
}

void verdict_range(FILE *out, double least, double most)
{
    char a[16], b[16];
    verdict_times(least, a);
    verdict_times(most, b);
    if (strcmp(a, b) == 0)
        fputs(a, out);
    else
        fprintf(out, "%s to %s", a, b);
}

const verdict_figures *verdict_figures_of(const verdict_tally *t)
{
    return t->proven.count > 0 ? &t->proven : &t->all;
}

static void add_figures(verdict_figures *sum, const verdict_figures *f)
{
    if (f->count == 0) return;
    sum->least = sum->count == 0 ? f->least : fmin(sum->least, f->least);
    sum->most = sum->count == 0 ? f->most : fmax(sum->most, f->most);
    sum->count += f->count;
}

void verdict_add_tally(verdict_tally *sum, const verdict_tally *t)
{
    if (t->count == 0) return;
    if (sum->count == 0) {
        *sum = *t;
        return;
    }
    sum->count += t->count;
    sum->ahead += t->ahead;
    for (int o = 0; o < 4; o++) sum->by_outcome[o] += t->by_outcome[o];
    add_figures(&sum->all, &t->all);
    add_figures(&sum->proven, &t->proven);
    sum->first = t->first < sum->first ? t->first : sum->first;
    sum->last = t->last > sum->last ? t->last : sum->last;
}

static void put_answer(FILE *out, const verdict_tally *all)
{
    bool guess = all->by_outcome[RATIO_UNPROVEN] > 0;
    if (all->ahead == all->count)
        fputs(guess ? "Probably yes: " : "Yes: ", out);
    else if (all->ahead == 0)
        fputs(all->by_outcome[RATIO_SLOWER] == 0 ? "Not measurably: " : guess ? "Probably no: " : "No: ", out);
    else
        fputs(2 * all->ahead > all->count ? "Mostly: " : "Only sometimes: ", out);
}

/* One setting: which channel counts. Several: how many comparisons. */
static void put_pass(FILE *out, const verdict_tally *t, int settings)
{
    if (settings > 1) {
        if (t->ahead == t->count)
            fprintf(out, "faster in all %d comparisons", t->count);
        else
            fprintf(out, "faster in %d of %d comparisons", t->ahead, t->count);
    } else if (t->ahead == t->count) {
        if (t->count == 1)
            fprintf(out, "faster at %lld channels", (long long)t->first);
        else
            fprintf(out, "faster at every channel count from %lld to %lld", (long long)t->first,
                    (long long)t->last);
    } else if (t->ahead == 0) {
        fputs("faster at no channel count", out);
    } else if (t->from != 0) {
        fprintf(out, "faster from %lld channels on", (long long)t->from);
    } else {
        fprintf(out, "faster at %d of %d channel counts", t->ahead, t->count);
    }
}

char *verdict_headline(const verdict_tally *forward, const verdict_tally *backward, int settings)
{
    char *text = NULL;
    size_t size;
    FILE *out = open_memstream(&text, &size);
    if (out == NULL) return NULL;
    verdict_tally all = {0};
    verdict_add_tally(&all, forward);
    verdict_add_tally(&all, backward);
    put_answer(out, &all);
    fputs("the separable convolution is ", out);
    bool both = forward->count > 0 && backward->count > 0;
    if (both && forward->ahead == forward->count && backward->ahead == backward->count &&
        (settings > 1 || (forward->first == backward->first && forward->last == backward->last))) {
        put_pass(out, settings > 1 ? &all : forward, settings);
        fputs(", forward and backward: ", out);
    } else {
        if (forward->count > 0) put_pass(out, forward, settings);
        if (forward->count > 0) fputs(" forward", out);
        if (both) fputs(" and ", out);
        if (backward->count > 0) put_pass(out, backward, settings);
        if (backward->count > 0) fputs(" backward", out);
        fputs(": ", out);
    }
    verdict_range(out, verdict_figures_of(&all)->least, verdict_figures_of(&all)->most);
    fputs(" times as fast as the ordinary one.", out);
    fclose(out);
    return text;
}
