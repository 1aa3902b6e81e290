#include "claim.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cli.h"

enum { ATTEMPTS = 100, LOCK_NAME = 4200 };

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

static void release(claim *c)
{
    if (c->held) close(c->lock);
    c->held = false;
}

/* fd: of what is locked, or -1 with errno. */
static bool lock(claim *c, int fd, bool wait, conv_error *err)
{
    c->lock = fd;
    if (fd < 0) return fail_errno(err, c->path);
    c->held = true;
    if (flock(fd, LOCK_EX | LOCK_NB) == 0) return true;
    if (errno == EWOULDBLOCK && wait) {
        cli_warning("%s: waiting for another sepbench that writes there", c->path);
        if (flock(fd, LOCK_EX) == 0) return true;
    }
    if (errno == EWOULDBLOCK)
        conv_fail(err, CONV_INVALID, "%.200s: another sepbench is writing there", c->path);
    else
        fail_errno(err, c->path);
    release(c);
    return false;
}

/* Whether what is locked is still there under its name: whoever made it may have undone that before it was
 * locked. */
static bool in_place(const claim *c, const char *name)
{
    struct stat locked, named;
    return fstat(c->lock, &locked) == 0 && stat(name, &named) == 0 && locked.st_dev == named.st_dev &&
           locked.st_ino == named.st_ino;
}

static bool start(claim *c, const char *path, conv_error *err)
{
    *c = (claim){.made = 0};
    if ((size_t)snprintf(c->path, sizeof c->path, "%s", path) < sizeof c->path) return true;
    errno = ENAMETOOLONG;
    return fail_errno(err, path);
}

static bool give_up(const claim *c, conv_error *err)
{
    conv_fail(err, CONV_FAILED, "%.200s: comes and goes", c->path);
    return false;
}

bool claim_folder(claim *c, const char *path, bool wait, conv_error *err)
{
    if (!start(c, path, err)) return false;
    for (int i = 0; i < ATTEMPTS; i++) {
        if (!make_folders(c, err)) return false;
        if (!lock(c, open(c->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC), wait, err)) return false;
        if (in_place(c, c->path)) return true;
        release(c);
    }
    return give_up(c, err);
}

static char *lock_name(const claim *c, char name[LOCK_NAME])
{
    const char *slash = strrchr(c->path, '/');
    int folder = slash != NULL ? (int)(slash + 1 - c->path) : 0;
    snprintf(name, LOCK_NAME, "%.*s.%s.lock", folder, c->path, c->path + folder);
    return name;
}

bool claim_file(claim *c, const char *path, conv_error *err)
{
    char name[LOCK_NAME];
    if (!start(c, path, err)) return false;
    lock_name(c, name);
    for (int i = 0; i < ATTEMPTS; i++) {
        if (!lock(c, open(name, O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0666), false, err)) return false;
        c->file = in_place(c, name);
        if (c->file) return true;
        release(c);
    }
    return give_up(c, err);
}

void claim_drop(claim *c)
{
    char name[LOCK_NAME];
    if (c->held && c->file) unlink(lock_name(c, name));
    release(c);
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
