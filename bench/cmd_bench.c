/* sepbench bench: the command line, and what --resume takes from the run it continues. */
#include <stdlib.h>
#include <string.h>

#include "../harness/cli.h"
#include "../harness/json.h"
#include "../harness/output.h"
#include "bench.h"
#include "commands.h"
#include "gbench.h"
#include "suite.h"

enum { KEY_REPETITIONS = 0x200, KEY_MIN_TIME, KEY_BUDGET, KEY_OUT, KEY_RESUME, KEY_SEED, KEY_FRESH, KEY_EQUAL };

static const struct argp_option options[] = {
    {NULL, 0, NULL, 0, "How to measure:", 2},
    {"repetitions", KEY_REPETITIONS, "N", 0,
     "of each case that may be the fastest, each in another visit where time allows (default 9)", 0},
    {"equal-shares", KEY_EQUAL, NULL, 0,
     "all repetitions for every case; else those clearly behind stop after three", 0},
    {"min-time", KEY_MIN_TIME, "SECONDS", 0, "of one repetition (default 0.008)", 0},
    {"budget", KEY_BUDGET, "SECONDS", 0,
     "for everything; shared out, and what does not fit is a row 'skipped' (default: unlimited)", 0},
    {"out", KEY_OUT, "DIR", 0, "of the run (default: results/TIME-HOST)", 0},
    {"resume", KEY_RESUME, NULL, 0,
     "continue the run in --out DIR (default: results/latest) with its arguments", 0},
    {"seed", KEY_SEED, "N", 0, "of data and order (default 1)", 0},
    {"fresh", KEY_FRESH, NULL, 0, "measure the machine's ceilings again (remembered for a day)", 0},
    {0}};

typedef struct {
    bench_arguments *a;
    int code; /* of a bad value */
} parse_state;

static error_t parse_option(int key, char *arg, struct argp_state *state)
{
    parse_state *p = state->input;
    bench_arguments *a = p->a;
    int64_t whole = 0;
    int code = EXIT_FINE;
    switch (key) {
    case ARGP_KEY_INIT:
        state->child_inputs[0] = &a->select;
        state->child_inputs[1] = &a->strategy;
        return 0;
    case KEY_REPETITIONS:
        code = cli_take_int("repetitions", arg, 1, 1000, &whole);
        a->measure.repetitions = (int)whole;
        break;
    case KEY_MIN_TIME: code = cli_take_real("min-time", arg, 0, 3600, &a->measure.min_time); break;
    case KEY_BUDGET: code = cli_take_real("budget", arg, 1, 1e7, &a->budget); break;
    case KEY_OUT:
        if (*arg == '\0') code = cli_error("--out: the name of a folder is missing");
        a->out = arg;
        break;
    case KEY_EQUAL: a->measure.equal = true; break;
    case KEY_RESUME: a->resume = true; break;
    case KEY_SEED:
        code = cli_take_int("seed", arg, 0, INT64_MAX, &whole);
        a->measure.seed = (uint64_t)whole;
        break;
    case KEY_FRESH: a->fresh = true; break;
    case ARGP_KEY_ARG: select_take_problems(&a->select, state); break;
    default: return ARGP_ERR_UNKNOWN;
    }
    if (p->code == EXIT_FINE) p->code = code;
    return 0;
}

static int parse(int argc, char **argv, bench_arguments *a)
{
    static const struct argp_child children[] = {
        {&select_argp, 0, NULL, 0}, {&strategies_argp, 0, NULL, 0}, {0}};
    static const struct argp argp = {
        options,
        parse_option,
        "[PROBLEM...] [-- --benchmark_FLAGS]",
        "Times implementations against each other, each verified first. PROBLEM is in benchdnn's syntax, such "
        "as mb1ic64ih28oc64kh3ph1, with a prefix separable: or depthwise: to force the variant."
        "\vExit: 0 measured, 2 usage, 3 something computed wrongly (its row says so), 4 nothing was measured.",
        children,
        NULL,
        NULL};
    parse_state state = {a, EXIT_FINE};
    int end = 0; /* what follows -- is Google Benchmark's */
    while (end < argc && strcmp(argv[end], "--") != 0) end++;
    if (end < argc) {
        a->gbench = argv + end + 1;
        a->gbench_count = argc - end - 1;
    }
    if (cli_parse(&argp, end, argv, &state) != 0) return EXIT_USAGE;
    return state.code != EXIT_FINE ? state.code : a->select.bad_option;
}

/* ---- resuming */

/* Rows of two machines or two builds do not belong in one table. */
static int check_same(const record_run *old)
{
    const json_t *machine = json_object_get(old->run, "machine");
    const char *build = json_text(json_object_get(machine, "build"), "id", "unknown"),
               *cpu = json_text(machine, "cpu", "unknown");
    if (strcmp(json_text(old->run, "kind", "unknown"), "bench") != 0)
        return cli_error("%s/run.json: kind is '%s': only a run of 'sepbench bench' can be resumed here",
                         old->dir, json_text(old->run, "kind", "unknown"));
    if (strcmp(cpu, machine_get()->cpu) != 0)
        return cli_error("%s: measured on %s, this is %s: start a new run", old->dir, cpu, machine_get()->cpu);
    if (strcmp(build, machine_build_id()) != 0)
        return cli_error("%s: measured by another build (%s, this is %s): start a new run", old->dir, build,
                         machine_build_id());
    return EXIT_FINE;
}

/* Where else to write. What followed -- are the last of the words. */
static void drop_outputs(bench_arguments *a)
{
    int kept = 0;
    for (int i = 0; i < a->gbench_count; i++)
        if (strncmp(a->gbench[i], "--benchmark_out=", 16) == 0)
            cli_warning("%s of the run is not written again: repeat it to have it", a->gbench[i]);
        else
            a->gbench[kept++] = a->gbench[i];
    a->word_count -= a->gbench_count - kept;
    a->gbench_count = kept;
}

/* The words of the run that is continued, then those of this command line, which win. A run may be a
 * stranger's, so what it opens and where it writes is for this command line to say. *old keeps the strings. */
static int parse_resumed(int argc, char **argv, bench_arguments *a, record_run *old, char ***words)
{
    conv_error err;
    if (!record_load(a->out, old, &err)) return cli_error("%s", err.text);
    int code = check_same(old);
    json_t *stored = json_object_get(old->run, "arguments");
    size_t count = json_array_size(stored);
    if (code != EXIT_FINE) return code;
    *words = calloc(count + 2, sizeof **words);
    if (*words == NULL) return cli_error("no memory for the arguments");
    (*words)[0] = argv[0];
    for (size_t i = 0; i < count; i++) (*words)[i + 1] = (char *)json_string_value(json_array_get(stored, i));
    for (size_t i = 1; i <= count; i++)
        if ((*words)[i] == NULL)
            return cli_error("%s/run.json: arguments: element %zu is not text", old->dir, i - 1);
    a->select.no_new_engine = true;
    code = parse((int)count + 1, *words, a);
    a->word_count = (int)count + 1;
    a->words = *words;
    a->out = NULL;
    a->resume = false;
    a->continued = old;
    drop_outputs(a);
    return code == EXIT_FINE ? parse(argc, argv, a) : code;
}

/* Cases that --benchmark_filter leaves out are not cases of this run. */
static int apply_filter(const bench_arguments *a, selection *cases)
{
    char bad[256], name[CASE_NAME_MAX];
    conv_error err;
    if (gbench_init(a->gbench_count, a->gbench, bad, sizeof bad) != 0) return cli_error("%s", bad);
    if (gbench_out_file() != NULL && !output_check(gbench_out_file(), &err))
        return cli_error("--benchmark_out: %s", err.text);
    size_t kept = 0;
    for (size_t i = 0; i < cases->count; i++)
        if (gbench_selected(record_case_name(&cases->rows[i], name))) cases->rows[kept++] = cases->rows[i];
    cases->count = kept;
    return kept > 0 ? EXIT_FINE : cli_error("--benchmark_filter leaves no case");
}

static const bench_arguments defaults = {
    .select = {.other_form = OTHER_FORM_BY_FILE},
    .measure = {.repetitions = 9, .min_time = 0.008, .verify = true, .replace = true, .seed = 1}};

int cmd_bench(int argc, char **argv)
{
    bench_arguments a = defaults;
    record_run old = {0};
    selection cases = {0};
    char **words = NULL;
    wisdom *w = NULL;
    a.started = machine_now();
    a.words = argv;
    a.word_count = argc;
    int code = parse(argc, argv, &a);
    if (code == EXIT_FINE && a.resume) {
        const char *out = a.out;
        double started = a.started;
        a = defaults;
        a.out = out;
        a.started = started;
        code = parse_resumed(argc, argv, &a, &old, &words);
    }
    if (code == EXIT_FINE) code = select_cases(&a.select, &cases);
    a.measure.equal = a.measure.equal || suite_is_study(a.select.suite);
    if (code == EXIT_FINE) code = apply_filter(&a, &cases);
    if (code == EXIT_FINE) code = strategies_open(&a.strategy, &w);
    if (code == EXIT_FINE) code = bench_run(&a, &cases, w);
    strategies_close(w);
    select_free(&cases);
    record_free(&old);
    free(words);
    return code;
}
