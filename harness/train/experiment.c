/* Models times runs, their files, and what they come to. */
#include "experiment.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "../build_info.h"
#include "../cli.h"
#include "../machine.h"
#include "checkpoint.h"
#include "npz.h"
#include "summary.h"

typedef struct {
    char label[MODEL_NAME_MAX]; /* folder and column: "conv", or the file's name without .json */
    model *m;
    int finished;
    double loss[EXPERIMENT_MAX_RUNS], accuracy[EXPERIMENT_MAX_RUNS];
    double epoch_s; /* median over runs of the median epoch */
} trained_model;

typedef struct {
    const experiment_options *o;
    data_pair data;
    double load_began, chose_s; /* machine_now() before loading; seconds spent choosing implementations since */
    bool ready;                 /* the first step is past */
    trained_model *models;
    json_t *run; /* run.json */
    /* the run under way */
    trained_model *now;
    net *n;
    fit_state state;
    fit_options fit;
    char dir[4096], checkpoint[4352];
    epoch_line line;
    conv_error problem; /* a file that could not be written */
    int64_t steps;      /* since the profile was reset */
} experiment;

static int complain(const conv_error *err) { return cli_error("%s", err->text); }

/* ---- run.json ------------------------------------------------------------------------------------------- */

static bool write_json(const char *path, json_t *value)
{
    char temporary[4400];
    snprintf(temporary, sizeof temporary, "%s.tmp", path);
    if (json_dump_file(value, temporary, JSON_INDENT(1) | JSON_REAL_PRECISION(10)) == 0 &&
        rename(temporary, path) == 0)
        return true;
    cli_error("%s: cannot be written: %s", path, strerror(errno));
    unlink(temporary);
    return false;
}

static bool save_run_json(experiment *e)
{
    char path[4352];
    snprintf(path, sizeof path, "%s/run.json", e->o->out_dir);
    return write_json(path, e->run);
}

static json_t *number(double x) { return isfinite(x) ? json_real(x) : json_null(); }

static json_t *mean_json(sample_mean m)
{
    return json_pack("{s:i, s:o, s:o}", "n", m.n, "mean", number(m.mean), "std", number(m.std));
}

static json_t *run_json_start(const experiment *e)
{
    const experiment_options *o = e->o;
    char text[256];
    return json_pack("{s:i, s:s, s:s, s:O, s:o, s:{s:s, s:I, s:I, s:I}, s:{s:s, s:i, s:I, s:I, s:f, s:I, s:i, "
                     "s:s, s:b}, s:[]}",
                     "schema", HISTORY_SCHEMA, "kind", "training", "commit", build_commit(), "command",
                     o->command, "machine", machine_json(o->threads, NULL), "data", "dir", o->data_dir, "train",
                     (json_int_t)e->data.train.count, "test", (json_int_t)e->data.test.count, "crc",
                     (json_int_t)e->data.train.crc, "options", "impl", o->impls, "threads", o->threads,
                     "epochs", (json_int_t)o->fit.epochs, "batch_size", (json_int_t)o->fit.batch_size,
                     "validation_split", o->fit.validation_split, "seed", (json_int_t)o->fit.seed, "runs",
                     o->runs, "optimizer", optimizer_text(&o->fit.opt, text, sizeof text), "shuffle",
                     o->fit.shuffle, "models");
}

static json_t *model_entry(experiment *e, const trained_model *t)
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

/* ---- one run ------------------------------------------------------------------------------------------- */

/* Data on disk to first step, without the timing of implementations, which is remembered from run to run. The
 * epoch has been going on for `seconds`. */
static void note_ready(experiment *e, double seconds)
{
    double load_s = machine_now() - seconds - e->load_began - e->chose_s;
    e->ready = true;
    json_object_set_new(json_object_get(e->run, "data"), "load_s", json_real(load_s));
}

static void on_step(void *ctx, int64_t epoch, int64_t step, int64_t steps, double loss, double accuracy,
                    double seconds)
{
    experiment *e = ctx;
    if (!e->ready) note_ready(e, seconds);
    e->steps++;
    if (!e->o->quiet) epoch_line_step(&e->line, epoch, step, steps, loss, accuracy, seconds);
}

static bool on_epoch(void *ctx, const fit_epoch *row, bool best, int64_t steps)
{
    experiment *e = ctx;
    char path[4352];
    if (!e->o->quiet) epoch_line_end(&e->line, row, steps);
    conv_status status = CONV_OK;
    snprintf(path, sizeof path, "%s/best.npz", e->dir);
    if (best) status = weights_save(path, e->now->m, net_weights(e->n), &e->problem);
    snprintf(path, sizeof path, "%s/history.csv", e->dir);
    if (status == CONV_OK) status = history_write(path, &e->state, &e->problem);
    /* Last, for a run that goes on from it does not make the others again. */
    if (status == CONV_OK)
        status = checkpoint_save(e->checkpoint, e->now->m, &e->data, &e->fit, &e->state, e->n, &e->problem);
    return status == CONV_OK;
}

static bool exists(const char *path) { return access(path, F_OK) == 0; }

/* The network, with the implementations a resumed checkpoint wants, its weights set. An exit code. */
static int start_run(experiment *e, int run)
{
    const experiment_options *o = e->o;
    conv_error err;
    bool resuming = o->resume && exists(e->checkpoint);
    if (o->resume && o->checkpoint != NULL && !resuming)
        return cli_error("%s: no such checkpoint", o->checkpoint);
    json_t *choices = NULL;
    if (resuming && (choices = checkpoint_choices(e->checkpoint, e->now->m, &e->data, &e->fit, &err)) == NULL)
        return complain(&err);
    net_options options = {.threads = o->threads,
                           .batch = o->fit.batch_size,
                           .slice = o->slice,
                           .impls = o->impls,
                           .choices = choices != NULL
                                          ? choices
                                          : json_object_get(json_object_get(e->run, "chosen"), e->now->label),
                           .seed = e->fit.seed};
    net_destroy(e->n);
    double start = machine_now();
    e->n = net_create(e->now->m, &options, &err);
    e->chose_s += machine_now() - start;
    json_decref(choices);
    if (e->n == NULL) return complain(&err);
    if (!fit_state_create(e->now->m, &e->fit, &e->state))
        return cli_error("no memory for the optimizer's state");
    if (json_object_get(e->run, "chosen") == NULL) json_object_set_new(e->run, "chosen", json_object());
    json_object_set_new(json_object_get(e->run, "chosen"), e->now->label, net_choices(e->n));

    fit_initialize(e->now->m, e->fit.seed, e->n);
    conv_status status = CONV_OK;
    if (resuming)
        status = checkpoint_load(e->checkpoint, e->now->m, &e->data, &e->fit, &e->state, e->n, &err);
    else if (o->weights_in != NULL)
        status = weights_load(o->weights_in, e->now->m, net_weights(e->n), &err);
    if (status != CONV_OK) return complain(&err);
    net_weights_changed(e->n);
    if (!o->quiet && run == 1) summary_print(stdout, e->now->m, e->n);
    if (!o->quiet && resuming)
        printf("Resuming %s run %d after epoch %lld\n", e->now->label, run, (long long)e->state.epochs_done);
    return EXIT_FINE;
}

/* The command that goes on where an interrupt stopped this one. */
static void say_how_to_resume(const experiment *e)
{
    const experiment_options *o = e->o;
    char text[8192] = "";
    size_t i, used = 0;
    json_t *word;
    json_array_foreach(o->command, i, word)
    {
        if (used < sizeof text)
            used += (size_t)snprintf(text + used, sizeof text - used, "%s%s", i > 0 ? " " : "",
                                     json_string_value(word));
    }
    fprintf(stderr, "sepbench: interrupted after %lld epochs of %s; to go on: %s%s%s%s\n",
            (long long)e->state.epochs_done, e->now->label, text, o->resume ? "" : " --resume",
            o->out_named ? "" : " --out ", o->out_named ? "" : o->out_dir);
}

static int finish_run(experiment *e, int run, fit_result result, const conv_error *err)
{
    static const char *const words[] = {"ok", "stopped", "diverged", "failed"};
    const experiment_options *o = e->o;
    trained_model *t = e->now;
    char path[4352];
    conv_error problem;
    conv_status status = CONV_OK;
    if (result == FIT_DONE) {
        t->loss[t->finished] = e->state.test_loss;
        t->accuracy[t->finished++] = e->state.test_accuracy;
        if (!o->quiet)
            printf("Test loss: %.4f\nTest accuracy: %.4f\n", e->state.test_loss, e->state.test_accuracy);
        status = checkpoint_save(e->checkpoint, t->m, &e->data, &e->fit, &e->state, e->n, &problem);
        snprintf(path, sizeof path, "%s/weights.npz", e->dir);
        if (status == CONV_OK) status = weights_save(path, t->m, net_weights(e->n), &problem);
        if (status == CONV_OK && o->weights_out != NULL)
            status = weights_save(o->weights_out, t->m, net_weights(e->n), &problem);
    }
    snprintf(path, sizeof path, "%s/runs.csv", o->out_dir);
    run_label label = {t->label, run, e->fit.seed, o->impls, o->threads, o->fit.batch_size, words[result]};
    if (status == CONV_OK) status = runs_append(path, &label, &e->state, &problem);
    snprintf(path, sizeof path, "%s/%s/profile.csv", o->out_dir, t->label);
    if (status == CONV_OK && e->steps > 0)
        status = profile_write(path, e->n, e->steps, o->fit.batch_size, &problem);

    json_array_append_new(json_object_get(model_entry(e, t), "runs"),
                          json_pack("{s:i, s:I, s:s, s:I, s:o, s:o, s:I, s:o, s:o}", "run", run, "seed",
                                    (json_int_t)e->fit.seed, "status", words[result], "epochs",
                                    (json_int_t)e->state.epochs_done, "test_loss", number(e->state.test_loss),
                                    "test_accuracy", number(e->state.test_accuracy), "best_epoch",
                                    (json_int_t)e->state.best_epoch, "best_val_loss", number(e->state.best),
                                    "median_epoch_s", number(history_median_epoch(&e->state))));
    if (!save_run_json(e)) return EXIT_USAGE;
    if (status != CONV_OK) return complain(&problem);
    if (result == FIT_DIVERGED) {
        char kept[4500] = "no epoch was complete";
        if (e->state.epochs_done > 0)
            snprintf(kept, sizeof kept, "%s is of epoch %lld", e->checkpoint, (long long)e->state.epochs_done);
        cli_error("%s run %d: %s: stopped; %s", t->label, run, err->text, kept);
        return EXIT_INVALID;
    }
    if (result == FIT_STOPPED && cli_interrupted()) {
        say_how_to_resume(e);
        return cli_signal_exit_code();
    }
    if (result == FIT_STOPPED) return complain(&e->problem);
    return result == FIT_FAILED ? (complain(err), EXIT_INVALID) : EXIT_FINE;
}

static int train_once(experiment *e, trained_model *t, int run)
{
    const experiment_options *o = e->o;
    conv_error err = {""};
    e->now = t;
    e->fit = o->fit;
    e->fit.seed = o->fit.seed + (uint64_t)run - 1;
    snprintf(e->dir, sizeof e->dir, "%.3000s/%s/run-%d", o->out_dir, t->label, run);
    if (o->checkpoint != NULL)
        snprintf(e->checkpoint, sizeof e->checkpoint, "%s", o->checkpoint);
    else
        snprintf(e->checkpoint, sizeof e->checkpoint, "%s/checkpoint.npz", e->dir);
    e->state = (fit_state){0};
    int code = start_run(e, run);
    if (code == EXIT_FINE && !cli_make_path(e->dir)) code = cli_error("%s: %s", e->dir, strerror(errno));
    if (code == EXIT_FINE) {
        if (!o->quiet && o->runs * o->model_count > 1)
            printf("%s: run %d of %d, seed %llu\n", t->label, run, o->runs, (unsigned long long)e->fit.seed);
        epoch_line_start(&e->line, stdout, o->fit.epochs);
        net_profile_reset(e->n);
        e->steps = 0;
        fit_watch watch = {.on_step = on_step, .on_epoch = on_epoch, .interrupted = cli_interrupted, .ctx = e};
        fit_result result = fit_run(e->n, t->m, &e->data, &e->fit, &e->state, &watch, &err);
        if (result != FIT_DONE && !o->quiet) epoch_line_break(&e->line);
        code = finish_run(e, run, result, &err);
    }
    fit_state_destroy(&e->state);
    return code;
}

/* ---- all of it ----------------------------------------------------------------------------------------- */

static void label_of(const char *name, char *label)
{
    const char *slash = strrchr(name, '/');
    snprintf(label, MODEL_NAME_MAX, "%s", slash != NULL ? slash + 1 : name);
    size_t length = strlen(label);
    if (length > 5 && strcmp(label + length - 5, ".json") == 0) label[length - 5] = 0;
}

static int load_models(experiment *e)
{
    const experiment_options *o = e->o;
    conv_error err;
    for (int i = 0; i < o->model_count; i++) {
        trained_model *t = &e->models[i];
        label_of(o->models[i], t->label);
        for (int k = 0; k < i; k++)
            if (strcmp(e->models[k].label, t->label) == 0)
                return cli_error("--model: '%s' is there twice", t->label);
        t->m = model_load(o->models[i], &err);
        if (t->m == NULL) return complain(&err);
        int64_t pixels = e->data.train.rows * e->data.train.columns;
        char text[64];
        if (shape_count(&t->m->in) != pixels)
            return cli_error("%s: its input is %s: the images of %s have %lldx%lld pixels", o->models[i],
                             shape_text(&t->m->in, text), o->data_dir, (long long)e->data.train.rows,
                             (long long)e->data.train.columns);
        if (data_check_labels(&e->data, shape_count(&t->m->layers[t->m->layer_count - 1].out), &err) != CONV_OK)
            return complain(&err);
    }
    return EXIT_FINE;
}

static void conclude_model(experiment *e, const trained_model *t)
{
    sample_mean loss = mean_of(t->loss, t->finished), accuracy = mean_of(t->accuracy, t->finished);
    json_t *entry = model_entry(e, t);
    json_object_set_new(entry, "test_loss", mean_json(loss));
    json_object_set_new(entry, "test_accuracy", mean_json(accuracy));
    if (e->o->quiet || t->finished < 2) return;
    printf("%s: %d runs: test loss %.4f (std %.4f), test accuracy %.4f (std %.4f)\n", t->label, t->finished,
           loss.mean, loss.std, accuracy.mean, accuracy.std);
}

static json_t *interval(const char *what, sample_mean a, sample_mean b, bool print)
{
    double difference, low, high;
    if (!welch_interval(a, b, &difference, &low, &high)) return json_null();
    if (print) printf("  test %s: %+.4f, 95%% interval %+.4f to %+.4f\n", what, difference, low, high);
    return json_pack("{s:o, s:o, s:o}", "difference", number(difference), "ci95_low", number(low), "ci95_high",
                     number(high));
}

static void conclude_difference(experiment *e)
{
    const trained_model *a = &e->models[0], *b = &e->models[1];
    bool print = !e->o->quiet && a->finished > 1 && b->finished > 1;
    if (print) printf("%s minus %s:\n", b->label, a->label);
    json_t *accuracy =
        interval("accuracy", mean_of(b->accuracy, b->finished), mean_of(a->accuracy, a->finished), print);
    json_t *loss = interval("loss", mean_of(b->loss, b->finished), mean_of(a->loss, a->finished), print);
    json_object_set_new(e->run, "difference",
                        json_pack("{s:s, s:s, s:o, s:o}", "of", b->label, "minus", a->label, "test_accuracy",
                                  accuracy, "test_loss", loss));
}

int experiment_run(const experiment_options *o)
{
    experiment e = {.o = o};
    conv_error err;
    char path[4352];
    int code = machine_need_threads(o->threads);
    if (code != EXIT_FINE) return code;
    e.load_began = machine_now();
    if (data_load(o->data_dir, &e.data, &err) != CONV_OK) return complain(&err);
    e.models = calloc((size_t)o->model_count, sizeof *e.models);
    if (e.models == NULL) code = cli_error("no memory");
    if (code == EXIT_FINE) code = load_models(&e);
    if (code != EXIT_FINE) goto done;

    snprintf(path, sizeof path, "%s/run.json", o->out_dir);
    if (exists(path) && !o->resume) {
        code =
            cli_error("%s holds a training run: --resume continues it, another --out starts anew", o->out_dir);
        goto done;
    }
    e.run = run_json_start(&e);
    snprintf(path, sizeof path, "%s/runs.csv", o->out_dir);
    unlink(path); /* finished runs of a resumed folder are listed again from their checkpoints */
    for (int i = 0; i < o->model_count && code == EXIT_FINE; i++) {
        for (int run = 1; run <= o->runs && code == EXIT_FINE; run++) code = train_once(&e, &e.models[i], run);
        if (e.models[i].finished > 0) conclude_model(&e, &e.models[i]);
    }
    if (o->model_count > 1 && code == EXIT_FINE) conclude_difference(&e);
    if (code == EXIT_FINE) { /* the report compares with the peak; measured last, it holds up nothing */
        machine_ceilings ceilings = machine_measure_ceilings(o->threads, false);
        json_object_set_new(e.run, "machine", machine_json(o->threads, &ceilings));
    }
    if (json_array_size(json_object_get(e.run, "models")) > 0 && !save_run_json(&e) && code == EXIT_FINE)
        code = EXIT_USAGE;
    if (!o->quiet && code == EXIT_FINE) printf("Written to %s\n", o->out_dir);
done:
    net_destroy(e.n);
    for (int i = 0; e.models != NULL && i < o->model_count; i++) free(e.models[i].m);
    free(e.models);
    json_decref(e.run);
    data_free(&e.data);
    return code;
}
