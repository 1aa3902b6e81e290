/* The folder of an experiment: whose it is, run.json, runs.csv, and how to come back to it. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "../harness/build_info.h"
#include "../harness/cli.h"
#include "../harness/json.h"
#include "../harness/machine/machine.h"
#include "../harness/output.h"
#include "../harness/ranks/ranks.h"
#include "../harness/record/record.h"
#include "../harness/utc.h"
#include "../harness/words.h"
#include "experiment_internal.h"

static int complain(const conv_error *err) { return cli_error("%s", err->text); }

static char *path_of(const experiment *e, const char *name, char *path, size_t size)
{
    snprintf(path, size, "%s/%s", e->out.path, name);
    return path;
}

/* ---- run.json */

bool experiment_save(experiment *e)
{
    char path[4352];
    conv_error err;
    bool saved = output_json(path_of(e, "run.json", path, sizeof path), OUTPUT_OWN, e->run,
                             JSON_INDENT(1) | JSON_REAL_PRECISION(10), &err);
    if (!saved) complain(&err);
    return saved;
}

bool experiment_is_empty(const experiment *e)
{
    return json_array_size(json_object_get(e->run, "models")) == 0;
}

static json_t *run_json_start(const experiment *e)
{
    const experiment_options *o = e->o;
    char text[256];
    return json_pack("{s:i, s:s, s:s, s:O, s:o, s:{s:s, s:I, s:I, s:I}, s:{s:s, s:i, s:I, s:I, s:f, s:I, s:i, "
                     "s:s, s:b, s:i}, s:[]}",
                     "schema", HISTORY_SCHEMA, "kind", record_kind_name(RECORD_TRAINING), "commit",
                     build_commit(), "command", o->command, "machine", machine_json(o->threads, NULL), "data",
                     "dir", o->data_dir, "train", (json_int_t)e->data.train.count, "test",
                     (json_int_t)e->data.test.count, "crc", (json_int_t)e->data.train.crc, "options", "impl",
                     o->impls, "threads", o->threads, "epochs", (json_int_t)o->fit.epochs, "batch_size",
                     (json_int_t)o->fit.batch_size, "validation_split", o->fit.validation_split, "seed",
                     (json_int_t)o->fit.seed, "runs", o->runs, "optimizer",
                     optimizer_text(&o->fit.opt, text, sizeof text), "shuffle", o->fit.shuffle, "ranks",
                     ranks_size(), "models");
}

json_t *experiment_model_entry(experiment *e, const trained_model *t)
{
    json_t *list = json_object_get(e->run, "models"), *item;
    size_t i;
    json_array_foreach(list, i, item)
    {
        if (strcmp(json_string_value(json_object_get(item, "model")), t->label) == 0) return item;
    }
    item =
        json_pack("{s:s, s:I, s:o, s:o, s:[]}", "model", t->label, "parameters", (json_int_t)t->m->parameters,
                  "layers", summary_json(t->m, e->n), "implementations", net_choices(e->n), "runs");
    json_array_append_new(list, item);
    return item;
}

bool experiment_note_run(experiment *e, int run, const char *status)
{
    const fit_state *s = &e->state;
    json_array_append_new(json_object_get(experiment_model_entry(e, e->now), "runs"),
                          json_pack("{s:i, s:I, s:s, s:I, s:o, s:o, s:I, s:o, s:o}", "run", run, "seed",
                                    (json_int_t)e->fit.seed, "status", status, "epochs",
                                    (json_int_t)s->epochs_done, "test_loss", json_finite(s->test_loss),
                                    "test_accuracy", json_finite(s->test_accuracy), "best_epoch",
                                    (json_int_t)s->best_epoch, "best_val_loss", json_finite(s->best),
                                    "median_epoch_s", json_finite(history_median_epoch(s))));
    return experiment_save(e);
}

/* ---- runs.csv */

conv_status experiment_list_run(experiment *e, const run_label *label, conv_error *err)
{
    char path[4352];
    path_of(e, "runs.csv", path, sizeof path);
    runs_put(e->runs, label, &e->state);
    if (fflush(e->runs) != 0) return conv_fail(err, CONV_NO_MEMORY, "%.200s: no memory", path);
    return output_write(path, OUTPUT_OWN, e->runs_text, e->runs_size, err) ? CONV_OK : CONV_FAILED;
}

/* ---- the folder */

/* --out, or results/training-TIME or scaling-TIME, with a number behind it where two start in the same second. */
static bool claim_out(experiment *e, conv_error *err)
{
    char out[64];
    if (e->o->out_dir != NULL) return claim_folder(&e->out, e->o->out_dir, false, err);
    const char *name = e->scaling ? "results/scaling-%Y%m%dT%H%M%SZ" : "results/training-%Y%m%dT%H%M%SZ";
    size_t used = strlen(utc_text(time(NULL), name, out, sizeof out));
    for (int i = 2;; i++) {
        if (access(out, F_OK) != 0) {
            if (claim_folder(&e->out, out, false, err)) return true;
            if (access(out, F_OK) != 0) return false;
        }
        snprintf(out + used, sizeof out - used, "-%d", i);
    }
}

/* A training may go on in a folder whose run.json is a training's. */
static int check_kind(const char *path)
{
    json_error_t where;
    char why[RECORD_WHY_MAX];
    json_t *run = json_load_file(path, 0, &where);
    int code = EXIT_FINE;
    if (run == NULL)
        code = cli_error("%s:%d: not JSON: %s", path, where.line, where.text);
    else if (!record_suits(run, RECORD_IS(RECORD_TRAINING), why))
        code = cli_error("%s: %s", path, why);
    json_decref(run);
    return code;
}

/* A checkpoint that the user named may be another training's, whose folder is elsewhere. */
static int claim_checkpoint(experiment *e)
{
    conv_error err;
    if (e->o->checkpoint == NULL) return EXIT_FINE;
    if (!output_follow(e->o->checkpoint, e->checkpoint))
        return cli_error("--checkpoint: %s: %s", e->o->checkpoint, strerror(errno));
    return claim_file(&e->checkpoint_claim, e->checkpoint, &err) ? EXIT_FINE : complain(&err);
}

int experiment_open(experiment *e)
{
    char path[4352];
    conv_error err;
    if (!claim_out(e, &err)) return complain(&err);
    bool there = access(path_of(e, "run.json", path, sizeof path), F_OK) == 0;
    if (there && !e->o->resume && !e->scaling)
        return cli_error("%s holds a training run: --resume continues it, another --out starts anew",
                         e->out.path);
    int code = there ? check_kind(path) : EXIT_FINE;
    if (code == EXIT_FINE) code = claim_checkpoint(e);
    if (code != EXIT_FINE) return code;
    e->run = run_json_start(e);
    e->runs = open_memstream(&e->runs_text, &e->runs_size);
    if (e->run == NULL || e->runs == NULL) return cli_error("no memory");
    fputs(RUNS_COLUMNS_TEXT "\n", e->runs);
    e->fresh = !there;
    return there || experiment_save(e) ? EXIT_FINE : EXIT_USAGE;
}

void experiment_sweep(const experiment *e)
{
    static const char *const names[] = {"run.json", "runs.csv",    "profile.csv",   "history.csv",
                                        "best.npz", "weights.npz", "checkpoint.npz"};
    char path[4352];
    const char *const folders[] = {e->out.path, path_of(e, e->now->label, path, sizeof path), e->dir};
    for (size_t i = 0; i < sizeof folders / sizeof *folders; i++)
        output_sweep(folders[i], names, sizeof names / sizeof *names);
}

void experiment_close(experiment *e)
{
    char path[4352];
    if (e->fresh && experiment_is_empty(e)) unlink(path_of(e, "run.json", path, sizeof path));
    claim_drop(&e->checkpoint_claim);
    claim_undo(&e->out);
    if (e->runs != NULL) fclose(e->runs);
    free(e->runs_text);
    json_decref(e->run);
}

void experiment_put_command(const experiment *e, FILE *out)
{
    const experiment_options *o = e->o;
    char *quoted;
    size_t i;
    json_t *word;
    if (ranks_size() > 1) fprintf(out, "mpirun -n %d ", ranks_size());
    json_array_foreach(o->command, i, word)
    {
        quoted = i > 0 ? words_quote(json_string_value(word)) : strdup(json_string_value(word));
        fprintf(out, "%s%s", i > 0 ? " " : "", quoted != NULL ? quoted : "");
        free(quoted);
    }
    quoted = words_quote(e->out.path);
    fprintf(out, "%s%s%s", o->resume ? "" : " --resume", o->out_dir != NULL ? "" : " --out ",
            o->out_dir != NULL || quoted == NULL ? "" : quoted);
    free(quoted);
}

void experiment_say_how_to_resume(const experiment *e)
{
    char *text = NULL;
    size_t size;
    FILE *out = open_memstream(&text, &size);
    if (out == NULL) return;
    fprintf(out, "sepbench: interrupted after %lld epochs of %s; to go on: ", (long long)e->state.epochs_done,
            e->now->label);
    experiment_put_command(e, out);
    fputc('\n', out);
    if (fclose(out) == 0) fputs(text, stderr);
    free(text);
}
