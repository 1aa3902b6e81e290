/* sepbench verify: the cases that bench would time, each against the oracle, one line per case. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../harness/cli.h"
#include "../harness/json.h"
#include "../harness/machine/machine.h"
#include "../harness/measure/verify.h"
#include "../harness/worker/engines.h"
#include "../harness/worker/protocol.h"
#include "commands.h"
#include "select.h"
#include "strategies.h"

enum { KEY_ORACLE = 0x200, KEY_SEED, KEY_QUIET };

typedef struct {
    select_options select;
    strategy_words strategy;
    double oracle_gflop;
    int64_t seed;
    bool quiet;
    int code; /* of a bad value */
} verify_arguments;

static error_t parse_option(int key, char *arg, struct argp_state *state)
{
    verify_arguments *a = state->input;
    int code = EXIT_FINE;
    switch (key) {
    case ARGP_KEY_INIT:
        state->child_inputs[0] = &a->select;
        state->child_inputs[1] = &a->strategy;
        return 0;
    case KEY_ORACLE: code = cli_take_real("oracle", arg, 0, 1e9, &a->oracle_gflop); break;
    case KEY_SEED: code = cli_take_int("seed", arg, 0, INT64_MAX, &a->seed); break;
    case KEY_QUIET: a->quiet = true; break;
    case ARGP_KEY_ARG: select_take_problems(&a->select, state); break;
    default: return ARGP_ERR_UNKNOWN;
    }
    if (code != EXIT_FINE) a->code = code;
    return 0;
}

/* ---- one group */

/* What is checked of a case: whole numbers must come out exactly, real ones within their bound, and gradients
 * also when they are added to what is there. */
static const struct {
    const char *name;
    fill_kind kind;
    bool accumulate;
} checks[] = {{"integers", FILL_INTEGERS, false},
              {"reals", FILL_REALS, false},
              {"integers, accumulated", FILL_INTEGERS, true}};

enum { CHECKS = sizeof checks / sizeof *checks };

static const double WORKER_SECONDS = 600; /* for one check */

typedef struct {
    case_status status;
    const char *check; /* that failed */
    char text[256];    /* why not ok */
    int64_t values;    /* compared, in all checks */
    double error;      /* largest of the real ones */
} outcome;

typedef struct {
    const verify_arguments *arguments;
    outcome *outcomes; /* room for the rows of the largest group */
    int of_status[CASE_STATUS_COUNT];
    int bound_threads;
    char no_pool[256]; /* why that many threads are not to be had; empty when they are */
} session;

static void set_outcome(outcome *o, case_status status, const char *check, const char *text)
{
    o->status = status;
    o->check = check;
    snprintf(o->text, sizeof o->text, "%s", text);
}

static void check_row(verify_reference *reference, int check, const record_row *row, outcome *o)
{
    conv_context context = machine_context(row->threads);
    verify_result result = {0};
    conv_error err = {""};
    conv_status status =
        verify_against(reference, conv_find(row->impl, row->problem.variant), &context, &result, &err);
    if (status != CONV_OK) {
        set_outcome(o, case_status_of(status), checks[check].name, err.text);
    } else if (!result.ok) {
        set_outcome(o, CASE_WRONG, checks[check].name, result.where);
    } else {
        o->values += result.checked;
        if (checks[check].kind == FILL_REALS) o->error = result.max_abs_error;
    }
}

static void print_outcome(const record_row *row, const outcome *o, const verify_arguments *a)
{
    static const char bench[] = "sepbench bench";
    char name[CASE_NAME_MAX], repro[CASE_NAME_MAX + 128];
    record_case_name(row, name);
    if (o->status == CASE_OK) {
        if (!a->quiet)
            printf("ok       %s: %lld values, error at most %.2g\n", name, (long long)o->values, o->error);
    } else if (o->status == CASE_WRONG) {
        record_repro(row, repro, sizeof repro);
        printf("WRONG    %s: %s: %s\n         repro: sepbench verify%s --seed %lld\n", name, o->check, o->text,
               repro + sizeof bench - 1, (long long)a->seed);
    } else if (o->status != CASE_REFUSED || !a->quiet) {
        printf("%-9s%s: %s\n", case_status_name(o->status), name, o->text);
    }
}

/* The same in a worker, which has an oracle of its own. */
static void check_elsewhere(int check, const verify_arguments *a, const record_row *row, outcome *o)
{
    conv_error err = {""};
    json_t *request = protocol_case(row);
    json_object_update_new(request, json_pack("{s:s, s:s, s:I, s:f, s:b}", "do", "check", "kind",
                                              checks[check].kind == FILL_REALS ? "reals" : "integers", "seed",
                                              (json_int_t)a->seed, "flops", 1e9 * a->oracle_gflop, "accumulate",
                                              (int)checks[check].accumulate));
    json_t *reply =
        engines_ask(conv_find(row->impl, row->problem.variant), row->threads, request, WORKER_SECONDS, &err);
    if (reply == NULL) {
        set_outcome(o, CASE_FAILED, checks[check].name, err.text);
    } else if (protocol_status(reply) != CASE_OK) {
        set_outcome(o, protocol_status(reply), checks[check].name, json_text(reply, "reason", ""));
    } else {
        o->values += json_integer_value(json_object_get(reply, "values"));
        if (checks[check].kind == FILL_REALS)
            o->error = json_number_value(json_object_get(reply, "max_abs_error"));
    }
    json_decref(reply);
}

/* One reference at a time: the oracle's work is shared by the group's implementations, its memory is not. */
static void verify_group(const record_row *rows, size_t count, session *s)
{
    const verify_arguments *a = s->arguments;
    for (size_t i = 0; i < count; i++) {
        s->outcomes[i] = (outcome){.status = CASE_OK};
        if (rows[i].reason[0] != '\0') /* decided already */
            set_outcome(&s->outcomes[i], rows[i].status, NULL, rows[i].reason);
        else if (s->no_pool[0] != '\0')
            set_outcome(&s->outcomes[i], CASE_FAILED, NULL, s->no_pool);
    }
    for (int c = 0; c < CHECKS && !cli_interrupted(); c++) {
        bool gradients = rows->pass == CONV_BACKWARD || rows->pass == CONV_BACKWARD_WEIGHTS;
        if (checks[c].accumulate && !gradients) continue;
        verify_options options = {checks[c].kind, (uint64_t)a->seed, 1e9 * a->oracle_gflop,
                                  checks[c].accumulate};
        verify_reference *reference = NULL;
        conv_error err = {""};
        conv_status status = verify_prepare(&rows->problem, rows->pass, &options, &reference, &err);
        for (size_t i = 0; i < count && !cli_interrupted(); i++) {
            if (s->outcomes[i].status != CASE_OK) continue;
            if (engines_elsewhere(conv_find(rows[i].impl, rows[i].problem.variant)))
                check_elsewhere(c, a, &rows[i], &s->outcomes[i]);
            else if (status == CONV_OK)
                check_row(reference, c, &rows[i], &s->outcomes[i]);
            else
                set_outcome(&s->outcomes[i], case_status_of(status), checks[c].name, err.text);
        }
        verify_release(reference);
    }
    if (cli_interrupted()) return; /* half a case is none */
    for (size_t i = 0; i < count; i++) {
        print_outcome(&rows[i], &s->outcomes[i], a);
        s->of_status[s->outcomes[i].status]++;
    }
    fflush(stdout);
}

static void bind_pool(session *s, int threads)
{
    char why[sizeof s->no_pool];
    threads_state state = machine_bind_threads(threads, why, sizeof why);
    if (state == THREADS_UNBOUND) cli_warning("%s", why);
    snprintf(s->no_pool, sizeof s->no_pool, "%s", state == THREADS_FEWER ? why : "");
    s->bound_threads = threads;
}

static void verify_cases(const selection *cases, session *s)
{
    for (size_t first = 0, end; first < cases->count && !cli_interrupted(); first = end) {
        const record_row *row = &cases->rows[first];
        if (row->threads != s->bound_threads) bind_pool(s, row->threads);
        end = select_group_end(cases, first);
        verify_group(row, end - first, s);
    }
}

int cmd_verify(int argc, char **argv)
{
    static const struct argp_option options[] = {
        {"oracle", KEY_ORACLE, "GFLOP", 0,
         "work of the oracle per check; beyond it a sample of outputs is compared (default 0.2; 0: every "
         "output)",
         0},
        {"seed", KEY_SEED, "N", 0, "of the data (default 1)", 0},
        {"quiet", KEY_QUIET, NULL, 0, "only what is wrong, and the last line", 0},
        {0}};
    static const struct argp_child children[] = {
        {&select_argp, 0, NULL, 0}, {&strategies_argp, 0, NULL, 0}, {0}};
    static const struct argp argp = {.options = options,
                                     .parser = parse_option,
                                     .args_doc = "[PROBLEM...]",
                                     .doc =
                                         "Checks every implementation against a double-precision oracle: on "
                                         "whole numbers bit for bit, on real "
                                         "ones within a bound. Without a selection, the suite smoke."
                                         "\vExit: 0 all right, 3 something wrong, 4 nothing could be checked.",
                                     .children = children};
    verify_arguments a = {.oracle_gflop = 0.2, .seed = 1, .select.default_suite = "smoke"};
    if (cli_parse(&argp, argc, argv, &a) != 0 || a.code != EXIT_FINE) return EXIT_USAGE;
    selection cases;
    int code = select_cases(&a.select, &cases);
    if (code != EXIT_FINE) return code;

    wisdom *w = NULL;
    session s = {.arguments = &a, .outcomes = calloc(cases.count, sizeof(outcome))};
    code = s.outcomes == NULL ? cli_error("no memory for %zu cases", cases.count)
                              : strategies_open(&a.strategy, &w);
    if (code != EXIT_FINE) goto done;
    for (size_t i = 0; i < cases.count; i++) {
        wisdom_refuse(w, &cases.rows[i]);
        if (cases.rows[i].reason[0] == '\0') wisdom_describe(w, &cases.rows[i]);
    }
    cli_announce_stop();
    cli_catch_signals();
    verify_cases(&cases, &s);
    printf("%zu cases: %d ok, %d wrong, %d failed, %d refused, %d skipped for lack of memory%s\n", cases.count,
           s.of_status[CASE_OK], s.of_status[CASE_WRONG], s.of_status[CASE_FAILED], s.of_status[CASE_REFUSED],
           s.of_status[CASE_SKIPPED], cli_interrupted() ? "; interrupted" : "");
    code = cli_interrupted()                                        ? cli_signal_exit_code()
           : s.of_status[CASE_WRONG] + s.of_status[CASE_FAILED] > 0 ? EXIT_WRONG
           : s.of_status[CASE_OK] > 0                               ? EXIT_FINE
                                                                    : EXIT_INVALID;
done:
    engines_stop();
    strategies_close(w);
    free(s.outcomes);
    select_free(&cases);
    return code;
}
