/* How far a long command is: one rewritten line on a terminal, plain lines otherwise; always on stderr. */
#ifndef SEPBENCH_PROGRESS_H
#define SEPBENCH_PROGRESS_H

#include <stdbool.h>
#include <stddef.h>

typedef struct {
    size_t total;       /* of whatever is counted */
    bool terminal;      /* stderr is one */
    int columns;        /* its width, at most 80 */
    double last_update; /* seconds, CLOCK_MONOTONIC */
} progress;

void progress_start(progress *p, size_t total);
/* Rewrites the line: done of total, time left (negative: not known), what is going on. On a terminal only, and
 * at most ten times a second. */
void progress_update(progress *p, size_t done, double seconds_left, const char *what);
/* A step is finished: a plain line where there is no terminal; on one the rewritten line. */
void progress_step(progress *p, size_t done, double seconds_left, const char *what);
/* Clears the line, so that other text can follow. */
void progress_clear(progress *p);

#endif
