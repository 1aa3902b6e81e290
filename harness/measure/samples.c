#include "samples.h"

#include <math.h>
#include <stdlib.h>

#include "../grow.h"
#include "../stats.h"

bool samples_add(samples *s, const record_sample *sample)
{
    record_sample *added = grow(&s->items, &s->count, sizeof *added);
    if (added == NULL) return false;
    *added = *sample;
    return true;
}

void samples_free(samples *s)
{
    free(s->items);
    *s = (samples){0};
}

int samples_count(const samples *s, sample_use use)
{
    int count = 0;
    for (size_t i = 0; i < s->count; i++) count += s->items[i].use == use;
    return count;
}

int samples_clean(const samples *s, sample_use use)
{
    int count = 0;
    for (size_t i = 0; i < s->count; i++) count += s->items[i].use == use && s->items[i].marks == 0;
    return count;
}

/* The repetitions of that use, marked ones too or not, in the order in which they ran. */
static size_t collect(const samples *s, sample_use use, bool marked, double *ns, int *visit)
{
    size_t n = 0;
    for (size_t i = 0; i < s->count; i++) {
        const record_sample *r = &s->items[i];
        if (r->use != use || (r->marks != 0 && !marked)) continue;
        ns[n] = r->ns;
        visit[n++] = r->visit;
    }
    return n;
}

double samples_median(const samples *s, sample_use use)
{
    double *ns = malloc((s->count + 1) * sizeof *ns), median = NAN;
    int *visit = malloc((s->count + 1) * sizeof *visit);
    if (ns != NULL && visit != NULL) {
        size_t n = collect(s, use, false, ns, visit);
        if (n == 0) n = collect(s, use, true, ns, visit);
        if (n > 0) median = stats_median(ns, n);
    }
    free(ns);
    free(visit);
    return median;
}

void samples_summarise(const samples *s, record_row *row)
{
    double *ns = malloc((s->count + 1) * sizeof *ns);
    int *visit = malloc((s->count + 1) * sizeof *visit);
    row->repetitions = row->visits = row->disturbed = 0;
    if (ns != NULL && visit != NULL && s->count > 0) {
        sample_use use = SAMPLE_REPORTS;
        size_t visits = 0, n = collect(s, use, true, ns, visit);
        if (n == 0) n = collect(s, use = SAMPLE_CHOOSES, true, ns, visit);
        stats_summary all = stats_summarize_visits(ns, visit, n, &visits);
        size_t clean_visits = 0, clean = collect(s, use, false, ns, visit);
        row->disturbed = (int)(n - clean);
        if (clean > 0) {
            stats_summary quiet = stats_summarize_visits(ns, visit, clean, &clean_visits);
            if (quiet.has_ci || !all.has_ci) {
                all = quiet;
                visits = clean_visits;
                row->disturbed = 0;
            }
        }
        row->repetitions = (int)all.n;
        row->visits = (int)visits;
        row->median_ns = all.median;
        row->min_ns = all.min;
        row->mad_ns = all.mad;
        row->ci95_low_ns = all.ci95_low;
        row->ci95_high_ns = all.ci95_high;
    }
    free(ns);
    free(visit);
}
