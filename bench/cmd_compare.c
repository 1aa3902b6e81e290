/* sepbench compare BASE HEAD: two programs measured in turns (the regression gate), or two stored runs. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "../harness/claim.h"
#include "../harness/cli.h"
#include "../harness/compare/gate.h"
#include "../harness/machine/machine.h"
#include "../harness/utc.h"
#include "../harness/worker/protocol.h"
#include "commands.h"
#include "select.h"

enum { KEY_OUT = 0x200, KEY_BUDGET, KEY_PAIRS, KEY_CONFIRM, KEY_SEED, KEY_MARGIN, KEY_ALL };

typedef struct {
    select_options select;
    gate_options gate;
    const char *out;
    double margin_percent; /* 0: by the machine */
    bool all;
    char *side[2];
    int sides;
    int code; /* of a bad value */
} compare_arguments;

static error_t parse_option(int key, char *arg, struct argp_state *state)
{
    compare_arguments *a = state->input;
    int64_t whole = 0;
    int code = EXIT_FINE;
    switch (key) {
    case ARGP_KEY_INIT: state->child_inputs[0] = &a->select; return 0;
    case KEY_OUT: a->out = arg; break;
    case KEY_BUDGET: code = cli_take_real("budget", arg, 5, 86400, &a->gate.budget); break;
    case KEY_PAIRS:
        code = cli_take_int("pairs", arg, 12, COMPARE_PAIRS_MAX, &whole);
        a->gate.pairs = (int)whole;
        break;
    case KEY_CONFIRM:
        code = cli_take_int("confirm", arg, 12, COMPARE_PAIRS_MAX, &whole);
        a->gate.confirm = (int)whole;
        break;
    case KEY_SEED:
        code = cli_take_int("seed", arg, 0, INT64_MAX, &whole);
        a->gate.seed = (uint64_t)whole;
        break;
    case KEY_MARGIN: code = cli_take_real("margin", arg, 0.1, 100, &a->margin_percent); break;
    case KEY_ALL: a->all = true; break;
    case ARGP_KEY_ARG:
        if (a->sides < 2)
            a->side[a->sides++] = arg;
        else
            select_take_problems(&a->select, state);
        break;
    default: return ARGP_ERR_UNKNOWN;
    }
    if (code != EXIT_FINE) a->code = code;
    return 0;
}

/* ---- the cases */

/* What base and head are both asked; one name once. */
static int take_cases(const selection *cases, compare_result *r)
{
    r->cases = calloc(cases->count, sizeof *r->cases);
    if (r->cases == NULL) return cli_error("no memory for %zu cases", cases->count);
    for (size_t i = 0; i < cases->count; i++) {
        compare_case *c = &r->cases[r->count];
        c->row = cases->rows[i];
        record_case_name(&c->row, c->name);
        size_t same = 0;
        while (strcmp(r->cases[same].name, c->name) != 0) same++;
        if (same < r->count) continue;
        if (c->row.reason[0] != '\0') { /* decided already */
            c->verdict = COMPARE_NOT_COMPARED;
            snprintf(c->reason, sizeof c->reason, "%s", c->row.reason);
        }
        r->count++;
    }
    r->threads = r->cases->row.threads;
    snprintf(r->suite, sizeof r->suite, "%s", r->cases->row.suite);
    return EXIT_FINE;
}

static int select_gate(const compare_arguments *a, compare_result *r)
{
    selection cases;
    int code = select_cases(&a->select, &cases);
    for (size_t i = 0; code == EXIT_FINE && i < cases.count; i++) {
        if (cases.rows[i].cache == CACHE_COLD)
            code = cli_error("compare: --cache cold: the gate measures warm calls only");
        else if (cases.rows[i].threads != cases.rows[0].threads)
            code = cli_error("compare: --threads %s: one number for all cases", a->select.threads);
    }
    if (code == EXIT_FINE) code = take_cases(&cases, r);
    if (code == EXIT_FINE && r->count > WORKER_CASES_MAX)
        code = cli_error("compare: %zu cases, at most %d", r->count, WORKER_CASES_MAX);
    select_free(&cases);
    return code;
}

/* ---- the two sides */

static int classify(const char *path, bool *folder)
{
    struct stat status;
    if (stat(path, &status) != 0) return -1;
    *folder = S_ISDIR(status.st_mode);
    return 0;
}

/* A base that is not there is no comparison; a head that is not there is a typing error. */
static int check_sides(const compare_arguments *a, bool *stored)
{
    bool folder[2];
    if (a->sides < 2) return cli_error("compare: BASE and HEAD are needed: two programs or two stored runs");
    for (int i = 0; i < 2; i++)
        if (classify(a->side[i], &folder[i]) != 0) {
            cli_error("%s '%s': %s", i == 0 ? "base" : "head", a->side[i], strerror(errno));
            return i == 0 ? EXIT_BASELINE : EXIT_USAGE;
        }
    if (folder[0] != folder[1])
        return cli_error("compare: '%s' is a folder, '%s' is not: two programs or two stored runs",
                         a->side[folder[0] ? 0 : 1], a->side[folder[0] ? 1 : 0]);
    *stored = folder[0];
    return EXIT_FINE;
}

/* ---- the end */

/* The job summary of GitHub Actions, which other steps write as well. */
static int append_summary(const compare_result *r)
{
    const char *path = getenv("GITHUB_STEP_SUMMARY");
    FILE *out = path != NULL ? fopen(path, "a") : NULL;
    if (path == NULL) return EXIT_FINE;
    if (out != NULL) compare_markdown(out, r);
    bool fine = out != NULL && fflush(out) == 0 && !ferror(out);
    int why = errno;
    if (out != NULL) fclose(out);
    return fine ? EXIT_FINE : cli_error("GITHUB_STEP_SUMMARY: %s: cannot be written: %s", path, strerror(why));
}

static int show(const compare_arguments *a, const compare_result *r)
{
    conv_error err;
    compare_print(stdout, r, a->all);
    if (getenv("GITHUB_ACTIONS") != NULL) compare_annotations(stdout, r);
    int code = compare_exit_code(r), written = append_summary(r);
    claim folder;
    if (a->out != NULL) {
        bool fine = claim_folder(&folder, a->out, true, &err) && compare_write(a->out, r, &err);
        if (!fine) written = cli_error("%s", err.text);
        claim_drop(&folder);
    }
    return code != EXIT_FINE ? code : written;
}

static int run(const compare_arguments *a, compare_result *r)
{
    bool stored = false;
    utc_text(time(NULL), UTC_STAMP, r->started, sizeof r->started);
    r->margin_floor = a->margin_percent / 100;
    int code = check_sides(a, &stored);
    if (code != EXIT_FINE) return code;
    snprintf(r->base.path, sizeof r->base.path, "%s", a->side[0]);
    snprintf(r->head.path, sizeof r->head.path, "%s", a->side[1]);
    if (stored) {
        code = compare_stored(a->side[0], a->side[1], r);
    } else {
        code = select_gate(a, r);
        if (code == EXIT_FINE) code = gate_run(&a->gate, r);
    }
    return code == EXIT_FINE ? show(a, r) : code;
}

int cmd_compare(int argc, char **argv)
{
    static const struct argp_option options[] = {
        {"out", KEY_OUT, "DIR", 0, "also write compare.csv, compare.json and compare.md there", 0},
        {"budget", KEY_BUDGET, "SECONDS", 0, "for everything (default 120)", 0},
        {"pairs", KEY_PAIRS, "N", 0, "rounds of the screen, one pair of a case in each (default 40)", 0},
        {"confirm", KEY_CONFIRM, "N", 0, "rounds in which a flagged case is measured again (default 32)", 0},
        {"margin", KEY_MARGIN, "PERCENT", 0,
         "slower by less than that is no regression (default 3, on a shared machine 5; noise may raise it)", 0},
        {"seed", KEY_SEED, "N", 0, "of the order (default: the time)", 0},
        {"all", KEY_ALL, NULL, 0, "print the unchanged cases too", 0},
        {0}};
    static const struct argp_child children[] = {{&select_argp, 0, NULL, 0}, {0}};
    static const struct argp argp = {
        .options = options,
        .parser = parse_option,
        .args_doc = "BASE HEAD [PROBLEM...]",
        .doc =
            "Is HEAD slower than BASE? Two programs are run in turns over the suite sentinel, or what is "
            "chosen "
            "below, each case verified first; what looks slower is measured again with fresh processes, and "
            "only "
            "what is slower then counts. Two folders of stored runs are compared by their intervals, which is "
            "weaker: a drift of the machine between the runs looks like a change."
            "\vExit: 0 fine, 1 confirmed regression, 2 usage, 3 head computes something wrongly, 4 too noisy "
            "to "
            "tell, 5 base is missing or not comparable.",
        .children = children};
    compare_arguments a = {.select.default_suite = "sentinel",
                           .gate = {.budget = 120, .pairs = 40, .confirm = 32, .seed = (uint64_t)time(NULL)}};
    if (cli_parse(&argp, argc, argv, &a) != 0 || a.code != EXIT_FINE) return EXIT_USAGE;
    compare_result *r = calloc(1, sizeof *r);
    if (r == NULL) return cli_error("no memory");
    int code = run(&a, r);
    free(r->cases);
    free(r);
    return code;
}
