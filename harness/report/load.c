/* Which folders a report is made from. */
#include <dirent.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "training.h"

enum { DIR_ROOM = sizeof((record_run *)0)->dir };

/* DIR/NAME in path[DIR_ROOM]; false when it is too long. */
static bool join(const char *dir, const char *name, char *path)
{
    int length = snprintf(path, DIR_ROOM, "%s/%s", dir, name);
    return length > 0 && length < DIR_ROOM;
}

/* A folder, or the name of one under results/. */
static const char *folder_of(const char *run, char *path)
{
    struct stat info;
    if (strchr(run, '/') != NULL || stat(run, &info) == 0) return run;
    return join("results", run, path) && stat(path, &info) == 0 ? path : run;
}

/* Trainings that lie inside a run's folder. */
static bool load_inner(const char *dir, report_training *training, conv_error *err)
{
    struct dirent **names;
    char path[DIR_ROOM];
    bool fine = true;
    int count = scandir(dir, &names, NULL, alphasort);
    for (int i = 0; i < count; i++) {
        if (fine && names[i]->d_name[0] != '.' && join(dir, names[i]->d_name, path) && training_is(path))
            fine = training_load(path, training, err);
        free(names[i]);
    }
    if (count >= 0) free(names);
    return fine;
}

/* A training's folder as a run without cases. */
static bool load_bare(const char *dir, record_run *run, conv_error *err)
{
    json_error_t why = {.line = 0};
    *run = (record_run){.count = 0};
    if (join(dir, "run.json", run->dir)) run->run = json_load_file(run->dir, 0, &why);
    if (run->run == NULL) {
        conv_fail(err, CONV_INVALID, "%.200s/run.json:%d: %s", dir, why.line, why.text);
        return false;
    }
    *strrchr(run->dir, '/') = 0;
    char *whole = realpath(dir, NULL);
    snprintf(run->run_id, sizeof run->run_id, "%.63s", whole != NULL ? strrchr(whole, '/') + 1 : "training");
    free(whole);
    return true;
}

/* The first RUN with cases is the run; trainings lie beside the cases, are named too, or are all there is. */
bool report_load(const char *const *runs, int count, record_run *run, report_training *training,
                 conv_error *err)
{
    char folder[DIR_ROOM];
    const char *bare = NULL;
    bool found = false;
    for (int i = 0; i < count; i++) {
        const char *dir = folder_of(runs[i], folder);
        if (training_is(dir)) {
            if (!training_load(dir, training, err)) goto fail;
            if (bare == NULL) bare = runs[i];
        } else if (found) {
            conv_fail(err, CONV_INVALID, "%s: one run with cases at a time, this is the second", runs[i]);
            goto fail;
        } else {
            if (!record_load(dir, run, err)) goto fail;
            found = true;
        }
    }
    if (!found && bare == NULL) {
        if (!record_load(NULL, run, err)) goto fail;
        found = true;
    }
    if (!found) {
        if (!load_bare(folder_of(bare, folder), run, err)) goto fail;
        return true;
    }
    if (load_inner(run->dir, training, err)) return true;
fail:
    if (found) record_free(run);
    training_free(training);
    return false;
}
