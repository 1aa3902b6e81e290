/* What the runs say of their machines, property by property. */
#include <stdlib.h>
#include <string.h>

#include "../text.h"
#include "sides.h"

enum { MOST_VERSIONS = 64, TEXT_MAX = 300, HASH_MAX = 12 };

typedef enum { IS_TEXT, IS_HASH, IS_BYTES, IS_COUNT, IS_GFLOPS, IS_GBPS, IS_NS } property_kind;

/* path: in run.json, "ceilings" being those of the threads that are compared. */
static const struct {
    const char *name, *path;
    property_kind kind;
} properties[] = {
    {"Host", "machine/host", IS_TEXT},
    {"CPU", "machine/cpu", IS_TEXT},
    {"Kernel", "machine/kernel", IS_TEXT},
    {"ISA used", "machine/isa_allowed", IS_TEXT},
    {"ISA it has", "machine/isa", IS_TEXT},
    {"Packages", "machine/packages", IS_COUNT},
    {"Cores", "machine/cores", IS_COUNT},
    {"Hardware threads", "machine/hardware_threads", IS_COUNT},
    {"L1d", "machine/caches/l1d", IS_BYTES},
    {"L2", "machine/caches/l2", IS_BYTES},
    {"Cores sharing an L2", "machine/caches/cores_sharing_l2", IS_COUNT},
    {"L3", "machine/caches/l3", IS_BYTES},
    {"Cores sharing an L3", "machine/caches/cores_sharing_l3", IS_COUNT},
    {"Memory", "machine/memory_total", IS_BYTES},
    {"Peak, base", "ceilings/fma_gflops/base", IS_GFLOPS},
    {"Peak, avx2", "ceilings/fma_gflops/avx2", IS_GFLOPS},
    {"Peak, avx512", "ceilings/fma_gflops/avx512", IS_GFLOPS},
    {"Bandwidth, L1", "ceilings/bandwidth_gbps/L1", IS_GBPS},
    {"Bandwidth, L2", "ceilings/bandwidth_gbps/L2", IS_GBPS},
    {"Bandwidth, L3", "ceilings/bandwidth_gbps/L3", IS_GBPS},
    {"Bandwidth, DRAM", "ceilings/bandwidth_gbps/DRAM", IS_GBPS},
    {"Barrier", "ceilings/barrier_ns", IS_NS},
    {"Commit", "commit", IS_HASH},
    {"Build", "machine/build/id", IS_HASH},
    {"Build's kernels", "machine/build/kernels", IS_HASH},
    {"Compiler", "machine/build/compiler", IS_TEXT},
    {"Compiler's flags", "machine/build/flags", IS_TEXT},
    {"Flags by ISA", "machine/build/isa_flags", IS_TEXT},
};
enum { PROPERTIES = sizeof properties / sizeof *properties };

/* ---- one value */

/* run.json's ceilings of so many threads. */
static const json_t *ceilings_of(const side *m)
{
    const json_t *all = json_object_get(m->run.run, "ceilings"), *entry;
    size_t i;
    json_array_foreach(all, i, entry)
    {
        if (json_integer_value(json_object_get(entry, "threads")) == m->threads) return entry;
    }
    return NULL;
}

static const json_t *find(const side *m, const char *path)
{
    const json_t *at = m->run.run;
    if (strncmp(path, "ceilings/", strlen("ceilings/")) == 0) {
        at = ceilings_of(m);
        path += strlen("ceilings/");
    }
    while (at != NULL) {
        char key[32];
        size_t length = strcspn(path, "/");
        snprintf(key, sizeof key, "%.*s", (int)length, path);
        at = json_object_get(at, key);
        if (path[length] == '\0') break;
        path += length + 1;
    }
    return at;
}

/* Cut where it is long, a character as a whole. */
static char *copy_text(const char *text)
{
    size_t length = strlen(text);
    bool cut = length > TEXT_MAX;
    if (cut)
        for (length = TEXT_MAX; length > 0 && (text[length] & 0xC0) == 0x80;) length--;
    char *copy;
    if (asprintf(&copy, "%.*s%s", (int)length, text, cut ? "…" : "") < 0) return NULL;
    return text_make_printable(copy);
}

static char *bytes_text(double bytes)
{
    static const char *const units[] = {"B", "KiB", "MiB", "GiB", "TiB"};
    int unit = 0;
    for (; bytes >= 1024 && unit < 4; unit++) bytes /= 1024;
    char *text;
    return asprintf(&text, "%.4g %s", bytes, units[unit]) < 0 ? NULL : text;
}

static char *number_text(double value, const char *unit)
{
    char number[24], *text;
    return asprintf(&text, "%s %s", report_number(value, number), unit) < 0 ? NULL : text;
}

/* Malloced; NULL: the run does not say. */
static char *value_text(const json_t *value, property_kind kind)
{
    char *text;
    if (kind == IS_HASH && json_is_string(value))
        return asprintf(&text, "%.*s", HASH_MAX, json_string_value(value)) < 0 ? NULL
                                                                               : text_make_printable(text);
    if (kind == IS_TEXT) return json_is_string(value) ? copy_text(json_string_value(value)) : NULL;
    if (!json_is_number(value) || json_number_value(value) <= 0) return NULL;
    double number = json_number_value(value);
    switch (kind) {
    case IS_BYTES: return bytes_text(number);
    case IS_GFLOPS: return number_text(number, "GFLOP/s");
    case IS_GBPS: return number_text(number, "GB/s");
    case IS_NS: return number_text(number, "ns");
    default: return asprintf(&text, "%.0f", number) < 0 ? NULL : text;
    }
}

/* ---- rows */

static void judge(const sides *s, sides_difference *row)
{
    for (int i = 1; i < s->count; i++) {
        const char *a = row->text[0], *b = row->text[i];
        row->differs = row->differs || (a == NULL ? b != NULL : b == NULL || strcmp(a, b) != 0);
    }
}

static bool is_said(const sides *s, const sides_difference *row)
{
    for (int i = 0; i < s->count; i++)
        if (row->text[i] != NULL) return true;
    return false;
}

static void add_property(const sides *s, sides_differences *d, int property)
{
    sides_difference *row = &d->rows[d->count];
    snprintf(row->name, sizeof row->name, "%s", properties[property].name);
    for (int i = 0; i < s->count; i++)
        row->text[i] = value_text(find(s->machines[i], properties[property].path), properties[property].kind);
    judge(s, row);
    d->count += is_said(s, row);
}

static void add_threads(const sides *s, sides_differences *d)
{
    sides_difference *row = &d->rows[d->count++];
    strcpy(row->name, "Threads compared");
    for (int i = 0; i < s->count; i++)
        if (asprintf(&row->text[i], "%d", s->machines[i]->threads) < 0) row->text[i] = NULL;
    judge(s, row);
}

static const json_t *versions_of(const side *m) { return find(m, "machine/versions"); }

/* Versions of libraries, by the names that any machine has. */
static void add_versions(const sides *s, sides_differences *d)
{
    size_t first = d->count;
    for (int m = 0; m < s->count; m++) {
        const char *key;
        json_t *value;
        json_object_foreach((json_t *)versions_of(s->machines[m]), key, value)
        {
            char name[sizeof d->rows->name];
            snprintf(name, sizeof name, "%.40s version", key);
            text_make_printable(name);
            bool known = !json_is_string(value) || d->count - first == MOST_VERSIONS;
            for (size_t i = first; i < d->count; i++) known = known || strcmp(d->rows[i].name, name) == 0;
            if (known) continue;
            sides_difference *row = &d->rows[d->count++];
            strcpy(row->name, name);
            for (int i = 0; i < s->count; i++)
                row->text[i] = value_text(json_object_get(versions_of(s->machines[i]), key), IS_TEXT);
            judge(s, row);
        }
    }
}

bool sides_differences_create(const sides *s, sides_differences *d)
{
    *d = (sides_differences){.rows = calloc(PROPERTIES + MOST_VERSIONS + 1, sizeof *d->rows)};
    if (d->rows == NULL) return false;
    add_threads(s, d);
    for (int i = 0; i < PROPERTIES; i++) add_property(s, d, i);
    add_versions(s, d);
    return true;
}

void sides_differences_destroy(sides_differences *d)
{
    for (size_t i = 0; i < d->count; i++)
        for (int m = 0; m < SIDES_MAX; m++) free(d->rows[i].text[m]);
    free(d->rows);
    *d = (sides_differences){.count = 0};
}
