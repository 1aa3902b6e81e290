/* sepbench report [RUN...] [--versus PEER]: the page, the pictures, and the verdict on the terminal; of several
 * RUNs with cases, the machines side by side. */
#include <limits.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "../harness/claim.h"
#include "../harness/cli.h"
#include "../harness/report/staircase.h"
#include "../harness/report/training.h"
#include "../harness/sides/sides.h"
#include "../harness/text.h"
#include "commands.h"

enum { MOST_RUNS = 64 };

typedef struct {
    const char *runs[MOST_RUNS], *notes[MOST_RUNS], *versus, *out;
    int run_count, note_count;
} report_options;

enum { KEY_NOTE = 0x400 };

static const struct argp_option options[] = {
    {"versus", 'v', "PEER", 0,
     "Compare ours with that peer, case by case: an engine, as tensorflow, or one of its names, as "
     "tensorflow-fed (default: onednn where the run has it)",
     0},
    {"out", 'o', "DIR", 0,
     "Where the report goes (default: reports/<name of the run's folder>, of several runs reports/machines)",
     0},
    {"note", KEY_NOTE, "TEXT", 0,
     "What the report of RUNs side by side shall say too, as of a machine that was lost; may be given several "
     "times",
     0},
    {0}};

static error_t parse_option(int key, char *arg, struct argp_state *state)
{
    report_options *o = state->input;
    switch (key) {
    case 'v': o->versus = arg; return 0;
    case 'o': o->out = arg; return 0;
    case KEY_NOTE:
        if (o->note_count == MOST_RUNS) argp_error(state, "--note: more than %d", (int)MOST_RUNS);
        o->notes[o->note_count++] = arg;
        return 0;
    case ARGP_KEY_ARG:
        if (o->run_count == MOST_RUNS)
            argp_error(state, "at most %d RUNs: '%s' is one too many", (int)MOST_RUNS, arg);
        o->runs[o->run_count++] = arg;
        return 0;
    default: return ARGP_ERR_UNKNOWN;
    }
}

/* ---- the terminal */

/* The point of the same problem in that pass, or NULL. */
static const report_point *in_pass(const report_setting *s, const report_point *q, conv_pass pass)
{
    for (size_t i = 0; i < s->count; i++)
        if (s->points[i].pass == pass && s->points[i].ic == q->ic && s->points[i].oc == q->oc &&
            s->points[i].depth_multiplier == q->depth_multiplier)
            return &s->points[i];
    return NULL;
}

static void put_time(const record_row *row)
{
    char text[24];
    rule_time time = rule_time_of(row);
    report_right(stdout, rule_shown(&time) ? report_time(time.median, text) : "-", 9);
}

/* "  123 µs  45.1 µs   2.73x   35%": one pass of a line. */
static void put_pass(const report_data *data, const report_point *q)
{
    report_ratio p;
    char speedup[16] = "-", real[16] = "-";
    if (q == NULL || !report_speedup(data, q, -1, &p)) {
        printf("%9s%9s%8s%6s", "-", "-", "-", "-");
        return;
    }
    double share = rule_share(&p.times, p.promised);
    if (rule_determined(p.times.outcome)) snprintf(speedup, sizeof speedup, "%.2fx", p.times.value);
    if (!isnan(share)) snprintf(real, sizeof real, "%.0f%%", 100 * share);
    put_time(p.slow);
    put_time(p.fast);
    printf("%8s%6s", speedup, real);
}

static bool is_determined(const report_data *data, const report_point *q)
{
    report_ratio p;
    return q != NULL && report_speedup(data, q, -1, &p) && rule_determined(p.times.outcome);
}

/* A line for each problem that has an answer in one of the passes; the verdict names the others. */
static int put_table(const report_data *data, const report_setting *s, bool shown)
{
    int lines = 0;
    for (size_t i = 0; i < s->count; i++) {
        const report_point *q = &s->points[i], *forward = in_pass(s, q, CONV_FORWARD);
        const report_point *backward = in_pass(s, q, CONV_BACKWARD);
        if (q->pass > CONV_BACKWARD || (q == backward && forward != NULL)) continue;
        if (!is_determined(data, forward) && !is_determined(data, backward)) continue;
        if (lines++ == 0 && shown) {
            char name[160];
            printf("\n%s\n%8s%32s%32s\n", report_setting_name(s, name, sizeof name), "", "forward", "backward");
            printf("channels%9s%9s%8s%6s%9s%9s%8s%6s\n", "dense", "separ.", "speedup", "real", "dense",
                   "separ.", "speedup", "real");
        }
        if (!shown) continue;
        printf("%8lld", (long long)q->ic);
        put_pass(data, forward);
        put_pass(data, backward);
        printf("\n");
    }
    return lines;
}

/* Those about the run; the machine's are many, long and the same each time. */
static void put_cautions(const verdict *v)
{
    size_t machine = 0;
    for (size_t i = 0; i < v->caution_count; i++)
        if (strncmp(v->cautions[i], "Machine:", strlen("Machine:")) == 0)
            machine++;
        else
            report_wrap(stdout, "! ", "  ", v->cautions[i]);
    if (machine > 0)
        printf("! %zu warning%s about this machine: see the report.\n", machine, machine == 1 ? "" : "s");
}

static void put_terminal(const report_data *data, const verdict *v)
{
    int more = 0;
    bool shown = false;
    report_wrap(stdout, "", "", v->headline);
    for (size_t i = 0; i < data->setting_count; i++) {
        int lines = put_table(data, &data->settings[i], !shown);
        more += shown ? lines : 0;
        shown = shown || lines > 0;
    }
    report_networks_print(stdout, data);
    printf("\n");
    if (more > 0) printf("The report has the tables of the other settings: %d more lines.\n", more);
    for (size_t i = 0; i < v->count; i++) report_wrap(stdout, "", "", v->lines[i]);
    put_cautions(v);
}

/* Ours against the peer: geometric means, with the range, of a sweep or (NULL) of the rest. */
static void put_versus(const report_data *data, const report_setting *s, const char *peer)
{
    char name[160], left[32], right[32];
    bool open = false;
    for (int v = 0; v < CONV_VARIANT_COUNT; v++)
        for (int pass = 0; pass < CONV_PASS_COUNT; pass++) {
            versus_mean exact = report_versus_mean(data, s, (conv_variant)v, (conv_pass)pass, peer, false);
            versus_mean any = report_versus_mean(data, s, (conv_variant)v, (conv_pass)pass, peer, true);
            if (any.count == 0) continue;
            if (!open)
                printf("\nours against %s, times as fast, %s\n%-28s%-22s%-22scases\n", peer,
                       report_versus_name(data, s, name, sizeof name), "", "exact", "any (inexact too)");
            open = true;
            snprintf(name, sizeof name, "%s %s", conv_variant_name((conv_variant)v),
                     conv_pass_name((conv_pass)pass));
            snprintf(left, sizeof left, "-");
            if (exact.determined > 0)
                snprintf(left, sizeof left, "%.2f (%.2f to %.2f)", exact.mean, exact.least, exact.most);
            snprintf(right, sizeof right, "-");
            if (any.determined > 0)
                snprintf(right, sizeof right, "%.2f (%.2f to %.2f)", any.mean, any.least, any.most);
            printf("%-28s%-22s%-22s%d of %d\n", name, left, right, any.determined, any.count);
        }
}

static void put_all_versus(const report_data *data, const char *peer)
{
    for (size_t i = 0; i < data->setting_count; i++)
        if (report_is_sweep(&data->settings[i])) put_versus(data, &data->settings[i], peer);
    put_versus(data, NULL, peer);
}

/* ---- the command */

/* What to compare with: the engine or implementation that was asked for, else onednn where it occurs. NULL: no
 * table. */
static int choose_versus(const report_data *data, const char **versus)
{
    const char *wanted = *versus != NULL ? *versus : "onednn";
    char known[256] = "";
    for (int i = 0; i < data->impl_count; i++) {
        if (!data->impls[i].peer) continue;
        if (strcmp(data->impls[i].engine, wanted) == 0 || strcmp(data->impls[i].name, wanted) == 0) {
            *versus = wanted;
            return EXIT_FINE;
        }
        size_t used = strlen(known);
        snprintf(known + used, sizeof known - used, "%s%s", used ? ", " : "", data->impls[i].name);
    }
    if (*versus == NULL) return EXIT_FINE;
    return cli_error("--versus %s: no peer of this run is called so; it has %s", wanted,
                     *known ? known : "none");
}

/* told: the user named the engine, so the terminal has its table too */
static int write_report(const report_data *data, const char *versus, bool told, const char *out)
{
    conv_error err;
    verdict v;
    report_plots plots;
    char *absolute = NULL, shown[PATH_MAX];
    claim folder;
    if (!claim_folder(&folder, out, true, &err)) return cli_error("%s", err.text);
    if (!report_plots_create(data, out, &plots, &err)) {
        claim_undo(&folder);
        return cli_error("%s", err.text);
    }
    verdict_create(data, &v);
    int code = EXIT_FINE;
    if (report_html_write(data, &v, &plots, versus, out, &err) && staircase_write(data, out, &err) &&
        report_networks_write(data, out, &err)) {
        put_terminal(data, &v);
        if (told) put_all_versus(data, versus);
        absolute = realpath(out, NULL);
        snprintf(shown, sizeof shown, "%s", absolute != NULL ? absolute : out);
        printf("report: %s/index.html\n", text_make_printable(shown));
    } else {
        code = cli_error("%s", err.text);
    }
    free(absolute);
    claim_drop(&folder);
    verdict_destroy(&v);
    report_plots_destroy(&plots);
    return code;
}

/* By the name of the run's folder, never by what a file in it says. */
static void default_out(const record_run *run, char *out, size_t size)
{
    char *whole = realpath(run->dir, NULL);
    const char *name = whole != NULL ? strrchr(whole, '/') + 1 : "";
    snprintf(out, size, "reports/%s", *name != '\0' ? name : "run");
    free(whole);
}

static int report_sides(const report_options *o)
{
    if (o->versus != NULL) return cli_error("--versus %s: of one run at a time", o->versus);
    if (o->run_count == 0) return cli_error("--note %s: of RUNs that are named", o->notes[0]);
    return sides_report(&(sides_request){.runs = o->runs,
                                         .run_count = o->run_count,
                                         .notes = o->notes,
                                         .note_count = o->note_count,
                                         .out = o->out});
}

int cmd_report(int argc, char **argv)
{
    static const struct argp argp = {
        .options = options,
        .parser = parse_option,
        .args_doc = "[RUN...]",
        .doc = "Makes the report of a run: verdict, tables and pictures in one page.\v"
               "RUN is a folder or the name of one in results/; without it, the newest. "
               "Folders of 'sepbench train' may follow, or stand alone. Several runs with cases, as of other "
               "machines, are put side by side: the verdict of each, all speedups in one picture, and what "
               "differs between the machines."};
    report_options o = {0};
    if (cli_parse(&argp, argc, argv, &o) != 0) return EXIT_USAGE;
    record_run run;
    report_training training = {0};
    report_data data;
    conv_error err;
    char out[PATH_MAX];
    if (o.note_count > 0 || sides_count(o.runs, o.run_count) > 1) return report_sides(&o);
    if (!report_load(o.runs, o.run_count, &run, &training, &err)) return cli_error("%s", err.text);
    int code = EXIT_FINE;
    bool told = o.versus != NULL;
    if (!report_data_create(&run, &data, &err)) {
        code = cli_error("%s", err.text);
        goto done;
    }
    data.training = &training;
    default_out(&run, out, sizeof out);
    if (run.count == 0 && training.count + training.scaling_count == 0) {
        cli_error("%s: no case was measured, there is nothing to report", run.dir);
        code = EXIT_INVALID;
    }
    if (code == EXIT_FINE) code = choose_versus(&data, &o.versus);
    if (code == EXIT_FINE) code = write_report(&data, o.versus, told, o.out != NULL ? o.out : out);
    if (code == EXIT_FINE && data.by_status[CASE_OK] == 0 && training.count + training.scaling_count == 0) {
        cli_error("%s: none of its %zu cases has a time", run.dir, run.count);
        code = EXIT_INVALID;
    }
    report_data_destroy(&data);
done:
    training_free(&training);
    record_free(&run);
    return code;
}
