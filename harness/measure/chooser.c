#include "chooser.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../cli.h"
#include "../grow.h"
#include "../machine/machine.h"
#include "contest.h"
#include "internal.h"

/* Oracle work for the contests of one problem and pass. */
static const double ORACLE_FLOPS = 1e6;

struct chooser {
    wisdom *wisdom;
    void (*on_part)(void *ctx, const char *name);
    void *ctx;
    json_t *seen;    /* names of all parts with several strategies */
    json_t *pending; /* of those without a contest: seconds it needs, about */
    double left;
    chooser_counts counts;
};

chooser *chooser_create(wisdom *w, void (*on_part)(void *ctx, const char *name), void *ctx)
{
    chooser *c = calloc(1, sizeof *c);
    if (c == NULL) return NULL;
    *c =
        (chooser){.wisdom = w, .on_part = on_part, .ctx = ctx, .seen = json_object(), .pending = json_object()};
    return c;
}

void chooser_destroy(chooser *c)
{
    if (c == NULL) return;
    json_decref(c->seen);
    json_decref(c->pending);
    free(c);
}

/* ---- who needs a contest */

static bool is_pending(const record_row *row) { return row->status == CASE_SKIPPED && row->reason[0] == '\0'; }

static int pending_parts(const record_row *row, atomic_part *parts)
{
    return is_pending(row) ? parts_of_row(row, parts) : 0;
}

/* What budget.c knows speeds of. */
static record_row row_of(const atomic_part *part, int threads)
{
    record_row row = {.problem = part->problem,
                      .pass = part->pass,
                      .threads = threads,
                      .cache = CACHE_WARM,
                      .isa = conv_isa(part->impl)};
    snprintf(row.impl, sizeof row.impl, "%s", part->impl->name);
    return row;
}

/* Planning, packing and comparing move each tensor a few times, at about 1 GB/s and up. */
static double needed_seconds(const atomic_part *part, int threads, int candidates)
{
    const record_row row = row_of(part, threads);
    double call = budget_call_seconds(&row),
           each = 0.001 + 1e-9 * (double)conv_bytes_min(&row.problem, row.pass);
    double calls = call < CONTEST_LONG_CALL ? call + 5 * (call + fmax(call, CONTEST_TURN)) : 1.3 * call;
    return candidates * (each + calls);
}

bool chooser_add(chooser *c, const record_row *row)
{
    atomic_part parts[PARTS_MAX];
    int count = wisdom_measures(c->wisdom) ? pending_parts(row, parts) : 0;
    for (int i = 0; i < count; i++) {
        char name[PART_NAME_MAX];
        conv_candidates candidates;
        wisdom_entry found;
        part_candidates(&parts[i], row->threads, &candidates);
        part_name(&parts[i], row->threads, name);
        if (candidates.count < 2 || json_object_get(c->seen, name) != NULL) continue;
        if (json_object_set_new(c->seen, name, json_true()) != 0) return false;
        c->counts.parts++;
        if (wisdom_recall(c->wisdom, &parts[i], row->threads, &found)) {
            c->counts.known++;
            continue;
        }
        json_t *seconds = json_real(needed_seconds(&parts[i], row->threads, candidates.count));
        if (json_object_set_new(c->pending, name, seconds) != 0) return false;
    }
    return true;
}

void chooser_limit(chooser *c, double seconds)
{
    double all = fmax(CHOOSER_LEAST, CHOOSER_PART * (double)json_object_size(c->pending));
    c->left = seconds > 0 ? fmin(seconds, all) : all;
}

/* ---- time */

static double sum_of(const chooser *c, double most)
{
    const char *name;
    json_t *seconds;
    double sum = 0;
    json_object_foreach(c->pending, name, seconds) sum += fmin(most, json_real_value(seconds));
    return sum;
}

double chooser_left(const chooser *c) { return fmax(0, fmin(c->left, sum_of(c, INFINITY))); }

/* Seconds that a part may have now. Where there is more than all need, one that needs more has twice what
 * was expected. */
static double share_of(const chooser *c, const char *name)
{
    double all = sum_of(c, INFINITY), needed = json_real_value(json_object_get(c->pending, name));
    double low = 0, high = c->left;
    if (all <= c->left) return needed + fmin(needed, c->left - all);
    for (int i = 0; i < 40; i++) {
        double middle = (low + high) / 2;
        *(sum_of(c, middle) <= c->left ? &low : &high) = middle;
    }
    return low;
}

/* ---- contests */

typedef struct {
    atomic_part part;
    char name[PART_NAME_MAX], problem[PART_NAME_MAX];
} wanted;

static void fill_wanted(wanted *w, const atomic_part *part, const char *name)
{
    atomic_part any = *part;
    any.pass = CONV_FORWARD;
    w->part = *part;
    strcpy(w->name, name);
    char full[PART_NAME_MAX];
    strcpy(w->problem, part_name(&any, 1, full) + strlen(part->impl->name));
}

/* One problem and pass after the other, so that the oracle's work is shared; what a part rests on comes
 * before it. */
static int compare(const void *a, const void *b)
{
    const wanted *x = a, *y = b;
    int problem = strcmp(x->problem, y->problem);
    if (problem != 0) return problem;
    bool x_last = x->part.pass == CONV_BACKWARD, y_last = y->part.pass == CONV_BACKWARD;
    if (x_last != y_last) return x_last - y_last;
    return x->part.pass != y->part.pass ? (int)x->part.pass - (int)y->part.pass : strcmp(x->name, y->name);
}

static wanted *list_wanted(const chooser *c, const record_row *rows, const bool *skip, size_t rows_count,
                           size_t *count)
{
    wanted *list = NULL;
    *count = 0;
    for (size_t r = 0; r < rows_count; r++) {
        atomic_part parts[PARTS_MAX];
        int n = skip != NULL && skip[r] ? 0 : pending_parts(&rows[r], parts);
        for (int i = 0; i < n; i++) {
            char name[PART_NAME_MAX];
            if (json_object_get(c->pending, part_name(&parts[i], rows->threads, name)) == NULL) continue;
            wanted *added = grow(&list, count, sizeof *added);
            if (added == NULL) return list;
            fill_wanted(added, &parts[i], name);
        }
    }
    if (*count > 0) qsort(list, *count, sizeof *list, compare);
    return list;
}

/* Every row that has the part. */
static void blame(const wanted *of, const contest_result *result, const conv_error *err, record_row *rows,
                  size_t count)
{
    for (size_t r = 0; r < count; r++) {
        atomic_part parts[PARTS_MAX];
        char name[PART_NAME_MAX];
        int n = pending_parts(&rows[r], parts);
        bool has = false;
        for (int i = 0; i < n; i++)
            has = has || strcmp(part_name(&parts[i], rows->threads, name), of->name) == 0;
        if (!has) continue;
        rows[r].status = result->wrong ? CASE_WRONG : CASE_FAILED;
        snprintf(rows[r].reason, sizeof rows[r].reason, "%.*s", (int)sizeof rows[r].reason - 1, err->text);
    }
}

/* The reference is made for whoever comes first of a problem and pass, and kept for those that follow. */
typedef struct {
    verify_reference *reference;
    const wanted *of;
} shared_reference;

static bool prepare(shared_reference *s, const wanted *next)
{
    const verify_options options = {.kind = FILL_REALS, .seed = 1, .budget_flops = ORACLE_FLOPS};
    const conv_problem *p = &next->part.problem;
    if (s->of != NULL && s->of->part.pass == next->part.pass && strcmp(s->of->problem, next->problem) == 0)
        return s->reference != NULL;
    verify_release(s->reference);
    *s = (shared_reference){.of = next};
    conv_error err;
    return conv_tensors_fit(p, next->part.pass, &err) == CONV_OK &&
           verify_prepare(p, next->part.pass, &options, &s->reference, &err) == CONV_OK;
}

/* False: an error of the implementation. */
static bool hold(chooser *c, shared_reference *s, const wanted *next, int threads, contest_result *result,
                 conv_error *err)
{
    const conv_context context = machine_context(threads);
    const record_row row = row_of(&next->part, threads);
    double share = share_of(c, next->name), start = machine_now();
    *result = (contest_result){0};
    json_object_del(c->pending, next->name);
    if (budget_call_seconds(&row) > share) return true;
    if (c->on_part != NULL) c->on_part(c->ctx, next->name);
    if (!prepare(s, next)) return true;
    double prepared = machine_now() - start;
    conv_status status = contest_run(&next->part, &context, s->reference, share - prepared, result, err);
    c->left -= machine_now() - start;
    c->counts.seconds += machine_now() - start;
    if (status == CONV_OK && result->measured) {
        const wisdom_entry found = {result->candidates.list[result->winner], result->ns, result->model_ns};
        wisdom_learn(c->wisdom, &next->part, threads, &found);
        budget_learn(&row, 1e-9 * result->ns);
        c->counts.chosen++;
    }
    return status == CONV_OK || status == CONV_NO_MEMORY;
}

void chooser_run(chooser *c, record_row *rows, const bool *skip, size_t count)
{
    size_t wanted_count;
    shared_reference shared = {0};
    wanted *list = list_wanted(c, rows, skip, count, &wanted_count);
    for (size_t i = 0; i < wanted_count && !cli_interrupted(); i++) {
        contest_result result;
        conv_error err = {""};
        if (json_object_get(c->pending, list[i].name) == NULL) continue; /* another row's too */
        if (!hold(c, &shared, &list[i], rows->threads, &result, &err))
            blame(&list[i], &result, &err, rows, count);
    }
    verify_release(shared.reference);
    free(list);
    wisdom_save(c->wisdom);
    for (size_t r = 0; r < count; r++)
        if (is_pending(&rows[r])) wisdom_describe(c->wisdom, &rows[r]);
}

chooser_counts chooser_so_far(const chooser *c) { return c->counts; }
