/* Zip archives through libzip: written whole, read member by member. */
#ifndef SEPBENCH_ARCHIVE_H
#define SEPBENCH_ARCHIVE_H

#include "output.h"

typedef struct {
    char *name;
    void *data; /* malloc'ed; archive_write frees it */
    size_t size;
} archive_member;

/* Stored, not compressed, and without times: the same members give the same file. False with err, which names
 * path and reason (disk full ...); path is then as before. */
bool archive_write(const char *path, output_kind kind, archive_member *members, int count, conv_error *err);

/* The member, malloc'ed, with a 0 behind it. NULL with err, which names path and member: no archive, absent,
 * damaged, more than `most` bytes. */
char *archive_read(const char *path, const char *name, size_t most, size_t *size, conv_error *err);
/* Whether there is an archive with that member. */
bool archive_has(const char *path, const char *name);

#endif
