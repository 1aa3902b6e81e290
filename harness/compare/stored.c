/* Two stored runs: medians and their intervals, case by case. The runs lie hours or days apart, so whatever the
 * machine did in between looks like a change of the code; the gate, which runs both in turns, has no such
 * doubt. */
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "../cli.h"
#include "../json.h"
#include "gate.h"

static void describe_side(const record_run *run, compare_side *side)
{
    const json_t *build = json_object_get(json_object_get(run->run, "machine"), "build");
    snprintf(side->build, sizeof side->build, "%s", json_text(build, "id", "unknown"));
    snprintf(side->compiler, sizeof side->compiler, "%s", json_text(build, "compiler", "unknown"));
    snprintf(side->kernels, sizeof side->kernels, "%s", json_text(build, "kernels", ""));
    snprintf(side->inject, sizeof side->inject, "%s", json_text(build, "inject", ""));
    snprintf(side->commit, sizeof side->commit, "%s", json_text(run->run, "commit", "unknown"));
    side->dirty = json_is_true(json_object_get(run->run, "dirty"));
}

static int refuse(const char *what, const char *base, const char *head)
{
    cli_error("the runs are not comparable: %s is '%s' in base, '%s' in head", what, base, head);
    return EXIT_BASELINE;
}

static int check_comparable(const record_run *base, const record_run *head)
{
    char first[RECORD_WORD_MAX], second[RECORD_WORD_MAX];
    const char *what = record_machine_differs(base, head, first, second);
    return what != NULL ? refuse(what, first, second) : EXIT_FINE;
}

/* Any true ratio inside both medians' intervals lies between these bounds, so they cover it at least as often
 * as both intervals cover their medians: 90%. */
static void compare_rows(const record_row *base, const record_row *head, compare_case *c)
{
    c->base_ns = base->median_ns;
    c->head_ns = head->median_ns;
    c->ratio = head->median_ns / base->median_ns;
    c->low = head->ci95_low_ns / base->ci95_high_ns;
    c->high = head->ci95_high_ns / base->ci95_low_ns;
    if (isfinite(c->low) && isfinite(c->high)) return;
    c->low = 0; /* fewer than six repetitions: no interval */
    c->high = INFINITY;
}

static void fill_case(const record_row *base, const record_row *head, compare_case *c)
{
    c->row = *head;
    c->base_ns = c->head_ns = c->ratio = c->low = c->high = c->catchable = NAN;
    c->p_screen = c->p_confirm = 1;
    record_case_name(head, c->name);
    if (head->status == CASE_WRONG) {
        c->verdict = COMPARE_WRONG;
        snprintf(c->reason, sizeof c->reason, "%s", head->reason);
        record_repro(head, c->repro, sizeof c->repro);
    } else if (base == NULL || base->status != CASE_OK || head->status != CASE_OK) {
        c->verdict = COMPARE_NOT_COMPARED;
        snprintf(c->reason, sizeof c->reason, "base %s, head %s",
                 base ? case_status_name(base->status) : "does not have it", case_status_name(head->status));
    } else {
        compare_rows(base, head, c);
    }
}

static int fill_result(const record_run *base, const record_run *head, compare_result *r)
{
    const json_t *machine = json_object_get(head->run, "machine");
    size_t common = 0;
    r->cases = calloc(head->count ? head->count : 1, sizeof *r->cases);
    if (r->cases == NULL) return cli_error("no memory for %zu cases", head->count);
    for (size_t i = 0; i < head->count; i++) {
        char name[CASE_NAME_MAX];
        const record_row *row = record_find(base, record_case_name(&head->rows[i], name));
        if (row == NULL && head->rows[i].status != CASE_OK) continue;
        common += row != NULL;
        fill_case(row, &head->rows[i], &r->cases[r->count++]);
    }
    describe_side(base, &r->base);
    describe_side(head, &r->head);
    r->kernels_identical = r->base.kernels[0] != '\0' && strcmp(r->base.kernels, r->head.kernels) == 0;
    snprintf(r->cpu, sizeof r->cpu, "%s", json_text(machine, "cpu", "unknown"));
    snprintf(r->host, sizeof r->host, "%s", json_text(machine, "host", "unknown"));
    snprintf(r->isa, sizeof r->isa, "%s", json_text(machine, "isa_allowed", "unknown"));
    r->threads = record_most_threads(head);
    if (common > 0) return EXIT_FINE;
    cli_error("the runs are not comparable: they have no case in common");
    return EXIT_BASELINE;
}

/* A base that is not there is missing; one that is there and cannot be read is an error like any other. */
static bool holds_run(const char *dir)
{
    char path[4400];
    snprintf(path, sizeof path, "%s/run.json", dir);
    return access(path, F_OK) == 0;
}

int compare_stored(const char *base_dir, const char *head_dir, compare_result *r)
{
    record_run base = {0}, head = {0};
    conv_error err = {""};
    int code = EXIT_FINE;
    r->kind = COMPARE_STORED;
    r->shared_runner = true; /* hours lie between the two: nobody knows who else was there */
    if (!record_load_kind(base_dir, RECORD_IS(RECORD_BENCH), &base, &err)) {
        cli_error("base: %s", err.text);
        code = holds_run(base_dir) ? EXIT_USAGE : EXIT_BASELINE;
    } else if (!record_load_kind(head_dir, RECORD_IS(RECORD_BENCH), &head, &err)) {
        code = cli_error("head: %s", err.text);
    }
    if (code == EXIT_FINE) code = check_comparable(&base, &head);
    if (code == EXIT_FINE) code = fill_result(&base, &head, r);
    if (code == EXIT_FINE) compare_judge(r);
    record_free(&base);
    record_free(&head);
    return code;
}
