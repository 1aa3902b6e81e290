/* Reads scaling.csv and scaling_messages.csv of a training's folder. */
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "../grow.h"
#include "../text.h"
#include "../train/history.h"
#include "csv_table.h"
#include "training.h"

enum { MOST_ROWS = 32 };

typedef struct {
    const char *name;
    size_t at;
} column;

#define OF_RANKS(member)                                                                                       \
    {                                                                                                          \
#member, offsetof(training_ranks, member)                                                              \
    }
#define OF_MESSAGE(member)                                                                                     \
    {                                                                                                          \
#member, offsetof(training_message, member)                                                            \
    }
static const column rank_columns[] = {OF_RANKS(ranks),
                                      OF_RANKS(working),
                                      OF_RANKS(images),
                                      OF_RANKS(compute_ms),
                                      OF_RANKS(step_ms),
                                      OF_RANKS(epoch_s),
                                      OF_RANKS(hidden_ms),
                                      OF_RANKS(waited_ms),
                                      OF_RANKS(measured_ms),
                                      OF_RANKS(measured_low_ms),
                                      OF_RANKS(measured_high_ms),
                                      OF_RANKS(measured_hidden_ms),
                                      OF_RANKS(measured_waited_ms)};
enum { NEEDED = 8 }; /* of the first ones */
static const column message_columns[] = {
    OF_MESSAGE(ranks),    OF_MESSAGE(bytes),    OF_MESSAGE(pingpong_us),     OF_MESSAGE(gather_us),
    OF_MESSAGE(model_us), OF_MESSAGE(alpha_us), OF_MESSAGE(beta_ns_per_byte)};

/* Empty: NaN, but of the first `needed`, none of which is below 0. */
static bool fill(const csv_table *t, const column *columns, size_t count, size_t needed, void *row,
                 conv_error *err)
{
    for (size_t i = 0; i < count; i++) {
        double *to = (double *)((char *)row + columns[i].at);
        if (!csv_table_number(t, columns[i].name, to, err)) return false;
        if (!(*to < 0) && (i >= needed || !isnan(*to))) continue;
        conv_fail(err, CONV_INVALID, "%s:%d: %s is '%.60s': must be a number, not below 0", t->path,
                  t->reader.line, columns[i].name, csv_table_text(t, columns[i].name));
        return false;
    }
    return true;
}

static training_scaling *scaling_of(report_training *t, const char *dir, const csv_table *rows, conv_error *err)
{
    static const char *const told[] = {SCALING_MEASURED, SCALING_NONE, SCALING_SHARED};
    const char *model = csv_table_text(rows, "model"), *messages = csv_table_text(rows, "messages");
    size_t known = 0;
    training_scaling *s = t->scaling_count > 0 ? &t->scalings[t->scaling_count - 1] : NULL;
    if (!csv_table_name(rows, "model", text_is_model, err)) return NULL;
    if (s != NULL && strcmp(s->dir, dir) == 0 && strcmp(s->model, model) == 0) return s;
    while (known < 3 && strcmp(messages, told[known]) != 0) known++;
    if (known == 3) {
        conv_fail(err, CONV_INVALID,
                  "%s:%d: messages is '%.60s': must be " SCALING_MEASURED ", " SCALING_NONE
                  " or " SCALING_SHARED,
                  rows->path, rows->reader.line, messages);
        return NULL;
    }
    s = grow(&t->scalings, &t->scaling_count, sizeof *t->scalings);
    if (s == NULL) return NULL;
    snprintf(s->dir, sizeof s->dir, "%s", dir);
    snprintf(s->model, sizeof s->model, "%s", model);
    snprintf(s->messages, sizeof s->messages, "%s", messages);
    bool fine = csv_table_whole(rows, "here", INT32_MAX, &s->here, err) &&
                csv_table_whole(rows, "threads", INT32_MAX, &s->threads, err) &&
                csv_table_whole(rows, "batch_size", INT32_MAX, &s->batch, err);
    return fine ? s : NULL;
}

static bool add_row(report_training *t, const char *dir, const csv_table *rows, conv_error *err)
{
    training_scaling *s = scaling_of(t, dir, rows, err);
    training_ranks *row = s != NULL ? grow(&s->rows, &s->count, sizeof *s->rows) : NULL;
    if (row == NULL || !fill(rows, rank_columns, sizeof rank_columns / sizeof *rank_columns, NEEDED, row, err))
        return false;
    double before = s->count > 1 ? s->rows[s->count - 2].ranks : 0;
    if (s->count <= MOST_ROWS && row->step_ms > 0 && (before > 0 ? row->ranks > before : row->ranks == 1))
        return true;
    conv_fail(err, CONV_INVALID,
              "%s:%d: ranks is '%.60s': of a model, 1 comes first, then more and more, at most %d, and a step "
              "takes its time",
              rows->path, rows->reader.line, csv_table_text(rows, "ranks"), (int)MOST_ROWS);
    return false;
}

static bool add_message(report_training *t, const char *dir, const csv_table *rows, conv_error *err)
{
    training_message *m = grow(&t->messages, &t->message_count, sizeof *t->messages);
    size_t columns = sizeof message_columns / sizeof *message_columns;
    (void)dir;
    return m != NULL && fill(rows, message_columns, columns, columns, m, err);
}

static bool load_file(const char *dir, const char *name, report_training *t,
                      bool (*add)(report_training *t, const char *dir, const csv_table *rows, conv_error *err),
                      conv_error *err)
{
    char path[4352];
    csv_table rows;
    snprintf(path, sizeof path, "%s/%s", dir, name);
    if (access(path, R_OK) != 0) return true;
    if (!csv_table_open(&rows, path, err)) return false;
    bool fine = true;
    while (fine && csv_next(&rows.reader)) fine = add(t, dir, &rows, err);
    return csv_table_close(&rows, err) && fine;
}

bool scaling_load(const char *dir, report_training *t, conv_error *err)
{
    return load_file(dir, "scaling.csv", t, add_row, err) &&
           load_file(dir, "scaling_messages.csv", t, add_message, err);
}

void scaling_free(report_training *t)
{
    for (size_t i = 0; i < t->scaling_count; i++) free(t->scalings[i].rows);
    free(t->scalings);
    free(t->messages);
}

const training_ranks *scaling_checked(const training_scaling *s)
{
    for (size_t i = 0; i < s->count; i++)
        if (s->rows[i].measured_ms > 0) return &s->rows[i];
    return NULL;
}

const training_ranks *scaling_fastest(const training_scaling *s)
{
    const training_ranks *best = s->rows;
    for (size_t i = 1; i < s->count; i++)
        if (s->rows[i].working > best->working && s->rows[i].epoch_s < best->epoch_s) best = &s->rows[i];
    return best;
}

double scaling_messages_share(const training_ranks *r)
{
    return fmax(0, r->step_ms - r->compute_ms) / r->step_ms;
}
