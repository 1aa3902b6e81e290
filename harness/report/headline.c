/* The one sentence that answers the title. */
#include <math.h>
#include <string.h>

#include "verdict.h"

char *verdict_times(double value, char *buffer)
{
    snprintf(buffer, 16, "%.*f", value < 1.995 ? 2 : value < 99.5 ? 1 : 0, value);
    return buffer;
}

void verdict_put_range(FILE *out, double least, double most)
{
    char a[16], b[16];
    verdict_times(least, a);
    verdict_times(most, b);
    if (strcmp(a, b) == 0)
        fputs(a, out);
    else
        fprintf(out, "%s to %s", a, b);
}

void verdict_add_tally(verdict_tally *sum, const verdict_tally *t)
{
    if (t->count == 0) return;
    bool first = sum->determined == 0, any = t->determined > 0;
    sum->count += t->count;
    sum->ahead += t->ahead;
    sum->determined += t->determined;
    for (int o = 0; o < RATIO_OUTCOMES; o++) sum->by_outcome[o] += t->by_outcome[o];
    if (!any) return;
    sum->least = first ? t->least : fmin(sum->least, t->least);
    sum->most = first ? t->most : fmax(sum->most, t->most);
    sum->first = first || t->first < sum->first ? t->first : sum->first;
    sum->last = first || t->last > sum->last ? t->last : sum->last;
    sum->from = t->from; /* of one setting alone */
}

static void put_answer(FILE *out, const verdict_tally *all)
{
    if (all->ahead == all->determined)
        fputs("Yes", out);
    else if (all->ahead == 0)
        fputs(all->by_outcome[RATIO_SLOWER] == 0 ? "Not measurably" : "No", out);
    else
        fputs(2 * all->ahead > all->determined ? "Mostly" : "Only sometimes", out);
    if (all->determined < all->count) fputs(", as far as this run can tell", out);
    fputs(": ", out);
}

void verdict_put_where(FILE *out, const verdict_tally *t, int settings)
{
    bool whole = t->determined == t->count;
    if (settings > 1)
        fprintf(out, "in %d of %d comparisons", t->ahead, t->count);
    else if (t->ahead == 0)
        fputs("at no channel count", out);
    else if (t->count == 1)
        fprintf(out, "at %lld channels", (long long)t->first);
    else if (whole && t->ahead == t->count)
        fprintf(out, "at every channel count from %lld to %lld", (long long)t->first, (long long)t->last);
    else if (whole && t->from != 0)
        fprintf(out, "from %lld channels on", (long long)t->from);
    else
        fprintf(out, "at %d of %d channel counts", t->ahead, t->count);
}

static bool same_where(const verdict_tally *a, const verdict_tally *b)
{
    return a->count == b->count && a->ahead == b->ahead && a->determined == b->determined &&
           a->first == b->first && a->last == b->last && a->from == b->from;
}

/* "from 64 channels on forward and at no channel count backward: 0.9 to 3.1 times as fast forward, ..." */
void verdict_put_passes(FILE *out, const verdict_tally *const passes[2], int settings)
{
    bool both = passes[0]->determined > 0 && passes[1]->determined > 0;
    bool alike = both && same_where(passes[0], passes[1]);
    for (int pass = CONV_FORWARD; pass <= CONV_BACKWARD; pass++) {
        if (passes[pass]->determined == 0 || (alike && pass == CONV_BACKWARD)) continue;
        if (both && pass == CONV_BACKWARD) fputs(" and ", out);
        verdict_put_where(out, passes[pass], settings);
        if (!alike) fprintf(out, " %s", conv_pass_name((conv_pass)pass));
    }
    for (int pass = CONV_FORWARD; pass <= CONV_BACKWARD; pass++) {
        bool second = both && pass == CONV_BACKWARD;
        if (passes[pass]->determined == 0) continue;
        fputs(second ? ", " : ": ", out);
        verdict_put_range(out, passes[pass]->least, passes[pass]->most);
        fputs(second ? " times" : " times as fast", out);
        if (both) fprintf(out, " %s", conv_pass_name((conv_pass)pass));
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
    if (all.determined == 0) {
        fputs("This run does not say, at any channel count", out);
        const char *before = ": ";
        for (int why = RATIO_FEW; why < RATIO_OUTCOMES; why++) {
            if (all.by_outcome[why] == 0) continue;
            fprintf(out, "%s%s", before, rule_reason((ratio_outcome)why));
            before = ", or ";
        }
        fputc('.', out);
    } else {
        put_answer(out, &all);
        fputs("the separable convolution is faster ", out);
        verdict_put_passes(out, (const verdict_tally *const[]){forward, backward}, settings);
        fputc('.', out);
    }
    fclose(out);
    return text;
}
