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

/* ---- cores that are moved
 *
 * A hypervisor puts a virtual machine's cores nearer or farther apart as it likes, for seconds or for
 * minutes; what threads then take to meet differs by a factor, and with it what small problems take. So the
 * repetitions of a row that such moves show in are taken from when the cores were near. */

/* Medians near and far that differ by less count together, and the interval holds both. */
static const double same = 1.1;

typedef struct {
    double limit; /* the longest handover of near cores; INFINITY where all count together */
    double near_least, near_ns, far_ns; /* the fastest repetition with near cores, medians; NaN: none */
} core_states;

/* Median of the unmarked repetitions, those near or those far; NaN: none. */
static double median_of_state(const samples *s, double limit, bool far, double *ns)
{
    size_t n = 0;
    for (size_t i = 0; i < s->count; i++)
        if (s->items[i].marks == 0 && (s->items[i].handover_ns > limit) == far) ns[n++] = s->items[i].ns;
    return n > 0 ? stats_median(ns, n) : NAN;
}

static core_states states_of(const samples *s)
{
    core_states c = {INFINITY, NAN, NAN, NAN};
    double least = INFINITY, *ns = malloc((s->count + 1) * sizeof *ns);
    if (ns == NULL) return c;
    for (size_t i = 0; i < s->count; i++)
        if (s->items[i].marks == 0) least = fmin(least, s->items[i].handover_ns);
    c.near_ns = median_of_state(s, SAMPLES_FAR_APART * least, false, ns);
    c.far_ns = median_of_state(s, SAMPLES_FAR_APART * least, true, ns);
    for (size_t i = 0; i < s->count; i++)
        if (s->items[i].marks == 0 && !(s->items[i].handover_ns > SAMPLES_FAR_APART * least))
            c.near_least = fmin(c.near_least, s->items[i].ns);
    if (c.far_ns > same * c.near_ns) c.limit = SAMPLES_FAR_APART * least;
    free(ns);
    return c;
}

bool samples_moved(const samples *s) { return isfinite(states_of(s).limit); }

int samples_clean(const samples *s, sample_use use)
{
    double limit = states_of(s).limit;
    int count = 0;
    for (size_t i = 0; i < s->count; i++) {
        const record_sample *r = &s->items[i];
        count += r->use == use && r->marks == 0 && !(r->handover_ns > limit);
    }
    return count;
}

/* The repetitions of that use, in the order in which they ran: all, or the unmarked ones with handovers of
 * at most `limit`. */
static size_t collect(const samples *s, sample_use use, bool marked, double limit, double *ns, int *visit)
{
    size_t n = 0;
    for (size_t i = 0; i < s->count; i++) {
        const record_sample *r = &s->items[i];
        if (r->use != use || (!marked && (r->marks != 0 || r->handover_ns > limit))) continue;
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
        size_t n = collect(s, use, false, states_of(s).limit, ns, visit);
        if (n == 0) n = collect(s, use, false, INFINITY, ns, visit);
        if (n == 0) n = collect(s, use, true, INFINITY, ns, visit);
        if (n > 0) median = stats_median(ns, n);
    }
    free(ns);
    free(visit);
    return median;
}

static void take(record_row *row, const stats_summary *s, size_t visits)
{
    row->repetitions = (int)s->n;
    row->visits = (int)visits;
    row->median_ns = s->median;
    row->min_ns = s->min;
    row->mad_ns = s->mad;
    row->ci95_low_ns = s->ci95_low;
    row->ci95_high_ns = s->ci95_high;
}

void samples_summarise(const samples *s, record_row *row)
{
    const core_states cores = states_of(s);
    double *ns = malloc((s->count + 1) * sizeof *ns);
    int *visit = malloc((s->count + 1) * sizeof *visit);
    row->repetitions = row->visits = row->disturbed = row->moved = 0;
    if (ns != NULL && visit != NULL && s->count > 0) {
        sample_use use = samples_count(s, SAMPLE_REPORTS) > 0 ? SAMPLE_REPORTS : SAMPLE_CHOOSES;
        size_t visits, n = collect(s, use, true, INFINITY, ns, visit);
        stats_summary all = stats_summarize_visits(ns, visit, n, &visits), quiet;
        take(row, &all, visits);
        size_t clean = collect(s, use, false, INFINITY, ns, visit);
        row->disturbed = (int)(n - clean);
        if (clean > 0 && ((quiet = stats_summarize_visits(ns, visit, clean, &visits)).has_ci || !all.has_ci)) {
            take(row, &quiet, visits);
            row->disturbed = 0;
        }
        n = isfinite(cores.limit) ? collect(s, use, false, cores.limit, ns, visit) : clean;
        if (n < clean && n > 0 && (quiet = stats_summarize_visits(ns, visit, n, &visits)).has_ci) {
            take(row, &quiet, visits);
        } else if (isfinite(row->ci95_low_ns) && isfinite(cores.far_ns) && row->disturbed == 0) {
            row->moved = n < clean;
            row->ci95_low_ns = fmin(row->ci95_low_ns, cores.near_least);
            row->ci95_high_ns = fmax(row->ci95_high_ns, cores.far_ns);
        }
    }
    free(ns);
    free(visit);
}

size_t samples_used(const samples *s, double *ns, double *median)
{
    record_row row = {.median_ns = NAN};
    int *visit = malloc((s->count + 1) * sizeof *visit);
    const struct {
        bool marked;
        double limit;
    } sets[] = {{false, states_of(s).limit}, {false, INFINITY}, {true, INFINITY}}; /* each within the next */
    sample_use use = samples_count(s, SAMPLE_REPORTS) > 0 ? SAMPLE_REPORTS : SAMPLE_CHOOSES;
    size_t n = 0;
    samples_summarise(s, &row);
    *median = row.median_ns;
    for (size_t i = 0; visit != NULL && i < sizeof sets / sizeof *sets; i++) {
        n = collect(s, use, sets[i].marked, sets[i].limit, ns, visit);
        if (n == (size_t)row.repetitions) break;
    }
    free(visit);
    return n;
}
