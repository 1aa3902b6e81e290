/* The run's folder while it is written. results.csv and samples.csv only ever grow, one write(2) a line, so
 * that a kill loses at most the line being written; whatever replaces a file as a whole goes through output.h.
 * A case measured again gets a second row, which wins; tidying drops the first. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "../cli.h"
#include "../output.h"
#include "../text.h"
#include "csv.h"
#include "internal.h"

struct record_store {
    char dir[4096], run_id[64];
    claim folder;
    int results, samples; /* descriptors that append */
    bool started, linked, superseded;
    void *known; /* index of cases; value: whether the status is final */
};

/* ---- files */

static void join(char *path, size_t size, const record_store *s, const char *name)
{
    snprintf(path, size, "%s/%s", s->dir, name);
}

static bool fail_errno(conv_error *err, const char *path)
{
    conv_fail(err, CONV_FAILED, "%.200s: %s", path, strerror(errno));
    return false;
}

static bool write_all(int fd, const char *data, size_t size)
{
    while (size > 0) {
        ssize_t n = write(fd, data, size);
        if (n < 0 && errno == EINTR) continue;
        if (n < 0) return false;
        data += n;
        size -= (size_t)n;
    }
    return true;
}

static bool replace_file(const record_store *s, const char *name, const char *data, size_t size,
                         conv_error *err)
{
    char path[4200];
    join(path, sizeof path, s, name);
    return output_write(path, OUTPUT_OWN, data, size, err);
}

/* One line, whole or not at all. */
static bool append(const record_store *s, int fd, const char *name, const char *line, size_t size,
                   conv_error *err)
{
    struct stat before;
    if (fstat(fd, &before) == 0) {
        if (write_all(fd, line, size)) return true;
        int why = errno;
        if (ftruncate(fd, before.st_size) != 0) cli_warning("%s/%s ends in a torn line", s->dir, name);
        errno = why;
    }
    char path[4200];
    join(path, sizeof path, s, name);
    return fail_errno(err, path);
}

static int open_append(const record_store *s, const char *name, conv_error *err)
{
    char path[4200];
    join(path, sizeof path, s, name);
    int fd = open(path, O_RDWR | O_APPEND | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0) fail_errno(err, path);
    return fd;
}

/* ---- which cases are there */

/* Notes the case; true when it was known already. */
static bool note_case(record_store *s, const char *name, bool final)
{
    record_entry *known = record_index_find(&s->known, name);
    if (known == NULL) {
        record_index_add(&s->known, name, final);
        return false;
    }
    known->value = final;
    return true;
}

static bool is_final(case_status status)
{
    return status == CASE_OK || status == CASE_REFUSED || status == CASE_WRONG;
}

bool record_has(const record_store *s, const char *case_name)
{
    const record_entry *known = record_index_find(&s->known, case_name);
    return known != NULL && known->value;
}

/* ---- tidying: superseded rows and torn lines go */

/* Rewrites results.csv with what record_load makes of it; *run (may be NULL) then holds the rows. */
static bool tidy_results(const record_store *s, record_run *run, conv_error *err)
{
    record_run own;
    if (!record_load(s->dir, &own, err)) return false;
    char *text = NULL;
    size_t size = 0;
    FILE *out = open_memstream(&text, &size);
    if (out != NULL) {
        record_put_header(out);
        for (size_t i = 0; i < own.count; i++) record_put_row(out, &own.rows[i]);
    }
    bool ok = out != NULL && fclose(out) == 0;
    if (ok)
        ok = replace_file(s, "results.csv", text, size, err);
    else
        conv_fail(err, CONV_NO_MEMORY, "%.200s/results.csv: no memory to rewrite it", s->dir);
    free(text);
    if (ok && run != NULL)
        *run = own;
    else
        record_free(&own);
    return ok;
}

/* Drops the samples of cases that will be measured again. */
static bool tidy_samples(const record_store *s, conv_error *err)
{
    char path[4200];
    join(path, sizeof path, s, "samples.csv");
    size_t size, kept_size = 0;
    char *text = record_slurp(path, &size, err), *kept = NULL;
    if (text == NULL) return false;
    FILE *out = open_memstream(&kept, &kept_size);
    csv_reader csv;
    csv_open(&csv, text, size);
    if (out != NULL) {
        fputs(record_samples_header, out);
        if (csv_next(&csv)) /* the header */
            while (csv_next(&csv))
                if (record_has(s, csv.field[0])) fwrite(csv.start, 1, (size_t)(csv.at - csv.start), out);
    }
    bool ok = out != NULL && fclose(out) == 0;
    if (!ok)
        conv_fail(err, CONV_NO_MEMORY, "%s: no memory to rewrite it", path);
    else
        ok = record_csv_ended(path, &csv, err) && replace_file(s, "samples.csv", kept, kept_size, err);
    csv_close(&csv);
    free(text);
    free(kept);
    return ok;
}

/* ---- opening */

static bool start_run(record_store *s, const char *out_dir, json_t *run, conv_error *err)
{
    if (!record_claim_new(&s->folder, out_dir, s->run_id, err)) return false;
    snprintf(s->dir, sizeof s->dir, "%s", s->folder.path);
    s->started = true;
    char *header = NULL;
    size_t size = 0;
    FILE *out = open_memstream(&header, &size);
    if (out != NULL) record_put_header(out);
    bool ok = out != NULL && fclose(out) == 0;
    if (!ok) conv_fail(err, CONV_NO_MEMORY, "no memory for the header of results.csv");
    ok = ok && replace_file(s, "results.csv", header, size, err) &&
         replace_file(s, "samples.csv", record_samples_header, strlen(record_samples_header), err) &&
         record_update_run(s, run, err);
    free(header);
    return ok;
}

static bool continue_run(record_store *s, const char *out_dir, json_t *run, conv_error *err)
{
    char *real = realpath(out_dir ? out_dir : "results/latest", NULL);
    if (real == NULL) {
        conv_fail(err, CONV_INVALID, "%s: %s: no run to resume there", out_dir ? out_dir : "results/latest",
                  strerror(errno));
        return false;
    }
    snprintf(s->dir, sizeof s->dir, "%s", real);
    free(real);
    record_run old;
    if (!claim_folder(&s->folder, s->dir, false, err)) return false;
    if (!tidy_results(s, &old, err)) return false;
    snprintf(s->run_id, sizeof s->run_id, "%s", old.run_id);
    for (size_t i = 0; i < old.count; i++) {
        char name[CASE_NAME_MAX];
        note_case(s, record_case_name(&old.rows[i], name), is_final(old.rows[i].status));
    }
    record_free(&old);
    return tidy_samples(s, err) && record_update_run(s, run, err);
}

/* Undoes start_run: an empty run is not left behind as if it were one. */
static void abandon(record_store *s)
{
    for (int i = 0; s->started && i < RECORD_FILES; i++) {
        char path[4200];
        join(path, sizeof path, s, record_files[i]);
        unlink(path);
    }
    claim_undo(&s->folder);
}

record_store *record_open(const char *out_dir, bool resume, json_t *run, conv_error *err)
{
    record_store *s = calloc(1, sizeof *s);
    if (s == NULL) {
        conv_fail(err, CONV_NO_MEMORY, "no memory for the results store");
        return NULL;
    }
    s->results = s->samples = -1;
    bool ok = resume ? continue_run(s, out_dir, run, err) : start_run(s, out_dir, run, err);
    if (ok) output_sweep(s->dir, record_files, RECORD_FILES);
    ok = ok && (s->results = open_append(s, "results.csv", err)) >= 0 &&
         (s->samples = open_append(s, "samples.csv", err)) >= 0;
    if (ok) return s;
    if (!resume) abandon(s);
    s->superseded = false;
    record_close(s);
    return NULL;
}

const char *record_dir(const record_store *s) { return s->dir; }

const char *record_run_id(const record_store *s) { return s->run_id; }

/* Points results/latest at this run, by its first row: a run that never measured is not the latest. A run
 * outside a folder named results has no such link. */
static void link_latest(record_store *s)
{
    s->linked = true;
    char *real = realpath(s->dir, NULL);
    if (real == NULL) return;
    char *name = strrchr(real, '/');
    *name++ = '\0';
    const char *parent = strrchr(real, '/');
    if (parent != NULL && strcmp(parent, "/results") == 0) {
        char link[4200], next[4200];
        snprintf(link, sizeof link, "%s/latest", real);
        snprintf(next, sizeof next, "%s/.latest.%s", real, name);
        unlink(next);
        if (symlink(name, next) != 0 || rename(next, link) != 0) {
            cli_warning("%s: not renewed: %s", link, strerror(errno));
            unlink(next);
        }
    }
    free(real);
}

/* ---- writing */

bool record_write(record_store *s, const record_row *row, conv_error *err)
{
    record_row stamped = *row;
    snprintf(stamped.run_id, sizeof stamped.run_id, "%s", s->run_id);
    char *line = NULL, name[CASE_NAME_MAX];
    size_t size = 0;
    FILE *out = open_memstream(&line, &size);
    if (out != NULL) record_put_row(out, &stamped);
    bool ok = out != NULL && fclose(out) == 0;
    if (ok)
        ok = append(s, s->results, "results.csv", line, size, err);
    else
        conv_fail(err, CONV_NO_MEMORY, "no memory for a row of results.csv");
    free(line);
    if (!ok) return false;
    if (note_case(s, record_case_name(&stamped, name), is_final(row->status))) s->superseded = true;
    if (!s->linked) link_latest(s);
    return true;
}

bool record_write_sample(record_store *s, const char *case_name, int repetition, const record_sample *sample,
                         conv_error *err)
{
    char line[CASE_NAME_MAX + 192];
    int size = record_format_sample(case_name, repetition, sample, line, sizeof line);
    return append(s, s->samples, "samples.csv", line, (size_t)size, err);
}

bool record_update_run(record_store *s, json_t *run, conv_error *err)
{
    json_object_set_new(run, "schema", json_integer(RECORD_SCHEMA));
    json_object_set_new(run, "run_id", json_string(s->run_id));
    char path[4200];
    join(path, sizeof path, s, "run.json");
    return output_json(path, OUTPUT_OWN, run, JSON_INDENT(2), err);
}

void record_close(record_store *s)
{
    if (s == NULL) return;
    conv_error err;
    if (s->superseded && !tidy_results(s, NULL, &err)) cli_warning("%s", err.text);
    if (s->samples >= 0) close(s->samples);
    if (s->results >= 0) close(s->results);
    claim_drop(&s->folder); /* last */
    record_index_free(&s->known);
    free(s);
}
