/* Every row gets the same number of seconds (those the title asks about, four times that), except that no row
 * gets more than it asked for and none less than one repetition takes (water filling): cheap rows reach all
 * their repetitions, expensive ones share what is left, and a row is left out only when it cannot be afforded
 * at all. */
#include "budget.h"

#include <math.h>
#include <stdlib.h>

/* A row far slower than its neighbours (naive at large sizes) may take this part of the budget at most. */
static const double slow_part = 0.01, slow_ratio = 8;
/* One repetition of everything may take this part of the time left; the rest is for repetitions and for
 * estimates that were too low. */
static const double least_part = 0.95;

bool budget_open(budget *b, const selection *cases, const measure_options *options, double total)
{
    *b = (budget){.cases = cases, .options = options, .total = total, .per_byte = 3e-9, .per_row = 2e-3};
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

/* Adds what the group rows[first .. end) takes beside its rows to each of them. */
static void share_tensors(budget *b, size_t first, size_t end)
{
    double rows = 0;
    for (size_t i = first; i < end; i++) rows += b->cost[i].full > 0;
    for (size_t i = first; i < end; i++) {
        const record_row *row = &b->cases->rows[i];
        row_cost *c = &b->cost[i];
        if (c->full <= 0) continue;
        int rank = select_rank(row->problem.variant, row->pass, row->layer);
        c->bytes /= rows;
        c->least += b->per_byte * c->bytes;
        c->full += b->per_byte * c->bytes;
        c->price = c->least * (1 + rank) * (1 + rank);
        c->weight = rank <= SELECT_RANK_HEADLINE ? 4 : 1;
    }
}

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
    measure_options one = *b->options, two;
    one.repetitions = 1;
    one.min_time = 0;
    two = one;
    two.repetitions = 2;
    for (size_t i = first; i < b->cases->count; i++) {
        const record_row *row = &b->cases->rows[i];
        b->cost[i] = (row_cost){0};
        if (!is_pending(row)) continue;
        row_cost *c = &b->cost[i];
        double least = measure_estimate(row, &one), full = measure_estimate(row, b->options);
        c->bytes = (double)conv_bytes_min(&row->problem, row->pass);
        c->fixed = 2 * least - measure_estimate(row, &two);
        c->least = least + b->per_row;
        c->full = fmax(full, least) + b->per_row;
    }
    for (size_t i = first, end; i < b->cases->count; i = end) {
        end = select_group_end(b->cases, i);
        share_tensors(b, i, end);
        mark_slow(b, i, end);
    }
    b->estimated = machine_now();
}

static int compare(const void *a, const void *b)
{
    double x = ((const row_cost *)a)->price, y = ((const row_cost *)b)->price;
    return x < y ? -1 : x > y;
}

/* The highest price of a row so that one repetition of it and of all cheaper ones fits. */
static double affordable(budget *b, size_t first, double left)
{
    size_t n = 0;
    double sum = 0;
    for (size_t i = first; i < b->cases->count; i++)
        if (b->cost[i].full > 0 && !b->cost[i].slow) b->order[n++] = b->cost[i];
    qsort(b->order, n, sizeof *b->order, compare);
    size_t fit = 0;
    while (fit < n && (sum += b->order[fit].least) <= least_part * left) fit++;
    while (fit > 0 && fit < n && b->order[fit - 1].price == b->order[fit].price)
        fit--; /* equals: all or none */
    return fit > 0 ? b->order[fit - 1].price : 0;
}

/* What a row gets when each may have `share` seconds; 0 when its price is above `most`. */
static double granted(const row_cost *c, double share, double most)
{
    if (c->full <= 0 || c->slow || c->price > most) return 0;
    return fmin(fmax(c->weight * share, c->least), c->full);
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
        skip[i] = c->full > 0 && (c->slow || c->price > most);
        seconds += granted(c, share, most);
    }
    *remaining = sum_granted(b, first, share, most);
    /* Time that nobody is going to need is this group's too: a stall must not cost it a row. */
    return seconds + fmax(0, left - *remaining);
}

double budget_price(budget *b, size_t first, size_t count)
{
    double least = INFINITY;
    estimate(b, 0);
    for (size_t i = first; i < first + count; i++)
        if (b->cost[i].full > 0) least = fmin(least, b->cost[i].price);
    return least;
}

double budget_least(const budget *b, size_t first, size_t count)
{
    double sum = 0;
    for (size_t i = first; i < first + count; i++) sum += b->cost[i].full > 0 ? b->cost[i].least : 0;
    return sum;
}

/* The dearest row of the group that is not skipped, or NULL. */
static const row_cost *dearest(const budget *b, size_t first, size_t count, const bool *skip)
{
    const row_cost *most = NULL;
    for (size_t i = 0; i < count; i++) {
        const row_cost *c = &b->cost[first + i];
        if (c->full > 0 && !skip[i] && (most == NULL || c->least > most->least)) most = c;
    }
    return most;
}

double budget_again(budget *b, size_t first, size_t count, double left, double waiting, bool *skip)
{
    estimate(b, 0);
    double least = budget_least(b, first, count), full = 0;
    const row_cost *most;
    for (size_t i = 0; i < count; i++) skip[i] = false;
    while ((most = dearest(b, first, count, skip)) != NULL && least > left) {
        skip[most - &b->cost[first]] = true;
        least -= most->least - b->per_byte * most->bytes; /* the tensors remain */
    }
    if (most == NULL) return 0;
    for (size_t i = 0; i < count; i++)
        if (!skip[i]) full += b->cost[first + i].full;
    return fmin(fmax(full, least), fmax(least, left - waiting));
}

void budget_learn_overhead(budget *b, size_t first, size_t count, const bool *skip, double seconds,
                           double timed)
{
    /* Bytes of a group: below, the part per row decides. Not lower, for what mid-sized groups show beyond their
     * estimates is waits between thread pools, which do not grow with the bytes. */
    static const double large = 5e7;
    double bytes = 0, expected = 0;
    int rows = 0;
    for (size_t i = 0; i < count; i++) {
        const row_cost *c = &b->cost[first + i];
        if (skip[i] || c->full <= 0) continue;
        bytes += c->bytes;
        expected += c->fixed;
        rows++;
    }
    if (rows == 0) return;
    double beyond = seconds - timed - expected;
    double *learned = bytes < large ? &b->per_row : &b->per_byte;
    double seen = bytes < large ? beyond / rows : (beyond - rows * b->per_row) / bytes;
    /* Bounded, because a stall that made rows look unaffordable would never be corrected:
     * they would not run. */
    double most = bytes < large ? 0.03 : 6e-9;
    *learned = 0.7 * *learned + 0.3 * fmin(most, fmax(0, seen));
    b->estimated = 0;
}
