/* Reads impl.def and says, for this build, CPU and SEPBENCH_MAX_ISA, which implementations exist. */
#include <pthread.h>
#include <stdio.h>
#include <string.h>

#include "conv.h"
#include "isa.h"

#define DENSE (1u << CONV_DENSE)
#define DEPTHWISE (1u << CONV_DEPTHWISE)
#define POINTWISE (1u << CONV_POINTWISE)
#define SEPARABLE (1u << CONV_SEPARABLE)
#define ALL_VARIANTS (DENSE | DEPTHWISE | POINTWISE | SEPARABLE)

typedef const conv_impl *const impl_array[CONV_VARIANT_COUNT];

/* ---- first reading: declare the arrays. */
#define IMPL(name, symbol, variants) ISA_DECLARE(impl_array, symbol##_impls)
#define IMPL_AT(name, symbol, isa, variants) ISA_DECLARE(impl_array, symbol##_impls)
#define IMPL_STUDY IMPL_AT
#define IMPL_PEER(name, symbol, variants, library) ISA_DECLARE(impl_array, symbol##_impls)
#define IMPL_PEER_STUDY IMPL_PEER
#include "impl.def"
#undef IMPL
#undef IMPL_AT
#undef IMPL_STUDY
#undef IMPL_PEER
#undef IMPL_PEER_STUDY

/* ---- second reading: one line per implementation, its copies by ISA. */
typedef struct {
    const char *name;
    unsigned variants;
    const void *copies[CPU_ISA_COUNT];
    const char *library; /* peers */
    cpu_isa only;        /* IMPL_AT: its copy; CPU_ISA_COUNT: the widest */
    bool study;
} line;

#define IMPL(name, symbol, variants) {name, variants, ISA_COPIES(symbol##_impls), NULL, CPU_ISA_COUNT, false},
#define IMPL_AT(name, symbol, isa, variants) {name, variants, ISA_COPIES(symbol##_impls), NULL, isa, false},
#define IMPL_STUDY(name, symbol, isa, variants) {name, variants, ISA_COPIES(symbol##_impls), NULL, isa, true},
#define IMPL_PEER(name, symbol, variants, library)                                                             \
    {name, variants, ISA_COPIES(symbol##_impls), library, CPU_ISA_COUNT, false},
#define IMPL_PEER_STUDY(name, symbol, variants, library)                                                       \
    {name, variants, ISA_COPIES(symbol##_impls), library, CPU_ISA_COUNT, true},
static const line lines[] = {
#include "impl.def"
};

enum { LINES = sizeof lines / sizeof *lines };

/* What conv_add_engine added. */
typedef struct {
    conv_impl impl;
    const conv_impl *original;
    char name[32], engine[32];
} second_copy;

enum { COPIES_MAX = 64 };

static conv_entry entries[LINES * CONV_VARIANT_COUNT + COPIES_MAX];
static second_copy copies[COPIES_MAX];
static char reasons[LINES][320];
static size_t entry_count, copy_count;

/* The array of the copy that runs, or NULL. */
static const conv_impl *const *chosen(const line *l)
{
    if (l->only == CPU_ISA_COUNT) return cpu_widest(l->copies);
    return l->only <= cpu_allowed() ? l->copies[l->only] : NULL;
}

/* The Makefile's probes of the peers that this build lacks: "onednn: why;xnnpack: why;". */
#ifndef PEERS_ABSENT
#define PEERS_ABSENT ""
#endif

/* What the probe of l's library said. */
static void explain_peer(const line *l, char *reason, size_t size)
{
    char key[32];
    snprintf(key, sizeof key, "%s: ", l->library);
    const char *why = strstr(PEERS_ABSENT, key);
    if (why == NULL) {
        snprintf(reason, size, "not in this build");
        return;
    }
    why += strlen(key);
    snprintf(reason, size, "not built: %.*s", (int)strcspn(why, ";"), why);
}

static void explain(const line *l, char *reason, size_t size)
{
    cpu_isa least = l->only == CPU_ISA_COUNT ? CPU_BASE : l->only;
    if (l->library != NULL)
        explain_peer(l, reason, size);
    else if (cpu_detect() < least)
        snprintf(reason, size, "this CPU has no %s", cpu_isa_name(least));
    else if (cpu_allowed() < least)
        snprintf(reason, size, "SEPBENCH_MAX_ISA=%s forbids it", cpu_isa_name(cpu_allowed()));
    else
        snprintf(reason, size, "not in this build");
}

static void read_list(void)
{
    for (size_t i = 0; i < LINES; i++) {
        const conv_impl *const *array = chosen(&lines[i]);
        if (array == NULL) explain(&lines[i], reasons[i], sizeof reasons[i]);
        for (int v = 0; v < CONV_VARIANT_COUNT; v++) {
            if (!(lines[i].variants & (1u << v))) continue;
            const conv_impl *impl = array ? array[v] : NULL;
            const char *absent = impl == NULL ? reasons[i] : impl->absent != NULL ? impl->absent() : NULL;
            if (absent != NULL && absent != reasons[i]) /* a later question changes an engine's words */
                absent = strncpy(reasons[i], absent, sizeof reasons[i] - 1);
            entries[entry_count++] = (conv_entry){lines[i].name, (conv_variant)v,  absent ? NULL : impl,
                                                  absent,        lines[i].library, lines[i].study,
                                                  false};
        }
    }
}

const conv_entry *conv_entries(size_t *count)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, read_list);
    *count = entry_count;
    return entries;
}

const char *conv_engine(const conv_impl *impl)
{
    size_t count;
    const conv_entry *e = conv_entries(&count);
    for (size_t i = 0; i < count; i++)
        if (e[i].impl == impl) return e[i].engine;
    return NULL;
}

const conv_impl *conv_find(const char *name, conv_variant variant)
{
    size_t count;
    const conv_entry *e = conv_entries(&count);
    for (size_t i = 0; i < count; i++)
        if (e[i].variant == variant && strcmp(e[i].name, name) == 0) return e[i].impl;
    return NULL;
}

/* ---- second copies: what they are is the original's, what they do is done in a worker */

static const conv_impl *original_of(const conv_impl *self) { return ((const second_copy *)self)->original; }

/* What an opened library refuses may depend on its version, and this process may have opened another one, or
 * none: only the plan, which the worker makes, can tell. */
static const char *copy_refuse(const conv_impl *self, const conv_problem *p, conv_pass pass)
{
    const conv_impl *original = original_of(self);
    bool opened_here = original->absent != NULL && !original->own_process;
    return opened_here || original->refuse == NULL ? NULL : original->refuse(original, p, pass);
}

static conv_status copy_plan(const conv_impl *self, const conv_problem *p, conv_pass pass,
                             const conv_context *ctx, conv_plan **plan, conv_error *err)
{
    const conv_impl *original = original_of(self);
    const char *absent = original->absent != NULL ? original->absent() : NULL;
    if (absent != NULL) return conv_fail(err, CONV_FAILED, "%s", absent);
    const char *why = conv_refuse(original, p, pass);
    return why != NULL ? conv_fail(err, CONV_REFUSED, "%s", why)
                       : original->plan(original, p, pass, ctx, plan, err);
}

static conv_status add_copies(const line *l, const char *name, const char *kind, conv_error *err)
{
    const conv_impl *const *array = chosen(l);
    if (array == NULL) return conv_fail(err, CONV_INVALID, "%s is %s", l->name, reasons[l - lines]);
    for (int v = 0; v < CONV_VARIANT_COUNT; v++) {
        if (array[v] == NULL) continue;
        if (copy_count == COPIES_MAX)
            return conv_fail(err, CONV_INVALID, "more than %d further implementations", COPIES_MAX);
        second_copy *c = &copies[copy_count++];
        c->impl = *array[v];
        c->original = array[v];
        snprintf(c->name, sizeof c->name, "%s%s", name, l->name + strlen(kind));
        snprintf(c->engine, sizeof c->engine, "%s", name);
        c->impl.name = c->name;
        c->impl.own_process = true;
        c->impl.refuse = copy_refuse;
        c->impl.plan = copy_plan;
        c->impl.strategies = NULL;
        c->impl.stage[0] = c->impl.stage[1] = NULL;
        entries[entry_count++] =
            (conv_entry){c->name, (conv_variant)v, &c->impl, NULL, c->engine, l->study, true};
    }
    return CONV_OK;
}

conv_status conv_add_engine(const char *name, const char *kind, conv_error *err)
{
    size_t count;
    const conv_entry *e = conv_entries(&count);
    bool known = false;
    for (size_t i = 0; i < count; i++)
        if (strcmp(e[i].name, name) == 0 || (e[i].engine != NULL && strcmp(e[i].engine, name) == 0))
            return conv_fail(err, CONV_INVALID, "there is an implementation '%s' already", name);
    for (const line *l = lines; l < lines + LINES; l++) {
        if (strcmp(l->library != NULL ? l->library : l->name, kind) != 0) continue;
        conv_status status = add_copies(l, name, kind, err);
        if (status != CONV_OK) return status;
        known = true;
    }
    return known ? CONV_OK
                 : conv_fail(err, CONV_INVALID, "'%s' is neither an engine nor an implementation", kind);
}
