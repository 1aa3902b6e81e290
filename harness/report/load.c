/* Which folders a report is made from. */
#include <dirent.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "../cli.h"
#include "training.h"

enum { DIR_ROOM = REPORT_FOLDER_MAX };

/* DIR/NAME in path[DIR_ROOM]; false when it is too long. */
static bool join(const char *dir, const char *name, char *path)
{
    int length = snprintf(path, DIR_ROOM, "%s/%s", dir, name);
    return length > 0 && length < DIR_ROOM;
}

const char *report_folder(const char *run, char *path)
{
    struct stat info;
    if (strchr(run, '/') != NULL || stat(run, &info) == 0) return run;
    return join("results", run, path) && stat(path, &info) == 0 ? path : run;
}

bool report_again(const char *const *runs, int at)
{
    char path[DIR_ROOM];
    char *real = realpath(report_folder(runs[at], path), NULL);
    bool again = false;
    for (int i = 0; real != NULL && !again && i < at; i++) {
        char *other = realpath(report_folder(runs[i], path), NULL);
        again = other != NULL && strcmp(real, other) == 0;
        free(other);
    }
    free(real);
    return again;
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

/* The RUN with cases is the run; trainings lie beside the cases, are named too, or are all there is. */
bool report_load(const char *const *runs, int count, record_run *run, report_training *training,
                 conv_error *err)
{
    char folder[DIR_ROOM];
    const char *bare = NULL;
    bool found = false;
    for (int i = 0; i < count; i++) {
        const char *dir = report_folder(runs[i], folder);
        if (report_again(runs, i)) {
            cli_warning("%s: given twice, counted once", runs[i]);
        } else if (training_is(dir)) {
            if (!training_load(dir, training, err)) goto fail;
            if (bare == NULL) bare = runs[i];
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
        if (!load_bare(report_folder(bare, folder), run, err)) goto fail;
        return true;
    }
    if (load_inner(run->dir, training, err)) return true;
fail:
    if (found) record_free(run);
    training_free(training);
    return false;
}
