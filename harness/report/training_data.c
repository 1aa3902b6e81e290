/* Reads the files of a training: runs.csv, and for each model its histories and profile. */
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "../cli.h"
#include "../grow.h"
#include "../json.h"
#include "../record/internal.h"
#include "../stats.h"
#include "../text.h"
#include "../train/history.h"
#include "training.h"

/* As in runs.csv. */
static const char *const levels[TRAINING_LEVELS] = {"0.97", "0.98", "0.985", "0.99"};

/* ---- a table by column names */

enum { MOST_COLUMNS = 32, COLUMN_ROOM = 32 };

typedef struct {
    const char *path;
    char *text;
    csv_reader reader;
    char name[MOST_COLUMNS][COLUMN_ROOM];
    size_t columns;
} table;

static bool table_open(table *t, const char *path, conv_error *err)
{
    size_t size;
    *t = (table){.path = path, .text = record_slurp(path, &size, err)};
    if (t->text == NULL) return false;
    csv_open(&t->reader, t->text, size);
    if (!csv_next(&t->reader) || t->reader.count > MOST_COLUMNS) {
        if (record_csv_ended(path, &t->reader, err))
            conv_fail(err, CONV_INVALID, "%s:1: no header of at most %d columns", path, (int)MOST_COLUMNS);
        csv_close(&t->reader);
        free(t->text);
        return false;
    }
    for (size_t i = 0; i < t->reader.count; i++)
        snprintf(t->name[t->columns++], COLUMN_ROOM, "%s", t->reader.field[i]);
    return true;
}

/* False with err when the last record read was none. */
static bool table_close(table *t, conv_error *err)
{
    bool whole = record_csv_ended(t->path, &t->reader, err);
    csv_close(&t->reader);
    free(t->text);
    return whole;
}

/* The field of that column in the current record; "" when there is none. */
static const char *text_of(const table *t, const char *column)
{
    for (size_t i = 0; i < t->columns && i < t->reader.count; i++)
        if (strcmp(t->name[i], column) == 0) return t->reader.field[i];
    return "";
}

/* Empty: NaN. Anything but a number that training can have found (a float, or seconds): NaN, and false with
 * err. */
static bool number_of(const table *t, const char *column, double *value, conv_error *err)
{
    static const double largest = 1e40;
    const char *text = text_of(t, column);
    *value = NAN;
    if (*text == 0 || cli_parse_real(text, -largest, largest, value)) return true;
    conv_fail(err, CONV_INVALID, "%s:%d: %s is '%.60s': must be a number", t->path, t->reader.line, column,
              text);
    return false;
}

/* Empty: 0. */
static bool whole_of(const table *t, const char *column, int64_t most, int *value, conv_error *err)
{
    const char *text = text_of(t, column);
    int64_t whole = 0;
    bool fine = *text == 0 || cli_parse_int(text, 0, most, &whole);
    *value = (int)whole;
    if (!fine)
        conv_fail(err, CONV_INVALID, "%s:%d: %s is '%.60s': must be a whole number up to %lld", t->path,
                  t->reader.line, column, text, (long long)most);
    return fine;
}

/* A name that is part of a path or of a picture. */
static bool name_of(const table *t, const char *column, bool (*is_name)(const char *text), conv_error *err)
{
    const char *text = text_of(t, column);
    if (is_name(text)) return true;
    conv_fail(err, CONV_INVALID, "%s:%d: %s is '%.60s': not a name", t->path, t->reader.line, column, text);
    return false;
}

/* ---- the files */

/* What the epoch takes; others on the cores are left out of it where the file tells. */
static bool epoch_seconds(const table *t, training_epoch *e, conv_error *err)
{
    double quiet;
    if (!number_of(t, "epoch_s", &e->seconds, err) || !number_of(t, "quiet_s", &quiet, err)) return false;
    if (quiet > 0) e->seconds = quiet;
    return true;
}

static bool load_history(const char *path, training_run *run, conv_error *err)
{
    table t;
    if (!table_open(&t, path, err)) return false;
    bool fine = true;
    while (fine && csv_next(&t.reader)) {
        training_epoch *e = grow(&run->history, &run->count, sizeof *run->history);
        fine = e != NULL && number_of(&t, "epoch", &e->epoch, err) && number_of(&t, "loss", &e->loss, err) &&
               number_of(&t, "accuracy", &e->accuracy, err) && number_of(&t, "val_loss", &e->val_loss, err) &&
               number_of(&t, "val_accuracy", &e->val_accuracy, err) && epoch_seconds(&t, e, err);
    }
    return table_close(&t, err) && fine;
}

static bool load_profile(const char *path, training_model *m, conv_error *err)
{
    table t;
    if (access(path, R_OK) != 0) return true; /* written at a model's end */
    if (!table_open(&t, path, err)) return false;
    bool fine = true;
    while (fine && csv_next(&t.reader)) {
        training_operation *o = grow(&m->profile, &m->profile_count, sizeof *m->profile);
        if (o == NULL) break;
        snprintf(o->layer, sizeof o->layer, "%s", text_of(&t, "layer"));
        snprintf(o->operation, sizeof o->operation, "%s", text_of(&t, "operation"));
        snprintf(o->pass, sizeof o->pass, "%s", text_of(&t, "pass"));
        fine = number_of(&t, "ns_per_step", &o->ns, err) && number_of(&t, "percent", &o->percent, err) &&
               number_of(&t, "gflops", &o->gflops, err) && number_of(&t, "flops_per_step", &o->flops, err);
    }
    return table_close(&t, err) && fine;
}

/* The model of the record's name, implementation and layout, of our own or of a peer, made where it is new. */
static training_model *model_of(report_training *t, const char *dir, const table *rows, bool peer,
                                conv_error *err)
{
    const char *model = text_of(rows, "model"), *impl = text_of(rows, "impl"),
               *layout = text_of(rows, "layout");
    for (size_t i = 0; i < t->count; i++) {
        training_model *m = &t->models[i];
        if (m->peer == peer && strcmp(m->dir, dir) == 0 && strcmp(m->model, model) == 0 &&
            strcmp(m->impl, impl) == 0 && strcmp(m->layout, layout) == 0)
            return m;
    }
    int threads, batch;
    char path[4352];
    if (!whole_of(rows, "threads", INT32_MAX, &threads, err) ||
        !whole_of(rows, "batch_size", INT32_MAX, &batch, err))
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

static bool load_run(report_training *t, const char *dir, const table *runs, conv_error *err)
{
    bool named = name_of(runs, "model", text_is_model, err) && name_of(runs, "impl", text_is_name_list, err);
    training_model *m = named ? model_of(t, dir, runs, false, err) : NULL;
    training_run *r = m != NULL ? grow(&m->runs, &m->count, sizeof *m->runs) : NULL;
    if (r == NULL || !whole_of(runs, "run", INT32_MAX, &r->run, err)) return false;
    snprintf(r->status, sizeof r->status, "%s", text_of(runs, "status"));
    bool fine = number_of(runs, "epochs", &r->epochs, err) &&
                number_of(runs, "test_loss", &r->test_loss, err) &&
                number_of(runs, "test_accuracy", &r->test_accuracy, err) &&
                number_of(runs, "median_epoch_s", &r->epoch_s, err) &&
                number_of(runs, "images_per_s", &r->images_per_s, err);
    char column[32], path[4352];
    for (int i = 0; i < TRAINING_LEVELS && fine; i++) {
        snprintf(column, sizeof column, "s_to_%s", levels[i]);
        fine = number_of(runs, column, &r->seconds_to[i], err);
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
static bool add_peer_epoch(report_training *t, const char *dir, const table *rows, conv_error *err)
{
    double epoch;
    if (!name_of(rows, "model", text_is_model, err) || !name_of(rows, "impl", text_is_model, err) ||
        !name_of(rows, "layout", text_is_model, err))
        return false;
    training_model *m = model_of(t, dir, rows, true, err);
    if (m == NULL || !number_of(rows, "epoch", &epoch, err)) return false;
    training_run *run = m->count > 0 ? &m->runs[m->count - 1] : NULL;
    if (run == NULL || epoch <= run->history[run->count - 1].epoch) run = peer_run(m);
    training_epoch *e = run != NULL ? grow(&run->history, &run->count, sizeof *run->history) : NULL;
    if (e == NULL) return false;
    e->epoch = epoch;
    e->val_loss = e->val_accuracy = NAN;
    return number_of(rows, "loss", &e->loss, err) && number_of(rows, "accuracy", &e->accuracy, err) &&
           number_of(rows, "test_accuracy", &run->test_accuracy, err) && epoch_seconds(rows, e, err);
}

static bool load_peer(const char *dir, const char *name, report_training *t, conv_error *err)
{
    char path[4352];
    table rows;
    snprintf(path, sizeof path, "%s/%s", dir, name);
    if (access(path, R_OK) != 0) return true; /* optional */
    if (!table_open(&rows, path, err)) return false;
    bool fine = true;
    while (fine && csv_next(&rows.reader)) fine = add_peer_epoch(t, dir, &rows, err);
    return table_close(&rows, err) && fine;
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
    json_array_foreach(json_object_get(run, "models"), i, entry) for (size_t k = 0; k < t->count; k++)
    {
        training_model *m = &t->models[k];
        if (strcmp(m->dir, dir) == 0 && strcmp(m->model, json_text(entry, "model", "")) == 0)
            m->separable = is_separable(entry);
    }
    json_decref(run);
    return true;
}

bool training_is(const char *dir)
{
    char path[4352];
    snprintf(path, sizeof path, "%s/runs.csv", dir);
    return access(path, R_OK) == 0;
}

bool training_load(const char *dir, report_training *t, conv_error *err)
{
    static const char *const peers[] = {HISTORY_PEER_FILES};
    char path[4352];
    table runs;
    snprintf(path, sizeof path, "%s/runs.csv", dir);
    conv_fail(err, CONV_NO_MEMORY, "out of memory");
    if (!table_open(&runs, path, err)) return false;
    bool fine = true;
    while (fine && csv_next(&runs.reader)) fine = load_run(t, dir, &runs, err);
    fine = table_close(&runs, err) && fine;
    for (size_t i = 0; i < sizeof peers / sizeof *peers && fine; i++) fine = load_peer(dir, peers[i], t, err);
    return fine && load_layers(dir, t, err);
}

void training_free(report_training *t)
{
    for (size_t i = 0; i < t->count; i++) {
        for (size_t k = 0; k < t->models[i].count; k++) free(t->models[i].runs[k].history);
        free(t->models[i].runs);
        free(t->models[i].profile);
    }
    free(t->models);
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

char *training_name(const report_training *t, const training_model *m, char *buffer)
{
    bool alone = true;
    for (size_t i = 0; i < t->count; i++)
        alone = alone && (&t->models[i] == m || t->models[i].peer || strcmp(t->models[i].model, m->model) != 0);
    snprintf(buffer, 160, "%s%s%s", m->model, alone ? "" : ", ", alone ? "" : m->impl);
    return buffer;
}
