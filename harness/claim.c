#include "claim.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cli.h"

static bool fail_errno(conv_error *err, const char *path)
{
    conv_fail(err, CONV_FAILED, "%.200s: %s", path, strerror(errno));
    return false;
}

/* Length of the outermost folder on the way to path that is not there; 0: none. */
static size_t first_missing(const char *path)
{
    char part[4096];
    for (size_t i = 1, length = strlen(path); i <= length; i++) {
        if (path[i] != '/' && path[i] != '\0') continue;
        snprintf(part, sizeof part, "%.*s", (int)i, path);
        if (access(part, F_OK) != 0) return i;
    }
    return 0;
}

static bool make_folders(claim *c, conv_error *err)
{
    char parent[4096];
    struct stat info;
    strcpy(parent, c->path);
    size_t length = strlen(parent);
    while (length > 1 && parent[length - 1] == '/') parent[--length] = '\0';
    char *slash = strrchr(parent, '/');
    c->made = first_missing(c->path);
    if (slash != NULL && slash != parent) {
        *slash = '\0';
        if (!cli_make_path(parent)) return fail_errno(err, parent);
    }
    if (mkdir(c->path, 0777) == 0) return true;
    if (errno == EEXIST && stat(c->path, &info) == 0 && !S_ISDIR(info.st_mode)) errno = ENOTDIR;
    return (errno == EEXIST && access(c->path, W_OK | X_OK) == 0) || fail_errno(err, c->path);
}

static bool lock(claim *c, bool wait, conv_error *err)
{
    c->lock = open(c->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (c->lock < 0) return fail_errno(err, c->path);
    c->held = true;
    if (flock(c->lock, LOCK_EX | LOCK_NB) == 0) return true;
    if (errno == EWOULDBLOCK && wait) {
        cli_warning("%s: waiting for another sepbench that writes there", c->path);
        if (flock(c->lock, LOCK_EX) == 0) return true;
    }
    if (errno == EWOULDBLOCK)
        conv_fail(err, CONV_INVALID, "%.200s: another sepbench is writing there", c->path);
    else
        fail_errno(err, c->path);
    claim_drop(c);
    return false;
}

/* Whether what is locked is still there under its name: whoever made it may have undone that before it was
 * locked. */
static bool in_place(const claim *c)
{
    struct stat locked, named;
    return fstat(c->lock, &locked) == 0 && stat(c->path, &named) == 0 && locked.st_dev == named.st_dev &&
           locked.st_ino == named.st_ino;
}

bool claim_folder(claim *c, const char *path, bool wait, conv_error *err)
{
    enum { ATTEMPTS = 100 };
    *c = (claim){.made = 0};
    if ((size_t)snprintf(c->path, sizeof c->path, "%s", path) >= sizeof c->path) {
        errno = ENAMETOOLONG;
        return fail_errno(err, path);
    }
    for (int i = 0; i < ATTEMPTS; i++) {
        if (!make_folders(c, err) || !lock(c, wait, err)) return false;
        if (in_place(c)) return true;
        claim_drop(c);
    }
    conv_fail(err, CONV_FAILED, "%.200s: comes and goes", path);
    return false;
}

void claim_drop(claim *c)
{
    if (c->held) close(c->lock);
    c->held = false;
}

void claim_undo(claim *c)
{
    if (!c->held) return;
    size_t length = c->made > 0 ? strlen(c->path) : 0;
    while (length > 0 && length >= c->made) {
        c->path[length] = '\0';
        if (rmdir(c->path) != 0) break;
        while (length > 0 && c->path[length - 1] != '/') length--;
        while (length > 0 && c->path[length - 1] == '/') length--;
    }
    claim_drop(c);
}
