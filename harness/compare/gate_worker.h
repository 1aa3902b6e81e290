/* The gate's end of the pipe to one worker (worker.h has the protocol). */
#ifndef SEPBENCH_GATE_WORKER_H
#define SEPBENCH_GATE_WORKER_H

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
} gate_worker;

/* Starts it and reads its first line into *hello (the caller's). False with err: cannot be run, says no hello
 * (a program from before the gate), or speaks a protocol this gate does not. */
bool gate_worker_start(gate_worker *w, const char *path, json_t **hello, conv_error *err);

/* Sends the request (and releases it), returns the reply (the caller's). NULL with err: the worker died or does
 * not answer, or the user interrupted; the worker is gone then. */
json_t *gate_worker_ask(gate_worker *w, json_t *request, conv_error *err);

/* Ends it; also when it never started. */
void gate_worker_stop(gate_worker *w);

#endif
