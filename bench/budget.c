/* Every row gets the same number of seconds, except that no row gets more than it asked for and none less than
 * one repetition takes (water filling): cheap rows reach all their repetitions, expensive ones share what is
 * left, and a row is left out only when it cannot be afforded at all. */
#include "budget.h"

#include <stdlib.h>

/* A row far slower than its neighbours (naive at large sizes) may take this part of the budget at most. */
static const double slow_part = 0.03, slow_ratio = 8;
/* One repetition of everything may take this part of the time left; the rest is for repetitions and for
 * estimates that were too low. */
static const double least_part = 0.8;

bool budget_open(budget *b, const selection *cases, const measure_options *options, double total)
{
    *b = (budget){.cases = cases, .options = options, .total = total};
    b->cost = calloc(cases->count, sizeof *b->cost);
    b->order = calloc(cases->count, sizeof *b->order);
    return b->cost != NULL && b->order != NULL;
}

void budget_close(budget *b)
{
    free(b->cost);
    free(b->order);
}

static bool is_pending(const record_row *row) { return row->status == CASE_SKIPPED && row->reason[0] == '\0'; }

/* Within the group rows[first .. end). */
static void mark_slow(budget *b, size_t first, size_t end)
{
    double cheapest = 1e300;
    for (size_t i = first; i < end; i++)
        if (b->cost[i].full > 0 && b->cost[i].least < cheapest) cheapest = b->cost[i].least;
    for (size_t i = first; i < end; i++)
        b->cost[i].slow =
            b->total > 0 && b->cost[i].least > slow_part * b->total && b->cost[i].least > slow_ratio * cheapest;
}

/* Estimates improve as rows are measured; looking at all of them again is not free. */
static void estimate(budget *b, size_t first)
{
    if (b->estimated > 0 && machine_now() - b->estimated < 1.0) return;
    measure_options one = *b->options;
    one.repetitions = 1;
    one.min_time = 0;
    for (size_t i = first; i < b->cases->count; i++) {
        const record_row *row = &b->cases->rows[i];
        b->cost[i] = (row_cost){0};
        if (!is_pending(row)) continue;
        b->cost[i].least = measure_estimate(row, &one);
        b->cost[i].full = measure_estimate(row, b->options);
        if (b->cost[i].full < b->cost[i].least) b->cost[i].full = b->cost[i].least;
    }
    for (size_t i = first, end; i < b->cases->count; i = end) {
        end = select_group_end(b->cases, i);
        mark_slow(b, i, end);
    }
    b->estimated = machine_now();
}

static int compare(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return x < y ? -1 : x > y;
}

/* The most one repetition of a row may cost so that all cheaper ones fit as well. */
static double affordable(budget *b, size_t first, double left)
{
    size_t n = 0;
    double sum = 0;
    for (size_t i = first; i < b->cases->count; i++)
        if (b->cost[i].full > 0 && !b->cost[i].slow) b->order[n++] = b->cost[i].least;
    qsort(b->order, n, sizeof *b->order, compare);
    for (size_t i = 0; i < n; i++) {
        sum += b->order[i];
        if (sum > least_part * left) return i > 0 ? b->order[i - 1] : 0;
    }
    return n > 0 ? b->order[n - 1] : 0;
}

/* What a row gets when each may have `share` seconds; 0 when it costs more than `most`. */
static double granted(const row_cost *c, double share, double most)
{
    if (c->full <= 0 || c->slow || c->least > most) return 0;
    return share < c->least ? c->least : share > c->full ? c->full : share;
}

static double sum_granted(const budget *b, size_t first, double share, double most)
{
    double sum = 0;
    for (size_t i = first; i < b->cases->count; i++) sum += granted(&b->cost[i], share, most);
    return sum;
}

/* The share with which everything fits into `left`. */
static double fair_share(const budget *b, size_t first, double left, double most)
{
    double low = 0, high = 1e9;
    if (sum_granted(b, first, high, most) <= left) return high;
    for (int i = 0; i < 60; i++) {
        double middle = (low + high) / 2;
        *(sum_granted(b, first, middle, most) <= left ? &low : &high) = middle;
    }
    return low;
}

double budget_group(budget *b, size_t first, size_t count, double left, bool *skip, double *remaining)
{
    estimate(b, first);
    double most = 1e300, share = 1e9, seconds = 0;
    if (b->total > 0) {
        most = affordable(b, first, left);
        share = fair_share(b, first, left, most);
    }
    for (size_t i = 0; i < count; i++) {
        const row_cost *c = &b->cost[first + i];
        skip[i] = c->full > 0 && (c->slow || c->least > most);
        seconds += granted(c, share, most);
    }
    *remaining = sum_granted(b, first, share, most);
    return seconds;
}
