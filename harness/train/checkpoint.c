/* Checkpoints are written whole (npz_write), so a kill at any moment leaves the previous. */
#include "checkpoint.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "weights.h"

enum { CHECKPOINT_FORMAT = 1, HISTORY_COLUMNS = 9, EARLIER_COLUMNS = 8 };

/* What must be the same when a run is taken up again. */
static json_t *identity(const fit_session *f)
{
    const fit_options *o = f->options;
    char text[256];
    return json_pack("{s:i, s:I, s:I, s:I, s:I, s:f, s:s, s:b, s:s}", "format", CHECKPOINT_FORMAT, "model",
                     (json_int_t)model_fingerprint(f->m), "data", (json_int_t)f->data->train.crc, "batch_size",
                     (json_int_t)o->batch_size, "seed", (json_int_t)o->seed, "validation_split",
                     o->validation_split, "optimizer", optimizer_text(&o->opt, text, sizeof text), "shuffle",
                     o->shuffle, "program", "sepbench");
}

static void history_to_rows(const fit_state *s, double *rows)
{
    for (int64_t i = 0; i < s->epochs_done; i++) {
        const fit_epoch *e = &s->history[i];
        const double row[HISTORY_COLUMNS] = {(double)e->epoch, e->loss,          e->accuracy,
                                             e->val_loss,      e->val_accuracy,  e->seconds,
                                             e->images_per_s,  e->learning_rate, e->quiet_seconds};
        memcpy(rows + i * HISTORY_COLUMNS, row, sizeof row);
    }
}

/* Earlier versions did not know the last column. */
static void history_from_rows(const double *rows, int64_t columns, fit_state *s)
{
    for (int64_t i = 0; i < s->epochs_done; i++, rows += columns)
        s->history[i] = (fit_epoch){(int64_t)rows[0], rows[1], rows[2],
                                    rows[3],          rows[4], rows[5],
                                    rows[6],          rows[7], columns == HISTORY_COLUMNS ? rows[8] : NAN};
}

conv_status checkpoint_save(const char *path, const fit_session *f, conv_error *err)
{
    const model *m = f->m;
    const fit_options *o = f->options;
    const fit_state *s = f->state;
    int slots = optimizer_slots(&o->opt), count = m->parameter_count;
    npz_array *arrays = calloc((size_t)(count * (1 + slots) + 2), sizeof *arrays);
    double *rows = calloc((size_t)(s->epochs_done * HISTORY_COLUMNS) + 1, sizeof *rows);
    json_t *facts = identity(f);
    json_object_set_new(facts, "implementations", net_choices(f->n));
    json_object_set_new(facts, "steps", json_integer(s->steps));
    json_object_set_new(facts, "best_epoch", json_integer(s->best_epoch));
    if (isfinite(s->best)) json_object_set_new(facts, "best", json_real(s->best));
    if (s->finished) json_object_set_new(facts, "test", json_pack("[f, f]", s->test_loss, s->test_accuracy));
    char *text = json_dumps(facts, JSON_COMPACT | JSON_REAL_PRECISION(17));
    conv_status status = CONV_OK;
    if (arrays == NULL || rows == NULL || text == NULL) {
        status = conv_fail(err, CONV_NO_MEMORY, "%s: no memory", path);
        goto done;
    }
    int used = count;
    weights_to_arrays(m, net_weights(f->n), "", arrays);
    for (int i = 0; i < slots; i++, used += count) {
        char prefix[64];
        snprintf(prefix, sizeof prefix, "optimizer/%s/", optimizer_slot_names[o->opt.kind][i]);
        weights_to_arrays(m, s->slots[i], prefix, arrays + used);
    }
    history_to_rows(s, rows);
    arrays[used++] = (npz_array){
        .name = "history", .type = NPY_FLOAT64, .shape = {2, {s->epochs_done, HISTORY_COLUMNS}}, .data = rows};
    arrays[used++] =
        (npz_array){.name = "sepbench", .type = NPY_UINT8, .shape = {1, {(int64_t)strlen(text)}}, .data = text};
    status = npz_write(path, OUTPUT_OWN, arrays, used, err);
done:
    free(text);
    json_decref(facts);
    free(rows);
    free(arrays);
    return status;
}

static json_t *read_facts(const char *path, const npz_file *file, conv_error *err)
{
    const npz_array *a = npz_find(file, "sepbench");
    json_t *facts = a == NULL || a->type != NPY_UINT8 ? NULL : json_loadb(a->data, npz_bytes(a), 0, NULL);
    if (!json_is_object(facts)) {
        conv_fail(err, CONV_INVALID, "%s: not a checkpoint of sepbench", path);
        json_decref(facts);
        return NULL;
    }
    return facts;
}

/* The first key of `want` that `have` does not agree with. */
static conv_status compare_identity(const char *path, json_t *want, json_t *have, conv_error *err)
{
    const char *key;
    json_t *value;
    json_object_foreach(want, key, value)
    {
        json_t *other = json_object_get(have, key);
        bool same = json_is_real(value) ? json_number_value(value) == json_number_value(other)
                                        : json_equal(value, other);
        if (same) continue;
        char *is = json_dumps(other, JSON_ENCODE_ANY), *wanted = json_dumps(value, JSON_ENCODE_ANY);
        if (strcmp(key, "model") == 0 || strcmp(key, "data") == 0)
            conv_fail(err, CONV_INVALID, "%s: a checkpoint of another %s", path,
                      strcmp(key, "data") == 0 ? "data set" : "model");
        else
            conv_fail(err, CONV_INVALID, "%s: its %s is %s, this run's %s", path, key, is ? is : "absent",
                      wanted ? wanted : "?");
        free(is);
        free(wanted);
        return CONV_INVALID;
    }
    return CONV_OK;
}

json_t *checkpoint_choices(const char *path, const fit_session *f, conv_error *err)
{
    npz_file file;
    if (npz_read(path, &file, err) != CONV_OK) return NULL;
    json_t *facts = read_facts(path, &file, err), *want = identity(f), *choices = NULL;
    if (facts != NULL && compare_identity(path, want, facts, err) == CONV_OK) {
        choices = json_incref(json_object_get(facts, "implementations"));
        if (choices == NULL) conv_fail(err, CONV_INVALID, "%s: no implementations recorded", path);
    }
    json_decref(want);
    json_decref(facts);
    npz_free(&file);
    return choices;
}

conv_status checkpoint_load(const char *path, const fit_session *f, conv_error *err)
{
    const fit_options *o = f->options;
    fit_state *s = f->state;
    npz_file file;
    conv_status status = npz_read(path, &file, err);
    if (status != CONV_OK) return status;
    json_t *facts = read_facts(path, &file, err), *want = identity(f);
    status = facts == NULL ? CONV_INVALID : compare_identity(path, want, facts, err);
    const npz_array *history = npz_find(&file, "history");
    if (status == CONV_OK &&
        (history == NULL || history->type != NPY_FLOAT64 || history->shape.rank != 2 ||
         (history->shape.size[1] != HISTORY_COLUMNS && history->shape.size[1] != EARLIER_COLUMNS)))
        status = conv_fail(err, CONV_INVALID, "%s: array 'history' is missing or misshapen", path);
    if (status == CONV_OK && history->shape.size[0] > o->epochs)
        status = conv_fail(err, CONV_INVALID, "%s: has %lld epochs, only %lld are asked for", path,
                           (long long)history->shape.size[0], (long long)o->epochs);
    if (status == CONV_OK) status = weights_from_file(path, &file, f->m, "", net_weights(f->n), err);
    for (int i = 0; i < optimizer_slots(&o->opt) && status == CONV_OK; i++) {
        char prefix[64];
        snprintf(prefix, sizeof prefix, "optimizer/%s/", optimizer_slot_names[o->opt.kind][i]);
        status = weights_from_file(path, &file, f->m, prefix, s->slots[i], err);
    }
    if (status == CONV_OK) {
        s->epochs_done = history->shape.size[0];
        history_from_rows(history->data, history->shape.size[1], s);
        s->steps = json_integer_value(json_object_get(facts, "steps"));
        s->best_epoch = json_integer_value(json_object_get(facts, "best_epoch"));
        json_t *best = json_object_get(facts, "best"), *test = json_object_get(facts, "test");
        s->best = best != NULL ? json_number_value(best) : INFINITY;
        s->finished = test != NULL && s->epochs_done == o->epochs;
        if (s->finished) {
            s->test_loss = json_number_value(json_array_get(test, 0));
            s->test_accuracy = json_number_value(json_array_get(test, 1));
        }
        net_weights_changed(f->n);
    }
    json_decref(want);
    json_decref(facts);
    npz_free(&file);
    return status;
}
