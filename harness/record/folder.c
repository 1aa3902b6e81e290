/* The folder of a new run: its name, and whether a run may begin there. */
#include <ctype.h>
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "../output.h"
#include "../utc.h"
#include "internal.h"

const char *const record_files[RECORD_FILES] = {"results.csv", "samples.csv", "run.json", "benchmark.json"};

/* UTC time to the microsecond and the host's short name: unique, and sorted by time. */
static void make_run_id(char *id, size_t size)
{
    struct timespec now;
    char host[64] = "host";
    clock_gettime(CLOCK_REALTIME, &now);
    gethostname(host, sizeof host - 1);
    host[strcspn(host, ".")] = '\0';
    for (char *c = host; *c != '\0'; c++) /* it becomes a folder's name */
        if (!isascii(*c) || !isalnum((unsigned char)*c)) *c = '-';
    size_t used = strlen(utc_text(now.tv_sec, "%Y%m%dT%H%M%S", id, size));
    snprintf(id + used, size - used, ".%06ldZ-%.24s", now.tv_nsec / 1000, host);
}

static bool has_rows(const char *path)
{
    size_t size;
    char *text = record_slurp(path, &size, NULL);
    const char *header_end = text != NULL ? strchr(text, '\n') : NULL;
    bool rows = text == NULL || (header_end != NULL && header_end[1] != '\0');
    free(text);
    return rows;
}

/* Whether that entry is what a start leaves that was killed before its run.json: tables without a row. */
static bool is_of_a_start(const char *folder, const char *entry)
{
    char path[4400];
    snprintf(path, sizeof path, "%s/%s", folder, entry);
    for (int i = 0; i < RECORD_FILES; i++) {
        if (output_is_part(entry, record_files[i])) return true;
        if (i < RECORD_TABLES && strcmp(entry, record_files[i]) == 0) return !has_rows(path);
    }
    return strcmp(entry, ".") == 0 || strcmp(entry, "..") == 0;
}

static bool is_free(const char *folder)
{
    DIR *dir = opendir(folder);
    if (dir == NULL) return false;
    bool all = true;
    for (struct dirent *entry; all && (entry = readdir(dir)) != NULL;)
        all = is_of_a_start(folder, entry->d_name);
    closedir(dir);
    return all;
}

bool record_claim_new(claim *folder, const char *out_dir, char run_id[RECORD_ID_MAX], conv_error *err)
{
    char path[4200];
    do { /* somebody may have had the same microsecond */
        make_run_id(run_id, RECORD_ID_MAX);
        snprintf(path, sizeof path, "results/%s", run_id);
    } while (out_dir == NULL && access(path, F_OK) == 0);
    if (!claim_folder(folder, out_dir != NULL ? out_dir : path, false, err)) return false;
    if (is_free(folder->path)) return true;
    snprintf(path, sizeof path, "%s/run.json", folder->path);
    conv_fail(err, CONV_INVALID,
              access(path, F_OK) == 0 ? "%.200s: holds a run already: continue it with --resume or name another"
                                      : "%.200s: not an empty folder and not a run: name another",
              folder->path);
    return false;
}
