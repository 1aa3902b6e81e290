/* The asking end of the pipe to one worker (protocol.h has the protocol). */
#ifndef SEPBENCH_PROCESS_H
#define SEPBENCH_PROCESS_H

#include <jansson.h>
#include <stdio.h>
#include <sys/types.h>

#include "../record/record.h"

typedef struct {
    const char *path, *engine; /* of the program; the words of its --engine, or NULL */
    pid_t pid;                 /* 0: not running */
    int to, from;
    FILE *complaints; /* its stderr */
    char *line;       /* received, up to a line feed */
    size_t used, room;
} worker_process;

/* Starts `path worker`, with engine (may be NULL) as `--engine`, and reads its first line into *hello (the
 * caller's). False with err: cannot be run, says no hello (a program from before the gate), or speaks a
 * protocol this program does not. path and engine outlive w. */
bool process_start(worker_process *w, const char *path, const char *engine, json_t **hello, conv_error *err);

enum { PROCESS_PATIENCE = 120 }; /* seconds in which any of the gate's requests is answered */

/* Sends the request (and releases it), returns the reply (the caller's). NULL with err: the worker died or has
 * not answered within so many seconds, or the user interrupted; the worker is gone then. */
json_t *process_ask(worker_process *w, json_t *request, double seconds, conv_error *err);

/* Stops a worker that is not asked, threads of its pools that still spin included, and lets it go on. A worker
 * that is not running is left alone. */
void process_pause(const worker_process *w);
void process_resume(const worker_process *w);

/* Ends it; also when it never started, or is paused. */
void process_stop(worker_process *w);

#endif
