#include "output.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { MOST_LINKS = 40, MOST_ATTEMPTS = 100, LONG_NAME = 240 };

bool output_follow(const char *path, char target[PATH_MAX])
{
    char link[PATH_MAX];
    if (snprintf(target, PATH_MAX, "%s", path) >= PATH_MAX) {
        errno = ENAMETOOLONG;
        return false;
    }
    for (int i = 0; i < MOST_LINKS; i++) {
        ssize_t length = readlink(target, link, sizeof link - 1);
        if (length < 0) return errno == EINVAL || errno == ENOENT; /* no link, or nothing */
        const char *slash = strrchr(target, '/');
        size_t kept = slash != NULL && link[0] != '/' ? (size_t)(slash + 1 - target) : 0;
        if (kept + (size_t)length >= PATH_MAX) {
            errno = ENAMETOOLONG;
            return false;
        }
        memcpy(target + kept, link, (size_t)length);
        target[kept + (size_t)length] = '\0';
    }
    errno = ELOOP;
    return false;
}

/* ---- the stream */

/* stdio forgets why a write failed that filled its buffer. */
static ssize_t put(void *cookie, const char *data, size_t size)
{
    output *o = cookie;
    for (size_t done = 0; done < size;) {
        ssize_t n = write(o->fd, data + done, size - done);
        if (n < 0 && errno == EINTR) continue;
        if (n < 0) {
            if (o->why == 0) o->why = errno;
            return 0;
        }
        done += (size_t)n;
    }
    return (ssize_t)size;
}

/* Takes fd, which may be -1. */
static bool open_stream(output *o, int fd)
{
    o->fd = fd;
    o->file = fd >= 0 ? fopencookie(o, "wb", (cookie_io_functions_t){.write = put}) : NULL;
    int why = errno;
    if (o->file == NULL && fd >= 0) close(fd);
    errno = why;
    return o->file != NULL;
}

/* ---- a file without a name yet */

static bool open_folder(output *o, const char *path)
{
    char folder[PATH_MAX];
    const char *slash = strrchr(path, '/');
    size_t length = slash == NULL ? 0 : slash == path ? 1 : (size_t)(slash - path);
    const char *name = slash == NULL ? path : slash + 1;
    if (*name == '\0') {
        errno = *path == '\0' ? ENOENT : EISDIR;
        return false;
    }
    if (length >= sizeof folder || strlen(name) > NAME_MAX) {
        errno = ENAMETOOLONG;
        return false;
    }
    snprintf(folder, sizeof folder, "%.*s", (int)length, path);
    strcpy(o->name, name);
    o->folder = open(slash == NULL ? "." : folder, O_PATH | O_DIRECTORY | O_CLOEXEC);
    return o->folder >= 0;
}

/* Where there are no nameless files (NFS), or no room for more than the name:
 * one that is this process's alone. */
static int open_named_part(output *o)
{
    int fd = -1;
    for (int i = 0; i < MOST_ATTEMPTS; i++) {
        snprintf(o->part, sizeof o->part, ".%.200s.new%ld-%d", o->name, (long)getpid(), i);
        fd = openat(o->folder, o->part, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
        if (fd >= 0 || errno != EEXIST) break;
    }
    return fd;
}

static bool open_aside(output *o, const char *path)
{
    if (!open_folder(o, path)) return false;
    int fd = -1;
    if (strlen(o->name) <= LONG_NAME &&
        access("/proc/self/fd", X_OK) == 0) /* where a nameless file gets its name from */
        fd = openat(o->folder, ".", O_TMPFILE | O_WRONLY | O_CLOEXEC, 0666);
    if (fd < 0) fd = open_named_part(o);
    if (open_stream(o, fd)) return true;
    int why = errno;
    if (fd >= 0 && o->part[0] != '\0') unlinkat(o->folder, o->part, 0);
    close(o->folder);
    errno = why;
    return false;
}

/* A name for the nameless file: the same each time, so that what a kill between naming and renaming leaves is
 * replaced by the next file that is written here. It is complete whoever's it is. */
static bool name_part(output *o)
{
    char self[64];
    snprintf(self, sizeof self, "/proc/self/fd/%d", o->fd);
    for (int i = 0, number = 0; i < MOST_ATTEMPTS; i++) {
        snprintf(o->part, sizeof o->part, number > 0 ? ".%.240s.new%d" : ".%.240s.new", o->name, number);
        if (linkat(AT_FDCWD, self, o->folder, o->part, AT_SYMLINK_FOLLOW) == 0) return true;
        if (errno != EEXIST) break;
        if (unlinkat(o->folder, o->part, 0) != 0 && errno != ENOENT) number++; /* it cannot be had */
    }
    o->part[0] = '\0';
    return false;
}

static bool take_name(output *o)
{
    if (o->part[0] == '\0') {
        if (!name_part(o)) return false;
        /* Gone again: another process writes the same file, and its newer one is there or will be. */
        if (renameat(o->folder, o->part, o->folder, o->name) != 0 && errno != ENOENT) return false;
    } else if (renameat(o->folder, o->part, o->folder, o->name) != 0) {
        return false;
    }
    o->part[0] = '\0';
    int folder = openat(o->folder, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (folder >= 0) { /* the new name outlives a power cut; not every file system can promise it */
        fsync(folder);
        close(folder);
    }
    return true;
}

/* ---- a file as it is */

/* What stdout goes to is written through stdout: opened anew it would be written from its start. */
static bool is_stdout(const struct stat *info)
{
    struct stat out;
    return fstat(STDOUT_FILENO, &out) == 0 && out.st_dev == info->st_dev && out.st_ino == info->st_ino;
}

static bool open_in_place(output *o, const char *path, bool through_stdout)
{
    if (through_stdout && fflush(stdout) != 0) return false;
    int fd = through_stdout ? fcntl(STDOUT_FILENO, F_DUPFD_CLOEXEC, 0) : open(path, O_WRONLY | O_CLOEXEC);
    return open_stream(o, fd);
}

/* ---- */

/* Whether there is something of that name that may be written; errno 0 when there is nothing yet. */
static bool find_named(const char *path, struct stat *info)
{
    if (stat(path, info) != 0) {
        if (errno == ENOENT) errno = 0;
        return false;
    }
    if (S_ISDIR(info->st_mode)) errno = EISDIR;
    return !S_ISDIR(info->st_mode) && access(path, W_OK) == 0;
}

bool output_open(output *o, const char *path, output_kind kind)
{
    char target[PATH_MAX];
    struct stat info;
    *o = (output){.folder = -1};
    if (kind == OUTPUT_OWN) return open_aside(o, path);
    bool exists = find_named(path, &info);
    if (!exists && errno != 0) return false;
    bool through_stdout = exists && is_stdout(&info);
    if (exists && (through_stdout || !S_ISREG(info.st_mode))) return open_in_place(o, path, through_stdout);
    return output_follow(path, target) && open_aside(o, target);
}

bool output_close(output *o, bool keep)
{
    bool fine = fclose(o->file) == 0 && o->why == 0;
    if (fine && keep && o->folder >= 0) fine = fsync(o->fd) == 0 && take_name(o);
    int why = o->why != 0 ? o->why : errno;
    if (close(o->fd) != 0 && fine) {
        fine = false;
        why = errno;
    }
    if (o->folder >= 0) {
        if (o->part[0] != '\0') unlinkat(o->folder, o->part, 0);
        close(o->folder);
    }
    errno = why;
    return fine || !keep;
}

bool output_fail(const char *path, conv_error *err)
{
    conv_fail(err, CONV_FAILED, "%.200s: cannot be written: %s", path,
              errno == EISDIR ? "it is a folder" : strerror(errno));
    return false;
}

bool output_write(const char *path, output_kind kind, const void *data, size_t size, conv_error *err)
{
    output o;
    if (!output_open(&o, path, kind)) return output_fail(path, err);
    fwrite(data, 1, size, o.file); /* the stream remembers a failure */
    return output_close(&o, true) || output_fail(path, err);
}

bool output_put(const char *folder, const char *name, output_writer *put, const void *what, conv_error *err)
{
    char path[PATH_MAX + NAME_MAX];
    output o;
    snprintf(path, sizeof path, "%s/%s", folder, name);
    if (!output_open(&o, path, OUTPUT_OWN)) return output_fail(path, err);
    bool any = put(o.file, what);
    if (!output_close(&o, any)) return output_fail(path, err);
    return any || unlink(path) == 0 || errno == ENOENT || output_fail(path, err);
}

bool output_json(const char *path, output_kind kind, const json_t *json, size_t flags, conv_error *err)
{
    char *text = json_dumps(json, flags);
    if (text == NULL) {
        conv_fail(err, CONV_FAILED, "%.200s: cannot be written as JSON", path);
        return false;
    }
    char *line_end = text + strlen(text); /* a text file ends in a line feed: it takes the 0 byte's place */
    *line_end = '\n';
    bool fine = output_write(path, kind, text, (size_t)(line_end - text) + 1, err);
    free(text);
    return fine;
}

bool output_is_part(const char *entry, const char *name)
{
    size_t length = strlen(name);
    return entry[0] == '.' && strncmp(entry + 1, name, length) == 0 &&
           strncmp(entry + 1 + length, ".new", 4) == 0;
}

void output_sweep(const char *folder, const char *const *names, size_t count)
{
    DIR *dir = opendir(folder);
    if (dir == NULL) return;
    for (struct dirent *entry; (entry = readdir(dir)) != NULL;)
        for (size_t i = 0; i < count; i++)
            if (output_is_part(entry->d_name, names[i])) unlinkat(dirfd(dir), entry->d_name, 0);
    closedir(dir);
}

bool output_check(const char *path, conv_error *err)
{
    struct stat info;
    output o;
    bool exists = find_named(path, &info);
    if (!exists && errno != 0) return output_fail(path, err);
    if (exists && !S_ISREG(info.st_mode)) return true; /* a pipe is opened once */
    if (!output_open(&o, path, OUTPUT_NAMED)) return output_fail(path, err);
    return output_close(&o, false);
}
