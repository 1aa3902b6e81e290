/* The worker's end of the pipe (protocol.h says what is spoken). */
#ifndef SEPBENCH_SERVE_H
#define SEPBENCH_SERVE_H

#include <stdio.h>

#include "../measure/measure.h"

/* Says hello and answers requests until one is to quit or they end; run runs the loops of those that measure
 * for another program. Returns the program's exit code. */
int worker_serve(FILE *in, FILE *out, measure_runner *run);

#endif
