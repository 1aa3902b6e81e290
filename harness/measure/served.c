#include "served.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "../json.h"
#include "internal.h"

/* One open row, its group of one. */
typedef struct item {
    struct item *next;
    json_int_t id;
    record_row row;
    measure_group *group;
    bool ready;
} item;

struct served {
    measure_runner *run;
    item *items;
    bool overhead_told; /* once is enough: it takes thousands of calls, and a worker has one engine */
    json_int_t last;    /* the item whose calls ran last */
};

served *served_create(measure_runner *run)
{
    served *s = calloc(1, sizeof *s);
    if (s != NULL) s->run = run;
    return s;
}

/* Where the item of that number hangs; *that is NULL when there is none. */
static item **find(served *s, json_int_t id)
{
    item **at = &s->items;
    while (*at != NULL && (*at)->id != id) at = &(*at)->next;
    return at;
}

static void remove_item(item **at)
{
    item *gone = *at;
    *at = gone->next;
    if (gone->group != NULL) measure_release(gone->group);
    measure_close(gone->group);
    free(gone);
}

void served_destroy(served *s)
{
    while (s != NULL && s->items != NULL) remove_item(&s->items);
    free(s);
}

static json_t *reply_of(case_status status, const char *reason)
{
    return json_pack("{s:s, s:s}", "status", case_status_name(status), "reason", reason);
}

static void add_number(json_t *reply, const char *name, double value)
{
    if (isfinite(value)) json_object_set_new(reply, name, json_real(value));
}

/* What became of the row: ok while it is open. */
static json_t *reply_about(const timed_row *t)
{
    return t->open ? reply_of(CASE_OK, "") : reply_of(t->row->status, t->row->reason);
}

json_t *served_open(served *s, const json_t *request, const record_row *row)
{
    item *i = calloc(1, sizeof *i);
    if (i == NULL) return reply_of(CASE_SKIPPED, "no memory for a case");
    i->id = json_integer_value(json_object_get(request, "id"));
    i->row = *row;
    i->row.cache =
        strcmp(json_text(request, "cache", ""), cache_mode_name(CACHE_COLD)) == 0 ? CACHE_COLD : CACHE_WARM;
    const measure_options options = {.repetitions = 1,
                                     .min_time = json_number_value(json_object_get(request, "min_time")),
                                     .verify = json_is_true(json_object_get(request, "verify")),
                                     .seed = (uint64_t)json_integer_value(json_object_get(request, "seed"))};
    const measure_setup setup = {.options = options, .run = s->run, .started = machine_now()};
    i->group = measure_open(&setup, &i->row, 1);
    i->next = s->items;
    s->items = i;
    if (i->group == NULL) return reply_of(CASE_SKIPPED, "no memory for a case");
    timed_row *t = i->group->rows;
    measure_begin(i->group, 0);
    t->open = t->impl != NULL;
    t->call_seconds = json_number_value(json_object_get(request, "call_seconds"));
    if (t->impl == NULL) return reply_of(CASE_REFUSED, "the worker has no such implementation");
    measure_prepare(i->group);
    json_t *reply = reply_about(t);
    if (t->open && t->impl->version != NULL)
        json_object_set_new(reply, "version", json_string(t->impl->version()));
    if (t->open && t->impl->overhead_ns != NULL && !s->overhead_told) {
        add_number(reply, "overhead_ns", t->impl->overhead_ns(i->row.threads));
        s->overhead_told = true;
    }
    json_object_set_new(reply, "scratch_bytes", json_integer(i->row.scratch_bytes));
    add_number(reply, "plan_ns", i->row.plan_ns);
    add_number(reply, "max_abs_error", i->row.max_abs_error);
    add_number(reply, "error_bound", i->row.error_bound);
    add_number(reply, "call_seconds", t->call_seconds);
    return reply;
}

static json_t *ready(item *i)
{
    timed_row *t = i->group->rows;
    measure_make_ready(i->group);
    json_t *reply = reply_about(t);
    char note[sizeof i->row.reason];
    i->ready = t->open;
    if (t->open) json_object_set_new(reply, "note", json_string(measure_describe(t, note, sizeof note)));
    add_number(reply, "pack_ns", i->row.pack_ns);
    add_number(reply, "call_seconds", t->call_seconds);
    return reply;
}

static json_t *repeat(item *i, json_int_t iterations)
{
    timed_row *t = i->group->rows;
    record_sample sample = measure_take(i->group, t, iterations);
    if (!(sample.ns > 0)) return reply_of(CASE_FAILED, "execute failed");
    json_t *reply = reply_of(CASE_OK, "");
    add_number(reply, "ns", sample.ns);
    add_number(reply, "handover_ns", sample.handover_ns);
    json_object_set_new(reply, "marks", json_integer(sample.marks));
    return reply;
}

/* Who asks stops this process in between (process_pause). Every thread then wakes, if only to sleep again, and one
 * whose core has a spinning thread waits for its turn: a time slice, up to 5 ms seen. That is not to be taken for
 * somebody else's work. */
static void let_all_wake(void)
{
    const struct timespec slice = {.tv_nsec = 6000000};
    nanosleep(&slice, NULL);
}

json_t *served_step(served *s, const json_t *request)
{
    const char *what = json_text(request, "do", "");
    bool is_ready = strcmp(what, "ready") == 0, is_repeat = strcmp(what, "repeat") == 0;
    if (!is_ready && !is_repeat && strcmp(what, "close") != 0) return NULL;
    item **at = find(s, json_integer_value(json_object_get(request, "id")));
    if (*at == NULL) return reply_of(CASE_FAILED, "no such case is open");
    if (!is_ready && !is_repeat) {
        remove_item(at);
        return reply_of(CASE_OK, "");
    }
    json_int_t iterations = json_integer_value(json_object_get(request, "iterations"));
    bool possible = is_ready ? (*at)->group->rows->open && !(*at)->ready : (*at)->ready && iterations > 0;
    if (!possible) return reply_of(CASE_FAILED, "the case is not at that step, or impossible iterations");
    if (s->last != (*at)->id) quiet_settle(); /* an engine may have a pool per plan */
    let_all_wake();
    s->last = (*at)->id;
    return is_ready ? ready(*at) : repeat(*at, iterations);
}
