/* sepbench export RUN --format FORMAT: a run for the dashboards that people have. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../harness/cli.h"
#include "../harness/export/export.h"
#include "../harness/json.h"
#include "../harness/output.h"
#include "../harness/text.h"
#include "commands.h"

/* Figures of results.csv have nine digits at most: with so many they are read back as they stand there. */
enum { KEY_FORMAT = 0x300, KEY_OUT, LAYOUT = JSON_INDENT(1) | JSON_REAL_PRECISION(15) };

typedef struct {
    const char *run, *out;
    export_format format; /* EXPORT_FORMAT_COUNT: none named */
} export_options;

static error_t parse_option(int key, char *arg, struct argp_state *state)
{
    export_options *o = state->input;
    switch (key) {
    case KEY_FORMAT:
        for (o->format = 0; o->format < EXPORT_FORMAT_COUNT; o->format++)
            if (strcmp(arg, export_format_name(o->format)) == 0) return 0;
        argp_error(state, "--format is '%s': bmf, github-action-benchmark or googlebenchmark", arg);
        return 0;
    case KEY_OUT: o->out = arg; return 0;
    case ARGP_KEY_ARG:
        if (o->run != NULL) argp_error(state, "one RUN at a time: '%s' is one too many", arg);
        o->run = arg;
        return 0;
    case ARGP_KEY_END:
        if (o->format == EXPORT_FORMAT_COUNT)
            argp_error(state, "--format is needed: bmf, github-action-benchmark or googlebenchmark");
        return 0;
    default: return ARGP_ERR_UNKNOWN;
    }
}

/* A standard output that fails is said, and the exit code made, where the program ends (harness/streams.h). */
static int put(const json_t *json, const char *out)
{
    conv_error err;
    if (json == NULL) return cli_error("export: no memory");
    if (out != NULL)
        return output_json(out, OUTPUT_NAMED, json, LAYOUT, &err) ? EXIT_FINE : cli_error("%s", err.text);
    if (json_dumpf(json, stdout, LAYOUT) == 0) putchar('\n');
    return EXIT_FINE;
}

/* What was left out, on stderr: "120 refused, 8 wrong". */
static void put_counts(const record_run *run, const export_counts *counts)
{
    char left[160] = "", word[40];
    for (int s = CASE_OK + 1; s < CASE_STATUS_COUNT; s++)
        if (counts->by_status[s] > 0)
            snprintf(left + strlen(left), sizeof left - strlen(left), "%s%zu %s",
                     left[0] ? ", " : "; left out: ", counts->by_status[s], case_status_name((case_status)s));
    if (counts->median_alone > 0)
        cli_warning("%zu case%s without mean and deviation: samples.csv does not hold the repetitions",
                    counts->median_alone, counts->median_alone == 1 ? "" : "s");
    const char *status = json_text(run->run, "status", "complete");
    if (strcmp(status, "complete") != 0) {
        snprintf(word, sizeof word, "%s", status);
        cli_warning("the run is not complete (%s): cases may be missing", text_make_printable(word));
    }
    fprintf(stderr, "%zu of %zu cases%s\n", counts->by_status[CASE_OK], run->count, left);
}

static int export(const export_options *o, const record_run *run)
{
    conv_error err;
    export_counts counts;
    record_samples *samples = NULL;
    if (o->format == EXPORT_GOOGLE && (samples = record_samples_load(run->dir, &err)) == NULL)
        return cli_error("%s", err.text);
    json_t *json = export_run(run, samples, o->format, &counts);
    int code = EXIT_INVALID;
    if (counts.by_status[CASE_OK] == 0)
        cli_error("%s: none of its %zu cases has a time", run->dir, run->count);
    else if ((code = put(json, o->out)) == EXIT_FINE)
        put_counts(run, &counts);
    json_decref(json);
    record_samples_free(samples);
    return code;
}

int cmd_export(int argc, char **argv)
{
    static const struct argp_option options[] = {
        {"format", KEY_FORMAT, "FORMAT", 0,
         "bmf (Bencher), github-action-benchmark (its tool customSmallerIsBetter), googlebenchmark "
         "(aggregates, as its library writes them)",
         0},
        {"out", KEY_OUT, "FILE", 0, "where it goes (default: standard output)", 0},
        {0}};
    static const struct argp argp = {
        .options = options,
        .parser = parse_option,
        .args_doc = "[RUN]",
        .doc =
            "A run in the format of another program: every case that was measured, by its name, in "
            "nanoseconds.\vRUN is a folder; without it, results/latest. Cases without a time are left out and "
            "counted on stderr."};
    export_options o = {.format = EXPORT_FORMAT_COUNT};
    record_run run;
    conv_error err;
    if (cli_parse(&argp, argc, argv, &o) != 0) return EXIT_USAGE;
    if (!record_load_kind(o.run, RECORD_IS(RECORD_BENCH), &run, &err)) return cli_error("%s", err.text);
    int code = export(&o, &run);
    record_free(&run);
    return code;
}
