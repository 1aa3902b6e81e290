/* Reads the files of a training: runs.csv, and for each model its histories and profile. */
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "../grow.h"
#include "../json.h"
#include "../stats.h"
#include "../text.h"
#include "../train/history.h"
#include "csv_table.h"
#include "training.h"

/* As in runs.csv. */
static const char *const levels[TRAINING_LEVELS] = {"0.97", "0.98", "0.985", "0.99"};

/* ---- the files */

/* What the epoch takes; others on the cores are left out of it where the file tells. */
static bool epoch_seconds(const csv_table *t, training_epoch *e, conv_error *err)
{
    double quiet;
    if (!csv_table_number(t, "epoch_s", &e->seconds, err) || !csv_table_number(t, "quiet_s", &quiet, err))
        return false;
    if (quiet > 0) e->seconds = quiet;
    return true;
}

static bool load_history(const char *path, training_run *run, conv_error *err)
{
    csv_table t;
    if (!csv_table_open(&t, path, err)) return false;
    bool fine = true;
    while (fine && csv_next(&t.reader)) {
        training_epoch *e = grow(&run->history, &run->count, sizeof *run->history);
        fine = e != NULL && csv_table_number(&t, "epoch", &e->epoch, err) &&
               csv_table_number(&t, "loss", &e->loss, err) &&
               csv_table_number(&t, "accuracy", &e->accuracy, err) &&
               csv_table_number(&t, "val_loss", &e->val_loss, err) &&
               csv_table_number(&t, "val_accuracy", &e->val_accuracy, err) && epoch_seconds(&t, e, err);
    }
    return csv_table_close(&t, err) && fine;
}

static bool load_profile(const char *path, training_model *m, conv_error *err)
{
    csv_table t;
    if (access(path, R_OK) != 0) return true; /* written at a model's end */
    if (!csv_table_open(&t, path, err)) return false;
    bool fine = true;
    while (fine && csv_next(&t.reader)) {
        training_operation *o = grow(&m->profile, &m->profile_count, sizeof *m->profile);
        if (o == NULL) break;
        snprintf(o->layer, sizeof o->layer, "%s", csv_table_text(&t, "layer"));
        snprintf(o->operation, sizeof o->operation, "%s", csv_table_text(&t, "operation"));
        snprintf(o->pass, sizeof o->pass, "%s", csv_table_text(&t, "pass"));
        fine = csv_table_number(&t, "ns_per_step", &o->ns, err) &&
               csv_table_number(&t, "percent", &o->percent, err) &&
               csv_table_number(&t, "gflops", &o->gflops, err) &&
               csv_table_number(&t, "flops_per_step", &o->flops, err);
    }
    return csv_table_close(&t, err) && fine;
}

/* The model of the record's name, implementation and layout, of our own or of a peer, made where it is new. */
static training_model *model_of(report_training *t, const char *dir, const csv_table *rows, bool peer,
                                conv_error *err)
{
    const char *model = csv_table_text(rows, "model"), *impl = csv_table_text(rows, "impl"),
               *layout = csv_table_text(rows, "layout");
    for (size_t i = 0; i < t->count; i++) {
        training_model *m = &t->models[i];
        if (m->peer == peer && strcmp(m->dir, dir) == 0 && strcmp(m->model, model) == 0 &&
            strcmp(m->impl, impl) == 0 && strcmp(m->layout, layout) == 0)
            return m;
    }
    int threads, batch;
    char path[4352];
    if (!csv_table_whole(rows, "threads", INT32_MAX, &threads, err) ||
        !csv_table_whole(rows, "batch_size", INT32_MAX, &batch, err))
        return NULL;
    training_model *m = grow(&t->models, &t->count, sizeof *t->models);
    if (m == NULL) return NULL;
    snprintf(m->dir, sizeof m->dir, "%s", dir);
    snprintf(m->model, sizeof m->model, "%s", model);
    snprintf(m->impl, sizeof m->impl, "%s", impl);
    snprintf(m->layout, sizeof m->layout, "%s", layout);
    m->peer = peer;
    m->threads = threads;
    m->batch = batch;
    snprintf(path, sizeof path, "%s/%s/profile.csv", dir, m->model);
    return peer || load_profile(path, m, err) ? m : NULL;
}

static bool load_run(report_training *t, const char *dir, const csv_table *runs, conv_error *err)
{
    bool named = csv_table_name(runs, "model", text_is_model, err) &&
                 csv_table_name(runs, "impl", text_is_name_list, err);
    training_model *m = named ? model_of(t, dir, runs, false, err) : NULL;
    training_run *r = m != NULL ? grow(&m->runs, &m->count, sizeof *m->runs) : NULL;
    if (r == NULL || !csv_table_whole(runs, "run", INT32_MAX, &r->run, err)) return false;
    snprintf(r->status, sizeof r->status, "%s", csv_table_text(runs, "status"));
    bool fine = csv_table_number(runs, "epochs", &r->epochs, err) &&
                csv_table_number(runs, "test_loss", &r->test_loss, err) &&
                csv_table_number(runs, "test_accuracy", &r->test_accuracy, err) &&
                csv_table_number(runs, "median_epoch_s", &r->epoch_s, err) &&
                csv_table_number(runs, "images_per_s", &r->images_per_s, err);
    char column[32], path[4352];
    for (int i = 0; i < TRAINING_LEVELS && fine; i++) {
        snprintf(column, sizeof column, "s_to_%s", levels[i]);
        fine = csv_table_number(runs, column, &r->seconds_to[i], err);
    }
    snprintf(path, sizeof path, "%s/%s/run-%d/history.csv", dir, m->model, r->run);
    return fine && (access(path, R_OK) != 0 || load_history(path, r, err));
}

static training_run *peer_run(training_model *m)
{
    training_run *run = grow(&m->runs, &m->count, sizeof *m->runs);
    if (run == NULL) return NULL;
    run->run = (int)m->count;
    run->test_loss = run->test_accuracy = run->images_per_s = NAN;
    for (int i = 0; i < TRAINING_LEVELS; i++) run->seconds_to[i] = NAN;
    return run;
}

/* One line per epoch of each model and layout; where epochs begin again, another run. */
static bool add_peer_epoch(report_training *t, const char *dir, const csv_table *rows, conv_error *err)
{
    double epoch;
    if (!csv_table_name(rows, "model", text_is_model, err) ||
        !csv_table_name(rows, "impl", text_is_model, err) ||
        !csv_table_name(rows, "layout", text_is_model, err))
        return false;
    training_model *m = model_of(t, dir, rows, true, err);
    if (m == NULL || !csv_table_number(rows, "epoch", &epoch, err)) return false;
    training_run *run = m->count > 0 ? &m->runs[m->count - 1] : NULL;
    if (run == NULL || epoch <= run->history[run->count - 1].epoch) run = peer_run(m);
    training_epoch *e = run != NULL ? grow(&run->history, &run->count, sizeof *run->history) : NULL;
    if (e == NULL) return false;
    e->epoch = epoch;
    e->val_loss = e->val_accuracy = NAN;
    return csv_table_number(rows, "loss", &e->loss, err) &&
           csv_table_number(rows, "accuracy", &e->accuracy, err) &&
           csv_table_number(rows, "test_accuracy", &run->test_accuracy, err) && epoch_seconds(rows, e, err);
}

static bool load_peer(const char *dir, const char *name, report_training *t, conv_error *err)
{
    char path[4352];
    csv_table rows;
    snprintf(path, sizeof path, "%s/%s", dir, name);
    if (access(path, R_OK) != 0) return true; /* optional */
    if (!csv_table_open(&rows, path, err)) return false;
    bool fine = true;
    while (fine && csv_next(&rows.reader)) fine = add_peer_epoch(t, dir, &rows, err);
    return csv_table_close(&rows, err) && fine;
}

/* Whether a model's entry in run.json lists a separable or depthwise layer. */
static bool is_separable(const json_t *entry)
{
    json_t *layer;
    size_t i;
    json_array_foreach(json_object_get(entry, "layers"), i, layer)
    {
        const char *class = json_text(layer, "class", "");
        if (strncmp(class, "Separable", 9) == 0 || strncmp(class, "Depthwise", 9) == 0) return true;
    }
    return false;
}

/* What run.json knows of the models in the folder's tables. */
static bool load_layers(const char *dir, report_training *t, conv_error *err)
{
    char path[4352];
    json_error_t why;
    snprintf(path, sizeof path, "%s/run.json", dir);
    if (access(path, R_OK) != 0) return true; /* such a folder is no run of its own: report/load.c */
    json_t *run = json_load_file(path, 0, &why), *entry;
    size_t i;
    if (run == NULL) {
        conv_fail(err, CONV_INVALID, "%.200s:%d: %s", path, why.line, why.text);
        return false;
    }
    json_int_t ranks = json_integer_value(json_object_get(json_object_get(run, "options"), "ranks"));
    for (size_t k = 0; k < t->count; k++) {
        training_model *m = &t->models[k];
        if (strcmp(m->dir, dir) != 0) continue;
        if (!m->peer && ranks > 1 && ranks <= INT32_MAX) m->ranks = (int)ranks;
        json_array_foreach(json_object_get(run, "models"), i, entry)
        {
            if (strcmp(m->model, json_text(entry, "model", "")) == 0) m->separable = is_separable(entry);
        }
    }
    json_decref(run);
    return true;
}

static bool has(const char *dir, const char *name)
{
    char path[4352];
    snprintf(path, sizeof path, "%s/%s", dir, name);
    return access(path, R_OK) == 0;
}

bool training_is(const char *dir) { return has(dir, "runs.csv") || has(dir, "scaling.csv"); }

static bool load_runs(const char *dir, report_training *t, conv_error *err)
{
    char path[4352];
    csv_table runs;
    snprintf(path, sizeof path, "%s/runs.csv", dir);
    if (!csv_table_open(&runs, path, err)) return false;
    bool fine = true;
    while (fine && csv_next(&runs.reader)) fine = load_run(t, dir, &runs, err);
    return csv_table_close(&runs, err) && fine;
}

bool training_load(const char *dir, report_training *t, conv_error *err)
{
    static const char *const peers[] = {HISTORY_PEER_FILES};
    conv_fail(err, CONV_NO_MEMORY, "out of memory");
    bool fine = !has(dir, "runs.csv") || load_runs(dir, t, err);
    for (size_t i = 0; i < sizeof peers / sizeof *peers && fine; i++) fine = load_peer(dir, peers[i], t, err);
    return fine && load_layers(dir, t, err) && scaling_load(dir, t, err);
}

void training_free(report_training *t)
{
    for (size_t i = 0; i < t->count; i++) {
        for (size_t k = 0; k < t->models[i].count; k++) free(t->models[i].runs[k].history);
        free(t->models[i].runs);
        free(t->models[i].profile);
    }
    free(t->models);
    scaling_free(t);
    *t = (report_training){0};
}

/* ---- figures */

training_time training_epoch_time(const training_model *m)
{
    training_time time = {NAN, NAN, NAN, 0};
    size_t count = 0;
    for (size_t i = 0; i < m->count; i++) count += m->runs[i].count;
    double *seconds = malloc((count + 1) * sizeof *seconds);
    if (seconds == NULL) return time;
    for (size_t i = 0; i < m->count; i++)
        for (size_t k = 0; k < m->runs[i].count; k++)
            if (m->runs[i].history[k].seconds > 0) seconds[time.epochs++] = m->runs[i].history[k].seconds;
    if (time.epochs > 0) {
        stats_summary s = stats_summarize(seconds, time.epochs);
        time.median = s.median;
        if (s.has_ci) time.low = s.ci95_low, time.high = s.ci95_high;
    }
    free(seconds);
    return time;
}

static rule_time time_of(const training_model *m)
{
    training_time time = training_epoch_time(m);
    return (rule_time){.median = time.median, .low = time.low, .high = time.high};
}

rule_ratio training_compare(const training_model *a, const training_model *b)
{
    return rule_compare(time_of(a), time_of(b));
}

const char *training_reason(ratio_outcome outcome)
{
    return outcome == RATIO_FEW ? "too few epochs for an interval" : rule_reason(outcome);
}

const training_model *training_alike(const report_training *t, const char *model, const training_model *like)
{
    for (size_t i = 0; i < t->count; i++) {
        const training_model *m = &t->models[i];
        if (m != like && m->peer == like->peer && strcmp(m->model, model) == 0 &&
            strcmp(m->impl, like->impl) == 0 && strcmp(m->layout, like->layout) == 0 &&
            m->threads == like->threads && m->batch == like->batch)
            return m;
    }
    return NULL;
}

/* The first two models of ours trained alike, of which b, and not a, has separable layers where `told` says so. */
static bool find_two(const report_training *t, bool told, const training_model **a, const training_model **b)
{
    for (size_t i = 0; i < t->count; i++)
        for (size_t k = told ? 0 : i + 1; k < t->count; k++) {
            *a = &t->models[i];
            *b = training_alike(t, t->models[k].model, *a);
            if (*b != NULL && !(*a)->peer && strcmp((*a)->model, (*b)->model) != 0 &&
                (!told || (!(*a)->separable && (*b)->separable)))
                return true;
        }
    return false;
}

bool training_two(const report_training *t, const training_model **a, const training_model **b)
{
    return find_two(t, true, a, b) || find_two(t, false, a, b);
}

/* The peak of the widest instruction set on that many threads, if the run measured it. */
static double peak_of(const report_data *data, int threads)
{
    const report_ceilings *c = report_ceilings_of(data, threads);
    double peak = NAN;
    for (int isa = 0; c != NULL && isa < CPU_ISA_COUNT; isa++) peak = fmax(peak, c->fma_gflops[isa]);
    return peak;
}

training_step training_step_of(const report_data *data, const training_model *m)
{
    training_step s = {.whole = NAN, .peak = peak_of(data, m->threads)};
    for (size_t i = 0; i < m->profile_count; i++) {
        const training_operation *o = &m->profile[i];
        if (strcmp(o->layer, "step") == 0)
            s.whole = o->ns;
        else if (strcmp(o->layer, "residual") != 0 && strcmp(o->layer, "hidden") != 0)
            s.explained += o->ns;
        if (!isnan(o->flops)) s.flops += o->flops;
    }
    s.arithmetic = s.flops / s.peak;
    return s;
}

char *training_threads(const training_model *m, char *buffer)
{
    char ranks[32] = "";
    if (m->ranks > 1) snprintf(ranks, sizeof ranks, "%d ranks of ", m->ranks);
    snprintf(buffer, 64, "%s%d thread%s", ranks, m->threads, m->threads == 1 ? "" : "s");
    return buffer;
}

char *training_name(const report_training *t, const training_model *m, char *buffer)
{
    bool alone = true;
    for (size_t i = 0; i < t->count; i++)
        alone = alone && (&t->models[i] == m || t->models[i].peer || strcmp(t->models[i].model, m->model) != 0);
    snprintf(buffer, 160, "%s%s%s", m->model, alone ? "" : ", ", alone ? "" : m->impl);
    return buffer;
}
