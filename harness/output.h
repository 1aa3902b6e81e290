/* Every file that the program writes as a whole. It is written without a name or beside its target, and takes
 * the target's name when it is complete and on the disk: readers see the old file or the new one, and after a
 * failure or a kill the old one is still there. Nobody's symbolic link is written through on the way. */
#ifndef SEPBENCH_OUTPUT_H
#define SEPBENCH_OUTPUT_H

#include <jansson.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>

#include "../kernels/conv.h"

typedef enum {
    OUTPUT_OWN,  /* a file of a folder that the program fills: it takes the place of whatever has its name */
    OUTPUT_NAMED /* a file that the user named: a symbolic link keeps pointing to what it names, and what is no
                    regular file (a pipe, /dev/stdout, /dev/full) is written to and stays what it is */
} output_kind;

typedef struct {
    FILE *file;              /* to write to */
    int fd, why;             /* what is behind it; errno of the first write that failed */
    int folder;              /* descriptor of the target's folder; -1: the file is written in place */
    char name[NAME_MAX + 1]; /* of the target in it */
    char part[NAME_MAX + 1]; /* the file's name until then; "": none yet */
} output;

/* False with errno. */
bool output_open(output *o, const char *path, output_kind kind);
/* keep: the file takes its name. False with errno when it was to be kept and could not be, or something could
 * not be written before; then, and without keep, nothing of it is left. */
bool output_close(output *o, bool keep);

/* All of it at once. False with err, which says "PATH: cannot be written: " and why; so does output_fail, from
 * errno. */
bool output_write(const char *path, output_kind kind, const void *data, size_t size, conv_error *err);
/* A file of a folder that the program fills, as `put` writes it. False of put: there is nothing for it, and an
 * earlier one goes. */
typedef bool output_writer(FILE *to, const void *what);
bool output_put(const char *folder, const char *name, output_writer *put, const void *what, conv_error *err);
/* flags: jansson's; the text ends in a line feed. NULL for json is a failure. */
bool output_json(const char *path, output_kind kind, const json_t *json, size_t flags, conv_error *err);
bool output_fail(const char *path, conv_error *err);

/* Whether a file that the user named could be written, before hours are spent on what is to go into it. */
bool output_check(const char *path, conv_error *err);

/* Whether that entry of a folder is what a kill leaves that comes while `name` is written there; and away with
 * all such of these names. Only where nobody else writes. */
bool output_is_part(const char *entry, const char *name);
void output_sweep(const char *folder, const char *const *names, size_t count);

/* Where path leads, when it is a symbolic link, even to nothing yet. False with errno. */
bool output_follow(const char *path, char target[PATH_MAX]);

#endif
