/* Taking pairs. A sample is some milliseconds of one kernel in one worker. The worker first repeats the kernel
 * untimed for a while, because the other side has just filled the caches with its own copies; and it answers
 * only once its threads sleep. So a pair costs about 10 ms, and the two are as near in time as they can be: the
 * machine's drift cancels. */
#include <math.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "../cli.h"
#include "../json.h"
#include "../random.h"
#include "../worker/protocol.h"
#include "control.h"
#include "session.h"

static const double SAMPLE_NS = 3e6, BATCH_NS = 7e4, WARM_NS = 1e6;
enum { BATCHES_LEAST = 5, BATCHES_MOST = 40 };
static const double DISTURBED = 0.05; /* share of a sample's time that threads waited for a core */
enum { NULL_EVERY = 4, CONTROL_EVERY = 4, RETAKES = 2 };

bool gate_live(const compare_case *c)
{
    return c->verdict != COMPARE_NOT_COMPARED && c->verdict != COMPARE_WRONG;
}

bool gate_fail(gate_session *s, int code, const char *format, ...)
{
    va_list args;
    if (s->code != EXIT_FINE) return false;
    va_start(args, format);
    vsnprintf(s->error.text, sizeof s->error.text, format, args);
    va_end(args);
    s->code = code;
    return false;
}

/* ---- one worker */

static const compare_side *side_of(const gate_session *s, gate_role role)
{
    return role == GATE_HEAD ? &s->r->head : &s->r->base;
}

json_t *gate_ask(gate_session *s, gate_role role, const char *what, size_t index, json_t *request)
{
    conv_error err;
    json_object_set_new(request, "do", json_string(what));
    json_object_set_new(request, "id", json_integer((json_int_t)index));
    json_t *reply = process_ask(&s->workers[role], request, PROCESS_PATIENCE, &err);
    if (reply != NULL) return reply;
    if (cli_interrupted())
        gate_fail(s, cli_signal_exit_code(), "interrupted: nothing was concluded");
    else
        gate_fail(s, EXIT_INVALID, "%.60s: %s at %s of %s", side_of(s, role)->path, err.text, what,
                  s->r->cases[index].name);
    return NULL;
}

static bool is_ok(const json_t *reply) { return strcmp(json_text(reply, "status", ""), "ok") == 0; }

/* The case ends here: this side cannot do it. */
static void give_up(compare_case *c, gate_role role, const json_t *reply)
{
    c->verdict = COMPARE_NOT_COMPARED;
    snprintf(c->reason, sizeof c->reason, "%s: %s: %s", role == GATE_HEAD ? "head" : "base",
             json_text(reply, "status", "no status"), json_text(reply, "reason", ""));
}

static bool prepare_in(gate_session *s, gate_role role, size_t index)
{
    compare_case *c = &s->r->cases[index];
    json_t *reply = gate_ask(s, role, "prepare", index, protocol_case(&c->row));
    if (reply == NULL) return false;
    char *plan = role == GATE_HEAD ? c->head_plan : c->base_plan;
    double call_ns = json_number_value(json_object_get(reply, "call_ns"));
    if (!is_ok(reply) || !(call_ns > 0)) {
        give_up(c, role, reply);
    } else {
        snprintf(plan, sizeof c->base_plan, "%s", json_text(reply, "plan", ""));
        /* Once for all: both sides repeat the same number of calls. */
        if (c->iterations == 0) c->iterations = (int64_t)fmax(1, fmin(1e6, BATCH_NS / call_ns));
        if (c->batches == 0)
            c->batches =
                (int)fmax(BATCHES_LEAST, fmin(BATCHES_MOST, SAMPLE_NS / ((double)c->iterations * call_ns)));
    }
    json_decref(reply);
    return true;
}

bool gate_prepare(gate_session *s, size_t index)
{
    for (int role = 0; role < GATE_WORKERS; role++) {
        if (!gate_live(&s->r->cases[index])) break;
        if (!prepare_in(s, (gate_role)role, index)) return false;
    }
    return true;
}

bool gate_drop(gate_session *s, size_t index)
{
    for (int role = 0; role < GATE_WORKERS; role++) {
        json_t *reply = gate_ask(s, (gate_role)role, "drop", index, json_object());
        if (reply == NULL) return false;
        json_decref(reply);
    }
    return true;
}

/* ---- pairs */

/* False when the session or the case ended. */
static bool take_sample(gate_session *s, gate_role role, size_t index, double *ns, double *waited)
{
    compare_case *c = &s->r->cases[index];
    json_t *reply = gate_ask(s, role, "sample", index,
                             json_pack("{s:I, s:i, s:f}", "iterations", (json_int_t)c->iterations, "batches",
                                       c->batches, "warm_ns", WARM_NS));
    if (reply == NULL) return false;
    *ns = json_number_value(json_object_get(reply, "ns"));
    *waited = json_number_value(json_object_get(reply, "waited"));
    bool fine = is_ok(reply) && *ns > 0;
    if (!fine) give_up(c, role, reply);
    json_decref(reply);
    s->r->samples++;
    s->r->disturbed += *waited > DISTURBED;
    return fine;
}

static void keep_time(gate_times *t, gate_role role, double ns)
{
    if (role == GATE_HEAD && t->head_count < GATE_TIMES_MAX) t->head[t->head_count++] = ns;
    if (role != GATE_HEAD && t->base_count < GATE_TIMES_MAX) t->base[t->base_count++] = ns;
}

/* ln(second / first). One in which somebody else had a core is taken again, whatever it showed; after that it
 * counts, for threads that fight each other may be head's own doing. */
static bool take_pair(gate_session *s, size_t index, const gate_role role[2], int begin, double *d)
{
    double ns[2], waited[2] = {1, 1};
    for (int tries = 0; tries <= RETAKES && fmax(waited[0], waited[1]) > DISTURBED; tries++)
        for (int k = 0; k < 2; k++) {
            int side = (begin + k) % 2;
            if (!take_sample(s, role[side], index, &ns[side], &waited[side])) return false;
        }
    for (int side = 0; side < 2; side++) keep_time(&s->times[index], role[side], ns[side]);
    *d = log(ns[1] / ns[0]);
    return true;
}

/* Both orders, which comes first at random, and their mean: what being second costs cancels. */
static bool take_both_orders(gate_session *s, size_t index, gate_role first, gate_role second, double *d)
{
    const gate_role role[2] = {first, second};
    int begin = (int)random_below(&s->random, 2);
    double one, other;
    if (!take_pair(s, index, role, begin, &one) || !take_pair(s, index, role, 1 - begin, &other)) return false;
    *d = 0.5 * (one + other);
    return true;
}

static void take_control(gate_session *s)
{
    compare_result *r = s->r;
    if (r->control_count == COMPARE_CONTROL_MAX) return;
    double first = control_ns(), second = control_ns(), d = log(second / first);
    r->control_ns[r->control_count] = first;
    r->control[r->control_count++] = random_below(&s->random, 2) ? d : -d;
}

bool gate_turn(gate_session *s, size_t index, double *list, size_t *count)
{
    compare_case *c = &s->r->cases[index];
    double d;
    gate_role base = random_below(&s->random, 2) ? GATE_BASE : GATE_BASE_TOO;
    if (*count < COMPARE_PAIRS_MAX) {
        if (!take_both_orders(s, index, base, GATE_HEAD, &d)) return s->code == EXIT_FINE;
        list[(*count)++] = d;
    }
    /* By the case's own count, so that every case gets its share, one after another rather than all at once. */
    if ((*count + index) % NULL_EVERY == 0 && c->null_count < COMPARE_PAIRS_MAX) {
        if (!take_both_orders(s, index, GATE_BASE, GATE_BASE_TOO, &d)) return s->code == EXIT_FINE;
        c->null[c->null_count++] = d;
    }
    if (s->turns++ % CONTROL_EVERY == 0) take_control(s);
    return true;
}
