/* sepbench list: which implementations exist here, and why the others do not; or the suites; or the
 * strategies of a problem. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../harness/cli.h"
#include "../harness/machine/machine.h"
#include "../kernels/strategy.h"
#include "bench.h"
#include "commands.h"
#include "suite.h"

enum { KEY_SUITES = 0x200, KEY_STRATEGIES };

typedef struct {
    bool suites, strategies;
    select_options select;
    strategy_words words;
} list_arguments;

static error_t parse_option(int key, char *arg, struct argp_state *state)
{
    (void)arg;
    list_arguments *a = state->input;
    switch (key) {
    case ARGP_KEY_INIT:
        state->child_inputs[0] = &a->select;
        state->child_inputs[1] = &a->words;
        return 0;
    case KEY_SUITES: a->suites = true; return 0;
    case KEY_STRATEGIES: a->strategies = true; return 0;
    case ARGP_KEY_ARG: select_take_problems(&a->select, state); return 0;
    default: return ARGP_ERR_UNKNOWN;
    }
}

/* Entries of one name are adjacent, one per variant: prints them and returns where the next name begins. */
static size_t print_name(const conv_entry *e, size_t count, size_t first)
{
    const conv_impl *shown = NULL;
    const char *absent = NULL;
    bool has[CONV_VARIANT_COUNT] = {false};
    size_t i = first;
    for (; i < count && strcmp(e[i].name, e[first].name) == 0; i++) {
        has[e[i].variant] = e[i].impl != NULL;
        if (e[i].impl == NULL)
            absent = e[i].absent;
        else if (shown == NULL || e[i].variant == CONV_DENSE)
            shown = e[i].impl;
    }
    printf("%-17s", e[first].name);
    for (int v = 0; v < CONV_VARIANT_COUNT; v++)
        printf("%-*s", (int)strlen(conv_variant_name((conv_variant)v)) + 1, has[v] ? "yes" : "-");
    if (shown == NULL) {
        printf("%-7s%-8s%s\n", "-", "-", absent ? absent : "not in this build");
        return i;
    }
    printf("%-7s%-8s%s%s\n", cpu_isa_name(conv_isa(shown)), shown->inexact ? "inexact" : "exact",
           shown->summary, shown->single_thread ? " (one thread)" : "");
    if (absent != NULL) printf("%-17s%s\n", "", absent);
    return i;
}

/* "libraries: oneDNN 2.6.3, ...": the versions of the peers, each once; those of second copies are not known
 * here. */
static void print_libraries(const conv_entry *e, size_t count)
{
    const char *before = "\nlibraries: ", *last = "";
    for (size_t i = 0; i < count; i++) {
        if (e[i].impl == NULL || e[i].impl->version == NULL || e[i].second_copy) continue;
        const char *version = e[i].impl->version();
        if (strcmp(version, last) == 0) continue;
        printf("%s%s", before, version);
        before = ", ";
        last = version;
    }
    puts(*last == '\0' ? "\nlibraries: none" : "");
}

/* ---- strategies */

/* The pick with the ceilings that 'bench' and 'machine' have remembered, if they have. */
static conv_strategy pick_of(const atomic_part *part, int threads)
{
    machine_ceilings ceilings;
    conv_candidates all;
    if (machine_remembered_ceilings(threads, &ceilings)) machine_use_ceilings(&ceilings);
    part_candidates(part, threads, &all);
    machine_use_ceilings(NULL);
    return all.list[0];
}

/* In the order of nominal ceilings, so that the numbers mean the same every day. */
static void print_part(const atomic_part *part, int threads, const wisdom *w)
{
    char name[PART_NAME_MAX], text[CONV_STRATEGY_TEXT], time[16], model[16];
    conv_candidates all;
    wisdom_entry known = {.ns = NAN, .model_ns = NAN};
    conv_strategy pick = pick_of(part, threads);
    part_candidates(part, threads, &all);
    bool chosen = wisdom_recall(w, part, threads, &known);
    printf("%s\n", part_name(part, threads, name));
    for (int i = 0; i < all.count; i++) {
        bool best = chosen && strategy_same(all.choices, &all.list[i], &known.strategy);
        bool first = strategy_same(all.choices, &all.list[i], &pick);
        printf("  %d  %-5s%-7s %s\n", i, first ? "pick" : "", best ? "chosen" : "",
               strategy_text(all.choices, &all.list[i], text, sizeof text));
    }
    if (chosen)
        printf("  chosen: %s, the pick %s\n", bench_time(known.ns, time), bench_time(known.model_ns, model));
    else if (all.count > 1)
        puts("  not chosen yet: 'sepbench bench' does");
}

/* Of all cases, each part once. EXIT_INVALID where there is none. */
static int print_strategies(const selection *cases, const wisdom *w)
{
    json_t *seen = json_object();
    for (size_t r = 0; r < cases->count; r++) {
        const record_row *row = &cases->rows[r];
        const conv_impl *impl = conv_find(row->impl, row->problem.variant);
        atomic_part parts[PARTS_MAX];
        int count = impl == NULL || row->reason[0] != '\0'
                        ? 0
                        : parts_of(impl, &row->problem, row->pass, row->threads, parts);
        for (int i = 0; i < count; i++) {
            char name[PART_NAME_MAX];
            if (json_object_get(seen, part_name(&parts[i], row->threads, name)) != NULL) continue;
            json_object_set_new(seen, name, json_true());
            print_part(&parts[i], row->threads, w);
        }
    }
    size_t printed = json_object_size(seen);
    json_decref(seen);
    if (printed > 0) return EXIT_FINE;
    cli_error("none of these implementations has strategies of it");
    return EXIT_INVALID;
}

static int list_strategies(const list_arguments *a)
{
    selection cases;
    wisdom *w = NULL;
    if (a->select.problem_count == 0 && a->select.suite == NULL && a->select.shapes == NULL)
        return cli_error("--strategies: of which PROBLEM?");
    int code = select_cases(&a->select, &cases);
    if (code != EXIT_FINE) return code;
    code = strategies_open(&a->words, &w);
    if (code == EXIT_FINE) code = print_strategies(&cases, w);
    strategies_close(w);
    select_free(&cases);
    return code;
}

/* ---- */

static void list_implementations(void)
{
    size_t count;
    const conv_entry *e = conv_entries(&count);
    printf("%-17s", "implementation");
    for (int v = 0; v < CONV_VARIANT_COUNT; v++) printf("%s ", conv_variant_name((conv_variant)v));
    printf("%-7s%-8s%s\n", "isa", "results", "what it does");
    for (size_t i = 0; i < count;) i = print_name(e, count, i);
    print_libraries(e, count);
    printf("CPU: %s; widest instruction set %s, allowed %s\n", cpu_model(), cpu_isa_name(cpu_detect()),
           cpu_isa_name(cpu_allowed()));
}

int cmd_list(int argc, char **argv)
{
    static const struct argp_option options[] = {
        {"suites", KEY_SUITES, NULL, 0, "list the suites of problems instead", 0},
        {"strategies", KEY_STRATEGIES, NULL, 0,
         "of the cases below instead: what each implementation can choose from, which is the cost model's "
         "pick, and which was chosen here",
         0},
        {0}};
    static const struct argp_child children[] = {
        {&select_argp, 0, NULL, 0}, {&strategies_argp, 0, NULL, 0}, {0}};
    static const struct argp argp = {
        .options = options,
        .parser = parse_option,
        .args_doc = "[--strategies PROBLEM...]",
        .doc = "Which implementations exist in this build and on this CPU, and why others do not.",
        .children = children};
    list_arguments a = {0};
    if (cli_parse(&argp, argc, argv, &a) != 0) return EXIT_USAGE;
    if (a.strategies) return list_strategies(&a);
    if (a.select.problem_count > 0) return cli_error("'%s': only with --strategies", a.select.problems[0]);
    if (a.suites) {
        puts("suites, for --suite NAME ('bench' and 'verify'):");
        suite_print(stdout);
    } else {
        list_implementations();
    }
    return EXIT_FINE;
}
