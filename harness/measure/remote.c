/* Rows that a worker measures: requests and what their replies say of the row. */
#include <math.h>
#include <stdio.h>

#include "../cli.h"
#include "../json.h"
#include "../worker/protocol.h"
#include "internal.h"

enum { LOSSES_MAX = 3 };

/* After how many seconds without an answer a worker counts as hanging, where it should take `seconds`: the
 * fixed part is for loading a library and compiling its kernels. */
static double patience(double seconds)
{
    static const double fixed = 60, factor = 30;
    return fixed + factor * seconds;
}

static json_t *request_for(const timed_row *t, const char *what)
{
    return json_pack("{s:s, s:i}", "do", what, "id", t->remote.id);
}

static double number(const json_t *reply, const char *name)
{
    const json_t *value = json_object_get(reply, name);
    return json_is_number(value) ? json_number_value(value) : NAN;
}

/* The worker is gone. */
static void lose(timed_row *t, const conv_error *err)
{
    t->remote.id = 0;
    if (cli_interrupted()) {
        t->open = false; /* unfinished: --resume measures it */
    } else if (++t->remote.losses < LOSSES_MAX) {
        return;
    } else if (t->samples.count == 0) {
        measure_drop(t, CASE_FAILED, "%s", err->text);
    } else {
        t->open = false;
        t->retired = true;
    }
}

/* True with *reply, the caller's, when the worker did what it was asked; else false: the row is closed with the
 * worker's reason, or it is still open but no worker has it. */
static bool ask(const measure_group *g, timed_row *t, json_t *request, double seconds, json_t **reply)
{
    conv_error err = {""};
    quiet_settle(); /* our own pool's threads sleep before the worker's run */
    *reply = engines_ask(t->impl, g->threads, request, patience(seconds), &err);
    if (*reply == NULL) {
        lose(t, &err);
        return false;
    }
    case_status status = protocol_status(*reply);
    if (status == CASE_OK) return true;
    measure_drop(t, status, "%s", json_text(*reply, "reason", "no reason was given"));
    json_decref(*reply);
    *reply = NULL;
    return false;
}

static void learn_opened(timed_row *t, const json_t *reply)
{
    record_row *row = t->row;
    if (t->samples.count > 0) return;
    row->plan_ns = number(reply, "plan_ns");
    row->scratch_bytes = (int64_t)number(reply, "scratch_bytes");
    if (!json_is_number(json_object_get(reply, "error_bound"))) return;
    row->max_abs_error = number(reply, "max_abs_error");
    row->error_bound = number(reply, "error_bound");
    t->call_seconds = number(reply, "call_seconds");
    budget_learn(row, t->call_seconds);
}

void remote_open(measure_group *g, timed_row *t)
{
    static int ids;
    json_t *reply;
    while (t->open && t->remote.id == 0) {
        json_t *request = protocol_case(t->row);
        bool verify = g->setup.options.verify && t->samples.count == 0 && !(t->row->error_bound >= 0);
        t->remote.id = ++ids;
        json_object_update_new(request,
                               json_pack("{s:s, s:i, s:s, s:b, s:I, s:f, s:f}", "do", "open", "id",
                                         t->remote.id, "cache", cache_mode_name(t->row->cache), "verify",
                                         (int)verify, "seed", (json_int_t)g->setup.options.seed, "min_time",
                                         g->setup.options.min_time, "call_seconds", t->call_seconds));
        if (!ask(g, t, request, 3 * t->call_seconds, &reply)) continue;
        t->remote.generation = engines_generation(t->impl);
        learn_opened(t, reply);
        json_decref(reply);
    }
}

void remote_ready(measure_group *g, timed_row *t)
{
    json_t *reply = NULL;
    while (t->open && reply == NULL) {
        if (t->remote.id != 0 && t->remote.generation != engines_generation(t->impl)) t->remote.id = 0;
        remote_open(g, t);
        if (t->open) ask(g, t, request_for(t, "ready"), 10 * t->call_seconds, &reply);
    }
    if (reply == NULL) return;
    snprintf(t->remote.note, sizeof t->remote.note, "%s", json_text(reply, "note", ""));
    if (t->samples.count == 0) {
        t->row->pack_ns = number(reply, "pack_ns");
        t->call_seconds = number(reply, "call_seconds");
    }
    json_decref(reply);
}

record_sample remote_take(measure_group *g, timed_row *t, int64_t iterations)
{
    char name[CASE_NAME_MAX];
    json_t *reply = NULL;
    record_sample sample = {.ns = NAN, .iterations = iterations};
    g->pool = t->impl;
    while (t->open && reply == NULL) {
        if (t->remote.id == 0 || t->remote.generation != engines_generation(t->impl)) remote_ready(g, t);
        if (!t->open) break;
        json_t *request = request_for(t, "repeat");
        json_object_set_new(request, "iterations", json_integer(iterations));
        sample.seconds = machine_now() - g->setup.started;
        ask(g, t, request, (double)(iterations + 1) * t->call_seconds, &reply);
    }
    if (reply == NULL) return sample;
    t->remote.losses = 0;
    sample.ns = number(reply, "ns");
    sample.handover_ns = number(reply, "handover_ns");
    sample.marks = (unsigned)json_integer_value(json_object_get(reply, "marks"));
    quiet_count(sample.marks);
    if (g->setup.note != NULL)
        g->setup.note(g->setup.runner, record_case_name(t->row, name), sample.ns, iterations,
                      (int)t->samples.count);
    json_decref(reply);
    return sample;
}

void remote_leave(measure_group *g, timed_row *t)
{
    conv_error err;
    if (t->remote.id != 0 && t->remote.generation == engines_generation(t->impl))
        json_decref(engines_ask(t->impl, g->threads, request_for(t, "close"), patience(0), &err));
    t->remote.id = 0;
}
