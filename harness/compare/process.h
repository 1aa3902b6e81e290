/* The gate's end of the pipe to one worker (protocol.h has the protocol). */
#ifndef SEPBENCH_PROCESS_H
#define SEPBENCH_PROCESS_H

#include <jansson.h>
#include <stdio.h>
#include <sys/types.h>

#include "../record/record.h"

typedef struct {
    const char *path; /* of the program */
    pid_t pid;        /* 0: not running */
    int to, from;
    FILE *complaints; /* its stderr */
    char *line;       /* received, up to a line feed */
    size_t used, room;
} worker_process;

/* Starts it and reads its first line into *hello (the caller's). False with err: cannot be run, says no hello
 * (a program from before the gate), or speaks a protocol this gate does not. */
bool process_start(worker_process *w, const char *path, json_t **hello, conv_error *err);

/* Sends the request (and releases it), returns the reply (the caller's). NULL with err: the worker died or does
 * not answer, or the user interrupted; the worker is gone then. */
json_t *process_ask(worker_process *w, json_t *request, conv_error *err);

/* Ends it; also when it never started. */
void process_stop(worker_process *w);

#endif
