/* Limits: memory that may still be taken and CPU time the cgroups grant, version 1 and 2 alike. */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "internal.h"

enum { PATH_BYTES = 4096, LINE_BYTES = 8192 };

bool machine_read_line(char *line, size_t size, const char *root, const char *format, ...)
{
    char path[PATH_BYTES];
    size_t n = (size_t)snprintf(path, sizeof path, "%s", root);
    if (n >= sizeof path) return false;
    va_list args;
    va_start(args, format);
    vsnprintf(path + n, sizeof path - n, format, args);
    va_end(args);
    FILE *f = fopen(path, "r");
    bool ok = f != NULL && fgets(line, (int)size, f) != NULL;
    if (f != NULL) fclose(f);
    if (ok) line[strcspn(line, "\n")] = '\0';
    return ok;
}

bool machine_read_numbers(double *value, int count, const char *root, const char *path)
{
    char line[256], *next = line;
    if (!machine_read_line(line, sizeof line, root, "%s", path)) return false;
    for (int i = 0; i < count; i++) {
        char *end;
        value[i] = strtod(next, &end);
        if (end == next) return false;
        next = end;
    }
    return true;
}

/* The number after `key` at the start of a line; false when there is none. */
static bool read_field(const char *path, const char *key, double *value)
{
    char line[LINE_BYTES];
    size_t length = strlen(key);
    FILE *f = fopen(path, "r");
    bool found = false;
    while (f != NULL && !found && fgets(line, sizeof line, f) != NULL) {
        char *end = line;
        if (strncmp(line, key, length) == 0) *value = strtod(line + length, &end);
        found = end > line + length;
    }
    if (f != NULL) fclose(f);
    return found;
}

bool machine_meminfo(const char *root, uint64_t *total, uint64_t *available)
{
    char path[PATH_BYTES];
    double kib[2];
    snprintf(path, sizeof path, "%s/proc/meminfo", root);
    if (!read_field(path, "MemTotal:", &kib[0]) || !read_field(path, "MemAvailable:", &kib[1])) return false;
    *total = (uint64_t)(1024 * kib[0]);
    *available = (uint64_t)(1024 * kib[1]);
    return true;
}

/* A comma list such as "cpu,cpuacct" holds word. */
static bool has_word(const char *list, const char *word)
{
    size_t n = strlen(word);
    for (const char *p = list; (p = strstr(p, word)) != NULL; p += n)
        if ((p == list || p[-1] == ',') && (p[n] == '\0' || p[n] == ',')) return true;
    return false;
}

/* Where a controller ("" = version 2) is mounted, and which of its cgroups the mount point shows. */
static bool find_mount(const char *root, const char *controller, char *mount, char *shown)
{
    char path[PATH_BYTES], line[LINE_BYTES];
    snprintf(path, sizeof path, "%s/proc/self/mountinfo", root);
    FILE *f = fopen(path, "r");
    bool found = false;
    while (f != NULL && !found && fgets(line, sizeof line, f) != NULL) {
        char from[PATH_BYTES], to[PATH_BYTES], type[32], options[1024];
        const char *tail = strstr(line, " - ");
        if (tail == NULL || sscanf(line, "%*s %*s %*s %4095s %4095s", from, to) != 2 ||
            sscanf(tail, " - %31s %*s %1023s", type, options) != 2)
            continue;
        found = controller[0] ? strcmp(type, "cgroup") == 0 && has_word(options, controller)
                              : strcmp(type, "cgroup2") == 0;
        if (!found) continue;
        snprintf(mount, PATH_BYTES, "%s%s", root, to);
        snprintf(shown, PATH_BYTES, "%s", strcmp(from, "/") == 0 ? "" : from);
    }
    if (f != NULL) fclose(f);
    return found;
}

/* This process's cgroup of a controller ("" = version 2), as /proc/self/cgroup names it. */
static bool find_cgroup(const char *root, const char *controller, char *name)
{
    char path[PATH_BYTES], line[LINE_BYTES];
    snprintf(path, sizeof path, "%s/proc/self/cgroup", root);
    FILE *f = fopen(path, "r");
    bool found = false;
    while (f != NULL && !found && fgets(line, sizeof line, f) != NULL) {
        line[strcspn(line, "\n")] = '\0';
        char *list = strchr(line, ':');
        char *where = list ? strchr(++list, ':') : NULL;
        if (where == NULL) continue;
        *where++ = '\0';
        found = controller[0] ? has_word(list, controller) : list[0] == '\0';
        if (found) snprintf(name, PATH_BYTES, "%s", where);
    }
    if (f != NULL) fclose(f);
    return found;
}

/* Memory left in one cgroup: limit - usage + file pages the kernel would give back. */
static uint64_t memory_left(const char *folder, bool v2)
{
    char path[2 * PATH_BYTES + 16];
    double limit, usage, cache = 0;
    if (!machine_read_numbers(&limit, 1, folder, v2 ? "/memory.max" : "/memory.limit_in_bytes") ||
        !machine_read_numbers(&usage, 1, folder, v2 ? "/memory.current" : "/memory.usage_in_bytes"))
        return UINT64_MAX;                 /* absent, or "max" */
    if (limit > 0x1p62) return UINT64_MAX; /* version 1's way to say none */
    snprintf(path, sizeof path, "%s/memory.stat", folder);
    read_field(path, v2 ? "inactive_file " : "total_inactive_file ", &cache);
    double used = usage > cache ? usage - cache : 0;
    return limit > used ? (uint64_t)(limit - used) : 0;
}

/* CPUs per period; 0 when unlimited: absent, "max 100000", or -1 in version 1. */
static double cpus_granted(const char *folder, bool v2)
{
    double quota[2];
    bool known = v2 ? machine_read_numbers(quota, 2, folder, "/cpu.max")
                    : machine_read_numbers(&quota[0], 1, folder, "/cpu.cfs_quota_us") &&
                          machine_read_numbers(&quota[1], 1, folder, "/cpu.cfs_period_us");
    return known && quota[0] > 0 && quota[1] > 0 ? quota[0] / quota[1] : 0;
}

/* The tightest limit from this process's cgroup up to the mount point: a parent's limit binds as well. */
static void apply(const char *root, const char *controller, bool v2, machine_limits *limits)
{
    char mount[PATH_BYTES], shown[PATH_BYTES], name[PATH_BYTES], folder[2 * PATH_BYTES];
    const char *which = v2 ? "" : controller;
    if (!find_mount(root, which, mount, shown) || !find_cgroup(root, which, name)) return;
    /* In a container the mount shows only a part of the tree, and the name may be one of outside. */
    const char *below = strncmp(name, shown, strlen(shown)) == 0 ? name + strlen(shown) : "";
    snprintf(folder, sizeof folder, "%s%s", mount, strcmp(below, "/") == 0 ? "" : below);
    for (;;) {
        if (strcmp(controller, "memory") == 0) {
            uint64_t left = memory_left(folder, v2);
            if (left < limits->memory_left) limits->memory_left = left;
        } else {
            double cpus = cpus_granted(folder, v2);
            if (cpus > 0 && (limits->cpus == 0 || cpus < limits->cpus)) limits->cpus = cpus;
        }
        char *last = strrchr(folder, '/');
        if (strlen(folder) <= strlen(mount) || last == NULL) return;
        *last = '\0';
    }
}

machine_limits machine_limits_read(const char *root)
{
    machine_limits limits = {0, UINT64_MAX};
    for (int v2 = 0; v2 < 2; v2++) {
        apply(root, "cpu", v2, &limits);
        apply(root, "memory", v2, &limits);
    }
    return limits;
}

size_t machine_memory_available(void)
{
    uint64_t total, available = UINT64_MAX, left = machine_limits_read("").memory_left;
    if (!machine_meminfo("", &total, &available)) available = UINT64_MAX;
    uint64_t least = available < left ? available : left;
    return least < SIZE_MAX ? (size_t)least : SIZE_MAX;
}
