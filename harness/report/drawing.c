#include "drawing.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

/* Every file of `from` that begins so goes to `to`, or is removed where `to` is NULL. */
static bool move_files(const char *from, const char *to, const char *beginning)
{
    char old[4400], new[4400];
    struct dirent **entries;
    int count = scandir(from, &entries, NULL, NULL);
    bool fine = count >= 0 || errno == ENOENT;
    for (int i = 0; i < count; i++) {
        const char *name = entries[i]->d_name;
        snprintf(old, sizeof old, "%s/%s", from, name);
        snprintf(new, sizeof new, "%s/%s", to != NULL ? to : "", name);
        if (strcmp(name, ".") != 0 && strcmp(name, "..") != 0 &&
            strncmp(name, beginning, strlen(beginning)) == 0)
            fine = (to != NULL ? rename(old, new) : unlink(old)) == 0 && fine;
        free(entries[i]);
    }
    if (count >= 0) free(entries);
    return fine;
}

bool drawing_open(const char *dir, char *drawing, size_t size, conv_error *err)
{
    struct stat info;
    snprintf(drawing, size, "%s/.drawing", dir);
    if (lstat(drawing, &info) == 0) { /* what a kill left, or a stranger's link */
        if (!S_ISDIR(info.st_mode))
            unlink(drawing);
        else if (move_files(drawing, NULL, ""))
            rmdir(drawing);
    }
    if (mkdir(drawing, 0777) == 0) return true;
    conv_fail(err, CONV_FAILED, "%.200s: %s", drawing, strerror(errno));
    return false;
}

bool drawing_run(const char *drawing, const char *dir, conv_error *err)
{
    extern char **environ;
    char *argv[] = {"gnuplot", "plots.gp", NULL};
    posix_spawn_file_actions_t actions;
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_addchdir_np(&actions, drawing);
    posix_spawn_file_actions_addopen(&actions, STDOUT_FILENO, "plots.log", O_WRONLY | O_CREAT | O_EXCL, 0644);
    posix_spawn_file_actions_adddup2(&actions, STDOUT_FILENO, STDERR_FILENO);
    pid_t child;
    int status = 0, failed = posix_spawnp(&child, "gnuplot", &actions, NULL, argv, environ);
    posix_spawn_file_actions_destroy(&actions);
    if (failed != 0) {
        conv_fail(err, CONV_FAILED,
                  failed == ENOENT ? "gnuplot was not found: install the package gnuplot-nox"
                                   : "gnuplot cannot run: %s",
                  strerror(failed));
        return false;
    }
    while (waitpid(child, &status, 0) < 0 && errno == EINTR) {
    }
    if (WIFEXITED(status) && WEXITSTATUS(status) == 0) return true;
    conv_fail(err, CONV_FAILED, "gnuplot failed on %.150s/plots.gp: plots.log beside it says why", dir);
    return false;
}

bool drawing_close(const char *drawing, const char *dir, bool fine, conv_error *err)
{
    char log[4200];
    snprintf(log, sizeof log, "%s/plots.log", fine ? drawing : dir);
    if (fine) unlink(log);
    bool moved = move_files(drawing, dir, fine ? "" : "plots.");
    if (!moved && fine)
        conv_fail(err, CONV_FAILED, "%.200s: pictures cannot be put there: %s", dir, strerror(errno));
    move_files(drawing, NULL, "");
    rmdir(drawing);
    return moved;
}
