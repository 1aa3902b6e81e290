#include "engines.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../../kernels/peers/engine.h"
#include "process.h"

enum { ENGINES_MAX = 16, WORD = 32 };

/* One engine; name: as in conv_entry. */
typedef struct {
    char name[WORD], kind[WORD], *words; /* words: of the option; NULL: no second copy */
    worker_process worker;
    int threads, generation;
    json_t *versions; /* by implementation, as the workers said; NULL: none yet */
    json_t *overhead; /* nanoseconds of a call that computes nothing, by number of threads; NULL: not known */
} engine;

static engine engines[ENGINES_MAX];
static int engine_count;
static bool serving;
static const char *program = "/proc/self/exe";

/* ---- --engine */

static bool is_name(const char *text, size_t length)
{
    static const char allowed[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-";
    return length > 0 && length < WORD / 2 && strspn(text, allowed) >= length;
}

static engine *add_engine(const char *name, const char *kind)
{
    if (engine_count == ENGINES_MAX) return NULL;
    engine *e = &engines[engine_count++];
    snprintf(e->name, sizeof e->name, "%s", name);
    snprintf(e->kind, sizeof e->kind, "%s", kind);
    return e;
}

bool engines_named(const char *words)
{
    for (int i = 0; i < engine_count; i++)
        if (engines[i].words != NULL && strcmp(engines[i].words, words) == 0) return true;
    return false;
}

conv_status engines_add(const char *words, conv_error *err)
{
    const char *equals = strchr(words, '='), *kind_at = equals != NULL ? equals + 1 : words;
    const char *colon = strchr(kind_at, ':'), *path = colon != NULL ? colon + 1 : NULL;
    size_t kind_length = colon != NULL ? (size_t)(colon - kind_at) : strlen(kind_at);
    char kind[WORD], name[WORD];
    if (equals == NULL || !is_name(words, (size_t)(equals - words)) || !is_name(kind_at, kind_length))
        return conv_fail(
            err, CONV_INVALID,
            "write NAME=KIND:PATH, as onednn3=onednn:/opt/onednn: names of at most %d letters, digits and ._-",
            WORD / 2 - 1);
    snprintf(kind, sizeof kind, "%.*s", (int)kind_length, kind_at);
    snprintf(name, sizeof name, "%.*s", (int)(equals - words), words);
    engine_kind library;
    if (path != NULL && !engine_named(kind, &library))
        return conv_fail(err, CONV_INVALID,
                         "'%s' has no library of its own that could lie at PATH: write %s=%s", kind, name,
                         kind);
    const char *why = path != NULL ? engine_unfit(library, path) : NULL;
    if (why != NULL) return conv_fail(err, CONV_INVALID, "%s", why);
    if (serving) { /* this worker is this engine's: whatever opens the library opens this one */
        if (path != NULL) engine_use(library, path);
        return conv_add_engine(name, kind, err);
    }
    if (engines_named(words)) return CONV_OK; /* a command line may be read twice */
    conv_status status = conv_add_engine(name, kind, err);
    if (status != CONV_OK) return status;
    engine *e = add_engine(name, kind);
    if (e != NULL) e->words = strdup(words);
    return e != NULL && e->words != NULL ? CONV_OK
                                         : conv_fail(err, CONV_INVALID, "more than %d engines", ENGINES_MAX);
}

/* ---- workers */

void engines_serve(void) { serving = true; }

bool engines_elsewhere(const conv_impl *impl) { return impl != NULL && impl->own_process && !serving; }

static engine *engine_of(const conv_impl *impl)
{
    const char *name = conv_engine(impl);
    for (int i = 0; name != NULL && i < engine_count; i++)
        if (strcmp(engines[i].name, name) == 0) return &engines[i];
    return name != NULL ? add_engine(name, name) : NULL;
}

static bool start(engine *e, int threads, conv_error *err)
{
    json_t *hello;
    conv_error why = {""};
    process_stop(&e->worker);
    e->threads = threads;
    e->generation++;
    if (!process_start(&e->worker, program, e->words, &hello, &why)) {
        conv_fail(err, CONV_FAILED, "%s's worker: %s", e->name, why.text);
        return false;
    }
    json_decref(hello);
    return true;
}

json_t *engines_ask(const conv_impl *impl, int threads, json_t *request, double seconds, conv_error *err)
{
    engine *e = engine_of(impl);
    conv_error why = {""};
    if (e == NULL) {
        json_decref(request);
        conv_fail(err, CONV_FAILED, "%s: more than %d engines", impl->name, ENGINES_MAX);
        return NULL;
    }
    if ((e->worker.pid == 0 || e->threads != threads) && !start(e, threads, err)) {
        json_decref(request);
        return NULL;
    }
    process_resume(&e->worker);
    json_t *reply = process_ask(&e->worker, request, seconds, &why);
    process_pause(&e->worker);
    if (reply == NULL) conv_fail(err, CONV_FAILED, "%s's worker %s", e->name, why.text);
    json_t *version = json_object_get(reply, "version");
    if (version != NULL && e->versions == NULL) e->versions = json_object();
    if (version != NULL) json_object_set(e->versions, impl->name, version);
    json_t *overhead = json_object_get(reply, "overhead_ns");
    char number[16];
    snprintf(number, sizeof number, "%d", threads);
    if (overhead != NULL && e->overhead == NULL) e->overhead = json_object();
    if (overhead != NULL) json_object_set(e->overhead, number, overhead);
    return reply;
}

int engines_generation(const conv_impl *impl)
{
    const engine *e = engine_of(impl);
    return e != NULL && e->worker.pid != 0 ? e->generation : -1;
}

/* ---- what they are */

void engines_versions(json_t *versions)
{
    for (const engine *e = engines; e < engines + engine_count; e++)
        if (e->versions != NULL) json_object_update(versions, e->versions);
}

json_t *engines_json(void)
{
    json_t *all = json_object();
    for (const engine *e = engines; e < engines + engine_count; e++) {
        const char *colon = e->words != NULL ? strchr(e->words, ':') : NULL;
        json_t *about = json_object();
        if (e->words != NULL)
            json_object_update_new(about,
                                   json_pack("{s:s, s:s}", "kind", e->kind, "path", colon ? colon + 1 : ""));
        if (e->overhead != NULL) json_object_set(about, "overhead_ns", e->overhead);
        if (json_object_size(about) > 0) json_object_set(all, e->name, about);
        json_decref(about);
    }
    return all;
}

void engines_program(const char *path) { program = path; }

void engines_stop(void)
{
    for (engine *e = engines; e < engines + engine_count; e++) process_stop(&e->worker);
}
