/* sepbench bench: the command line. */
#include <string.h>

#include "../harness/cli.h"
#include "../harness/output.h"
#include "../harness/ranks/ranks.h"
#include "bench.h"
#include "commands.h"
#include "fleet.h"
#include "gbench.h"
#include "suite.h"

enum { KEY_FLEET = 0x280 };

static const struct argp_option options[] = {
    {"fleet", KEY_FLEET, NULL, 0,
     "under mpirun with a rank on each host: every host measures itself, and the runs are gathered in --out "
     "DIR "
     "(default: results/fleet-TIME) and reported on together; exit 4 when a host is missing",
     2},
    {0}};

static error_t parse_option(int key, char *arg, struct argp_state *state)
{
    bench_arguments *a = state->input;
    (void)arg;
    switch (key) {
    case ARGP_KEY_INIT:
        state->child_inputs[0] = &a->select;
        state->child_inputs[1] = a;
        state->child_inputs[2] = &a->strategy;
        return 0;
    case KEY_FLEET: a->fleet = true; return 0;
    case ARGP_KEY_ARG: select_take_problems(&a->select, state); return 0;
    default: return ARGP_ERR_UNKNOWN;
    }
}

static int parse(int argc, char **argv, bench_arguments *a)
{
    static const struct argp_child children[] = {
        {&select_argp, 0, NULL, 0}, {&bench_argp, 0, NULL, 0}, {&strategies_argp, 0, NULL, 0}, {0}};
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
    int end = 0; /* what follows -- is Google Benchmark's */
    while (end < argc && strcmp(argv[end], "--") != 0) end++;
    if (end < argc) {
        a->gbench = argv + end + 1;
        a->gbench_count = argc - end - 1;
    }
    if (cli_parse(&argp, end, argv, a) != 0) return EXIT_USAGE;
    return a->bad_option != EXIT_FINE ? a->bad_option : a->select.bad_option;
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
    .kind = RECORD_BENCH,
    .select = {.other_form = OTHER_FORM_BY_FILE},
    .measure = {.repetitions = 9, .min_time = 0.008, .verify = true, .replace = true, .seed = 1}};

/* Of all ranks. */
static int run_fleet(int argc, char **argv, const bench_arguments *a)
{
    if (!a->fleet)
        return cli_error("mpirun started several of 'sepbench bench': --fleet makes each measure its host");
    int code = ranks_open();
    if (code == EXIT_FINE) code = fleet_run(argc, argv, a->out);
    ranks_close();
    return code;
}

int cmd_bench(int argc, char **argv)
{
    bench_arguments a = defaults;
    bench_stored stored;
    selection cases = {0};
    wisdom *w = NULL;
    a.started = machine_now();
    ranks_prepare();
    int code = bench_take_arguments(argc, argv, parse, &a, &stored);
    if (code == EXIT_FINE && (a.fleet || ranks_several())) {
        code = run_fleet(argc, argv, &a);
        bench_stored_free(&stored);
        return code;
    }
    if (code == EXIT_FINE) code = select_cases(&a.select, &cases);
    a.measure.equal = a.measure.equal || suite_is_study(a.select.suite);
    if (code == EXIT_FINE) code = apply_filter(&a, &cases);
    if (code == EXIT_FINE) code = strategies_open(&a.strategy, &w);
    if (code == EXIT_FINE) code = bench_run(&a, &cases, w);
    strategies_close(w);
    select_free(&cases);
    bench_stored_free(&stored);
    return code;
}
