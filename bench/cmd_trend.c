/* sepbench trend RUN...: did anything become slower over stored runs? */
#include <limits.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "../harness/claim.h"
#include "../harness/cli.h"
#include "../harness/text.h"
#include "../harness/trend/history.h"
#include "commands.h"

enum { KEY_OUT = 0x300, KEY_LEAST, KEY_ALL };

typedef struct {
    const char *dirs[TREND_MOST_RUNS], *out;
    size_t count;
    double least_percent;
    bool all;
    int code; /* of a bad value */
} trend_options;

static error_t parse_option(int key, char *arg, struct argp_state *state)
{
    trend_options *o = state->input;
    switch (key) {
    case KEY_OUT: o->out = arg; return 0;
    case KEY_LEAST:
        if (cli_take_real("least", arg, 0.1, 100, &o->least_percent) != EXIT_FINE) o->code = EXIT_USAGE;
        return 0;
    case KEY_ALL: o->all = true; return 0;
    case ARGP_KEY_ARG:
        if (o->count == TREND_MOST_RUNS)
            argp_error(state, "at most %d RUNs: '%s' is one too many", (int)TREND_MOST_RUNS, arg);
        o->dirs[o->count++] = arg;
        return 0;
    default: return ARGP_ERR_UNKNOWN;
    }
}

static int write_all(const trend_history *h, const char *out)
{
    conv_error err;
    claim folder;
    char shown[PATH_MAX];
    if (!claim_folder(&folder, out, true, &err)) return cli_error("%s", err.text);
    if (!trend_page_write(h, out, &err) || !trend_write(h, out, &err)) {
        claim_undo(&folder);
        return cli_error("%s", err.text);
    }
    claim_drop(&folder);
    snprintf(shown, sizeof shown, "%s", out);
    printf("trend: %s/index.html\n", text_make_printable(shown));
    return EXIT_FINE;
}

/* The last line, and the exit code. */
static int conclude(const trend_history *h)
{
    size_t slower = 0, cases = 0, tested = 0;
    for (size_t i = 0; i < h->count; i++) {
        slower += trend_count(&h->groups[i], TREND_SLOWER);
        cases += h->groups[i].case_count - trend_count(&h->groups[i], TREND_FEW);
        tested += trend_is_tested(&h->groups[i]);
    }
    if (tested == 0) {
        cli_error("trend: too few runs: no case was timed in %d of one machine and build", TREND_LEAST_RUNS);
        return EXIT_BASELINE;
    }
    if (slower > 0)
        printf("SLOWER: %zu of %zu cases, confirmed\n", slower, cases);
    else
        printf("no slowdown is confirmed among %zu cases\n", cases);
    return slower > 0 ? EXIT_REGRESSION : EXIT_FINE;
}

int cmd_trend(int argc, char **argv)
{
    static const struct argp_option options[] = {
        {"all", KEY_ALL, NULL, 0, "print the quiet cases too", 0},
        {"least", KEY_LEAST, "PERCENT", 0, "what is confirmed must also be so large (default 2)", 0},
        {"out", KEY_OUT, "DIR", 0, "where page, pictures and tables go (default: reports/trend)", 0},
        {0}};
    static const struct argp argp = {
        .options = options,
        .parser = parse_option,
        .args_doc = "[RUN...]",
        .doc =
            "Did anything become slower over stored runs, also by little at a time? Per case over time, for "
            "each machine and build of its own.\vRUN is a run's folder, or a folder of such; without it, "
            "results. At most 1 in 20 histories of 50 runs in which nothing changed has a false slowdown: "
            "measured on recorded sessions, also of builds on which nothing was chosen, and on made-up noise "
            "whose runs are alike in a row (correlation up to 0.9), has heavy tails or a host of two states, "
            "by which the method was chosen. What a history could not have shown is said below it. A change of "
            "the code of others as well is the machine's: it is told, and fails nothing. Nor does a case that "
            "none of the last five runs has. Ten runs of one machine and build are needed.\n\nExit: 0 fine, 1 "
            "confirmed slowdown that still holds, 2 usage or unreadable runs, 5 too few runs."};
    trend_options *o = calloc(1, sizeof *o);
    trend_history h;
    conv_error err;
    int code = EXIT_USAGE;
    if (o == NULL) return cli_error("no memory");
    *o = (trend_options){.out = "reports/trend", .least_percent = 2};
    if (cli_parse(&argp, argc, argv, o) != 0 || o->code != EXIT_FINE) goto done;
    if (o->count == 0) o->dirs[o->count++] = "results";
    if (!trend_gather(o->dirs, o->count, &h, &err)) {
        cli_error("%s", err.text);
        goto done;
    }
    if (h.left_out[0] != '\0') cli_warning("trend: %s", h.left_out);
    if (!trend_judge(&h, log1p(o->least_percent / 100))) {
        cli_error("trend: no memory");
    } else {
        trend_print(stdout, &h, o->all);
        code = write_all(&h, o->out);
        if (code == EXIT_FINE) code = conclude(&h);
    }
    trend_history_free(&h);
done:
    free(o);
    return code;
}
