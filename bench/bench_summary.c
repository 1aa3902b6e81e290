#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "../harness/stats.h"
#include "bench.h"

enum { FEW_GROUPS = 24, MOST_IMPLS = 64 };

/* ---- groups: rows that differ in the implementation only --------------------------------------------- */

typedef struct {
    char key[CASE_NAME_MAX];   /* the case name with * for the implementation */
    const record_row *fastest; /* NULL: none got a time */
    int timed;
} group;

static size_t list_groups(const record_row *rows, size_t count, group *groups)
{
    size_t found = 0;
    for (size_t i = 0; i < count; i++) {
        record_row any = rows[i];
        char key[CASE_NAME_MAX];
        snprintf(any.impl, sizeof any.impl, "*");
        record_case_name(&any, key);
        size_t g = 0;
        while (g < found && strcmp(groups[g].key, key) != 0) g++;
        if (g == found) {
            groups[found] = (group){.timed = 0};
            strcpy(groups[found++].key, key);
        }
        if (rows[i].status != CASE_OK) continue;
        groups[g].timed++;
        if (groups[g].fastest == NULL || rows[i].median_ns < groups[g].fastest->median_ns)
            groups[g].fastest = &rows[i];
    }
    return found;
}

static double gflops(const record_row *row)
{
    return (double)conv_flops(&row->problem, row->pass) / row->median_ns;
}

static void print_number(FILE *out, int width, const char *format, double value)
{
    char text[32] = "";
    if (isfinite(value)) snprintf(text, sizeof text, format, value);
    fprintf(out, " %*s", width, text);
}

/* Below 80 columns: dense/backward/mb1ic64ih28oc64kh3ph1/nhwc/t2/warm loses what is the same everywhere. */
static void print_groups(FILE *out, const group *groups, size_t count)
{
    fprintf(out, "%-40s %-16s %7s %8s %6s\n", "case", "fastest", "ms", "GFLOP/s", "% peak");
    for (size_t g = 0; g < count; g++) {
        const record_row *row = groups[g].fastest;
        char name[CASE_NAME_MAX];
        snprintf(name, sizeof name, "%s", groups[g].key);
        char *star = strstr(name, "/*/");
        if (star != NULL) memmove(star, star + 2, strlen(star + 2) + 1);
        char *tail = strstr(name, "/nhwc/");
        if (tail != NULL) memmove(tail, tail + 5, strlen(tail + 5) + 1);
        tail = strstr(name, "/warm");
        if (tail != NULL) *tail = '\0';
        fprintf(out, "%-40.40s %-16s", name, row ? row->impl : "-");
        print_number(out, 7, "%.4g", row ? 1e-6 * row->median_ns : NAN);
        print_number(out, 8, "%.1f", row ? gflops(row) : NAN);
        print_number(out, 6, "%.1f", row ? row->percent_peak : NAN);
        putc('\n', out);
    }
}

/* ---- implementations -------------------------------------------------------------------------------- */

typedef struct {
    const char *name;
    int of_status[CASE_STATUS_COUNT], fastest;
} tally;

static size_t list_impls(const record_row *rows, size_t count, tally *impls)
{
    size_t found = 0;
    for (size_t i = 0; i < count; i++) {
        size_t t = 0;
        while (t < found && strcmp(impls[t].name, rows[i].impl) != 0) t++;
        if (t == MOST_IMPLS) continue;
        if (t == found) impls[found++] = (tally){.name = rows[i].impl};
        impls[t].of_status[rows[i].status]++;
    }
    return found;
}

static double median_percent(const record_row *rows, size_t count, const char *impl, double *room)
{
    size_t n = 0;
    for (size_t i = 0; i < count; i++)
        if (rows[i].status == CASE_OK && isfinite(rows[i].percent_peak) && strcmp(rows[i].impl, impl) == 0)
            room[n++] = rows[i].percent_peak;
    return n > 0 ? stats_median(room, n) : NAN;
}

static void print_impls(FILE *out, const record_row *rows, size_t count, const group *groups,
                        size_t group_count)
{
    tally impls[MOST_IMPLS];
    size_t found = list_impls(rows, count, impls);
    double *room = calloc(count, sizeof *room);
    if (room == NULL) return;
    for (size_t g = 0; g < group_count; g++)
        for (size_t t = 0; t < found && groups[g].timed > 1; t++)
            impls[t].fastest += strcmp(impls[t].name, groups[g].fastest->impl) == 0;
    fprintf(out, "%-17s%7s%9s%9s%7s%8s%9s%14s\n", "implementation", "timed", "refused", "skipped", "wrong",
            "failed", "fastest", "median % peak");
    for (size_t t = 0; t < found; t++) {
        const int *s = impls[t].of_status;
        fprintf(out, "%-17s%7d%9d%9d%7d%8d%9d", impls[t].name, s[CASE_OK], s[CASE_REFUSED], s[CASE_SKIPPED],
                s[CASE_WRONG], s[CASE_FAILED], impls[t].fastest);
        print_number(out, 13, "%.1f", median_percent(rows, count, impls[t].name, room));
        putc('\n', out);
    }
    free(room);
}

void bench_summary(FILE *out, const record_row *rows, size_t count)
{
    group *groups = calloc(count + 1, sizeof *groups);
    if (groups == NULL) return;
    size_t group_count = list_groups(rows, count, groups);
    if (group_count <= FEW_GROUPS)
        print_groups(out, groups, group_count);
    else
        print_impls(out, rows, count, groups, group_count);
    free(groups);
}
