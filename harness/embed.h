/* Data files compiled into the program, so that it runs installed and from any folder: everything that
 * the Makefile's EMBED lists, by its path in the repository ("bench/problems/resnet50.txt"). */
#ifndef SEPBENCH_EMBED_H
#define SEPBENCH_EMBED_H

#include <stddef.h>

typedef struct {
    const char *path;
    const char *data; /* followed by a 0 byte that size does not count */
    size_t size;      /* bytes */
} embedded_file;

/* All of them, sorted by path; the last has path NULL. */
extern const embedded_file embedded_files[];
/* The file of that path, or NULL. */
const embedded_file *embedded_find(const char *path);

#endif
