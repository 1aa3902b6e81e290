/* Models times runs, their files, and what they come to. */
#include "experiment_internal.h"

#include <errno.h>
#include <math.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "../harness/cli.h"
#include "../harness/json.h"
#include "../harness/machine/machine.h"
#include "../harness/ranks/ranks.h"
#include "../harness/text.h"
#include "../harness/train/checkpoint.h"
#include "../harness/train/weights.h"

static int complain(const conv_error *err) { return cli_error("%s", err->text); }

/* ---- one run */

/* Data on disk to first step, without the timing of implementations, which is remembered from run to run. The
 * epoch has been going on for `seconds`. */
static void note_ready(experiment *e, double seconds)
{
    double load_s = machine_now() - seconds - e->load_began - e->chose_s;
    e->ready = true;
    json_object_set_new(json_object_get(e->run, "data"), "load_s", json_real(load_s));
}

static fit_session session_of(experiment *e)
{
    return (fit_session){e->n, e->now->m, &e->data, &e->fit, &e->state};
}

static void on_step(void *ctx, const fit_step *step)
{
    experiment *e = ctx;
    if (!e->ready) note_ready(e, step->seconds);
    e->steps++;
    if (!e->o->quiet) epoch_line_step(&e->line, step);
}

static bool on_epoch(void *ctx, const fit_epoch *row, bool best, int64_t steps)
{
    experiment *e = ctx;
    char path[4352];
    if (!e->o->quiet) epoch_line_end(&e->line, row, steps);
    conv_status status = CONV_OK;
    const fit_session f = session_of(e);
    snprintf(path, sizeof path, "%s/best.npz", e->dir);
    if (best) status = weights_save(path, OUTPUT_OWN, e->now->m, net_weights(e->n), &e->problem);
    snprintf(path, sizeof path, "%s/history.csv", e->dir);
    if (status == CONV_OK) status = history_write(path, &e->state, &e->problem);
    /* Last, for a run that goes on from it does not make the others again. */
    if (status == CONV_OK) status = checkpoint_save(e->checkpoint, &f, &e->problem);
    return status == CONV_OK;
}

static bool exists(const char *path) { return access(path, F_OK) == 0; }

/* Whether this process has the folder: rank 0. */
static bool is_writer(void) { return ranks_rank() == 0; }

/* Whether a checkpoint is to be gone on from, and what it says of implementations. An exit code. */
static int look_for_checkpoint(experiment *e, bool *resuming, json_t **choices)
{
    const experiment_options *o = e->o;
    conv_error err;
    const fit_session f = session_of(e);
    if (!is_writer()) return EXIT_FINE;
    *resuming = o->resume && exists(e->checkpoint);
    if (o->resume && o->checkpoint != NULL && !*resuming)
        return cli_error("%s: no such checkpoint", o->checkpoint);
    if (!o->resume && exists(e->checkpoint))
        return cli_error("%s is there already: --resume continues it, another name starts anew", e->checkpoint);
    if (*resuming && (*choices = checkpoint_choices(e->checkpoint, &f, &err)) == NULL) return complain(&err);
    return EXIT_FINE;
}

/* The network with these implementations; NULL: those of the model's earlier runs, or to be chosen. */
static int create_net(experiment *e, json_t *choices, int64_t slice)
{
    const experiment_options *o = e->o;
    conv_error err;
    net_options options = {.threads = o->threads,
                           .batch = o->fit.batch_size,
                           .slice = slice,
                           .impls = o->impls,
                           .wisdom = o->wisdom,
                           .choices = choices != NULL
                                          ? choices
                                          : json_object_get(json_object_get(e->run, "chosen"), e->now->label),
                           .seed = e->fit.seed,
                           .alone = e->alone,
                           .part = e->part_slice > 0};
    double start = machine_now();
    e->n = net_create(e->now->m, &options, &err);
    e->chose_s += machine_now() - start;
    return e->n != NULL ? EXIT_FINE : complain(&err);
}

int experiment_create_nets(experiment *e, json_t *choices)
{
    net_destroy(e->n);
    e->n = NULL;
    int64_t slice = e->part_slice > 0 ? e->part_slice : e->o->slice;
    int code = is_writer() ? create_net(e, choices, slice) : EXIT_FINE;
    if (ranks_size() == 1) return code;
    code = ranks_agree(code);
    if (code != EXIT_FINE) return code;
    json_t *chosen = is_writer() ? net_choices(e->n) : NULL;
    char *text = ranks_share_text(chosen != NULL ? json_dumps(chosen, JSON_COMPACT) : NULL);
    if (is_writer()) slice = net_slice(e->n);
    ranks_share(&slice, sizeof slice);
    if (!is_writer()) chosen = json_loads(text, 0, NULL);
    if (!is_writer()) code = create_net(e, chosen, slice);
    json_decref(chosen);
    free(text);
    return ranks_agree(code);
}

/* The weights, and where a resumed run stands. */
static int load_state(experiment *e, bool resuming)
{
    const experiment_options *o = e->o;
    conv_error err;
    conv_status status = CONV_OK;
    const fit_session f = session_of(e);
    fit_initialize(e->now->m, e->fit.seed, e->n);
    if (resuming && is_writer())
        status = checkpoint_load(e->checkpoint, &f, &err);
    else if (o->weights_in != NULL && is_writer())
        status = weights_load(o->weights_in, e->now->m, net_weights(e->n), &err);
    int code = ranks_agree(status == CONV_OK ? EXIT_FINE : complain(&err));
    if (code == EXIT_FINE) fit_share(&f);
    return code;
}

static int start_run(experiment *e, int run)
{
    const experiment_options *o = e->o;
    bool resuming = false;
    json_t *choices = NULL;
    int code = ranks_agree(look_for_checkpoint(e, &resuming, &choices));
    if (code == EXIT_FINE) code = experiment_create_nets(e, choices);
    json_decref(choices);
    if (code != EXIT_FINE) return code;
    bool room = fit_state_create(e->now->m, &e->fit, &e->state);
    code = ranks_agree(room ? EXIT_FINE : cli_error("no memory for the optimizer's state"));
    if (code != EXIT_FINE) return code;
    if (json_object_get(e->run, "chosen") == NULL) json_object_set_new(e->run, "chosen", json_object());
    json_object_set_new(json_object_get(e->run, "chosen"), e->now->label, net_choices(e->n));

    code = load_state(e, resuming);
    if (code != EXIT_FINE) return code;
    if (!o->quiet && run == 1) summary_print(stdout, e->now->m, e->n);
    if (!o->quiet && resuming)
        printf("Resuming %s run %d after epoch %lld\n", e->now->label, run, (long long)e->state.epochs_done);
    return EXIT_FINE;
}

/* Files, and words about how it ended; of the writer. */
static int finish_run(experiment *e, int run, fit_result result, const conv_error *err)
{
    static const char *const words[] = {"ok", "stopped", "diverged", "failed"};
    const experiment_options *o = e->o;
    trained_model *t = e->now;
    char path[4352];
    conv_error problem;
    conv_status status = CONV_OK;
    const fit_session f = session_of(e);
    if (result == FIT_DONE) {
        t->loss[t->finished] = e->state.test_loss;
        t->accuracy[t->finished++] = e->state.test_accuracy;
        if (!o->quiet)
            printf("Test loss: %.4f\nTest accuracy: %.4f\n", e->state.test_loss, e->state.test_accuracy);
        status = checkpoint_save(e->checkpoint, &f, &problem);
        snprintf(path, sizeof path, "%s/weights.npz", e->dir);
        if (status == CONV_OK) status = weights_save(path, OUTPUT_OWN, t->m, net_weights(e->n), &problem);
        if (status == CONV_OK && o->weights_out != NULL)
            status = weights_save(o->weights_out, OUTPUT_NAMED, t->m, net_weights(e->n), &problem);
    }
    run_label label = {t->label, run, e->fit.seed, o->impls, o->threads, o->fit.batch_size, words[result]};
    if (status == CONV_OK) status = experiment_list_run(e, &label, &problem);
    snprintf(path, sizeof path, "%s/%s/profile.csv", e->out.path, t->label);
    if (status == CONV_OK && e->steps > 0)
        status = profile_write(path, e->n, e->steps, o->fit.batch_size, &problem);

    if (!experiment_note_run(e, run, words[result])) return EXIT_USAGE;
    if (status != CONV_OK) return complain(&problem);
    if (result == FIT_DIVERGED) {
        char kept[4500] = "no epoch was complete";
        if (e->state.epochs_done > 0)
            snprintf(kept, sizeof kept, "%s is of epoch %lld", e->checkpoint, (long long)e->state.epochs_done);
        cli_error("%s run %d: %s: stopped; %s", t->label, run, err->text, kept);
        return EXIT_INVALID;
    }
    if (result == FIT_STOPPED && (cli_interrupted() || e->problem.text[0] == '\0')) {
        experiment_say_how_to_resume(e);
        return cli_interrupted() ? cli_signal_exit_code() : 128 + SIGTERM; /* or another rank was told to end */
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
    snprintf(e->dir, sizeof e->dir, "%.3000s/%s/run-%d", e->out.path, t->label, run);
    if (o->checkpoint == NULL) snprintf(e->checkpoint, sizeof e->checkpoint, "%s/checkpoint.npz", e->dir);
    e->state = (fit_state){0};
    e->problem.text[0] = '\0';
    int code = start_run(e, run);
    if (code == EXIT_FINE && is_writer() && !cli_make_path(e->dir))
        code = cli_error("%s: %s", e->dir, strerror(errno));
    code = ranks_agree(code);
    if (code == EXIT_FINE && is_writer()) experiment_sweep(e);
    if (code == EXIT_FINE) {
        if (!o->quiet && o->runs * o->model_count > 1)
            printf("%s: run %d of %d, seed %llu\n", t->label, run, o->runs, (unsigned long long)e->fit.seed);
        epoch_line_start(&e->line, stdout, o->fit.epochs);
        net_profile_reset(e->n);
        e->steps = 0;
        fit_watch watch = {.on_step = on_step, .on_epoch = on_epoch, .interrupted = cli_interrupted, .ctx = e};
        const fit_session f = session_of(e);
        fit_result result = fit_run(&f, &watch, &err);
        if (result != FIT_DONE && !o->quiet) epoch_line_break(&e->line);
        code = ranks_agree(is_writer() ? finish_run(e, run, result, &err) : EXIT_FINE);
    }
    fit_state_destroy(&e->state);
    return code;
}

/* Of the ending that makes it a file's name, or 0. */
static size_t ending_of(const char *name)
{
    const char *dot = strrchr(name, '.');
    return dot != NULL && (strcmp(dot, ".json") == 0 || strcmp(dot, ".keras") == 0) ? strlen(dot) : 0;
}

/* ---- all of it */

/* False when the file's name cannot name a model. */
static bool label_of(const char *name, char *label)
{
    const char *slash = strrchr(name, '/'), *base = slash != NULL ? slash + 1 : name;
    size_t length = strlen(base), ending = ending_of(base);
    if (length > ending) length -= ending;
    return length < TEXT_MODEL_MAX && snprintf(label, TEXT_MODEL_MAX, "%.*s", (int)length, base) > 0 &&
           text_is_model(label);
}

/* What is in the folder already. */
static bool is_taken(const char *label)
{
    static const char *const names[] = {"run.json", "runs.csv", HISTORY_SCALING_FILES, HISTORY_PEER_FILES};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (strcmp(label, names[i]) == 0) return true;
    return false;
}

static model *load_model(const char *name, conv_error *err)
{
    if (ending_of(name) > 0 || network_is_bundled(name)) return model_read(name, err);
    conv_fail(err, CONV_INVALID, "model '%s': neither " NETWORK_BUNDLED " nor a path ending in .json or .keras",
              name);
    return NULL;
}

static int load_models(experiment *e)
{
    const experiment_options *o = e->o;
    conv_error err;
    for (int i = 0; i < o->model_count; i++) {
        trained_model *t = &e->models[i];
        if (!label_of(o->models[i], t->label))
            return cli_error("--model: '%s': a model's file has a name of at most %d bytes of plain text, "
                             "without \\ \" ` < > and no dot first",
                             o->models[i], TEXT_MODEL_MAX - 1);
        if (is_taken(t->label))
            return cli_error("--model: '%s' cannot name a folder of results: rename the file", o->models[i]);
        for (int k = 0; k < i; k++)
            if (strcmp(e->models[k].label, t->label) == 0)
                return cli_error("--model: '%s' is there twice", t->label);
        t->m = load_model(o->models[i], &err);
        if (t->m == NULL) return complain(&err);
        if (experiment_check_model(o, o->models[i], t->m, &e->data) != EXIT_FINE) return EXIT_USAGE;
    }
    return EXIT_FINE;
}

static json_t *mean_json(sample_mean m)
{
    return json_pack("{s:i, s:o, s:o}", "n", m.n, "mean", json_finite(m.mean), "std", json_finite(m.std));
}

static void conclude_model(experiment *e, const trained_model *t)
{
    sample_mean loss = mean_of(t->loss, t->finished), accuracy = mean_of(t->accuracy, t->finished);
    json_t *entry = experiment_model_entry(e, t);
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
    return json_pack("{s:o, s:o, s:o}", "difference", json_finite(difference), "ci95_low", json_finite(low),
                     "ci95_high", json_finite(high));
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

/* The models, one after another. */
static int train_all(experiment *e)
{
    const experiment_options *o = e->o;
    int code = EXIT_FINE;
    for (int i = 0; i < o->model_count && code == EXIT_FINE; i++) {
        for (int run = 1; run <= o->runs && code == EXIT_FINE; run++) code = train_once(e, &e->models[i], run);
        if (e->models[i].finished > 0) conclude_model(e, &e->models[i]);
    }
    return code;
}

/* What the whole came to; of the writer. */
static int conclude(experiment *e, int code)
{
    const experiment_options *o = e->o;
    if (o->model_count > 1 && code == EXIT_FINE) conclude_difference(e);
    if (code == EXIT_FINE) { /* the report compares with the peak; measured last, it holds up nothing */
        machine_ceilings ceilings = machine_measure_ceilings(o->threads, false);
        json_object_set_new(e->run, "machine", machine_json(o->threads, &ceilings));
    }
    if (!experiment_is_empty(e) && !experiment_save(e) && code == EXIT_FINE) code = EXIT_USAGE;
    if (!o->quiet && code == EXIT_FINE) printf("Written to %s\n", e->out.path);
    return code;
}

int experiment_load(experiment *e)
{
    conv_error err;
    int code = machine_need_threads(e->o->threads);
    if (code != EXIT_FINE) return code;
    e->load_began = machine_now();
    if (data_load(e->o->data_dir, &e->data, &err) != CONV_OK) return complain(&err);
    code = experiment_check_split(&e->o->fit, &e->data);
    if (code != EXIT_FINE) return code;
    e->models = calloc((size_t)e->o->model_count, sizeof *e->models);
    return e->models != NULL ? load_models(e) : cli_error("no memory");
}

void experiment_unload(experiment *e)
{
    net_destroy(e->n);
    for (int i = 0; e->models != NULL && i < e->o->model_count; i++) free(e->models[i].m);
    free(e->models);
    data_free(&e->data);
}

/* For whoever finds a rank dead; without a folder there is nothing yet to resume. */
static void put_command(void *ctx, FILE *to)
{
    const experiment *e = ctx;
    if (e->out.path[0] != '\0')
        experiment_put_command(ctx, to);
    else
        fputs("the same command again", to);
}

int experiment_run(const experiment_options *o)
{
    experiment e = {.o = o};
    ranks_when_lost(put_command, &e);
    int code = ranks_agree(experiment_load(&e));
    if (code == EXIT_FINE) code = experiment_check_ranks(&e);
    if (code != EXIT_FINE) goto done;
    code = ranks_agree(is_writer() ? experiment_open(&e) : EXIT_FINE);
    if (code == EXIT_FINE) {
        ranks_share(e.out.path, sizeof e.out.path);
        code = train_all(&e);
        if (is_writer()) code = conclude(&e, code);
        code = ranks_agree(code);
    }
    if (is_writer()) experiment_close(&e);
done:
    ranks_when_lost(NULL, NULL);
    experiment_unload(&e);
    return code;
}
