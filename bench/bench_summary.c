#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "../harness/record/rule.h"
#include "../harness/stats.h"
#include "bench.h"

enum { FEW_GROUPS = 24, MOST_IMPLS = 64, NAME = 46 };

/* ---- words */

char *bench_group_name(const record_row *row, char *buffer)
{
    record_row any = *row;
    snprintf(any.impl, sizeof any.impl, "*");
    record_case_name(&any, buffer);
    const struct {
        const char *text;
        size_t kept;
    } usual[] = {{"/*/", 1}, {"/nhwc/", 1}, {"/warm", 0}};
    for (size_t i = 0; i < sizeof usual / sizeof *usual; i++) {
        char *at = strstr(buffer, usual[i].text);
        if (at == NULL) continue;
        char *rest = at + strlen(usual[i].text);
        memmove(at + usual[i].kept, rest, strlen(rest) + 1);
    }
    return buffer;
}

char *bench_time(double ns, char *buffer)
{
    static const char *const units[] = {"ns", "us", "ms", "s"};
    int unit = 0;
    for (; ns >= 999.5 && unit < 3; unit++) ns /= 1000;
    snprintf(buffer, 16, "%.3g %s", ns, units[unit]);
    return buffer;
}

/* ---- groups: rows that differ in the implementation only */

typedef struct {
    char name[CASE_NAME_MAX];
    const record_row *first, *fastest; /* fastest NULL: none got a time */
    int timed;
} group;

static size_t list_groups(const record_row *rows, size_t count, group *groups)
{
    size_t found = 0;
    for (size_t i = 0; i < count; i++) {
        char name[CASE_NAME_MAX];
        bench_group_name(&rows[i], name);
        size_t g = 0;
        while (g < found && strcmp(groups[g].name, name) != 0) g++;
        if (g == found) {
            groups[found] = (group){.first = &rows[i]};
            snprintf(groups[found++].name, sizeof name, "%s", name);
        }
        if (rows[i].status != CASE_OK) continue;
        groups[g].timed++;
        if (record_faster(&rows[i], groups[g].fastest)) groups[g].fastest = &rows[i];
    }
    return found;
}

static void print_number(FILE *out, int width, const char *format, double value)
{
    char text[32] = "";
    if (isfinite(value)) snprintf(text, sizeof text, format, value);
    fprintf(out, " %*s", width, text);
}

static void print_groups(FILE *out, const group *groups, size_t count)
{
    int rough = 0;
    fprintf(out, "%-*s %-16s %8s %6s\n", NAME, "case", "fastest", "time", "% peak");
    for (size_t g = 0; g < count; g++) {
        const record_row *row = groups[g].fastest;
        char name[CASE_NAME_MAX], time[16] = "";
        rule_time t = row ? rule_time_of(row) : (rule_time){0};
        bool sure = rule_shown(&t);
        if (row) bench_time(row->median_ns, time);
        fprintf(out, "%-*s", NAME, bench_group_name(groups[g].first, name));
        if (strlen(name) > NAME) fprintf(out, "\n%*s", NAME, ""); /* its end tells it from others */
        fprintf(out, " %-16s %c%7s", row ? row->impl : "-", row && !sure ? '~' : ' ', time);
        print_number(out, 6, "%.1f", row ? row->percent_peak : NAN);
        putc('\n', out);
        rough += row && !sure;
    }
    if (rough > 0) fputs("~ rough: too few repetitions, or the machine was busy\n", out);
}

/* ---- implementations */

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
