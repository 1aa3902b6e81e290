/* Limits: memory that may still be taken and CPU time the cgroups grant, version 1 and 2 alike. */
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "machine_internal.h"

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

/* The number after `key` at the start of a line; false when there is none. */
static bool read_field(const char *path, const char *key, uint64_t *value)
{
    char line[LINE_BYTES];
    FILE *f = fopen(path, "r");
    bool found = false;
    while (f != NULL && !found && fgets(line, sizeof line, f) != NULL)
        found = strncmp(line, key, strlen(key)) == 0 && sscanf(line + strlen(key), "%" SCNu64, value) == 1;
    if (f != NULL) fclose(f);
    return found;
}

bool machine_meminfo(const char *root, uint64_t *total, uint64_t *available)
{
    char path[PATH_BYTES];
    snprintf(path, sizeof path, "%s/proc/meminfo", root);
    if (!read_field(path, "MemTotal:", total) || !read_field(path, "MemAvailable:", available)) return false;
    *total *= 1024;
    *available *= 1024;
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
    char text[64], path[2 * PATH_BYTES + 16];
    uint64_t limit, usage, cache = 0;
    if (!machine_read_line(text, sizeof text, folder, v2 ? "/memory.max" : "/memory.limit_in_bytes") ||
        sscanf(text, "%" SCNu64, &limit) != 1) /* absent or "max" */
        return UINT64_MAX;
    if (!machine_read_line(text, sizeof text, folder, v2 ? "/memory.current" : "/memory.usage_in_bytes") ||
        sscanf(text, "%" SCNu64, &usage) != 1)
        return UINT64_MAX;
    if (limit > UINT64_MAX / 4) return UINT64_MAX; /* version 1's way to say none */
    snprintf(path, sizeof path, "%s/memory.stat", folder);
    read_field(path, v2 ? "inactive_file " : "total_inactive_file ", &cache);
    usage = usage > cache ? usage - cache : 0;
    return limit > usage ? limit - usage : 0;
}

static double cpus_granted(const char *folder, bool v2)
{
    char text[64];
    double quota = 0, period = 0;
    if (v2) {
        if (!machine_read_line(text, sizeof text, folder, "/cpu.max") ||
            sscanf(text, "%lf %lf", &quota, &period) != 2)
            return 0; /* absent, or "max 100000" */
    } else if (!machine_read_line(text, sizeof text, folder, "/cpu.cfs_quota_us") ||
               sscanf(text, "%lf", &quota) != 1 ||
               !machine_read_line(text, sizeof text, folder, "/cpu.cfs_period_us") ||
               sscanf(text, "%lf", &period) != 1)
        return 0;
    return quota > 0 && period > 0 ? quota / period : 0;
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
