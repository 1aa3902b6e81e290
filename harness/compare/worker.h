/* The worker's end of the pipe (protocol.h says what is spoken). */
#ifndef SEPBENCH_WORKER_H
#define SEPBENCH_WORKER_H

#include <stdio.h>

/* Says hello and answers requests until one is to quit or they end. Returns the program's exit code. */
int worker_serve(FILE *in, FILE *out);

#endif
