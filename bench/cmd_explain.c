/* sepbench explain CASE: what limits a case, and what changing one thing at a time shows; --waterfall: where
 * the promise of the multiplications goes in a run. */
#include <string.h>

#include "../harness/cli.h"
#include "../harness/explain/explain.h"
#include "../harness/measure/chooser.h"
#include "../harness/worker/engines.h"
#include "bench.h"
#include "commands.h"
#include "select.h"
#include "strategies.h"

enum { KEY_BUDGET = 0x200, KEY_WATERFALL, KEY_RUN, KEY_FRESH };

typedef struct {
    select_options select;
    strategy_words strategy;
    double budget;
    bool waterfall, fresh;
    const char *run;
    int code; /* of a bad value */
} explain_arguments;

static error_t parse_option(int key, char *arg, struct argp_state *state)
{
    explain_arguments *a = state->input;
    switch (key) {
    case ARGP_KEY_INIT:
        state->child_inputs[0] = &a->select;
        state->child_inputs[1] = &a->strategy;
        return 0;
    case KEY_BUDGET:
        if (!cli_parse_real(arg, 1, 1e6, &a->budget))
            a->code = cli_error("--budget: '%s' is not a number from 1 to 1e6", arg);
        return 0;
    case KEY_WATERFALL: a->waterfall = true; return 0;
    case KEY_RUN: a->run = arg; return 0;
    case KEY_FRESH: a->fresh = true; return 0;
    case ARGP_KEY_ARG:
        state->next--; /* all the rest at once */
        a->select.problems = state->argv + state->next;
        a->select.problem_count = state->argc - state->next;
        state->next = state->argc;
        return 0;
    default: return ARGP_ERR_UNKNOWN;
    }
}

/* ---- a case's name as options */

enum { NAME_PARTS = 7 }; /* variant/pass/impl/problem/layout/threads/cache */

typedef struct {
    char text[CASE_NAME_MAX], problem[CASE_NAME_MAX];
    char *part[NAME_PARTS], *problems[1];
} case_words;

/* Fills the options from a case name: select_cases then checks every word. */
static int parse_case(const char *name, case_words *w, select_options *o)
{
    int parts = 0;
    char *save = NULL;
    if (o->variants != NULL || o->passes != NULL || o->impls != NULL || o->threads != NULL ||
        o->layouts != NULL || o->caches != NULL || o->bias || o->post_op != CONV_POST_NONE)
        return cli_error("'%s' is a case's name, which says all that the other options would", name);
    if ((size_t)snprintf(w->text, sizeof w->text, "%s", name) < sizeof w->text) {
        for (char *p = strtok_r(w->text, "/", &save); p != NULL; p = strtok_r(NULL, "/", &save), parts++)
            if (parts < NAME_PARTS) w->part[parts] = p;
    }
    if (parts != NAME_PARTS || w->part[5][0] != 't')
        return cli_error(
            "'%.200s' is no case: one is separable/forward/avx2/mb1ic64ih28oc64kh3ph1/nhwc/t2/warm, "
            "as column 'case' of results.csv has it",
            name);
    o->layouts = strtok_r(w->part[4], "+", &save);
    for (char *extra; (extra = strtok_r(NULL, "+", &save)) != NULL;) {
        if (strcmp(extra, "bias") == 0)
            o->bias = true;
        else if (!conv_post_op_parse(extra, &o->post_op) || o->post_op == CONV_POST_NONE)
            return cli_error("'%s' after the layout of a case: must be bias, relu or relu6", extra);
    }
    snprintf(w->problem, sizeof w->problem, "%s:%s", w->part[0], w->part[3]);
    w->problems[0] = w->problem;
    o->problems = w->problems;
    o->problem_count = 1;
    o->variants = w->part[0];
    o->passes = w->part[1];
    o->impls = w->part[2];
    o->threads = w->part[5] + 1;
    o->caches = w->part[6];
    return EXIT_FINE;
}

/* The one case that is meant. */
static int choose_case(explain_arguments *a, record_row *row)
{
    case_words words;
    selection cases;
    char name[CASE_NAME_MAX];
    if (a->select.problem_count != 1)
        return cli_error("%s: 'sepbench explain CASE' explains one case",
                         a->select.problem_count == 0 ? "no case is given" : "more than one word is given");
    const char *text = a->select.problems[0];
    int code = strchr(text, '/') != NULL ? parse_case(text, &words, &a->select) : EXIT_FINE;
    if (code != EXIT_FINE) return code;
    if (a->select.passes == NULL) a->select.passes = "forward";
    code = select_cases(&a->select, &cases);
    if (code != EXIT_FINE) return code;
    *row = cases.rows[0];
    if (cases.count > 1)
        code = cli_error("%zu cases are meant, %s the first: --impl, --pass, --threads choose one", cases.count,
                         record_case_name(row, name));
    select_free(&cases);
    return code;
}

/* ---- */

/* The contests that the case needs, within a part of the budget. */
static void choose_strategies(const explain_arguments *a, wisdom *w, record_row *row)
{
    static const double contests = 0.1;
    chooser *c = chooser_create(w, NULL, NULL);
    if (c == NULL || !chooser_add(c, row)) {
        cli_warning("no memory to choose strategies");
    } else {
        chooser_limit(c, contests * a->budget);
        chooser_run(c, row, NULL, 1);
    }
    chooser_destroy(c);
}

static int explain_row(const explain_arguments *a, wisdom *w, record_row *row)
{
    char name[CASE_NAME_MAX];
    machine_ceilings ceilings;
    wisdom_refuse(w, row);
    if (engines_elsewhere(conv_find(row->impl, row->problem.variant)))
        snprintf(row->reason, sizeof row->reason,
                 "it runs in a process of its own, which cannot be looked into");
    if (row->reason[0] == '\0') {
        int code = machine_need_threads(row->threads);
        if (code != EXIT_FINE) return code;
        ceilings = machine_measure_ceilings(row->threads, a->fresh);
        if (!wisdom_by_number(w)) machine_use_ceilings(&ceilings);
        choose_strategies(a, w, row);
    }
    if (row->reason[0] == '\0') {
        const explain_options options = {bench_loop, NULL, &ceilings, a->budget};
        explain_case(stdout, row, &options);
    }
    machine_use_ceilings(NULL);
    if (cli_interrupted()) return cli_signal_exit_code();
    if (row->status == CASE_OK) return EXIT_FINE;
    cli_error("%s: %s: %s", record_case_name(row, name), case_status_name(row->status), row->reason);
    return row->status == CASE_WRONG ? EXIT_WRONG : EXIT_INVALID;
}

static int explain_one(explain_arguments *a)
{
    record_row row;
    wisdom *w = NULL;
    int code = choose_case(a, &row);
    if (code == EXIT_FINE) code = strategies_open(&a->strategy, &w);
    if (code != EXIT_FINE) return code;
    cli_catch_signals();
    code = explain_row(a, w, &row);
    strategies_close(w);
    return code;
}

static int explain_waterfalls(const explain_arguments *a)
{
    record_run run;
    conv_error err = {""};
    if (a->select.problem_count > 0) return cli_error("--waterfall is about a run: no case beside it");
    if (!record_load(a->run, &run, &err)) return cli_error("%s", err.text);
    int found = explain_run_waterfalls(stdout, &run, &err);
    if (found < 0) cli_error("%s", err.text);
    if (found == 0) cli_error("%s compares dense and separable convolutions nowhere", run.dir);
    record_free(&run);
    return found > 0 ? EXIT_FINE : EXIT_INVALID;
}

int cmd_explain(int argc, char **argv)
{
    static const struct argp_option options[] = {
        {NULL, 0, NULL, 0, "How:", 2},
        {"budget", KEY_BUDGET, "SECONDS", 0, "for measuring, the machine's ceilings apart (default 20)", 0},
        {"fresh", KEY_FRESH, NULL, 0, "measure the machine's ceilings again (remembered for a day)", 0},
        {"waterfall", KEY_WATERFALL, NULL, 0,
         "of a stored run: from the promised ratio to the speedup, step by step", 0},
        {"run", KEY_RUN, "DIR", 0, "which run (default: results/latest)", 0},
        {0}};
    static const struct argp_child children[] = {
        {&select_argp, 0, NULL, 0}, {&strategies_argp, 0, NULL, 0}, {0}};
    static const struct argp argp = {
        options,
        parse_option,
        "CASE",
        "Says why a case takes as long as it does: the time that each limit alone would take, then the case "
        "against itself with one thing changed at a time. CASE is a name from results.csv, as "
        "depthwise/forward/avx2/g512mb1ic512ih28oc512kh3ph1/nhwc/t2/warm, or a problem with --impl and "
        "--pass. A separable case also shows where the promise of its multiplications goes."
        "\vExit: 0 explained, 2 usage, 3 the case computes wrongly, 4 it could not be measured.",
        children,
        NULL,
        NULL};
    explain_arguments a = {.budget = 20};
    if (cli_parse(&argp, argc, argv, &a) != 0) return EXIT_USAGE;
    if (a.code != EXIT_FINE) return a.code;
    if (a.run != NULL && !a.waterfall) return cli_error("--run: only with --waterfall");
    return a.waterfall ? explain_waterfalls(&a) : explain_one(&a);
}
