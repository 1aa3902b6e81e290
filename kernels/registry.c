/* Reads impl.def and says, for this build, CPU and SEPBENCH_MAX_ISA, which implementations exist. */
#include <pthread.h>
#include <stdio.h>
#include <string.h>

#include "conv.h"

#define DENSE (1u << CONV_DENSE)
#define DEPTHWISE (1u << CONV_DEPTHWISE)
#define POINTWISE (1u << CONV_POINTWISE)
#define SEPARABLE (1u << CONV_SEPARABLE)
#define ALL_VARIANTS (DENSE | DEPTHWISE | POINTWISE | SEPARABLE)

typedef const conv_impl *const impl_array[CONV_VARIANT_COUNT];

/* ---- first reading: declare the arrays. Copies that this build lacks resolve to NULL through weak symbols. */
#define DECLARE(array) extern impl_array array __attribute__((weak));
#define IMPL(name, symbol, variants) DECLARE(symbol##_impls)
#define IMPL_WIDEST(name, symbol, variants)                                                                    \
    DECLARE(symbol##_impls_base) DECLARE(symbol##_impls_avx2) DECLARE(symbol##_impls_avx512)
#define IMPL_AT(name, symbol, isa, variants) DECLARE(symbol##_impls_##isa)
#define IMPL_PEER(name, symbol, variants, library) DECLARE(symbol##_impls)
#include "impl.def"
#undef IMPL
#undef IMPL_WIDEST
#undef IMPL_AT
#undef IMPL_PEER

/* ---- second reading: one line per implementation, its copies by ISA. */
typedef struct {
    const char *name;
    unsigned variants;
    impl_array *copy[CPU_ISA_COUNT];
    const char *library; /* peers */
    cpu_isa least;       /* the narrowest copy's ISA */
} line;

enum { ISA_INDEX_base = CPU_BASE, ISA_INDEX_avx2 = CPU_AVX2, ISA_INDEX_avx512 = CPU_AVX512 };

#define IMPL(name, symbol, variants) {name, variants, {&symbol##_impls}, NULL, CPU_BASE},
#define IMPL_WIDEST(name, symbol, variants)                                                                    \
    {name, variants, {&symbol##_impls_base, &symbol##_impls_avx2, &symbol##_impls_avx512}, NULL, CPU_BASE},
#define IMPL_AT(name, symbol, isa, variants)                                                                   \
    {name, variants, {[ISA_INDEX_##isa] = &symbol##_impls_##isa}, NULL, (cpu_isa)ISA_INDEX_##isa},
#define IMPL_PEER(name, symbol, variants, library) {name, variants, {&symbol##_impls}, library, CPU_BASE},
static const line lines[] = {
#include "impl.def"
};

enum { LINES = sizeof lines / sizeof *lines };

static conv_entry entries[LINES * CONV_VARIANT_COUNT];
static char reasons[LINES][160];
static size_t entry_count;

/* The widest copy that was built and is allowed, or NULL. */
static impl_array *widest(const line *l, cpu_isa allowed)
{
    for (int isa = (int)allowed; isa >= 0; isa--)
        if (l->copy[isa] != NULL) return l->copy[isa];
    return NULL;
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
    if (l->library != NULL)
        explain_peer(l, reason, size);
    else if (cpu_detect() < l->least)
        snprintf(reason, size, "this CPU has no %s", cpu_isa_name(l->least));
    else if (cpu_allowed() < l->least)
        snprintf(reason, size, "SEPBENCH_MAX_ISA=%s forbids it", cpu_isa_name(cpu_allowed()));
    else
        snprintf(reason, size, "not in this build");
}

static void read_list(void)
{
    for (size_t i = 0; i < LINES; i++) {
        impl_array *array = widest(&lines[i], cpu_allowed());
        if (array == NULL) explain(&lines[i], reasons[i], sizeof reasons[i]);
        for (int v = 0; v < CONV_VARIANT_COUNT; v++)
            if (lines[i].variants & (1u << v))
                entries[entry_count++] = (conv_entry){lines[i].name, (conv_variant)v,
                                                      array ? (*array)[v] : NULL, array ? NULL : reasons[i]};
    }
}

const conv_entry *conv_entries(size_t *count)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, read_list);
    *count = entry_count;
    return entries;
}

const conv_impl *conv_find(const char *name, conv_variant variant)
{
    size_t count;
    const conv_entry *e = conv_entries(&count);
    for (size_t i = 0; i < count; i++)
        if (e[i].variant == variant && strcmp(e[i].name, name) == 0) return e[i].impl;
    return NULL;
}
