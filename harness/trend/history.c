#include "history.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "../grow.h"
#include "../json.h"
#include "../measure/samples.h"
#include "../record/rule.h"
#include "../report/report.h"
#include "../stats.h"
#include "../text.h"

/* A time of a case in a run, before it has its place. */
typedef struct {
    char *name;
    size_t group, run;
    bool control;
    trend_point point;
} entry;

/* Folders within a folder of runs that are no runs for a trend. */
typedef struct {
    char why[RECORD_WHY_MAX];
    size_t count;
} left_out;

enum { MOST_REASONS = 8 };

typedef struct {
    trend_history *h;
    entry *entries;
    size_t count, runs;
    left_out left[MOST_REASONS];
    size_t reasons;
} gathering;

/* ---- one run */

static int most_threads(const record_run *run)
{
    int most = 0;
    for (size_t i = 0; i < run->count; i++)
        if (run->rows[i].threads > most) most = run->rows[i].threads;
    return most;
}

/* As `compare` asks of two runs, and the same build: compiler, flags, and the libraries that it calls. */
static bool describe(const record_run *run, trend_group *g, conv_error *err)
{
    const json_t *machine = json_object_get(run->run, "machine"), *build = json_object_get(machine, "build");
    char *versions = json_dumps(json_object_get(machine, "versions"), JSON_SORT_KEYS | JSON_COMPACT);
    const char *isa = json_text(machine, "isa_allowed", "unknown");
    snprintf(g->machine, sizeof g->machine, "%.80s, host %.64s, %.16s, %d threads",
             json_text(machine, "cpu", "unknown CPU"), json_text(machine, "host", "unknown"), isa,
             most_threads(run));
    snprintf(g->compiler, sizeof g->compiler, "%s", json_text(build, "compiler", "unknown compiler"));
    snprintf(g->flags, sizeof g->flags, "%s; %s%s%s", json_text(build, "flags", ""),
             json_text(build, "isa_flags", ""), json_object_get(build, "inject") ? "; INJECT=" : "",
             json_text(build, "inject", ""));
    text_make_printable(g->machine);
    text_make_printable(g->compiler);
    text_make_printable(g->flags);
    int length = asprintf(&g->key, "%s\n%s\n%s\n%s", g->machine, g->compiler, g->flags,
                          versions != NULL ? versions : "");
    free(versions);
    if (length >= 0) return true;
    g->key = NULL;
    conv_fail(err, CONV_NO_MEMORY, "no memory for the runs");
    return false;
}

static size_t group_of(gathering *g, const record_run *run, conv_error *err)
{
    trend_group made = {0};
    if (!describe(run, &made, err)) return SIZE_MAX;
    for (size_t i = 0; i < g->h->count; i++)
        if (strcmp(g->h->groups[i].key, made.key) == 0) {
            free(made.key);
            return i;
        }
    trend_group *added = grow(&g->h->groups, &g->h->count, sizeof *added);
    if (added == NULL) {
        free(made.key);
        conv_fail(err, CONV_NO_MEMORY, "no memory for the runs");
        return SIZE_MAX;
    }
    *added = made;
    return g->h->count - 1;
}

/* What the barriers of a run took tells whether its cores lay near or far; NaN where they were not timed. */
static bool handover_of(const record_run *run, double *median, conv_error *err)
{
    record_samples *all = record_samples_load(run->dir, err);
    double *ns = NULL;
    size_t room = 0, n = 0;
    if (all == NULL) return false;
    for (size_t i = 0; i < run->count; i++) {
        char name[CASE_NAME_MAX];
        size_t count;
        const record_sample *s = record_samples_of(all, record_case_name(&run->rows[i], name), &count);
        for (size_t k = 0; k < count; k++) {
            if (!isfinite(s[k].handover_ns)) continue;
            double *added = grow(&ns, &room, sizeof *ns);
            if (added != NULL) ns[n++] = s[k].handover_ns;
        }
    }
    *median = n > 0 ? stats_median(ns, n) : NAN;
    free(ns);
    record_samples_free(all);
    return true;
}

static bool take_rows(gathering *g, const record_run *run, size_t group, conv_error *err)
{
    for (size_t i = 0; i < run->count; i++) {
        const record_row *row = &run->rows[i];
        const rule_time time = rule_time_of(row);
        char name[CASE_NAME_MAX];
        if (row->status != CASE_OK || !rule_shown(&time)) continue;
        entry *e = grow(&g->entries, &g->count, sizeof *e);
        if (e != NULL)
            *e = (entry){strdup(record_case_name(row, name)),
                         group,
                         g->h->groups[group].run_count - 1,
                         report_style(row->impl).peer,
                         {time.median, time.low, time.high}};
        if (e != NULL && e->name != NULL) continue;
        conv_fail(err, CONV_NO_MEMORY, "no memory for the runs");
        return false;
    }
    return true;
}

static bool is_known(const trend_history *h, const char *id)
{
    for (size_t i = 0; i < h->count; i++)
        for (size_t r = 0; r < h->groups[i].run_count; r++)
            if (strcmp(h->groups[i].runs[r].id, id) == 0) return true;
    return false;
}

/* The order of the runs rests on it. */
static bool is_stamp(const char *text)
{
    const char *form = "0000-00-00T00:00:00Z";
    for (; *form != '\0'; form++, text++)
        if (*form == '0' ? !isdigit((unsigned char)*text) : *text != *form) return false;
    return *text == '\0';
}

static bool take_run(gathering *g, const char *dir, const record_run *run, conv_error *err)
{
    trend_run made = {.dirty = json_is_true(json_object_get(run->run, "dirty"))};
    if (!is_stamp(json_text(run->run, "started", ""))) {
        snprintf(made.started, sizeof made.started, "%s", json_text(run->run, "started", ""));
        conv_fail(err, CONV_INVALID, "%s/run.json: started is '%s': a time as 2026-01-31T12:00:00Z is needed",
                  run->dir, text_make_printable(made.started));
        return false;
    }
    if (is_known(g->h, run->run_id)) {
        conv_fail(err, CONV_INVALID, "%s: the run %s was there already: each once", dir, run->run_id);
        return false;
    }
    if (++g->runs > TREND_MOST_RUNS) {
        conv_fail(err, CONV_INVALID, "%s: more than %d runs", dir, TREND_MOST_RUNS);
        return false;
    }
    snprintf(made.id, sizeof made.id, "%s", run->run_id);
    snprintf(made.started, sizeof made.started, "%s", json_text(run->run, "started", ""));
    snprintf(made.commit, sizeof made.commit, "%s", json_text(run->run, "commit", "unknown"));
    text_make_printable(made.commit);
    if (!handover_of(run, &made.handover_ns, err)) return false;
    size_t group = group_of(g, run, err);
    if (group == SIZE_MAX) return false;
    trend_run *added = grow(&g->h->groups[group].runs, &g->h->groups[group].run_count, sizeof *added);
    if (added == NULL) {
        conv_fail(err, CONV_NO_MEMORY, "no memory for the runs");
        return false;
    }
    *added = made;
    return take_rows(g, run, group, err);
}

static bool load_run(gathering *g, const char *dir, conv_error *err)
{
    record_run run;
    if (!record_load_kind(dir, RECORD_IS(RECORD_BENCH), &run, err)) return false;
    bool fine = take_run(g, dir, &run, err);
    record_free(&run);
    return fine;
}

/* ---- folders */

/* errno tells a file that is not there from one that cannot be seen. */
static bool has(const char *dir, const char *name)
{
    char path[4400];
    struct stat info;
    int length = snprintf(path, sizeof path, "%s/%s", dir, name);
    errno = ENAMETOOLONG;
    if (length >= (int)sizeof path || stat(path, &info) != 0) return false;
    errno = ENOENT;
    return S_ISREG(info.st_mode);
}

/* Whether a link leads to a neighbour, as results/latest does: that one is there by its own name. */
static bool is_second_name(const char *dir, const char *path)
{
    struct stat info;
    char *target = NULL, *folder = NULL;
    if (lstat(path, &info) == 0 && S_ISLNK(info.st_mode)) {
        target = realpath(path, NULL);
        folder = realpath(dir, NULL);
    }
    size_t length = folder != NULL ? strlen(folder) : 0;
    bool second = target != NULL && length > 0 && strncmp(target, folder, length) == 0 &&
                  strrchr(target, '/') == target + length;
    free(target);
    free(folder);
    return second;
}

static void leave_out(gathering *g, const char *why)
{
    size_t i = 0;
    while (i < g->reasons && strcmp(g->left[i].why, why) != 0) i++;
    if (i == MOST_REASONS) snprintf(g->left[--i].why, RECORD_WHY_MAX, "other reasons");
    if (i == g->reasons) snprintf(g->left[g->reasons++].why, RECORD_WHY_MAX, "%s", why);
    g->left[i].count++;
}

/* False with err: what lies there cannot be seen, or is a run that cannot be read. What is none for a trend, as
 * a training, is left out. */
static bool load_entry(gathering *g, const char *dir, const char *name, conv_error *err)
{
    char path[4096], why[RECORD_WHY_MAX];
    struct stat info;
    bool fits = snprintf(path, sizeof path, "%s/%s", dir, name) < (int)sizeof path;
    if (*name == '.' || (fits && is_second_name(dir, path))) return true;
    errno = ENAMETOOLONG;
    bool run = fits && has(path, "run.json");
    if (!run && errno != ENOENT && errno != ENOTDIR) {
        conv_fail(err, CONV_INVALID, "%.300s: %s", path, strerror(errno));
        return false;
    }
    if (fits && record_other_kind(path, RECORD_IS(RECORD_BENCH), why))
        leave_out(g, why);
    else if (run)
        return load_run(g, path, err);
    else if (stat(path, &info) == 0 && S_ISDIR(info.st_mode))
        leave_out(g, "no run.json");
    return true;
}

/* "3 folders left out; 2: no run.json; 1: schema is 7: ..."; nothing where all were runs. */
static void tell_left_out(const gathering *g, char *text, size_t size)
{
    size_t all = 0;
    for (size_t i = 0; i < g->reasons; i++) all += g->left[i].count;
    *text = '\0';
    for (size_t i = 0, used = 0; i < g->reasons && used < size; i++) {
        if (i == 0) used += (size_t)snprintf(text, size, "%zu folder%s left out", all, all == 1 ? "" : "s");
        if (used < size)
            used += (size_t)snprintf(text + used, size - used, "; %zu: %s", g->left[i].count, g->left[i].why);
    }
}

/* The runs in a folder of runs. */
static bool load_folder(gathering *g, const char *dir, conv_error *err)
{
    struct dirent **names;
    size_t before = g->runs;
    bool fine = true;
    int count = scandir(dir, &names, NULL, alphasort);
    if (count < 0) {
        conv_fail(err, CONV_INVALID, "%s: %s", dir, strerror(errno));
        return false;
    }
    for (int i = 0; i < count; i++) {
        fine = fine && load_entry(g, dir, names[i]->d_name, err);
        free(names[i]);
    }
    free(names);
    if (fine && g->runs == before) {
        char left[160];
        tell_left_out(g, left, sizeof left);
        conv_fail(err, CONV_INVALID, "%.80s: neither a run nor a folder of runs%s%s", dir,
                  *left != '\0' ? ": " : "", left);
        return false;
    }
    return fine;
}

/* ---- into order */

static int by_time(const void *a, const void *b)
{
    const trend_run *x = a, *y = b;
    int order = strcmp(x->started, y->started);
    return order != 0 ? order : strcmp(x->id, y->id);
}

static int by_place(const void *a, const void *b)
{
    const entry *x = a, *y = b;
    if (x->group != y->group) return x->group < y->group ? -1 : 1;
    return strcmp(x->name, y->name);
}

/* Sorts the runs, and tells the entries where theirs went. */
static bool sort_runs(gathering *g, size_t group)
{
    trend_group *into = &g->h->groups[group];
    size_t *place = malloc((into->run_count + 1) * sizeof *place);
    trend_run *old = malloc((into->run_count + 1) * sizeof *old);
    if (place != NULL && old != NULL) {
        memcpy(old, into->runs, into->run_count * sizeof *old);
        qsort(into->runs, into->run_count, sizeof *into->runs, by_time);
        for (size_t r = 0; r < into->run_count; r++)
            for (place[r] = 0; strcmp(old[r].id, into->runs[place[r]].id) != 0;) place[r]++;
        for (size_t i = 0; i < g->count; i++)
            if (g->entries[i].group == group) g->entries[i].run = place[g->entries[i].run];
    }
    bool fine = place != NULL && old != NULL;
    free(place);
    free(old);
    return fine;
}

/* Near and far by the rule that the repetitions of a row follow, too. */
static void tell_states(trend_group *g)
{
    double least = INFINITY;
    for (size_t r = 0; r < g->run_count; r++) least = fmin(least, g->runs[r].handover_ns);
    for (size_t r = 0; r < g->run_count; r++)
        g->series.state[r] = g->runs[r].handover_ns > SAMPLES_FAR_APART * least;
}

/* The entries [from, to) are the group's, sorted by name. */
static bool fill_group(trend_group *g, const entry *from, size_t count)
{
    for (size_t i = 0; i < count; i++) g->case_count += i == 0 || strcmp(from[i].name, from[i - 1].name) != 0;
    g->names = calloc(g->case_count + 1, sizeof *g->names);
    g->points = malloc((g->case_count * g->run_count + 1) * sizeof *g->points);
    g->results = calloc(g->case_count + 1, sizeof *g->results);
    if (!trend_series_create(&g->series, g->run_count, g->case_count) || !g->names || !g->points || !g->results)
        return false;
    for (size_t i = 0; i < g->case_count * g->run_count; i++) g->points[i] = (trend_point){NAN, NAN, NAN};
    for (size_t i = 0, c = SIZE_MAX; i < count; i++) {
        if (i == 0 || strcmp(from[i].name, g->names[c]) != 0) {
            g->series.control[++c] = from[i].control;
            if ((g->names[c] = strdup(from[i].name)) == NULL) return false;
        }
        size_t at = c * g->run_count + from[i].run;
        g->points[at] = from[i].point;
        g->series.log_ns[at] = log(from[i].point.ns);
    }
    tell_states(g);
    return true;
}

static bool fill(gathering *g)
{
    bool fine = true;
    for (size_t i = 0; fine && i < g->h->count; i++) fine = sort_runs(g, i);
    if (g->count > 0) qsort(g->entries, g->count, sizeof *g->entries, by_place);
    for (size_t i = 0, from = 0, to; fine && i < g->h->count; i++, from = to) {
        for (to = from; to < g->count && g->entries[to].group == i;) to++;
        fine = fill_group(&g->h->groups[i], &g->entries[from], to - from);
    }
    return fine;
}

bool trend_gather(const char *const *dirs, size_t count, trend_history *h, conv_error *err)
{
    gathering g = {.h = h};
    bool fine = true;
    *h = (trend_history){0};
    for (size_t i = 0; fine && i < count; i++)
        fine = has(dirs[i], "run.json") ? load_run(&g, dirs[i], err) : load_folder(&g, dirs[i], err);
    tell_left_out(&g, h->left_out, sizeof h->left_out);
    if (fine && !(fine = fill(&g))) conv_fail(err, CONV_NO_MEMORY, "no memory for %zu runs", g.runs);
    for (size_t i = 0; i < g.count; i++) free(g.entries[i].name);
    free(g.entries);
    if (!fine) trend_history_free(h);
    return fine;
}

void trend_history_free(trend_history *h)
{
    for (size_t i = 0; i < h->count; i++) {
        trend_group *g = &h->groups[i];
        for (size_t c = 0; c < g->case_count; c++) {
            if (g->names != NULL) free(g->names[c]);
            if (g->results != NULL) trend_result_free(&g->results[c]);
        }
        free(g->key);
        free(g->runs);
        free(g->names);
        free(g->points);
        free(g->results);
        trend_series_destroy(&g->series);
    }
    free(h->groups);
    *h = (trend_history){0};
}

/* ---- judged */

bool trend_is_tested(const trend_group *g) { return trend_count(g, TREND_FEW) < g->case_count; }

size_t trend_count(const trend_group *g, trend_verdict v)
{
    size_t n = 0;
    for (size_t c = 0; c < g->case_count; c++) n += g->results[c].verdict == v;
    return n;
}

bool trend_judge(trend_history *h, double least_effect)
{
    size_t tested = 0;
    for (size_t i = 0; i < h->count; i++) tested += h->groups[i].run_count >= TREND_LEAST_RUNS;
    for (size_t i = 0; i < h->count; i++) {
        trend_group *g = &h->groups[i];
        g->least_effect = least_effect;
        if (!trend_level(&g->series) || !trend_detect(&g->series, tested, least_effect, g->results) ||
            !trend_tell(&g->series))
            return false;
    }
    return true;
}

size_t *trend_sorted(const trend_group *g)
{
    static const int rank[TREND_VERDICT_COUNT] = {
        [TREND_SLOWER] = 0, [TREND_FASTER] = 1, [TREND_BACK] = 2,   [TREND_SMALL] = 4,
        [TREND_QUIET] = 5,  [TREND_FEW] = 6,    [TREND_MACHINE] = 3};
    size_t *order = malloc((g->case_count + 1) * sizeof *order);
    for (size_t i = 0; order != NULL && i < g->case_count; i++) {
        size_t at = i;
        const trend_result *r = &g->results[i];
        for (; at > 0; at--) {
            const trend_result *before = &g->results[order[at - 1]];
            int ahead = rank[r->verdict] - rank[before->verdict];
            if (ahead > 0 || (ahead == 0 && r->statistic <= before->statistic)) break;
            order[at] = order[at - 1];
        }
        order[at] = i;
    }
    return order;
}

double trend_speed_change(const trend_group *g)
{
    double first[TREND_SEGMENT], last[TREND_SEGMENT];
    int n = 0, m = 0;
    if (!g->series.levelled) return NAN;
    for (size_t r = 0; r < g->run_count && n < TREND_SEGMENT; r++)
        if (isfinite(g->series.speed[r])) first[n++] = g->series.speed[r];
    for (size_t r = g->run_count; r-- > 0 && m < TREND_SEGMENT;)
        if (isfinite(g->series.speed[r])) last[m++] = g->series.speed[r];
    return n == TREND_SEGMENT && m == n ? stats_median(last, (size_t)m) - stats_median(first, (size_t)n) : NAN;
}

const char *trend_told(const trend_group *g, char *text, size_t size)
{
    const trend_series *s = &g->series;
    char change[64] = "any change";
    if (isfinite(s->told))
        snprintf(change, sizeof change, "a lasting change of less than %.1f%%",
                 fmax(0.1, 100 * expm1(s->told)));
    if (s->told <= g->least_effect)
        snprintf(text, size, "%zu runs cannot tell %s", g->run_count, change);
    else if (s->kept < 0.5)
        snprintf(text, size, "%zu runs whose host changed cannot tell %s", g->run_count, change);
    else if (s->alike >= 0.3)
        snprintf(text, size, "runs in a row are too alike (%.2f) to tell %s", s->alike, change);
    else
        snprintf(text, size, "%zu runs of this noise cannot tell %s", g->run_count, change);
    return text;
}
