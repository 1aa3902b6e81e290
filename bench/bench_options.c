/* "How to measure" of the commands that measure a run, and what --resume takes from the run it continues. */
#include <stdlib.h>
#include <string.h>

#include "../harness/cli.h"
#include "../harness/json.h"
#include "bench.h"

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

static error_t parse_option(int key, char *arg, struct argp_state *state)
{
    bench_arguments *a = state->input;
    int64_t whole = 0;
    int code = EXIT_FINE;
    switch (key) {
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
    default: return ARGP_ERR_UNKNOWN;
    }
    if (a->bad_option == EXIT_FINE) a->bad_option = code;
    return 0;
}

const struct argp bench_argp = {options, parse_option, NULL, NULL, NULL, NULL, NULL};

/* ---- resuming */

/* Rows of two machines or two builds do not belong in one table. */
static int check_same(const record_run *old)
{
    const json_t *machine = json_object_get(old->run, "machine");
    const char *build = json_text(json_object_get(machine, "build"), "id", "unknown"),
               *cpu = json_text(machine, "cpu", "unknown");
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

/* A run may be a stranger's, so what it opens and where it writes is for this command line to say. */
static int parse_resumed(int argc, char **argv, bench_parser *parse, bench_arguments *a, bench_stored *stored)
{
    conv_error err;
    record_run *old = &stored->old;
    if (!record_load_kind(a->out, RECORD_IS(a->kind), old, &err)) return cli_error("%s", err.text);
    int code = check_same(old);
    json_t *words = json_object_get(old->run, "arguments");
    size_t count = json_array_size(words);
    if (code != EXIT_FINE) return code;
    stored->words = calloc(count + 2, sizeof *stored->words);
    if (stored->words == NULL) return cli_error("no memory for the arguments");
    stored->words[0] = argv[0];
    for (size_t i = 0; i < count; i++)
        if ((stored->words[i + 1] = (char *)json_string_value(json_array_get(words, i))) == NULL)
            return cli_error("%s/run.json: arguments: element %zu is not text", old->dir, i);
    a->select.no_new_engine = true;
    code = parse((int)count + 1, stored->words, a);
    a->word_count = (int)count + 1;
    a->words = stored->words;
    a->out = NULL;
    a->resume = false;
    a->continued = old;
    drop_outputs(a);
    return code == EXIT_FINE ? parse(argc, argv, a) : code;
}

int bench_take_arguments(int argc, char **argv, bench_parser *parse, bench_arguments *a, bench_stored *stored)
{
    const bench_arguments defaults = *a;
    *stored = (bench_stored){.words = NULL};
    a->words = argv;
    a->word_count = argc;
    int code = parse(argc, argv, a);
    if (code != EXIT_FINE || !a->resume || a->fleet) return code; /* a fleet's hosts have a run each */
    const char *out = a->out;
    *a = defaults;
    a->out = out;
    return parse_resumed(argc, argv, parse, a, stored);
}

void bench_stored_free(bench_stored *stored)
{
    record_free(&stored->old);
    free(stored->words);
}
