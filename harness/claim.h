/* A folder that one process fills at a time: made with its parents, and locked until it is dropped or the
 * process ends, however it ends. */
#ifndef SEPBENCH_CLAIM_H
#define SEPBENCH_CLAIM_H

#include <stdbool.h>
#include <stddef.h>

#include "../kernels/conv.h"

typedef struct {
    char path[4096];
    int lock;        /* descriptor of the folder, which holds the lock */
    size_t made;     /* length of the outermost folder that the claim made; 0: all were there */
    bool held, file; /* file: the lock is one beside path */
} claim;

/* wait: for another process to finish with it; else that is an error. False with err. */
bool claim_folder(claim *c, const char *path, bool wait, conv_error *err);
/* One file instead, in a folder that others may fill: by an empty file .NAME.lock beside it. */
bool claim_file(claim *c, const char *path, conv_error *err);
/* Does nothing when it is not held. */
void claim_drop(claim *c);
/* The same, and the folders that the claim made go, unless something is in them. */
void claim_undo(claim *c);

#endif
